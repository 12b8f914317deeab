//! What of a run is worth an Event. Pure.

use kube::ResourceExt;

use super::guard::{APPROVAL, STORM_BRAKE, is_braked};
use crate::api::response_run::{Intent, Phase, ResponseRun, ResponseRunStatus, StepState, StepStatus, UndoState};

/// On what it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    Run,
    /// On the workload as well.
    Workload,
    /// On the AlertResponse alone, and not for each of its runs: what holds for thousands in a storm.
    Response,
}

/// Something that people should hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    pub warning: bool,
    pub about: About,
    pub action: String,
    pub reason: &'static str,
    pub note: String,
}

/// What is new in a status.
pub fn news(run: &ResponseRun, old: Option<&ResponseRunStatus>, new: &ResponseRunStatus) -> Vec<News> {
    let mut news = vec![];
    let name = run.name_any();
    let repairs: Vec<bool> = run.steps().map(|step| step.action().is_some_and(|action| action.repairs())).collect();
    for (number, step) in new.steps.iter().enumerate() {
        let repairs = repairs.get(number) == Some(&true);
        news.extend(undone(step, old.and_then(|s| s.steps.get(number)), repairs));
        let before = old.and_then(|s| s.steps.get(number)).map(|s| s.state);
        if before == Some(step.state) {
            continue;
        }
        let (warning, reason, note) = match step.state {
            StepState::Done => (false, "StepDone", step.effect.clone().unwrap_or_default()),
            StepState::Failed => (true, "StepFailed", step.message.clone()),
            StepState::Refused => (true, "StepRefused", step.message.clone()),
            StepState::Skipped => (false, "StepSkipped", step.message.clone()),
            StepState::Pending | StepState::Waiting | StepState::Intended | StepState::Observed => continue,
        };
        let (about, note) = match repairs && step.state == StepState::Done {
            true => (About::Workload, format!("{note} (run {name}, alert {})", run.spec.alert.name)),
            false => (About::Run, note),
        };
        news.push(News { warning, about, action: capitalized(&step.name), reason, note });
    }
    for (number, level) in new.escalations.iter().enumerate().filter(|(_, level)| level.finished) {
        let before = old.and_then(|s| s.escalations.get(number)).is_some_and(|level| level.finished);
        if !before {
            news.push(News {
                warning: level.deliveries.iter().any(|delivery| !delivery.delivered && delivery.tries > 0),
                about: About::Run,
                action: "Escalate".into(),
                reason: "Escalation",
                note: format!("level {}: {}", number + 1, level.message),
            });
        }
    }
    let asks = |status: &ResponseRunStatus| status.guards.last().is_some_and(|g| g.name == APPROVAL && !g.passed);
    if !new.phase.is_closed() && asks(new) && !old.is_some_and(asks) {
        let steps: Vec<&str> = new.steps.iter().map(|step| step.message.as_str()).collect();
        news.push(News {
            warning: false,
            about: About::Run,
            action: "Ask".into(),
            reason: "AwaitingApproval",
            note: format!("{}; {}", new.message, steps.join(", ")),
        });
    }
    if old.map(|s| s.phase) != Some(new.phase) && new.phase.is_closed() {
        let verdict = new.verdict.map(|v| format!("{}: ", v.as_str())).unwrap_or_default();
        let braked = is_braked(new);
        news.push(News {
            warning: new.phase == Phase::Failed || braked,
            about: if braked { About::Response } else { About::Run },
            action: "Close".into(),
            reason: if braked { STORM_BRAKE } else { new.phase.as_str() },
            note: format!("{verdict}{}", new.message),
        });
    }
    news
}

/// A step that was taken back, or not.
fn undone(step: &StepStatus, before: Option<&StepStatus>, repairs: bool) -> Option<News> {
    let undo = step.undo.as_ref()?;
    let state = before.and_then(|step| step.undo.as_ref()).map_or(UndoState::Due, |undo| undo.state);
    let (warning, reason) = match (state, undo.state) {
        (UndoState::Due, UndoState::Done) => (false, "StepUndone"),
        (UndoState::Due, UndoState::GivenUp) => (true, "StepNotUndone"),
        _ => return None,
    };
    let action = format!("Undo{}", capitalized(&step.name));
    let about = if repairs && !warning { About::Workload } else { About::Run };
    Some(News { warning, about, action, reason, note: undo.message.clone() })
}

/// Something that was done, for the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// The action, by its word in the API; `undo` before it where it was taken back.
    pub action: String,
    pub effect: String,
    /// As whom: `NAMESPACE/SERVICEACCOUNT`, or the operator.
    pub actor: String,
}

/// What a status says was done that the one before it did not.
pub fn effects(run: &ResponseRun, old: Option<&ResponseRunStatus>, new: &ResponseRunStatus) -> Vec<Effect> {
    let mut effects = vec![];
    let undone = |step: &StepStatus| step.undo.as_ref().is_some_and(|undo| undo.state == UndoState::Done);
    for (number, step) in new.steps.iter().enumerate() {
        let before = old.and_then(|status| status.steps.get(number));
        let actor = actor(run, step);
        if step.state == StepState::Done && before.is_none_or(|before| before.state != StepState::Done) {
            let effect = step.effect.clone().unwrap_or_default();
            effects.push(Effect { action: step.name.clone(), effect, actor: actor.clone() });
        }
        if undone(step) && !before.is_some_and(undone) {
            let effect = step.undo.as_ref().map(|undo| undo.message.clone()).unwrap_or_default();
            effects.push(Effect { action: format!("undo {}", step.name), effect, actor });
        }
    }
    effects
}

/// Messages, issues, workflows and silences are sent with the operator's hands; all else is done as the ServiceAccount.
fn actor(run: &ResponseRun, step: &StepStatus) -> String {
    let outside = step.intent.as_ref().is_some_and(|intent| {
        let Intent { notify, github_issue, github_workflow, silence, .. } = intent;
        notify.is_some() || github_issue.is_some() || github_workflow.is_some() || silence.is_some()
    });
    match &run.spec.service_account_name {
        Some(account) if !outside => format!("{}/{account}", run.namespace().unwrap_or_default()),
        _ => "evenkeel".to_owned(),
    }
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run() -> ResponseRun {
        let spec = json!({
            "responseRef": {"name": "fix", "uid": "u", "generation": 1}, "alert": {"name": "A", "fingerprint": "f"},
            "target": {"kind": "Deployment", "name": "web"}, "mode": "Act", "serviceAccountName": "responder",
            "steps": [{"scale": {"to": 5}}, {"notify": {"channels": ["team"]}}], "attempt": 1,
        });
        let mut run = ResponseRun::new("run", serde_json::from_value(spec).unwrap());
        run.metadata.namespace = Some("shop".into());
        run
    }

    fn status(undo: &str) -> ResponseRunStatus {
        serde_json::from_value(json!({"steps": [
            {"name": "scale", "state": "Done", "effect": "scaled Deployment/web from 3 to 5 replicas", "intent": {"scale": {"from": 3, "to": 5}},
             "undo": {"state": undo, "message": "scaled Deployment/web from 5 to 3 replicas"}},
            {"name": "notify", "state": "Done", "effect": "notified team", "intent": {"notify": {"channels": ["team"], "text": "x"}}},
        ]}))
        .unwrap()
    }

    #[test]
    fn each_effect_is_audited_once_with_who_did_it() {
        let (run, before, after) = (run(), status("Due"), status("Done"));
        let told = |effects: Vec<Effect>| -> Vec<_> {
            effects.into_iter().map(|e| format!("{} by {}: {}", e.action, e.actor, e.effect)).collect()
        };
        assert_eq!(
            told(effects(&run, None, &before)),
            [
                "scale by shop/responder: scaled Deployment/web from 3 to 5 replicas",
                "notify by evenkeel: notified team"
            ]
        );
        let undone = ["undo scale by shop/responder: scaled Deployment/web from 5 to 3 replicas"];
        assert_eq!(told(effects(&run, Some(&before), &after)), undone);
        assert!(effects(&run, Some(&after), &after).is_empty());
    }

    #[test]
    fn what_the_storm_brake_holds_is_told_on_the_response_and_not_on_each_run() {
        let guards = json!([{"name": "StormBrake", "passed": false, "message": "storm brake: 20 runs"}]);
        let skipped = json!({"phase": "Skipped", "message": "storm brake: 20 runs", "guards": guards});
        let news = news(&run(), None, &serde_json::from_value(skipped).unwrap());
        let note = "storm brake: 20 runs".to_owned();
        let action = "Close".to_owned();
        let told = News { warning: true, about: About::Response, action, reason: "StormBrake", note };
        assert_eq!(news, [told]);
    }

    #[test]
    fn taking_a_step_back_is_news_of_the_workload() {
        let news = news(&run(), Some(&status("Due")), &status("Done"));
        assert_eq!((news.len(), news[0].reason, news[0].about), (1, "StepUndone", About::Workload));
        assert!(super::news(&run(), Some(&status("Done")), &status("Done")).is_empty());
        let given_up = super::news(&run(), Some(&status("Due")), &status("GivenUp"));
        assert!(given_up[0].warning && given_up[0].reason == "StepNotUndone");
    }
}
