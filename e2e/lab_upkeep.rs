//! What a stack with logs, traces and dashboards does with what is old, and with what is wrong.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::harness::*;
use crate::lab::*;

#[tokio::test(flavor = "multi_thread")]
async fn logs_that_are_old_are_really_gone() {
    let cluster = Cluster::bare().await;
    let _together = cluster.together().await;
    let namespace = "e2e-lab-short";
    cluster.fresh_namespace(namespace).await;
    // What waits for minutes in production is told to wait for seconds.
    cluster
        .apply(&format!(
            "
apiVersion: evenkeel.dev/v1alpha1
kind: MonitoringStack
metadata: {{name: short, namespace: {namespace}}}
spec:
  loki:
    retention: 2m
    streams: [{{selector: '{{which=\"kept\"}}', retention: 1d}}]
    pod: {{extraArgs: ['-compactor.compaction-interval=5s', '-compactor.retention-delete-delay=1s', '-ingester.chunks-idle-period=2s', '-ingester.flush-check-period=1s']}}
"
        ))
        .await;
    cluster.ready("MonitoringStack", namespace, "short", Duration::from_secs(120)).await;
    let labels = "app.kubernetes.io/name=loki,app.kubernetes.io/instance=short";
    let (_, ip) = cluster.pods(namespace, labels).await.remove(0);
    let now = Timestamp::now();
    for which in ["old", "kept"] {
        let entry = json!([(now - Duration::from_secs(90)).as_nanosecond().to_string(), which]);
        let body = json!({"streams": [{"stream": {"source": "e2e", "which": which}, "values": [entry]}]});
        let sent = cluster.http.post(format!("http://{ip}:3100/loki/api/v1/push")).json(&body).send().await;
        let answer = sent.expect("an answer");
        assert!(answer.status().is_success(), "{which}: {:?}", answer.text().await);
    }
    let lines = || async {
        let query = [
            ("query", "{source=\"e2e\"}".to_owned()),
            ("start", (now - Duration::from_secs(600)).as_nanosecond().to_string()),
            ("end", (Timestamp::now() + Duration::from_secs(1)).as_nanosecond().to_string()),
        ];
        let url = format!("http://{ip}:3100/loki/api/v1/query_range");
        let answer: Value = cluster.http.get(url).query(&query).send().await.ok()?.json().await.ok()?;
        let found = answer["data"]["result"].to_string();
        Some((found.contains("\"old\""), found.contains("\"kept\"")))
    };
    eventually("both lines", Duration::from_secs(20), || async { (lines().await? == (true, true)).then_some(()) })
        .await;
    // Loki writes its index every quarter of an hour, and when it starts with what it finds.
    let shutdown = format!("http://{ip}:3100/ingester/shutdown?flush=true&terminate=true");
    let _ = cluster.http.post(shutdown).send().await;
    // For up to an hour a query may find the line in Loki's cache of chunks: the store itself is what counts.
    let deleted = "loki_boltdb_shipper_retention_sweeper_chunk_deleted_duration_seconds_count";
    eventually("Loki deleted the chunk of the old line", Duration::from_secs(240), || async {
        let metrics = cluster.http.get(format!("http://{ip}:3100/metrics")).send().await.ok()?.text().await.ok()?;
        let done = |line: &&str| line.starts_with(deleted) && line.contains("status=\"success\"");
        let count = metrics.lines().find(done)?.rsplit(' ').next()?.to_owned();
        (count == "1").then_some(())
    })
    .await;
    assert!(lines().await.expect("an answer").1, "the line of a stream that is kept longer is there");
    cluster.delete("Namespace", "", namespace).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_named_and_the_rest_works() {
    let lab = Lab::open().await;
    let (cluster, namespace) = (&lab.cluster, "e2e-lab-wrong");
    let _together = cluster.together().await;
    cluster.fresh_namespace(namespace).await;
    cluster
        .apply(&format!(
            "
apiVersion: v1
kind: ConfigMap
metadata: {{name: broken-board, namespace: {namespace}, labels: {{grafana_dashboard: '1'}}}}
data: {{board.json: '{{\"title\": \"half'}}
---
apiVersion: evenkeel.dev/v1alpha1
kind: MonitoringStack
metadata: {{name: wrong, namespace: {namespace}}}
spec:
  prometheus: {{}}
  loki: {{storage: {{size: 1Gi, storageClassName: no-such-class}}}}
  grafana: {{}}
  logs:
    otlp: {{}}
    redact: {{presets: [credentials], patterns: ['(unclosed']}}
"
        ))
        .await;
    let named = |stack: &Value| {
        let told = stack["status"].to_string();
        ["no-such-class", "(unclosed", "broken-board"].iter().all(|words| told.contains(words))
    };
    let stack =
        cluster.until("all three named", "MonitoringStack", namespace, "wrong", Duration::from_secs(90), named).await;
    println!("{}", text(&condition_of(&stack, "Ready")["message"]));
    eventually("Prometheus and the gateway run all the same", Duration::from_secs(120), || async {
        let stack = cluster.get("MonitoringStack", namespace, "wrong").await;
        let ready = |name: &str| {
            let all = stack["status"]["components"].as_array()?;
            all.iter().find(|c| c["name"] == name && c["ready"].as_i64() > Some(0)).map(|_| ())
        };
        ready("prometheus")?;
        ready("log-gateway")
    })
    .await;
    cluster.delete("Namespace", "", namespace).await;
}
