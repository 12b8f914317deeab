//! Telling people: the text, and when a delivery is given up.

use kube::ResourceExt;

use super::Plan;
use crate::api::alert_response::Notify;
use crate::api::response_run::{Delivery, Intent, NotifyIntent, ResponseRun, StepState};

/// Attempts a channel gets.
pub const MAX_TRIES: i32 = 4;

pub fn plan(step: &Notify, run: &ResponseRun, number: usize) -> Plan {
    let text = match &step.message {
        Some(template) => fill(template, run),
        None => account(run, number),
    };
    let intent = NotifyIntent {
        channels: step.channels.clone(),
        text,
        // One incident for a run, however many of its steps notify.
        dedup_key: run.uid().unwrap_or_default(),
    };
    Plan::Do {
        summary: format!("notify {}", step.channels.join(", ")),
        intent: Intent { notify: Some(intent), ..Intent::default() },
        evidence: vec![],
    }
}

/// The channel that is to be tried next; `None` when each one was delivered to or given up.
pub fn next_channel<'a>(intent: &'a NotifyIntent, deliveries: &[Delivery]) -> Option<&'a str> {
    let settled =
        |channel: &String| deliveries.iter().any(|d| d.channel == *channel && (d.delivered || d.tries >= MAX_TRIES));
    let open: Vec<_> = intent.channels.iter().filter(|c| !settled(c)).collect();
    let tries = |channel: &String| deliveries.iter().find(|d| d.channel == *channel).map_or(0, |d| d.tries);
    // Those that failed before do not hold up the others.
    open.into_iter().min_by_key(|c| tries(c)).map(String::as_str)
}

/// What a person wants to know: the alert, and what was done so far.
fn account(run: &ResponseRun, number: usize) -> String {
    let alert = &run.spec.alert;
    let target = run.spec.target.reference();
    let namespace = run.namespace().unwrap_or_default();
    let mut lines = vec![match alert.annotations.get("summary") {
        Some(summary) => format!("{}: {summary}", alert.name),
        None => alert.name.clone(),
    }];
    lines.push(format!("{target} in namespace {namespace}"));
    let steps = run.status.as_ref().map(|s| s.steps.as_slice()).unwrap_or_default();
    for step in steps.iter().take(number) {
        let what = step.effect.as_deref().unwrap_or(&step.message);
        lines.push(match step.state {
            StepState::Done => what.to_owned(),
            StepState::Skipped => format!("{} skipped: {what}", step.name),
            StepState::Refused => format!("{} refused: {what}", step.name),
            StepState::Failed => format!("{} failed: {what}", step.name),
            StepState::Pending | StepState::Waiting | StepState::Intended | StepState::Observed => continue,
        });
        lines.extend(step.evidence.iter().map(|e| format!("- {e}")));
    }
    lines.push(format!("kubectl describe run -n {namespace} {}", run.name_any()));
    lines.join("\n")
}

/// Fills in `{{ alert.name }}` and the like; what is not known stays as it is written.
fn fill(template: &str, run: &ResponseRun) -> String {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        text.push_str(before);
        let Some((key, behind)) = after.split_once("}}") else {
            rest = after;
            text.push_str("{{");
            continue;
        };
        match lookup(key.trim(), run) {
            Some(value) => text.push_str(&value),
            None => text.push_str(&format!("{{{{{key}}}}}")),
        }
        rest = behind;
    }
    text + rest
}

fn lookup(key: &str, run: &ResponseRun) -> Option<String> {
    let (alert, target) = (&run.spec.alert, &run.spec.target);
    if let Some(label) = key.strip_prefix("alert.labels.") {
        return Some(alert.labels.get(label).cloned().unwrap_or_default());
    }
    if let Some(annotation) = key.strip_prefix("alert.annotations.") {
        return Some(alert.annotations.get(annotation).cloned().unwrap_or_default());
    }
    match key {
        "alert.name" => Some(alert.name.clone()),
        "target.kind" => Some(target.kind.as_str().to_owned()),
        "target.name" => Some(target.name.clone()),
        "target.namespace" => run.namespace(),
        "run.name" => Some(run.name_any()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_channel_does_not_hold_up_the_others_and_is_given_up_in_the_end() {
        let intent = NotifyIntent { channels: vec!["a".into(), "b".into()], ..NotifyIntent::default() };
        let delivery = |channel: &str, delivered, tries| Delivery {
            channel: channel.into(),
            delivered,
            tries,
            message: String::new(),
        };
        assert_eq!(next_channel(&intent, &[]), Some("a"));
        assert_eq!(next_channel(&intent, &[delivery("a", false, 1)]), Some("b"));
        let b = delivery("b", true, 1);
        assert_eq!(next_channel(&intent, &[delivery("a", false, 1), b.clone()]), Some("a"));
        assert_eq!(next_channel(&intent, &[delivery("a", false, MAX_TRIES), b]), None);
    }
}
