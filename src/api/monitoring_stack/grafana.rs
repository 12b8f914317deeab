//! The part of a MonitoringStack that is about Grafana.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Storage;
use crate::api::common::PodSettings;

/// How Grafana runs: it shows metrics, logs and traces.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.image) && has(self.version))")
        .message("image and version exclude each other: image holds its own tag")
)]
pub struct GrafanaSpec {
    /// Secret with the keys `admin-user` and `admin-password`. Absent: one is made, `<stack>-grafana-admin`. Grafana
    /// reads it when it makes its database: with storage, a later change is made in Grafana itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin_secret_ref: Option<SecretRef>,
    /// Where people reach Grafana, for example https://grafana.example.com/. Default: the host of ingress or route, by
    /// https where ingress.tlsSecretName is set, else by http.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^https?://[^\s]+$"), length(max = 2048))]
    pub root_url: Option<String>,
    /// Make an Ingress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress: Option<GrafanaIngress>,
    /// Make an HTTPRoute of the Gateway API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<GrafanaRoute>,
    /// Secret whose keys are settings of the login by OAuth, as Grafana's environment variables:
    /// `GF_AUTH_GENERIC_OAUTH_ENABLED`, `GF_AUTH_GENERIC_OAUTH_CLIENT_ID`, `GF_AUTH_GENERIC_OAUTH_CLIENT_SECRET` and
    /// so on. Read when a pod starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oauth_secret_ref: Option<SecretRef>,
    /// Plugins that are installed before Grafana starts, from grafana.com. One that cannot be installed keeps Grafana
    /// from starting, and the status says so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub plugins: Vec<GrafanaPlugin>,
    /// Which dashboards are shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dashboards: Option<Dashboards>,
    /// Where users, preferences and what is made in Grafana itself lie. Absent: in an emptyDir, which is lost with the
    /// pod; data sources and dashboards come back by themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
    /// Version of the default image, for example 12.3.0.
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

/// A Secret in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// The Ingress of Grafana.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GrafanaIngress {
    /// Host name, for example grafana.example.com.
    #[schemars(regex(pattern = HOST), length(max = 253))]
    pub host: String,
    /// IngressClass. Default: the cluster's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub class_name: Option<String>,
    /// Annotations of the Ingress, for example for its controller or a certificate issuer.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub annotations: BTreeMap<String, String>,
    /// Secret with the certificate of the host. Absent: no TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub tls_secret_name: Option<String>,
}

/// The HTTPRoute of Grafana.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GrafanaRoute {
    /// Host name, for example grafana.example.com.
    #[schemars(regex(pattern = HOST), length(max = 253))]
    pub host: String,
    /// The Gateways that the route is attached to.
    #[schemars(length(min = 1, max = 8))]
    pub parent_refs: Vec<GatewayRef>,
}

/// A Gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayRef {
    /// Name of the Gateway.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its namespace. Default: that of the stack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// The listener of the Gateway. Default: all that fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub section_name: Option<String>,
}

/// A plugin of grafana.com.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GrafanaPlugin {
    /// Its ID, for example grafana-clock-panel.
    #[schemars(regex(pattern = r"^[a-z0-9]+(-[a-zA-Z0-9]+)*$"), length(max = 128))]
    pub name: String,
    /// Its version, for example 2.1.8. Default: the newest one that fits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9]+\.[0-9]+\.[0-9]+[-.+0-9A-Za-z]*$"), length(max = 64))]
    pub version: Option<String>,
}

/// Which dashboards are shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Dashboards {
    /// Those that come with Evenkeel. Default: true.
    #[serde(default = "yes")]
    pub shipped: bool,
    /// Those of ConfigMaps with the label `grafana_dashboard`, in the namespaces of spec.discovery. The annotation
    /// `grafana_folder` names the folder. Default: true.
    #[serde(default = "yes")]
    pub config_maps: bool,
}

impl Default for Dashboards {
    fn default() -> Self {
        Self { shipped: true, config_maps: true }
    }
}

/// A DNS name.
const HOST: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

fn yes() -> bool {
    true
}
