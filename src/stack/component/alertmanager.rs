//! Alertmanager: the objects that run it. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Container, KeyToPath, Secret, SecretVolumeSource, Volume};

use super::alertmanager_config::{Config, TOKEN_DIR};
use super::{image, pod};
use crate::k8s::manifests::{Built, Manifests};
use crate::k8s::meta::digest;
use crate::notify::receivers;
use crate::stack::build::{self, BuildError};
use crate::stack::names;
use crate::stack::token::TOKEN;
use crate::stack::validate::{Alertmanager, Stack};

const CONFIG_DIR: &str = "/etc/alertmanager/config";
const CONFIG_KEY: &str = "alertmanager.yml";
const DATA_DIR: &str = "/alertmanager";
/// Flags that Evenkeel sets: they may not be in extraArgs, except the list of peers, which may be repeated.
pub const FLAGS: [&str; 8] = [
    "config.file",
    "storage.path",
    "data.retention",
    "web.listen-address",
    "web.external-url",
    "cluster.listen-address",
    "cluster.label",
    "cluster.reconnect-timeout",
];

/// The objects of Alertmanager, and the revision of its configuration.
pub fn build(stack: &Stack, alertmanager: &Alertmanager) -> Result<(Manifests<Built>, String), BuildError> {
    let owner = &stack.owner;
    let mut manifests = Manifests::default();
    let mut config = Config::of(&alertmanager.routing, &stack.receiver_url);
    // The token belongs to the revision, so that a rotation reaches the pods as quickly as a change of the routes.
    let revision = digest([build::yaml(&config)?.as_str(), alertmanager.tokens.token.expose()], 16);
    config.templates = vec![format!("{CONFIG_DIR}/revision-{revision}-*.tmpl")];
    manifests.secrets.push(Secret {
        metadata: owner.child(names::alertmanager_config(&owner.name), names::ALERTMANAGER),
        data: Some(BTreeMap::from([(
            CONFIG_KEY.to_owned(),
            k8s_openapi::ByteString(build::yaml(&config)?.into_bytes()),
        )])),
        type_: Some("Opaque".into()),
        ..Secret::default()
    });
    manifests.secrets.push(alertmanager.tokens.secret(owner));
    manifests.stateful_sets.push(stateful_set(stack, alertmanager));
    let name = names::alertmanager(&owner.name);
    manifests.service_accounts.push(pod::service_account(owner, name.clone(), names::ALERTMANAGER));
    let web = ("web", names::ALERTMANAGER_PORT);
    manifests.services.push(pod::service(owner, name.clone(), names::ALERTMANAGER, false, &[web]));
    let ports = [web, ("mesh", names::MESH_PORT)];
    let headless = names::alertmanager_headless(&owner.name);
    manifests.services.push(pod::service(owner, headless, names::ALERTMANAGER, true, &ports));
    if alertmanager.spec.replicas > 1 {
        let budget = pod::disruption_budget(owner, name, names::ALERTMANAGER, &BTreeMap::new());
        manifests.pod_disruption_budgets.push(budget);
    }
    Ok((manifests, revision))
}

fn stateful_set(stack: &Stack, alertmanager: &Alertmanager) -> StatefulSet {
    let (owner, spec) = (&stack.owner, &alertmanager.spec);
    let name = names::alertmanager(&owner.name);
    let url = names::url(&name, &owner.namespace, names::ALERTMANAGER_PORT);
    let mut args = vec![
        format!("--config.file={CONFIG_DIR}/{CONFIG_KEY}"),
        format!("--storage.path={DATA_DIR}"),
        // Alertmanager reads durations as Go does, which knows no days.
        format!("--data.retention={}s", spec.retention.as_secs()),
        format!("--web.listen-address=:{}", names::ALERTMANAGER_PORT),
        format!("--web.external-url={url}"),
    ];
    args.extend(mesh(stack, spec.replicas));
    let secret = |volume: &str, name: String, key: &str| Volume {
        name: volume.into(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(name),
            items: Some(vec![KeyToPath { key: key.into(), path: key.into(), mode: None }]),
            default_mode: Some(0o440),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    };
    let refs = alertmanager.routing.channels.values().flat_map(|c| c.spec.routed_secret_refs()).map(|(_, r)| r);
    let switch = alertmanager.routing.dead_mans_switch.iter().filter_map(|switch| switch.url_secret_ref.as_ref());
    let credentials = pod::secrets_volume("secrets", refs.chain(switch));
    let mut mounts = vec![pod::mount("config", CONFIG_DIR, true), pod::mount("receiver-token", TOKEN_DIR, true)];
    mounts.extend(credentials.iter().map(|volume| pod::mount(&volume.name, receivers::SECRETS_DIR, true)));
    let workload = pod::Workload {
        owner,
        component: names::ALERTMANAGER,
        name: name.clone(),
        labels: BTreeMap::new(),
        service_account: name,
        token: false,
        container: Container {
            name: names::ALERTMANAGER.into(),
            image: Some(image::of(
                image::ALERTMANAGER,
                image::ALERTMANAGER_VERSION,
                spec.version.as_deref(),
                spec.image.as_deref(),
            )),
            args: Some(args),
            env: (spec.replicas > 1).then(|| vec![pod::env_field("POD_IP", "status.podIP")]),
            ports: Some(
                [("web", names::ALERTMANAGER_PORT), ("mesh", names::MESH_PORT)]
                    [..if spec.replicas > 1 { 2 } else { 1 }]
                    .iter()
                    .map(|(name, port)| pod::port(name, *port))
                    .collect(),
            ),
            readiness_probe: Some(pod::probe("/-/ready", 5, 6)),
            liveness_probe: Some(pod::probe("/-/healthy", 5, 6)),
            volume_mounts: Some(mounts),
            ..Container::default()
        },
        volumes: [
            secret("config", names::alertmanager_config(&owner.name), CONFIG_KEY),
            secret("receiver-token", names::receiver_token(&owner.name), TOKEN),
        ]
        .into_iter()
        .chain(credentials)
        .collect(),
        data: Some((&alertmanager.data, DATA_DIR)),
        user: pod::NOBODY,
        revision: None,
        grace: 120,
        settings: spec.pod.as_ref(),
    };
    pod::stateful_set(workload, spec.replicas, names::alertmanager_headless(&owner.name))
}

/// One replica has no mesh; more of them find each other by name.
fn mesh(stack: &Stack, replicas: i32) -> Vec<String> {
    if replicas < 2 {
        return vec!["--cluster.listen-address=".to_owned()];
    }
    let owner = &stack.owner;
    let (set, headless) = (names::alertmanager(&owner.name), names::alertmanager_headless(&owner.name));
    let peer = |ordinal| {
        format!("--cluster.peer={}", names::pod_address(&set, ordinal, &headless, &owner.namespace, names::MESH_PORT))
    };
    [
        format!("--cluster.listen-address=[$(POD_IP)]:{}", names::MESH_PORT),
        // A pod that comes by the address of another stack's is not one of ours.
        format!("--cluster.label={}/{}", owner.namespace, owner.name),
        "--cluster.reconnect-timeout=5m".to_owned(),
    ]
    .into_iter()
    .chain((0..replicas).map(peer))
    .collect()
}
