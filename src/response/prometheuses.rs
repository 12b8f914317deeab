//! What the Prometheus of an alert's stack says of a condition.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;

use super::alertmanagers::{StackName, stack_of};
use super::condition::{self, Question, Told};
use crate::context::Context;
use crate::k8s::meta::MANAGED_BY;
use crate::k8s::report::chain;
use crate::prometheus::{HttpError, Prometheus, Sample};
use crate::stack::names::{PROMETHEUS, SHARD};

/// Time in which a condition must have been answered.
const PATIENCE: Duration = Duration::from_secs(5);

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
    let mut last = format!("no Prometheus of stack {}/{} is ready", stack.0, stack.1);
    for address in addresses {
        let prometheus = Prometheus::at(&context.http, &address);
        match tokio::time::timeout(PATIENCE, answers(&prometheus, &question)).await {
            Ok(Ok((whole, left))) => return Ok(condition::judge(&question, &whole, left.as_deref())),
            Ok(Err(error)) => last = chain(&error),
            Err(_) => last = format!("Prometheus did not answer within {} s", PATIENCE.as_secs()),
        }
    }
    Ok(Told::NoAnswer(last))
}

async fn answers(
    prometheus: &Prometheus,
    question: &Question,
) -> Result<(Vec<Sample>, Option<Vec<Sample>>), HttpError> {
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
    let labels = format!(
        "app.kubernetes.io/name={PROMETHEUS},app.kubernetes.io/instance={name},app.kubernetes.io/managed-by={MANAGED_BY}"
    );
    let pods = Api::<Pod>::namespaced(context.client.clone(), namespace);
    let mut pods = pods.list(&ListParams::default().labels(&labels)).await?.items;
    pods.retain(|pod| pod.metadata.deletion_timestamp.is_none());
    let shard = |pod: &Pod| pod.metadata.labels.as_ref().and_then(|labels| labels.get(SHARD)).cloned();
    if pods.iter().any(|pod| shard(pod) != shard(&pods[0])) {
        return Ok(Err(format!("stack {namespace}/{name} is sharded: no single Prometheus has all series")));
    }
    let ready = |pod: &&Pod| {
        let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
        conditions.is_some_and(|all| all.iter().any(|c| c.type_ == "Ready" && c.status == "True"))
    };
    let address = |pod: &Pod| pod.status.as_ref()?.pod_ip.clone().filter(|ip| !ip.is_empty());
    Ok(Ok(pods.iter().filter(ready).filter_map(address).collect()))
}
