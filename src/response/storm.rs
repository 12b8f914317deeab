//! How much runs do at a time, in the whole cluster and in one namespace. Pure.
//!
//! The cache of runs is behind by a moment, in which hundreds could begin; so those that begin are remembered until the
//! cache has them.

use std::collections::{BTreeSet, HashMap};

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::facts::Storm;
use super::guard::repairs;
use crate::api::alert_response::TargetKind;
use crate::api::response_run::ResponseRun;
use crate::context::StormLimits;

/// Runs that this process has let begin, by UID. Written under the lock that lets one begin after the other.
#[derive(Debug, Default)]
pub struct Begun(HashMap<String, Beginning>);

/// What is counted of a run.
#[derive(Clone, Debug)]
struct Beginning {
    at: Timestamp,
    target: Target,
}

/// Namespace, kind and name.
type Target = (String, &'static str, String);

fn target(run: &ResponseRun) -> Target {
    let target = &run.spec.target;
    (run.namespace().unwrap_or_default(), target.kind.as_str(), target.name.clone())
}

impl Begun {
    /// Remembers a run that is about to begin.
    pub fn note(&mut self, run: &ResponseRun, within: SignedDuration, now: Timestamp) {
        self.0.retain(|_, begun| now.duration_since(begun.at) < within);
        if repairs(run)
            && let Some(uid) = run.uid()
        {
            self.0.insert(uid, Beginning { at: now, target: target(run) });
        }
    }
}

/// Counts what other runs than this one did; add them all, then `storm`.
#[derive(Debug)]
pub struct Count<'a> {
    run: &'a ResponseRun,
    limits: StormLimits,
    now: Timestamp,
    lately: HashMap<String, Beginning>,
}

impl<'a> Count<'a> {
    pub fn new(run: &'a ResponseRun, begun: &Begun, limits: StormLimits, now: Timestamp) -> Self {
        let mut count = Self { run, limits, now, lately: HashMap::new() };
        let remembered = begun.0.iter().filter(|(uid, begun)| count.is_lately(uid, begun.at));
        count.lately = remembered.map(|(uid, begun)| (uid.clone(), begun.clone())).collect();
        count
    }

    fn is_lately(&self, uid: &str, at: Timestamp) -> bool {
        let within = SignedDuration::try_from(self.limits.within.0).unwrap_or(SignedDuration::MAX);
        self.run.uid().as_deref() != Some(uid) && self.now.duration_since(at) < within
    }

    /// One run of the cache.
    pub fn add(&mut self, other: &ResponseRun) {
        let Some(uid) = other.uid() else { return };
        let started = other.status.as_ref().and_then(|status| status.started_at.as_ref()).map(|at| at.0);
        let closed = other.phase().is_closed();
        match started.filter(|at| self.is_lately(&uid, *at)) {
            // What it did is on record, or it is about to do it.
            Some(at) if !other.only_observes() && (other.acted() || !closed && repairs(other)) => {
                self.lately.insert(uid, Beginning { at, target: target(other) });
            }
            // It was let begin, and touched nothing.
            _ if closed => drop(self.lately.remove(&uid)),
            _ => {}
        }
    }

    pub fn storm(self) -> Storm {
        let own = target(self.run);
        let is_workload = |kind: &str| {
            [TargetKind::Deployment, TargetKind::StatefulSet, TargetKind::DaemonSet].iter().any(|k| k.as_str() == kind)
        };
        let others: BTreeSet<&Target> = self.lately.values().map(|begun| &begun.target).collect();
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

    fn counted(begun: &Begun, others: &[ResponseRun]) -> (usize, usize) {
        let own = run("shop", "own", Phase::Pending, None);
        let mut count = Count::new(&own, begun, StormLimits::default(), at(1_000));
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
        assert_eq!(counted(&Begun::default(), &others), (2, 1));
    }

    #[test]
    fn a_run_that_the_cache_does_not_have_begun_yet_counts_all_the_same_and_once() {
        let (web, own) = (run("shop", "web", Phase::Pending, None), run("shop", "own", Phase::Pending, None));
        let mut begun = Begun::default();
        begun.note(&web, SignedDuration::from_secs(600), at(1_000));
        begun.note(&own, SignedDuration::from_secs(600), at(1_000));
        assert_eq!(counted(&begun, std::slice::from_ref(&web)), (1, 1), "a run does not count for itself");
        assert_eq!(counted(&begun, &[run("shop", "web", Phase::Running, Some(1_000))]), (1, 1));
        assert_eq!(counted(&begun, &[run("shop", "web", Phase::Skipped, Some(1_000))]), (0, 0));
        begun.note(&own, SignedDuration::from_secs(600), at(1_600));
        assert_eq!(begun.0.len(), 1, "what is too long ago is forgotten");
    }

    #[test]
    fn runs_that_only_tell_people_are_no_storm() {
        let mut telling = run("shop", "web", Phase::Running, Some(990));
        telling.spec.steps = vec![serde_json::from_value(json!({"notify": {"channels": ["a"]}})).unwrap()];
        assert_eq!(counted(&Begun::default(), &[telling]), (0, 0));
    }
}
