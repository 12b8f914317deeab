//! What the Collectors of a stack have in common. Pure.

use std::collections::BTreeMap;

use super::otelcol_config::{
    Batch, Compaction, Config, Endpoint, Exporter, Extensions, FOR_EVER, FileStorage, Listener, MemoryLimiter,
    Pipeline, Processor, Pull, PullExporter, Queue, Reader, Receiver, Service, Statements, Telemetry, TelemetryLogs,
    TelemetryMetrics, Tls, Transform,
};
use crate::stack::names;
use crate::stack::validate::Stack;

/// Where a Collector keeps positions and queues.
pub const DATA_DIR: &str = "/var/lib/otelcol";
pub const STORAGE: &str = "file_storage";
/// The exporters.
pub const LOKI: &str = "otlp_http/loki";
pub const JAEGER: &str = "otlp_grpc/jaeger";
/// Loki takes lines of 256 KiB; the container's last piece of 16 KiB may come on top of this.
pub const LONGEST: i64 = 240_000;

/// Processors in the order in which they work.
#[derive(Default)]
pub struct Chain {
    pub names: Vec<String>,
}

impl Chain {
    /// Adds processors to those of the configuration, and to this chain.
    pub fn push<N: Into<String>>(
        &mut self,
        all: &mut BTreeMap<String, Processor>,
        more: impl IntoIterator<Item = (N, Processor)>,
    ) {
        for (name, processor) in more {
            let name = name.into();
            all.insert(name.clone(), processor);
            self.names.push(name);
        }
    }
}

/// The configuration around receivers, processors and pipelines.
pub fn config(
    receivers: BTreeMap<String, Receiver>,
    processors: BTreeMap<String, Processor>,
    exporters: BTreeMap<String, Exporter>,
    pipelines: BTreeMap<String, Pipeline>,
) -> Config {
    Config {
        extensions: Extensions {
            file_storage: FileStorage {
                directory: DATA_DIR.into(),
                create_directory: true,
                recreate: true,
                timeout: "10s".into(),
                compaction: Compaction {
                    directory: DATA_DIR.into(),
                    on_start: true,
                    on_rebound: true,
                    cleanup_on_start: true,
                },
            },
            health_check: Endpoint { endpoint: any(names::COLLECTOR_HEALTH_PORT) },
        },
        receivers,
        processors,
        exporters,
        service: Service {
            extensions: vec![STORAGE, "health_check"],
            telemetry: Telemetry {
                logs: TelemetryLogs { level: "info", encoding: "json" },
                metrics: TelemetryMetrics {
                    level: "normal",
                    readers: vec![Reader {
                        pull: Pull {
                            exporter: PullExporter {
                                prometheus: Listener { host: "0.0.0.0", port: names::COLLECTOR_METRICS_PORT },
                            },
                        },
                    }],
                },
            },
            pipelines,
        },
    }
}

/// A port at all addresses of the pod.
pub fn any(port: i32) -> String {
    format!("0.0.0.0:{port}")
}

/// First in every chain: above the limit data is refused, and asked for again.
pub fn memory_limiter() -> (&'static str, Processor) {
    let limiter = MemoryLimiter { check_interval: "1s", limit_percentage: 80, spike_limit_percentage: 20 };
    ("memory_limiter", Processor::MemoryLimiter(limiter))
}

/// Last: the two streams apart, and the service of records that name it themselves.
pub fn grouping() -> [(&'static str, Processor); 2] {
    let own = "resource.attributes[\"evenkeel.service\"]";
    let statements = Statements {
        context: "resource",
        conditions: vec![format!("{own} != nil")],
        statements: vec![
            format!("set(resource.attributes[\"service.name\"], {own})"),
            "delete_key(resource.attributes, \"evenkeel.service\")".to_owned(),
        ],
    };
    let service = Transform { error_mode: "ignore", log_statements: vec![statements], trace_statements: vec![] };
    [
        ("groupbyattrs", Processor::Group { keys: vec!["stream", "evenkeel.service"] }),
        ("transform/service", Processor::Transform(service)),
    ]
}

/// To the stack's Loki.
pub fn loki(stack: &Stack, buffer: i64) -> (String, Exporter) {
    let url = names::url(&names::part(&stack.owner.name, names::LOKI), &stack.owner.namespace, names::LOKI_PORT);
    (LOKI.to_owned(), exporter(format!("{url}/otlp"), None, buffer))
}

/// To the stack's Jaeger.
pub fn jaeger(stack: &Stack, buffer: i64) -> (String, Exporter) {
    let service = names::part(&stack.owner.name, names::JAEGER);
    let endpoint = format!("{service}.{}.svc:{}", stack.owner.namespace, names::OTLP_GRPC_PORT);
    (JAEGER.to_owned(), exporter(endpoint, Some(Tls { insecure: true }), buffer))
}

fn exporter(endpoint: String, tls: Option<Tls>, buffer: i64) -> Exporter {
    Exporter {
        endpoint,
        timeout: "30s",
        tls,
        retry_on_failure: FOR_EVER,
        sending_queue: Queue {
            enabled: true,
            // On the disk before it is batched: what a Collector had in flight when it died is sent again.
            storage: STORAGE,
            sizer: "bytes",
            queue_size: buffer,
            // A full queue holds up the receivers instead of dropping.
            block_on_overflow: true,
            num_consumers: 4,
            batch: Batch { flush_timeout: "500ms", sizer: "bytes", min_size: 256 << 10, max_size: 1 << 20 },
        },
    }
}
