//! A gate between one operator process and all that it reaches: the API server and services outside. It counts the writes
//! of one namespace and the calls outside, and ends the process before or after any one of them.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::Response;
use kube::Client;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

use crate::harness::eventually;

/// Longest body that is passed on.
const LONGEST: usize = 16 << 20;

/// Where the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// The request never arrives.
    Before,
    /// It takes effect, and nobody hears of it.
    After,
}

#[derive(Default)]
struct Inner {
    namespace: String,
    /// What passed since the last reset, in its order.
    passed: Vec<String>,
    crash: Option<(usize, When)>,
    crashed: bool,
    operator: Option<Child>,
}

#[derive(Clone, Default)]
pub struct Gate(Arc<Mutex<Inner>>);

impl Gate {
    fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        act(&mut self.0.lock().expect("not poisoned"))
    }

    /// Counts from here on, for this namespace; the process ends at the request of this number, if one is given.
    pub fn reset(&self, namespace: &str, crash: Option<(usize, When)>) {
        self.with(|inner| {
            inner.namespace = namespace.to_owned();
            (inner.passed, inner.crash, inner.crashed) = (vec![], crash, false);
        });
    }

    pub fn passed(&self) -> Vec<String> {
        self.with(|inner| inner.passed.clone())
    }

    pub fn crashed(&self) -> bool {
        self.with(|inner| inner.crashed)
    }

    /// The number of a request that counts has come: whether the process ends here.
    fn count(&self, what: String) -> Option<When> {
        self.with(|inner| {
            let number = inner.passed.len();
            inner.passed.push(what);
            let (at, when) = inner.crash.filter(|(at, _)| *at == number && !inner.crashed)?;
            inner.crashed = at == number;
            Some(when)
        })
    }

    /// Ends the process at once, as a node that loses power does, and never answers.
    async fn end(&self) -> Response {
        if let Some(mut operator) = self.with(|inner| inner.operator.take()) {
            operator.kill().await.expect("a process that can be killed");
        }
        std::future::pending().await
    }

    /// Passes everything on to the API server as the tests' own user; whom the process impersonates stays.
    pub async fn to_api_server(&self, client: Client) -> SocketAddr {
        let gate = self.clone();
        serve(axum::Router::new().fallback(kubernetes).with_state((gate, client))).await
    }

    /// Passes everything on to a service outside, which is named `name` in the list of what passed.
    pub async fn to(&self, name: &'static str, upstream: SocketAddr) -> SocketAddr {
        let gate = self.clone();
        serve(axum::Router::new().fallback(outside).with_state((gate, name, upstream))).await
    }

    /// Starts the operator behind this gate, as the replica that is the only one and leads at once.
    pub async fn start(&self, api_server: SocketAddr, namespace: &str, ports: (u16, u16)) {
        let directory = tempfile::tempdir().expect("a temporary directory").keep();
        let kubeconfig = directory.join("kubeconfig");
        let text = format!(
            "{{apiVersion: v1, kind: Config, current-context: c, clusters: [{{name: c, cluster: {{server: 'http://{api_server}'}}}}], \
             contexts: [{{name: c, context: {{cluster: c, user: u}}}}], users: [{{name: u, user: {{}}}}]}}"
        );
        std::fs::write(&kubeconfig, text).expect("a file");
        let (alerts, health) = ports;
        let operator = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
            .args(["run", "--namespace", namespace, "--pod", "crash"])
            .args(["--alerts-address", &format!("127.0.0.1:{alerts}")])
            .args(["--health-address", &format!("127.0.0.1:{health}")])
            .env("KUBECONFIG", &kubeconfig)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(directory.join("log")).expect("a file"))
            .kill_on_drop(true)
            .spawn()
            .expect("the operator starts");
        self.with(|inner| inner.operator = Some(operator));
        let http = reqwest::Client::new();
        eventually("the operator is ready", Duration::from_secs(30), || async {
            let answer = http.get(format!("http://127.0.0.1:{health}/readyz")).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
        std::fs::remove_dir_all(directory).expect("what was made above");
    }

    pub fn is_running(&self) -> bool {
        self.with(|inner| inner.operator.is_some())
    }

    pub async fn stop(&self) {
        if let Some(mut operator) = self.with(|inner| inner.operator.take()) {
            operator.kill().await.expect("a process that can be killed");
        }
    }
}

async fn serve(app: axum::Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// What of the API server's requests counts: writes in the namespace, but for Events, whose loss nobody minds.
fn counts(gate: &Gate, request: &Request) -> Option<String> {
    let path = request.uri().path();
    let namespace = gate.with(|inner| inner.namespace.clone());
    let (_, rest) = path.split_once(&format!("/namespaces/{namespace}/"))?;
    let mut parts = rest.split('/');
    let (kind, subresource) = (parts.next()?, parts.nth(1));
    if request.method() == Method::GET || matches!(kind, "events" | "alertresponses" | "notificationchannels") {
        return None;
    }
    Some([request.method().as_str(), kind].into_iter().chain(subresource).collect::<Vec<_>>().join(" "))
}

async fn kubernetes(State((gate, client)): State<(Gate, Client)>, request: Request) -> Response {
    let when = counts(&gate, &request).and_then(|what| gate.count(what));
    if when == Some(When::Before) {
        return gate.end().await;
    }
    let (mut head, body) = request.into_parts();
    for name in [header::HOST, header::AUTHORIZATION, header::ACCEPT_ENCODING, header::CONNECTION] {
        head.headers.remove(name);
    }
    let body = to_bytes(body, LONGEST).await.expect("a body");
    let request = axum::http::Request::from_parts(head, kube::client::Body::from(body.to_vec()));
    let answer = client.send(request).await;
    if when == Some(When::After) {
        return gate.end().await;
    }
    match answer {
        Ok(answer) => answer.map(Body::new),
        Err(error) => Response::builder()
            .status(StatusCode::BAD_GATEWAY)
            .body(Body::from(error.to_string()))
            .expect("a plain answer"),
    }
}

async fn outside(State((gate, name, upstream)): State<(Gate, &'static str, SocketAddr)>, request: Request) -> Response {
    let when = gate.count(format!("{} {name}", request.method()));
    if when == Some(When::Before) {
        return gate.end().await;
    }
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let (head, body) = request.into_parts();
    let headers: HeaderMap = head.headers.into_iter().filter_map(|(name, value)| Some((name?, value))).collect();
    let body = to_bytes(body, LONGEST).await.expect("a body");
    let http = reqwest::Client::new();
    let sent = http.request(head.method, format!("http://{upstream}{path}")).headers(headers).body(body).send().await;
    if when == Some(When::After) {
        return gate.end().await;
    }
    let answer = sent.expect("the service outside answers");
    let mut response = Response::builder().status(answer.status());
    for (name, value) in answer.headers() {
        if name != header::TRANSFER_ENCODING && name != header::CONTENT_LENGTH {
            response = response.header(name, value);
        }
    }
    response.body(Body::from(answer.bytes().await.expect("a body"))).expect("a response")
}
