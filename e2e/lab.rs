//! A stack with everything that a MonitoringStack can have, and a shop that it looks after: what the tests of logs, traces
//! and dashboards share.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::harness::*;

/// Namespace of the stack, whose name is `lab`.
pub const LAB: &str = "e2e-lab";
/// Digits and letters that no other line has.
pub fn mark() -> String {
    format!("{:016x}", rand::random::<u64>())
}

/// Namespace of the shop.
pub const SHOP_SPACE: &str = "e2e-lab-shop";

static READY: OnceCell<()> = OnceCell::const_new();

/// Every component, mostly with its defaults, and what the tests rely on: a pod label, an own pattern, a pipeline.
const STACK: &str = "
apiVersion: evenkeel.dev/v1alpha1
kind: MonitoringStack
metadata: {name: lab, namespace: e2e-lab}
spec:
  discovery: {namespaceSelector: {matchLabels: {e2e: lab}}}
  prometheus: {scrapeInterval: 5s}
  alertmanager: {}
  loki: {}
  jaeger: {maxTraces: 20000}
  grafana: {}
  logs:
    containers: {labels: [app.kubernetes.io/name]}
    syslog: {}
    tcp: {}
    otlp: {}
    redact: {presets: [credentials, cards, email], patterns: ['session=[A-Za-z0-9]+']}
    pipelines:
    - {match: {workloads: [billing]}, multiline: {preset: java}}
";

/// The shop: it writes what it is told to write, and sends its spans to the stack.
fn shop(name: &str) -> String {
    format!(
        "
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: {SHOP_SPACE}}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app.kubernetes.io/name: {name}}}}}
  template:
    metadata:
      labels: {{app.kubernetes.io/name: {name}}}
      annotations: {{prometheus.io/scrape: 'true', prometheus.io/port: '8080'}}
    spec:
      terminationGracePeriodSeconds: 1
      securityContext: {{runAsNonRoot: true, seccompProfile: {{type: RuntimeDefault}}}}
      containers:
      - name: {name}
        image: {SHOP}
        env:
        - {{name: OTEL_EXPORTER_OTLP_ENDPOINT, value: 'http://lab-log-gateway.{LAB}.svc:4318'}}
        - {{name: OTEL_SERVICE_NAME, value: {name}}}
        - {{name: POD_NAMESPACE, valueFrom: {{fieldRef: {{fieldPath: metadata.namespace}}}}}}
        - {{name: POD_NAME, valueFrom: {{fieldRef: {{fieldPath: metadata.name}}}}}}
        ports: [{{containerPort: 8080}}]
        readinessProbe: {{httpGet: {{path: /healthz, port: 8080}}, periodSeconds: 1}}
        securityContext: {{allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {{drop: [ALL]}}}}
"
    )
}

/// The stack and its shops, up.
#[derive(Clone)]
pub struct Lab {
    pub cluster: Cluster,
}

impl Lab {
    /// Brings everything up when this is the first test.
    pub async fn open() -> Self {
        let lab = Self { cluster: Cluster::bare().await };
        READY.get_or_init(|| lab.set_up()).await;
        lab
    }

    async fn set_up(&self) {
        // The operator's as well: its dashboard and its logs.
        for namespace in [LAB, SHOP_SPACE, OPERATOR] {
            self.cluster.namespace(namespace).await;
            let labels = serde_json::json!({"metadata": {"labels": {"e2e": "lab"}}});
            self.cluster.merge("Namespace", "", namespace, labels).await;
        }
        self.cluster.apply(STACK).await;
        for name in ["checkout", "billing"] {
            self.cluster.apply(&shop(name)).await;
        }
        for component in ["prometheus", "alertmanager", "loki", "jaeger", "log-agent", "log-gateway"] {
            self.component(component, Duration::from_secs(180)).await;
        }
        for name in ["checkout", "billing"] {
            self.cluster.rolled_out(SHOP_SPACE, name).await;
        }
    }

    /// Waits until all pods of a component are ready with its present configuration.
    pub async fn component(&self, name: &str, within: Duration) -> Value {
        let of = |stack: &Value| {
            let all = stack["status"]["components"].as_array().cloned().unwrap_or_default();
            all.into_iter().find(|component| component["name"] == name)
        };
        let is_ready = |stack: &Value| {
            of(stack).is_some_and(|c| {
                c["desired"].as_i64() > Some(0) && c["ready"] == c["desired"] && c["configLoaded"] == true
            })
        };
        let what = format!("{name} ready");
        let stack = self.cluster.until(&what, "MonitoringStack", LAB, "lab", within, |stack| is_ready(stack)).await;
        of(&stack).expect("just seen")
    }

    /// Address of a ready pod of a component.
    pub async fn ip(&self, component: &str) -> Option<String> {
        let labels = format!("app.kubernetes.io/name={component},app.kubernetes.io/instance=lab");
        self.cluster.pods(LAB, &labels).await.into_iter().next().map(|(_, ip)| ip)
    }

    /// GET of a component's API; `None` while it does not answer with JSON.
    pub async fn get(&self, component: &str, port: u16, path: &str, query: &[(&str, String)]) -> Option<Value> {
        let url = format!("http://{}:{port}{path}", self.ip(component).await?);
        let answer = self.cluster.http.get(url).query(query).send().await.ok()?;
        answer.error_for_status().ok()?.json().await.ok()
    }

    /// The lines that a LogQL query finds since `since`, oldest first, each with its labels.
    pub async fn lines(&self, logql: &str, since: Timestamp) -> Vec<(Value, String)> {
        self.lines_between(logql, since, Timestamp::now() + Duration::from_secs(5)).await
    }

    /// The same from one time, itself included, until another; at most 5000.
    pub async fn lines_between(&self, logql: &str, start: Timestamp, end: Timestamp) -> Vec<(Value, String)> {
        let query = [
            ("query", logql.to_owned()),
            ("start", start.as_nanosecond().to_string()),
            ("end", end.as_nanosecond().to_string()),
            ("limit", "5000".to_owned()),
            ("direction", "forward".to_owned()),
        ];
        let answer = self.get("loki", 3100, "/loki/api/v1/query_range", &query).await.unwrap_or_default();
        let streams = answer["data"]["result"].as_array().cloned().unwrap_or_default();
        let mut lines: Vec<(String, Value, String)> = vec![];
        for stream in &streams {
            for entry in stream["values"].as_array().into_iter().flatten() {
                lines.push((text(&entry[0]), stream["stream"].clone(), text(&entry[1])));
            }
        }
        lines.sort_by(|a, b| a.0.cmp(&b.0));
        lines.into_iter().map(|(_, labels, line)| (labels, line)).collect()
    }

    /// The first line that a query finds.
    pub async fn line(&self, logql: &str, since: Timestamp, within: Duration) -> (Value, String) {
        eventually(&format!("a line for {logql}"), within, || async {
            self.lines(logql, since).await.into_iter().next()
        })
        .await
    }

    /// A trace as Jaeger's query API has it; `None` while it has none.
    pub async fn trace(&self, id: &str) -> Option<Value> {
        let trace = self.get("jaeger", 16686, &format!("/api/traces/{id}"), &[]).await?;
        trace["data"][0]["spans"].as_array().is_some_and(|spans| !spans.is_empty()).then(|| trace["data"][0].clone())
    }

    /// The first sample of a query to the lab's Prometheus.
    pub async fn query(&self, promql: &str) -> Option<f64> {
        let answer = self.get("prometheus", 9090, "/api/v1/query", &[("query", promql.to_owned())]).await?;
        answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()
    }

    /// Makes a shop write these lines to its standard output.
    pub async fn write(&self, shop: &str, lines: &str) {
        let pods = self.cluster.pods(SHOP_SPACE, &format!("app.kubernetes.io/name={shop}")).await;
        let (_, ip) = pods.first().expect("a shop");
        let sent = self.cluster.http.post(format!("http://{ip}:8080/log")).body(lines.to_owned()).send().await;
        assert!(sent.is_ok_and(|answer| answer.status().is_success()), "the shop writes what it is told");
    }
}
