//! The workloads of a stack, as the API server answered when they were applied. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::ResourceExt;

use super::names::{ALERTMANAGER, CONFIG_REVISION, PARTS, PROMETHEUS, SHARD};
use crate::k8s::manifests::{Applied, Manifests};

/// A component of a stack that runs in pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Component {
    /// With the number of its shard.
    Prometheus(i32),
    Alertmanager,
    /// One of `names::PARTS`, which takes a changed configuration by new pods.
    Part(&'static str),
}

impl Component {
    /// By the labels of a workload.
    fn of(labels: &BTreeMap<String, String>) -> Option<Self> {
        match labels.get("app.kubernetes.io/component")?.as_str() {
            PROMETHEUS => Some(Self::Prometheus(labels.get(SHARD)?.parse().ok()?)),
            ALERTMANAGER => Some(Self::Alertmanager),
            other => PARTS.into_iter().find(|name| *name == other).map(Self::Part),
        }
    }

    /// Its name in the status and in labels.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prometheus(_) => PROMETHEUS,
            Self::Alertmanager => ALERTMANAGER,
            Self::Part(name) => name,
        }
    }
}

/// One StatefulSet, DaemonSet or Deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    pub uid: String,
    /// Name of a Deployment, whose pods its ReplicaSets control.
    pub deployment: Option<String>,
    pub component: Component,
    /// Pods that there should be.
    pub desired: i32,
    /// Of the configuration in its pod template.
    pub revision: Option<String>,
    /// What is not rolled out yet.
    pub progress: Option<String>,
}

impl Workload {
    /// Whether it runs a pod with this controller and these labels.
    pub fn runs(&self, controller: &OwnerReference, labels: &BTreeMap<String, String>) -> bool {
        match &self.deployment {
            None => controller.uid == self.uid,
            Some(name) => {
                let of_template = |hash: &String| controller.name == format!("{name}-{hash}");
                controller.kind == "ReplicaSet" && labels.get("pod-template-hash").is_some_and(of_template)
            }
        }
    }
}

/// All of them.
pub fn of(applied: &Manifests<Applied>) -> Vec<Workload> {
    let sets = applied.stateful_sets.iter().filter_map(stateful_set);
    let sets = sets.chain(applied.daemon_sets.iter().filter_map(daemon_set));
    sets.chain(applied.deployments.iter().filter_map(deployment)).collect()
}

fn stateful_set(set: &StatefulSet) -> Option<Workload> {
    let spec = set.spec.as_ref()?;
    let desired = spec.replicas.unwrap_or(1);
    let (name, status) = (set.name_any(), set.status.clone().unwrap_or_default());
    let updated = status.updated_replicas.unwrap_or_default();
    let progress = if status.observed_generation.unwrap_or_default() < set.metadata.generation.unwrap_or_default() {
        Some(changed("StatefulSet", &name))
    } else if status.current_revision != status.update_revision && updated < desired {
        Some(outdated("StatefulSet", &name, updated, desired))
    } else {
        None
    };
    Some(Workload {
        uid: set.uid()?,
        deployment: None,
        component: Component::of(set.labels())?,
        desired,
        revision: revision(spec.template.metadata.as_ref()),
        progress,
    })
}

fn daemon_set(set: &DaemonSet) -> Option<Workload> {
    let (name, status) = (set.name_any(), set.status.clone().unwrap_or_default());
    let desired = status.desired_number_scheduled;
    let updated = status.updated_number_scheduled.unwrap_or_default();
    let progress = if status.observed_generation.unwrap_or_default() < set.metadata.generation.unwrap_or_default() {
        Some(changed("DaemonSet", &name))
    } else if updated < desired {
        Some(outdated("DaemonSet", &name, updated, desired))
    } else {
        None
    };
    Some(Workload {
        uid: set.uid()?,
        deployment: None,
        component: Component::of(set.labels())?,
        desired,
        revision: revision(set.spec.as_ref()?.template.metadata.as_ref()),
        progress,
    })
}

fn deployment(deployment: &Deployment) -> Option<Workload> {
    let spec = deployment.spec.as_ref()?;
    let desired = spec.replicas.unwrap_or(1);
    let (name, status) = (deployment.name_any(), deployment.status.clone().unwrap_or_default());
    let updated = status.updated_replicas.unwrap_or_default();
    let progress =
        if status.observed_generation.unwrap_or_default() < deployment.metadata.generation.unwrap_or_default() {
            Some(changed("Deployment", &name))
        } else if updated < desired {
            Some(outdated("Deployment", &name, updated, desired))
        } else {
            None
        };
    Some(Workload {
        uid: deployment.uid()?,
        deployment: Some(name),
        component: Component::of(deployment.labels())?,
        desired,
        revision: revision(spec.template.metadata.as_ref()),
        progress,
    })
}

fn revision(template: Option<&ObjectMeta>) -> Option<String> {
    template?.annotations.as_ref()?.get(CONFIG_REVISION).cloned()
}

fn changed(kind: &str, name: &str) -> String {
    format!("{kind} {name} was changed just now")
}

fn outdated(kind: &str, name: &str, updated: i32, desired: i32) -> String {
    format!("{updated} of {desired} pods of {kind} {name} have its present template")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn agent(status: serde_json::Value) -> Workload {
        let set = serde_json::from_value(json!({
            "metadata": {
                "name": "main-log-agent", "uid": "d-1", "generation": 2,
                "labels": {"app.kubernetes.io/component": "log-agent"},
            },
            "spec": {
                "selector": {},
                "template": {"metadata": {"annotations": {"evenkeel.dev/config-revision": "r7"}}},
            },
            "status": status,
        }));
        let applied = Manifests::<Applied> { daemon_sets: vec![set.unwrap()], ..Manifests::default() };
        of(&applied).remove(0)
    }

    #[test]
    fn a_daemon_set_should_have_the_pods_that_the_scheduler_wants_on_its_nodes() {
        let counts = |updated: i32| {
            json!({
                "observedGeneration": 2, "desiredNumberScheduled": 3, "updatedNumberScheduled": updated,
                "currentNumberScheduled": 3, "numberMisscheduled": 0, "numberReady": 3,
            })
        };
        let done = agent(counts(3));
        assert_eq!((done.component, done.desired, done.progress), (Component::Part("log-agent"), 3, None));
        assert_eq!(done.revision.as_deref(), Some("r7"));
        let under_way = agent(counts(1)).progress.unwrap();
        assert_eq!(under_way, "1 of 3 pods of DaemonSet main-log-agent have its present template");
    }

    #[test]
    fn pods_of_a_deployment_are_those_of_its_replica_sets() {
        let set = serde_json::from_value(json!({
            "metadata": {
                "name": "main-postgres-exporter-orders", "uid": "d-1", "generation": 2,
                "labels": {"app.kubernetes.io/component": "postgres-exporter"},
            },
            "spec": {"selector": {}, "template": {}, "replicas": 1},
            "status": {"observedGeneration": 2, "updatedReplicas": 0},
        }));
        let applied = Manifests::<Applied> { deployments: vec![set.unwrap()], ..Manifests::default() };
        let workload = of(&applied).remove(0);
        let progress = workload.progress.clone().unwrap();
        assert_eq!(progress, "0 of 1 pods of Deployment main-postgres-exporter-orders have its present template");
        let runs = |kind: &str, name: &str, hash: &str| {
            let controller = OwnerReference { kind: kind.into(), name: name.into(), ..OwnerReference::default() };
            workload.runs(&controller, &BTreeMap::from([("pod-template-hash".to_owned(), hash.to_owned())]))
        };
        assert!(runs("ReplicaSet", "main-postgres-exporter-orders-7d4f", "7d4f"));
        assert!(!runs("ReplicaSet", "main-postgres-exporter-orders-eu-7d4f", "7d4f"), "another entry's");
        assert!(!runs("StatefulSet", "main-postgres-exporter-orders-7d4f", "7d4f"));
    }
}
