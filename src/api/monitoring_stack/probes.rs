//! The part of a MonitoringStack that is about probes.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::BasicAuth;
use crate::api::common::SecretKeyRef;
use crate::api::duration::PromDuration;

/// What is asked from outside, and what a good answer is. The series have the label `job` with the name of the probe, and
/// `instance` with the target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(!has(self.http) || self.module == 'http') && (!has(self.tcp) || self.module == 'tcp') && (!has(self.dns) || self.module == 'dns')")
        .message("probes: http, tcp and dns belong to the module of the same name"),
    validation = Rule::new("self.module != 'dns' || has(self.dns)")
        .message("probes: module dns needs dns.name, what is asked for; targets are the name servers that are asked"),
    validation = Rule::new("self.module != 'http' || self.targets.all(t, t.startsWith('http://') || t.startsWith('https://'))")
        .message("probes: targets of module http begin with http:// or https://"),
    validation = Rule::new("self.module != 'tcp' || self.targets.all(t, t.contains(':') && !t.contains('/'))")
        .message("probes: targets of module tcp are host:port")
)]
pub struct Probe {
    /// Its name: the label `job` of the series.
    #[schemars(regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"), length(min = 1, max = 63))]
    pub name: String,
    /// How it asks: `http`, `tcp` (a connection comes about), `dns` (a name server answers), `icmp` (an echo comes back).
    pub module: ProbeModule,
    /// What is asked: a URL for http, host:port for tcp, host or host:port of a name server for dns, a host for icmp. Without
    /// credentials.
    #[schemars(length(min = 1, max = 50), inner(regex(pattern = r"^[^@\s]+$"), length(max = 1024)))]
    pub targets: Vec<String>,
    /// Between two questions. Default: the scrapeInterval of Prometheus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<PromDuration>,
    /// How long an answer may take, below the interval. Default: the interval, 10s at the most, less half a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<PromDuration>,
    /// Which address is taken of a host that has both: IPv4 or IPv6; the other one where it has only that. Default: IPv4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_family: Option<IpFamily>,
    /// What a good answer is to module http. Default: any status from 200 to 299 after redirects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpProbe>,
    /// What a good answer is to module tcp. Default: a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpProbe>,
    /// What module dns asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<DnsProbe>,
    /// Extra labels of the series, for example `namespace: shop`, which routes and repairs go by. Default of `namespace`: that
    /// of the stack.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub labels: BTreeMap<String, String>,
}

impl Probe {
    /// Every Secret key that it needs, with the field that names it.
    pub fn secret_refs(&self) -> Vec<(&'static str, &SecretKeyRef)> {
        let http = || self.http.iter();
        let token = http().filter_map(|http| http.bearer_token_secret_ref.as_ref());
        let password = http().filter_map(|http| Some(&http.basic_auth.as_ref()?.password_secret_ref));
        let token = token.map(|reference| ("http.bearerTokenSecretRef", reference));
        token.chain(password.map(|reference| ("http.basicAuth.passwordSecretRef", reference))).collect()
    }
}

/// How a probe asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ProbeModule {
    Http,
    Tcp,
    Dns,
    Icmp,
}

/// Which address of a host is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum IpFamily {
    IPv4,
    IPv6,
}

/// A question by HTTP.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.basicAuth) && has(self.bearerTokenSecretRef))")
        .message("probes: set at most one of basicAuth and bearerTokenSecretRef")
)]
pub struct HttpProbe {
    /// Default: GET.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<HttpMethod>,
    /// Sent with POST, for example a query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub body: Option<String>,
    /// Headers of the request. No secrets: these stand in a ConfigMap.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub headers: BTreeMap<String, String>,
    /// The good ones. Default: 200 to 299.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), inner(range(min = 100, max = 599)))]
    pub status_codes: Vec<i32>,
    /// A regular expression (RE2) that the body of a good answer matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub body_matches: Option<String>,
    /// Go where a redirect leads. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follow_redirects: Option<bool>,
    /// A token that is sent as `Authorization: Bearer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer_token_secret_ref: Option<SecretKeyRef>,
    /// User and password that are sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth>,
    /// Take any certificate. Its expiry is measured all the same. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub insecure_skip_verify: bool,
}

/// Methods of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum HttpMethod {
    Get,
    Head,
    Post,
    Options,
}

/// A connection.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TcpProbe {
    /// Shake hands by TLS as well; the certificate's expiry is measured. Default: false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tls: bool,
    /// Take any certificate. Default: false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub insecure_skip_verify: bool,
}

/// A question to a name server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DnsProbe {
    /// The name that is asked for, for example shop.example.com.
    #[schemars(regex(pattern = r"^[A-Za-z0-9_.-]+$"), length(min = 1, max = 253))]
    pub name: String,
    /// The type of record. Default: A.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[A-Z]+[0-9]*$"), length(min = 1, max = 16))]
    pub type_: Option<String>,
    /// Ask by TCP. Default: false, by UDP.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tcp: bool,
}
