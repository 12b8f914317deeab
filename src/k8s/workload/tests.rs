//! What each kind says of its revisions and its health.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::Node;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;

fn boxed<T: DeserializeOwned>(value: Value) -> Box<T> {
    Box::new(serde_json::from_value(value).unwrap())
}

fn deployment(spec: Value, status: Value) -> Object {
    let metadata = json!({"name": "web", "uid": "web-uid", "generation": 2});
    Object::Deployment(boxed::<Deployment>(json!({"metadata": metadata, "spec": spec, "status": status})))
}

fn stateful_set(spec: Value, status: Value) -> Object {
    let metadata = json!({"name": "db", "uid": "db-uid", "generation": 2});
    Object::StatefulSet(boxed::<StatefulSet>(json!({"metadata": metadata, "spec": spec, "status": status})))
}

fn daemon_set(spec: Value, status: Value) -> Object {
    let metadata = json!({"name": "agent", "uid": "agent-uid", "generation": 2});
    Object::DaemonSet(boxed::<DaemonSet>(json!({"metadata": metadata, "spec": spec, "status": status})))
}

fn rollout(spec: Value, status: Value) -> Object {
    let metadata = json!({"name": "web", "uid": "web-uid", "generation": 2});
    Object::Rollout(boxed::<Rollout>(json!({"metadata": metadata, "spec": spec, "status": status})))
}

fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "x", "image": image}]}})
}

/// Of this owner, numbered, made at this minute.
fn revision(owner: &str, name: &str, number: i64, minute: u32, image: &str) -> ControllerRevision {
    let mut template = template(image);
    template["$patch"] = "replace".into();
    *boxed(json!({
        "metadata": {
            "name": name, "creationTimestamp": format!("2026-01-01T00:{minute:02}:00Z"),
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "X", "name": "x", "uid": owner, "controller": true}],
        },
        "data": {"spec": {"template": template}}, "revision": number,
    }))
}

/// Of a Rollout.
fn replica_set(number: i64, hash: &str, image: &str, noted: Value) -> ReplicaSet {
    let mut template = template(image);
    template["metadata"]["labels"]["rollouts-pod-template-hash"] = hash.into();
    template["metadata"]["labels"]["role"] = "canary".into();
    let mut set = json!({
        "metadata": {
            "name": format!("web-{hash}"), "creationTimestamp": format!("2026-01-01T00:{number:02}:00Z"),
            "labels": {"rollouts-pod-template-hash": hash},
            "annotations": {"rollout.argoproj.io/revision": number.to_string()},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Rollout", "name": "web", "uid": "web-uid", "controller": true}],
        },
        "spec": {"selector": {}, "template": template},
    });
    if !noted.is_null() {
        set["metadata"]["annotations"]["rollout.argoproj.io/ephemeral-metadata"] = noted.to_string().into();
    }
    *boxed(set)
}

fn numbers(history: &History) -> Vec<(i64, String)> {
    history.revisions.iter().map(|r| (r.number, r.images().join(","))).collect()
}

#[test]
fn a_stateful_set_is_at_the_controller_revision_that_its_status_names() {
    let revisions = [
        revision("db-uid", "db-b", 2, 30, "db:2"),
        revision("db-uid", "db-a", 1, 0, "db:1"),
        revision("other", "db-c", 3, 40, "db:3"),
    ];
    let set = |update: &str| {
        stateful_set(Value::Null, json!({"observedGeneration": 2, "replicas": 1, "updateRevision": update}))
    };
    let history = History::of(&set("db-b"), &[], &revisions, &[]).unwrap();
    assert_eq!(numbers(&history), [(1, "db:1".to_owned()), (2, "db:2".to_owned())]);
    assert_eq!(history.present().object, "db-b");
    // Until the controller has numbered what was gone back to anew, nobody knows.
    let unsettled = History::of(&set("db-a"), &[], &revisions, &[]).unwrap_err().to_string();
    assert_eq!(unsettled, "StatefulSet db has no ControllerRevision for its present template yet");
    let behind = stateful_set(Value::Null, json!({"observedGeneration": 1, "replicas": 1, "updateRevision": "db-b"}));
    assert!(matches!(History::of(&behind, &[], &revisions, &[]), Err(Unsettled::Behind { .. })));
}

#[test]
fn a_controller_revision_that_is_older_than_one_of_a_lower_number_was_gone_back_to() {
    let revisions =
        [revision("agent-uid", "agent-a", 3, 0, "agent:1"), revision("agent-uid", "agent-b", 2, 30, "agent:2")];
    let set = daemon_set(
        json!({"selector": {}, "template": template("agent:1")}),
        json!({"observedGeneration": 2, "currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0, "numberReady": 0}),
    );
    let history = History::of(&set, &[], &revisions, &[]).unwrap();
    let (present, left) = (history.present(), history.find(2).unwrap());
    assert!(present.revived && !left.revived);
    assert_eq!(history.undone_by(left).map(|r| r.number).collect::<Vec<_>>(), [3]);
    assert!(matches!(history.began(present), Since::After(Some(_))));
}

#[test]
fn a_rollout_is_at_the_replica_set_of_its_pod_hash_without_what_the_controller_added() {
    let noted = json!({"labels": {"role": "canary"}});
    let replica_sets = [replica_set(1, "aaa", "web:1", noted.clone()), replica_set(2, "bbb", "web:2", noted)];
    let rollout = rollout(json!({}), json!({"observedGeneration": "2", "currentPodHash": "bbb", "stableRS": "aaa"}));
    let history = History::of(&rollout, &replica_sets, &[], &[]).unwrap();
    assert_eq!(history.present().object, "web-bbb");
    let labels = history.find(1).unwrap().template.metadata.clone().unwrap().labels.unwrap();
    assert_eq!(labels.keys().collect::<Vec<_>>(), ["app"]);
    let Object::Rollout(rollout) = rollout else { panic!("a Rollout") };
    assert_eq!(rollout::stable(&rollout, &replica_sets), Some("web-aaa"));
    assert!(rollout::is_under_way(&rollout) && !rollout::is_aborted(&rollout));
}

fn unhealthy(object: &Object) -> Option<String> {
    match health(object) {
        Health::Healthy(_) => None,
        Health::Unhealthy(why) => Some(why),
    }
}

#[test]
fn a_stateful_set_is_healthy_when_the_update_is_over_and_all_are_available() {
    let status = |updated: i32, available: i32, update: &str| {
        json!({
            "observedGeneration": 2, "replicas": 3, "updatedReplicas": updated, "availableReplicas": available,
            "currentRevision": "a", "updateRevision": update,
        })
    };
    let spec = |partition: i32| {
        json!({
            "replicas": 3, "selector": {}, "serviceName": "db", "template": {},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}},
        })
    };
    for (partition, updated, available, update, expected) in [
        (0, 3, 3, "a", None),
        (0, 2, 3, "b", Some("2 of 3 replicas have the present template")),
        (0, 3, 2, "a", Some("2 of 3 replicas are available")),
        (0, 3, 3, "b", Some("its update is not complete")),
        // Its author wants two of three to keep the old template.
        (2, 1, 3, "b", None),
        (2, 0, 3, "b", Some("0 of 1 replicas have the present template")),
    ] {
        let set = stateful_set(spec(partition), status(updated, available, update));
        assert_eq!(unhealthy(&set).as_deref(), expected, "{partition} {updated} {available} {update}");
    }
}

#[test]
fn a_daemon_set_is_healthy_when_every_node_that_is_to_run_it_does() {
    let status = |desired: i32, updated: i32, available: i32| {
        json!({
            "observedGeneration": 2, "currentNumberScheduled": 1, "desiredNumberScheduled": desired,
            "numberMisscheduled": 0, "numberReady": 1, "updatedNumberScheduled": updated, "numberAvailable": available,
        })
    };
    for (desired, updated, available, expected) in [
        (2, 2, 2, None),
        (2, 1, 2, Some("1 of 2 replicas have the present template")),
        (2, 2, 1, Some("1 of 2 replicas are available")),
        (0, 0, 0, Some("no node is to run it")),
    ] {
        let set = daemon_set(json!({"selector": {}, "template": {}}), status(desired, updated, available));
        assert_eq!(unhealthy(&set).as_deref(), expected, "{desired} {updated} {available}");
    }
}

#[test]
fn a_rollout_is_as_healthy_as_its_controller_says_and_an_aborted_one_when_the_stable_pods_are_back() {
    let status = |phase: &str, abort: bool, replicas: i32, updated: i32| {
        json!({
            "observedGeneration": "2", "phase": phase, "abort": abort, "currentPodHash": "b", "stableRS": if phase == "Healthy" { "b" } else { "a" },
            "replicas": replicas, "updatedReplicas": updated, "availableReplicas": 2,
        })
    };
    for (status, expected) in [
        (status("Healthy", false, 2, 2), None),
        (status("Progressing", false, 2, 1), Some("it is Progressing")),
        (status("Degraded", true, 3, 2), Some("1 of 2 replicas have the stable template")),
        (status("Degraded", true, 2, 0), None),
        (json!({"observedGeneration": "1", "phase": "Healthy"}), Some("its latest change has not been taken up yet")),
    ] {
        let rollout = rollout(json!({"replicas": 2}), status.clone());
        assert_eq!(unhealthy(&rollout).as_deref(), expected, "{status}");
    }
}

#[test]
fn a_paused_rollout_is_healthy_where_it_stands() {
    let spec = json!({"replicas": 2, "paused": true, "selector": {}, "template": {}});
    let of = |available: i32| {
        let status =
            json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 1, "availableReplicas": available});
        health(&deployment(spec.clone(), status))
    };
    assert_eq!(of(2), Health::Healthy("is paused where its rollout stood, 2 of 2 available".into()));
    assert_eq!(of(1), Health::Unhealthy("1 of 2 replicas are available".into()));
}

#[test]
fn a_node_is_healthy_when_its_kubelet_says_that_it_is_ready() {
    let node = |status: Value| Object::Node(boxed::<Node>(json!({"metadata": {"name": "n"}, "status": status})));
    let ready =
        |status: &str| json!({"conditions": [{"type": "Ready", "status": status, "reason": "NodeStatusUnknown"}]});
    assert_eq!(unhealthy(&node(ready("True"))), None);
    assert_eq!(unhealthy(&node(ready("Unknown"))).as_deref(), Some("it is not ready (NodeStatusUnknown)"));
    assert_eq!(unhealthy(&node(json!({}))).as_deref(), Some("its kubelet has not said that it is ready"));
}
