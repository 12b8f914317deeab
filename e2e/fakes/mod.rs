//! Services outside, played by servers that check each request against what the service publishes, fail as they are told
//! to, and keep what reached them. For the tests of `tests/notify.rs` and for end-to-end tests alike.

// Each test uses its part.
#![allow(dead_code)]

pub mod github;
pub mod hook;
pub mod pagerduty;
pub mod slack;
pub mod smtp;
pub mod teams;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request as Incoming;
use axum::response::Response;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What reached a service.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub query: BTreeMap<String, String>,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Request {
    /// The body; null where it is no JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(String::as_str).unwrap_or_default()
    }
    /// A header, with its value in the error.
    pub fn must_have(&self, name: &str, value: &str) -> Result<(), Reply> {
        match self.header(name) {
            found if found == value => Ok(()),
            found => Err(Reply::violation(400, format!("header {name} is {found:?} and not {value:?}"))),
        }
    }
}

/// What a service answers.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
    /// What the request got wrong of the published API.
    pub violation: Option<String>,
}

impl Reply {
    pub fn json(status: u16, body: Value) -> Self {
        let headers = vec![("content-type", "application/json".to_owned())];
        Self { status, headers, body: body.to_string(), violation: None }
    }
    pub fn text(status: u16, body: &str) -> Self {
        Self { status, headers: vec![], body: body.to_owned(), violation: None }
    }
    pub fn violation(status: u16, what: impl Into<String>) -> Self {
        let what = what.into();
        Self { violation: Some(what.clone()), ..Self::json(status, json!({"message": what, "errors": [what]})) }
    }
}

/// How the next request of its kind fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This status, and nothing is done.
    Refuse(u16),
    /// This status with `Retry-After` in seconds, and nothing is done.
    Later(u16, u64),
    /// It is done, and the connection breaks before the answer.
    Lost,
}

/// One service.
pub trait Service: Send + 'static {
    fn answer(&mut self, request: &Request) -> Reply;
}

struct Shared<S> {
    service: S,
    requests: Vec<Request>,
    violations: Vec<String>,
    faults: Vec<(String, String, Fault)>,
}

/// A service that listens until it is dropped.
pub struct Fake<S> {
    pub address: SocketAddr,
    shared: Arc<Mutex<Shared<S>>>,
    task: JoinHandle<()>,
}

impl<S> Drop for Fake<S> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<S: Service> Fake<S> {
    /// Listens at an address; port 0 is any free one.
    pub async fn start(address: SocketAddr, service: S) -> Self {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared = Shared { service, requests: vec![], violations: vec![], faults: vec![] };
        let shared = Arc::new(Mutex::new(shared));
        let state = shared.clone();
        let app = Router::new().fallback(move |incoming: Incoming| handle(state.clone(), incoming));
        let task = tokio::spawn(async move { axum::serve(listener, app).await.expect("a server") });
        Self { address, shared, task }
    }

    /// On a free port of this host.
    pub async fn local(service: S) -> Self {
        Self::start(([127, 0, 0, 1], 0).into(), service).await
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn lock(&self) -> MutexGuard<'_, Shared<S>> {
        self.shared.lock().expect("no panic while it was held")
    }

    /// The next request of this method whose path contains this fails so.
    pub fn fail(&self, method: &str, path: &str, fault: Fault) {
        self.lock().faults.push((method.to_owned(), path.to_owned(), fault));
    }

    pub fn requests(&self) -> Vec<Request> {
        self.lock().requests.clone()
    }

    /// How many requests of this method whose path contains this arrived.
    pub fn count(&self, method: &str, path: &str) -> usize {
        self.lock().requests.iter().filter(|r| r.method == method && r.path.contains(path)).count()
    }

    /// What requests got wrong of the published API.
    pub fn violations(&self) -> Vec<String> {
        self.lock().violations.clone()
    }

    /// Looks at the service, or changes it.
    pub fn with<T>(&self, look: impl FnOnce(&mut S) -> T) -> T {
        look(&mut self.lock().service)
    }
}

async fn handle<S: Service>(shared: Arc<Mutex<Shared<S>>>, incoming: Incoming) -> Response {
    let (parts, body) = incoming.into_parts();
    let body = to_bytes(body, 4 << 20).await.unwrap_or_default().to_vec();
    let headers =
        parts.headers.iter().map(|(k, v)| (k.to_string(), String::from_utf8_lossy(v.as_bytes()).into_owned()));
    let request = Request {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: query(parts.uri.query().unwrap_or_default()),
        headers: headers.collect(),
        body,
    };
    let (reply, lost) = {
        let mut shared = shared.lock().expect("no panic while it was held");
        let of = |fault: &(String, String, Fault)| fault.0 == request.method && request.path.contains(&fault.1);
        let fault = shared.faults.iter().position(of).map(|index| shared.faults.remove(index).2);
        let reply = match fault {
            Some(Fault::Refuse(status)) => Reply::json(status, json!({"message": "as told"})),
            Some(Fault::Later(status, seconds)) => {
                let mut reply = Reply::json(status, json!({"message": "slow down"}));
                reply.headers.push(("retry-after", seconds.to_string()));
                reply
            }
            Some(Fault::Lost) | None => shared.service.answer(&request),
        };
        shared.violations.extend(reply.violation.clone());
        shared.requests.push(request);
        (reply, fault == Some(Fault::Lost))
    };
    if lost {
        // Ends the task of this connection, which closes it; unlike a panic it prints nothing.
        std::panic::resume_unwind(Box::new("the answer is lost"));
    }
    let mut response = Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        response = response.header(*name, value);
    }
    response.body(Body::from(reply.body)).expect("a response")
}

fn query(text: &str) -> BTreeMap<String, String> {
    let url = reqwest::Url::parse(&format!("http://x/?{text}")).expect("a query");
    url.query_pairs().map(|(k, v)| (k.into_owned(), v.into_owned())).collect()
}

/// Whether a value is a text of at most so many characters, and not empty.
pub fn is_text(value: &Value, most: usize) -> bool {
    value.as_str().is_some_and(|text| !text.is_empty() && text.chars().count() <= most)
}

/// The first field of an object that is not among the known ones.
pub fn unknown<'a>(value: &'a Value, known: &[&str]) -> Option<&'a str> {
    value.as_object()?.keys().map(String::as_str).find(|key| !known.contains(key))
}
