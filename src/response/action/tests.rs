//! Every action: planned, looked for after a crash, carried out, taken back.

use jiff::SignedDuration;
use k8s_openapi::api::apps::v1::{ControllerRevision, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::*;
use crate::api::alert_response::{Restart, RestartPods, Rollback, Scale, Step};
use crate::k8s::workload::Object;
use crate::response::facts::Lookup;

const MARK_1: &str = "run-uid/1";

fn read<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn now() -> Timestamp {
    "2026-01-01T02:00:00Z".parse().unwrap()
}

/// Of an alert that began at one o'clock.
fn run(kind: &str, labels: Value) -> ResponseRun {
    read(json!({
        "metadata": {"name": "run", "namespace": "shop", "uid": "run-uid"},
        "spec": {
            "responseRef": {"name": "fix", "uid": "fix-uid", "generation": 1},
            "alert": {"name": "A", "fingerprint": "f", "startsAt": "2026-01-01T01:00:00Z", "labels": labels},
            "target": {"kind": kind, "name": "web"}, "mode": "Act", "steps": [], "attempt": 1,
        },
    }))
}

fn owned_by(uid: &str) -> Value {
    json!([{"apiVersion": "v1", "kind": "X", "name": "x", "uid": uid, "controller": true}])
}

fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": image}]}})
}

fn metadata() -> Value {
    json!({"name": "web", "uid": "web-uid", "resourceVersion": "7", "generation": 2})
}

/// Made at this minute of the first hour.
fn revision(name: &str, number: i64, minute: u32) -> ControllerRevision {
    let mut template = template(&format!("web:{number}"));
    template["$patch"] = "replace".into();
    read(json!({
        "metadata": {"name": name, "creationTimestamp": format!("2026-01-01T00:{minute:02}:00Z"), "ownerReferences": owned_by("web-uid")},
        "data": {"spec": {"template": template}}, "revision": number,
    }))
}

fn replica_set(number: i64, hash: &str) -> ReplicaSet {
    read(json!({
        "metadata": {
            "name": format!("web-{hash}"), "uid": format!("{hash}-uid"), "ownerReferences": owned_by("web-uid"),
            "creationTimestamp": format!("2026-01-01T00:{:02}:00Z", number * 20),
            "labels": {"rollouts-pod-template-hash": hash},
            "annotations": {"rollout.argoproj.io/revision": number.to_string(), "deployment.kubernetes.io/revision": number.to_string()},
        },
        "spec": {"selector": {}, "template": template(&format!("web:{number}"))}, "status": {"replicas": 1, "availableReplicas": 1},
    }))
}

fn pod(name: &str, owner: &str, ready: bool, created: &str, revision: &str) -> Pod {
    read(json!({
        "metadata": {
            "name": name, "uid": format!("{name}-uid"), "ownerReferences": owned_by(owner), "creationTimestamp": created,
            "labels": {"app": "web", "controller-revision-hash": revision},
        },
        "spec": {"containers": [], "nodeName": "n"},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]},
    }))
}

/// Release 2 (`web-b`) of it broke its last pod, which is waited for.
fn stateful_set() -> Workload {
    let object = json!({
        "metadata": metadata(),
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "serviceName": "web", "template": template("web:2")},
        "status": {"observedGeneration": 2, "replicas": 2, "updateRevision": "web-b", "currentRevision": "web-a"},
    });
    Workload {
        object: Object::StatefulSet(read(object)),
        revisions: vec![revision("web-a", 1, 0), revision("web-b", 2, 59)],
        pods: vec![
            pod("web-0", "web-uid", true, "2026-01-01T00:00:00Z", "web-a"),
            pod("web-1", "web-uid", false, "2026-01-01T00:59:10Z", "web-b"),
        ],
        ..Workload::default()
    }
}

fn deployment(spec: Value, status: Value) -> Workload {
    let object = json!({"metadata": metadata(), "spec": spec, "status": status});
    Workload {
        object: Object::Deployment(read(object)),
        replica_sets: vec![replica_set(1, "aaa"), replica_set(2, "bbb")],
        ..Workload::default()
    }
}

fn rollout(spec: Value, stable: &str, abort: bool) -> Workload {
    let status = json!({"observedGeneration": "2", "currentPodHash": "bbb", "stableRS": stable, "abort": abort});
    Workload {
        object: Object::Rollout(read(json!({"metadata": metadata(), "spec": spec, "status": status}))),
        replica_sets: vec![replica_set(1, "aaa"), replica_set(2, "bbb")],
        ..Workload::default()
    }
}

/// What the step would do to it.
fn planned(step: &Step, labels: Value, workload: &Workload) -> Plan {
    let run = run(workload.object.kind().as_str(), labels);
    let facts = Facts { workload: Lookup::Found(Box::new(workload.clone())), ..Facts::default() };
    plan(&run, 0, step.action().unwrap(), &facts, now())
}

fn intended(step: &Step, labels: Value, workload: &Workload) -> Intent {
    match planned(step, labels, workload) {
        Plan::Do { intent, .. } => intent,
        other => panic!("{other:?}"),
    }
}

fn acts(intent: &Intent, workload: &Workload) -> Vec<Act> {
    change(intent, workload, MARK_1).unwrap().unwrap().acts
}

fn refusal(plan: Plan) -> String {
    match plan {
        Plan::Refuse(why) => why,
        other => panic!("{other:?}"),
    }
}

fn not_applicable(plan: Plan) -> String {
    match plan {
        Plan::NotApplicable(why) => why,
        other => panic!("{other:?}"),
    }
}

fn rollback() -> Step {
    Step { rollback: Some(Rollback::default()), ..Step::default() }
}

fn marked(mut workload: Workload, mark: &str) -> Workload {
    let annotations = Some(BTreeMap::from([(MARK.to_owned(), mark.to_owned())]));
    match &mut workload.object {
        Object::Deployment(object) => object.metadata.annotations = annotations,
        Object::StatefulSet(object) => object.metadata.annotations = annotations,
        Object::DaemonSet(object) => object.metadata.annotations = annotations,
        Object::Rollout(object) => object.metadata.annotations = annotations,
        Object::Node(object) => object.metadata.annotations = annotations,
    }
    workload
}

/// Paths and values of the one patch.
fn patched(acts: &[Act], object: &Patched) -> Vec<(String, Value)> {
    match acts {
        [Act::Patch { object: to, operations }, ..] if to == object => {
            operations.iter().map(|o| (o.path.clone(), o.value.clone())).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_stateful_set_gets_its_old_template_back_and_the_pod_that_it_waits_for_is_deleted() {
    let before = stateful_set();
    let intent = intended(&rollback(), json!({}), &before);
    let rollback = intent.rollback.clone().unwrap();
    assert_eq!((rollback.from_object.as_str(), rollback.to_object.as_str()), ("web-b", "web-a"));
    let broken = PodRef { name: "web-1".into(), uid: "web-1-uid".into() };
    assert_eq!(rollback.delete_pods, std::slice::from_ref(&broken));
    let all = acts(&intent, &before);
    let patch = patched(&all, &Patched::Workload(TargetKind::StatefulSet, "web".into()));
    assert_eq!(patch[0], ("/metadata/resourceVersion".to_owned(), json!("7")));
    assert_eq!(patch[1].1.pointer("/spec/containers/0/image"), Some(&json!("web:1")));
    let delete = [Act::AwaitStatefulSet("web".into()), Act::DeletePod(broken)];
    assert_eq!(all[1..], delete);
    // A crash after the patch: the pod is still to be deleted, and nothing else is done again.
    let between = marked(before.clone(), MARK_1);
    assert_eq!(probe(&intent, &between, MARK_1), Some(Probe::NotDone));
    assert_eq!(acts(&intent, &between), delete);
    // A crash after all of it: the pod of this name is another one.
    let mut after = between;
    after.pods[1].metadata.uid = Some("another".into());
    let words = "rolled back StatefulSet/web from revision 2 to 1 and deleted web-1";
    assert_eq!(probe(&intent, &after, MARK_1), Some(Probe::Done(words.into())));
}

#[test]
fn what_keeps_its_pods_until_somebody_deletes_them_is_not_rolled_back_or_restarted() {
    let mut workload = stateful_set();
    if let Object::StatefulSet(set) = &mut workload.object {
        set.spec.as_mut().unwrap().update_strategy = Some(read(json!({"type": "OnDelete"})));
    }
    for step in [rollback(), Step { restart: Some(Restart::default()), ..Step::default() }] {
        assert!(refusal(planned(&step, json!({}), &workload)).contains("updateStrategy OnDelete"));
    }
}

#[test]
fn a_daemon_set_gets_the_template_of_its_controller_revision() {
    let status = json!({"observedGeneration": 2, "currentNumberScheduled": 1, "desiredNumberScheduled": 1, "numberMisscheduled": 0, "numberReady": 0});
    let object = |image: &str| {
        let spec = json!({"selector": {}, "template": template(image)});
        Object::DaemonSet(read(json!({"metadata": metadata(), "spec": spec, "status": status})))
    };
    let revisions = vec![revision("web-a", 1, 0), revision("web-b", 2, 59)];
    let workload = Workload { object: object("web:2"), revisions, ..Workload::default() };
    let intent = intended(&rollback(), json!({}), &workload);
    let patch = patched(&acts(&intent, &workload), &Patched::Workload(TargetKind::DaemonSet, "web".into()));
    assert_eq!(patch[1].1.pointer("/spec/containers/0/image"), Some(&json!("web:1")));
    // The controller has given the old revision its new number.
    let mut revisions = vec![revision("web-b", 2, 59), revision("web-a", 1, 0)];
    revisions[1].revision = 3;
    let after = Workload { object: object("web:1"), revisions, ..Workload::default() };
    assert!(matches!(probe(&intent, &after, MARK_1), Some(Probe::Done(_))));
    // Somebody released a third one instead.
    let mut revisions = vec![revision("web-a", 1, 0), revision("web-b", 2, 59), revision("web-c", 3, 59)];
    revisions[2].metadata.creation_timestamp = None;
    let other = Workload { object: object("web:3"), revisions, ..Workload::default() };
    assert!(matches!(probe(&intent, &other, MARK_1), Some(Probe::Lost(_))));
}

#[test]
fn an_update_of_a_rollout_is_aborted_and_after_the_promotion_the_template_goes_back() {
    let status = Patched::RolloutStatus("web".into());
    let updating = rollout(json!({}), "aaa", false);
    let abort = intended(&rollback(), json!({}), &updating);
    assert!(abort.rollback.as_ref().unwrap().abort);
    let patch = patched(&acts(&abort, &updating), &status);
    assert_eq!(patch, [("/metadata/resourceVersion".into(), json!("7")), ("/status/abort".into(), json!(true))]);
    let done = probe(&abort, &rollout(json!({}), "aaa", true), MARK_1);
    assert_eq!(done, Some(Probe::Done("aborted the update of Rollout/web to revision 2, back to 1".into())));
    assert!(matches!(probe(&abort, &rollout(json!({}), "bbb", false), MARK_1), Some(Probe::Lost(_))));

    let promoted = rollout(json!({}), "bbb", false);
    let back = intended(&rollback(), json!({}), &promoted);
    assert!(!back.rollback.as_ref().unwrap().abort);
    let patch = patched(&acts(&back, &promoted), &Patched::Workload(TargetKind::Rollout, "web".into()));
    assert_eq!((patch[1].0.as_str(), patch[2].0.as_str()), ("/spec/template", "/metadata/annotations"));

    // Git keeps the template, not the update.
    let labels = json!({"app.kubernetes.io/name": "web", "kustomize.toolkit.fluxcd.io/name": "shop"});
    let of_flux = |stable: &str| {
        let mut workload = rollout(json!({}), stable, false);
        if let Object::Rollout(rollout) = &mut workload.object {
            rollout.metadata.labels = Some(read(labels.clone()));
        }
        workload
    };
    assert!(intended(&rollback(), json!({}), &of_flux("aaa")).rollback.unwrap().abort);
    assert!(refusal(planned(&rollback(), json!({}), &of_flux("bbb"))).contains("kept by Flux Kustomization shop"));
    let by_reference = rollout(json!({"workloadRef": {"kind": "Deployment", "name": "base"}}), "bbb", false);
    assert!(refusal(planned(&rollback(), json!({}), &by_reference)).contains("from Deployment base"));
}

#[test]
fn a_restart_is_the_annotation_of_a_template_and_the_time_of_a_rollout() {
    let step = Step { restart: Some(Restart::default()), ..Step::default() };
    for (workload, path) in
        [(stateful_set(), "/spec/template/metadata/annotations"), (rollout(json!({}), "bbb", false), "/spec/restartAt")]
    {
        let intent = intended(&step, json!({}), &workload);
        let patch = patched(&acts(&intent, &workload), &Patched::workload(&workload.object));
        assert_eq!(patch[1].0, path);
        assert_eq!(probe(&intent, &workload, MARK_1), Some(Probe::NotDone));
        assert!(matches!(probe(&intent, &marked(workload, MARK_1), MARK_1), Some(Probe::Done(_))));
    }
    let restarted = rollout(json!({"restartAt": "2026-01-01T02:00:00Z"}), "bbb", false);
    let intent = intended(&step, json!({}), &restarted);
    assert!(matches!(probe(&intent, &restarted, MARK_1), Some(Probe::Done(_))));
}

#[test]
fn of_pods_that_are_not_ready_only_its_own_that_had_time_to_start_are_deleted() {
    let step = Step { restart: Some(Restart { pods: RestartPods::NotReady }), ..Step::default() };
    let spec = json!({"replicas": 4, "selector": {}, "template": template("web:2")});
    let mut workload = deployment(spec, json!({"observedGeneration": 2}));
    let old = "2026-01-01T01:00:00Z";
    let young = (now() - SignedDuration::from_secs(30)).to_string();
    workload.pods = vec![
        pod("well", "bbb-uid", true, old, ""),
        pod("broken", "bbb-uid", false, old, ""),
        pod("starting", "bbb-uid", false, &young, ""),
        pod("foreign", "other-uid", false, old, ""),
    ];
    let intent = intended(&step, json!({}), &workload);
    let broken = PodRef { name: "broken".into(), uid: "broken-uid".into() };
    assert_eq!(acts(&intent, &workload), [Act::DeletePod(broken)]);
    workload.pods.remove(1);
    let done = Probe::Done("deleted pod broken of Deployment/web".into());
    assert_eq!(probe(&intent, &workload, MARK_1), Some(done));
    assert!(matches!(planned(&step, json!({}), &workload), Plan::NotYet(_)));
    workload.pods.remove(1);
    assert_eq!(not_applicable(planned(&step, json!({}), &workload)), "every pod of Deployment web that runs is ready");
}

#[test]
fn the_pod_that_an_alert_names_is_deleted_only_if_the_target_controls_it() {
    let step = Step { delete_pod: Some(Default::default()), ..Step::default() };
    let mut workload = stateful_set();
    workload.pods.push(pod("other-0", "other-uid", false, "2026-01-01T00:00:00Z", ""));
    let named = |name: &str| planned(&step, json!({"pod": name}), &workload);
    for hostile in ["", "../secrets/x", "web-1/eviction", "Web-1", "web-1?force=true"] {
        let why = refusal(named(hostile));
        assert!(hostile.is_empty() || !why.contains(hostile), "{why}");
    }
    assert_eq!(refusal(named("other-0")), "pod other-0 is not controlled by StatefulSet web");
    assert!(not_applicable(named("coredns-1")).contains("StatefulSet web has no pod coredns-1"));
    let intent = intended(&step, json!({"pod": "web-1"}), &workload);
    let web_1 = PodRef { name: "web-1".into(), uid: "web-1-uid".into() };
    assert_eq!(acts(&intent, &workload), [Act::DeletePod(web_1)]);
    assert_eq!(probe(&intent, &workload, MARK_1), Some(Probe::NotDone));
    // On its way out: what was asked for was done.
    workload.pods[1].metadata.deletion_timestamp = workload.pods[1].metadata.creation_timestamp.clone();
    assert!(matches!(probe(&intent, &workload, MARK_1), Some(Probe::Done(_))));
}

#[test]
fn what_is_scaled_is_the_autoscaler_of_the_same_kind_if_there_is_one() {
    let step = Step { scale: Some(Scale { to: Some(5), ..Scale::default() }), ..Step::default() };
    let autoscaler = |name: &str, version: &str, kind: &str| {
        let target = json!({"apiVersion": version, "kind": kind, "name": "web"});
        read(json!({
            "metadata": {"name": name, "resourceVersion": "3"},
            "spec": {"scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 4},
        }))
    };
    let mut workload = rollout(json!({"replicas": 3}), "bbb", false);
    workload.autoscalers = vec![autoscaler("other", "apps/v1", "Deployment")];
    let intent = intended(&step, json!({}), &workload);
    let patch = patched(&acts(&intent, &workload), &Patched::Workload(TargetKind::Rollout, "web".into()));
    assert_eq!(patch[1], ("/spec/replicas".into(), json!(5)));
    workload.autoscalers.push(autoscaler("own", "argoproj.io/v1alpha1", "Rollout"));
    let intent = intended(&step, json!({}), &workload);
    let patch = patched(&acts(&intent, &workload), &Patched::HorizontalPodAutoscaler("own".into()));
    assert_eq!(patch[1], ("/spec/minReplicas".into(), json!(4)));
    let daemon_set = Workload { object: Object::DaemonSet(Default::default()), ..Workload::default() };
    assert!(refusal(planned(&step, json!({}), &daemon_set)).contains("no number of replicas"));
}

#[test]
fn a_rollout_is_paused_only_while_it_is_under_way_and_goes_on_when_that_is_taken_back() {
    let step = Step { pause_rollout: Some(Default::default()), ..Step::default() };
    let at = |paused: bool, updated: i32| {
        let spec = json!({"replicas": 3, "paused": paused, "selector": {}, "template": template("web:2")});
        deployment(spec, json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": updated}))
    };
    assert!(refusal(planned(&step, json!({}), &at(false, 3))).contains("is not rolling out"));
    assert!(not_applicable(planned(&step, json!({}), &at(true, 1))).contains("paused already"));
    let intent = intended(&step, json!({}), &at(false, 1));
    let patch = patched(&acts(&intent, &at(false, 1)), &Patched::Workload(TargetKind::Deployment, "web".into()));
    assert_eq!(patch[1], ("/spec/paused".into(), json!(true)));
    assert_eq!(probe(&intent, &at(false, 1), MARK_1), Some(Probe::NotDone));
    assert!(matches!(probe(&intent, &at(true, 1), MARK_1), Some(Probe::Done(_))));
    assert!(matches!(probe(&intent, &at(false, 3), MARK_1), Some(Probe::Lost(_))));
    let UndoPlan::Change(back) = undo(&intent, &at(true, 1), "run-uid/1/undo") else { panic!("a change") };
    assert_eq!(patched(&back.acts, &Patched::Workload(TargetKind::Deployment, "web".into()))[1].1, json!(false));
    assert!(matches!(undo(&intent, &at(false, 1), "run-uid/1/undo"), UndoPlan::Done(_)));
}

#[test]
fn a_node_is_cordoned_once_and_uncordoned_when_that_is_taken_back() {
    let step = Step { cordon: Some(Default::default()), ..Step::default() };
    let node = |unschedulable: bool| {
        let object = json!({"metadata": metadata(), "spec": {"unschedulable": unschedulable}});
        Workload { object: Object::Node(read(object)), ..Workload::default() }
    };
    let intent = intended(&step, json!({}), &node(false));
    assert_eq!(intent.cordon.as_ref().unwrap().node, "web");
    let to = Patched::Workload(TargetKind::Node, "web".into());
    assert_eq!(patched(&acts(&intent, &node(false)), &to)[1], ("/spec/unschedulable".into(), json!(true)));
    assert!(matches!(probe(&intent, &node(true), MARK_1), Some(Probe::Done(_))));
    assert!(not_applicable(planned(&step, json!({}), &node(true))).contains("cordoned already"));
    assert!(refusal(planned(&step, json!({}), &stateful_set())).contains("is no Node"));
    assert!(can_be_undone(&intent));
    let UndoPlan::Change(back) = undo(&intent, &node(true), "run-uid/1/undo") else { panic!("a change") };
    assert_eq!(patched(&back.acts, &to)[1], ("/spec/unschedulable".into(), json!(false)));
    // Taken back before the crash, and cordoned by a person since.
    assert!(matches!(undo(&intent, &marked(node(true), "run-uid/1/undo"), "run-uid/1/undo"), UndoPlan::Done(_)));
}
