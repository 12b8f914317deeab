//! Issues and workflows on GitHub. Pure: which of what GitHub has is ours. The rest asks first, and then acts.

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::undelivered;
use crate::api::response_run::{GithubIssueIntent, GithubWorkflowIntent, ResponseRun};
use crate::context::Context;
use crate::notify::destination;
use crate::notify::error::DeliveryError;
use crate::notify::github::{Comment, Github, Issue, NewIssue, WorkflowRun};
use crate::response::action::github::{Closing, own_marker};
use crate::response::run::{Errand, Receipt, Undelivered};

/// How far GitHub's clock may be behind that of the cluster.
const SKEW: SignedDuration = SignedDuration::from_mins(10);
/// The branch of a workflow where none is named.
const BRANCH: &str = "main";

/// Opens the issue of this time of firing, or comments on it.
pub async fn issue(
    context: &Context,
    run: &ResponseRun,
    step: usize,
    intent: &GithubIssueIntent,
) -> Result<Errand, Undelivered> {
    let done = async {
        let namespace = run.namespace().unwrap_or_default();
        let (github, _) = destination::repository(&context.client, &namespace, &intent.channel).await?;
        open_or_comment(&github, &context.http, intent, &own_marker(run, step)).await
    };
    done.await.map_err(|error| undelivered(&error))
}

/// The same for a repository that is at hand. `own` is the marker of the step.
pub async fn open_or_comment(
    github: &Github,
    http: &reqwest::Client,
    intent: &GithubIssueIntent,
    own: &str,
) -> Result<Errand, DeliveryError> {
    let GithubIssueIntent { channel: _, title, body, labels, marker, since } = intent;
    // Only what was written before the field existed has none; such a run is old enough.
    let since = since.as_ref().map_or(Timestamp::UNIX_EPOCH, |since| before(since.0));
    let issues = github.issues(http, since).await?;
    let Some(issue) = of_episode(&issues, marker) else {
        let new = NewIssue { title, body, labels };
        return Ok(done("opened", github, &github.open(http, &new).await?, None));
    };
    if contains(issue.body.as_deref(), own) {
        return Ok(done("opened", github, issue, None));
    }
    let comments = github.comments(http, issue.number, since).await?;
    if let Some(comment) = comments.iter().find(|comment| contains(comment.body.as_deref(), own)) {
        return Ok(done("commented on", github, issue, Some(comment)));
    }
    let comment = github.comment(http, issue.number, body).await?;
    Ok(done("commented on", github, issue, Some(&comment)))
}

/// Tells the end of the run in its issue, and closes it where the author asked for that.
pub async fn close(
    context: &Context,
    run: &ResponseRun,
    channel: &str,
    closing: &Closing,
) -> Result<Receipt, Undelivered> {
    let done = async {
        let namespace = run.namespace().unwrap_or_default();
        let (github, send_resolved) = destination::repository(&context.client, &namespace, channel).await?;
        comment_and_close(&github, &context.http, closing, send_resolved).await
    };
    done.await.map_err(|error| undelivered(&error))
}

/// The same for a repository that is at hand. Without `comments` it is only closed.
pub async fn comment_and_close(
    github: &Github,
    http: &reqwest::Client,
    closing: &Closing,
    comments: bool,
) -> Result<Receipt, DeliveryError> {
    let Closing { number, comment, marker, since, close } = closing;
    if comments {
        let since = before(since.unwrap_or(Timestamp::UNIX_EPOCH));
        let told = github.comments(http, *number, since).await?;
        if !told.iter().any(|comment| contains(comment.body.as_deref(), marker)) {
            github.comment(http, *number, comment).await?;
        }
    }
    if *close {
        github.close(http, *number).await?;
    }
    Ok(Receipt { reference: Some(number.to_string()), incident: false })
}

/// Starts a workflow, unless one of its runs bears the name of this run.
pub async fn workflow(
    context: &Context,
    run: &ResponseRun,
    step: usize,
    intent: &GithubWorkflowIntent,
) -> Result<Errand, Undelivered> {
    let steps = run.status.as_ref().map(|status| status.steps.as_slice()).unwrap_or_default();
    let since = steps.get(step).and_then(|step| step.started_at.as_ref()).map(|started| started.0);
    let others: Vec<&str> = steps.iter().filter_map(|step| step.reference.as_deref()).collect();
    let mine = Mine { run: &run.name_any(), since, others: &others };
    let done = async {
        let namespace = run.namespace().unwrap_or_default();
        let (github, _) = destination::repository(&context.client, &namespace, &intent.channel).await?;
        start(&github, &context.http, intent, &mine).await
    };
    done.await.map_err(|error| undelivered(&error))
}

/// By what a run of a workflow is recognised.
pub struct Mine<'a> {
    /// Name of the ResponseRun.
    pub run: &'a str,
    /// When the step began.
    pub since: Option<Timestamp>,
    /// References of the other steps: what they started is not ours.
    pub others: &'a [&'a str],
}

/// The same for a repository that is at hand.
pub async fn start(
    github: &Github,
    http: &reqwest::Client,
    intent: &GithubWorkflowIntent,
    mine: &Mine<'_>,
) -> Result<Errand, DeliveryError> {
    let GithubWorkflowIntent { channel: _, workflow, ref_, event_type, inputs } = intent;
    let event = if workflow.is_some() { "workflow_dispatch" } else { "repository_dispatch" };
    let since = before(mine.since.unwrap_or(Timestamp::UNIX_EPOCH));
    // Only a run-name that holds the run's name can be recognised; the field says so.
    let is_recognisable = inputs.values().any(|value| value.contains(mine.run));
    if is_recognisable {
        let runs = github.workflow_runs(http, workflow.as_deref(), event, since).await?;
        if let Some(found) = runs.iter().find(|run| is_mine(run, mine)) {
            let what = workflow.as_deref().or(event_type.as_deref()).unwrap_or_default();
            return Ok(started(github, what, Some((found.id, &found.html_url))));
        }
    }
    let what = workflow.as_deref().or(event_type.as_deref()).unwrap_or_default();
    // A workflow may be a repair: rather none too many than one too many. Who was never connected has started nothing.
    let lost = |error| match error {
        DeliveryError::Http(error) if !is_recognisable && !error.is_connect() => {
            DeliveryError::Lost { what: format!("{} started {what}", github.repository) }
        }
        other => other,
    };
    match (workflow, event_type) {
        (Some(workflow), _) => {
            let branch = ref_.as_deref().unwrap_or(BRANCH);
            let run = github.start(http, workflow, branch, inputs).await.map_err(lost)?;
            let run = run.as_ref().map(|run| (run.workflow_run_id, run.html_url.as_str()));
            Ok(started(github, workflow, run))
        }
        (None, Some(event_type)) => {
            github.dispatch(http, event_type, inputs).await.map_err(lost)?;
            let effect = format!("sent the event {event_type} to {}", github.repository);
            Ok(Errand::Done { effect, evidence: vec![], reference: None })
        }
        (None, None) => Err(DeliveryError::Invalid("it names neither workflow nor eventType".to_owned())),
    }
}

fn is_mine(run: &WorkflowRun, mine: &Mine<'_>) -> bool {
    run.display_title.contains(mine.run) && !mine.others.contains(&run.id.to_string().as_str())
}

fn before(time: Timestamp) -> Timestamp {
    time.checked_sub(SKEW).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn contains(body: Option<&str>, marker: &str) -> bool {
    body.is_some_and(|body| body.contains(marker))
}

/// The issue of the episode. The oldest, if somebody copied the marker into another one.
fn of_episode<'a>(issues: &'a [Issue], marker: &str) -> Option<&'a Issue> {
    let marked = issues.iter().filter(|issue| contains(issue.body.as_deref(), marker));
    marked.min_by_key(|issue| issue.number)
}

fn done(what: &str, github: &Github, issue: &Issue, comment: Option<&Comment>) -> Errand {
    let url = comment.map_or(&issue.html_url, |comment| &comment.html_url);
    let effect = format!("{what} issue {}#{} ({url})", github.repository, issue.number);
    Errand::Done { effect, evidence: vec![], reference: Some(issue.number.to_string()) }
}

fn started(github: &Github, workflow: &str, run: Option<(u64, &str)>) -> Errand {
    let link = run.map(|(_, url)| format!(" ({url})")).unwrap_or_default();
    let effect = format!("started workflow {workflow} of {}{link}", github.repository);
    Errand::Done { effect, evidence: vec![], reference: run.map(|(id, _)| id.to_string()) }
}
