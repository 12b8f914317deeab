//! What was done lately: to this target, about this alert, by this response, in the whole cluster. Pure.

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::turn::on_same_target;
use super::{Answer, repairs, short};
use crate::api::response_run::ResponseRun;
use crate::response::facts::{Facts, Storm};
use crate::response::in_vain;

pub fn cooldown(run: &ResponseRun, facts: &Facts, now: Timestamp) -> Answer {
    let cooldown = run.spec.guardrails.cooldown;
    // Repeats of this very alert are held back when they arrive, by the same cooldown.
    let of_other_alerts = on_same_target(run, facts).filter(|other| {
        other.spec.response_ref.uid != run.spec.response_ref.uid
            || other.spec.alert.fingerprint != run.spec.alert.fingerprint
    });
    let finished = |other: &ResponseRun| other.status.as_ref().and_then(|s| s.finished_at.as_ref()).map(|t| t.0);
    let recent = of_other_alerts
        .filter(|other| other.acted())
        .filter_map(|other| finished(other).map(|at| (now.duration_since(at), other)))
        .find(|(ago, _)| *ago < cooldown.span());
    match recent {
        Some((ago, other)) => Answer::Skip(format!(
            "run {} acted on {} {} ago, within the cooldown of {cooldown}",
            other.name_any(),
            run.spec.target.reference(),
            short(ago),
        )),
        None => Answer::Pass(String::new()),
    }
}

pub fn attempts(run: &ResponseRun, _: &Facts, _: Timestamp) -> Answer {
    let (attempt, limit) = (run.spec.attempt, run.spec.guardrails.attempts);
    match attempt > limit {
        true => Answer::Skip(format!("attempt {attempt} of at most {limit} while the alert keeps firing")),
        false => Answer::Pass(format!("attempt {attempt} of at most {limit}")),
    }
}

pub fn helps(_: &ResponseRun, facts: &Facts, _: Timestamp) -> Answer {
    let suspended = facts.response.as_ref().and_then(|response| in_vain::suspended(response, facts.others.iter()));
    suspended.map_or(Answer::Pass(String::new()), Answer::Skip)
}

pub fn runs_per_hour(run: &ResponseRun, facts: &Facts, now: Timestamp) -> Answer {
    let limit = run.spec.guardrails.max_runs_per_hour;
    let started = |other: &ResponseRun| other.status.as_ref().and_then(|s| s.started_at.as_ref()).map(|t| t.0);
    let lately = facts
        .others
        .iter()
        .filter(|other| other.spec.response_ref.uid == run.spec.response_ref.uid && other.uid() != run.uid())
        .filter(|other| other.acted())
        .filter(|other| started(other).is_some_and(|at| now.duration_since(at) < SignedDuration::from_hours(1)))
        .count();
    match i32::try_from(lately).unwrap_or(i32::MAX) >= limit {
        true => {
            Answer::Skip(format!("{lately} runs of this AlertResponse acted within the hour; the limit is {limit}"))
        }
        false => Answer::Pass(format!("{lately} of at most {limit} runs within the hour")),
    }
}

/// Skipped and not put off: what waited would act hours later, on a cluster that is another one by then. An alert that
/// still fires after the cooldown gets another run.
pub fn storm_brake(run: &ResponseRun, facts: &Facts, _: Timestamp) -> Answer {
    let Storm { limits, acted_lately, targets_lately, workloads } = &facts.around.storm;
    if !repairs(run) {
        return Answer::Pass(String::new());
    }
    if *acted_lately >= limits.runs {
        return Answer::Skip(format!(
            "storm brake: {acted_lately} runs of the cluster began to act within {}, the limit is {}; look for what their alerts have in common",
            limits.within, limits.runs
        ));
    }
    if facts.around.storm.is_wide() {
        let share = limits.namespace_share;
        return Answer::Skip(format!(
            "storm brake: runs began to act on {targets_lately} other of the {workloads} workloads of namespace {} within {}, and with {} it would be more than {share}%; look for what their alerts have in common",
            run.namespace().unwrap_or_default(),
            limits.within,
            run.spec.target.reference()
        ));
    }
    Answer::Pass(format!("{acted_lately} of at most {} runs of the cluster within {}", limits.runs, limits.within))
}
