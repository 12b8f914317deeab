//! All AlertRules, all groups of SLOs, the rules that ship and all stacks: events in, and out comes which shards must be written and which statuses may have
//! changed. Pure: no client, no clock. Specs are not kept, only the text that each AlertRule becomes.

pub mod looked;
mod select;
mod slos;
mod stacks;
pub mod tested;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use kube::ResourceExt;
use kube::core::{Selector, SelectorExt};

use self::tested::Tests;
use super::compile::{self, compile};
use super::feed::{For, namespace_of};
use super::group::{Group, Shipped};
use super::packing::{Content, Key, Packing, Pod, Report};
use super::shards;
use super::status::{self, Facts, InStack, Told};
use crate::api::AlertRule;
use crate::api::alert_rule::{AlertRuleStatus, RuleProblem, RuleSource};
use crate::api::monitoring_stack::{Discovery, RuleCounts};
use crate::k8s::meta::Owner;
use crate::shipped::{Settings as Rules, Sources};
use crate::stack::discovery::Namespaces;

type Labels = BTreeMap<String, String>;

/// An AlertRule, a group of an SLO, or a group of those that ship with a stack.
#[derive(Debug)]
struct Entry {
    uid: String,
    generation: i64,
    labels: Labels,
    shipped: Shipped,
    /// As the API server has it; of an SLO the keeper has it.
    status: AlertRuleStatus,
    tests: Tests,
    /// Series that it wants and its Prometheus has not; `None` until somebody has looked.
    missing: Option<Vec<String>>,
    /// What of an SLO the status of an AlertRule says.
    slo: Option<OfSlo>,
    /// The stack that a group which ships belongs to: no other takes it.
    stack: Option<Key>,
}

/// What is kept of a group of an SLO.
#[derive(Debug)]
struct OfSlo {
    for_: For,
    /// Digest of the text before Prometheus refused any of it.
    source: String,
    was_loaded: bool,
}

impl Entry {
    fn is_alert_rule(&self) -> bool {
        self.slo.is_none() && self.stack.is_none()
    }

    /// Whether Prometheus had confirmed its text before this process began.
    fn was_loaded(&self) -> bool {
        match &self.slo {
            Some(slo) => slo.was_loaded,
            None if self.stack.is_some() => false,
            None => status::was_loaded(&self.status, self.generation),
        }
    }
}

/// A MonitoringStack.
#[derive(Debug)]
struct Stack {
    owner: Owner,
    discovery: Option<Discovery>,
    paused: bool,
    settings: Settings,
    /// Which of the rules that ship it has; `None`: none were asked for yet.
    ships: Option<(Rules, Sources)>,
    /// Where it looks for AlertRules; `Err` says why it selects none.
    selects: Result<(Namespaces, Selector), String>,
    packing: Packing,
}

/// What the keeper of SLOs has to know of a stack's spec.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Settings {
    retention: u64,
    shards: i32,
    sloth: bool,
}

/// What a shard held when the operator started: where each group lives, and its text.
type Recovered = HashMap<Box<str>, (usize, Box<str>)>;

/// The memory of the rule loader.
#[derive(Debug, Default)]
pub struct Index {
    rules: BTreeMap<Key, Entry>,
    stacks: BTreeMap<Key, Stack>,
    /// Pods of Prometheus by stack, also of stacks that are not known yet: the two watches do not wait for each other.
    pods: BTreeMap<Key, BTreeMap<String, Pod>>,
    namespaces: BTreeMap<String, Labels>,
    recovered: HashMap<Key, Recovered>,
    changed: BTreeSet<Key>,
    /// AlertRules whose tests have to be run.
    untested: BTreeSet<Key>,
    /// Alerts that fire, by AlertRule; `None` until they were asked for.
    firing: Option<BTreeMap<Key, i32>>,
    /// Counts changes, so that a shard's text can be told to be newer than a change.
    clock: u64,
}

impl Index {
    /// The text of a shard as it was found when the operator started: rules stay where they are, and the last good
    /// version of a rule that is refused now is in it. Before any AlertRule is known.
    pub fn recovered(&mut self, stack: &str, shard: usize, file: &str) {
        if let Some(stack) = self.stacks.get_mut(stack) {
            stack.packing.found(shard, shards::edition(file));
        }
        let recovered = self.recovered.entry(stack.into()).or_default();
        for text in shards::groups(file) {
            if let Some(name) = Group::cut(&text).name() {
                recovered.insert(name.into(), (shard, text.into()));
            }
        }
    }

    /// Every AlertRule and every SLO was seen once: what was found at the start is not needed any more.
    pub fn started(&mut self) {
        self.recovered = HashMap::new();
    }

    /// An AlertRule as the API server has it. Compiled only when it is new or its generation is.
    pub fn rule_applied(&mut self, object: &AlertRule) {
        let (Some(uid), Some(namespace)) = (object.uid(), object.namespace()) else { return };
        let key = key(&namespace, &object.name_any());
        if object.spec.source == RuleSource::Logs {
            // Loki's: `rule/logs` has it now, and its status.
            return self.rule_deleted(&key);
        }
        let generation = object.metadata.generation.unwrap_or_default();
        let status = object.status.clone().unwrap_or_default();
        let labels = object.labels().clone();
        let before = self.rules.get_mut(&key).filter(|entry| entry.uid == uid);
        if let Some(entry) = before.filter(|entry| entry.generation >= generation) {
            if entry.status != status {
                entry.status = status;
                self.changed.insert(key.clone());
            }
            if entry.labels != labels {
                entry.labels = labels;
                self.place(&key, None);
            }
            return;
        }
        let before = self.rules.remove(&key);
        let mine = before.as_ref().filter(|entry| entry.uid == uid);
        let found = self.recovered.values().find_map(|groups| groups.get(&*key));
        let old = mine.map(|entry| &*entry.shipped.text).or(found.map(|(_, text)| &**text));
        let quarantined: Vec<RuleProblem> = match mine {
            Some(entry) => entry.shipped.problems.iter().map(|problem| problem.told.clone()).collect(),
            // Told without the fate of its earlier version, which is found out anew.
            None => status.rules.iter().map(without_fate).collect(),
        };
        let quarantined: Vec<RuleProblem> = quarantined.into_iter().filter(|p| p.digest.is_some()).collect();
        let compiled = compile(&compile::group_name(&namespace, &object.name_any()), Some(generation), &object.spec);
        let tests = Tests::of(&object.spec, generation, &compiled, &status);
        let shipped = tests.held(&compiled, old).unwrap_or_else(|| Shipped::new(&compiled, old, &quarantined));
        match tests.waits() {
            true => self.untested.insert(key.clone()),
            false => self.untested.remove(&key),
        };
        self.changed.insert(key.clone());
        let missing = None;
        let entry = Entry { uid, generation, labels, shipped, status, tests, missing, slo: None, stack: None };
        self.rules.insert(key.clone(), entry);
        let old = before.as_ref().map_or("", |entry| &*entry.shipped.text);
        // What is held back by its tests is as it was.
        let same = before.is_some() && self.rules.get(&key).is_some_and(|entry| *entry.shipped.text == *old);
        self.place(&key, (!same).then_some(old));
    }

    pub fn rule_deleted(&mut self, key: &str) {
        let Some((key, _)) = self.rules.remove_entry(key) else { return };
        self.untested.remove(&key);
        self.stacks.values_mut().for_each(|stack| stack.packing.remove(&key));
    }

    /// Every AlertRule that is known; to find those that were deleted while nobody watched.
    pub fn rules(&self) -> impl Iterator<Item = &Key> {
        self.rules.iter().filter(|(_, entry)| entry.is_alert_rule()).map(|(key, _)| key)
    }
    pub fn stacks(&self) -> impl Iterator<Item = &Key> {
        self.stacks.keys()
    }
    pub fn namespaces(&self) -> impl Iterator<Item = &String> {
        self.namespaces.keys()
    }

    /// Gives a group to the stacks that select it. `old`: its text before, when that has changed.
    fn place(&mut self, rule: &Key, old: Option<&str>) {
        let Some(entry) = self.rules.get(rule) else { return };
        let namespace = namespace_of(rule);
        self.clock += 1;
        for (key, stack) in &mut self.stacks {
            let takes = entry.slo.as_ref().is_none_or(|slo| slo.for_.takes(stack.settings.sloth));
            let selected = stack.selects.as_ref().is_ok_and(|(namespaces, labels)| match &entry.stack {
                Some(own) => own == key,
                None => takes && namespaces.contain(namespace) && labels.matches(&entry.labels),
            });
            if selected {
                let found = self.recovered.get(key).and_then(|groups| groups.get(&**rule));
                let known = found.map(|(shard, text)| (*shard, *text == entry.shipped.text && entry.was_loaded()));
                stack.packing.put(rule, &entry.shipped, old, known, self.clock);
            } else if stack.packing.placement(rule).is_some() {
                stack.packing.remove(rule);
            } else {
                self.changed.insert(rule.clone());
            }
        }
    }

    /// The shards to write now.
    pub fn dirty(&self) -> Vec<(Key, usize)> {
        let writable = self.stacks.iter().filter(|(_, stack)| !stack.paused);
        writable.flat_map(|(key, stack)| stack.packing.dirty().into_iter().map(|shard| (key.clone(), shard))).collect()
    }

    /// Takes the work of one shard; `written` must follow.
    pub fn content(&mut self, stack: &str, shard: usize) -> Option<(Owner, Content)> {
        let stack = self.stacks.get_mut(stack)?;
        let rules = &self.rules;
        let content = stack.packing.content(shard, self.clock, |rule| text(rules, rule));
        Some((stack.owner.clone(), content))
    }

    /// The state of one stack's rules.
    pub fn packing(&self, stack: &str) -> Option<&Packing> {
        self.stacks.get(stack).map(|stack| &stack.packing)
    }

    /// Stacks whose Prometheus pods are worth asking.
    pub fn unconfirmed(&self) -> Vec<Key> {
        self.stacks.iter().filter(|(_, stack)| stack.packing.unconfirmed()).map(|(key, _)| key.clone()).collect()
    }

    pub fn owner(&self, stack: &str) -> Option<&Owner> {
        self.stacks.get(stack).map(|stack| &stack.owner)
    }

    /// A shard was written or deleted (`Ok` with its revision), or not.
    pub fn written(&mut self, stack: &str, shard: usize, number: u64, outcome: Result<Option<String>, ()>) {
        if let Some(stack) = self.stacks.get_mut(stack) {
            stack.packing.written(shard, number, outcome);
        }
    }

    /// The shard in the cluster is not what was written.
    pub fn disturbed(&mut self, stack: &str, shard: usize) {
        if let Some(stack) = self.stacks.get_mut(stack) {
            stack.packing.disturbed(shard);
        }
    }

    pub fn pod_seen(&mut self, stack: &str, pod: Pod) {
        self.pods.entry(stack.into()).or_default().insert(pod.name.clone(), pod.clone());
        if let Some(stack) = self.stacks.get_mut(stack) {
            stack.packing.pod_seen(pod);
        }
    }

    pub fn pod_gone(&mut self, stack: &str, pod: &str) {
        if let Some(pods) = self.pods.get_mut(stack) {
            pods.remove(pod);
            if pods.is_empty() {
                self.pods.remove(stack);
            }
        }
        if let Some(stack) = self.stacks.get_mut(stack) {
            stack.packing.pod_gone(pod);
        }
    }

    /// The stacks that have pods, with the names of these.
    pub fn pods(&self) -> impl Iterator<Item = (&Key, &String)> {
        self.pods.iter().flat_map(|(stack, pods)| pods.keys().map(move |pod| (stack, pod)))
    }

    /// What every ready Prometheus of a stack said in one round of questions, which began after the last one ended.
    pub fn report(&mut self, stack: &str, reports: Vec<(String, Report)>, now: Timestamp) {
        let Some(found) = self.stacks.get_mut(stack) else { return };
        found.packing.report(reports);
        loop {
            self.clock += 1;
            let Some(found) = self.stacks.get_mut(stack) else { return };
            let rules = &self.rules;
            let Some(guilty) = found.packing.judge(|rule| text(rules, rule), self.clock, now) else { return };
            let good = match found.packing.placement(&guilty.rule).map(|placement| placement.good.clone()) {
                Some(super::packing::Good::Older(good)) => Some(good),
                _ => None,
            };
            let Some(entry) = self.rules.get_mut(&guilty.rule) else { continue };
            let old = entry.shipped.text.clone();
            if entry.shipped.quarantine(&guilty.digest, good.as_deref()).is_some() {
                self.changed.insert(guilty.rule.clone());
                self.place(&guilty.rule, Some(&old));
            }
        }
    }

    /// Groups whose status may have changed since the last call.
    pub fn changed(&mut self) -> BTreeSet<Key> {
        let mut changed = std::mem::take(&mut self.changed);
        for stack in self.stacks.values_mut() {
            changed.append(&mut stack.packing.changed);
        }
        changed
    }

    /// The status that an AlertRule should have, and the one that it has.
    pub fn status(&self, rule: &str, now: Timestamp) -> Option<(Told, &AlertRuleStatus)> {
        let (key, entry) = self.rules.get_key_value(rule).filter(|(_, entry)| entry.is_alert_rule())?;
        let selecting = self.stacks.values().filter(|stack| stack.packing.placement(rule).is_some());
        let stacks: Vec<InStack> = selecting
            .map(|stack| InStack {
                namespace: &stack.owner.namespace,
                name: &stack.owner.name,
                shard: stack.packing.placement(rule).and_then(|placement| placement.shard),
                waits_for: stack.packing.waits_for(rule, now),
                retention: stack.settings.retention,
            })
            .collect();
        let facts = Facts {
            source: RuleSource::Metrics,
            generation: entry.generation,
            checked: true,
            shipped: &entry.shipped,
            passed_over: if stacks.is_empty() { self.passed_over(key) } else { vec![] },
            stacks,
            tests: &entry.tests,
            missing: entry.missing.as_deref(),
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

    /// Counts of every stack that has been looked at.
    pub fn counts(&self) -> impl Iterator<Item = (&Owner, RuleCounts)> {
        self.stacks.values().map(|stack| (&stack.owner, stack.packing.counts()))
    }

    /// The AlertRules, and the groups that ship, that have an alert of one of these names. SLOs have no count of what fires.
    pub fn alerting(&self, names: &BTreeSet<&str>) -> BTreeMap<String, Vec<Key>> {
        let mut found: BTreeMap<String, Vec<Key>> = BTreeMap::new();
        for (key, entry) in self.rules.iter().filter(|(_, entry)| entry.slo.is_none()) {
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

/// `<namespace>/<name>`, for AlertRules and stacks alike.
pub fn key(namespace: &str, name: &str) -> Key {
    compile::group_name(namespace, name).into()
}

fn text<'a>(rules: &'a BTreeMap<Key, Entry>, rule: &str) -> &'a str {
    rules.get(rule).map_or("", |entry| &entry.shipped.text)
}

fn without_fate(problem: &RuleProblem) -> RuleProblem {
    let message = problem.message.rsplit_once("; ").map_or(problem.message.as_str(), |(message, _)| message);
    RuleProblem { message: message.to_owned(), ..problem.clone() }
}

#[cfg(test)]
mod source_tests;
#[cfg(test)]
mod tests;
