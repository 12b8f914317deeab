//! What every replica keeps in memory to take alerts: AlertResponses, runs, and the credentials of the senders.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::core::{DeserializeGuard, Resource};
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{Store, store};
use kube::runtime::{WatchStreamExt, reflector, watcher};
use kube::{Api, ResourceExt};
use serde::de::DeserializeOwned;

use super::credentials::RECEIVER_TOKEN;
use crate::api::{AlertResponse, ResponseRun};
use crate::context::Context;

/// An object that cannot be decoded must not stall the watch of all others.
pub type Guarded<K> = DeserializeGuard<K>;

/// Readers of the caches.
pub struct Stores {
    responses: Store<Guarded<AlertResponse>>,
    runs: Store<Guarded<ResponseRun>>,
    tokens: Store<Secret>,
    webhook: Store<Secret>,
    ready: AtomicBool,
}

impl Stores {
    /// All caches are filled; until then no alert can be judged.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// Resolves when all caches are filled.
    pub async fn filled(&self) {
        // An error means that the watch has ended, which only happens when the process does.
        let (a, b, c, d) = tokio::join!(
            self.responses.wait_until_ready(),
            self.runs.wait_until_ready(),
            self.tokens.wait_until_ready(),
            self.webhook.wait_until_ready(),
        );
        self.ready.store(a.is_ok() && b.is_ok() && c.is_ok() && d.is_ok(), Ordering::Relaxed);
    }

    pub fn responses(&self) -> Vec<AlertResponse> {
        self.responses.state().iter().filter_map(|r| r.0.as_ref().ok().cloned()).collect()
    }

    pub fn runs(&self, wanted: impl Fn(&ResponseRun) -> bool) -> Vec<ResponseRun> {
        let all = self.runs.state();
        all.iter().filter_map(|r| r.0.as_ref().ok()).filter(|r| wanted(r)).cloned().collect()
    }

    /// Secrets with tokens of stacks.
    pub fn tokens(&self) -> Vec<Arc<Secret>> {
        self.tokens.state()
    }

    /// The Secret of `POST /webhook/alert`.
    pub fn webhook(&self) -> Option<Arc<Secret>> {
        self.webhook.state().into_iter().next()
    }
}

/// The caches, and what keeps them filled for as long as it is polled. Every replica runs it.
pub fn watch(context: &Context) -> (Arc<Stores>, impl Future<Output = ()> + Send + 'static) {
    let (responses, write_responses) = store();
    let (runs, write_runs) = store();
    let (tokens, write_tokens) = store();
    let (webhook, write_webhook) = store();
    let stores = Arc::new(Stores { responses, runs, tokens, webhook, ready: AtomicBool::new(false) });
    let client = &context.client;
    let labelled = watcher::Config::default().labels(&format!("{RECEIVER_TOKEN}=true"));
    let named = watcher::Config::default().fields(&format!("metadata.name={}", context.settings.webhook_secret));
    let all = watcher::Config::default;
    let watches = (
        fill(write_responses, Api::all(client.clone()), all()),
        fill(write_runs, Api::all(client.clone()), all()),
        fill(write_tokens, Api::all(client.clone()), labelled),
        fill(write_webhook, Api::namespaced(client.clone(), &context.settings.namespace), named),
    );
    let filled = stores.clone();
    let work = async move {
        let (responses, runs, tokens, webhook) = watches;
        tokio::join!(responses, runs, tokens, webhook, async move { filled.filled().await });
    };
    (stores, work)
}

async fn fill<K>(writer: Writer<K>, api: Api<K>, config: watcher::Config)
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Send + Sync + 'static,
{
    let events = watcher(api, config).default_backoff().modify(|object| object.managed_fields_mut().clear());
    let mut events = std::pin::pin!(reflector(writer, events));
    while let Some(event) = events.next().await {
        if let Err(error) = event {
            tracing::warn!(%error, kind = %K::kind(&()), "watch failed, will try again");
        }
    }
}
