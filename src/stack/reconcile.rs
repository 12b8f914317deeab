//! One pass over a stack: gather, validate, build, apply, observe, status. And the controller that calls it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleBinding};
use kube::api::Api;
use kube::core::PartialObjectMeta;
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use kube::{Resource, ResourceExt};

use super::apply::{self, StackApplyError};
use super::build::{self, BuildError};
use super::discovery::follows_namespaces;
use super::gather::{self, GatherError};
use super::observe;
use super::observed::StackObservations;
use super::status::{self, Facts};
use super::validate::validate;
use super::{finalize, names, workloads};
use crate::api::monitoring_stack::MonitoringStackStatus;
use crate::api::{Conditioned, MonitoringStack, NotificationChannel};
use crate::context::Context;
use crate::k8s::Guarded;
use crate::k8s::meta::{Owner, SET};
use crate::k8s::report::{self, Failures, Reportable, Reported};
use crate::k8s::retry::Retry;
use crate::k8s::status::{Outcome, patch};

/// Suffix of the field manager of the status.
const MANAGER: &str = "stack-status";
/// Pace while nothing changes: counts of targets, and Secrets, which are not watched.
const STEADY: Duration = Duration::from_secs(60);
/// Pace while something is under way that no watch tells of.
const UNDER_WAY: Duration = Duration::from_secs(3);
/// Pace while the targets of a new Prometheus are being found, or something is amiss.
const YOUNG: Duration = Duration::from_secs(10);
/// So long a Prometheus is new.
const GROWS_UP: Duration = Duration::from_secs(90);
/// The children of a new stack come as a burst of events.
const DEBOUNCE: Duration = Duration::from_millis(200);
const CONCURRENCY: u16 = 4;

#[derive(Debug, thiserror::Error)]
pub enum StackError {
    #[error("a MonitoringStack without namespace or UID did not come from the API server")]
    NoOwner,
    #[error(transparent)]
    Gather(#[from] GatherError),
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error(transparent)]
    Apply(#[from] StackApplyError),
    #[error("cannot {what}: {}", report::words(.error))]
    Api { what: &'static str, error: Box<kube::Error> },
}

impl Reportable for StackError {
    fn reason(&self) -> &'static str {
        match self {
            Self::NoOwner | Self::Build(_) => "InternalError",
            Self::Gather(error) => error.reason(),
            Self::Apply(error) => error.reason(),
            Self::Api { .. } => "ApiError",
        }
    }
}

fn api_error(what: &'static str) -> impl FnOnce(kube::Error) -> StackError {
    move |error| StackError::Api { what, error: Box::new(error) }
}

/// One pass. Whatever comes of it stands in the status; an error is returned besides.
pub async fn reconcile(
    context: &Context,
    stack: &MonitoringStack,
    memory: &StackObservations,
) -> Result<Action, StackError> {
    let owner = Owner::of(stack).ok_or(StackError::NoOwner)?;
    if stack.metadata.deletion_timestamp.is_some() {
        return release(context, stack, &owner, memory).await;
    }
    if stack.spec.paused {
        let message = "spec.paused is true: nothing is written; set it to false to go on".to_owned();
        return hold(context, stack, Outcome::Stalled { reason: "Paused", message }).await;
    }
    let result = pass(context, stack, owner, memory).await;
    if let Err(error) = &result {
        let outcome = Outcome::Failing { reason: error.reason(), message: report::chain(error) };
        // The error itself is what the caller must hear of, also when it cannot be written down.
        let _ = hold(context, stack, outcome).await;
    }
    result
}

async fn pass(
    context: &Context,
    object: &MonitoringStack,
    owner: Owner,
    memory: &StackObservations,
) -> Result<Action, StackError> {
    let (home, known) = gather::gather(context, object, owner).await?;
    let (stack, mut problems) = match validate(&object.spec, home, known) {
        Ok(checked) => checked,
        Err(refused) => {
            let outcome = Outcome::Stalled { reason: refused.reason(), message: refused.to_string() };
            return hold(context, object, outcome).await;
        }
    };
    let plan = build::build(&stack)?;
    let (revisions, parts) = (plan.revisions.clone(), plan.parts.clone());
    let (applied, more) = apply::apply(context, object, &stack, plan).await?;
    problems.extend(more);
    let workloads = workloads::of(&applied);
    let seen = observe::observe(context, &stack.owner, &workloads, &revisions, memory).await;
    let seen = seen.map_err(api_error("look at the pods"))?;
    let rules = memory.rules(&stack.owner.namespace, &stack.owner.name);
    let slos = memory.slos(&stack.owner.namespace, &stack.owner.name);
    let facts =
        Facts { stack: &stack, parts: &parts, workloads: &workloads, problems: &problems, seen: &seen, rules, slos };
    let now = Timestamp::now();
    let (status, outcome) = status::status(&facts, object.status.as_ref(), object.metadata.generation, now);
    write(context, object, &status, &outcome).await?;
    let all_well = status.components.iter().all(|component| component.message.is_none());
    let young = seen
        .pods
        .iter()
        .filter_map(|pod| pod.started)
        .max()
        .is_some_and(|started| Duration::try_from(now.duration_since(started)).is_ok_and(|age| age < GROWS_UP));
    Ok(Action::requeue(match outcome {
        Outcome::Progressing { .. } => UNDER_WAY,
        // A Secret or a channel may come in a moment.
        Outcome::Failing { .. } => YOUNG,
        _ if young || !all_well => YOUNG,
        _ => STEADY,
    }))
}

/// Nothing is applied: the status keeps what it had and says why.
async fn hold(context: &Context, stack: &MonitoringStack, outcome: Outcome) -> Result<Action, StackError> {
    let status = status::held(&outcome, stack.status.as_ref(), stack.metadata.generation, Timestamp::now());
    write(context, stack, &status, &outcome).await?;
    Ok(Action::requeue(STEADY))
}

/// Writes the status where it differs, and an Event where the outcome is another one.
async fn write(
    context: &Context,
    stack: &MonitoringStack,
    status: &MonitoringStackStatus,
    outcome: &Outcome,
) -> Result<(), StackError> {
    let wrote = patch(&context.client, MANAGER, stack, stack.status.as_ref(), status).await;
    let wrote = wrote.map_err(api_error("write the status"))?;
    let ready = |status: &[k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition]| {
        status.iter().find(|c| c.type_ == "Ready").map(|c| (c.status.clone(), c.reason.clone()))
    };
    if wrote && ready(stack.conditions()) != ready(&status.conditions) {
        let (reason, message) = (outcome.reason(), outcome.message());
        tracing::info!(namespace = stack.namespace(), stack = stack.name_any(), reason, message, "stack");
        match outcome {
            Outcome::Failing { .. } | Outcome::Stalled { .. } => {
                report::warn(context, stack, "Reconcile", reason, message).await;
            }
            _ => report::info(context, stack, "Reconcile", reason, message).await,
        }
    }
    Ok(())
}

/// The stack is being deleted: what no garbage collector takes goes first.
async fn release(
    context: &Context,
    stack: &MonitoringStack,
    owner: &Owner,
    memory: &StackObservations,
) -> Result<Action, StackError> {
    memory.forget(&owner.namespace, &owner.name);
    if stack.finalizers().iter().any(|f| f == finalize::FINALIZER) {
        context.writer.release(owner, apply::SET).await.map_err(StackApplyError::Children)?;
        finalize::set(context, stack, false).await.map_err(StackApplyError::finalizer)?;
    }
    Ok(Action::await_change())
}

struct Shared {
    context: Arc<Context>,
    memory: StackObservations,
    failures: Failures,
}

/// Keeps every stack in order until `stop` resolves. `changes` names stacks whose counts of rules have changed.
pub async fn controller(
    context: Arc<Context>,
    memory: StackObservations,
    changes: impl Stream<Item = ObjectRef<MonitoringStack>> + Send + 'static,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let client = &context.client;
    let children = || watcher::Config::default().labels(&format!("{SET}={}", apply::SET));
    let controller = Controller::new(Api::<Guarded<MonitoringStack>>::all(client.clone()), watcher::Config::default())
        .trigger_backoff(Retry::default())
        .with_config(Config::default().debounce(DEBOUNCE).concurrency(CONCURRENCY));
    let (of_channel, of_namespace, of_dashboard) = (controller.store(), controller.store(), controller.store());
    let dashboards = watcher::Config::default().labels(names::DASHBOARD_LABEL);
    let shared = Arc::new(Shared { context: context.clone(), memory, failures: Failures::default() });
    controller
        .owns(Api::<StatefulSet>::all(client.clone()), children())
        .owns(Api::<DaemonSet>::all(client.clone()), children())
        .owns(Api::<Deployment>::all(client.clone()), children())
        .owns(Api::<ConfigMap>::all(client.clone()), children())
        .owns(Api::<Secret>::all(client.clone()), children())
        .owns(Api::<Service>::all(client.clone()), children())
        .owns(Api::<ServiceAccount>::all(client.clone()), children())
        .owns(Api::<PodDisruptionBudget>::all(client.clone()), children())
        .owns(Api::<Ingress>::all(client.clone()), children())
        .watches(Api::<PartialObjectMeta<RoleBinding>>::all(client.clone()), children(), |b| bound(&b))
        .watches(Api::<PartialObjectMeta<ClusterRoleBinding>>::all(client.clone()), children(), |b| bound(&b))
        .watches(
            Api::<PartialObjectMeta<NotificationChannel>>::all(client.clone()),
            watcher::Config::default(),
            move |channel| beside(&of_channel, channel.namespace().as_deref()),
        )
        .watches(Api::<PartialObjectMeta<Namespace>>::all(client.clone()), watcher::Config::default(), move |_| {
            following(&of_namespace)
        })
        .watches(Api::<PartialObjectMeta<ConfigMap>>::all(client.clone()), dashboards, move |_| showing(&of_dashboard))
        .reconcile_on(changes.map(|stack| guarded(&stack.name, stack.namespace.as_deref())))
        .graceful_shutdown_on(stop)
        .run(run, |object, _, shared| shared.failures.again(&*object), shared)
        // Errors are reported where they arise.
        .for_each(|_| std::future::ready(()))
        .await;
}

async fn run(object: Arc<Guarded<MonitoringStack>>, shared: Arc<Shared>) -> Result<Action, Reported> {
    let Some(stack) = report::decoded(&object) else { return Ok(Action::await_change()) };
    let action = report::reconcile(&shared.context, stack, reconcile(&shared.context, stack, &shared.memory)).await?;
    shared.failures.forget(&*object);
    Ok(action)
}

fn guarded(name: &str, namespace: Option<&str>) -> ObjectRef<Guarded<MonitoringStack>> {
    let reference = ObjectRef::new(name);
    match namespace {
        Some(namespace) => reference.within(namespace),
        None => reference,
    }
}

/// The stack of a binding, which its name carries.
fn bound<K: Resource>(binding: &K) -> Option<ObjectRef<Guarded<MonitoringStack>>> {
    names::bound(&binding.name_any()).map(|(namespace, stack)| guarded(stack, Some(namespace)))
}

/// The stacks of a namespace.
fn beside(
    stacks: &Store<Guarded<MonitoringStack>>,
    namespace: Option<&str>,
) -> Vec<ObjectRef<Guarded<MonitoringStack>>> {
    let all = stacks.state();
    all.iter().filter(|s| s.namespace().as_deref() == namespace).map(|s| ObjectRef::from_obj(&**s)).collect()
}

/// The stacks whose discovery depends on the labels of namespaces.
fn following(stacks: &Store<Guarded<MonitoringStack>>) -> Vec<ObjectRef<Guarded<MonitoringStack>>> {
    let follows =
        |s: &Guarded<MonitoringStack>| s.0.as_ref().is_ok_and(|s| follows_namespaces(s.spec.discovery.as_ref()));
    stacks.state().iter().filter(|s| follows(s)).map(|s| ObjectRef::from_obj(&**s)).collect()
}

/// The stacks that show dashboards. All of them: which namespaces one looks at is decided when it is reconciled.
fn showing(stacks: &Store<Guarded<MonitoringStack>>) -> Vec<ObjectRef<Guarded<MonitoringStack>>> {
    let shows = |s: &Guarded<MonitoringStack>| s.0.as_ref().is_ok_and(|s| s.spec.grafana.is_some());
    stacks.state().iter().filter(|s| shows(s)).map(|s| ObjectRef::from_obj(&**s)).collect()
}
