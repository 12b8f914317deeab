//! What the Prometheus pods of a stack have confirmed, and the search for rules that they refuse. Pure.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{Good, Key, Packing, Pod, Report, account, suspects};
use crate::rule::quarantine::{Step, Suspect, Trial};

impl Packing {
    /// A pod as the API server has it.
    pub fn pod_seen(&mut self, pod: Pod) {
        match self.pods.get_mut(&pod.name) {
            Some((known, report)) => {
                if known.ip != pod.ip || (!known.ready && pod.ready) {
                    *report = Report::default();
                }
                if (known.ready, known.crashing) != (pod.ready, pod.crashing) {
                    self.tell_waiting();
                }
                if let Some((known, _)) = self.pods.get_mut(&pod.name) {
                    *known = pod;
                }
            }
            None => {
                self.pods.insert(pod.name.clone(), (pod, Report::default()));
                self.tell_waiting();
            }
        }
    }

    pub fn pod_gone(&mut self, name: &str) {
        if self.pods.remove(name).is_some() {
            self.tell_waiting();
            self.confirm();
        }
    }

    /// What all ready pods said in one round of questions.
    pub fn report(&mut self, reports: Vec<(String, Report)>) {
        for (name, report) in reports {
            if let Some((_, known)) = self.pods.get_mut(&name) {
                *known = report;
            }
        }
        self.confirm();
    }

    pub(super) fn confirm(&mut self) {
        let ready: Vec<&Report> = self.pods.values().filter(|(pod, _)| pod.ready).map(|(_, report)| report).collect();
        if ready.is_empty() {
            return;
        }
        for (index, shard) in self.shards.iter_mut().enumerate() {
            let number = |report: &&Report| {
                let has = report.revisions.get(&index);
                shard
                    .written
                    .iter()
                    .rev()
                    .find(|(_, revision)| revision.as_ref() == has)
                    .map_or(0, |(number, _)| *number)
            };
            let confirmed = ready.iter().map(number).min().unwrap_or_default();
            if confirmed <= shard.confirmed {
                continue;
            }
            shard.confirmed = confirmed;
            for rule in &shard.members {
                let Some(placement) = self.placed.get_mut(rule) else { continue };
                let withheld = self.trial.as_ref().is_some_and(|trial| trial.holds_any(rule));
                if placement.since <= confirmed && placement.good != Good::Current && !withheld {
                    account(&mut self.counts, rule, placement, -1);
                    placement.good = Good::Current;
                    account(&mut self.counts, rule, placement, 1);
                    self.changed.insert(rule.clone());
                }
            }
        }
    }

    /// Whether some ready pod has not loaded all that is written.
    pub fn pending(&self) -> bool {
        self.pods.values().any(|(pod, report)| pod.ready && !self.has_all(report))
    }

    /// Something is being written, or about to be.
    pub fn is_writing(&self) -> bool {
        !self.dirty.is_empty() || !self.writing.is_empty()
    }

    /// Ready pods that are known to have something else than what is written.
    pub fn lagging(&self) -> impl Iterator<Item = &Pod> {
        let known = self.pods.values().filter(|(pod, report)| pod.ready && report.asked);
        known.filter(|(_, report)| !self.has_all(report)).map(|(pod, _)| pod)
    }

    /// Whether the pods are worth asking.
    pub fn unconfirmed(&self) -> bool {
        self.pending()
            || self.trial.is_some()
            || (self.crashing() && self.placed.values().any(|p| p.good != Good::Current))
    }

    fn has_all(&self, report: &Report) -> bool {
        self.shards.iter().enumerate().all(|(index, shard)| match shard.written.back() {
            Some((_, revision)) => report.revisions.get(&index) == revision.as_ref(),
            None => true,
        })
    }

    /// Changes whenever a shard does: the value of the annotation that wakes the kubelet.
    pub fn revision(&self) -> String {
        let all = self.shards.iter().map(|shard| match shard.written.back() {
            Some((_, Some(revision))) => &**revision,
            _ => "",
        });
        crate::k8s::meta::digest(all, 16)
    }

    fn failing(&self) -> bool {
        self.pods.values().any(|(pod, report)| pod.ready && report.reloaded == Some(false)) || self.crashing()
    }

    /// None runs, and one has ended with an error: what it was given may be why.
    fn crashing(&self) -> bool {
        self.pods.values().any(|(pod, _)| pod.crashing) && !self.pods.values().any(|(pod, _)| pod.ready)
    }

    fn settled(&self) -> bool {
        let ready = self.pods.values().any(|(pod, _)| pod.ready);
        ready && self.dirty.is_empty() && self.writing.is_empty() && !self.pending()
    }

    /// Goes on with the search for rules that Prometheus refuses, or begins one. Returns a rule that was found
    /// guilty: it has to be taken out, then ask again.
    pub fn judge<'a>(&mut self, text_of: impl Fn(&str) -> &'a str, number: u64, now: Timestamp) -> Option<Suspect> {
        let failing = self.failing();
        if self.trial.is_none() && failing && (self.crashing() || self.pending()) {
            let suspects: Vec<Suspect> = self
                .placed
                .iter()
                .filter(|(_, placement)| placement.good != Good::Current)
                .flat_map(|(rule, placement)| suspects(rule, text_of(rule), &placement.good))
                .collect();
            if suspects.is_empty() {
                return None;
            }
            let rules: BTreeSet<Key> = suspects.iter().map(|suspect| suspect.rule.clone()).collect();
            self.trial = Some(Trial::new(suspects, now));
            self.rewrite(&rules, number, true);
            return None;
        }
        let blocked = self.trial.as_ref().is_some_and(|trial| trial.blocked(now));
        if blocked != std::mem::replace(&mut self.blocked, blocked) {
            self.tell_waiting();
        }
        let settled = self.settled();
        let placed = &self.placed;
        let is_loaded = |rule: &str| placed.get(rule).is_some_and(|placement| placement.good == Good::Current);
        let trial = self.trial.as_mut()?;
        trial.acquit(is_loaded);
        match trial.step(settled, failing, now) {
            Step::Wait => None,
            Step::Changed(rules) => {
                self.rewrite(&rules, number, failing);
                None
            }
            Step::Guilty(suspect) => Some(suspect),
            Step::Done => {
                self.trial = None;
                self.tell_waiting();
                None
            }
        }
    }

    /// `anew`: Prometheus must load them, also when it has these very groups already.
    fn rewrite(&mut self, rules: &BTreeSet<Key>, number: u64, anew: bool) {
        let places = rules.iter().filter_map(|rule| self.placed.get(rule)?.shard);
        for shard in places.collect::<BTreeSet<_>>().into_iter().filter(|_| anew) {
            self.shards[shard].edition += 1;
        }
        for rule in rules {
            if let Some(placement) = self.placed.get_mut(rule) {
                placement.since = number;
                self.dirty.extend(placement.shard);
                self.changed.insert(rule.clone());
            }
        }
    }

    /// The AlertRules that are not loaded may have another reason for it now.
    fn tell_waiting(&mut self) {
        let waiting = self.placed.iter().filter(|(_, placement)| placement.good != Good::Current);
        self.changed.extend(waiting.map(|(rule, _)| rule.clone()));
    }

    /// Why the AlertRule is not loaded yet; `None` when it is.
    pub fn waits_for(&self, rule: &str, now: Timestamp) -> Option<&'static str> {
        let placement = self.placed.get(rule)?;
        if placement.good == Good::Current {
            return None;
        }
        Some(match &self.trial {
            _ if placement.bytes > 0 && placement.shard.is_none() => {
                "all 32 rule shards of this stack are full: divide the rules over two stacks by spec.discovery.selector"
            }
            Some(trial) if trial.blocked(now) => {
                "Prometheus cannot reload, even without the rules that changed last: see the log of its pods"
            }
            Some(trial) if trial.holds_any(rule) => {
                "Prometheus refused to load the rules that changed last; each of them is being tried"
            }
            _ if !self.pods.values().any(|(pod, _)| pod.ready) => "no replica of Prometheus is ready",
            _ => "waiting for Prometheus to confirm",
        })
    }
}
