//! Keeps `status.active` of every ChangeFreeze, which the chart's admission policy goes by: CEL has no clock.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use kube::api::Api;
use kube::core::DeserializeGuard;
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::watcher;
use kube::{Resource, ResourceExt};

use super::frozen::judge;
use crate::api::{ChangeFreeze, Conditioned};
use crate::context::Context;
use crate::k8s::report::{self, ApiError, Failures, Reported};
use crate::k8s::retry::Retry;
use crate::k8s::status::{Outcome, patch};

/// Suffix of the field manager of the status.
const MANAGER: &str = "freeze-status";
/// Timers reach two years at most; a freeze is looked at again at this pace whatever its end.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
const CONCURRENCY: u16 = 4;

/// One look at a freeze.
pub async fn reconcile(context: &Context, freeze: &ChangeFreeze) -> Result<Action, ApiError> {
    let standing = judge(freeze, Timestamp::now());
    let before = freeze.conditions().iter().find(|c| c.type_ == "Ready").map(|c| c.reason.as_str());
    let wrote = patch(&context.client, MANAGER, freeze, freeze.status.as_ref(), &standing.status).await?;
    let (reason, message) = (standing.outcome.reason(), standing.outcome.message());
    if wrote && before != Some(reason) {
        match &standing.outcome {
            Outcome::Ready { .. } => report::info(context, freeze, "Freeze", reason, message).await,
            _ => report::warn(context, freeze, "Freeze", reason, message).await,
        }
    }
    let Some(at) = standing.changes_at else { return Ok(Action::await_change()) };
    // What is over by now is looked at once more at once.
    let rest = Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or_default();
    Ok(Action::requeue(rest.min(LONGEST)))
}

type Guarded = DeserializeGuard<ChangeFreeze>;

struct Shared {
    context: Arc<Context>,
    failures: Failures,
}

/// Begins and ends freezes until `stop` resolves.
pub async fn controller(context: Arc<Context>, stop: impl Future<Output = ()> + Send + Sync + 'static) {
    let freezes = Api::<Guarded>::all(context.client.clone());
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

async fn run(object: Arc<Guarded>, shared: Arc<Shared>) -> Result<Action, Reported> {
    let freeze = match &object.0 {
        Ok(freeze) => freeze,
        Err(invalid) => {
            let (namespace, name) = (object.namespace(), object.name_any());
            tracing::warn!(namespace, name, error = %invalid, "a ChangeFreeze cannot be read");
            return Ok(Action::await_change());
        }
    };
    if freeze.meta().deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let action = report::reconcile(&shared.context, freeze, reconcile(&shared.context, freeze)).await?;
    shared.failures.forget(&*object);
    Ok(action)
}
