//! Keeps ErrorBudgetPolicies: which thresholds are in force, and what follows from them. The intent is written to the
//! status first, then come the effects.

mod pass;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt, stream};
use jiff::Timestamp;
use kube::ResourceExt;
use kube::api::Api;
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use tokio::sync::watch;

use self::pass::Pass;
use super::caches::{Caches, within};
use super::effects::Retries;
use super::recorded::Recorded;
use super::standing::All;
use crate::api::ErrorBudgetPolicy;
use crate::api::error_budget_policy::ErrorBudgetPolicyStatus;
use crate::context::{Context, stopped};
use crate::k8s::Guarded;
use crate::k8s::apply::ApplyError;
use crate::k8s::meta::Owner;
use crate::k8s::report::{self, Failures, Reportable, Reported};
use crate::k8s::retry::Retry;
use crate::response::stores::Stores;

const CONCURRENCY: u16 = 4;

#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    #[error("cannot write the status: {}", report::words(.0))]
    Status(Box<kube::Error>),
    #[error(transparent)]
    Children(#[from] ApplyError),
}

impl Reportable for PolicyError {
    fn reason(&self) -> &'static str {
        match self {
            Self::Status(_) => "ApiError",
            Self::Children(error) => error.reason(),
        }
    }
}

/// What is known of one policy beyond its status.
#[derive(Default)]
struct Memory {
    /// The status as it was written last: the cache may be behind it.
    status: Option<ErrorBudgetPolicyStatus>,
    wrote: Option<Instant>,
    spent: Option<Instant>,
    /// The report that is known to be in the ConfigMap.
    reported: Option<Timestamp>,
    retries: Retries,
}

struct Shared {
    context: Arc<Context>,
    caches: Arc<Caches>,
    stores: Arc<Stores>,
    standings: watch::Receiver<All>,
    policies: Store<Guarded<ErrorBudgetPolicy>>,
    recorded: Recorded,
    failures: Failures,
    memory: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Memory>>>>,
}

/// Works until told to stop.
pub async fn controller(
    context: Arc<Context>,
    caches: Arc<Caches>,
    stores: Arc<Stores>,
    standings: watch::Receiver<All>,
    stop: watch::Receiver<bool>,
) {
    let changes = caches.changes();
    tokio::select! {
        () = caches.filled() => {}
        () = stopped(stop.clone()) => return,
    }
    let controller =
        Controller::new(Api::<Guarded<ErrorBudgetPolicy>>::all(context.client.clone()), watcher::Config::default());
    let store = controller.store();
    let policies = store.clone();
    let changed = changes.flat_map(move |namespace| stream::iter(within(&store, namespace.as_deref())));
    let measured = measured(standings.clone()).flat_map(stream::iter);
    let shared = Shared {
        context,
        caches,
        stores,
        standings,
        policies,
        recorded: Recorded::default(),
        failures: Failures::default(),
        memory: Mutex::default(),
    };
    controller
        .reconcile_on(stream::select(changed, measured))
        .trigger_backoff(Retry::default())
        .with_config(Config::default().concurrency(CONCURRENCY).debounce(Duration::from_millis(300)))
        .graceful_shutdown_on(stopped(stop))
        .run(run, |policy, _, shared| shared.failures.again(&*policy), Arc::new(shared))
        // Errors are reported where they arise.
        .for_each(|_| std::future::ready(()))
        .await;
}

/// Policies whose SLOs stand elsewhere than before.
fn measured(standings: watch::Receiver<All>) -> impl Stream<Item = Vec<ObjectRef<Guarded<ErrorBudgetPolicy>>>> + Send {
    stream::unfold((standings, All::default()), |(mut standings, before)| async move {
        standings.changed().await.ok()?;
        let now = standings.borrow_and_update().clone();
        let moved: BTreeSet<(String, String)> = now
            .iter()
            .filter(|(key, standing)| before.get(*key) != Some(*standing))
            .chain(before.iter().filter(|(key, _)| !now.contains_key(*key)))
            .filter_map(|((namespace, _), standing)| Some((namespace.clone(), standing.policy.clone()?)))
            .collect();
        let refs = moved.into_iter().map(|(namespace, name)| ObjectRef::new(&name).within(&namespace)).collect();
        Some((refs, (standings, now)))
    })
}

async fn run(object: Arc<Guarded<ErrorBudgetPolicy>>, shared: Arc<Shared>) -> Result<Action, Reported> {
    let Some(policy) = report::alive(&object) else { return Ok(Action::await_change()) };
    let action = report::reconcile(&shared.context, policy, reconcile(&shared, policy)).await?;
    shared.failures.forget(&*object);
    Ok(action)
}

async fn reconcile(shared: &Shared, policy: &ErrorBudgetPolicy) -> Result<Action, PolicyError> {
    let Some(owner) = Owner::of(policy) else { return Ok(Action::await_change()) };
    let memory = shared.memory_of(&owner.uid);
    // Held for the whole pass, and current even when that is cut off.
    let mut memory = memory.lock().await;
    let mut slos = shared.caches.slos(&owner.namespace);
    slos.retain(|slo| slo.spec.policy_ref.as_ref().is_some_and(|reference| reference.name == owner.name));
    let all = shared.standings.borrow().clone();
    let pass = Pass { shared, policy, owner, slos, all, now: Timestamp::now() };
    match pass.work(&mut memory).await {
        // Gone, or another one of this name.
        Err(PolicyError::Status(error)) if matches!(&*error, kube::Error::Api(s) if matches!(s.code, 404 | 409)) => {
            Ok(Action::await_change())
        }
        other => other,
    }
}

impl Shared {
    fn memory_of(&self, uid: &str) -> Arc<tokio::sync::Mutex<Memory>> {
        let mut all = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if !all.contains_key(uid) {
            let there: BTreeSet<String> = self.policies.state().iter().filter_map(|policy| policy.uid()).collect();
            all.retain(|uid, _| there.contains(uid));
        }
        all.entry(uid.to_owned()).or_default().clone()
    }
}
