//! Which revision a rollback chooses, against the real Deployment controller.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::*;
use crate::manifests::*;

/// A namespace with a responder and an AlertResponse `undo` that rolls back Deployment `web`.
async fn arrange(cluster: &Cluster, namespace: &str) {
    cluster.fresh_namespace(namespace).await;
    cluster.apply(&responder(namespace)).await;
    let spec = "
  target: {kind: Deployment, name: web}
  steps: [{rollback: {to: lastHealthy, onlyIfChangedWithin: 1h}}]
  verify: {within: 60s, settle: 1s}";
    cluster.apply(&response(namespace, "undo", "BadRelease", spec)).await;
    cluster.ready("AlertResponse", namespace, "undo", Duration::from_secs(30)).await;
}

async fn release(cluster: &Cluster, namespace: &str, release: &str) {
    cluster.apply(&deployment(namespace, "web", release, 1)).await;
    cluster.rolled_out(namespace, "web").await;
}

async fn restart(cluster: &Cluster, namespace: &str, at: &str) {
    let annotation = json!({"kubectl.kubernetes.io/restartedAt": at});
    let patch = json!({"spec": {"template": {"metadata": {"annotations": annotation}}}});
    cluster.merge("Deployment", namespace, "web", patch).await;
    cluster.rolled_out(namespace, "web").await;
}

async fn fire(cluster: &Cluster, namespace: &str) -> Value {
    cluster.play(namespace, "undo", "BadRelease", json!({"severity": "critical"})).await
}

async fn release_now(cluster: &Cluster, namespace: &str) -> String {
    let web = cluster.get("Deployment", namespace, "web").await;
    text(&web["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"])
}

/// Everything the run says, for assertions on its words.
fn words(run: &Value) -> String {
    run["status"].to_string()
}

fn assert_passed(run: &Value) {
    assert_eq!(run["status"]["verdict"], "Pass", "{:#}", run["status"]);
    assert_eq!(run["status"]["phase"], "Succeeded", "{:#}", run["status"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_release_goes_back_to_the_one_before_it() {
    let cluster = Cluster::connect().await;
    let _together = cluster.together().await;
    let namespace = "e2e-rollback-plain";
    arrange(&cluster, namespace).await;
    release(&cluster, namespace, "1").await;
    release(&cluster, namespace, "2").await;
    let run = fire(&cluster, namespace).await;
    assert_passed(&run);
    assert_eq!(release_now(&cluster, namespace).await, "1");
    let events = cluster.list("Event", namespace, "").await;
    for kind in ["ResponseRun", "Deployment"] {
        assert!(
            events
                .iter()
                .any(|e| e["regarding"]["kind"] == kind && e["reportingController"] == "evenkeel.dev/operator"),
            "an Event on the {kind}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_after_the_bad_release_does_not_hide_it() {
    let cluster = Cluster::connect().await;
    let _together = cluster.together().await;
    let namespace = "e2e-rollback-restart";
    arrange(&cluster, namespace).await;
    release(&cluster, namespace, "1").await;
    release(&cluster, namespace, "2").await;
    restart(&cluster, namespace, "2026-01-01T00:00:00Z").await;
    let run = fire(&cluster, namespace).await;
    assert_passed(&run);
    assert_eq!(release_now(&cluster, namespace).await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_was_undone_before_is_not_chosen_again() {
    let cluster = Cluster::connect().await;
    let _together = cluster.together().await;
    let namespace = "e2e-rollback-undone";
    arrange(&cluster, namespace).await;
    release(&cluster, namespace, "1").await;
    release(&cluster, namespace, "2").await;
    // An undo as kubectl does it: the template of release 1 is back under a new revision.
    release(&cluster, namespace, "1").await;
    release(&cluster, namespace, "3").await;
    let run = fire(&cluster, namespace).await;
    assert_passed(&run);
    assert_eq!(release_now(&cluster, namespace).await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_history_of_one_the_only_revision_left_is_chosen() {
    let cluster = Cluster::connect().await;
    let _together = cluster.together().await;
    let namespace = "e2e-rollback-history";
    arrange(&cluster, namespace).await;
    for number in ["1", "2", "3"] {
        release(&cluster, namespace, number).await;
        cluster.merge("Deployment", namespace, "web", json!({"spec": {"revisionHistoryLimit": 1}})).await;
    }
    eventually("one old ReplicaSet is left", Duration::from_secs(30), || async {
        (cluster.list("ReplicaSet", namespace, "").await.len() == 2).then_some(())
    })
    .await;
    let run = fire(&cluster, namespace).await;
    assert_passed(&run);
    assert_eq!(release_now(&cluster, namespace).await, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn restarts_alone_leave_nothing_to_go_back_to() {
    let cluster = Cluster::connect().await;
    let _together = cluster.together().await;
    let namespace = "e2e-rollback-same";
    arrange(&cluster, namespace).await;
    release(&cluster, namespace, "1").await;
    restart(&cluster, namespace, "2026-01-01T00:00:00Z").await;
    let before = cluster.get("Deployment", namespace, "web").await["metadata"]["generation"].clone();
    let run = fire(&cluster, namespace).await;
    assert_ne!(run["status"]["verdict"], "Pass", "{:#}", run["status"]);
    assert!(words(&run).contains("revision"), "{:#}", run["status"]);
    assert_eq!(cluster.get("Deployment", namespace, "web").await["metadata"]["generation"], before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_deployment_is_refused_with_the_reason() {
    let cluster = Cluster::connect().await;
    let _together = cluster.together().await;
    let namespace = "e2e-rollback-paused";
    arrange(&cluster, namespace).await;
    release(&cluster, namespace, "1").await;
    release(&cluster, namespace, "2").await;
    cluster.merge("Deployment", namespace, "web", json!({"spec": {"paused": true}})).await;
    let run = fire(&cluster, namespace).await;
    assert_eq!(run["status"]["phase"], "Failed", "{:#}", run["status"]);
    assert!(words(&run).contains("paused"), "{:#}", run["status"]);
    assert_eq!(release_now(&cluster, namespace).await, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_newest_replica_set_does_not_exist_the_rollback_says_so() {
    let cluster = Cluster::connect().await;
    let _alone = cluster.alone().await;
    let namespace = "e2e-rollback-unseen";
    arrange(&cluster, namespace).await;
    release(&cluster, namespace, "1").await;
    release(&cluster, namespace, "2").await;
    run("e2e/cluster/cluster", &["kill-process", "kube-controller-manager"]).await;
    cluster.apply(&deployment(namespace, "web", "3", 1)).await;
    let (_, ip) = cluster.replicas().await.remove(0);
    let firing = payload("firing", "BadRelease", json!({"namespace": namespace, "severity": "critical"}));
    assert_eq!(cluster.post_alert(&ip, &firing).await, Some(200));
    let said = eventually("the run says what it waits for, or refuses", Duration::from_secs(60), || async {
        let runs = cluster.runs(namespace, "undo").await;
        runs.iter().map(words).find(|words| words.contains("observedGeneration") || words.contains("ReplicaSet"))
    })
    .await;
    let release = release_now(&cluster, namespace).await;
    run("e2e/cluster/cluster", &["up"]).await;
    assert_eq!(release, "3", "nothing was changed while the history was incomplete: {said}");
}
