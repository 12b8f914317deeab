//! Reads what a run's next decision rests on, from the API server and the Alertmanagers, at the moment of the decision.
//!
//! What cannot be read for a reason that may pass is an error, and the decision is put off: only what is known to be
//! missing or forbidden becomes a fact.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::ListParams;
use kube::core::Selector;
use kube::{Api, ResourceExt};

use super::alertmanagers::{Alertmanagers, stack_of};
use super::condition::Told;
use super::facts::{Asked, Facts, Known, Lookup, Workload};
use super::guard::PAUSE;
use super::prometheuses;
use crate::api::alert_response::{AlertResponse, StepAction};
use crate::api::response_run::{ALERT_SEEN_AT, ALERT_STATE, AlertState, Phase, ResponseRun};
use crate::context::Context;
use crate::k8s::Guarded;

/// An alert that was delivered so recently need not be asked for.
const JUST_DELIVERED: SignedDuration = SignedDuration::from_secs(10);

/// All facts but the other runs, which the caller reads under the lock that orders them.
pub async fn facts(
    context: &Context,
    alertmanagers: &Alertmanagers,
    run: &ResponseRun,
    now: Timestamp,
) -> Result<Facts, kube::Error> {
    let proving = run.phase() == Phase::Verifying;
    let (alert, workload, condition) =
        tokio::try_join!(alert(alertmanagers, run, now), workload(context, run), condition(context, run))?;
    if proving {
        return Ok(Facts { alert, workload, condition, ..Facts::default() });
    }
    let (response, paused_by) = tokio::try_join!(response(context, run), paused_by(context, run))?;
    let protected = is_protected(context, &run.namespace().unwrap_or_default());
    Ok(Facts { response, paused_by, protected, alert, others: vec![], workload, condition })
}

/// Namespaces whose workloads are never touched: the operator's own, and those of its settings.
pub fn is_protected(context: &Context, namespace: &str) -> bool {
    let settings = &context.settings;
    settings.namespace == namespace || settings.protected_namespaces.iter().any(|n| n == namespace)
}

/// All runs of the namespace but this one, from the API server.
pub async fn others(context: &Context, run: &ResponseRun) -> Result<Vec<ResponseRun>, kube::Error> {
    let api = Api::<Guarded<ResponseRun>>::namespaced(context.client.clone(), &run.namespace().unwrap_or_default());
    let listed = api.list(&ListParams::default()).await?;
    Ok(listed.items.into_iter().filter_map(|r| r.0.ok()).filter(|r| r.uid() != run.uid()).collect())
}

async fn response(context: &Context, run: &ResponseRun) -> Result<Option<AlertResponse>, kube::Error> {
    let api = Api::<Guarded<AlertResponse>>::namespaced(context.client.clone(), &run.namespace().unwrap_or_default());
    let found = api.get_opt(&run.spec.response_ref.name).await?;
    Ok(found.and_then(|r| r.0.ok()).filter(|r| r.metadata.deletion_timestamp.is_none()))
}

async fn paused_by(context: &Context, run: &ResponseRun) -> Result<Option<String>, kube::Error> {
    let api = Api::<Namespace>::all(context.client.clone());
    for name in [run.namespace().unwrap_or_default(), context.settings.namespace.clone()] {
        let namespace = api.get_metadata_opt(&name).await?;
        if namespace.is_some_and(|n| n.annotations().get(PAUSE).map(String::as_str) == Some("true")) {
            return Ok(Some(format!("Namespace {name}")));
        }
    }
    Ok(None)
}

async fn alert(alertmanagers: &Alertmanagers, run: &ResponseRun, now: Timestamp) -> Result<Known, kube::Error> {
    let known = delivered(run);
    let recent = known.seen_at.is_some_and(|seen| now.duration_since(seen) < JUST_DELIVERED);
    match stack_of(&run.spec.alert.source) {
        Some(stack) if !recent && known.state != AlertState::Resolved => {
            let asked = alertmanagers.ask(&stack).await?.about(&run.spec.alert.fingerprint);
            Ok(Known { asked, ..known })
        }
        _ => Ok(known),
    }
}

/// What Prometheus says of the condition that counts in this phase.
async fn condition(context: &Context, run: &ResponseRun) -> Result<Option<Told>, kube::Error> {
    let expr = match run.phase() {
        Phase::Pending => run.spec.only_if.promql.as_deref(),
        Phase::Verifying => run.spec.verify.promql.as_deref(),
        _ => None,
    };
    match expr {
        Some(expr) => prometheuses::ask(context, &run.spec.alert.source, expr).await.map(Some),
        None => Ok(None),
    }
}

/// What was delivered of the alert: the run itself was the first delivery, later ones are noted in its annotations.
pub fn delivered(run: &ResponseRun) -> Known {
    let noted = |key: &str| run.annotations().get(key);
    let state = match noted(ALERT_STATE).map(String::as_str) {
        Some("Resolved") => AlertState::Resolved,
        _ => AlertState::Firing,
    };
    let first = run.spec.alert.received_at.as_ref().map(|t| t.0);
    let seen_at = noted(ALERT_SEEN_AT).and_then(|t| t.parse().ok()).or(first);
    Known { state, seen_at, asked: Asked::NoAnswer }
}

async fn workload(context: &Context, run: &ResponseRun) -> Result<Lookup, kube::Error> {
    let name = &run.spec.target.name;
    if name.is_empty() {
        return Ok(Lookup::NotLooked);
    }
    match read(context, run, name).await {
        Ok(Some(workload)) => Ok(Lookup::Found(Box::new(workload))),
        Ok(None) => Ok(Lookup::Missing),
        Err(kube::Error::Api(status)) if status.is_forbidden() => Ok(Lookup::Failed(status.message.clone())),
        Err(error) => Err(error),
    }
}

async fn read(context: &Context, run: &ResponseRun, name: &str) -> Result<Option<Workload>, kube::Error> {
    let (client, namespace) = (&context.client, run.namespace().unwrap_or_default());
    let Some(deployment) = Api::<Deployment>::namespaced(client.clone(), &namespace).get_opt(name).await? else {
        return Ok(None);
    };
    if run.phase() == Phase::Verifying {
        return Ok(Some(Workload { deployment, ..Workload::default() }));
    }
    // A selector that cannot be read selects all of the namespace; the controller reference decides in the end.
    let selector = deployment.spec.as_ref().and_then(|s| Selector::try_from(s.selector.clone()).ok());
    let of_deployment = ListParams::default().labels_from(&selector.unwrap_or_default());
    let replica_sets = Api::<ReplicaSet>::namespaced(client.clone(), &namespace).list(&of_deployment).await?.items;
    let scales = run.spec.steps.iter().any(|s| matches!(s.action(), Some(StepAction::Scale(_))));
    let autoscalers = match scales {
        true => {
            Api::<HorizontalPodAutoscaler>::namespaced(client.clone(), &namespace)
                .list(&ListParams::default())
                .await?
                .items
        }
        false => vec![],
    };
    Ok(Some(Workload { deployment, replica_sets, autoscalers }))
}
