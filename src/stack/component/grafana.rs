//! Grafana: the objects that run it. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    ConfigMap, ConfigMapProjection, ConfigMapVolumeSource, Container, EmptyDirVolumeSource, EnvFromSource, KeyToPath,
    ProjectedVolumeSource, SecretEnvSource, Volume, VolumeProjection,
};
use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule, IngressServiceBackend, IngressSpec,
    IngressTLS, ServiceBackendPort,
};

use super::grafana_config::{DASHBOARDS_DIR, DATA_DIR, DataSources, Providers, env};
use super::grafana_dashboards::{Folders, SHARDS, Shipped};
use super::{image, pod};
use crate::api::monitoring_stack::{GrafanaIngress, GrafanaRoute, MonitoringStackSpec};
use crate::dashboards::{self, Parts};
use crate::k8s::gateway::{BackendRef, HTTPRoute, HTTPRouteSpec, ParentRef, RouteRule};
use crate::k8s::meta::{Owner, digest};
use crate::stack::build::{self, BuildError, Plan};
use crate::stack::names::{self, GRAFANA};
use crate::stack::validate::Stack;
use crate::stack::validate::grafana::Grafana;

const PROVISIONING_DIR: &str = "/etc/grafana/provisioning";
/// Keys of the ConfigMap, and the folders of the provisioning directory that they belong into.
const SOURCES_KEY: &str = "datasources.yaml";
const PROVIDERS_KEY: &str = "dashboards.yaml";
/// `grafana` in the upstream image, which owns what is in it.
const USER: i64 = 472;
/// Flags that Evenkeel sets, or that the image's own start sets: they may not be in extraArgs.
pub const FLAGS: [&str; 3] = ["config", "homepath", "packaging"];

/// The dashboards that come with the operator, for what the stack of `spec` has.
pub fn shipped(spec: &MonitoringStackSpec) -> Vec<Shipped> {
    let parts = Parts {
        prometheus: spec.prometheus.is_some(),
        loki: spec.loki.is_some(),
        collectors: spec.logs.is_some(),
        jaeger: spec.jaeger.is_some(),
    };
    let all = dashboards::shipped(parts).into_iter();
    all.map(|one| Shipped { folder: one.folder.to_owned(), name: one.name.to_owned(), json: one.json }).collect()
}

/// Adds the objects of Grafana to `plan`.
pub fn build(stack: &Stack, grafana: &Grafana, plan: &mut Plan) -> Result<(), BuildError> {
    let owner = &stack.owner;
    let name = names::part(&owner.name, GRAFANA);
    let (sources, providers) = (build::yaml(&DataSources::of(stack))?, build::yaml(&Providers::new())?);
    let revision = digest([sources.as_str(), providers.as_str()], 16);
    plan.manifests.config_maps.push(ConfigMap {
        metadata: owner.child(names::part_config(&owner.name, GRAFANA), GRAFANA),
        data: Some(BTreeMap::from([(SOURCES_KEY.to_owned(), sources), (PROVIDERS_KEY.to_owned(), providers)])),
        ..ConfigMap::default()
    });
    plan.manifests.config_maps.extend(dashboards(owner, &grafana.dashboards));
    plan.revisions.dashboards = Some(grafana.dashboards.revision());
    plan.manifests.secrets.extend(grafana.admin.as_ref().map(|admin| admin.secret(owner)));
    plan.manifests.service_accounts.push(pod::service_account(owner, name.clone(), GRAFANA));
    let web = [("web", names::GRAFANA_PORT)];
    plan.manifests.services.push(pod::service(owner, name, GRAFANA, false, &web));
    let headless = names::part_headless(&owner.name, GRAFANA);
    plan.manifests.services.push(pod::service(owner, headless.clone(), GRAFANA, true, &web));
    plan.manifests.ingresses.extend(grafana.spec.ingress.as_ref().map(|wanted| ingress(owner, wanted)));
    plan.manifests.http_routes.extend(grafana.route.as_ref().map(|wanted| route(owner, wanted)));
    // Its database is a file: one pod.
    plan.manifests.stateful_sets.push(pod::stateful_set(workload(stack, grafana, revision), 1, headless));
    plan.parts.push(stack.part(GRAFANA, names::GRAFANA_PORT, &grafana.data));
    Ok(())
}

fn dashboards(owner: &Owner, folders: &Folders) -> Vec<ConfigMap> {
    let of_folder = |(folder, shards): (&String, &Vec<BTreeMap<String, String>>)| {
        let maps = shards.iter().enumerate().map(|(shard, files)| ConfigMap {
            metadata: owner.child(names::dashboards(&owner.name, folder, shard), GRAFANA),
            data: Some(files.clone()),
            ..ConfigMap::default()
        });
        maps.collect::<Vec<_>>()
    };
    folders.0.iter().flat_map(of_folder).collect()
}

/// A volume for each folder, with every ConfigMap that it can ever have: a new dashboard needs no restart, a new folder
/// does.
fn folder_volume(stack: &str, folder: &str, index: usize) -> Volume {
    let source = |shard| VolumeProjection {
        config_map: Some(ConfigMapProjection {
            name: names::dashboards(stack, folder, shard),
            items: None,
            optional: Some(true),
        }),
        ..VolumeProjection::default()
    };
    Volume {
        name: format!("dashboards-{index}"),
        projected: Some(ProjectedVolumeSource {
            sources: Some((0..SHARDS).map(source).collect()),
            ..ProjectedVolumeSource::default()
        }),
        ..Volume::default()
    }
}

fn workload<'a>(stack: &'a Stack, grafana: &'a Grafana, revision: String) -> pod::Workload<'a> {
    let (owner, spec) = (&stack.owner, &grafana.spec);
    let name = names::part(&owner.name, GRAFANA);
    let file = |key: &str| KeyToPath { key: key.into(), path: key.into(), mode: None };
    let config = |volume: &str, key: &str| Volume {
        name: volume.into(),
        config_map: Some(ConfigMapVolumeSource {
            name: names::part_config(&owner.name, GRAFANA),
            items: Some(vec![file(key)]),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    };
    // Plugins are unpacked here.
    let scratch = Volume { name: "tmp".into(), empty_dir: Some(EmptyDirVolumeSource::default()), ..Volume::default() };
    let mut volumes = vec![config("datasources", SOURCES_KEY), config("providers", PROVIDERS_KEY), scratch];
    let mut mounts = vec![
        pod::mount("datasources", &format!("{PROVISIONING_DIR}/datasources"), true),
        pod::mount("providers", &format!("{PROVISIONING_DIR}/dashboards"), true),
        pod::mount("tmp", "/tmp", false),
    ];
    for (index, folder) in grafana.dashboards.0.keys().enumerate() {
        let volume = folder_volume(&owner.name, folder, index);
        mounts.push(pod::mount(&volume.name, &format!("{DASHBOARDS_DIR}/{folder}"), true));
        volumes.push(volume);
    }
    let oauth = spec.oauth_secret_ref.as_ref().map(|reference| EnvFromSource {
        secret_ref: Some(SecretEnvSource { name: reference.name.clone(), optional: Some(true) }),
        ..EnvFromSource::default()
    });
    pod::Workload {
        owner,
        component: GRAFANA,
        name: name.clone(),
        labels: BTreeMap::new(),
        service_account: name,
        token: false,
        container: Container {
            name: GRAFANA.into(),
            image: Some(image::of(
                image::GRAFANA,
                image::GRAFANA_VERSION,
                spec.version.as_deref().map(|version| version.trim_start_matches('v')),
                spec.image.as_deref(),
            )),
            env: Some(env(stack, grafana)),
            env_from: oauth.map(|oauth| vec![oauth]),
            ports: Some(vec![pod::port("web", names::GRAFANA_PORT)]),
            // Five minutes for plugins, and some for the database.
            startup_probe: Some(pod::probe("/api/health", 5, 90)),
            readiness_probe: Some(pod::probe("/api/health", 5, 3)),
            liveness_probe: Some(pod::probe("/api/health", 10, 6)),
            termination_message_policy: Some(pod::LAST_WORDS.into()),
            volume_mounts: Some(mounts),
            ..Container::default()
        },
        volumes,
        data: Some((&grafana.data, DATA_DIR)),
        user: USER,
        revision: Some(revision),
        grace: 30,
        settings: spec.pod.as_ref(),
    }
}

fn ingress(owner: &Owner, wanted: &GrafanaIngress) -> Ingress {
    let name = names::part(&owner.name, GRAFANA);
    let mut metadata = owner.child(name.clone(), GRAFANA);
    metadata.annotations = Some(wanted.annotations.clone()).filter(|annotations| !annotations.is_empty());
    let port = ServiceBackendPort { number: Some(names::GRAFANA_PORT), ..ServiceBackendPort::default() };
    let service = IngressServiceBackend { name, port: Some(port) };
    let path = HTTPIngressPath {
        path: Some("/".into()),
        path_type: "Prefix".into(),
        backend: IngressBackend { service: Some(service), ..IngressBackend::default() },
    };
    let tls = wanted
        .tls_secret_name
        .clone()
        .map(|secret_name| IngressTLS { hosts: Some(vec![wanted.host.clone()]), secret_name: Some(secret_name) });
    Ingress {
        metadata,
        spec: Some(IngressSpec {
            ingress_class_name: wanted.class_name.clone(),
            rules: Some(vec![IngressRule {
                host: Some(wanted.host.clone()),
                http: Some(HTTPIngressRuleValue { paths: vec![path] }),
            }]),
            tls: tls.map(|tls| vec![tls]),
            ..IngressSpec::default()
        }),
        ..Ingress::default()
    }
}

fn route(owner: &Owner, wanted: &GrafanaRoute) -> HTTPRoute {
    let name = names::part(&owner.name, GRAFANA);
    let parent = |gateway: &crate::api::monitoring_stack::GatewayRef| ParentRef {
        name: gateway.name.clone(),
        namespace: gateway.namespace.clone(),
        section_name: gateway.section_name.clone(),
    };
    let backend = BackendRef { name: name.clone(), port: Some(names::GRAFANA_PORT) };
    HTTPRoute {
        metadata: owner.child(name, GRAFANA),
        spec: HTTPRouteSpec {
            parent_refs: wanted.parent_refs.iter().map(parent).collect(),
            hostnames: vec![wanted.host.clone()],
            rules: vec![RouteRule { backend_refs: vec![backend] }],
        },
    }
}
