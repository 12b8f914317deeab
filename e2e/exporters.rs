//! Exporters and the rules that come with them: quiet while nothing is wrong, and told of within seconds when a database, a
//! health check or a workload is.

use std::net::SocketAddr;
use std::time::Duration;

use evenkeel::dashboards::{self, Dashboard, Parts};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use crate::fakes::Fake;
use crate::fakes::hook::Hook;
use crate::gauges::*;
use crate::harness::*;
use crate::manifests::*;
use crate::panes::{ask, survey};

/// From something that breaks to its alert in Alertmanager: seconds, but for a loaded machine.
const SOON: Duration = Duration::from_secs(120);

/// Held by a test that does something to the databases.
static DATABASES: Mutex<()> = Mutex::const_new(());

#[tokio::test(flavor = "multi_thread")]
async fn on_a_healthy_stack_nothing_fires_but_the_watchdog() {
    let cluster = Cluster::bare().await;
    let _together = cluster.together().await;
    let found = Gauges::open(cluster).await.found;
    println!("fired: {:?}, pending: {:?}", found.fired, found.pending);
    println!("NOT SHOWN: KafkaConsumerLag and its like. Neither Kafka nor its exporter is to be had here.");
    assert_eq!(found.fired, ["Watchdog"], "pending at the end: {:?}", found.pending);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rule_that_ships_is_evaluated_by_prometheus() {
    let cluster = Cluster::bare().await;
    let _together = cluster.together().await;
    let gauges = Gauges::open(cluster).await;
    let ours = |answer: Value| -> Vec<Value> {
        let groups = answer["data"]["groups"].as_array().cloned().unwrap_or_default();
        let of_stack = |group: &Value| text(&group["name"]).starts_with(&format!("stack/{GAUGES}/gauges/"));
        groups.into_iter().filter(of_stack).collect()
    };
    let groups = eventually("every rule evaluated", SOON, || async {
        let groups = ours(gauges.get("prometheus", 9090, "/api/v1/rules", &[]).await?);
        let mut rules = groups.iter().flat_map(|group| group["rules"].as_array().into_iter().flatten());
        (groups.len() == evenkeel::shipped::GROUPS.len() && rules.all(|rule| rule["health"] != "unknown"))
            .then_some(groups)
    })
    .await;
    let rules: Vec<&Value> = groups.iter().flat_map(|group| group["rules"].as_array().into_iter().flatten()).collect();
    let ill: Vec<&&Value> = rules.iter().filter(|rule| rule["health"] != "ok").collect();
    assert!(ill.is_empty(), "{ill:#?}");
    for alert in evenkeel::shipped::alerts() {
        let of = |rule: &&&Value| rule["type"] == "alerting" && rule["name"] == alert.name;
        let rule = rules.iter().find(of).unwrap_or_else(|| panic!("{} is not loaded", alert.name));
        let runbook = text(&rule["annotations"]["runbook_url"]);
        assert!(runbook.ends_with(&format!("/{}.md", alert.name)), "{rule:#}");
    }
    println!("{} rules in {} groups", rules.len(), groups.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dashboards_show_what_the_exporters_measure() {
    let cluster = Cluster::bare().await;
    let _together = cluster.together().await;
    let gauges = Gauges::open(cluster).await;
    let _still = DATABASES.lock().await;
    let least = [("node", 80), ("workloads", 80), ("database", if gauges.found.databases { 80 } else { 0 })];
    let parts = Parts { prometheus: true, loki: false, collectors: false, jaeger: false };
    let about = |dashboard: &Dashboard| least.iter().any(|(name, _)| *name == dashboard.name);
    let dashboards = dashboards::shipped(parts).into_iter().filter(about).collect();
    let (_, ip) = gauges.cluster.pods(GAUGES, "app.kubernetes.io/name=prometheus").await.remove(0);
    let url = format!("http://{ip}:9090/api/v1/query_range");
    survey(dashboards, &least, async |query| ask(&gauges.cluster.http, url.clone(), query).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_stopped_is_told_of_until_it_is_back() {
    let cluster = Cluster::bare().await;
    let _together = cluster.together().await;
    let gauges = Gauges::open(cluster).await;
    if !gauges.found.databases {
        return;
    }
    let _mine = DATABASES.lock().await;
    let each =
        [("DatabaseDown", "postgres", "orders"), ("DatabaseDown", "mysql", "catalog"), ("RedisDown", "redis", "cache")];
    for (_, _, name) in each {
        gauges.scale(name, 0).await;
    }
    for (alert, job, name) in each {
        let labels = [("namespace", STORE), ("job", job), ("instance", name)];
        let alert = gauges.fires(alert, &labels, SOON).await;
        assert_eq!(alert["labels"]["severity"], "critical", "{alert:#}");
    }
    for (_, _, name) in each {
        gauges.scale(name, 1).await;
    }
    for (alert, _, name) in each {
        gauges.resolves(alert, &[("instance", name)], SOON).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_with_hardly_a_connection_left_is_told_of_until_its_clients_are_gone() {
    let cluster = Cluster::bare().await;
    let _together = cluster.together().await;
    let gauges = Gauges::open(cluster).await;
    if !gauges.found.databases {
        return;
    }
    let _mine = DATABASES.lock().await;
    let (orders, catalog) = (gauges.ip("orders").await, gauges.ip("catalog").await);
    // The exporter has one or two of its own: 85 or 90 %.
    let mut clients = vec![];
    for _ in 0..CONNECTIONS - 4 {
        clients.push(postgres_client(&orders).await);
        clients.push(mysql_client(&catalog).await);
    }
    let each = [("postgres", "orders"), ("mysql", "catalog")];
    for (job, name) in each {
        let labels = [("namespace", STORE), ("job", job), ("instance", name), ("severity", "warning")];
        gauges.fires("DatabaseConnectionPoolExhausted", &labels, SOON).await;
    }
    drop(clients);
    for (_, name) in each {
        gauges.resolves("DatabaseConnectionPoolExhausted", &[("instance", name)], SOON).await;
    }
}

/// A session of a user who needs no password, as far as the server's greeting.
async fn postgres_client(ip: &str) -> TcpStream {
    let mut client = TcpStream::connect((ip, 5432)).await.expect("a connection to PostgreSQL");
    let parameters = b"user\0guest\0database\0postgres\0\0";
    let length = u32::try_from(parameters.len() + 8).expect("short");
    // Version 3.0 of the protocol.
    let startup = [&length.to_be_bytes()[..], &196_608_u32.to_be_bytes()[..], parameters].concat();
    client.write_all(&startup).await.expect("sent");
    let mut answer = [0; 1024];
    let read = client.read(&mut answer).await.expect("an answer");
    let words = String::from_utf8_lossy(&answer[..read]);
    assert!(answer[0] == b'R' && !words.contains("FATAL"), "PostgreSQL lets the client in: {words}");
    client
}

/// A client that does not get as far as its password: the server counts it all the same.
async fn mysql_client(ip: &str) -> TcpStream {
    let mut client = TcpStream::connect((ip, 3306)).await.expect("a connection to MariaDB");
    let mut answer = [0; 256];
    let read = client.read(&mut answer).await.expect("a greeting");
    let words = String::from_utf8_lossy(&answer[..read]);
    assert!(words.contains("MariaDB"), "MariaDB greets the client: {words}");
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn a_health_check_of_a_stopped_service_fails_until_it_is_back() {
    let cluster = Cluster::bare().await;
    let _together = cluster.together().await;
    let gauges = Gauges::open(cluster).await;
    let address = format!("http://front.{STORE}.svc:8080/healthz");
    let labels = [("namespace", STORE), ("job", "front"), ("instance", address.as_str())];
    gauges.scale("front", 0).await;
    let alert = gauges.fires("HealthCheckFail", &labels, SOON).await;
    assert_eq!(alert["labels"]["severity"], "critical", "{alert:#}");
    gauges.scale("front", 1).await;
    gauges.resolves("HealthCheckFail", &labels, SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_crashes_again_and_again_is_told_of() {
    let cluster = Cluster::bare().await;
    let _together = cluster.together().await;
    let gauges = Gauges::open(cluster).await;
    let crashes =
        deployment(STORE, "crashes", "1", 1).replace("        env:", "        args: [--no-such-flag]\n        env:");
    gauges.cluster.apply(&crashes).await;
    let labels = [("namespace", STORE), ("container", "shop"), ("severity", "warning")];
    // Kubernetes waits ever longer between two starts: 10 s, 20 s, 40 s.
    let alert = gauges.fires("PodRestartingTooOften", &labels, Duration::from_secs(240)).await;
    assert!(text(&alert["labels"]["pod"]).starts_with("crashes-"), "{alert:#}");
    let pod = text(&alert["labels"]["pod"]);
    gauges.fires("PodDown", &[("namespace", STORE), ("pod", &pod)], SOON).await;
    // Its pod is gone, and with it the alert.
    gauges.cluster.delete("Deployment", STORE, "crashes").await;
    gauges.resolves("PodDown", &[("pod", &pod)], SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_that_cannot_roll_out_is_told_of_until_it_can() {
    let cluster = Cluster::bare().await;
    let _together = cluster.together().await;
    let gauges = Gauges::open(cluster).await;
    let of = |release: &str, path: &str| {
        deployment(STORE, "stuck", release, 1)
            .replace("  replicas: 1\n", "  replicas: 1\n  progressDeadlineSeconds: 10\n")
            .replace("path: /healthz", &format!("path: {path}"))
    };
    gauges.cluster.apply(&of("1", "/healthz")).await;
    gauges.cluster.rolled_out(STORE, "stuck").await;
    gauges.cluster.apply(&of("2", "/nowhere")).await;
    let labels = [("namespace", STORE), ("deployment", "stuck")];
    gauges.fires("DeploymentRolloutStuck", &labels, SOON).await;
    gauges.cluster.apply(&of("3", "/healthz")).await;
    gauges.resolves("DeploymentRolloutStuck", &labels, SOON).await;
    // One that never had a pod is short of its replicas as well.
    gauges.cluster.delete("Deployment", STORE, "stuck").await;
    gauges.cluster.apply(&of("4", "/nowhere").replace("name: stuck", "name: unborn")).await;
    gauges.fires("DeploymentReplicaMismatch", &[("namespace", STORE), ("deployment", "unborn")], SOON).await;
    gauges.cluster.delete("Deployment", STORE, "unborn").await;
    gauges.resolves("DeploymentReplicaMismatch", &[("deployment", "unborn")], SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_autoscaler_at_its_maximum_is_told_of_until_it_may_add_more() {
    let cluster = Cluster::bare().await;
    let _together = cluster.together().await;
    let gauges = Gauges::open(cluster).await;
    gauges.cluster.apply(&deployment(STORE, "busy", "1", 3)).await;
    gauges.cluster.rolled_out(STORE, "busy").await;
    // Nobody measures the usage of pods here. What lies above the maximum is taken away without that, and the number is
    // in the autoscaler's status.
    let autoscaler = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "busy", "namespace": STORE},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "busy"},
            "minReplicas": 1, "maxReplicas": 2,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}],
        },
    });
    gauges.cluster.try_apply(autoscaler).await.expect("apply the autoscaler");
    let scaled = |o: &Value| o["status"]["currentReplicas"] == 2;
    let within = Duration::from_secs(90);
    gauges.cluster.until("at its maximum", "HorizontalPodAutoscaler", STORE, "busy", within, scaled).await;
    let labels = [("namespace", STORE), ("horizontalpodautoscaler", "busy")];
    gauges.fires("HPAMaxedOut", &labels, SOON).await;
    let more = json!({"spec": {"maxReplicas": 3}});
    gauges.cluster.merge("HorizontalPodAutoscaler", STORE, "busy", more).await;
    gauges.resolves("HPAMaxedOut", &labels, SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_the_watchdog_hears_of_it_again_and_again() {
    let cluster = Cluster::bare().await;
    let _together = cluster.together().await;
    let gauges = Gauges::open(cluster).await;
    let watch = Fake::start(SocketAddr::from(([0, 0, 0, 0], 0)), Hook::default()).await;
    let (_, pod) = gauges.cluster.pods(GAUGES, "app.kubernetes.io/name=alertmanager").await.remove(0);
    let url = format!("http://{}/ping/1", SocketAddr::from((host_facing(&pod), watch.address.port())));
    let switch = |switch: Value| json!({"spec": {"alertmanager": {"deadMansSwitch": switch}}});
    let on = switch(json!({"url": url, "interval": "10s"}));
    gauges.cluster.merge("MonitoringStack", GAUGES, "gauges", on).await;
    let heard = || async { (watch.count("POST", "/ping/1") >= 3).then_some(()) };
    eventually("three pings", SOON, heard).await;
    let bodies = watch.with(|hook| hook.bodies.clone());
    let alone = |body: &Value| body["alerts"].as_array().is_some_and(|alerts| alerts.len() == 1);
    let watchdog = |body: &Value| body["alerts"][0]["labels"]["alertname"] == "Watchdog" && body["status"] == "firing";
    assert!(bodies.iter().all(|body| alone(body) && watchdog(body)), "{bodies:#?}");
    gauges.cluster.merge("MonitoringStack", GAUGES, "gauges", switch(Value::Null)).await;
}
