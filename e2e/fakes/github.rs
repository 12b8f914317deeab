//! The part of GitHub's REST API that issues and workflows need.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Reply, Request, Service, is_text, unknown};

/// One repository.
#[derive(Default)]
pub struct Github {
    pub token: String,
    /// owner/name.
    pub repository: String,
    pub issues: Vec<Value>,
    /// By number of the issue.
    pub comments: BTreeMap<u64, Vec<Value>>,
    /// Workflows by file name, with the input that their run-name shows, if one does.
    pub workflows: BTreeMap<String, Option<String>>,
    /// Latest first.
    pub runs: Vec<Value>,
    /// Events that were dispatched.
    pub events: Vec<Value>,
    /// Whether it is a server that cannot tell which run a dispatch became.
    pub is_old: bool,
}

impl Github {
    pub fn new(repository: &str, token: &str) -> Self {
        Self { token: token.to_owned(), repository: repository.to_owned(), ..Self::default() }
    }

    /// An issue that somebody else wrote.
    pub fn add_issue(&mut self, title: &str, body: &str) -> u64 {
        let number = self.issues.len() as u64 + 1;
        let html_url = format!("https://github.example/{}/issues/{number}", self.repository);
        self.issues.push(json!({
            "id": number, "number": number, "html_url": html_url, "title": title, "body": body, "state": "open", "labels": [],
            "created_at": format!("{:.0}", Timestamp::now()), "updated_at": format!("{:.0}", Timestamp::now()),
        }));
        number
    }

    pub fn issue(&self, number: u64) -> &Value {
        &self.issues[number as usize - 1]
    }

    fn check(&self, request: &Request) -> Result<(), Reply> {
        if request.header("user-agent").is_empty() {
            return Err(Reply::violation(403, "a request must have a User-Agent"));
        }
        if request.header("authorization") != format!("Bearer {}", self.token) {
            return Err(Reply::json(401, json!({"message": "Bad credentials"})));
        }
        request.must_have("accept", "application/vnd.github+json")?;
        request.must_have("x-github-api-version", "2022-11-28")
    }

    fn open(&mut self, body: &Value) -> Result<Reply, Reply> {
        if let Some(field) = unknown(body, &["title", "body", "labels", "assignees", "milestone", "type"]) {
            return Err(Reply::violation(422, format!("an issue has no {field}")));
        }
        let labels: Vec<&str> = body["labels"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if !is_text(&body["title"], 256) || !is_text(&body["body"], 65536) || labels.iter().any(|l| l.len() > 50) {
            return Err(Reply::violation(422, "Validation Failed"));
        }
        let number =
            self.add_issue(body["title"].as_str().unwrap_or_default(), body["body"].as_str().unwrap_or_default());
        let labels: Vec<Value> = labels.iter().map(|name| json!({"name": name})).collect();
        self.issues[number as usize - 1]["labels"] = labels.into();
        Ok(Reply::json(201, self.issue(number).clone()))
    }

    fn list(&self, query: &BTreeMap<String, String>) -> Result<Reply, Reply> {
        let state = query.get("state").map_or("open", String::as_str);
        let sorted = (query.get("sort").map_or("created", String::as_str), query.get("direction").map(String::as_str));
        if !["open", "closed", "all"].contains(&state) || sorted.0 != "created" || sorted.1 == Some("asc") {
            return Err(Reply::violation(422, "only the latest first is played here"));
        }
        let wanted = |issue: &&Value| state == "all" || issue["state"] == state;
        page(self.issues.iter().rev().filter(wanted).cloned().collect(), query)
    }

    fn comment(&mut self, number: u64, body: &Value) -> Result<Reply, Reply> {
        if self.issues.len() < number as usize || number == 0 {
            return Err(Reply::json(404, json!({"message": "Not Found"})));
        }
        if !is_text(&body["body"], 65536) || unknown(body, &["body"]).is_some() {
            return Err(Reply::violation(422, "Validation Failed"));
        }
        let comments = self.comments.entry(number).or_default();
        let html_url = format!("https://github.example/{}/issues/{number}#{}", self.repository, comments.len() + 1);
        comments.push(json!({"id": comments.len() + 1, "html_url": html_url, "body": body["body"]}));
        Ok(Reply::json(201, comments.last().cloned().unwrap_or_default()))
    }

    fn change(&mut self, number: u64, body: &Value) -> Result<Reply, Reply> {
        let states = ["open", "closed"];
        if !states.iter().any(|state| body["state"] == *state) || unknown(body, &["state", "state_reason"]).is_some() {
            return Err(Reply::violation(422, "only the state is changed here"));
        }
        let Some(issue) = self.issues.get_mut((number as usize).wrapping_sub(1)) else {
            return Err(Reply::json(404, json!({"message": "Not Found"})));
        };
        issue["state"] = body["state"].clone();
        Ok(Reply::json(200, issue.clone()))
    }

    fn start(&mut self, workflow: &str, body: &Value) -> Result<Reply, Reply> {
        let Some(shown) = self.workflows.get(workflow).cloned() else {
            return Err(Reply::json(404, json!({"message": "Not Found"})));
        };
        if let Some(field) = unknown(body, &["ref", "inputs", "return_run_details"]).or(
            // Before February 2026 there was no such field.
            self.is_old.then_some("return_run_details").filter(|field| body.get(field).is_some()),
        ) {
            return Err(Reply::json(422, json!({"message": format!("{field} is not a permitted key")})));
        }
        let inputs = body["inputs"].as_object().cloned().unwrap_or_default();
        if !is_text(&body["ref"], 256) || inputs.len() > 25 || inputs.values().any(|value| !value.is_string()) {
            return Err(Reply::violation(422, "ref is needed, and at most 25 inputs"));
        }
        let title = shown.and_then(|input| Some(inputs.get(&input)?.as_str()?.to_owned()));
        let run = self.add_run("workflow_dispatch", workflow, title.unwrap_or_else(|| workflow.to_owned()));
        if body["return_run_details"] == true {
            let answer = json!({"workflow_run_id": run["id"], "run_url": run["url"], "html_url": run["html_url"]});
            return Ok(Reply::json(200, answer));
        }
        Ok(Reply::text(204, ""))
    }

    fn add_run(&mut self, event: &str, workflow: &str, title: String) -> Value {
        let id = 9000 + self.runs.len() as u64;
        let run = json!({
            "id": id, "event": event, "path": format!(".github/workflows/{workflow}"), "display_title": title,
            "html_url": format!("https://github.example/{}/actions/runs/{id}", self.repository),
            "url": format!("https://github.example/api/{id}"), "status": "queued",
        });
        self.runs.insert(0, run.clone());
        run
    }

    fn dispatch(&mut self, body: &Value) -> Result<Reply, Reply> {
        let payload = body["client_payload"].as_object().map_or(0, serde_json::Map::len);
        if !is_text(&body["event_type"], 100)
            || payload > 10
            || unknown(body, &["event_type", "client_payload"]).is_some()
        {
            return Err(Reply::violation(422, "event_type of at most 100 characters, and at most 10 fields"));
        }
        self.events.push(body.clone());
        Ok(Reply::text(204, ""))
    }

    fn list_runs(&self, workflow: Option<&str>, query: &BTreeMap<String, String>) -> Result<Reply, Reply> {
        let wanted = |run: &&Value| {
            let path = run["path"].as_str().unwrap_or_default();
            query.get("event").is_none_or(|event| run["event"] == *event)
                && workflow.is_none_or(|file| path.ends_with(&format!("/{file}")))
        };
        if query.get("created").is_some_and(|created| created.trim_start_matches(">=").parse::<Timestamp>().is_err()) {
            return Err(Reply::violation(422, "created is no time"));
        }
        let runs: Vec<_> = self.runs.iter().filter(wanted).cloned().collect();
        Ok(Reply::json(200, json!({"total_count": runs.len(), "workflow_runs": runs})))
    }
}

fn page(all: Vec<Value>, query: &BTreeMap<String, String>) -> Result<Reply, Reply> {
    let number = |name: &str, default: usize| query.get(name).map_or(Some(default), |text| text.parse().ok());
    let (Some(size @ 1..=100), Some(page @ 1..)) = (number("per_page", 30), number("page", 1)) else {
        return Err(Reply::violation(422, "per_page is 1 to 100, page from 1"));
    };
    Ok(Reply::json(200, all.into_iter().skip(size * (page - 1)).take(size).collect()))
}

impl Service for Github {
    fn answer(&mut self, request: &Request) -> Reply {
        if let Err(reply) = self.check(request) {
            return reply;
        }
        let prefix = format!("/repos/{}/", self.repository);
        let Some(path) = request.path.strip_prefix(&prefix) else {
            return Reply::json(404, json!({"message": "Not Found"}));
        };
        let path: Vec<&str> = path.split('/').collect();
        let body = request.json();
        let number = |text: &str| text.parse().unwrap_or(0);
        let reply = match (request.method.as_str(), path.as_slice()) {
            ("GET", ["issues"]) => self.list(&request.query),
            ("POST", ["issues"]) => self.open(&body),
            ("PATCH", ["issues", issue]) => self.change(number(issue), &body),
            ("GET", ["issues", issue, "comments"]) => {
                page(self.comments.get(&number(issue)).cloned().unwrap_or_default(), &request.query)
            }
            ("POST", ["issues", issue, "comments"]) => self.comment(number(issue), &body),
            ("POST", ["actions", "workflows", workflow, "dispatches"]) => self.start(workflow, &body),
            ("GET", ["actions", "workflows", workflow, "runs"]) => self.list_runs(Some(workflow), &request.query),
            ("GET", ["actions", "runs"]) => self.list_runs(None, &request.query),
            ("POST", ["dispatches"]) => self.dispatch(&body),
            _ => Err(Reply::violation(404, format!("{} {} is not known", request.method, request.path))),
        };
        reply.unwrap_or_else(|refusal| refusal)
    }
}
