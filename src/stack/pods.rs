//! The pods of a stack, as far as its status speaks of them. Pure.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt;

use super::names::{CONFIG_REVISION, DASHBOARDS_REVISION};
use super::workloads::{Component, Workload};
use crate::response::redact::redact;

/// Characters of a container's last words that are repeated.
const LONGEST_WORDS: usize = 300;

/// One pod.
#[derive(Clone, Debug, PartialEq)]
pub struct PodFacts {
    pub name: String,
    pub component: Component,
    /// Where it can be asked: it has an address and its container runs.
    pub ip: Option<String>,
    pub ready: bool,
    /// What keeps it from running, when that does not pass by itself.
    pub failing: Option<String>,
    /// Why no node takes it.
    pub unscheduled: Option<String>,
    pub started: Option<Timestamp>,
    /// The revision for which its volumes were refreshed last.
    pub refreshed: Option<String>,
    /// The revision of the dashboards for which they were refreshed last.
    pub dashboards: Option<String>,
    pub answer: Answer,
}

/// What the component in a pod says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was not asked, since it does not run yet.
    NotAsked,
    /// It could not be asked.
    Silent(String),
    Says {
        version: String,
        /// Whether it has loaded the configuration that it should have.
        loaded: bool,
        /// What it found wrong with that.
        refused: Option<String>,
    },
}

impl PodFacts {
    /// `None` for a pod of nobody among `workloads`, and for one that is on its way out or ended for good.
    pub fn of(pod: &Pod, workloads: &[Workload]) -> Option<Self> {
        let controller = pod.owner_references().iter().find(|r| r.controller == Some(true))?;
        let workload = workloads.iter().find(|workload| workload.runs(controller, pod.labels()))?;
        if pod.metadata.deletion_timestamp.is_some() {
            return None;
        }
        let status = pod.status.clone().unwrap_or_default();
        // A ReplicaSet leaves pods that were evicted where they are.
        if workload.deployment.is_some() && matches!(status.phase.as_deref(), Some("Failed" | "Succeeded")) {
            return None;
        }
        let containers = status.container_statuses.unwrap_or_default();
        let condition = |type_: &str| status.conditions.iter().flatten().find(|c| c.type_ == type_);
        let ready = condition("Ready").is_some_and(|c| c.status == "True");
        let unscheduled = condition("PodScheduled").filter(|c| c.status == "False").and_then(|c| c.message.clone());
        let runs = containers.iter().any(|c| c.state.as_ref().is_some_and(|s| s.running.is_some()));
        Some(Self {
            name: pod.name_any(),
            component: workload.component,
            ip: status.pod_ip.filter(|ip| runs && !ip.is_empty()),
            ready,
            failing: containers.iter().filter(|_| !ready).find_map(|c| failing(c, &pod.name_any())),
            unscheduled,
            started: status.start_time.map(|t| t.0),
            refreshed: pod.annotations().get(CONFIG_REVISION).cloned(),
            dashboards: pod.annotations().get(DASHBOARDS_REVISION).cloned(),
            answer: match workload.component {
                Component::Part(_) if runs => part(&containers, pod, workload),
                _ => Answer::NotAsked,
            },
        })
    }

    /// It said that it has another configuration than it should have.
    pub fn outdated(&self) -> bool {
        matches!(self.answer, Answer::Says { loaded: false, .. })
    }
}

/// What a container that runs says of a component that reads its configuration at its start.
fn part(containers: &[ContainerStatus], pod: &Pod, workload: &Workload) -> Answer {
    let image = containers.first().map_or("", |container| container.image.as_str());
    let name = image.split('@').next().unwrap_or(image).rsplit('/').next().unwrap_or(image);
    let version = name.split_once(':').map_or("", |(_, tag)| tag).to_owned();
    Answer::Says {
        version,
        loaded: pod.annotations().get(CONFIG_REVISION) == workload.revision.as_ref(),
        refused: None,
    }
}

/// In words that stay the same while the kubelet tries again and again.
fn failing(container: &ContainerStatus, pod: &str) -> Option<String> {
    let state = container.state.clone().unwrap_or_default();
    let waiting = state.waiting.unwrap_or_default();
    match waiting.reason.as_deref() {
        Some("ErrImagePull" | "ImagePullBackOff" | "ErrImageNeverPull" | "InvalidImageName") => {
            return Some(format!("image {} cannot be pulled", container.image));
        }
        Some("CreateContainerConfigError" | "CreateContainerError" | "RunContainerError") => {
            return Some(format!("its container cannot be started: {}", waiting.message.unwrap_or_default()));
        }
        _ => {}
    }
    let ended = state.terminated.or_else(|| container.last_state.clone()?.terminated)?;
    let why = match ended.reason.as_deref() {
        Some("OOMKilled") => "it needs more memory than its limit".to_owned(),
        _ => format!("exit code {}; `kubectl logs --previous {pod}` says why", ended.exit_code),
    };
    let said = ended.message.as_deref().and_then(last_words).map(|words| format!("; its last words: {words}"));
    Some(format!("its container keeps ending: {why}{}", said.unwrap_or_default()))
}

/// The line of a log that says most likely why a program ended, without what differs at each attempt: times and colours.
fn last_words(log: &str) -> Option<String> {
    let lines: Vec<&str> = log.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let tells = |line: &&&str| ["error", "fail", "fatal", "panic"].iter().any(|w| line.to_lowercase().contains(w));
    let line = lines.iter().rev().find(tells).or(lines.last())?;
    let is_time =
        |word: &str| word.len() >= 19 && word.as_bytes().get(..4).is_some_and(|y| y.iter().all(u8::is_ascii_digit));
    let varies = |word: &&str| {
        let value = word.split_once('=').map_or(*word, |(_, value)| value);
        !(is_time(value) || word.starts_with("logger=") || word.starts_with("level="))
    };
    let plain: String = line.chars().filter(|c| !c.is_control() || *c == '\t').collect();
    let words = redact(&plain.split_whitespace().filter(varies).collect::<Vec<_>>().join(" "));
    Some(words.chars().take(LONGEST_WORDS).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn set() -> Workload {
        let component = Component::Prometheus(1);
        Workload {
            uid: "s-1".into(),
            deployment: None,
            component,
            desired: 1,
            revision: Some("r1".into()),
            progress: None,
        }
    }

    #[test]
    fn a_component_without_a_reload_has_the_configuration_that_its_pod_began_with() {
        let loki =
            |revision: &str| Workload { component: Component::Part("loki"), revision: Some(revision.into()), ..set() };
        let running = json!({"name": "loki", "image": "docker.io/grafana/loki:3.7.8", "imageID": "", "ready": true,
            "restartCount": 0, "state": {"running": {}}, "lastState": {}});
        let answer = |revision| PodFacts::of(&pod("s-1", running.clone(), "True"), &[loki(revision)]).unwrap().answer;
        assert_eq!(answer("r1"), Answer::Says { version: "3.7.8".into(), loaded: true, refused: None });
        assert_eq!(answer("r2"), Answer::Says { version: "3.7.8".into(), loaded: false, refused: None });
    }

    fn pod(owner: &str, container: Value, ready: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {
                "name": "main-prometheus-shard-1-0",
                "annotations": {"evenkeel.dev/config-revision": "r1"},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "x", "uid": owner, "controller": true}],
            },
            "status": {
                "podIP": "10.0.0.7",
                "conditions": [{"type": "Ready", "status": ready}],
                "containerStatuses": [container],
            },
        }))
        .unwrap()
    }

    fn container(state: Value, last: Value) -> Value {
        json!({"name": "prometheus", "image": "q/p:v1", "imageID": "", "ready": false, "restartCount": 1, "state": state, "lastState": last})
    }

    #[test]
    fn a_pod_belongs_to_the_stack_by_its_controller_and_not_by_its_labels() {
        let running = container(json!({"running": {}}), json!({}));
        let facts = PodFacts::of(&pod("s-1", running.clone(), "True"), &[set()]).unwrap();
        assert_eq!(facts.component, Component::Prometheus(1));
        assert_eq!(
            (facts.ready, facts.ip.as_deref(), facts.refreshed.as_deref()),
            (true, Some("10.0.0.7"), Some("r1"))
        );
        assert_eq!(facts.failing, None);
        assert_eq!(PodFacts::of(&pod("s-2", running, "True"), &[set()]), None);
    }

    #[test]
    fn a_container_that_keeps_ending_is_described_alike_between_its_attempts() {
        let ended = json!({"terminated": {"exitCode": 2, "reason": "Error"}});
        let backoff = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 20s"}});
        let descriptions = [(ended.clone(), json!({})), (backoff, ended.clone()), (json!({"running": {}}), ended)]
            .map(|(state, last)| PodFacts::of(&pod("s-1", container(state, last), "False"), &[set()]).unwrap().failing);
        assert!(descriptions[0].as_ref().unwrap().contains("exit code 2"), "{descriptions:?}");
        assert!(descriptions.iter().all(|d| *d == descriptions[0]), "{descriptions:?}");
    }

    #[test]
    fn an_image_that_cannot_be_pulled_is_named() {
        let waiting = container(json!({"waiting": {"reason": "ImagePullBackOff"}}), json!({}));
        let facts = PodFacts::of(&pod("s-1", waiting, "False"), &[set()]).unwrap();
        assert_eq!((facts.failing.as_deref(), facts.ip), (Some("image q/p:v1 cannot be pulled"), None));
    }

    #[test]
    fn the_last_words_of_a_container_are_told_without_their_time() {
        let ended = |time: &str| {
            let log = format!(
                "logger=settings t={time} level=info msg=\"Starting Grafana\"\n\
                 logger=plugins t={time} level=error msg=\"failed to install plugin no-such-panel@: 404: Plugin not found\"\n\
                 logger=settings t={time} level=info msg=bye\n"
            );
            let last = json!({"terminated": {"exitCode": 1, "reason": "Error", "message": log}});
            let backoff = container(json!({"waiting": {"reason": "CrashLoopBackOff"}}), last);
            PodFacts::of(&pod("s-1", backoff, "False"), &[set()]).unwrap().failing.unwrap()
        };
        let words = ended("2026-11-22T01:00:00.123Z");
        assert!(
            words.ends_with("its last words: msg=\"failed to install plugin no-such-panel@: 404: Plugin not found\""),
            "{words}"
        );
        assert_eq!(ended("2026-11-22T01:07:00.456Z"), words);
        assert_eq!(
            last_words("Error: cannot reach http://ada:s3cret@es:9200").map(|w| w.contains("s3cret")),
            Some(false)
        );
        assert_eq!(last_words(" \n"), None);
    }

    #[test]
    fn an_evicted_pod_of_a_deployment_says_nothing_of_it() {
        let ended = container(json!({"terminated": {"exitCode": 137, "reason": "Error"}}), json!({}));
        let mut evicted = pod("rs-1", ended, "False");
        let owners =
            json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "d-77", "uid": "rs-1", "controller": true}]);
        evicted.metadata.owner_references = serde_json::from_value(owners).unwrap();
        evicted.labels_mut().insert("pod-template-hash".into(), "77".into());
        let deployment = Workload { uid: "d-1".into(), deployment: Some("d".into()), ..set() };
        assert!(PodFacts::of(&evicted, std::slice::from_ref(&deployment)).unwrap().failing.is_some());
        evicted.status.as_mut().unwrap().phase = Some("Failed".into());
        assert_eq!(PodFacts::of(&evicted, &[deployment]), None);
    }

    #[test]
    fn a_pod_that_no_node_takes_says_why() {
        let mut waiting = pod("s-1", container(json!({}), json!({})), "False");
        let why = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims";
        waiting.status = serde_json::from_value(json!({"conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why}]}))
        .unwrap();
        let facts = PodFacts::of(&waiting, &[set()]).unwrap();
        assert_eq!((facts.unscheduled.as_deref(), facts.failing), (Some(why), None));
    }
}
