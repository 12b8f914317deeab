//! Keeps `status.active` of every ChangeFreeze, which the chart's admission policy goes by: CEL has no clock.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::try_join_all;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::Api;
use kube::core::NamespaceResourceScope;
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::watcher;
use kube::{Resource, ResourceExt};

use super::frozen::{FOUND, Seen, exempt, judge};
use crate::api::change_freeze::{FrozenKind, Workload};
use crate::api::{ChangeFreeze, Conditioned};
use crate::context::Context;
use crate::k8s::Guarded;
use crate::k8s::report::{self, ApiError, Failures, Reported};
use crate::k8s::retry::Retry;
use crate::k8s::status::{Outcome, patch};

/// Suffix of the field manager of the status.
const MANAGER: &str = "freeze-status";
/// Workloads are not watched: whether those that are named exist is looked at again at this pace.
const AGAIN: Duration = Duration::from_secs(60);
const CONCURRENCY: u16 = 4;

/// One look at a freeze.
pub async fn reconcile(context: &Context, freeze: &ChangeFreeze) -> Result<Action, ApiError> {
    let missing = missing(context, freeze).await;
    let settings = &context.settings;
    let namespace = freeze.namespace().unwrap_or_default();
    let exempt = exempt(&namespace, &settings.namespace, &settings.freeze_exempt_namespaces);
    let standing = judge(freeze, Seen { missing: missing.as_deref(), exempt }, Timestamp::now());
    let said = |type_: &str, conditions: &[Condition]| {
        conditions.iter().find(|condition| condition.type_ == type_).map(|condition| condition.reason.clone())
    };
    if patch(&context.client, MANAGER, freeze, freeze.status.as_ref(), &standing.status).await? {
        let (reason, message) = (standing.outcome.reason(), standing.outcome.message());
        let changed = said("Ready", freeze.conditions()).as_deref() != Some(reason);
        match &standing.outcome {
            _ if !changed => {}
            Outcome::Ready { .. } => report::info(context, freeze, "Freeze", reason, message).await,
            _ => report::warn(context, freeze, "Freeze", reason, message).await,
        }
        let found = standing.status.conditions.iter().find(|c| c.type_ == FOUND && c.status == "False");
        if let Some(found) = found.filter(|found| said(FOUND, freeze.conditions()).as_ref() != Some(&found.reason)) {
            report::warn(context, freeze, "Freeze", &found.reason, &found.message).await;
        }
    }
    if standing.status.active == Some(false) && standing.changes_at.is_none() {
        return Ok(Action::await_change());
    }
    // A moment that is past by now is looked at at once.
    let rest = |at: Timestamp| Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or_default();
    Ok(Action::requeue(standing.changes_at.map_or(AGAIN, |at| rest(at).min(AGAIN))))
}

/// The named workloads that do not exist; `None` when the API server does not say.
async fn missing<'a>(context: &Context, freeze: &'a ChangeFreeze) -> Option<Vec<&'a Workload>> {
    let namespace = freeze.namespace().unwrap_or_default();
    let named = freeze.spec.workloads.iter().filter(|workload| workload.name != "*");
    let lookups = named.map(async |workload| {
        let name = &workload.name;
        let exists = match workload.kind {
            FrozenKind::Deployment => exists::<Deployment>(context, &namespace, name).await,
            FrozenKind::StatefulSet => exists::<StatefulSet>(context, &namespace, name).await,
            FrozenKind::DaemonSet => exists::<DaemonSet>(context, &namespace, name).await,
        };
        exists.map(|exists| (!exists).then_some(workload))
    });
    match try_join_all(lookups).await {
        Ok(missing) => Some(missing.into_iter().flatten().collect()),
        Err(error) => {
            // A freeze is in force whether or not its workloads could be looked at.
            tracing::warn!(namespace, name = freeze.name_any(), %error, "cannot look at the workloads of a ChangeFreeze");
            None
        }
    }
}

async fn exists<K>(context: &Context, namespace: &str, name: &str) -> Result<bool, kube::Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    let api = Api::<K>::namespaced(context.client.clone(), namespace);
    Ok(api.get_metadata_opt(name).await?.is_some())
}

struct Shared {
    context: Arc<Context>,
    failures: Failures,
}

/// Begins and ends freezes until `stop` resolves.
pub async fn controller(context: Arc<Context>, stop: impl Future<Output = ()> + Send + Sync + 'static) {
    let freezes = Api::<Guarded<ChangeFreeze>>::all(context.client.clone());
    let shared = Arc::new(Shared { context, failures: Failures::default() });
    Controller::new(freezes, watcher::Config::default())
        .trigger_backoff(Retry::default())
        .with_config(Config::default().concurrency(CONCURRENCY))
        .graceful_shutdown_on(stop)
        .run(run, |freeze, _, shared| shared.failures.again(&*freeze), shared)
        // Errors are reported where they arise.
        .for_each(|_| std::future::ready(()))
        .await;
}

async fn run(object: Arc<Guarded<ChangeFreeze>>, shared: Arc<Shared>) -> Result<Action, Reported> {
    let Some(freeze) = report::alive(&object) else { return Ok(Action::await_change()) };
    let action = report::reconcile(&shared.context, freeze, reconcile(&shared.context, freeze)).await?;
    shared.failures.forget(&*object);
    Ok(action)
}
