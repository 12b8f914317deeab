//! The part of a MonitoringStack that is about collecting logs: where they come from and where they pass.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::log_pipeline::LogPipeline;
use super::{Storage, one, quantity};
use crate::api::common::PodSettings;

/// How logs are collected: by an OpenTelemetry Collector on each node, and by one that takes what is sent to it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.image) && has(self.version))")
        .message("image and version exclude each other: image holds its own tag"),
    validation = Rule::new("has(self.containers) || has(self.files) || has(self.journal) || has(self.syslog) || has(self.tcp) || has(self.otlp)")
        .message("logs without a source collect nothing: set containers, files, journal, syslog, tcp or otlp ({} takes the defaults)")
)]
pub struct LogsSpec {
    /// What containers write to their standard output and standard error, in the namespaces that `discovery` selects.
    /// `{}`: all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub containers: Option<ContainerLogs>,
    /// Files of the nodes, below /var/log.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub files: Vec<FileLogs>,
    /// The systemd journal of the nodes. Each node must have journalctl.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journal: Option<JournalLogs>,
    /// Takes syslog messages (RFC 5424 and RFC 3164) over TCP and UDP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub syslog: Option<SyslogLogs>,
    /// Takes lines over TCP, each a JSON object or plain text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpLogs>,
    /// Takes logs and traces by OTLP: gRPC at port 4317, HTTP at port 4318.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otlp: Option<OtlpLogs>,
    /// How logs are read. Every entry whose `match` fits works on a record, in order; of the entries with `multiline` only
    /// the first that fits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub pipelines: Vec<LogPipeline>,
    /// What is taken out of logs and traces before they leave the node. Absent: the preset `credentials`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redact: Option<Redaction>,
    /// How much a node, and each replica of the gateway, keeps on its disk while Loki does not answer. After that the agent
    /// stops reading, and the gateway refuses what is sent. Default: 1Gi, about ten minutes of 3,000 lines a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "quantity")]
    pub buffer: Option<Quantity>,
    /// How the gateway runs, which takes syslog, tcp and otlp. It runs only when one of them is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<LogGateway>,
    /// Version of the default image, for example 0.160.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^v?[0-9]+\.[0-9]+\.[0-9]+[-.0-9A-Za-z]*$"), length(max = 64))]
    pub version: Option<String>,
    /// The whole image, registry and tag included, instead of the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// Settings of the agent's pods. Without tolerations they tolerate every taint, so that there is one on each node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodSettings>,
}

/// Which containers are read. A pod with the annotation `evenkeel.dev/logs: "false"` never is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContainerLogs {
    /// Only these of the namespaces that `discovery` selects; `*` stands for any characters. Default: all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 63)))]
    pub include_namespaces: Vec<String>,
    /// None of these namespaces; `*` stands for any characters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 63)))]
    pub exclude_namespaces: Vec<String>,
    /// Labels that the pods must have. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
    /// Labels of the pods that are kept with their records, as `label_<name>` with `_` for what is neither a letter nor a
    /// digit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 316)))]
    pub labels: Vec<String>,
}

/// Files of the nodes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileLogs {
    /// What writes them: the records' `service_name`, and the name by which `pipelines` speak of them.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Paths below /var/log, for example /var/log/nginx/*.log; `**` stands for any folders. Not /var/log/pods and
    /// /var/log/containers: those belong to `containers`.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 512)))]
    pub include: Vec<String>,
    /// Paths to leave out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 512)))]
    pub exclude: Vec<String>,
}

/// The systemd journal.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JournalLogs {
    /// Only these units, for example kubelet.service. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 256)))]
    pub units: Vec<String>,
    /// Where the node keeps it. Default: /var/log/journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = "^/[-_./A-Za-z0-9]+$"))]
    pub directory: Option<String>,
}

/// Syslog over TCP and UDP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SyslogLogs {
    /// Port for TCP and UDP. Default: 5140.
    #[serde(default = "syslog_port")]
    #[schemars(range(min = 1024, max = 65535))]
    pub port: i32,
    /// Time zone of messages that name none (RFC 3164), for example Europe/Paris. Default: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[-+_/A-Za-z0-9]+$"))]
    pub time_zone: Option<String>,
    /// Messages over TCP begin with their length (RFC 6587, octet counting) instead of ending with a line break.
    #[serde(default)]
    pub octet_counting: bool,
}

/// Lines over TCP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TcpLogs {
    /// Port. Default: 5000.
    #[serde(default = "tcp_port")]
    #[schemars(range(min = 1024, max = 65535))]
    pub port: i32,
}

/// Logs and traces by OTLP.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OtlpLogs {}

/// How the gateway runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogGateway {
    /// Number of replicas. Default: 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 16))]
    pub replicas: i32,
    /// Where each replica keeps what it cannot send yet. Absent: in an emptyDir, which is lost with the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
    /// Settings of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodSettings>,
}

impl Default for LogGateway {
    fn default() -> Self {
        Self { replicas: one(), storage: None, pod: None }
    }
}

/// What is taken out of logs and traces. `****` stands in its place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Redaction {
    /// Ready-made patterns. Default: credentials.
    #[serde(default = "credentials")]
    #[schemars(length(max = 8))]
    pub presets: Vec<RedactionPreset>,
    /// Regular expressions (RE2); all of what they match is taken out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 1024)))]
    pub patterns: Vec<String>,
}

impl Default for Redaction {
    fn default() -> Self {
        Self { presets: credentials(), patterns: vec![] }
    }
}

/// Ready-made patterns of what is taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RedactionPreset {
    /// Passwords and tokens: by their names, by headers, in URLs, by known shapes (JWTs, private keys, keys of AWS and others).
    Credentials,
    /// Numbers of payment cards, by length and first digits; the checksum cannot be looked at.
    Cards,
    /// E-mail addresses.
    Email,
}

fn credentials() -> Vec<RedactionPreset> {
    vec![RedactionPreset::Credentials]
}

fn syslog_port() -> i32 {
    5140
}

fn tcp_port() -> i32 {
    5000
}
