//! What the loader tells: statuses, counts of the stacks, firing alerts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use jiff::Timestamp;
use kube::runtime::reflector::ObjectRef;

use super::{Done, FIRING, Loader, STATUSES_AT_ONCE, VIEWS, WAIT, WAIT_FOR_COUNTS};
use crate::api::monitoring_stack::RuleCounts;
use crate::metrics;
use crate::rule::feed::slo_of;
use crate::rule::index::key;
use crate::rule::io;
use crate::rule::packing::{Key, Pod};

impl Loader {
    /// Statuses that have changed.
    pub(super) fn tell(&mut self, now: Instant) {
        let mut slos = BTreeSet::new();
        for key in self.index.changed() {
            match slo_of(&key) {
                Some((namespace, name)) => _ = slos.insert((namespace.to_owned(), name.to_owned())),
                None => _ = self.told_now.insert(key),
            }
        }
        for name in slos {
            if let Some(load) = self.index.load(&name, Timestamp::now()) {
                // The receiver is gone only when the process ends.
                let _ = self.keeper.loads.send((name, load));
            }
        }
        if !self.told_later.is_empty() {
            let due: Vec<Key> =
                self.told_later.iter().filter(|(_, at)| **at <= now).map(|(rule, _)| rule.clone()).collect();
            self.told_now.extend(due);
        }
        let mut busy = vec![];
        while self.telling.len() < STATUSES_AT_ONCE {
            let Some(rule) = self.told_now.pop_first() else { break };
            if self.telling.contains(&rule) {
                busy.push(rule);
                continue;
            }
            self.tell_one(rule, now);
        }
        self.told_now.extend(busy);
    }

    /// Tells the keeper of SLOs which stacks there are, once all are known.
    pub(super) fn show_stacks(&mut self, now: Instant) {
        let known = self.listings[..4].iter().all(|listing| listing.done);
        if !known || self.views_at.is_some_and(|at| now.duration_since(at) < VIEWS) {
            return;
        }
        self.views_at = Some(now);
        let views = Some(self.index.views());
        self.keeper.views.send_if_modified(|known| {
            let differs = *known != views;
            if differs {
                *known = views;
            }
            differs
        });
    }

    fn tell_one(&mut self, rule: Key, now: Instant) {
        let Some((told, old)) = self.index.status(&rule, Timestamp::now()) else { return };
        if told.status == *old {
            self.told_later.remove(&rule);
            return;
        }
        if !told.settled {
            let due = *self.told_later.entry(rule.clone()).or_insert(now + WAIT);
            if due > now {
                return;
            }
        }
        self.told_later.remove(&rule);
        let (old, status) = (old.clone(), Box::new(told.status));
        let object = io::bare(&rule, self.index.uid(&rule).unwrap_or_default());
        let context = self.context.clone();
        self.telling.insert(rule.clone());
        self.tasks.spawn(async move {
            let result = io::write_status(&context, &object, &old, &status).await;
            Done::Status { rule, status, result }
        });
    }

    /// Counts of the stacks, once they have settled.
    pub(super) fn tell_stacks(&mut self, now: Instant) {
        let new: Vec<_> = self.index.counts().map(|(owner, counts)| (owner.clone(), counts)).collect();
        let differs = |owner: &crate::k8s::meta::Owner, counts: &RuleCounts| {
            self.counts.get(&key(&owner.namespace, &owner.name)) != Some(counts)
        };
        if !new.iter().any(|(owner, counts)| differs(owner, counts)) {
            self.counts_since = None;
            return;
        }
        let since = *self.counts_since.get_or_insert(now);
        let unsettled = self.index.dirty().len() + self.writing.len() > 0 || !self.index.unconfirmed().is_empty();
        if unsettled && now.duration_since(since) < WAIT_FOR_COUNTS {
            return;
        }
        self.counts_since = None;
        for (owner, counts) in new {
            self.counts.insert(key(&owner.namespace, &owner.name), counts);
            let states = [("accepted", counts.accepted), ("rejected", counts.rejected), ("loaded", counts.loaded)];
            for (state, count) in states {
                self.context.metrics.rules.get_or_create(&gauge(&owner.namespace, &owner.name, state)).set(count);
            }
            if self.memory.set_rules(&owner.namespace, &owner.name, counts) {
                // The receiver is gone only when the process ends.
                let _ = self.changed.unbounded_send(ObjectRef::new(&owner.name).within(&owner.namespace));
            }
        }
    }

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

    /// An alert does not tell its group: its name does, unless several AlertRules, or SLOs
    /// too, have an alert of that name.
    pub(super) fn alerts(&mut self, stack: Key, names: Vec<String>) {
        let defining = self.index.alerting(&names.iter().map(String::as_str).collect());
        let of_slos = [crate::slo::alerts::BURN, crate::slo::alerts::NO_DATA];
        if defining.iter().all(|(name, rules)| rules.len() == 1 && !of_slos.contains(&name.as_str())) {
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

pub(super) fn gauge(namespace: &str, stack: &str, state: &str) -> metrics::Stack {
    metrics::Stack { namespace: namespace.to_owned(), stack: stack.to_owned(), state: state.to_owned() }
}
