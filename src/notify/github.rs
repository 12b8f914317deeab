//! The part of GitHub's REST API that steps use: issues, their comments, and workflows.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::{Method, RequestBuilder, Url};
use serde::{Deserialize, Serialize};

use super::answer::{Answer, ask};
use super::error::DeliveryError;
use crate::hidden::Hidden;

/// Base URL of the REST API.
pub const URL: &str = "https://api.github.com";
/// The version that is spoken.
const VERSION: &str = "2022-11-28";
/// Items of a page: the most that GitHub gives.
const PAGE: usize = 100;
/// Pages that are read at most.
const PAGES: usize = 20;
/// What GitHub asks for where it limits without saying until when.
const PAUSE: Duration = Duration::from_secs(60);

/// A repository with the token for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Github {
    /// Base URL of the REST API.
    pub url: String,
    /// owner/name.
    pub repository: String,
    pub token: Hidden,
}

/// An issue, as far as it is read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Issue {
    pub number: u64,
    pub html_url: String,
    #[serde(default)]
    pub body: Option<String>,
    pub created_at: Timestamp,
    /// Present on what is a pull request: GitHub lists both.
    #[serde(default)]
    pub pull_request: Option<Nothing>,
}

/// An object whose fields do not matter.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Nothing {}

/// A comment, as far as it is read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Comment {
    pub html_url: String,
    #[serde(default)]
    pub body: Option<String>,
}

/// A run of a workflow, as far as it is read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct WorkflowRun {
    pub id: u64,
    pub html_url: String,
    /// The workflow's `run-name`, filled in.
    #[serde(default)]
    pub display_title: String,
}

#[derive(Deserialize)]
struct WorkflowRuns {
    workflow_runs: Vec<WorkflowRun>,
}

/// What GitHub tells of a workflow that it started.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Dispatched {
    pub workflow_run_id: u64,
    pub html_url: String,
}

/// A new issue. Labels are dropped by GitHub where the token's owner may not set them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NewIssue<'a> {
    pub title: &'a str,
    pub body: &'a str,
    pub labels: &'a [String],
}

#[derive(Serialize)]
struct NewComment<'a> {
    body: &'a str,
}

#[derive(Serialize)]
struct Close {
    state: &'static str,
    state_reason: &'static str,
}

#[derive(Serialize)]
struct WorkflowDispatch<'a> {
    #[serde(rename = "ref")]
    ref_: &'a str,
    inputs: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    return_run_details: Option<bool>,
}

#[derive(Serialize)]
struct RepositoryDispatch<'a> {
    event_type: &'a str,
    client_payload: &'a BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    message: String,
}

impl Github {
    /// All issues that were created since, the latest first.
    pub async fn issues(&self, http: &reqwest::Client, since: Timestamp) -> Result<Vec<Issue>, DeliveryError> {
        let mut all = vec![];
        for page in 1..=PAGES {
            let query = [("state", "all"), ("sort", "created"), ("direction", "desc")];
            let request = self.request(http, Method::GET, &["issues"])?.query(&query);
            let issues: Vec<Issue> = self.asked(paged(request, page)).await?.json()?;
            let is_last = issues.len() < PAGE || issues.iter().any(|issue| issue.created_at < since);
            let wanted = |issue: &Issue| issue.created_at >= since && issue.pull_request.is_none();
            all.extend(issues.into_iter().filter(wanted));
            if is_last {
                return Ok(all);
            }
        }
        Err(self.too_many("issues"))
    }

    /// Opens an issue.
    pub async fn open(&self, http: &reqwest::Client, issue: &NewIssue<'_>) -> Result<Issue, DeliveryError> {
        self.asked(self.request(http, Method::POST, &["issues"])?.json(issue)).await?.json()
    }

    /// All comments of an issue that were written or changed since.
    pub async fn comments(
        &self,
        http: &reqwest::Client,
        number: u64,
        since: Timestamp,
    ) -> Result<Vec<Comment>, DeliveryError> {
        let mut all = vec![];
        for page in 1..=PAGES {
            let path = ["issues", &number.to_string(), "comments"];
            let since = [("since", format!("{:.0}", since))];
            let request = self.request(http, Method::GET, &path)?.query(&since);
            let comments: Vec<Comment> = self.asked(paged(request, page)).await?.json()?;
            let is_last = comments.len() < PAGE;
            all.extend(comments);
            if is_last {
                return Ok(all);
            }
        }
        Err(self.too_many("comments"))
    }

    /// Comments on an issue.
    pub async fn comment(&self, http: &reqwest::Client, number: u64, body: &str) -> Result<Comment, DeliveryError> {
        let path = ["issues", &number.to_string(), "comments"];
        self.asked(self.request(http, Method::POST, &path)?.json(&NewComment { body })).await?.json()
    }

    /// Closes an issue as completed; one that is closed stays so.
    pub async fn close(&self, http: &reqwest::Client, number: u64) -> Result<(), DeliveryError> {
        let close = Close { state: "closed", state_reason: "completed" };
        let path = ["issues", &number.to_string()];
        self.asked(self.request(http, Method::PATCH, &path)?.json(&close)).await.map(drop)
    }

    /// Runs that an event started since, the latest first: of one workflow, or of all.
    pub async fn workflow_runs(
        &self,
        http: &reqwest::Client,
        workflow: Option<&str>,
        event: &str,
        since: Timestamp,
    ) -> Result<Vec<WorkflowRun>, DeliveryError> {
        let path = match workflow {
            Some(workflow) => vec!["actions", "workflows", workflow, "runs"],
            None => vec!["actions", "runs"],
        };
        let query = [("event", event.to_owned()), ("created", format!(">={since:.0}"))];
        let request = self.request(http, Method::GET, &path)?.query(&query);
        Ok(self.asked(paged(request, 1)).await?.json::<WorkflowRuns>()?.workflow_runs)
    }

    /// Starts a workflow. Servers that do not know how to tell which run it became answer without one.
    pub async fn start(
        &self,
        http: &reqwest::Client,
        workflow: &str,
        ref_: &str,
        inputs: &BTreeMap<String, String>,
    ) -> Result<Option<Dispatched>, DeliveryError> {
        let path = ["actions", "workflows", workflow, "dispatches"];
        let start = async |return_run_details| {
            let body = WorkflowDispatch { ref_, inputs, return_run_details };
            self.asked(self.request(http, Method::POST, &path)?.json(&body)).await
        };
        let answer = match start(Some(true)).await {
            // A GitHub Enterprise Server from before February 2026.
            Err(DeliveryError::Status { status: 400 | 422, words, .. }) if words.contains("return_run_details") => {
                start(None).await?
            }
            other => other?,
        };
        if answer.status == 204 { Ok(None) } else { answer.json().map(Some) }
    }

    /// Sends an event to the repository's workflows.
    pub async fn dispatch(
        &self,
        http: &reqwest::Client,
        event_type: &str,
        client_payload: &BTreeMap<String, String>,
    ) -> Result<(), DeliveryError> {
        let body = RepositoryDispatch { event_type, client_payload };
        self.asked(self.request(http, Method::POST, &["dispatches"])?.json(&body)).await.map(drop)
    }

    fn too_many(&self, what: &str) -> DeliveryError {
        let most = PAGE * PAGES;
        DeliveryError::Invalid(format!(
            "{} has more than {most} {what} since then: nobody can tell whether it was done already",
            self.repository
        ))
    }

    /// A request below the repository. Every part of the path is one segment, whatever is in it.
    fn request(&self, http: &reqwest::Client, method: Method, path: &[&str]) -> Result<RequestBuilder, DeliveryError> {
        let wrong = |problem: String| DeliveryError::Url { field: "github.url", problem };
        let mut url = Url::parse(&self.url).map_err(|error| wrong(error.to_string()))?;
        url.path_segments_mut()
            .map_err(|()| wrong("it has no path".to_owned()))?
            .pop_if_empty()
            .push("repos")
            .extend(self.repository.split('/'))
            .extend(path);
        let request = http.request(method, url).bearer_auth(self.token.expose());
        let agent = concat!("evenkeel/", env!("CARGO_PKG_VERSION"));
        let request = request.header("accept", "application/vnd.github+json").header("user-agent", agent);
        Ok(request.header("x-github-api-version", VERSION))
    }

    async fn asked(&self, request: RequestBuilder) -> Result<Answer, DeliveryError> {
        let answer = ask(request).await?;
        if answer.is_success() {
            return Ok(answer);
        }
        let words = answer.json::<Refusal>().map(|refusal| refusal.message).unwrap_or_default();
        let words = match answer.status {
            404 => format!("{words} (is {} the repository, and may the token see it?)", self.repository),
            401 | 403 => format!("{words} (the token of {})", self.repository),
            _ => words,
        };
        Err(limited(answer, &words).refusal(words.replace(self.token.expose(), "<hidden>")))
    }
}

/// Secondary limits do not always say until when.
fn limited(mut answer: Answer, words: &str) -> Answer {
    if matches!(answer.status, 403 | 429) && words.to_ascii_lowercase().contains("rate limit") {
        answer.retry_after.get_or_insert(PAUSE);
    }
    answer
}

fn paged(request: RequestBuilder, page: usize) -> RequestBuilder {
    request.query(&[("per_page", PAGE), ("page", page)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn github(url: &str) -> Github {
        Github { url: url.into(), repository: "acme/shop".into(), token: Hidden::new("s3cret") }
    }

    #[test]
    fn a_path_cannot_leave_the_repository() {
        let http = reqwest::Client::new();
        let path = |url: &str, path: &[&str]| {
            github(url).request(&http, Method::GET, path).unwrap().build().unwrap().url().to_string()
        };
        assert_eq!(path(URL, &["issues"]), "https://api.github.com/repos/acme/shop/issues");
        assert_eq!(
            path("https://ghe.example.com/api/v3/", &["actions", "workflows", "../x/y?z", "runs"]),
            "https://ghe.example.com/api/v3/repos/acme/shop/actions/workflows/..%2Fx%2Fy%3Fz/runs"
        );
    }

    #[test]
    fn a_secondary_limit_without_a_time_gets_a_minute() {
        let answer = |status| Answer { status, retry_after: None, body: vec![] };
        assert_eq!(limited(answer(403), "You have exceeded a secondary rate limit.").retry_after, Some(PAUSE));
        assert_eq!(limited(answer(403), "Resource not accessible by integration").retry_after, None);
    }
}
