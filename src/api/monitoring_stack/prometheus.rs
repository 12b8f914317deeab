//! The part of a MonitoringStack that is about Prometheus.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Storage, one};
use crate::api::common::{PodSettings, SecretKeyRef};
use crate::api::duration::PromDuration;

/// How Prometheus runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.image) && has(self.version))")
        .message("image and version exclude each other: image holds its own tag"),
    validation = Rule::new("!has(self.externalLabels) || !self.externalLabels.exists(l, l in ['prometheus_replica', 'prometheus_shard'])")
        .message("externalLabels: prometheus_replica and prometheus_shard are set by Evenkeel")
)]
pub struct PrometheusSpec {
    /// Replicas of each shard. All of them scrape the same targets; Alertmanager removes the duplicates. Default: 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 10))]
    pub replicas: i32,
    /// Into how many instances the targets are divided. All targets of one `job` in one namespace stay together, so
    /// that a rule about one job sees all of it; a rule over several jobs does not. Default: 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 32))]
    pub shards: i32,
    /// How long samples are kept. Default: 31d.
    #[serde(default = "default_retention")]
    pub retention: PromDuration,
    /// Most bytes of samples to keep, in Prometheus' units of powers of two, for example 512MB or 50GB.
    /// Default: 85 % of storage.size where that is given, else unlimited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[1-9][0-9]*(B|KB|MB|GB|TB|PB|EB)$"), length(max = 32))]
    pub retention_size: Option<String>,
    /// How often targets are scraped. Default: 30s.
    #[serde(default = "default_interval")]
    pub scrape_interval: PromDuration,
    /// How often rules are evaluated where they do not say so themselves. Default: the scrape interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluation_interval: Option<PromDuration>,
    /// Where the samples lie. Absent: in an emptyDir, which is lost with the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
    /// Labels of every series and alert that leaves this Prometheus.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub external_labels: BTreeMap<String, String>,
    /// Where samples are sent besides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub remote_write: Vec<RemoteWrite>,
    /// Which kinds of targets are scraped. Default: all.
    #[serde(default)]
    pub scrape: Scrape,
    /// Version of the default image, for example v3.15.0. At least v3.0.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^v[0-9]+\.[0-9]+\.[0-9]+[-.0-9A-Za-z]*$"), length(max = 64))]
    pub version: Option<String>,
    /// The whole image, registry and tag included, instead of the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// Settings of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodSettings>,
}

impl Default for PrometheusSpec {
    fn default() -> Self {
        Self {
            replicas: 1,
            shards: 1,
            retention: default_retention(),
            retention_size: None,
            scrape_interval: default_interval(),
            evaluation_interval: None,
            storage: None,
            external_labels: BTreeMap::new(),
            remote_write: vec![],
            scrape: Scrape::default(),
            version: None,
            image: None,
            pod: None,
        }
    }
}

/// Which kinds of targets are scraped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Scrape {
    /// Pods with the annotation `prometheus.io/scrape: "true"`; `prometheus.io/port`, `path` and `scheme` say where.
    /// Default: true.
    #[serde(default = "yes")]
    pub pods: bool,
    /// The endpoints of services with these annotations, except pods that carry them themselves. Default: true.
    #[serde(default = "yes")]
    pub services: bool,
    /// The kubelets' own metrics. Default: true.
    #[serde(default = "yes")]
    pub kubelet: bool,
    /// Usage of the containers, as the kubelets' cAdvisor has it. Default: true.
    #[serde(default = "yes")]
    pub cadvisor: bool,
    /// The Kubernetes API servers. Default: true.
    #[serde(default = "yes")]
    pub api_server: bool,
    /// Do not verify the kubelets' serving certificates: needed where they are not signed by the cluster's CA, as
    /// with kubeadm's defaults. The token of Prometheus can then be taken by whoever poses as a kubelet.
    /// Default: false.
    #[serde(default)]
    pub kubelet_insecure_skip_verify: bool,
}

impl Default for Scrape {
    fn default() -> Self {
        Self {
            pods: true,
            services: true,
            kubelet: true,
            cadvisor: true,
            api_server: true,
            kubelet_insecure_skip_verify: false,
        }
    }
}

/// A receiver of samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.basicAuth) && has(self.bearerTokenSecretRef))")
        .message("remoteWrite: basicAuth and bearerTokenSecretRef exclude each other")
)]
pub struct RemoteWrite {
    /// Where samples are posted, for example https://metrics.example.com/api/v1/write.
    #[schemars(regex(pattern = "^https?://"), length(max = 2048))]
    pub url: String,
    /// Name in the metrics of Prometheus. Default: a digest of the settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub name: Option<String>,
    /// User and password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth>,
    /// The bearer token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer_token_secret_ref: Option<SecretKeyRef>,
    /// Extra HTTP headers, for example X-Scope-OrgID. Not for credentials: they are readable in the configuration.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub headers: BTreeMap<String, String>,
    /// Time for one request. Default: 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<PromDuration>,
}

impl RemoteWrite {
    /// Every Secret key that it needs, with the field that names it.
    pub fn secret_refs(&self) -> Vec<(&'static str, &SecretKeyRef)> {
        let basic = self.basic_auth.iter().map(|b| ("basicAuth.passwordSecretRef", &b.password_secret_ref));
        basic.chain(self.bearer_token_secret_ref.iter().map(|r| ("bearerTokenSecretRef", r))).collect()
    }
}

/// User and password of HTTP basic authentication.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BasicAuth {
    /// User name.
    #[schemars(length(min = 1, max = 253))]
    pub username: String,
    /// Where the password is.
    pub password_secret_ref: SecretKeyRef,
}

fn yes() -> bool {
    true
}

fn default_retention() -> PromDuration {
    PromDuration::from_mins(31 * 24 * 60)
}

fn default_interval() -> PromDuration {
    PromDuration::from_secs(30)
}
