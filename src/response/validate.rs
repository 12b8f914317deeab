//! AlertResponse -> a checked one: what CEL cannot check, and matchers that are ready to use.

mod steps;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use self::steps::{LONGEST_JOB, SHORTEST_JOB, possible};
use super::condition;
use super::payload::Alert;
use crate::api::alert_response::{AlertResponseSpec, Guardrails, StepAction, TargetKind};
use crate::api::duration::PromDuration;
use crate::api::response_run::RunTarget;
use crate::k8s::meta::is_object_name;
use crate::k8s::report::Reportable;
use crate::matcher::{self, Matcher, MatcherError};
use crate::rule::promql::ExprError;
use crate::schedule::{Schedule, ScheduleError};

/// Longer ones are no window but the rule.
const LONGEST_WINDOW: PromDuration = PromDuration::from_mins(31 * 24 * 60);
/// `maxRunsPerHour` counts the runs that are there.
const LEAST_AGE: PromDuration = PromDuration::from_mins(60);

/// Why an AlertResponse can do nothing until its author changes it.
#[derive(Debug, thiserror::Error, PartialEq)]
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
    #[error("spec.{at} has no action: give one of {}", StepAction::NAMES)]
    NoAction { at: String },
    #[error(
        "spec.{at}.{step} cannot be done to a {}, which spec.target names: possible are {}",
        .kind.as_str(), possible(*.kind)
    )]
    StepDoesNotFit { at: String, step: &'static str, kind: TargetKind },
    #[error("spec.{at}.rollback.to is {value:?}: it must be lastHealthy, previous or the number of a revision")]
    RollbackTo { at: String, value: String },
    #[error("spec.{at}.scale.to ({to}) is above max ({max})")]
    ScaleMax { at: String, to: i32, max: i32 },
    #[error("spec.{at}.silence.for is {value}: it must be from 1m to 7d")]
    SilenceFor { at: String, value: PromDuration },
    #[error("spec.{at}.job.timeout is {value}: it must be from {SHORTEST_JOB} to {LONGEST_JOB}")]
    JobTimeout { at: String, value: PromDuration },
    #[error("spec.{at}.job.fromCronJob {name:?} is not the name of a CronJob: lower-case letters, digits, '-' and '.'")]
    FromCronJob { at: String, name: String },
    #[error("spec.guardrails.maintenanceWindows[{index}].{field}: {message}")]
    MaintenanceWindow { index: usize, field: &'static str, message: String },
    #[error("spec.{field} {expr:?} does not parse{}: {}", .why.column.map(|at| format!(", column {at}")).unwrap_or_default(), .why.message)]
    Promql { field: String, expr: String, why: ExprError },
    #[error("spec.{field} {expr:?} cannot be asked: {why}")]
    Logql { field: String, expr: String, why: String },
    #[error("spec.{field}.name {name:?} is not the name of an SLO: lower-case letters, digits, '-' and '.'")]
    SloName { field: &'static str, name: String },
    #[error(
        "spec.{field} is {rate}: write a burn rate, for example 6; 1 spends the budget exactly in the SLO's window"
    )]
    BurnRate { field: &'static str, rate: f64 },
    #[error("spec.runHistory.maxAge is {age}: write at least {LEAST_AGE}, since limits look back so far")]
    MaxAge { age: String },
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
            Self::SloName { .. } | Self::BurnRate { .. } => "InvalidSLO",
            Self::MaxAge { .. } => "InvalidRunHistory",
            Self::NoAction { .. } | Self::StepDoesNotFit { .. } => "InvalidStep",
            Self::RollbackTo { .. } | Self::ScaleMax { .. } => "InvalidStep",
            Self::SilenceFor { .. } | Self::JobTimeout { .. } | Self::FromCronJob { .. } => "InvalidStep",
            Self::Promql { .. } | Self::Logql { .. } => "InvalidExpression",
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
    /// Whether alerts about other namespaces are meant too.
    anywhere: bool,
}

impl Selector {
    /// Whether an AlertResponse of `namespace` with this selector matches. An alert whose label says that it is about another
    /// namespace does not concern it, unless a matcher speaks of namespaces, or the target belongs to none.
    pub fn matches(&self, alert: &Alert, namespace: &str) -> bool {
        let about = alert.labels.get("namespace").map(String::as_str).unwrap_or_default();
        let concerned = self.anywhere || about.is_empty() || about == namespace;
        concerned
            && self.alert.as_deref().is_none_or(|name| name == alert.name())
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
    slos(spec)?;
    if spec.run_history.max_age < LEAST_AGE {
        return Err(Invalid::MaxAge { age: spec.run_history.max_age.to_string() });
    }
    for (field, expr) in [("onlyIf.promql", &spec.only_if.promql), ("verify.promql", &spec.verify.promql)] {
        if let Some(Err(error)) = expr.as_deref().map(condition::question) {
            return Err(Invalid::Promql { field: field.into(), expr: expr.clone().unwrap_or_default(), why: error });
        }
    }
    let kind = spec.target.kind;
    steps::check("steps", &spec.steps, kind)?;
    for (index, fallback) in spec.fallback.iter().enumerate() {
        steps::check(&format!("fallback[{index}].steps"), &fallback.steps, kind)?;
    }
    Ok(selector)
}

fn slos(spec: &AlertResponseSpec) -> Result<(), Invalid> {
    let only_if = spec.only_if.slo.as_ref().map(|slo| ("onlyIf.slo", &slo.name));
    let verify = spec.verify.slo.as_ref().map(|slo| ("verify.slo", &slo.name));
    if let Some((field, name)) = only_if.into_iter().chain(verify).find(|(_, name)| !is_object_name(name)) {
        return Err(Invalid::SloName { field, name: name.clone() });
    }
    match (&spec.only_if.slo, &spec.verify.slo) {
        (Some(slo), _) if !(0.0..f64::INFINITY).contains(&slo.burn_above) => {
            Err(Invalid::BurnRate { field: "onlyIf.slo.burnAbove", rate: slo.burn_above })
        }
        (_, Some(slo)) if slo.burn_below <= 0.0 || !slo.burn_below.is_finite() => {
            Err(Invalid::BurnRate { field: "verify.slo.burnBelow", rate: slo.burn_below })
        }
        _ => Ok(()),
    }
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
    let anywhere = spec.target.kind == TargetKind::Node || matchers.iter().any(|matcher| matcher.name() == "namespace");
    Ok(Selector { alert, matchers, anywhere })
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
            assert_eq!(selector.matches(&alert(&labels), "shop"), expected, "{labels:?}");
        }
    }

    #[test]
    fn an_alert_about_another_namespace_is_matched_only_where_that_is_said() {
        let matches = |match_: &str, namespace: &str| {
            let alert = alert(&[("alertname", "A"), ("namespace", namespace)]);
            validate(&minimal(match_)).unwrap().matches(&alert, "shop")
        };
        assert!(matches("{alert: A}", "shop") && !matches("{alert: A}", "payments") && matches("{alert: A}", ""));
        let named = r#"{alert: A, matchers: ['namespace=~"shop|payments"']}"#;
        assert!(matches(named, "payments") && !matches(named, "other"));
        let node = spec("{match: {alert: A}, target: {kind: Node, nameFromLabel: node}, steps: [{cordon: {}}]}");
        let elsewhere = alert(&[("alertname", "A"), ("namespace", "monitoring")]);
        assert!(validate(&node).unwrap().matches(&elsewhere, "shop"));
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
            (
                "{match: {alert: A}, target: {kind: DaemonSet, name: w}, steps: [{restart: {}}, {scale: {to: 2}}]}",
                "spec.steps[1].scale cannot be done to a DaemonSet, which spec.target names: possible are rollback, restart, deletePod,",
            ),
            (
                "{match: {alert: A}, target: {kind: StatefulSet, name: w}, steps: [{pauseRollout: {}}]}",
                "spec.steps[0].pauseRollout cannot be done to a StatefulSet",
            ),
            (
                "{match: {alert: A}, target: {kind: Node, nameFromLabel: node}, steps: [{cordon: {}}], fallback: [{steps: [{restart: {}}]}]}",
                "spec.fallback[0].steps[0].restart cannot be done to a Node, which spec.target names: possible are cordon",
            ),
            ("{match: {alert: A}, target: {name: w}, steps: [{rollback: {to: 0}}]}", "spec.steps[0].rollback.to"),
            (
                "{match: {alert: A}, target: {name: w}, steps: [{scale: {to: 5, max: 4}}]}",
                "scale.to (5) is above max (4)",
            ),
            (
                "{match: {alert: A}, target: {name: w}, steps: [{silence: {for: 8d}}]}",
                "spec.steps[0].silence.for is 8d",
            ),
            ("{match: {alert: A}, target: {name: w}, steps: [{silence: {for: 30s}}]}", "from 1m to 7d"),
            (
                "{match: {alert: A}, target: {name: w}, steps: [{job: {fromCronJob: x, timeout: 7h}}]}",
                "spec.steps[0].job.timeout is 7h: it must be from 1s to 6h",
            ),
            (
                "{match: {alert: A}, target: {name: w}, steps: [{job: {fromCronJob: ../x}}]}",
                "spec.steps[0].job.fromCronJob \"../x\"",
            ),
            (
                "{match: {alert: A}, target: {name: w}, steps: [{diagnose: {promql: [up, 'up ==']}}]}",
                "spec.steps[0].diagnose.promql[1] \"up ==\" does not parse",
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
                "{match: {alert: A}, target: {name: w}, steps: [{restart: {}}], onlyIf: {slo: {name: Shop, burnAbove: 6}}}",
                "spec.onlyIf.slo.name \"Shop\"",
            ),
            (
                "{match: {alert: A}, target: {name: w}, steps: [{restart: {}}], onlyIf: {slo: {name: shop, burnAbove: -1}}}",
                "spec.onlyIf.slo.burnAbove is -1",
            ),
            (
                "{match: {alert: A}, target: {name: w}, steps: [{restart: {}}], verify: {slo: {name: shop, burnBelow: 0}}}",
                "spec.verify.slo.burnBelow is 0",
            ),
            (
                "{match: {alert: A}, target: {name: w}, steps: [{restart: {}}], runHistory: {maxAge: 5m}}",
                "spec.runHistory.maxAge is 5m: write at least 1h",
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
