//! The groups of SLOs in the index: shipped as AlertRules are, told to the keeper instead of to a status.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::tested::Tests;
use super::{Entry, Index, OfSlo};
use crate::api::alert_rule::{AlertRuleStatus, RuleProblem, StackLoad};
use crate::k8s::meta::digest;
use crate::rule::feed::{BURN, For, Load, Name, SLOTH, Slo, StackView, slo_group, slo_of};
use crate::rule::group::{Group, Shipped};
use crate::rule::packing::Key;

impl Index {
    /// An SLO as it is to be shipped. A refused one keeps what it had: here, or in the shards.
    pub fn slo_applied(&mut self, slo: &Slo) {
        let (namespace, name) = &slo.name;
        let known = self.groups_of(&slo.name);
        let Some(groups) = &slo.groups else {
            if !known.iter().any(|key| self.rules.get(key).is_some_and(|entry| entry.uid == slo.uid)) {
                known.iter().for_each(|key| self.rule_deleted(key));
                self.recover(slo);
            }
            for key in self.groups_of(&slo.name) {
                if let Some(entry) = self.rules.get_mut(&key) {
                    entry.labels.clone_from(&slo.labels);
                    entry.generation = slo.generation;
                }
                self.changed.insert(key.clone());
                self.place(&key, None);
            }
            return;
        };
        let mut gone: BTreeSet<Key> = known.into_iter().collect();
        for group in groups {
            let key: Key = slo_group(namespace, name, &group.part).into();
            gone.remove(&key);
            let text = format!("# generation {}\n{}", slo.generation, group.text);
            self.ship(key, slo, group.for_, &text);
        }
        gone.iter().for_each(|key| self.rule_deleted(key));
    }

    /// One group; nothing happens when it is the same.
    fn ship(&mut self, key: Key, slo: &Slo, for_: For, text: &str) {
        let source = digest([text], 16);
        let before = self.rules.get_mut(&key).filter(|entry| entry.uid == slo.uid);
        if let Some(entry) = before
            && let Some(known) = entry.slo.as_mut().filter(|known| known.source == source)
        {
            let moved = known.for_ != for_ || entry.labels != slo.labels;
            known.for_ = for_;
            entry.generation = slo.generation;
            if moved {
                entry.labels.clone_from(&slo.labels);
                self.place(&key, None);
            }
            self.changed.insert(key);
            return;
        }
        let before = self.rules.remove(&key);
        let mine = before.as_ref().filter(|entry| entry.uid == slo.uid);
        let problems = mine.map_or(&[][..], |entry| &entry.shipped.problems);
        let refused: Vec<RuleProblem> = problems.iter().map(|problem| problem.told.clone()).collect();
        let shipped = shipped(text, &refused);
        let of_slo = OfSlo { for_, source, was_loaded: slo.was_loaded };
        self.changed.insert(key.clone());
        self.rules.insert(key.clone(), entry(slo, shipped, of_slo));
        self.place(&key, Some(before.as_ref().map_or("", |entry| &*entry.shipped.text)));
    }

    /// A refused SLO that was not known: its last good version is what the shards hold, or nothing.
    fn recover(&mut self, slo: &Slo) {
        let (namespace, name) = &slo.name;
        let of_it = |group: &str| slo_of(group) == Some((namespace.as_str(), name.as_str()));
        let mut found: BTreeMap<Key, Box<str>> = BTreeMap::new();
        for (group, (_, text)) in self.recovered.values().flatten().filter(|(group, _)| of_it(group)) {
            found.insert((&**group).into(), text.clone());
        }
        if found.is_empty() {
            found.insert(slo_group(namespace, name, BURN).into(), "".into());
        }
        let both = found.keys().any(|key| key.ends_with(SLOTH));
        for (key, text) in found {
            let for_ = match key.ends_with(SLOTH) {
                true => For::Sloth,
                false if both => For::Plain,
                false => For::All,
            };
            let group = Group::cut(&text);
            let shipped = Shipped { rules: group.pieces.len(), problems: vec![], text: text.clone(), reach: 0 };
            let of_slo = OfSlo { for_, source: digest([&*text], 16), was_loaded: true };
            self.rules.insert(key.clone(), entry(slo, shipped, of_slo));
            self.place(&key, Some(""));
        }
    }

    pub fn slo_deleted(&mut self, name: &Name) {
        self.groups_of(name).iter().for_each(|key| self.rule_deleted(key));
    }

    /// Every SLO that is known.
    pub fn slos(&self) -> BTreeSet<Name> {
        let names = self.within("slo/").filter_map(|key| slo_of(key));
        names.map(|(namespace, name)| (namespace.to_owned(), name.to_owned())).collect()
    }

    fn groups_of(&self, (namespace, name): &Name) -> Vec<Key> {
        self.within(&format!("slo/{namespace}/{name}/")).cloned().collect()
    }

    /// How it stands with the rules of one SLO; `None` when it is not known.
    pub fn load(&self, name: &Name, now: Timestamp) -> Option<Load> {
        let groups = self.groups_of(name);
        let first = groups.first()?;
        let accepted = |key: &Key| self.rules.get(key).map_or(0, |entry| entry.shipped.accepted());
        let mut stacks = vec![];
        for stack in self.stacks.values() {
            let here: Vec<&Key> = groups.iter().filter(|key| stack.packing.placement(key).is_some()).collect();
            if here.is_empty() {
                continue;
            }
            let waits = |key: &&Key| stack.packing.waits_for(key, now);
            let loaded: usize = here.iter().filter(|key| waits(key).is_none()).map(|key| accepted(key)).sum();
            let mut shards = here.iter().map(|key| stack.packing.placement(key).and_then(|p| p.shard));
            let shard = shards.next().flatten().filter(|first| shards.all(|shard| shard == Some(*first)));
            stacks.push(StackLoad {
                namespace: stack.owner.namespace.clone(),
                name: stack.owner.name.clone(),
                loaded: loaded as i32,
                total: here.iter().map(|key| accepted(key)).sum::<usize>() as i32,
                shard: shard.map(|shard| shard as i32),
                message: here.iter().find_map(waits).map(str::to_owned),
            });
        }
        let entries = || groups.iter().filter_map(|key| self.rules.get(key));
        let mut refused: Vec<RuleProblem> = vec![];
        for problem in entries().flat_map(|entry| &entry.shipped.problems).map(|problem| problem.status()) {
            if !refused.iter().any(|known| known.name == problem.name) {
                refused.push(problem);
            }
        }
        Some(Load {
            passed_over: if stacks.is_empty() { self.passed_over(first) } else { vec![] },
            rules: stacks.first().map_or(0, |stack| stack.total as usize),
            stacks,
            refused,
        })
    }

    /// What the keeper has to know of the stacks that run a Prometheus.
    pub fn views(&self) -> BTreeMap<Key, StackView> {
        let runs = self.stacks.iter().filter(|(_, stack)| stack.settings.shards > 0);
        runs.map(|(key, stack)| {
            let pods = stack.packing.pods().filter(|pod| pod.ready && pod.ip.is_some()).cloned().collect();
            let super::Settings { retention, shards, sloth } = stack.settings;
            (key.clone(), StackView { uid: stack.owner.uid.clone(), retention, shards, sloth, pods })
        })
        .collect()
    }
}

fn entry(slo: &Slo, shipped: Shipped, of_slo: OfSlo) -> Entry {
    Entry {
        uid: slo.uid.clone(),
        generation: slo.generation,
        labels: slo.labels.clone(),
        shipped,
        status: AlertRuleStatus::default(),
        tests: Tests::None,
        missing: None,
        slo: Some(of_slo),
        stack: None,
    }
}

/// A group as it is shipped: rules of one name are told apart by their order, and those that Prometheus refused are
/// left out.
fn shipped(text: &str, refused: &[RuleProblem]) -> Shipped {
    let mut group = Group::cut(text);
    let mut named: BTreeMap<&str, usize> = BTreeMap::new();
    for piece in &mut group.pieces {
        let count = named.entry(piece.line()).or_default();
        piece.nth = *count;
        *count += 1;
    }
    let rules = group.pieces.len();
    let mut problems = vec![];
    let mut index = 0;
    group.pieces.retain(|piece| {
        let digest = (!refused.is_empty()).then(|| piece.digest());
        let known = refused.iter().find(|problem| problem.digest.is_some() && problem.digest == digest);
        problems.extend(
            known.map(|problem| crate::rule::group::Problem {
                told: RuleProblem { index, ..problem.clone() },
                kept: None,
            }),
        );
        index += 1;
        known.is_none()
    });
    Shipped { text: group.to_text().into(), rules, problems, reach: 0 }
}

#[cfg(test)]
mod tests;
