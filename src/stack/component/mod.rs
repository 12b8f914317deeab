//! One file for each component: checked type in, Kubernetes objects and typed configuration out. Pure.

pub mod alertmanager;
pub mod alertmanager_config;
pub mod binding;
pub mod blackbox;
pub mod blackbox_config;
pub mod exporter_targets;
pub mod exporters;
pub mod grafana;
pub mod grafana_config;
pub mod grafana_dashboards;
pub mod jaeger;
pub mod jaeger_config;
pub mod kube_state;
pub mod logs;
pub mod loki;
pub mod loki_config;
pub mod node_exporter;
pub mod otelcol_agent;
pub mod otelcol_common;
pub mod otelcol_config;
pub mod otelcol_gateway;
pub mod otelcol_multiline;
pub mod otelcol_pods;
pub mod otelcol_read;
pub mod otelcol_redact;
pub mod ottl;
pub mod pod;
pub mod prometheus;
pub mod prometheus_config;
pub mod scrape;
pub mod scrape_exporters;

/// The images that run where a stack names none, and their registries for `version`. The one place.
pub mod image {
    /// Registry and repository of Prometheus.
    pub const PROMETHEUS: &str = "quay.io/prometheus/prometheus";
    /// Tag of Prometheus.
    pub const PROMETHEUS_VERSION: &str = "v3.15.0";
    /// Registry and repository of Alertmanager.
    pub const ALERTMANAGER: &str = "quay.io/prometheus/alertmanager";
    /// Tag of Alertmanager.
    pub const ALERTMANAGER_VERSION: &str = "v0.31.1";

    /// Registry and repository of Loki.
    pub const LOKI: &str = "docker.io/grafana/loki";
    /// Tag of Loki.
    pub const LOKI_VERSION: &str = "3.7.8";
    /// Registry and repository of Jaeger.
    pub const JAEGER: &str = "docker.io/jaegertracing/jaeger";
    /// Tag of Jaeger.
    pub const JAEGER_VERSION: &str = "2.13.0";
    /// Registry and repository of the OpenTelemetry Collector with the contributed components.
    pub const COLLECTOR: &str = "docker.io/otel/opentelemetry-collector-contrib";
    /// Tag of the OpenTelemetry Collector.
    pub const COLLECTOR_VERSION: &str = "0.160.0";
    /// Registry and repository of Grafana.
    pub const GRAFANA: &str = "docker.io/grafana/grafana";
    /// Tag of Grafana.
    pub const GRAFANA_VERSION: &str = "12.3.0";

    /// Registry and repository of node-exporter.
    pub const NODE_EXPORTER: &str = "quay.io/prometheus/node-exporter";
    /// Tag of node-exporter.
    pub const NODE_EXPORTER_VERSION: &str = "v1.10.2";
    /// Registry and repository of kube-state-metrics.
    pub const KUBE_STATE_METRICS: &str = "registry.k8s.io/kube-state-metrics/kube-state-metrics";
    /// Tag of kube-state-metrics.
    pub const KUBE_STATE_METRICS_VERSION: &str = "v2.20.0";
    /// Registry and repository of the exporter of PostgreSQL.
    pub const POSTGRES_EXPORTER: &str = "quay.io/prometheuscommunity/postgres-exporter";
    /// Tag of the exporter of PostgreSQL.
    pub const POSTGRES_EXPORTER_VERSION: &str = "v0.18.1";
    /// Registry and repository of the exporter of MySQL.
    pub const MYSQL_EXPORTER: &str = "quay.io/prometheus/mysqld-exporter";
    /// Tag of the exporter of MySQL.
    pub const MYSQL_EXPORTER_VERSION: &str = "v0.18.0";
    /// Registry and repository of the exporter of Redis.
    pub const REDIS_EXPORTER: &str = "docker.io/oliver006/redis_exporter";
    /// Tag of the exporter of Redis.
    pub const REDIS_EXPORTER_VERSION: &str = "v1.80.0";
    /// Registry and repository of the exporter of Kafka.
    pub const KAFKA_EXPORTER: &str = "docker.io/danielqsj/kafka-exporter";
    /// Tag of the exporter of Kafka.
    pub const KAFKA_EXPORTER_VERSION: &str = "v1.9.0";
    /// Registry and repository of the blackbox exporter.
    pub const BLACKBOX_EXPORTER: &str = "quay.io/prometheus/blackbox-exporter";
    /// Tag of the blackbox exporter.
    pub const BLACKBOX_EXPORTER_VERSION: &str = "v0.28.0";

    /// The image of a component: a whole one, else the default repository with a tag.
    pub fn of(repository: &str, default: &str, version: Option<&str>, image: Option<&str>) -> String {
        image.map_or_else(|| format!("{repository}:{}", version.unwrap_or(default)), str::to_owned)
    }
}
