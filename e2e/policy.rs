//! A spent budget tells people, freezes workloads and thaws them when it is given back; reports are written and sent.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::{Json, Router, routing::post};
use serde_json::Value;

use crate::harness::*;
use crate::manifests::*;

/// What a channel received.
type Letters = Arc<Mutex<Vec<Value>>>;

/// A webhook that pods can reach, on the side of the pod network on which this test runs.
async fn webhook(pod_ip: &str) -> (String, Letters) {
    let address = host_facing(pod_ip);
    let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await.expect("a port");
    let url = format!("http://{address}:{}/hook", listener.local_addr().expect("an address").port());
    let letters = Letters::default();
    let received = letters.clone();
    let take = move |Json(letter): Json<Value>| {
        received.lock().expect("not poisoned").push(letter);
        async {}
    };
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/hook", post(take))).await });
    (url, letters)
}

fn titles(letters: &Letters) -> Vec<String> {
    letters.lock().expect("not poisoned").iter().map(|letter| text(&letter["title"])).collect()
}

fn has(letters: &Letters, part: &str) -> bool {
    titles(letters).iter().any(|title| title.contains(part))
}

/// A Deployment that is scraped at a port where nothing listens: `up` is 0.
fn unreachable(namespace: &str) -> String {
    deployment(namespace, "down", "1", 1).replace(
        "metadata: {labels: {app.kubernetes.io/name: down}}",
        "metadata: {labels: {app.kubernetes.io/name: down}, annotations: {prometheus.io/scrape: 'true', prometheus.io/port: '9999'}}",
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spent_budget_freezes_and_tells_and_thaws_when_it_is_given_back() {
    let cluster = Cluster::connect().await;
    let _together = cluster.together().await;
    let namespace = "e2e-policy";
    cluster.fresh_namespace(namespace).await;
    cluster.apply(&unreachable(namespace)).await;
    cluster.rolled_out(namespace, "down").await;
    let pods = cluster.pods(namespace, "app.kubernetes.io/name=down").await;
    let (url, letters) = webhook(&pods[0].1).await;
    cluster
        .apply(&format!(
            "
apiVersion: evenkeel.dev/v1alpha1
kind: NotificationChannel
metadata: {{name: chat, namespace: {namespace}}}
spec: {{webhook: {{url: '{url}'}}}}
---
apiVersion: evenkeel.dev/v1alpha1
kind: ErrorBudgetPolicy
metadata: {{name: standard, namespace: {namespace}}}
spec:
  thresholds:
  - {{remainingBelow: 50, priority: P3, requireReview: true, notify: [chat]}}
  - {{remainingBelow: 0, priority: P1, notify: [chat], freeze: {{workloads: [{{kind: Deployment, name: down}}]}}}}
  allocation: {{bugs: 60, reserve: 40}}
  report: {{schedule: '* * * * *', notify: [chat]}}
---
apiVersion: evenkeel.dev/v1alpha1
kind: SLO
metadata: {{name: reachable, namespace: {namespace}}}
spec:
  service: down
  objective: 80
  window: {{rolling: 1h}}
  indicator: {{availability: {{metric: 'up{{namespace=\"{namespace}\",pod=~\"down-.*\"}}'}}}}
  alerting: {{page: {{disabled: true}}}}
  policyRef: {{name: standard}}
"
        ))
        .await;

    let in_force = |o: &Value| {
        let passed = o["status"]["slos"][0]["passed"].as_array().cloned().unwrap_or_default();
        passed.iter().filter(|entry| entry["inForceSince"].is_string()).count()
    };
    let four_minutes = Duration::from_secs(240);
    let policy = cluster
        .until("in force", "ErrorBudgetPolicy", namespace, "standard", four_minutes, |o| {
            in_force(o) == 2 && o["status"]["slos"][0]["told"].as_array().is_some_and(|told| told.len() == 2)
        })
        .await;
    let standing = &policy["status"]["slos"][0];
    assert_eq!(
        (text(&standing["name"]), text(&standing["priority"]), standing["requireReview"].as_bool()),
        ("reachable".into(), "P1".into(), Some(true))
    );
    assert_eq!(condition(&policy, "Ready"), "True", "{:#}", policy["status"]);
    assert!(has(&letters, "threshold 50% is in force") && has(&letters, "threshold 0% is in force"));
    let told = titles(&letters).iter().filter(|title| title.contains("is in force")).count();
    assert_eq!(told, 2, "each once: {:?}", titles(&letters));

    let freeze = cluster
        .until("active", "ChangeFreeze", namespace, "standard-reachable", Duration::from_secs(15), |o| {
            o["status"]["active"] == true
        })
        .await;
    let (reason, owner) = (text(&freeze["spec"]["reason"]), &freeze["metadata"]["ownerReferences"][0]);
    assert!(reason.contains("of the error budget of SLO reachable was left at"), "{reason}");
    assert_eq!((text(&freeze["spec"]["slo"]), text(&owner["kind"])), ("reachable".into(), "ErrorBudgetPolicy".into()));

    let report = cluster
        .until("written", "ConfigMap", namespace, "standard-report", Duration::from_secs(75), |o| {
            text(&o["data"]["report.md"]).contains("| reachable | 0% |")
        })
        .await;
    let words = text(&report["data"]["report.md"]);
    assert!(words.contains("| reachable | down | 80% | 1h |") && words.contains("standard-reachable"), "{words}");
    eventually("the report is sent", Duration::from_secs(30), || async {
        has(&letters, "Error budgets of e2e-policy/standard").then_some(())
    })
    .await;

    // Everything failed, which is five budgets: ten more leave six.
    let now = jiff::Timestamp::now();
    cluster
        .apply(&format!(
            "
apiVersion: evenkeel.dev/v1alpha1
kind: BudgetAdjustment
metadata: {{name: reset, namespace: {namespace}}}
spec: {{slos: [reachable], cause: incident, giveBack: {{percent: 1000, at: '{now}'}}}}
"
        ))
        .await;
    let adjustment = cluster.ready("BudgetAdjustment", namespace, "reset", Duration::from_secs(15)).await;
    assert_eq!(adjustment["status"]["appliedTo"][0], "reachable");
    let freezes = cluster.api("ChangeFreeze", namespace).await;
    eventually("the thaw", Duration::from_secs(60), || async {
        freezes.get_opt("standard-reachable").await.ok()?.is_none().then_some(())
    })
    .await;
    cluster
        .until("over", "ErrorBudgetPolicy", namespace, "standard", Duration::from_secs(30), |o| {
            in_force(o) == 0 && o["status"]["slos"][0]["told"].is_null()
        })
        .await;
    let slo = cluster.get("SLO", namespace, "reachable").await;
    assert_eq!(slo["status"]["budget"]["adjustments"][0], "reset", "{:#}", slo["status"]);
    let ended = titles(&letters).iter().filter(|title| title.contains("is no longer in force")).count();
    assert_eq!(ended, 2, "each once: {:?}", titles(&letters));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_said_with_the_way_out() {
    let cluster = Cluster::connect().await;
    let _together = cluster.together().await;
    let namespace = "e2e-policy-wrong";
    cluster.fresh_namespace(namespace).await;
    cluster
        .apply(&format!(
            "
apiVersion: evenkeel.dev/v1alpha1
kind: ErrorBudgetPolicy
metadata: {{name: wrong, namespace: {namespace}}}
spec:
  thresholds: [{{remainingBelow: 0}}, {{remainingBelow: 10}}]
  report: {{schedule: every monday, timeZone: Paris}}
---
apiVersion: evenkeel.dev/v1alpha1
kind: ErrorBudgetPolicy
metadata: {{name: lonely, namespace: {namespace}}}
spec: {{thresholds: [{{remainingBelow: 0, notify: [nobody]}}]}}
---
apiVersion: evenkeel.dev/v1alpha1
kind: SLO
metadata: {{name: checkout, namespace: {namespace}}}
spec: {{service: checkout, objective: 99, window: {{rolling: 7d}}, indicator: {{availability: {{metric: nothing}}}}}}
---
apiVersion: evenkeel.dev/v1alpha1
kind: BudgetAdjustment
metadata: {{name: typo, namespace: {namespace}}}
spec: {{slos: [chekout], giveBack: {{percent: 10, at: '2026-11-20T00:00:00Z'}}}}
"
        ))
        .await;
    for (kind, name, reason, words) in [
        ("ErrorBudgetPolicy", "wrong", "InvalidSpec", "spec.thresholds[1].remainingBelow: 10 is not below 0"),
        ("ErrorBudgetPolicy", "wrong", "InvalidSpec", "\"Paris\" is not a time zone"),
        ("ErrorBudgetPolicy", "lonely", "ChannelMissing", "spec.thresholds[0].notify: nobody"),
        ("BudgetAdjustment", "typo", "SloMissing", "chekout (did you mean checkout?)"),
    ] {
        cluster
            .until(reason, kind, namespace, name, Duration::from_secs(15), |o| {
                let ready = condition_of(o, "Ready");
                ready["status"] == "False" && ready["reason"] == reason && text(&ready["message"]).contains(words)
            })
            .await;
    }
}
