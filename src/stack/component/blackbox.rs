//! The blackbox exporter: the objects that run it. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, ConfigMapVolumeSource, Container, Sysctl, Volume};

use super::blackbox_config::Config;
use super::exporters::part;
use super::{image, pod};
use crate::api::monitoring_stack::{Probe, ProbeModule};
use crate::k8s::meta::digest;
use crate::stack::build::{self, BuildError, Plan};
use crate::stack::names::{self, BLACKBOX_EXPORTER};
use crate::stack::validate::Stack;
use crate::stack::validate::exporters::Exporters;

const CONFIG_DIR: &str = "/etc/blackbox/config";
const CONFIG_KEY: &str = "blackbox.yaml";
const SECRETS_DIR: &str = "/etc/blackbox/secrets";
/// Flags that Evenkeel sets: they may not be in extraArgs.
pub const FLAGS: [&str; 5] =
    ["config.file", "web.config.file", "web.external-url", "web.listen-address", "web.route-prefix"];

/// Adds the objects of the blackbox exporter to `plan`.
pub fn build(stack: &Stack, exporters: &Exporters, plan: &mut Plan) -> Result<(), BuildError> {
    let owner = &stack.owner;
    let name = names::part(&owner.name, BLACKBOX_EXPORTER);
    let config = build::yaml(&Config::of(&exporters.spec.probes, SECRETS_DIR))?;
    let revision = digest([config.as_str()], 16);
    let manifests = &mut plan.manifests;
    manifests.config_maps.push(ConfigMap {
        metadata: owner.child(names::part_config(&owner.name, BLACKBOX_EXPORTER), BLACKBOX_EXPORTER),
        data: Some(BTreeMap::from([(CONFIG_KEY.to_owned(), config)])),
        ..ConfigMap::default()
    });
    manifests.service_accounts.push(pod::service_account(owner, name.clone(), BLACKBOX_EXPORTER));
    let web = [("web", names::BLACKBOX_EXPORTER_PORT)];
    manifests.services.push(pod::service(owner, name.clone(), BLACKBOX_EXPORTER, false, &web));
    manifests.deployments.push(deployment(stack, exporters, revision));
    let url = names::url(&name, &owner.namespace, names::BLACKBOX_EXPORTER_PORT);
    plan.parts.push(part(BLACKBOX_EXPORTER, url));
    Ok(())
}

fn deployment(stack: &Stack, exporters: &Exporters, revision: String) -> Deployment {
    let owner = &stack.owner;
    let name = names::part(&owner.name, BLACKBOX_EXPORTER);
    let program = exporters.spec.blackbox.clone().unwrap_or_default();
    let settings = exporters.settings(&program);
    let references = exporters.spec.probes.iter().flat_map(Probe::secret_refs);
    let secrets = pod::secrets_volume("secrets", references.map(|(_, reference)| reference));
    let mut mounts = vec![pod::mount("config", CONFIG_DIR, true)];
    mounts.extend(secrets.iter().map(|volume| pod::mount(&volume.name, SECRETS_DIR, true)));
    let config = Volume {
        name: "config".into(),
        config_map: Some(ConfigMapVolumeSource {
            name: names::part_config(&owner.name, BLACKBOX_EXPORTER),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    };
    let mut deployment = pod::deployment(pod::Workload {
        owner,
        component: BLACKBOX_EXPORTER,
        name: name.clone(),
        labels: BTreeMap::new(),
        service_account: name,
        token: false,
        container: Container {
            name: BLACKBOX_EXPORTER.into(),
            image: Some(image::of(
                image::BLACKBOX_EXPORTER,
                image::BLACKBOX_EXPORTER_VERSION,
                program.version.as_deref(),
                program.image.as_deref(),
            )),
            args: Some(vec![format!("--config.file={CONFIG_DIR}/{CONFIG_KEY}")]),
            ports: Some(vec![pod::port("web", names::BLACKBOX_EXPORTER_PORT)]),
            readiness_probe: Some(pod::probe("/-/healthy", 10, 3)),
            liveness_probe: Some(pod::probe("/-/healthy", 10, 6)),
            termination_message_policy: Some(pod::LAST_WORDS.into()),
            volume_mounts: Some(mounts),
            ..Container::default()
        },
        volumes: std::iter::once(config).chain(secrets).collect(),
        data: None,
        user: pod::NOBODY,
        revision: Some(revision),
        grace: 10,
        settings: Some(&settings),
    });
    let echoes = exporters.spec.probes.iter().any(|probe| probe.module == ProbeModule::Icmp);
    let pod = deployment.spec.as_mut().and_then(|spec| spec.template.spec.as_mut());
    if let Some(security) = pod.and_then(|pod| pod.security_context.as_mut()).filter(|_| echoes) {
        // Echoes without a capability: this group, and within the pod only, may send them.
        let range = format!("{0} {0}", pod::NOBODY);
        security.sysctls = Some(vec![Sysctl { name: "net.ipv4.ping_group_range".into(), value: range }]);
    }
    deployment
}
