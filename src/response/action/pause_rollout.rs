//! A rollout that stops where it stands, as `kubectl rollout pause` does it.

use super::{Change, Operation, Patched, Plan, Probe, UndoPlan, is_marked};
use crate::api::response_run::{Intent, PauseRolloutIntent};
use crate::k8s::workload::Object;
use crate::response::facts::Workload;

pub fn plan(workload: &Workload) -> Plan {
    let object = &workload.object;
    let title = object.title();
    if !can_be_paused(object) {
        return Plan::Refuse(format!("{title} cannot be paused: only a Deployment and a Rollout can"));
    }
    if object.is_paused() {
        return Plan::NotApplicable(format!("{title} is paused already"));
    }
    let (generation, observed) = object.generations();
    if observed < generation {
        return Plan::NotYet(format!("the latest change of {title} has not been taken up yet"));
    }
    if !object.is_rolling_out() {
        return Plan::Refuse(format!(
            "{title} is not rolling out: pausing it would only hold back the next release (rollback takes back the present one)"
        ));
    }
    Plan::Do {
        intent: Intent { pause_rollout: Some(PauseRolloutIntent {}), ..Intent::default() },
        evidence: vec![],
        summary: format!("pause the rollout of {}", object.reference()),
    }
}

fn can_be_paused(object: &Object) -> bool {
    match object {
        Object::Deployment(_) | Object::Rollout(_) => true,
        Object::StatefulSet(_) | Object::DaemonSet(_) | Object::Node(_) => false,
    }
}

pub fn probe(workload: &Workload, mark: &str) -> Probe {
    let object = &workload.object;
    if is_marked(object.metadata(), mark) || object.is_paused() {
        return Probe::Done(effect(workload, true));
    }
    match object.is_rolling_out() {
        true => Probe::NotDone,
        false => Probe::Lost(format!("the rollout of {} is complete meanwhile", object.reference())),
    }
}

fn effect(workload: &Workload, paused: bool) -> String {
    format!("{} the rollout of {}", if paused { "paused" } else { "resumed" }, workload.object.reference())
}

pub fn change(workload: &Workload, mark: &str, paused: bool) -> Change {
    let metadata = workload.object.metadata();
    let operations = vec![
        Operation::unchanged(metadata),
        // "add" replaces as well, and the field may be absent.
        Operation::add("/spec/paused", paused.into()),
        Operation::marked(metadata, mark),
    ];
    Change::patch(Patched::workload(&workload.object), operations, effect(workload, paused))
}

/// The rollout goes on.
pub fn undo(workload: &Workload, mark: &str) -> UndoPlan {
    let object = &workload.object;
    // With the mark it was resumed already, and somebody has paused it again since.
    match !object.is_paused() || is_marked(object.metadata(), mark) {
        true => UndoPlan::Done(effect(workload, false)),
        false => UndoPlan::Change(change(workload, mark, false)),
    }
}
