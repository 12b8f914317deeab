//! MonitoringStack: which components run, how large, where they look for rules and targets, who hears of alerts.

mod alertmanager;
mod exporters;
mod grafana;
mod jaeger;
mod log_pipeline;
mod logs;
mod loki;
mod probes;
mod prometheus;
mod rules;
mod status;

pub use alertmanager::{AlertmanagerSpec, DeadMansSwitch, Inhibition, MuteInterval, Route, TimeInterval, TimeRange};
pub use exporters::{
    Exporter, ExportersSpec, KafkaSasl, KafkaTarget, KafkaTls, KubeStateMetrics, MountPropagation, MysqlTarget,
    NodeExporter, PostgresTarget, RedisTarget, SaslMechanism,
};
pub use grafana::{Dashboards, GatewayRef, GrafanaIngress, GrafanaPlugin, GrafanaRoute, GrafanaSpec, SecretRef};
pub use jaeger::{JaegerSpec, OperationSampling, Sampling, ServiceSampling, TraceStore};
pub use log_pipeline::{
    DropRule, JsonLogs, LogFormat, LogMatch, LogPipeline, LogSource, Multiline, MultilinePreset, SampleRule,
    SeverityField, SeverityMapping, TimestampField, TraceIdField,
};
pub use logs::{
    ContainerLogs, FileLogs, JournalLogs, LogGateway, LogsSpec, OtlpLogs, Redaction, RedactionPreset, SyslogLogs,
    TcpLogs,
};
pub use loki::{LokiLimits, LokiSpec, ObjectStore, StreamRetention};
pub use probes::{DnsProbe, HttpMethod, HttpProbe, IpFamily, Probe, ProbeModule, TcpProbe};
pub use prometheus::{BasicAuth, PrometheusSpec, RemoteWrite, Scrape};
pub use rules::{RulesSpec, ThresholdValue};
pub use status::{ComponentStatus, MonitoringStackStatus, RuleCounts, TargetCounts};

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::Conditioned;
use super::slo::Compatibility;

/// Which components run, how large they are, where they look for rules and targets, and who hears of alerts.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "evenkeel.dev",
    version = "v1alpha1",
    kind = "MonitoringStack",
    doc = "A monitoring stack: Prometheus, Alertmanager, Loki, Jaeger, Grafana, log agents and exporters, run, configured and kept in order by Evenkeel.",
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
    validation = Rule::new("has(self.prometheus) || has(self.alertmanager) || has(self.loki) || has(self.logs) || has(self.jaeger) || has(self.grafana) || has(self.exporters)")
        .message("a stack without components does nothing: set prometheus, alertmanager, loki, logs, jaeger, grafana or exporters ({} takes the defaults)")
)]
pub struct MonitoringStackSpec {
    /// Where AlertRules, SLOs and scrape targets are found. Absent: in this namespace only. `{}`: in all namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discovery: Option<Discovery>,
    /// Prometheus: scrapes the targets and evaluates the rules. Absent: none is run. `{}`: one with the defaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<PrometheusSpec>,
    /// Alertmanager: groups alerts and tells people. Absent: none is run. `{}`: one with the defaults, which tells
    /// nobody but Evenkeel itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alertmanager: Option<AlertmanagerSpec>,
    /// Loki: keeps logs. Absent: none is run. `{}`: one with the defaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loki: Option<LokiSpec>,
    /// Which logs are collected, and how they are read. Absent: none. They go to this stack's Loki.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logs: Option<LogsSpec>,
    /// Jaeger: keeps traces. Absent: none is run. `{}`: one with the defaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jaeger: Option<JaegerSpec>,
    /// Grafana: shows metrics, logs and traces. Absent: none is run. `{}`: one with the defaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grafana: Option<GrafanaSpec>,
    /// Exporters: what is measured that does not say so by itself. Absent: none is run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exporters: Option<ExportersSpec>,
    /// The rules that ship with Evenkeel: which are switched off, and their thresholds. Absent: all of them for what this
    /// stack runs, with their defaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<RulesSpec>,
    /// Names of other tools whose series every SLO of this stack records as well, as though the SLO itself said so: `sloth`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub compatibility: Vec<Compatibility>,
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
    /// Labels of the AlertRules and SLOs, and of the pods and services to scrape. Absent or `{}`: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
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

impl Conditioned for MonitoringStack {
    fn conditions(&self) -> &[Condition] {
        self.status.as_ref().map_or(&[], |s| &s.conditions)
    }
    fn observed_generation(&self) -> Option<i64> {
        self.status.as_ref().and_then(|s| s.observed_generation)
    }
}

/// Replicas and shards where nothing is said.
fn one() -> i32 {
    1
}

/// A size, as Kubernetes writes it.
fn quantity(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "pattern": r"^[0-9]+(\.[0-9]{1,9})?(Ki|Mi|Gi|Ti|Pi|Ei|k|M|G|T|P|E)?$",
        "maxLength": 32,
    })
}
