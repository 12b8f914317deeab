//! Which closed runs of an AlertResponse are deleted. Pure.
//!
//! A run is a record, and also the memory by which repeats of its alert are recognised: one that still serves for that
//! is kept, however many there are.

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::episode::is_over;
use crate::api::response_run::ResponseRun;

/// Closed runs of a response that are kept.
pub const KEEP: usize = 50;
/// `maxRunsPerHour` looks back so far.
const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// The runs to delete, of all runs of one response; the oldest first.
pub fn superfluous<'a>(runs: &[&'a ResponseRun], now: Timestamp) -> Vec<&'a ResponseRun> {
    let followed: HashSet<&str> = runs.iter().filter_map(|r| r.spec.follows.as_deref()).collect();
    let mut closed: Vec<_> = runs.iter().filter(|r| r.phase().is_closed()).copied().collect();
    closed.sort_by_key(|r| (r.creation_timestamp().map(|t| t.0), r.name_any()));
    let excess = closed.len().saturating_sub(KEEP);
    let forgettable = |run: &&ResponseRun| {
        let finished = run.status.as_ref().and_then(|s| s.finished_at.as_ref()).map(|t| t.0);
        let cooldown = SignedDuration::try_from(run.spec.guardrails.cooldown.0).unwrap_or(SignedDuration::MAX);
        let old = finished.is_some_and(|at| now.duration_since(at) > cooldown.max(HOUR));
        // While the alert fires on, its latest run holds off the next one, and those that acted count as attempts.
        old && (is_over(run) || followed.contains(run.name_any().as_str()) && !run.acted())
    };
    closed.into_iter().take(excess).filter(forgettable).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::alert_response::{Guardrails, OnlyIf};
    use crate::api::response_run::{
        ALERT_STATE, Phase, ResponseRef, ResponseRunSpec, ResponseRunStatus, RunAlert, RunTarget,
    };
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn run(number: i64, phase: Phase, over: bool) -> ResponseRun {
        let spec = ResponseRunSpec {
            response_ref: ResponseRef::default(),
            alert: RunAlert::default(),
            target: RunTarget::default(),
            mode: Default::default(),
            service_account_name: None,
            steps: vec![],
            only_if: OnlyIf::default(),
            guardrails: Guardrails::default(),
            verify: Default::default(),
            attempt: 1,
            follows: None,
        };
        let mut run = ResponseRun::new(&format!("run-{number:03}"), spec);
        run.metadata.creation_timestamp = Some(Time(at(number)));
        run.status = Some(ResponseRunStatus { phase, finished_at: Some(Time(at(number))), ..Default::default() });
        if over {
            run.annotations_mut().insert(ALERT_STATE.into(), "Resolved".into());
        }
        run
    }

    fn names(runs: &[ResponseRun], now: i64) -> Vec<String> {
        superfluous(&runs.iter().collect::<Vec<_>>(), at(now)).iter().map(|r| r.name_any()).collect()
    }

    #[test]
    fn the_oldest_closed_runs_beyond_the_limit_go() {
        let runs: Vec<_> = (0..53).map(|n| run(n, Phase::Succeeded, true)).collect();
        assert_eq!(names(&runs, 10_000), ["run-000", "run-001", "run-002"]);
        assert!(names(&runs[..50], 10_000).is_empty());
        assert!(names(&runs, 1_000).is_empty(), "within the hour they count for maxRunsPerHour");
    }

    #[test]
    fn a_run_whose_alert_still_fires_stays_unless_a_later_one_took_its_place() {
        let mut runs: Vec<_> = (0..53).map(|n| run(n, Phase::Skipped, false)).collect();
        assert!(names(&runs, 10_000).is_empty());
        runs[2].spec.follows = Some("run-001".into());
        assert_eq!(names(&runs, 10_000), ["run-001"]);
    }

    #[test]
    fn an_open_run_is_never_deleted() {
        let mut runs: Vec<_> = (0..53).map(|n| run(n, Phase::Succeeded, true)).collect();
        runs[0].status.as_mut().unwrap().phase = Phase::Verifying;
        assert_eq!(names(&runs, 10_000), ["run-001", "run-002"]);
    }
}
