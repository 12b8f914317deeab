//! What is known of the AlertRules over logs and of the Lokis that evaluate them: events in, and out come the questions
//! to Loki, the files that there should be, and the statuses. Pure: no client, no clock.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use kube::ResourceExt;
use kube::core::{Selector, SelectorExt};

use super::files::{self, File};
use super::pod::{Pod, Report};
use super::verdict::Verdicts;
use crate::api::alert_rule::{AlertRuleSpec, AlertRuleStatus, RuleSource};
use crate::api::monitoring_stack::RuleCounts;
use crate::api::{AlertRule, MonitoringStack};
use crate::k8s::meta::{Owner, digest};
use crate::rule::compile::compile_with;
use crate::rule::group::{Group, Shipped};
use crate::rule::index::key;
use crate::rule::index::tested::Tests;
use crate::rule::packing::Key;
use crate::rule::status::{self, Facts, InStack, Told};
use crate::stack::discovery::{self, Namespaces};

type Labels = BTreeMap<String, String>;

/// An AlertRule with `source: logs`.
#[derive(Debug)]
struct Entry {
    uid: String,
    generation: i64,
    labels: Labels,
    spec: AlertRuleSpec,
    /// What is in the files: of this generation when it was judged, else what was there before.
    shipped: Shipped,
    judged: bool,
    /// As the API server has it.
    status: AlertRuleStatus,
}

/// A MonitoringStack.
#[derive(Debug)]
struct Stack {
    owner: Owner,
    spec: crate::api::monitoring_stack::MonitoringStackSpec,
    gone: bool,
    /// Revisions of the files as they were written.
    written: BTreeMap<usize, String>,
    pods: BTreeMap<String, Pod>,
}

/// The memory of the keeper.
#[derive(Debug, Default)]
pub struct Memory {
    rules: BTreeMap<Key, Entry>,
    stacks: BTreeMap<Key, Stack>,
    /// Also of stacks that are not known yet: the watches do not wait for each other.
    pods: BTreeMap<Key, BTreeMap<String, Pod>>,
    namespaces: BTreeMap<String, Labels>,
    /// Groups as they were found at the start, with the text of each.
    recovered: BTreeMap<String, String>,
    found: BTreeMap<Key, BTreeMap<usize, String>>,
    pub verdicts: Verdicts,
}

impl Memory {
    /// A file as it was found when the operator started. Before any object is known.
    pub fn recovered(&mut self, stack: Key, number: usize, text: &str) {
        for group in files::groups(text) {
            if let Some(name) = Group::cut(&group).name() {
                self.recovered.insert(name, group);
            }
        }
        let all: Vec<String> = files::groups(text).collect();
        let revision = files::file(number, all.iter().map(String::as_str)).revision;
        self.found.entry(stack).or_default().insert(number, revision);
    }

    pub fn stack_applied(&mut self, object: &MonitoringStack) {
        let Some(owner) = Owner::of(object) else { return };
        let key = key(&owner.namespace, &owner.name);
        if self.stacks.get(&key).is_some_and(|stack| stack.owner.uid != owner.uid) {
            self.stacks.remove(&key);
        }
        let gone = object.metadata.deletion_timestamp.is_some();
        let pods = self.pods.get(&key).cloned().unwrap_or_default();
        let found = &mut self.found;
        let stack = self.stacks.entry(key.clone()).or_insert_with(|| {
            let written = found.remove(&key).unwrap_or_default();
            Stack { owner, spec: Default::default(), gone, written, pods }
        });
        stack.spec = object.spec.clone();
        stack.gone = gone;
    }

    pub fn stack_deleted(&mut self, key: &str) {
        self.stacks.remove(key);
    }

    pub fn namespace_applied(&mut self, name: &str, labels: Labels) {
        self.namespaces.insert(name.to_owned(), labels);
    }

    pub fn namespace_deleted(&mut self, name: &str) {
        self.namespaces.remove(name);
    }

    pub fn pod_seen(&mut self, stack: &Key, name: &str, pod: Pod) {
        let pods = self.pods.entry(stack.clone()).or_default();
        let report = pods.get(name).filter(|before| before.ip == pod.ip).and_then(|before| before.report.clone());
        pods.insert(name.to_owned(), Pod { report, ..pod });
        self.share_pods(stack);
    }

    pub fn pod_gone(&mut self, stack: &Key, name: &str) {
        if let Some(pods) = self.pods.get_mut(stack) {
            pods.remove(name);
        }
        self.share_pods(stack);
    }

    fn share_pods(&mut self, stack: &Key) {
        let pods = self.pods.get(stack).cloned().unwrap_or_default();
        if let Some(stack) = self.stacks.get_mut(stack) {
            stack.pods = pods;
        }
    }

    /// What a pod said.
    pub fn reported(&mut self, stack: &Key, name: &str, report: Report) {
        if let Some(pod) = self.pods.get_mut(stack).and_then(|pods| pods.get_mut(name)) {
            pod.report = Some(report);
        }
        self.share_pods(stack);
    }

    /// An AlertRule as the API server has it; one over metrics is somebody else's.
    pub fn rule_applied(&mut self, object: &AlertRule) {
        let (Some(uid), Some(namespace)) = (object.uid(), object.namespace()) else { return };
        let key = key(&namespace, &object.name_any());
        if object.spec.source != RuleSource::Logs {
            return self.rule_deleted(&key);
        }
        let generation = object.metadata.generation.unwrap_or_default();
        let status = object.status.clone().unwrap_or_default();
        let labels = object.labels().clone();
        if let Some(entry) = self.rules.get_mut(&key).filter(|entry| entry.uid == uid)
            && entry.generation >= generation
        {
            entry.status = status;
            entry.labels = labels;
            return;
        }
        let before = self.rules.remove(&key).filter(|entry| entry.uid == uid).map(|entry| entry.shipped.text);
        let text = before.or_else(|| self.recovered.remove(&*key).map(String::into_boxed_str)).unwrap_or_default();
        let shipped = Shipped { text, rules: object.spec.rules.len(), problems: vec![], reach: 0 };
        let spec = object.spec.clone();
        self.rules.insert(key, Entry { uid, generation, labels, spec, shipped, judged: false, status });
    }

    pub fn rule_deleted(&mut self, key: &str) {
        self.rules.remove(key);
    }

    pub fn rules(&self) -> impl Iterator<Item = &Key> {
        self.rules.keys()
    }
    pub fn stacks(&self) -> impl Iterator<Item = &Key> {
        self.stacks.keys()
    }
    pub fn namespaces(&self) -> impl Iterator<Item = &String> {
        self.namespaces.keys()
    }
    pub fn pods(&self) -> impl Iterator<Item = (&Key, &String)> {
        self.pods.iter().flat_map(|(stack, pods)| pods.keys().map(move |pod| (stack, pod)))
    }

    /// Where a stack looks for AlertRules, or why it selects none.
    fn selects(&self, key: &str, stack: &Stack) -> Result<(Namespaces, Selector), String> {
        if stack.spec.loki.is_none() || stack.gone {
            return Err(format!("{key} runs no Loki"));
        }
        let discovery = stack.spec.discovery.as_ref();
        let known = self.namespaces.iter().map(|(name, labels)| (name.as_str(), labels));
        let namespaces = Namespaces::selected(discovery, &stack.owner.namespace, known);
        let namespaces = namespaces.map_err(|error| format!("{key}: {error}"))?;
        let labels = discovery::labels(discovery).map_err(|error| format!("{key}: {error}"))?;
        Ok((namespaces, labels))
    }

    fn selected<'a>(&'a self, key: &str, stack: &Stack) -> BTreeMap<&'a Key, &'a Entry> {
        let Ok((namespaces, labels)) = self.selects(key, stack) else { return BTreeMap::new() };
        let taken = |(rule, entry): &(&Key, &Entry)| namespaces.contain(within(rule)) && labels.matches(&entry.labels);
        self.rules.iter().filter(taken).collect()
    }

    /// Expressions that nobody has judged yet, with the address of a Loki that can.
    pub fn questions(&self) -> Vec<(String, String)> {
        let mut questions = BTreeMap::new();
        for (key, stack) in &self.stacks {
            let Some(ip) = stack.ready().find_map(|(_, pod)| pod.ip.clone()) else { continue };
            for entry in self.selected(key, stack).into_values().filter(|entry| !entry.judged) {
                for expr in self.verdicts.open(&entry.spec) {
                    questions.entry(expr.to_owned()).or_insert_with(|| ip.clone());
                }
            }
        }
        questions.into_iter().collect()
    }

    /// Puts together what can be shipped of every AlertRule whose expressions were all judged. What is refused keeps its
    /// last good version.
    pub fn settle(&mut self) {
        let verdicts = &self.verdicts;
        for (key, entry) in self.rules.iter_mut().filter(|(_, entry)| !entry.judged) {
            if !verdicts.open(&entry.spec).is_empty() {
                continue;
            }
            let compiled = compile_with(key, Some(entry.generation), &entry.spec, |expr| verdicts.of(expr));
            let old = std::mem::take(&mut entry.shipped.text);
            entry.shipped = Shipped::new(&compiled, Some(&old), &[]);
            entry.judged = true;
        }
    }

    /// The files that a stack should have. `None`: it is paused, gone, or not known.
    pub fn wanted(&self, key: &str) -> Option<(&Owner, BTreeMap<usize, File>)> {
        let stack = self.stacks.get(key).filter(|stack| !stack.spec.paused && !stack.gone)?;
        Some((&stack.owner, self.files(key, stack).0))
    }

    /// Files, and in which of them each group is.
    fn files(&self, key: &str, stack: &Stack) -> (BTreeMap<usize, File>, BTreeMap<Key, Option<usize>>) {
        let selected = self.selected(key, stack);
        let groups: BTreeMap<&Key, &str> = selected
            .into_iter()
            .filter(|(_, entry)| !entry.shipped.text.is_empty())
            .map(|(rule, entry)| (rule, &*entry.shipped.text))
            .collect();
        let packed = files::packed(&groups);
        let numbers: BTreeSet<usize> = packed.values().flatten().copied().collect();
        let file = |number: usize| {
            let of = groups.iter().filter(|(rule, _)| packed.get(**rule) == Some(&Some(number)));
            let texts: Vec<&str> = of.map(|(_, text)| *text).collect();
            (number, files::file(number, texts.into_iter()))
        };
        (numbers.into_iter().map(file).collect(), packed)
    }

    /// Revisions of what was written of a stack.
    pub fn written(&self, key: &str) -> BTreeMap<usize, String> {
        self.stacks.get(key).map(|stack| stack.written.clone()).unwrap_or_default()
    }

    /// A file was written (its revision) or deleted; or somebody else changed it, so that nothing is known of it.
    pub fn file_is(&mut self, key: &str, number: usize, revision: Option<String>) {
        let Some(stack) = self.stacks.get_mut(key) else { return };
        match revision {
            Some(revision) => _ = stack.written.insert(number, revision),
            None => _ = stack.written.remove(&number),
        }
    }

    /// Tells all that a stack's files hold from what they held before.
    pub fn revision(&self, key: &str) -> String {
        let written = self.written(key);
        digest(written.values().map(String::as_str), 16)
    }

    /// The pods of a stack that said that they have not loaded what was written.
    pub fn outdated(&self, key: &str) -> Vec<String> {
        let Some(stack) = self.stacks.get(key) else { return vec![] };
        let is = |pod: &Pod| pod.report.as_ref().is_some_and(|report| report.loaded != stack.written);
        stack.ready().filter(|(_, pod)| is(pod)).map(|(name, _)| name.clone()).collect()
    }

    /// The ready pods of a stack, and those of them that have not loaded what was written.
    pub fn ready(&self, key: &str) -> (Vec<(String, String)>, Vec<String>) {
        let Some(stack) = self.stacks.get(key) else { return (vec![], vec![]) };
        let lags = |pod: &&Pod| pod.report.as_ref().is_none_or(|report| report.loaded != stack.written);
        let addresses = stack.ready().filter_map(|(name, pod)| Some((name.clone(), pod.ip.clone()?)));
        let lagging = stack.ready().filter(|(_, pod)| lags(pod)).map(|(name, _)| name.clone());
        (addresses.collect(), lagging.collect())
    }

    /// Whether a stack has, or should have, anything to ask about.
    pub fn concerned(&self, key: &str) -> bool {
        let Some(stack) = self.stacks.get(key) else { return false };
        let holds = |pod: &Pod| pod.report.as_ref().is_some_and(|report| !report.loaded.is_empty());
        !stack.written.is_empty() || stack.pods.values().any(holds) || !self.selected(key, stack).is_empty()
    }

    fn waits_for(&self, stack: &Stack, entry: &Entry, file: Option<(usize, &File)>) -> Option<&'static str> {
        if stack.spec.paused {
            return Some("the stack is paused: spec.paused is true");
        }
        if stack.ready().next().is_none() {
            return Some("no replica of Loki is ready");
        }
        if !entry.judged {
            return Some("waiting for Loki to check the expressions");
        }
        if entry.shipped.text.is_empty() {
            return None;
        }
        let Some((number, file)) = file else {
            return Some(
                "all 8 files of log rules of this stack are full: divide the rules over two stacks by spec.discovery.selector",
            );
        };
        let has =
            |pod: &Pod| pod.report.as_ref().is_some_and(|report| report.loaded.get(&number) == Some(&file.revision));
        match stack.ready().all(|(_, pod)| has(pod)) {
            true => None,
            false => Some("waiting for Loki to confirm"),
        }
    }

    /// The status that each AlertRule should have, and the one that it has.
    pub fn statuses(&self, now: Timestamp) -> Vec<(Key, Told, AlertRuleStatus)> {
        let mut places: BTreeMap<&Key, Vec<(InStack, i32)>> = BTreeMap::new();
        for (key, stack) in &self.stacks {
            let (files, packed) = self.files(key, stack);
            for (rule, entry) in self.selected(key, stack) {
                let shard = packed.get(rule).copied().flatten();
                let file = shard.and_then(|number| Some((number, files.get(&number)?)));
                let waits_for = self.waits_for(stack, entry, file);
                let (namespace, name) = (&*stack.owner.namespace, &*stack.owner.name);
                // No baseline looks back in Loki.
                let of = InStack { namespace, name, shard, waits_for, retention: 0 };
                let reports = stack.pods.values().filter_map(|pod| pod.report.as_ref());
                let firing = reports.filter_map(|report| report.firing.get(&**rule)).max().copied();
                places.entry(rule).or_default().push((of, firing.unwrap_or_default()));
            }
        }
        let told = |(rule, entry): (&Key, &Entry)| {
            let places = places.remove(rule).unwrap_or_default();
            let firing = places.iter().map(|(_, firing)| *firing).max();
            let stacks: Vec<InStack> = places.into_iter().map(|(place, _)| place).collect();
            let facts = Facts {
                source: RuleSource::Logs,
                generation: entry.generation,
                checked: entry.judged,
                shipped: &entry.shipped,
                passed_over: if stacks.is_empty() { self.passed_over(rule) } else { vec![] },
                stacks,
                tests: &Tests::None,
                missing: None,
                firing,
                previous: &entry.status,
            };
            (rule.clone(), status::of(&facts, now), entry.status.clone())
        };
        self.rules.iter().map(told).collect()
    }

    /// Why no stack selects it.
    fn passed_over(&self, rule: &str) -> Vec<String> {
        let why = self.stacks.iter().map(|(key, stack)| match self.selects(key, stack) {
            Err(why) => why,
            Ok((namespaces, _)) if !namespaces.contain(within(rule)) => {
                format!("{key} looks in {}", namespaces.describe())
            }
            Ok((_, labels)) => format!("{key} selects by the labels {labels}"),
        });
        why.take(3).collect()
    }

    pub fn uid(&self, rule: &str) -> Option<&str> {
        self.rules.get(rule).map(|entry| entry.uid.as_str())
    }

    pub fn status_written(&mut self, rule: &str, status: AlertRuleStatus) {
        if let Some(entry) = self.rules.get_mut(rule) {
            entry.status = status;
        }
    }

    /// Counts of every stack.
    pub fn counts(&self) -> Vec<(Owner, RuleCounts)> {
        let counts = |(key, stack): (&Key, &Stack)| {
            let (files, packed) = self.files(key, stack);
            let mut counts = RuleCounts::default();
            for (rule, entry) in self.selected(key, stack) {
                counts.selected += 1;
                if !entry.judged {
                    continue;
                }
                let accepted = entry.shipped.accepted() as i64;
                counts.accepted += accepted;
                counts.rejected += entry.shipped.problems.len() as i64;
                let file = packed.get(rule).copied().flatten().and_then(|number| Some((number, files.get(&number)?)));
                if self.waits_for(stack, entry, file).is_none() {
                    counts.loaded += accepted;
                }
            }
            (stack.owner.clone(), counts)
        };
        self.stacks.iter().map(counts).collect()
    }
}

impl Stack {
    fn ready(&self) -> impl Iterator<Item = (&String, &Pod)> {
        self.pods.iter().filter(|(_, pod)| pod.ready)
    }
}

/// The namespace of an AlertRule.
fn within(rule: &str) -> &str {
    rule.split('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests;
