//! What the rule loader hears of: one stream out of five watches.

use std::collections::BTreeSet;
use std::fmt::Debug;

use futures::stream::{BoxStream, SelectAll};
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher;
use kube::{Api, Client, Resource};

use super::shards;
use crate::api::{AlertRule, MonitoringStack};
use crate::k8s::Guarded;
use crate::k8s::cache;
use crate::k8s::meta::{MANAGED_BY, SET};
use crate::stack::names::PROMETHEUS;

/// Large pages of AlertRules would stand in memory all at once.
const PAGE: u32 = 100;

pub enum Event {
    Stack(watcher::Event<Guarded<MonitoringStack>>),
    Namespace(watcher::Event<PartialObjectMeta<Namespace>>),
    Shard(watcher::Event<PartialObjectMeta<ConfigMap>>),
    Pod(watcher::Event<Pod>),
    Rule(watcher::Event<Guarded<AlertRule>>),
}

pub type Events = SelectAll<BoxStream<'static, Event>>;

/// Everything but AlertRules: those are read when it is known who selects them.
pub fn surroundings(client: &Client) -> Events {
    let all = || watcher::Config::default().page_size(PAGE);
    let shard = all().labels(&format!("{SET}={}", shards::SET));
    let pod = all().labels(&format!("app.kubernetes.io/name={PROMETHEUS},app.kubernetes.io/managed-by={MANAGED_BY}"));
    futures::stream::select_all([
        heard(watcher(Api::<Guarded<MonitoringStack>>::all(client.clone()), all()), Event::Stack),
        heard(watcher(Api::<PartialObjectMeta<Namespace>>::all(client.clone()), all()), Event::Namespace),
        heard(watcher(Api::<PartialObjectMeta<ConfigMap>>::all(client.clone()), shard), Event::Shard),
        heard(watcher(Api::<Pod>::all(client.clone()), pod), Event::Pod),
    ])
}

pub fn rules(client: &Client) -> BoxStream<'static, Event> {
    let config = watcher::Config::default().page_size(PAGE);
    heard(watcher(Api::<Guarded<AlertRule>>::all(client.clone()), config), Event::Rule)
}

fn heard<K>(
    watch: impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send + 'static,
    event: fn(watcher::Event<K>) -> Event,
) -> BoxStream<'static, Event>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Send + 'static,
{
    cache::heard(watch).map(event).boxed()
}

/// Finds what was deleted while nobody watched: what a new listing does not show.
#[derive(Debug, Default)]
pub struct Listing {
    seen: BTreeSet<String>,
    /// A first listing is complete.
    pub done: bool,
}

/// What an event comes to.
pub enum Change<K> {
    Applied(K),
    Deleted(K),
    /// A listing is complete: whatever is not in it is gone.
    Listed(BTreeSet<String>),
}

impl Listing {
    /// `key` names an object.
    pub fn heard<K>(&mut self, event: watcher::Event<K>, key: impl Fn(&K) -> String) -> Option<Change<K>> {
        match event {
            watcher::Event::Apply(object) => Some(Change::Applied(object)),
            watcher::Event::Delete(object) => Some(Change::Deleted(object)),
            watcher::Event::Init => {
                self.seen.clear();
                None
            }
            watcher::Event::InitApply(object) => {
                self.seen.insert(key(&object));
                Some(Change::Applied(object))
            }
            watcher::Event::InitDone => {
                self.done = true;
                Some(Change::Listed(std::mem::take(&mut self.seen)))
            }
        }
    }
}
