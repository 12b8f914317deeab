//! What the steps have led to: proved, not proved, tried in another way, given up.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Decision, SOON, after, dressed, unbegun};
use crate::api::alert_response::UndoWhen;
use crate::api::response_run::{Phase, ResponseRun, ResponseRunStatus, StepState, StepStatus, Verdict};
use crate::k8s::status::at_second;
use crate::response::facts::Facts;
use crate::response::{action, verify};

/// All steps are through: is there anything to prove?
pub fn conclude(run: &ResponseRun, mut status: ResponseRunStatus, now: Timestamp) -> Decision {
    let first = first_of_round(run, &status);
    let repairs: Vec<bool> = run.steps().map(|step| step.action().is_some_and(|action| action.repairs())).collect();
    let round = || status.steps.iter().zip(&repairs).skip(first);
    let mut repaired = round().filter(|(_, repairs)| **repairs);
    if repaired.any(|(step, _)| step.state == StepState::Done) {
        status.phase = Phase::Verifying;
        status.verification = Some(verify::begin(&run.spec.verify, now));
        status.message = "waits for the alert to resolve and the workload to be healthy".into();
        return Decision::Proceed(Box::new(dressed(run, status, now)));
    }
    let told = |step: &StepStatus| format!("{}: {}", step.name, step.message);
    let is_broken = |step: &StepStatus| matches!(step.state, StepState::Failed | StepState::Refused);
    let broken = round().find(|(step, _)| is_broken(step)).map(|(step, _)| told(step));
    let skipped = round().find(|(_, repairs)| **repairs).map(|(step, _)| told(step));
    match (broken, skipped) {
        (Some(why), _) => did_not_help(run, status, Verdict::Fail, why, now),
        // The steps before did not help, and this one did not apply.
        (None, Some(why)) if first > 0 => did_not_help(run, status, Verdict::Fail, why, now),
        (None, Some(why)) => close(run, status, Phase::Skipped, None, why, now),
        (None, None) => {
            close(run, status, Phase::Succeeded, None, "notified; there was no repair to prove".into(), now)
        }
    }
}

pub fn prove(run: &ResponseRun, mut status: ResponseRunStatus, facts: &Facts, now: Timestamp) -> Decision {
    let verification = status.verification.clone().unwrap_or_else(|| verify::begin(&run.spec.verify, now));
    let judgement = verify::judge(run, &verification, facts, now);
    status.verification = Some(judgement.verification);
    match judgement.verdict {
        None => Decision::Wait(Box::new(dressed(run, status, now)), SOON),
        Some((verdict @ Verdict::Pass, why)) => close(run, status, Phase::Succeeded, Some(verdict), why, now),
        Some((verdict, why)) => did_not_help(run, status, verdict, why, now),
    }
}

/// Number of the first step of the present fallback; 0 before the first one.
pub fn first_of_round(run: &ResponseRun, status: &ResponseRunStatus) -> usize {
    let tried = usize::try_from(status.fallbacks).unwrap_or_default();
    match tried.checked_sub(1) {
        None => 0,
        Some(before) => {
            run.spec.steps.len() + run.spec.fallback.iter().take(before).map(|f| f.steps.len()).sum::<usize>()
        }
    }
}

/// The steps of this round did not help: take back what is to be taken back, then the next fallback, if there is one.
fn did_not_help(
    run: &ResponseRun,
    mut status: ResponseRunStatus,
    verdict: Verdict,
    why: String,
    now: Timestamp,
) -> Decision {
    if run.spec.undo == UndoWhen::NotProved {
        let first = first_of_round(run, &status);
        for step in status.steps.iter_mut().skip(first).filter(|step| step.state == StepState::Done) {
            if step.intent.as_ref().is_some_and(action::can_be_undone) {
                let undo = step.undo.get_or_insert_default();
                undo.due = Some(Time(at_second(now)));
            }
        }
    }
    let next = usize::try_from(status.fallbacks).ok().and_then(|tried| run.spec.fallback.get(tried));
    match next {
        Some(fallback) if verdict == Verdict::Fail => {
            status.fallbacks += 1;
            status.steps.extend(fallback.steps.iter().map(unbegun));
            (status.phase, status.verification) = (Phase::Running, None);
            status.message = format!("{why}; fallback {} of {}", status.fallbacks, run.spec.fallback.len());
            Decision::Proceed(Box::new(dressed(run, status, now)))
        }
        _ => close(run, status, Phase::Failed, Some(verdict), why, now),
    }
}

pub fn close(
    run: &ResponseRun,
    mut status: ResponseRunStatus,
    phase: Phase,
    verdict: Option<Verdict>,
    message: String,
    now: Timestamp,
) -> Decision {
    (status.phase, status.verdict, status.message) = (phase, verdict, message);
    status.finished_at = Some(Time(at_second(now)));
    after::begin(run, &mut status, now);
    Decision::Proceed(Box::new(dressed(run, status, now)))
}
