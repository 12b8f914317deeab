//! No new pods for a node, as `kubectl cordon` does it.

use super::{Change, Operation, Patched, Plan, Probe, UndoPlan, is_marked};
use crate::api::response_run::{CordonIntent, Intent};
use crate::k8s::workload::Object;
use crate::response::facts::Workload;

/// `None` for what is no node.
fn is_cordoned(workload: &Workload) -> Option<bool> {
    match &workload.object {
        Object::Node(node) => Some(node.spec.as_ref().and_then(|s| s.unschedulable) == Some(true)),
        Object::Deployment(_) | Object::StatefulSet(_) | Object::DaemonSet(_) | Object::Rollout(_) => None,
    }
}

pub fn plan(workload: &Workload) -> Plan {
    let name = workload.object.name();
    match is_cordoned(workload) {
        None => Plan::Refuse(format!("{} cannot be cordoned: it is no Node", workload.object.title())),
        Some(true) => Plan::NotApplicable(format!("Node {name} is cordoned already")),
        Some(false) => {
            let intent = CordonIntent { node: name.to_owned() };
            Plan::Do {
                intent: Intent { cordon: Some(intent), ..Intent::default() },
                evidence: vec!["the pods on it stay".into()],
                summary: format!("cordon Node/{name}"),
            }
        }
    }
}

pub fn probe(workload: &Workload, mark: &str) -> Probe {
    match is_marked(workload.object.metadata(), mark) || is_cordoned(workload) == Some(true) {
        true => Probe::Done(effect(workload, true)),
        false => Probe::NotDone,
    }
}

fn effect(workload: &Workload, cordon: bool) -> String {
    format!("{} {}", if cordon { "cordoned" } else { "uncordoned" }, workload.object.reference())
}

pub fn change(workload: &Workload, mark: &str, cordon: bool) -> Change {
    let metadata = workload.object.metadata();
    let operations = vec![
        Operation::unchanged(metadata),
        // "add" replaces as well, and the field is absent from a node that was never cordoned.
        Operation::add("/spec/unschedulable", cordon.into()),
        Operation::marked(metadata, mark),
    ];
    Change::patch(Patched::workload(&workload.object), operations, effect(workload, cordon))
}

/// Pods for the node again.
pub fn undo(workload: &Workload, mark: &str) -> UndoPlan {
    match is_cordoned(workload) {
        None => UndoPlan::GiveUp(format!("{} is no Node", workload.object.title())),
        Some(false) => UndoPlan::Done(effect(workload, false)),
        // Taken back already, and somebody has cordoned it again since.
        Some(true) if is_marked(workload.object.metadata(), mark) => UndoPlan::Done(effect(workload, false)),
        Some(true) => UndoPlan::Change(change(workload, mark, false)),
    }
}
