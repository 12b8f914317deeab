//! node-exporter: the objects that run it. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Toleration, VolumeMount};

use super::exporters::part;
use super::{image, pod};
use crate::api::monitoring_stack::{MountPropagation, NodeExporter};
use crate::stack::build::Plan;
use crate::stack::names::{self, NODE_EXPORTER};
use crate::stack::validate::Stack;

/// Flags that Evenkeel sets: they may not be in extraArgs. Collectors may.
pub const FLAGS: [&str; 7] = [
    "path.procfs",
    "path.sysfs",
    "path.rootfs",
    "collector.filesystem.mount-points-exclude",
    "web.listen-address",
    "web.telemetry-path",
    "web.config.file",
];
/// What is no file system of the node's own: nothing of it can be full by itself.
const NO_DISKS: &str = "^/(dev|proc|run|sys|var/lib/(containerd|containers|docker|kubelet)/.+)($|/)";
/// What the kernel counts for each network namespace by itself: a pod with its own would tell of that, not of the node.
const OF_NETWORK: [&str; 8] = ["arp", "conntrack", "ipvs", "netclass", "netdev", "netstat", "sockstat", "udp_queues"];

/// Adds the objects of node-exporter to `plan`.
pub fn build(stack: &Stack, wanted: &NodeExporter, plan: &mut Plan) {
    let owner = &stack.owner;
    let name = names::part(&owner.name, NODE_EXPORTER);
    let mut settings = wanted.pod.clone().unwrap_or_default();
    if settings.tolerations.is_empty() {
        // A node without one would not be watched.
        settings.tolerations = vec![Toleration { operator: Some("Exists".into()), ..Toleration::default() }];
    }
    let mut args = vec![
        "--path.procfs=/host/proc".to_owned(),
        "--path.sysfs=/host/sys".to_owned(),
        "--path.rootfs=/host/root".to_owned(),
        format!("--collector.filesystem.mount-points-exclude={NO_DISKS}"),
    ];
    if !wanted.host_network {
        args.extend(OF_NETWORK.map(|collector| format!("--no-collector.{collector}")));
    }
    let root = VolumeMount {
        mount_propagation: match wanted.mount_propagation {
            MountPropagation::HostToContainer => Some("HostToContainer".into()),
            MountPropagation::None => None,
        },
        ..pod::mount("root", "/host/root", true)
    };
    let mut set = pod::daemon_set(pod::Workload {
        owner,
        component: NODE_EXPORTER,
        name: name.clone(),
        labels: BTreeMap::new(),
        service_account: name.clone(),
        token: false,
        container: Container {
            name: NODE_EXPORTER.into(),
            image: Some(image::of(
                image::NODE_EXPORTER,
                image::NODE_EXPORTER_VERSION,
                wanted.version.as_deref(),
                wanted.image.as_deref(),
            )),
            args: Some(args),
            ports: Some(vec![pod::port("web", names::NODE_EXPORTER_PORT)]),
            readiness_probe: Some(pod::probe("/", 10, 3)),
            liveness_probe: Some(pod::probe("/", 10, 6)),
            termination_message_policy: Some(pod::LAST_WORDS.into()),
            volume_mounts: Some(vec![
                pod::mount("proc", "/host/proc", true),
                pod::mount("sys", "/host/sys", true),
                root,
            ]),
            ..Container::default()
        },
        volumes: vec![
            pod::host_path("proc", "/proc", "Directory"),
            pod::host_path("sys", "/sys", "Directory"),
            pod::host_path("root", "/", "Directory"),
        ],
        data: None,
        user: pod::NOBODY,
        revision: None,
        grace: 10,
        settings: Some(&settings),
    });
    if let Some(spec) = set.spec.as_mut().and_then(|set| set.template.spec.as_mut()) {
        spec.host_network = wanted.host_network.then_some(true);
    }
    plan.manifests.daemon_sets.push(set);
    plan.manifests.service_accounts.push(pod::service_account(owner, name, NODE_EXPORTER));
    plan.parts.push(part(NODE_EXPORTER, String::new()));
}
