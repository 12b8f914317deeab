//! Which AlertRules have alerts that fire.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::{Done, FIRING, Loader};
use crate::rule::io;
use crate::rule::packing::{Key, Pod};

impl Loader {
    pub(super) fn ask_firing(&mut self, now: Instant) {
        if now < self.firing_next {
            return;
        }
        self.firing_next = now + FIRING;
        for stack in self.index.stacks().cloned().collect::<Vec<_>>() {
            let pods = self.one_of_each_shard(&stack);
            if pods.is_empty() {
                continue;
            }
            let http = self.context.http.clone();
            self.tasks.spawn(async move {
                let names = io::firing(&http, &pods).await;
                let names = names.inspect_err(|error| tracing::debug!(%error, "cannot ask what fires")).ok();
                Done::Alerts { stack, names }
            });
        }
    }

    pub(super) fn one_of_each_shard(&self, stack: &str) -> Vec<Pod> {
        let mut pods = BTreeMap::new();
        for pod in self.index.packing(stack).into_iter().flat_map(|packing| packing.pods()).filter(|pod| pod.ready) {
            pods.entry(pod.shard.clone()).or_insert_with(|| pod.clone());
        }
        pods.into_values().collect()
    }

    /// An alert does not tell its group: its name does, unless several AlertRules have an alert of that name.
    pub(super) fn alerts(&mut self, stack: Key, names: Vec<String>) {
        let defining = self.index.alerting(&names.iter().map(String::as_str).collect());
        if defining.values().all(|rules| rules.len() == 1) {
            let mut counts = BTreeMap::new();
            for rule in names.iter().filter_map(|name| defining.get(name)?.first()) {
                *counts.entry(rule.clone()).or_default() += 1;
            }
            return self.fires(stack, counts);
        }
        let groups: BTreeSet<String> = defining.into_values().flatten().map(|rule| rule.to_string()).collect();
        let (groups, pods) = (Vec::from_iter(groups), self.one_of_each_shard(&stack));
        let http = self.context.http.clone();
        self.tasks.spawn(async move {
            let counts = io::firing_in(&http, &pods, &groups).await;
            Done::Firing { stack, counts: counts.ok() }
        });
    }

    pub(super) fn fires(&mut self, stack: Key, mut counts: BTreeMap<Key, i32>) {
        counts.retain(|_, count| *count > 0);
        self.firing.insert(stack, counts);
        let mut all = BTreeMap::<Key, i32>::new();
        // Two stacks that select one AlertRule see the same alerts.
        for (rule, count) in self.firing.values().flatten() {
            let most = all.entry(rule.clone()).or_default();
            *most = (*most).max(*count);
        }
        self.index.fires(all);
    }
}
