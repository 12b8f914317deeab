//! Argo Rollouts, with its own controller: aborted in mid-update, and back to the earlier template after promotion.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::harness::*;
use crate::manifests::*;

const NAMESPACE: &str = "e2e-rollouts";
const MINUTE: Duration = Duration::from_secs(60);

/// The programs of the local cluster; elsewhere there is no such controller to run.
fn tool(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(name)).find(|path| path.exists())
}

/// Starts Argo Rollouts' controller for this one namespace.
async fn controller(cluster: &Cluster) -> Option<Child> {
    let (program, crds) = (tool("rollouts-controller")?, tool("rollouts-crds")?);
    for file in std::fs::read_dir(crds).expect("a folder") {
        let path = file.expect("a file").path();
        if path.to_string_lossy().ends_with("-crd.yaml") {
            run("kubectl", &["apply", "--server-side", "-f", path.to_str().expect("UTF-8")]).await;
        }
    }
    let child = Command::new(program)
        .args(["--kubeconfig", &std::env::var("KUBECONFIG").expect("KUBECONFIG")])
        .args(["--namespaced", "--namespace", NAMESPACE, "--leader-elect=false"])
        .args(["--healthzPort", "18098", "--metricsPort", "18099"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("the controller starts");
    let health = || async {
        cluster.http.get("http://127.0.0.1:18098/healthz").send().await.ok()?.status().is_success().then_some(())
    };
    eventually("Argo Rollouts' controller is healthy", MINUTE, health).await;
    Some(child)
}

/// Half of the pods first, then a pause without an end.
fn rollout(release: &str, steps: &str) -> String {
    let fields = format!("replicas: 2\n  strategy: {{canary: {{steps: {steps}}}}}");
    workload("Rollout", NAMESPACE, "web", release, &fields)
}

fn release(rollout: &Value) -> String {
    text(&rollout["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"])
}

/// Releases of the pods that are ready.
async fn serving(cluster: &Cluster) -> Vec<String> {
    let pods = cluster.list("Pod", NAMESPACE, "app.kubernetes.io/name=web").await;
    let alive = pods.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    let mut all: Vec<String> = alive.map(|pod| text(&pod["spec"]["containers"][0]["env"][0]["value"])).collect();
    all.sort();
    all
}

async fn promoted(cluster: &Cluster, wanted: &str) {
    let done = |o: &Value| {
        // Its status has the generation as text.
        let generation = o["metadata"]["generation"].to_string();
        release(o) == wanted
            && o["status"]["phase"] == "Healthy"
            && text(&o["status"]["observedGeneration"]) == generation
    };
    cluster.until(&format!("promoted to {wanted}"), "Rollout", NAMESPACE, "web", 2 * MINUTE, done).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_is_aborted_in_mid_update_and_goes_back_after_its_promotion() {
    let cluster = Cluster::connect().await;
    let _together = cluster.together().await;
    cluster.fresh_namespace(NAMESPACE).await;
    let Some(_controller) = controller(&cluster).await else {
        println!("there is no rollouts-controller on PATH: only CLUSTER=local has one");
        return;
    };
    cluster.apply(&responder(NAMESPACE)).await;
    cluster.apply(&rollout("1", "[]")).await;
    promoted(&cluster, "1").await;
    let spec = "
  target: {kind: Rollout, name: web}
  steps: [{rollback: {to: lastHealthy}}]
  guardrails: {cooldown: 0s}
  verify: {within: 90s, settle: 1s}";
    cluster.apply(&response(NAMESPACE, "fix", "Trouble", spec)).await;
    cluster.ready("AlertResponse", NAMESPACE, "fix", Duration::from_secs(30)).await;

    cluster.apply(&rollout("2", "[{setWeight: 50}, {pause: {}}]")).await;
    let half = |o: &Value| o["status"]["phase"] == "Paused" && release(o) == "2";
    cluster.until("half way", "Rollout", NAMESPACE, "web", 2 * MINUTE, half).await;
    let run = cluster.play(NAMESPACE, "fix", "Trouble", json!({"half": "way"})).await;
    assert_eq!(run["status"]["verdict"], "Pass", "{:#}", run["status"]);
    assert_eq!(serving(&cluster).await, ["1", "1"]);

    cluster.apply(&rollout("3", "[]")).await;
    promoted(&cluster, "3").await;
    let run = cluster.play(NAMESPACE, "fix", "Trouble", json!({"half": "no"})).await;
    assert_eq!(run["status"]["verdict"], "Pass", "{:#}", run["status"]);
    promoted(&cluster, "1").await;
    assert_eq!(serving(&cluster).await, ["1", "1"]);
}
