//! Reads what goes on around the target of a run: freezes, error budgets, the pod that would be deleted, how many
//! workloads there are.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use tokio::sync::watch;

use super::condition::{Burn, Told, judge_burn};
use super::facts::Around;
use crate::api::alert_response::{Step, StepAction};
use crate::api::response_run::{Phase, ResponseRun};
use crate::context::Context;
use crate::k8s::meta::is_object_name;
use crate::slo::caches::Caches;
use crate::slo::standing::All;

/// How long a count of workloads is good enough to let a run act, and to hold one back: that is final.
pub const COUNT_PASSES: Duration = Duration::from_secs(10);
pub const COUNT_HOLDS: Duration = Duration::from_secs(1);

/// What the leader keeps in memory anyway.
#[derive(Clone)]
pub struct Nearby {
    /// ChangeFreezes and SLOs.
    pub caches: Arc<Caches>,
    /// Where SLOs stand.
    pub standings: watch::Receiver<All>,
}

/// What a run that is about to act must know; nothing for one that is not.
pub async fn around(context: &Context, nearby: &Nearby, run: &ResponseRun) -> Result<Around, kube::Error> {
    let namespace = run.namespace().unwrap_or_default();
    if !matches!(run.phase(), Phase::Pending | Phase::Running) {
        return Ok(Around::default());
    }
    let freezes = nearby.caches.freezes(&namespace);
    let Some(name) = pod(run) else { return Ok(Around { freezes, ..Around::default() }) };
    let pods = Api::<Pod>::namespaced(context.client.clone(), &namespace);
    let budgets = Api::<PodDisruptionBudget>::namespaced(context.client.clone(), &namespace);
    let all = ListParams::default();
    let (pod, budgets) = tokio::try_join!(pods.get_opt(name), budgets.list(&all))?;
    Ok(Around { freezes, pod, budgets: budgets.items, ..Around::default() })
}

/// Name of the pod that a step would delete.
fn pod(run: &ResponseRun) -> Option<&str> {
    let label = run.steps().filter_map(Step::action).find_map(|action| match action {
        StepAction::DeletePod(step) => Some(&step.name_from_label),
        _ => None,
    })?;
    run.spec.alert.labels.get(label).map(String::as_str).filter(|name| is_object_name(name))
}

/// What is known of the SLO that counts in this phase.
pub fn slo(nearby: &Nearby, run: &ResponseRun) -> Option<Told> {
    let (name, limit) = match run.phase() {
        Phase::Pending => run.spec.only_if.slo.as_ref().map(|slo| (&slo.name, Burn::Above(slo.burn_above)))?,
        Phase::Verifying => run.spec.verify.slo.as_ref().map(|slo| (&slo.name, Burn::Below(slo.burn_below)))?,
        _ => return None,
    };
    let namespace = run.namespace().unwrap_or_default();
    if !nearby.caches.slos(&namespace).iter().any(|slo| slo.name_any() == *name) {
        return Some(Told::NoData(format!("SLO {name} does not exist in this namespace")));
    }
    let all = nearby.standings.borrow();
    let Some(standing) = all.get(&(namespace, name.clone())) else {
        // It is measured every 15 s, also after the operator has started.
        return Some(Told::NoAnswer(format!("SLO {name} has not been measured yet")));
    };
    Some(judge_burn(name, standing.budget.and_then(|budget| budget.burn_rates[0]), limit))
}

/// How many workloads a namespace has. In a storm many ask at the same time.
#[derive(Default)]
pub struct Workloads(Mutex<HashMap<String, (Instant, usize)>>);

impl Workloads {
    /// Counted no longer ago than `fresh`.
    pub async fn of(&self, context: &Context, namespace: &str, fresh: Duration) -> Result<usize, kube::Error> {
        // A poisoned lock would only mean that another run panicked while it looked.
        let known = || self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((_, count)) = known().get(namespace).filter(|(at, _)| at.elapsed() < fresh) {
            return Ok(*count);
        }
        let (client, all) = (&context.client, ListParams::default());
        let (deployments, stateful_sets, daemon_sets) = (
            Api::<Deployment>::namespaced(client.clone(), namespace),
            Api::<StatefulSet>::namespaced(client.clone(), namespace),
            Api::<DaemonSet>::namespaced(client.clone(), namespace),
        );
        let (deployments, stateful_sets, daemon_sets) = tokio::try_join!(
            deployments.list_metadata(&all),
            stateful_sets.list_metadata(&all),
            daemon_sets.list_metadata(&all)
        )?;
        let count = deployments.items.len() + stateful_sets.items.len() + daemon_sets.items.len();
        let mut known = known();
        known.retain(|_, (at, _)| at.elapsed() < COUNT_PASSES);
        known.insert(namespace.to_owned(), (Instant::now(), count));
        Ok(count)
    }
}
