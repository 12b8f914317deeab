//! How far back in time an expression looks: what happened before that cannot keep its alert firing. Pure.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use promql_parser::parser::{Expr, VectorSelector, token};

use super::facts::LookBack;
use crate::api::duration::PromDuration;
use crate::api::response_run::RunAlert;
use crate::prometheus::{Rule, RuleKind};
use crate::rule::promql::tree;

/// Nested deeper than this an expression is not looked at: nobody writes it, and recursion takes stack.
const DEEPEST: usize = 400;

/// How far the series of recording rules look back, by name.
pub type Recorded = HashMap<String, Duration>;

/// Names of the series of an alert's rules, to look for recording rules that made them.
pub fn recorded_by(alerting: &[Rule], alert: &RunAlert) -> Vec<String> {
    let trees = rules_of(alerting, alert).filter_map(|rule| tree(&rule.query).ok());
    trees.flat_map(|tree| names(&tree)).collect::<BTreeSet<_>>().into_iter().collect()
}

/// How far an alert looks back by its rules and the recording rules that they rest on.
pub fn of_alert(alerting: &[Rule], recording: &[Rule], alert: &RunAlert) -> LookBack {
    let unknown = |why: &str| LookBack::Unknown(format!("how far the alert looks back is not known: {why}"));
    let mut recorded = Recorded::new();
    for rule in recording.iter().filter(|rule| rule.kind == RuleKind::Recording) {
        // One level: what a recorded series rests on is not followed further.
        let Some(gathered) = tree(&rule.query).ok().and_then(|tree| look_back(&tree, &Recorded::new())) else {
            continue;
        };
        let longest = recorded.entry(rule.name.clone()).or_default();
        *longest = gathered.max(*longest);
    }
    let mut longest = None;
    for rule in rules_of(alerting, alert) {
        let Some(of_rule) = tree(&rule.query).ok().and_then(|tree| look_back(&tree, &recorded)) else {
            return unknown("its expression cannot be read");
        };
        longest = longest.max(Some(of_rule));
    }
    longest.map_or_else(|| unknown("its rule is not in the stack"), |longest| LookBack::Known(PromDuration(longest)))
}

/// The rules that may have made an alert: of its name, and with no label that says otherwise. Tiers share a name.
fn rules_of<'a>(alerting: &'a [Rule], alert: &'a RunAlert) -> impl Iterator<Item = &'a Rule> {
    let fits = |rule: &&Rule| {
        let mut labels = rule.labels.iter().filter(|(_, value)| !value.contains("{{"));
        rule.name == alert.name && labels.all(|(name, value)| alert.labels.get(name).is_none_or(|has| has == value))
    };
    alerting.iter().filter(|rule| rule.kind == RuleKind::Alerting).filter(fits)
}

/// The longest time over which `expr` gathers samples; `None` where it is nested too deep. `recorded` adds what recording
/// rules have gathered before.
///
/// Of operands of `and` the shortest time that there is counts: when the 5 minutes of `over 1h and over 5m` are clean, the
/// alert is quiet by them alone. What `unless` takes away does not count. An offset moves a time and does not lengthen it.
pub fn look_back(expr: &Expr, recorded: &Recorded) -> Option<Duration> {
    of(expr, recorded, 0)
}

fn of(expr: &Expr, recorded: &Recorded, depth: usize) -> Option<Duration> {
    if depth > DEEPEST {
        return None;
    }
    let inner = |expr: &Expr| of(expr, recorded, depth + 1);
    let series = |selector: &VectorSelector| {
        name(selector).and_then(|name| recorded.get(name)).copied().unwrap_or(Duration::ZERO)
    };
    match expr {
        Expr::Aggregate(aggregate) => inner(&aggregate.expr),
        Expr::Unary(unary) => inner(&unary.expr),
        Expr::Paren(paren) => inner(&paren.expr),
        Expr::Binary(binary) => {
            let (left, right) = (inner(&binary.lhs)?, inner(&binary.rhs)?);
            Some(match binary.op.id() {
                token::T_LAND if !left.is_zero() && !right.is_zero() => left.min(right),
                token::T_LUNLESS => left,
                _ => left.max(right),
            })
        }
        Expr::Subquery(subquery) => Some(inner(&subquery.expr)?.saturating_add(subquery.range)),
        Expr::MatrixSelector(matrix) => Some(matrix.range.saturating_add(series(&matrix.vs))),
        Expr::VectorSelector(selector) => Some(series(selector)),
        Expr::Call(call) => {
            call.args.args.iter().try_fold(Duration::ZERO, |longest, argument| Some(longest.max(inner(argument)?)))
        }
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => Some(Duration::ZERO),
    }
}

/// Names of the series of an expression, which recording rules may have made; none where it is nested too deep.
pub fn names(expr: &Expr) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    gather(expr, &mut found, 0);
    found
}

fn gather(expr: &Expr, found: &mut BTreeSet<String>, depth: usize) {
    if depth > DEEPEST {
        return;
    }
    let mut inner = |expr: &Expr| gather(expr, found, depth + 1);
    match expr {
        Expr::Aggregate(aggregate) => inner(&aggregate.expr),
        Expr::Unary(unary) => inner(&unary.expr),
        Expr::Paren(paren) => inner(&paren.expr),
        Expr::Binary(binary) => {
            inner(&binary.lhs);
            inner(&binary.rhs);
        }
        Expr::Subquery(subquery) => inner(&subquery.expr),
        Expr::Call(call) => call.args.args.iter().for_each(|argument| inner(argument)),
        Expr::MatrixSelector(matrix) => found.extend(name(&matrix.vs).map(str::to_owned)),
        Expr::VectorSelector(selector) => found.extend(name(selector).map(str::to_owned)),
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => {}
    }
}

fn name(selector: &VectorSelector) -> Option<&str> {
    selector.name.as_deref()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(kind: &str, name: &str, query: &str, severity: &str) -> Rule {
        let rule = serde_json::json!({
            "name": name, "type": kind, "health": "ok", "query": query, "labels": {"severity": severity},
        });
        serde_json::from_value(rule).unwrap()
    }

    #[test]
    fn the_rule_of_an_alert_is_found_by_name_and_labels_and_its_recorded_series_are_followed() {
        let alerting = [
            rule("alerting", "Errors", "job:errors:rate5m > 0.1", "critical"),
            rule("alerting", "Errors", "avg_over_time(errors[1d]) > 0.01", "warning"),
        ];
        let recording = [rule("recording", "job:errors:rate5m", "sum by (job) (rate(errors[5m]))", "")];
        let mut alert = RunAlert { name: "Errors".into(), ..RunAlert::default() };
        alert.labels.insert("severity".into(), "critical".into());
        assert_eq!(recorded_by(&alerting, &alert), ["job:errors:rate5m"]);
        assert_eq!(of_alert(&alerting, &recording, &alert), LookBack::Known(PromDuration::from_mins(5)));
        alert.name = "Gone".into();
        let LookBack::Unknown(why) = of_alert(&alerting, &recording, &alert) else { panic!("unknown") };
        assert_eq!(why, "how far the alert looks back is not known: its rule is not in the stack");
    }

    fn seconds(expr: &str, recorded: &[(&str, u64)]) -> u64 {
        let recorded = recorded.iter().map(|(name, secs)| ((*name).to_owned(), Duration::from_secs(*secs))).collect();
        look_back(&tree(expr).unwrap(), &recorded).unwrap().as_secs()
    }

    #[test]
    fn the_longest_range_of_an_expression_counts_and_ranges_within_ranges_add_up() {
        for (expr, expected) in [
            ("up == 0", 0),
            ("sum by (job) (rate(errors[5m])) / sum by (job) (rate(requests[10m])) > 0.01", 600),
            ("max_over_time(rate(errors[5m])[1h:1m]) > 1", 3_900),
            ("-(increase(errors[2m] offset 1d)) < -3", 120),
            ("histogram_quantile(0.99, sum by (le) (rate(latency_bucket[3m]))) > 0.5", 180),
            ("rate(a[1m]) > 1 or rate(b[1h]) > 1", 3_600),
            ("rate(a[5m]) > 1 unless on () rate(maintenance[1d]) > 0", 300),
        ] {
            assert_eq!(seconds(expr, &[]), expected, "{expr}");
        }
    }

    #[test]
    fn an_alert_over_two_windows_is_quiet_by_the_short_one() {
        let page = "(rate(e[1h]) > 14.4 and rate(e[5m]) > 14.4) or (rate(e[6h]) > 6 and rate(e[30m]) > 6)";
        assert_eq!(seconds(page, &[]), 1_800);
        assert_eq!(seconds("rate(e[5m]) > 1 and on () up == 1", &[]), 300, "what has no range does not shorten it");
    }

    #[test]
    fn what_a_recording_rule_gathered_counts_as_well() {
        let recorded = [("job:errors:rate5m", 300)];
        assert_eq!(seconds("job:errors:rate5m{job=\"web\"} > 0.01", &recorded), 300);
        assert_eq!(seconds("avg_over_time(job:errors:rate5m[1h]) > 0.01", &recorded), 3_900);
        let tree = tree("avg_over_time(a:b[1h]) > c and {__name__=\"d\"}").unwrap();
        assert!(names(&tree).contains("a:b") && names(&tree).contains("c"));
    }
}
