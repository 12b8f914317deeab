//! How much runs do at a time, in the whole cluster and in one namespace. Pure.
//!
//! The cache of runs is behind by a moment, in which hundreds could begin: what the ledger has of them is added last.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;
use kube::ResourceExt;

use super::facts::Storm;
use super::guard::repairs;
use super::index::{Index, Target, target};
use super::ledger::Ledger;
use crate::api::alert_response::TargetKind;
use crate::api::response_run::ResponseRun;
use crate::context::StormLimits;

/// What other runs than this one did lately. Its namespace's workloads are not counted here.
pub fn storm(run: &ResponseRun, limits: StormLimits, now: Timestamp, index: &Index, ledger: &Ledger) -> Storm {
    let mut count = Count::new(run, limits, now);
    index.begun().for_each(|other| count.add(other));
    ledger.each(|other| count.add(other));
    count.storm()
}

/// Counts runs; add them all, then `storm`. Of two words about one run the later counts.
#[derive(Debug)]
struct Count<'a> {
    run: &'a ResponseRun,
    limits: StormLimits,
    now: Timestamp,
    /// Those that began lately, by UID.
    lately: HashMap<String, Target>,
}

impl<'a> Count<'a> {
    fn new(run: &'a ResponseRun, limits: StormLimits, now: Timestamp) -> Self {
        Self { run, limits, now, lately: HashMap::new() }
    }

    fn add(&mut self, other: &ResponseRun) {
        let Some(uid) = other.uid().filter(|uid| self.run.uid().as_ref() != Some(uid)) else { return };
        let started = other.status.as_ref().and_then(|status| status.started_at.as_ref());
        let is_lately = started.is_some_and(|at| self.now.duration_since(at.0) < self.limits.within.span());
        // What it did is on record, or it is about to do it.
        let acts = other.acted() || !other.phase().is_closed() && repairs(other);
        if is_lately && acts && !other.only_observes() {
            self.lately.insert(uid, target(other));
        } else {
            self.lately.remove(&uid);
        }
    }

    fn storm(self) -> Storm {
        let own = target(self.run);
        let is_workload = |kind: &str| {
            [TargetKind::Deployment, TargetKind::StatefulSet, TargetKind::DaemonSet].iter().any(|k| k.as_str() == kind)
        };
        let others: BTreeSet<&Target> = self.lately.values().collect();
        let in_namespace = others.iter().filter(|(namespace, kind, _)| *namespace == own.0 && is_workload(kind));
        let targets_lately = in_namespace.filter(|other| ***other != own).count();
        Storm {
            limits: self.limits,
            acted_lately: self.lately.len(),
            targets_lately: if is_workload(own.1) { targets_lately } else { 0 },
            workloads: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::json;

    use super::*;
    use crate::api::response_run::{Phase, ResponseRunStatus};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + seconds).unwrap()
    }

    fn run(namespace: &str, name: &str, phase: Phase, started: Option<i64>) -> ResponseRun {
        let mut run: ResponseRun = serde_json::from_value(json!({
            "apiVersion": "evenkeel.dev/v1alpha1", "kind": "ResponseRun",
            "metadata": {"name": name, "namespace": namespace, "uid": format!("{namespace}/{name}")},
            "spec": {
                "responseRef": {"name": "fix", "uid": "u", "generation": 1}, "alert": {"name": "A", "fingerprint": name},
                "target": {"kind": "Deployment", "name": name}, "mode": "Act", "steps": [{"restart": {}}], "attempt": 1,
            },
        }))
        .unwrap();
        let started_at = started.map(|second| Time(at(second)));
        run.status = Some(ResponseRunStatus { phase, started_at, ..ResponseRunStatus::default() });
        run
    }

    fn counted(others: &[ResponseRun]) -> (usize, usize) {
        let own = run("shop", "own", Phase::Pending, None);
        let mut count = Count::new(&own, StormLimits::default(), at(1_000));
        others.iter().for_each(|other| count.add(other));
        let storm = count.storm();
        (storm.acted_lately, storm.targets_lately)
    }

    #[test]
    fn runs_that_began_lately_count_in_the_cluster_and_their_targets_in_the_namespace() {
        let others = [
            run("shop", "web", Phase::Running, Some(990)),
            run("bank", "web", Phase::Verifying, Some(401)),
            run("shop", "db", Phase::Running, Some(400)),
            run("shop", "cart", Phase::Pending, None),
            // Let begin, and touched nothing: no step applied.
            run("shop", "mail", Phase::Skipped, Some(999)),
            run("shop", "own", Phase::Running, Some(999)),
        ];
        assert_eq!(counted(&others), (2, 1));
    }

    #[test]
    fn the_later_word_about_a_run_counts_and_a_run_does_not_count_for_itself() {
        let pending = || run("shop", "web", Phase::Pending, None);
        let running = || run("shop", "web", Phase::Running, Some(1_000));
        // What the cache has, and then what the ledger has.
        assert_eq!(counted(&[pending(), running()]), (1, 1));
        assert_eq!(counted(&[running(), running()]), (1, 1));
        assert_eq!(counted(&[running(), run("shop", "web", Phase::Skipped, Some(1_000))]), (0, 0));
        assert_eq!(counted(&[run("shop", "own", Phase::Running, Some(1_000))]), (0, 0));
    }

    #[test]
    fn runs_that_only_tell_people_are_no_storm() {
        let mut telling = run("shop", "web", Phase::Running, Some(990));
        telling.spec.steps = vec![serde_json::from_value(json!({"notify": {"channels": ["a"]}})).unwrap()];
        assert_eq!(counted(&[telling]), (0, 0));
    }
}
