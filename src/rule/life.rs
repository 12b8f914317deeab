//! What the rules of an AlertRule ask a Prometheus for, what its answers say of them, and how often an alert would have
//! fired. Pure.

use std::collections::{BTreeMap, BTreeSet};

use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::{Expr, VectorSelector};
use serde::Deserialize;

use super::compile::is_plain;
use super::{compile, promql, yaml};
use crate::api::AlertRule;
use crate::api::alert_rule::AlertRuleSpec;
use crate::api::duration::PromDuration;
use crate::nearest::nearest;

/// Values of a label that are shown.
const SHOWN: usize = 5;

/// The series that one place of an expression wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// For example `rules[1].expr`.
    pub field: String,
    /// The metric; `None` where only its labels are given.
    pub metric: Option<String>,
    /// The selector as Prometheus reads it.
    pub selector: String,
    /// All but that of the metric.
    pub matchers: Vec<Matcher>,
}

impl Wanted {
    /// Matchers that a series without the label does not pass.
    pub fn demanding(&self) -> impl Iterator<Item = &Matcher> {
        self.matchers.iter().filter(|matcher| !matcher.is_match(""))
    }

    /// The series of the metric, whatever its labels.
    pub fn of_metric(&self) -> Option<String> {
        self.metric.as_ref().map(|metric| format!("{{__name__={}}}", quoted(metric)))
    }

    /// That no series of the metric is here.
    pub fn unknown(&self, metric: &str, known: &[String]) -> String {
        let hint = nearest(known.iter().map(String::as_str), metric);
        let hint = hint.map(|near| format!(": did you mean {near}?")).unwrap_or_default();
        format!("there is no series of {metric}{hint}")
    }

    /// Why no series of the metric passes a matcher, given all `values` of its label; `None`: some do.
    pub fn impossible(&self, matcher: &Matcher, values: &[String]) -> Option<String> {
        let metric = self.metric.as_deref().unwrap_or("the selector");
        if values.is_empty() {
            return Some(format!("no series of {metric} has a label {}", matcher.name));
        }
        if values.iter().any(|value| matcher.is_match(value)) {
            return None;
        }
        let near = match matcher.op {
            MatchOp::Equal => nearest(values.iter().map(String::as_str), &matcher.value),
            MatchOp::NotEqual | MatchOp::Re(_) | MatchOp::NotRe(_) => None,
        };
        let hint = near.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
        let more = if values.len() > SHOWN { ", ..." } else { "" };
        let shown: Vec<String> = values.iter().take(SHOWN).map(|value| format!("{value:?}")).collect();
        Some(format!("{} can never match: {metric} has {}{more}{hint}", written(matcher), shown.join(", ")))
    }

    /// Each matcher passes series, and none passes all.
    pub fn together(&self) -> String {
        format!("no series has all labels of {}", self.selector)
    }
}

/// The series that the rules want from outside: neither those that are `recorded` by rules, nor those whose absence is
/// what a rule waits for.
pub fn wanted(spec: &AlertRuleSpec, recorded: &BTreeSet<String>) -> Vec<Wanted> {
    let mut found: Vec<Wanted> = vec![];
    for (index, rule) in spec.rules.iter().enumerate() {
        add_wanted(&mut found, &rule.expr, &format!("rules[{index}].expr"), recorded);
    }
    found
}

/// The same of a group as it is shipped; `field` is the name of the rule.
pub fn wanted_in(group: &str) -> Vec<Wanted> {
    let file = serde_saphyr::from_str::<File>(&yaml::file(group)).map(|file| file.groups).unwrap_or_default();
    let rules: Vec<Entry> = file.into_iter().flat_map(|group| group.rules).collect();
    let recorded: BTreeSet<String> = rules.iter().filter_map(|rule| rule.record.clone()).collect();
    let mut found = vec![];
    for rule in &rules {
        let name = rule.alert.as_ref().or(rule.record.as_ref()).map(String::as_str).unwrap_or_default();
        add_wanted(&mut found, &rule.expr, name, &recorded);
    }
    found
}

fn add_wanted(found: &mut Vec<Wanted>, expr: &str, field: &str, recorded: &BTreeSet<String>) {
    let Ok(tree) = promql::tree(expr) else { return };
    let mut selectors = vec![];
    collect(&tree, &mut selectors);
    for selector in selectors {
        let wanted = of_selector(selector, field.to_owned());
        let here = wanted.metric.as_ref().is_some_and(|metric| recorded.contains(metric) || metric == "ALERTS");
        // What is wrong with a selector is told once for each rule.
        let told = found.iter().any(|other| other.selector == wanted.selector && other.field == wanted.field);
        if !here && !told && !wanted.selector.is_empty() {
            found.push(wanted);
        }
    }
}

/// Names of the series that these rules record.
pub fn recorded(spec: &AlertRuleSpec) -> impl Iterator<Item = String> {
    spec.rules.iter().filter_map(|rule| rule.record.clone())
}

fn collect<'a>(tree: &'a Expr, found: &mut Vec<&'a VectorSelector>) {
    match tree {
        Expr::VectorSelector(selector) => found.push(selector),
        Expr::MatrixSelector(matrix) => found.push(&matrix.vs),
        Expr::Aggregate(aggregate) => {
            collect(&aggregate.expr, found);
            if let Some(parameter) = &aggregate.param {
                collect(parameter, found);
            }
        }
        Expr::Unary(unary) => collect(&unary.expr, found),
        Expr::Binary(binary) => {
            collect(&binary.lhs, found);
            collect(&binary.rhs, found);
        }
        Expr::Paren(paren) => collect(&paren.expr, found),
        Expr::Subquery(subquery) => collect(&subquery.expr, found),
        Expr::Call(call) if call.func.name.starts_with("absent") => {}
        Expr::Call(call) => call.args.args.iter().for_each(|argument| collect(argument, found)),
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => {}
    }
}

fn of_selector(selector: &VectorSelector, field: String) -> Wanted {
    // Of alternatives (`or` between matchers) there is no one selector.
    if !selector.matchers.or_matchers.is_empty() {
        return Wanted { field, metric: None, selector: String::new(), matchers: vec![] };
    }
    let named = |matcher: &&Matcher| {
        matcher.name == "__name__" && matches!(matcher.op, MatchOp::Equal) && selector.name.is_none()
    };
    let all = &selector.matchers.matchers;
    let metric = selector.name.clone().or_else(|| all.iter().find(named).map(|matcher| matcher.value.clone()));
    let matchers: Vec<Matcher> = all.iter().filter(|matcher| !named(matcher)).cloned().collect();
    let name = metric.as_ref().map(|metric| format!("__name__={}", quoted(metric)));
    let parts: Vec<String> = name.into_iter().chain(matchers.iter().map(written)).collect();
    Wanted { field, metric, selector: format!("{{{}}}", parts.join(",")), matchers }
}

/// A matcher as Prometheus reads it.
pub fn written(matcher: &Matcher) -> String {
    let operator = match matcher.op {
        MatchOp::Equal => "=",
        MatchOp::NotEqual => "!=",
        MatchOp::Re(_) => "=~",
        MatchOp::NotRe(_) => "!~",
    };
    let name = if is_plain(&matcher.name) { matcher.name.clone() } else { quoted(&matcher.name) };
    format!("{name}{operator}{}", quoted(&matcher.value))
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// An alert as Prometheus would evaluate it.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveAlert {
    pub name: String,
    pub expr: String,
    pub for_: PromDuration,
    pub labels: BTreeMap<String, String>,
}

impl LiveAlert {
    /// The name, and what tells it from others of that name.
    pub fn title(&self) -> String {
        match self.labels.get("severity") {
            Some(severity) => format!("{} ({severity})", self.name),
            None => self.name.clone(),
        }
    }

    /// Series of `names` that the expression reads.
    pub fn reads<'a>(&self, names: &'a BTreeSet<String>) -> Vec<&'a str> {
        let Ok(tree) = promql::tree(&self.expr) else { return vec![] };
        let mut selectors = vec![];
        collect(&tree, &mut selectors);
        let read = |name: &&String| selectors.iter().any(|selector| selector.name.as_ref() == Some(*name));
        names.iter().filter(read).map(String::as_str).collect()
    }
}

#[derive(Deserialize)]
struct File {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    alert: Option<String>,
    record: Option<String>,
    expr: String,
    #[serde(default, rename = "for")]
    for_: PromDuration,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

/// The alerts and the names of the records of an AlertRule, as it is compiled: one alert for each tier.
pub fn compiled(rule: &AlertRule) -> (Vec<LiveAlert>, BTreeSet<String>) {
    let (mut alerts, mut records) = (vec![], BTreeSet::new());
    let file = serde_saphyr::from_str::<File>(&compile::render(rule).0).map(|file| file.groups).unwrap_or_default();
    for Entry { alert, record, expr, for_, labels } in file.into_iter().flat_map(|group| group.rules) {
        alerts.extend(alert.map(|name| LiveAlert { name, expr, for_, labels }));
        records.extend(record);
    }
    (alerts, records)
}

/// How often something would have fired.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Firings {
    /// Times that it began.
    pub count: usize,
    /// In all, of every series.
    pub seconds: i64,
    /// Unix time of the last moment; 0 where it never fired.
    pub last: i64,
}

impl Firings {
    /// Adds one series of the expression: the times at which it had a value, `step` seconds apart.
    pub fn add(&mut self, points: &[(f64, f64)], step: i64, for_: i64) {
        let mut begun: Option<i64> = None;
        let mut before = i64::MIN;
        let mut firing = false;
        for (at, _) in points {
            let at = at.round() as i64;
            if begun.is_none() || at > before.saturating_add(step) {
                (begun, firing) = (Some(at), false);
            }
            before = at;
            if begun.is_some_and(|begun| at - begun >= for_) {
                if !firing {
                    self.count += 1;
                    firing = true;
                }
                self.seconds += step;
                self.last = self.last.max(at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn spec(rules: Value) -> AlertRuleSpec {
        serde_json::from_value(json!({"rules": rules})).unwrap()
    }

    fn one(expr: &str) -> Wanted {
        let found = wanted(&spec(json!([{"alert": "A", "expr": expr}])), &BTreeSet::new());
        assert_eq!(found.len(), 1, "{found:?}");
        found[0].clone()
    }

    #[test]
    fn what_rules_want_is_every_selector_but_what_is_recorded_and_what_is_to_be_absent() {
        let rules = spec(json!([
            {"record": "a:b", "expr": "sum(rate(x{code=~\"5..\"}[5m])) / sum(rate(x[5m]))"},
            {"alert": "A", "expr": "a:b > on () (y{a!=\"\"} offset 5m) or absent(z) or max_over_time(w[1h:5m])"},
            {"alert": "B", "expr": "{__name__=\"v\", b=\"c\\\"\"} > 1 and v > 1 and v > 2"},
        ]));
        let recorded: BTreeSet<String> = recorded(&rules).collect();
        let found = wanted(&rules, &recorded);
        let told: Vec<_> = found.iter().map(|wanted| (wanted.field.as_str(), wanted.selector.as_str())).collect();
        assert_eq!(
            told,
            [
                ("rules[0].expr", r#"{__name__="x",code=~"5.."}"#),
                ("rules[0].expr", r#"{__name__="x"}"#),
                ("rules[1].expr", r#"{__name__="y",a!=""}"#),
                ("rules[1].expr", r#"{__name__="w"}"#),
                ("rules[2].expr", r#"{__name__="v",b="c\""}"#),
                ("rules[2].expr", r#"{__name__="v"}"#),
            ]
        );
    }

    #[test]
    fn a_matcher_that_can_never_match_is_named_with_what_there_is() {
        let values: Vec<String> = ["200", "404", "500"].map(String::from).into();
        let wanted = one("x{code=\"5000\", job=~\"a|b\", gone!=\"y\"}");
        let demanding: Vec<&str> = wanted.demanding().map(|matcher| matcher.name.as_str()).collect();
        assert_eq!(demanding, ["code", "job"]);
        let (code, job) = (&wanted.matchers[0], &wanted.matchers[1]);
        assert_eq!(
            wanted.impossible(code, &values).unwrap(),
            r#"code="5000" can never match: x has "200", "404", "500"; did you mean "500"?"#
        );
        assert_eq!(wanted.impossible(job, &[]).unwrap(), "no series of x has a label job");
        assert_eq!(wanted.impossible(job, &["b".into()]), None);
        assert_eq!(
            wanted.unknown("x_tota", &["x_total".into()]),
            "there is no series of x_tota: did you mean x_total?"
        );
    }

    #[test]
    fn names_that_are_not_plain_are_quoted_as_prometheus_reads_them() {
        assert_eq!(one(r#"{"http.hits", "http.route"="/x"}"#).selector, r#"{__name__="http.hits","http.route"="/x"}"#);
        let wanted = one(r#"hits{"http.route"=~"/x.*", code="5"}"#);
        assert_eq!(wanted.selector, r#"{__name__="hits","http.route"=~"/x.*",code="5"}"#);
        assert!(promql::tree(&wanted.selector).is_ok());
    }

    #[test]
    fn every_tier_is_an_alert_and_says_what_it_reads() {
        let spec = spec(json!([{"record": "a:b", "expr": "x"}, {"alert": "A", "expr": "a:b",
            "tiers": [{"severity": "w", "above": 1, "for": "5m"}, {"severity": "c", "above": 2}]}]));
        let (alerts, records) = compiled(&AlertRule::new("r", spec));
        assert_eq!(alerts.iter().map(LiveAlert::title).collect::<Vec<_>>(), ["A (w)", "A (c)"]);
        assert_eq!((alerts[0].for_.as_secs(), alerts[1].for_.as_secs()), (300, 0));
        assert_eq!(alerts[0].reads(&records), ["a:b"]);
    }

    #[test]
    fn an_alert_fires_when_its_expression_has_held_for_long_enough() {
        let points = |times: &[i64]| times.iter().map(|at| (*at as f64, 1.0)).collect::<Vec<_>>();
        let mut firings = Firings::default();
        // Two minutes, a gap, five minutes.
        firings.add(&points(&[0, 60, 120, 300, 360, 420, 480, 540]), 60, 180);
        assert_eq!(firings, Firings { count: 1, seconds: 120, last: 540 });
        firings.add(&points(&[0, 120]), 60, 0);
        assert_eq!(firings, Firings { count: 3, seconds: 240, last: 540 });
        let mut never = Firings::default();
        never.add(&[], 60, 0);
        assert_eq!(never, Firings::default());
    }

    #[test]
    fn a_shipped_group_wants_what_its_rules_do_not_record_themselves() {
        let group = "# generation 3\n- name: shop/api\n  rules:\n  - record: job:x:rate\n    expr: rate(x_total[5m])\n\
                     \x20 - alert: High\n    expr: 'job:x:rate > on () y{a=\"b\"}'\n    labels:\n      severity: critical\n";
        let found: Vec<_> = wanted_in(group).into_iter().map(|wanted| (wanted.field, wanted.selector)).collect();
        let told = |field: &str, selector: &str| (field.to_owned(), selector.to_owned());
        assert_eq!(found, [told("job:x:rate", "{__name__=\"x_total\"}"), told("High", "{__name__=\"y\",a=\"b\"}"),]);
    }
}
