//! Prometheus: the objects that run it. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, ConfigMapVolumeSource, Container, Volume};
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleBinding, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::prometheus_config::{Alerting, Alertmanagers, Config, Global, Relabel, RemoteWrite, Runtime, StaticConfig};
use super::{image, pod, scrape};
use crate::api::common::PodSettings;
use crate::api::duration::PromDuration;
use crate::api::monitoring_stack;
use crate::k8s::manifests::{Built, Manifests};
use crate::k8s::meta::digest;
use crate::notify::receivers::HttpConfig;
use crate::rule::shards;
use crate::stack::build::{self, BuildError};
use crate::stack::discovery::Namespaces;
use crate::stack::names;
use crate::stack::validate::{Prometheus, Stack};

const CONFIG_DIR: &str = "/etc/prometheus/config";
const SECRETS_DIR: &str = "/etc/prometheus/secrets";
const DATA_DIR: &str = "/prometheus";
/// External labels that tell replicas and shards apart; they never reach Alertmanager, which would take the alerts of
/// two replicas for two alerts.
const REPLICA_LABEL: &str = "prometheus_replica";
const SHARD_LABEL: &str = "prometheus_shard";
/// Flags that Evenkeel sets: they may not be in extraArgs. `enable-feature` may, since it can be repeated.
pub const FLAGS: [&str; 6] = [
    "config.file",
    "config.auto-reload-interval",
    "storage.tsdb.path",
    "storage.tsdb.retention.time",
    "storage.tsdb.retention.size",
    "web.external-url",
];

/// The objects of Prometheus, and the revision of the configuration of each shard.
pub fn build(stack: &Stack, prometheus: &Prometheus) -> Result<(Manifests<Built>, Vec<String>), BuildError> {
    let owner = &stack.owner;
    let mut manifests = Manifests::default();
    let mut revisions = vec![];
    let mut data = BTreeMap::new();
    for shard in 0..prometheus.spec.shards {
        let mut config = config(stack, prometheus, shard);
        let revision = digest([build::yaml(&config)?.as_str()], 16);
        // The mark by which a running Prometheus tells which revision it has: a pattern that no file matches.
        config.rule_files.push(format!("{CONFIG_DIR}/revision-{revision}-*.yaml"));
        data.insert(names::prometheus_config_key(shard), build::yaml(&config)?);
        revisions.push(revision);
        manifests.stateful_sets.push(stateful_set(stack, prometheus, shard));
        if prometheus.spec.replicas > 1 {
            let name = names::prometheus_shard(&owner.name, shard);
            let budget = pod::disruption_budget(owner, name, names::PROMETHEUS, &shard_labels(shard));
            manifests.pod_disruption_budgets.push(budget);
        }
    }
    manifests.config_maps.push(ConfigMap {
        metadata: owner.child(names::prometheus_config(&owner.name), names::PROMETHEUS),
        data: Some(data),
        ..ConfigMap::default()
    });
    let account = names::prometheus(&owner.name);
    manifests.service_accounts.push(pod::service_account(owner, account.clone(), names::PROMETHEUS));
    let web = [("web", names::PROMETHEUS_PORT)];
    manifests.services.push(pod::service(owner, account, names::PROMETHEUS, false, &web));
    let headless = names::prometheus_headless(&owner.name);
    manifests.services.push(pod::service(owner, headless, names::PROMETHEUS, true, &web));
    bind(stack, prometheus, &mut manifests);
    Ok((manifests, revisions))
}

/// Rights to discover targets where they are looked for, and to scrape nodes; roles themselves come with the chart.
fn bind(stack: &Stack, prometheus: &Prometheus, manifests: &mut Manifests<Built>) {
    let wanted = &prometheus.spec.scrape;
    let nowhere = Namespaces::These(Default::default());
    let looked_in = if wanted.pods || wanted.services { &stack.namespaces } else { &nowhere };
    if *looked_in == Namespaces::All {
        manifests.cluster_role_bindings.push(cluster_binding(stack, "discovery"));
    }
    if let Namespaces::These(namespaces) = looked_in {
        // Where the log agents and the exporters on each node are.
        let own = &stack.owner.namespace;
        if finds_pods(stack) && !namespaces.contains(own) && !(wanted.api_server && own == "default") {
            manifests.role_bindings.push(role_binding(stack, own));
        }
        manifests.role_bindings.extend(namespaces.iter().map(|namespace| role_binding(stack, namespace)));
        // Where the endpoints of the API servers are.
        if wanted.api_server && !namespaces.contains("default") {
            manifests.role_bindings.push(role_binding(stack, "default"));
        }
    }
    if wanted.kubelet || wanted.cadvisor || wanted.api_server {
        manifests.cluster_role_bindings.push(cluster_binding(stack, "nodes"));
    }
}

/// Whether there are components on each node, which are discovered.
fn finds_pods(stack: &Stack) -> bool {
    let exporters = stack.exporters.as_ref();
    let on_nodes = exporters.is_some_and(|exporters| exporters.spec.node.is_some());
    on_nodes || stack.logs.as_ref().is_some_and(|logs| logs.reads_nodes())
}

fn role_binding(stack: &Stack, namespace: &str) -> RoleBinding {
    let (metadata, role_ref, subjects) = binding(stack, "discovery");
    RoleBinding { metadata: ObjectMeta { namespace: Some(namespace.into()), ..metadata }, role_ref, subjects }
}

fn cluster_binding(stack: &Stack, role: &str) -> ClusterRoleBinding {
    let (metadata, role_ref, subjects) = binding(stack, role);
    ClusterRoleBinding { metadata: ObjectMeta { namespace: None, ..metadata }, role_ref, subjects }
}

fn binding(stack: &Stack, role: &str) -> (ObjectMeta, RoleRef, Option<Vec<Subject>>) {
    let owner = &stack.owner;
    let name = names::binding(&owner.namespace, &owner.name, role);
    let role_ref = RoleRef {
        api_group: "rbac.authorization.k8s.io".into(),
        kind: "ClusterRole".into(),
        name: format!("{}-{role}", stack.cluster_role_prefix),
    };
    let subject = Subject {
        kind: "ServiceAccount".into(),
        name: names::prometheus(&owner.name),
        namespace: Some(owner.namespace.clone()),
        ..Subject::default()
    };
    (owner.child(name, names::PROMETHEUS), role_ref, Some(vec![subject]))
}

/// With a memory limit Prometheus keeps its heap below 90 % of that (its flag auto-gomemlimit), so collecting garbage
/// less often is safe, and a reload of ten thousand rules takes half the CPU. Without a limit Prometheus' own 75 stays.
const GOGC: i32 = 300;

fn memory_is_limited(pod: Option<&PodSettings>) -> bool {
    let limits = pod.and_then(|pod| pod.resources.as_ref()?.limits.as_ref());
    limits.is_some_and(|limits| limits.contains_key("memory"))
}

fn config(stack: &Stack, prometheus: &Prometheus, shard: i32) -> Config {
    let spec = &prometheus.spec;
    // Prometheus expands $NAME in external labels.
    let mut external_labels: BTreeMap<String, String> =
        spec.external_labels.iter().map(|(name, value)| (name.clone(), value.replace('$', "$$"))).collect();
    let mut ours = vec![];
    if spec.replicas > 1 {
        external_labels.insert(REPLICA_LABEL.into(), "${POD_NAME}".into());
        ours.push(REPLICA_LABEL);
    }
    if spec.shards > 1 {
        external_labels.insert(SHARD_LABEL.into(), shard.to_string());
        ours.push(SHARD_LABEL);
    }
    let without_ours = Relabel { regex: Some(ours.join("|")), action: Some("labeldrop".into()), ..Relabel::default() };
    Config {
        global: Global {
            scrape_interval: spec.scrape_interval,
            scrape_timeout: spec.scrape_interval.min(PromDuration::from_secs(10)),
            evaluation_interval: spec.evaluation_interval.unwrap_or(spec.scrape_interval),
            external_labels,
        },
        runtime: memory_is_limited(spec.pod.as_ref()).then_some(Runtime { gogc: GOGC }),
        rule_files: vec![format!("{}/*.yaml", shards::DIRECTORY)],
        scrape_configs: scrape::configs(stack, prometheus, shard),
        alerting: stack.alertmanager.as_ref().map(|alertmanager| Alerting {
            alert_relabel_configs: if ours.is_empty() { vec![] } else { vec![without_ours] },
            alertmanagers: vec![Alertmanagers {
                static_configs: vec![StaticConfig {
                    // Each replica by its name: every one must hear of every alert.
                    targets: (0..alertmanager.spec.replicas)
                        .map(|ordinal| {
                            names::pod_address(
                                &names::alertmanager(&stack.owner.name),
                                ordinal,
                                &names::alertmanager_headless(&stack.owner.name),
                                &stack.owner.namespace,
                                names::ALERTMANAGER_PORT,
                            )
                        })
                        .collect(),
                    ..StaticConfig::default()
                }],
            }],
        }),
        remote_write: spec.remote_write.iter().map(remote_write).collect(),
    }
}

fn remote_write(remote: &monitoring_stack::RemoteWrite) -> RemoteWrite {
    let file = |secret: &_| format!("{SECRETS_DIR}/{}", crate::notify::receivers::relative(secret));
    let basic = remote.basic_auth.as_ref().map(|basic| HttpConfig::BasicAuth {
        username: basic.username.clone(),
        password_file: file(&basic.password_secret_ref),
    });
    RemoteWrite {
        url: remote.url.clone(),
        name: remote.name.clone(),
        remote_timeout: remote.timeout,
        headers: remote.headers.clone(),
        credentials: remote.bearer_token_secret_ref.as_ref().map(|token| HttpConfig::bearer(file(token))).or(basic),
    }
}

fn shard_labels(shard: i32) -> BTreeMap<String, String> {
    BTreeMap::from([(names::SHARD.to_owned(), shard.to_string())])
}

fn stateful_set(stack: &Stack, prometheus: &Prometheus, shard: i32) -> k8s_openapi::api::apps::v1::StatefulSet {
    let (owner, spec) = (&stack.owner, &prometheus.spec);
    let scrape = &spec.scrape;
    let mut args = vec![
        format!("--config.file={CONFIG_DIR}/{}", names::prometheus_config_key(shard)),
        "--enable-feature=auto-reload-config".to_owned(),
        "--config.auto-reload-interval=1s".to_owned(),
        format!("--storage.tsdb.path={DATA_DIR}"),
        format!("--storage.tsdb.retention.time={}", spec.retention),
    ];
    // The trace behind a measurement; without traces it would lead nowhere.
    args.extend(stack.jaeger.as_ref().map(|_| "--enable-feature=exemplar-storage".to_owned()));
    args.extend(prometheus.retention_size.as_ref().map(|size| format!("--storage.tsdb.retention.size={size}")));
    let url = names::url(&names::prometheus(&owner.name), &owner.namespace, names::PROMETHEUS_PORT);
    args.push(format!("--web.external-url={url}"));

    let secrets = spec.remote_write.iter().flat_map(monitoring_stack::RemoteWrite::secret_refs).map(|(_, r)| r);
    let secrets = pod::secrets_volume("secrets", secrets);
    let mut mounts = vec![pod::mount("config", CONFIG_DIR, true), pod::mount("rules", shards::DIRECTORY, true)];
    mounts.extend(secrets.iter().map(|volume| pod::mount(&volume.name, SECRETS_DIR, true)));
    let config = Volume {
        name: "config".into(),
        config_map: Some(ConfigMapVolumeSource {
            name: names::prometheus_config(&owner.name),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    };
    let workload = pod::Workload {
        owner,
        component: names::PROMETHEUS,
        name: names::prometheus_shard(&owner.name, shard),
        labels: shard_labels(shard),
        service_account: names::prometheus(&owner.name),
        token: scrape.pods
            || scrape.services
            || scrape.kubelet
            || scrape.cadvisor
            || scrape.api_server
            || finds_pods(stack),
        container: Container {
            name: names::PROMETHEUS.into(),
            image: Some(image::of(
                image::PROMETHEUS,
                image::PROMETHEUS_VERSION,
                spec.version.as_deref(),
                spec.image.as_deref(),
            )),
            args: Some(args),
            env: Some(vec![pod::env_field("POD_NAME", "metadata.name")]),
            ports: Some(vec![pod::port("web", names::PROMETHEUS_PORT)]),
            // Fifteen minutes to read the write-ahead log.
            startup_probe: Some(pod::probe("/-/ready", 2, 450)),
            readiness_probe: Some(pod::probe("/-/ready", 5, 3)),
            liveness_probe: Some(pod::probe("/-/healthy", 5, 6)),
            volume_mounts: Some(mounts),
            ..Container::default()
        },
        volumes: [config, rules_volume(&owner.name)].into_iter().chain(secrets).collect(),
        data: Some((&prometheus.data, DATA_DIR)),
        user: pod::NOBODY,
        revision: None,
        grace: 600,
        settings: spec.pod.as_ref(),
    };
    pod::stateful_set(workload, spec.replicas, names::prometheus_headless(&owner.name))
}

/// Every shard that there can ever be, each optional: a new one needs no restart.
fn rules_volume(stack: &str) -> Volume {
    pod::optional_files(
        "rules",
        (0..shards::SHARD_COUNT).map(|number| (shards::config_map_name(stack, number), shards::file_name(number))),
    )
}
