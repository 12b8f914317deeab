//! Which NotificationChannels an AlertResponse names, and whether they are what it needs. Pure.

use crate::api::alert_response::{AlertResponseSpec, Step, StepAction};
use crate::api::notification_channel::NotificationChannelSpec;
use crate::api::response_run::ResponseRun;

/// One mention of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mention<'a> {
    /// The field, below `spec`.
    pub field: String,
    /// The name of the channel.
    pub channel: &'a str,
    /// What it is for.
    pub purpose: Purpose,
}

/// What a channel is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// People are told.
    Tell,
    /// A repository is reached.
    Github,
}

/// All of them, in the order of the spec.
pub fn mentions(spec: &AlertResponseSpec) -> Vec<Mention<'_>> {
    let mut all = of_steps("steps", &spec.steps);
    for (index, fallback) in spec.fallback.iter().enumerate() {
        all.extend(of_steps(&format!("fallback[{index}].steps"), &fallback.steps));
    }
    for (index, level) in spec.escalate.iter().enumerate() {
        let field = format!("escalate[{index}].channels");
        let told = |channel| Mention { field: field.clone(), channel, purpose: Purpose::Tell };
        all.extend(level.channels.iter().map(String::as_str).map(told));
    }
    all
}

fn of_steps<'a>(at: &str, steps: &'a [Step]) -> Vec<Mention<'a>> {
    let mut all = vec![];
    for (index, action) in steps.iter().enumerate().filter_map(|(index, step)| Some((index, step.action()?))) {
        let (word, channels, purpose): (_, &[String], _) = match action {
            StepAction::Notify(notify) => ("channels", &notify.channels, Purpose::Tell),
            StepAction::GithubIssue(issue) => ("channel", std::slice::from_ref(&issue.channel), Purpose::Github),
            StepAction::GithubWorkflow(start) => ("channel", std::slice::from_ref(&start.channel), Purpose::Github),
            StepAction::Rollback(_)
            | StepAction::Restart(_)
            | StepAction::Scale(_)
            | StepAction::DeletePod(_)
            | StepAction::PauseRollout(_)
            | StepAction::Cordon(_)
            | StepAction::Job(_)
            | StepAction::Diagnose(_)
            | StepAction::Silence(_) => continue,
        };
        let field = format!("{at}[{index}].{}.{word}", action.name());
        all.extend(channels.iter().map(|channel| Mention { field: field.clone(), channel, purpose }));
    }
    all
}

/// Who is asked to approve a run: those whom its steps tell of it, or, where they tell nobody, those who are called first
/// when nothing has helped.
pub fn asked(run: &ResponseRun) -> Vec<&str> {
    let mut steps = run.steps().filter_map(Step::action);
    let told = steps.by_ref().filter_map(|action| match action {
        StepAction::Notify(notify) => Some(&notify.channels),
        _ => None,
    });
    let mut channels: Vec<&str> = vec![];
    for channel in told.flatten() {
        if !channels.contains(&channel.as_str()) {
            channels.push(channel);
        }
    }
    match (channels.is_empty(), run.spec.escalate.first()) {
        (true, Some(first)) => first.channels.iter().map(String::as_str).collect(),
        _ => channels,
    }
}

/// Why a channel cannot be what it is named for, as reason and message. `found` is `None` for one that does not exist.
pub fn fault(
    mention: &Mention<'_>,
    found: Option<&NotificationChannelSpec>,
    namespace: &str,
) -> Option<(&'static str, String)> {
    let Mention { field, channel, purpose } = mention;
    let Some(spec) = found else {
        let message = format!(
            "spec.{field}: NotificationChannel {channel} does not exist in namespace {namespace}: create it, or take it out"
        );
        return Some(("ChannelMissing", message));
    };
    let type_ = spec.type_name();
    let wanted = match (purpose, spec.github.is_some()) {
        (Purpose::Tell, true) => "to which no messages are sent: name a channel of another type, or use githubIssue",
        (Purpose::Github, false) => "without a repository: name a channel with spec.github",
        (Purpose::Tell, false) | (Purpose::Github, true) => return None,
    };
    Some(("ChannelUnfit", format!("spec.{field}: NotificationChannel {channel} is of type {type_}, {wanted}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(yaml: &str) -> AlertResponseSpec {
        serde_saphyr::from_str(yaml).unwrap()
    }

    fn channel(yaml: &str) -> NotificationChannelSpec {
        serde_saphyr::from_str(yaml).unwrap()
    }

    #[test]
    fn every_place_that_names_a_channel_is_known_with_its_purpose() {
        let spec = response(
            "{match: {alert: A}, target: {name: w}, steps: [{notify: {channels: [a, b]}}, {githubIssue: {channel: c}}], \
             fallback: [{steps: [{githubWorkflow: {channel: d, workflow: x.yaml}}]}], escalate: [{channels: [e]}]}",
        );
        let all = mentions(&spec);
        let all: Vec<_> = all.iter().map(|m| (m.field.as_str(), m.channel, m.purpose)).collect();
        assert_eq!(
            all,
            [
                ("steps[0].notify.channels", "a", Purpose::Tell),
                ("steps[0].notify.channels", "b", Purpose::Tell),
                ("steps[1].githubIssue.channel", "c", Purpose::Github),
                ("fallback[0].steps[0].githubWorkflow.channel", "d", Purpose::Github),
                ("escalate[0].channels", "e", Purpose::Tell),
            ]
        );
    }

    #[test]
    fn a_channel_of_the_wrong_type_is_named_with_the_way_out() {
        let spec = response(
            "{match: {alert: A}, target: {name: w}, steps: [{notify: {channels: [a]}}, {githubIssue: {channel: a}}]}",
        );
        let [tell, issue] = &mentions(&spec)[..] else { panic!("two") };
        let github = channel("{github: {repository: acme/shop, tokenSecretRef: {name: t, key: k}}}");
        let slack = channel("{slack: {webhookUrlSecretRef: {name: t, key: k}}}");
        let said = |mention, found| fault(mention, found, "shop");
        assert_eq!((said(tell, Some(&slack)), said(issue, Some(&github))), (None, None));
        let (reason, message) = said(tell, Some(&github)).unwrap();
        assert!(reason == "ChannelUnfit" && message.contains("spec.steps[0].notify.channels"), "{message}");
        assert!(said(issue, Some(&slack)).unwrap().1.contains("is of type slack"));
        assert_eq!(said(issue, None).unwrap().0, "ChannelMissing");
    }
}
