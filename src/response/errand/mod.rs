//! Steps that are no patch of the target: each looks for its effect first, so that doing it again does nothing.

mod diagnose;
pub mod github;
mod job;
mod silence;

use super::act;
use super::actor::Actor;
use super::run::{Errand, Failure, Undelivered};
use crate::api::response_run::{Intent, ResponseRun};
use crate::context::Context;
use crate::k8s::report::chain;
use crate::notify::error::DeliveryError;

/// What came of an errand; an outer error may pass by itself.
pub type Outcome = Result<Result<Errand, Undelivered>, kube::Error>;

/// Carries out what is intended, unless it is found done.
pub async fn carry_out(context: &Context, run: &ResponseRun, step: usize, intent: &Intent) -> Outcome {
    match intent {
        Intent { diagnose: Some(intent), .. } => diagnose::collect(context, run, step, intent).await,
        Intent { job: Some(intent), .. } => job::start(context, run, step, intent).await,
        Intent { silence: Some(intent), .. } => silence::make(context, run, step, intent).await,
        Intent { github_issue: Some(intent), .. } => Ok(github::issue(context, run, step, intent).await),
        Intent { github_workflow: Some(intent), .. } => Ok(github::workflow(context, run, step, intent).await),
        _ => Ok(Err(refused("its intent is empty"))),
    }
}

/// What a failed delivery means for the run.
pub fn undelivered(error: &DeliveryError) -> Undelivered {
    Undelivered { is_final: error.is_final(), retry_after: error.retry_after(), why: chain(error) }
}

/// Trying again would not help.
fn refused(why: impl Into<String>) -> Undelivered {
    Undelivered { why: why.into(), is_final: true, retry_after: None }
}

/// Somebody was not there: tried again, a few times.
fn away(why: impl Into<String>) -> Undelivered {
    Undelivered { why: why.into(), is_final: false, retry_after: None }
}

/// The run's ServiceAccount, if there is one.
async fn actor(context: &Context, run: &ResponseRun) -> Result<Result<Actor, Undelivered>, kube::Error> {
    Ok(act::actor(context, run).await?.map_err(|failure| match failure {
        Failure::Refused(why) | Failure::Halfway(why) => refused(why),
        Failure::Conflict => away("somebody changed it at the same moment"),
    }))
}
