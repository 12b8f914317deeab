//! Pods of a workload.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;

use super::{Object, is_controlled_by};

/// Label of a pod of a StatefulSet (the name of the ControllerRevision) or DaemonSet (the end of that name).
const CONTROLLER_REVISION: &str = "controller-revision-hash";

/// Whether the pod is controlled by the workload: directly, or through a ReplicaSet that the workload controls. A label
/// that matches proves nothing.
pub fn is_controlled(pod: &Pod, object: &Object, replica_sets: &[ReplicaSet]) -> bool {
    match object {
        Object::StatefulSet(_) | Object::DaemonSet(_) => is_controlled_by(&pod.metadata, object.uid()),
        Object::Deployment(_) | Object::Rollout(_) => replica_sets
            .iter()
            .filter(|r| is_controlled_by(&r.metadata, object.uid()))
            .any(|r| is_controlled_by(&pod.metadata, r.metadata.uid.as_deref())),
        Object::Node(_) => false,
    }
}

/// By its Ready condition.
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().filter_map(|s| s.conditions.as_ref()).flatten();
    conditions.filter(|c| c.type_ == "Ready").any(|c| c.status == "True")
}

/// On its way out.
pub fn is_terminating(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// It has a node, and has not ended.
pub fn is_running(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
    pod.spec.as_ref().and_then(|s| s.node_name.as_ref()).is_some() && !matches!(phase, Some("Succeeded" | "Failed"))
}

/// Whether it was made by this ControllerRevision.
pub fn is_of_revision(pod: &Pod, object: &Object, revision: &str) -> bool {
    let hash = pod.metadata.labels.as_ref().and_then(|labels| labels.get(CONTROLLER_REVISION));
    match object {
        Object::DaemonSet(_) => hash.is_some_and(|hash| revision == format!("{}-{hash}", object.name())),
        _ => hash.is_some_and(|hash| hash == revision),
    }
}

/// When it was made.
pub fn created(pod: &Pod) -> Option<Timestamp> {
    pod.metadata.creation_timestamp.as_ref().map(|t| t.0)
}
