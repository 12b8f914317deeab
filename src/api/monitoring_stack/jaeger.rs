//! The part of a MonitoringStack that is about Jaeger.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Storage, one};
use crate::api::common::{PodSettings, SecretKeyRef};
use crate::api::duration::PromDuration;

/// How Jaeger runs: it keeps the traces. In memory, unless storage.size (Badger on a PersistentVolumeClaim),
/// elasticsearch or opensearch say otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.image) && has(self.version))")
        .message("image and version exclude each other: image holds its own tag"),
    validation = Rule::new("(has(self.storage) ? 1 : 0) + (has(self.elasticsearch) ? 1 : 0) + (has(self.opensearch) ? 1 : 0) <= 1")
        .message("jaeger: set at most one of storage, elasticsearch and opensearch; without any of them traces are kept in memory"),
    validation = Rule::new("!has(self.storage) || has(self.storage.size)")
        .message("jaeger: storage takes size only; without storage traces are kept in memory, up to maxTraces"),
    validation = Rule::new("!has(self.maxTraces) || !(has(self.storage) || has(self.elasticsearch) || has(self.opensearch))")
        .message("jaeger: maxTraces is about traces in memory; with storage set retention"),
    validation = Rule::new("!has(self.retention) || has(self.storage)")
        .message("jaeger: retention belongs to storage.size; Elasticsearch and OpenSearch delete indices by their own policies"),
    validation = Rule::new("self.replicas == 1 || has(self.elasticsearch) || has(self.opensearch)")
        .message("jaeger: several replicas need a store that they share: set elasticsearch or opensearch")
)]
pub struct JaegerSpec {
    /// Most traces kept in memory; the oldest go first. Default: 10000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100000000))]
    pub max_traces: Option<i32>,
    /// How long traces are kept in storage.size. Default: 7d.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<PromDuration>,
    /// Which share of the requests is traced, told to applications that ask (ports 5778 and 5779).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampling: Option<Sampling>,
    /// The volume of the traces. Absent: they are in memory, and lost with the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
    /// Keep the traces in this Elasticsearch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elasticsearch: Option<TraceStore>,
    /// Keep the traces in this OpenSearch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opensearch: Option<TraceStore>,
    /// Replicas; more than one only with elasticsearch or opensearch. Default: 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 10))]
    pub replicas: i32,
    /// Version of the default image, for example 2.13.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^v?[0-9]+\.[0-9]+\.[0-9]+[-.0-9A-Za-z]*$"), length(max = 64))]
    pub version: Option<String>,
    /// The whole image, registry and tag included, instead of the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// Settings of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodSettings>,
}

impl JaegerSpec {
    /// The store outside, with the name that both Jaeger and the field have for it.
    pub fn outside(&self) -> Option<(&'static str, &TraceStore)> {
        let elasticsearch = self.elasticsearch.as_ref().map(|store| ("elasticsearch", store));
        elasticsearch.or_else(|| self.opensearch.as_ref().map(|store| ("opensearch", store)))
    }
}

/// Which share of the requests is traced. A change is served within two minutes, and restarts nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sampling {
    /// Share of the requests of services that are not named below, from 0 to 1. Default: 0.1.
    #[serde(default = "default_probability")]
    #[schemars(range(min = 0, max = 1))]
    pub default: f64,
    /// Services with shares of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 200), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["service"]))]
    pub services: Vec<ServiceSampling>,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { default: default_probability(), services: vec![] }
    }
}

/// The share of one service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceSampling {
    /// Name of the service, as its spans have it (`service.name`).
    #[schemars(length(min = 1, max = 255))]
    pub service: String,
    /// Share of its requests, from 0 to 1. Default: that of sampling.default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1))]
    pub probability: Option<f64>,
    /// Operations with shares of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["operation"]))]
    pub operations: Vec<OperationSampling>,
}

/// The share of one operation of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OperationSampling {
    /// Name of the operation, as its spans have it.
    #[schemars(length(min = 1, max = 255))]
    pub operation: String,
    /// Share of its requests, from 0 to 1.
    #[schemars(range(min = 0, max = 1))]
    pub probability: f64,
}

/// An Elasticsearch or OpenSearch that is run by somebody else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.username) == has(self.passwordSecretRef)")
        .message("username and passwordSecretRef belong together")
)]
pub struct TraceStore {
    /// Where it answers, for example https://elasticsearch.logging.svc:9200. Without credentials.
    #[schemars(length(min = 1, max = 16), inner(regex(pattern = r"^https?://[^@\s]+$"), length(max = 2048)))]
    pub urls: Vec<String>,
    /// User name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub username: Option<String>,
    /// Where the password is. A new one is taken up without a restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_secret_ref: Option<SecretKeyRef>,
    /// Where the CA certificate of the store is, in PEM. Default: the CAs of the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretKeyRef>,
    /// First part of the names of the indices. Default: none, as in `jaeger-span-2026-01-31`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[a-z0-9][a-z0-9_.-]*$"), length(max = 100))]
    pub index_prefix: Option<String>,
    /// Primary shards of each index. Default: Jaeger's own, 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub index_shards: Option<i32>,
    /// Replicas of each index. Default: Jaeger's own, 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub index_replicas: Option<i32>,
}

impl TraceStore {
    /// Every Secret key that it needs, with the field that names it.
    pub fn secret_refs(&self) -> Vec<(&'static str, &SecretKeyRef)> {
        let password = self.password_secret_ref.iter().map(|r| ("passwordSecretRef", r));
        password.chain(self.ca_secret_ref.iter().map(|r| ("caSecretRef", r))).collect()
    }
}

fn default_probability() -> f64 {
    0.1
}
