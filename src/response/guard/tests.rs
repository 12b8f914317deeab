//! Every guard says no when it should, and they are asked in an order that can be relied upon.

mod alone;

use super::*;
use crate::api::AlertResponse;
use crate::api::alert_response::{Mode, SloBurns};
use crate::api::response_run::{
    AlertState, Intent, Phase, ResponseRunStatus, RestartIntent, StepState, StepStatus, Verdict,
};
use crate::k8s::workload::Object;
use crate::response::condition::Told;
use crate::response::facts::{Around, Asked, Known, Lookup, Storm, Workload};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::json;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + seconds).unwrap()
}

/// Of the AlertResponse below, created at this second.
fn run(name: &str, created: i64, phase: Phase) -> ResponseRun {
    let mut run: ResponseRun = serde_json::from_value(json!({
        "apiVersion": "evenkeel.dev/v1alpha1", "kind": "ResponseRun",
        "metadata": {
            "name": name, "namespace": "shop", "uid": name,
            "ownerReferences": [{"apiVersion": "evenkeel.dev/v1alpha1", "kind": "AlertResponse", "name": "fix", "uid": "fix-uid"}],
        },
        "spec": {
            "responseRef": {"name": "fix", "uid": "fix-uid", "generation": 1},
            "alert": {"name": "A", "fingerprint": name}, "target": {"kind": "Deployment", "name": "web"},
            "mode": "Act", "serviceAccountName": "responder", "steps": [{"restart": {}}], "attempt": 1,
        },
    }))
    .unwrap();
    run.metadata.creation_timestamp = Some(Time(at(created)));
    run.status = Some(ResponseRunStatus { phase, ..ResponseRunStatus::default() });
    run
}

fn acted(name: &str, response: &str, seconds: i64) -> ResponseRun {
    let mut run = run(name, seconds, Phase::Succeeded);
    run.spec.response_ref.uid = response.into();
    let intent = Intent { restart: Some(RestartIntent::default()), ..Intent::default() };
    let step = StepStatus { state: StepState::Done, intent: Some(intent), ..StepStatus::default() };
    let (started_at, finished_at) = (Some(Time(at(seconds))), Some(Time(at(seconds))));
    run.status = Some(ResponseRunStatus {
        phase: Phase::Succeeded,
        steps: vec![step],
        started_at,
        finished_at,
        ..Default::default()
    });
    run
}

fn response() -> AlertResponse {
    serde_json::from_value(json!({
        "apiVersion": "evenkeel.dev/v1alpha1", "kind": "AlertResponse",
        "metadata": {"name": "fix", "namespace": "shop", "uid": "fix-uid", "generation": 1},
        "spec": {
            "mode": "Act", "match": {"alert": "A"}, "target": {"kind": "Deployment", "name": "web"},
            "serviceAccountName": "responder", "steps": [{"restart": {}}],
        },
    }))
    .unwrap()
}

fn facts() -> Facts {
    Facts {
        response: Some(response()),
        alert: Known { state: AlertState::Firing, ..Known::default() },
        workload: Lookup::Found(Box::default()),
        ..Facts::default()
    }
}

/// The guard that decided, and what it decided.
fn decided(run: &ResponseRun, facts: &Facts) -> (String, Answer) {
    let (asked, answer) = evaluate(run, facts, at(10_000));
    (asked.last().unwrap().name.clone(), answer)
}

#[test]
fn with_nothing_against_it_a_run_passes_every_guard() {
    let (asked, answer) = evaluate(&run("a", 0, Phase::Pending), &facts(), at(0));
    assert_eq!((asked.len(), answer), (18, Answer::Pass("18 of 18 guards passed".into())));
}

#[test]
fn what_speaks_against_it_is_named() {
    let run_ = run("a", 0, Phase::Pending);
    let mut edited = response();
    edited.spec.steps.clear();
    let mut suspended = response();
    suspended.spec.suspend = true;
    let mut namesake = response();
    namesake.metadata.uid = Some("another".into());
    let resolved = Known { state: AlertState::Resolved, ..Known::default() };
    for (facts, guard) in [
        (Facts { response: None, ..facts() }, "Response"),
        (Facts { response: Some(namesake), ..facts() }, "Response"),
        (Facts { response: Some(edited), ..facts() }, "Response"),
        (Facts { paused_by: Some("Namespace shop".into()), ..facts() }, "NotPaused"),
        (Facts { response: Some(suspended), ..facts() }, "NotSuspended"),
        (Facts { protected: true, ..facts() }, "Namespace"),
        (Facts { workload: Lookup::Missing, ..facts() }, "Target"),
        (Facts { alert: resolved, ..facts() }, "AlertFiring"),
    ] {
        let (by, answer) = decided(&run_, &facts);
        assert_eq!(by, guard);
        assert!(matches!(answer, Answer::Skip(_)), "{answer:?}");
    }
    let mut orphan = run_;
    orphan.metadata.owner_references = None;
    assert_eq!(decided(&orphan, &facts()).0, "Response", "who made it by hand borrows no ServiceAccount");
}

#[test]
fn in_a_maintenance_window_nothing_is_touched() {
    // at(10_000) is Monday, 12 January 1970, 16:33:20 UTC.
    let windowed = |cron: &str, zone: Option<&str>| {
        let mut run = run("a", 0, Phase::Pending);
        let window = json!({"cron": cron, "duration": "10m", "timeZone": zone});
        run.spec.guardrails.maintenance_windows = vec![serde_json::from_value(window).unwrap()];
        run
    };
    let (by, answer) = decided(&windowed("30 16 * * 1", None), &facts());
    let words = "maintenance window 30 16 * * 1 (UTC) lasts until 1970-01-12T16:40:00Z";
    assert_eq!((by.as_str(), answer), ("Maintenance", Answer::Skip(words.into())));
    assert_eq!(still(&windowed("30 16 * * 1", None), &facts(), at(10_000)), Answer::Skip(words.into()));
    // An hour later in Paris, and over.
    assert_eq!(decided(&windowed("30 17 * * 1", Some("Europe/Paris")), &facts()).0, "Maintenance");
    for cron in ["20 16 * * 1", "30 16 * * 2", "34 16 * * 1"] {
        assert!(matches!(decided(&windowed(cron, None), &facts()).1, Answer::Pass(_)), "{cron}");
    }
    assert_eq!(decided(&windowed("no cron", None), &facts()).0, "Maintenance");
}

#[test]
fn with_too_few_replicas_left_nothing_is_touched() {
    let with = |limit: serde_json::Value, available: i32| {
        let mut run = run("a", 0, Phase::Pending);
        run.spec.guardrails.min_ready = Some(serde_json::from_value(limit).unwrap());
        let deployment = json!({
            "metadata": {"name": "web"}, "spec": {"replicas": 3, "selector": {}, "template": {}},
            "status": {"availableReplicas": available},
        });
        let object = Object::Deployment(Box::new(serde_json::from_value(deployment).unwrap()));
        let workload = Workload { object, ..Workload::default() };
        decided(&run, &Facts { workload: Lookup::Found(Box::new(workload)), ..facts() })
    };
    let (by, answer) = with(json!("50%"), 1);
    let words = "1 of 3 replicas of Deployment/web are available, minReady 50% asks for 2";
    assert_eq!((by.as_str(), answer), ("MinReady", Answer::Skip(words.into())));
    for (limit, available) in [(json!("50%"), 2), (json!(2), 2), (json!("0%"), 0), (json!(0), 0)] {
        assert!(matches!(with(limit.clone(), available).1, Answer::Pass(_)), "{limit} {available}");
    }
    assert_eq!(with(json!("half"), 3).0, "MinReady");
}

#[test]
fn what_must_hold_besides_is_asked_and_no_data_is_a_no() {
    let mut run = run("a", 0, Phase::Pending);
    run.spec.only_if.promql = Some("traffic > 1".into());
    let told = |told: Option<Told>| decided(&run, &Facts { condition: told, ..facts() });
    assert!(matches!(told(Some(Told::Holds("traffic > 1 (is 7)".into()))).1, Answer::Pass(_)));
    for no in [Told::Not("not traffic > 1 (is 0.2)".into()), Told::NoData("no data for traffic".into())] {
        let (by, answer) = told(Some(no));
        assert!(by == "OnlyIf" && matches!(answer, Answer::Skip(_)), "{answer:?}");
    }
    for unknown in [Some(Told::NoAnswer("away".into())), None] {
        let (by, answer) = told(unknown);
        assert!(by == "OnlyIf" && matches!(answer, Answer::Wait(_)), "{answer:?}");
    }
}

#[test]
fn runs_of_one_target_take_turns_in_the_order_of_their_creation() {
    let (first, second) = (run("b", 0, Phase::Pending), run("a", 1, Phase::Pending));
    let among = |other: &ResponseRun| Facts { others: vec![other.clone()], ..facts() };
    assert_eq!(decided(&second, &among(&first)).0, TURN);
    assert!(matches!(decided(&first, &among(&second)).1, Answer::Pass(_)));
    let working = run("a", 1, Phase::Verifying);
    assert!(matches!(decided(&first, &among(&working)).1, Answer::Wait(_)), "who works goes before who waits");
    let mut elsewhere = working;
    elsewhere.spec.target.name = "db".into();
    assert!(matches!(decided(&first, &among(&elsewhere)).1, Answer::Pass(_)));
}

#[test]
fn what_another_response_did_to_the_target_counts_for_the_cooldown() {
    let run = run("a", 10_000, Phase::Pending);
    let after = |seconds: i64| Facts { others: vec![acted("b", "other-uid", 10_000 - seconds)], ..facts() };
    assert_eq!(decided(&run, &after(899)).0, "Cooldown");
    assert!(matches!(decided(&run, &after(900)).1, Answer::Pass(_)));
}

#[test]
fn a_response_acts_no_more_than_its_limit_within_an_hour() {
    let mut run = run("a", 10_000, Phase::Pending);
    let mut others: Vec<_> = (0..4).map(|n| acted(&format!("b{n}"), "fix-uid", 10_000 - 3_599)).collect();
    run.spec.guardrails.cooldown = PromDuration::from_secs(1);
    assert_eq!(decided(&run, &Facts { others: others.clone(), ..facts() }).0, "MaxRunsPerHour");
    others.pop();
    assert!(matches!(decided(&run, &Facts { others, ..facts() }).1, Answer::Pass(_)));
}

#[test]
fn an_alert_that_its_alertmanager_does_not_have_is_waited_for() {
    let alert = Known { state: AlertState::Firing, asked: Asked::Absent, ..Known::default() };
    let (by, answer) = decided(&run("a", 0, Phase::Pending), &Facts { alert, ..facts() });
    assert_eq!(by, "AlertFiring");
    assert!(matches!(answer, Answer::Wait(_)));
}

/// A run and a world in which everything speaks for it, but for what `change` does to them.
fn but(change: impl FnOnce(&mut ResponseRun, &mut Facts)) -> (ResponseRun, Facts) {
    let (mut run, mut facts) = (run("a", 9_990, Phase::Pending), facts());
    change(&mut run, &mut facts);
    (run, facts)
}

fn freeze(holds: bool, workload: &str) -> crate::api::ChangeFreeze {
    serde_json::from_value(json!({
        "apiVersion": "evenkeel.dev/v1alpha1", "kind": "ChangeFreeze", "metadata": {"name": "quiet", "namespace": "shop"},
        "spec": {
            "reason": "Black Friday", "workloads": [{"kind": "Deployment", "name": workload}], "holdResponses": holds,
            "from": "1970-01-12T16:00:00Z", "until": "1970-01-12T17:00:00Z",
        },
    }))
    .unwrap()
}

#[test]
fn a_freeze_lets_repairs_pass_unless_it_says_otherwise_and_names_the_workload() {
    let with = |freeze, now| {
        let around = Around { freezes: vec![freeze], ..Around::default() };
        still(&run("a", 0, Phase::Running), &Facts { around, ..facts() }, at(now))
    };
    assert!(matches!(with(freeze(true, "*"), 10_000), Answer::Skip(_)), "also while the run is under way");
    for (freeze, now) in [(freeze(false, "web"), 10_000), (freeze(true, "db"), 10_000), (freeze(true, "web"), 12_000)] {
        assert!(matches!(with(freeze, now), Answer::Pass(_)));
    }
    let mut telling = run("a", 0, Phase::Pending);
    telling.spec.steps = vec![serde_json::from_value(json!({"notify": {"channels": ["team"]}})).unwrap()];
    let facts = Facts { around: Around { freezes: vec![freeze(true, "web")], ..Around::default() }, ..facts() };
    assert!(matches!(still(&telling, &facts, at(10_000)), Answer::Pass(_)), "telling people changes nothing");
}

/// The alert's pod, and a budget that allows nothing.
fn disrupted(ready: &str) -> Around {
    let pod = json!({
        "metadata": {"name": "web-1", "labels": {"app": "web"}},
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    });
    let budget = json!({
        "metadata": {"name": "web"}, "spec": {"selector": {"matchLabels": {"app": "web"}}},
        "status": {"currentHealthy": 2, "desiredHealthy": 2, "disruptionsAllowed": 0, "expectedPods": 3},
    });
    let pod = Some(serde_json::from_value(pod).unwrap());
    Around { pod, budgets: vec![serde_json::from_value(budget).unwrap()], ..Around::default() }
}

#[test]
fn a_disruption_budget_holds_the_deletion_of_a_pod_that_serves_and_nothing_else() {
    let mut run = run("a", 0, Phase::Running);
    run.spec.steps = serde_json::from_value(json!([{"restart": {}}, {"deletePod": {}}])).unwrap();
    let step = |state| StepStatus { state, ..StepStatus::default() };
    let at_step = |first, around| {
        let mut run = run.clone();
        run.status.as_mut().unwrap().steps = vec![step(first), step(StepState::Pending)];
        still(&run, &Facts { around, ..facts() }, at(10_000))
    };
    assert!(matches!(at_step(StepState::Done, disrupted("True")), Answer::Skip(_)));
    assert!(
        matches!(at_step(StepState::Pending, disrupted("True")), Answer::Pass(_)),
        "a restart keeps to its strategy"
    );
    assert!(matches!(at_step(StepState::Done, disrupted("False")), Answer::Pass(_)), "it serves nobody as it is");
    let mut elsewhere = disrupted("True");
    elsewhere.budgets[0].spec.as_mut().unwrap().selector = Some(Default::default());
    assert!(matches!(at_step(StepState::Done, elsewhere.clone()), Answer::Skip(_)), "an empty selector is every pod");
    elsewhere.budgets[0].spec.as_mut().unwrap().selector = None;
    assert!(matches!(at_step(StepState::Done, elsewhere), Answer::Pass(_)));
    let mut allowed = disrupted("True");
    allowed.budgets[0].status.as_mut().unwrap().disruptions_allowed = 1;
    assert!(matches!(at_step(StepState::Done, allowed), Answer::Pass(_)));
}

#[test]
fn in_a_namespace_no_more_than_a_share_of_the_workloads_is_repaired_at_a_time() {
    let with = |targets_lately, workloads| {
        let storm = Storm { targets_lately, workloads, acted_lately: targets_lately, ..Storm::default() };
        decided(&run("a", 0, Phase::Pending), &Facts { around: Around { storm, ..Around::default() }, ..facts() })
    };
    let (by, answer) = with(2, 4);
    let words = "storm brake: runs began to act on 2 other of the 4 workloads of namespace shop within 10m, and with Deployment/web it would be more than 50%; look for what their alerts have in common";
    assert_eq!((by.as_str(), answer), ("StormBrake", Answer::Skip(words.into())));
    for (targets, workloads) in [(1, 4), (0, 4), (4, 10), (2, 3)] {
        assert!(matches!(with(targets, workloads).1, Answer::Pass(_)), "{targets} of {workloads}");
    }
    let mut telling = run("a", 0, Phase::Pending);
    telling.spec.steps = vec![serde_json::from_value(json!({"notify": {"channels": ["team"]}})).unwrap()];
    let mut facts = facts();
    facts.around.storm.acted_lately = 1_000;
    facts.response.as_mut().unwrap().spec.steps = telling.spec.steps.clone();
    assert!(matches!(decided(&telling, &facts).1, Answer::Pass(_)), "who is told in a storm is told");
}
