//! What a run did and when, line by line, from the run alone. Pure.

use std::fmt::Write;

use jiff::Timestamp;
use kube::ResourceExt;

use crate::api::response_run::{
    Delivery, FIRED_AT, FIRINGS, Phase, ResponseRun, ResponseRunStatus, StepState, StepStatus, UndoState, Verdict,
    Verification,
};
use crate::notify::message::cut;

/// Longest line; a summary of an alert can be a page.
const LONGEST: usize = 1000;

/// Something that happened; without a time, what is so now or is yet to come.
struct Line {
    at: Option<Timestamp>,
    text: String,
}

#[derive(Default)]
struct Lines(Vec<Line>);

impl Lines {
    fn at(&mut self, at: Option<Timestamp>, text: impl Into<String>) {
        self.0.push(Line { at, text: text.into() });
    }

    fn undated(&mut self, text: impl Into<String>) {
        self.at(None, text);
    }
}

/// The whole story, in the order of time. Times are UTC.
pub fn timeline(run: &ResponseRun) -> String {
    let mut lines = Lines::default();
    fired(run, &mut lines);
    match &run.status {
        None => lines.undated("nobody has looked at it yet: is the operator running?"),
        Some(status) => {
            passed(run, status, &mut lines);
            steps(run, status, &mut lines);
            proof(status, &mut lines);
            end(status, &mut lines);
            afterwards(run, status, &mut lines);
        }
    }
    written(run, lines)
}

fn fired(run: &ResponseRun, lines: &mut Lines) {
    let alert = &run.spec.alert;
    let received = alert.received_at.as_ref().map(|at| at.0);
    let severity = alert.labels.get("severity").map(|severity| format!(" ({severity})")).unwrap_or_default();
    let summary = alert.annotations.get("summary").map(|summary| format!(": {summary}")).unwrap_or_default();
    let fired = format!("{}{severity} fired{summary}", alert.name);
    lines.at(alert.starts_at.as_ref().map(|at| at.0).or(received), fired);
    let by = if alert.source.is_empty() { String::new() } else { format!(", told by {}", alert.source) };
    let what = match (run.spec.drill, run.spec.attempt) {
        (true, _) => "recorded as a drill: nothing is touched and nobody is told".to_owned(),
        (false, 1) => format!("recorded{by}"),
        (false, attempt) => format!("recorded{by}; attempt {attempt} while the alert fires"),
    };
    lines.at(received, what);
    if let Some(count) = run.annotations().get(FIRINGS) {
        let at = run.annotations().get(FIRED_AT).and_then(|at| at.parse().ok());
        lines.at(at, format!("fired again, {count} times in all"));
    }
}

fn passed(run: &ResponseRun, status: &ResponseRunStatus, lines: &mut Lines) {
    let at = status.started_at.as_ref().or(status.finished_at.as_ref()).map(|at| at.0);
    match status.guards.last() {
        None => {}
        Some(held) if !held.passed => {
            let passed = status.guards.len() - 1;
            // What decided for good is told at the end, what holds now as well.
            lines.at(at, format!("guards: {passed} passed, {} did not", held.name));
        }
        Some(_) => lines.at(at, format!("guards: {0} of {0} passed", status.guards.len())),
    }
    if let Some(told) = told(&status.asked) {
        lines.undated(format!("asked to approve it: {told}"));
    }
    if let (Some(before), true) = (&status.before, run.spec.verify.promql.is_some()) {
        lines.at(at, format!("before the repair: {before}"));
    }
}

fn steps(run: &ResponseRun, status: &ResponseRunStatus, lines: &mut Lines) {
    let mut begins = run.spec.steps.len();
    let mut fallbacks = run.spec.fallback.iter();
    let mut tried = 0;
    for (number, step) in status.steps.iter().enumerate() {
        if number == begins
            && let Some(fallback) = fallbacks.next()
        {
            (begins, tried) = (begins + fallback.steps.len(), tried + 1);
            let at = step.started_at.as_ref().map(|at| at.0);
            lines.at(at, format!("not proved; fallback {tried} of {}", run.spec.fallback.len()));
        }
        self::step(step, status.finished_at.as_ref().map(|at| at.0), lines);
    }
}

fn step(step: &StepStatus, closed: Option<Timestamp>, lines: &mut Lines) {
    let (started, finished) = (step.started_at.as_ref().map(|at| at.0), step.finished_at.as_ref().map(|at| at.0));
    if !step.evidence.is_empty() {
        let at = started.or(closed.filter(|_| step.state == StepState::Observed));
        lines.at(at, format!("evidence: {}", step.evidence.join("; ")));
    }
    let (name, message) = (&step.name, &step.message);
    match step.state {
        StepState::Done => {
            let effect = step.effect.as_deref().filter(|effect| !effect.is_empty()).unwrap_or(name);
            let found = if message.is_empty() || message == effect { String::new() } else { format!(" ({message})") };
            lines.at(finished, format!("{effect}{found}"));
        }
        StepState::Skipped => lines.at(finished, format!("{name} skipped: {message}")),
        StepState::Refused => lines.at(finished, format!("{name} refused: {message}")),
        StepState::Failed => lines.at(finished, format!("{name} failed: {message}")),
        StepState::Observed => lines.at(closed, format!("{name}: {message}")),
        StepState::Waiting => lines.at(started, format!("{name} waits: {message}")),
        StepState::Intended => lines.at(started, format!("{name} is under way: {message}")),
        StepState::Pending if message.is_empty() => lines.undated(format!("yet to come: {name}")),
        StepState::Pending => lines.undated(format!("{name}: {message}")),
    }
    if let Some(undo) = &step.undo {
        let due = undo.due.as_ref().map(|at| at.0);
        let why = if undo.message.is_empty() { String::new() } else { format!(": {}", undo.message) };
        match undo.state {
            UndoState::Due => lines.at(due, format!("{name} is to be taken back{why}")),
            UndoState::Done => lines.at(due, format!("{name} taken back{why}")),
            UndoState::GivenUp => lines.at(due, format!("{name} not taken back{why}")),
        }
    }
}

fn proof(status: &ResponseRunStatus, lines: &mut Lines) {
    let Some(verification) = &status.verification else { return };
    let Verification { started_at, deadline, holds_since, alert, workload, settle, promql, slo, finished_at } =
        verification;
    let until = deadline.as_ref().map(|at| format!(" until {}", clock(at.0))).unwrap_or_default();
    lines.at(started_at.as_ref().map(|at| at.0), format!("waits for the proof{until}"));
    let known: Vec<&str> = [alert, workload, promql, slo].into_iter().map(String::as_str).collect();
    let known: Vec<&str> = known.into_iter().filter(|words| !words.is_empty()).collect();
    match holds_since {
        Some(since) => {
            let settle = settle.as_ref().map(|settle| {
                let why = if settle.message.is_empty() { String::new() } else { format!(" ({})", settle.message) };
                format!("; it must stay so for {}{why}", settle.for_)
            });
            let what = if finished_at.is_some() { "the proof holds".to_owned() } else { known.join(", ") };
            lines.at(Some(since.0), format!("{what}{}", settle.unwrap_or_default()));
        }
        None if finished_at.is_none() && !known.is_empty() => lines.undated(format!("so far: {}", known.join(", "))),
        None => {}
    }
}

fn end(status: &ResponseRunStatus, lines: &mut Lines) {
    let (at, message) = (status.finished_at.as_ref().map(|at| at.0), &status.message);
    match (status.phase, status.verdict) {
        (Phase::Pending | Phase::Running | Phase::Verifying, _) => {
            lines.undated(format!("{}: {message}", status.phase.as_str()));
        }
        (_, Some(Verdict::Pass)) => lines.at(at, format!("verified: {message}   PASS")),
        (_, Some(Verdict::Inconclusive)) => lines.at(at, format!("nobody can tell: {message}   INCONCLUSIVE")),
        (_, Some(Verdict::Fail)) if status.verification.is_some() => {
            lines.at(at, format!("not proved: {message}   FAIL"));
        }
        (_, Some(Verdict::Fail)) => lines.at(at, format!("closed: {message}   FAIL")),
        (Phase::Skipped, None) => lines.at(at, format!("skipped: {message}")),
        (Phase::Observed, None) => lines.at(at, message.clone()),
        (Phase::Succeeded | Phase::Failed, None) => lines.at(at, format!("closed: {message}")),
    }
}

/// What a closed run leaves to do. When a message was delivered is not on record, only when it was due.
fn afterwards(run: &ResponseRun, status: &ResponseRunStatus, lines: &mut Lines) {
    for (number, level) in status.escalations.iter().enumerate() {
        let due = level.due.as_ref().map(|at| at.0);
        let escalation = format!("escalation {} of {}", number + 1, run.spec.escalate.len());
        lines.at(
            due,
            match level.finished {
                true => format!("{escalation}: {}", level.message),
                false => {
                    let channels: Vec<&str> =
                        level.deliveries.iter().map(|delivery| delivery.channel.as_str()).collect();
                    format!("{escalation}, if the alert fires then: {}", channels.join(", "))
                }
            },
        );
    }
    if let Some(told) = told(&status.closing) {
        lines.at(status.finished_at.as_ref().map(|at| at.0), format!("the end was told: {told}"));
    }
}

/// Who was told, and who could not be.
fn told(deliveries: &[Delivery]) -> Option<String> {
    let words = deliveries.iter().map(|delivery| match delivery {
        Delivery { channel, delivered: true, .. } => channel.clone(),
        Delivery { channel, message, tries, .. } if *tries > 0 => format!("not {channel} ({message})"),
        Delivery { channel, .. } => format!("{channel} is yet to be"),
    });
    let words: Vec<String> = words.collect();
    (!words.is_empty()).then(|| words.join(", "))
}

fn clock(at: Timestamp) -> String {
    at.strftime("%H:%M:%S").to_string()
}

fn written(run: &ResponseRun, mut lines: Lines) -> String {
    // What has no time stays behind what it was told after.
    let mut latest = None;
    let mut order: Vec<(Option<Timestamp>, Line)> = vec![];
    for line in lines.0.drain(..) {
        latest = line.at.or(latest);
        order.push((latest, line));
    }
    order.sort_by_key(|(at, _)| *at);
    let date = |at: Timestamp| at.strftime("%Y-%m-%d").to_string();
    let mut day = order.iter().find_map(|(at, _)| *at).map(date).unwrap_or_default();
    let (namespace, name) = (run.namespace().unwrap_or_default(), run.name_any());
    let target = run.spec.target.reference();
    let when = if day.is_empty() { String::new() } else { format!(", {day} (UTC)") };
    let mut text = format!("Run {namespace}/{name}: {} on {target}{when}\n", run.spec.response_ref.name);
    for (_, line) in order {
        let at = match line.at {
            Some(at) => {
                if date(at) != day {
                    day = date(at);
                    // Writing to a String does not fail.
                    let _ = writeln!(text, "{day}");
                }
                clock(at)
            }
            None => " ".repeat(8),
        };
        let _ = writeln!(text, "{at}  {}", harmless(&line.text));
    }
    text
}

/// Labels and annotations of an alert are not to be trusted: what would steer a terminal is left out.
fn harmless(text: &str) -> String {
    let text: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    cut(&text, LONGEST)
}

#[cfg(test)]
mod tests;
