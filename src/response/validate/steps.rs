//! What CEL cannot check of the steps, those of the fallbacks as well.

use super::Invalid;
use crate::api::alert_response::{Diagnose, Job, Step, StepAction, TargetKind};
use crate::api::duration::PromDuration;
use crate::k8s::meta::is_object_name;
use crate::response::action::silence;
use crate::response::{condition, confine};

/// A run waits for its Job, and other runs of the target for the run.
pub const SHORTEST_JOB: PromDuration = PromDuration::from_secs(1);
pub const LONGEST_JOB: PromDuration = PromDuration::from_mins(6 * 60);

/// `field` is where they stand, below `spec`.
pub fn check(field: &str, steps: &[Step], kind: TargetKind) -> Result<(), Invalid> {
    for (index, step) in steps.iter().enumerate() {
        let at = || format!("{field}[{index}]");
        match step.action() {
            None => return Err(Invalid::NoAction { at: at() }),
            Some(action) if !action.fits(kind) => {
                return Err(Invalid::StepDoesNotFit { at: at(), step: action.name(), kind });
            }
            Some(StepAction::Rollback(rollback)) if rollback.destination().is_none() => {
                return Err(Invalid::RollbackTo { at: at(), value: format!("{:?}", rollback.to) });
            }
            Some(StepAction::Scale(scale)) => {
                if let (Some(to), Some(max)) = (scale.to, scale.max)
                    && to > max
                {
                    return Err(Invalid::ScaleMax { at: at(), to, max });
                }
            }
            Some(StepAction::Job(job)) => self::job(job, at())?,
            Some(StepAction::Diagnose(diagnose)) => self::diagnose(diagnose, &at())?,
            Some(StepAction::Silence(step)) if !(silence::SHORTEST..=silence::LONGEST).contains(&step.for_) => {
                return Err(Invalid::SilenceFor { at: at(), value: step.for_ });
            }
            Some(StepAction::Silence(_)) => {}
            Some(
                StepAction::Rollback(_)
                | StepAction::Restart(_)
                | StepAction::DeletePod(_)
                | StepAction::PauseRollout(_)
                | StepAction::Cordon(_)
                | StepAction::GithubIssue(_)
                | StepAction::GithubWorkflow(_)
                | StepAction::Notify(_),
            ) => {}
        }
    }
    Ok(())
}

/// The steps that can be done to a workload of this kind, in words.
pub fn possible(kind: TargetKind) -> &'static str {
    match kind {
        TargetKind::Deployment | TargetKind::Rollout => {
            "rollback, restart, scale, deletePod, pauseRollout, and the steps that change no workload"
        }
        TargetKind::StatefulSet => "rollback, restart, scale, deletePod, and the steps that change no workload",
        TargetKind::DaemonSet => "rollback, restart, deletePod, and the steps that change no workload",
        TargetKind::Node => "cordon, and the steps that change no workload",
    }
}

fn job(job: &Job, at: String) -> Result<(), Invalid> {
    if !is_object_name(&job.from_cron_job) {
        return Err(Invalid::FromCronJob { at, name: job.from_cron_job.clone() });
    }
    if !(SHORTEST_JOB..=LONGEST_JOB).contains(&job.timeout) {
        return Err(Invalid::JobTimeout { at, value: job.timeout });
    }
    Ok(())
}

fn diagnose(diagnose: &Diagnose, at: &str) -> Result<(), Invalid> {
    for (index, expr) in diagnose.promql.iter().enumerate() {
        if let Err(why) = condition::question(expr) {
            return Err(Invalid::Promql { field: format!("{at}.diagnose.promql[{index}]"), expr: expr.clone(), why });
        }
    }
    for (index, expr) in diagnose.logql.iter().enumerate() {
        // Loki alone can parse it; into which namespace it looks is seen here.
        if let Err(why) = confine::confined(expr, "namespace") {
            return Err(Invalid::Logql { field: format!("{at}.diagnose.logql[{index}]"), expr: expr.clone(), why });
        }
    }
    Ok(())
}
