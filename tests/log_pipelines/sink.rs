//! Stands where Loki and Jaeger would be: takes OTLP over HTTP, in JSON, and keeps what arrives.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::Value;

/// One record, or one span.
#[derive(Clone, Debug, Default)]
pub struct Record {
    pub resource: BTreeMap<String, String>,
    pub fields: BTreeMap<String, String>,
    pub body: String,
    pub trace: String,
    pub span: String,
    pub severity: i64,
    pub time: String,
}

#[derive(Default)]
struct Kept {
    away: bool,
    raw: Vec<u8>,
    logs: Vec<Record>,
    spans: Vec<Record>,
}

#[derive(Clone)]
pub struct Sink {
    pub address: SocketAddr,
    kept: Arc<Mutex<Kept>>,
}

fn text(value: &Value) -> String {
    let Some((kind, value)) = value.as_object().and_then(|o| o.iter().next()) else { return String::new() };
    match (kind.as_str(), value) {
        (_, Value::String(text)) => text.clone(),
        (_, other) => other.to_string(),
    }
}

fn attributes(value: &Value) -> BTreeMap<String, String> {
    let one = |pair: &Value| (pair["key"].as_str().unwrap_or_default().to_owned(), text(&pair["value"]));
    value["attributes"].as_array().into_iter().flatten().map(one).collect()
}

fn records(payload: &Value, [outer, inner, items]: [&str; 3]) -> Vec<Record> {
    let list = |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
    let mut all = vec![];
    for resource in list(payload, outer) {
        let place = attributes(&resource["resource"]);
        for scope in list(&resource, inner) {
            all.extend(list(&scope, items).iter().map(|item| Record {
                resource: place.clone(),
                fields: attributes(item),
                body: if item["name"].is_string() { item["name"].to_string() } else { text(&item["body"]) },
                trace: item["traceId"].as_str().unwrap_or_default().to_owned(),
                span: item["spanId"].as_str().unwrap_or_default().to_owned(),
                severity: item["severityNumber"].as_i64().unwrap_or_default(),
                time: item["timeUnixNano"].as_str().unwrap_or_default().to_owned(),
            }));
        }
    }
    all
}

async fn take(State(kept): State<Arc<Mutex<Kept>>>, body: Bytes) -> (StatusCode, &'static str) {
    let mut kept = kept.lock().expect("no panic");
    if kept.away {
        return (StatusCode::SERVICE_UNAVAILABLE, "away");
    }
    let payload: Value = serde_json::from_slice(&body).expect("JSON");
    kept.raw.extend_from_slice(&body);
    kept.logs.extend(records(&payload, ["resourceLogs", "scopeLogs", "logRecords"]));
    kept.spans.extend(records(&payload, ["resourceSpans", "scopeSpans", "spans"]));
    (StatusCode::OK, "{}")
}

impl Sink {
    /// Listens until the test ends.
    pub fn start() -> Self {
        let kept: Arc<Mutex<Kept>> = Arc::default();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("nonblocking");
        let address = listener.local_addr().expect("an address");
        let state = kept.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                let router = Router::new()
                    .route("/otlp/v1/logs", post(take))
                    .route("/otlp/v1/traces", post(take))
                    .layer(DefaultBodyLimit::disable())
                    .with_state(state);
                axum::serve(listener, router).await.expect("served");
            });
        });
        Self { address, kept }
    }

    /// While it is away it takes nothing.
    pub fn away(&self, away: bool) {
        self.kept.lock().expect("no panic").away = away;
    }

    pub fn logs(&self) -> Vec<Record> {
        self.kept.lock().expect("no panic").logs.clone()
    }

    pub fn spans(&self) -> Vec<Record> {
        self.kept.lock().expect("no panic").spans.clone()
    }

    /// Everything that arrived, as it was written.
    pub fn raw(&self) -> String {
        String::from_utf8_lossy(&self.kept.lock().expect("no panic").raw).into_owned()
    }

    /// Waits for the record that `fits`.
    pub fn wait(&self, what: &str, fits: impl Fn(&Record) -> bool) -> Record {
        self.wait_for(what, |logs| logs.iter().find(|record| fits(record)).cloned())
    }

    pub fn wait_for<T>(&self, what: &str, found: impl Fn(&[Record]) -> Option<T>) -> T {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let logs = self.logs();
            if let Some(found) = found(&logs) {
                return found;
            }
            let bodies = || logs.iter().map(|r| format!("{r:?}")).collect::<Vec<_>>().join("\n");
            assert!(Instant::now() < end, "{what} did not arrive; what did:\n{}", bodies());
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}
