//! What is left to do when a step is to be taken back, and after a run was closed: escalating, telling the end.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::steps::{next_delivery, told};
use super::{Decision, Failure, Place, SOON, dressed};
use crate::api::response_run::{
    AlertState, Delivery, Escalation, Phase, ResponseRun, ResponseRunStatus, StepState, Undo, UndoState,
};
use crate::k8s::status::at_second;
use crate::response::action::{self, UndoPlan, mark};
use crate::response::facts::Facts;

/// Longest wait between two looks at what is due later.
const LATER: Duration = Duration::from_mins(5);

/// Whether a run needs looking after: open, or something is left to do, or an incident waits for the alert to resolve.
pub fn is_alive(run: &ResponseRun) -> bool {
    let status = run.status.as_ref();
    !run.phase().is_closed()
        || status.is_some_and(|status| status.is_outstanding() || open_incidents(status).next().is_some())
}

/// Those of the steps first: their messages have replaced the question where that was possible.
fn deliveries(status: &ResponseRunStatus) -> impl Iterator<Item = &Delivery> {
    let steps = status.steps.iter().flat_map(|step| &step.deliveries);
    steps.chain(status.escalations.iter().flat_map(|level| &level.deliveries)).chain(&status.asked)
}

fn open_incidents(status: &ResponseRunStatus) -> impl Iterator<Item = &Delivery> {
    deliveries(status).filter(|delivery| delivery.incident)
}

/// The issues that its steps opened or commented on; one for each channel, which is not one of those that tell people.
fn issues(status: &ResponseRunStatus) -> Vec<Delivery> {
    let mut issues: Vec<Delivery> = vec![];
    for step in status.steps.iter().filter(|step| step.state == StepState::Done && step.reference.is_some()) {
        let Some(intent) = step.intent.as_ref().and_then(|intent| intent.github_issue.as_ref()) else { continue };
        if issues.iter().all(|seen| seen.channel != intent.channel) {
            issues.push(Delivery { reference: step.reference.clone(), ..Delivery::to(&intent.channel) });
        }
    }
    issues
}

/// What a run that is being closed leaves to do.
pub fn begin(run: &ResponseRun, status: &mut ResponseRunStatus, now: Timestamp) {
    let mut channels: Vec<&Delivery> = vec![];
    for delivery in deliveries(status).filter(|delivery| delivery.delivered) {
        if channels.iter().all(|seen| seen.channel != delivery.channel) {
            channels.push(delivery);
        }
    }
    let closing = channels
        .into_iter()
        .map(|delivery| Delivery { reference: delivery.reference.clone(), ..Delivery::to(&delivery.channel) });
    status.closing = closing.chain(issues(status)).collect();
    if status.phase == Phase::Failed {
        let level = |level: &crate::api::alert_response::EscalationLevel| {
            let due = level.after.after(at_second(now));
            let deliveries = level.channels.iter().map(|channel| Delivery::to(channel)).collect();
            Escalation { due: Some(Time(due)), deliveries, ..Escalation::default() }
        };
        status.escalations = run.spec.escalate.iter().map(level).collect();
    }
}

/// What a closed run has left to do.
pub fn next(run: &ResponseRun, mut status: ResponseRunStatus, now: Timestamp) -> Decision {
    if let Some(delivery) = next_delivery(&status.closing) {
        return Decision::deliver(Place::Closing, delivery);
    }
    if status.alert_state == AlertState::Resolved
        && let Some(incident) = open_incidents(&status).next()
    {
        return Decision::deliver(Place::Resolved, incident);
    }
    if let Some(number) = status.escalations.iter().position(|level| !level.finished) {
        let level = &mut status.escalations[number];
        let due = level.due.as_ref().map_or(now, |due| due.0);
        if status.alert_state == AlertState::Resolved {
            (level.finished, level.message) = (true, "not told: the alert has resolved".to_owned());
            return Decision::Proceed(Box::new(dressed(run, status, now)));
        }
        if now < due {
            return Decision::Wait(Box::new(status), until(due, now));
        }
        if let Some(delivery) = next_delivery(&level.deliveries) {
            return Decision::deliver(Place::Escalation(number), delivery);
        }
        (level.finished, level.message) = (true, told(&level.deliveries).1);
        return Decision::Proceed(Box::new(dressed(run, status, now)));
    }
    match status.steps.iter().filter_map(|step| due(step.undo.as_ref())).min() {
        Some(due) => Decision::Wait(Box::new(status), until(due, now)),
        None => Decision::Closed,
    }
}

fn until(due: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(due.duration_since(now)).unwrap_or_default().clamp(Duration::from_millis(100), LATER)
}

fn due(undo: Option<&Undo>) -> Option<Timestamp> {
    let undo = undo.filter(|undo| undo.state == UndoState::Due)?;
    undo.due.as_ref().map(|due| due.0)
}

/// Takes back the latest step that is due to be, if there is one.
pub fn undo(run: &ResponseRun, status: &ResponseRunStatus, facts: &Facts, now: Timestamp) -> Option<Decision> {
    let is_due = |undo: Option<&Undo>| due(undo).is_some_and(|due| due <= now);
    let number = status.steps.iter().rposition(|step| is_due(step.undo.as_ref()))?;
    let mut status = status.clone();
    let step = &status.steps[number];
    if let Some(who) = &facts.paused_by {
        // It may last for days; what is due waits for its end.
        let message = format!("responses are paused by {who}");
        status.steps[number].undo.get_or_insert_default().message = message;
        return Some(Decision::Wait(Box::new(status), SOON * 5));
    }
    let plan = match (facts.workload.found(&run.spec.target.reference()), &step.intent) {
        (Ok(workload), Some(intent)) => action::undo(intent, workload, &format!("{}/undo", mark(run, number))),
        (Err(why), _) => UndoPlan::GiveUp(why),
        (_, None) => UndoPlan::GiveUp("its intent is missing".into()),
    };
    let (state, message) = match plan {
        UndoPlan::Change(change) => return Some(Decision::Undo { step: number, change }),
        UndoPlan::Done(words) => (UndoState::Done, words),
        UndoPlan::GiveUp(why) => (UndoState::GivenUp, why),
    };
    let undo = status.steps[number].undo.get_or_insert_default();
    (undo.state, undo.message) = (state, message);
    Some(Decision::Proceed(Box::new(dressed(run, status, now))))
}

/// What the API server answered to the patch that takes a step back. A conflict leaves it due.
pub fn after_undo(
    run: &ResponseRun,
    number: usize,
    result: Result<String, Failure>,
    now: Timestamp,
) -> Option<ResponseRunStatus> {
    let mut status = run.status.clone().unwrap_or_default();
    let undo = status.steps.get_mut(number).filter(|step| step.state == StepState::Done)?.undo.as_mut()?;
    (undo.state, undo.message) = match result {
        Ok(effect) => (UndoState::Done, effect),
        Err(Failure::Conflict) => return None,
        Err(Failure::Refused(words) | Failure::Halfway(words)) => (UndoState::GivenUp, words),
    };
    Some(dressed(run, status, now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::response_run::{GithubIssueIntent, Intent, StepStatus};

    fn issue(channel: &str, state: StepState, reference: Option<&str>) -> StepStatus {
        let intent = GithubIssueIntent { channel: channel.into(), ..GithubIssueIntent::default() };
        StepStatus {
            state,
            intent: Some(Intent { github_issue: Some(intent), ..Intent::default() }),
            reference: reference.map(str::to_owned),
            ..StepStatus::default()
        }
    }

    #[test]
    fn each_issue_that_was_reached_is_told_the_end_once() {
        let steps = vec![
            issue("repo", StepState::Done, Some("12")),
            issue("repo", StepState::Done, Some("12")),
            issue("other", StepState::Failed, None),
        ];
        let status = ResponseRunStatus { steps, ..ResponseRunStatus::default() };
        let issues = issues(&status);
        let told: Vec<_> = issues.iter().map(|d| (d.channel.as_str(), d.reference.as_deref(), d.delivered)).collect();
        assert_eq!(told, [("repo", Some("12"), false)]);
    }
}
