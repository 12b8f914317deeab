//! What the rule loader asks and writes: shards, statuses, annotations of pods, and the questions to Prometheus.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::core::v1::{ConfigMap, Pod as KubePod};
use kube::api::{ListParams, Patch, PatchParams};
use kube::core::ObjectMeta;
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use super::packing::{Content, Key, Pod, Report};
use super::shards::{self, REVISION, REVISION_GROUP, SET};
use super::status::news;
use crate::api::AlertRule;
use crate::api::alert_rule::{AlertRuleSpec, AlertRuleStatus};
use crate::context::Context;
use crate::k8s::apply::ApplyError;
use crate::k8s::meta::Owner;
use crate::k8s::{report, status};
use crate::prometheus::{HttpError, Prometheus};
use crate::stack::names::PROMETHEUS;

/// Suffix of the field manager of statuses.
const MANAGER: &str = "rules";
/// A pod that does not answer must not hold up the others. Prometheus does not answer while it reloads, which takes
/// seconds with thousands of rules on a busy machine.
const PATIENCE: Duration = Duration::from_secs(8);
/// Groups in one question about firing alerts: all of them have to fit into a URL.
const ASKED: usize = 40;
/// Events about one AlertRule at a time.
const EVENTS: usize = 5;

/// Writes or deletes a shard. Returns the resourceVersion; `None` when it was deleted.
pub async fn write_shard(
    context: &Context,
    owner: &Owner,
    shard: usize,
    content: &Content,
) -> Result<Option<String>, ApplyError> {
    let api = Api::<ConfigMap>::namespaced(context.client.clone(), &owner.namespace);
    let name = shards::config_map_name(&owner.name, shard);
    let Some((text, revision)) = &content.file else {
        context.writer.delete_one(owner, &api, &name).await?;
        return Ok(None);
    };
    let mut metadata = owner.child(name, PROMETHEUS);
    metadata.annotations = Some(BTreeMap::from([(REVISION.to_owned(), revision.clone())]));
    let data = BTreeMap::from([(shards::file_name(shard), text.clone())]);
    let object = ConfigMap { metadata, data: Some(data), ..ConfigMap::default() };
    let applied = context.writer.apply_one(owner, SET, &api, object).await?;
    Ok(applied.resource_version())
}

/// Every shard in the cluster, a few at a time: stack's namespace and name, number, text.
pub async fn read_shards(client: &Client, mut found: impl FnMut(&str, &str, usize, &str)) -> Result<(), kube::Error> {
    let api = Api::<ConfigMap>::all(client.clone());
    let mut page = ListParams::default().labels(&format!("{}={SET}", crate::k8s::meta::SET)).limit(4);
    loop {
        let list = api.list(&page).await?;
        for object in &list.items {
            let Some(stack) = object.labels().get("app.kubernetes.io/instance") else { continue };
            let Some(shard) = shards::of_config_map(stack, &object.name_any()) else { continue };
            let text = object.data.as_ref().and_then(|data| data.get(&shards::file_name(shard)));
            found(&object.namespace().unwrap_or_default(), stack, shard, text.map_or("", String::as_str));
        }
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(()),
        }
    }
}

/// Makes the kubelet refresh the volumes of a pod at once. A merge patch of one annotation: it takes nothing from
/// whoever owns the pod.
pub async fn kick(client: &Client, namespace: &str, pod: &str, revision: &str) -> Result<(), kube::Error> {
    let api = Api::<KubePod>::namespaced(client.clone(), namespace);
    let patch = json!({"metadata": {"annotations": {REVISION: revision}}});
    match api.patch_metadata(pod, &PatchParams::default(), &Patch::Merge(&patch)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error),
    }
}

/// Asks every pod what it has loaded; those that do not answer are left out.
pub async fn ask(http: &reqwest::Client, pods: &[Pod], about_reload: bool) -> Vec<(String, Report)> {
    let answers = pods.iter().filter_map(|pod| Some((pod, pod.ip.as_ref()?))).map(|(pod, ip)| async move {
        let prometheus = Prometheus::at(http, ip);
        match tokio::time::timeout(PATIENCE, ask_one(&prometheus, about_reload)).await {
            Ok(Ok(report)) => Some((pod.name.clone(), report)),
            Ok(Err(error)) => {
                tracing::debug!(%error, pod = pod.name, "Prometheus does not say what it has loaded");
                None
            }
            Err(_) => None,
        }
    });
    join_all(answers).await.into_iter().flatten().collect()
}

async fn ask_one(prometheus: &Prometheus, about_reload: bool) -> Result<Report, HttpError> {
    let groups = prometheus.rule_groups(&[], &[REVISION_GROUP.to_owned()]).await?;
    let labels = groups.iter().flat_map(|group| &group.rules).map(|rule| &rule.labels);
    let revisions: HashMap<usize, Box<str>> = labels
        .filter_map(|labels| Some((labels.get("shard")?.parse().ok()?, labels.get("revision")?.as_str().into())))
        .collect();
    let reloaded = match about_reload {
        true => prometheus.metric("prometheus_config_last_reload_successful").await?.map(|value| value > 0.0),
        false => None,
    };
    Ok(Report { asked: true, revisions, reloaded })
}

/// Names of the alerts that fire in these pods, one pod for each shard of Prometheus; once for each alert.
pub async fn firing(http: &reqwest::Client, pods: &[Pod]) -> Result<Vec<String>, HttpError> {
    let mut names = vec![];
    for ip in pods.iter().filter_map(|pod| pod.ip.as_ref()) {
        let alerts = Prometheus::at(http, ip).alerts().await?.into_iter();
        names.extend(alerts.filter(|a| a.state == "firing").filter_map(|mut a| a.labels.remove("alertname")));
    }
    Ok(names)
}

/// Alerts that fire in these groups, by group.
pub async fn firing_in(
    http: &reqwest::Client,
    pods: &[Pod],
    groups: &[String],
) -> Result<BTreeMap<Key, i32>, HttpError> {
    let mut counts = BTreeMap::<Key, i32>::new();
    for ip in pods.iter().filter_map(|pod| pod.ip.as_ref()) {
        for some in groups.chunks(ASKED) {
            for group in Prometheus::at(http, ip).rule_groups(&[], some).await? {
                let alerts = group.rules.iter().flat_map(|rule| &rule.alerts);
                let firing = alerts.filter(|alert| alert.state == "firing").count() as i32;
                *counts.entry(group.name.into()).or_default() += firing;
            }
        }
    }
    Ok(counts)
}

/// An AlertRule with no more than its names, to refer to it.
pub fn bare(rule: &str, uid: &str) -> AlertRule {
    let (namespace, name) = rule.split_once('/').unwrap_or_default();
    let metadata = ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(namespace.to_owned()),
        uid: Some(uid.to_owned()),
        ..ObjectMeta::default()
    };
    let spec = AlertRuleSpec {
        source: Default::default(),
        interval: None,
        labels: BTreeMap::new(),
        rules: vec![],
        tests: vec![],
    };
    AlertRule { metadata, spec, status: None }
}

/// Writes a status, and an Event for every rule that is newly refused.
pub async fn write_status(
    context: &Context,
    rule: &AlertRule,
    old: &AlertRuleStatus,
    new: &AlertRuleStatus,
) -> Result<(), kube::Error> {
    match status::patch(&context.client, MANAGER, rule, Some(old), new).await {
        // Deleted, or deleted and created again.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => return Ok(()),
        other => other?,
    };
    for (reason, note) in news(old, new).into_iter().take(EVENTS) {
        report::warn(context, rule, "LoadRules", reason, &note).await;
    }
    Ok(())
}
