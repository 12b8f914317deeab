//! One step after the other: plan, write the intent, look for the effect, act, write the effect.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};

use super::{ACT_PATIENCE, Decision, Errand, Failure, PLAN_PATIENCE, Place, Receipt, SOON, Undelivered};
use super::{concluded, dressed, finish, proof};
use crate::api::alert_response::{Step, StepAction};
use crate::api::response_run::{Delivery, ResponseRun, ResponseRunStatus, StepState, StepStatus, Undo};
use crate::k8s::status::at_second;
use crate::response::action::{self, Plan, Probe, mark};
use crate::response::facts::Facts;
use crate::response::guard::{self, Answer};

pub fn go_on(
    run: &ResponseRun,
    mut status: ResponseRunStatus,
    number: usize,
    facts: &Facts,
    now: Timestamp,
) -> Decision {
    let Some(action) = run.steps().nth(number).and_then(Step::action) else {
        finish(&mut status, number, StepState::Failed, "has no action".into(), now);
        return Decision::Proceed(Box::new(dressed(run, status, now)));
    };
    if action.repairs()
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
            let channels = intent.notify.as_ref().map(|notify| notify.channels.as_slice()).unwrap_or_default();
            step.deliveries = channels.iter().map(|channel| Delivery::to(channel)).collect();
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

/// A step that repairs is given up when one before it failed, or when a guard says no by now. What is
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
    // What was tried before a fallback did not help anyway.
    let first = proof::first_of_round(run, &status);
    let broken =
        (first..number).find(|before| matches!(status.steps[*before].state, StepState::Failed | StepState::Refused));
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
    if intent.notify.is_some() {
        return match next_delivery(&step.deliveries) {
            Some(delivery) => Decision::deliver(Place::Step(number), delivery),
            None => {
                let (state, message) = told(&step.deliveries);
                if state == StepState::Done {
                    status.steps[number].effect = Some(message.clone());
                }
                finish(&mut status, number, state, message, now);
                Decision::Proceed(Box::new(dressed(run, status, now)))
            }
        };
    }
    if action::is_errand(&intent) {
        return Decision::Errand { step: number };
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
            restore_later(run, &mut status, number, now);
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

/// Notes when the author wants the old number of replicas back.
fn restore_later(run: &ResponseRun, status: &mut ResponseRunStatus, number: usize, now: Timestamp) {
    if let Some(StepAction::Scale(scale)) = run.steps().nth(number).and_then(Step::action)
        && let Some(after) = scale.restore_after
    {
        let due = Some(Time(after.after(at_second(now))));
        status.steps[number].undo = Some(Undo { due, ..Undo::default() });
    }
}

/// What is to be tried next; `None` when each channel was delivered to or given up. Those that failed before do not hold
/// up the others.
pub fn next_delivery(deliveries: &[Delivery]) -> Option<&Delivery> {
    deliveries.iter().filter(|delivery| !delivery.is_settled()).min_by_key(|delivery| delivery.tries)
}

/// What became of all of them.
pub fn told(deliveries: &[Delivery]) -> (StepState, String) {
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
            restore_later(run, &mut status, number, now);
        }
        Err(Failure::Conflict) => return None,
        // Nothing was touched: unlike a failed one, a refused step does not count as an act.
        Err(Failure::Refused(words)) => finish(&mut status, number, StepState::Refused, words, now),
        Err(Failure::Halfway(words)) => finish(&mut status, number, StepState::Failed, words, now),
    }
    Some(concluded(run, status, now))
}

fn deliveries(status: &mut ResponseRunStatus, place: Place) -> Option<&mut Vec<Delivery>> {
    match place {
        Place::Step(number) => status.steps.get_mut(number).map(|step| &mut step.deliveries),
        Place::Escalation(level) => status.escalations.get_mut(level).map(|level| &mut level.deliveries),
        Place::Approval => Some(&mut status.asked),
        Place::Closing | Place::Resolved => Some(&mut status.closing),
    }
}

/// What the receiver of a message answered.
pub fn after_delivery(
    run: &ResponseRun,
    place: Place,
    channel: &str,
    result: Result<Receipt, Undelivered>,
    now: Timestamp,
) -> Option<ResponseRunStatus> {
    let mut status = run.status.clone().unwrap_or_default();
    if place == Place::Resolved {
        // Told or given up: the incident is not asked for again.
        let levels = status.escalations.iter_mut().flat_map(|level| &mut level.deliveries);
        let told = status.steps.iter_mut().flat_map(|step| &mut step.deliveries).chain(levels);
        let all = told.chain(&mut status.asked);
        let open = all.filter(|delivery| delivery.channel == channel && delivery.incident);
        let passing = matches!(&result, Err(failed) if !failed.is_final);
        for delivery in open {
            delivery.incident = passing;
        }
        return Some(dressed(run, status, now));
    }
    let delivery = deliveries(&mut status, place)?.iter_mut().find(|delivery| delivery.channel == channel)?;
    delivery.tries += 1;
    delivery.delivered = result.is_ok();
    delivery.message = String::new();
    match result {
        Ok(receipt) => (delivery.reference, delivery.incident) = (receipt.reference, receipt.incident),
        Err(failed) => {
            if failed.is_final {
                delivery.tries = Delivery::MAX_TRIES;
            }
            delivery.message = failed.why;
        }
    }
    Some(dressed(run, status, now))
}

/// What came of an errand.
pub fn after_errand(
    run: &ResponseRun,
    number: usize,
    result: Result<Errand, Undelivered>,
    now: Timestamp,
) -> Option<ResponseRunStatus> {
    let mut status = run.status.clone().unwrap_or_default();
    let step = status.steps.get_mut(number)?;
    match result {
        Ok(Errand::Done { effect, evidence, reference }) => {
            (step.effect, step.reference) = (Some(effect), reference);
            step.evidence.extend(evidence);
            finish(&mut status, number, StepState::Done, String::new(), now);
        }
        Ok(Errand::Underway(words)) => step.message = words,
        Err(failed) => {
            step.tries += 1;
            step.message = failed.why.clone();
            if failed.is_final || step.tries >= Delivery::MAX_TRIES {
                finish(&mut status, number, StepState::Failed, failed.why, now);
            }
        }
    }
    Some(concluded(run, status, now))
}
