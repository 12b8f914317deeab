//! The part of a MonitoringStack that is about collecting logs.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::api::common::PodSettings;

/// How logs are collected: by an OpenTelemetry Collector on each node, and by one that takes what is sent to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.image) && has(self.version))")
        .message("image and version exclude each other: image holds its own tag")
)]
pub struct LogsSpec {
    /// Version of the default image, for example 0.160.0.
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
