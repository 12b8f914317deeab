//! What of a run is worth an Event. Pure.

use kube::ResourceExt;

use crate::api::response_run::{Phase, ResponseRun, ResponseRunStatus, StepState};

/// Something that people should hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    pub warning: bool,
    /// Also told on the workload.
    pub of_workload: bool,
    pub action: String,
    pub reason: &'static str,
    pub note: String,
}

/// What is new in a status.
pub fn news(run: &ResponseRun, old: Option<&ResponseRunStatus>, new: &ResponseRunStatus) -> Vec<News> {
    let mut news = vec![];
    let name = run.name_any();
    for (number, step) in new.steps.iter().enumerate() {
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
        let of_workload = step.name != "notify" && step.state == StepState::Done;
        let note = match of_workload {
            true => format!("{note} (run {name}, alert {})", run.spec.alert.name),
            false => note,
        };
        news.push(News { warning, of_workload, action: capitalized(&step.name), reason, note });
    }
    if old.map(|s| s.phase) != Some(new.phase) && new.phase.is_closed() {
        let verdict = new.verdict.map(|v| format!("{}: ", v.as_str())).unwrap_or_default();
        news.push(News {
            warning: new.phase == Phase::Failed,
            of_workload: false,
            action: "Close".into(),
            reason: new.phase.as_str(),
            note: format!("{verdict}{}", new.message),
        });
    }
    news
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
