//! Where errors and events of a reconcile become log lines, metrics and Kubernetes Events.

use std::collections::HashMap;
use std::fmt::Debug;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::core::error_boundary::InvalidObject;
use kube::runtime::controller::Action;
use kube::runtime::events::{Event, EventType};
use kube::{Resource, ResourceExt};

use super::Guarded;
use crate::context::Context;

/// An error that can be shown to the person who wrote the resource.
pub trait Reportable: std::error::Error {
    /// CamelCase, the same in the condition, the Event and the metric.
    fn reason(&self) -> &'static str;
}

/// The error of a reconcile that fails by the API server alone.
#[derive(Debug, thiserror::Error)]
#[error("the API server did not answer as needed: {0}")]
pub struct ApiError(#[from] kube::Error);

impl Reportable for ApiError {
    fn reason(&self) -> &'static str {
        "ApiError"
    }
}

/// Longest a reconcile may take before it is given up and tried again.
const RECONCILE_TIMEOUT: Duration = Duration::from_secs(60);

/// Error of a reconcile, already reported.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Reported(String);

/// The object, if it can be read; if not, that is logged, and it is left as it is.
pub fn decoded<K: Resource<DynamicType = ()>>(object: &Guarded<K>) -> Option<&K> {
    let unreadable = |invalid: &InvalidObject| {
        let (kind, namespace, name) = (K::kind(&()), object.namespace(), object.name_any());
        tracing::warn!(%kind, namespace, name, error = %invalid, "cannot be read, and is left as it is");
    };
    object.0.as_ref().inspect_err(|invalid| unreadable(invalid)).ok()
}

/// The object, if it can be read and is not being deleted: for kinds without a finalizer, whose children go with them.
pub fn alive<K: Resource<DynamicType = ()>>(object: &Guarded<K>) -> Option<&K> {
    decoded(object).filter(|object| object.meta().deletion_timestamp.is_none())
}

/// Runs one reconcile: bounds its time, counts it, and reports its error as log line, metric and Event.
pub async fn reconcile<K, E, F>(context: &Arc<Context>, object: &K, work: F) -> Result<Action, Reported>
where
    K: Resource<DynamicType = ()> + Debug,
    E: Reportable,
    F: Future<Output = Result<Action, E>>,
{
    let kind = K::kind(&());
    let started = Instant::now();
    let result = tokio::time::timeout(RECONCILE_TIMEOUT, work).await;
    context.metrics.reconciled(&kind, started.elapsed());
    let (reason, message) = match result {
        Ok(Ok(action)) => return Ok(action),
        Ok(Err(error)) => (error.reason(), chain(&error)),
        Err(_) => ("Timeout", format!("gave up after {} s, will try again", RECONCILE_TIMEOUT.as_secs())),
    };
    context.metrics.reconcile_failed(&kind, reason);
    tracing::warn!(%kind, namespace = object.namespace(), name = object.name_any(), reason, message, "reconcile failed");
    warn(context, object, "Reconcile", reason, &message).await;
    Err(Reported(message))
}

/// `error` with its sources, each said once.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = error.source();
    }
    text
}

/// The words of the API server, where it answered; kube's own repeat the whole answer.
pub fn words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => chain(other),
    }
}

/// Publishes a Warning. `action` is what was being done, CamelCase.
pub async fn warn<K: Resource<DynamicType = ()>>(
    context: &Context,
    object: &K,
    action: &str,
    reason: &str,
    note: &str,
) {
    warn_about(context, &object.object_ref(&()), action, reason, note).await;
}

/// Publishes a Warning about an object of any kind.
pub async fn warn_about(context: &Context, object: &ObjectReference, action: &str, reason: &str, note: &str) {
    publish(context, object, EventType::Warning, action, reason, note).await;
}

/// Publishes a Normal Event.
pub async fn info<K: Resource<DynamicType = ()>>(
    context: &Context,
    object: &K,
    action: &str,
    reason: &str,
    note: &str,
) {
    info_about(context, &object.object_ref(&()), action, reason, note).await;
}

/// Publishes a Normal Event about an object of any kind.
pub async fn info_about(context: &Context, object: &ObjectReference, action: &str, reason: &str, note: &str) {
    publish(context, object, EventType::Normal, action, reason, note).await;
}

/// An Event is a courtesy: failing to write it never fails the work.
async fn publish(
    context: &Context,
    object: &ObjectReference,
    type_: EventType,
    action: &str,
    reason: &str,
    note: &str,
) {
    let event =
        Event { type_, reason: reason.into(), note: Some(truncated(note)), action: action.into(), secondary: None };
    if let Err(error) = context.recorder.publish(&event, object).await {
        tracing::warn!(%error, reason, "cannot publish an Event");
    }
}

/// events.k8s.io limits a note to 1024 bytes.
fn truncated(note: &str) -> String {
    if note.len() <= 1024 {
        return note.to_owned();
    }
    let end = (0..=1020).rev().find(|i| note.is_char_boundary(*i)).unwrap_or(0);
    format!("{}…", &note[..end])
}

/// Backoff for a reconcile that failed, by how often it failed in a row.
pub fn backoff(failures: u32) -> Action {
    Action::requeue(Duration::from_secs((1u64 << failures.min(6)).min(60)))
}

/// How often the reconcile of each object has failed in a row. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Failures(Arc<Mutex<HashMap<(String, String), u32>>>);

impl Failures {
    /// When to try again after one more failure of `object`.
    pub fn again<K: Resource>(&self, object: &K) -> Action {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(key(object)).or_default();
        let action = backoff(*count);
        *count = count.saturating_add(1);
        action
    }

    /// `object` was reconciled.
    pub fn forget<K: Resource>(&self, object: &K) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&key(object));
    }
}

fn key<K: Resource>(object: &K) -> (String, String) {
    (object.namespace().unwrap_or_default(), object.name_any())
}
