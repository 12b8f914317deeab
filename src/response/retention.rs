//! Which closed runs of an AlertResponse are deleted. Pure.
//!
//! A run is a record, and also the memory by which repeats of its alert are recognised: one that still serves for that
//! is kept, however many there are.

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::episode::is_over;
use super::run::is_alive;
use crate::api::alert_response::RunHistory;
use crate::api::response_run::ResponseRun;

/// `maxRunsPerHour` looks back so far.
const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// The runs to delete, of all runs of one response; the oldest first.
pub fn superfluous<'a>(runs: &[&'a ResponseRun], history: &RunHistory, now: Timestamp) -> Vec<&'a ResponseRun> {
    let followed: HashSet<&str> = runs.iter().filter_map(|r| r.spec.follows.as_deref()).collect();
    let mut closed: Vec<_> = runs.iter().filter(|r| !is_alive(r)).copied().collect();
    closed.sort_by_key(|r| (r.creation_timestamp().map(|t| t.0), r.name_any()));
    let excess = closed.len().saturating_sub(usize::try_from(history.keep).unwrap_or_default().max(1));
    let max_age = history.max_age.span();
    let finished = |run: &ResponseRun| run.status.as_ref().and_then(|s| s.finished_at.as_ref()).map(|t| t.0);
    let aged = |run: &ResponseRun| finished(run).is_some_and(|at| now.duration_since(at) > max_age);
    let forgettable = |run: &&ResponseRun| {
        let cooldown = run.spec.guardrails.cooldown.span();
        let old = finished(run).is_some_and(|at| now.duration_since(at) > cooldown.max(HOUR));
        // While the alert fires on, its latest run holds off the next one, and those that acted count as attempts.
        old && (is_over(run) || followed.contains(run.name_any().as_str()) && !run.acted())
    };
    let surplus = closed.into_iter().enumerate().filter(|(number, run)| *number < excess || aged(run));
    surplus.map(|(_, run)| run).filter(forgettable).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::alert_response::{Guardrails, OnlyIf};
    use crate::api::duration::PromDuration;
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
            drill: false,
            service_account_name: None,
            steps: vec![],
            only_if: OnlyIf::default(),
            guardrails: Guardrails::default(),
            verify: Default::default(),
            fallback: vec![],
            undo: Default::default(),
            escalate: vec![],
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
        superfluous(&runs.iter().collect::<Vec<_>>(), &RunHistory::default(), at(now))
            .iter()
            .map(|r| r.name_any())
            .collect()
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
    fn a_run_that_is_too_old_goes_however_few_there_are_unless_it_still_serves() {
        let mut runs =
            vec![run(0, Phase::Succeeded, true), run(1, Phase::Skipped, false), run(10_000, Phase::Failed, true)];
        let history = RunHistory { keep: 2, max_age: PromDuration::from_mins(24 * 60) };
        let names = |runs: &[ResponseRun], now| -> Vec<_> {
            let all: Vec<_> = runs.iter().collect();
            superfluous(&all, &history, at(now)).iter().map(|r| r.name_any()).collect()
        };
        assert_eq!(names(&runs, 20_000), ["run-000"], "beyond the number");
        runs.remove(0);
        assert!(names(&runs, 86_400).is_empty());
        assert_eq!(names(&runs, 200_000), ["run-10000"], "the alert of run-001 still fires");
    }

    #[test]
    fn an_open_run_is_never_deleted() {
        let mut runs: Vec<_> = (0..53).map(|n| run(n, Phase::Succeeded, true)).collect();
        runs[0].status.as_mut().unwrap().phase = Phase::Verifying;
        assert_eq!(names(&runs, 10_000), ["run-001", "run-002"]);
    }
}
