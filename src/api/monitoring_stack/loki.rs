//! The part of a MonitoringStack that is about Loki.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Storage, one};
use crate::api::common::{PodSettings, SecretKeyRef};
use crate::api::duration::PromDuration;

/// How Loki runs: it keeps the logs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.image) && has(self.version))")
        .message("image and version exclude each other: image holds its own tag"),
    validation = Rule::new("!has(self.replicas) || self.replicas == 1 || has(self.objectStore)")
        .message("loki: several replicas share their data, which needs an objectStore"),
    validation = Rule::new("!has(self.replicas) || self.replicas != 2")
        .message("loki: two replicas cannot agree when one is away: set replicas to 1, or to 3 and more")
)]
pub struct LokiSpec {
    /// Replicas. Several of them need an objectStore; each log line is then held by three of them until it is there, and
    /// each evaluates all rules. Default: 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 10))]
    pub replicas: i32,
    /// How long logs are kept. Default: 31d. `0`: for ever.
    #[serde(default = "default_retention")]
    pub retention: PromDuration,
    /// Logs that are kept shorter or longer than the rest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub streams: Vec<StreamRetention>,
    /// Where chunks and index lie. Absent: in the pod's own storage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_store: Option<ObjectStore>,
    /// How much is taken in.
    #[serde(default)]
    pub limits: LokiLimits,
    /// Where its data lies; with an objectStore the write-ahead log and caches only. Absent: in an emptyDir, which is lost
    /// with the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
    /// Version of the default image, for example 3.7.8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^v?[0-9]+\.[0-9]+\.[0-9]+[-.0-9A-Za-z]*$"), length(max = 64))]
    pub version: Option<String>,
    /// The whole image, registry and tag included, instead of the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// Settings of the pods. `extraArgs` win over the generated configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodSettings>,
}

/// How long some logs are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StreamRetention {
    /// Which logs: a stream selector of LogQL, for example `{namespace="shop", stream="errors"}`.
    #[schemars(length(min = 2, max = 1024))]
    pub selector: String,
    /// How long they are kept. At least 24h.
    pub retention: PromDuration,
    /// Where several select a log, the one with the highest priority counts. Default: 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub priority: i32,
}

/// An object store that speaks S3. Without credentials the pod's own identity is used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.accessKeyIdSecretRef) == has(self.secretAccessKeySecretRef)")
        .message("objectStore: accessKeyIdSecretRef and secretAccessKeySecretRef belong together")
)]
pub struct ObjectStore {
    /// Host and port, for example minio.storage.svc:9000, or a whole URL. Absent: that of AWS for the region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^(https?://)?[A-Za-z0-9.:\[\]_-]+/?$"))]
    pub endpoint: Option<String>,
    /// The bucket. It must exist.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"))]
    pub bucket: String,
    /// Region of the bucket. Default: us-east-1.
    #[serde(default = "default_region")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[A-Za-z0-9-]+$"))]
    pub region: String,
    /// Speak HTTP without TLS. Default: false.
    #[serde(default)]
    pub insecure: bool,
    /// Put the bucket into the path of the URL and not into the host, as most stores outside of AWS want it. Default: false.
    #[serde(default)]
    pub force_path_style: bool,
    /// Where the access key ID is. The pods read it at their start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key_id_secret_ref: Option<SecretKeyRef>,
    /// Where the secret access key is. The pods read it at their start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_access_key_secret_ref: Option<SecretKeyRef>,
}

impl LokiSpec {
    /// Every Secret key that it needs, with the field that names it.
    pub fn secret_refs(&self) -> Vec<(&'static str, &SecretKeyRef)> {
        let stores = || self.object_store.iter();
        let id = stores().filter_map(|s| Some(("accessKeyIdSecretRef", s.access_key_id_secret_ref.as_ref()?)));
        let key = stores().filter_map(|s| Some(("secretAccessKeySecretRef", s.secret_access_key_secret_ref.as_ref()?)));
        id.chain(key).collect()
    }
}

/// How much Loki takes in. What is beyond is refused with 429, and whoever sent it tries again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LokiLimits {
    /// Megabytes a second, over all replicas. Default: 16.
    #[schemars(range(min = 1, max = 10000))]
    pub rate_megabytes: i32,
    /// Megabytes that may come at once, at each replica. Default: 32.
    #[schemars(range(min = 1, max = 10000))]
    pub burst_megabytes: i32,
    /// Streams (sets of labels) that are written to at the same time, over all replicas. Default: 10000.
    #[schemars(range(min = 1, max = 10000000))]
    pub max_streams: i32,
    /// Kilobytes of a line; what is longer is cut. Default: 256.
    #[schemars(range(min = 1, max = 65536))]
    pub max_line_kilobytes: i32,
}

impl Default for LokiLimits {
    fn default() -> Self {
        Self { rate_megabytes: 16, burst_megabytes: 32, max_streams: 10_000, max_line_kilobytes: 256 }
    }
}

fn default_retention() -> PromDuration {
    PromDuration::from_mins(31 * 24 * 60)
}

fn default_region() -> String {
    "us-east-1".to_owned()
}
