//! AlertResponse -> a checked one: what CEL cannot check, and matchers that are ready to use.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::condition;
use super::payload::Alert;
use crate::api::alert_response::{AlertResponseSpec, Guardrails, StepAction};
use crate::api::duration::PromDuration;
use crate::api::response_run::RunTarget;
use crate::k8s::meta::is_object_name;
use crate::k8s::report::Reportable;
use crate::matcher::{self, Matcher, MatcherError};
use crate::rule::promql::ExprError;
use crate::schedule::{Schedule, ScheduleError};

/// Longer ones are no window but the rule.
const LONGEST_WINDOW: PromDuration = PromDuration::from_mins(31 * 24 * 60);

/// Why an AlertResponse can do nothing until its author changes it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Invalid {
    #[error("spec.match.matchers[{index}]: {source}")]
    Matcher { index: usize, source: MatcherError },
    #[error(
        "spec.match matches every alert: give alert, or a matcher that refuses the empty value, for example severity=\"critical\""
    )]
    MatchesEverything,
    #[error(
        "spec.verify.settle ({settle}) is not shorter than spec.verify.within ({within}): the repair could never be proved"
    )]
    Settle { settle: String, within: String },
    #[error("spec.steps[{index}] has no action: give one of rollback, restart, scale, notify")]
    NoAction { index: usize },
    #[error(
        "spec.steps[{index}].rollback.to is {value:?}: it must be lastHealthy, previous or the number of a revision"
    )]
    RollbackTo { index: usize, value: String },
    #[error("spec.steps[{index}].scale.to ({to}) is above max ({max})")]
    ScaleMax { index: usize, to: i32, max: i32 },
    #[error("spec.guardrails.maintenanceWindows[{index}].{field}: {message}")]
    MaintenanceWindow { index: usize, field: &'static str, message: String },
    #[error("spec.{field} {expr:?} does not parse{}: {}", .why.column.map(|at| format!(", column {at}")).unwrap_or_default(), .why.message)]
    Promql { field: &'static str, expr: String, why: ExprError },
    #[error("spec.guardrails.minReady is {value:?}: write a number of replicas or a share of them, for example 50%")]
    MinReady { value: String },
    #[error("spec.target.name {name:?} is not the name of a workload: lower-case letters, digits, '-' and '.'")]
    TargetName { name: String },
    #[error(
        "spec.serviceAccountName {name:?} is not the name of a ServiceAccount: lower-case letters, digits, '-' and '.'"
    )]
    ServiceAccountName { name: String },
}

impl Reportable for Invalid {
    fn reason(&self) -> &'static str {
        match self {
            Self::Matcher { .. } => "InvalidMatcher",
            Self::MatchesEverything => "MatchesEverything",
            Self::Settle { .. } => "InvalidVerify",
            Self::NoAction { .. } | Self::RollbackTo { .. } | Self::ScaleMax { .. } => "InvalidStep",
            Self::Promql { .. } => "InvalidExpression",
            Self::MaintenanceWindow { .. } | Self::MinReady { .. } => "InvalidGuardrail",
            Self::TargetName { .. } => "InvalidTarget",
            Self::ServiceAccountName { .. } => "InvalidServiceAccountName",
        }
    }
}

/// Matchers of a response, compiled.
#[derive(Clone, Debug)]
pub struct Selector {
    alert: Option<String>,
    matchers: Vec<Matcher>,
}

impl Selector {
    pub fn matches(&self, alert: &Alert) -> bool {
        self.alert.as_deref().is_none_or(|name| name == alert.name())
            && self.matchers.iter().all(|m| m.matches(&alert.labels))
    }
}

/// Checks the whole spec; the selector is what the intake goes by.
pub fn validate(spec: &AlertResponseSpec) -> Result<Selector, Invalid> {
    let selector = selector(spec)?;
    if let Some(name) = spec.target.name.as_ref().filter(|n| !n.is_empty() && !is_object_name(n)) {
        return Err(Invalid::TargetName { name: name.clone() });
    }
    if let Some(name) = spec.service_account_name.as_ref().filter(|n| !is_object_name(n)) {
        return Err(Invalid::ServiceAccountName { name: name.clone() });
    }
    if spec.verify.settle >= spec.verify.within {
        let (settle, within) = (spec.verify.settle.to_string(), spec.verify.within.to_string());
        return Err(Invalid::Settle { settle, within });
    }
    guardrails(&spec.guardrails)?;
    for (field, expr) in [("onlyIf.promql", &spec.only_if.promql), ("verify.promql", &spec.verify.promql)] {
        if let Some(Err(error)) = expr.as_deref().map(condition::question) {
            return Err(Invalid::Promql { field, expr: expr.clone().unwrap_or_default(), why: error });
        }
    }
    for (index, step) in spec.steps.iter().enumerate() {
        match step.action() {
            None => return Err(Invalid::NoAction { index }),
            Some(StepAction::Rollback(rollback)) if rollback.destination().is_none() => {
                return Err(Invalid::RollbackTo { index, value: format!("{:?}", rollback.to) });
            }
            Some(StepAction::Scale(scale)) => {
                if let (Some(to), Some(max)) = (scale.to, scale.max)
                    && to > max
                {
                    return Err(Invalid::ScaleMax { index, to, max });
                }
            }
            Some(StepAction::Rollback(_) | StepAction::Restart(_) | StepAction::Notify(_)) => {}
        }
    }
    Ok(selector)
}

fn guardrails(guardrails: &Guardrails) -> Result<(), Invalid> {
    if let Some(value) = guardrails.min_ready.as_ref().filter(|_| guardrails.min_ready_of(1).is_none()) {
        return Err(Invalid::MinReady { value: intstr(value) });
    }
    for (index, window) in guardrails.maintenance_windows.iter().enumerate() {
        let wrong = |field, message: String| Err(Invalid::MaintenanceWindow { index, field, message });
        match Schedule::new(&window.cron, window.time_zone.as_deref()) {
            Ok(_) => {}
            Err(error @ ScheduleError::Zone(_)) => return wrong("timeZone", error.to_string()),
            Err(error @ ScheduleError::Cron { .. }) => return wrong("cron", error.to_string()),
        }
        if window.duration.is_zero() || window.duration > LONGEST_WINDOW {
            let message = format!("{} is not a length: write up to {LONGEST_WINDOW}, for example 2h", window.duration);
            return wrong("duration", message);
        }
    }
    Ok(())
}

fn intstr(value: &IntOrString) -> String {
    match value {
        IntOrString::Int(number) => number.to_string(),
        IntOrString::String(text) => text.clone(),
    }
}

fn selector(spec: &AlertResponseSpec) -> Result<Selector, Invalid> {
    let alert = spec.match_.alert.clone().filter(|name| !name.is_empty());
    let mut matchers = vec![];
    for (index, text) in spec.match_.matchers.iter().enumerate() {
        matchers.extend(matcher::parse(text).map_err(|source| Invalid::Matcher { index, source })?);
    }
    if alert.is_none() && matchers.iter().all(Matcher::accepts_empty) {
        return Err(Invalid::MatchesEverything);
    }
    Ok(Selector { alert, matchers })
}

/// The workload that the alert is about. Labels are untrusted: the value must be the name of an object, and it is only
/// ever looked up in the response's own namespace.
pub fn target(spec: &AlertResponseSpec, labels: &BTreeMap<String, String>) -> RunTarget {
    let kind = spec.target.kind;
    let failed = |problem: String| RunTarget { kind, name: String::new(), problem: Some(problem) };
    let label = match (&spec.target.name, &spec.target.name_from_label) {
        (Some(name), _) if !name.is_empty() => return RunTarget { kind, name: name.clone(), problem: None },
        (_, Some(label)) => label,
        (_, None) => return failed("the AlertResponse has neither target.name nor target.nameFromLabel".into()),
    };
    match labels.get(label).map(String::as_str).unwrap_or_default() {
        "" => failed(format!("the alert has no label {label}, which target.nameFromLabel names")),
        name if is_object_name(name) => RunTarget { kind, name: name.to_owned(), problem: None },
        _ => failed(format!("the value of the alert's label {label} is not the name of a {}", kind.as_str())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(yaml: &str) -> AlertResponseSpec {
        serde_saphyr::from_str(yaml).unwrap()
    }

    fn minimal(match_: &str) -> AlertResponseSpec {
        spec(&format!("{{match: {match_}, target: {{name: web}}, steps: [{{restart: {{}}}}]}}"))
    }

    fn alert(pairs: &[(&str, &str)]) -> Alert {
        let labels = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Alert { labels, ..Alert::default() }
    }

    #[test]
    fn an_alert_must_match_the_name_and_every_matcher() {
        let selector = validate(&minimal(r#"{alert: A, matchers: ['severity="critical"', 'team!="infra"']}"#)).unwrap();
        for (labels, expected) in [
            (vec![("alertname", "A"), ("severity", "critical")], true),
            (vec![("alertname", "B"), ("severity", "critical")], false),
            (vec![("alertname", "A"), ("severity", "warning")], false),
            (vec![("alertname", "A"), ("severity", "critical"), ("team", "infra")], false),
        ] {
            assert_eq!(selector.matches(&alert(&labels)), expected, "{labels:?}");
        }
    }

    #[test]
    fn a_match_that_refuses_no_alert_is_an_error() {
        for everything in ["{}", "{alert: ''}", "{matchers: ['a=~\".*\"']}", "{matchers: ['a!=\"b\"', 'c=\"\"']}"] {
            assert_eq!(validate(&minimal(everything)).map(|_| ()), Err(Invalid::MatchesEverything), "{everything}");
        }
        assert!(validate(&minimal("{matchers: ['a=~\".+\"']}")).is_ok());
    }

    #[test]
    fn what_cel_cannot_check_is_named_with_its_field() {
        for (yaml, part) in [
            ("{match: {alert: A, matchers: ['x=y', 'z']}, target: {name: w}, steps: [{restart: {}}]}", "matchers[1]"),
            ("{match: {alert: A}, target: {name: W_1}, steps: [{restart: {}}]}", "spec.target.name \"W_1\""),
            (
                "{match: {alert: A}, target: {name: w}, serviceAccountName: 'kube-system:admin', steps: [{restart: {}}]}",
                "spec.serviceAccountName \"kube-system:admin\"",
            ),
            ("{match: {alert: A}, target: {name: w}, steps: [{}]}", "spec.steps[0] has no action"),
            ("{match: {alert: A}, target: {name: w}, steps: [{rollback: {to: 0}}]}", "spec.steps[0].rollback.to"),
            (
                "{match: {alert: A}, target: {name: w}, steps: [{scale: {to: 5, max: 4}}]}",
                "scale.to (5) is above max (4)",
            ),
            (
                "{match: {alert: A}, target: {name: w}, steps: [{restart: {}}], verify: {within: 30s, settle: 30s}}",
                "verify.settle (30s)",
            ),
            (
                "{match: {alert: A}, target: {name: w}, steps: [{restart: {}}], verify: {promql: 'up =='}}",
                "spec.verify.promql \"up ==\" does not parse",
            ),
            (
                "{match: {alert: A}, target: {name: w}, steps: [{restart: {}}], guardrails: {minReady: half}}",
                "spec.guardrails.minReady is \"half\"",
            ),
            (
                "{match: {alert: A}, target: {name: w}, steps: [{restart: {}}], guardrails: {maintenanceWindows: [{cron: '0 2 * *', duration: 2h}]}}",
                "maintenanceWindows[0].cron: \"0 2 * *\" does not have five fields",
            ),
            (
                "{match: {alert: A}, target: {name: w}, steps: [{restart: {}}], guardrails: {maintenanceWindows: [{cron: 0 2 * * 6, duration: 2h, timeZone: Paris}]}}",
                "maintenanceWindows[0].timeZone: \"Paris\"",
            ),
            (
                "{match: {alert: A}, target: {name: w}, steps: [{restart: {}}], guardrails: {maintenanceWindows: [{cron: 0 2 * * 6, duration: 32d}]}}",
                "maintenanceWindows[0].duration: 32d",
            ),
        ] {
            let error = validate(&spec(yaml)).map(|_| ()).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_target_from_a_label_must_be_the_name_of_an_object() {
        let spec = spec("{match: {alert: A}, target: {nameFromLabel: deployment}, steps: [{restart: {}}]}");
        let name = |value: &str| target(&spec, &BTreeMap::from([("deployment".to_owned(), value.to_owned())]));
        assert_eq!(name("checkout-v2").name, "checkout-v2");
        for hostile in ["", "../secrets/x", "Checkout", "a b", "-a", "a..b", "kube-system/coredns", &"a".repeat(254)] {
            let target = name(hostile);
            assert!(target.name.is_empty() && target.problem.is_some(), "{hostile:?}");
        }
    }
}
