//! A person's word, from the question in a chat to the command line.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::harness::*;
use crate::manifests::*;
use crate::outside::Outside;

const MINUTE: Duration = Duration::from_secs(60);

/// What `evenkeel COMMAND RUN -n NAMESPACE` says on standard output, or, when it fails, on standard error.
async fn evenkeel(command: &str, run: &str, namespace: &str) -> Result<String, String> {
    let mut evenkeel = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
    let output = evenkeel.args([command, run, "-n", namespace]).output().await.expect("the binary starts");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_is_asked_and_the_run_acts_once_somebody_approved_it_on_the_command_line() {
    let cluster = Cluster::connect().await;
    let _together = cluster.together().await;
    let (namespace, outside) = ("e2e-approval", Outside::start(&cluster).await);
    cluster.fresh_namespace(namespace).await;
    cluster.apply(&responder(namespace)).await;
    cluster.apply(&outside.channels(namespace)).await;
    cluster.apply(&deployment(namespace, "web", "1", 1)).await;
    let before = cluster.rolled_out(namespace, "web").await["metadata"]["generation"].as_i64();
    let spec = "
  target: {kind: Deployment, name: web}
  steps: [{restart: {}}, {notify: {channels: [team-slack]}}]
  verify: {within: 90s, settle: 1s}";
    let response = response(namespace, "fix", "Trouble", spec).replace("mode: Act", "mode: Approve");
    cluster.apply(&response).await;
    cluster.ready("AlertResponse", namespace, "fix", MINUTE).await;

    cluster.post("firing", namespace, "Trouble", json!({})).await;
    let run = eventually("the chat was asked", MINUTE, || async {
        let runs = cluster.runs(namespace, "fix").await;
        runs.into_iter().find(|run| run["status"]["asked"][0]["delivered"] == true)
    })
    .await;
    let name = text(&run["metadata"]["name"]);
    let card = outside.slack.with(|slack| slack.messages.clone()).remove(0).body.to_string();
    assert!(card.contains("Approve? Trouble") && card.contains("would restart the pods of Deployment/web"), "{card}");
    assert!(card.contains(&format!("annotate run {name} evenkeel.dev/approve=true")), "{card}");
    let web = cluster.get("Deployment", namespace, "web").await;
    assert_eq!(web["metadata"]["generation"].as_i64(), before, "nothing is touched without the word");
    let waits = evenkeel("explain", &name, namespace).await.expect("a time line");
    assert!(waits.contains("Pending: waits for approval"), "{waits}");

    let approved = evenkeel("approve", &name, namespace).await.expect("a run that waits");
    assert!(approved.contains("1  restart: "), "{approved}");
    let phase = |phase: &'static str| move |run: &Value| run["status"]["phase"] == phase;
    cluster.until("verifying", "ResponseRun", namespace, &name, MINUTE, phase("Verifying")).await;
    let again = evenkeel("approve", &name, namespace).await.expect_err("it was approved");
    assert!(again.contains("somebody approved it before"), "{again}");
    cluster.post("resolved", namespace, "Trouble", json!({})).await;
    let run = cluster.until("closed", "ResponseRun", namespace, &name, 2 * MINUTE, is_closed).await;
    assert_eq!(run["status"]["verdict"], "Pass", "{:#}", run["status"]);
    let told = evenkeel("explain", &name, namespace).await.expect("a time line");
    assert!(told.contains("asked to approve it: team-slack") && told.contains("   PASS"), "{told}");
    eventually("the end was told", MINUTE, || async {
        let run = cluster.get("ResponseRun", namespace, &name).await;
        (run["status"]["closing"][0]["delivered"] == true).then_some(())
    })
    .await;
    // The question has become the news, and the news the end: one card.
    let cards = outside.slack.with(|slack| slack.messages.clone());
    assert_eq!((cards.len(), cards[0].updates), (1, 2), "{cards:#?}");
    outside.assert_well_formed();
}
