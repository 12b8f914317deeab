//! What every end-to-end test needs: a client, waiting for conditions, applying YAML, the shared stack.

use std::future::Future;
use std::net::{IpAddr, UdpSocket};
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use evenkeel::k8s::meta::next_page;
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::discovery::{ApiResource, Scope};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::{OnceCell, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::manifests::payload;

/// Namespace of the operator.
pub const OPERATOR: &str = "evenkeel-system";
/// Namespace of the stack that the tests share; its name is `main`.
pub const MONITORING: &str = "e2e-monitoring";
/// The image of the demo service.
pub const SHOP: &str = "shop:1";

/// The test runner makes one runtime a test: only the lock is shared, each test has its own client.
static LOCK: OnceLock<RwLock<()>> = OnceLock::new();
static STACK: OnceCell<()> = OnceCell::const_new();

#[derive(Clone)]
pub struct Cluster {
    pub client: Client,
    pub http: reqwest::Client,
}

impl Cluster {
    /// Connects, and brings up the shared stack when this is the first test.
    pub async fn connect() -> Self {
        let cluster = Self::bare().await;
        STACK.get_or_init(|| cluster.shared_stack()).await;
        cluster
    }

    /// Connects only.
    pub async fn bare() -> Self {
        let client = Client::try_default().await.expect("KUBECONFIG names the cluster of `make e2e`");
        let http = reqwest::Client::builder().timeout(Duration::from_secs(15)).build().expect("a plain HTTP client");
        Self { client, http }
    }

    /// The same cluster as a user sees it, by impersonation.
    pub async fn acting_as(&self, user: &str) -> Self {
        let mut config = kube::Config::infer().await.expect("KUBECONFIG names the cluster of `make e2e`");
        config.auth_info.impersonate = Some(user.to_owned());
        config.auth_info.impersonate_groups = Some(vec!["system:authenticated".to_owned()]);
        Self { client: Client::try_from(config).expect("a client"), http: self.http.clone() }
    }

    /// This test leaves the cluster's parts alone.
    pub async fn together(&self) -> RwLockReadGuard<'static, ()> {
        let lock = LOCK.get_or_init(RwLock::default).read().await;
        // A test before this one may have taken parts of it away.
        self.operator_settled().await;
        lock
    }

    /// This test takes parts away: no other test runs meanwhile.
    pub async fn alone(&self) -> RwLockWriteGuard<'static, ()> {
        LOCK.get_or_init(RwLock::default).write().await
    }

    async fn shared_stack(&self) {
        self.namespace(MONITORING).await;
        self.apply(&format!(
            "
apiVersion: evenkeel.dev/v1alpha1
kind: MonitoringStack
metadata: {{name: main, namespace: {MONITORING}}}
spec:
  discovery: {{}}
  prometheus: {{scrapeInterval: 5s, pod: {{resources: {{requests: {{cpu: 50m, memory: 64Mi}}}}}}}}
  alertmanager: {{}}
  # The alerts of the tests are theirs alone.
  rules: {{enabled: false}}
"
        ))
        .await;
        self.ready("MonitoringStack", MONITORING, "main", Duration::from_secs(120)).await;
    }

    /// A namespace, empty: what an earlier run left in it is gone.
    pub async fn fresh_namespace(&self, name: &str) {
        let namespaces = self.api("Namespace", "").await;
        if namespaces.get_opt(name).await.expect("get a namespace").is_some() {
            let _ = namespaces.delete(name, &DeleteParams::default()).await;
            eventually(&format!("namespace {name} is gone"), Duration::from_secs(90), || async {
                namespaces.get_opt(name).await.ok()?.is_none().then_some(())
            })
            .await;
        }
        self.namespace(name).await;
    }

    /// Makes the namespace and waits for its ServiceAccount `default`: without it no pod is admitted, and the
    /// ReplicaSet controller, which tries again ever more rarely, may come back a minute later.
    pub async fn namespace(&self, name: &str) {
        self.apply(&format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}}}}}")).await;
        self.until("there", "ServiceAccount", name, "default", Duration::from_secs(90), |_| true).await;
    }

    /// An API for a kind by its name; `namespace` is ignored for cluster-scoped kinds.
    pub async fn api(&self, kind: &str, namespace: &str) -> Api<DynamicObject> {
        let (resource, scope) = self.resource(kind).await;
        match scope {
            Scope::Namespaced => Api::namespaced_with(self.client.clone(), namespace, &resource),
            Scope::Cluster => Api::all_with(self.client.clone(), &resource),
        }
    }

    async fn resource(&self, kind: &str) -> (ApiResource, Scope) {
        let group = match kind {
            "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" => ("apps", "v1"),
            "Role" | "RoleBinding" | "ClusterRole" | "ClusterRoleBinding" => ("rbac.authorization.k8s.io", "v1"),
            "Lease" => ("coordination.k8s.io", "v1"),
            "Event" => ("events.k8s.io", "v1"),
            "PodDisruptionBudget" => ("policy", "v1"),
            "HorizontalPodAutoscaler" => ("autoscaling", "v2"),
            "StorageClass" => ("storage.k8s.io", "v1"),
            "CronJob" | "Job" => ("batch", "v1"),
            "Rollout" => ("argoproj.io", "v1alpha1"),
            "CustomResourceDefinition" => ("apiextensions.k8s.io", "v1"),
            "MonitoringStack"
            | "AlertRule"
            | "AlertResponse"
            | "ResponseRun"
            | "NotificationChannel"
            | "SLO"
            | "ErrorBudgetPolicy"
            | "ChangeFreeze"
            | "BudgetAdjustment" => ("evenkeel.dev", "v1alpha1"),
            _ => ("", "v1"),
        };
        let gvk = GroupVersionKind::gvk(group.0, group.1, kind);
        let (resource, capabilities) = kube::discovery::pinned_kind(&self.client, &gvk)
            .await
            .unwrap_or_else(|error| panic!("the API server knows {kind}: {error}"));
        (resource, capabilities.scope)
    }

    /// Server-side apply of YAML documents.
    pub async fn apply(&self, yaml: &str) -> Vec<DynamicObject> {
        let mut applied = vec![];
        for document in documents(yaml) {
            applied.push(self.try_apply(document.clone()).await.unwrap_or_else(|e| panic!("apply {document}: {e}")));
        }
        applied
    }

    pub async fn try_apply(&self, document: Value) -> Result<DynamicObject, kube::Error> {
        let kind = document["kind"].as_str().expect("a kind");
        let name = document["metadata"]["name"].as_str().expect("a name");
        let namespace = document["metadata"]["namespace"].as_str().unwrap_or("default");
        let api = self.api(kind, namespace).await;
        api.patch(name, &PatchParams::apply("e2e").force(), &Patch::Apply(&document)).await
    }

    pub async fn get(&self, kind: &str, namespace: &str, name: &str) -> Value {
        let object = self.api(kind, namespace).await.get(name).await;
        serde_json::to_value(object.unwrap_or_else(|e| panic!("get {kind} {namespace}/{name}: {e}"))).expect("JSON")
    }

    pub async fn list(&self, kind: &str, namespace: &str, labels: &str) -> Vec<Value> {
        let (api, mut objects) = (self.api(kind, namespace).await, vec![]);
        // By pages: after a storm there are more than the API server answers with in a minute.
        let mut page = ListParams::default().labels(labels).limit(500);
        loop {
            let list = api.list(&page).await.unwrap_or_else(|e| panic!("list {kind} in {namespace}: {e}"));
            let next = next_page(page, &list);
            objects.extend(list.items.into_iter().map(|o| serde_json::to_value(o).expect("JSON")));
            match next {
                Some(next) => page = next,
                None => return objects,
            }
        }
    }

    pub async fn merge(&self, kind: &str, namespace: &str, name: &str, patch: Value) -> Value {
        let api = self.api(kind, namespace).await;
        let object = api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await;
        serde_json::to_value(object.unwrap_or_else(|e| panic!("patch {kind} {namespace}/{name}: {e}"))).expect("JSON")
    }

    pub async fn delete(&self, kind: &str, namespace: &str, name: &str) {
        let _ = self.api(kind, namespace).await.delete(name, &DeleteParams::background()).await;
    }

    /// Waits until `test` holds for the object, and returns it.
    pub async fn until(
        &self,
        what: &str,
        kind: &str,
        namespace: &str,
        name: &str,
        within: Duration,
        test: impl Fn(&Value) -> bool,
    ) -> Value {
        let api = self.api(kind, namespace).await;
        let last = std::sync::Mutex::new(Value::Null);
        let found = within_time(within, || async {
            let object = serde_json::to_value(api.get_opt(name).await.ok()??).ok()?;
            *last.lock().expect("not poisoned") = object.clone();
            test(&object).then_some(object)
        })
        .await;
        found.unwrap_or_else(|| {
            let last = last.into_inner().expect("not poisoned");
            panic!("{kind} {namespace}/{name}: not {what} within {within:?}; last status: {:#}", last["status"])
        })
    }

    /// Waits until `Ready=True` for the present generation.
    pub async fn ready(&self, kind: &str, namespace: &str, name: &str, within: Duration) -> Value {
        self.until("Ready", kind, namespace, name, within, |o| current(o) && condition(o, "Ready") == "True").await
    }

    /// A Deployment's rollout is complete.
    pub async fn rolled_out(&self, namespace: &str, name: &str) -> Value {
        self.until("rolled out", "Deployment", namespace, name, Duration::from_secs(120), |o| {
            let (spec, status) = (&o["spec"], &o["status"]);
            status["observedGeneration"] == o["metadata"]["generation"]
                && status["updatedReplicas"] == spec["replicas"]
                && status["availableReplicas"] == spec["replicas"]
                && status["replicas"] == spec["replicas"]
        })
        .await
    }

    /// Ready pods with this label selector: name and IP.
    pub async fn pods(&self, namespace: &str, labels: &str) -> Vec<(String, String)> {
        let ready = |pod: &Value| {
            pod["metadata"]["deletionTimestamp"].is_null()
                && pod["status"]["conditions"]
                    .as_array()
                    .is_some_and(|c| c.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"))
        };
        let pods = self.list("Pod", namespace, labels).await;
        pods.iter()
            .filter(|pod| ready(pod))
            .map(|pod| (text(&pod["metadata"]["name"]), text(&pod["status"]["podIP"])))
            .collect()
    }

    /// The pod that holds the operator's lease.
    pub async fn leader(&self) -> String {
        text(&self.get("Lease", OPERATOR, "evenkeel").await["spec"]["holderIdentity"])
    }

    /// `/api/v1/query` of the shared Prometheus; the value of the first sample.
    pub async fn query(&self, promql: &str) -> Option<f64> {
        let answer = self.prometheus(&format!("query?query={}", encoded(promql))).await?;
        answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()
    }

    /// GET below `/api/v1/` of the shared Prometheus.
    pub async fn prometheus(&self, path: &str) -> Option<Value> {
        let (_, ip) = self
            .pods(MONITORING, "app.kubernetes.io/name=prometheus,app.kubernetes.io/instance=main")
            .await
            .into_iter()
            .next()?;
        self.http.get(format!("http://{ip}:9090/api/v1/{path}")).send().await.ok()?.json().await.ok()
    }

    /// Credentials of `POST /webhook/alert`.
    pub async fn webhook_credentials(&self) -> (String, String) {
        let secret = self.get("Secret", OPERATOR, "evenkeel-webhook").await;
        let decode = |key: &str| {
            use base64::Engine;
            let bytes = base64::engine::general_purpose::STANDARD.decode(text(&secret["data"][key])).expect("base64");
            String::from_utf8(bytes).expect("UTF-8")
        };
        (decode("username"), decode("password"))
    }

    /// Posts an Alertmanager payload to a replica of the operator; `None` when it cannot be reached.
    pub async fn post_alert(&self, ip: &str, payload: &Value) -> Option<u16> {
        let (user, password) = self.webhook_credentials().await;
        self.post_alert_as(ip, payload, &user, &password).await
    }

    pub async fn post_alert_as(&self, ip: &str, payload: &Value, user: &str, password: &str) -> Option<u16> {
        let url = format!("http://{ip}:8080/webhook/alert");
        let answer = self.http.post(url).basic_auth(user, Some(password)).json(payload).send().await;
        Some(answer.ok()?.status().as_u16())
    }

    /// Tells the operator that this alert of the namespace fires (`firing`) or is over (`resolved`).
    pub async fn post(&self, status: &str, namespace: &str, alert: &str, mut labels: Value) {
        labels["namespace"] = namespace.into();
        let (_, ip) = self.replicas().await.remove(0);
        assert_eq!(self.post_alert(&ip, &payload(status, alert, labels)).await, Some(200));
    }

    /// Fires an alert, waits until the response has acted, resolves it, and returns the closed run.
    pub async fn play(&self, namespace: &str, response: &str, alert: &str, labels: Value) -> Value {
        self.post("firing", namespace, alert, labels.clone()).await;
        let of_this = |run: &Value| {
            let told = &run["spec"]["alert"]["labels"];
            labels.as_object().into_iter().flatten().all(|(name, value)| told[name] == *value)
        };
        let run = eventually("the run acted, or closed", Duration::from_secs(90), || async {
            let runs = self.runs(namespace, response).await;
            let mut runs = runs.into_iter().filter(of_this);
            runs.find(|run| is_closed(run) || run["status"]["phase"] == "Verifying")
        })
        .await;
        self.post("resolved", namespace, alert, labels.clone()).await;
        let name = text(&run["metadata"]["name"]);
        self.until("closed", "ResponseRun", namespace, &name, Duration::from_secs(90), is_closed).await
    }

    /// Ready replicas of the operator.
    pub async fn replicas(&self) -> Vec<(String, String)> {
        self.pods(OPERATOR, "app.kubernetes.io/name=evenkeel").await
    }

    /// Both replicas are there and one leads.
    pub async fn operator_settled(&self) {
        eventually("two operator replicas, one of them leading", Duration::from_secs(90), || async {
            let replicas = self.replicas().await;
            let leader = self.leader().await;
            (replicas.len() == 2 && replicas.iter().any(|(name, _)| *name == leader)).then_some(())
        })
        .await;
    }

    /// The runs of an AlertResponse.
    pub async fn runs(&self, namespace: &str, response: &str) -> Vec<Value> {
        let runs = self.list("ResponseRun", namespace, "").await;
        runs.into_iter().filter(|run| run["spec"]["responseRef"]["name"] == response).collect()
    }

    /// Waits for the one run of an AlertResponse to close, and returns it.
    pub async fn closed_run(&self, namespace: &str, response: &str, within: Duration) -> Value {
        let what = format!("a closed run of {namespace}/{response}");
        let last = std::sync::Mutex::new(vec![]);
        let found = within_time(within, || async {
            let runs = self.runs(namespace, response).await;
            *last.lock().expect("not poisoned") = runs.clone();
            runs.into_iter().find(is_closed)
        })
        .await;
        found.unwrap_or_else(|| {
            panic!("no {what} within {within:?}: {:#}", json!(last.into_inner().expect("not poisoned")))
        })
    }
}

/// The address of this host that a pod reaches.
pub fn host_facing(pod_ip: &str) -> IpAddr {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    // Sends nothing: tells which address of this host faces the pod.
    socket.connect((pod_ip, 9)).expect("a route to the pod");
    socket.local_addr().expect("an address").ip()
}

pub fn is_closed(run: &Value) -> bool {
    matches!(run["status"]["phase"].as_str(), Some("Succeeded" | "Failed" | "Skipped" | "Observed"))
}

/// Splits YAML into documents.
pub fn documents(yaml: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(yaml).expect("the test's YAML parses")
}

/// The status speaks of the present generation.
pub fn current(object: &Value) -> bool {
    object["status"]["observedGeneration"] == object["metadata"]["generation"]
}

/// Status of a condition; empty when there is none.
pub fn condition(object: &Value, type_: &str) -> String {
    text(&condition_of(object, type_)["status"])
}

pub fn condition_of<'a>(object: &'a Value, type_: &str) -> &'a Value {
    object["status"]["conditions"]
        .as_array()
        .and_then(|c| c.iter().find(|c| c["type"] == type_))
        .unwrap_or(&Value::Null)
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn encoded(query: &str) -> String {
    query
        .bytes()
        .map(|b| if b.is_ascii_alphanumeric() { (b as char).to_string() } else { format!("%{b:02X}") })
        .collect()
}

/// Polls until `probe` yields something; panics with `what` when it does not in time.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, within: Duration, probe: impl Fn() -> F) -> T {
    within_time(within, probe).await.unwrap_or_else(|| panic!("not within {within:?}: {what}"))
}

async fn within_time<T, F: Future<Output = Option<T>>>(within: Duration, probe: impl Fn() -> F) -> Option<T> {
    let started = Instant::now();
    loop {
        if let Some(found) = probe().await {
            return Some(found);
        }
        if started.elapsed() > within {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Runs a command and returns what it printed; panics with its errors when it fails.
pub async fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap_or_else(|error| panic!("cannot start {program}: {error}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} {arguments:?}: {err}{out}");
    out.into_owned()
}
