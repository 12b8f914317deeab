//! Part `storm` of the benchmark: how fast an alert leads to a repair, and what thousands of alerts at once do.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt};
use serde_json::{Value, json};

use crate::harness::*;
use crate::manifests::*;
use crate::{at, audit, audit_size, is_write, metric, metric_at};

/// Where the storm is, and where single alerts are: who acted within ten minutes counts in a namespace, even when it is new.
const STORM_IN: &str = "e2e-storm";
const RATES_IN: &str = "e2e-rates";
/// Alerts a second, and how many.
const RATES: [(usize, usize); 3] = [(1, 20), (50, 300), (200, 600)];
/// Targets of one AlertResponse: no more than may be repaired in an hour.
const TARGETS: usize = 60;
const STORM: usize = 10_000;
/// Alerts in one delivery of the storm, as Alertmanager sends a group.
const GROUP: usize = 50;

/// A Deployment without pods: to be patched is all that it is for.
fn idle(namespace: &str, name: &str) -> String {
    deployment(namespace, name, "1", 0)
}

async fn apply_all(cluster: &Cluster, manifests: Vec<String>) {
    stream::iter(manifests).for_each_concurrent(16, |yaml| async move { drop(cluster.apply(&yaml).await) }).await;
}

async fn limits(cluster: &Cluster, runs: usize) {
    let container = json!({"name": "evenkeel", "env": [{"name": "EVENKEEL_STORM_RUNS", "value": runs.to_string()}]});
    let patch = json!({"spec": {"template": {"spec": {"containers": [container]}}}});
    let api = cluster.api("Deployment", OPERATOR).await;
    api.patch("evenkeel", &Default::default(), &kube::api::Patch::Strategic(patch)).await.expect("a patch");
    cluster.rolled_out(OPERATOR, "evenkeel").await;
    cluster.operator_settled().await;
}

fn percentile(sorted: &[f64], share: f64) -> f64 {
    let at = ((sorted.len() as f64 - 1.0) * share).round() as usize;
    sorted[at]
}

fn figures(mut all: Vec<f64>) -> String {
    all.sort_by(f64::total_cmp);
    let milliseconds = |share| percentile(&all, share) * 1000.0;
    format!("{:.0} ms | {:.0} ms", milliseconds(0.5), milliseconds(0.99))
}

/// When each object of a resource was written, by its name, as the API server has it.
fn written(entries: &[Value], resource: &str, verb: &str) -> BTreeMap<String, f64> {
    let of = entries.iter().filter(|e| {
        e["objectRef"]["resource"] == resource
            && e["verb"] == verb
            && e["objectRef"]["subresource"].is_null()
            && e["responseStatus"]["code"].as_i64().is_some_and(|code| code < 300)
    });
    let mut first = BTreeMap::new();
    for entry in of {
        first.entry(text(&entry["objectRef"]["name"])).or_insert(at(entry));
    }
    first
}

/// One alert a delivery, at a steady rate, each about a Deployment of its own.
async fn latency(cluster: &Cluster, rate: usize, count: usize) {
    let name = |number: usize| format!("r{rate}-{number}");
    let responses = (0..count.div_ceil(TARGETS)).map(|group| {
        let spec = "
  target: {kind: Deployment, nameFromLabel: deployment}
  steps: [{restart: {}}]
  guardrails: {maxRunsPerHour: 60}
  verify: {within: 30m, settle: 1s}";
        response(RATES_IN, &format!("r{rate}-{group}"), &format!("Rate{rate}Group{group}"), spec)
    });
    apply_all(cluster, responses.chain((0..count).map(|number| idle(RATES_IN, &name(number)))).collect()).await;
    for group in 0..count.div_ceil(TARGETS) {
        cluster.ready("AlertResponse", RATES_IN, &format!("r{rate}-{group}"), Duration::from_secs(60)).await;
    }
    let (replicas, (user, password)) = (cluster.replicas().await, cluster.webhook_credentials().await);
    let (from, begun) = (audit_size(), Instant::now());
    let posts = (0..count).map(|number| {
        let alert = format!("Rate{rate}Group{}", number / TARGETS);
        let labels = json!({"namespace": RATES_IN, "deployment": name(number), "severity": "critical"});
        let body = payload("firing", &alert, labels);
        let (_, ip) = &replicas[number % replicas.len()];
        let (user, password) = (&user, &password);
        async move {
            let due = Duration::from_secs_f64(number as f64 / rate as f64);
            tokio::time::sleep(due.saturating_sub(begun.elapsed())).await;
            let sent = Instant::now();
            // As Alertmanager does: what was not taken is sent again.
            while cluster.post_alert_as(ip, &body, user, password).await != Some(200) {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            sent.elapsed().as_secs_f64()
        }
    });
    let persisted = futures::future::join_all(posts).await;
    eventually("every alert was acted on", Duration::from_secs(180), || async {
        let patched = written(&audit(from), "deployments", "patch");
        (patched.len() == count).then_some(())
    })
    .await;
    let entries = audit(from);
    let patched = written(&entries, "deployments", "patch");
    let created = written(&entries, "responseruns", "create");
    let runs = cluster.list("ResponseRun", RATES_IN, "").await;
    let acted = runs.iter().filter_map(|run| {
        let created = created.get(&text(&run["metadata"]["name"]))?;
        Some(patched.get(&text(&run["spec"]["target"]["name"]))? - created)
    });
    println!("| {rate} | {count} | {} | {} |", figures(persisted), figures(acted.collect()));
}

/// The operator's requests in the second in which they were most, and on average.
fn load(entries: &[Value]) -> (usize, f64) {
    let mut seconds: BTreeMap<i64, usize> = BTreeMap::new();
    for entry in entries {
        *seconds.entry(at(entry) as i64).or_default() += 1;
    }
    let span =
        seconds.last_key_value().map_or(1, |(last, _)| last - seconds.first_key_value().map_or(0, |(f, _)| *f) + 1);
    (seconds.values().copied().max().unwrap_or(0), entries.len() as f64 / span as f64)
}

/// Ten thousand alerts in a minute, in groups, by turns to both replicas.
async fn storm(cluster: &Cluster) {
    let spec = "
  target: {kind: Deployment, nameFromLabel: deployment}
  steps: [{restart: {}}]
  guardrails: {maxRunsPerHour: 60}
  verify: {within: 30m, settle: 1s}";
    cluster.apply(&response(STORM_IN, "storm", "Storm", spec)).await;
    apply_all(cluster, (0..200).map(|number| idle(STORM_IN, &format!("storm-{number}"))).collect()).await;
    cluster.ready("AlertResponse", STORM_IN, "storm", Duration::from_secs(60)).await;
    limits(cluster, 20).await;
    let (replicas, (user, password)) = (cluster.replicas().await, cluster.webhook_credentials().await);
    let (from, begun) = (audit_size(), Instant::now());
    let posts = (0..STORM / GROUP).map(|group| {
        let mut whole = payload("firing", "Storm", json!({}));
        let alerts = (0..GROUP).map(|member| {
            let number = group * GROUP + member;
            let labels = json!({
                "namespace": STORM_IN, "deployment": format!("storm-{}", number % 200), "pod": number.to_string(),
                "severity": if group == 0 { "critical" } else { "warning" },
            });
            payload("firing", "Storm", labels)["alerts"][0].take()
        });
        whole["alerts"] = alerts.collect();
        let (_, ip) = &replicas[group % replicas.len()];
        let (user, password) = (&user, &password);
        async move {
            let due = Duration::from_secs_f64(60.0 * (group * GROUP) as f64 / STORM as f64);
            tokio::time::sleep(due.saturating_sub(begun.elapsed())).await;
            let mut tries = 1;
            // As Alertmanager does: what was not taken is sent again.
            while cluster.post_alert_as(ip, &whole, user, password).await != Some(200) {
                tries += 1;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            tries
        }
    });
    let started = jiff::Timestamp::now().as_microsecond() as f64 / 1e6;
    let tries: Vec<u32> = futures::future::join_all(posts).await;
    let taken = begun.elapsed().as_secs_f64();
    eventually("every run was let act or held back", Duration::from_secs(900), || async {
        let open = metric(cluster, "evenkeel_response_runs{phase=\"Pending\"}").await;
        (open == 0.0).then_some(())
    })
    .await;
    let took = begun.elapsed().as_secs_f64();
    let runs = cluster.list("ResponseRun", STORM_IN, "").await;
    let decided: Vec<Value> = runs.into_iter().filter(|run| run["spec"]["alert"]["name"] == "Storm").collect();
    let entries = audit(from);
    let created: BTreeSet<String> = written(&entries, "responseruns", "create").into_keys().collect();
    let patched = written(&entries, "deployments", "patch");
    let of_all = |best: fn(f64, f64) -> f64, from: f64| patched.values().copied().fold(from, best) - started;
    let (first, last) = (of_all(f64::min, f64::INFINITY), of_all(f64::max, f64::NEG_INFINITY));
    let soon = patched.values().filter(|at| **at - started <= 2.0).count();
    let (most, mean) = load(&entries);
    let writes = entries.iter().filter(|e| is_write(e)).count();
    let held = decided.iter().filter(|run| text(&run["status"]["message"]).starts_with("storm brake: ")).count();
    println!("## A storm: {STORM} alerts in a minute, to both replicas\n");
    println!(
        "- Deliveries of {GROUP} alerts: {}, of which {} had to be sent again",
        tries.len(),
        tries.iter().filter(|t| **t > 1).count()
    );
    println!(
        "- Runs created: {} of {STORM}; the last delivery was answered after {taken:.0} s, the last run was decided on after {took:.0} s",
        created.len()
    );
    println!(
        "- Runs that acted: {} (the storm brake is 20 in 10 minutes); held by the storm brake: {held}; all of them: {}",
        patched.len(),
        decided.len()
    );
    println!(
        "- The first delivery is critical: its first repair {first:.2} s after it was sent, {soon} of the {} that the brake lets pass within 2 s, the last {last:.2} s",
        patched.len()
    );
    println!(
        "- Requests of the operator to the API server: {mean:.0} a second on average, {most} in the busiest second; {writes} writes in all"
    );
    println!("- {}", resident(cluster, "Resident memory afterwards").await);
    let begun = Instant::now();
    limits(cluster, 10_000).await;
    let took = begun.elapsed().as_secs_f64();
    let pods = cluster.list("Pod", OPERATOR, "app.kubernetes.io/name=evenkeel").await;
    let restarts = pods.iter().filter_map(|pod| pod["status"]["containerStatuses"][0]["restartCount"].as_u64());
    println!(
        "- Rolled out again with all of these runs on record: both replicas ready and a leader at work after {took:.1} s, {} restarts; {}",
        restarts.sum::<u64>(),
        resident(cluster, "resident memory").await
    );
}

/// The resident memory of each replica.
async fn resident(cluster: &Cluster, what: &str) -> String {
    let mut found = vec![];
    for (_, ip) in cluster.replicas().await {
        let bytes = metric_at(cluster, &ip, "process_resident_memory_bytes").await;
        found.push(format!("{:.0} MiB", bytes / 1048576.0));
    }
    format!("{what} of the replicas: {}", found.join(" and "))
}

pub async fn run(cluster: &Cluster) {
    // First: whoever acted within ten minutes counts.
    cluster.fresh_namespace(STORM_IN).await;
    cluster.apply(&responder(STORM_IN)).await;
    storm(cluster).await;
    // What is left of it goes before anything else is measured.
    cluster.fresh_namespace(STORM_IN).await;
    cluster.fresh_namespace(RATES_IN).await;
    cluster.apply(&responder(RATES_IN)).await;
    println!("\n## From an alert to a repair\n");
    println!(
        "Single deliveries at a steady rate, each about a Deployment of its own, which is restarted. Persisted: until the answer 200, repeats after a 503 included. Patched: from the ResponseRun in the API server to the patch of the Deployment in the API server, by its audit log.\n"
    );
    println!("| alerts a second | alerts | to persisted, p50 | p99 | persisted to patched, p50 | p99 |");
    println!("|---|---|---|---|---|---|");
    for (rate, count) in RATES {
        latency(cluster, rate, count).await;
    }
    println!(
        "\nEvery alert was acted on. 16 runs are worked on at a time; where alerts come faster than the API server takes the writes of their repairs, the rest waits, critical ones first."
    );
    for namespace in [STORM_IN, RATES_IN] {
        cluster.delete("Namespace", "", namespace).await;
    }
}
