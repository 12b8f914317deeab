//! What the status of a stack says: from what the API server answered and what the pods themselves say. Pure.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::build::Part;
use super::component::{grafana_dashboards, scrape};
use super::discovery::Namespaces;
use super::observed::SloNeeds;
use super::pods::{Answer, PodFacts};
use super::validate::{Problem, Stack, exporters};
use super::workloads::{Component, Workload};
use crate::api::monitoring_stack::{ComponentStatus, MonitoringStackStatus, RuleCounts, TargetCounts};
use crate::k8s::status::{Extra, Outcome, conditions};

/// What the pods of a stack said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    pub pods: Vec<PodFacts>,
    /// Over all shards; `None` when no Prometheus answered.
    pub targets: Option<TargetCounts>,
    pub pools: Vec<Pool>,
}

/// Targets of one scrape pool in one Prometheus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    pub pod: String,
    pub name: String,
    pub targets: i64,
}

/// Everything that the status is made of.
pub struct Facts<'a> {
    pub stack: &'a Stack,
    pub parts: &'a [Part],
    pub workloads: &'a [Workload],
    pub problems: &'a [Problem],
    pub seen: &'a Seen,
    pub rules: Option<RuleCounts>,
    /// What its SLOs need; `None` when that is not known yet.
    pub slos: Option<SloNeeds>,
}

/// So young a Prometheus has not discovered its targets yet.
const DISCOVERY_TAKES: SignedDuration = SignedDuration::from_secs(45);

/// The status, and the outcome that its conditions tell.
pub fn status(
    facts: &Facts,
    previous: Option<&MonitoringStackStatus>,
    generation: Option<i64>,
    now: Timestamp,
) -> (MonitoringStackStatus, Outcome) {
    let views = views(facts);
    let outcome = outcome(facts, &views);
    let mut extras = vec![];
    if let Some(prometheus) = &facts.stack.prometheus {
        extras.push(rules_selected(facts));
        extras.extend(slos_covered(facts, previous));
        if prometheus.spec.scrape.pods || prometheus.spec.scrape.services {
            extras.push(targets_found(facts, now));
        }
    }
    if facts.stack.alertmanager.is_some() {
        extras.push(routes_valid(facts.problems));
    }
    if facts.stack.grafana.is_some() {
        extras.push(dashboards_valid(facts.problems));
    }
    let before = previous.map_or(&[][..], |status| &status.conditions);
    let status = MonitoringStackStatus {
        observed_generation: generation,
        conditions: conditions(before, generation, &outcome, &extras, now),
        components: views.into_iter().map(|view| view.status).collect(),
        rules: facts.rules.filter(|_| facts.stack.prometheus.is_some() || facts.stack.loki.is_some()),
        targets: facts.seen.targets,
    };
    (status, outcome)
}

/// The status when nothing was applied: what was known before, and why.
pub fn held(
    outcome: &Outcome,
    previous: Option<&MonitoringStackStatus>,
    generation: Option<i64>,
    now: Timestamp,
) -> MonitoringStackStatus {
    let previous = previous.cloned().unwrap_or_default();
    let mut conditions = conditions(&previous.conditions, generation, outcome, &[], now);
    let others = previous.conditions.iter().filter(|old| !conditions.iter().any(|new| new.type_ == old.type_));
    conditions.extend(others.cloned().collect::<Vec<_>>());
    MonitoringStackStatus { observed_generation: generation, conditions, ..previous }
}

/// A component's status, and how it stands.
struct View {
    status: ComponentStatus,
    /// It does not pass by itself.
    failing: bool,
    progressing: bool,
}

fn views(facts: &Facts) -> Vec<View> {
    facts.parts.iter().map(|part| view(facts, part)).collect()
}

fn view(facts: &Facts, part: &Part) -> View {
    let pods: Vec<&PodFacts> = facts.seen.pods.iter().filter(|pod| pod.component.name() == part.name).collect();
    let workloads = || facts.workloads.iter().filter(|workload| workload.component.name() == part.name);
    let desired = workloads().map(|workload| workload.desired).sum();
    let ready = pods.iter().filter(|p| p.ready).count() as i32;
    let loaded = pods.iter().filter(|p| matches!(p.answer, Answer::Says { loaded: true, .. })).count() as i32;
    let failure = pods.iter().find_map(|pod| Some(format!("{}: {}", pod.name, failure(pod)?)));
    let progress = || {
        if let Some(why) = workloads().find_map(|workload| workload.progress.clone()) {
            Some(why)
        } else if ready < desired {
            let waits = pods
                .iter()
                .find_map(|pod| Some(format!(": no node takes {}: {}", pod.name, pod.unscheduled.as_ref()?)));
            Some(format!("{ready} of {desired} pods are ready{}", waits.unwrap_or_default()))
        } else if loaded < desired {
            Some(format!("{loaded} of {desired} pods have loaded the present configuration"))
        } else {
            None
        }
    };
    let (failing, message) = match failure {
        Some(why) => (true, Some(why)),
        None => (false, progress()),
    };
    let Part { name, url, storage } = part.clone();
    View {
        failing,
        progressing: !failing && message.is_some(),
        status: ComponentStatus {
            name: name.to_owned(),
            version: version(&pods),
            ready,
            desired,
            pods: format!("{ready}/{desired}"),
            url,
            storage,
            config_loaded: desired > 0 && loaded >= desired,
            message,
        },
    }
}

/// Several during an upgrade.
fn version(pods: &[&PodFacts]) -> Option<String> {
    let mut versions: Vec<&str> = pods
        .iter()
        .filter_map(|pod| match &pod.answer {
            Answer::Says { version, .. } if !version.is_empty() => Some(version.as_str()),
            _ => None,
        })
        .collect();
    versions.sort_unstable();
    versions.dedup();
    (!versions.is_empty()).then(|| versions.join(", "))
}

fn failure(pod: &PodFacts) -> Option<String> {
    match &pod.answer {
        Answer::Says { refused: Some(why), .. } => Some(why.clone()),
        Answer::Silent(why) if pod.ready => Some(format!("is ready but does not answer the operator: {why}")),
        _ => pod.failing.clone(),
    }
}

fn outcome(facts: &Facts, views: &[View]) -> Outcome {
    let told = |of: fn(&View) -> bool| {
        let some = views
            .iter()
            .filter(|v| of(v))
            .filter_map(|v| Some(format!("{}: {}", v.status.name, v.status.message.as_deref()?)));
        let some: Vec<String> = some.collect();
        (!some.is_empty()).then(|| all(some.iter().map(String::as_str)))
    };
    let failing = told(|v| v.failing);
    if let Some(first) = facts.problems.first() {
        let message = all(facts.problems.iter().map(|p| p.message.as_str()).chain(failing.as_deref()));
        // Others may be on their way: manifests are applied in any order, and Secrets come from elsewhere.
        let passes = facts.problems.iter().all(|p| passes(p.reason));
        return match passes {
            true => Outcome::Failing { reason: first.reason, message },
            false => Outcome::Stalled {
                reason: facts.problems.iter().find(|p| !passes_reason(p)).map_or(first.reason, |p| p.reason),
                message,
            },
        };
    }
    if let Some(message) = failing {
        return Outcome::Failing { reason: "ComponentFailing", message };
    }
    if let Some(message) = told(|v| v.progressing) {
        return Outcome::Progressing { reason: "RollingOut", message };
    }
    let pods: Vec<String> = views.iter().map(|v| format!("{} {}", v.status.name, v.status.pods)).collect();
    Outcome::Ready { reason: "AllReady", message: pods.join(", ") }
}

fn passes_reason(problem: &Problem) -> bool {
    passes(problem.reason)
}

/// Whether a problem may go away without a change of the stack.
fn passes(reason: &str) -> bool {
    matches!(
        reason,
        "ChannelNotFound"
            | "ChannelSecretMissing"
            | "RemoteWriteSecretMissing"
            | "StorageNotGrown"
            | "StorageClassNotFound"
            | "TraceStoreSecretMissing"
            | "GrafanaSecretMissing"
            | exporters::SECRET_MISSING
            | "GatewayApiMissing"
            | grafana_dashboards::INVALID
            | "LokiSecretMissing"
    )
}

fn all<'a>(messages: impl Iterator<Item = &'a str>) -> String {
    messages.collect::<Vec<_>>().join("; ")
}

/// `in namespace shop with the labels team=checkout`.
fn where_(stack: &Stack) -> String {
    let place = stack.namespaces.describe();
    match stack.selector.selects_all() {
        true => format!("in {place}"),
        false => format!("in {place} with the labels {}", stack.selector),
    }
}

/// The way out of a selection of nothing.
fn hint(stack: &Stack) -> &'static str {
    let own = Namespaces::These([stack.owner.namespace.clone()].into());
    match stack.namespaces == own {
        true => "; `discovery: {}` looks in all namespaces",
        false => "",
    }
}

fn rules_selected(facts: &Facts) -> Extra {
    let place = where_(facts.stack);
    let (status, reason, message) = match facts.rules {
        None => (None, "NotCountedYet", "the AlertRules have not been counted yet".to_owned()),
        Some(RuleCounts { selected: 0, slos: 0, .. }) => {
            (Some(false), "NothingSelected", format!("there is no AlertRule and no SLO {place}{}", hint(facts.stack)))
        }
        Some(_) => (Some(true), "Selected", format!("AlertRules and SLOs {place}")),
    };
    Extra { type_: "RulesSelected", status, reason, message }
}

/// Whether samples are kept for as long as the SLOs look back; nothing where there are none.
fn slos_covered(facts: &Facts, previous: Option<&MonitoringStackStatus>) -> Option<Extra> {
    let type_ = "SLOsCovered";
    let Some(needs) = &facts.slos else {
        // A new leader does not know yet: what was said stays.
        let known = previous?.conditions.iter().find(|condition| condition.type_ == type_)?;
        let reason = if known.status == "True" { "RetentionSuffices" } else { "RetentionTooShort" };
        return Some(Extra { type_, status: Some(known.status == "True"), reason, message: known.message.clone() });
    };
    if needs.slos == 0 {
        return None;
    }
    let Some(longest) = &needs.longest else {
        let message = "samples are kept for as long as every SLO looks back".to_owned();
        return Some(Extra { type_, status: Some(true), reason: "RetentionSuffices", message });
    };
    let others = if needs.short > 1 { format!(" (and {} more)", needs.short - 1) } else { String::new() };
    let message = format!(
        "prometheus.retention is {}, the window of SLO {} is {}{others}: what is older is not counted; set prometheus.retention to {}d or more",
        longest.kept,
        longest.slo,
        longest.window,
        longest.wanted.div_ceil(86_400) + 1,
    );
    Some(Extra { type_, status: Some(false), reason: "RetentionTooShort", message })
}

fn targets_found(facts: &Facts, now: Timestamp) -> Extra {
    let place = where_(facts.stack);
    let young = |pod: &&PodFacts| pod.started.is_none_or(|started| now.duration_since(started) < DISCOVERY_TAKES);
    let asked = facts.seen.pods.iter().filter(|p| matches!(p.component, Component::Prometheus(_)));
    let (status, reason, message) = match found(facts.seen) {
        Some(0) if !asked.clone().any(|p| young(&p)) => {
            let message = format!(
                "no pod or service {place} has the annotation prometheus.io/scrape: \"true\" and a port{}",
                hint(facts.stack)
            );
            (Some(false), "NothingSelected", message)
        }
        Some(1..) => (Some(true), "Found", format!("annotated pods and services {place}")),
        _ if facts.stack.namespaces == Namespaces::These(Default::default()) => {
            (Some(false), "NothingSelected", format!("targets are looked for {place}"))
        }
        _ => (None, "NotKnownYet", "Prometheus has not told of its targets yet".to_owned()),
    };
    Extra { type_: "TargetsFound", status, reason, message }
}

/// Targets of annotated pods and services: over all shards, of the replica that has most.
fn found(seen: &Seen) -> Option<i64> {
    let mut most: BTreeMap<(i32, &str), i64> = BTreeMap::new();
    for pool in seen.pools.iter().filter(|p| matches!(p.name.as_str(), scrape::PODS | scrape::SERVICES)) {
        let Some(pod) = seen.pods.iter().find(|p| p.name == pool.pod) else { continue };
        let Component::Prometheus(shard) = pod.component else { continue };
        let count = most.entry((shard, &pool.name)).or_default();
        *count = pool.targets.max(*count);
    }
    (!most.is_empty()).then(|| most.values().sum())
}

fn routes_valid(problems: &[Problem]) -> Extra {
    let of_routes = |reason: &str| {
        matches!(
            reason,
            "ChannelNotFound" | "ChannelSecretMissing" | "InvalidRoute" | "InvalidMuteInterval" | "InvalidInhibition"
        )
    };
    let wrong: Vec<&Problem> = problems.iter().filter(|p| of_routes(p.reason)).collect();
    let (status, reason, message) = match wrong.first() {
        Some(first) => (false, first.reason, all(wrong.iter().map(|p| p.message.as_str()))),
        None => (true, "AllValid", "every route, mute interval and inhibition is in force".to_owned()),
    };
    Extra { type_: "RoutesValid", status: Some(status), reason, message }
}

/// Whether Grafana shows every dashboard that it was given.
fn dashboards_valid(problems: &[Problem]) -> Extra {
    let wrong = || problems.iter().filter(|p| p.reason == grafana_dashboards::INVALID).map(|p| p.message.as_str());
    let (status, reason, message) = match wrong().count() {
        0 => (true, "AllValid", "every dashboard is shown".to_owned()),
        _ => (false, grafana_dashboards::INVALID, all(wrong())),
    };
    Extra { type_: "DashboardsValid", status: Some(status), reason, message }
}

#[cfg(test)]
mod tests;
