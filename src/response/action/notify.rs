//! Telling people: the words for each place of a run.

use kube::ResourceExt;

use super::Plan;
use crate::api::alert_response::Notify;
use crate::api::response_run::{Delivery, Intent, NotifyIntent, Phase, ResponseRun, StepState, StepStatus};
use crate::notify::message::{Message, Stage};
use crate::response::guard::approve_command;
use crate::response::run::Place;

pub fn plan(step: &Notify, run: &ResponseRun, number: usize) -> Plan {
    let text = match &step.message {
        Some(template) => fill(template, run),
        None => account(run, number),
    };
    let intent = NotifyIntent { channels: step.channels.clone(), text };
    Plan::Do {
        summary: format!("notify {}", step.channels.join(", ")),
        intent: Intent { notify: Some(intent), ..Intent::default() },
        evidence: vec![],
    }
}

/// What one channel is told at this place of the run; `None` where there is nothing to tell.
pub fn message(run: &ResponseRun, place: Place, channel: &str) -> Option<Message> {
    let status = run.status.as_ref()?;
    let (alert, namespace) = (&run.spec.alert, run.namespace().unwrap_or_default());
    let told = |deliveries: &[Delivery]| deliveries.iter().find(|d| d.channel == channel)?.reference.clone();
    let (text, stage, reference) = match place {
        Place::Step(number) => {
            let text = status.steps.get(number)?.intent.as_ref()?.notify.as_ref()?.text.clone();
            // The first news after the question takes its place.
            let earlier = status.steps.iter().take(number).flat_map(|step| &step.deliveries);
            let is_first = !earlier.into_iter().any(|delivery| delivery.channel == channel);
            (text, stage(run, number), told(&status.asked).filter(|_| is_first))
        }
        Place::Approval => (question(run, &status.steps), Stage::Asking, None),
        Place::Escalation(_) => (account(run, status.steps.len()), Stage::News, None),
        Place::Closing => (account(run, status.steps.len()), Stage::Closed, told(&status.closing)),
        Place::Resolved => (format!("{} has resolved", alert.name), Stage::Resolved, None),
    };
    Some(Message {
        title: text.lines().next().unwrap_or(&alert.name).to_owned(),
        text,
        // One incident for as long as the alert fires, however many runs and steps tell of it.
        dedup_key: format!("{}-{}", run.spec.response_ref.uid, alert.fingerprint),
        source: format!("{namespace}/{}", run.spec.target.reference()),
        severity: alert.labels.get("severity").cloned().unwrap_or_default(),
        stage,
        reference,
    })
}

/// A repair is under way when something was done and nothing failed: then nobody needs to be called out of bed yet.
fn stage(run: &ResponseRun, number: usize) -> Stage {
    let before = run.status.as_ref().map_or(&[][..], |status| &status.steps[..number.min(status.steps.len())]);
    let failed = |step: &StepStatus| matches!(step.state, StepState::Failed | StepState::Refused);
    if run.acted() && !before.iter().any(failed) { Stage::AtWork } else { Stage::News }
}

fn headline(run: &ResponseRun) -> String {
    let alert = &run.spec.alert;
    match alert.annotations.get("summary") {
        Some(summary) => format!("{}: {summary}", alert.name),
        None => alert.name.clone(),
    }
}

fn concerned(run: &ResponseRun) -> String {
    format!("{} in namespace {}", run.spec.target.reference(), run.namespace().unwrap_or_default())
}

/// What a person is asked to approve, and how that is done.
fn question(run: &ResponseRun, steps: &[StepStatus]) -> String {
    let mut lines = vec![format!("Approve? {}", headline(run)), concerned(run)];
    for step in steps {
        lines.push(format!("{}: {}", step.name, step.message));
        lines.extend(step.evidence.iter().map(|evidence| format!("- {evidence}")));
    }
    lines.push(approve_command(run));
    lines.join("\n")
}

/// What a person wants to know: the alert, and what was done so far.
pub fn account(run: &ResponseRun, number: usize) -> String {
    let namespace = run.namespace().unwrap_or_default();
    let mut lines = vec![headline(run), concerned(run)];
    // Nothing of a drill is sent; whoever reads the words should know all the same.
    if run.spec.drill {
        lines[0].insert_str(0, "[DRILL] ");
    }
    let steps = run.status.as_ref().map(|s| s.steps.as_slice()).unwrap_or_default();
    let ended = run.status.as_ref().and_then(|status| match (status.verdict, status.phase) {
        (Some(verdict), _) => Some((verdict.as_str(), &status.message)),
        (None, Phase::Skipped) => Some((status.phase.as_str(), &status.message)),
        (None, _) => None,
    });
    lines.extend(ended.map(|(word, message)| format!("{word}: {message}")));
    for step in steps.iter().take(number) {
        let what = step.effect.as_deref().unwrap_or(&step.message);
        lines.push(match step.state {
            StepState::Done => what.to_owned(),
            StepState::Skipped => format!("{} skipped: {what}", step.name),
            StepState::Refused => format!("{} refused: {what}", step.name),
            StepState::Failed => format!("{} failed: {what}", step.name),
            StepState::Pending | StepState::Waiting | StepState::Intended | StepState::Observed => continue,
        });
        lines.extend(step.evidence.iter().map(|e| format!("- {e}")));
    }
    lines.push(format!("kubectl describe run -n {namespace} {}", run.name_any()));
    lines.join("\n")
}

/// Fills in `{{ alert.name }}` and the like; what is not known stays as it is written.
pub fn fill(template: &str, run: &ResponseRun) -> String {
    fill_with(template, run, |value| value)
}

/// The same, with every value made harmless for where it goes: labels and annotations are not to be trusted.
pub fn fill_with(template: &str, run: &ResponseRun, harmless: impl Fn(String) -> String) -> String {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        text.push_str(before);
        let Some((key, behind)) = after.split_once("}}") else {
            rest = after;
            text.push_str("{{");
            continue;
        };
        match lookup(key.trim(), run) {
            Some(value) => text.push_str(&harmless(value)),
            None => text.push_str(&format!("{{{{{key}}}}}")),
        }
        rest = behind;
    }
    text + rest
}

fn lookup(key: &str, run: &ResponseRun) -> Option<String> {
    let (alert, target) = (&run.spec.alert, &run.spec.target);
    if let Some(label) = key.strip_prefix("alert.labels.") {
        return Some(alert.labels.get(label).cloned().unwrap_or_default());
    }
    if let Some(annotation) = key.strip_prefix("alert.annotations.") {
        return Some(alert.annotations.get(annotation).cloned().unwrap_or_default());
    }
    match key {
        "alert.name" => Some(alert.name.clone()),
        "target.kind" => Some(target.kind.as_str().to_owned()),
        "target.name" => Some(target.name.clone()),
        "target.namespace" => run.namespace(),
        "run.name" => Some(run.name_any()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::response_run::{ResponseRunStatus, RestartIntent};

    fn run(states: &[StepState]) -> ResponseRun {
        let yaml = "{responseRef: {name: r, uid: u, generation: 1}, alert: {name: Down, fingerprint: f, labels: {severity: \
                    critical}}, target: {kind: Deployment, name: web}, mode: Act, attempt: 1, steps: [{restart: {}}, {restart: \
                    {}}, {notify: {channels: [pager]}}]}";
        let mut run = ResponseRun::new("run", serde_saphyr::from_str(yaml).unwrap());
        let intent = Intent { restart: Some(RestartIntent::default()), ..Intent::default() };
        let step =
            |state: &StepState| StepStatus { state: *state, intent: Some(intent.clone()), ..StepStatus::default() };
        run.status =
            Some(ResponseRunStatus { steps: states.iter().map(step).collect(), ..ResponseRunStatus::default() });
        run
    }

    #[test]
    fn people_sleep_on_only_while_a_repair_is_under_way_and_nothing_failed() {
        assert_eq!(stage(&run(&[StepState::Done, StepState::Done]), 2), Stage::AtWork);
        assert_eq!(stage(&run(&[StepState::Done, StepState::Failed]), 2), Stage::News);
        assert_eq!(stage(&run(&[StepState::Refused, StepState::Done]), 2), Stage::News);
        assert_eq!(stage(&run(&[StepState::Skipped, StepState::Skipped]), 2), Stage::News);
    }
}
