//! kube-state-metrics: the objects that run it. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Container;

use super::exporters::part;
use super::{binding, image, pod};
use crate::api::monitoring_stack::KubeStateMetrics;
use crate::stack::build::Plan;
use crate::stack::discovery::Namespaces;
use crate::stack::names::{self, KUBE_STATE_METRICS};
use crate::stack::validate::Stack;
use crate::stack::validate::exporters::Exporters;

/// Flags that Evenkeel sets: they may not be in extraArgs.
pub const FLAGS: [&str; 6] = ["host", "namespaces", "namespaces-denylist", "port", "resources", "telemetry-port"];
/// What it tells of, as the chart's role has it: no Secrets and no ConfigMaps.
const RESOURCES: [&str; 14] = [
    "cronjobs",
    "daemonsets",
    "deployments",
    "horizontalpodautoscalers",
    "ingresses",
    "jobs",
    "limitranges",
    "persistentvolumeclaims",
    "poddisruptionbudgets",
    "pods",
    "replicasets",
    "resourcequotas",
    "services",
    "statefulsets",
];
/// What belongs to no namespace.
const OF_CLUSTER: [&str; 4] = ["namespaces", "nodes", "persistentvolumes", "storageclasses"];

/// How it should run; `None` also where no namespace is selected: without names it would ask for all of them.
pub fn wanted<'a>(stack: &Stack, exporters: &'a Exporters) -> Option<&'a KubeStateMetrics> {
    let nowhere = stack.namespaces == Namespaces::These(Default::default());
    exporters.spec.kube_state.as_ref().filter(|_| !nowhere)
}

/// Adds the objects of kube-state-metrics to `plan`.
pub fn build(stack: &Stack, wanted: &KubeStateMetrics, plan: &mut Plan) {
    let owner = &stack.owner;
    let name = names::part(&owner.name, KUBE_STATE_METRICS);
    let args = match &stack.namespaces {
        Namespaces::All => vec![format!("--resources={},{}", RESOURCES.join(","), OF_CLUSTER.join(","))],
        Namespaces::These(namespaces) => {
            let namespaces: Vec<&str> = namespaces.iter().map(String::as_str).collect();
            vec![format!("--resources={}", RESOURCES.join(",")), format!("--namespaces={}", namespaces.join(","))]
        }
    };
    let deployment = pod::deployment(pod::Workload {
        owner,
        component: KUBE_STATE_METRICS,
        name: name.clone(),
        labels: BTreeMap::new(),
        service_account: name.clone(),
        token: true,
        container: Container {
            name: KUBE_STATE_METRICS.into(),
            image: Some(image::of(
                image::KUBE_STATE_METRICS,
                image::KUBE_STATE_METRICS_VERSION,
                wanted.version.as_deref(),
                wanted.image.as_deref(),
            )),
            args: Some(args),
            ports: Some(vec![
                pod::port("web", names::KUBE_STATE_METRICS_PORT),
                pod::port("telemetry", names::KUBE_STATE_METRICS_OWN_PORT),
            ]),
            // Not /livez: that one fails with the API server.
            startup_probe: Some(pod::probe("/healthz", 2, 60)),
            readiness_probe: Some(pod::probe("/healthz", 5, 3)),
            liveness_probe: Some(pod::probe("/healthz", 10, 6)),
            termination_message_policy: Some(pod::LAST_WORDS.into()),
            ..Container::default()
        },
        volumes: vec![],
        data: None,
        user: pod::NOBODY,
        revision: None,
        grace: 10,
        settings: wanted.pod.as_ref(),
    });
    let manifests = &mut plan.manifests;
    manifests.deployments.push(deployment);
    manifests.service_accounts.push(pod::service_account(owner, name.clone(), KUBE_STATE_METRICS));
    let web = [("web", names::KUBE_STATE_METRICS_PORT)];
    manifests.services.push(pod::service(owner, name.clone(), KUBE_STATE_METRICS, false, &web));
    binding::bind(stack, "kube-state", KUBE_STATE_METRICS, manifests);
    let url = names::url(&name, &owner.namespace, names::KUBE_STATE_METRICS_PORT);
    plan.parts.push(part(KUBE_STATE_METRICS, url));
}
