//! The life of a run, as a pure state machine: what is on record and what is so now lead to what is done next.
//!
//! Pending -> guards -> Running -> every step: intent, act, effect -> Verifying -> Succeeded, or the next fallback, or
//! Failed. Mode Observe ends in Observed, a guard's no in Skipped. After the end: taking back, escalating, telling.
//! Everything that is needed to go on after a crash is in the status.

mod after;
mod proof;
mod steps;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};

use super::action::{self, Change, Plan};
use super::channels;
use super::facts::Facts;
use super::guard::{self, Answer};
use crate::api::alert_response::Step;
use crate::api::response_run::{Delivery, Phase, ResponseRun, ResponseRunStatus, StepState, StepStatus};
use crate::k8s::status::{Outcome, at_second, conditions};

pub use after::{after_undo, is_alive};
pub use steps::{after_change, after_delivery, after_errand};

/// How long a step waits for the cluster to come into a state in which it can decide.
const PLAN_PATIENCE: SignedDuration = SignedDuration::from_mins(2);
/// How long a step that was decided tries to be carried out.
const ACT_PATIENCE: SignedDuration = SignedDuration::from_mins(10);
/// Between two looks at what does not tell by itself that it changed.
const SOON: Duration = Duration::from_secs(2);

/// Between two looks at what tells by itself, in case nobody heard it.
const LATER: Duration = Duration::from_secs(60);

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
    /// The intent is on record: do what is no change of the target, unless it is found done, then `after_errand`.
    Errand { step: usize },
    /// Send the message of this place to one channel, which was tried so often before, then `after_delivery`.
    Deliver { place: Place, channel: String, tries: i32 },
    /// Take a step back by this patch, then `after_undo`.
    Undo { step: usize, change: Change },
}

impl Decision {
    fn deliver(place: Place, delivery: &Delivery) -> Self {
        Self::Deliver { place, channel: delivery.channel.clone(), tries: delivery.tries }
    }
}

/// Where in a run something is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A notify step.
    Step(usize),
    /// A level of escalation.
    Escalation(usize),
    /// It waits for somebody's approval.
    Approval,
    /// How the run ended.
    Closing,
    /// The alert has resolved: the incident can be closed.
    Resolved,
}

/// Why an act had no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Somebody changed the object at the same moment: look again.
    Conflict,
    /// The API server refused, in its words: trying again would not help. Nothing was touched.
    Refused(String),
    /// It refused after a part was done.
    Halfway(String),
}

/// Why a message was not delivered, or an errand not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undelivered {
    pub why: String,
    /// Trying again would not help.
    pub is_final: bool,
    /// When the receiver wants to be tried again.
    pub retry_after: Option<Duration>,
}

/// What the receiver of a message keeps of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// By which the message is found again.
    pub reference: Option<String>,
    /// It opened an incident.
    pub incident: bool,
}

/// How an errand stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Errand {
    Done {
        effect: String,
        evidence: Vec<String>,
        reference: Option<String>,
    },
    /// Begun, in these words: look again.
    Underway(String),
}

/// Decisions in a row that are written as one.
const MOST_AT_ONCE: usize = 16;

/// The next thing to do. Decisions that rest on the same facts, with no act between them, are one: in a storm it is the
/// writes that take the time.
pub fn next(run: &ResponseRun, facts: &Facts, now: Timestamp) -> Decision {
    let mut decision = decide(run, facts, now);
    // A proof rests on other facts than a step.
    if !matches!(run.phase(), Phase::Pending | Phase::Running) {
        return decision;
    }
    for _ in 0..MOST_AT_ONCE {
        let Decision::Proceed(status) = &decision else { break };
        let then = ResponseRun { status: Some((**status).clone()), ..run.clone() };
        if then.phase() != Phase::Running || (goes_by_others(&then) && !goes_by_others(run)) {
            break;
        }
        match decide(&then, facts, now) {
            next @ (Decision::Proceed(_) | Decision::Wait(..)) => decision = next,
            // What is decided must be on record before it is done.
            _ => break,
        }
    }
    decision
}

fn decide(run: &ResponseRun, facts: &Facts, now: Timestamp) -> Decision {
    let status = looked_at(run, facts);
    if let Some(decision) = after::undo(run, &status, facts, now) {
        return decision;
    }
    match status.phase {
        Phase::Succeeded | Phase::Failed | Phase::Skipped | Phase::Observed => after::next(run, status, now),
        Phase::Pending => begin(run, status, facts, now),
        Phase::Running => match status.steps.iter().position(|s| !s.state.is_finished()) {
            Some(step) => steps::go_on(run, status, step, facts, now),
            None => proof::conclude(run, status, now),
        },
        Phase::Verifying => proof::prove(run, status, facts, now),
    }
}

/// The status as it is on record, with what is known of the target and the alert.
fn looked_at(run: &ResponseRun, facts: &Facts) -> ResponseRunStatus {
    ResponseRunStatus {
        target: run.spec.target.reference(),
        alert_state: facts.alert.state,
        ..run.status.clone().unwrap_or_default()
    }
}

/// The end of a run that the storm brake does not let begin, whatever else holds. It knows of `facts` but the alert and
/// the storm. `None`: the run takes its course.
pub fn brake(run: &ResponseRun, facts: &Facts, now: Timestamp) -> Option<Decision> {
    if run.phase() != Phase::Pending || run.only_observes() {
        return None;
    }
    let (guard, why) = guard::brake(run, facts, now)?;
    let status = ResponseRunStatus { guards: vec![guard], ..looked_at(run, facts) };
    Some(proof::close(run, status, Phase::Skipped, None, why, now))
}

/// Whether it goes by what other runs did before: whether it begins, or the step that is next.
pub fn goes_by_others(run: &ResponseRun) -> bool {
    let steps = run.status.as_ref().map(|status| status.steps.as_slice()).unwrap_or_default();
    match run.phase() {
        Phase::Pending => true,
        Phase::Running => {
            let next = run.steps().zip(steps).find(|(_, status)| !status.state.is_finished());
            next.is_some_and(|(step, status)| {
                status.intent.is_none() && (step.rollback.is_some() || step.github_issue.is_some())
            })
        }
        Phase::Verifying | Phase::Succeeded | Phase::Failed | Phase::Skipped | Phase::Observed => false,
    }
}

fn begin(run: &ResponseRun, mut status: ResponseRunStatus, facts: &Facts, now: Timestamp) -> Decision {
    let (guards, answer) = guard::evaluate(run, facts, now);
    status.guards = guards;
    if run.only_observes() {
        return observe(run, status, &answer, facts, now);
    }
    match answer {
        Answer::Skip(why) => proof::close(run, status, Phase::Skipped, None, why, now),
        Answer::Wait(why) => {
            status.message = why;
            if status.guards.last().is_some_and(|guard| guard.name == guard::APPROVAL) {
                return ask(run, status, facts, now);
            }
            status.steps = vec![];
            Decision::Wait(Box::new(dressed(run, status, now)), SOON)
        }
        Answer::Pass(message) => {
            status.phase = Phase::Running;
            status.message = message;
            status.started_at = Some(Time(at_second(now)));
            status.before = facts.before.clone();
            status.steps = run.spec.steps.iter().map(unbegun).collect();
            Decision::Proceed(Box::new(dressed(run, status, now)))
        }
    }
}

/// Asks for approval, each channel once for the whole run, and waits.
fn ask(run: &ResponseRun, mut status: ResponseRunStatus, facts: &Facts, now: Timestamp) -> Decision {
    // Who is to approve must see what.
    status.steps = planned(run, StepState::Pending, facts, now);
    if status.asked.is_empty() {
        status.asked = channels::asked(run).into_iter().map(Delivery::to).collect();
        if !status.asked.is_empty() {
            return Decision::Proceed(Box::new(dressed(run, status, now)));
        }
    }
    if let Some(delivery) = steps::next_delivery(&status.asked) {
        return Decision::deliver(Place::Approval, delivery);
    }
    if let (StepState::Failed, words) = steps::told(&status.asked) {
        status.message = format!("{}; {words}", status.message);
    }
    // The word itself wakes the run.
    Decision::Wait(Box::new(dressed(run, status, now)), LATER)
}

fn unbegun(step: &Step) -> StepStatus {
    StepStatus { name: step.action().map_or("none", |a| a.name()).to_owned(), ..StepStatus::default() }
}

/// Every step as if it were to be done now, in words.
fn planned(run: &ResponseRun, state: StepState, facts: &Facts, now: Timestamp) -> Vec<StepStatus> {
    let plan = |(number, step): (usize, &Step)| {
        let mut planned = StepStatus { state, ..unbegun(step) };
        let plan = step.action().map(|action| action::plan(run, number, action, facts, now));
        (planned.message, planned.evidence) = match plan {
            Some(Plan::Do { summary, evidence, .. }) => (format!("would {summary}"), evidence),
            Some(Plan::NotYet(why)) => (format!("would wait: {why}"), vec![]),
            Some(Plan::NotApplicable(why)) => (format!("would skip: {why}"), vec![]),
            Some(Plan::Refuse(why)) => (format!("would refuse: {why}"), vec![]),
            None => ("has no action".to_owned(), vec![]),
        };
        planned
    };
    run.spec.steps.iter().enumerate().map(plan).collect()
}

/// Says what would be done, and no more.
fn observe(
    run: &ResponseRun,
    mut status: ResponseRunStatus,
    guards: &Answer,
    facts: &Facts,
    now: Timestamp,
) -> Decision {
    status.steps = planned(run, StepState::Observed, facts, now);
    let first = status.steps.first().map(|s| s.message.clone()).unwrap_or_default();
    let because = if run.spec.drill { "DRILL" } else { "mode Observe" };
    let message = match guards {
        Answer::Pass(_) => format!("{because}: {first}"),
        Answer::Wait(why) => format!("{because}: {first}, but not at once: {why}"),
        Answer::Skip(why) => format!("{because}: would not act: {why}"),
    };
    proof::close(run, status, Phase::Observed, None, message, now)
}

/// The status after an act; if that was the last one, with what follows from it.
fn concluded(run: &ResponseRun, status: ResponseRunStatus, now: Timestamp) -> ResponseRunStatus {
    let status = dressed(run, status, now);
    if status.phase != Phase::Running || !status.steps.iter().all(|step| step.state.is_finished()) {
        return status;
    }
    match proof::conclude(run, status.clone(), now) {
        Decision::Proceed(concluded) => *concluded,
        _ => status,
    }
}

fn finish(status: &mut ResponseRunStatus, number: usize, state: StepState, message: String, now: Timestamp) {
    let step = &mut status.steps[number];
    step.started_at.get_or_insert(MicroTime(now));
    step.finished_at = Some(MicroTime(now));
    (step.state, step.message) = (state, message);
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

#[cfg(test)]
mod tests;
