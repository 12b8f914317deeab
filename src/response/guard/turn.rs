//! One run of a target at a time. Pure.

use jiff::Timestamp;
use kube::ResourceExt;

use super::Answer;
use super::switches::awaits_approval;
use crate::api::response_run::{Phase, ResponseRun};
use crate::response::facts::Facts;

/// The order in which runs of one target take their turn.
pub fn rank(run: &ResponseRun) -> (Option<Timestamp>, String) {
    (run.creation_timestamp().map(|t| t.0), run.name_any())
}

pub fn has_same_target(run: &ResponseRun, other: &ResponseRun) -> bool {
    other.uid() != run.uid()
        && other.namespace() == run.namespace()
        && other.spec.target.kind == run.spec.target.kind
        && other.spec.target.name == run.spec.target.name
        && !other.only_observes()
}

/// Whether another run can matter to this one: of the same target or alert, or one that touched something. In a storm
/// thousands of runs of a namespace do not.
pub fn concerns(run: &ResponseRun, other: &ResponseRun) -> bool {
    let same_alert = other.spec.response_ref.uid == run.spec.response_ref.uid
        && other.spec.alert.fingerprint == run.spec.alert.fingerprint;
    other.uid() != run.uid()
        && other.namespace() == run.namespace()
        && (same_alert || other.acted() || has_same_target(run, other))
}

pub fn on_same_target<'a>(run: &'a ResponseRun, facts: &'a Facts) -> impl Iterator<Item = &'a ResponseRun> {
    facts.others.iter().filter(|other| has_same_target(run, other))
}

/// Whether `run` has to wait for `other`.
pub fn is_ahead(run: &ResponseRun, other: &ResponseRun) -> bool {
    has_same_target(run, other)
        && match other.phase() {
            Phase::Running | Phase::Verifying => true,
            Phase::Pending => rank(other) < rank(run) && !awaits_approval(other),
            Phase::Succeeded | Phase::Failed | Phase::Skipped | Phase::Observed => false,
        }
}

pub fn turn(run: &ResponseRun, facts: &Facts, _: Timestamp) -> Answer {
    match facts.others.iter().find(|other| is_ahead(run, other)) {
        Some(other) => {
            Answer::Wait(format!("waits for run {}, which works on {}", other.name_any(), run.spec.target.reference()))
        }
        None => Answer::Pass(String::new()),
    }
}
