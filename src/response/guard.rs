//! What must hold before a run may act. Pure: an ordered list of questions, the first "no" decides.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use super::condition::Told;
use super::facts::{Asked, Facts};
use super::{in_vain, validate};
use crate::api::alert_response::Mode;
use crate::api::duration::PromDuration;
use crate::api::response_run::{AlertState, GuardStatus, Phase, ResponseRun};
use crate::schedule::Schedule;

/// Annotation of a Namespace: `true` stops all responses in it, or, on the operator's own namespace, everywhere.
pub const PAUSE: &str = "evenkeel.dev/pause-responses";

/// The answer of one guard, with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Pass(String),
    /// Not now: ask again.
    Wait(String),
    /// Not in this run.
    Skip(String),
}

type Guard = fn(&ResponseRun, &Facts, Timestamp) -> Answer;

const ORDER: [(&str, Guard); 14] = [
    // First: a run that nobody's AlertResponse stands behind must not borrow its ServiceAccount.
    ("Response", response),
    // The big switches before anything that may take time: who pulls one wants an effect at once.
    ("NotPaused", not_paused),
    ("NotSuspended", not_suspended),
    // A namespace that is never touched; no later answer could change that.
    ("Namespace", namespace),
    // People at work, which the author knew of beforehand.
    ("Maintenance", no_maintenance),
    // Whether there is anything to act on, before this run makes others wait for it.
    ("Target", target),
    // How much of it is left.
    ("MinReady", min_ready),
    // Asked before the turn: a run whose alert is over need not wait for another run.
    ("AlertFiring", alert_firing),
    // What the author wants to hold besides.
    ("OnlyIf", only_if),
    // Before the limits, since the run that is waited for counts in them.
    (TURN, turn),
    // What another run did to this target lately.
    ("Cooldown", cooldown),
    // What was tried for this alert.
    ("Attempts", attempts),
    // Whether acting has helped at all.
    ("SuspendAfter", helps),
    // Last, the widest: what this response did lately.
    ("MaxRunsPerHour", runs_per_hour),
];

/// Asked again before every step that changes the workload, since it may come minutes after the first time.
const STILL: [(&str, Guard); 5] = [
    ("Response", response_exists),
    ("NotPaused", not_paused),
    ("NotSuspended", not_suspended),
    // Not MinReady: the steps themselves take replicas away for a while.
    ("Maintenance", no_maintenance),
    ("AlertFiring", alert_firing),
];

/// All guards up to the one that decides, and what it decided.
pub fn evaluate(run: &ResponseRun, facts: &Facts, now: Timestamp) -> (Vec<GuardStatus>, Answer) {
    ask(&ORDER, run, facts, now)
}

/// Whether a run that has begun may still act.
pub fn still(run: &ResponseRun, facts: &Facts, now: Timestamp) -> Answer {
    ask(&STILL, run, facts, now).1
}

fn ask(guards: &[(&str, Guard)], run: &ResponseRun, facts: &Facts, now: Timestamp) -> (Vec<GuardStatus>, Answer) {
    let mut asked = Vec::with_capacity(guards.len());
    for (name, guard) in guards {
        let answer = guard(run, facts, now);
        let (passed, message) = match &answer {
            Answer::Pass(message) => (true, message),
            Answer::Wait(message) | Answer::Skip(message) => (false, message),
        };
        asked.push(GuardStatus { name: (*name).to_owned(), passed, message: message.clone() });
        if !passed {
            return (asked, answer);
        }
    }
    let all = format!("{} of {} guards passed", asked.len(), guards.len());
    (asked, Answer::Pass(all))
}

fn response_exists(run: &ResponseRun, facts: &Facts, _: Timestamp) -> Answer {
    let wanted = &run.spec.response_ref;
    let Some(response) = &facts.response else {
        return Answer::Skip(format!("AlertResponse {} does not exist any more", wanted.name));
    };
    let owned = run.owner_references().iter().any(|r| r.uid == wanted.uid && r.kind == "AlertResponse");
    if response.uid().as_deref() != Some(wanted.uid.as_str()) || !owned {
        return Answer::Skip(format!("this run is not of the AlertResponse {} that exists", wanted.name));
    }
    if run.spec.mode == Mode::Act && response.spec.mode != Mode::Act {
        return Answer::Skip(format!("AlertResponse {} was set back to Observe", wanted.name));
    }
    Answer::Pass(format!("AlertResponse {} in mode {:?}", wanted.name, run.spec.mode))
}

fn response(run: &ResponseRun, facts: &Facts, now: Timestamp) -> Answer {
    let exists = response_exists(run, facts, now);
    let (Answer::Pass(_), Some(response)) = (&exists, &facts.response) else { return exists };
    let (live, copied) = (&response.spec, &run.spec);
    let same = live.steps == copied.steps
        && live.service_account_name == copied.service_account_name
        && validate::target(live, &copied.alert.labels) == copied.target;
    if same {
        return exists;
    }
    Answer::Skip(format!(
        "AlertResponse {} was changed after the alert arrived; the next delivery of the alert goes by the new words",
        copied.response_ref.name
    ))
}

fn not_paused(_: &ResponseRun, facts: &Facts, _: Timestamp) -> Answer {
    match &facts.paused_by {
        Some(who) => Answer::Skip(format!("responses are paused by the annotation {PAUSE} of {who}")),
        None => Answer::Pass(String::new()),
    }
}

fn not_suspended(run: &ResponseRun, facts: &Facts, _: Timestamp) -> Answer {
    match facts.response.as_ref().is_some_and(|r| r.spec.suspend) {
        true => Answer::Skip(format!("AlertResponse {} is suspended", run.spec.response_ref.name)),
        false => Answer::Pass(String::new()),
    }
}

fn namespace(run: &ResponseRun, facts: &Facts, _: Timestamp) -> Answer {
    match facts.protected {
        true => Answer::Skip(format!("namespace {} is protected", run.namespace().unwrap_or_default())),
        false => Answer::Pass(String::new()),
    }
}

fn target(run: &ResponseRun, facts: &Facts, _: Timestamp) -> Answer {
    if let Some(problem) = &run.spec.target.problem {
        return Answer::Skip(problem.clone());
    }
    let reference = run.spec.target.reference();
    match facts.workload.found(&reference) {
        Ok(_) => Answer::Pass(reference),
        Err(why) => Answer::Skip(why),
    }
}

fn no_maintenance(run: &ResponseRun, _: &Facts, now: Timestamp) -> Answer {
    for window in &run.spec.guardrails.maintenance_windows {
        let zone = window.time_zone.as_deref();
        // What validation let pass before an upgrade may not be readable any more: then nobody knows who is at work.
        let Ok(schedule) = Schedule::new(&window.cron, zone) else {
            return Answer::Skip(format!("the maintenance window {:?} cannot be read", window.cron));
        };
        let lasts = SignedDuration::try_from(window.duration.0).unwrap_or(SignedDuration::MAX);
        if let Some(end) = schedule.ends(lasts, now) {
            let words = format!("{} ({})", window.cron, zone.unwrap_or("UTC"));
            return Answer::Skip(format!("maintenance window {words} lasts until {end}"));
        }
    }
    Answer::Pass(String::new())
}

fn min_ready(run: &ResponseRun, facts: &Facts, _: Timestamp) -> Answer {
    let Some(limit) = &run.spec.guardrails.min_ready else { return Answer::Pass(String::new()) };
    let reference = run.spec.target.reference();
    let workload = match facts.workload.found(&reference) {
        Ok(workload) => workload,
        Err(why) => return Answer::Skip(why),
    };
    let deployment = &workload.deployment;
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let available = deployment.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0);
    let limit = match limit {
        IntOrString::Int(number) => number.to_string(),
        IntOrString::String(share) => share.clone(),
    };
    match run.spec.guardrails.min_ready_of(wanted) {
        Some(least) if available >= least => {
            Answer::Pass(format!("{available} of {wanted} replicas available, at least {least}"))
        }
        Some(least) => Answer::Skip(format!(
            "{available} of {wanted} replicas of {reference} are available, minReady {limit} asks for {least}"
        )),
        None => Answer::Skip(format!("minReady {limit:?} cannot be read")),
    }
}

fn alert_firing(run: &ResponseRun, facts: &Facts, _: Timestamp) -> Answer {
    let name = &run.spec.alert.name;
    match (facts.alert.state, facts.alert.asked) {
        (AlertState::Resolved, _) => Answer::Skip(format!("alert {name} has resolved")),
        (_, Asked::Firing) => Answer::Pass(format!("alert {name} is firing, says its Alertmanager")),
        (_, Asked::Absent) => Answer::Wait(format!(
            "alert {name} is not at its Alertmanager at the moment; waits for it, or for the news"
        )),
        (AlertState::Firing | AlertState::Unknown, Asked::NoAnswer) => {
            Answer::Pass(format!("alert {name} was firing when it was delivered"))
        }
    }
}

fn only_if(run: &ResponseRun, facts: &Facts, _: Timestamp) -> Answer {
    if run.spec.only_if.is_empty() {
        return Answer::Pass(String::new());
    }
    match &facts.condition {
        Some(Told::Holds(words)) => Answer::Pass(words.clone()),
        Some(Told::Not(words) | Told::NoData(words)) => Answer::Skip(format!("onlyIf: {words}")),
        Some(Told::NoAnswer(why)) => Answer::Wait(format!("onlyIf cannot be told: {why}")),
        None => Answer::Wait("onlyIf was not asked".into()),
    }
}

/// The order in which runs of one target take their turn.
fn rank(run: &ResponseRun) -> (Option<Timestamp>, String) {
    (run.creation_timestamp().map(|t| t.0), run.name_any())
}

fn has_same_target(run: &ResponseRun, other: &ResponseRun) -> bool {
    other.uid() != run.uid()
        && other.namespace() == run.namespace()
        && other.spec.target.kind == run.spec.target.kind
        && other.spec.target.name == run.spec.target.name
        && other.spec.mode == Mode::Act
}

fn on_same_target<'a>(run: &'a ResponseRun, facts: &'a Facts) -> impl Iterator<Item = &'a ResponseRun> {
    facts.others.iter().filter(|other| has_same_target(run, other))
}

/// Whether `run` has to wait for `other`.
pub fn is_ahead(run: &ResponseRun, other: &ResponseRun) -> bool {
    has_same_target(run, other)
        && match other.phase() {
            Phase::Running | Phase::Verifying => true,
            Phase::Pending => rank(other) < rank(run),
            Phase::Succeeded | Phase::Failed | Phase::Skipped | Phase::Observed => false,
        }
}

/// Name of the guard that makes runs of one target wait for each other.
pub const TURN: &str = "Turn";

fn turn(run: &ResponseRun, facts: &Facts, _: Timestamp) -> Answer {
    match facts.others.iter().find(|other| is_ahead(run, other)) {
        Some(other) => {
            Answer::Wait(format!("waits for run {}, which works on {}", other.name_any(), run.spec.target.reference()))
        }
        None => Answer::Pass(String::new()),
    }
}

fn cooldown(run: &ResponseRun, facts: &Facts, now: Timestamp) -> Answer {
    let cooldown = run.spec.guardrails.cooldown;
    // Repeats of this very alert are held back when they arrive, by the same cooldown.
    let of_other_alerts = on_same_target(run, facts).filter(|other| {
        other.spec.response_ref.uid != run.spec.response_ref.uid
            || other.spec.alert.fingerprint != run.spec.alert.fingerprint
    });
    let finished = |other: &ResponseRun| other.status.as_ref().and_then(|s| s.finished_at.as_ref()).map(|t| t.0);
    let recent = of_other_alerts
        .filter(|other| other.acted())
        .filter_map(|other| finished(other).map(|at| (now.duration_since(at), other)))
        .find(|(ago, _)| *ago < SignedDuration::try_from(cooldown.0).unwrap_or(SignedDuration::MAX));
    match recent {
        Some((ago, other)) => Answer::Skip(format!(
            "run {} acted on {} {} ago, within the cooldown of {cooldown}",
            other.name_any(),
            run.spec.target.reference(),
            short(ago),
        )),
        None => Answer::Pass(String::new()),
    }
}

fn attempts(run: &ResponseRun, _: &Facts, _: Timestamp) -> Answer {
    let (attempt, limit) = (run.spec.attempt, run.spec.guardrails.attempts);
    match attempt > limit {
        true => Answer::Skip(format!("attempt {attempt} of at most {limit} while the alert keeps firing")),
        false => Answer::Pass(format!("attempt {attempt} of at most {limit}")),
    }
}

fn helps(_: &ResponseRun, facts: &Facts, _: Timestamp) -> Answer {
    let suspended = facts.response.as_ref().and_then(|response| in_vain::suspended(response, facts.others.iter()));
    suspended.map_or(Answer::Pass(String::new()), Answer::Skip)
}

fn runs_per_hour(run: &ResponseRun, facts: &Facts, now: Timestamp) -> Answer {
    let limit = run.spec.guardrails.max_runs_per_hour;
    let started = |other: &ResponseRun| other.status.as_ref().and_then(|s| s.started_at.as_ref()).map(|t| t.0);
    let lately = facts
        .others
        .iter()
        .filter(|other| other.spec.response_ref.uid == run.spec.response_ref.uid && other.uid() != run.uid())
        .filter(|other| other.acted())
        .filter(|other| started(other).is_some_and(|at| now.duration_since(at) < SignedDuration::from_hours(1)))
        .count();
    match i32::try_from(lately).unwrap_or(i32::MAX) >= limit {
        true => {
            Answer::Skip(format!("{lately} runs of this AlertResponse acted within the hour; the limit is {limit}"))
        }
        false => Answer::Pass(format!("{lately} of at most {limit} runs within the hour")),
    }
}

/// A time span in whole seconds, as Prometheus writes it.
pub fn short(span: SignedDuration) -> String {
    PromDuration::from_secs(span.as_secs().unsigned_abs()).to_string()
}

#[cfg(test)]
mod tests;
