//! What the Loki of an alert's stack found.

use std::time::Duration;

use futures::{StreamExt, stream};
use jiff::Timestamp;

use super::alertmanagers::{StackName, stack_of};
use super::confine::confined;
use super::evidence::{POINTS, Searched};
use super::prometheuses;
use crate::context::Context;
use crate::k8s::report::{chain, words};
use crate::loki::{Found, Loki};
use crate::stack::names::LOKI;

/// Time in which a query must have been answered.
const PATIENCE: Duration = Duration::from_secs(8);
/// Queries that are asked at a time.
const CONCURRENT: usize = 4;
/// Lines of one query.
const LINES: usize = 100;

/// What queries found in a time, in logs of `namespace` alone; each with its answer or why there is none.
pub async fn ranges(
    context: &Context,
    source: &str,
    namespace: &str,
    exprs: &[String],
    (from, to): (Timestamp, Timestamp),
) -> Vec<Searched> {
    let addresses = match &stack_of(source) {
        None => Err("the alert was not sent by a MonitoringStack: there is no Loki to ask".to_owned()),
        Some(stack) => addresses(context, stack).await.unwrap_or_else(|error| Err(words(&error))),
    };
    let addresses = &addresses;
    let step = (to.duration_since(from).as_secs() / i64::from(POINTS)).max(15);
    let asked = stream::iter(exprs.to_owned()).map(|expr| async move {
        let told = match (addresses, confined(&expr, namespace)) {
            (Err(why), _) => Err(why.clone()),
            (_, Err(why)) => Err(why),
            (Ok(addresses), Ok(confined)) => first(context, addresses, &confined, (from, to), step).await,
        };
        (expr, told)
    });
    asked.buffered(CONCURRENT).collect().await
}

/// The first answer of a replica, or why there is none.
async fn first(
    context: &Context,
    addresses: &[String],
    expr: &str,
    times: (Timestamp, Timestamp),
    step: i64,
) -> Result<Found, String> {
    let mut last = "no Loki of the stack is ready".to_owned();
    for address in addresses {
        let loki = Loki::at(&context.http, address);
        match tokio::time::timeout(PATIENCE, loki.query_range(expr, times, step, LINES)).await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(error)) => last = chain(&error),
            Err(_) => last = format!("Loki did not answer within {} s", PATIENCE.as_secs()),
        }
    }
    Err(last)
}

/// Ready replicas; `Err` when the stack has none at all.
async fn addresses(
    context: &Context,
    (namespace, name): &StackName,
) -> Result<Result<Vec<String>, String>, kube::Error> {
    let pods = prometheuses::pods(context, (namespace, name), LOKI).await?;
    if pods.is_empty() {
        return Ok(Err(format!("stack {namespace}/{name} runs no Loki")));
    }
    Ok(Ok(prometheuses::ready(&pods)))
}
