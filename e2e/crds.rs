//! The definitions themselves.

use crate::harness::*;

#[tokio::test(flavor = "multi_thread")]
async fn plain_kubectl_apply_takes_the_definitions_and_explain_reads_well() {
    let cluster = Cluster::connect().await;
    let _together = cluster.together().await;
    run("kubectl", &["apply", "-f", "crds/", "--dry-run=server"]).await;
    let cache = std::env::temp_dir().join(format!("evenkeel-e2e-{}", std::process::id())).display().to_string();
    for path in [
        "mstack.spec.prometheus",
        "mstack.spec.alertmanager.routes",
        "arule.spec.rules",
        "aresp.spec.steps",
        "aresp.spec.verify",
        "run.status",
        "nchan.spec",
    ] {
        // What kubectl knows of the cluster may be older than the kinds.
        let text =
            run("kubectl", &["explain", path, "--api-version=evenkeel.dev/v1alpha1", "--cache-dir", &cache]).await;
        assert!(text.contains("DESCRIPTION:") && text.contains("FIELDS:"), "{path}: {text}");
        assert!(!text.contains("<empty>") && !text.contains("Auto-generated"), "{path} lacks a description: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cel_can_check_is_refused_at_the_door() {
    let cluster = Cluster::connect().await;
    let _together = cluster.together().await;
    let namespace = "e2e-cel";
    cluster.namespace(namespace).await;
    for (what, spec) in [
        (
            "AlertRule with both alert and record",
            "kind: AlertRule, spec: {rules: [{alert: A, record: 'a:b', expr: up}]}",
        ),
        (
            "AlertResponse that matches everything",
            "kind: AlertResponse, spec: {match: {}, target: {kind: Deployment, name: a}, steps: [{restart: {}}]}",
        ),
        (
            "AlertResponse that acts as nobody",
            "kind: AlertResponse, spec: {mode: Act, match: {alert: A}, target: {kind: Deployment, name: a}, steps: [{restart: {}}]}",
        ),
        (
            "step with two actions",
            "kind: AlertResponse, spec: {match: {alert: A}, target: {kind: Deployment, name: a}, steps: [{restart: {}, scale: {to: 1}}]}",
        ),
        (
            "channel with two destinations",
            "kind: NotificationChannel, spec: {slack: {webhookUrlSecretRef: {name: a, key: b}}, webhook: {url: 'http://a'}}",
        ),
    ] {
        let yaml =
            format!("{{apiVersion: evenkeel.dev/v1alpha1, metadata: {{name: wrong, namespace: {namespace}}}, {spec}}}");
        let error = cluster.try_apply(documents(&yaml).remove(0)).await.expect_err(what).to_string();
        assert!(error.contains("nvalid"), "{what}: {error}");
    }
}
