//! The part of a MonitoringStack that is about exporters.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::probes::Probe;
use crate::api::common::{PodSettings, SecretKeyRef};

/// What is measured that does not say so by itself. Each exporter is scraped by this stack's Prometheus, and the rules and
/// dashboards about it come with it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.node) || has(self.kubeState) || has(self.postgres) || has(self.mysql) || has(self.redis) || has(self.kafka) || has(self.probes)")
        .message("exporters: set at least one of node, kubeState, postgres, mysql, redis, kafka and probes ({} takes the defaults of node and kubeState)"),
    validation = Rule::new("!has(self.pod) || !has(self.pod.extraArgs)")
        .message("exporters.pod is about the pods of several programs: extraArgs belong to the exporter of one entry")
)]
pub struct ExportersSpec {
    /// The machines, by node-exporter: one pod on each node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeExporter>,
    /// What Kubernetes says of its objects, by kube-state-metrics. Limited to the namespaces of `discovery`; nodes,
    /// namespaces and volumes of the cluster only where that is all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kube_state: Option<KubeStateMetrics>,
    /// PostgreSQL servers, with one exporter each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub postgres: Vec<PostgresTarget>,
    /// MySQL and MariaDB servers, with one exporter each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub mysql: Vec<MysqlTarget>,
    /// Redis and Valkey servers, with one exporter each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub redis: Vec<RedisTarget>,
    /// Kafka clusters, with one exporter each: how far consumer groups are behind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub kafka: Vec<KafkaTarget>,
    /// What is asked from outside whether it answers: an API of others, a webhook's endpoint, a name server. By one
    /// blackbox exporter.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub probes: Vec<Probe>,
    /// The program that makes the probes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blackbox: Option<Exporter>,
    /// Settings of the pods of all exporters but those of node and kubeState.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodSettings>,
}

impl ExportersSpec {
    /// Every Secret key that is needed, with the field that names it.
    pub fn secret_refs(&self) -> Vec<(String, &SecretKeyRef)> {
        fn named<'a>(
            list: &'static str,
            entries: impl Iterator<Item = Vec<(&'static str, &'a SecretKeyRef)>>,
        ) -> impl Iterator<Item = (String, &'a SecretKeyRef)> {
            entries.enumerate().flat_map(move |(index, refs)| {
                refs.into_iter().map(move |(field, reference)| (format!("{list}[{index}].{field}"), reference))
            })
        }
        let postgres = self.postgres.iter().map(|target| vec![("dsnSecretRef", &target.dsn_secret_ref)]);
        named("postgres", postgres)
            .chain(named("mysql", self.mysql.iter().map(MysqlTarget::secret_refs)))
            .chain(named("redis", self.redis.iter().map(RedisTarget::secret_refs)))
            .chain(named("kafka", self.kafka.iter().map(KafkaTarget::secret_refs)))
            .chain(named("probes", self.probes.iter().map(Probe::secret_refs)))
            .collect()
    }
}

/// How node-exporter runs. It reads the node's /proc, /sys and file systems, which are mounted read-only.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.image) && has(self.version))")
        .message("image and version exclude each other: image holds its own tag")
)]
pub struct NodeExporter {
    /// Run in the node's network, at its port 9100. Without that the counters of the node's network devices cannot be
    /// read, and are left out. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub host_network: bool,
    /// Whether file systems that the node mounts later are seen. A node whose `/` is no shared mount (some nodes that are
    /// containers themselves) takes None only: its pod says `not a shared or slave mount`. Default: HostToContainer.
    #[serde(default)]
    pub mount_propagation: MountPropagation,
    /// Version of the default image, for example v1.10.2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^v?[0-9]+\.[0-9]+\.[0-9]+[-.0-9A-Za-z]*$"), length(max = 64))]
    pub version: Option<String>,
    /// The whole image, registry and tag included, instead of the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// Settings of the pods. Default of tolerations: all taints, so that each node has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodSettings>,
}

/// Which mounts of its node a pod sees, in Kubernetes' terms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MountPropagation {
    /// Those that come later as well.
    #[default]
    HostToContainer,
    /// Those that were there when the pod began.
    None,
}

/// How kube-state-metrics runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.image) && has(self.version))")
        .message("image and version exclude each other: image holds its own tag")
)]
pub struct KubeStateMetrics {
    /// Version of the default image, for example v2.20.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^v?[0-9]+\.[0-9]+\.[0-9]+[-.0-9A-Za-z]*$"), length(max = 64))]
    pub version: Option<String>,
    /// The whole image, registry and tag included, instead of the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// Settings of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodSettings>,
}

/// Which program an exporter is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.image) && has(self.version))")
        .message("image and version exclude each other: image holds its own tag")
)]
pub struct Exporter {
    /// Version of the default image, as its tag has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^v?[0-9]+\.[0-9]+\.[0-9]+[-.0-9A-Za-z]*$"), length(max = 64))]
    pub version: Option<String>,
    /// The whole image, registry and tag included, instead of the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// Extra command line arguments. An entry with a flag that Evenkeel sets itself is left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), inner(length(max = 1024)))]
    pub extra_args: Vec<String>,
}

/// A PostgreSQL server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PostgresTarget {
    /// Its name: the label `instance` of the series, whose `job` is postgres.
    #[schemars(regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"), length(min = 1, max = 40))]
    pub name: String,
    /// The connection string, for example `postgresql://exporter:secret@orders-db.shop.svc:5432/postgres?sslmode=require`. The
    /// role needs `pg_monitor`.
    pub dsn_secret_ref: SecretKeyRef,
    /// Extra labels of the series, for example `namespace: shop`, which routes and repairs go by. Default of `namespace`: that
    /// of the stack.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub labels: BTreeMap<String, String>,
    /// Another program than the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exporter: Option<Exporter>,
}

/// A MySQL or MariaDB server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.configSecretRef) ? !has(self.address) && !has(self.username) && !has(self.passwordSecretRef) : has(self.address) && has(self.username) && has(self.passwordSecretRef)")
        .message("mysql: set address, username and passwordSecretRef, or configSecretRef instead of them")
)]
pub struct MysqlTarget {
    /// Its name: the label `instance` of the series, whose `job` is mysql.
    #[schemars(regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"), length(min = 1, max = 40))]
    pub name: String,
    /// Host and port, for example orders-db.shop.svc:3306.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[^@\s]+:[0-9]+$"), length(max = 512))]
    pub address: Option<String>,
    /// The user. It needs PROCESS, REPLICATION CLIENT and SELECT on performance_schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub username: Option<String>,
    /// The user's password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_secret_ref: Option<SecretKeyRef>,
    /// A my.cnf with a section [client]: user, password, host and port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_secret_ref: Option<SecretKeyRef>,
    /// Extra labels of the series, for example `namespace: shop`, which routes and repairs go by. Default of `namespace`: that
    /// of the stack.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub labels: BTreeMap<String, String>,
    /// Another program than the default one. Before 0.15 it takes configSecretRef only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exporter: Option<Exporter>,
}

impl MysqlTarget {
    fn secret_refs(&self) -> Vec<(&'static str, &SecretKeyRef)> {
        let password = self.password_secret_ref.iter().map(|reference| ("passwordSecretRef", reference));
        password.chain(self.config_secret_ref.iter().map(|reference| ("configSecretRef", reference))).collect()
    }
}

/// A Redis or Valkey server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.username) || has(self.passwordSecretRef)")
        .message("redis: username needs passwordSecretRef")
)]
pub struct RedisTarget {
    /// Its name: the label `instance` of the series, whose `job` is redis.
    #[schemars(regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"), length(min = 1, max = 40))]
    pub name: String,
    /// Where it is, for example redis://cache.shop.svc:6379; rediss:// with TLS. Without credentials.
    #[schemars(regex(pattern = r"^(rediss?://)?[^@\s/]+(/[0-9]+)?$"), length(min = 1, max = 512))]
    pub address: String,
    /// The user, where Redis has several. It needs `+info +ping +config|get +slowlog|len +latency|latest +client|setname`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub username: Option<String>,
    /// The password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_secret_ref: Option<SecretKeyRef>,
    /// Extra labels of the series, for example `namespace: shop`, which routes and repairs go by. Default of `namespace`: that
    /// of the stack.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub labels: BTreeMap<String, String>,
    /// Another program than the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exporter: Option<Exporter>,
}

impl RedisTarget {
    fn secret_refs(&self) -> Vec<(&'static str, &SecretKeyRef)> {
        self.password_secret_ref.iter().map(|reference| ("passwordSecretRef", reference)).collect()
    }
}

/// A Kafka cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KafkaTarget {
    /// Its name: the label `instance` of the series, whose `job` is kafka.
    #[schemars(regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"), length(min = 1, max = 40))]
    pub name: String,
    /// Brokers to begin with, for example kafka-0.kafka.shop.svc:9092.
    #[schemars(length(min = 1, max = 16), inner(regex(pattern = r"^[^@\s,]+:[0-9]+$"), length(max = 512)))]
    pub brokers: Vec<String>,
    /// How it logs in. Absent: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sasl: Option<KafkaSasl>,
    /// Speak TLS. Absent: in the clear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<KafkaTls>,
    /// Extra labels of the series, for example `namespace: shop`, which routes and repairs go by. Default of `namespace`: that
    /// of the stack.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub labels: BTreeMap<String, String>,
    /// Another program than the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exporter: Option<Exporter>,
}

impl KafkaTarget {
    fn secret_refs(&self) -> Vec<(&'static str, &SecretKeyRef)> {
        let password = self.sasl.iter().map(|sasl| ("sasl.passwordSecretRef", &sasl.password_secret_ref));
        password.chain(self.tls.iter().flat_map(KafkaTls::secret_refs)).collect()
    }
}

/// How to log in to Kafka.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KafkaSasl {
    /// In Kafka's words. Default: PLAIN.
    #[serde(default)]
    pub mechanism: SaslMechanism,
    /// The user. It needs DESCRIBE on the cluster, topics and groups.
    #[schemars(length(min = 1, max = 128))]
    pub username: String,
    /// The user's password.
    pub password_secret_ref: SecretKeyRef,
}

/// How the password is proved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SaslMechanism {
    #[default]
    #[serde(rename = "PLAIN")]
    Plain,
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

/// TLS to Kafka.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.certSecretRef) == has(self.keySecretRef)")
        .message("kafka: certSecretRef and keySecretRef belong together")
)]
pub struct KafkaTls {
    /// Authorities that may have signed the brokers' certificates, as PEM. Default: those of the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretKeyRef>,
    /// The client's certificate, as PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_secret_ref: Option<SecretKeyRef>,
    /// The client's key, as PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_secret_ref: Option<SecretKeyRef>,
    /// Take any certificate. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub insecure_skip_verify: bool,
}

impl KafkaTls {
    fn secret_refs(&self) -> impl Iterator<Item = (&'static str, &SecretKeyRef)> {
        let all = [
            ("tls.caSecretRef", &self.ca_secret_ref),
            ("tls.certSecretRef", &self.cert_secret_ref),
            ("tls.keySecretRef", &self.key_secret_ref),
        ];
        all.into_iter().filter_map(|(field, reference)| Some((field, reference.as_ref()?)))
    }
}
