//! What Grafana is told: data sources and the provider of dashboards as files, the rest as environment variables, which
//! win over what a Secret of OAuth settings says. Pure.

use k8s_openapi::api::core::v1::{EnvVar, EnvVarSource, SecretKeySelector};
use serde::Serialize;

use crate::api::monitoring_stack::GrafanaSpec;
use crate::k8s::meta::Owner;
use crate::stack::admin::{PASSWORD, USER};
use crate::stack::names::{self, ALERTMANAGER, JAEGER, LOKI, PROMETHEUS};
use crate::stack::validate::Stack;
use crate::stack::validate::grafana::Grafana;

/// Where Grafana keeps its database and its plugins.
pub const DATA_DIR: &str = "/var/lib/grafana";
/// Where the folders of dashboards are.
pub const DASHBOARDS_DIR: &str = "/etc/grafana/dashboards";

/// The provisioned data sources.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DataSources {
    api_version: i32,
    /// One of a component that is no longer in the stack goes.
    prune: bool,
    datasources: Vec<DataSource>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct DataSource {
    name: String,
    #[serde(rename = "type")]
    type_: &'static str,
    uid: String,
    access: &'static str,
    url: String,
    is_default: bool,
    editable: bool,
    json_data: Settings,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
enum Settings {
    Prometheus(Prometheus),
    Loki(Loki),
    Jaeger(Box<Jaeger>),
    Alertmanager(Alertmanager),
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Prometheus {
    http_method: &'static str,
    prometheus_type: &'static str,
    time_interval: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    alertmanager_uid: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    exemplar_trace_id_destinations: Vec<ExemplarDestination>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct ExemplarDestination {
    /// Label of the exemplar.
    name: &'static str,
    datasource_uid: &'static str,
    url_display_label: &'static str,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Loki {
    #[serde(skip_serializing_if = "Option::is_none")]
    alertmanager_uid: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    derived_fields: Vec<DerivedField>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct DerivedField {
    name: &'static str,
    /// `label`: the value of a label or of structured metadata, and not what a pattern finds in the line.
    matcher_type: &'static str,
    matcher_regex: &'static str,
    url: &'static str,
    datasource_uid: &'static str,
    url_display_label: &'static str,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Jaeger {
    node_graph: NodeGraph,
    #[serde(skip_serializing_if = "Option::is_none")]
    traces_to_logs_v2: Option<TracesToLogs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traces_to_metrics: Option<TracesToMetrics>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct NodeGraph {
    enabled: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct TracesToLogs {
    datasource_uid: &'static str,
    span_start_time_shift: &'static str,
    span_end_time_shift: &'static str,
    tags: Vec<Tag>,
    #[serde(rename = "filterByTraceID")]
    filter_by_trace_id: bool,
    #[serde(rename = "filterBySpanID")]
    filter_by_span_id: bool,
    custom_query: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct TracesToMetrics {
    datasource_uid: &'static str,
    span_start_time_shift: &'static str,
    span_end_time_shift: &'static str,
    tags: Vec<Tag>,
    queries: Vec<Query>,
}

/// An attribute of spans, and the label that has the same value.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Tag {
    key: &'static str,
    value: &'static str,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Query {
    name: &'static str,
    query: &'static str,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Alertmanager {
    implementation: &'static str,
    handle_grafana_managed_alerts: bool,
}

const NAMESPACE: Tag = Tag { key: "k8s.namespace.name", value: "namespace" };
const POD: Tag = Tag { key: "k8s.pod.name", value: "pod" };
const SERVICE: Tag = Tag { key: "service.name", value: "service_name" };

impl DataSources {
    /// Those of the components that the stack has; the UIDs are fixed, so that dashboards and links stay valid.
    pub fn of(stack: &Stack) -> Self {
        let owner = &stack.owner;
        let source = |name: &str, type_: &'static str, service: String, port, json_data| DataSource {
            name: name.to_owned(),
            type_,
            uid: type_.to_owned(),
            access: "proxy",
            url: names::url(&service, &owner.namespace, port),
            is_default: type_ == PROMETHEUS,
            editable: false,
            json_data,
        };
        let part = |component| names::part(&owner.name, component);
        let mut datasources = vec![];
        if let Some(prometheus) = &stack.prometheus {
            let settings = Settings::Prometheus(Prometheus {
                http_method: "POST",
                prometheus_type: "Prometheus",
                time_interval: prometheus.spec.scrape_interval.to_string(),
                alertmanager_uid: stack.alertmanager.as_ref().map(|_| ALERTMANAGER),
                exemplar_trace_id_destinations: stack.jaeger.iter().map(|_| exemplars()).collect(),
            });
            let service = names::prometheus(&owner.name);
            let whole = source("Prometheus", PROMETHEUS, service, names::PROMETHEUS_PORT, settings);
            datasources.extend(shards(owner, prometheus.spec.shards, &whole));
        }
        datasources.extend(stack.loki.as_ref().map(|_| {
            let settings = Settings::Loki(Loki {
                alertmanager_uid: stack.alertmanager.as_ref().map(|_| ALERTMANAGER),
                derived_fields: stack.jaeger.iter().map(|_| trace_of_a_line()).collect(),
            });
            source("Loki", LOKI, part(LOKI), names::LOKI_PORT, settings)
        }));
        datasources.extend(stack.jaeger.as_ref().map(|_| {
            let settings = Settings::Jaeger(Box::new(Jaeger {
                node_graph: NodeGraph { enabled: true },
                traces_to_logs_v2: stack.loki.as_ref().map(|_| logs_of_a_span()),
                traces_to_metrics: stack.prometheus.as_ref().map(|_| metrics_of_a_span()),
            }));
            source("Jaeger", JAEGER, part(JAEGER), names::JAEGER_PORT, settings)
        }));
        datasources.extend(stack.alertmanager.as_ref().map(|_| {
            let settings = Settings::Alertmanager(Alertmanager {
                implementation: "prometheus",
                handle_grafana_managed_alerts: false,
            });
            let service = names::alertmanager(&owner.name);
            source("Alertmanager", ALERTMANAGER, service, names::ALERTMANAGER_PORT, settings)
        }));
        Self { api_version: 1, prune: true, datasources }
    }
}

/// One for each shard, since each has other series: the Service would ask now the one, now the other.
fn shards(owner: &Owner, shards: i32, whole: &DataSource) -> Vec<DataSource> {
    let of_shard = |shard: i32| {
        let headless = names::prometheus_headless(&owner.name);
        let set = names::prometheus_shard(&owner.name, shard);
        let address = names::pod_address(&set, 0, &headless, &owner.namespace, names::PROMETHEUS_PORT);
        let first = shard == 0;
        DataSource {
            name: if first { whole.name.clone() } else { format!("{} shard {shard}", whole.name) },
            uid: if first { whole.uid.clone() } else { format!("{}-shard-{shard}", whole.uid) },
            url: format!("http://{address}"),
            is_default: first,
            ..whole.clone()
        }
    };
    match shards {
        1 => vec![whole.clone()],
        _ => (0..shards).map(of_shard).collect(),
    }
}

// Grafana expands $NAME in these files, and takes $$ for a dollar sign.

fn exemplars() -> ExemplarDestination {
    ExemplarDestination { name: "trace_id", datasource_uid: JAEGER, url_display_label: "Trace" }
}

fn trace_of_a_line() -> DerivedField {
    DerivedField {
        name: "Trace",
        matcher_type: "label",
        matcher_regex: "trace_id",
        url: "$${__value.raw}",
        datasource_uid: JAEGER,
        url_display_label: "Trace",
    }
}

/// Only the attributes that a span has become part of the query.
fn logs_of_a_span() -> TracesToLogs {
    TracesToLogs {
        datasource_uid: LOKI,
        span_start_time_shift: "-5m",
        span_end_time_shift: "5m",
        tags: vec![NAMESPACE, POD, SERVICE],
        filter_by_trace_id: true,
        filter_by_span_id: false,
        custom_query: false,
    }
}

fn metrics_of_a_span() -> TracesToMetrics {
    let query = |name, query| Query { name, query };
    TracesToMetrics {
        datasource_uid: PROMETHEUS,
        span_start_time_shift: "-15m",
        span_end_time_shift: "15m",
        tags: vec![NAMESPACE, POD],
        queries: vec![
            query(
                "CPU of the pod",
                r#"sum by (namespace, pod) (rate(container_cpu_usage_seconds_total{$$__tags}[5m]))"#,
            ),
            query("Memory of the pod", r#"sum by (namespace, pod) (container_memory_working_set_bytes{$$__tags})"#),
            query(
                "Restarts of the pod",
                r#"sum by (namespace, pod) (kube_pod_container_status_restarts_total{$$__tags})"#,
            ),
        ],
    }
}

/// Where Grafana finds dashboards.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Providers {
    api_version: i32,
    providers: Vec<Provider>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Provider {
    name: &'static str,
    org_id: i32,
    #[serde(rename = "type")]
    type_: &'static str,
    disable_deletion: bool,
    allow_ui_updates: bool,
    update_interval_seconds: i32,
    options: ProviderOptions,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct ProviderOptions {
    path: &'static str,
    folders_from_files_structure: bool,
}

impl Providers {
    /// The folders of files.
    pub fn new() -> Self {
        let files = Provider {
            name: "evenkeel",
            org_id: 1,
            type_: "file",
            disable_deletion: false,
            allow_ui_updates: false,
            update_interval_seconds: 10,
            options: ProviderOptions { path: DASHBOARDS_DIR, folders_from_files_structure: true },
        };
        Self { api_version: 1, providers: vec![files] }
    }
}

impl Default for Providers {
    fn default() -> Self {
        Self::new()
    }
}

/// Where people reach Grafana.
pub fn root_url(spec: &GrafanaSpec) -> Option<String> {
    let ingress = spec.ingress.as_ref().map(|ingress| {
        let scheme = if ingress.tls_secret_name.is_some() { "https" } else { "http" };
        format!("{scheme}://{}/", ingress.host)
    });
    let route = || spec.route.as_ref().map(|route| format!("http://{}/", route.host));
    spec.root_url.clone().or(ingress).or_else(route)
}

/// All settings.
pub fn env(stack: &Stack, grafana: &Grafana) -> Vec<EnvVar> {
    let spec = &grafana.spec;
    let set = |name: &str, value: &str| EnvVar { name: name.into(), value: Some(value.into()), value_from: None };
    let mut env = vec![
        set("GF_PATHS_DATA", DATA_DIR),
        set("GF_PATHS_PLUGINS", &format!("{DATA_DIR}/plugins")),
        set("GF_LOG_MODE", "console"),
        set("GF_AUTH_ANONYMOUS_ENABLED", "false"),
        set("GF_USERS_ALLOW_SIGN_UP", "false"),
        set("GF_ANALYTICS_REPORTING_ENABLED", "false"),
        set("GF_ANALYTICS_CHECK_FOR_UPDATES", "false"),
        set("GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES", "false"),
        set("GF_ANALYTICS_FEEDBACK_LINKS_ENABLED", "false"),
        set("GF_NEWS_NEWS_FEED_ENABLED", "false"),
        set("GF_SECURITY_DISABLE_GRAVATAR", "true"),
        set("GF_SNAPSHOTS_EXTERNAL_ENABLED", "false"),
    ];
    env.extend(plugins(spec).map(|(name, value)| set(name, &value)));
    if let Some(url) = root_url(spec) {
        if url.starts_with("https://") {
            env.push(set("GF_SECURITY_COOKIE_SECURE", "true"));
        }
        env.push(set("GF_SERVER_ROOT_URL", &url));
    }
    let made = names::grafana_admin(&stack.owner.name);
    let secret = spec.admin_secret_ref.as_ref().map_or(made, |reference| reference.name.clone());
    env.extend([("GF_SECURITY_ADMIN_USER", USER), ("GF_SECURITY_ADMIN_PASSWORD", PASSWORD)].map(|(name, key)| {
        EnvVar {
            name: name.into(),
            value: None,
            value_from: Some(EnvVarSource {
                secret_key_ref: Some(SecretKeySelector { name: secret.clone(), key: key.into(), optional: None }),
                ..EnvVarSource::default()
            }),
        }
    }));
    env
}

/// Without a wish nothing is fetched; from version 13 on, the data sources themselves are plugins that Grafana fetches.
fn plugins(spec: &GrafanaSpec) -> Option<(&'static str, String)> {
    if !spec.plugins.is_empty() {
        let plugin = |name: &str, version: Option<&str>| match version {
            Some(version) => format!("{name}@{version}"),
            None => name.to_owned(),
        };
        let list: Vec<_> = spec.plugins.iter().map(|p| plugin(&p.name, p.version.as_deref())).collect();
        return Some(("GF_PLUGINS_PREINSTALL_SYNC", list.join(",")));
    }
    let version = spec.version.as_deref().unwrap_or(super::image::GRAFANA_VERSION).trim_start_matches('v');
    let bundled = spec.image.is_none() && version.starts_with("12.");
    bundled.then(|| ("GF_PLUGINS_PREINSTALL_DISABLED", "true".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn url(spec: Value) -> Option<String> {
        root_url(&serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn links_lead_to_where_people_reach_grafana() {
        assert_eq!(url(json!({})), None);
        assert_eq!(url(json!({"ingress": {"host": "g.example.com"}})).as_deref(), Some("http://g.example.com/"));
        let tls = json!({"ingress": {"host": "g.example.com", "tlsSecretName": "cert"}});
        assert_eq!(url(tls).as_deref(), Some("https://g.example.com/"));
        let told =
            json!({"rootUrl": "https://x/", "route": {"host": "g.example.com", "parentRefs": [{"name": "gate"}]}});
        assert_eq!(url(told).as_deref(), Some("https://x/"));
    }

    #[test]
    fn nothing_is_fetched_that_nobody_asked_for() {
        let plugins = |spec: Value| plugins(&serde_json::from_value(spec).unwrap());
        assert_eq!(plugins(json!({})), Some(("GF_PLUGINS_PREINSTALL_DISABLED", "true".into())));
        assert_eq!(plugins(json!({"version": "13.0.1"})), None, "its data sources are plugins");
        let some = json!({"plugins": [{"name": "a-panel", "version": "1.0.0"}, {"name": "b-app"}]});
        assert_eq!(plugins(some), Some(("GF_PLUGINS_PREINSTALL_SYNC", "a-panel@1.0.0,b-app".into())));
    }
}
