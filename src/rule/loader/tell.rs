//! What the loader tells: the statuses of AlertRules, the counts of stacks.

use std::time::Instant;

use jiff::Timestamp;
use kube::runtime::reflector::ObjectRef;

use super::{Done, Loader, STATUSES_AT_ONCE, WAIT, gauge};
use crate::api::monitoring_stack::RuleCounts;
use crate::rule::index::key;
use crate::rule::io;
use crate::rule::packing::Key;

impl Loader {
    /// Statuses that have changed.
    pub(super) fn tell(&mut self, now: Instant) {
        self.told_now.extend(self.index.changed());
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

    pub(super) fn tell_one(&mut self, rule: Key, now: Instant) {
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
        if unsettled && now.duration_since(since) < WAIT {
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
}
