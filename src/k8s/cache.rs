//! Caches of what is watched: what keeps them filled, and how to wait until they are.

use std::hash::Hash;

use futures::future::{BoxFuture, Shared, join_all};
use futures::{FutureExt, Stream, StreamExt};
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{Lookup, Store};
use kube::runtime::{WatchStreamExt, reflector, watcher};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use super::retry::Retry;

/// Resolves, for everybody who waits, when a cache was filled once; false: its watch has ended before, which only happens
/// when the process does. A store by itself wakes but the last one who asked.
pub type Filled = Shared<BoxFuture<'static, bool>>;

/// See [`Filled`].
pub fn filled<K>(store: &Store<K>) -> Filled
where
    K: Lookup<DynamicType: Eq + Hash + Clone + Send + Sync> + Clone + Send + Sync + 'static,
{
    let store = store.clone();
    async move { store.wait_until_ready().await.is_ok() }.boxed().shared()
}

/// When all of them are filled.
pub fn all_filled(each: Vec<Filled>) -> Filled {
    join_all(each).map(|filled| filled.into_iter().all(|filled| filled)).boxed().shared()
}

/// What a watch hears; it is opened again, ever more rarely, when it breaks.
pub fn heard<K, S>(watch: S) -> impl Stream<Item = watcher::Event<K>> + Send
where
    K: Resource<DynamicType = ()> + Clone + Send,
    S: Stream<Item = watcher::Result<watcher::Event<K>>> + Send,
{
    watch.backoff(Retry::default()).filter_map(|heard| {
        let heard = heard
            .inspect_err(|error| tracing::warn!(%error, kind = %K::kind(&()), "watch failed, will try again"))
            .ok();
        futures::future::ready(heard)
    })
}

/// Keeps a cache filled, and tells what comes.
pub async fn fill<K>(writer: Writer<K>, api: Api<K>, config: watcher::Config, tell: impl Fn(watcher::Event<K>))
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Send + Sync + 'static,
{
    let events = watcher(api, config).modify(|object| object.managed_fields_mut().clear());
    let mut events = std::pin::pin!(heard(reflector(writer, events)));
    while let Some(event) = events.next().await {
        tell(event);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use k8s_openapi::api::core::v1::Secret;
    use kube::runtime::reflector::store;
    use kube::runtime::watcher::Event;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn everybody_who_waits_is_woken() {
        let (store, mut writer) = store::<Secret>();
        let filled = all_filled(vec![filled(&store)]);
        let asked = Arc::new(tokio::sync::Barrier::new(4));
        let wait = || {
            let (mut filled, asked) = (filled.clone(), asked.clone());
            tokio::spawn(async move {
                // Each has asked once before the cache is filled.
                assert!(futures::poll!(&mut filled).is_pending());
                asked.wait().await;
                filled.await
            })
        };
        let waiting = [wait(), wait(), wait()];
        asked.wait().await;
        writer.apply_watcher_event(&Event::Init);
        writer.apply_watcher_event(&Event::InitDone);
        for one in waiting {
            let woken = tokio::time::timeout(Duration::from_secs(5), one).await;
            assert!(woken.expect("woken").expect("no panic"));
        }
    }
}
