//! Workflows of GitHub Actions, started by a response.

use std::time::Duration;

use serde_json::json;

use crate::harness::*;
use crate::manifests::*;
use crate::outside::Outside;

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_is_started_and_an_event_sent_once_although_the_first_answer_was_lost() {
    let cluster = Cluster::connect().await;
    let _together = cluster.together().await;
    let (namespace, outside) = ("e2e-workflow", Outside::start(&cluster).await);
    // Its run-name shows the input `run`.
    outside.github.with(|github| github.workflows.insert("repair.yaml".into(), Some("run".into())));
    cluster.fresh_namespace(namespace).await;
    cluster.apply(&responder(namespace)).await;
    cluster.apply(&outside.channels(namespace)).await;
    cluster.apply(&deployment(namespace, "web", "1", 1)).await;
    cluster.rolled_out(namespace, "web").await;
    let spec = "
  target: {kind: Deployment, name: web}
  steps:
  - githubWorkflow: {channel: repo, workflow: repair.yaml, ref: stable, inputs: {run: '{{ run.name }}', region: '{{ alert.labels.region }}'}}
  - githubWorkflow: {channel: repo, eventType: trouble, inputs: {target: '{{ target.name }}'}}
  guardrails: {cooldown: 0s}
  verify: {within: 90s, settle: 1s}";
    cluster.apply(&response(namespace, "fix", "Trouble", spec)).await;
    cluster.ready("AlertResponse", namespace, "fix", Duration::from_secs(60)).await;

    // It is done, and nobody hears of it: what was started is found again by the name of the run.
    outside.github.fail("POST", "/dispatches", crate::fakes::Fault::Lost);
    let run = cluster.play(namespace, "fix", "Trouble", json!({"region": "eu-1"})).await;
    assert_eq!(run["status"]["phase"], "Succeeded", "{:#}", run["status"]);
    let name = text(&run["metadata"]["name"]);
    let runs = outside.github.with(|github| github.runs.clone());
    assert_eq!(runs.len(), 1, "{runs:#?}");
    assert_eq!(text(&runs[0]["display_title"]), name);
    let steps = &run["status"]["steps"];
    assert_eq!(steps[0]["reference"].as_str(), Some(runs[0]["id"].to_string().as_str()), "{steps:#}");
    let started = format!("started workflow repair.yaml of example/checkout ({})", text(&runs[0]["html_url"]));
    assert_eq!(steps[0]["effect"].as_str(), Some(started.as_str()));
    let sent = outside.github.requests();
    let sent = sent.iter().find(|r| r.path.ends_with("/workflows/repair.yaml/dispatches")).expect("it was sent").json();
    assert_eq!((&sent["ref"], &sent["inputs"]["region"]), (&json!("stable"), &json!("eu-1")));
    let events = outside.github.with(|github| github.events.clone());
    assert_eq!(events.len(), 1, "{events:#?}");
    assert_eq!(events[0]["event_type"], "trouble");
    assert_eq!(events[0]["client_payload"]["target"], "web");
    outside.assert_well_formed();
}
