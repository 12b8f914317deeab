//! loki.yaml, as types: nothing is put together from pieces of text. Pure.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::api::duration::PromDuration;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Config {
    pub auth_enabled: bool,
    pub server: Server,
    pub common: Common,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memberlist: Option<Memberlist>,
    pub schema_config: SchemaConfig,
    pub ingester: Ingester,
    pub pattern_ingester: PatternIngester,
    pub compactor: Compactor,
    pub limits_config: Limits,
    pub query_range: QueryRange,
    pub chunk_store_config: ChunkStore,
    pub ruler: Ruler,
    pub analytics: Analytics,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Server {
    pub http_listen_port: i32,
    pub grpc_listen_port: i32,
    pub log_level: String,
    pub grpc_server_max_recv_msg_size: i64,
    pub grpc_server_max_send_msg_size: i64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Common {
    pub path_prefix: String,
    pub replication_factor: i32,
    /// At which the parts of one program find each other; absent: that of the network interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_addr: Option<String>,
    pub ring: Ring,
    pub storage: Storage,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ring {
    pub kvstore: Named,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Named {
    pub store: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Storage {
    Filesystem(Filesystem),
    S3(S3),
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Filesystem {
    pub chunks_directory: String,
    pub rules_directory: String,
}

/// Without credentials: the AWS library finds those in the environment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct S3 {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    pub bucketnames: String,
    pub region: String,
    pub insecure: bool,
    pub s3forcepathstyle: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Memberlist {
    pub bind_port: i32,
    pub join_members: Vec<String>,
    /// What comes from another stack, by an address that was ours before, is not listened to.
    pub cluster_label: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SchemaConfig {
    pub configs: Vec<Period>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Period {
    pub from: String,
    pub store: String,
    pub object_store: String,
    pub schema: String,
    pub index: Index,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Index {
    pub prefix: String,
    pub period: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ingester {
    pub lifecycler: Lifecycler,
    pub chunk_idle_period: String,
    pub max_chunk_age: String,
    pub chunk_encoding: String,
    pub autoforget_unhealthy: bool,
    pub wal: Wal,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Lifecycler {
    pub min_ready_duration: String,
    pub final_sleep: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Wal {
    pub enabled: bool,
    pub dir: String,
    pub flush_on_shutdown: bool,
    pub replay_memory_ceiling: String,
}

/// It groups similar lines, which Grafana's Logs Drilldown shows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PatternIngester {
    pub enabled: bool,
    pub lifecycler: Lifecycler,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compactor {
    pub working_directory: String,
    pub compaction_interval: String,
    pub retention_enabled: bool,
    pub retention_delete_delay: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delete_request_store: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Limits {
    pub ingestion_rate_mb: i32,
    pub ingestion_burst_size_mb: i32,
    pub per_stream_rate_limit: String,
    pub per_stream_rate_limit_burst: String,
    pub max_global_streams_per_user: i32,
    pub max_line_size: String,
    pub max_line_size_truncate: bool,
    pub reject_old_samples: bool,
    pub reject_old_samples_max_age: PromDuration,
    pub allow_structured_metadata: bool,
    pub volume_enabled: bool,
    /// Empty: a stream without a service has no label `service_name`.
    pub discover_service_name: Vec<String>,
    pub discover_log_levels: bool,
    pub retention_period: PromDuration,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub retention_stream: Vec<RetentionStream>,
    pub otlp_config: Otlp,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RetentionStream {
    pub selector: String,
    pub priority: i32,
    pub period: PromDuration,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Otlp {
    pub resource_attributes: ResourceAttributes,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ResourceAttributes {
    pub ignore_defaults: bool,
    pub attributes_config: Vec<Attributes>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Attributes {
    pub action: String,
    pub attributes: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QueryRange {
    pub cache_results: bool,
    pub results_cache: ResultsCache,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ResultsCache {
    pub cache: Cache,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cache {
    pub embedded_cache: EmbeddedCache,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EmbeddedCache {
    pub enabled: bool,
    pub max_size_mb: i32,
    pub ttl: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChunkStore {
    pub chunk_cache_config: Cache,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ruler {
    pub storage: RulerStorage,
    pub rule_path: String,
    pub wal: RulerWal,
    pub enable_api: bool,
    pub poll_interval: String,
    pub evaluation_interval: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alertmanager_url: Option<String>,
    pub enable_alertmanager_v2: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub external_labels: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RulerStorage {
    #[serde(rename = "type")]
    pub type_: String,
    pub local: Local,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Local {
    pub directory: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RulerWal {
    pub dir: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Analytics {
    pub reporting_enabled: bool,
}
