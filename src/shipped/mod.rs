//! The rules that ship with Evenkeel: groups of recording rules and alerts, one file a group, whose thresholds a stack
//! may change and which it may switch off. Pure.
//!
//! A group is a table; `groups` turns it into what a person writes into an AlertRule, so that everything behind it
//! (compiling, shards, loading, quarantine) is the same for both.

mod business;
mod cache;
mod certificates;
mod collector;
mod containers;
mod databases;
mod jaeger;
mod kafka;
mod loki;
mod monitoring;
mod nodes;
mod operator;
mod probes;
mod security;
mod service;
pub mod settings;
mod sources;
mod storage;
mod table;
mod workloads;

pub use settings::Settings;
pub use sources::{Need, Sources};
pub use table::{Alert, Fires, Group, Kind, Record, Rule, Threshold, Tier};

use std::collections::BTreeMap;

use crate::api::alert_rule::{AlertRuleSpec, RuleSource, RuleSpec, Tier as ApiTier};
use crate::api::duration::PromDuration;
use crate::rule::compile::{Compiled, compile};

/// Where the runbook pages of the project lie, without a slash at the end.
pub const RUNBOOKS: &str = "https://github.com/evenkeel/evenkeel/blob/main/docs/runbooks";
/// The threshold that every alert has: how long its condition must hold.
pub const FOR: &str = "for";

/// Every group that ships, in the order in which they are told.
pub static GROUPS: [Group; 17] = [
    service::GROUP,
    security::GROUP,
    business::GROUP,
    workloads::GROUP,
    containers::GROUP,
    nodes::GROUP,
    storage::GROUP,
    databases::GROUP,
    cache::GROUP,
    kafka::GROUP,
    probes::GROUP,
    certificates::GROUP,
    monitoring::GROUP,
    loki::GROUP,
    jaeger::GROUP,
    collector::GROUP,
    operator::GROUP,
];

/// The stack that the rules are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Of<'a> {
    pub namespace: &'a str,
    pub stack: &'a str,
}

/// Every alert that ships.
pub fn alerts() -> impl Iterator<Item = &'static Alert> {
    GROUPS.iter().flat_map(Group::alerts)
}

/// The groups of a stack by their names, as a person would write them into AlertRules. Recorded series stay when their
/// alerts are switched off one by one: dashboards read them too. They go with their group, unless another builds on it.
pub fn groups(settings: &Settings, has: &Sources, of: Of) -> Vec<(&'static str, AlertRuleSpec)> {
    let there = |group: &Group| settings.enabled && (group.needs.met(has) || settings.include.contains(group.name));
    let wanted = |group: &Group| there(group) && settings.wants(group.name);
    let read = |group: &Group| GROUPS.iter().any(|other| wanted(other) && other.builds_on.contains(&group.name));
    let kept = GROUPS.iter().filter(|group| wanted(group) || read(group));
    kept.filter_map(|group| Some((group.name, spec(group, wanted(group), settings, of)?))).collect()
}

/// Name of a group in Prometheus, and its key in the rule loader: unique over all stacks.
pub fn group_name(of: Of, group: &str) -> String {
    format!("stack/{}/{}/{group}", of.namespace, of.stack)
}

/// The groups of a stack, compiled: what the rule loader ships.
pub fn compiled(settings: &Settings, has: &Sources, of: Of, generation: Option<i64>) -> Vec<(String, Compiled)> {
    let groups = groups(settings, has, of).into_iter();
    let named = groups.map(|(name, spec)| (group_name(of, name), spec));
    named
        .map(|(name, spec)| {
            let compiled = compile(&name, generation, &spec);
            (name, compiled)
        })
        .collect()
}

fn spec(group: &Group, alerts: bool, settings: &Settings, of: Of) -> Option<AlertRuleSpec> {
    let mut rules = vec![];
    for rule in group.rules {
        match rule {
            Rule::Record(record) => rules.extend(recorded(record)),
            Rule::Alert(alert) if alerts && settings.wants(alert.name) => rules.push(alerting(alert, settings, of)),
            Rule::Alert(_) => {}
        }
    }
    let (source, labels) = (RuleSource::Metrics, BTreeMap::new());
    (!rules.is_empty()).then_some(AlertRuleSpec { source, interval: None, labels, rules, tests: vec![] })
}

fn recorded(record: &Record) -> Vec<RuleSpec> {
    let of = |each: &str| RuleSpec {
        record: Some(record.name.replace("$each", each)),
        expr: record.expr.replace("$each", each),
        ..RuleSpec::default()
    };
    if record.each.is_empty() { vec![of("")] } else { record.each.iter().map(|each| of(each)).collect() }
}

fn alerting(alert: &Alert, settings: &Settings, of: Of) -> RuleSpec {
    let mut expr = alert.expr.replace("$namespace", of.namespace).replace("$stack", of.stack);
    for threshold in alert.options {
        let value = settings.value(alert.name, threshold.name).unwrap_or(threshold.default);
        // Rust prints the shortest decimal that reads back as the same number, never an exponent.
        expr = expr.replace(&format!("${}", threshold.name), &value.to_string());
    }
    let mut rule = RuleSpec {
        alert: Some(alert.name.to_owned()),
        expr,
        annotations: annotations(alert, settings),
        ..RuleSpec::default()
    };
    let held = |seconds: u64| {
        let seconds = settings.value(alert.name, FOR).unwrap_or(seconds as f64);
        Some(PromDuration(std::time::Duration::from_millis((seconds * 1000.0) as u64)))
    };
    let tier = |tier: &Tier| {
        let at = settings.value(alert.name, tier.severity).unwrap_or(tier.at);
        ApiTier {
            severity: tier.severity.to_owned(),
            above: None,
            below: Some(at),
            for_: held(tier.after),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
        }
    };
    match alert.fires {
        Fires::When(severity, after) => {
            rule.severity = Some(severity.to_owned());
            rule.for_ = held(after);
        }
        Fires::Below(_, tiers) => rule.tiers = tiers.iter().map(tier).collect(),
        Fires::Above(_, tiers) => {
            let above = |tier: ApiTier| ApiTier { above: tier.below, below: None, ..tier };
            rule.tiers = tiers.iter().map(tier).map(above).collect();
        }
    }
    rule
}

fn annotations(alert: &Alert, settings: &Settings) -> BTreeMap<String, String> {
    let runbook = format!("{}/{}.md", settings.runbooks, alert.name);
    let texts = [("summary", alert.summary), ("description", alert.description), ("runbook_url", &runbook)];
    texts.into_iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect()
}

#[cfg(test)]
mod tests;
