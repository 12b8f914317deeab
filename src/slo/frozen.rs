//! Whether a ChangeFreeze is in force at a moment, and when that changes. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use crate::api::change_freeze::{ChangeFreezeSpec, ChangeFreezeStatus, Workload};
use crate::api::{ChangeFreeze, Conditioned};
use crate::k8s::status::{Extra, Outcome, at_second, conditions};

/// The condition that says whether the named workloads exist: a slip in a name freezes nothing.
pub const FOUND: &str = "WorkloadsFound";

/// How a freeze stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    pub status: ChangeFreezeStatus,
    pub outcome: Outcome,
    /// When it begins or ends; `None` when only a person or the operator changes it.
    pub changes_at: Option<Timestamp>,
}

/// What is known of the namespace of a freeze.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The named workloads that do not exist; `None` when that is not known.
    pub missing: Option<&'a [&'a Workload]>,
    /// Why freezes refuse nothing here, where that is so.
    pub exempt: Option<&'static str>,
}

/// Why freezes refuse nothing in a namespace. `home` is the operator's; `*` among `exempt` stands for all.
pub fn exempt(namespace: &str, home: &str, exempt: &[String]) -> Option<&'static str> {
    if exempt.iter().any(|name| name == "*") {
        return Some("the chart was installed with changeFreezes.enabled=false");
    }
    let here = namespace == home || exempt.iter().any(|name| name == namespace);
    here.then_some(
        "this namespace is the operator's, kube-system, or among changeFreezes.exemptNamespaces of the chart",
    )
}

/// Whether `now` is between its beginning and its end, wherever it is.
pub fn is_due(spec: &ChangeFreezeSpec, now: Timestamp) -> bool {
    spec.from.as_ref().is_none_or(|from| from.0 <= now) && spec.until.as_ref().is_none_or(|until| now < until.0)
}

/// Judges `freeze` at `now`.
pub fn judge(freeze: &ChangeFreeze, seen: Seen<'_>, now: Timestamp) -> Standing {
    let spec = &freeze.spec;
    let (from, until) = (spec.from.as_ref().map(|t| t.0), spec.until.as_ref().map(|t| t.0));
    let (active, changes_at) = match (from, until) {
        _ if seen.exempt.is_some() => (false, None),
        (_, Some(until)) if until <= now => (false, None),
        (Some(from), _) if now < from => (false, Some(from)),
        (_, until) => (true, until),
    };
    let outcome = match (active, until) {
        (false, _) if seen.exempt.is_some() => {
            let message = format!("it refuses nothing: {}", seen.exempt.unwrap_or_default());
            Outcome::Stalled { reason: "NotEnforced", message }
        }
        (true, until) => Outcome::Ready { reason: "InForce", message: in_force(&spec.workloads, until) },
        (false, Some(until)) if until <= now => over(freeze, until),
        (false, _) => {
            let from = from.map(|from| from.to_string()).unwrap_or_default();
            Outcome::Ready { reason: "Planned", message: format!("begins {from}") }
        }
    };
    let generation = freeze.metadata.generation;
    let previous = freeze.status.as_ref().filter(|status| status.active == Some(true));
    let since = previous.and_then(|status| status.since.clone()).unwrap_or(Time(at_second(now)));
    let status = ChangeFreezeStatus {
        observed_generation: generation,
        conditions: conditions(freeze.conditions(), generation, &outcome, &[found(seen.missing)], now),
        active: Some(active),
        since: active.then_some(since),
    };
    Standing { status, outcome, changes_at }
}

fn in_force(workloads: &[Workload], until: Option<Timestamp>) -> String {
    let end = until.map_or("it is deleted".to_owned(), |until| until.to_string());
    format!("changes of the pod templates of {} are refused until {end}", named(workloads))
}

fn named<'a>(workloads: impl IntoIterator<Item = &'a Workload>) -> String {
    let named: Vec<_> = workloads.into_iter().map(|w| format!("{:?}/{}", w.kind, w.name)).collect();
    named.join(", ")
}

fn found(missing: Option<&[&Workload]>) -> Extra {
    let (status, reason, message) = match missing {
        None => (None, "NotLooked", "the API server did not say whether they exist; asked again".to_owned()),
        Some([]) => (Some(true), "Found", String::new()),
        Some(missing) => {
            let named = named(missing.iter().copied());
            let said = format!(
                "not in this namespace: {named}; to create them is refused, and a slip in a name freezes nothing else"
            );
            (Some(false), "WorkloadMissing", said)
        }
    };
    Extra { type_: FOUND, status, reason, message }
}

fn over(freeze: &ChangeFreeze, until: Timestamp) -> Outcome {
    let created = freeze.creation_timestamp().map(|t| t.0);
    if created.is_some_and(|created| until <= created) {
        // Most likely a slip of the pen, such as last year.
        let message = format!("spec.until {until} was over when this was written: set a time to come, or delete it");
        return Outcome::Stalled { reason: "EndsInThePast", message };
    }
    let message = format!("ended {until}, and refuses nothing any more: delete it, or set a later spec.until");
    Outcome::Ready { reason: "Over", message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const FOUND_ALL: Seen<'static> = Seen { missing: Some(&[]), exempt: None };

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn freeze(mut spec: Value) -> ChangeFreeze {
        spec["reason"] = "Black Friday".into();
        spec["workloads"] = json!([{"kind": "Deployment", "name": "*"}, {"kind": "StatefulSet", "name": "db"}]);
        serde_json::from_value(json!({
            "apiVersion": "evenkeel.dev/v1alpha1", "kind": "ChangeFreeze", "spec": spec,
            "metadata": {"name": "weekend", "namespace": "shop", "generation": 3, "creationTimestamp": "2026-11-20T00:00:00Z"},
        }))
        .unwrap()
    }

    fn weekend() -> ChangeFreeze {
        freeze(json!({"from": "2026-11-28T00:00:00Z", "until": "2026-11-30T08:00:00Z"}))
    }

    #[test]
    fn it_is_planned_then_in_force_then_over_and_each_change_is_known_before() {
        let planned = judge(&weekend(), FOUND_ALL, at("2026-11-27T23:59:59Z"));
        assert_eq!((planned.status.active, planned.outcome.reason()), (Some(false), "Planned"));
        assert_eq!(planned.changes_at, Some(at("2026-11-28T00:00:00Z")));
        let held = judge(&weekend(), FOUND_ALL, at("2026-11-28T00:00:00Z"));
        assert_eq!((held.status.active, held.outcome.reason()), (Some(true), "InForce"));
        assert_eq!(held.changes_at, Some(at("2026-11-30T08:00:00Z")));
        assert_eq!(held.status.since, Some(Time(at("2026-11-28T00:00:00Z"))));
        let over = judge(&weekend(), FOUND_ALL, at("2026-11-30T08:00:00Z"));
        assert_eq!((over.status.active, over.status.since, over.changes_at), (Some(false), None, None));
        assert_eq!(over.outcome.reason(), "Over");
        assert!(over.outcome.message().contains("ended 2026-11-30T08:00:00Z"), "{:?}", over.outcome);
    }

    #[test]
    fn without_an_end_it_is_in_force_until_it_is_deleted() {
        let standing = judge(&freeze(json!({})), FOUND_ALL, at("2026-11-21T00:00:00Z"));
        assert_eq!((standing.status.active, standing.changes_at), (Some(true), None));
        let said = "changes of the pod templates of Deployment/*, StatefulSet/db are refused until it is deleted";
        assert_eq!(standing.outcome.message(), said);
    }

    #[test]
    fn an_end_that_was_over_when_it_was_written_is_a_mistake_that_is_said() {
        let standing = judge(&freeze(json!({"until": "2025-11-30T08:00:00Z"})), FOUND_ALL, at("2026-11-21T00:00:00Z"));
        assert_eq!(standing.status.active, Some(false));
        assert!(matches!(standing.outcome, Outcome::Stalled { reason: "EndsInThePast", .. }), "{:?}", standing.outcome);
    }

    #[test]
    fn a_workload_that_does_not_exist_is_named_and_the_freeze_is_in_force_all_the_same() {
        let freeze = freeze(json!({}));
        let missing = [&freeze.spec.workloads[1]];
        let standing = judge(&freeze, Seen { missing: Some(&missing), exempt: None }, at("2026-11-21T00:00:00Z"));
        assert_eq!(standing.status.active, Some(true));
        let condition = standing.status.conditions.iter().find(|c| c.type_ == FOUND).unwrap();
        assert_eq!((condition.status.as_str(), condition.reason.as_str()), ("False", "WorkloadMissing"));
        assert!(condition.message.contains("not in this namespace: StatefulSet/db;"), "{}", condition.message);
        let unknown = judge(&freeze, Seen { missing: None, exempt: None }, at("2026-11-21T00:00:00Z")).status;
        assert_eq!((unknown.active, unknown.conditions[3].status.as_str()), (Some(true), "Unknown"));
    }

    #[test]
    fn where_no_policy_refuses_anything_the_freeze_does_not_pretend_to() {
        let named = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(exempt("shop", "home", &named(&["kube-system"])), None);
        for (namespace, list) in [("home", "kube-system"), ("kube-system", "kube-system"), ("shop", "*")] {
            let why = exempt(namespace, "home", &named(&[list]));
            let standing = judge(&freeze(json!({})), Seen { exempt: why, ..FOUND_ALL }, at("2026-11-21T00:00:00Z"));
            assert_eq!(
                (standing.status.active, standing.outcome.reason()),
                (Some(false), "NotEnforced"),
                "{namespace}"
            );
            assert!(matches!(standing.outcome, Outcome::Stalled { .. }) && standing.changes_at.is_none());
        }
    }

    #[test]
    fn nothing_changes_while_nothing_happens_and_since_stays() {
        let mut freeze = weekend();
        freeze.status = Some(judge(&freeze, FOUND_ALL, at("2026-11-28T00:00:01Z")).status);
        let later = judge(&freeze, FOUND_ALL, at("2026-11-29T12:00:00Z")).status;
        assert_eq!(Some(later), freeze.status);
    }

    #[test]
    fn a_freeze_that_is_prolonged_after_its_end_begins_anew() {
        let mut freeze = weekend();
        freeze.status = Some(judge(&freeze, FOUND_ALL, at("2026-11-30T09:00:00Z")).status);
        freeze.spec.until = Some(Time(at("2026-12-01T00:00:00Z")));
        let again = judge(&freeze, FOUND_ALL, at("2026-11-30T10:00:00Z")).status;
        assert_eq!((again.active, again.since), (Some(true), Some(Time(at("2026-11-30T10:00:00Z")))));
    }
}
