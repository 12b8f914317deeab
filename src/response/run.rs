//! The life of a run, as a pure state machine: what is on record and what is so now lead to what is done next.
//!
//! Pending -> guards -> Running -> every step: intent, act, effect -> Verifying -> Succeeded or Failed. Mode Observe ends
//! in Observed, a guard's no in Skipped. Everything that is needed to go on after a crash is in the status.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};

use super::action::{self, Change, Plan, Probe, mark};
use super::facts::Facts;
use super::guard::{self, Answer};
use super::verify;
use crate::api::alert_response::{Mode, Step};
use crate::api::response_run::{Delivery, Phase, ResponseRun, ResponseRunStatus, StepState, StepStatus, Verdict};
use crate::k8s::status::{Outcome, at_second, conditions};

/// How long a step waits for the cluster to come into a state in which it can decide.
const PLAN_PATIENCE: SignedDuration = SignedDuration::from_mins(2);
/// How long a step that was decided tries to be carried out.
const ACT_PATIENCE: SignedDuration = SignedDuration::from_mins(10);
/// Between two looks at what does not tell by itself that it changed.
const SOON: Duration = Duration::from_secs(2);

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// The run is closed.
    Closed,
    /// Write the status and go on at once.
    Proceed(Box<ResponseRunStatus>),
    /// Write the status if it differs and look again later.
    Wait(Box<ResponseRunStatus>, Duration),
    /// The intent is on record and its effect is not there: send the patch, then `after_change`.
    Change { step: usize, change: Change },
    /// The intent is on record: send the message to one channel, then `after_delivery`.
    Deliver { step: usize, channel: String },
}

/// Why an act had no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Somebody changed the object at the same moment: look again.
    Conflict,
    /// The API server refused, in its words: trying again would not help.
    Refused(String),
}

/// Why a message was not delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undelivered {
    pub why: String,
    /// Trying again would not help.
    pub is_final: bool,
}

/// The next thing to do.
pub fn next(run: &ResponseRun, facts: &Facts, now: Timestamp) -> Decision {
    let mut status = run.status.clone().unwrap_or_default();
    status.target = run.spec.target.reference();
    status.alert_state = facts.alert.state;
    match status.phase {
        Phase::Succeeded | Phase::Failed | Phase::Skipped | Phase::Observed => Decision::Closed,
        Phase::Pending => begin(run, status, facts, now),
        Phase::Running => match status.steps.iter().position(|s| !s.state.is_finished()) {
            Some(step) => go_on(run, status, step, facts, now),
            None => conclude(run, status, now),
        },
        Phase::Verifying => prove(run, status, facts, now),
    }
}

fn begin(run: &ResponseRun, mut status: ResponseRunStatus, facts: &Facts, now: Timestamp) -> Decision {
    let (guards, answer) = guard::evaluate(run, facts, now);
    status.guards = guards;
    if run.spec.mode == Mode::Observe {
        return observe(run, status, &answer, facts, now);
    }
    match answer {
        Answer::Skip(why) => close(run, status, Phase::Skipped, None, why, now),
        Answer::Wait(why) => {
            status.message = why;
            Decision::Wait(Box::new(dressed(run, status, now)), SOON)
        }
        Answer::Pass(message) => {
            status.phase = Phase::Running;
            status.message = message;
            status.started_at = Some(Time(at_second(now)));
            status.steps = run.spec.steps.iter().map(unbegun).collect();
            Decision::Proceed(Box::new(dressed(run, status, now)))
        }
    }
}

fn unbegun(step: &Step) -> StepStatus {
    StepStatus { name: step.action().map_or("none", |a| a.name()).to_owned(), ..StepStatus::default() }
}

/// Plans every step as if it were to be done now.
fn observe(
    run: &ResponseRun,
    mut status: ResponseRunStatus,
    guards: &Answer,
    facts: &Facts,
    now: Timestamp,
) -> Decision {
    for (number, step) in run.spec.steps.iter().enumerate() {
        let mut observed = StepStatus { state: StepState::Observed, ..unbegun(step) };
        let plan = step.action().map(|action| action::plan(run, number, action, facts, now));
        (observed.message, observed.evidence) = match plan {
            Some(Plan::Do { summary, evidence, .. }) => (format!("would {summary}"), evidence),
            Some(Plan::NotYet(why)) => (format!("would wait: {why}"), vec![]),
            Some(Plan::NotApplicable(why)) => (format!("would skip: {why}"), vec![]),
            Some(Plan::Refuse(why)) => (format!("would refuse: {why}"), vec![]),
            None => ("has no action".to_owned(), vec![]),
        };
        status.steps.push(observed);
    }
    let first = status.steps.first().map(|s| s.message.clone()).unwrap_or_default();
    let message = match guards {
        Answer::Pass(_) => format!("mode Observe: {first}"),
        Answer::Wait(why) => format!("mode Observe: {first}, but not at once: {why}"),
        Answer::Skip(why) => format!("mode Observe: would not act: {why}"),
    };
    close(run, status, Phase::Observed, None, message, now)
}

fn go_on(run: &ResponseRun, mut status: ResponseRunStatus, number: usize, facts: &Facts, now: Timestamp) -> Decision {
    let Some(action) = run.spec.steps.get(number).and_then(Step::action) else {
        finish(&mut status, number, StepState::Failed, "has no action".into(), now);
        return Decision::Proceed(Box::new(dressed(run, status, now)));
    };
    if action.changes_workload()
        && let Some(decision) = may_not(run, &status, number, facts, now)
    {
        return decision;
    }
    if status.steps[number].state == StepState::Intended {
        return carry_out(run, status, number, facts, now);
    }
    let started = status.steps[number].started_at.get_or_insert(MicroTime(now)).0;
    match action::plan(run, number, action, facts, now) {
        Plan::Do { intent, evidence, summary } => {
            let step = &mut status.steps[number];
            (step.intent, step.evidence) = (Some(intent), evidence);
            (step.state, step.message) = (StepState::Intended, summary);
        }
        Plan::NotYet(why) if now.duration_since(started) < PLAN_PATIENCE => {
            status.steps[number].state = StepState::Waiting;
            status.steps[number].message = why;
            return Decision::Wait(Box::new(dressed(run, status, now)), SOON);
        }
        Plan::NotYet(why) => finish(&mut status, number, StepState::Refused, why, now),
        Plan::NotApplicable(why) => finish(&mut status, number, StepState::Skipped, why, now),
        Plan::Refuse(why) => finish(&mut status, number, StepState::Refused, why, now),
    }
    Decision::Proceed(Box::new(dressed(run, status, now)))
}

/// A step that changes the workload is given up when one before it failed, or when a guard says no by now. What is
/// intended already is probed first: it may have been done before the crash.
fn may_not(
    run: &ResponseRun,
    status: &ResponseRunStatus,
    number: usize,
    facts: &Facts,
    now: Timestamp,
) -> Option<Decision> {
    let mut status = status.clone();
    let intended = status.steps[number].state == StepState::Intended;
    if intended && probed(run, &status.steps[number], number, facts) != Some(Probe::NotDone) {
        return None;
    }
    let broken = status.steps[..number].iter().position(|s| matches!(s.state, StepState::Failed | StepState::Refused));
    if let Some(before) = broken {
        let why = format!("step {} ({}) did not succeed", before + 1, status.steps[before].name);
        finish(&mut status, number, StepState::Skipped, why, now);
        return Some(Decision::Proceed(Box::new(dressed(run, status, now))));
    }
    match guard::still(run, facts, now) {
        Answer::Pass(_) => None,
        Answer::Wait(why) => {
            let started = status.steps[number].started_at.get_or_insert(MicroTime(now)).0;
            if now.duration_since(started) >= ACT_PATIENCE {
                finish(&mut status, number, StepState::Skipped, why, now);
                return Some(Decision::Proceed(Box::new(dressed(run, status, now))));
            }
            status.steps[number].message = why;
            Some(Decision::Wait(Box::new(dressed(run, status, now)), SOON))
        }
        Answer::Skip(why) => {
            finish(&mut status, number, StepState::Skipped, why, now);
            Some(Decision::Proceed(Box::new(dressed(run, status, now))))
        }
    }
}

fn probed(run: &ResponseRun, step: &StepStatus, number: usize, facts: &Facts) -> Option<Probe> {
    let workload = facts.workload.found(&run.spec.target.reference()).ok()?;
    action::probe(step.intent.as_ref()?, workload, &mark(run, number))
}

/// The intent is on record: is the effect there? If not, act.
fn carry_out(
    run: &ResponseRun,
    mut status: ResponseRunStatus,
    number: usize,
    facts: &Facts,
    now: Timestamp,
) -> Decision {
    let step = &status.steps[number];
    let Some(intent) = step.intent.clone() else {
        finish(&mut status, number, StepState::Failed, "its intent is missing".into(), now);
        return Decision::Proceed(Box::new(dressed(run, status, now)));
    };
    if let Some(notify) = &intent.notify {
        return match action::notify::next_channel(notify, &step.deliveries) {
            Some(channel) => Decision::Deliver { step: number, channel: channel.to_owned() },
            None => {
                let (state, message) = delivered(&step.deliveries);
                if state == StepState::Done {
                    status.steps[number].effect = Some(message.clone());
                }
                finish(&mut status, number, state, message, now);
                Decision::Proceed(Box::new(dressed(run, status, now)))
            }
        };
    }
    let began = step.started_at.as_ref().map_or(now, |t| t.0);
    let workload = match facts.workload.found(&run.spec.target.reference()) {
        Ok(workload) => workload,
        Err(why) => {
            finish(&mut status, number, StepState::Failed, why, now);
            return Decision::Proceed(Box::new(dressed(run, status, now)));
        }
    };
    let mark = mark(run, number);
    match action::probe(&intent, workload, &mark) {
        Some(Probe::Done(effect)) => {
            status.steps[number].effect = Some(effect);
            finish(&mut status, number, StepState::Done, "found done".into(), now);
        }
        Some(Probe::Lost(why)) => finish(&mut status, number, StepState::Failed, why, now),
        Some(Probe::NotDone) if now.duration_since(began) >= ACT_PATIENCE => {
            let why = format!("could not be carried out within {}", guard::short(ACT_PATIENCE));
            finish(&mut status, number, StepState::Failed, why, now);
        }
        Some(Probe::NotDone) => match action::change(&intent, workload, &mark) {
            Some(Ok(change)) => return Decision::Change { step: number, change },
            // The cluster has changed since; its answer is awaited, within bounds.
            Some(Err(why)) => {
                status.steps[number].message = why;
                return Decision::Wait(Box::new(dressed(run, status, now)), SOON);
            }
            None => finish(&mut status, number, StepState::Failed, "its intent is empty".into(), now),
        },
        None => finish(&mut status, number, StepState::Failed, "its intent is empty".into(), now),
    }
    Decision::Proceed(Box::new(dressed(run, status, now)))
}

fn delivered(deliveries: &[Delivery]) -> (StepState, String) {
    let list = |wanted: bool| -> Vec<String> {
        let of = deliveries.iter().filter(|d| d.delivered == wanted);
        of.map(|d| if wanted { d.channel.clone() } else { format!("{} ({})", d.channel, d.message) }).collect()
    };
    match (list(true), list(false)) {
        (told, failed) if failed.is_empty() => (StepState::Done, format!("notified {}", told.join(", "))),
        (told, failed) if told.is_empty() => (StepState::Failed, format!("could not notify {}", failed.join(", "))),
        (told, failed) => {
            (StepState::Failed, format!("notified {}; could not notify {}", told.join(", "), failed.join(", ")))
        }
    }
}

/// What the API server answered to a change. A conflict leaves the intent as it is.
pub fn after_change(
    run: &ResponseRun,
    number: usize,
    result: Result<String, Failure>,
    now: Timestamp,
) -> Option<ResponseRunStatus> {
    let mut status = run.status.clone().unwrap_or_default();
    match result {
        Ok(effect) => {
            status.steps.get_mut(number)?.effect = Some(effect);
            finish(&mut status, number, StepState::Done, String::new(), now);
        }
        Err(Failure::Conflict) => return None,
        // Nothing was touched: unlike a failed one, a refused step does not count as an act.
        Err(Failure::Refused(words)) => finish(&mut status, number, StepState::Refused, words, now),
    }
    Some(dressed(run, status, now))
}

/// What the receiver of a message answered.
pub fn after_delivery(
    run: &ResponseRun,
    number: usize,
    channel: &str,
    result: Result<(), Undelivered>,
    now: Timestamp,
) -> Option<ResponseRunStatus> {
    let mut status = run.status.clone().unwrap_or_default();
    let deliveries = &mut status.steps.get_mut(number)?.deliveries;
    let at = deliveries.iter().position(|d| d.channel == channel).unwrap_or_else(|| {
        deliveries.push(Delivery { channel: channel.to_owned(), ..Delivery::default() });
        deliveries.len() - 1
    });
    let delivery = &mut deliveries[at];
    delivery.tries += 1;
    delivery.delivered = result.is_ok();
    (delivery.tries, delivery.message) = match result {
        Ok(()) => (delivery.tries, String::new()),
        Err(failed) if failed.is_final => (action::notify::MAX_TRIES, failed.why),
        Err(failed) => (delivery.tries, failed.why),
    };
    Some(dressed(run, status, now))
}

fn finish(status: &mut ResponseRunStatus, number: usize, state: StepState, message: String, now: Timestamp) {
    let step = &mut status.steps[number];
    step.started_at.get_or_insert(MicroTime(now));
    step.finished_at = Some(MicroTime(now));
    (step.state, step.message) = (state, message);
}

/// All steps are through: is there anything to prove?
fn conclude(run: &ResponseRun, mut status: ResponseRunStatus, now: Timestamp) -> Decision {
    let changes = |s: &StepStatus| s.name != "notify";
    let repaired = status.steps.iter().any(|s| changes(s) && s.state == StepState::Done);
    if repaired {
        status.phase = Phase::Verifying;
        status.verification = Some(verify::begin(&run.spec.verify, now));
        status.message = "waits for the alert to resolve and the workload to be healthy".into();
        return Decision::Proceed(Box::new(dressed(run, status, now)));
    }
    let broken = status.steps.iter().find(|s| matches!(s.state, StepState::Failed | StepState::Refused));
    if let Some(broken) = broken {
        let message = format!("{}: {}", broken.name, broken.message);
        return close(run, status, Phase::Failed, Some(Verdict::Fail), message, now);
    }
    match status.steps.iter().find(|s| changes(s)) {
        Some(skipped) => {
            let message = format!("{}: {}", skipped.name, skipped.message);
            close(run, status, Phase::Skipped, None, message, now)
        }
        None => close(run, status, Phase::Succeeded, None, "notified; there was no repair to prove".into(), now),
    }
}

fn prove(run: &ResponseRun, mut status: ResponseRunStatus, facts: &Facts, now: Timestamp) -> Decision {
    let verification = status.verification.clone().unwrap_or_else(|| verify::begin(&run.spec.verify, now));
    let judgement = verify::judge(run, &verification, facts, now);
    status.verification = Some(judgement.verification);
    match judgement.verdict {
        None => Decision::Wait(Box::new(dressed(run, status, now)), SOON),
        Some((verdict @ Verdict::Pass, why)) => close(run, status, Phase::Succeeded, Some(verdict), why, now),
        Some((verdict, why)) => close(run, status, Phase::Failed, Some(verdict), why, now),
    }
}

fn close(
    run: &ResponseRun,
    mut status: ResponseRunStatus,
    phase: Phase,
    verdict: Option<Verdict>,
    message: String,
    now: Timestamp,
) -> Decision {
    (status.phase, status.verdict, status.message) = (phase, verdict, message);
    status.finished_at = Some(Time(at_second(now)));
    Decision::Proceed(Box::new(dressed(run, status, now)))
}

/// The fields that follow from the others.
fn dressed(run: &ResponseRun, mut status: ResponseRunStatus, now: Timestamp) -> ResponseRunStatus {
    let total = status.steps.len();
    status.step = match status.steps.iter().rposition(|s| s.state != StepState::Pending) {
        Some(latest) => format!("{}/{total} {}", latest + 1, status.steps[latest].name),
        None => String::new(),
    };
    status.observed_generation = run.metadata.generation;
    let message = status.message.clone();
    let outcome = match status.phase {
        Phase::Pending | Phase::Running | Phase::Verifying => {
            Outcome::Progressing { reason: status.phase.as_str(), message }
        }
        Phase::Succeeded | Phase::Skipped | Phase::Observed => {
            Outcome::Ready { reason: status.phase.as_str(), message }
        }
        Phase::Failed => Outcome::Stalled { reason: status.phase.as_str(), message },
    };
    status.conditions = conditions(&status.conditions, run.metadata.generation, &outcome, &[], now);
    status
}
