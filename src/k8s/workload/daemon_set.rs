//! DaemonSets: whether a rollout is complete.

use k8s_openapi::api::apps::v1::DaemonSet;

use super::Left;

pub fn unsettled(set: &DaemonSet, wanted: i32) -> Option<Left> {
    let updated = set.status.as_ref().and_then(|s| s.updated_number_scheduled).unwrap_or_default();
    (updated < wanted).then(|| Left::Behind(format!("{updated} of {wanted} replicas have the present template")))
}
