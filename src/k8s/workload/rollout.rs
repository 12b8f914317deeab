//! Rollouts of Argo Rollouts: as much of them as is read here. What the operator writes are JSON Patches, so that fields
//! which it does not know stay as they are.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, Time};
use kube::CustomResource;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{History, Left, Notes, Object, Unsettled, of_replica_sets};

/// Label of a ReplicaSet and its pods; the status names the present and the stable one by its value.
const HASH: &str = "rollouts-pod-template-hash";
const NOTES: Notes =
    Notes { number: "rollout.argoproj.io/revision", earlier: "rollout.argoproj.io/revision-history", hash: HASH };
/// Annotation of a ReplicaSet: metadata that the controller put into its template for as long as it is a canary or stable.
const EPHEMERAL: &str = "rollout.argoproj.io/ephemeral-metadata";

/// What the author wants.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "argoproj.io",
    version = "v1alpha1",
    kind = "Rollout",
    namespaced,
    schema = "disabled",
    status = "RolloutStatus",
    derive = "Default",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase", default)]
pub struct RolloutSpec {
    /// Absent where the pods follow a Deployment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<PodTemplateSpec>,
    /// The Deployment whose template it takes, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload_ref: Option<WorkloadRef>,
    /// Pods to have. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_ready_seconds: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision_history_limit: Option<i32>,
    /// Stopped by a person.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// All pods that are older are replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_at: Option<Time>,
}

/// Another object whose template is taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadRef {
    pub kind: String,
    pub name: String,
}

/// What its controller says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RolloutStatus {
    /// A number, written as text.
    pub observed_generation: String,
    /// Healthy, Progressing, Paused or Degraded.
    pub phase: String,
    /// Why.
    pub message: String,
    /// To be aborted, or aborted: the stable ReplicaSet serves again, and the template is still the new one.
    pub abort: bool,
    /// Hash of the ReplicaSet of the present template.
    #[serde(rename = "currentPodHash")]
    pub current_pod_hash: String,
    /// Hash of the ReplicaSet that was promoted last.
    #[serde(rename = "stableRS")]
    pub stable_rs: String,
    pub replicas: i32,
    pub updated_replicas: i32,
    pub available_replicas: i32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<RolloutCondition>,
}

/// A condition as Deployments have them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RolloutCondition {
    #[serde(rename = "type")]
    pub type_: String,
    pub status: String,
    pub reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_update_time: Option<Time>,
}

/// The generation that the controller has seen. It writes a number as text; where it is something else, the controller
/// is of a version that does not tell.
pub fn observed(rollout: &Rollout) -> i64 {
    let text = rollout.status.as_ref().map(|s| s.observed_generation.as_str()).unwrap_or_default();
    match text {
        "" => 0,
        text => text.parse().unwrap_or_else(|_| rollout.metadata.generation.unwrap_or_default()),
    }
}

/// The new template has not been promoted, and was not given up.
pub fn is_under_way(rollout: &Rollout) -> bool {
    rollout.status.as_ref().is_some_and(|s| {
        !s.abort && !s.stable_rs.is_empty() && !s.current_pod_hash.is_empty() && s.stable_rs != s.current_pod_hash
    })
}

/// The new template was given up, and is still there.
pub fn is_aborted(rollout: &Rollout) -> bool {
    rollout.status.as_ref().is_some_and(|s| s.abort && s.stable_rs != s.current_pod_hash)
}

/// The present one is that of the present pod hash: the controller may put metadata of its own into the templates.
pub fn history(object: &Object, rollout: &Rollout, replica_sets: &[ReplicaSet]) -> Result<History, Unsettled> {
    let mut revisions = of_replica_sets(object, replica_sets, &NOTES);
    for revision in &mut revisions {
        let of = replica_sets.iter().find(|r| r.metadata.name.as_ref() == Some(&revision.object));
        if let Some(replica_set) = of {
            without_ephemeral(&mut revision.template, replica_set);
        }
    }
    let hash = rollout.status.as_ref().map(|s| s.current_pod_hash.as_str()).unwrap_or_default();
    let present = with_hash(replica_sets, hash);
    History::with(object, "ReplicaSet", revisions, |r| Some(r.object.as_str()) == present)
}

/// Name of the ReplicaSet that was promoted last.
pub fn stable<'a>(rollout: &Rollout, replica_sets: &'a [ReplicaSet]) -> Option<&'a str> {
    with_hash(replica_sets, &rollout.status.as_ref()?.stable_rs)
}

fn with_hash<'a>(replica_sets: &'a [ReplicaSet], hash: &str) -> Option<&'a str> {
    let has = |r: &&ReplicaSet| r.metadata.labels.as_ref().and_then(|l| l.get(HASH)).is_some_and(|h| h == hash);
    replica_sets.iter().filter(|_| !hash.is_empty()).find(has)?.metadata.name.as_deref()
}

fn without_ephemeral(template: &mut PodTemplateSpec, replica_set: &ReplicaSet) {
    let noted = replica_set.metadata.annotations.as_ref().and_then(|a| a.get(EPHEMERAL));
    let Some(noted) = noted.and_then(|text| serde_json::from_str::<Value>(text).ok()) else { return };
    let Some(metadata) = &mut template.metadata else { return };
    for (map, field) in [(&mut metadata.labels, "labels"), (&mut metadata.annotations, "annotations")] {
        let (Some(map), Some(added)) = (map, noted.get(field).and_then(Value::as_object)) else { continue };
        map.retain(|key, _| !added.contains_key(key));
    }
}

pub fn completed(rollout: &Rollout) -> Option<Timestamp> {
    let progressing = rollout.status.as_ref()?.conditions.iter().find(|c| c.type_ == "Progressing")?;
    let complete = progressing.reason == "NewReplicaSetAvailable";
    progressing.last_update_time.as_ref().filter(|_| complete).map(|t| t.0)
}

/// Its controller judges it, analyses and traffic included.
pub(super) fn unsettled(rollout: &Rollout) -> Option<Left> {
    let (phase, message) = rollout.status.as_ref().map(|s| (s.phase.as_str(), s.message.as_str())).unwrap_or_default();
    match (phase, message) {
        ("Healthy", _) => None,
        ("", _) => Some(Left::Behind("its controller has not judged it yet".into())),
        (phase, "") => Some(Left::Behind(format!("it is {phase}"))),
        (phase, message) => Some(Left::Behind(format!("it is {phase}: {message}"))),
    }
}

/// After an abort: whether the stable ReplicaSet has all replicas again.
pub(super) fn abort_unsettled(rollout: &Rollout, wanted: i32) -> Option<Left> {
    let stable = rollout.status.as_ref().map(|s| s.replicas - s.updated_replicas).unwrap_or_default();
    (stable < wanted).then(|| Left::Behind(format!("{stable} of {wanted} replicas have the stable template")))
}
