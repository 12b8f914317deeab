//! What a ServiceAccount must be allowed to carry out the steps of a response. Pure.

use crate::api::alert_response::{AlertResponseSpec, RestartPods, Step, StepAction, TargetKind};

/// One right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    pub verb: &'static str,
    pub group: &'static str,
    pub resource: &'static str,
    /// Part of the resource, or none.
    pub subresource: Option<&'static str>,
    /// Name of the object; none: any.
    pub name: Option<String>,
    /// False: of the whole cluster.
    pub namespaced: bool,
}

impl Need {
    /// `apps/deployments`, as a Role writes group and resource.
    pub fn resource(&self) -> String {
        let subresource = self.subresource.map(|s| format!("/{s}")).unwrap_or_default();
        match self.group {
            "" => format!("{}{subresource}", self.resource),
            group => format!("{group}/{}{subresource}", self.resource),
        }
    }
}

/// Changing the target.
fn patch(kind: TargetKind, name: Option<&str>) -> Need {
    let (group, resource) = match kind {
        TargetKind::Deployment => ("apps", "deployments"),
        TargetKind::StatefulSet => ("apps", "statefulsets"),
        TargetKind::DaemonSet => ("apps", "daemonsets"),
        TargetKind::Rollout => ("argoproj.io", "rollouts"),
        TargetKind::Node => ("", "nodes"),
    };
    let name = name.map(str::to_owned);
    Need { verb: "patch", group, resource, subresource: None, name, namespaced: kind != TargetKind::Node }
}

fn delete_pods() -> Need {
    Need { verb: "delete", group: "", resource: "pods", subresource: None, name: None, namespaced: true }
}

/// All that the steps need, each once. `autoscaler` scales the target: then its lower bound is what is changed.
pub fn needs(spec: &AlertResponseSpec, autoscaler: Option<&str>) -> Vec<Need> {
    let kind = spec.target.kind;
    let patch = || patch(kind, spec.target.name.as_deref().filter(|name| !name.is_empty()));
    let mut needs = vec![];
    for action in steps(spec).filter_map(Step::action) {
        match action {
            StepAction::Rollback(_) => {
                needs.push(patch());
                match kind {
                    TargetKind::Rollout => needs.push(Need { subresource: Some("status"), ..patch() }),
                    TargetKind::StatefulSet => needs.push(delete_pods()),
                    TargetKind::Deployment | TargetKind::DaemonSet | TargetKind::Node => {}
                }
            }
            StepAction::Restart(restart) => needs.push(match restart.pods {
                RestartPods::All => patch(),
                RestartPods::NotReady => delete_pods(),
            }),
            StepAction::Scale(_) => needs.push(match autoscaler {
                Some(name) => Need {
                    group: "autoscaling",
                    resource: "horizontalpodautoscalers",
                    name: Some(name.to_owned()),
                    ..patch()
                },
                None => patch(),
            }),
            StepAction::DeletePod(_) => needs.push(delete_pods()),
            StepAction::PauseRollout(_) | StepAction::Cordon(_) => needs.push(patch()),
            StepAction::Job(_) | StepAction::Diagnose(_) | StepAction::GithubIssue(_) => {}
            StepAction::GithubWorkflow(_) | StepAction::Silence(_) | StepAction::Notify(_) => {}
        }
    }
    let mut each: Vec<Need> = vec![];
    for need in needs {
        if !each.contains(&need) {
            each.push(need);
        }
    }
    each
}

/// Those that come first, and those of the fallbacks.
pub fn steps(spec: &AlertResponseSpec) -> impl Iterator<Item = &Step> {
    spec.steps.iter().chain(spec.fallback.iter().flat_map(|fallback| &fallback.steps))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needed(target: &str, steps: &str) -> Vec<String> {
        let yaml = format!("{{match: {{alert: A}}, target: {target}, steps: {steps}}}");
        let spec: AlertResponseSpec = serde_saphyr::from_str(&yaml).unwrap();
        needs(&spec, None).iter().map(|need| format!("{} {}", need.verb, need.resource())).collect()
    }

    #[test]
    fn each_step_needs_the_rights_for_what_it_changes_on_its_kind_and_no_others() {
        for (target, steps, expected) in [
            ("{name: w}", "[{rollback: {}}, {restart: {}}, {notify: {channels: [a]}}]", vec!["patch apps/deployments"]),
            ("{kind: StatefulSet, name: w}", "[{rollback: {}}]", vec!["patch apps/statefulsets", "delete pods"]),
            ("{kind: DaemonSet, name: w}", "[{rollback: {}}]", vec!["patch apps/daemonsets"]),
            (
                "{kind: Rollout, name: w}",
                "[{rollback: {}}]",
                vec!["patch argoproj.io/rollouts", "patch argoproj.io/rollouts/status"],
            ),
            ("{name: w}", "[{restart: {pods: NotReady}}, {deletePod: {}}]", vec!["delete pods"]),
            ("{kind: Node, nameFromLabel: node}", "[{cordon: {}}]", vec!["patch nodes"]),
        ] {
            assert_eq!(needed(target, steps), expected, "{target} {steps}");
        }
    }
}
