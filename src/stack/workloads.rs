//! The workloads of a stack, as the API server answered when they were applied. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{DaemonSet, StatefulSet};
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

/// One StatefulSet or DaemonSet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    pub uid: String,
    pub component: Component,
    /// Pods that there should be.
    pub desired: i32,
    /// Of the configuration in its pod template.
    pub revision: Option<String>,
    /// What is not rolled out yet.
    pub progress: Option<String>,
}

/// All of them.
pub fn of(applied: &Manifests<Applied>) -> Vec<Workload> {
    let sets = applied.stateful_sets.iter().filter_map(stateful_set);
    sets.chain(applied.daemon_sets.iter().filter_map(daemon_set)).collect()
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
        component: Component::of(set.labels())?,
        desired,
        revision: revision(set.spec.as_ref()?.template.metadata.as_ref()),
        progress,
    })
}

fn revision(template: Option<&k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta>) -> Option<String> {
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
}
