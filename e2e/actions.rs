//! Every action on every kind of workload, by the real controllers.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::*;
use crate::manifests::*;

const MINUTE: Duration = Duration::from_secs(60);

/// A namespace with a workload `web` at release 2, and an AlertResponse `fix` on alert `Trouble`. `spec` are its fields
/// behind the target.
async fn arrange(cluster: &Cluster, namespace: &str, kind: &str, fields: &str, spec: &str) {
    cluster.fresh_namespace(namespace).await;
    cluster.apply(&responder(namespace)).await;
    for release in ["1", "2"] {
        cluster.apply(&workload(kind, namespace, "web", release, fields)).await;
        rolled_out(cluster, kind, namespace).await;
    }
    respond(cluster, namespace, kind, spec).await;
}

async fn respond(cluster: &Cluster, namespace: &str, kind: &str, spec: &str) {
    let target = format!("  target: {{kind: {kind}, name: web}}\n{spec}");
    cluster.apply(&response(namespace, "fix", "Trouble", &target)).await;
    cluster.ready("AlertResponse", namespace, "fix", Duration::from_secs(30)).await;
}

/// The controller of this kind says that all pods are of the present template and available.
async fn rolled_out(cluster: &Cluster, kind: &str, namespace: &str) {
    if kind == "Deployment" {
        cluster.rolled_out(namespace, "web").await;
        return;
    }
    cluster
        .until("rolled out", kind, namespace, "web", 2 * MINUTE, |o| {
            let (spec, status) = (&o["spec"], &o["status"]);
            let number = |key: &str| status[key].as_i64().unwrap_or(0);
            let seen = status["observedGeneration"] == o["metadata"]["generation"];
            seen && match kind {
                "StatefulSet" => {
                    let wanted = spec["replicas"].as_i64().unwrap_or(1);
                    status["updateRevision"] == status["currentRevision"] && number("availableReplicas") == wanted
                }
                _ => {
                    let wanted = number("desiredNumberScheduled");
                    wanted > 0 && number("updatedNumberScheduled") == wanted && number("numberAvailable") == wanted
                }
            }
        })
        .await;
}

async fn play(cluster: &Cluster, namespace: &str, labels: Value) -> Value {
    cluster.play(namespace, "fix", "Trouble", labels).await
}

fn release(workload: &Value) -> String {
    text(&workload["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"])
}

fn assert_passed(run: &Value) {
    assert_eq!(run["status"]["verdict"], "Pass", "{:#}", run["status"]);
}

const VERIFY: &str = "  verify: {within: 90s, settle: 1s}";

#[tokio::test(flavor = "multi_thread")]
async fn stateful_and_daemon_sets_go_back_to_the_release_before() {
    let cluster = Cluster::connect().await;
    let _together = cluster.together().await;
    for (kind, fields) in [("StatefulSet", "replicas: 1"), ("DaemonSet", "")] {
        let namespace = format!("e2e-actions-rollback-{}", kind.to_lowercase());
        let steps = format!("  steps: [{{rollback: {{to: lastHealthy}}}}]\n{VERIFY}");
        arrange(&cluster, &namespace, kind, fields, &steps).await;
        let run = play(&cluster, &namespace, json!({})).await;
        assert_passed(&run);
        assert_eq!(release(&cluster.get(kind, &namespace, "web").await), "1", "{:#}", run["status"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stateful_set_whose_pod_never_became_ready_goes_back_although_its_controller_waits_for_that_pod() {
    let cluster = Cluster::connect().await;
    let _together = cluster.together().await;
    let namespace = "e2e-actions-stuck";
    cluster.fresh_namespace(namespace).await;
    cluster.apply(&responder(namespace)).await;
    let good = workload("StatefulSet", namespace, "web", "1", "replicas: 1");
    cluster.apply(&good).await;
    rolled_out(&cluster, "StatefulSet", namespace).await;
    cluster.apply(&good.replace("path: /healthz", "path: /nowhere").replace("value: '1'", "value: '2'")).await;
    eventually("the pod of release 2 is there and not ready", MINUTE, || async {
        let pods = cluster.list("Pod", namespace, "app.kubernetes.io/name=web").await;
        pods.iter().any(|pod| release_of_pod(pod) == "2" && pod["status"]["phase"] == "Running").then_some(())
    })
    .await;
    let steps = format!("  steps: [{{rollback: {{to: lastHealthy}}}}]\n{VERIFY}");
    respond(&cluster, namespace, "StatefulSet", &steps).await;
    assert_passed(&play(&cluster, namespace, json!({})).await);
    assert_eq!(release(&cluster.get("StatefulSet", namespace, "web").await), "1");
}

fn release_of_pod(pod: &Value) -> String {
    text(&pod["spec"]["containers"][0]["env"][0]["value"])
}

#[tokio::test(flavor = "multi_thread")]
async fn stateful_and_daemon_sets_are_restarted() {
    let cluster = Cluster::connect().await;
    let _together = cluster.together().await;
    for (kind, fields) in [("StatefulSet", "replicas: 1"), ("DaemonSet", "")] {
        let namespace = format!("e2e-actions-restart-{}", kind.to_lowercase());
        arrange(&cluster, &namespace, kind, fields, &format!("  steps: [{{restart: {{}}}}]\n{VERIFY}")).await;
        let uids = async || -> Vec<String> {
            let pods = cluster.list("Pod", &namespace, "app.kubernetes.io/name=web").await;
            pods.iter().map(|pod| text(&pod["metadata"]["uid"])).collect()
        };
        let before = uids().await;
        assert_passed(&play(&cluster, &namespace, json!({})).await);
        assert!(!uids().await.iter().any(|uid| before.contains(uid)), "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_pods_that_are_not_ready_are_replaced() {
    let cluster = Cluster::connect().await;
    let _together = cluster.together().await;
    let namespace = "e2e-actions-not-ready";
    let steps = format!("  steps: [{{restart: {{pods: NotReady}}}}]\n{VERIFY}");
    arrange(&cluster, namespace, "Deployment", "replicas: 2", &steps).await;
    let pods = cluster.pods(namespace, "app.kubernetes.io/name=web").await;
    let (broken, healthy) = (&pods[0], &pods[1]);
    let url = format!("http://{}:8080/break/down", broken.1);
    assert!(cluster.http.post(url).send().await.expect("the pod answers").status().is_success());
    eventually("one pod is not ready", MINUTE, || async {
        (cluster.pods(namespace, "app.kubernetes.io/name=web").await == [healthy.clone()]).then_some(())
    })
    .await;
    assert_passed(&play(&cluster, namespace, json!({})).await);
    let after = cluster.pods(namespace, "app.kubernetes.io/name=web").await;
    assert!(after.contains(healthy) && !after.contains(broken), "{pods:?} {after:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pod_of_the_alert_is_deleted_and_a_foreign_one_is_not() {
    let cluster = Cluster::connect().await;
    let _together = cluster.together().await;
    let namespace = "e2e-actions-delete-pod";
    let steps = format!("  steps: [{{deletePod: {{}}}}]\n  guardrails: {{cooldown: 0s}}\n{VERIFY}");
    arrange(&cluster, namespace, "Deployment", "replicas: 1", &steps).await;
    cluster.apply(&deployment(namespace, "other", "1", 1)).await;
    cluster.rolled_out(namespace, "other").await;
    let pod = async |name: &str| cluster.pods(namespace, &format!("app.kubernetes.io/name={name}")).await.remove(0).0;
    let foreign = pod("other").await;
    let run = play(&cluster, namespace, json!({"pod": foreign})).await;
    assert!(text(&run["status"]["message"]).contains("of another workload"), "{:#}", run["status"]);
    assert_eq!(pod("other").await, foreign);
    let own = pod("web").await;
    cluster.post("firing", namespace, "Trouble", json!({"pod": own})).await;
    eventually("another pod is there", MINUTE, || async {
        let pods = cluster.pods(namespace, "app.kubernetes.io/name=web").await;
        (pods.len() == 1 && pods[0].0 != own).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_is_stopped_where_it_stands_and_goes_on_when_that_did_not_help() {
    let cluster = Cluster::connect().await;
    let _together = cluster.together().await;
    let namespace = "e2e-actions-pause";
    let steps = "  steps: [{pauseRollout: {}}]\n  undo: NotProved\n  verify: {within: 5s, settle: 1s}";
    arrange(&cluster, namespace, "Deployment", "replicas: 2", steps).await;
    // A release that never becomes ready: its rollout stands still with the old pods serving.
    let stuck = deployment(namespace, "web", "3", 2).replace("path: /healthz", "path: /nowhere");
    cluster.apply(&stuck).await;
    cluster.until("under way", "Deployment", namespace, "web", MINUTE, |o| o["status"]["updatedReplicas"] == 1).await;
    cluster.post("firing", namespace, "Trouble", json!({})).await;
    cluster.until("paused", "Deployment", namespace, "web", MINUTE, |o| o["spec"]["paused"] == true).await;
    let run = cluster.closed_run(namespace, "fix", MINUTE).await;
    assert_eq!(run["status"]["phase"], "Failed", "{:#}", run["status"]);
    let resumed = |o: &Value| o["spec"]["paused"] != true;
    cluster.until("resumed", "Deployment", namespace, "web", MINUTE, resumed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_cordoned_and_freed_again_when_that_did_not_help() {
    let cluster = Cluster::connect().await;
    // On one node nobody else could start a pod meanwhile.
    let _alone = cluster.alone().await;
    cluster.operator_settled().await;
    let namespace = "e2e-actions-cordon";
    cluster.fresh_namespace(namespace).await;
    cluster.apply(&responder(namespace)).await;
    let node = text(&cluster.list("Node", "", "").await[0]["metadata"]["name"]);
    cluster
        .apply(&format!(
            "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {{name: {namespace}}}
rules: [{{apiGroups: [''], resources: [nodes], verbs: [get, patch]}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: {namespace}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {namespace}}}
subjects: [{{kind: ServiceAccount, name: responder, namespace: {namespace}}}]
"
        ))
        .await;
    let spec = "
  target: {kind: Node, nameFromLabel: node}
  steps: [{cordon: {}}]
  undo: NotProved
  verify: {within: 5s, settle: 1s}";
    cluster.apply(&response(namespace, "fix", "Trouble", spec)).await;
    cluster.ready("AlertResponse", namespace, "fix", Duration::from_secs(30)).await;
    cluster.post("firing", namespace, "Trouble", json!({"node": node})).await;
    cluster.until("cordoned", "Node", "", &node, MINUTE, |o| o["spec"]["unschedulable"] == true).await;
    cluster.until("free again", "Node", "", &node, MINUTE, |o| o["spec"]["unschedulable"] != true).await;
    cluster.delete("ClusterRoleBinding", "", namespace).await;
    cluster.delete("ClusterRole", "", namespace).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_minimum_of_an_autoscaler_is_raised_and_put_back_although_the_operator_was_away_at_the_time() {
    let cluster = Cluster::connect().await;
    let _alone = cluster.alone().await;
    cluster.operator_settled().await;
    let namespace = "e2e-actions-autoscaler";
    let steps = format!("  steps: [{{scale: {{to: 3, restoreAfter: 20s}}}}]\n{VERIFY}");
    arrange(&cluster, namespace, "Deployment", "replicas: 1", &steps).await;
    cluster
        .apply(&format!(
            "
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {{name: web, namespace: {namespace}}}
spec: {{minReplicas: 1, maxReplicas: 4, scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: web}}}}
"
        ))
        .await;
    let minimum = |o: &Value| o["spec"]["minReplicas"].as_i64();
    let run = play(&cluster, namespace, json!({})).await;
    assert_passed(&run);
    assert_eq!(minimum(&cluster.get("HorizontalPodAutoscaler", namespace, "web").await), Some(3));
    cluster.merge("Deployment", OPERATOR, "evenkeel", json!({"spec": {"replicas": 0}})).await;
    let due = text(&run["status"]["steps"][0]["undo"]["due"]);
    let due: jiff::Timestamp = due.parse().unwrap_or_else(|_| panic!("{due:?} is no time: {:#}", run["status"]));
    eventually("the time is over", MINUTE, || async { (jiff::Timestamp::now() > due).then_some(()) }).await;
    assert_eq!(minimum(&cluster.get("HorizontalPodAutoscaler", namespace, "web").await), Some(3));
    cluster.merge("Deployment", OPERATOR, "evenkeel", json!({"spec": {"replicas": 2}})).await;
    cluster.until("put back", "HorizontalPodAutoscaler", namespace, "web", MINUTE, |o| minimum(o) == Some(1)).await;
    cluster.operator_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_runs_with_the_alert_in_its_environment_and_a_failed_one_fails_its_step() {
    let cluster = Cluster::connect().await;
    let _together = cluster.together().await;
    let namespace = "e2e-actions-job";
    let steps = format!("  steps: [{{job: {{fromCronJob: clean, timeout: 30s}}}}]\n{VERIFY}");
    cluster.fresh_namespace(namespace).await;
    // `shop --help` ends well, an argument that it does not know does not.
    let cron_job = |argument: &str| {
        format!(
            "
apiVersion: batch/v1
kind: CronJob
metadata: {{name: clean, namespace: {namespace}}}
spec:
  schedule: '0 0 1 1 *'
  suspend: true
  jobTemplate:
    spec:
      backoffLimit: 0
      template:
        spec:
          restartPolicy: Never
          securityContext: {{runAsNonRoot: true, seccompProfile: {{type: RuntimeDefault}}}}
          containers:
          - name: clean
            image: {SHOP}
            args: ['{argument}']
            securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}
"
        )
    };
    cluster.apply(&cron_job("--help")).await;
    arrange_after(&cluster, namespace, &steps).await;
    let run = play(&cluster, namespace, json!({"region": "eu $(HOME)"})).await;
    assert_passed(&run);
    let jobs = cluster.list("Job", namespace, "").await;
    assert_eq!(jobs.len(), 1, "{:#}", run["status"]);
    let environment = jobs[0]["spec"]["template"]["spec"]["containers"][0]["env"].to_string();
    assert!(environment.contains("ALERT_NAME") && environment.contains("Trouble"), "{environment}");
    assert!(environment.contains("$$(HOME)"), "{environment}");

    cluster.apply(&cron_job("--no-such-argument")).await;
    let run = play(&cluster, namespace, json!({"region": "us"})).await;
    assert_eq!(run["status"]["steps"][0]["state"], "Failed", "{:#}", run["status"]);
}

/// As `arrange`, for a namespace that is there.
async fn arrange_after(cluster: &Cluster, namespace: &str, spec: &str) {
    cluster.apply(&responder(namespace)).await;
    cluster.apply(&deployment(namespace, "web", "1", 1)).await;
    cluster.rolled_out(namespace, "web").await;
    let spec = format!("{spec}\n  guardrails: {{cooldown: 0s}}");
    respond(cluster, namespace, "Deployment", &spec).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_diagnosis_holds_what_a_person_would_look_at_and_no_credential() {
    let cluster = Cluster::connect().await;
    let _together = cluster.together().await;
    let namespace = "e2e-actions-diagnose";
    let steps = format!("  steps: [{{diagnose: {{logs: {{lines: 50}}}}}}, {{restart: {{}}}}]\n{VERIFY}");
    cluster.fresh_namespace(namespace).await;
    cluster.apply(&responder(namespace)).await;
    // What it calls itself is in its log.
    cluster.apply(&deployment(namespace, "web", "password=hunter2", 1)).await;
    cluster.rolled_out(namespace, "web").await;
    respond(&cluster, namespace, "Deployment", &steps).await;
    let run = play(&cluster, namespace, json!({})).await;
    assert_passed(&run);
    let name = text(&run["status"]["steps"][0]["intent"]["diagnose"]["configMap"]);
    let kept = cluster.get("ConfigMap", namespace, &name).await;
    let parts = kept["data"].as_object().expect("data");
    for part in ["target.yaml", "pods.txt", "events.txt", "rollout.txt"] {
        assert!(parts.contains_key(part), "{part} in {:?}", parts.keys());
    }
    let log = parts.iter().find(|(key, _)| key.starts_with("logs-")).expect("a log").1.to_string();
    assert!(log.contains("open"), "{log}");
    assert!(!kept["data"].to_string().contains("hunter2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_firing_alert_of_the_stack_is_silenced_for_a_time() {
    let cluster = Cluster::connect().await;
    let _together = cluster.together().await;
    let namespace = "e2e-actions-silence";
    cluster.fresh_namespace(namespace).await;
    let steps = "  steps: [{silence: {for: 10m, comment: looked at}}]\n  verify: {within: 5s, settle: 1s}";
    arrange_after(&cluster, namespace, steps).await;
    cluster
        .apply(&format!(
            "
apiVersion: evenkeel.dev/v1alpha1
kind: AlertRule
metadata: {{name: always, namespace: {namespace}}}
spec: {{interval: 2s, rules: [{{alert: Trouble, expr: vector(1), severity: warning, labels: {{namespace: {namespace}}}}}]}}
"
        ))
        .await;
    let run = cluster.closed_run(namespace, "fix", 2 * MINUTE).await;
    assert_eq!(run["status"]["phase"], "Succeeded", "{:#}", run["status"]);
    let (_, ip) =
        cluster.pods(MONITORING, "app.kubernetes.io/name=alertmanager,app.kubernetes.io/instance=main").await.remove(0);
    let silences = cluster.http.get(format!("http://{ip}:9093/api/v2/silences")).send().await.expect("an answer");
    let silences: Vec<Value> = silences.json().await.expect("JSON");
    // Others of its name may be left from an earlier run of this test.
    let uid = text(&run["metadata"]["uid"]);
    let ours: Vec<&Value> = silences.iter().filter(|s| text(&s["comment"]).contains(&uid)).collect();
    assert_eq!(ours.len(), 1, "{silences:#?}");
    assert_eq!(ours[0]["status"]["state"], "active");
    assert!(ours[0]["matchers"].to_string().contains(namespace), "{ours:#?}");
    assert!(text(&ours[0]["comment"]).contains("looked at"));
}
