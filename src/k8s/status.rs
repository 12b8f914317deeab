//! Conditions as kstatus and Argo CD judge them, and the one way a status is written.

use std::fmt::Debug;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::api::{Api, Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::meta::FIELD_MANAGER;

/// What a reconcile found out, in the words of kstatus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything the spec asks for was observed. Ready=True.
    Ready { reason: &'static str, message: String },
    /// On its way, no error: a rollout, say. Ready=Unknown, Reconciling=True.
    Progressing { reason: &'static str, message: String },
    /// An error that may pass by itself; it is tried again. Ready=False, Reconciling=True.
    Failing { reason: &'static str, message: String },
    /// Nothing happens until a person changes something. Ready=False, Stalled=True.
    Stalled { reason: &'static str, message: String },
}

impl Outcome {
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Ready { reason, .. }
            | Self::Progressing { reason, .. }
            | Self::Failing { reason, .. }
            | Self::Stalled { reason, .. } => reason,
        }
    }
    pub fn message(&self) -> &str {
        match self {
            Self::Ready { message, .. }
            | Self::Progressing { message, .. }
            | Self::Failing { message, .. }
            | Self::Stalled { message, .. } => message,
        }
    }
}

/// A condition beside the three of kstatus, for example `Accepted` or `Loaded`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extra {
    pub type_: &'static str,
    /// `None` is Unknown.
    pub status: Option<bool>,
    pub reason: &'static str,
    pub message: String,
}

/// All conditions of an object. `lastTransitionTime` moves only when a condition's status changes, so that an
/// unchanged outcome yields an unchanged status and no write.
pub fn conditions(
    previous: &[Condition],
    generation: Option<i64>,
    outcome: &Outcome,
    extras: &[Extra],
    now: Timestamp,
) -> Vec<Condition> {
    let (ready, reconciling, stalled) = match outcome {
        Outcome::Ready { .. } => (Some(true), false, false),
        Outcome::Progressing { .. } => (None, true, false),
        Outcome::Failing { .. } => (Some(false), true, false),
        Outcome::Stalled { .. } => (Some(false), false, true),
    };
    let of_outcome = |type_, status, tells: bool| Extra {
        type_,
        status,
        reason: outcome.reason(),
        message: if tells { outcome.message().to_owned() } else { String::new() },
    };
    [
        of_outcome("Ready", ready, true),
        of_outcome("Reconciling", Some(reconciling), reconciling),
        of_outcome("Stalled", Some(stalled), stalled),
    ]
    .iter()
    .chain(extras)
    .map(|extra| {
        let status = match extra.status {
            Some(true) => "True",
            Some(false) => "False",
            None => "Unknown",
        };
        let since = previous
            .iter()
            .find(|c| c.type_ == extra.type_ && c.status == status)
            .map_or(Time(at_second(now)), |c| c.last_transition_time.clone());
        Condition {
            type_: extra.type_.to_owned(),
            status: status.to_owned(),
            reason: extra.reason.to_owned(),
            message: extra.message.clone(),
            last_transition_time: since,
            observed_generation: generation,
        }
    })
    .collect()
}

/// The API server keeps whole seconds of a `Time`: anything finer would differ from what it gives back.
pub fn at_second(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// Writes `status` when it differs from the one the object had. Returns whether it wrote. `controller` is the suffix
/// of the field manager, one for each controller that writes this kind's status.
pub async fn patch<K, S>(
    client: &Client,
    controller: &str,
    object: &K,
    old: Option<&S>,
    new: &S,
) -> Result<bool, kube::Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    S: Serialize + PartialEq,
{
    if old == Some(new) {
        return Ok(false);
    }
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let body = json_status::<K, S>(&namespace, &name, object.uid(), new);
    let manager = PatchParams::apply(&format!("{FIELD_MANAGER}-{controller}")).force();
    let api = Api::<K>::namespaced(client.clone(), &namespace);
    api.patch_status(&name, &manager, &Patch::Apply(&body)).await?;
    Ok(true)
}

/// Writes `new` only if nobody changed the object since `object` was read, and returns it as it is now. A conflict (409)
/// is for the caller to solve: by reading again and deciding again.
pub async fn patch_unchanged<K, S>(client: &Client, controller: &str, object: &K, new: &S) -> Result<K, kube::Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    S: Serialize,
{
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let mut body = json_status::<K, S>(&namespace, &name, object.uid(), new);
    body["metadata"]["resourceVersion"] = object.resource_version().unwrap_or_default().into();
    let manager = PatchParams::apply(&format!("{FIELD_MANAGER}-{controller}")).force();
    Api::<K>::namespaced(client.clone(), &namespace).patch_status(&name, &manager, &Patch::Apply(&body)).await
}

/// The UID makes the write fail, rather than create or hit a namesake, when the object was deleted meanwhile.
fn json_status<K: Resource<DynamicType = ()>, S: Serialize>(
    namespace: &str,
    name: &str,
    uid: Option<String>,
    status: &S,
) -> serde_json::Value {
    json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": {"name": name, "namespace": namespace, "uid": uid},
        "status": status,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn an_unchanged_outcome_leaves_every_condition_as_it_was() {
        let outcome = Outcome::Ready { reason: "AllReady", message: "1 of 1".into() };
        let first = conditions(&[], Some(3), &outcome, &[], at(100));
        let second = conditions(&first, Some(3), &outcome, &[], at(200));
        assert_eq!(first, second);
    }

    #[test]
    fn only_the_condition_whose_status_changed_moves_in_time() {
        let ready = Outcome::Ready { reason: "AllReady", message: String::new() };
        let failing = Outcome::Failing { reason: "ApiError", message: "no".into() };
        let before = conditions(&[], Some(1), &ready, &[], at(100));
        let after = conditions(&before, Some(1), &failing, &[], at(200));
        let times: Vec<_> =
            after.iter().map(|c| (c.type_.as_str(), c.status.as_str(), c.last_transition_time.0)).collect();
        assert_eq!(
            times,
            [("Ready", "False", at(200)), ("Reconciling", "True", at(200)), ("Stalled", "False", at(100))]
        );
    }

    #[test]
    fn a_rollout_in_progress_is_unknown_and_not_failed() {
        let progressing = Outcome::Progressing { reason: "RollingOut", message: "0 of 1".into() };
        let conditions = conditions(&[], None, &progressing, &[], at(1));
        assert_eq!((conditions[0].status.as_str(), conditions[2].status.as_str()), ("Unknown", "False"));
    }
}
