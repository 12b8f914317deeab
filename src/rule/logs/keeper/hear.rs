//! What the keeper hears of: one stream out of five watches.

use std::collections::HashMap;

use futures::StreamExt;
use futures::stream::{BoxStream, SelectAll};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod as KubePod};
use kube::core::{ObjectMeta, PartialObjectMeta};
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};

use crate::api::{AlertRule, MonitoringStack};
use crate::k8s::meta::{MANAGED_BY, SET};
use crate::k8s::{Guarded, cache};
use crate::rule::index::key;
use crate::rule::logs::files;
use crate::rule::logs::memory::Memory;
use crate::rule::logs::pod::Pod;
use crate::rule::packing::Key;
use crate::rule::watch::{Change, Listing};
use crate::stack::names::LOKI;

/// Large pages of AlertRules would stand in memory all at once.
const PAGE: u32 = 100;

pub enum Event {
    Stack(watcher::Event<Guarded<MonitoringStack>>),
    Namespace(watcher::Event<PartialObjectMeta<Namespace>>),
    File(watcher::Event<PartialObjectMeta<ConfigMap>>),
    Pod(watcher::Event<KubePod>),
    Rule(watcher::Event<Guarded<AlertRule>>),
}

pub fn events(client: &Client) -> SelectAll<BoxStream<'static, Event>> {
    let all = || watcher::Config::default().page_size(PAGE);
    let file = all().labels(&format!("{SET}={}", files::SET));
    let pod = all().labels(&format!("app.kubernetes.io/name={LOKI},app.kubernetes.io/managed-by={MANAGED_BY}"));
    let stacks = watcher(Api::<Guarded<MonitoringStack>>::all(client.clone()), all());
    let namespaces = watcher(Api::<PartialObjectMeta<Namespace>>::all(client.clone()), all());
    let maps = watcher(Api::<PartialObjectMeta<ConfigMap>>::all(client.clone()), file);
    let pods = watcher(Api::<KubePod>::all(client.clone()), pod);
    let rules = watcher(Api::<Guarded<AlertRule>>::all(client.clone()), all());
    futures::stream::select_all([
        cache::heard(stacks).map(Event::Stack).boxed(),
        cache::heard(namespaces).map(Event::Namespace).boxed(),
        cache::heard(maps).map(Event::File).boxed(),
        cache::heard(pods).map(Event::Pod).boxed(),
        cache::heard(rules).map(Event::Rule).boxed(),
    ])
}

/// resourceVersions that the last writes left.
type Left = HashMap<(Key, usize), Option<String>>;

/// Takes in what happened; returns whether it is worth a look.
pub fn hear(memory: &mut Memory, listings: &mut [Listing; 5], left: &Left, event: Event) -> bool {
    let [stacks, namespaces, maps, pods, rules] = listings;
    match event {
        Event::Stack(event) => match stacks.heard(event, |s| guarded_name(s, |s| &s.metadata)) {
            Some(Change::Applied(stack)) => match stack.0 {
                Ok(stack) => memory.stack_applied(&stack),
                Err(error) => tracing::warn!(%error, "a MonitoringStack cannot be read"),
            },
            Some(Change::Deleted(stack)) => memory.stack_deleted(&guarded_name(&stack, |s| &s.metadata)),
            Some(Change::Listed(seen)) => {
                let gone: Vec<Key> = memory.stacks().filter(|key| !seen.contains(&***key)).cloned().collect();
                gone.iter().for_each(|key| memory.stack_deleted(key));
            }
            None => return false,
        },
        Event::Namespace(event) => match namespaces.heard(event, |n| n.name_any()) {
            Some(Change::Applied(found)) => memory.namespace_applied(&found.name_any(), found.labels().clone()),
            Some(Change::Deleted(found)) => memory.namespace_deleted(&found.name_any()),
            Some(Change::Listed(seen)) => {
                let gone: Vec<String> = memory.namespaces().filter(|n| !seen.contains(*n)).cloned().collect();
                gone.iter().for_each(|name| memory.namespace_deleted(name));
            }
            None => return false,
        },
        Event::File(event) => match maps.heard(event, |c| full_name(&c.metadata)) {
            Some(Change::Applied(map)) => return file_seen(memory, left, &map, map.resource_version()),
            Some(Change::Deleted(map)) => return file_seen(memory, left, &map, None),
            Some(Change::Listed(seen)) => {
                let stacks: Vec<Key> = memory.stacks().cloned().collect();
                for stack in stacks {
                    let (namespace, name) = stack.split_once('/').unwrap_or_default();
                    for number in memory.written(&stack).into_keys() {
                        if !seen.contains(&format!("{namespace}/{}", files::config_map_name(name, number))) {
                            memory.file_is(&stack, number, None);
                        }
                    }
                }
            }
            None => return false,
        },
        Event::Pod(event) => match pods.heard(event, |p| full_name(&p.metadata)) {
            Some(Change::Applied(pod)) => {
                let Some(stack) = stack_of(&pod.metadata) else { return false };
                match pod.metadata.deletion_timestamp {
                    Some(_) => memory.pod_gone(&stack, &pod.name_any()),
                    None => memory.pod_seen(&stack, &pod.name_any(), facts(&pod)),
                }
            }
            Some(Change::Deleted(pod)) => match stack_of(&pod.metadata) {
                Some(stack) => memory.pod_gone(&stack, &pod.name_any()),
                None => return false,
            },
            Some(Change::Listed(seen)) => {
                let is_gone = |stack: &Key, pod: &str| {
                    !seen.contains(&format!("{}/{pod}", stack.split('/').next().unwrap_or_default()))
                };
                let gone = memory.pods().filter(|(stack, pod)| is_gone(stack, pod));
                let gone: Vec<(Key, String)> = gone.map(|(stack, pod)| (stack.clone(), pod.clone())).collect();
                gone.iter().for_each(|(stack, pod)| memory.pod_gone(stack, pod));
            }
            None => return false,
        },
        Event::Rule(event) => match rules.heard(event, |r| guarded_name(r, |r| &r.metadata)) {
            Some(Change::Applied(rule)) => {
                let Ok(rule) = rule.0 else { return false };
                let known = memory.uid(&key(&rule.namespace().unwrap_or_default(), &rule.name_any())).is_some();
                memory.rule_applied(&rule);
                // The many over metrics are none of ours.
                return known || rule.spec.source != Default::default();
            }
            Some(Change::Deleted(rule)) => {
                let name = guarded_name(&rule, |r| &r.metadata);
                let known = memory.uid(&name).is_some();
                memory.rule_deleted(&name);
                return known;
            }
            Some(Change::Listed(seen)) => {
                let gone: Vec<Key> = memory.rules().filter(|key| !seen.contains(&***key)).cloned().collect();
                gone.iter().for_each(|key| memory.rule_deleted(key));
            }
            None => return false,
        },
    }
    true
}

/// Returns whether it is not what was written last: then it is written anew, where it differs.
fn file_seen(memory: &mut Memory, left: &Left, map: &PartialObjectMeta<ConfigMap>, version: Option<String>) -> bool {
    let Some(stack) = stack_of(&map.metadata) else { return false };
    let name = stack.split_once('/').map_or("", |(_, name)| name);
    let Some(number) = files::of_config_map(name, &map.name_any()) else { return false };
    if left.get(&(stack.clone(), number)) == Some(&version) {
        return false;
    }
    memory.file_is(&stack, number, None);
    true
}

fn facts(pod: &KubePod) -> Pod {
    let status = pod.status.clone().unwrap_or_default();
    Pod {
        ip: status.pod_ip.filter(|ip| !ip.is_empty()),
        ready: status.conditions.iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True"),
        report: None,
    }
}

fn full_name(metadata: &ObjectMeta) -> String {
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    format!("{}/{}", part(&metadata.namespace), part(&metadata.name))
}

fn guarded_name<K>(object: &Guarded<K>, metadata: impl Fn(&K) -> &ObjectMeta) -> String {
    full_name(object.0.as_ref().map_or_else(|error| &error.metadata, |object| metadata(object)))
}

/// The stack to which a child belongs by its labels.
fn stack_of(metadata: &ObjectMeta) -> Option<Key> {
    let stack = metadata.labels.as_ref()?.get("app.kubernetes.io/instance")?;
    Some(key(metadata.namespace.as_deref()?, stack))
}
