//! Rows of the history of rollouts: revision, name, replicas, ready, images, created, age. Pure.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, ReplicaSet};
use kube::{Resource, ResourceExt};
use serde_json::Value;

use super::age;

/// Annotations that number a ReplicaSet: of the Deployment controller, and of Argo Rollouts.
const NUMBERS: [&str; 2] = ["deployment.kubernetes.io/revision", "rollout.argoproj.io/revision"];

/// Of a Deployment or a Rollout; the newest first.
pub fn revisions_of_replica_sets(sets: &[ReplicaSet], now: Timestamp) -> Vec<Vec<String>> {
    let number = |set: &ReplicaSet| NUMBERS.iter().find_map(|key| set.annotations().get(*key)?.parse::<i64>().ok());
    let mut sets: Vec<_> = sets.iter().map(|set| (number(set), set)).collect();
    sets.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
    let row = |(number, set): (Option<i64>, &ReplicaSet)| {
        let template = set.spec.as_ref().and_then(|spec| spec.template.as_ref()).and_then(|t| t.spec.as_ref());
        let images =
            template.map(|pod| pod.containers.iter().filter_map(|c| c.image.clone()).collect()).unwrap_or_default();
        let replicas = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or_default();
        let ready = set.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or_default();
        cells(number, set, [replicas.to_string(), ready.to_string()], images, now)
    };
    sets.into_iter().map(row).collect()
}

/// Of a StatefulSet or a DaemonSet; the newest first.
pub fn revisions_of_controller(revisions: &[ControllerRevision], now: Timestamp) -> Vec<Vec<String>> {
    let mut revisions: Vec<_> = revisions.iter().collect();
    revisions.sort_by_key(|revision| std::cmp::Reverse(revision.revision));
    let row = |revision: &ControllerRevision| {
        let containers = revision.data.as_ref().and_then(|data| data.0.pointer("/spec/template/spec/containers"));
        let images = containers.and_then(Value::as_array).into_iter().flatten();
        let images = images.filter_map(|container| container.get("image")?.as_str().map(str::to_owned)).collect();
        cells(Some(revision.revision), revision, [String::new(), String::new()], images, now)
    };
    revisions.into_iter().map(row).collect()
}

fn cells(
    number: Option<i64>,
    object: &impl Resource,
    [replicas, ready]: [String; 2],
    images: Vec<String>,
    now: Timestamp,
) -> Vec<String> {
    let created = object.creation_timestamp().map(|at| at.0);
    vec![
        number.map(|number| number.to_string()).unwrap_or_default(),
        object.name_any(),
        replicas,
        ready,
        images.join(", "),
        created.map(|at| at.to_string()).unwrap_or_default(),
        age(created, now),
    ]
}
