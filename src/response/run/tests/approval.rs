//! Runs that wait for a person's word, in the same world.

use super::*;

#[test]
fn a_run_that_is_to_be_approved_says_what_it_would_do_and_waits_for_the_word() {
    let mut world = World::new(json!({"mode": "Approve", "steps": [scale(3)]}));
    world.play(Some(600));
    assert_eq!((world.status().phase, world.story.len()), (Phase::Pending, 0));
    assert!(
        world.status().message.contains("annotate run run evenkeel.dev/approve=true"),
        "{}",
        world.status().message
    );
    assert_eq!(world.status().steps[0].message, "would scale Deployment/web from 2 to 3 replicas");
    let other = ResponseRun {
        metadata: kube::core::ObjectMeta { uid: Some("other".into()), ..world.run.metadata.clone() },
        ..world.run.clone()
    };
    assert!(!guard::is_ahead(&other, &world.run), "what waits for a word holds up nobody");
    let annotations = world.run.metadata.annotations.get_or_insert_default();
    annotations.insert(guard::APPROVE.into(), "true".into());
    world.play(Some(700));
    assert_eq!(world.story, ["600s scaled Deployment/web from 2 to 3 replicas"]);
}

#[test]
fn an_alert_that_resolves_before_anybody_approved_ends_the_run() {
    let mut world = World::new(json!({"mode": "Approve", "steps": [scale(3)]}));
    world.play(Some(600));
    world.facts.alert.state = AlertState::Resolved;
    world.play(None);
    assert_eq!((world.status().phase, world.story.len()), (Phase::Skipped, 0));
}

#[test]
fn those_whom_the_steps_tell_are_asked_to_approve_once_with_the_plan_and_the_command() {
    let notify = json!({"notify": {"channels": ["chat", "pager"]}});
    let mut world = World::new(json!({
        "mode": "Approve", "steps": [scale(3), notify], "fallback": [{"steps": [{"notify": {"channels": ["chat"]}}]}],
        "escalate": [{"channels": ["boss"]}],
    }));
    // Written before anybody is told: who takes over after a crash knows whom it may have reached.
    let Decision::Proceed(status) = next(&world.run, &world.facts, world.now) else { panic!("the intent") };
    let asked: Vec<_> = status.asked.iter().map(|delivery| (delivery.channel.as_str(), delivery.tries)).collect();
    assert_eq!(asked, [("chat", 0), ("pager", 0)]);
    world.run.status = Some(*status);
    let message = action::notify::message(&world.run, Place::Approval, "chat").unwrap();
    assert_eq!(
        message.text,
        "Approve? A
Deployment/web in namespace shop
scale: would scale Deployment/web from 2 to 3 replicas
notify: would notify chat, pager
kubectl -n shop annotate run run evenkeel.dev/approve=true"
    );
    assert_eq!(message.parts().command, Some("kubectl -n shop annotate run run evenkeel.dev/approve=true"));
    world.play(Some(600));
    // Another guard says no for a while, and then the person is waited for again.
    world.facts.alert.asked = Asked::Absent;
    world.play(Some(700));
    world.facts.alert.asked = Asked::Firing;
    world.play(Some(1_200));
    assert_eq!(world.story, ["0s Approval -> chat", "0s Approval -> pager"]);
    let annotations = world.run.metadata.annotations.get_or_insert_default();
    annotations.insert(guard::APPROVE.into(), "true".into());
    world.play(Some(world.now.duration_since(world.start).as_secs() + 5));
    assert!(world.story[2].ends_with("scaled Deployment/web from 2 to 3 replicas"), "{:?}", world.story);
    assert!(world.story[3].ends_with("Step(1) -> chat"), "{:?}", world.story);
}

#[test]
fn a_question_that_nobody_answered_before_the_alert_resolved_is_told_its_end_and_its_incident_is_closed() {
    let mut world = World::new(json!({
        "mode": "Approve", "steps": [scale(3)], "escalate": [{"channels": ["pager", "deaf"]}, {"channels": ["boss"]}],
    }));
    world.deaf = Some("deaf");
    world.play(Some(600));
    assert!(
        world.status().message.ends_with("; notified pager; could not notify deaf (no answer)"),
        "{}",
        world.status().message
    );
    world.facts.alert.state = AlertState::Resolved;
    world.play(None);
    let told: Vec<&str> = world.story.iter().filter_map(|line| Some(line.split_once(' ')?.1)).collect();
    assert_eq!(told, ["Approval -> pager", "Closing -> pager", "Resolved -> pager"]);
    let end = action::notify::message(&world.run, Place::Closing, "pager").unwrap();
    assert!(end.text.contains("Skipped: alert A has resolved"), "{}", end.text);
    assert!(!is_alive(&world.run));
}

#[test]
fn the_first_news_takes_the_place_of_the_question_and_the_next_stand_for_themselves() {
    let notify = json!({"notify": {"channels": ["chat"]}});
    let mut world = World::new(json!({"mode": "Approve", "steps": [notify, notify]}));
    world.play(Some(10));
    world.run.status.as_mut().unwrap().asked[0].reference = Some("C1/7.0".into());
    let annotations = world.run.metadata.annotations.get_or_insert_default();
    annotations.insert(guard::APPROVE.into(), "true".into());
    world.play(None);
    let reference = |step| action::notify::message(&world.run, Place::Step(step), "chat").unwrap().reference;
    assert_eq!((reference(0).as_deref(), reference(1)), (Some("C1/7.0"), None));
}
