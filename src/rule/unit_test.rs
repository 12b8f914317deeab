//! `tests` of an AlertRule -> a unit test file of promtool for each, and what promtool's answer says of it. Pure.
//!
//! promtool is asked what there is: its file expects nothing anywhere, so that it prints all that it found. The
//! judgement is made here, since a label set of a test names the labels that matter, and promtool compares all of them.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::promql;
use crate::api::alert_rule::{AlertCheck, AlertRuleSpec, RuleTest, ValueCheck};
use crate::api::duration::PromDuration;
use crate::nearest::nearest;
use crate::stack::build::{BuildError, yaml};

type Labels = BTreeMap<String, String>;

/// Between the samples of the series, where a test says nothing else.
const INTERVAL: PromDuration = PromDuration::from_mins(1);
/// Values that differ by less than this part of them are equal.
const TOLERANCE: f64 = 1e-6;
/// Evaluations of a test, and samples of one of its series: each takes promtool time and memory.
const MOST_POINTS: u64 = 100_000;
/// Characters of what was expected, and of what there is, that are kept.
const LONGEST: usize = 1_000;

/// promtool failed, and nothing tells over what: that is no verdict on the rules.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("promtool failed without a word on tests[{0}]")]
pub struct Silent(usize);

/// An expectation that was not met, or a test that promtool refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// For example `tests[0].alerts[1]`.
    pub field: String,
    /// What was looked at: an alert or an expression, and when.
    pub what: String,
    pub expected: String,
    pub got: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}, got {}", self.what, self.expected, self.got)
    }
}

#[derive(Serialize)]
struct File<'a> {
    rule_files: [&'a str; 1],
    evaluation_interval: PromDuration,
    tests: [Group<'a>; 1],
}

#[derive(Serialize)]
struct Group<'a> {
    interval: PromDuration,
    input_series: Vec<Input<'a>>,
    promql_expr_test: Vec<Question>,
}

#[derive(Serialize)]
struct Input<'a> {
    series: &'a str,
    values: &'a str,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Question {
    expr: String,
    eval_time: PromDuration,
}

impl Question {
    /// All alerts of this name, pending ones too.
    fn of_alert(check: &AlertCheck) -> Self {
        let name = check.alert.replace('\\', "\\\\").replace('"', "\\\"");
        Self { expr: format!("ALERTS{{alertname=\"{name}\"}}"), eval_time: check.at }
    }

    fn of_value(check: &ValueCheck) -> Self {
        Self { expr: check.expr.trim().to_owned(), eval_time: check.at }
    }
}

/// What cannot be a test of these rules: the field, and why.
pub fn faults(spec: &AlertRuleSpec) -> Vec<(String, String)> {
    let alerts = || spec.rules.iter().filter_map(|rule| rule.alert.as_deref());
    let mut faults = vec![];
    for (number, test) in spec.tests.iter().enumerate() {
        if test.alerts.is_empty() && test.values.is_empty() {
            faults.push((format!("tests[{number}]"), "expects nothing: set alerts or values".to_owned()));
        }
        for (index, check) in test.alerts.iter().enumerate() {
            if alerts().any(|alert| alert == check.alert) {
                continue;
            }
            let hint = match nearest(alerts(), &check.alert) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("there are {}", alerts().collect::<Vec<_>>().join(", ")),
            };
            let message = format!("{:?} is no alert of these rules: {hint}", check.alert);
            faults.push((format!("tests[{number}].alerts[{index}].alert"), message));
        }
        for (index, check) in test.values.iter().enumerate() {
            if let Err(error) = promql::check(&check.expr) {
                let column = error.column.map(|column| format!("column {column}: ")).unwrap_or_default();
                faults.push((format!("tests[{number}].values[{index}].expr"), format!("{column}{}", error.message)));
            }
        }
        faults.extend(excesses(number, test));
    }
    faults
}

/// Where the test at `number` asks for more than promtool could work through.
fn excesses(number: usize, test: &RuleTest) -> Vec<(String, String)> {
    let interval = interval(test);
    let alerts = test.alerts.iter().enumerate().map(|(index, check)| (format!("alerts[{index}].at"), check.at));
    let values = test.values.iter().enumerate().map(|(index, check)| (format!("values[{index}].at"), check.at));
    let late = alerts.chain(values).filter(|(_, at)| at.0.as_millis() / interval.0.as_millis() > MOST_POINTS.into());
    let late = late.map(|(field, at)| {
        let why = format!(
            "{at} are more than {MOST_POINTS} evaluations, {interval} apart: take an earlier time or a longer interval"
        );
        (field, why)
    });
    let long = test.series.iter().enumerate().filter(|(_, input)| repeats(&input.values) > MOST_POINTS);
    let long = long.map(|(index, _)| {
        let why = format!("are more than {MOST_POINTS} samples: take fewer, or a longer interval");
        (format!("series[{index}].values"), why)
    });
    late.chain(long).map(|(field, why)| (format!("tests[{number}].{field}"), why)).collect()
}

/// The samples that promtool makes of `0+1x20` and its like.
fn repeats(values: &str) -> u64 {
    let times = |part: &str| part.rsplit_once('x')?.1.parse::<u64>().ok();
    values.split_whitespace().filter_map(times).fold(0, u64::saturating_add)
}

/// Between two samples, and two evaluations.
fn interval(test: &RuleTest) -> PromDuration {
    test.interval.filter(|interval| !interval.is_zero()).unwrap_or(INTERVAL)
}

/// The unit test file of one test; `rules` is the name of the rule file beside it.
pub fn file(test: &RuleTest, rules: &str) -> Result<String, BuildError> {
    let interval = interval(test);
    let alerts = test.alerts.iter().map(Question::of_alert);
    let inputs = test.series.iter().map(|input| Input { series: &input.series, values: &input.values });
    yaml(&File {
        rule_files: [rules],
        evaluation_interval: interval,
        tests: [Group {
            interval,
            input_series: inputs.collect(),
            promql_expr_test: alerts.chain(test.values.iter().map(Question::of_value)).collect(),
        }],
    })
}

/// What is wrong with the test at `number`, after what promtool said of its file.
pub fn judge(number: usize, test: &RuleTest, succeeded: bool, said: &str) -> Result<Vec<Failure>, Silent> {
    let (answers, rest) = answers(said);
    let refused = |got: String| {
        let what = "promtool cannot run this test".to_owned();
        Ok(vec![Failure { field: format!("tests[{number}]"), what, expected: "an answer".into(), got: cut(got) }])
    };
    if !rest.is_empty() {
        return refused(rest.join("; "));
    }
    if !succeeded && answers.is_empty() {
        return Err(Silent(number));
    }
    let alerts = test.alerts.iter().map(Question::of_alert);
    let asked: Vec<Question> = alerts.chain(test.values.iter().map(Question::of_value)).collect();
    if let Some((Question { expr, eval_time }, _)) = answers.iter().find(|(answered, _)| !asked.contains(answered)) {
        return refused(format!("one to {expr} at {eval_time}, which it does not ask"));
    }
    let answer = |question: Question| {
        let same = answers.iter().find(|(asked, _)| *asked == question);
        // What is as promtool was told to expect, nothing, is not printed.
        same.map_or(Ok(vec![]), |(_, found)| found.clone())
    };
    let mut failures = vec![];
    for (index, check) in test.alerts.iter().enumerate() {
        let what = format!("{} at {}", check.alert, check.at);
        let found = answer(Question::of_alert(check));
        let wrong = alert_failures(check, found);
        failures.extend(wrong.into_iter().map(|(expected, got)| Failure {
            field: format!("tests[{number}].alerts[{index}]"),
            what: what.clone(),
            expected,
            got,
        }));
    }
    for (index, check) in test.values.iter().enumerate() {
        if let Some((expected, got)) = value_failure(check, answer(Question::of_value(check))) {
            let what = format!("{} at {}", check.expr.trim(), check.at);
            failures.push(Failure { field: format!("tests[{number}].values[{index}]"), what, expected, got });
        }
    }
    Ok(failures)
}

/// A series and its value, as promtool prints it.
#[derive(Clone, Debug, PartialEq)]
struct Sample {
    labels: Labels,
    value: String,
}

type Answer = Result<Vec<Sample>, String>;

/// What was expected and what there is, for each expectation that is not met.
fn alert_failures(check: &AlertCheck, found: Answer) -> Vec<(String, String)> {
    let mut samples = match found {
        Ok(samples) => samples,
        Err(error) => return vec![("an answer".into(), error)],
    };
    let state = |sample: &mut Sample| {
        sample.labels.retain(|name, _| !matches!(name.as_str(), "__name__" | "alertname"));
        sample.labels.remove("alertstate").unwrap_or_default()
    };
    let states: Vec<String> = samples.iter_mut().map(state).collect();
    let firing: Vec<&Sample> =
        samples.iter().zip(&states).filter(|(_, state)| *state == "firing").map(|(sample, _)| sample).collect();
    let all = samples.iter().zip(&states).map(|(sample, state)| format!("{} {state}", labels(&sample.labels)));
    let got = cut(join(all));
    let fires = |wanted: &Labels| {
        firing.iter().any(|sample| wanted.iter().all(|(name, value)| sample.labels.get(name) == Some(value)))
    };
    if check.firing.is_empty() && check.not_firing.is_empty() {
        return if firing.is_empty() { vec![] } else { vec![("nothing to fire".into(), got)] };
    }
    let missing = check.firing.iter().filter(|wanted| !fires(wanted));
    let missing = missing.map(|wanted| format!("{} to fire", labels(wanted)));
    let excess = check.not_firing.iter().filter(|wanted| fires(wanted));
    let excess = excess.map(|wanted| format!("{} not to fire", labels(wanted)));
    missing.chain(excess).map(|expected| (expected, got.clone())).collect()
}

fn value_failure(check: &ValueCheck, found: Answer) -> Option<(String, String)> {
    let expected =
        || cut(join(check.samples.iter().map(|sample| format!("{} {}", labels(&sample.labels), sample.value))));
    let mut samples = match found {
        Ok(samples) => samples,
        Err(error) => return Some((expected(), error)),
    };
    let got = cut(join(samples.iter().map(|sample| format!("{} {}", labels(&sample.labels), plain(&sample.value)))));
    for wanted in &check.samples {
        let named = wanted.labels.contains_key("__name__");
        let same = |sample: &Sample| {
            let theirs = sample.labels.iter().filter(|(name, _)| named || *name != "__name__");
            theirs.eq(wanted.labels.iter()) && sample.value.parse().is_ok_and(|value| equal(value, wanted.value))
        };
        match samples.iter().position(same) {
            Some(at) => _ = samples.remove(at),
            None => return Some((expected(), got)),
        }
    }
    if samples.is_empty() { None } else { Some((expected(), got)) }
}

fn equal(one: f64, other: f64) -> bool {
    one == other || (one - other).abs() <= TOLERANCE * one.abs().max(other.abs())
}

/// `2E+01` as a person writes it.
fn plain(value: &str) -> String {
    value.parse::<f64>().map_or_else(|_| value.to_owned(), |number| number.to_string())
}

fn labels(labels: &Labels) -> String {
    let written: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", written.join(", "))
}

fn join(parts: impl Iterator<Item = String>) -> String {
    let parts: Vec<String> = parts.collect();
    if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") }
}

/// What promtool prints of one test can be a million characters.
fn cut(text: String) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// What promtool found for each question that it printed, and the lines that are no answer to one.
fn answers(said: &str) -> (Vec<(Question, Answer)>, Vec<&str>) {
    let (mut answers, mut rest) = (Vec::<(Question, Answer)>::new(), vec![]);
    for line in said.lines().map(str::trim) {
        let head = ["Unit Testing:", "FAILED:", "SUCCESS", "exp: "].iter().any(|head| line.starts_with(head));
        if line.is_empty() || head {
            continue;
        }
        if let Some((question, error)) = line.strip_prefix("expr: ").and_then(question) {
            answers.push((question, error.map_or(Ok(vec![]), Err)));
            continue;
        }
        match (line.strip_prefix("got: ").and_then(samples), answers.last_mut()) {
            (Some(found), Some((_, answer @ Ok(_)))) => *answer = Ok(found),
            _ => rest.push(line),
        }
    }
    (answers, rest)
}

/// `"<expression>", time: <time>,` and an error that may follow.
fn question(line: &str) -> Option<(Question, Option<String>)> {
    let (expr, rest) = quoted(line)?;
    let rest = rest.strip_prefix(", time: ")?;
    let (time, rest) = rest.split_once(',')?;
    let error = rest.trim().strip_prefix("err: ").map(str::to_owned);
    Some((Question { expr: expr.trim().to_owned(), eval_time: time.parse().ok()? }, error))
}

/// `nil`, or series with their values, separated by commas.
fn samples(text: &str) -> Option<Vec<Sample>> {
    let mut samples = vec![];
    let mut rest = text.trim();
    if rest == "nil" {
        return Some(samples);
    }
    while !rest.is_empty() {
        let (labels, after) = series(rest)?;
        let after = after.strip_prefix(' ')?;
        // A histogram has commas of its own, and braces around them.
        let end = match after.strip_prefix("{{") {
            Some(inside) => inside.find("}}")? + 4,
            None => after.find(',').unwrap_or(after.len()),
        };
        samples.push(Sample { labels, value: after[..end].to_owned() });
        rest = after[end..].trim_start_matches(',').trim_start();
    }
    Some(samples)
}

/// `{a="b", "c.d"="e"}`, and what follows.
fn series(text: &str) -> Option<(Labels, &str)> {
    let mut labels = Labels::new();
    let mut rest = text.strip_prefix('{')?;
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        let (name, after) = match rest.starts_with('"') {
            true => quoted(rest)?,
            false => rest.find('=').map(|end| (rest[..end].to_owned(), &rest[end..]))?,
        };
        let (value, after) = quoted(after.strip_prefix('=')?)?;
        labels.insert(name, value);
        rest = after.trim_start_matches(',').trim_start();
    }
}

/// A string in double quotes as Go writes it, which JSON reads but for control characters, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find_map(|(at, c)| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends.then_some(at + 1)
    })?;
    Some((serde_json::from_str(&text[..end]).ok()?, &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const ALERTS: &str = r#"  FAILED:
    expr: "ALERTS{alertname=\"Hi\"}", time: 10m,
        exp: nil
        got: {__name__="ALERTS", alertname="Hi", alertstate="firing", severity="a \"b\", c", team="t"} 1E+00, {__name__="ALERTS", alertname="Hi", alertstate="pending", severity="x"} 1E+00
"#;
    const VALUES: &str = r#"  FAILED:
    expr: "a:b", time: 10m,
        exp: nil
        got: {__name__="a:b", i="1"} 2.00000001E+01, {__name__="a:b", i="2"} 4E+01
"#;
    const ERROR: &str = "    expr: \"x + on() x\", time: 1m30s, err: many-to-many matching not allowed\n";

    fn judged(test: Value, said: &str) -> Vec<String> {
        let test: RuleTest = serde_json::from_value(test).unwrap();
        let failures = judge(2, &test, said.is_empty(), said).unwrap();
        failures.iter().map(|failure| format!("{}: {failure}", failure.field)).collect()
    }

    #[test]
    fn a_test_becomes_a_file_that_asks_for_all_alerts_of_the_name() {
        let test = json!({"series": [{"series": "x{a=\"b\"}", "values": "0+1x20"}],
            "alerts": [{"at": "20m", "alert": "High", "firing": [{"severity": "critical"}]}],
            "values": [{"at": "5m", "expr": "a:b", "samples": []}]});
        let text = file(&serde_json::from_value(test).unwrap(), "rules.yaml").unwrap();
        let read: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(
            read,
            json!({"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": [{"interval": "1m",
                "input_series": [{"series": "x{a=\"b\"}", "values": "0+1x20"}],
                "promql_expr_test": [{"expr": "ALERTS{alertname=\"High\"}", "eval_time": "20m"}, {"expr": "a:b", "eval_time": "5m"}]}]})
        );
    }

    #[test]
    fn the_labels_of_an_expectation_are_those_that_matter() {
        let alerts = |check: Value| {
            let mut full = json!({"at": "10m", "alert": "Hi"});
            full.as_object_mut().unwrap().extend(check.as_object().unwrap().clone());
            judged(json!({"series": [], "alerts": [full]}), ALERTS)
        };
        let none = Vec::<String>::new();
        assert_eq!(alerts(json!({"firing": [{"team": "t"}]})), none);
        assert_eq!(alerts(json!({"firing": [{}], "notFiring": [{"severity": "x"}]})), none);
        let got = r#"got {severity="a \"b\", c", team="t"} firing, {severity="x"} pending"#;
        assert_eq!(
            alerts(json!({"firing": [{"severity": "x"}]})),
            [format!(r#"tests[2].alerts[0]: Hi at 10m: expected {{severity="x"}} to fire, {got}"#)]
        );
        assert_eq!(
            alerts(json!({"notFiring": [{"team": "t"}]})),
            [format!(r#"tests[2].alerts[0]: Hi at 10m: expected {{team="t"}} not to fire, {got}"#)]
        );
        assert_eq!(alerts(json!({})), [format!("tests[2].alerts[0]: Hi at 10m: expected nothing to fire, {got}")]);
        let other = json!({"series": [], "alerts": [{"at": "5m", "alert": "Hi", "firing": [{}]}]});
        assert_eq!(judged(other, ""), ["tests[2].alerts[0]: Hi at 5m: expected {} to fire, got nothing"]);
    }

    #[test]
    fn values_are_compared_with_all_labels_but_the_name_of_the_series() {
        let values = |expr: &str, at: &str, samples: Value| {
            let said = if expr == "a:b" { VALUES } else { ERROR };
            judged(json!({"series": [], "values": [{"at": at, "expr": expr, "samples": samples}]}), said)
        };
        let two = json!([{"labels": {"i": "2"}, "value": 40}, {"labels": {"i": "1"}, "value": 20}]);
        assert_eq!(values("a:b", "10m", two), Vec::<String>::new());
        assert_eq!(
            values("a:b", "10m", json!([{"labels": {"i": "1"}, "value": 21}])),
            [
                r#"tests[2].values[0]: a:b at 10m: expected {i="1"} 21, got {__name__="a:b", i="1"} 20.0000001, {__name__="a:b", i="2"} 40"#
            ]
        );
        assert!(values("x + on() x", "90s", json!([]))[0].contains("got many-to-many matching not allowed"));
        let nothing = json!({"series": [], "values": [{"at": "10m", "expr": "nothing", "samples": []}]});
        assert_eq!(judged(nothing, ""), Vec::<String>::new());
    }

    #[test]
    fn a_test_that_promtool_cannot_run_has_failed_and_not_passed() {
        let test = json!({"series": [], "alerts": [{"at": "5m", "alert": "Hi"}]});
        let said = judged(test.clone(), "  FAILED:\n2:12: parse error: bad number syntax: \"1\"\n");
        assert!(said.len() == 1 && said[0].ends_with("got 2:12: parse error: bad number syntax: \"1\""), "{said:?}");
        let other = judged(test.clone(), ERROR);
        assert_eq!(
            other,
            [
                "tests[2]: promtool cannot run this test: expected an answer, got one to x + on() x at 1m30s, which it does not ask"
            ]
        );
        let silent = judge(2, &serde_json::from_value(test).unwrap(), false, "  FAILED:\n").unwrap_err();
        assert_eq!(silent.to_string(), "promtool failed without a word on tests[2]");
    }

    #[test]
    fn a_long_answer_is_cut() {
        let series: Vec<String> =
            (0..1_000).map(|i| format!("{{alertname=\"Hi\", alertstate=\"firing\", i=\"{i}\"}} 1E+00")).collect();
        let said = format!(
            "    expr: \"ALERTS{{alertname=\\\"Hi\\\"}}\", time: 10m,\n        exp: nil\n        got: {}\n",
            series.join(", ")
        );
        let test = json!({"series": [], "alerts": [{"at": "10m", "alert": "Hi", "firing": [{"i": "a"}, {"i": "b"}]}]});
        let failures = judge(0, &serde_json::from_value(test).unwrap(), false, &said).unwrap();
        let long: Vec<usize> = failures.iter().map(|failure| failure.got.chars().count()).collect();
        assert_eq!(long, [LONGEST + 3, LONGEST + 3]);
    }

    #[test]
    fn a_test_that_would_keep_promtool_busy_for_hours_is_refused() {
        let spec = json!({"rules": [{"alert": "A", "expr": "x"}], "tests": [
            {"series": [{"series": "x", "values": "0+1x2000000000"}], "interval": "1ms", "alerts": [{"at": "1y", "alert": "A"}]},
            {"series": [{"series": "x", "values": "1x60000 _x60000"}], "values": [{"at": "10w", "expr": "x", "samples": []}]},
            {"series": [{"series": "x", "values": "0x50000 {{count:1}}x50000"}], "alerts": [{"at": "9w", "alert": "A"}]}]});
        let found = faults(&serde_json::from_value(spec).unwrap());
        assert_eq!(
            found.iter().map(|(field, _)| field.as_str()).collect::<Vec<_>>(),
            [
                "tests[0].alerts[0].at",
                "tests[0].series[0].values",
                "tests[1].values[0].at",
                "tests[1].series[0].values"
            ]
        );
        assert_eq!(
            found[0].1,
            "1y are more than 100000 evaluations, 1ms apart: take an earlier time or a longer interval"
        );
    }

    #[test]
    fn a_test_of_an_alert_that_is_not_there_names_the_near_one() {
        let spec = json!({"rules": [{"alert": "HighErrors", "expr": "x"}], "tests": [
            {"series": [{"series": "x", "values": "1"}], "alerts": [{"at": "1m", "alert": "HighError"}]},
            {"series": [{"series": "x", "values": "1"}], "values": [{"at": "1m", "expr": "x >", "samples": []}]},
            {"series": [{"series": "x", "values": "1"}]}]});
        let found = faults(&serde_json::from_value(spec).unwrap());
        assert_eq!(found[0].0, "tests[0].alerts[0].alert");
        assert_eq!(found[0].1, "\"HighError\" is no alert of these rules: did you mean HighErrors?");
        assert_eq!(found[1].0, "tests[1].values[0].expr");
        assert_eq!(found[2].1, "expects nothing: set alerts or values");
    }
}
