//! The workload itself, of whichever kind.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{Node, ObjectReference, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use kube::Resource;

use super::{Rollout, node, rollout};
use crate::api::alert_response::TargetKind;

/// A workload.
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    Deployment(Box<Deployment>),
    StatefulSet(Box<StatefulSet>),
    DaemonSet(Box<DaemonSet>),
    Rollout(Box<Rollout>),
    Node(Box<Node>),
}

impl Default for Object {
    fn default() -> Self {
        Self::Deployment(Box::default())
    }
}

impl Object {
    pub fn kind(&self) -> TargetKind {
        match self {
            Self::Deployment(_) => TargetKind::Deployment,
            Self::StatefulSet(_) => TargetKind::StatefulSet,
            Self::DaemonSet(_) => TargetKind::DaemonSet,
            Self::Rollout(_) => TargetKind::Rollout,
            Self::Node(_) => TargetKind::Node,
        }
    }

    pub fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::Deployment(object) => &object.metadata,
            Self::StatefulSet(object) => &object.metadata,
            Self::DaemonSet(object) => &object.metadata,
            Self::Rollout(object) => &object.metadata,
            Self::Node(object) => &object.metadata,
        }
    }

    pub fn name(&self) -> &str {
        self.metadata().name.as_deref().unwrap_or_default()
    }

    pub fn uid(&self) -> Option<&str> {
        self.metadata().uid.as_deref()
    }

    /// `Deployment/checkout`.
    pub fn reference(&self) -> String {
        format!("{}/{}", self.kind().as_str(), self.name())
    }

    /// `Deployment checkout`.
    pub fn title(&self) -> String {
        format!("{} {}", self.kind().as_str(), self.name())
    }

    /// As an Event speaks of it.
    pub fn object_ref(&self) -> ObjectReference {
        match self {
            Self::Deployment(object) => object.object_ref(&()),
            Self::StatefulSet(object) => object.object_ref(&()),
            Self::DaemonSet(object) => object.object_ref(&()),
            Self::Rollout(object) => object.object_ref(&()),
            Self::Node(object) => object.object_ref(&()),
        }
    }

    /// Generation of the object, and the latest one that its controller has seen. A node has none.
    pub fn generations(&self) -> (i64, i64) {
        let observed = match self {
            Self::Deployment(object) => object.status.as_ref().and_then(|s| s.observed_generation),
            Self::StatefulSet(object) => object.status.as_ref().and_then(|s| s.observed_generation),
            Self::DaemonSet(object) => object.status.as_ref().and_then(|s| s.observed_generation),
            Self::Rollout(object) => Some(rollout::observed(object)),
            Self::Node(_) => return (0, 0),
        };
        (self.metadata().generation.unwrap_or_default(), observed.unwrap_or_default())
    }

    /// What its pods are made from; a node has none, and a Rollout that follows a Deployment neither.
    pub fn template(&self) -> Option<&PodTemplateSpec> {
        match self {
            Self::Deployment(object) => object.spec.as_ref().map(|s| &s.template),
            Self::StatefulSet(object) => object.spec.as_ref().map(|s| &s.template),
            Self::DaemonSet(object) => object.spec.as_ref().map(|s| &s.template),
            Self::Rollout(object) => object.spec.template.as_ref(),
            Self::Node(_) => None,
        }
    }

    /// Labels of its pods. A node selects none.
    pub fn selector(&self) -> Option<&LabelSelector> {
        match self {
            Self::Deployment(object) => object.spec.as_ref().map(|s| &s.selector),
            Self::StatefulSet(object) => object.spec.as_ref().map(|s| &s.selector),
            Self::DaemonSet(object) => object.spec.as_ref().map(|s| &s.selector),
            Self::Rollout(object) => object.spec.selector.as_ref(),
            Self::Node(_) => None,
        }
    }

    /// Replicas that it is to have: of a DaemonSet one on each node that is to run it, of a node itself.
    pub fn replicas(&self) -> i32 {
        match self {
            Self::Deployment(object) => object.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1),
            Self::StatefulSet(object) => object.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1),
            Self::DaemonSet(object) => object.status.as_ref().map_or(0, |s| s.desired_number_scheduled),
            Self::Rollout(object) => object.spec.replicas.unwrap_or(1),
            Self::Node(_) => 1,
        }
    }

    /// Replicas that are available.
    pub fn available(&self) -> i32 {
        match self {
            Self::Deployment(object) => object.status.as_ref().and_then(|s| s.available_replicas).unwrap_or(0),
            Self::StatefulSet(object) => object.status.as_ref().and_then(|s| s.available_replicas).unwrap_or(0),
            Self::DaemonSet(object) => object.status.as_ref().and_then(|s| s.number_available).unwrap_or(0),
            Self::Rollout(object) => object.status.as_ref().map_or(0, |s| s.available_replicas),
            Self::Node(object) => i32::from(node::is_ready(object)),
        }
    }

    /// Seconds for which a pod must be ready to be available.
    pub fn min_ready_seconds(&self) -> i32 {
        let seconds = match self {
            Self::Deployment(object) => object.spec.as_ref().and_then(|s| s.min_ready_seconds),
            Self::StatefulSet(object) => object.spec.as_ref().and_then(|s| s.min_ready_seconds),
            Self::DaemonSet(object) => object.spec.as_ref().and_then(|s| s.min_ready_seconds),
            Self::Rollout(object) => object.spec.min_ready_seconds,
            Self::Node(_) => None,
        };
        seconds.unwrap_or_default()
    }

    /// Earlier revisions that its controller keeps.
    pub fn history_limit(&self) -> i32 {
        let limit = match self {
            Self::Deployment(object) => object.spec.as_ref().and_then(|s| s.revision_history_limit),
            Self::StatefulSet(object) => object.spec.as_ref().and_then(|s| s.revision_history_limit),
            Self::DaemonSet(object) => object.spec.as_ref().and_then(|s| s.revision_history_limit),
            Self::Rollout(object) => object.spec.revision_history_limit,
            Self::Node(_) => Some(0),
        };
        limit.unwrap_or(10)
    }

    /// Stopped by `spec.paused`.
    pub fn is_paused(&self) -> bool {
        match self {
            Self::Deployment(object) => object.spec.as_ref().and_then(|s| s.paused) == Some(true),
            Self::Rollout(object) => object.spec.paused,
            Self::StatefulSet(_) | Self::DaemonSet(_) | Self::Node(_) => false,
        }
    }

    /// Whether some pods still have an earlier template.
    pub fn is_rolling_out(&self) -> bool {
        match self {
            Self::Deployment(object) => super::deployment::unsettled(object, self.replicas()).is_some(),
            Self::StatefulSet(object) => super::stateful_set::unsettled(object, self.replicas()).is_some(),
            Self::DaemonSet(object) => super::daemon_set::unsettled(object, self.replicas()).is_some(),
            Self::Rollout(object) => rollout::is_under_way(object),
            Self::Node(_) => false,
        }
    }

    /// Pods get another template only when somebody deletes them.
    pub fn updates_on_delete(&self) -> bool {
        let strategy = match self {
            Self::StatefulSet(object) => {
                object.spec.as_ref().and_then(|s| s.update_strategy.as_ref()).and_then(|s| s.type_.as_deref())
            }
            Self::DaemonSet(object) => {
                object.spec.as_ref().and_then(|s| s.update_strategy.as_ref()).and_then(|s| s.type_.as_deref())
            }
            Self::Deployment(_) | Self::Rollout(_) | Self::Node(_) => None,
        };
        strategy == Some("OnDelete")
    }

    /// A StatefulSet that waits for each pod to be ready before it touches the next one.
    pub fn is_ordered(&self) -> bool {
        match self {
            Self::StatefulSet(object) => {
                object.spec.as_ref().and_then(|s| s.pod_management_policy.as_deref()) != Some("Parallel")
            }
            Self::Deployment(_) | Self::DaemonSet(_) | Self::Rollout(_) | Self::Node(_) => false,
        }
    }
}
