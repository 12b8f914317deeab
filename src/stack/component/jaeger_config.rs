//! Jaeger's configuration, which is one of the OpenTelemetry Collector's, and the file of sampling strategies; as types:
//! nothing is put together from pieces of text. Pure.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::api::duration::PromDuration;
use crate::api::monitoring_stack::{Sampling, TraceStore};
use crate::stack::names;
use crate::stack::validate::jaeger::{Jaeger, Store};

/// Name of the one store within the configuration.
const STORE: &str = "main";
/// So often files are read again.
const RELOAD: &str = "10s";

/// Where the container finds its files.
#[derive(Clone, Copy, Debug)]
pub struct Paths {
    pub data: &'static str,
    pub secrets: &'static str,
    pub sampling: &'static str,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Config {
    service: Service,
    extensions: Extensions,
    receivers: Receivers,
    processors: Processors,
    exporters: Exporters,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Service {
    extensions: [&'static str; 4],
    pipelines: BTreeMap<&'static str, Pipeline>,
    telemetry: Telemetry,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Pipeline {
    receivers: [&'static str; 1],
    processors: [&'static str; 2],
    exporters: [&'static str; 1],
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Telemetry {
    resource: BTreeMap<&'static str, &'static str>,
    metrics: Metrics,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Metrics {
    level: &'static str,
    readers: [Reader; 1],
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Reader {
    pull: Pull,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Pull {
    exporter: PullExporter,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct PullExporter {
    prometheus: PrometheusExporter,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct PrometheusExporter {
    host: &'static str,
    port: i32,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Extensions {
    healthcheckv2: HealthCheck,
    jaeger_storage: Storage,
    jaeger_query: Query,
    remote_sampling: RemoteSampling,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct HealthCheck {
    use_v2: bool,
    http: Endpoint,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Endpoint {
    endpoint: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Storage {
    backends: BTreeMap<&'static str, Backend>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Backend {
    Memory { max_traces: i32 },
    Badger { ephemeral: bool, directories: Directories, ttl: Ttl },
    Elasticsearch(Search),
    Opensearch(Search),
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Directories {
    keys: String,
    values: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Ttl {
    spans: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Search {
    server_urls: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth: Option<Auth>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<Tls>,
    indices: Indices,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Auth {
    basic: Basic,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Basic {
    username: String,
    password_file: String,
    reload_interval: &'static str,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Tls {
    ca_file: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Indices {
    #[serde(skip_serializing_if = "Option::is_none")]
    index_prefix: Option<String>,
    spans: Index,
    services: Index,
    dependencies: Index,
    sampling: Index,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Index {
    #[serde(skip_serializing_if = "Option::is_none")]
    shards: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replicas: Option<i32>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Query {
    storage: QueryStorage,
    /// Jaeger's own requests are not among the traces.
    enable_tracing: bool,
    http: Endpoint,
    grpc: Endpoint,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct QueryStorage {
    traces: &'static str,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct RemoteSampling {
    file: StrategiesFile,
    http: Endpoint,
    grpc: Endpoint,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct StrategiesFile {
    path: String,
    reload_interval: &'static str,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Receivers {
    otlp: Otlp,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Otlp {
    protocols: Protocols,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Protocols {
    grpc: Endpoint,
    http: Endpoint,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Processors {
    memory_limiter: MemoryLimiter,
    batch: Batch,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct MemoryLimiter {
    check_interval: &'static str,
    limit_percentage: i32,
    spike_limit_percentage: i32,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Batch {}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Exporters {
    jaeger_storage_exporter: StorageExporter,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct StorageExporter {
    trace_storage: &'static str,
}

impl Config {
    pub fn of(jaeger: &Jaeger, paths: Paths) -> Self {
        Self {
            service: service(),
            extensions: Extensions {
                healthcheckv2: HealthCheck { use_v2: true, http: at(names::JAEGER_HEALTH_PORT) },
                jaeger_storage: Storage { backends: BTreeMap::from([(STORE, backend(&jaeger.store, paths))]) },
                jaeger_query: Query {
                    storage: QueryStorage { traces: STORE },
                    enable_tracing: false,
                    http: at(names::JAEGER_PORT),
                    grpc: at(names::JAEGER_GRPC_PORT),
                },
                remote_sampling: RemoteSampling {
                    file: StrategiesFile { path: paths.sampling.to_owned(), reload_interval: RELOAD },
                    http: at(names::SAMPLING_HTTP_PORT),
                    grpc: at(names::SAMPLING_GRPC_PORT),
                },
            },
            receivers: Receivers {
                otlp: Otlp {
                    protocols: Protocols { grpc: at(names::OTLP_GRPC_PORT), http: at(names::OTLP_HTTP_PORT) },
                },
            },
            processors: Processors {
                // Senders are told to try again before the kernel ends the process, and its traces with it.
                memory_limiter: MemoryLimiter {
                    check_interval: "1s",
                    limit_percentage: 85,
                    spike_limit_percentage: 15,
                },
                batch: Batch {},
            },
            exporters: Exporters { jaeger_storage_exporter: StorageExporter { trace_storage: STORE } },
        }
    }
}

fn service() -> Service {
    let traces = Pipeline {
        receivers: ["otlp"],
        processors: ["memory_limiter", "batch"],
        exporters: ["jaeger_storage_exporter"],
    };
    let prometheus = PrometheusExporter { host: "0.0.0.0", port: names::JAEGER_METRICS_PORT };
    Service {
        extensions: ["healthcheckv2", "jaeger_storage", "jaeger_query", "remote_sampling"],
        pipelines: BTreeMap::from([("traces", traces)]),
        telemetry: Telemetry {
            resource: BTreeMap::from([("service.name", names::JAEGER)]),
            metrics: Metrics {
                level: "detailed",
                readers: [Reader { pull: Pull { exporter: PullExporter { prometheus } } }],
            },
        },
    }
}

fn backend(store: &Store, paths: Paths) -> Backend {
    match store {
        Store::Memory { max_traces } => Backend::Memory { max_traces: *max_traces },
        Store::Volume { retention } => Backend::Badger {
            ephemeral: false,
            directories: Directories { keys: format!("{}/keys", paths.data), values: format!("{}/values", paths.data) },
            ttl: Ttl { spans: go(*retention) },
        },
        Store::Outside { kind: "opensearch", store } => Backend::Opensearch(search(store, paths)),
        Store::Outside { kind: _, store } => Backend::Elasticsearch(search(store, paths)),
    }
}

fn search(store: &TraceStore, paths: Paths) -> Search {
    let file = |reference: &_| format!("{}/{}", paths.secrets, crate::notify::receivers::relative(reference));
    let basic = |(username, password): (&String, &_)| Basic {
        username: literal(username),
        password_file: file(password),
        reload_interval: RELOAD,
    };
    let index = || Index { shards: store.index_shards, replicas: store.index_replicas };
    Search {
        server_urls: store.urls.iter().map(|url| literal(url)).collect(),
        auth: store.username.as_ref().zip(store.password_secret_ref.as_ref()).map(basic).map(|basic| Auth { basic }),
        tls: store.ca_secret_ref.as_ref().map(|ca| Tls { ca_file: file(ca) }),
        indices: Indices {
            index_prefix: store.index_prefix.clone(),
            spans: index(),
            services: index(),
            dependencies: index(),
            sampling: index(),
        },
    }
}

/// All addresses: the defaults are those of localhost.
fn at(port: i32) -> Endpoint {
    Endpoint { endpoint: format!("0.0.0.0:{port}") }
}

/// The Collector expands `$NAME` and `${...}`.
fn literal(text: &str) -> String {
    text.replace('$', "$$")
}

/// Go knows no days.
fn go(duration: PromDuration) -> String {
    // Badger takes no time at all for ever.
    format!("{}s", duration.as_secs().max(1))
}

/// The file of sampling strategies, which is served to applications that ask.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Strategies {
    default_strategy: Probabilistic,
    service_strategies: Vec<ServiceStrategy>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Probabilistic {
    #[serde(rename = "type")]
    type_: &'static str,
    param: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct ServiceStrategy {
    service: String,
    #[serde(flatten)]
    strategy: Probabilistic,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    operation_strategies: Vec<OperationStrategy>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct OperationStrategy {
    operation: String,
    #[serde(flatten)]
    strategy: Probabilistic,
}

impl Strategies {
    pub fn of(sampling: &Sampling) -> Self {
        let strategy = |param| Probabilistic { type_: "probabilistic", param };
        let services = sampling.services.iter().map(|service| ServiceStrategy {
            service: service.service.clone(),
            strategy: strategy(service.probability.unwrap_or(sampling.default)),
            operation_strategies: service
                .operations
                .iter()
                .map(|operation| OperationStrategy {
                    operation: operation.operation.clone(),
                    strategy: strategy(operation.probability),
                })
                .collect(),
        });
        Self { default_strategy: strategy(sampling.default), service_strategies: services.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_go_and_never_for_ever() {
        assert_eq!(go(PromDuration::from_mins(24 * 60)), "86400s");
        assert_eq!(go(PromDuration(std::time::Duration::from_millis(5))), "1s");
    }

    #[test]
    fn what_a_person_writes_is_not_expanded() {
        assert_eq!(literal("a$b${env:HOME}"), "a$$b$${env:HOME}");
    }
}
