use serde_json::{Value, json};

use super::*;
use crate::prometheus::RuleGroup;
use crate::rule::logs::verdict;

const ERRORS: &str = "sum(count_over_time({stream=\"errors\"}[5m]))";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn stack(spec: Value) -> MonitoringStack {
    serde_json::from_value(json!({
        "apiVersion": "evenkeel.dev/v1alpha1", "kind": "MonitoringStack",
        "metadata": {"name": "main", "namespace": "monitoring", "uid": "s-1"}, "spec": spec,
    }))
    .unwrap()
}

fn rule(generation: i64, source: &str, rules: Value) -> AlertRule {
    serde_json::from_value(json!({
        "apiVersion": "evenkeel.dev/v1alpha1", "kind": "AlertRule",
        "metadata": {"name": "errors", "namespace": "shop", "uid": "r-1", "generation": generation},
        "spec": {"source": source, "rules": rules},
    }))
    .unwrap()
}

fn alert(expr: &str) -> Value {
    json!([{"alert": "Errors", "expr": expr, "tiers": [
        {"severity": "warning", "above": 5}, {"severity": "critical", "above": 50, "for": "2m"}]}])
}

fn main() -> Key {
    key("monitoring", "main")
}

fn with_pod() -> Memory {
    let mut memory = Memory::default();
    memory.stack_applied(&stack(json!({"discovery": {}, "loki": {}})));
    memory.pod_seen(&main(), "main-loki-0", Pod { ip: Some("10.0.0.1".into()), ready: true, report: None });
    memory
}

/// Everything that was asked parses; what should be there is written, and the pod has loaded it.
fn settle(memory: &mut Memory) {
    for (expr, _) in memory.questions() {
        memory.verdicts.learn(expr, Ok(()));
    }
    memory.settle();
    write(memory);
}

fn write(memory: &mut Memory) {
    let wanted = memory.wanted(&main()).unwrap().1;
    for number in 0..files::COUNT {
        memory.file_is(&main(), number, wanted.get(&number).map(|file| file.revision.clone()));
    }
    let loaded = memory.written(&main());
    memory.reported(&main(), "main-loki-0", Report { loaded, firing: [("shop/errors".to_owned(), 2)].into() });
}

fn text(memory: &Memory) -> String {
    memory.wanted(&main()).unwrap().1.into_values().map(|file| file.text).collect()
}

fn told(memory: &Memory) -> AlertRuleStatus {
    memory.statuses(at(0)).remove(0).1.status
}

fn condition<'a>(status: &'a AlertRuleStatus, type_: &str) -> (&'a str, &'a str) {
    let found = status.conditions.iter().find(|c| c.type_ == type_).unwrap();
    (found.status.as_str(), found.reason.as_str())
}

#[test]
fn nothing_is_shipped_before_loki_was_asked() {
    let mut memory = with_pod();
    memory.rule_applied(&rule(1, "logs", alert(ERRORS)));
    assert_eq!(memory.questions(), [(ERRORS.to_owned(), "10.0.0.1".to_owned())]);
    memory.settle();
    assert!(memory.wanted(&main()).unwrap().1.is_empty());
    let status = told(&memory);
    assert_eq!(condition(&status, "Accepted"), ("Unknown", "NotChecked"));
    assert_eq!((condition(&status, "Loaded"), status.accepted), (("False", "NotLoaded"), None));

    settle(&mut memory);
    let text = text(&memory);
    assert!(text.contains("- name: shop/errors") && text.contains(&format!("expr: '({ERRORS}) > 50'")), "{text}");
    let status = told(&memory);
    assert_eq!((condition(&status, "Loaded"), status.accepted), (("True", "Confirmed"), Some(1)));
    assert_eq!((status.firing, status.stacks[0].loaded), (Some(2), 1));
    let counts = RuleCounts { selected: 1, accepted: 1, loaded: 1, ..RuleCounts::default() };
    assert_eq!(memory.counts()[0].1, counts);
    assert!(memory.questions().is_empty() && memory.outdated(&main()).is_empty());
}

#[test]
fn a_refused_expression_is_refused_alone_in_lokis_words_and_its_last_good_version_stays() {
    let mut memory = with_pod();
    let rules = |expr: &str| json!([{"alert": "Errors", "expr": expr}, {"alert": "Other", "expr": "vector(1)"}]);
    memory.rule_applied(&rule(1, "logs", rules(ERRORS)));
    settle(&mut memory);
    memory.rule_applied(&rule(2, "logs", rules("{a=")));
    assert!(text(&memory).contains(ERRORS), "until it was judged everything stays");
    memory.verdicts.learn("{a=".into(), Err(verdict::refused("parse error at line 1, col 4: syntax error")));
    settle(&mut memory);
    assert!(text(&memory).contains(ERRORS) && text(&memory).contains("vector(1)"));
    let status = told(&memory);
    assert_eq!((status.accepted, status.refused), (Some(1), Some(1)));
    let problem = &status.rules[0];
    assert_eq!((problem.name.as_str(), problem.column, problem.reason.as_str()), ("Errors", Some(4), "ParseError"));
    assert_eq!(problem.message, "syntax error; its version of generation 1 stays live");
    assert_eq!((condition(&status, "Ready").0, condition(&status, "Loaded").0), ("False", "True"));
}

#[test]
fn a_rule_that_becomes_one_over_metrics_leaves_nothing_behind() {
    let mut memory = with_pod();
    memory.rule_applied(&rule(1, "metrics", alert("up")));
    assert_eq!(memory.statuses(at(0)).len(), 0, "those of Prometheus are none of ours");
    memory.rule_applied(&rule(2, "logs", alert(ERRORS)));
    settle(&mut memory);
    memory.rule_applied(&rule(3, "metrics", alert("up")));
    assert!(memory.wanted(&main()).unwrap().1.is_empty() && memory.statuses(at(0)).is_empty());
    assert!(memory.concerned(&main()), "the pod has yet to forget it");
    write(&mut memory);
    assert!(!memory.concerned(&main()));
}

#[test]
fn a_restart_of_the_operator_neither_asks_nor_writes_when_loki_is_away() {
    let mut memory = with_pod();
    memory.rule_applied(&rule(1, "logs", alert(ERRORS)));
    settle(&mut memory);
    let files = memory.wanted(&main()).unwrap().1;
    let mut again = Memory::default();
    files.iter().for_each(|(number, file)| again.recovered(main(), *number, &file.text));
    again.stack_applied(&stack(json!({"discovery": {}, "loki": {}})));
    again.rule_applied(&rule(1, "logs", alert(ERRORS)));
    again.settle();
    assert_eq!((again.wanted(&main()).unwrap().1, again.written(&main())), (files, memory.written(&main())));
    let message = &told(&again).stacks[0].message.clone().unwrap();
    assert_eq!(message, "no replica of Loki is ready");
}

#[test]
fn a_rule_that_no_stack_with_loki_selects_says_so() {
    let mut memory = Memory::default();
    memory.rule_applied(&rule(1, "logs", alert(ERRORS)));
    let message =
        |memory: &Memory, type_: &str| told(memory).conditions.into_iter().find(|c| c.type_ == type_).unwrap().message;
    assert!(message(&memory, "Ready").starts_with("no MonitoringStack with Loki exists: create one"));
    memory.stack_applied(&stack(json!({"discovery": {}, "prometheus": {}})));
    assert!(message(&memory, "Ready").contains("monitoring/main runs no Loki"));
    assert_eq!(message(&memory, "Loaded"), "no MonitoringStack with Loki selects this AlertRule");
    assert_eq!(condition(&told(&memory), "Loaded"), ("False", "NotSelected"));
    memory.stack_applied(&stack(json!({"loki": {}})));
    assert!(message(&memory, "Ready").contains("monitoring/main looks in namespace monitoring"));
}

#[test]
fn a_report_tells_the_revisions_and_what_fires() {
    let groups: Vec<RuleGroup> = serde_json::from_value(json!([
        {"name": "evenkeel.revision", "file": "log-rules-03.yaml", "interval": 3600, "rules": [
            {"name": "EvenkeelRevision", "type": "alerting", "health": "ok", "labels": {"revision": "abc", "shard": "03"}}]},
        {"name": "shop/errors", "file": "log-rules-03.yaml", "interval": 15, "rules": [
            {"name": "Errors", "type": "alerting", "health": "ok", "alerts": [
                {"labels": {}, "state": "firing", "value": "1"}, {"labels": {}, "state": "pending", "value": "1"}]}]},
    ]))
    .unwrap();
    let report = Report::of(&groups);
    assert_eq!((report.loaded, report.firing), ([(3, "abc".into())].into(), [("shop/errors".into(), 1)].into()));
}
