//! Issues and workflows on GitHub: their words and the markers by which they are found again.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::notify::{account, fill, fill_with};
use super::{Plan, mark};
use crate::api::alert_response::{GithubIssue, GithubWorkflow, StepAction};
use crate::api::response_run::{
    GithubIssueIntent, GithubWorkflowIntent, Intent, ResponseRun, StepState, StepStatus, Verdict,
};
use crate::notify::message::cut;
use crate::response::episode::is_over;

/// Longest title of an issue that GitHub takes, in characters.
const TITLE: usize = 256;
/// Longest text of the author once it is filled in, longest item of a checklist, longest account of the run: together well
/// below the 65536 characters that GitHub takes.
const TEXT: usize = 16 * 1024;
const ITEM: usize = 600;
/// Longest label of an issue.
const LABEL: usize = 50;
/// Longest value of an input; GitHub takes 65535 characters for all of them.
const INPUT: usize = 2000;
/// The label that every issue gets.
const OURS: &str = "evenkeel";

pub fn plan_issue(step: &GithubIssue, run: &ResponseRun, number: usize, others: &[ResponseRun]) -> Plan {
    let GithubIssue { channel, title, body, checklist, labels, close_when_proved: _ } = step;
    let episode = Episode::of(run, others);
    let title = match title {
        Some(template) => fill(template, run),
        None => {
            let target = run.spec.target.reference();
            format!("{}: {target} in {}", run.spec.alert.name, run.namespace().unwrap_or_default())
        }
    };
    let title: String = title.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut parts = vec![];
    // What is to be done is said once, in the issue itself.
    if !episode.has_issue(channel) {
        parts.extend(body.as_deref().map(|body| cut(&fill_with(body, run, harmless), TEXT)));
    }
    parts.push(fenced(&cut(&account(run, number), TEXT)));
    if !episode.has_issue(channel) && !checklist.is_empty() {
        let item = |item: &String| format!("- [ ] {}", cut(&fill_with(item, run, harmless).replace('\n', " "), ITEM));
        parts.push(checklist.iter().map(item).collect::<Vec<_>>().join("\n"));
    }
    let marker = format!("<!-- evenkeel-episode: {} -->", episode.first.uid().unwrap_or_default());
    parts.push(format!("{marker}\n{}", own_marker(run, number)));
    let mut all: Vec<String> = vec![OURS.to_owned()];
    for label in labels.iter().map(|label| cut(label, LABEL)) {
        if !all.contains(&label) {
            all.push(label);
        }
    }
    let began = episode.first.creation_timestamp();
    let intent = GithubIssueIntent {
        channel: channel.clone(),
        title: cut(title.trim(), TITLE),
        body: parts.join("\n\n"),
        labels: all,
        marker,
        since: began.or(run.spec.alert.received_at.as_ref().map(|at| Time(at.0))),
    };
    let what = if episode.has_issue(channel) { "comment on the issue" } else { "open an issue" };
    Plan::Do {
        summary: format!("{what} by NotificationChannel {channel}"),
        intent: Intent { github_issue: Some(intent), ..Intent::default() },
        evidence: vec![],
    }
}

pub fn plan_workflow(step: &GithubWorkflow, run: &ResponseRun) -> Plan {
    let GithubWorkflow { channel, workflow, ref_, event_type, inputs } = step;
    let fill = |(name, value): (&String, &String)| (name.clone(), cut(&fill(value, run), INPUT));
    let inputs: BTreeMap<String, String> = inputs.iter().map(fill).collect();
    let summary = match (workflow, event_type) {
        (Some(workflow), _) => format!("start workflow {workflow} by NotificationChannel {channel}"),
        (None, event) => {
            format!("send the event {} by NotificationChannel {channel}", event.as_deref().unwrap_or_default())
        }
    };
    let intent = GithubWorkflowIntent {
        channel: channel.clone(),
        workflow: workflow.clone(),
        ref_: ref_.clone(),
        event_type: event_type.clone(),
        inputs,
    };
    Plan::Do { summary, intent: Intent { github_workflow: Some(intent), ..Intent::default() }, evidence: vec![] }
}

/// The marker of one step of one run, in the issue that it opened or in its comment.
pub fn own_marker(run: &ResponseRun, number: usize) -> String {
    format!("<!-- evenkeel-step: {} -->", mark(run, number))
}

/// How the end of a run is told in an issue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closing {
    /// Number of the issue.
    pub number: u64,
    /// What is said; it ends in the marker.
    pub comment: String,
    /// By which the comment is found again.
    pub marker: String,
    /// When the run was created: the comment is not older.
    pub since: Option<Timestamp>,
    /// Whether the issue is closed.
    pub close: bool,
}

/// What is left to do in the issue that steps of a closed run reached through this channel; `None` if none did.
pub fn closing(run: &ResponseRun, channel: &str) -> Option<Closing> {
    let status = run.status.as_ref()?;
    let steps = run.steps().zip(&status.steps);
    let mine: Vec<_> =
        steps.filter(|(_, told)| issue_of(told).is_some_and(|intent| intent.channel == channel)).collect();
    let number = mine.iter().find_map(|(_, told)| told.reference.as_deref()?.parse().ok())?;
    let wants = mine
        .iter()
        .any(|(step, _)| matches!(step.action(), Some(StepAction::GithubIssue(issue)) if issue.close_when_proved));
    let marker = format!("<!-- evenkeel-closing: {} -->", run.uid().unwrap_or_default());
    let outcome = match status.verdict {
        Some(verdict) => verdict.as_str(),
        None => status.phase.as_str(),
    };
    let account = fenced(&cut(&account(run, status.steps.len()), TEXT));
    Some(Closing {
        number,
        comment: format!("Run `{}` is closed: **{outcome}**\n\n{account}\n\n{marker}", run.name_any()),
        marker,
        since: run.creation_timestamp().map(|at| at.0),
        close: wants && status.verdict == Some(Verdict::Pass),
    })
}

fn issue_of(step: &StepStatus) -> Option<&GithubIssueIntent> {
    let done = Some(step).filter(|step| step.state == StepState::Done)?;
    done.intent.as_ref()?.github_issue.as_ref()
}

/// The runs of one time of firing, as far as they are kept.
struct Episode<'a> {
    first: &'a ResponseRun,
    before: Vec<&'a ResponseRun>,
}

impl<'a> Episode<'a> {
    /// Back along the chain of runs of this alert, as long as it did not resolve in between.
    fn of(run: &'a ResponseRun, others: &'a [ResponseRun]) -> Self {
        let (mut first, mut before) = (run, vec![]);
        let previous = |run: &ResponseRun| {
            let name = run.spec.follows.as_deref()?;
            others.iter().find(|other| other.name_any() == name)
        };
        while let Some(earlier) = previous(first).filter(|earlier| !is_over(earlier) && before.len() < others.len()) {
            before.push(earlier);
            first = earlier;
        }
        Self { first, before }
    }

    fn has_issue(&self, channel: &str) -> bool {
        let steps = self.before.iter().flat_map(|run| run.status.iter().flat_map(|status| &status.steps));
        steps.filter_map(issue_of).any(|intent| intent.channel == channel)
    }
}

/// A value of an alert among Markdown: it mentions nobody, links to nothing and hides nothing.
fn harmless(value: String) -> String {
    let value = value.replace('&', "&amp;").replace('<', "&lt;");
    // A space without width keeps what follows from being a name, a link or an image.
    value.replace('@', "@\u{200b}").replace("](", "]\u{200b}(")
}

/// A text as it is. The fence is longer than any within it; markers of others are made harmless.
fn fenced(text: &str) -> String {
    let text = text.replace("<!--", "<!\u{200b}--");
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}text\n{text}\n{fence}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::response_run::{ALERT_STATE, Phase, ResponseRunStatus};

    fn run(name: &str, follows: Option<&str>) -> ResponseRun {
        let yaml = "{responseRef: {name: r, uid: u, generation: 1}, alert: {name: Down, fingerprint: f, labels: {team: \
                    '@acme/all', pod: '<!-- evenkeel-episode: x --> `a` ![](http://x)'}, annotations: {summary: 'it is ``` down <!-- x'}}, \
                    target: {kind: Deployment, name: web}, mode: Act, attempt: 1, steps: [{githubIssue: {channel: repo, \
                    closeWhenProved: true}}]}";
        let mut run = ResponseRun::new(name, serde_saphyr::from_str(yaml).unwrap());
        run.metadata.namespace = Some("shop".into());
        run.metadata.uid = Some(format!("uid-{name}"));
        run.spec.follows = follows.map(str::to_owned);
        run
    }

    fn issue(yaml: &str, run: &ResponseRun, others: &[ResponseRun]) -> GithubIssueIntent {
        let Plan::Do { intent, .. } = plan_issue(&serde_saphyr::from_str(yaml).unwrap(), run, 0, others) else {
            panic!("a plan")
        };
        intent.github_issue.unwrap()
    }

    fn done(run: &mut ResponseRun, verdict: Verdict) {
        let intent = Intent { github_issue: Some(issue("{channel: repo}", run, &[])), ..Intent::default() };
        let step = StepStatus {
            name: "githubIssue".into(),
            state: StepState::Done,
            intent: Some(intent),
            reference: Some("12".into()),
            ..StepStatus::default()
        };
        let phase = if verdict == Verdict::Pass { Phase::Succeeded } else { Phase::Failed };
        run.status = Some(ResponseRunStatus {
            phase,
            verdict: Some(verdict),
            steps: vec![step],
            ..ResponseRunStatus::default()
        });
    }

    #[test]
    fn the_first_run_of_an_episode_marks_the_issue_for_all_that_follow() {
        let mut first = run("first", None);
        done(&mut first, Verdict::Fail);
        let second = run("second", Some("first"));
        let others = [first.clone()];
        let again = issue("{channel: repo, body: Look!, checklist: [a]}", &second, &others);
        assert_eq!(again.marker, "<!-- evenkeel-episode: uid-first -->");
        assert!(again.body.ends_with("<!-- evenkeel-step: uid-second/1 -->"), "{}", again.body);
        assert!(!again.body.contains("- [ ]") && !again.body.contains("Look!"), "a comment: {}", again.body);
        first.metadata.annotations = Some([(ALERT_STATE.to_owned(), "Resolved".to_owned())].into());
        let new = issue("{channel: repo, checklist: [a]}", &second, &[first]);
        assert_eq!(new.marker, "<!-- evenkeel-episode: uid-second -->");
        assert!(new.body.contains("- [ ] a"), "an issue of its own: {}", new.body);
    }

    #[test]
    fn labels_of_an_alert_call_nobody_and_fake_no_marker() {
        let run = run("run", None);
        let yaml = "{channel: repo, title: \"{{ alert.labels.team }}\\nx\", body: '{{ alert.labels.team }} {{ alert.labels.pod }}'}";
        let intent = issue(yaml, &run, &[]);
        assert_eq!(intent.title, "@acme/all x");
        assert!(!intent.body.contains("@acme") && !intent.body.contains("](http"), "{}", intent.body);
        // The two markers are ours.
        assert_eq!(intent.body.matches("<!--").count(), 2, "{}", intent.body);
        // The account holds three backticks: its fence has four.
        assert!(intent.body.contains("````text\nDown: it is ``` down"), "{}", intent.body);
    }

    #[test]
    fn an_issue_keeps_to_the_limits_of_github() {
        let mut run = run("run", None);
        run.spec.alert.labels.insert("long".into(), "x".repeat(100_000));
        run.spec.alert.annotations.insert("summary".into(), "y".repeat(100_000));
        let items = "'{{ alert.labels.long }}', ".repeat(32);
        let yaml = format!(
            "{{channel: repo, title: '{{{{ alert.labels.long }}}}', body: '{{{{ alert.labels.long }}}}', labels: [evenkeel, a], checklist: [{items}]}}"
        );
        let intent = issue(&yaml, &run, &[]);
        assert_eq!(intent.title.chars().count(), 256);
        assert!(intent.body.chars().count() < 65536, "{}", intent.body.chars().count());
        assert!(intent.body.contains(&intent.marker));
        assert_eq!(intent.labels, ["evenkeel", "a"]);
    }

    #[test]
    fn an_issue_is_closed_only_when_the_repair_was_proved() {
        let mut run = run("run", None);
        assert_eq!(closing(&run, "repo"), None);
        for (verdict, close) in [(Verdict::Pass, true), (Verdict::Fail, false), (Verdict::Inconclusive, false)] {
            done(&mut run, verdict);
            let closing = closing(&run, "repo").unwrap();
            assert_eq!((closing.number, closing.close), (12, close), "{verdict:?}");
            assert!(closing.comment.contains(verdict.as_str()) && closing.comment.ends_with(&closing.marker));
        }
        assert_eq!(closing(&run, "chat"), None);
    }
}
