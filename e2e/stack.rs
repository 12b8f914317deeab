//! MonitoringStacks: running parts, drift, what is refused.

use std::time::Duration;

use serde_json::json;

use crate::harness::*;
use crate::manifests::*;

#[tokio::test(flavor = "multi_thread")]
async fn the_stack_runs_and_scrapes_the_cluster_and_annotated_pods() {
    let cluster = Cluster::connect().await;
    let _together = cluster.together().await;
    let namespace = "e2e-stack-scrape";
    cluster.fresh_namespace(namespace).await;
    let annotated = deployment(namespace, "scraped", "1", 1).replace(
        "metadata: {labels: {app.kubernetes.io/name: scraped}}",
        "metadata: {labels: {app.kubernetes.io/name: scraped}, annotations: {prometheus.io/scrape: 'true', prometheus.io/port: '8080'}}",
    );
    cluster.apply(&annotated).await;
    for query in [
        format!("up{{job=\"scraped\",namespace=\"{namespace}\"}} == 1"),
        "up{job=\"kubelet\"} == 1".into(),
        "up{job=\"cadvisor\"} == 1".into(),
        "up{job=\"apiserver\"} == 1".into(),
        "up{job=\"prometheus\"} == 1".into(),
        "up{job=\"alertmanager\"} == 1".into(),
    ] {
        eventually(&format!("data for {query}"), Duration::from_secs(60), || cluster.query(&query)).await;
    }
    let stack = cluster.get("MonitoringStack", MONITORING, "main").await;
    assert!(stack["status"]["targets"]["up"].as_i64() > Some(0), "{:#}", stack["status"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_is_corrected_and_a_deleted_child_comes_back() {
    let cluster = Cluster::connect().await;
    let _together = cluster.together().await;
    let service = cluster.get("Service", MONITORING, "main-prometheus").await;
    cluster.delete("Service", MONITORING, "main-prometheus").await;
    eventually("the Service is back", Duration::from_secs(30), || async {
        let api = cluster.api("Service", MONITORING).await;
        let back = api.get_opt("main-prometheus").await.ok()??;
        (back.metadata.uid.as_deref() != service["metadata"]["uid"].as_str()).then_some(())
    })
    .await;
    cluster
        .merge(
            "Service",
            MONITORING,
            "main-prometheus",
            json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "somebody"}}}),
        )
        .await;
    cluster
        .until("corrected", "Service", MONITORING, "main-prometheus", Duration::from_secs(30), |o| {
            o["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "evenkeel"
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_grows_is_grown_and_one_that_shrinks_is_refused() {
    let cluster = Cluster::connect().await;
    let _together = cluster.together().await;
    let namespace = "e2e-stack-storage";
    cluster.fresh_namespace(namespace).await;
    cluster
        .apply(
            "
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: e2e-manual}
provisioner: kubernetes.io/no-provisioner
allowVolumeExpansion: true
volumeBindingMode: Immediate
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: e2e-stack-storage}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOnce]
  storageClassName: e2e-manual
  persistentVolumeReclaimPolicy: Retain
  hostPath: {path: /tmp/evenkeel-e2e-stack-storage, type: DirectoryOrCreate}
",
        )
        .await;
    cluster.merge("PersistentVolume", "", "e2e-stack-storage", json!({"spec": {"claimRef": null}})).await;
    let stack = |size: &str| {
        format!(
            "
apiVersion: evenkeel.dev/v1alpha1
kind: MonitoringStack
metadata: {{name: stored, namespace: {namespace}}}
spec:
  prometheus: {{storage: {{size: {size}, storageClassName: e2e-manual}}}}
"
        )
    };
    cluster.apply(&stack("512Mi")).await;
    let claim = eventually("a bound claim", Duration::from_secs(60), || async {
        let claims = cluster.list("PersistentVolumeClaim", namespace, "").await;
        claims.into_iter().find(|c| c["status"]["phase"] == "Bound")
    })
    .await;
    let name = text(&claim["metadata"]["name"]);
    cluster.apply(&stack("600Mi")).await;
    cluster
        .until("asked to grow", "PersistentVolumeClaim", namespace, &name, Duration::from_secs(60), |o| {
            o["spec"]["resources"]["requests"]["storage"] == "600Mi"
        })
        .await;
    eventually("the StatefulSet has the new template and the pod lives on", Duration::from_secs(60), || async {
        let set = cluster.api("StatefulSet", namespace).await.get_opt("stored-prometheus").await.ok()??;
        let template = &set.data["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"];
        (template == "600Mi").then_some(())
    })
    .await;
    cluster.apply(&stack("100Mi")).await;
    let refused = cluster
        .until("refused", "MonitoringStack", namespace, "stored", Duration::from_secs(30), |o| {
            current(o) && condition(o, "Stalled") == "True"
        })
        .await;
    let message = text(&condition_of(&refused, "Stalled")["message"]);
    assert!(message.contains("100Mi") && message.contains("600Mi"), "{message}");
    cluster.delete("MonitoringStack", namespace, "stored").await;
    cluster.delete("Namespace", "", namespace).await;
    cluster.delete("PersistentVolume", "", "e2e-stack-storage").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_to_an_unknown_channel_is_named_and_the_rest_runs() {
    let cluster = Cluster::connect().await;
    let _together = cluster.together().await;
    let namespace = "e2e-stack-routes";
    cluster.fresh_namespace(namespace).await;
    cluster
        .apply(&format!(
            "
apiVersion: v1
kind: Secret
metadata: {{name: slack, namespace: {namespace}}}
stringData: {{url: 'https://hooks.example.com/x'}}
---
apiVersion: evenkeel.dev/v1alpha1
kind: NotificationChannel
metadata: {{name: team-slack, namespace: {namespace}}}
spec: {{slack: {{webhookUrlSecretRef: {{name: slack, key: url}}}}}}
---
apiVersion: evenkeel.dev/v1alpha1
kind: MonitoringStack
metadata: {{name: routed, namespace: {namespace}}}
spec:
  alertmanager:
    routes:
    - {{matchers: ['severity=\"critical\"'], channel: team-slak}}
    - {{matchers: ['severity=\"warning\"'], channel: team-slack}}
"
        ))
        .await;
    let stack = cluster
        .until("not Ready", "MonitoringStack", namespace, "routed", Duration::from_secs(60), |o| {
            current(o) && condition(o, "Ready") == "False"
        })
        .await;
    let said = stack["status"].to_string();
    assert!(said.contains("team-slak") && said.contains("team-slack"), "{said}");
    eventually("Alertmanager runs all the same", Duration::from_secs(60), || async {
        let labels = "app.kubernetes.io/name=alertmanager,app.kubernetes.io/instance=routed";
        (!cluster.pods(namespace, labels).await.is_empty()).then_some(())
    })
    .await;
    cluster.delete("Namespace", "", namespace).await;
}
