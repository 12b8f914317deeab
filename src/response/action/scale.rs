//! Another number of replicas; where an autoscaler rules, another lower bound for it.

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::ResourceExt;

use super::{Change, Object, Operation, Plan, Probe, is_marked};
use crate::api::alert_response::Scale;
use crate::api::response_run::{Intent, ScaleIntent};
use crate::k8s::workload::gitops_owner;
use crate::response::facts::Workload;

pub fn plan(step: &Scale, workload: &Workload) -> Plan {
    let deployment = &workload.deployment;
    let name = deployment.name_any();
    let replicas = deployment.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1);
    if replicas == 0 {
        return Plan::Refuse(format!("Deployment {name} is scaled to 0: somebody turned it off"));
    }
    let wanted = match (step.to, step.by) {
        (Some(to), _) => to,
        (None, Some(by)) => replicas.saturating_add(by),
        (None, None) => return Plan::Refuse("scale has neither to nor by".into()),
    };
    let wanted = wanted.min(step.max.unwrap_or(i32::MAX)).max(1);
    if step.by.is_some_and(|by| by > 0) && wanted <= replicas {
        return Plan::NotApplicable(format!("Deployment {name} has {replicas} replicas, the most that max allows"));
    }
    match autoscaler(workload) {
        Some(autoscaler) => raise_minimum(autoscaler, wanted, &name),
        None if wanted == replicas => Plan::NotApplicable(format!("Deployment {name} has {replicas} replicas already")),
        None => match gitops_owner(deployment) {
            Some(owner) => Plan::Refuse(format!(
                "Deployment {name} is kept by {owner}, which would put the change back: change it at the source"
            )),
            None => {
                intend(replicas, wanted, None, format!("scale Deployment/{name} from {replicas} to {wanted} replicas"))
            }
        },
    }
}

fn raise_minimum(autoscaler: &HorizontalPodAutoscaler, wanted: i32, deployment: &str) -> Plan {
    let name = autoscaler.name_any();
    if autoscaler.owner_references().iter().any(|r| r.kind == "ScaledObject") {
        return Plan::Refuse(format!(
            "Deployment {deployment} is scaled by KEDA, which would put the change of its autoscaler {name} back: change the ScaledObject"
        ));
    }
    let Some(spec) = &autoscaler.spec else {
        return Plan::Refuse(format!("HorizontalPodAutoscaler {name} has no spec"));
    };
    let (minimum, maximum) = (spec.min_replicas.unwrap_or(1), spec.max_replicas);
    let wanted = wanted.min(maximum);
    if wanted <= minimum {
        return Plan::NotApplicable(format!(
            "HorizontalPodAutoscaler {name} keeps {minimum} to {maximum} replicas: nothing to raise"
        ));
    }
    let summary = format!("raise minReplicas of HorizontalPodAutoscaler/{name} from {minimum} to {wanted}");
    intend(minimum, wanted, Some(name), summary)
}

fn intend(from: i32, to: i32, autoscaler: Option<String>, summary: String) -> Plan {
    let intent = Intent { scale: Some(ScaleIntent { from, to, autoscaler }), ..Intent::default() };
    Plan::Do { intent, evidence: vec![], summary }
}

fn autoscaler(workload: &Workload) -> Option<&HorizontalPodAutoscaler> {
    let name = workload.deployment.name_any();
    workload.autoscalers.iter().find(|a| {
        a.spec.as_ref().is_some_and(|s| {
            let target = &s.scale_target_ref;
            target.kind == "Deployment"
                && target.name == name
                && target.api_version.as_deref().is_none_or(|v| v.starts_with("apps/"))
        })
    })
}

/// The object of an intent: its present number, and whether it bears the mark.
fn present(intent: &ScaleIntent, workload: &Workload, mark: &str) -> Result<(i32, bool), String> {
    match &intent.autoscaler {
        None => {
            let deployment = &workload.deployment;
            let replicas = deployment.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1);
            Ok((replicas, is_marked(deployment, mark)))
        }
        Some(name) => {
            let autoscaler = find(workload, name)?;
            let minimum = autoscaler.spec.as_ref().and_then(|s| s.min_replicas).unwrap_or(1);
            Ok((minimum, is_marked(autoscaler, mark)))
        }
    }
}

fn find<'a>(workload: &'a Workload, name: &str) -> Result<&'a HorizontalPodAutoscaler, String> {
    let found = workload.autoscalers.iter().find(|a| a.name_any() == name);
    found.ok_or_else(|| format!("HorizontalPodAutoscaler {name} is gone"))
}

pub fn probe(intent: &ScaleIntent, workload: &Workload, mark: &str) -> Probe {
    match present(intent, workload, mark) {
        Err(why) => Probe::Lost(why),
        Ok((number, marked)) if marked || number == intent.to => {
            Probe::Done(effect(intent, &workload.deployment.name_any()))
        }
        Ok((number, _)) if number == intent.from => Probe::NotDone,
        Ok((number, _)) => Probe::Lost(format!("somebody else changed it meanwhile, from {} to {number}", intent.from)),
    }
}

fn effect(intent: &ScaleIntent, deployment: &str) -> String {
    let ScaleIntent { from, to, autoscaler } = intent;
    match autoscaler {
        None => format!("scaled Deployment/{deployment} from {from} to {to} replicas"),
        Some(name) => format!(
            "raised minReplicas of HorizontalPodAutoscaler/{name} from {from} to {to}; it is not lowered again by itself"
        ),
    }
}

pub fn change(intent: &ScaleIntent, workload: &Workload, mark: &str) -> Result<Change, String> {
    let effect = effect(intent, &workload.deployment.name_any());
    Ok(match &intent.autoscaler {
        None => Change {
            operations: vec![
                Operation::unchanged(&workload.deployment),
                Operation::replace("/spec/replicas", intent.to.into()),
                Operation::marked(&workload.deployment, mark),
            ],
            effect,
            object: Object::Deployment(workload.deployment.name_any()),
        },
        Some(name) => {
            let autoscaler = find(workload, name)?;
            Change {
                operations: vec![
                    Operation::unchanged(autoscaler),
                    // "add" replaces as well, and minReplicas may be absent.
                    Operation::add("/spec/minReplicas", intent.to.into()),
                    Operation::marked(autoscaler, mark),
                ],
                effect,
                object: Object::HorizontalPodAutoscaler(name.clone()),
            }
        }
    })
}
