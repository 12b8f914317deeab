//! What the Prometheus of an alert's stack says of a condition.

use std::future::Future;
use std::time::Duration;

use futures::{StreamExt, stream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;

use super::alertmanagers::{StackName, stack_of};
use super::condition::{self, Question, Told};
use super::facts::LookBack;
use super::look_back;
use crate::api::response_run::RunAlert;
use crate::context::Context;
use crate::k8s::meta::MANAGED_BY;
use crate::k8s::report::{chain, words};
use crate::k8s::workload::pods as workload_pods;
use crate::prometheus::{HttpError, Prometheus, Rule, Sample, Series};
use crate::stack::names::{PROMETHEUS, SHARD};

/// Time in which a condition must have been answered.
const PATIENCE: Duration = Duration::from_secs(5);
/// Ranges that are asked for at a time.
const CONCURRENT: usize = 4;
/// The same for what is good to know, while a repair waits for it.
const GLANCE: Duration = Duration::from_secs(1);

/// Judges a condition at the stack whose alert it is about. `source` is that of the run's alert.
pub async fn ask(context: &Context, source: &str, expr: &str) -> Result<Told, kube::Error> {
    let Some(stack) = stack_of(source) else {
        return Ok(Told::NoData("the alert was not sent by a MonitoringStack: there is no Prometheus to ask".into()));
    };
    let question = match condition::question(expr) {
        Ok(question) => question,
        Err(error) => return Ok(Told::NoData(format!("{expr} cannot be asked: {}", error.message))),
    };
    let addresses = match addresses(context, &stack).await? {
        Ok(addresses) => addresses,
        Err(why) => return Ok(Told::NoAnswer(why)),
    };
    let answered = first(context, &stack, addresses, PATIENCE, |prometheus| answers(prometheus, &question));
    Ok(match answered.await {
        Ok((whole, left)) => condition::judge(&question, &whole, left.as_deref()),
        Err(why) => Told::NoAnswer(why),
    })
}

/// What expressions were in a time, each with its answer or why there is none; from the first replica that answers.
pub async fn ranges(
    context: &Context,
    source: &str,
    exprs: &[String],
    (from, to): (Timestamp, Timestamp),
    step_seconds: i64,
) -> Vec<(String, Result<Vec<Series>, String>)> {
    let stack = stack_of(source);
    let addresses = match &stack {
        None => Err("the alert was not sent by a MonitoringStack: there is no Prometheus to ask".to_owned()),
        Some(stack) => addresses(context, stack).await.unwrap_or_else(|error| Err(words(&error))),
    };
    let (stack, addresses) = (&stack.unwrap_or_default(), &addresses);
    let asked = stream::iter(exprs.to_owned()).map(|expr| async move {
        let query = |prometheus: Prometheus| {
            let expr = &expr;
            async move { prometheus.query_range(expr, from, to, step_seconds).await }
        };
        let told = match addresses {
            Ok(addresses) => first(context, stack, addresses.clone(), PATIENCE, query).await,
            Err(why) => Err(why.clone()),
        };
        (expr, told)
    });
    asked.buffered(CONCURRENT).collect().await
}

/// The values that a condition is about, in words; `None` where there are none, or nobody answers at once.
pub async fn values(context: &Context, source: &str, expr: &str) -> Result<Option<String>, kube::Error> {
    let (Some(stack), Ok(question)) = (stack_of(source), condition::question(expr)) else { return Ok(None) };
    let Ok(addresses) = addresses(context, &stack).await? else { return Ok(None) };
    let asked = question.left.unwrap_or(question.whole);
    let query = |prometheus: Prometheus| {
        let asked = &asked;
        async move { prometheus.query(asked).await }
    };
    let samples = first(context, &stack, addresses, GLANCE, query).await;
    Ok(samples.ok().filter(|samples| !samples.is_empty()).map(|samples| condition::values(&samples)))
}

/// How far the rule of an alert looks back, by the Prometheus of its stack.
pub async fn look_back(context: &Context, alert: &RunAlert) -> Result<LookBack, kube::Error> {
    // An alert from elsewhere: its author knows how far it looks back.
    let Some(stack) = stack_of(&alert.source) else { return Ok(LookBack::Unknown(String::new())) };
    let addresses = match addresses(context, &stack).await? {
        Ok(addresses) => addresses,
        Err(why) => return Ok(LookBack::Unknown(format!("how far the alert looks back is not known: {why}"))),
    };
    Ok(match first(context, &stack, addresses, PATIENCE, |prometheus| rules(prometheus, alert)).await {
        Ok((alerting, recording)) => look_back::of_alert(&alerting, &recording, alert),
        Err(why) => LookBack::NoAnswer(why),
    })
}

/// The rules of an alert, and the recording rules of the series that they read.
async fn rules(prometheus: Prometheus, alert: &RunAlert) -> Result<(Vec<Rule>, Vec<Rule>), HttpError> {
    let alerting = prometheus.rules_named(std::slice::from_ref(&alert.name)).await?;
    let names = look_back::recorded_by(&alerting, alert);
    let recording = if names.is_empty() { vec![] } else { prometheus.rules_named(&names).await? };
    Ok((alerting, recording))
}

/// The first answer of a replica, or why there is none.
async fn first<T, F>(
    context: &Context,
    stack: &StackName,
    addresses: Vec<String>,
    patience: Duration,
    ask: impl Fn(Prometheus) -> F,
) -> Result<T, String>
where
    F: Future<Output = Result<T, HttpError>>,
{
    let mut last = format!("no Prometheus of stack {}/{} is ready", stack.0, stack.1);
    for address in addresses {
        match tokio::time::timeout(patience, ask(Prometheus::at(&context.http, &address))).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => last = chain(&error),
            Err(_) => last = format!("Prometheus did not answer within {} s", patience.as_secs()),
        }
    }
    Err(last)
}

async fn answers(prometheus: Prometheus, question: &Question) -> Result<(Vec<Sample>, Option<Vec<Sample>>), HttpError> {
    let whole = prometheus.query(&question.whole).await?;
    match &question.left {
        Some(left) => Ok((whole, Some(prometheus.query(left).await?))),
        None => Ok((whole, None)),
    }
}

/// Ready replicas, or why they cannot answer.
async fn addresses(
    context: &Context,
    (namespace, name): &StackName,
) -> Result<Result<Vec<String>, String>, kube::Error> {
    let pods = pods(context, (namespace, name), PROMETHEUS).await?;
    let shard = |pod: &Pod| pod.metadata.labels.as_ref().and_then(|labels| labels.get(SHARD)).cloned();
    if pods.iter().any(|pod| shard(pod) != shard(&pods[0])) {
        return Ok(Err(format!("stack {namespace}/{name} is sharded: no single Prometheus has all series")));
    }
    Ok(Ok(ready(&pods)))
}

/// The pods of a stack's component, but for those that are on their way out.
pub(super) async fn pods(
    context: &Context,
    (namespace, name): (&str, &str),
    component: &str,
) -> Result<Vec<Pod>, kube::Error> {
    let labels = format!(
        "app.kubernetes.io/name={component},app.kubernetes.io/instance={name},app.kubernetes.io/managed-by={MANAGED_BY}"
    );
    let pods = Api::<Pod>::namespaced(context.client.clone(), namespace);
    let mut pods = pods.list(&ListParams::default().labels(&labels)).await?.items;
    pods.retain(|pod| !workload_pods::is_terminating(pod));
    Ok(pods)
}

/// Addresses of those that are ready.
pub(super) fn ready(pods: &[Pod]) -> Vec<String> {
    let address = |pod: &Pod| pod.status.as_ref()?.pod_ip.clone().filter(|ip| !ip.is_empty());
    pods.iter().filter(|pod| workload_pods::is_ready(pod)).filter_map(address).collect()
}
