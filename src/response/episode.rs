//! Which ResponseRun an alert belongs to. Pure.
//!
//! A run's name is a digest of the AlertResponse's UID, the alert's fingerprint and the run before it. Whoever handles
//! the same alert at the same time, on whichever replica and however often, computes the same name, and the API server
//! lets one of them create it. A new name only comes into being when the latest run is closed, and then only if
//! `decide` wants another.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

use super::payload::Alert;
use super::validate;
use crate::api::alert_response::{AlertResponse, Mode};
use crate::api::response_run::{
    ALERT_STATE, AlertState, DRILL, FINGERPRINT, FIRED_AT, FIRINGS, Phase, RESPONSE_UID, ResponseRef, ResponseRun,
    ResponseRunSpec,
};
use crate::k8s::meta::{Owner, bounded, digest};

/// Longest part of a run's name that comes from its AlertResponse's.
const MAX_PREFIX: usize = 200;

/// What to do about a firing alert.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// This run, open or closed, is the alert's.
    Existing(String),
    /// This one is to be created.
    Create(Box<ResponseRun>),
}

/// Whether the episode of a closed run is over: somebody was told that its alert resolved.
pub fn is_over(run: &ResponseRun) -> bool {
    run.annotations().get(ALERT_STATE).map(String::as_str) == Some("Resolved")
        || run.status.as_ref().is_some_and(|s| s.alert_state == AlertState::Resolved)
}

/// How often the alert has fired in its run, if this delivery says that it came again: it had resolved, and began anew
/// since the last time that was counted. Counted at most once in `pause`, by the alert's own clock.
pub fn came_again(run: &ResponseRun, alert: &Alert, pause: SignedDuration) -> Option<i64> {
    let noted = |key: &str| run.annotations().get(key);
    let counted = noted(FIRED_AT).and_then(|at| at.parse().ok()).or(run.spec.alert.starts_at.as_ref().map(|at| at.0));
    let (began, counted): (Timestamp, Timestamp) = (alert.starts_at?, counted?);
    let again = is_over(run) && began.duration_since(counted) >= pause;
    again.then(|| noted(FIRINGS).and_then(|count| count.parse().ok()).unwrap_or(1_i64).saturating_add(1))
}

/// The run that no other follows.
pub fn latest<'a>(runs: &[&'a ResponseRun]) -> Option<&'a ResponseRun> {
    let followed = |run: &ResponseRun| runs.iter().any(|r| r.spec.follows.as_deref() == Some(&run.name_any()));
    let unfollowed = runs.iter().filter(|run| !followed(run));
    unfollowed.max_by_key(|run| (run.creation_timestamp().map(|t| t.0), run.name_any())).copied()
}

/// `runs` are all runs of this response and alert, as exact as possible: the name that comes out of an older list is
/// one that exists, and creating it again changes nothing.
pub fn decide(
    response: &AlertResponse,
    owner: &Owner,
    alert: &Alert,
    runs: &[&ResponseRun],
    source: &str,
    now: Timestamp,
) -> Answer {
    let fingerprint = alert.identity();
    let last = latest(runs);
    if let Some(last) = last
        && !wants_another(response, last, now)
    {
        return Answer::Existing(last.name_any());
    }
    let follows = last.map(ResourceExt::name_any);
    let spec = &response.spec;
    let hash = digest([owner.uid.as_str(), &fingerprint, follows.as_deref().unwrap_or_default()], 10);
    let attempt = match last {
        Some(last) if !is_over(last) => last.spec.attempt + i32::from(was_an_attempt(last)),
        _ => 1,
    };
    let metadata = ObjectMeta {
        name: Some(format!("{}-{hash}", bounded(&owner.name, MAX_PREFIX))),
        namespace: Some(owner.namespace.clone()),
        labels: Some(
            [
                (RESPONSE_UID.to_owned(), owner.uid.clone()),
                (FINGERPRINT.to_owned(), fingerprint),
                ("app.kubernetes.io/managed-by".to_owned(), crate::k8s::meta::MANAGED_BY.to_owned()),
            ]
            .into(),
        ),
        owner_references: Some(vec![owner.reference()]),
        ..ObjectMeta::default()
    };
    let spec = ResponseRunSpec {
        response_ref: ResponseRef {
            name: owner.name.clone(),
            uid: owner.uid.clone(),
            generation: response.metadata.generation.unwrap_or_default(),
        },
        alert: alert.record(source, now),
        target: validate::target(spec, &alert.labels),
        mode: spec.mode,
        drill: alert.labels.get(DRILL).is_some_and(|value| value == "true"),
        service_account_name: spec.service_account_name.clone(),
        steps: spec.steps.clone(),
        only_if: spec.only_if.clone(),
        guardrails: spec.guardrails.clone(),
        verify: spec.verify.clone(),
        fallback: spec.fallback.clone(),
        undo: spec.undo,
        escalate: spec.escalate.clone(),
        attempt,
        follows,
    };
    Answer::Create(Box::new(ResponseRun { metadata, spec, status: None }))
}

/// A refused repair counts too: people were told once, and the same facts would be refused again.
fn was_an_attempt(run: &ResponseRun) -> bool {
    run.acted() || matches!(run.phase(), Phase::Succeeded | Phase::Failed)
}

/// Alertmanager repeats a firing alert every few minutes: a closed run must not be followed by another each time.
fn wants_another(response: &AlertResponse, last: &ResponseRun, now: Timestamp) -> bool {
    if !last.phase().is_closed() {
        return false;
    }
    let edited = response.metadata.generation.unwrap_or_default() != last.spec.response_ref.generation;
    // The author changed something since, and nothing was done under the old words: the new ones count at once.
    if edited && !last.acted() {
        return true;
    }
    let finished = last.status.as_ref().and_then(|s| s.finished_at.as_ref()).map(|t| t.0);
    let cooldown = response.spec.guardrails.cooldown.span();
    if finished.is_some_and(|finished| now.duration_since(finished) < cooldown) {
        return false;
    }
    if is_over(last) {
        return true;
    }
    // The same episode still.
    match last.phase() {
        // It would only say the same again.
        Phase::Observed => last.spec.mode != response.spec.mode || edited,
        Phase::Skipped => response.spec.mode != Mode::Observe || edited,
        _ => last.spec.attempt + i32::from(was_an_attempt(last)) <= response.spec.guardrails.attempts,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::alert_response::AlertResponseSpec;
    use crate::api::response_run::{Intent, ResponseRunStatus, RestartIntent, StepState, StepStatus};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + seconds).unwrap()
    }

    fn response() -> AlertResponse {
        let yaml = "{mode: Act, serviceAccountName: responder, match: {alert: A}, target: {name: web}, steps: [{restart: {}}]}";
        let spec: AlertResponseSpec = serde_saphyr::from_str(yaml).unwrap();
        let mut response = AlertResponse::new("fix", spec);
        response.metadata.namespace = Some("shop".into());
        response.metadata.uid = Some("uid-1".into());
        response.metadata.generation = Some(3);
        response
    }

    fn alert(fingerprint: &str) -> Alert {
        Alert {
            labels: [("alertname".to_owned(), "A".to_owned())].into(),
            fingerprint: fingerprint.into(),
            ..Alert::default()
        }
    }

    fn ask(response: &AlertResponse, runs: &[&ResponseRun], now: Timestamp) -> Answer {
        let owner = Owner::of(response).unwrap();
        decide(response, &owner, &alert("00000000deadbeef"), runs, "webhook", now)
    }

    fn created(answer: Answer) -> ResponseRun {
        match answer {
            Answer::Create(run) => *run,
            Answer::Existing(name) => panic!("expected a new run, got {name}"),
        }
    }

    /// The first run of the pair, created and closed at second 0.
    fn closed(phase: Phase, acted: bool) -> ResponseRun {
        let mut run = created(ask(&response(), &[], at(0)));
        run.metadata.creation_timestamp = Some(Time(at(0)));
        let intent = Intent { restart: Some(RestartIntent::default()), ..Intent::default() };
        let step = StepStatus { state: StepState::Done, intent: acted.then_some(intent), ..StepStatus::default() };
        let finished_at = phase.is_closed().then(|| Time(at(0)));
        run.status = Some(ResponseRunStatus { phase, finished_at, steps: vec![step], ..ResponseRunStatus::default() });
        run
    }

    #[test]
    fn whoever_sees_the_alert_first_gives_the_run_the_same_name() {
        let here = created(ask(&response(), &[], at(0)));
        let there = created(ask(&response(), &[], at(7)));
        assert_eq!(here.name_any(), there.name_any());
        let owner = Owner::of(&response()).unwrap();
        let other = decide(&response(), &owner, &alert("00000000deadbeee"), &[], "webhook", at(0));
        assert_ne!(created(other).name_any(), here.name_any());
    }

    #[test]
    fn an_open_run_takes_every_repeat() {
        for phase in [Phase::Pending, Phase::Running, Phase::Verifying] {
            let run = closed(phase, true);
            assert_eq!(ask(&response(), &[&run], at(100_000)), Answer::Existing(run.name_any()));
        }
    }

    #[test]
    fn within_the_cooldown_the_closed_run_counts() {
        for phase in [Phase::Succeeded, Phase::Failed, Phase::Skipped, Phase::Observed] {
            let mut run = closed(phase, true);
            run.annotations_mut().insert(ALERT_STATE.into(), "Resolved".into());
            assert_eq!(ask(&response(), &[&run], at(899)), Answer::Existing(run.name_any()));
            let next = created(ask(&response(), &[&run], at(900)));
            assert_eq!((next.spec.attempt, next.spec.follows.as_deref()), (1, Some(run.name_any().as_str())));
            assert_ne!(next.name_any(), run.name_any());
        }
    }

    #[test]
    fn an_alert_that_comes_and_goes_within_the_cooldown_is_one_run_with_a_count() {
        let minute = SignedDuration::from_mins(1);
        let began = |seconds: i64| Alert { starts_at: Some(at(seconds)), ..alert("00000000deadbeef") };
        let mut run = closed(Phase::Succeeded, true);
        run.spec.alert.starts_at = Some(Time(at(-30)));
        assert_eq!(came_again(&run, &began(120), minute), None, "it never resolved: Prometheus was restarted, say");
        run.annotations_mut().insert(ALERT_STATE.into(), "Resolved".into());
        assert_eq!(ask(&response(), &[&run], at(120)), Answer::Existing(run.name_any()));
        assert_eq!(came_again(&run, &began(120), minute), Some(2));
        run.annotations_mut().extend([(FIRINGS.into(), "2".into()), (FIRED_AT.into(), at(120).to_string())]);
        assert_eq!(came_again(&run, &began(120), minute), None, "a repeat of the same firing");
        assert_eq!(came_again(&run, &began(179), minute), None, "no more than one write a minute");
        assert_eq!(came_again(&run, &began(180), minute), Some(3));
    }

    #[test]
    fn an_alert_that_never_resolved_gets_no_more_runs_than_attempts() {
        let first = closed(Phase::Failed, true);
        let mut second = created(ask(&response(), &[&first], at(900)));
        assert_eq!(second.spec.attempt, 2);
        second.metadata.creation_timestamp = Some(Time(at(900)));
        second.status = first.status.clone();
        assert_eq!(ask(&response(), &[&first, &second], at(1_000_000)), Answer::Existing(second.name_any()));
        // Once it resolved, a new episode begins.
        second.annotations_mut().insert(ALERT_STATE.into(), "Resolved".into());
        assert_eq!(created(ask(&response(), &[&first, &second], at(1_000_000))).spec.attempt, 1);
    }

    #[test]
    fn an_observing_response_records_an_episode_once() {
        let run = closed(Phase::Observed, false);
        let mut observing = response();
        observing.spec.mode = Mode::Observe;
        let run = ResponseRun { spec: ResponseRunSpec { mode: Mode::Observe, ..run.spec.clone() }, ..run };
        assert_eq!(ask(&observing, &[&run], at(1_000_000)), Answer::Existing(run.name_any()));
    }

    #[test]
    fn an_edit_counts_at_once_where_nothing_was_done_before() {
        let mut edited = response();
        edited.metadata.generation = Some(4);
        assert!(matches!(ask(&edited, &[&closed(Phase::Skipped, false)], at(1)), Answer::Create(_)));
        assert!(matches!(ask(&edited, &[&closed(Phase::Succeeded, true)], at(1)), Answer::Existing(_)));
    }

    #[test]
    fn an_alert_of_a_drill_makes_a_run_that_is_one() {
        let mut drilled = alert("00000000deadbeef");
        for (value, drill) in [("true", true), ("false", false)] {
            drilled.labels.insert(DRILL.into(), value.into());
            let owner = Owner::of(&response()).unwrap();
            let run = created(decide(&response(), &owner, &drilled, &[], "webhook", at(0)));
            assert_eq!((run.spec.drill, run.only_observes()), (drill, drill));
        }
    }

    #[test]
    fn a_long_name_of_a_response_is_cut_and_stays_unique() {
        let mut long = response();
        long.metadata.name = Some("a".repeat(253));
        let run = created(ask(&long, &[], at(0)));
        assert!(run.name_any().len() <= 253 && run.name_any().starts_with("aaa"));
    }
}
