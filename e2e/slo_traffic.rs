//! What SLOs in the cluster make the operator ask of Prometheus and write to the API server, while nothing changes.

use std::time::Duration;

use serde_json::{Value, json};

use super::harness::*;
use super::{MONITORING_LABELS, audit, audit_size, is_write};

const NAMESPACE: &str = "e2e-bench-slos";
/// A step of 5 minutes: every slow group is evaluated once.
const COUNTED: Duration = Duration::from_secs(300);
/// After `Loaded` the first values come: with the next step, at the latest.
const SETTLE: Duration = Duration::from_secs(330);

fn slo(number: usize) -> Value {
    json!({
        "apiVersion": "evenkeel.dev/v1alpha1", "kind": "SLO",
        "metadata": {"name": format!("bench-{number:04}"), "namespace": NAMESPACE},
        "spec": {
            "service": format!("bench-{number:04}"), "objective": 99.9, "window": {"rolling": "30d"},
            // A target that is always up: nothing visible changes.
            "indicator": {"availability": {"metric": "up{job=\"apiserver\"}"}},
        },
    })
}

/// Creates SLOs up to `count`, a few at a time, and waits until Prometheus has the rules of all.
async fn fill(cluster: &Cluster, from: usize, count: usize) {
    let api = cluster.api("SLO", NAMESPACE).await;
    let numbers: Vec<usize> = (from..count).collect();
    for chunk in numbers.chunks(16) {
        let creations = chunk.iter().map(|number| {
            let (api, object) = (api.clone(), serde_json::from_value(slo(*number)).expect("an object"));
            async move { api.create(&Default::default(), &object).await.expect("create") }
        });
        futures::future::join_all(creations).await;
    }
    eventually(&format!("{count} SLOs are loaded"), Duration::from_secs(300), || async {
        let slos = cluster.list("SLO", NAMESPACE, "").await;
        let loaded = slos.iter().filter(|o| current(o) && condition(o, "Loaded") == "True").count();
        (loaded == count).then_some(())
    })
    .await;
}

/// Requests that all Prometheus pods of the stack have answered at a path of their API, whoever sent them.
async fn answered(cluster: &Cluster, handler: &str) -> f64 {
    let mut sum = 0.0;
    for (_, ip) in cluster.pods(MONITORING, MONITORING_LABELS).await {
        let text = cluster.http.get(format!("http://{ip}:9090/metrics")).send().await.expect("metrics");
        let text = text.text().await.expect("metrics");
        let lines = text.lines().filter(|line| line.starts_with("prometheus_http_requests_total{"));
        let of_handler = lines.filter(|line| line.contains(&format!("handler=\"{handler}\"")));
        sum += of_handler.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>();
    }
    sum
}

async fn count(cluster: &Cluster, slos: usize) {
    tokio::time::sleep(SETTLE).await;
    let handlers = ["/api/v1/query", "/api/v1/rules"];
    let mut before = vec![];
    for handler in handlers {
        before.push(answered(cluster, handler).await);
    }
    let from = audit_size();
    tokio::time::sleep(COUNTED).await;
    let entries = audit(from);
    let mut asked = vec![];
    for (handler, before) in handlers.into_iter().zip(before) {
        asked.push(answered(cluster, handler).await - before);
    }
    let minutes = COUNTED.as_secs_f64() / 60.0;
    let writes: Vec<&Value> = entries.iter().filter(|entry| is_write(entry)).collect();
    let states = cluster.list("SLO", NAMESPACE, "").await;
    let healthy = states.iter().filter(|o| o["status"]["state"] == "Healthy").count();
    println!(
        "| {slos} | {healthy} | {:.1} | {:.1} | {:.1} |",
        asked[0] / minutes,
        asked[1] / minutes,
        writes.len() as f64 / minutes
    );
    for write in writes.iter().take(5) {
        eprintln!("  {} {}", write["verb"], write["requestURI"]);
    }
}

pub async fn run(cluster: &Cluster) {
    cluster.fresh_namespace(NAMESPACE).await;
    println!("\n## SLOs in the cluster, while nothing visible changes\n");
    println!(
        "Counted for {} s, {} s after Prometheus has loaded the rules of all of them, by Prometheus' own metrics and the API server's audit log; the lease aside.\n",
        COUNTED.as_secs(),
        SETTLE.as_secs()
    );
    println!(
        "| SLOs | of them Healthy | `/api/v1/query` a minute | `/api/v1/rules` a minute | writes of the operator a minute |\n|---|---|---|---|---|"
    );
    fill(cluster, 0, 10).await;
    count(cluster, 10).await;
    fill(cluster, 10, 1_000).await;
    count(cluster, 1_000).await;
    cluster.delete("Namespace", "", NAMESPACE).await;
}
