//! Another number of replicas; where an autoscaler rules, another lower bound for it.

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::ResourceExt;

use super::{Change, Operation, Patched, Plan, Probe, UndoPlan, gitops, is_marked};
use crate::api::alert_response::{Gitops, Scale, TargetKind};
use crate::api::response_run::{Intent, ScaleIntent};
use crate::k8s::workload::{Object, gitops_owner};
use crate::response::facts::Workload;

pub fn plan(step: &Scale, git: Gitops, workload: &Workload) -> Plan {
    let object = &workload.object;
    let title = object.title();
    if let Object::DaemonSet(_) | Object::Node(_) = object {
        return Plan::Refuse(format!("{title} has no number of replicas to change"));
    }
    let replicas = object.replicas();
    if replicas == 0 {
        return Plan::Refuse(format!("{title} is scaled to 0: somebody turned it off"));
    }
    let wanted = match (step.to, step.by) {
        (Some(to), _) => to,
        (None, Some(by)) => replicas.saturating_add(by),
        (None, None) => return Plan::Refuse("scale has neither to nor by".into()),
    };
    let wanted = wanted.min(step.max.unwrap_or(i32::MAX)).max(1);
    if step.by.is_some_and(|by| by > 0) && wanted <= replicas {
        return Plan::NotApplicable(format!("{title} has {replicas} replicas, the most that max allows"));
    }
    match autoscaler(workload) {
        Some(autoscaler) => raise_minimum(autoscaler, git, wanted, &title),
        None if wanted == replicas => Plan::NotApplicable(format!("{title} has {replicas} replicas already")),
        None => match gitops::refusal(git, gitops_owner(object.metadata()), &title) {
            Some(why) => Plan::Refuse(why),
            None => intend(
                replicas,
                wanted,
                None,
                format!("scale {} from {replicas} to {wanted} replicas", object.reference()),
            ),
        },
    }
}

fn raise_minimum(autoscaler: &HorizontalPodAutoscaler, git: Gitops, wanted: i32, title: &str) -> Plan {
    let name = autoscaler.name_any();
    if autoscaler.owner_references().iter().any(|r| r.kind == "ScaledObject") {
        return Plan::Refuse(format!(
            "{title} is scaled by KEDA, which would put the change of its autoscaler {name} back: change the ScaledObject"
        ));
    }
    let Some(spec) = &autoscaler.spec else {
        return Plan::Refuse(format!("HorizontalPodAutoscaler {name} has no spec"));
    };
    let (minimum, maximum) = (spec.min_replicas.unwrap_or(1), spec.max_replicas);
    let current = autoscaler.status.as_ref().and_then(|status| status.current_replicas).unwrap_or(minimum);
    if minimum.max(current) >= maximum {
        return Plan::NotApplicable(format!(
            "HorizontalPodAutoscaler {name} is at its maximum of {maximum} replicas: only a higher maxReplicas would add any"
        ));
    }
    let wanted = wanted.min(maximum);
    if wanted <= minimum {
        return Plan::NotApplicable(format!(
            "HorizontalPodAutoscaler {name} keeps {minimum} to {maximum} replicas: nothing to raise"
        ));
    }
    let title = format!("HorizontalPodAutoscaler {name}");
    if let Some(why) = gitops::refusal(git, gitops_owner(&autoscaler.metadata), &title) {
        return Plan::Refuse(why);
    }
    let summary = format!("raise minReplicas of HorizontalPodAutoscaler/{name} from {minimum} to {wanted}");
    intend(minimum, wanted, Some(name), summary)
}

fn intend(from: i32, to: i32, autoscaler: Option<String>, summary: String) -> Plan {
    let intent = Intent { scale: Some(ScaleIntent { from, to, autoscaler }), ..Intent::default() };
    Plan::Do { intent, evidence: vec![], summary }
}

fn autoscaler(workload: &Workload) -> Option<&HorizontalPodAutoscaler> {
    autoscaler_of(workload.object.kind(), workload.object.name(), &workload.autoscalers)
}

/// The one that scales the workload: by kind, name and group.
pub fn autoscaler_of<'a>(
    kind: TargetKind,
    name: &str,
    autoscalers: &'a [HorizontalPodAutoscaler],
) -> Option<&'a HorizontalPodAutoscaler> {
    let group = match kind {
        TargetKind::Rollout => "argoproj.io/",
        TargetKind::Deployment | TargetKind::StatefulSet | TargetKind::DaemonSet | TargetKind::Node => "apps/",
    };
    autoscalers.iter().find(|a| {
        a.spec.as_ref().is_some_and(|s| {
            let target = &s.scale_target_ref;
            target.kind == kind.as_str()
                && target.name == name
                && target.api_version.as_deref().is_none_or(|v| v.starts_with(group))
        })
    })
}

/// The object of an intent: its present number, and whether it bears the mark.
fn present(intent: &ScaleIntent, workload: &Workload, mark: &str) -> Result<(i32, bool), String> {
    match &intent.autoscaler {
        None => Ok((workload.object.replicas(), is_marked(workload.object.metadata(), mark))),
        Some(name) => {
            let autoscaler = find(workload, name)?;
            let minimum = autoscaler.spec.as_ref().and_then(|s| s.min_replicas).unwrap_or(1);
            Ok((minimum, is_marked(&autoscaler.metadata, mark)))
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
        Ok((number, marked)) if marked || number == intent.to => Probe::Done(effect(intent, &workload.object)),
        Ok((number, _)) if number == intent.from => Probe::NotDone,
        Ok((number, _)) => Probe::Lost(format!("somebody else changed it meanwhile, from {} to {number}", intent.from)),
    }
}

/// The old number again, if nobody has set another one since.
pub fn undo(intent: &ScaleIntent, workload: &Workload, mark: &str) -> UndoPlan {
    let back = ScaleIntent { from: intent.to, to: intent.from, autoscaler: intent.autoscaler.clone() };
    match probe(&back, workload, mark) {
        Probe::Done(words) => UndoPlan::Done(words),
        Probe::Lost(why) => UndoPlan::GiveUp(why),
        Probe::NotDone => match change(&back, workload, mark) {
            Ok(change) => UndoPlan::Change(change),
            Err(why) => UndoPlan::GiveUp(why),
        },
    }
}

fn effect(intent: &ScaleIntent, object: &Object) -> String {
    let ScaleIntent { from, to, autoscaler } = intent;
    match autoscaler {
        None => format!("scaled {} from {from} to {to} replicas", object.reference()),
        Some(name) => {
            let verb = if to > from { "raised" } else { "lowered" };
            format!("{verb} minReplicas of HorizontalPodAutoscaler/{name} from {from} to {to}")
        }
    }
}

pub fn change(intent: &ScaleIntent, workload: &Workload, mark: &str) -> Result<Change, String> {
    let effect = effect(intent, &workload.object);
    let (patched, field, metadata) = match &intent.autoscaler {
        None => (Patched::workload(&workload.object), "/spec/replicas", workload.object.metadata()),
        Some(name) => {
            let autoscaler = find(workload, name)?;
            (Patched::HorizontalPodAutoscaler(name.clone()), "/spec/minReplicas", &autoscaler.metadata)
        }
    };
    let operations = vec![
        Operation::unchanged(metadata),
        // "add" replaces as well, and the number may be absent.
        Operation::add(field, intent.to.into()),
        Operation::marked(metadata, mark),
    ];
    Ok(Change::patch(patched, operations, effect))
}

#[cfg(test)]
mod at_its_limits {
    use serde_json::json;

    use super::*;

    fn plan(minimum: i32, current: i32, maximum: i32, labels: serde_json::Value) -> Plan {
        let deployment =
            json!({"metadata": {"name": "web"}, "spec": {"replicas": current, "selector": {}, "template": {}}});
        let autoscaler = json!({
            "metadata": {"name": "web-scaler", "labels": labels},
            "spec": {"minReplicas": minimum, "maxReplicas": maximum, "scaleTargetRef": {"kind": "Deployment", "name": "web"}},
            "status": {"currentReplicas": current, "desiredReplicas": current},
        });
        let workload = Workload {
            object: Object::Deployment(Box::new(serde_json::from_value(deployment).unwrap())),
            autoscalers: vec![serde_json::from_value(autoscaler).unwrap()],
            ..Workload::default()
        };
        super::plan(&Scale { to: Some(8), ..Scale::default() }, Gitops::Respect, &workload)
    }

    #[test]
    fn an_autoscaler_at_its_maximum_is_left_alone_in_words_that_say_what_would_help() {
        let words = "HorizontalPodAutoscaler web-scaler is at its maximum of 6 replicas: only a higher maxReplicas would add any";
        for (minimum, current) in [(2, 6), (6, 6), (6, 4)] {
            assert_eq!(plan(minimum, current, 6, json!({})), Plan::NotApplicable(words.into()), "{minimum} {current}");
        }
        let Plan::Do { intent, .. } = plan(2, 3, 6, json!({})) else { panic!("there is room") };
        assert_eq!(intent.scale.unwrap().to, 6);
    }

    #[test]
    fn an_autoscaler_that_git_keeps_is_left_alone() {
        let Plan::Refuse(why) = plan(2, 3, 6, json!({"kustomize.toolkit.fluxcd.io/name": "shop"})) else { panic!() };
        assert!(why.starts_with("HorizontalPodAutoscaler web-scaler is kept by Flux Kustomization shop"), "{why}");
    }
}
