//! What every replica keeps in memory to take alerts: AlertResponses, runs, and the credentials of the senders.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::{Stream, StreamExt, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::core::{DeserializeGuard, Resource};
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{Store, store};
use kube::runtime::{WatchStreamExt, reflector, watcher};
use kube::{Api, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::credentials::RECEIVER_TOKEN;
use crate::api::{AlertResponse, ResponseRun};
use crate::context::Context;

/// Changes that the leader may be behind; beyond that it looks at everything again.
const MAX_BEHIND: usize = 1024;

/// An object that cannot be decoded must not stall the watch of all others.
pub type Guarded<K> = DeserializeGuard<K>;

/// Readers of the caches.
pub struct Stores {
    responses: Store<Guarded<AlertResponse>>,
    runs: Store<Guarded<ResponseRun>>,
    tokens: Store<Secret>,
    webhook: Store<Secret>,
    ready: AtomicBool,
    changes: broadcast::Sender<Change>,
}

/// Something in the caches is not as it was.
#[derive(Clone, Debug)]
pub enum Change {
    /// Whoever looks now looks for the first time, or missed something.
    Everything,
    Response(AlertResponse),
    Run(Box<ResponseRun>),
}

impl Stores {
    /// All caches are filled; until then no alert can be judged.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// Resolves when all caches are filled.
    pub /// Nobody waits for changes of these.
const UNTOLD: Option<(broadcast::Sender<Change>, fn(Secret) -> Option<Change>)> = None;

async fn fill<K>(
    writer: Writer<K>,
    api: Api<K>,
    config: watcher::Config,
    tell: Option<(broadcast::Sender<Change>, impl Fn(K) -> Option<Change>)>,
) where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Send + Sync + 'static,
{
    let events = watcher(api, config).default_backoff().modify(|object| object.managed_fields_mut().clear());
    let mut events = std::pin::pin!(reflector(writer, events));
    while let Some(event) = events.next().await {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                tracing::warn!(%error, kind = %K::kind(&()), "watch failed, will try again");
                continue;
            }
        };
        let Some((changes, change)) = &tell else { continue };
        let news = match event {
            watcher::Event::Apply(object) | watcher::Event::Delete(object) => change(object),
            // What came since `Init` is in the cache from here on.
            watcher::Event::InitDone => Some(Change::Everything),
            watcher::Event::Init | watcher::Event::InitApply(_) => None,
        };
        // Fails when nobody listens: this replica does not lead.
        news.map(|news| changes.send(news).is_ok());
    }
}
