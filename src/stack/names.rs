//! Names of a stack's children. Others (the rule loader, the alert receiver, the run's query client) find them by
//! these functions and by the labels of `Owner::selector`.

use crate::k8s::meta::digest;

/// `app.kubernetes.io/name` and the prefix of everything that belongs to Prometheus.
pub const PROMETHEUS: &str = "prometheus";
/// `app.kubernetes.io/name` and the prefix of everything that belongs to Alertmanager.
pub const ALERTMANAGER: &str = "alertmanager";
/// The same of Loki.
pub const LOKI: &str = "loki";
/// The same of Jaeger.
pub const JAEGER: &str = "jaeger";
/// The same of Grafana.
pub const GRAFANA: &str = "grafana";
/// The same of the OpenTelemetry Collector on each node.
pub const LOG_AGENT: &str = "log-agent";
/// The same of the OpenTelemetry Collector that takes what is sent to it.
pub const LOG_GATEWAY: &str = "log-gateway";
/// The same of node-exporter.
pub const NODE_EXPORTER: &str = "node-exporter";
/// The same of kube-state-metrics.
pub const KUBE_STATE_METRICS: &str = "kube-state-metrics";
/// The same of the exporters of PostgreSQL.
pub const POSTGRES_EXPORTER: &str = "postgres-exporter";
/// The same of the exporters of MySQL.
pub const MYSQL_EXPORTER: &str = "mysql-exporter";
/// The same of the exporters of Redis.
pub const REDIS_EXPORTER: &str = "redis-exporter";
/// The same of the exporters of Kafka.
pub const KAFKA_EXPORTER: &str = "kafka-exporter";
/// The same of the blackbox exporter.
pub const BLACKBOX_EXPORTER: &str = "blackbox-exporter";
/// The components that take a changed configuration by new pods.
pub const PARTS: [&str; 12] = [
    LOKI,
    JAEGER,
    GRAFANA,
    LOG_AGENT,
    LOG_GATEWAY,
    NODE_EXPORTER,
    KUBE_STATE_METRICS,
    POSTGRES_EXPORTER,
    MYSQL_EXPORTER,
    REDIS_EXPORTER,
    KAFKA_EXPORTER,
    BLACKBOX_EXPORTER,
];
/// Label of the pods, Deployments and Services of exporters: the entry of the spec that they are about.
pub const TARGET: &str = "evenkeel.dev/target";
/// Label of Prometheus' pods and StatefulSets: number of the shard.
pub const SHARD: &str = "evenkeel.dev/prometheus-shard";
/// Annotation of pods: changed to make the kubelet refresh their volumes at once.
pub const CONFIG_REVISION: &str = "evenkeel.dev/config-revision";
/// Annotation of a MonitoringStack and of its token Secret: a new value makes a new token.
pub const ROTATE_TOKEN: &str = "evenkeel.dev/rotate-receiver-token";
/// Annotation of Grafana's pods: changed to make the kubelet refresh the dashboards at once.
pub const DASHBOARDS_REVISION: &str = "evenkeel.dev/dashboards-revision";
/// Label of Secrets that the operator makes up: nobody is shown what they hold.
pub const GENERATED: &str = "evenkeel.dev/generated";
/// Label of the ConfigMaps that hold dashboards.
pub const DASHBOARD_LABEL: &str = "grafana_dashboard";
/// Annotation of these ConfigMaps: the folder of the dashboards.
pub const FOLDER_ANNOTATION: &str = "grafana_folder";
/// Label of the Secrets whose token the alert receiver accepts.
pub const RECEIVER_TOKEN: &str = "evenkeel.dev/receiver-token";
/// Port of Prometheus.
pub const PROMETHEUS_PORT: i32 = 9090;
/// Port of Alertmanager.
pub const ALERTMANAGER_PORT: i32 = 9093;
/// Port of Alertmanager's mesh.
pub const MESH_PORT: i32 = 9094;
/// Port of Loki's HTTP API.
pub const LOKI_PORT: i32 = 3100;
/// Port of OTLP over gRPC.
pub const OTLP_GRPC_PORT: i32 = 4317;
/// Port of OTLP over HTTP.
pub const OTLP_HTTP_PORT: i32 = 4318;
/// Port of Jaeger's query API and pages.
pub const JAEGER_PORT: i32 = 16686;
/// Port of Jaeger's query API by gRPC.
pub const JAEGER_GRPC_PORT: i32 = 16685;
/// Port of Jaeger's own metrics.
pub const JAEGER_METRICS_PORT: i32 = 8888;
/// Port of Jaeger's health.
pub const JAEGER_HEALTH_PORT: i32 = 13133;
/// Port at which Jaeger serves sampling strategies by HTTP.
pub const SAMPLING_HTTP_PORT: i32 = 5778;
/// Port at which Jaeger serves sampling strategies by gRPC.
pub const SAMPLING_GRPC_PORT: i32 = 5779;
/// Port of Grafana.
pub const GRAFANA_PORT: i32 = 3000;
/// Port at which Lokis speak to each other.
pub const LOKI_GRPC_PORT: i32 = 9095;
/// Port of Loki's memberlist.
pub const LOKI_MEMBERLIST_PORT: i32 = 7946;
/// Port of the OpenTelemetry Collector's own metrics.
pub const COLLECTOR_METRICS_PORT: i32 = 8888;
/// Port of the OpenTelemetry Collector's health check.
pub const COLLECTOR_HEALTH_PORT: i32 = 13133;

/// Port of node-exporter.
pub const NODE_EXPORTER_PORT: i32 = 9100;
/// Port of kube-state-metrics.
pub const KUBE_STATE_METRICS_PORT: i32 = 8080;
/// Port of kube-state-metrics' own metrics.
pub const KUBE_STATE_METRICS_OWN_PORT: i32 = 8081;
/// Port of the blackbox exporter.
pub const BLACKBOX_EXPORTER_PORT: i32 = 9115;

/// ServiceAccount, Service and first StatefulSet of Prometheus.
pub fn prometheus(stack: &str) -> String {
    format!("{stack}-prometheus")
}

/// StatefulSet of one shard.
pub fn prometheus_shard(stack: &str, shard: i32) -> String {
    if shard == 0 { prometheus(stack) } else { format!("{stack}-prometheus-shard-{shard}") }
}

/// The headless Service that gives each pod of Prometheus a name.
pub fn prometheus_headless(stack: &str) -> String {
    format!("{stack}-prometheus-headless")
}

/// ConfigMap with the configuration of every shard.
pub fn prometheus_config(stack: &str) -> String {
    format!("{stack}-prometheus-config")
}

/// Key in that ConfigMap.
pub fn prometheus_config_key(shard: i32) -> String {
    if shard == 0 { "prometheus.yml".to_owned() } else { format!("prometheus-shard-{shard}.yml") }
}

/// ServiceAccount, Service and StatefulSet of Alertmanager.
pub fn alertmanager(stack: &str) -> String {
    format!("{stack}-alertmanager")
}

/// The headless Service of Alertmanager's mesh, and of Prometheus' way to each replica.
pub fn alertmanager_headless(stack: &str) -> String {
    format!("{stack}-alertmanager-headless")
}

/// Secret with Alertmanager's configuration.
pub fn alertmanager_config(stack: &str) -> String {
    format!("{stack}-alertmanager-config")
}

/// ServiceAccount, Service and workload of one of `PARTS`.
pub fn part(stack: &str, component: &str) -> String {
    format!("{stack}-{component}")
}

/// The headless Service of one of `PARTS`.
pub fn part_headless(stack: &str, component: &str) -> String {
    format!("{stack}-{component}-headless")
}

/// ConfigMap or Secret with the configuration of one of `PARTS`.
pub fn part_config(stack: &str, component: &str) -> String {
    format!("{stack}-{component}-config")
}

/// Deployment and Service of the exporter of one entry.
pub fn exporter(stack: &str, component: &str, target: &str) -> String {
    format!("{}-{target}", part(stack, component))
}

/// Secret with the name and the password of Grafana's first user, where a person gave none.
pub fn grafana_admin(stack: &str) -> String {
    format!("{stack}-grafana-admin")
}

/// One of the ConfigMaps with the dashboards of one folder. A digest of the folder, so that another one moves none.
pub fn dashboards(stack: &str, folder: &str, shard: usize) -> String {
    format!("{stack}-dashboards-{}-{shard}", digest([folder], 6))
}

/// Secret with the token by which the stack's Alertmanager proves itself to the alert receiver.
pub fn receiver_token(stack: &str) -> String {
    format!("{stack}-receiver-token")
}

/// Bindings of the stack's Prometheus; the name carries the namespace, since two stacks of one name may meet.
pub fn binding(namespace: &str, stack: &str, role: &str) -> String {
    format!("evenkeel:{namespace}:{stack}:{role}")
}

/// Namespace and name of the stack that a binding belongs to.
pub fn bound(binding: &str) -> Option<(&str, &str)> {
    let mut parts = binding.strip_prefix("evenkeel:")?.split(':');
    Some((parts.next()?, parts.next()?))
}

/// The name of one pod within the cluster, with its port.
pub fn pod_address(set: &str, ordinal: i32, headless: &str, namespace: &str, port: i32) -> String {
    format!("{set}-{ordinal}.{headless}.{namespace}.svc:{port}")
}

/// URL of a Service within the cluster.
pub fn url(service: &str, namespace: &str, port: i32) -> String {
    format!("http://{service}.{namespace}.svc:{port}")
}
