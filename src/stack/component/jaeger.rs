//! Jaeger: the objects that run it. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, ConfigMapVolumeSource, Container, Probe, Volume};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::jaeger_config::{Config, Paths, Strategies};
use super::{image, pod};
use crate::k8s::meta::digest;
use crate::stack::build::{self, BuildError, Part, Plan};
use crate::stack::names::{self, JAEGER};
use crate::stack::storage::Data;
use crate::stack::validate::Stack;
use crate::stack::validate::jaeger::{Jaeger, Store};

const CONFIG_DIR: &str = "/etc/jaeger/config";
const CONFIG_KEY: &str = "jaeger.yaml";
const SAMPLING_KEY: &str = "sampling.json";
const PATHS: Paths =
    Paths { data: "/var/lib/jaeger", secrets: "/etc/jaeger/secrets", sampling: "/etc/jaeger/config/sampling.json" };
/// Flags that Evenkeel sets: they may not be in extraArgs. `set` and `feature-gates` may.
pub const FLAGS: [&str; 1] = ["config"];
/// Ports of the Service, by name.
const PORTS: [(&str, i32); 6] = [
    ("web", names::JAEGER_PORT),
    ("grpc", names::JAEGER_GRPC_PORT),
    ("otlp-grpc", names::OTLP_GRPC_PORT),
    ("otlp-http", names::OTLP_HTTP_PORT),
    ("sampling-http", names::SAMPLING_HTTP_PORT),
    ("sampling-grpc", names::SAMPLING_GRPC_PORT),
];
/// Ports of the pods besides.
const OWN_PORTS: [(&str, i32); 2] = [("metrics", names::JAEGER_METRICS_PORT), ("health", names::JAEGER_HEALTH_PORT)];

/// Adds the objects of Jaeger to `plan`.
pub fn build(stack: &Stack, jaeger: &Jaeger, plan: &mut Plan) -> Result<(), BuildError> {
    let owner = &stack.owner;
    let name = names::part(&owner.name, JAEGER);
    let config = build::yaml(&Config::of(jaeger, PATHS))?;
    // The strategies are read again as they change: no new pods for them, which would cost the traces in memory.
    let revision = digest([config.as_str()], 16);
    let strategies = serde_json::to_string_pretty(&Strategies::of(&jaeger.sampling))?;
    plan.manifests.config_maps.push(ConfigMap {
        metadata: owner.child(names::part_config(&owner.name, JAEGER), JAEGER),
        data: Some(BTreeMap::from([(CONFIG_KEY.to_owned(), config), (SAMPLING_KEY.to_owned(), strategies)])),
        ..ConfigMap::default()
    });
    plan.manifests.service_accounts.push(pod::service_account(owner, name.clone(), JAEGER));
    plan.manifests.services.push(pod::service(owner, name.clone(), JAEGER, false, &PORTS));
    let all: Vec<_> = PORTS.into_iter().chain(OWN_PORTS).collect();
    let headless = names::part_headless(&owner.name, JAEGER);
    plan.manifests.services.push(pod::service(owner, headless.clone(), JAEGER, true, &all));
    let workload = workload(stack, jaeger, revision);
    plan.manifests.stateful_sets.push(pod::stateful_set(workload, jaeger.spec.replicas, headless));
    if jaeger.spec.replicas > 1 {
        let budget = pod::disruption_budget(owner, name, JAEGER, &BTreeMap::new());
        plan.manifests.pod_disruption_budgets.push(budget);
    }
    plan.parts.push(Part { storage: jaeger.describe(), ..stack.part(JAEGER, names::JAEGER_PORT, &jaeger.data) });
    Ok(())
}

fn workload<'a>(stack: &'a Stack, jaeger: &'a Jaeger, revision: String) -> pod::Workload<'a> {
    let (owner, spec) = (&stack.owner, &jaeger.spec);
    let name = names::part(&owner.name, JAEGER);
    let references = spec.outside().into_iter().flat_map(|(_, store)| store.secret_refs());
    let secrets = pod::secrets_volume("secrets", references.map(|(_, reference)| reference));
    let mut mounts = vec![pod::mount("config", CONFIG_DIR, true)];
    mounts.extend(secrets.iter().map(|volume| pod::mount(&volume.name, PATHS.secrets, true)));
    let config = Volume {
        name: "config".into(),
        config_map: Some(ConfigMapVolumeSource {
            name: names::part_config(&owner.name, JAEGER),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    };
    let kept: Option<&Data> = matches!(jaeger.store, Store::Volume { .. }).then_some(&jaeger.data);
    let version = spec.version.as_deref().map(|version| version.trim_start_matches('v'));
    pod::Workload {
        owner,
        component: JAEGER,
        name: name.clone(),
        labels: BTreeMap::new(),
        service_account: name,
        token: false,
        container: Container {
            name: JAEGER.into(),
            image: Some(image::of(image::JAEGER, image::JAEGER_VERSION, version, spec.image.as_deref())),
            args: Some(vec![format!("--config={CONFIG_DIR}/{CONFIG_KEY}")]),
            ports: Some(PORTS.iter().chain(&OWN_PORTS).map(|(name, port)| pod::port(name, *port)).collect()),
            // Badger reads its log first.
            startup_probe: Some(health(2, 150)),
            readiness_probe: Some(health(5, 3)),
            liveness_probe: Some(health(10, 6)),
            termination_message_policy: Some(pod::LAST_WORDS.into()),
            volume_mounts: Some(mounts),
            ..Container::default()
        },
        volumes: std::iter::once(config).chain(secrets).collect(),
        data: kept.map(|data| (data, PATHS.data)),
        user: pod::NOBODY,
        revision: Some(revision),
        grace: 60,
        settings: spec.pod.as_ref(),
    }
}

/// Jaeger answers of its health at a port of its own.
fn health(period: i32, failures: i32) -> Probe {
    let mut probe = pod::probe("/status", period, failures);
    if let Some(get) = &mut probe.http_get {
        get.port = IntOrString::String("health".into());
    }
    probe
}
