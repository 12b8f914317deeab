//! The part of a MonitoringStack that is about Jaeger.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::Storage;
use crate::api::common::PodSettings;

/// How Jaeger runs: it keeps the traces.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.image) && has(self.version))")
        .message("image and version exclude each other: image holds its own tag")
)]
pub struct JaegerSpec {
    /// Where its data lies. Absent: in an emptyDir, which is lost with the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
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
