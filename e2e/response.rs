//! Who may act, and what happens when nobody may.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::*;
use crate::manifests::*;

/// Two releases rolled out and an AlertResponse that is Ready.
async fn arrange(cluster: &Cluster, namespace: &str, mode: &str, steps: &str) -> Value {
    cluster.fresh_namespace(namespace).await;
    cluster.apply(&responder(namespace)).await;
    for release in ["1", "2"] {
        cluster.apply(&deployment(namespace, "web", release, 1)).await;
        cluster.rolled_out(namespace, "web").await;
    }
    let spec = format!(
        "
  target: {{kind: Deployment, name: web}}
  steps: {steps}
  verify: {{within: 60s, settle: 1s}}"
    );
    let acting = response(namespace, "repair", "Trouble", &spec);
    cluster.apply(&acting.replace("mode: Act", &format!("mode: {mode}"))).await;
    cluster.ready("AlertResponse", namespace, "repair", Duration::from_secs(30)).await;
    cluster.get("Deployment", namespace, "web").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_account_that_may_not_patch_fails_the_run_with_the_api_servers_words() {
    let cluster = Cluster::connect().await;
    let _together = cluster.together().await;
    let namespace = "e2e-response-forbidden";
    let before = arrange(&cluster, namespace, "Act", "[{rollback: {to: lastHealthy}}]").await;
    cluster.delete("RoleBinding", namespace, "responder").await;
    cluster.post("firing", namespace, "Trouble", json!({})).await;
    let run = cluster.closed_run(namespace, "repair", Duration::from_secs(60)).await;
    assert_eq!(run["status"]["phase"], "Failed", "{:#}", run["status"]);
    let words = run["status"].to_string();
    assert!(words.contains("is forbidden") && words.contains("responder"), "{words}");
    let after = cluster.get("Deployment", namespace, "web").await;
    assert_eq!(after["metadata"]["generation"], before["metadata"]["generation"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn observing_records_what_would_be_done_and_touches_nothing() {
    let cluster = Cluster::connect().await;
    let _together = cluster.together().await;
    let namespace = "e2e-response-observe";
    let before = arrange(&cluster, namespace, "Observe", "[{rollback: {to: lastHealthy}}]").await;
    cluster.post("firing", namespace, "Trouble", json!({})).await;
    let run = cluster.closed_run(namespace, "repair", Duration::from_secs(60)).await;
    assert_eq!(run["status"]["phase"], "Observed", "{:#}", run["status"]);
    let after = cluster.get("Deployment", namespace, "web").await;
    assert_eq!(after["metadata"]["generation"], before["metadata"]["generation"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_replaces_the_pods_and_is_proved() {
    let cluster = Cluster::connect().await;
    let _together = cluster.together().await;
    let namespace = "e2e-response-restart";
    arrange(&cluster, namespace, "Act", "[{restart: {}}]").await;
    let old = cluster.pods(namespace, "app.kubernetes.io/name=web").await;
    let run = cluster.play(namespace, "repair", "Trouble", json!({})).await;
    assert_eq!(run["status"]["verdict"], "Pass", "{:#}", run["status"]);
    let new = cluster.pods(namespace, "app.kubernetes.io/name=web").await;
    assert!(!new.iter().any(|pod| old.contains(pod)), "{old:?} {new:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn scaling_sets_the_replicas_and_is_proved() {
    let cluster = Cluster::connect().await;
    let _together = cluster.together().await;
    let namespace = "e2e-response-scale";
    arrange(&cluster, namespace, "Act", "[{scale: {by: 2, max: 2}}]").await;
    let run = cluster.play(namespace, "repair", "Trouble", json!({})).await;
    assert_eq!(run["status"]["verdict"], "Pass", "{:#}", run["status"]);
    assert_eq!(cluster.get("Deployment", namespace, "web").await["spec"]["replicas"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_that_nobody_matches_is_accepted_and_counted() {
    let cluster = Cluster::connect().await;
    let _together = cluster.together().await;
    let (_, ip) = cluster.replicas().await.remove(0);
    let metric = || async {
        let text = cluster.http.get(format!("http://{ip}:8081/metrics")).send().await.ok()?.text().await.ok()?;
        text.lines().find_map(|l| l.strip_prefix("evenkeel_alerts_unmatched_total ")?.parse::<u64>().ok())
    };
    let before = metric().await.unwrap_or(0);
    let nobody = payload("firing", "NobodyCares", json!({"namespace": "nowhere"}));
    assert_eq!(cluster.post_alert(&ip, &nobody).await, Some(200));
    assert!(metric().await > Some(before));
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_credentials_and_malformed_bodies_are_told_apart() {
    let cluster = Cluster::connect().await;
    let _together = cluster.together().await;
    let (_, ip) = cluster.replicas().await.remove(0);
    let alert = payload("firing", "NobodyCares", json!({}));
    assert_eq!(cluster.post_alert_as(&ip, &alert, "evenkeel", "wrong").await, Some(401));
    assert_eq!(cluster.post_alert(&ip, &json!({"alerts": "none"})).await, Some(400));
    let bearer =
        cluster.http.post(format!("http://{ip}:8080/api/v1/alerts")).bearer_auth("wrong").json(&alert).send().await;
    assert_eq!(bearer.map(|r| r.status().as_u16()).ok(), Some(401));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_goes_the_real_way_tells_what_would_be_done_and_touches_nothing() {
    let cluster = Cluster::connect().await;
    let _together = cluster.together().await;
    let namespace = "e2e-response-drill";
    let before = arrange(&cluster, namespace, "Act", "[{rollback: {to: lastHealthy}}, {restart: {}}]").await;
    let stack = format!("{MONITORING}/main");
    let story = run(env!("CARGO_BIN_EXE_evenkeel"), &["drill", "repair", "-n", namespace, "--stack", &stack]).await;
    assert!(story.contains("would roll back Deployment/web") && story.contains("would restart"), "{story}");
    let runs = cluster.runs(namespace, "repair").await;
    assert_eq!(
        (runs.len(), &runs[0]["spec"]["drill"], &runs[0]["status"]["phase"]),
        (1, &json!(true), &json!("Observed"))
    );
    let after = cluster.get("Deployment", namespace, "web").await;
    assert_eq!(after["metadata"]["generation"], before["metadata"]["generation"]);
}
