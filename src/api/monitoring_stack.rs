//! MonitoringStack: which components run, how large, where they look for rules and targets, who hears of alerts.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::Conditioned;
use super::common::{Conditions, PodSettings, SecretKeyRef, conditions_schema};
use super::duration::PromDuration;

/// Which components run, how large they are, where they look for rules and targets, and who hears of alerts.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "evenkeel.dev",
    version = "v1alpha1",
    kind = "MonitoringStack",
    doc = "A monitoring stack: Prometheus and Alertmanager, run, configured and kept in order by Evenkeel.",
    namespaced,
    status = "MonitoringStackStatus",
    shortname = "mstack",
    category = "evenkeel",
    derive = "PartialEq",
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(
        name = "Prometheus",
        type_ = "string",
        json_path = r#".status.components[?(@.name=="prometheus")].pods"#
    ),
    printcolumn(
        name = "Alertmanager",
        type_ = "string",
        json_path = r#".status.components[?(@.name=="alertmanager")].pods"#
    ),
    printcolumn(name = "Rules", type_ = "integer", json_path = ".status.rules.loaded"),
    printcolumn(name = "Targets", type_ = "integer", json_path = ".status.targets.up"),
    printcolumn(name = "Down", type_ = "integer", json_path = ".status.targets.down", priority = 1),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.prometheus) || has(self.alertmanager)")
        .message("a stack without components does nothing: set prometheus or alertmanager ({} takes the defaults)")
)]
pub struct MonitoringStackSpec {
    /// Where AlertRules and scrape targets are found. Absent: in this namespace only. `{}`: in all namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discovery: Option<Discovery>,
    /// Prometheus: scrapes the targets and evaluates the rules. Absent: none is run. `{}`: one with the defaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<PrometheusSpec>,
    /// Alertmanager: groups alerts and tells people. Absent: none is run. `{}`: one with the defaults, which tells
    /// nobody but Evenkeel itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alertmanager: Option<AlertmanagerSpec>,
    /// While true nothing of this stack is written; what runs keeps running.
    #[serde(default)]
    pub paused: bool,
}

/// Where AlertRules and scrape targets are found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Discovery {
    /// Labels of the namespaces to look in. Absent or `{}`: all namespaces. The label `kubernetes.io/metadata.name`
    /// selects a namespace by its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// Labels of the AlertRules, and of the pods and services to scrape. Absent or `{}`: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// How Prometheus runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.image) && has(self.version))")
        .message("image and version exclude each other: image holds its own tag"),
    validation = Rule::new("!has(self.externalLabels) || !self.externalLabels.exists(l, l in ['prometheus_replica', 'prometheus_shard'])")
        .message("externalLabels: prometheus_replica and prometheus_shard are set by Evenkeel")
)]
pub struct PrometheusSpec {
    /// Replicas of each shard. All of them scrape the same targets; Alertmanager removes the duplicates. Default: 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 10))]
    pub replicas: i32,
    /// Into how many instances the targets are divided. All targets of one `job` in one namespace stay together, so
    /// that a rule about one job sees all of it; a rule over several jobs does not. Default: 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 32))]
    pub shards: i32,
    /// How long samples are kept. Default: 31d.
    #[serde(default = "default_retention")]
    pub retention: PromDuration,
    /// Most bytes of samples to keep, in Prometheus' units of powers of two, for example 512MB or 50GB.
    /// Default: 85 % of storage.size where that is given, else unlimited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[1-9][0-9]*(B|KB|MB|GB|TB|PB|EB)$"), length(max = 32))]
    pub retention_size: Option<String>,
    /// How often targets are scraped. Default: 30s.
    #[serde(default = "default_interval")]
    pub scrape_interval: PromDuration,
    /// How often rules are evaluated where they do not say so themselves. Default: the scrape interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluation_interval: Option<PromDuration>,
    /// Where the samples lie. Absent: in an emptyDir, which is lost with the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
    /// Labels of every series and alert that leaves this Prometheus.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub external_labels: BTreeMap<String, String>,
    /// Where samples are sent besides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub remote_write: Vec<RemoteWrite>,
    /// Which kinds of targets are scraped. Default: all.
    #[serde(default)]
    pub scrape: Scrape,
    /// Version of the default image, for example v3.15.0. At least v3.0.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^v[0-9]+\.[0-9]+\.[0-9]+[-.0-9A-Za-z]*$"), length(max = 64))]
    pub version: Option<String>,
    /// The whole image, registry and tag included, instead of the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// Settings of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodSettings>,
}

impl Default for PrometheusSpec {
    fn default() -> Self {
        Self {
            replicas: 1,
            shards: 1,
            retention: default_retention(),
            retention_size: None,
            scrape_interval: default_interval(),
            evaluation_interval: None,
            storage: None,
            external_labels: BTreeMap::new(),
            remote_write: vec![],
            scrape: Scrape::default(),
            version: None,
            image: None,
            pod: None,
        }
    }
}

/// Which kinds of targets are scraped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Scrape {
    /// Pods with the annotation `prometheus.io/scrape: "true"`; `prometheus.io/port`, `path` and `scheme` say where.
    /// Default: true.
    #[serde(default = "yes")]
    pub pods: bool,
    /// The endpoints of services with these annotations, except pods that carry them themselves. Default: true.
    #[serde(default = "yes")]
    pub services: bool,
    /// The kubelets' own metrics. Default: true.
    #[serde(default = "yes")]
    pub kubelet: bool,
    /// Usage of the containers, as the kubelets' cAdvisor has it. Default: true.
    #[serde(default = "yes")]
    pub cadvisor: bool,
    /// The Kubernetes API servers. Default: true.
    #[serde(default = "yes")]
    pub api_server: bool,
    /// Do not verify the kubelets' serving certificates: needed where they are not signed by the cluster's CA, as
    /// with kubeadm's defaults. The token of Prometheus can then be taken by whoever poses as a kubelet.
    /// Default: false.
    #[serde(default)]
    pub kubelet_insecure_skip_verify: bool,
}

impl Default for Scrape {
    fn default() -> Self {
        Self {
            pods: true,
            services: true,
            kubelet: true,
            cadvisor: true,
            api_server: true,
            kubelet_insecure_skip_verify: false,
        }
    }
}

/// Where a component keeps its data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.size) != has(self.emptyDir)")
        .message("storage: set exactly one of size (a PersistentVolumeClaim for each pod) and emptyDir (lost with the pod)"),
    validation = Rule::new("!has(self.storageClassName) || has(self.size)")
        .message("storage: storageClassName belongs to size")
)]
pub struct Storage {
    /// Size of the PersistentVolumeClaim of each pod, for example 10Gi. It can grow where the StorageClass allows
    /// that; it cannot shrink.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "quantity")]
    pub size: Option<Quantity>,
    /// StorageClass of the claims. Default: the cluster's own. Only new claims follow a change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub storage_class_name: Option<String>,
    /// Keep the data in the pod's own directory on the node: it is lost with the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty_dir: Option<EmptyDir>,
}

/// A directory that lives as long as the pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EmptyDir {
    /// Above this size the pod is evicted. Default: unlimited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "quantity")]
    pub size_limit: Option<Quantity>,
}

/// A receiver of samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.basicAuth) && has(self.bearerTokenSecretRef))")
        .message("remoteWrite: basicAuth and bearerTokenSecretRef exclude each other")
)]
pub struct RemoteWrite {
    /// Where samples are posted, for example https://metrics.example.com/api/v1/write.
    #[schemars(regex(pattern = "^https?://"), length(max = 2048))]
    pub url: String,
    /// Name in the metrics of Prometheus. Default: a digest of the settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub name: Option<String>,
    /// User and password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth>,
    /// The bearer token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer_token_secret_ref: Option<SecretKeyRef>,
    /// Extra HTTP headers, for example X-Scope-OrgID. Not for credentials: they are readable in the configuration.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub headers: BTreeMap<String, String>,
    /// Time for one request. Default: 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<PromDuration>,
}

/// User and password of HTTP basic authentication.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BasicAuth {
    /// User name.
    #[schemars(length(min = 1, max = 253))]
    pub username: String,
    /// Where the password is.
    pub password_secret_ref: SecretKeyRef,
}

/// How Alertmanager runs, and whom it tells what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.image) && has(self.version))")
        .message("image and version exclude each other: image holds its own tag")
)]
pub struct AlertmanagerSpec {
    /// Replicas. More than one form a mesh, in which each notification is sent once. Default: 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 9))]
    pub replicas: i32,
    /// Who is told of which alerts: the first route that matches, and the following ones where it says `continue`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 200))]
    pub routes: Vec<Route>,
    /// NotificationChannel of this namespace for alerts that no route matches. Default: nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub default_channel: Option<String>,
    /// Named times at which routes may keep silent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub mute_intervals: Vec<MuteInterval>,
    /// Which alerts silence which others while they fire. Default: critical over warning and info, for alerts of
    /// the same name about the same thing. `[]`: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100))]
    pub inhibition: Option<Vec<Inhibition>>,
    /// Where silences and the log of notifications lie. Absent: in an emptyDir, which is lost with the pod; the
    /// other replicas of the mesh give it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
    /// How long silences and the log of notifications are kept. Default: 5d.
    #[serde(default = "default_alert_retention")]
    pub retention: PromDuration,
    /// Version of the default image, for example v0.31.1. At least v0.28.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^v[0-9]+\.[0-9]+\.[0-9]+[-.0-9A-Za-z]*$"), length(max = 64))]
    pub version: Option<String>,
    /// The whole image, registry and tag included, instead of the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// Settings of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodSettings>,
}

impl Default for AlertmanagerSpec {
    fn default() -> Self {
        Self {
            replicas: 1,
            routes: vec![],
            default_channel: None,
            mute_intervals: vec![],
            inhibition: None,
            storage: None,
            retention: default_alert_retention(),
            version: None,
            image: None,
            pod: None,
        }
    }
}

/// Who is told of which alerts. A route with an error is left out, and the status says so; alerts go on to the routes
/// after it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// Conditions on the labels of an alert, all of which must hold, as Alertmanager writes them: `severity="critical"`,
    /// `team=~"a|b"`, `!=`, `!~`. Absent: every alert.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 1024)))]
    pub matchers: Vec<String>,
    /// NotificationChannel of this namespace.
    #[schemars(length(min = 1, max = 253))]
    pub channel: String,
    /// Labels by which alerts are put together into one notification; `...` alone is every label.
    /// Default: namespace and alertname.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 253)))]
    pub group_by: Vec<String>,
    /// How long the first notification of a group waits for further alerts. Default: 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_wait: Option<PromDuration>,
    /// How long a group waits before it tells of new alerts. Default: 5m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_interval: Option<PromDuration>,
    /// After which time a notification is repeated while its alerts fire. Default: 4h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeat_interval: Option<PromDuration>,
    /// Whether the routes after this one are tried as well. Default: false.
    #[serde(default, rename = "continue")]
    pub continue_: bool,
    /// Names of muteIntervals during which this route keeps silent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 253)))]
    pub mute_time_intervals: Vec<String>,
}

/// A named set of times.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MuteInterval {
    /// Name by which routes refer to it.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The times: any of them.
    #[schemars(length(min = 1, max = 32))]
    pub intervals: Vec<TimeInterval>,
}

/// Times at which all the given fields hold. An absent field holds always.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TimeInterval {
    /// Times of the day. One that crosses midnight is written as two.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub times: Vec<TimeRange>,
    /// Days of the week, for example `saturday` or `monday:friday`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 7),
        inner(regex(
            pattern = "^(sun|mon|tues|wednes|thurs|fri|satur)day(:(sun|mon|tues|wednes|thurs|fri|satur)day)?$"
        ))
    )]
    pub weekdays: Vec<String>,
    /// Days of the month, for example `1`, `1:7`, or `-3:-1` for the last three.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 31), inner(regex(pattern = "^-?[0-9]{1,2}(:-?[0-9]{1,2})?$")))]
    pub days_of_month: Vec<String>,
    /// Months, for example `12`, `december` or `june:august`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 12), inner(regex(pattern = "^([0-9]{1,2}|[a-z]{3,9})(:([0-9]{1,2}|[a-z]{3,9}))?$")))]
    pub months: Vec<String>,
    /// Years, for example `2026` or `2026:2028`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(regex(pattern = "^[0-9]{4}(:[0-9]{4})?$")))]
    pub years: Vec<String>,
    /// Time zone by its IANA name, for example Europe/Paris. Default: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: Option<String>,
}

/// A part of a day.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TimeRange {
    /// Start, HH:MM.
    #[schemars(regex(pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$"))]
    pub start: String,
    /// End, HH:MM, itself not included; 24:00 is the end of the day.
    #[schemars(regex(pattern = "^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$"))]
    pub end: String,
}

/// While an alert that matches `source` fires, alerts that match `target` are not notified.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Inhibition {
    /// Matchers of the alert that silences.
    #[schemars(length(min = 1, max = 32), inner(length(min = 1, max = 1024)))]
    pub source: Vec<String>,
    /// Matchers of the alerts that are silenced.
    #[schemars(length(min = 1, max = 32), inner(length(min = 1, max = 1024)))]
    pub target: Vec<String>,
    /// Labels that must have the same value in both.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 253)))]
    pub equal: Vec<String>,
}

/// What was observed of the stack.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MonitoringStackStatus {
    /// The generation of the spec that this status speaks of; -1 before the first look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub components: Vec<ComponentStatus>,
    /// The rules of the AlertRules that this stack selects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<RuleCounts>,
    /// The targets of Prometheus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub targets: Option<TargetCounts>,
    /// Ready, Reconciling and Stalled; RulesSelected, TargetsFound and RoutesValid.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Conditions,
}

/// One component, as it was observed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ComponentStatus {
    /// prometheus or alertmanager.
    pub name: String,
    /// Version that the component itself reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Pods that are ready.
    pub ready: i32,
    /// Pods that should be.
    pub desired: i32,
    /// Ready and desired pods, for example 2/2.
    pub pods: String,
    /// Where it answers within the cluster.
    pub url: String,
    /// Where its data lies.
    pub storage: String,
    /// Whether every pod has loaded the present configuration.
    pub config_loaded: bool,
    /// What is not as it should be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Rules of a stack by their state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RuleCounts {
    /// AlertRules that this stack selects.
    pub selected: i64,
    /// Rules in them that were accepted.
    pub accepted: i64,
    /// Rules in them that were refused; the AlertRule's own status says why.
    pub rejected: i64,
    /// Accepted rules that every Prometheus of the stack has loaded.
    pub loaded: i64,
}

/// Targets by their state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetCounts {
    /// Targets that answered their last scrape.
    pub up: i64,
    /// Targets that did not.
    pub down: i64,
}

impl RemoteWrite {
    /// Every Secret key that it needs, with the field that names it.
    pub fn secret_refs(&self) -> Vec<(&'static str, &SecretKeyRef)> {
        let basic = self.basic_auth.iter().map(|b| ("basicAuth.passwordSecretRef", &b.password_secret_ref));
        basic.chain(self.bearer_token_secret_ref.iter().map(|r| ("bearerTokenSecretRef", r))).collect()
    }
}

impl Conditioned for MonitoringStack {
    fn conditions(&self) -> &[Condition] {
        self.status.as_ref().map_or(&[], |s| &s.conditions)
    }
    fn observed_generation(&self) -> Option<i64> {
        self.status.as_ref().and_then(|s| s.observed_generation)
    }
}

fn one() -> i32 {
    1
}
fn yes() -> bool {
    true
}
fn default_retention() -> PromDuration {
    PromDuration::from_mins(31 * 24 * 60)
}
fn default_interval() -> PromDuration {
    PromDuration::from_secs(30)
}
fn default_alert_retention() -> PromDuration {
    PromDuration::from_mins(5 * 24 * 60)
}

/// A size, as Kubernetes writes it.
fn quantity(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "pattern": r"^[0-9]+(\.[0-9]{1,9})?(Ki|Mi|Gi|Ti|Pi|Ei|k|M|G|T|P|E)?$",
        "maxLength": 32,
    })
}
