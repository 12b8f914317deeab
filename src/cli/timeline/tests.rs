use serde_json::{Value, json};

use super::*;

fn run(spec: &Value, status: Option<Value>) -> ResponseRun {
    let mut whole = json!({
        "responseRef": {"name": "checkout-bad-release", "uid": "u", "generation": 1},
        "alert": {
            "name": "HighErrorRate", "fingerprint": "f", "source": "stack monitoring/main", "labels": {"severity": "critical"},
            "annotations": {"summary": "checkout fails 21.3% of requests"},
            "startsAt": "2026-11-22T14:02:11Z", "receivedAt": "2026-11-22T14:02:11.512345Z",
        },
        "target": {"kind": "Deployment", "name": "checkout"}, "mode": "Act", "serviceAccountName": "responder",
        "steps": [{"rollback": {}}, {"notify": {"channels": ["team-slack"]}}], "attempt": 1,
    });
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let mut run = json!({
        "apiVersion": "evenkeel.dev/v1alpha1", "kind": "ResponseRun",
        "metadata": {"name": "checkout-bad-release-7f3c1a", "namespace": "shop", "uid": "uid-1"}, "spec": whole,
    });
    if let Some(status) = status {
        run["status"] = status;
    }
    serde_json::from_value(run).unwrap()
}

fn guards(all: &[(&str, bool)]) -> Value {
    all.iter().map(|(name, passed)| json!({"name": name, "passed": passed})).collect()
}

#[test]
fn a_proved_repair_reads_from_the_alert_to_the_verdict() {
    let status = json!({
        "phase": "Succeeded", "verdict": "Pass", "message": "alert resolved, Deployment/checkout 3/3 ready",
        "guards": guards(&[("Response", true), ("NotPaused", true), ("StormBrake", true)]),
        "startedAt": "2026-11-22T14:02:12Z", "finishedAt": "2026-11-22T14:04:40Z",
        "steps": [
            {
                "name": "rollback", "state": "Done", "startedAt": "2026-11-22T14:02:12.100000Z", "finishedAt": "2026-11-22T14:02:12.300000Z",
                "evidence": ["revision 14 (image shop:2) began 40s before the alert", "revision 13 was healthy for 3h"],
                "effect": "rolled back Deployment/checkout from revision 14 to 13 as shop/responder",
            },
            {
                "name": "notify", "state": "Done", "startedAt": "2026-11-22T14:02:12.300000Z", "finishedAt": "2026-11-22T14:02:13.000000Z",
                "effect": "notified team-slack", "message": "notified team-slack",
                "deliveries": [{"channel": "team-slack", "delivered": true, "tries": 1}],
            },
        ],
        "verification": {
            "startedAt": "2026-11-22T14:02:13Z", "deadline": "2026-11-22T14:12:13Z", "holdsSince": "2026-11-22T14:02:31Z",
            "alert": "alert resolved", "workload": "Deployment/checkout 3/3 ready",
            "settle": {"for": "2m", "message": "the alert looks back 2m"}, "finishedAt": "2026-11-22T14:04:40Z",
        },
        "closing": [{"channel": "team-slack", "delivered": true, "tries": 1}],
    });
    assert_eq!(
        timeline(&run(&json!({}), Some(status))),
        "Run shop/checkout-bad-release-7f3c1a: checkout-bad-release on Deployment/checkout, 2026-11-22 (UTC)
14:02:11  HighErrorRate (critical) fired: checkout fails 21.3% of requests
14:02:11  recorded, told by stack monitoring/main
14:02:12  guards: 3 of 3 passed
14:02:12  evidence: revision 14 (image shop:2) began 40s before the alert; revision 13 was healthy for 3h
14:02:12  rolled back Deployment/checkout from revision 14 to 13 as shop/responder
14:02:13  notified team-slack
14:02:13  waits for the proof until 14:12:13
14:02:31  the proof holds; it must stay so for 2m (the alert looks back 2m)
14:04:40  verified: alert resolved, Deployment/checkout 3/3 ready   PASS
14:04:40  the end was told: team-slack
"
    );
}

#[test]
fn what_did_not_help_tells_fallback_escalation_and_what_is_to_be_taken_back_on_the_next_day() {
    let spec = json!({
        "attempt": 2, "steps": [{"scale": {"to": 5}}], "fallback": [{"steps": [{"restart": {}}]}],
        "escalate": [{"channels": ["oncall"]}, {"after": "15m", "channels": ["managers", "boss"]}],
    });
    let status = json!({
        "phase": "Failed", "verdict": "Fail", "message": "alert is firing, says its Alertmanager, 10m after the repair",
        "guards": guards(&[("Response", true)]), "fallbacks": 1,
        "startedAt": "2026-11-22T23:40:00Z", "finishedAt": "2026-11-22T23:55:00Z",
        "steps": [
            {
                "name": "scale", "state": "Done", "effect": "scaled Deployment/checkout from 3 to 5 replicas", "message": "found done",
                "startedAt": "2026-11-22T23:40:00.000000Z", "finishedAt": "2026-11-22T23:40:01.000000Z",
                "undo": {"due": "2026-11-23T00:40:01Z"},
            },
            {
                "name": "restart", "state": "Refused", "message": "deployments.apps \"checkout\" is forbidden",
                "startedAt": "2026-11-22T23:50:00.000000Z", "finishedAt": "2026-11-22T23:50:01.000000Z",
            },
        ],
        "escalations": [
            {"due": "2026-11-22T23:55:00Z", "finished": true, "message": "notified oncall"},
            {"due": "2026-11-23T00:10:00Z", "deliveries": [{"channel": "managers", "delivered": false}, {"channel": "boss", "delivered": false}]},
        ],
        "closing": [{"channel": "team-slack", "delivered": false, "tries": 4, "message": "no answer"}],
    });
    let mut run = run(&spec, Some(status));
    run.annotations_mut().extend([(FIRINGS.into(), "3".into()), (FIRED_AT.into(), "2026-11-22T23:45:00Z".into())]);
    // Words from outside must not steer the terminal.
    run.spec.alert.annotations.insert("summary".into(), "\u{1b}[2Jfails\nall green".into());
    assert_eq!(
        timeline(&run),
        "Run shop/checkout-bad-release-7f3c1a: checkout-bad-release on Deployment/checkout, 2026-11-22 (UTC)
14:02:11  HighErrorRate (critical) fired:  [2Jfails all green
14:02:11  recorded, told by stack monitoring/main; attempt 2 while the alert fires
23:40:00  guards: 1 of 1 passed
23:40:01  scaled Deployment/checkout from 3 to 5 replicas (found done)
23:45:00  fired again, 3 times in all
23:50:00  not proved; fallback 1 of 1
23:50:01  restart refused: deployments.apps \"checkout\" is forbidden
23:55:00  closed: alert is firing, says its Alertmanager, 10m after the repair   FAIL
23:55:00  escalation 1 of 2: notified oncall
23:55:00  the end was told: not team-slack (no answer)
2026-11-23
00:10:00  escalation 2 of 2, if the alert fires then: managers, boss
00:40:01  scale is to be taken back
"
    );
}

#[test]
fn an_open_run_says_what_it_waits_for() {
    let waits = json!({
        "phase": "Pending", "message": "waits for approval: evenkeel approve",
        "guards": guards(&[("Response", true), ("Approval", false)]),
        "asked": [{"channel": "oncall", "delivered": true, "tries": 1}, {"channel": "boss", "delivered": false}],
        "steps": [{"name": "rollback", "message": "would roll back to revision 13", "evidence": ["changed 40s before"]}],
    });
    let told = timeline(&run(&json!({"mode": "Approve"}), Some(waits)));
    assert_eq!(
        told.split_once("main\n").unwrap().1,
        "          guards: 1 passed, Approval did not
          asked to approve it: oncall, boss is yet to be
          evidence: changed 40s before
          rollback: would roll back to revision 13
          Pending: waits for approval: evenkeel approve
"
    );
    let verifying = json!({
        "phase": "Verifying", "message": "waits for the alert to resolve and the workload to be healthy",
        "verification": {
            "startedAt": "2026-11-22T14:02:13Z", "deadline": "2026-11-22T14:12:13Z", "alert": "alert is firing, says its Alertmanager",
            "workload": "Deployment/checkout 3/3 ready",
        },
    });
    let told = timeline(&run(&json!({}), Some(verifying)));
    assert_eq!(
        told.split_once("main\n").unwrap().1,
        "14:02:13  waits for the proof until 14:12:13
          so far: alert is firing, says its Alertmanager, Deployment/checkout 3/3 ready
          Verifying: waits for the alert to resolve and the workload to be healthy
"
    );
    let told = timeline(&run(&json!({"drill": true}), None));
    assert_eq!(
        told.split_once("requests\n").unwrap().1,
        "14:02:11  recorded as a drill: nothing is touched and nobody is told
          nobody has looked at it yet: is the operator running?
"
    );
}

#[test]
fn a_run_that_was_held_back_names_the_guard_and_one_that_observes_what_it_would_do() {
    let held = json!({
        "phase": "Skipped", "message": "run fix-0 acted on Deployment/checkout 2m ago, within the cooldown of 15m",
        "guards": guards(&[("Response", true), ("Cooldown", false)]), "finishedAt": "2026-11-22T14:02:12Z",
    });
    let told = timeline(&run(&json!({}), Some(held)));
    assert_eq!(
        told.split_once("main\n").unwrap().1,
        "14:02:12  guards: 1 passed, Cooldown did not
14:02:12  skipped: run fix-0 acted on Deployment/checkout 2m ago, within the cooldown of 15m
"
    );
    let observed = json!({
        "phase": "Observed", "message": "mode Observe: would roll back to revision 13",
        "guards": guards(&[("Response", true)]), "finishedAt": "2026-11-22T14:02:12Z",
        "steps": [{"name": "rollback", "state": "Observed", "message": "would roll back to revision 13"}],
    });
    let told = timeline(&run(&json!({"mode": "Observe"}), Some(observed)));
    assert_eq!(
        told.split_once("main\n").unwrap().1,
        "14:02:12  guards: 1 of 1 passed
14:02:12  rollback: would roll back to revision 13
14:02:12  mode Observe: would roll back to revision 13
"
    );
}
