//! What the pods of all components have in common: identity, restrictions, storage, probes. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{
    DaemonSet, DaemonSetSpec, Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment, StatefulSet,
    StatefulSetSpec, StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{
    Affinity, Capabilities, ConfigMapProjection, Container, ContainerPort, EmptyDirVolumeSource, EnvVar, EnvVarSource,
    HTTPGetAction, HostPathVolumeSource, KeyToPath, ObjectFieldSelector, PersistentVolumeClaim,
    PersistentVolumeClaimSpec, PodAffinityTerm, PodAntiAffinity, PodSecurityContext, PodSpec, PodTemplateSpec, Probe,
    ProjectedVolumeSource, ResourceRequirements, SeccompProfile, SecretProjection, SecurityContext, Service,
    ServiceAccount, ServicePort, ServiceSpec, Volume, VolumeMount, VolumeProjection, VolumeResourceRequirements,
    WeightedPodAffinityTerm,
};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::api::common::{PodSettings, SecretKeyRef};
use crate::k8s::meta::Owner;
use crate::stack::names;
use crate::stack::storage::{self, Data};

/// `nobody` in the images of Prometheus and Alertmanager. Every component runs as it but where it says why not.
pub const NOBODY: i64 = 65534;

/// The kubelet keeps the last lines of the log of a container that fails, so that the status can repeat them.
pub const LAST_WORDS: &str = "FallbackToLogsOnError";

/// What a component wants of its StatefulSet, DaemonSet or Deployment.
pub struct Workload<'a> {
    pub owner: &'a Owner,
    pub component: &'static str,
    pub name: String,
    /// Labels that keep this set's pods apart from those of the component's other sets.
    pub labels: BTreeMap<String, String>,
    pub service_account: String,
    /// Whether the pods talk to the Kubernetes API.
    pub token: bool,
    pub container: Container,
    pub volumes: Vec<Volume>,
    /// Where its data lies, and where the container finds it.
    pub data: Option<(&'a Data, &'static str)>,
    /// User, group and owner of the volumes.
    pub user: i64,
    /// Of a configuration that is read at the start: a new one makes new pods.
    pub revision: Option<String>,
    /// Seconds to finish in.
    pub grace: i64,
    pub settings: Option<&'a PodSettings>,
}

/// The StatefulSet of a component, whose headless Service gives each pod a name.
pub fn stateful_set(workload: Workload, replicas: i32, headless: String) -> StatefulSet {
    let Workload { owner, component, name, labels, .. } = &workload;
    let mut metadata = owner.child(name.clone(), component);
    metadata.labels.get_or_insert_default().extend(labels.clone());
    let mut selector = owner.selector(component);
    selector.extend(labels.clone());
    StatefulSet {
        metadata,
        spec: Some(StatefulSetSpec {
            replicas: Some(replicas),
            service_name: Some(headless),
            // Replicas do not wait for each other, and a broken rollout can be replaced by a good one.
            pod_management_policy: Some("Parallel".into()),
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("RollingUpdate".into()),
                ..StatefulSetUpdateStrategy::default()
            }),
            selector: LabelSelector { match_labels: Some(selector), ..LabelSelector::default() },
            volume_claim_templates: claim_template(&workload).map(|claim| vec![claim]),
            template: template(&workload, replicas > 1),
            ..StatefulSetSpec::default()
        }),
        ..StatefulSet::default()
    }
}

/// The DaemonSet of a component.
pub fn daemon_set(workload: Workload) -> DaemonSet {
    let Workload { owner, component, name, .. } = &workload;
    DaemonSet {
        metadata: owner.child(name.clone(), component),
        spec: Some(DaemonSetSpec {
            selector: LabelSelector { match_labels: Some(owner.selector(component)), ..LabelSelector::default() },
            template: template(&workload, false),
            ..DaemonSetSpec::default()
        }),
        ..DaemonSet::default()
    }
}

/// The Deployment of a component that keeps nothing: one pod.
pub fn deployment(workload: Workload) -> Deployment {
    let Workload { owner, component, name, labels, .. } = &workload;
    let mut metadata = owner.child(name.clone(), component);
    metadata.labels.get_or_insert_default().extend(labels.clone());
    let mut selector = owner.selector(component);
    selector.extend(labels.clone());
    Deployment {
        metadata,
        spec: Some(DeploymentSpec {
            replicas: Some(1),
            // The new pod comes first: a measurement that is missed ends alerts, and begins others. Through the Service one of
            // the two is asked.
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".into()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::Int(1)),
                    max_unavailable: Some(IntOrString::Int(0)),
                }),
            }),
            selector: LabelSelector { match_labels: Some(selector), ..LabelSelector::default() },
            template: template(&workload, false),
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    }
}

fn template(workload: &Workload, several: bool) -> PodTemplateSpec {
    let settings = workload.settings.cloned().unwrap_or_default();
    let mut labels = settings.labels;
    labels.extend(workload.owner.labels(workload.component));
    labels.extend(workload.labels.clone());
    let mut container = workload.container.clone();
    container.args.get_or_insert_default().extend(settings.extra_args);
    container.resources = Some(settings.resources.unwrap_or_else(|| requests(workload.component)));
    container.security_context = Some(restricted(workload.user));
    let mut annotations = settings.annotations;
    annotations.extend(workload.revision.clone().map(|revision| (names::CONFIG_REVISION.to_owned(), revision)));
    let mut volumes = workload.volumes.clone();
    if let Some((_, path)) = workload.data {
        container.volume_mounts.get_or_insert_default().push(mount(storage::VOLUME, path, false));
    }
    if let Some((Data::EmptyDir { limit }, _)) = workload.data {
        let empty_dir = EmptyDirVolumeSource { size_limit: limit.clone(), ..EmptyDirVolumeSource::default() };
        volumes.push(Volume { name: storage::VOLUME.into(), empty_dir: Some(empty_dir), ..Volume::default() });
    }
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels),
            annotations: Some(annotations).filter(|a| !a.is_empty()),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            service_account_name: Some(workload.service_account.clone()),
            automount_service_account_token: Some(workload.token),
            enable_service_links: Some(false),
            termination_grace_period_seconds: Some(workload.grace),
            security_context: Some(PodSecurityContext {
                run_as_non_root: Some(workload.user != 0),
                run_as_user: Some(workload.user),
                run_as_group: Some(workload.user),
                fs_group: Some(workload.user),
                fs_group_change_policy: Some("OnRootMismatch".into()),
                seccomp_profile: Some(runtime_default()),
                ..PodSecurityContext::default()
            }),
            affinity: settings.affinity.or_else(|| several.then(|| spread(workload))),
            topology_spread_constraints: Some(settings.topology_spread).filter(|t| !t.is_empty()),
            node_selector: Some(settings.node_selector).filter(|n| !n.is_empty()),
            tolerations: Some(settings.tolerations).filter(|t| !t.is_empty()),
            priority_class_name: settings.priority_class_name,
            image_pull_secrets: Some(settings.image_pull_secrets).filter(|s| !s.is_empty()),
            containers: vec![container],
            volumes: Some(volumes),
            ..PodSpec::default()
        }),
    }
}

/// What a component asks for where nothing is said: what it uses in a small cluster (docs/benchmarks.md). No limits: what a
/// component needs grows with the cluster, and one that is killed monitors nothing.
fn requests(component: &str) -> ResourceRequirements {
    let (cpu, memory) = match component {
        names::PROMETHEUS => ("50m", "256Mi"),
        names::LOKI => ("50m", "192Mi"),
        names::GRAFANA => ("20m", "128Mi"),
        names::KUBE_STATE_METRICS => ("10m", "64Mi"),
        names::JAEGER | names::LOG_AGENT | names::LOG_GATEWAY => ("20m", "96Mi"),
        _ => ("10m", "32Mi"),
    };
    let requests = [("cpu", cpu), ("memory", memory)].map(|(what, size)| (what.to_owned(), Quantity(size.to_owned())));
    ResourceRequirements { requests: Some(requests.into()), ..ResourceRequirements::default() }
}

/// Replicas prefer different nodes.
fn spread(workload: &Workload) -> Affinity {
    let mut labels = workload.owner.selector(workload.component);
    labels.extend(workload.labels.clone());
    let term = PodAffinityTerm {
        label_selector: Some(LabelSelector { match_labels: Some(labels), ..LabelSelector::default() }),
        topology_key: "kubernetes.io/hostname".into(),
        ..PodAffinityTerm::default()
    };
    Affinity {
        pod_anti_affinity: Some(PodAntiAffinity {
            preferred_during_scheduling_ignored_during_execution: Some(vec![WeightedPodAffinityTerm {
                weight: 100,
                pod_affinity_term: term,
            }]),
            ..PodAntiAffinity::default()
        }),
        ..Affinity::default()
    }
}

fn claim_template(workload: &Workload) -> Option<PersistentVolumeClaim> {
    let (Data::Claim { size, class }, _) = workload.data? else { return None };
    Some(PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(storage::VOLUME.into()),
            labels: Some(workload.owner.labels(workload.component)),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".into()]),
            storage_class_name: class.clone(),
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([("storage".to_owned(), size.clone())])),
                ..VolumeResourceRequirements::default()
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    })
}

pub fn runtime_default() -> SeccompProfile {
    SeccompProfile { type_: "RuntimeDefault".into(), ..SeccompProfile::default() }
}

/// Pod Security "restricted", and a root that cannot be written.
pub fn restricted(user: i64) -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        run_as_non_root: Some(user != 0),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".into()]), ..Capabilities::default() }),
        seccomp_profile: Some(runtime_default()),
        ..SecurityContext::default()
    }
}

/// One ServiceAccount a component; its token is mounted only where a pod asks for it.
pub fn service_account(owner: &Owner, name: String, component: &str) -> ServiceAccount {
    ServiceAccount {
        metadata: owner.child(name, component),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

/// A Service over all pods of a component.
pub fn service(owner: &Owner, name: String, component: &str, headless: bool, ports: &[(&str, i32)]) -> Service {
    let ports = ports.iter().map(|(name, port)| ServicePort {
        name: Some((*name).to_owned()),
        port: *port,
        target_port: Some(IntOrString::Int(*port)),
        protocol: Some("TCP".into()),
        ..ServicePort::default()
    });
    Service {
        metadata: owner.child(name, component),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".into()),
            cluster_ip: headless.then(|| "None".to_owned()),
            // Members of a mesh find each other before they are ready.
            publish_not_ready_addresses: headless.then_some(true),
            selector: Some(owner.selector(component)),
            ports: Some(ports.collect()),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// At most one pod of a set is evicted at a time; pods that do not work anyway do not hold up a drain.
pub fn disruption_budget(
    owner: &Owner,
    name: String,
    component: &str,
    labels: &BTreeMap<String, String>,
) -> PodDisruptionBudget {
    let mut selector = owner.selector(component);
    selector.extend(labels.clone());
    PodDisruptionBudget {
        metadata: owner.child(name, component),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".into()),
            selector: Some(LabelSelector { match_labels: Some(selector), ..LabelSelector::default() }),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    }
}

pub fn mount(volume: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: volume.into(),
        mount_path: path.into(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    }
}

/// A file or folder of the node.
pub fn host_path(name: &str, path: &str, kind: &str) -> Volume {
    let host_path = HostPathVolumeSource { path: path.into(), type_: Some(kind.into()) };
    Volume { name: name.into(), host_path: Some(host_path), ..Volume::default() }
}

pub fn port(name: &str, port: i32) -> ContainerPort {
    ContainerPort {
        name: Some(name.into()),
        container_port: port,
        protocol: Some("TCP".into()),
        ..ContainerPort::default()
    }
}

/// An environment variable with a field of the pod, for example `metadata.name`.
pub fn env_field(name: &str, path: &str) -> EnvVar {
    EnvVar {
        name: name.into(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector { field_path: path.into(), api_version: Some("v1".into()) }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    }
}

/// An HTTP probe of the container's port `web`.
pub fn probe(path: &str, period: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.into()),
            port: IntOrString::String("web".into()),
            scheme: Some("HTTP".into()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(3),
        failure_threshold: Some(failures),
        success_threshold: Some(1),
        ..Probe::default()
    }
}

/// A volume with one file of each ConfigMap, named as its key there. One that is missing does not hold up the pod.
pub fn optional_files(name: &str, files: impl Iterator<Item = (String, String)>) -> Volume {
    let source = |(map, file): (String, String)| VolumeProjection {
        config_map: Some(ConfigMapProjection {
            name: map,
            items: Some(vec![KeyToPath { key: file.clone(), path: file, mode: None }]),
            optional: Some(true),
        }),
        ..VolumeProjection::default()
    };
    let projected =
        ProjectedVolumeSource { sources: Some(files.map(source).collect()), ..ProjectedVolumeSource::default() };
    Volume { name: name.into(), projected: Some(projected), ..Volume::default() }
}

/// A volume with the given keys of Secrets, at `<secret>/<key>`. A Secret that is missing does not hold up the pod: the
/// status says what lacks.
pub fn secrets_volume<'a>(name: &str, refs: impl IntoIterator<Item = &'a SecretKeyRef>) -> Option<Volume> {
    let mut secrets: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for wanted in refs {
        let keys = secrets.entry(&wanted.name).or_default();
        if !keys.contains(&wanted.key.as_str()) {
            keys.push(&wanted.key);
        }
    }
    let sources: Vec<VolumeProjection> = secrets
        .into_iter()
        .map(|(secret, mut keys)| {
            keys.sort_unstable();
            let item = |key: &str| KeyToPath { key: key.into(), path: format!("{secret}/{key}"), mode: None };
            VolumeProjection {
                secret: Some(SecretProjection {
                    name: secret.to_owned(),
                    items: Some(keys.into_iter().map(item).collect()),
                    optional: Some(true),
                }),
                ..VolumeProjection::default()
            }
        })
        .collect();
    let projected = ProjectedVolumeSource { sources: Some(sources), default_mode: Some(0o440) };
    let some = projected.sources.as_ref().is_some_and(|s| !s.is_empty());
    some.then(|| Volume { name: name.into(), projected: Some(projected), ..Volume::default() })
}
