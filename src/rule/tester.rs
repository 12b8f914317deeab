//! Runs the tests of an AlertRule in the cluster: makes the Job, waits for its pod, reads what promtool said.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, LogParams};
use kube::{Client, ResourceExt};

use super::index::tested::{MOST_FAILURES, Trial};
use super::test_job::{self, Progress, SET};
use super::unit_test::{self, Failure, Silent};
use crate::api::MonitoringStack;
use crate::context::Context;
use crate::k8s::apply::ApplyError;
use crate::k8s::manifests::{Built, Manifests};
use crate::k8s::report;
use crate::stack::build::BuildError;

/// Between two looks at the pod.
const PAUSE: Duration = Duration::from_secs(1);
/// Beyond the Job's own deadline, for what surrounds it.
const PATIENCE: Duration = Duration::from_secs(test_job::DEADLINE as u64 + 20);
/// Looks that may find an image which cannot be pulled: other tests wait meanwhile.
const WITHOUT_IMAGE: u32 = 30;
/// Bytes that are read of one promtool.
const MOST: usize = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub enum TestError {
    #[error("stack {0} has no Prometheus any more")]
    NoPrometheus(String),
    #[error("cannot {verb} {what}: {}", report::words(.error))]
    Api { verb: &'static str, what: String, error: Box<kube::Error> },
    #[error(transparent)]
    Children(#[from] ApplyError),
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error("Job {job} did not end in time{}", .why.as_ref().map(|why| format!(": {why}")).unwrap_or_default())]
    Late { job: String, why: Option<String> },
    #[error("Job {job} gets no image: {why}")]
    NoImage { job: String, why: String },
    #[error("Job {job} was cut off: {why}")]
    Broken { job: String, why: String },
    #[error(transparent)]
    Silent(#[from] Silent),
    #[error("promtool says more than {MOST} bytes of tests[{0}]: let its expressions find fewer series")]
    TooLong(usize),
}

fn api(verb: &'static str, what: impl Into<String>) -> impl FnOnce(kube::Error) -> TestError {
    let what = what.into();
    move |error| TestError::Api { verb, what, error: Box::new(error) }
}

/// What fails of the tests.
pub async fn run(context: &Context, trial: &Trial) -> Result<Vec<Failure>, TestError> {
    let ran = ended(context, trial).await;
    if let Err(error) = clean(context, trial).await {
        // The Job goes by itself, and the next one takes the rest along.
        tracing::debug!(%error, rule = %trial.rule, "cannot delete the Job of tests");
    }
    ran
}

async fn ended(context: &Context, trial: &Trial) -> Result<Vec<Failure>, TestError> {
    let (client, owner) = (&context.client, test_job::owner(trial));
    let stacks = Api::<MonitoringStack>::namespaced(client.clone(), &owner.namespace);
    let stack = stacks.get(&owner.name).await.map_err(api("read", format!("MonitoringStack {}", owner.name)))?;
    let prometheus = stack.spec.prometheus.ok_or_else(|| TestError::NoPrometheus(owner.name.clone()))?;
    let manifests = Manifests::<Built> { config_maps: vec![test_job::config_map(trial)?], ..Manifests::default() };
    context.writer.apply(owner, SET, manifests).await?;
    let job = test_job::job(trial, &prometheus);
    context.writer.apply_one(owner, SET, &Api::namespaced(client.clone(), &owner.namespace), job).await?;
    let mut why = None;
    match tokio::time::timeout(PATIENCE, wait(client, trial, &mut why)).await {
        Ok(failures) => failures,
        Err(_) => Err(TestError::Late { job: test_job::name(trial), why }),
    }
}

/// Until the pod has ended; `why` it has not.
async fn wait(client: &Client, trial: &Trial, why: &mut Option<String>) -> Result<Vec<Failure>, TestError> {
    let name = test_job::name(trial);
    let pods = Api::<Pod>::namespaced(client.clone(), &trial.owner.namespace);
    let of_job = ListParams::default().labels(&test_job::pods_of(&name));
    let mut without_image = 0;
    loop {
        let found = pods.list(&of_job).await.map_err(api("list", format!("pods of Job {name}")))?;
        match found.items.first().map(|pod| (pod, test_job::progress(pod, trial.tests.len()))) {
            Some((pod, Progress::Ended(content))) => return judged(&pods, &pod.name_any(), trial, &content).await,
            Some((_, Progress::Runs(waits))) => *why = waits.or(why.take()),
            Some((_, Progress::NoImage(why))) if without_image >= WITHOUT_IMAGE => {
                return Err(TestError::NoImage { job: name, why });
            }
            Some((_, Progress::NoImage(waits))) => {
                without_image += 1;
                *why = Some(waits);
            }
            Some((_, Progress::Broken(broken))) => {
                let before = why.take().map(|why| format!("; before that it waited: {why}")).unwrap_or_default();
                return Err(TestError::Broken { job: name, why: format!("{broken}{before}") });
            }
            None => {}
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn judged(pods: &Api<Pod>, pod: &str, trial: &Trial, content: &[bool]) -> Result<Vec<Failure>, TestError> {
    let mut failures = vec![];
    for (number, (test, content)) in trial.tests.iter().zip(content).enumerate() {
        let of = LogParams {
            container: Some(test_job::container(number)),
            limit_bytes: Some(MOST as i64),
            ..LogParams::default()
        };
        let said = pods.logs(pod, &of).await.map_err(api("read", format!("the log of pod {pod}")))?;
        if said.len() >= MOST {
            return Err(TestError::TooLong(number));
        }
        failures.extend(unit_test::judge(number, test, *content, &said)?);
        failures.truncate(MOST_FAILURES);
    }
    Ok(failures)
}

async fn clean(context: &Context, trial: &Trial) -> Result<(), ApplyError> {
    let owner = test_job::owner(trial);
    let jobs = Api::<Job>::namespaced(context.client.clone(), &owner.namespace);
    context.writer.delete_one(owner, &jobs, &test_job::name(trial)).await?;
    context.writer.apply(owner, SET, Manifests::default()).await?;
    Ok(())
}
