//! The Job that runs the tests of an AlertRule with the promtool of a stack's own Prometheus. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{
    ConfigMap, ConfigMapVolumeSource, Container, ContainerStatus, EmptyDirVolumeSource, Pod, PodSecurityContext,
    PodSpec, PodTemplateSpec, ResourceRequirements, Volume,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::index::tested::Trial;
use super::unit_test;
use crate::api::monitoring_stack::PrometheusSpec;
use crate::k8s::meta::{Owner, bounded, digest};
use crate::stack::build::BuildError;
use crate::stack::component::{image, pod};

/// The set of children that these are (`evenkeel.dev/set`).
pub const SET: &str = "rule-tests";
/// Name of the component, in labels.
const COMPONENT: &str = "rule-tests";
/// How long the Job may take, in seconds: an image may have to be pulled.
pub const DEADLINE: i64 = 180;
/// What is left of it when the operator ended meanwhile, in seconds.
const KEPT: i32 = 300;
const DIRECTORY: &str = "/tests";
const RULES: &str = "rules.yaml";

/// Name of the Job and its ConfigMap: another one for each version of an AlertRule.
pub fn name(trial: &Trial) -> String {
    let which = digest([&*trial.rule, &trial.generation.to_string(), &trial.rules], 10);
    format!("{}-rule-test-{which}", bounded(&trial.owner.name, 40))
}

/// Name of the container of one test.
pub fn container(number: usize) -> String {
    format!("test-{number}")
}

fn file(number: usize) -> String {
    format!("{}.yaml", container(number))
}

/// The rules and each test as a file of its own: in an answer to several, promtool does not say which test speaks.
pub fn config_map(trial: &Trial) -> Result<ConfigMap, BuildError> {
    let mut data = BTreeMap::from([(RULES.to_owned(), trial.rules.clone())]);
    for (number, test) in trial.tests.iter().enumerate() {
        data.insert(file(number), unit_test::file(test, RULES)?);
    }
    Ok(ConfigMap { metadata: trial.owner.child(name(trial), COMPONENT), data: Some(data), ..ConfigMap::default() })
}

/// One pod with a container for each test, where the stack's Prometheus may run, in its image.
pub fn job(trial: &Trial, prometheus: &PrometheusSpec) -> Job {
    let settings = prometheus.pod.clone().unwrap_or_default();
    let (version, whole) = (prometheus.version.as_deref(), prometheus.image.as_deref());
    let image = image::of(image::PROMETHEUS, image::PROMETHEUS_VERSION, version, whole);
    let containers = (0..trial.tests.len()).map(|number| Container {
        name: container(number),
        image: Some(image.clone()),
        command: Some(vec!["/bin/promtool".into()]),
        args: Some(vec!["test".into(), "rules".into(), format!("{DIRECTORY}/{}", file(number))]),
        resources: Some(resources()),
        security_context: Some(pod::restricted(pod::NOBODY)),
        // promtool makes a store of its own.
        volume_mounts: Some(vec![pod::mount("tests", DIRECTORY, true), pod::mount("tmp", "/tmp", false)]),
        ..Container::default()
    });
    let scratch =
        EmptyDirVolumeSource { size_limit: Some(Quantity("256Mi".into())), ..EmptyDirVolumeSource::default() };
    let tests = ConfigMapVolumeSource { name: name(trial), ..ConfigMapVolumeSource::default() };
    let volumes = vec![
        Volume { name: "tests".into(), config_map: Some(tests), ..Volume::default() },
        Volume { name: "tmp".into(), empty_dir: Some(scratch), ..Volume::default() },
    ];
    let spec = PodSpec {
        restart_policy: Some("Never".into()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(pod::NOBODY),
            run_as_group: Some(pod::NOBODY),
            fs_group: Some(pod::NOBODY),
            seccomp_profile: Some(pod::runtime_default()),
            ..PodSecurityContext::default()
        }),
        node_selector: Some(settings.node_selector).filter(|selector| !selector.is_empty()),
        tolerations: Some(settings.tolerations).filter(|tolerations| !tolerations.is_empty()),
        image_pull_secrets: Some(settings.image_pull_secrets).filter(|secrets| !secrets.is_empty()),
        containers: containers.collect(),
        volumes: Some(volumes),
        ..PodSpec::default()
    };
    let labels = Some(trial.owner.labels(COMPONENT));
    Job {
        metadata: trial.owner.child(name(trial), COMPONENT),
        spec: Some(JobSpec {
            backoff_limit: Some(0),
            active_deadline_seconds: Some(DEADLINE),
            ttl_seconds_after_finished: Some(KEPT),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta { labels, ..ObjectMeta::default() }),
                spec: Some(spec),
            },
            ..JobSpec::default()
        }),
        ..Job::default()
    }
}

/// Limits too: whoever may write an AlertRule says what promtool works on.
fn resources() -> ResourceRequirements {
    let sizes = |cpu: &str, memory: &str| {
        let sizes = [("cpu", cpu), ("memory", memory)];
        Some(sizes.map(|(what, size)| (what.to_owned(), Quantity(size.to_owned()))).into())
    };
    ResourceRequirements {
        requests: sizes("10m", "16Mi"),
        limits: sizes("1", "512Mi"),
        ..ResourceRequirements::default()
    }
}

/// How far the pod is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It runs, or will; why not yet, where that is known.
    Runs(Option<String>),
    /// It waits for an image that cannot be pulled.
    NoImage(String),
    /// Whether each test's promtool was content, by number.
    Ended(Vec<bool>),
    /// It was cut off, which says nothing of the rules.
    Broken(String),
}

/// What the pod of the Job says of itself.
pub fn progress(pod: &Pod, tests: usize) -> Progress {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    let of = |number: usize| statuses?.iter().find(|status| status.name == container(number));
    let ended = |number| of(number)?.state.as_ref()?.terminated.as_ref();
    // promtool itself ends with 0 or 1.
    let killed = (0..tests).find_map(|number| {
        let ended = ended(number).filter(|ended| !matches!(ended.exit_code, 0 | 1))?;
        let reason = ended.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
        let message = ended.message.as_ref().map(|message| format!(": {message}")).unwrap_or_default();
        Some(format!("promtool of tests[{number}] ended with {}{reason}{message}", ended.exit_code))
    });
    if let Some(killed) = killed {
        return Progress::Broken(killed);
    }
    if let Some(ended) = (0..tests).map(|number| Some(ended(number)?.exit_code == 0)).collect::<Option<Vec<bool>>>() {
        return Progress::Ended(ended);
    }
    if let Some(gone) = gone(pod) {
        return Progress::Broken(gone);
    }
    let waits = |status: &ContainerStatus| {
        let waiting = status.state.as_ref()?.waiting.as_ref()?;
        let reason = waiting.reason.as_deref().filter(|reason| *reason != "ContainerCreating")?;
        let why = format!("{reason}: {}", waiting.message.as_deref().unwrap_or(&status.image));
        Some((matches!(reason, "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName"), why))
    };
    let waits = statuses.into_iter().flatten().find_map(waits);
    if let Some((true, why)) = waits {
        return Progress::NoImage(why);
    }
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let unscheduled = conditions.into_iter().flatten().find(|c| c.type_ == "PodScheduled" && c.status == "False");
    let unscheduled = unscheduled.and_then(|condition| condition.message.clone());
    Progress::Runs(waits.map(|(_, why)| why).or(unscheduled))
}

/// Why a pod of which not all containers have ended never ends by itself.
fn gone(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref();
    if let Some(reason) = status.and_then(|status| status.reason.as_ref()) {
        let message = status.and_then(|status| status.message.as_ref()).map(|message| format!(": {message}"));
        return Some(format!("its pod was ended with {reason}{}", message.unwrap_or_default()));
    }
    if pod.metadata.deletion_timestamp.is_some() {
        return Some("its pod was deleted".to_owned());
    }
    let failed = status.and_then(|status| status.phase.as_deref()) == Some("Failed");
    failed.then(|| "its pod failed".to_owned())
}

/// Labels by which the Job's pods are found.
pub fn pods_of(job: &str) -> String {
    format!("batch.kubernetes.io/job-name={job}")
}

/// Whose Job it is: the stack's.
pub fn owner(trial: &Trial) -> &Owner {
    &trial.owner
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn trial() -> Trial {
        let test = json!({
            "series": [{"series": "up", "values": "0x10"}],
            "alerts": [{"at": "5m", "alert": "Down", "firing": [{"severity": "critical"}]}],
        });
        Trial {
            rule: "shop/api".into(),
            generation: 3,
            owner: Owner {
                api_version: "evenkeel.dev/v1alpha1".into(),
                kind: "MonitoringStack".into(),
                namespace: "monitoring".into(),
                name: "main".into(),
                uid: "uid-main".into(),
            },
            rules: "groups: []\n".into(),
            tests: serde_json::from_value(json!([test, test])).unwrap(),
        }
    }

    #[test]
    fn each_test_is_a_container_with_a_file_of_its_own() {
        let trial = trial();
        let prometheus = serde_json::from_value(json!({
            "version": "v3.15.0", "pod": {"nodeSelector": {"pool": "monitoring"}, "imagePullSecrets": [{"name": "pull"}]},
        }));
        let (map, job) = (config_map(&trial).unwrap(), job(&trial, &prometheus.unwrap()));
        assert_eq!(map.data.unwrap().into_keys().collect::<Vec<_>>(), ["rules.yaml", "test-0.yaml", "test-1.yaml"]);
        assert_eq!(map.metadata.name, job.metadata.name);
        let pod = job.spec.unwrap().template.spec.unwrap();
        let pod: Value = serde_json::to_value(pod).unwrap();
        assert_eq!(
            (pod["nodeSelector"]["pool"].as_str(), pod["restartPolicy"].as_str()),
            (Some("monitoring"), Some("Never"))
        );
        let second = &pod["containers"][1];
        assert!(second["image"].as_str().unwrap().ends_with("/prometheus:v3.15.0"), "{second}");
        assert_eq!(second["command"], json!(["/bin/promtool"]));
        assert_eq!(second["args"], json!(["test", "rules", "/tests/test-1.yaml"]));
        assert_eq!(second["securityContext"]["readOnlyRootFilesystem"], json!(true));
        assert_eq!(second["resources"]["limits"], json!({"cpu": "1", "memory": "512Mi"}));
        assert_eq!(pod["volumes"][1]["emptyDir"]["sizeLimit"], "256Mi");
    }

    #[test]
    fn another_version_of_the_rules_has_another_job_whose_name_fits() {
        let (one, mut other) = (trial(), trial());
        other.generation = 4;
        assert_ne!(name(&one), name(&other));
        other.owner.name = "a-name-that-is-as-long-as-kubernetes-allows-for-the-name-of-a-stack".into();
        assert!(name(&other).len() <= 63, "{}", name(&other));
    }

    #[test]
    fn a_pod_has_ended_once_all_its_containers_have() {
        let pod = |states: Value| -> Pod {
            let statuses = states.as_array().unwrap().iter().enumerate().map(|(number, state)| {
                json!({"name": container(number), "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state})
            });
            serde_json::from_value(json!({"status": {"containerStatuses": statuses.collect::<Vec<_>>()}})).unwrap()
        };
        let ended = |code: i32| json!({"terminated": {"exitCode": code}});
        let waits = json!({"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}});
        assert_eq!(progress(&pod(json!([ended(0), ended(1)])), 2), Progress::Ended(vec![true, false]));
        assert_eq!(progress(&pod(json!([ended(0), {"running": {}}])), 2), Progress::Runs(None));
        assert_eq!(
            progress(&pod(json!([waits, ended(0)])), 2),
            Progress::NoImage("ImagePullBackOff: no such image".into())
        );
        let other = json!({"waiting": {"reason": "CreateContainerConfigError", "message": "no such user"}});
        assert_eq!(
            progress(&pod(json!([other])), 1),
            Progress::Runs(Some("CreateContainerConfigError: no such user".into()))
        );
        assert_eq!(progress(&Pod::default(), 1), Progress::Runs(None));
    }

    #[test]
    fn a_promtool_that_was_killed_has_judged_nothing() {
        let pod = |value: Value| serde_json::from_value::<Pod>(value).unwrap();
        let ended = |code: i32, reason: &str| {
            let state = json!({"terminated": {"exitCode": code, "reason": reason}});
            let status = json!({"name": "test-0", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state});
            progress(&pod(json!({"status": {"phase": "Failed", "containerStatuses": [status]}})), 1)
        };
        assert_eq!(ended(1, "Error"), Progress::Ended(vec![false]));
        let killed = Progress::Broken("promtool of tests[0] ended with 137 (OOMKilled)".into());
        assert_eq!(ended(137, "OOMKilled"), killed);
        for (code, reason) in [(143, "Error"), (128, "StartError"), (2, "Error")] {
            assert!(matches!(ended(code, reason), Progress::Broken(_)), "{code}");
        }
        let evicted = json!({"status": {"phase": "Failed", "reason": "Evicted", "message": "out of disk"}});
        assert_eq!(progress(&pod(evicted), 1), Progress::Broken("its pod was ended with Evicted: out of disk".into()));
        let deleted = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
        assert_eq!(progress(&pod(deleted), 1), Progress::Broken("its pod was deleted".into()));
        assert_eq!(
            progress(&pod(json!({"status": {"phase": "Failed"}})), 1),
            Progress::Broken("its pod failed".into())
        );
    }
}
