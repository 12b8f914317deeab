//! The OpenTelemetry Collector's configuration file, as far as it is used here: version 0.160. Pure.
//!
//! The Collector expands `${...}` in every string and reads `$$` as `$`: what a person wrote passes `ottl::plain` or
//! `ottl::quote`.

use std::collections::BTreeMap;

use serde::Serialize;

/// The whole file.
#[derive(Clone, Debug, Serialize)]
pub struct Config {
    pub extensions: Extensions,
    pub receivers: BTreeMap<String, Receiver>,
    pub processors: BTreeMap<String, Processor>,
    pub exporters: BTreeMap<String, Exporter>,
    pub service: Service,
}

#[derive(Clone, Debug, Serialize)]
pub struct Extensions {
    pub file_storage: FileStorage,
    pub health_check: Endpoint,
}

/// Positions and queues.
#[derive(Clone, Debug, Serialize)]
pub struct FileStorage {
    pub directory: String,
    pub create_directory: bool,
    /// A file that was damaged is put aside instead of keeping the Collector from starting.
    pub recreate: bool,
    pub timeout: String,
    pub compaction: Compaction,
}

#[derive(Clone, Debug, Serialize)]
pub struct Compaction {
    pub directory: String,
    pub on_start: bool,
    pub on_rebound: bool,
    pub cleanup_on_start: bool,
}

#[derive(Clone, Debug, Serialize)]
pub struct Endpoint {
    pub endpoint: String,
}

#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Receiver {
    File(FileLog),
    Journal(Journald),
    Syslog(Syslog),
    Tcp(TcpLog),
    Otlp { protocols: Protocols },
}

#[derive(Clone, Debug, Serialize)]
pub struct FileLog {
    pub include: Vec<String>,
    pub exclude: Vec<String>,
    pub start_at: &'static str,
    pub include_file_path: bool,
    pub include_file_name: bool,
    pub max_log_size: i64,
    pub storage: &'static str,
    pub retry_on_failure: Retry,
    pub resource: BTreeMap<String, String>,
    pub operators: Vec<Operator>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Journald {
    pub root_path: String,
    pub journalctl_path: String,
    pub directory: String,
    pub start_at: &'static str,
    pub priority: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub units: Vec<String>,
    pub convert_message_bytes: bool,
    pub storage: &'static str,
    pub retry_on_failure: Retry,
    pub resource: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Syslog {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp: Option<Listen>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub udp: Option<Listen>,
    pub protocol: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub enable_octet_counting: bool,
    pub on_error: &'static str,
    pub retry_on_failure: Retry,
    pub resource: BTreeMap<String, String>,
    pub operators: Vec<Operator>,
}

#[derive(Clone, Debug, Serialize)]
pub struct TcpLog {
    pub listen_address: String,
    pub retry_on_failure: Retry,
    pub resource: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Listen {
    pub listen_address: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct Protocols {
    pub grpc: Endpoint,
    pub http: Endpoint,
}

/// Tries again for ever: what cannot be sent is not read on.
#[derive(Clone, Debug, Serialize)]
pub struct Retry {
    pub enabled: bool,
    pub initial_interval: &'static str,
    pub max_interval: &'static str,
    pub max_elapsed_time: &'static str,
}

pub const FOR_EVER: Retry =
    Retry { enabled: true, initial_interval: "1s", max_interval: "10s", max_elapsed_time: "0s" };

/// A step within a receiver.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Operator {
    Container {
        id: &'static str,
        max_log_size: i64,
    },
    Router {
        id: &'static str,
        routes: Vec<Route>,
        default: String,
    },
    Recombine {
        id: String,
        combine_field: &'static str,
        is_first_entry: String,
        source_identifier: &'static str,
        force_flush_period: &'static str,
        max_log_size: i64,
        max_sources: i32,
        output: String,
    },
    SyslogParser {
        id: &'static str,
        #[serde(rename = "if")]
        condition: &'static str,
        protocol: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        location: Option<String>,
        on_error: &'static str,
    },
    Noop {
        id: String,
    },
}

#[derive(Clone, Debug, Serialize)]
pub struct Route {
    pub expr: String,
    pub output: String,
}

#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Processor {
    MemoryLimiter(MemoryLimiter),
    Pods(Pods),
    Transform(Transform),
    Filter(Filter),
    Redaction(Redaction),
    Group { keys: Vec<&'static str> },
}

#[derive(Clone, Debug, Serialize)]
pub struct MemoryLimiter {
    pub check_interval: &'static str,
    pub limit_percentage: i32,
    pub spike_limit_percentage: i32,
}

/// `k8s_attributes`.
#[derive(Clone, Debug, Serialize)]
pub struct Pods {
    pub auth_type: &'static str,
    pub wait_for_metadata: bool,
    pub wait_for_metadata_timeout: &'static str,
    pub filter: PodFilter,
    pub pod_association: Vec<Association>,
    pub extract: Extract,
}

#[derive(Clone, Debug, Serialize)]
pub struct PodFilter {
    pub node_from_env_var: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Association {
    pub sources: Vec<AssociationSource>,
}

#[derive(Clone, Debug, Serialize)]
pub struct AssociationSource {
    pub from: &'static str,
    pub name: &'static str,
}

#[derive(Clone, Debug, Serialize)]
pub struct Extract {
    pub metadata: Vec<&'static str>,
    pub labels: Vec<Extracted>,
    pub annotations: Vec<Extracted>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Extracted {
    pub tag_name: String,
    pub key: String,
    pub from: &'static str,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Transform {
    pub error_mode: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub log_statements: Vec<Statements>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trace_statements: Vec<Statements>,
}

/// Statements of OTTL, done when the conditions hold.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Statements {
    pub context: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<String>,
    pub statements: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Filter {
    pub error_mode: &'static str,
    pub log_conditions: Vec<Conditions>,
}

/// What is dropped.
#[derive(Clone, Debug, Serialize)]
pub struct Conditions {
    pub context: &'static str,
    pub conditions: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Redaction {
    pub allow_all_keys: bool,
    pub redact_all_types: bool,
    pub ignored_keys: Vec<&'static str>,
    pub blocked_key_patterns: Vec<String>,
    pub blocked_values: Vec<String>,
    pub summary: &'static str,
}

/// `otlp_http` and `otlp_grpc`.
#[derive(Clone, Debug, Serialize)]
pub struct Exporter {
    pub endpoint: String,
    pub timeout: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    pub retry_on_failure: Retry,
    pub sending_queue: Queue,
}

#[derive(Clone, Debug, Serialize)]
pub struct Tls {
    pub insecure: bool,
}

#[derive(Clone, Debug, Serialize)]
pub struct Queue {
    pub enabled: bool,
    pub storage: &'static str,
    pub sizer: &'static str,
    pub queue_size: i64,
    pub block_on_overflow: bool,
    pub num_consumers: i32,
    pub batch: Batch,
}

#[derive(Clone, Debug, Serialize)]
pub struct Batch {
    pub flush_timeout: &'static str,
    pub sizer: &'static str,
    pub min_size: i64,
    pub max_size: i64,
}

#[derive(Clone, Debug, Serialize)]
pub struct Service {
    pub extensions: Vec<&'static str>,
    pub telemetry: Telemetry,
    pub pipelines: BTreeMap<String, Pipeline>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Pipeline {
    pub receivers: Vec<String>,
    pub processors: Vec<String>,
    pub exporters: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Telemetry {
    pub logs: TelemetryLogs,
    pub metrics: TelemetryMetrics,
}

#[derive(Clone, Debug, Serialize)]
pub struct TelemetryLogs {
    pub level: &'static str,
    pub encoding: &'static str,
}

#[derive(Clone, Debug, Serialize)]
pub struct TelemetryMetrics {
    pub level: &'static str,
    pub readers: Vec<Reader>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Reader {
    pub pull: Pull,
}

#[derive(Clone, Debug, Serialize)]
pub struct Pull {
    pub exporter: PullExporter,
}

#[derive(Clone, Debug, Serialize)]
pub struct PullExporter {
    pub prometheus: Listener,
}

#[derive(Clone, Debug, Serialize)]
pub struct Listener {
    pub host: &'static str,
    pub port: i32,
}
