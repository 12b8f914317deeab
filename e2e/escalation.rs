//! A repair that does not help: the next one, then people, then no more of it.

use std::time::Duration;

use serde_json::Value;

use crate::harness::*;
use crate::manifests::*;
use crate::outside::Outside;

const MINUTE: Duration = Duration::from_secs(60);

fn seconds(value: &Value) -> i64 {
    text(value).parse::<jiff::Timestamp>().unwrap_or_else(|_| panic!("{value} is no time")).as_second()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_help_is_followed_by_a_fallback_by_people_in_their_order_and_by_the_end_of_the_response() {
    let cluster = Cluster::connect().await;
    let _together = cluster.together().await;
    let (namespace, outside) = ("e2e-escalation", Outside::start(&cluster).await);
    cluster.fresh_namespace(namespace).await;
    cluster.apply(&responder(namespace)).await;
    cluster.apply(&outside.channels(namespace)).await;
    cluster.apply(&outside.more_channels(namespace)).await;
    cluster.apply(&deployment(namespace, "web", "1", 1)).await;
    cluster.rolled_out(namespace, "web").await;
    let spec = "
  target: {kind: Deployment, name: web}
  steps: [{restart: {}}]
  fallback: [{steps: [{scale: {to: 2}}]}]
  undo: NotProved
  verify: {within: 10s, settle: 1s}
  guardrails: {cooldown: 1s, attempts: 5}
  escalate:
  - {after: 0s, channels: [team-slack, mail]}
  - {after: 15s, channels: [oncall, team-teams]}
  suspendAfter: 2";
    cluster.apply(&response(namespace, "fix", "Trouble", spec)).await;
    cluster.ready("AlertResponse", namespace, "fix", MINUTE).await;

    // A real alert: its Alertmanager says at any time that it fires on.
    let rule = |expr: &str| {
        format!(
            "
apiVersion: evenkeel.dev/v1alpha1
kind: AlertRule
metadata: {{name: always, namespace: {namespace}}}
spec: {{interval: 2s, rules: [{{alert: Trouble, expr: '{expr}', severity: critical, labels: {{namespace: {namespace}}}}}]}}
"
        )
    };
    cluster.apply(&rule("vector(1) > 0")).await;
    let firing = async |until: &dyn Fn(&[Value]) -> bool| {
        eventually("the runs came to this", 3 * MINUTE, || async {
            let runs = cluster.runs(namespace, "fix").await;
            until(&runs).then_some(runs)
        })
        .await
    };
    let told = |run: &Value| {
        let levels = run["status"]["escalations"].as_array().cloned().unwrap_or_default();
        levels.len() == 2 && levels.iter().all(|level| level["finished"] == true)
    };
    let runs = firing(&|runs| runs.iter().any(told)).await;
    let run = runs.iter().find(|run| told(run)).expect("it was just there");
    let status = &run["status"];
    let steps: Vec<String> = ["restart", "scale"].map(str::to_owned).into();
    assert_eq!(status["steps"].as_array().expect("steps").iter().map(|s| text(&s["name"])).collect::<Vec<_>>(), steps);
    let (first, second) = (&status["steps"][0], &status["steps"][1]);
    assert!(seconds(&second["startedAt"]) - seconds(&first["finishedAt"]) >= 9, "{status:#}");
    assert_eq!(second["undo"]["state"], "Done", "{status:#}");
    let ended = seconds(&status["finishedAt"]);
    let due: Vec<i64> = (0..2).map(|level| seconds(&status["escalations"][level]["due"]) - ended).collect();
    assert_eq!(due, [0, 15]);
    assert_eq!(outside.slack.with(|slack| slack.messages.len()).min(1), 1);
    assert!(
        outside.mail.letters().iter().any(|letter| letter.to == ["managers@example.com"]),
        "{:?}",
        outside.mail.letters()
    );
    assert!(
        outside.pagerduty.with(|pagerduty| pagerduty.opened) >= 1
            && outside.teams.with(|teams| !teams.cards.is_empty())
    );

    let suspended = |o: &Value| condition_of(o, "Stalled")["reason"] == "SuspendedItself";
    firing(&|runs| runs.iter().filter(|run| is_closed(run)).count() >= 2).await;
    cluster.until("suspended by itself", "AlertResponse", namespace, "fix", MINUTE, suspended).await;
    let runs = firing(&|runs| runs.iter().any(|run| run["status"]["phase"] == "Skipped")).await;
    let skipped = runs.iter().find(|run| run["status"]["phase"] == "Skipped").expect("it was just there");
    assert!(
        text(&skipped["status"]["message"]).contains("suspended itself: 2 runs in a row"),
        "{:#}",
        skipped["status"]
    );

    // A rule that is deleted takes its alert along without a word; one that does not hold any more resolves it.
    cluster.apply(&rule("vector(1) > 2")).await;
    eventually("the incident is resolved", 3 * MINUTE, || async {
        let states = outside.pagerduty.with(|pagerduty| pagerduty.incidents.clone());
        states.values().all(|state| *state == "resolved").then_some(())
    })
    .await;
    outside.assert_well_formed();
}
