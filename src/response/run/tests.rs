//! Whole runs in a world of their own: a Deployment that takes every patch, receivers that write down what they are
//! told, and a clock that jumps over every wait.

use k8s_openapi::api::apps::v1::Deployment;
use serde_json::{Value, json};

use super::*;
use crate::api::response_run::{AlertState, Delivery, UndoState, Verdict};
use crate::k8s::workload::Object;
use crate::response::action::Act;
use crate::response::facts::{Asked, Known, LookBack, Lookup, Workload};

mod approval;

struct World {
    run: ResponseRun,
    facts: Facts,
    start: Timestamp,
    now: Timestamp,
    /// What was done, with the second in which it was.
    story: Vec<String>,
    /// A channel that never answers.
    deaf: Option<&'static str>,
}

fn deployment(replicas: i32) -> Deployment {
    serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "shop", "uid": "web-uid", "resourceVersion": "1", "annotations": {}},
        "spec": {"replicas": replicas, "selector": {}, "template": {"metadata": {"annotations": {}}}},
        "status": {"replicas": replicas, "updatedReplicas": replicas, "availableReplicas": replicas},
    }))
    .unwrap()
}

impl World {
    /// `spec` is what the author wrote besides the target; the alert fires on and on.
    fn new(spec: Value) -> Self {
        let mut whole = json!({
            "mode": "Act", "match": {"alert": "A"}, "target": {"kind": "Deployment", "name": "web"},
            "serviceAccountName": "responder", "verify": {"within": "60s", "settle": "10s"},
        });
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let response = serde_json::from_value(json!({
            "apiVersion": "evenkeel.dev/v1alpha1", "kind": "AlertResponse",
            "metadata": {"name": "fix", "namespace": "shop", "uid": "fix-uid", "generation": 1}, "spec": whole,
        }));
        let mut copied = json!({
            "responseRef": {"name": "fix", "uid": "fix-uid", "generation": 1},
            "alert": {"name": "A", "fingerprint": "f", "startsAt": "2026-01-01T00:00:00Z"}, "attempt": 1,
        });
        for key in ["mode", "target", "serviceAccountName", "steps", "verify", "fallback", "undo", "escalate"] {
            if let Some(value) = whole.get(key) {
                copied[key] = value.clone();
            }
        }
        let run = serde_json::from_value(json!({
            "apiVersion": "evenkeel.dev/v1alpha1", "kind": "ResponseRun",
            "metadata": {
                "name": "run", "namespace": "shop", "uid": "run-uid",
                "ownerReferences": [{"apiVersion": "evenkeel.dev/v1alpha1", "kind": "AlertResponse", "name": "fix", "uid": "fix-uid"}],
            },
            "spec": copied,
        }));
        let alert = Known { state: AlertState::Firing, seen_at: None, asked: Asked::Firing };
        let workload = Workload { object: Object::Deployment(Box::new(deployment(2))), ..Workload::default() };
        let start: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        Self {
            run: run.unwrap(),
            facts: Facts {
                response: Some(response.unwrap()),
                alert,
                workload: Lookup::Found(Box::new(workload)),
                // An alert from elsewhere: the author's settle counts.
                look_back: LookBack::Unknown(String::new()),
                ..Facts::default()
            },
            start,
            now: start,
            story: vec![],
            deaf: None,
        }
    }

    fn status(&self) -> &ResponseRunStatus {
        self.run.status.as_ref().unwrap()
    }

    fn tell(&mut self, what: String) {
        let second = self.now.duration_since(self.start).as_secs();
        self.story.push(format!("{second}s {what}"));
    }

    /// The only thing that is patched here is the number of replicas and the annotations.
    fn patch(&mut self, change: &Change) -> String {
        let Lookup::Found(workload) = &mut self.facts.workload else { panic!("no workload") };
        let Object::Deployment(deployment) = &workload.object else { panic!("no Deployment") };
        let [Act::Patch { operations, .. }] = &change.acts[..] else { panic!("{:?}", change.acts) };
        let mut object = serde_json::to_value(deployment).unwrap();
        for operation in serde_json::to_value(operations).unwrap().as_array().unwrap() {
            let (map, key) = operation["path"].as_str().unwrap().rsplit_once('/').unwrap();
            object.pointer_mut(map).unwrap()[key.replace("~1", "/")] = operation["value"].clone();
        }
        let replicas = object["spec"]["replicas"].clone();
        object["status"] = json!({"replicas": replicas, "updatedReplicas": replicas, "availableReplicas": replicas});
        workload.object = Object::Deployment(Box::new(serde_json::from_value(object).unwrap()));
        change.effect.clone()
    }

    /// Until nothing is left to do, or, when given, until this second.
    fn play(&mut self, until: Option<i64>) {
        for _ in 0..10_000 {
            let end = until.map(|second| self.start + SignedDuration::from_secs(second));
            if end.is_some_and(|end| self.now >= end) {
                return;
            }
            match next(&self.run, &self.facts, self.now) {
                Decision::Closed => return,
                Decision::Proceed(status) => self.run.status = Some(*status),
                Decision::Wait(status, wait) => {
                    self.run.status = Some(*status);
                    self.now += SignedDuration::try_from(wait).unwrap();
                }
                Decision::Change { step, change } => {
                    let effect = self.patch(&change);
                    self.tell(effect.clone());
                    self.run.status = after_change(&self.run, step, Ok(effect), self.now);
                }
                Decision::Undo { step, change } => {
                    let effect = self.patch(&change);
                    self.tell(format!("undo: {effect}"));
                    self.run.status = after_undo(&self.run, step, Ok(effect), self.now);
                }
                Decision::Errand { step } => {
                    self.tell(format!("errand of step {step}"));
                    let done = Errand::Done { effect: "done".into(), evidence: vec![], reference: None };
                    self.run.status = after_errand(&self.run, step, Ok(done), self.now);
                }
                Decision::Deliver { place, channel, tries: _ } => {
                    let result = match self.deaf == Some(&channel) {
                        true => Err(Undelivered { why: "no answer".into(), is_final: false, retry_after: None }),
                        false => {
                            self.tell(format!("{place:?} -> {channel}"));
                            Ok(Receipt { reference: None, incident: channel == "pager" })
                        }
                    };
                    self.run.status = after_delivery(&self.run, place, &channel, result, self.now);
                }
            }
        }
        panic!("it never ends: {:#?}", self.status());
    }
}

fn scale(to: i32) -> Value {
    json!({"scale": {"to": to}})
}

#[test]
fn what_did_not_help_is_followed_by_the_next_fallback_and_then_by_people_at_the_times_they_were_given() {
    let mut world = World::new(json!({
        "steps": [scale(3), {"notify": {"channels": ["chat"]}}],
        "fallback": [{"steps": [scale(4)]}, {"steps": [scale(5)]}],
        "escalate": [{"after": "0s", "channels": ["pager"]}, {"after": "15m", "channels": ["boss"]}],
    }));
    world.play(None);
    let expected = [
        "0s scaled Deployment/web from 2 to 3 replicas",
        "0s Step(1) -> chat",
        "60s scaled Deployment/web from 3 to 4 replicas",
        "120s scaled Deployment/web from 4 to 5 replicas",
        "180s Closing -> chat",
        "180s Escalation(0) -> pager",
        "1080s Escalation(1) -> boss",
    ];
    assert_eq!(world.story, expected);
    assert_eq!((world.status().phase, world.status().verdict), (Phase::Failed, Some(Verdict::Fail)));
    // The incident is open: the run is looked after until the alert resolves, and then at rest for good.
    assert!(is_alive(&world.run));
    world.facts.alert.state = AlertState::Resolved;
    world.play(None);
    assert_eq!(world.story.last().unwrap(), "1080s Resolved -> pager");
    assert!(!is_alive(&world.run));
}

#[test]
fn the_fallback_that_helps_is_the_last_and_nobody_is_called() {
    let mut world = World::new(json!({
        "steps": [scale(3)], "fallback": [{"steps": [scale(4)]}, {"steps": [scale(5)]}],
        "escalate": [{"after": "0s", "channels": ["pager"]}],
    }));
    world.play(Some(70));
    world.facts.alert = Known { state: AlertState::Resolved, ..Known::default() };
    world.play(None);
    assert_eq!((world.status().phase, world.status().verdict), (Phase::Succeeded, Some(Verdict::Pass)));
    assert_eq!(world.story.len(), 2, "{:?}", world.story);
    assert!(!is_alive(&world.run));
}

#[test]
fn an_alert_that_resolves_while_people_are_yet_to_be_called_calls_nobody_else() {
    let mut world = World::new(json!({
        "steps": [scale(3)],
        "escalate": [{"after": "0s", "channels": ["pager"]}, {"after": "1h", "channels": ["boss"]}],
    }));
    world.play(Some(600));
    world.facts.alert.state = AlertState::Resolved;
    world.play(None);
    assert!(world.story.iter().any(|line| line.ends_with("Resolved -> pager")), "{:?}", world.story);
    assert!(!world.story.iter().any(|line| line.contains("boss")), "{:?}", world.story);
    assert_eq!(world.status().escalations[1].message, "not told: the alert has resolved");
}

#[test]
fn when_nobody_can_tell_nothing_more_is_tried_and_people_are_called() {
    let mut world = World::new(json!({
        "steps": [scale(3)], "fallback": [{"steps": [scale(4)]}],
        "escalate": [{"channels": ["pager"]}],
    }));
    world.facts.alert = Known { asked: Asked::NoAnswer, ..world.facts.alert };
    world.play(None);
    assert_eq!(world.status().verdict, Some(Verdict::Inconclusive));
    assert_eq!(world.story, ["0s scaled Deployment/web from 2 to 3 replicas", "60s Escalation(0) -> pager"]);
}

#[test]
fn steps_are_taken_back_in_reverse_before_a_fallback_when_the_author_asked_for_it() {
    let mut world = World::new(json!({
        "steps": [scale(3), scale(4)], "fallback": [{"steps": [scale(7)]}], "undo": "NotProved",
    }));
    world.play(None);
    let expected = [
        "0s scaled Deployment/web from 2 to 3 replicas",
        "0s scaled Deployment/web from 3 to 4 replicas",
        "60s undo: scaled Deployment/web from 4 to 3 replicas",
        "60s undo: scaled Deployment/web from 3 to 2 replicas",
        "60s scaled Deployment/web from 2 to 7 replicas",
        "120s undo: scaled Deployment/web from 7 to 2 replicas",
    ];
    assert_eq!(world.story, expected);
}

#[test]
fn the_old_number_comes_back_after_the_run_was_closed_also_when_nobody_looked_at_the_time() {
    let mut world = World::new(json!({"steps": [{"scale": {"to": 5, "restoreAfter": "1h"}}]}));
    world.play(Some(5));
    world.facts.alert = Known { state: AlertState::Resolved, ..Known::default() };
    world.play(Some(60));
    assert_eq!(world.status().phase, Phase::Succeeded);
    assert!(is_alive(&world.run), "the old number is yet to come back");
    // The operator was away for a day.
    world.now += SignedDuration::from_hours(24);
    world.play(None);
    assert_eq!(
        world.story.last().unwrap(),
        &format!(
            "{}s undo: scaled Deployment/web from 5 to 2 replicas",
            world.now.duration_since(world.start).as_secs()
        )
    );
    assert!(!is_alive(&world.run));
}

#[test]
fn a_number_that_somebody_else_has_changed_is_left_as_it_is() {
    let mut world = World::new(json!({"steps": [{"scale": {"to": 5, "restoreAfter": "1h"}}]}));
    world.play(Some(5));
    world.facts.alert = Known { state: AlertState::Resolved, ..Known::default() };
    let Lookup::Found(workload) = &mut world.facts.workload else { unreachable!() };
    workload.object = Object::Deployment(Box::new(deployment(9)));
    world.play(None);
    let undo = world.status().steps[0].undo.as_ref().unwrap();
    assert_eq!(undo.state, UndoState::GivenUp);
    assert!(undo.message.contains("somebody else"), "{}", undo.message);
}

#[test]
fn while_responses_are_paused_nothing_is_taken_back_and_afterwards_it_is() {
    let mut world = World::new(json!({"steps": [{"scale": {"to": 5, "restoreAfter": "10m"}}]}));
    world.play(Some(5));
    world.facts.alert = Known { state: AlertState::Resolved, ..Known::default() };
    world.facts.paused_by = Some("Namespace shop".into());
    world.play(Some(7200));
    assert_eq!(world.story.len(), 1, "{:?}", world.story);
    world.facts.paused_by = None;
    world.play(None);
    assert!(world.story[1].contains("undo: scaled Deployment/web from 5 to 2"), "{:?}", world.story);
}

#[test]
fn a_deaf_channel_is_given_up_and_holds_up_nobody() {
    let mut world = World::new(json!({
        "steps": [scale(3)], "escalate": [{"channels": ["deaf", "pager"]}],
    }));
    world.deaf = Some("deaf");
    world.play(None);
    let level = &world.status().escalations[0];
    assert_eq!(level.message, "notified pager; could not notify deaf (no answer)");
    assert_eq!(level.deliveries[0].tries, Delivery::MAX_TRIES);
}

#[test]
fn what_rests_on_the_same_facts_is_written_once_and_an_act_only_after_it_is_on_record() {
    let scale = || json!({"scale": {"to": 3}});
    let mut world = World::new(json!({"steps": [scale()]}));
    let mut writes = vec![];
    for _ in 0..3 {
        match next(&world.run, &world.facts, world.now) {
            Decision::Proceed(status) => {
                writes.push((status.phase, status.steps[0].state));
                world.run.status = Some(*status);
            }
            Decision::Change { step, change } => {
                let effect = world.patch(&change);
                world.run.status = after_change(&world.run, step, Ok(effect), world.now);
                writes.push((world.status().phase, world.status().steps[0].state));
            }
            other => assert!(matches!(other, Decision::Wait(..)), "{other:?}"),
        }
    }
    assert_eq!(writes, [(Phase::Running, StepState::Intended), (Phase::Verifying, StepState::Done)]);
    // A rollback is chosen by what other runs did, which is looked up only when it is next.
    let mut world = World::new(json!({"steps": [{"scale": {"to": 2}}, {"rollback": {"to": "previous"}}]}));
    world.run.status = Some(ResponseRunStatus {
        phase: Phase::Running,
        steps: world.run.spec.steps.iter().map(unbegun).collect(),
        ..ResponseRunStatus::default()
    });
    let Decision::Proceed(status) = next(&world.run, &world.facts, world.now) else { panic!("nothing to write") };
    assert_eq!((status.steps[0].state, status.steps[1].state), (StepState::Skipped, StepState::Pending));
}

#[test]
fn a_fallback_is_not_planned_by_what_was_looked_up_for_the_proof() {
    let mut world =
        World::new(json!({"steps": [{"scale": {"to": 3}}], "fallback": [{"steps": [{"scale": {"to": 4}}]}]}));
    world.play(Some(30));
    assert_eq!(world.status().phase, Phase::Verifying);
    world.now += SignedDuration::from_secs(60);
    // Nobody looks at them while a run is being proved.
    let facts = Facts { response: None, ..world.facts.clone() };
    let Decision::Proceed(status) = next(&world.run, &facts, world.now) else { panic!("nothing to write") };
    assert_eq!((status.phase, status.steps[1].state), (Phase::Running, StepState::Pending));
}

#[test]
fn a_step_that_was_refused_leads_to_the_fallback() {
    let mut world = World::new(json!({
        "steps": [{"rollback": {"to": 9}}, scale(3)], "fallback": [{"steps": [scale(4)]}],
    }));
    world.play(None);
    let states: Vec<StepState> = world.status().steps.iter().map(|step| step.state).collect();
    assert_eq!(states, [StepState::Refused, StepState::Skipped, StepState::Done]);
}

#[test]
fn a_drill_tells_what_would_be_done_and_does_nothing_whatever_the_mode() {
    let mut world = World::new(json!({
        "steps": [
            {"diagnose": {}}, scale(3), {"job": {"fromCronJob": "vacuum"}}, {"silence": {"for": "1h"}},
            {"notify": {"channels": ["oncall"]}},
        ],
        "escalate": [{"channels": ["boss"]}],
    }));
    world.run.spec.drill = true;
    world.play(None);
    assert_eq!(world.status().phase, Phase::Observed);
    let told: Vec<&str> = world.status().steps.iter().map(|step| step.message.as_str()).collect();
    assert_eq!(
        told,
        [
            "would collect evidence into ConfigMap/run-diagnosis-1",
            "would scale Deployment/web from 2 to 3 replicas",
            "would run a Job from CronJob/vacuum",
            "would refuse: alert A was not sent by a MonitoringStack but by \"\": there is no Alertmanager to silence it in",
            "would notify oncall",
        ]
    );
    assert!(world.status().message.starts_with("DRILL: "), "{}", world.status().message);
    assert!(world.story.is_empty(), "{:?}", world.story);
    assert!(!is_alive(&world.run));
}
