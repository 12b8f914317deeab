//! Whether there is something to act on, and whether it can bear it. Pure.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use kube::core::{Selector, SelectorExt};

use super::Answer;
use crate::api::alert_response::{Step, StepAction};
use crate::api::response_run::ResponseRun;
use crate::response::facts::Facts;

pub fn target(run: &ResponseRun, facts: &Facts, _: Timestamp) -> Answer {
    if let Some(problem) = &run.spec.target.problem {
        return Answer::Skip(problem.clone());
    }
    let reference = run.spec.target.reference();
    match facts.workload.found(&reference) {
        Ok(_) => Answer::Pass(reference),
        Err(why) => Answer::Skip(why),
    }
}

pub fn min_ready(run: &ResponseRun, facts: &Facts, _: Timestamp) -> Answer {
    let Some(limit) = &run.spec.guardrails.min_ready else { return Answer::Pass(String::new()) };
    let reference = run.spec.target.reference();
    let workload = match facts.workload.found(&reference) {
        Ok(workload) => workload,
        Err(why) => return Answer::Skip(why),
    };
    let (wanted, available) = (workload.object.replicas(), workload.object.available());
    let limit = match limit {
        IntOrString::Int(number) => number.to_string(),
        IntOrString::String(share) => share.clone(),
    };
    match run.spec.guardrails.min_ready_of(wanted) {
        Some(least) if available >= least => {
            Answer::Pass(format!("{available} of {wanted} replicas available, at least {least}"))
        }
        Some(least) => Answer::Skip(format!(
            "{available} of {wanted} replicas of {reference} are available, minReady {limit} asks for {least}"
        )),
        None => Answer::Skip(format!("minReady {limit:?} cannot be read")),
    }
}

/// A PodDisruptionBudget binds whoever evicts; a deletion walks around it. So it is asked before a pod that serves is
/// deleted. One that is not ready takes nothing away, and rollouts keep to their own strategy, as they do for everybody.
pub fn disruption(run: &ResponseRun, facts: &Facts, _: Timestamp) -> Answer {
    let Some(pod) = facts.around.pod.as_ref().filter(|pod| deletes_now(run) && is_ready(pod)) else {
        return Answer::Pass(String::new());
    };
    let spent = |budget: &&PodDisruptionBudget| {
        selects(budget, pod) && budget.status.as_ref().is_none_or(|status| status.disruptions_allowed < 1)
    };
    match facts.around.budgets.iter().find(spent) {
        Some(budget) => Answer::Skip(format!(
            "PodDisruptionBudget {} allows no disruption now ({}), and pod {} is ready: deleting it would take one more away",
            budget.name_any(),
            budget.status.as_ref().map_or("it was not judged yet".to_owned(), |status| format!(
                "{} of {} pods are healthy, {} must be",
                status.current_healthy, status.expected_pods, status.desired_healthy
            )),
            pod.name_any(),
        )),
        None => Answer::Pass(String::new()),
    }
}

/// Whether the step that is next deletes the alert's pod; before the first step, whether one of them does.
fn deletes_now(run: &ResponseRun) -> bool {
    let deletes = |step: &Step| matches!(step.action(), Some(StepAction::DeletePod(_)));
    let steps = run.status.as_ref().map(|status| status.steps.as_slice()).unwrap_or_default();
    match steps.iter().position(|step| !step.state.is_finished()) {
        Some(number) => run.steps().nth(number).is_some_and(deletes),
        None => run.spec.steps.iter().any(deletes),
    }
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    pod.metadata.deletion_timestamp.is_none() && conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True")
}

fn selects(budget: &PodDisruptionBudget, pod: &Pod) -> bool {
    // In policy/v1 an empty selector selects every pod, and an absent one none.
    let Some(selector) = budget.spec.as_ref().and_then(|spec| spec.selector.clone()) else { return false };
    Selector::try_from(selector).is_ok_and(|selector| selector.matches(pod.labels()))
}
