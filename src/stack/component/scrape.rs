//! What Prometheus scrapes, and with which labels. Pure.

use std::collections::BTreeMap;

use super::prometheus_config::{
    Authorization, KubernetesSd, Relabel, ScrapeConfig, SdNamespaces, SdSelector, StaticConfig, TlsConfig,
};
use super::scrape_exporters::{self, PROBES, TARGET_PARAMETER};
use crate::stack::discovery::Namespaces;
use crate::stack::names;
use crate::stack::validate::{Prometheus, Stack};

/// Scrape pool of annotated pods.
pub const PODS: &str = "pods";
/// Scrape pool of the endpoints of annotated services.
pub const SERVICES: &str = "services";

const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const POD: &str = "__meta_kubernetes_pod";
const SERVICE: &str = "__meta_kubernetes_service";
const SLICE: &str = "__meta_kubernetes_endpointslice";

/// Every scrape configuration of one shard.
pub fn configs(stack: &Stack, prometheus: &Prometheus, shard: i32) -> Vec<ScrapeConfig> {
    let wanted = &prometheus.spec.scrape;
    // A list of no namespaces would mean all of them to Prometheus.
    let somewhere = stack.namespaces != Namespaces::These(Default::default());
    let mut configs = vec![];
    if wanted.pods && somewhere {
        configs.push(pods(stack));
    }
    if wanted.services && somewhere {
        configs.push(services(stack, wanted.pods));
    }
    let insecure = wanted.kubelet_insecure_skip_verify;
    if wanted.kubelet {
        configs.push(kubelet("kubelet", None, insecure));
    }
    if wanted.cadvisor {
        // The kubelet's timestamps of usage lag behind, and series end late with them.
        let config = kubelet("cadvisor", Some("/metrics/cadvisor"), insecure);
        configs.push(ScrapeConfig { honor_timestamps: Some(false), ..config });
    }
    if wanted.api_server {
        configs.push(api_server());
    }
    configs.extend(own(stack, prometheus));
    if let Some(exporters) = &stack.exporters {
        configs.extend(scrape_exporters::configs(stack, exporters, prometheus.spec.scrape_interval));
    }
    if prometheus.spec.shards > 1 {
        for config in &mut configs {
            config.relabel_configs.extend(share(&config.job_name, prometheus.spec.shards, shard));
        }
    }
    configs
}

/// Targets that are this shard's. What the annotations find is divided by namespace and job, so that one shard has all
/// of a job and a rule about it is exact; the rest by address.
fn share(pool: &str, shards: i32, shard: i32) -> [Relabel; 2] {
    let by = match pool {
        PODS | SERVICES => vec!["namespace", "job"],
        // All probes have the one address.
        pool if pool.starts_with(PROBES) => vec![TARGET_PARAMETER],
        _ => vec!["__address__"],
    };
    let hash = Relabel {
        modulus: Some(shards),
        target_label: Some("__tmp_shard".into()),
        action: Some("hashmod".into()),
        ..of(&by)
    };
    [hash, keep(&["__tmp_shard"], &shard.to_string())]
}

fn pods(stack: &Stack) -> ScrapeConfig {
    let port = format!("{POD}_annotation_prometheus_io_port");
    let port = port.as_str();
    let mut relabel = vec![
        keep(&[&format!("{POD}_annotation_prometheus_io_scrape")], "true"),
        drop(&[&format!("{POD}_phase")], "Pending|Succeeded|Failed"),
        drop(&[&format!("{POD}_container_init")], "true"),
        // Without an annotation every port that the containers declare is a target.
        drop(&[port, &format!("{POD}_container_port_protocol")], ";(UDP|SCTP)"),
        drop(&[port, &format!("{POD}_container_port_number")], ";"),
        replace(&[&format!("{POD}_ip"), port], r"([0-9.]+);(\d+)", "__address__", "$1:$2"),
        replace(&[&format!("{POD}_ip"), port], r"([0-9a-fA-F]*:[0-9a-fA-F:.]*);(\d+)", "__address__", "[$1]:$2"),
    ];
    relabel.extend(path_and_scheme(POD));
    relabel.extend([
        copy(&format!("{POD}_name"), "job"),
        copy(&format!("{POD}_controller_name"), "job"),
        // The Deployment's name: what is left of the ReplicaSet's without the hash.
        replace(
            &[&format!("{POD}_controller_kind"), &format!("{POD}_controller_name")],
            "ReplicaSet;(.+)-[0-9a-z]+",
            "job",
            "$1",
        ),
        copy(&format!("{POD}_label_app_kubernetes_io_name"), "job"),
        // With the annotation the targets of all containers become one, which is nobody's in particular.
        replace(&[port, &format!("{POD}_container_name")], ";(.+)", "container", "$1"),
    ]);
    relabel.extend(place());
    ScrapeConfig {
        job_name: PODS.into(),
        fallback_scrape_protocol: Some("PrometheusText0.0.4".into()),
        kubernetes_sd_configs: vec![discovery(stack, "pod")],
        relabel_configs: relabel,
        ..ScrapeConfig::default()
    }
}

fn services(stack: &Stack, pods_too: bool) -> ScrapeConfig {
    let port = format!("{SERVICE}_annotation_prometheus_io_port");
    let port = port.as_str();
    let mut relabel = vec![keep(&[&format!("{SERVICE}_annotation_prometheus_io_scrape")], "true")];
    if pods_too {
        // A pod that says so itself is scraped as a pod, once.
        relabel.push(drop(&[&format!("{POD}_annotation_prometheus_io_scrape")], "true"));
    }
    relabel.extend([
        drop(&[&format!("{POD}_phase")], "Pending|Succeeded|Failed"),
        // The containers' other ports are discovered as well; they are not the service's.
        drop(&[port, &format!("{SLICE}_port")], ";"),
        drop(&[port, &format!("{SLICE}_port_protocol")], ";(UDP|SCTP)"),
        replace(&["__address__", port], r"([^:]+|\[.+\])(?::\d+)?;(\d+)", "__address__", "$1:$2"),
    ]);
    relabel.extend(path_and_scheme(SERVICE));
    relabel.extend([
        copy(&format!("{SERVICE}_name"), "job"),
        copy(&format!("{SERVICE}_label_app_kubernetes_io_name"), "job"),
        copy(&format!("{SERVICE}_name"), "service"),
    ]);
    relabel.extend(place());
    ScrapeConfig {
        job_name: SERVICES.into(),
        fallback_scrape_protocol: Some("PrometheusText0.0.4".into()),
        kubernetes_sd_configs: vec![discovery(stack, "endpointslice")],
        relabel_configs: relabel,
        ..ScrapeConfig::default()
    }
}

/// Where a target lies.
fn place() -> [Relabel; 3] {
    [
        copy("__meta_kubernetes_namespace", "namespace"),
        copy(&format!("{POD}_name"), "pod"),
        copy(&format!("{POD}_node_name"), "node"),
    ]
}

fn path_and_scheme(of: &str) -> [Relabel; 2] {
    [
        copy(&format!("{of}_annotation_prometheus_io_path"), "__metrics_path__"),
        replace(&[&format!("{of}_annotation_prometheus_io_scheme")], "(https?)", "__scheme__", "$1"),
    ]
}

fn discovery(stack: &Stack, role: &str) -> KubernetesSd {
    let namespaces = match &stack.namespaces {
        Namespaces::All => None,
        Namespaces::These(names) => Some(SdNamespaces { names: names.iter().cloned().collect() }),
    };
    let selector = SdSelector { role: role.into(), label: stack.selector.to_string() };
    let selectors = if stack.selector.selects_all() { vec![] } else { vec![selector] };
    KubernetesSd { role: role.into(), namespaces, selectors }
}

/// The kubelets themselves, with the token of Prometheus and the cluster's CA.
fn kubelet(job: &str, path: Option<&str>, insecure: bool) -> ScrapeConfig {
    ScrapeConfig {
        job_name: job.into(),
        scheme: Some("https".into()),
        metrics_path: path.map(str::to_owned),
        authorization: Some(token()),
        tls_config: Some(TlsConfig { insecure_skip_verify: insecure, ..cluster_ca() }),
        kubernetes_sd_configs: vec![KubernetesSd { role: "node".into(), ..KubernetesSd::default() }],
        relabel_configs: vec![copy("__meta_kubernetes_node_name", "node")],
        ..ScrapeConfig::default()
    }
}

/// Every API server by itself, not whichever the Service leads to.
fn api_server() -> ScrapeConfig {
    ScrapeConfig {
        job_name: "apiserver".into(),
        scheme: Some("https".into()),
        authorization: Some(token()),
        tls_config: Some(TlsConfig { server_name: Some("kubernetes.default.svc".into()), ..cluster_ca() }),
        kubernetes_sd_configs: vec![KubernetesSd {
            role: "endpointslice".into(),
            namespaces: Some(SdNamespaces { names: vec!["default".into()] }),
            selectors: vec![],
        }],
        relabel_configs: vec![keep(&[&format!("{SERVICE}_name"), &format!("{SLICE}_port_name")], "kubernetes;https")],
        ..ScrapeConfig::default()
    }
}

/// The stack's own pods, by the names that their headless Services give them: no discovery that could fail.
fn own(stack: &Stack, prometheus: &Prometheus) -> Vec<ScrapeConfig> {
    let (namespace, name) = (&stack.owner.namespace, &stack.owner.name);
    let config = |job: &str, sets: Vec<(String, i32)>, headless: String, port: i32| ScrapeConfig {
        job_name: job.into(),
        static_configs: sets
            .iter()
            .flat_map(|(set, replicas)| (0..*replicas).map(move |ordinal| (set, ordinal)))
            .map(|(set, ordinal)| StaticConfig {
                targets: vec![names::pod_address(set, ordinal, &headless, namespace, port)],
                labels: BTreeMap::from([
                    ("namespace".to_owned(), namespace.clone()),
                    ("pod".to_owned(), format!("{set}-{ordinal}")),
                ]),
            })
            .collect(),
        ..ScrapeConfig::default()
    };
    let shards = (0..prometheus.spec.shards).map(|s| (names::prometheus_shard(name, s), prometheus.spec.replicas));
    let mut configs =
        vec![config(names::PROMETHEUS, shards.collect(), names::prometheus_headless(name), names::PROMETHEUS_PORT)];
    configs.extend(stack.alertmanager.as_ref().map(|alertmanager| {
        config(
            names::ALERTMANAGER,
            vec![(names::alertmanager(name), alertmanager.spec.replicas)],
            names::alertmanager_headless(name),
            names::ALERTMANAGER_PORT,
        )
    }));
    configs.extend(stack.jaeger.as_ref().map(|jaeger| {
        let sets = vec![(names::part(name, names::JAEGER), jaeger.spec.replicas)];
        config(names::JAEGER, sets, names::part_headless(name, names::JAEGER), names::JAEGER_METRICS_PORT)
    }));
    configs.extend(stack.grafana.as_ref().map(|_| {
        let sets = vec![(names::part(name, names::GRAFANA), 1)];
        config(names::GRAFANA, sets, names::part_headless(name, names::GRAFANA), names::GRAFANA_PORT)
    }));
    configs.extend(stack.loki.as_ref().map(|loki| {
        let set = (names::part(name, names::LOKI), loki.spec.replicas);
        config(names::LOKI, vec![set], names::part_headless(name, names::LOKI), names::LOKI_PORT)
    }));
    if let Some(logs) = &stack.logs {
        configs.extend(logs.gateway.as_ref().map(|_| {
            let replicas = logs.spec.gateway.as_ref().map_or(1, |gateway| gateway.replicas);
            config(
                names::LOG_GATEWAY,
                vec![(names::part(name, names::LOG_GATEWAY), replicas)],
                names::part_headless(name, names::LOG_GATEWAY),
                names::COLLECTOR_METRICS_PORT,
            )
        }));
        if logs.reads_nodes() {
            configs.push(of_component(stack, names::LOG_AGENT, names::COLLECTOR_METRICS_PORT));
        }
    }
    configs
}

/// The pods of a component that is on each node: they are discovered. The right to list pods may end elsewhere; then they
/// are not scraped.
pub(super) fn of_component(stack: &Stack, component: &str, port: i32) -> ScrapeConfig {
    let selector = stack.owner.selector(component);
    let label: Vec<String> = selector.iter().map(|(name, value)| format!("{name}={value}")).collect();
    ScrapeConfig {
        job_name: component.into(),
        kubernetes_sd_configs: vec![KubernetesSd {
            role: "pod".into(),
            namespaces: Some(SdNamespaces { names: vec![stack.owner.namespace.clone()] }),
            selectors: vec![SdSelector { role: "pod".into(), label: label.join(",") }],
        }],
        relabel_configs: [vec![keep(&[&format!("{POD}_container_port_number")], &port.to_string())], place().to_vec()]
            .concat(),
        ..ScrapeConfig::default()
    }
}

fn token() -> Authorization {
    Authorization { type_: "Bearer".into(), credentials_file: format!("{ACCOUNT}/token") }
}

fn cluster_ca() -> TlsConfig {
    TlsConfig { ca_file: format!("{ACCOUNT}/ca.crt"), ..TlsConfig::default() }
}

fn of(labels: &[&str]) -> Relabel {
    Relabel { source_labels: labels.iter().map(|l| (*l).to_owned()).collect(), ..Relabel::default() }
}

fn keep(labels: &[&str], regex: &str) -> Relabel {
    Relabel { regex: Some(regex.into()), action: Some("keep".into()), ..of(labels) }
}

fn drop(labels: &[&str], regex: &str) -> Relabel {
    Relabel { regex: Some(regex.into()), action: Some("drop".into()), ..of(labels) }
}

fn replace(labels: &[&str], regex: &str, target: &str, replacement: &str) -> Relabel {
    Relabel {
        regex: Some(regex.into()),
        target_label: Some(target.into()),
        replacement: Some(replacement.into()),
        ..of(labels)
    }
}

/// Copies a label that is there; one that is not changes nothing.
pub(super) fn copy(label: &str, target: &str) -> Relabel {
    replace(&[label], "(.+)", target, "$1")
}
