//! Runs a Job, reading its CronJob and making it as the run's ServiceAccount.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use kube::Resource;

use super::{Outcome, actor, refused};
use crate::api::alert_response::{Step, StepAction};
use crate::api::response_run::{JobIntent, ResponseRun};
use crate::context::Context;
use crate::response::act;
use crate::response::action::job::{self as action, Standing};
use crate::response::actor::ActorError;
use crate::response::run::{Errand, Failure};

pub async fn start(context: &Context, run: &ResponseRun, number: usize, intent: &JobIntent) -> Outcome {
    let Some(StepAction::Job(step)) = run.steps().nth(number).and_then(Step::action) else {
        return Ok(Err(refused("the step is not a job step")));
    };
    let actor = match actor(context, run).await? {
        Ok(actor) => actor,
        Err(failed) => return Ok(Err(failed)),
    };
    let namespace = run.metadata.namespace.as_deref();
    let path = format!("{}/{}", Job::url_path(&(), namespace), intent.name);
    match actor.get::<Job>(&path).await {
        Ok(Some(job)) => return Ok(told(&job, step, run, number, &actor.name())),
        Ok(None) if action::was_seen(run, number, intent) => {
            return Ok(Err(refused(format!("Job {} was deleted before it had ended", intent.name))));
        }
        Ok(None) => {}
        Err(error) => return judged(context, run, error),
    }
    let path = format!("{}/{}", CronJob::url_path(&(), namespace), step.from_cron_job);
    let cron = match actor.get::<CronJob>(&path).await {
        Ok(Some(cron)) => cron,
        Ok(None) => {
            return Ok(Err(refused(format!("CronJob {} does not exist in this namespace", step.from_cron_job))));
        }
        Err(error) => return judged(context, run, error),
    };
    match actor.create(&action::job(&cron, step, intent, run, number)).await {
        Ok(job) => Ok(told(&job, step, run, number, &actor.name())),
        Err(error) => judged(context, run, error),
    }
}

fn told(
    job: &Job,
    step: &crate::api::alert_response::Job,
    run: &ResponseRun,
    number: usize,
    account: &str,
) -> Result<Errand, crate::response::run::Undelivered> {
    let now = Timestamp::now();
    let status = run.status.as_ref().and_then(|status| status.steps.get(number));
    let began = status.and_then(|step| step.started_at.as_ref()).map_or(now, |at| at.0);
    match action::standing(job, step, run, number, began, now) {
        Standing::Errand(Errand::Done { effect, evidence, reference }) => {
            Ok(Errand::Done { effect: format!("{effect}, as {account}"), evidence, reference })
        }
        Standing::Errand(underway) => Ok(underway),
        Standing::Failed(why) => Err(refused(why)),
    }
}

fn judged(context: &Context, run: &ResponseRun, error: ActorError) -> Outcome {
    let namespace = run.metadata.namespace.as_deref().unwrap_or_default();
    match act::judge(error, namespace, &context.settings.cluster_role_prefix)? {
        Failure::Refused(words) | Failure::Halfway(words) => Ok(Err(refused(words))),
        // Made between our look and our try: look again.
        Failure::Conflict => Ok(Ok(Errand::Underway("looks for its Job again".into()))),
    }
}
