//! All pods anew, as `kubectl rollout restart` does it, or those that are not ready. The time is chosen once and written
//! down, so that doing it again does nothing.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;

use super::{Change, Operation, Patched, Plan, Probe, delete_pod, is_marked};
use crate::api::alert_response::{Restart, RestartPods};
use crate::api::response_run::{Intent, RestartIntent};
use crate::k8s::status::at_second;
use crate::k8s::workload::{Object, RESTARTED_AT, least_seconds_to_available, pods};
use crate::response::facts::Workload;

/// Time that a pod has to become ready before it counts as one that does not.
const START: i64 = 60;

pub fn plan(step: &Restart, workload: &Workload, now: Timestamp) -> Plan {
    match step.pods {
        RestartPods::All => all(workload, now),
        RestartPods::NotReady => not_ready(workload, now),
    }
}

fn all(workload: &Workload, now: Timestamp) -> Plan {
    let object = &workload.object;
    let (title, reference) = (object.title(), object.reference());
    if let Object::Node(_) = object {
        return Plan::Refuse(format!("{title} has no pods of its own to restart"));
    }
    if object.is_paused() {
        return Plan::Refuse(format!("{title} is paused: a restart would not roll out; {} ends that", resume(object)));
    }
    if object.updates_on_delete() {
        return Plan::Refuse(format!(
            "{title} has updateStrategy OnDelete: a restart would not roll out (restart.pods NotReady and deletePod delete pods)"
        ));
    }
    let intent = RestartIntent { restarted_at: at_second(now).to_string() };
    Plan::Do {
        summary: format!("restart the pods of {reference}"),
        intent: Intent { restart: Some(intent), ..Intent::default() },
        evidence: vec![],
    }
}

/// The command that ends a pause.
pub fn resume(object: &Object) -> String {
    match object {
        Object::Rollout(_) => {
            format!("setting its spec.paused to false (`kubectl argo rollouts resume {}`)", object.name())
        }
        _ => format!("`kubectl rollout resume {}`", object.reference().to_lowercase()),
    }
}

/// Pods that are not ready serve nobody: deleting all of them at once takes nothing away.
fn not_ready(workload: &Workload, now: Timestamp) -> Plan {
    let object = &workload.object;
    let title = object.title();
    if let Object::Node(_) = object {
        return Plan::Refuse(format!("{title} has no pods of its own to restart"));
    }
    let own = |pod: &&Pod| pods::is_controlled(pod, object, &workload.replica_sets);
    let broken = |pod: &&Pod| !pods::is_ready(pod) && !pods::is_terminating(pod) && pods::is_running(pod);
    let unready: Vec<&Pod> = workload.pods.iter().filter(own).filter(broken).collect();
    let needs = object.template().map_or(0, |template| least_seconds_to_available(object, template)).max(START);
    let needs = SignedDuration::from_secs(needs);
    let starting = |pod: &&Pod| pods::created(pod).is_some_and(|created| now.duration_since(created) < needs);
    let (young, old): (Vec<&Pod>, Vec<&Pod>) = unready.into_iter().partition(starting);
    let refs: Vec<_> = old.into_iter().filter_map(delete_pod::reference).collect();
    if refs.is_empty() {
        return match young.is_empty() {
            true => Plan::NotApplicable(format!("every pod of {title} that runs is ready")),
            false => {
                Plan::NotYet(format!("the pods of {title} that are not ready are starting: {} of them", young.len()))
            }
        };
    }
    let noun = if refs.len() == 1 { "pod" } else { "pods" };
    let summary = format!("delete {noun} {} of {}, not ready", delete_pod::names(&refs), object.reference());
    let evidence = young.first().map(|_| format!("{} more have only just started", young.len()));
    Plan::Do { intent: delete_pod::intent(refs), evidence: evidence.into_iter().collect(), summary }
}

fn restarted(object: &Object) -> Option<String> {
    match object {
        Object::Rollout(rollout) => rollout.spec.restart_at.as_ref().map(|t| t.0.to_string()),
        _ => object.template()?.metadata.as_ref()?.annotations.as_ref()?.get(RESTARTED_AT).cloned(),
    }
}

pub fn probe(intent: &RestartIntent, workload: &Workload, mark: &str) -> Probe {
    let object = &workload.object;
    if is_marked(object.metadata(), mark) || restarted(object).as_ref() == Some(&intent.restarted_at) {
        return Probe::Done(effect(intent, object));
    }
    Probe::NotDone
}

fn effect(intent: &RestartIntent, object: &Object) -> String {
    let field = match object {
        Object::Rollout(_) => "restartAt",
        _ => RESTARTED_AT,
    };
    format!("restarted {} ({field}: {})", object.reference(), intent.restarted_at)
}

pub fn change(intent: &RestartIntent, workload: &Workload, mark: &str) -> Change {
    let object = &workload.object;
    let at = &intent.restarted_at;
    let restart = match object {
        Object::Rollout(_) => Operation::add("/spec/restartAt", at.as_str().into()),
        _ => {
            let metadata = object.template().and_then(|t| t.metadata.as_ref());
            let annotations = metadata.and_then(|m| m.annotations.as_ref());
            Operation::annotate("/spec/template/metadata/annotations", annotations, RESTARTED_AT, at)
        }
    };
    let operations = vec![Operation::unchanged(object.metadata()), restart, Operation::marked(object.metadata(), mark)];
    Change::patch(Patched::workload(object), operations, effect(intent, object))
}
