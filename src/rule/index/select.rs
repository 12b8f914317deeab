//! Which stacks there are, and which AlertRules each of them selects.

use std::ops::Bound;

use kube::core::Selector;

use super::{Index, Labels, Settings, Stack, key};
use crate::api::MonitoringStack;
use crate::api::monitoring_stack::Discovery;
use crate::api::slo::Compatibility;
use crate::k8s::meta::Owner;
use crate::rule::feed::namespace_of;
use crate::rule::packing::{Key, Packing};
use crate::stack::discovery::{self, Namespaces};

impl Index {
    /// A stack as the API server has it.
    pub fn stack_applied(&mut self, object: &MonitoringStack) {
        let Some(owner) = Owner::of(object) else { return };
        let key = key(&owner.namespace, &owner.name);
        if self.stacks.get(&key).is_some_and(|stack| stack.owner.uid != owner.uid) {
            self.stack_deleted(&key);
        }
        let gone = object.metadata.deletion_timestamp.is_some();
        let discovery = object.spec.discovery.clone();
        let selects = if object.spec.prometheus.is_none() || gone {
            Err(format!("{key} runs no Prometheus"))
        } else {
            self.selects(&owner.namespace, discovery.as_ref()).map_err(|why| format!("{key}: {why}"))
        };
        let paused = object.spec.paused || gone;
        let settings = Settings {
            retention: object.spec.prometheus.as_ref().map_or(0, |prometheus| prometheus.retention.as_secs()),
            shards: object.spec.prometheus.as_ref().map_or(0, |prometheus| prometheus.shards),
            sloth: object.spec.compatibility.contains(&Compatibility::Sloth),
        };
        let pods = self.pods.get(&key);
        let stack = self.stacks.entry(key.clone()).or_insert_with(|| {
            let mut packing = Packing::default();
            pods.into_iter().flatten().for_each(|(_, pod)| packing.pod_seen(pod.clone()));
            Stack { owner, discovery: None, paused, settings, ships: None, selects: Err(String::new()), packing }
        });
        stack.paused = paused;
        stack.discovery = discovery;
        let before = std::mem::replace(&mut stack.settings, settings);
        let same = match (&stack.selects, &selects) {
            (Ok((a, b)), Ok((c, d))) => a == c && b == d,
            (Err(a), Err(b)) => a == b,
            _ => false,
        };
        if !same || before.sloth != settings.sloth {
            stack.selects = selects;
            let all: Vec<Key> = self.rules.keys().cloned().collect();
            all.iter().for_each(|rule| self.place(rule, None));
        }
        self.ship_with(&key, &object.spec);
    }

    /// A stack is gone; its ConfigMaps go by their owner reference.
    pub fn stack_deleted(&mut self, key: &str) {
        let Some(stack) = self.stacks.remove(key) else { return };
        self.changed.extend(stack.packing.rules().cloned());
        self.unship(key);
        // Those that nobody selects name every stack that there is.
        self.changed.extend(self.unselected());
    }

    fn unselected(&self) -> Vec<Key> {
        let nowhere = |rule: &Key| !self.stacks.values().any(|stack| stack.packing.placement(rule).is_some());
        self.rules.keys().filter(|rule| nowhere(rule)).cloned().collect()
    }

    fn selects(&self, own: &str, discovery: Option<&Discovery>) -> Result<(Namespaces, Selector), String> {
        let known = self.namespaces.iter().map(|(name, labels)| (name.as_str(), labels));
        let namespaces = Namespaces::selected(discovery, own, known).map_err(|e| e.to_string())?;
        let labels = discovery::labels(discovery).map_err(|e| e.to_string())?;
        Ok((namespaces, labels))
    }

    /// A namespace with its labels.
    pub fn namespace_applied(&mut self, name: &str, labels: Labels) {
        if self.namespaces.get(name) != Some(&labels) {
            self.namespaces.insert(name.to_owned(), labels);
            self.namespace_changed(name);
        }
    }

    pub fn namespace_deleted(&mut self, name: &str) {
        if self.namespaces.remove(name).is_some() {
            self.namespace_changed(name);
        }
    }

    fn namespace_changed(&mut self, name: &str) {
        let following: Vec<Key> = self
            .stacks
            .iter()
            .filter(|(_, stack)| stack.selects.is_ok() && discovery::follows_namespaces(stack.discovery.as_ref()))
            .map(|(key, _)| key.clone())
            .collect();
        let mut moved = false;
        for key in following {
            let Some(stack) = self.stacks.get(&key) else { continue };
            let selects = self.selects(&stack.owner.namespace, stack.discovery.as_ref());
            if let (Some(stack), Ok(selects)) = (self.stacks.get_mut(&key), selects) {
                moved |= stack.selects.as_ref().is_ok_and(|(before, _)| *before != selects.0);
                stack.selects = Ok(selects);
            }
        }
        if moved {
            for prefix in [format!("{name}/"), format!("slo/{name}/")] {
                let groups: Vec<Key> = self.within(&prefix).cloned().collect();
                groups.iter().for_each(|group| self.place(group, None));
            }
        }
    }

    /// The groups whose names begin so.
    pub(super) fn within<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a Key> {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        self.rules.range::<str, _>(from).map(|(key, _)| key).take_while(move |key| key.starts_with(prefix))
    }

    /// Why no stack selects it.
    pub(super) fn passed_over(&self, rule: &str) -> Vec<String> {
        let namespace = namespace_of(rule);
        let why = self.stacks.iter().map(|(key, stack)| match &stack.selects {
            Err(why) => why.clone(),
            Ok((namespaces, _)) if !namespaces.contain(namespace) => {
                format!("{key} looks in {}", namespaces.describe())
            }
            Ok((_, labels)) => format!("{key} selects by the labels {labels}"),
        });
        why.take(3).collect()
    }
}
