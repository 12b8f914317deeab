//! All pods anew, as `kubectl rollout restart` does it. The time is chosen once and written down, so that doing it
//! again does nothing.

use jiff::Timestamp;
use kube::ResourceExt;

use super::{Change, Object, Operation, Plan, Probe, is_marked};
use crate::api::response_run::{Intent, RestartIntent};
use crate::k8s::status::at_second;
use crate::k8s::workload::RESTARTED_AT;
use crate::response::facts::Workload;

pub fn plan(workload: &Workload, now: Timestamp) -> Plan {
    let deployment = &workload.deployment;
    let name = deployment.name_any();
    if deployment.spec.as_ref().and_then(|s| s.paused) == Some(true) {
        return Plan::Refuse(format!(
            "Deployment {name} is paused: a restart would not roll out; `kubectl rollout resume deployment/{name}` ends that"
        ));
    }
    let intent = RestartIntent { restarted_at: at_second(now).to_string() };
    Plan::Do {
        summary: format!("restart the pods of Deployment/{name}"),
        intent: Intent { restart: Some(intent), ..Intent::default() },
        evidence: vec![],
    }
}

pub fn probe(intent: &RestartIntent, workload: &Workload, mark: &str) -> Probe {
    let deployment = &workload.deployment;
    let template = deployment.spec.as_ref().and_then(|s| s.template.metadata.as_ref());
    let restarted = template.and_then(|m| m.annotations.as_ref()).and_then(|a| a.get(RESTARTED_AT));
    if is_marked(deployment, mark) || restarted == Some(&intent.restarted_at) {
        return Probe::Done(effect(intent, &deployment.name_any()));
    }
    Probe::NotDone
}

fn effect(intent: &RestartIntent, name: &str) -> String {
    format!("restarted Deployment/{name} ({RESTARTED_AT}: {})", intent.restarted_at)
}

pub fn change(intent: &RestartIntent, workload: &Workload, mark: &str) -> Change {
    let deployment = &workload.deployment;
    let metadata = deployment.spec.as_ref().and_then(|s| s.template.metadata.as_ref());
    let annotations = metadata.and_then(|m| m.annotations.as_ref());
    let name = deployment.name_any();
    Change {
        operations: vec![
            Operation::unchanged(deployment),
            Operation::annotate("/spec/template/metadata/annotations", annotations, RESTARTED_AT, &intent.restarted_at),
            Operation::marked(deployment, mark),
        ],
        effect: effect(intent, &name),
        object: Object::Deployment(name),
    }
}
