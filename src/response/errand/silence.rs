//! Silences the alert in the Alertmanager of its stack. Any replica takes a silence and tells the others.

use std::time::Duration;

use futures::future::join_all;

use super::{Outcome, away, refused};
use crate::alertmanager::Alertmanager;
use crate::api::response_run::{ResponseRun, SilenceIntent};
use crate::context::Context;
use crate::k8s::report::chain;
use crate::prometheus::HttpError;
use crate::response::action::silence as action;
use crate::response::alertmanagers::{replicas, stack_of};

/// Time in which a replica must have answered.
const PATIENCE: Duration = Duration::from_secs(5);

pub async fn make(context: &Context, run: &ResponseRun, step: usize, intent: &SilenceIntent) -> Outcome {
    let Some(stack) = stack_of(&run.spec.alert.source) else {
        return Ok(Err(refused("the alert was not sent by a MonitoringStack: there is no Alertmanager to ask")));
    };
    if intent.labels.is_empty() {
        return Ok(Err(refused("a silence without matchers would silence everything")));
    }
    let replicas = replicas(&context.client, &stack).await?;
    let replicas: Vec<Alertmanager> = replicas.iter().flatten().map(|ip| Alertmanager::at(&context.http, ip)).collect();
    let mut last = format!("no Alertmanager of stack {}/{} has an address", stack.0, stack.1);
    let mut there = vec![];
    let asked = join_all(replicas.iter().map(|replica| within(replica.silences()))).await;
    for (replica, answer) in replicas.iter().zip(asked) {
        match answer {
            Ok(known) => match known.iter().find(|known| action::is_of(known, run, step)) {
                Some(made) => return Ok(Ok(action::done(run, &made.id, made.ends_at))),
                None => there.push(replica),
            },
            Err(why) => last = why.1,
        }
    }
    let silence = action::silence(intent);
    for replica in there {
        match within(replica.silence(&silence)).await {
            Ok(id) => return Ok(Ok(action::done(run, &id, silence.ends_at))),
            // What is wrong with a silence is wrong at every replica.
            Err((true, why)) => return Ok(Err(refused(why))),
            Err((false, why)) => last = why,
        }
    }
    Ok(Err(away(last)))
}

/// The answer; or whether it is final, and why there is none.
async fn within<T>(answer: impl Future<Output = Result<T, HttpError>>) -> Result<T, (bool, String)> {
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => {
            let is_final = matches!(&error, HttpError::Status { code: 400..500, .. });
            Err((is_final, chain(&error)))
        }
        Err(_) => Err((false, format!("Alertmanager did not answer within {} s", PATIENCE.as_secs()))),
    }
}
