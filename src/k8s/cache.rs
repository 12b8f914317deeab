//! Caches of what is watched: what keeps them filled, how to wait until they are, and whether they may be behind.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::{BoxFuture, Shared, join_all};
use futures::stream::{self, BoxStream};
use futures::{FutureExt, Stream, StreamExt};
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{Lookup, Store};
use kube::runtime::utils::Backoff;
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

/// Whether a watch sees: from its first list on, until it breaks; again, once it has begun anew. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Sight(Arc<AtomicBool>);

impl Sight {
    /// False: its cache may be behind. Ask before the cache is read: what breaks afterwards makes nothing older.
    pub fn is_clear(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn set(&self, clear: bool) {
        self.0.store(clear, Ordering::Release);
    }
}

/// What a watch hears; it is opened again, ever more rarely, when it breaks.
pub fn heard<K, S>(watch: S) -> impl Stream<Item = watcher::Event<K>> + Send
where
    K: Resource<DynamicType = ()> + Clone + Send,
    S: Stream<Item = watcher::Result<watcher::Event<K>>> + Send,
{
    heard_in_sight(watch, Sight::default())
}

/// The same, with word of whether it sees. Only for one that begins anew after an error, see [`anew`].
fn heard_in_sight<K, S>(watch: S, sight: Sight) -> impl Stream<Item = watcher::Event<K>> + Send
where
    K: Resource<DynamicType = ()> + Clone + Send,
    S: Stream<Item = watcher::Result<watcher::Event<K>>> + Send,
{
    stream::unfold((Box::pin(watch), Retry::default(), sight), |(mut watch, mut retry, sight)| async move {
        loop {
            match watch.next().await? {
                Ok(event) => {
                    match event {
                        watcher::Event::InitDone => {
                            retry.reset();
                            sight.set(true);
                        }
                        watcher::Event::Apply(_) | watcher::Event::Delete(_) => retry.reset(),
                        // The first says that the API server is about to be asked, not that it answers.
                        watcher::Event::Init | watcher::Event::InitApply(_) => {}
                    }
                    return Some((event, (watch, retry, sight)));
                }
                Err(error) => {
                    sight.set(false);
                    tracing::warn!(%error, kind = %K::kind(&()), "watch failed, will try again");
                }
            }
            tokio::time::sleep(retry.pause()).await;
        }
    })
}

/// A watch that begins anew, with a list, when it breaks. One that goes on where it was does not say when it sees again.
fn anew<K>(api: Api<K>, config: watcher::Config) -> impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    type Watch<K> = BoxStream<'static, watcher::Result<watcher::Event<K>>>;
    stream::unfold(None, move |open: Option<Watch<K>>| {
        let mut watch = open.unwrap_or_else(|| watcher(api.clone(), config.clone()).boxed());
        async move {
            let event = watch.next().await?;
            let open = event.is_ok().then_some(watch);
            Some((event, open))
        }
    })
}

/// Keeps a cache filled, and tells what comes.
pub async fn fill<K>(writer: Writer<K>, api: Api<K>, config: watcher::Config, tell: impl Fn(&watcher::Event<K>) + Send)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    fill_in_sight(writer, api, config, Sight::default(), tell).await;
}

/// The same, with word of whether the cache may be behind; what is told has been heard by then.
pub async fn fill_in_sight<K>(
    writer: Writer<K>,
    api: Api<K>,
    config: watcher::Config,
    sight: Sight,
    tell: impl Fn(&watcher::Event<K>) + Send,
) where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let events = anew(api, config).modify(|object| object.managed_fields_mut().clear());
    // Behind the reflector: when it is said that the watch sees, the cache has what it saw.
    let kept = reflector(writer, events).inspect(move |event| {
        if let Ok(event) = event {
            tell(event);
        }
    });
    let mut events = std::pin::pin!(heard_in_sight(kept, sight));
    while events.next().await.is_some() {}
}

#[cfg(test)]
mod tests {
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
    #[tokio::test]
    async fn a_watch_that_broke_sees_again_only_when_its_list_is_whole() {
        let broken = || Err(watcher::Error::NoResourceVersion);
        let events = [
            Ok(Event::Init),
            Ok(Event::InitDone),
            Ok(Event::Apply(Secret::default())),
            broken(),
            Ok(Event::Init),
            Ok(Event::InitApply(Secret::default())),
            Ok(Event::InitDone),
        ];
        let sight = Sight::default();
        let mut events = std::pin::pin!(heard_in_sight(stream::iter(events), sight.clone()));
        let mut seen = vec![];
        while events.next().await.is_some() {
            seen.push(sight.is_clear());
        }
        assert_eq!(seen, [false, true, true, false, false, true]);
    }
}
