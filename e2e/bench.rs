//! `make bench`: what the operator costs, counted on the local cluster. Prints Markdown for docs/benchmarks.md; the
//! argument names the part, `rules`, `slos`, `storm` or `stack`.
//!
//! Times come from the API server's audit log (microseconds, one clock) or from polling every 20 ms; CPU and memory
//! from the operator's own `/metrics`.

mod footprint;
// Shared with the tests; the bench needs a part of it.
#[allow(dead_code)]
mod harness;
#[allow(dead_code)]
mod lab;
#[allow(dead_code)]
mod manifests;
mod slo_traffic;
mod storm;

use std::time::{Duration, Instant};

use harness::*;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};

const NAMESPACE: &str = "e2e-bench";
/// The pods of the shared stack's Prometheus.
const MONITORING_LABELS: &str = "app.kubernetes.io/name=prometheus,app.kubernetes.io/instance=main";
const RULES: usize = 5;
const EDITS: usize = 20;
const SETTLE: Duration = Duration::from_secs(10);
/// How often an edit is looked for.
const POLL: Duration = Duration::from_millis(20);

fn rule(number: usize, rules: usize, threshold: usize) -> Value {
    let rules: Vec<Value> = (0..rules)
        .map(|i| {
            json!({
                "alert": format!("Bench{number}x{i}"), "for": "5m", "severity": "warning",
                "expr": format!("sum(rate(http_requests_total{{job=\"bench-{number}\",code=~\"5..\"}}[5m])) > {threshold}"),
                "annotations": {"summary": "Requests of bench fail", "runbook_url": "https://example.com/runbook"},
            })
        })
        .collect();
    json!({
        "apiVersion": "evenkeel.dev/v1alpha1", "kind": "AlertRule",
        "metadata": {"name": format!("bench-{number:04}"), "namespace": NAMESPACE},
        "spec": {"interval": "1m", "rules": rules},
    })
}

/// One figure of the leader's `/metrics`.
async fn metric(cluster: &Cluster, name: &str) -> f64 {
    let leader = cluster.leader().await;
    let (_, ip) = cluster.replicas().await.into_iter().find(|(pod, _)| *pod == leader).expect("a ready leader");
    metric_at(cluster, &ip, name).await
}

/// The same of the replica at `ip`.
async fn metric_at(cluster: &Cluster, ip: &str, name: &str) -> f64 {
    let text = cluster.http.get(format!("http://{ip}:8081/metrics")).send().await.expect("metrics");
    let text = text.text().await.expect("metrics");
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.unwrap_or_else(|| panic!("{name} in:\n{text}")).parse().expect("a number")
}

/// The audit log behind `from`, the operator's own entries.
fn audit(from: usize) -> Vec<Value> {
    let path = std::env::var("EVENKEEL_AUDIT_LOG").expect("EVENKEEL_AUDIT_LOG (make bench sets it)");
    let log = std::fs::read(path).expect("the audit log");
    String::from_utf8_lossy(&log[from..])
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|e| text(&e["user"]["username"]) == format!("system:serviceaccount:{OPERATOR}:evenkeel"))
        .collect()
}

fn audit_size() -> usize {
    let path = std::env::var("EVENKEEL_AUDIT_LOG").expect("EVENKEEL_AUDIT_LOG (make bench sets it)");
    std::fs::metadata(path).expect("the audit log").len() as usize
}

fn is_write(entry: &Value) -> bool {
    !matches!(entry["verb"].as_str(), Some("get" | "list" | "watch")) && entry["objectRef"]["resource"] != "leases"
}

fn shard_writes(entries: &[Value]) -> Vec<&Value> {
    entries.iter().filter(|e| e["objectRef"]["resource"] == "configmaps" && is_write(e)).collect()
}

fn at(entry: &Value) -> f64 {
    let time: jiff::Timestamp = text(&entry["stageTimestamp"]).parse().expect("a time");
    time.as_microsecond() as f64 / 1e6
}

async fn all_loaded(cluster: &Cluster, count: usize) {
    eventually(&format!("{count} AlertRules are loaded"), Duration::from_secs(300), || async {
        let rules = cluster.list("AlertRule", NAMESPACE, "").await;
        let loaded = rules.iter().filter(|o| current(o) && condition(o, "Loaded") == "True").count();
        (loaded == count).then_some(())
    })
    .await;
}

/// Writes `count` AlertRules with so many rules each, a few at a time.
async fn fill(cluster: &Cluster, count: usize, rules: usize) {
    let api = cluster.api("AlertRule", NAMESPACE).await;
    let numbers: Vec<usize> = (0..count).collect();
    for chunk in numbers.chunks(16) {
        let writes = chunk.iter().map(|number| {
            let api = api.clone();
            let object: DynamicObject = serde_json::from_value(rule(*number, rules, 1)).expect("an object");
            async move {
                let name = object.metadata.name.clone().expect("a name");
                api.patch(&name, &PatchParams::apply("e2e").force(), &Patch::Apply(&object)).await.expect("a write")
            }
        });
        futures::future::join_all(writes).await;
    }
    all_loaded(cluster, count).await;
}

/// What is polled during an edit, looked up once: polling must not load the machine that it measures.
struct Watched {
    rules: Api<DynamicObject>,
    prometheus: String,
}

impl Watched {
    async fn find(cluster: &Cluster) -> Self {
        let (_, ip) = cluster.pods(MONITORING, MONITORING_LABELS).await.into_iter().next().expect("a ready Prometheus");
        Self {
            rules: cluster.api("AlertRule", NAMESPACE).await,
            prometheus: format!("http://{ip}:9090/api/v1/rules?type=alert"),
        }
    }
}

/// The new expression in Prometheus, then `Loaded` for the new generation: seconds after the edit.
async fn edit(cluster: &Cluster, watched: &Watched, number: usize, rules: usize, threshold: usize) -> (f64, f64) {
    let name = format!("bench-{number:04}");
    let object: DynamicObject = serde_json::from_value(rule(number, rules, threshold)).expect("an object");
    let started = Instant::now();
    let edited = watched.rules.patch(&name, &PatchParams::apply("e2e").force(), &Patch::Apply(&object)).await;
    let generation = edited.expect("an edit").metadata.generation;
    let in_prometheus = async {
        // Of one group: asked about all of them, Prometheus would be kept busy by the bench.
        let url = format!("{}&rule_group[]={NAMESPACE}/{name}", watched.prometheus);
        loop {
            let query = async {
                let answer: Value = cluster.http.get(&url).send().await.ok()?.json().await.ok()?;
                Some(text(&answer["data"]["groups"][0]["rules"][0]["query"]))
            };
            if query.await.is_some_and(|query| query.ends_with(&format!("> {threshold}"))) {
                return started.elapsed().as_secs_f64();
            }
            tokio::time::sleep(POLL).await;
        }
    };
    let in_status = async {
        loop {
            let object = watched.rules.get(&name).await.expect("the rule");
            let object = serde_json::to_value(object).expect("JSON");
            if object["status"]["observedGeneration"].as_i64() == generation && condition(&object, "Loaded") == "True" {
                return started.elapsed().as_secs_f64();
            }
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::join!(in_prometheus, in_status)
}

fn median(values: &mut [f64]) -> (f64, f64) {
    values.sort_by(f64::total_cmp);
    (values[values.len() / 2], values[values.len() - 1])
}

async fn edits(cluster: &Cluster, count: usize, rules: usize) {
    // The statuses of the fill have settled when CPU is compared, and what an idle operator takes is known.
    tokio::time::sleep(SETTLE).await;
    let before = metric(cluster, "process_cpu_seconds_total").await;
    tokio::time::sleep(SETTLE).await;
    let (from, cpu) = (audit_size(), metric(cluster, "process_cpu_seconds_total").await);
    let idle = (cpu - before) / SETTLE.as_secs_f64();
    let watched = Watched::find(cluster).await;
    let idle_from = Instant::now();
    let (mut live, mut loaded) = (vec![], vec![]);
    for round in 0..EDITS {
        let (in_prometheus, in_status) = edit(cluster, &watched, round * count / EDITS, rules, 100 + round).await;
        live.push(in_prometheus);
        loaded.push(in_status);
    }
    let took = idle_from.elapsed().as_secs_f64();
    let cpu = metric(cluster, "process_cpu_seconds_total").await - cpu;
    let entries = audit(from);
    let shards = shard_writes(&entries).len();
    let ((live, live_max), (loaded, loaded_max)) = (median(&mut live), median(&mut loaded));
    println!(
        "| {count} | {rules} | {live:.2} s | {live_max:.2} s | {loaded:.2} s | {loaded_max:.2} s | {:.1} ms | {:.1} ms | {:.2} |",
        cpu * 1000.0 / EDITS as f64,
        (cpu - idle * took) * 1000.0 / EDITS as f64,
        shards as f64 / EDITS as f64,
    );
    eprintln!("  {EDITS} edits in {took:.0} s, {cpu:.2} CPU-seconds in all");
}

async fn scale_operator(cluster: &Cluster, replicas: u32) {
    cluster.merge("Deployment", OPERATOR, "evenkeel", json!({"spec": {"replicas": replicas}})).await;
    eventually("the operator is scaled", Duration::from_secs(60), || async {
        let pods = cluster.list("Pod", OPERATOR, "app.kubernetes.io/name=evenkeel").await;
        (pods.len() == replicas as usize && cluster.replicas().await.len() == replicas as usize).then_some(())
    })
    .await;
}

/// The operator starts with 2,000 AlertRules and no shard written.
async fn cold_start(cluster: &Cluster, count: usize) {
    scale_operator(cluster, 0).await;
    for shard in cluster.list("ConfigMap", MONITORING, "evenkeel.dev/set=rules").await {
        cluster.delete("ConfigMap", MONITORING, &text(&shard["metadata"]["name"])).await;
    }
    let from = audit_size();
    scale_operator(cluster, 1).await;
    // The audit log has the times: nothing is gained by listing megabytes of shards while the operator writes them.
    tokio::time::sleep(Duration::from_secs(5)).await;
    eventually("all shards are written", Duration::from_secs(60), || async {
        let shards = cluster.list("ConfigMap", MONITORING, "evenkeel.dev/set=rules").await;
        let rules: usize =
            shards.iter().map(|s| s["data"].to_string().matches(&format!("{NAMESPACE}/bench-")).count()).sum();
        (rules == count).then_some(())
    })
    .await;
    all_loaded(cluster, count).await;
    let entries = audit(from);
    let first = entries.iter().map(at).fold(f64::INFINITY, f64::min);
    let lease = entries
        .iter()
        .filter(|e| e["objectRef"]["resource"] == "leases" && e["verb"] != "get")
        .map(at)
        .fold(f64::INFINITY, f64::min);
    let last = shard_writes(&entries).into_iter().map(at).fold(0.0, f64::max);
    let resident = metric(cluster, "process_resident_memory_bytes").await / 1048576.0;
    println!("\n## Cold start with {count} AlertRules of {RULES} rules, no shard written yet\n");
    println!("- First request of the process to the last shard written: {:.2} s", last - first);
    println!("- Lease taken to the last shard written: {:.2} s", last - lease);
    println!("- Resident memory once all are loaded: {resident:.1} MiB");
    scale_operator(cluster, 2).await;
    cluster.operator_settled().await;
}

async fn idle(seconds: u64) {
    let from = audit_size();
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let entries = audit(from);
    let writes: Vec<_> = entries.iter().filter(|e| is_write(e)).collect();
    println!("\n## Idle\n\n- Writes of the operator in {seconds} s, the lease aside: {}", writes.len());
    for write in writes.iter().take(10) {
        println!("  - {} {}", write["verb"], write["requestURI"]);
    }
}

async fn alert_rules(cluster: &Cluster) {
    cluster.fresh_namespace(NAMESPACE).await;
    println!("## An edit of one AlertRule\n");
    println!(
        "Live: Prometheus reports the new expression. Loaded: `Loaded=True` for the new generation. Prometheus scrapes every 15 s and has a memory limit of 2Gi. {EDITS} edits each, one after the other. CPU is that of the whole process from the first edit to the last; above idle, less what it took in {} s before.\n",
        SETTLE.as_secs()
    );
    println!(
        "| AlertRules | rules each | live, median | live, max | Loaded, median | Loaded, max | operator CPU an edit | above idle | shards written an edit |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for (count, rules) in [(10, RULES), (2000, 1), (2000, RULES)] {
        fill(cluster, count, rules).await;
        edits(cluster, count, rules).await;
    }
    cold_start(cluster, 2000).await;
    let seconds = std::env::var("EVENKEEL_IDLE_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(300);
    // Two replicas are two targets: the stack counts its targets once a minute.
    tokio::time::sleep(Duration::from_secs(100)).await;
    idle(seconds).await;
    cluster.delete("Namespace", "", NAMESPACE).await;
}

#[tokio::main]
async fn main() {
    let part = std::env::args().nth(1);
    if part.as_deref() == Some("stack") {
        return footprint::run().await;
    }
    let cluster = Cluster::connect().await;
    cluster.operator_settled().await;
    // As in production: the tests scrape the API server every 5 s, which keeps half a core busy.
    let prometheus = json!({"scrapeInterval": "15s", "pod": {"resources": {"limits": {"memory": "2Gi"}}}});
    cluster.merge("MonitoringStack", MONITORING, "main", json!({"spec": {"prometheus": prometheus}})).await;
    cluster.ready("MonitoringStack", MONITORING, "main", Duration::from_secs(120)).await;
    match part.as_deref() {
        Some("rules") => alert_rules(&cluster).await,
        Some("slos") => slo_traffic::run(&cluster).await,
        Some("storm") => storm::run(&cluster).await,
        other => panic!("which part: rules, slos, storm or stack? {other:?}"),
    }
}
