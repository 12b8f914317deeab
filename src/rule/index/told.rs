//! What the index tells: the statuses of AlertRules, the counts of stacks, whose alerts fire.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::Index;
use crate::api::alert_rule::AlertRuleStatus;
use crate::api::monitoring_stack::RuleCounts;
use crate::k8s::meta::Owner;
use crate::rule::group::Group;
use crate::rule::packing::Key;
use crate::rule::status::{self, Facts, InStack, Told};

impl Index {
    /// AlertRules whose status may have changed since the last call.
    pub fn changed(&mut self) -> BTreeSet<Key> {
        let mut changed = std::mem::take(&mut self.changed);
        for stack in self.stacks.values_mut() {
            changed.append(&mut stack.packing.changed);
        }
        changed
    }

    /// The status that an AlertRule should have, and the one that it has.
    pub fn status(&self, rule: &str, now: Timestamp) -> Option<(Told, &AlertRuleStatus)> {
        let (key, entry) = self.rules.get_key_value(rule)?;
        let selecting = self.stacks.values().filter(|stack| stack.packing.placement(rule).is_some());
        let stacks: Vec<InStack> = selecting
            .map(|stack| InStack {
                namespace: &stack.owner.namespace,
                name: &stack.owner.name,
                shard: stack.packing.placement(rule).and_then(|placement| placement.shard),
                waits_for: stack.packing.waits_for(rule, now),
            })
            .collect();
        let facts = Facts {
            generation: entry.generation,
            shipped: &entry.shipped,
            passed_over: if stacks.is_empty() { self.passed_over(key) } else { vec![] },
            stacks,
            firing: self.firing.as_ref().map(|firing| firing.get(key).copied().unwrap_or_default()),
            previous: &entry.status,
        };
        Some((status::of(&facts, now), &entry.status))
    }

    /// UID of an AlertRule.
    pub fn uid(&self, rule: &str) -> Option<&str> {
        self.rules.get(rule).map(|entry| entry.uid.as_str())
    }

    /// The status was written.
    pub fn status_written(&mut self, rule: &str, status: AlertRuleStatus) {
        if let Some(entry) = self.rules.get_mut(rule) {
            entry.status = status;
        }
    }

    /// Why no stack selects it.
    pub(super) fn passed_over(&self, rule: &str) -> Vec<String> {
        let namespace = rule.split('/').next().unwrap_or_default();
        let why = self.stacks.iter().map(|(key, stack)| match &stack.selects {
            Err(why) => why.clone(),
            Ok((namespaces, _)) if !namespaces.contain(namespace) => {
                format!("{key} looks in {}", namespaces.describe())
            }
            Ok((_, labels)) => format!("{key} selects by the labels {labels}"),
        });
        why.take(3).collect()
    }

    /// Counts of every stack that has been looked at.
    pub fn counts(&self) -> impl Iterator<Item = (&Owner, RuleCounts)> {
        self.stacks.values().map(|stack| (&stack.owner, stack.packing.counts()))
    }

    /// The AlertRules that have an alert of one of these names.
    pub fn alerting(&self, names: &BTreeSet<&str>) -> BTreeMap<String, Vec<Key>> {
        let mut found: BTreeMap<String, Vec<Key>> = BTreeMap::new();
        for (key, entry) in &self.rules {
            for piece in Group::cut(&entry.shipped.text).pieces {
                let name = piece.name();
                let alert = piece.line().starts_with("  - alert: ") && names.contains(name.as_str());
                let known = alert.then(|| found.entry(name).or_default());
                known.into_iter().filter(|keys| keys.last() != Some(key)).for_each(|keys| keys.push(key.clone()));
            }
        }
        found
    }

    /// Alerts that fire now, by AlertRule.
    pub fn fires(&mut self, firing: BTreeMap<Key, i32>) {
        let before = match self.firing.take() {
            Some(before) => before,
            // The first answer is compared with what the statuses say.
            None => {
                self.rules.iter().map(|(key, entry)| (key.clone(), entry.status.firing.unwrap_or_default())).collect()
            }
        };
        let differs = |key: &Key, count: i32, other: &BTreeMap<Key, i32>| {
            (other.get(key).copied().unwrap_or_default() != count).then(|| key.clone())
        };
        self.changed.extend(firing.iter().filter_map(|(key, count)| differs(key, *count, &before)));
        self.changed.extend(before.iter().filter_map(|(key, count)| differs(key, *count, &firing)));
        self.firing = Some(firing);
    }
}
