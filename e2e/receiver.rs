//! Nothing is lost, nothing is done twice, while parts of the cluster are away.

use std::collections::BTreeSet;
use std::time::Duration;

use kube::api::DeleteParams;
use serde_json::json;

use crate::harness::*;
use crate::manifests::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_repeats_over_both_replicas_while_the_leader_dies_are_one_run_and_one_rollback() {
    let cluster = Cluster::connect().await;
    let _alone = cluster.alone().await;
    cluster.operator_settled().await;
    let namespace = "e2e-receiver-repeats";
    cluster.fresh_namespace(namespace).await;
    cluster.apply(&responder(namespace)).await;
    for release in ["1", "2"] {
        cluster.apply(&deployment(namespace, "web", release, 1)).await;
        cluster.rolled_out(namespace, "web").await;
    }
    let spec = "
  target: {kind: Deployment, name: web}
  steps: [{rollback: {to: lastHealthy}}]
  verify: {within: 120s, settle: 1s}";
    cluster.apply(&response(namespace, "undo", "BadRelease", spec)).await;
    cluster.ready("AlertResponse", namespace, "undo", Duration::from_secs(30)).await;
    let before = cluster.get("Deployment", namespace, "web").await["metadata"]["generation"].as_i64();

    let firing = payload("firing", "BadRelease", json!({"namespace": namespace}));
    let mut replicas = cluster.replicas().await;
    let leader = cluster.leader().await;
    let mut accepted = 0;
    for number in 0..100 {
        if number == 10 {
            // A crash, not a farewell: no time to release the lease.
            let now = DeleteParams::default().grace_period(0);
            let _ = cluster.api("Pod", OPERATOR).await.delete(&leader, &now).await;
        }
        let (_, ip) = &replicas[number % replicas.len()];
        let answer = cluster.post_alert(ip, &firing).await;
        accepted += usize::from(answer == Some(200));
        if answer.is_none() {
            // A sender looks the Service up anew; an address that is gone takes seconds to say so.
            replicas = Some(cluster.replicas().await).filter(|there| !there.is_empty()).unwrap_or(replicas);
        }
    }
    assert!(accepted >= 50, "the replica that lives takes its half: {accepted}");
    eventually("the rollback", Duration::from_secs(90), || async {
        let web = cluster.get("Deployment", namespace, "web").await;
        (web["metadata"]["generation"].as_i64() > before).then_some(())
    })
    .await;
    cluster.operator_settled().await;
    let (_, ip) = cluster.replicas().await.remove(0);
    let resolved = payload("resolved", "BadRelease", json!({"namespace": namespace}));
    assert_eq!(cluster.post_alert(&ip, &resolved).await, Some(200));
    let run = cluster.closed_run(namespace, "undo", Duration::from_secs(120)).await;
    assert_eq!(run["status"]["verdict"], "Pass", "{:#}", run["status"]);
    assert_eq!(cluster.runs(namespace, "undo").await.len(), 1);
    let web = cluster.get("Deployment", namespace, "web").await;
    assert_eq!(web["metadata"]["generation"].as_i64(), before.map(|g| g + 1), "one rollback");
    assert_eq!(web["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"], "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_api_server_is_away_alerts_are_refused_and_none_that_was_accepted_is_lost() {
    let cluster = Cluster::connect().await;
    let _alone = cluster.alone().await;
    cluster.operator_settled().await;
    let namespace = "e2e-receiver-outage";
    cluster.fresh_namespace(namespace).await;
    cluster.apply(&responder(namespace)).await;
    cluster.apply(&deployment(namespace, "web", "1", 1)).await;
    cluster
        .apply(&format!(
            "
apiVersion: evenkeel.dev/v1alpha1
kind: AlertResponse
metadata: {{name: watch, namespace: {namespace}}}
spec:
  match: {{alert: Outage, matchers: ['namespace=\"{namespace}\"']}}
  target: {{kind: Deployment, name: web}}
  steps: [{{restart: {{}}}}]
"
        ))
        .await;
    cluster.ready("AlertResponse", namespace, "watch", Duration::from_secs(30)).await;
    let replicas = cluster.replicas().await;
    let credentials = cluster.webhook_credentials().await;

    run("e2e/cluster/cluster", &["stop-apiserver"]).await;
    let mut refused = 0;
    let outage = std::time::Instant::now();
    while outage.elapsed() < Duration::from_secs(20) {
        for number in 0..20 {
            let alert = payload("firing", "Outage", json!({"namespace": namespace, "number": number.to_string()}));
            let (_, ip) = &replicas[number % replicas.len()];
            match cluster.post_alert_as(ip, &alert, &credentials.0, &credentials.1).await {
                Some(503) => refused += 1,
                // Not listening: its process ends when it cannot renew its lease. Alertmanager tries again.
                None => {}
                other => panic!("an alert was answered {other:?} without an API server"),
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    run("e2e/cluster/cluster", &["start-apiserver"]).await;
    assert!(refused > 0, "503 while there is no API server");
    cluster.operator_settled().await;
    let replicas = cluster.replicas().await;
    eventually("every alert is accepted", Duration::from_secs(60), || {
        let (cluster, replicas, namespace) = (cluster.clone(), replicas.clone(), namespace.to_owned());
        async move {
            for number in 0..20 {
                let alert = payload("firing", "Outage", json!({"namespace": namespace, "number": number.to_string()}));
                let (_, ip) = &replicas[number % replicas.len()];
                if cluster.post_alert(ip, &alert).await != Some(200) {
                    return None;
                }
            }
            Some(())
        }
    })
    .await;
    let numbers: BTreeSet<String> = cluster
        .runs(namespace, "watch")
        .await
        .iter()
        .map(|run| text(&run["spec"]["alert"]["labels"]["number"]))
        .collect();
    assert_eq!(numbers.len(), 20, "a run for every alert: {numbers:?}");

    sees_new_responses(&cluster, namespace).await;
    // Watches that broke are opened again after up to half a minute. What runs next finds controllers that see.
    cluster.fresh_namespace("e2e-receiver-controllers").await;
    cluster.apply(&deployment("e2e-receiver-controllers", "web", "1", 1)).await;
    cluster.rolled_out("e2e-receiver-controllers", "web").await;
}

/// A replica answers 200 only when it sees the AlertResponses that there are: the first alert that each of them takes has
/// a run of one that was made just now.
async fn sees_new_responses(cluster: &Cluster, namespace: &str) {
    cluster
        .apply(&format!(
            "
apiVersion: evenkeel.dev/v1alpha1
kind: AlertResponse
metadata: {{name: after, namespace: {namespace}}}
spec:
  match: {{alert: Seen, matchers: ['namespace=\"{namespace}\"']}}
  target: {{kind: Deployment, name: web}}
  steps: [{{restart: {{}}}}]
"
        ))
        .await;
    // By so much a watch that is open may be behind.
    tokio::time::sleep(Duration::from_secs(2)).await;
    for (replica, ip) in cluster.replicas().await {
        let alert = payload("firing", "Seen", json!({"namespace": namespace, "replica": replica}));
        eventually(&format!("{replica} takes alerts"), Duration::from_secs(60), || async {
            cluster.post_alert(&ip, &alert).await.filter(|code| *code == 200)
        })
        .await;
        let runs = cluster.runs(namespace, "after").await;
        let recorded = runs.iter().any(|run| run["spec"]["alert"]["labels"]["replica"] == *replica);
        assert!(recorded, "{replica} took an alert and did not know the AlertResponse that it matches");
    }
}
