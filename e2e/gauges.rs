//! A stack that measures machines, objects, databases and an address, and what it measures: what the tests of exporters
//! share. It begins with the defaults of everything; once it was seen to be quiet, its alerts are made quick.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::harness::*;
use crate::manifests::*;

/// Namespace of the stack, whose name is `gauges`.
pub const GAUGES: &str = "e2e-gauges";
/// Namespace of what it measures.
pub const STORE: &str = "e2e-gauges-store";
/// Connections that the databases allow.
pub const CONNECTIONS: u16 = 20;
/// How long the stack is watched before anything is broken, in seconds. `make soak` asks for a quarter of an hour.
pub const SHORT: u64 = 30;

static READY: OnceCell<Found> = OnceCell::const_new();

/// PostgreSQL, MariaDB and Redis by name: image, port, settings, environment and what tells that it answers. A bare connection
/// would count as an error of its client.
const DATABASES: [(&str, &str, u16, &str, &str, &str); 3] = [
    (
        "orders",
        "e2e.evenkeel.dev/postgres:15",
        5432,
        "['-c', 'max_connections=20', '-c', 'superuser_reserved_connections=1']",
        r#"
        - {name: POSTGRES_PASSWORD, value: e2e-root}
        - {name: POSTGRES_HBA, value: host all guest all trust}
        - {name: POSTGRES_SQL, value: "CREATE USER guest;\nCREATE USER exporter PASSWORD 'e2e-orders';\nGRANT pg_monitor TO exporter;"}"#,
        "{exec: {command: [sh, -c, 'case $(cat /data/postgres/postmaster.pid) in *ready*) ;; *) exit 1 ;; esac']}, periodSeconds: 2}",
    ),
    (
        "catalog",
        "e2e.evenkeel.dev/mariadb:10.11",
        3306,
        "[--max-connections=20, --connect-timeout=600]",
        r#"
        - {name: MARIADB_PASSWORD, value: e2e-root}
        - {name: MARIADB_SQL, value: "CREATE OR REPLACE USER exporter@'%' IDENTIFIED BY 'e2e-catalog';\nGRANT PROCESS, REPLICATION CLIENT, SELECT ON *.* TO exporter@'%';"}"#,
        "{exec: {command: [sh, -c, 'test -S /tmp/mariadb.sock']}, periodSeconds: 2}",
    ),
    (
        "cache",
        "e2e.evenkeel.dev/redis:7.0",
        6379,
        "[--requirepass, e2e-cache]",
        " []",
        "{tcpSocket: {port: 6379}, periodSeconds: 2}",
    ),
];

fn database((name, image, port, args, env, probe): (&str, &str, u16, &str, &str, &str)) -> String {
    format!(
        "
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {STORE}}}
spec: {{selector: {{app.kubernetes.io/name: {name}}}, ports: [{{port: {port}}}]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: {STORE}}}
spec:
  replicas: 1
  strategy: {{type: Recreate}}
  selector: {{matchLabels: {{app.kubernetes.io/name: {name}}}}}
  template:
    metadata: {{labels: {{app.kubernetes.io/name: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 5
      securityContext: {{runAsNonRoot: true, runAsUser: 65532, seccompProfile: {{type: RuntimeDefault}}}}
      containers:
      - name: {name}
        image: {image}
        args: {args}
        env:{env}
        ports: [{{containerPort: {port}}}]
        readinessProbe: {probe}
        volumeMounts: [{{name: data, mountPath: /data}}, {{name: tmp, mountPath: /tmp}}]
        securityContext: {{allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {{drop: [ALL]}}}}
      volumes: [{{name: data, emptyDir: {{}}}}, {{name: tmp, emptyDir: {{}}}}]
---"
    )
}

/// The front of the shop, which is probed.
fn front() -> String {
    let service = format!(
        "
apiVersion: v1
kind: Service
metadata: {{name: front, namespace: {STORE}}}
spec: {{selector: {{app.kubernetes.io/name: front}}, ports: [{{port: 8080}}]}}
---"
    );
    service + &deployment(STORE, "front", "1", 1)
}

/// Where the exporters find their databases, in the namespace of the stack.
fn credentials() -> Value {
    let client = format!("[client]\nhost=catalog.{STORE}.svc\nport=3306\nuser=exporter\npassword=e2e-catalog\n");
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "databases", "namespace": GAUGES},
        "stringData": {
            "orders": format!("postgresql://exporter:e2e-orders@orders.{STORE}.svc:5432/postgres?sslmode=disable"),
            "catalog": client,
            "cache": "e2e-cache",
        },
    })
}

/// The exporters of databases are those of Debian 12: see e2e/cluster/README.md. This one of MySQL takes its target by a
/// file only.
fn stack(databases: bool) -> Value {
    let place = json!({"namespace": STORE});
    let key = |key: &str| json!({"name": "databases", "key": key});
    let front = format!("http://front.{STORE}.svc:8080/healthz");
    let mut exporters = json!({
        // The machine that the local cluster runs on may have a private `/`.
        "node": {"mountPropagation": "None"}, "kubeState": {},
        "probes": [{"name": "front", "module": "http", "targets": [front], "labels": place}],
    });
    if databases {
        exporters["postgres"] = json!([
            {"name": "orders", "dsnSecretRef": key("orders"), "labels": place, "exporter": {"version": "v0.11.1"}}
        ]);
        exporters["mysql"] = json!([
            {"name": "catalog", "configSecretRef": key("catalog"), "labels": place, "exporter": {"version": "v0.14.0"}}
        ]);
        exporters["redis"] = json!([{
            "name": "cache", "address": format!("redis://cache.{STORE}.svc:6379"), "passwordSecretRef": key("cache"),
            "labels": place, "exporter": {"version": "v1.45.0"},
        }]);
    }
    json!({
        "apiVersion": "evenkeel.dev/v1alpha1", "kind": "MonitoringStack",
        "metadata": {"name": "gauges", "namespace": GAUGES},
        "spec": {
            "discovery": {"namespaceSelector": {"matchLabels": {"e2e": "gauges"}}},
            "prometheus": {"scrapeInterval": "5s"},
            "alertmanager": {},
            "exporters": exporters,
            // How much room the machine has is not what is looked at.
            "rules": {"thresholds": {"DiskSpaceLow": {"warning": 0.02, "critical": 0.01}}},
        },
    })
}

/// What was seen while the stack came up.
#[derive(Clone, Debug)]
pub struct Found {
    /// Whether there are databases: their images are not to be had everywhere.
    pub databases: bool,
    /// Alerts that fired while nothing was wrong.
    pub fired: Vec<String>,
    /// Those that were about to.
    pub pending: Vec<String>,
}

/// The stack and what it measures, up.
#[derive(Clone)]
pub struct Gauges {
    pub cluster: Cluster,
    pub found: Found,
}

impl Gauges {
    /// Brings everything up when this is the first test, and watches it for a while.
    pub async fn open(cluster: Cluster) -> Self {
        let gauges = Self { cluster, found: Found { databases: false, fired: vec![], pending: vec![] } };
        let found = READY.get_or_init(|| gauges.set_up()).await.clone();
        Self { found, ..gauges }
    }

    async fn set_up(&self) -> Found {
        for namespace in [GAUGES, STORE] {
            self.cluster.fresh_namespace(namespace).await;
            let labels = json!({"metadata": {"labels": {"e2e": "gauges"}}});
            self.cluster.merge("Namespace", "", namespace, labels).await;
        }
        self.cluster.try_apply(credentials()).await.expect("apply the Secret");
        self.cluster.apply(&front()).await;
        for each in DATABASES {
            self.cluster.apply(&database(each)).await;
        }
        let databases = self.databases().await;
        if !databases {
            println!(
                "NOT SHOWN: alerts about databases. Their images are made on Debian 12, for CLUSTER=local or kind."
            );
            for (name, ..) in DATABASES {
                self.cluster.delete("Deployment", STORE, name).await;
            }
        }
        self.cluster.rolled_out(STORE, "front").await;
        self.cluster.try_apply(stack(databases)).await.expect("apply the stack");
        self.settled().await;
        self.measured(databases).await;
        let (fired, pending) = self.watch().await;
        self.hasten().await;
        Found { databases, fired, pending }
    }

    /// Whether the databases run; `false` once an image of theirs cannot be pulled.
    async fn databases(&self) -> bool {
        eventually("the databases, or no image of them", Duration::from_secs(120), || async {
            let pods = self.cluster.list("Pod", STORE, "app.kubernetes.io/name in (orders,catalog,cache)").await;
            let waits = |pod: &Value| text(&pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"]);
            if pods.iter().any(|pod| waits(pod).contains("ImagePull")) {
                return Some(false);
            }
            let ready = |pod: &&Value| condition(pod, "Ready") == "True";
            (pods.iter().filter(ready).count() == DATABASES.len()).then_some(true)
        })
        .await
    }

    /// Every component is ready, and every rule that ships with what it measures is live.
    async fn settled(&self) {
        let settled = |stack: &Value| {
            let (rules, live) = (&stack["status"]["rules"], condition(stack, "Ready") == "True");
            current(stack) && live && rules["shipped"].as_i64() > Some(0) && rules["shippedLoaded"] == rules["shipped"]
        };
        let within = Duration::from_secs(240);
        self.cluster.until("ready with its rules", "MonitoringStack", GAUGES, "gauges", within, settled).await;
    }

    /// No data would be no alert either: each exporter gives what its rules read.
    async fn measured(&self, databases: bool) {
        let mut series = vec![
            "node_uname_info".to_owned(),
            "instance:node_memory_usage:ratio".to_owned(),
            format!("kube_deployment_status_replicas_available{{namespace=\"{STORE}\", deployment=\"front\"}} == 1"),
            format!("probe_success{{namespace=\"{STORE}\", job=\"front\"}} == 1"),
        ];
        if databases {
            series.extend([
                format!("pg_up{{namespace=\"{STORE}\", job=\"postgres\", instance=\"orders\"}} == 1"),
                format!("mysql_up{{namespace=\"{STORE}\", job=\"mysql\", instance=\"catalog\"}} == 1"),
                format!("redis_up{{namespace=\"{STORE}\", job=\"redis\", instance=\"cache\"}} == 1"),
                "count(instance:database_connections:ratio) == 2".to_owned(),
                "instance:redis_connections:ratio".to_owned(),
            ]);
        }
        for expression in series {
            let what = format!("an answer to {expression}");
            eventually(&what, Duration::from_secs(120), || self.query(&expression)).await;
        }
        let all_up = "count(up) == count(up == 1)";
        eventually("every target up", Duration::from_secs(60), || self.query(all_up)).await;
    }

    /// What fires within the time of watching, and what is pending at its end.
    async fn watch(&self) -> (Vec<String>, Vec<String>) {
        let asked = std::env::var("EVENKEEL_SOAK").ok().and_then(|seconds| seconds.parse().ok());
        let seconds: u64 = asked.unwrap_or(SHORT);
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let of = |state: &str| {
            format!("count by (alertname) (count_over_time(ALERTS{{alertstate=\"{state}\"}}[{seconds}s]))")
        };
        (self.names(&of("firing")).await, self.names("count by (alertname) (ALERTS{alertstate=\"pending\"})").await)
    }

    async fn names(&self, promql: &str) -> Vec<String> {
        let answer = self.get("prometheus", 9090, "/api/v1/query", &[("query", promql.to_owned())]).await;
        let series = answer.expect("an answer of Prometheus")["data"]["result"].as_array().cloned().unwrap_or_default();
        let names: BTreeSet<String> = series.iter().map(|series| text(&series["metric"]["alertname"])).collect();
        names.into_iter().collect()
    }

    /// Loads every group, and has what the tests provoke told of within seconds.
    async fn hasten(&self) {
        let mut thresholds = json!({"PodRestartingTooOften": {"warning": 1}});
        for alert in [
            "DatabaseConnectionPoolExhausted",
            "DatabaseDown",
            "DeploymentReplicaMismatch",
            "DeploymentRolloutStuck",
            "HPAMaxedOut",
            "HealthCheckFail",
            "PodDown",
            "RedisDown",
        ] {
            thresholds[alert] = json!({"for": "5s"});
        }
        let groups: Vec<&str> = evenkeel::shipped::GROUPS.iter().map(|group| group.name).collect();
        let rules = json!({"spec": {"rules": {"include": groups, "thresholds": thresholds}}});
        self.cluster.merge("MonitoringStack", GAUGES, "gauges", rules).await;
        self.settled().await;
    }

    /// GET of a component's API; `None` while it does not answer with JSON.
    pub async fn get(&self, component: &str, port: u16, path: &str, query: &[(&str, String)]) -> Option<Value> {
        let labels = format!("app.kubernetes.io/name={component},app.kubernetes.io/instance=gauges");
        let (_, ip) = self.cluster.pods(GAUGES, &labels).await.into_iter().next()?;
        let url = format!("http://{ip}:{port}{path}");
        let answer = self.cluster.http.get(url).query(query).send().await.ok()?;
        answer.error_for_status().ok()?.json().await.ok()
    }

    /// The first sample of a query to this stack's Prometheus.
    pub async fn query(&self, promql: &str) -> Option<f64> {
        let answer = self.get("prometheus", 9090, "/api/v1/query", &[("query", promql.to_owned())]).await?;
        answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()
    }

    /// The alert in Alertmanager that has this name and these labels.
    async fn alert(&self, name: &str, labels: &[(&str, &str)]) -> Option<Option<Value>> {
        let alerts = self.get("alertmanager", 9093, "/api/v2/alerts", &[]).await?;
        let of = |alert: &&Value| {
            alert["labels"]["alertname"] == name && labels.iter().all(|(key, value)| alert["labels"][key] == *value)
        };
        Some(alerts.as_array()?.iter().find(of).cloned())
    }

    /// Waits until the alert has come to Alertmanager.
    pub async fn fires(&self, name: &str, labels: &[(&str, &str)], within: Duration) -> Value {
        let begun = std::time::Instant::now();
        let what = format!("{name} {labels:?} in Alertmanager");
        let alert = eventually(&what, within, || async { self.alert(name, labels).await.flatten() }).await;
        println!("{name} {labels:?} after {:.0} s: {}", begun.elapsed().as_secs_f64(), alert["annotations"]["summary"]);
        alert
    }

    /// Waits until Alertmanager no longer has it.
    pub async fn resolves(&self, name: &str, labels: &[(&str, &str)], within: Duration) {
        let what = format!("{name} {labels:?} resolved");
        eventually(&what, within, || async { self.alert(name, labels).await?.is_none().then_some(()) }).await;
    }

    /// Has so many pods of a Deployment.
    pub async fn scale(&self, name: &str, replicas: i32) {
        self.cluster.merge("Deployment", STORE, name, json!({"spec": {"replicas": replicas}})).await;
    }

    /// Address of the one pod of a Deployment.
    pub async fn ip(&self, name: &str) -> String {
        let labels = format!("app.kubernetes.io/name={name}");
        let pods = eventually("a ready pod", Duration::from_secs(60), || async {
            let pods = self.cluster.pods(STORE, &labels).await;
            (!pods.is_empty()).then_some(pods)
        });
        pods.await.remove(0).1
    }
}
