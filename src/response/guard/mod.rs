//! What must hold before a run may act. Pure: an ordered list of questions, the first "no" decides.

mod alert;
mod limits;
mod switches;
mod target;
mod turn;

use jiff::{SignedDuration, Timestamp};

use super::facts::Facts;
use crate::api::alert_response::StepAction;
use crate::api::duration::PromDuration;
use crate::api::response_run::{GuardStatus, Phase, ResponseRun, ResponseRunStatus};

pub use switches::approve_command;
pub use turn::{concerns, is_ahead};

/// Annotation of a Namespace: `true` stops all responses in it, or, on the operator's own namespace, everywhere.
pub const PAUSE: &str = "evenkeel.dev/pause-responses";
/// Annotation of a ResponseRun in mode Approve: `true` lets it act.
pub const APPROVE: &str = "evenkeel.dev/approve";
/// Name of the guard that waits for it.
pub const APPROVAL: &str = "Approval";
/// Name of the guard that makes runs of one target wait for each other.
pub const TURN: &str = "Turn";

/// Name of the guard that looks at what is done in the whole cluster.
pub const STORM_BRAKE: &str = "StormBrake";

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

const ORDER: [(&str, Guard); 18] = [
    // First: a run that nobody's AlertResponse stands behind must not borrow its ServiceAccount.
    ("Response", switches::response),
    // The big switches before anything that may take time: who pulls one wants an effect at once.
    ("NotPaused", switches::not_paused),
    ("NotSuspended", switches::not_suspended),
    // A namespace that is never touched; no later answer could change that.
    ("Namespace", switches::namespace),
    // People at work, which the author knew of beforehand.
    ("Maintenance", switches::no_maintenance),
    // The same, decided by somebody else than the author, with words of their own to read.
    ("ChangeFreeze", switches::change_freeze),
    // Whether there is anything to act on, before this run makes others wait for it.
    ("Target", target::target),
    // How much of it is left.
    ("MinReady", target::min_ready),
    // What its owners promised to those who drain nodes holds for a repair as well.
    ("Disruption", target::disruption),
    // Asked before the turn: a run whose alert is over need not wait for another run.
    ("AlertFiring", alert::alert_firing),
    // What the author wants to hold besides.
    ("OnlyIf", alert::only_if),
    // A person is asked once all else but the limits lets it pass, and what waits for a word holds up nobody.
    (APPROVAL, switches::approved),
    // Before the limits, since the run that is waited for counts in them.
    (TURN, turn::turn),
    // What another run did to this target lately.
    ("Cooldown", limits::cooldown),
    // What was tried for this alert.
    ("Attempts", limits::attempts),
    // Whether acting has helped at all.
    ("SuspendAfter", limits::helps),
    // What this response did lately.
    ("MaxRunsPerHour", limits::runs_per_hour),
    // Last, the widest: who is held by anything else does not take a place from those who may act.
    (STORM_BRAKE, limits::storm_brake),
];

/// Asked again before every step that changes the workload, since it may come minutes after the first time.
const STILL: [(&str, Guard); 7] = [
    ("Response", switches::response_exists),
    ("NotPaused", switches::not_paused),
    ("NotSuspended", switches::not_suspended),
    // Not MinReady: the steps themselves take replicas away for a while.
    ("Maintenance", switches::no_maintenance),
    ("ChangeFreeze", switches::change_freeze),
    // By the step that is next, and what the steps before it left.
    ("Disruption", target::disruption),
    ("AlertFiring", alert::alert_firing),
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

/// What the storm brake alone says, which takes no more than what is in memory: in a storm it decides on most runs.
/// `None`: it lets this one pass.
pub fn brake(run: &ResponseRun, facts: &Facts, now: Timestamp) -> Option<(GuardStatus, String)> {
    let (mut asked, answer) = ask(&[(STORM_BRAKE, limits::storm_brake)], run, facts, now);
    match answer {
        Answer::Skip(why) | Answer::Wait(why) => asked.pop().map(|guard| (guard, why)),
        Answer::Pass(_) => None,
    }
}

/// Whether it was the storm brake that ended a run.
pub fn is_braked(status: &ResponseRunStatus) -> bool {
    status.phase == Phase::Skipped
        && status.guards.last().is_some_and(|guard| guard.name == STORM_BRAKE && !guard.passed)
}

/// Whether a step of it repairs. Those that only collect and tell need no protection from themselves.
pub fn repairs(run: &ResponseRun) -> bool {
    run.steps().filter_map(|step| step.action()).any(|action: StepAction<'_>| action.repairs())
}

/// A time span in whole seconds, as Prometheus writes it.
pub fn short(span: SignedDuration) -> String {
    PromDuration::from_secs(span.as_secs().unsigned_abs()).to_string()
}

#[cfg(test)]
mod tests;
