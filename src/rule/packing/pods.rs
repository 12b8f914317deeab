//! What the Prometheus pods of a stack have loaded, and what that confirms.

use super::{Good, Packing, Pod, Report, account};

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
                    account(&mut self.counts, placement, -1);
                    placement.good = Good::Current;
                    account(&mut self.counts, placement, 1);
                    self.changed.insert(rule.clone());
                }
            }
        }
    }

    /// Whether some ready pod has not loaded all that is written.
    pub fn pending(&self) -> bool {
        self.pods.values().any(|(pod, report)| pod.ready && !self.has_all(report))
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

    pub(super) fn has_all(&self, report: &Report) -> bool {
        self.shards.iter().enumerate().all(|(index, shard)| match shard.written.back() {
            Some((_, revision)) => report.revisions.get(&index) == revision.as_ref(),
            None => true,
        })
    }

    pub(super) fn failing(&self) -> bool {
        self.pods.values().any(|(pod, report)| pod.ready && report.reloaded == Some(false)) || self.crashing()
    }

    /// None runs, and one has ended with an error: what it was given may be why.
    pub(super) fn crashing(&self) -> bool {
        self.pods.values().any(|(pod, _)| pod.crashing) && !self.pods.values().any(|(pod, _)| pod.ready)
    }

    pub(super) fn settled(&self) -> bool {
        let ready = self.pods.values().any(|(pod, _)| pod.ready);
        ready && self.dirty.is_empty() && self.writing.is_empty() && !self.pending()
    }
}
