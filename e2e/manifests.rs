//! What tests apply and post.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::SHOP;

/// An Alertmanager payload (version 4) with one alert.
pub fn payload(status: &str, name: &str, labels: Value) -> Value {
    let mut all = labels;
    all["alertname"] = name.into();
    let fingerprint: u64 =
        all.to_string().bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    let now = jiff::Timestamp::now();
    json!({
        "version": "4", "groupKey": "{}", "truncatedAlerts": 0, "status": status, "receiver": "e2e",
        "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {}, "externalURL": "http://alertmanager",
        "alerts": [{
            "status": status, "labels": all, "annotations": {"summary": "from the end-to-end test"},
            "startsAt": (now - Duration::from_secs(5)).to_string(),
            "endsAt": if status == "resolved" { now.to_string() } else { "0001-01-01T00:00:00Z".into() },
            "generatorURL": "http://prometheus/graph", "fingerprint": format!("{fingerprint:016x}"),
        }],
    })
}

/// The pod template of the demo service, small; `release` is a value of it.
fn template(name: &str, release: &str) -> String {
    format!(
        "
    metadata: {{labels: {{app.kubernetes.io/name: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 1
      securityContext: {{runAsNonRoot: true, seccompProfile: {{type: RuntimeDefault}}}}
      containers:
      - name: shop
        image: {SHOP}
        env: [{{name: RELEASE, value: '{release}'}}]
        ports: [{{containerPort: 8080}}]
        readinessProbe: {{httpGet: {{path: /healthz, port: 8080}}, periodSeconds: 1}}
        securityContext: {{allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {{drop: [ALL]}}}}
"
    )
}

/// A Deployment of the demo service.
pub fn deployment(namespace: &str, name: &str, release: &str, replicas: u32) -> String {
    workload("Deployment", namespace, name, release, &format!("replicas: {replicas}"))
}

/// A workload of the demo service; `fields` are more fields of its spec.
pub fn workload(kind: &str, namespace: &str, name: &str, release: &str, fields: &str) -> String {
    let template = template(name, release);
    let fields = if kind == "StatefulSet" { format!("serviceName: {name}\n  {fields}") } else { fields.to_owned() };
    format!(
        "
apiVersion: {api}
kind: {kind}
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  {fields}
  selector: {{matchLabels: {{app.kubernetes.io/name: {name}}}}}
  template:{template}",
        api = if kind == "Rollout" { "argoproj.io/v1alpha1" } else { "apps/v1" },
    )
}

/// An AlertResponse of this name that acts as `responder` on alert `alert` of its namespace. `spec` are its other fields,
/// indented by two.
pub fn response(namespace: &str, name: &str, alert: &str, spec: &str) -> String {
    format!(
        "
apiVersion: evenkeel.dev/v1alpha1
kind: AlertResponse
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  mode: Act
  match: {{alert: {alert}, matchers: ['namespace=\"{namespace}\"']}}
  serviceAccountName: responder
{spec}
"
    )
}

/// A ServiceAccount `responder` that may do in the namespace what steps do.
pub fn responder(namespace: &str) -> String {
    format!(
        "
apiVersion: v1
kind: ServiceAccount
metadata: {{name: responder, namespace: {namespace}}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: responder, namespace: {namespace}}}
rules:
- {{apiGroups: [apps], resources: [deployments, statefulsets, daemonsets], verbs: [get, patch]}}
- {{apiGroups: [apps], resources: [deployments/scale], verbs: [get, patch]}}
- {{apiGroups: [apps], resources: [replicasets, controllerrevisions], verbs: [get, list]}}
- {{apiGroups: [''], resources: [pods], verbs: [get, list, delete]}}
- {{apiGroups: [''], resources: [pods/log], verbs: [get]}}
- {{apiGroups: ['', events.k8s.io], resources: [events], verbs: [list]}}
- {{apiGroups: [batch], resources: [cronjobs], verbs: [get]}}
- {{apiGroups: [batch], resources: [jobs], verbs: [create, get]}}
- {{apiGroups: [argoproj.io], resources: [rollouts, rollouts/status], verbs: [get, patch]}}
- {{apiGroups: [autoscaling], resources: [horizontalpodautoscalers], verbs: [get, list, patch]}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: responder, namespace: {namespace}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: responder}}
subjects: [{{kind: ServiceAccount, name: responder, namespace: {namespace}}}]
"
    )
}
