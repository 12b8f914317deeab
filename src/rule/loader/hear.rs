//! What the loader does with what the watches tell.

use k8s_openapi::api::core::v1::{ConfigMap, Pod as KubePod};
use kube::ResourceExt;
use kube::core::PartialObjectMeta;

use super::Loader;
use super::tell::gauge;
use crate::k8s::meta::OWNER_UID;
use crate::rule::feed::Feed;
use crate::rule::index::key;
use crate::rule::packing::{Key, Pod};
use crate::rule::shards;
use crate::rule::watch::{Change, Event};
use crate::stack::names;

impl Loader {
    pub(super) fn hear(&mut self, event: Event) {
        let [stacks, namespaces, config_maps, pods, rules] = &mut self.listings;
        match event {
            Event::Stack(event) => match stacks
                .heard(event, |s| full_name(s.0.as_ref().map_or_else(|e| &e.metadata, |s| &s.metadata)))
            {
                Some(Change::Applied(stack)) => match stack.0 {
                    Ok(stack) => self.index.stack_applied(&stack),
                    Err(error) => tracing::warn!(%error, "a MonitoringStack cannot be read"),
                },
                Some(Change::Deleted(stack)) => {
                    let name = full_name(stack.0.as_ref().map_or_else(|e| &e.metadata, |s| &s.metadata));
                    self.stack_gone(&name.into());
                }
                Some(Change::Listed(seen)) => {
                    let gone: Vec<Key> = self.index.stacks().filter(|key| !seen.contains(&***key)).cloned().collect();
                    gone.iter().for_each(|key| self.stack_gone(key));
                }
                None => {}
            },
            Event::Namespace(event) => match namespaces.heard(event, |n| n.name_any()) {
                Some(Change::Applied(namespace)) => {
                    self.index.namespace_applied(&namespace.name_any(), namespace.labels().clone());
                }
                Some(Change::Deleted(namespace)) => self.index.namespace_deleted(&namespace.name_any()),
                Some(Change::Listed(seen)) => {
                    let gone: Vec<String> = self.index.namespaces().filter(|n| !seen.contains(*n)).cloned().collect();
                    gone.iter().for_each(|name| self.index.namespace_deleted(name));
                }
                None => {}
            },
            Event::Shard(event) => match config_maps.heard(event, |c| full_name(&c.metadata)) {
                Some(Change::Applied(shard)) => self.shard_seen(&shard, shard.resource_version()),
                Some(Change::Deleted(shard)) => self.shard_seen(&shard, None),
                Some(Change::Listed(seen)) => {
                    let gone = |(stack, shard): &(Key, usize)| {
                        let (namespace, name) = stack.split_once('/').unwrap_or_default();
                        !seen.contains(&format!("{namespace}/{}", shards::config_map_name(name, *shard)))
                    };
                    let gone: Vec<_> = self.shards.keys().filter(|place| gone(place)).cloned().collect();
                    gone.into_iter().for_each(|place| self.shard_changed(place, None));
                }
                None => {}
            },
            Event::Pod(event) => match pods.heard(event, |p| full_name(&p.metadata)) {
                Some(Change::Applied(pod)) => self.pod_seen(&pod),
                Some(Change::Deleted(pod)) => {
                    if let Some(stack) = stack_of(&pod.metadata) {
                        self.index.pod_gone(&stack, &pod.name_any());
                    }
                }
                Some(Change::Listed(seen)) => {
                    let is_gone = |stack: &Key, pod: &str| {
                        !seen.contains(&format!("{}/{pod}", stack.split('/').next().unwrap_or_default()))
                    };
                    let pods = self.index.pods().filter(|(stack, pod)| is_gone(stack, pod));
                    let gone: Vec<(Key, String)> = pods.map(|(stack, pod)| (stack.clone(), pod.clone())).collect();
                    gone.iter().for_each(|(stack, pod)| self.index.pod_gone(stack, pod));
                }
                None => {}
            },
            Event::Rule(event) => match rules
                .heard(event, |r| full_name(r.0.as_ref().map_or_else(|e| &e.metadata, |r| &r.metadata)))
            {
                Some(Change::Applied(rule)) => match rule.0 {
                    Ok(rule) => self.index.rule_applied(&rule),
                    Err(error) => tracing::warn!(
                        %error, namespace = error.metadata.namespace, name = error.metadata.name,
                        "an AlertRule cannot be read; its last version stays live"
                    ),
                },
                Some(Change::Deleted(rule)) => {
                    let name = full_name(rule.0.as_ref().map_or_else(|e| &e.metadata, |r| &r.metadata));
                    self.rule_gone(&name.into());
                }
                Some(Change::Listed(seen)) => {
                    let gone: Vec<Key> = self.index.rules().filter(|key| !seen.contains(&***key)).cloned().collect();
                    gone.iter().for_each(|key| self.rule_gone(key));
                }
                None => {}
            },
        }
    }

    /// What the keeper says of SLOs.
    pub(super) fn fed(&mut self, feed: Feed) {
        match feed {
            Feed::Applied(slo) => self.index.slo_applied(&slo),
            Feed::Deleted(name) => self.index.slo_deleted(&name),
            Feed::Listed(seen) => {
                let gone = self.index.slos().into_iter().filter(|name| !seen.contains(name));
                gone.for_each(|name| self.index.slo_deleted(&name));
                self.slos_listed = true;
            }
        }
    }

    fn rule_gone(&mut self, rule: &Key) {
        self.index.rule_deleted(rule);
        self.told_now.remove(rule);
        self.told_later.remove(rule);
    }

    fn stack_gone(&mut self, stack: &Key) {
        self.index.stack_deleted(stack);
        self.rounds.forget(stack);
        self.shards.retain(|(of, _), _| of != stack);
        self.firing.remove(stack);
        if self.counts.remove(stack).is_some() {
            let (namespace, name) = stack.split_once('/').unwrap_or_default();
            self.memory.forget(namespace, name);
            for state in ["accepted", "rejected", "loaded"] {
                self.context.metrics.rules.remove(&gauge(namespace, name, state));
            }
        }
    }

    fn shard_seen(&mut self, object: &PartialObjectMeta<ConfigMap>, version: Option<String>) {
        let Some(stack) = stack_of(&object.metadata) else { return };
        let name = stack.split_once('/').map_or("", |(_, name)| name);
        let Some(shard) = shards::of_config_map(name, &object.name_any()) else { return };
        // Of a stack of the same name that was deleted: it is on its way out.
        let owner = object.labels().get(OWNER_UID);
        if self.index.owner(&stack).is_some_and(|known| owner == Some(&known.uid)) || version.is_some() {
            self.shard_changed((stack, shard), version);
        }
    }

    fn shard_changed(&mut self, place: (Key, usize), version: Option<String>) {
        let known = self.shards.entry(place.clone()).or_default();
        known.seen = version;
        if !self.writing.contains(&place) && known.seen != known.left && self.complete {
            self.index.disturbed(&place.0, place.1);
        }
    }

    fn pod_seen(&mut self, object: &KubePod) {
        let Some(stack) = stack_of(&object.metadata) else { return };
        if object.metadata.deletion_timestamp.is_some() {
            self.index.pod_gone(&stack, &object.name_any());
        } else {
            self.index.pod_seen(&stack, pod(object));
        }
    }
}

fn full_name(metadata: &kube::core::ObjectMeta) -> String {
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    format!("{}/{}", part(&metadata.namespace), part(&metadata.name))
}

/// The stack to which a child belongs by its labels.
fn stack_of(metadata: &kube::core::ObjectMeta) -> Option<Key> {
    let stack = metadata.labels.as_ref()?.get("app.kubernetes.io/instance")?;
    Some(key(metadata.namespace.as_deref()?, stack))
}

fn pod(object: &KubePod) -> Pod {
    let status = object.status.clone().unwrap_or_default();
    let ready = status.conditions.iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True");
    let ended = status.container_statuses.iter().flatten().any(|container| {
        let state = container.state.as_ref().and_then(|state| state.terminated.as_ref());
        let last = container.last_state.as_ref().and_then(|state| state.terminated.as_ref());
        state.or(last).is_some_and(|ended| ended.exit_code != 0)
    });
    Pod {
        name: object.name_any(),
        ip: status.pod_ip.filter(|ip| !ip.is_empty()),
        ready,
        crashing: ended && !ready,
        shard: object.labels().get(names::SHARD).cloned().unwrap_or_default(),
        kicked: object.annotations().get(shards::REVISION).cloned(),
    }
}
