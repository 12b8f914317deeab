//! One AlertRule -> the text of one rule group. Pure. Every rule stands or falls alone.
//!
//! The label `namespace` is left alone: the series' own namespace is what routes and repairs go by, and a rule that
//! wants another one writes it into its labels.

use std::collections::{BTreeMap, HashSet};

use kube::ResourceExt;

use super::promql::{self, ExprError};
use super::{baseline, template, yaml};
use crate::api::AlertRule;
use crate::api::alert_rule::{AlertRuleSpec, Baseline, RuleSource, RuleSpec, Tier};
use crate::api::duration::PromDuration;

/// Longest name of a label or annotation.
const MAX_NAME: usize = 256;

/// Whether a rule alerts or records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Alert,
    Record,
}

/// What makes a rule the same rule in the next version of its AlertRule.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleId {
    pub kind: Kind,
    pub name: String,
    /// 0 for the first rule of this kind and name, 1 for the second, ...
    pub nth: usize,
}

/// Why one rule is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Position in `spec.rules`, from 0.
    pub index: usize,
    pub name: String,
    /// The field that is wrong, for example `expr`.
    pub field: String,
    /// In characters from 1.
    pub column: Option<usize>,
    pub reason: &'static str,
    pub message: String,
}

/// One rule of the spec: the text of the Prometheus rules it becomes (one for each tier, or the
/// records of a baseline and its alert), or why it is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompiledRule {
    pub id: RuleId,
    pub result: Result<String, Refusal>,
}

/// An AlertRule, ready to ship.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// Name of the group, and what else stands above its rules.
    pub head: String,
    /// In the order of `spec.rules`.
    pub rules: Vec<CompiledRule>,
    /// How far back the longest baseline looks, in seconds; 0 without one.
    pub reach: u64,
}

impl Compiled {
    /// The rules that were refused.
    pub fn refused(&self) -> impl Iterator<Item = &Refusal> {
        self.rules.iter().filter_map(|rule| rule.result.as_ref().err())
    }

    /// The group as YAML below `groups:`; empty when no rule was accepted.
    pub fn text(&self) -> String {
        let rules: String = self.rules.iter().filter_map(|rule| rule.result.as_deref().ok()).collect();
        if rules.is_empty() { rules } else { format!("{}{rules}", self.head) }
    }
}

/// A whole rule file for one AlertRule, and what was left out of it (for `evenkeel render` and `evenkeel check`).
pub fn render(rule: &AlertRule) -> (String, Vec<Refusal>) {
    let (groups, refused) = groups(rule);
    (yaml::file(&groups), refused)
}

/// What stands below `groups:` in that file.
pub fn groups(rule: &AlertRule) -> (String, Vec<Refusal>) {
    let group = group_name(&rule.namespace().unwrap_or_else(|| "default".into()), &rule.name_any());
    let compiled = compile(&group, None, &rule.spec);
    (compiled.text(), compiled.refused().cloned().collect())
}

/// Name of the rule group of an AlertRule: unique in a stack, and the way back from an alert to its AlertRule.
pub fn group_name(namespace: &str, name: &str) -> String {
    format!("{namespace}/{name}")
}

/// Compiles every rule. `generation` is written into the text as a comment, so that an earlier version that stays
/// live can still be dated after a restart of the operator.
pub fn compile(group: &str, generation: Option<i64>, spec: &AlertRuleSpec) -> Compiled {
    let check: fn(&str) -> Result<(), ExprError> = match spec.source {
        RuleSource::Metrics => promql::check,
        // Only Loki can tell.
        RuleSource::Logs => |_| Ok(()),
    };
    compile_with(group, generation, spec, check)
}

/// The same with expressions that `check` judges.
pub fn compile_with(
    group: &str,
    generation: Option<i64>,
    spec: &AlertRuleSpec,
    check: impl Fn(&str) -> Result<(), ExprError>,
) -> Compiled {
    let mut head = format!("- name: {}\n", yaml::scalar(group));
    if let Some(generation) = generation {
        head = format!("# generation {generation}\n{head}");
    }
    if let Some(interval) = spec.interval.filter(|interval| !interval.is_zero()) {
        head.push_str(&format!("  interval: {interval}\n"));
    }
    head.push_str("  rules:\n");

    let mut seen = HashSet::new();
    let mut named: BTreeMap<(Kind, &str), usize> = BTreeMap::new();
    let rules = spec.rules.iter().enumerate().map(|(index, rule)| {
        let (kind, name) = match (&rule.alert, &rule.record) {
            (Some(alert), _) => (Kind::Alert, alert.as_str()),
            (None, record) => (Kind::Record, record.as_deref().unwrap_or_default()),
        };
        let count = named.entry((kind, name)).or_default();
        let id = RuleId { kind, name: name.to_owned(), nth: *count };
        *count += 1;
        let whole = Whole { group, source: spec.source, labels: &spec.labels, check: &check };
        let result = compile_rule(&whole, rule, &id, &mut seen).map_err(|wrong| Refusal {
            index,
            name: name.to_owned(),
            field: wrong.field,
            column: wrong.column,
            reason: wrong.reason,
            message: wrong.message,
        });
        CompiledRule { id, result }
    });
    let rules = rules.collect();
    let reach = spec.rules.iter().filter_map(|rule| rule.baseline.as_ref()).map(baseline::reach).max();
    Compiled { head, rules, reach: reach.unwrap_or_default() }
}

/// What is wrong with a rule, before it is known which one it is.
struct Wrong {
    field: String,
    column: Option<usize>,
    reason: &'static str,
    message: String,
}

impl Wrong {
    fn new(reason: &'static str, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), column: None, reason, message: message.into() }
    }
}

type Labels<'a> = BTreeMap<&'a str, &'a str>;
/// Kind, name and labels: what two rules of one group may not share.
type Identity = (Kind, String, Vec<(String, String)>);

/// What all rules of an AlertRule share.
struct Whole<'a, C> {
    group: &'a str,
    source: RuleSource,
    labels: &'a BTreeMap<String, String>,
    check: &'a C,
}

fn compile_rule<C: Fn(&str) -> Result<(), ExprError>>(
    whole: &Whole<C>,
    rule: &RuleSpec,
    id: &RuleId,
    seen: &mut HashSet<Identity>,
) -> Result<String, Wrong> {
    let Whole { group, source, labels: common, check } = *whole;
    let (kind, name) = (id.kind, id.name.as_str());
    check_shape(rule, kind, name, source)?;
    check_expr("expr", check(&rule.expr))?;
    let mut labels = Labels::new();
    merge(&mut labels, common);
    merge(&mut labels, &rule.labels);
    let mut annotations = Labels::new();
    merge(&mut annotations, &rule.annotations);

    let keep_firing_for = rule.keep_firing_for;
    let mut made = Vec::new();
    let mut text = String::new();
    if rule.tiers.is_empty() {
        if let Some(severity) = &rule.severity {
            labels.insert("severity", severity);
        }
        made.push(identity(kind, name, &labels));
        let (expr, annotations) = (rule.expr.as_str(), annotations.clone());
        let alert = PrometheusRule {
            source,
            kind,
            name,
            expr,
            for_: rule.for_,
            keep_firing_for,
            labels: labels.clone(),
            annotations,
        };
        match &rule.baseline {
            None => write_rule(&mut text, &alert)?,
            Some(baseline) => write_baseline(&mut text, baseline, group, id, alert, check)?,
        }
    }
    for (position, tier) in rule.tiers.iter().enumerate() {
        let mut labels = labels.clone();
        labels.insert("severity", &tier.severity);
        merge(&mut labels, &tier.labels);
        let mut annotations = annotations.clone();
        merge(&mut annotations, &tier.annotations);
        let expr = threshold(&rule.expr, tier).ok_or_else(|| {
            Wrong::new(
                "InvalidTier",
                format!("tiers[{position}]"),
                "set exactly one of above and below, to a finite number",
            )
        })?;
        check_expr("expr", check(&expr)).map_err(|wrong| Wrong { column: None, ..wrong })?;
        let this = identity(kind, name, &labels);
        if made.contains(&this) {
            return Err(Wrong::new(
                "Duplicate",
                format!("tiers[{position}].severity"),
                "two tiers have the same severity and labels: Alertmanager could not tell their alerts apart",
            ));
        }
        made.push(this);
        write_rule(
            &mut text,
            &PrometheusRule { source, kind, name, expr: &expr, for_: tier.for_, keep_firing_for, labels, annotations },
        )?;
    }
    if made.iter().any(|identity| seen.contains(identity)) {
        let what = match kind {
            Kind::Alert => "alert",
            Kind::Record => "recorded series",
        };
        return Err(Wrong::new(
            "Duplicate",
            if kind == Kind::Alert { "alert" } else { "record" },
            format!(
                "an earlier rule of this AlertRule has the same {what} and the same labels: rename it or give it a label of its own"
            ),
        ));
    }
    seen.extend(made);
    Ok(text)
}

/// The records of a baseline, and the alert that compares with them.
fn write_baseline(
    text: &mut String,
    baseline: &Baseline,
    group: &str,
    id: &RuleId,
    alert: PrometheusRule,
    check: impl Fn(&str) -> Result<(), ExprError>,
) -> Result<(), Wrong> {
    let nth = if id.nth > 0 { format!("/{}", id.nth) } else { String::new() };
    let compared = baseline::compile(baseline, alert.expr, &format!("{group}/{}{nth}", id.name))
        .map_err(|error| Wrong::new("InvalidBaseline", error.field, error.message))?;
    for expr in compared.records.iter().map(|(_, expr)| expr).chain([&compared.expr]) {
        check_expr("expr", check(expr)).map_err(|wrong| Wrong { column: None, ..wrong })?;
    }
    let PrometheusRule { source, kind, name, expr: _, for_, keep_firing_for, labels, mut annotations } = alert;
    annotations.entry("baseline").or_insert(&compared.annotation);
    for (name, expr) in &compared.records {
        let record = PrometheusRule {
            source,
            kind: Kind::Record,
            name,
            expr,
            for_: None,
            keep_firing_for: None,
            labels: Labels::from([(baseline::LABEL, compared.series.as_str())]),
            annotations: Labels::new(),
        };
        write_rule(text, &record)?;
    }
    write_rule(
        text,
        &PrometheusRule { source, kind, name, expr: &compared.expr, for_, keep_firing_for, labels, annotations },
    )
}

/// What CEL checks in the API server; said again for `evenkeel check`, which has none.
fn check_shape(rule: &RuleSpec, kind: Kind, name: &str, source: RuleSource) -> Result<(), Wrong> {
    if rule.alert.is_some() == rule.record.is_some() || name.is_empty() {
        return Err(Wrong::new("InvalidRule", "alert", "set exactly one of alert and record"));
    }
    if kind == Kind::Record {
        let alerting = rule.for_.is_some() || rule.keep_firing_for.is_some() || rule.severity.is_some();
        if alerting || !rule.annotations.is_empty() || !rule.tiers.is_empty() || rule.baseline.is_some() {
            return Err(Wrong::new("InvalidRule", "record", "a recording rule takes expr and labels only"));
        }
        if let Some(at) = name.chars().position(|c| matches!(c, '{' | '}')) {
            let message = "a recorded series has a name without braces: labels go under labels, PromQL under expr";
            return Err(Wrong { column: Some(at + 1), ..Wrong::new("InvalidName", "record", message) });
        }
    }
    if source == RuleSource::Logs && kind == Kind::Record {
        let message = "source: logs takes alerts only: what a rule over logs records would be in no Prometheus";
        return Err(Wrong::new("InvalidRule", "record", message));
    }
    if source == RuleSource::Logs && rule.keep_firing_for.is_some() {
        let message = "source: logs knows no keepFiringFor: Loki would leave it out";
        return Err(Wrong::new("InvalidRule", "keepFiringFor", message));
    }
    if source == RuleSource::Logs && rule.baseline.is_some() {
        let message = "source: logs knows no baseline: Loki keeps no history of an expression; use tiers, or a threshold in the expression";
        return Err(Wrong::new("InvalidRule", "baseline", message));
    }
    if !rule.tiers.is_empty() && (rule.severity.is_some() || rule.for_.is_some()) {
        return Err(Wrong::new("InvalidRule", "tiers", "with tiers, severity and for are set on each tier"));
    }
    if !rule.tiers.is_empty() && rule.baseline.is_some() {
        return Err(Wrong::new("InvalidRule", "tiers", "set one of tiers and baseline"));
    }
    Ok(())
}

fn check_expr(field: &str, verdict: Result<(), ExprError>) -> Result<(), Wrong> {
    verdict.map_err(|error| Wrong {
        field: field.to_owned(),
        column: error.column,
        reason: "ParseError",
        message: error.message,
    })
}

fn merge<'a>(into: &mut Labels<'a>, more: &'a BTreeMap<String, String>) {
    into.extend(more.iter().map(|(name, value)| (name.as_str(), value.as_str())));
}

fn identity(kind: Kind, name: &str, labels: &Labels) -> Identity {
    let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    (kind, name.to_owned(), labels.collect())
}

/// `(expr) > threshold`; the bracket closes on a line of its own where a comment could swallow it.
fn threshold(expr: &str, tier: &Tier) -> Option<String> {
    let (operator, number) = match (tier.above, tier.below) {
        (Some(above), None) => (">", above),
        (None, Some(below)) => ("<", below),
        _ => return None,
    };
    let end = if expr.contains('#') { "\n" } else { "" };
    // Rust prints the shortest decimal that reads back as the same number, never an exponent.
    number.is_finite().then(|| format!("({}{end}) {operator} {number}", expr.trim()))
}

/// One rule as Prometheus, or Loki, will have it.
struct PrometheusRule<'a> {
    source: RuleSource,
    kind: Kind,
    name: &'a str,
    expr: &'a str,
    for_: Option<PromDuration>,
    keep_firing_for: Option<PromDuration>,
    labels: Labels<'a>,
    annotations: Labels<'a>,
}

/// `[a-zA-Z_][a-zA-Z0-9_]*`.
pub(super) fn is_plain(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.chars().all(inner) && !name.starts_with(|c: char| c.is_ascii_digit())
}

fn write_rule(text: &mut String, rule: &PrometheusRule) -> Result<(), Wrong> {
    for (what, entries) in [("labels", &rule.labels), ("annotations", &rule.annotations)] {
        for (label, value) in entries {
            let field = format!("{what}.{label}");
            if label.is_empty() || label.len() > MAX_NAME || (what == "labels" && *label == "__name__") {
                let message = format!(
                    "{label:?} cannot be a name here: it is empty, longer than {MAX_NAME} characters, or reserved"
                );
                return Err(Wrong::new("InvalidLabel", what, message));
            }
            if rule.source == RuleSource::Logs && !is_plain(label) {
                let message = format!("{label:?} cannot be a name in Loki: use letters, digits and _");
                return Err(Wrong::new("InvalidLabel", what, message));
            }
            if rule.kind == Kind::Alert {
                template::check(value).map_err(|error| Wrong {
                    field,
                    column: Some(error.column),
                    reason: "InvalidTemplate",
                    message: error.message,
                })?;
            }
        }
    }
    let mut body = String::new();
    yaml::field(&mut body, 4, if rule.kind == Kind::Alert { "alert" } else { "record" }, rule.name);
    yaml::field(&mut body, 4, "expr", rule.expr.trim_end());
    for (key, duration) in [("for", rule.for_), ("keep_firing_for", rule.keep_firing_for)] {
        if let Some(duration) = duration.filter(|duration| !duration.is_zero()) {
            body.push_str(&format!("    {key}: {duration}\n"));
        }
    }
    yaml::map(&mut body, 4, "labels", rule.labels.iter().map(|(name, value)| (*name, *value)));
    yaml::map(&mut body, 4, "annotations", rule.annotations.iter().map(|(name, value)| (*name, *value)));
    text.push_str("  - ");
    text.push_str(&body[4..]);
    Ok(())
}
