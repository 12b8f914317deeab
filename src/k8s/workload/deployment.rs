//! Deployments: ReplicaSets are their revisions.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};

use super::{History, Left, Notes, Object, Unsettled, normal, of_replica_sets};

/// The label that the controller adds to a ReplicaSet's template.
const POD_TEMPLATE_HASH: &str = "pod-template-hash";
const NOTES: Notes = Notes {
    number: "deployment.kubernetes.io/revision",
    earlier: "deployment.kubernetes.io/revision-history",
    hash: POD_TEMPLATE_HASH,
};

pub fn history(object: &Object, deployment: &Deployment, replica_sets: &[ReplicaSet]) -> Result<History, Unsettled> {
    let mut template = deployment.spec.as_ref().map(|s| normal(&s.template)).unwrap_or_default();
    if let Some(labels) = template.metadata.as_mut().and_then(|m| m.labels.as_mut()) {
        labels.remove(POD_TEMPLATE_HASH);
    }
    let revisions = of_replica_sets(object, replica_sets, &NOTES);
    History::with(object, "ReplicaSet", revisions, |r| r.template == template)
}

pub fn completed(deployment: &Deployment) -> Option<Timestamp> {
    let conditions = deployment.status.as_ref()?.conditions.as_ref()?;
    let progressing = conditions.iter().find(|c| c.type_ == "Progressing")?;
    let complete = progressing.reason.as_deref() == Some("NewReplicaSetAvailable");
    progressing.last_update_time.as_ref().filter(|_| complete).map(|t| t.0)
}

pub fn unsettled(deployment: &Deployment, wanted: i32) -> Option<Left> {
    let status = deployment.status.as_ref();
    let updated = status.and_then(|s| s.updated_replicas).unwrap_or_default();
    let total = status.and_then(|s| s.replicas).unwrap_or_default();
    if updated < wanted {
        Some(Left::Behind(format!("{updated} of {wanted} replicas have the present template")))
    } else if total > updated {
        Some(Left::Over(format!("{} replicas of an earlier template are left", total - updated)))
    } else {
        None
    }
}
