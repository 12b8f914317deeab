//! What the controllers of policies and adjustments look up: SLOs, ChangeFreezes, channels, adjustments.

use std::future::Future;
use std::sync::Arc;

use futures::{Stream, stream};
use kube::core::{PartialObjectMeta, Resource};
use kube::runtime::reflector::{ObjectRef, Store, store};
use kube::runtime::watcher;
use kube::{Api, ResourceExt};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::adjusted::Adjustments;
use crate::api::{ChangeFreeze, NotificationChannel, SLO};
use crate::context::Context;
use crate::k8s::Guarded;
use crate::k8s::cache::{Filled, all_filled, fill, filled};

/// Changes that a controller may be behind; beyond that it looks at everything again.
const MAX_BEHIND: usize = 1024;

/// Readers of the caches, which only the leader keeps.
pub struct Caches {
    slos: Store<Guarded<SLO>>,
    freezes: Store<Guarded<ChangeFreeze>>,
    channels: Store<PartialObjectMeta<NotificationChannel>>,
    pub adjustments: Adjustments,
    filled: Filled,
    /// Namespaces in which something changed.
    changes: broadcast::Sender<Option<String>>,
}

impl Caches {
    /// The caches, and what keeps them filled for as long as it is polled. The adjustments are filled by their own watch.
    pub fn watch(
        context: &Context,
        adjustments: Adjustments,
    ) -> (Arc<Self>, impl Future<Output = ()> + Send + 'static) {
        let (slos, write_slos) = store();
        let (freezes, write_freezes) = store();
        let (channels, write_channels) = store();
        let (changes, _) = broadcast::channel(MAX_BEHIND);
        let client = &context.client;
        let all = watcher::Config::default;
        let watches = (
            fill(write_slos, Api::all(client.clone()), all(), teller(changes.clone())),
            fill(write_freezes, Api::all(client.clone()), all(), teller(changes.clone())),
            fill(write_channels, Api::all(client.clone()), all(), teller(changes.clone())),
        );
        let work = async move {
            let (slos, freezes, channels) = watches;
            tokio::join!(slos, freezes, channels);
        };
        let filled = all_filled(vec![filled(&slos), filled(&freezes), filled(&channels)]);
        (Arc::new(Self { slos, freezes, channels, adjustments, filled, changes }), work)
    }

    /// Resolves when all caches are filled: before, nobody can tell what is not there.
    pub async fn filled(&self) {
        self.filled.clone().await;
        self.adjustments.filled().await;
    }

    /// Of a namespace; without those that are being deleted.
    pub fn slos(&self, namespace: &str) -> Vec<SLO> {
        readable(&self.slos, namespace)
    }

    pub fn freezes(&self, namespace: &str) -> Vec<ChangeFreeze> {
        readable(&self.freezes, namespace)
    }

    pub fn has_channel(&self, namespace: &str, name: &str) -> bool {
        self.channels.get(&ObjectRef::new(name).within(namespace)).is_some()
    }

    /// Namespaces in which something changes from now on; `None`: perhaps in all.
    pub fn changes(&self) -> impl Stream<Item = Option<String>> + Send + use<> {
        stream::unfold(self.changes.subscribe(), |mut receiver| async move {
            match receiver.recv().await {
                Ok(namespace) => Some((namespace, receiver)),
                Err(RecvError::Lagged(_)) => Some((None, receiver)),
                Err(RecvError::Closed) => None,
            }
        })
    }
}

/// References to what a store holds of a namespace, or of all.
pub fn within<K>(store: &Store<Guarded<K>>, namespace: Option<&str>) -> Vec<ObjectRef<Guarded<K>>>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
    Guarded<K>: Resource<DynamicType = ()> + Clone,
{
    let all = store.state();
    let there =
        all.iter().filter(|object| namespace.is_none_or(|wanted| object.namespace().as_deref() == Some(wanted)));
    there.map(|object| ObjectRef::from_obj(&**object)).collect()
}

fn readable<K>(store: &Store<Guarded<K>>, namespace: &str) -> Vec<K>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
    Guarded<K>: Resource<DynamicType = ()> + Clone,
{
    let all = store.state();
    let all = all.iter().filter_map(|object| object.0.as_ref().ok());
    let there = all.filter(|object| {
        object.meta().namespace.as_deref() == Some(namespace) && object.meta().deletion_timestamp.is_none()
    });
    let mut found: Vec<K> = there.cloned().collect();
    found.sort_by_key(|object| object.meta().name.clone());
    found
}

fn teller<K: Resource>(changes: broadcast::Sender<Option<String>>) -> impl Fn(&watcher::Event<K>) {
    move |event| {
        let news = match event {
            watcher::Event::Apply(object) | watcher::Event::Delete(object) => Some(object.meta().namespace.clone()),
            watcher::Event::InitDone => Some(None),
            watcher::Event::Init | watcher::Event::InitApply(_) => None,
        };
        // Fails when nobody listens.
        news.map(|news| changes.send(news).is_ok());
    }
}
