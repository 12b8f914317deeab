//! What runs, asked from the pods themselves, and the kick that makes them take up a changed configuration.

use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, ListParams, Patch};
use kube::core::PartialObjectMetaExt;

use super::apply::SET;
use super::build::Revisions;
use super::component::scrape;
use super::names::{CONFIG_REVISION, DASHBOARDS_REVISION, GRAFANA, LOKI, PROMETHEUS};
use super::observed::StackObservations;
use super::pods::{Answer, PodFacts};
use super::status::{Pool, Seen};
use super::workloads::{Component, Workload};
use crate::alertmanager::Alertmanager;
use crate::api::monitoring_stack::TargetCounts;
use crate::context::Context;
use crate::k8s::meta::{self, Owner};
use crate::loki::Loki;
use crate::prometheus::{HttpError, Prometheus};

/// So long one pass waits for a changed configuration to be loaded; the next one goes on.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(400);
/// So many pods are asked at the same time.
const AT_ONCE: usize = 8;

/// Looks at the pods of `workloads`, and makes those load the present configuration that have another one.
pub async fn observe(
    context: &Context,
    owner: &Owner,
    workloads: &[Workload],
    revisions: &Revisions,
    memory: &StackObservations,
) -> Result<Seen, kube::Error> {
    let until = Instant::now() + PATIENCE;
    let mut pods = look(context, owner, workloads, revisions).await?;
    while kick(context, owner, &mut pods, revisions, memory).await? && Instant::now() < until {
        tokio::time::sleep(PAUSE).await;
        pods = look(context, owner, workloads, revisions).await?;
    }
    for pod in pods.iter().filter(|p| matches!(p.answer, Answer::Says { loaded: true, .. })) {
        memory.reloaded(&owner.namespace, &pod.name);
    }
    let targets = targets(context, &pods).await;
    Ok(Seen { pods, targets: targets.0, pools: targets.1 })
}

async fn look(
    context: &Context,
    owner: &Owner,
    workloads: &[Workload],
    revisions: &Revisions,
) -> Result<Vec<PodFacts>, kube::Error> {
    let api = Api::<Pod>::namespaced(context.client.clone(), &owner.namespace);
    let labels = format!("app.kubernetes.io/instance={},app.kubernetes.io/part-of=evenkeel", owner.name);
    let list = api.list(&ListParams::default().labels(&labels)).await?;
    let mut pods: Vec<PodFacts> = list.items.iter().filter_map(|pod| PodFacts::of(pod, workloads)).collect();
    pods.sort_by(|a, b| a.name.cmp(&b.name));
    let asking: Vec<_> =
        pods.iter().map(|pod| ask(context, pod, revisions.of(pod.component).unwrap_or_default())).collect();
    let answers: Vec<Answer> = futures::stream::iter(asking).buffered(AT_ONCE).collect().await;
    for (pod, answer) in pods.iter_mut().zip(answers) {
        pod.answer = answer;
    }
    Ok(pods)
}

async fn ask(context: &Context, pod: &PodFacts, revision: &str) -> Answer {
    let Some(ip) = &pod.ip else { return pod.answer.clone() };
    let answer = match pod.component {
        Component::Prometheus(_) => ask_prometheus(&Prometheus::at(&context.http, ip), revision).await,
        Component::Alertmanager => ask_alertmanager(&Alertmanager::at(&context.http, ip), revision).await,
        Component::Part(LOKI) if pod.ready => return versioned(context, pod, ip).await,
        Component::Part(_) => return pod.answer.clone(),
    };
    answer.unwrap_or_else(|error| Answer::Silent(error.to_string()))
}

/// A Loki's own word on its version, where it has one: an image may be called anything.
async fn versioned(context: &Context, pod: &PodFacts, ip: &str) -> Answer {
    let told = Loki::at(&context.http, ip).version().await.ok().filter(|version| !version.is_empty());
    match (pod.answer.clone(), told) {
        (Answer::Says { loaded, refused, .. }, Some(version)) => Answer::Says { version, loaded, refused },
        (answer, _) => answer,
    }
}

async fn ask_prometheus(prometheus: &Prometheus, revision: &str) -> Result<Answer, HttpError> {
    let (config, version) = (prometheus.config().await?, prometheus.version().await?);
    let loaded = has_mark(&config, revision);
    // It reloads by itself within a second; until then the last result is that of the configuration before.
    let failed = !loaded && prometheus.metric("prometheus_config_last_reload_successful").await? == Some(0.0);
    let refused = failed.then(|| "Prometheus refuses the configuration: its log says why".to_owned());
    Ok(Answer::Says { version, loaded, refused })
}

async fn ask_alertmanager(alertmanager: &Alertmanager, revision: &str) -> Result<Answer, HttpError> {
    let (config, version) = alertmanager.status().await?;
    Ok(Answer::Says { version, loaded: has_mark(&config, revision), refused: None })
}

/// Both configurations name files by their own revision that nothing matches.
fn has_mark(config: &str, revision: &str) -> bool {
    config.contains(&format!("/revision-{revision}-"))
}

/// Makes the kubelet refresh the volumes of outdated pods, and Alertmanager read them. Returns whether something may
/// come of it soon.
async fn kick(
    context: &Context,
    owner: &Owner,
    pods: &mut [PodFacts],
    revisions: &Revisions,
    memory: &StackObservations,
) -> Result<bool, kube::Error> {
    let api = Api::<Pod>::namespaced(context.client.clone(), &owner.namespace);
    let mut soon = false;
    for pod in pods {
        if let Some(wanted) = stale_dashboards(pod, revisions) {
            refresh(&api, &pod.name, DASHBOARDS_REVISION, wanted).await?;
        }
        let Some(revision) = revisions.of(pod.component) else { continue };
        let refreshed = pod.refreshed.as_deref() == Some(revision);
        // One that runs but cannot be asked may be outdated as well.
        let silent = pod.ready && matches!(pod.answer, Answer::Silent(_));
        if (pod.outdated() || silent) && !refreshed {
            refresh(&api, &pod.name, CONFIG_REVISION, revision).await?;
        }
        let (Answer::Says { loaded: false, refused, .. }, Some(ip)) = (&mut pod.answer, &pod.ip) else { continue };
        if pod.component == Component::Alertmanager {
            if memory.may_reload(&owner.namespace, &pod.name, revision, Instant::now()) {
                let answer = Alertmanager::at(&context.http, ip).reload().await;
                memory.answered(&owner.namespace, &pod.name, answer.err().and_then(refusal));
            }
            *refused = memory.refusal(&owner.namespace, &pod.name, revision);
        }
        soon |= refused.is_none();
    }
    Ok(soon)
}

/// The revision of the dashboards, where the pod was not refreshed for it. Grafana reads the files again by itself.
fn stale_dashboards<'a>(pod: &PodFacts, revisions: &'a Revisions) -> Option<&'a str> {
    let wanted = revisions.dashboards.as_deref()?;
    let shows = pod.component == Component::Part(GRAFANA) && pod.ip.is_some();
    (shows && pod.dashboards.as_deref() != Some(wanted)).then_some(wanted)
}

/// Alertmanager's own words; a pod that cannot be reached refuses nothing.
fn refusal(error: HttpError) -> Option<String> {
    match error {
        HttpError::Status { body, .. } => Some(format!("Alertmanager refuses the configuration: {body}")),
        _ => None,
    }
}

async fn refresh(api: &Api<Pod>, pod: &str, annotation: &str, revision: &str) -> Result<(), kube::Error> {
    let annotations = Some([(annotation.to_owned(), revision.to_owned())].into());
    let metadata = ObjectMeta { annotations, ..ObjectMeta::default() };
    let body = metadata.into_request_partial::<Pod>();
    match api.patch_metadata(pod, &meta::patch_as(SET), &Patch::Merge(&body)).await {
        Ok(_) => Ok(()),
        // Replaced meanwhile, and by one that mounts what is there now.
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error),
    }
}

/// Counts of targets over all shards, each asked from the first of its replicas that answers; and how many each pool
/// of found targets has.
async fn targets(context: &Context, pods: &[PodFacts]) -> (Option<TargetCounts>, Vec<Pool>) {
    let mut shards: Vec<i32> = vec![];
    let (mut total, mut pools) = (None, vec![]);
    for pod in pods.iter().filter(|p| matches!(p.answer, Answer::Says { .. })) {
        let (Component::Prometheus(shard), Some(ip)) = (pod.component, &pod.ip) else { continue };
        if shards.contains(&shard) {
            continue;
        }
        let prometheus = Prometheus::at(&context.http, ip);
        let Ok(counts) = prometheus.targets().await else { continue };
        shards.push(shard);
        let sum: &mut TargetCounts = total.get_or_insert_default();
        sum.up += counts.up;
        sum.down += counts.down;
        let expr = format!(
            r#"prometheus_target_scrape_pool_targets{{job="{PROMETHEUS}",scrape_job=~"{}|{}"}}"#,
            scrape::PODS,
            scrape::SERVICES
        );
        let samples = prometheus.query(&expr).await.unwrap_or_default();
        pools.extend(samples.into_iter().filter_map(|sample| {
            Some(Pool {
                pod: sample.labels.get("pod")?.clone(),
                name: sample.labels.get("scrape_job")?.clone(),
                targets: sample.value as i64,
            })
        }));
    }
    (total, pools)
}
