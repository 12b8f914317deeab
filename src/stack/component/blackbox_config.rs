//! blackbox.yaml, as types: one module for each probe. Pure.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::api::duration::PromDuration;
use crate::api::monitoring_stack::{DnsProbe, HttpMethod, HttpProbe, IpFamily, Probe, ProbeModule, TcpProbe};
use crate::notify::receivers::{HttpConfig, relative};

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Config {
    pub modules: BTreeMap<String, Module>,
}

/// How one probe asks, and what a good answer is.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Module {
    pub prober: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<PromDuration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<Http>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp: Option<Tcp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns: Option<Dns>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icmp: Option<Icmp>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Http {
    pub preferred_ip_protocol: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<HttpMethod>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub valid_status_codes: Vec<i32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fail_if_body_not_matches_regexp: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub follow_redirects: Option<bool>,
    #[serde(flatten)]
    pub credentials: Option<HttpConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_config: Option<Tls>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Tcp {
    pub preferred_ip_protocol: &'static str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tls: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_config: Option<Tls>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Dns {
    pub preferred_ip_protocol: &'static str,
    pub transport_protocol: &'static str,
    pub query_name: String,
    pub query_type: String,
    pub validate_answer_rrs: Answer,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Answer {
    pub fail_if_none_matches_regexp: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Icmp {
    pub preferred_ip_protocol: &'static str,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Tls {
    pub insecure_skip_verify: bool,
}

impl Config {
    /// What `probes` ask for; credentials are files below `secrets`.
    pub fn of(probes: &[Probe], secrets: &str) -> Self {
        Self { modules: probes.iter().map(|probe| (probe.name.clone(), module(probe, secrets))).collect() }
    }
}

fn module(probe: &Probe, secrets: &str) -> Module {
    let protocol = match probe.ip_family.unwrap_or(IpFamily::IPv4) {
        IpFamily::IPv4 => "ip4",
        IpFamily::IPv6 => "ip6",
    };
    let module = |prober| Module { prober, timeout: probe.timeout, ..Module::default() };
    match probe.module {
        ProbeModule::Http => {
            Module { http: Some(http(probe.http.clone().unwrap_or_default(), protocol, secrets)), ..module("http") }
        }
        ProbeModule::Tcp => {
            let TcpProbe { tls, insecure_skip_verify } = probe.tcp.clone().unwrap_or_default();
            let tcp = Tcp { preferred_ip_protocol: protocol, tls, tls_config: trusting(insecure_skip_verify) };
            Module { tcp: Some(tcp), ..module("tcp") }
        }
        ProbeModule::Dns => {
            let DnsProbe { name, type_, tcp } = probe.dns.clone().unwrap_or_default();
            let dns = Dns {
                preferred_ip_protocol: protocol,
                transport_protocol: if tcp { "tcp" } else { "udp" },
                query_name: name,
                query_type: type_.unwrap_or_else(|| "A".to_owned()),
                // An answer without a record is none.
                validate_answer_rrs: Answer { fail_if_none_matches_regexp: vec![".*".to_owned()] },
            };
            Module { dns: Some(dns), ..module("dns") }
        }
        ProbeModule::Icmp => Module { icmp: Some(Icmp { preferred_ip_protocol: protocol }), ..module("icmp") },
    }
}

fn http(http: HttpProbe, protocol: &'static str, secrets: &str) -> Http {
    let HttpProbe {
        method,
        body,
        headers,
        status_codes,
        body_matches,
        follow_redirects,
        bearer_token_secret_ref,
        basic_auth,
        insecure_skip_verify,
    } = http;
    let file = |reference: &_| format!("{secrets}/{}", relative(reference));
    let basic = basic_auth.map(|basic| HttpConfig::BasicAuth {
        password_file: file(&basic.password_secret_ref),
        username: basic.username,
    });
    Http {
        preferred_ip_protocol: protocol,
        method,
        body,
        headers,
        valid_status_codes: status_codes,
        fail_if_body_not_matches_regexp: body_matches.into_iter().collect(),
        follow_redirects,
        credentials: bearer_token_secret_ref.map(|token| HttpConfig::bearer(file(&token))).or(basic),
        tls_config: trusting(insecure_skip_verify),
    }
}

fn trusting(insecure_skip_verify: bool) -> Option<Tls> {
    insecure_skip_verify.then_some(Tls { insecure_skip_verify })
}
