//! Pods that are deleted, so that their controller makes others: the one that an alert is about, or those that are not
//! ready. What is deleted is the very pod that was looked at, by its UID.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;

use super::{Act, Change, Plan, Probe, left};
use crate::api::alert_response::DeletePod;
use crate::api::response_run::{DeletePodsIntent, Intent, PodRef};
use crate::k8s::meta::is_object_name;
use crate::k8s::workload::pods;
use crate::response::facts::Workload;

/// The label is untrusted: the pod that it names must be controlled by the target.
pub fn plan(step: &DeletePod, labels: &BTreeMap<String, String>, workload: &Workload) -> Plan {
    let (label, title) = (&step.name_from_label, workload.object.title());
    let name = match labels.get(label).map(String::as_str).unwrap_or_default() {
        "" => return Plan::Refuse(format!("the alert has no label {label}, which deletePod.nameFromLabel names")),
        name if is_object_name(name) => name,
        _ => return Plan::Refuse(format!("the value of the alert's label {label} is not the name of a pod")),
    };
    let Some(pod) = workload.pods.iter().find(|pod| pod.metadata.name.as_deref() == Some(name)) else {
        return Plan::NotApplicable(format!("{title} has no pod {name}: it is gone, or of another workload"));
    };
    if !pods::is_controlled(pod, &workload.object, &workload.replica_sets) {
        return Plan::Refuse(format!("pod {name} is not controlled by {title}"));
    }
    if pods::is_terminating(pod) {
        return Plan::NotApplicable(format!("pod {name} is being deleted already"));
    }
    let Some(pod) = reference(pod) else { return Plan::Refuse(format!("pod {name} has no UID")) };
    let summary = format!("delete pod {name} of {}", workload.object.reference());
    Plan::Do { intent: intent(vec![pod]), evidence: vec![], summary }
}

/// An intent to delete these.
pub fn intent(pods: Vec<PodRef>) -> Intent {
    Intent { delete_pods: Some(DeletePodsIntent { pods }), ..Intent::default() }
}

/// `None` for a pod that did not come from the API server.
pub fn reference(pod: &Pod) -> Option<PodRef> {
    Some(PodRef { name: pod.metadata.name.clone()?, uid: pod.metadata.uid.clone()? })
}

/// Names, separated by commas.
pub fn names<'a>(pods: impl IntoIterator<Item = &'a PodRef>) -> String {
    pods.into_iter().map(|pod| pod.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// Done when none of them is left.
pub fn probe(intent: &DeletePodsIntent, workload: &Workload) -> Probe {
    match left(&intent.pods, workload).next() {
        Some(_) => Probe::NotDone,
        None => Probe::Done(effect(intent, workload)),
    }
}

fn effect(intent: &DeletePodsIntent, workload: &Workload) -> String {
    let noun = if intent.pods.len() == 1 { "pod" } else { "pods" };
    format!("deleted {noun} {} of {}", names(&intent.pods), workload.object.reference())
}

pub fn change(intent: &DeletePodsIntent, workload: &Workload) -> Change {
    let acts = left(&intent.pods, workload).cloned().map(Act::DeletePod).collect();
    Change { acts, effect: effect(intent, workload) }
}
