//! StatefulSets: whether a rollout is complete.

use k8s_openapi::api::apps::v1::StatefulSet;

use super::Left;

/// The pods below the partition keep the template that they have, as their author wants it.
pub fn unsettled(set: &StatefulSet, wanted: i32) -> Option<Left> {
    let strategy = set.spec.as_ref().and_then(|s| s.update_strategy.as_ref());
    let partition = strategy.and_then(|s| s.rolling_update.as_ref()).and_then(|r| r.partition).unwrap_or_default();
    let status = set.status.as_ref();
    let updated = status.and_then(|s| s.updated_replicas).unwrap_or_default();
    let of = (wanted - partition).max(0);
    if updated < of {
        return Some(Left::Behind(format!("{updated} of {of} replicas have the present template")));
    }
    let present = status.and_then(|s| s.current_revision.as_deref());
    let update = status.and_then(|s| s.update_revision.as_deref());
    // Set equal by the controller when the update is over. With OnDelete it never is, whatever the pods have.
    let on_delete = strategy.and_then(|s| s.type_.as_deref()) == Some("OnDelete");
    (partition == 0 && !on_delete && present != update).then(|| Left::Over("its update is not complete".to_owned()))
}
