//! `POST /api/v1/alerts` (a stack's Alertmanager, bearer token) and `POST /webhook/alert` (any other, user and password).
//!
//! 200 means that every alert of the payload is a ResponseRun, or matched none of the AlertResponses that there are, which
//! a cache that may be behind cannot say. To Alertmanager every 4xx is final, so whatever may pass by itself (overload,
//! caches, the API server) is 503: it tries again.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures::{StreamExt, stream};
use tokio::sync::Semaphore;

use super::credentials::{Claim, claim};
use super::payload::{Alert, Payload};
use super::turns::is_critical;
use crate::metrics::{Endpoint, Metrics};

/// Largest body, in bytes.
const MAX_BODY: usize = 1 << 20;
/// Time in which the body must have arrived.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Time in which the runs must have been written.
const PERSIST_TIMEOUT: Duration = Duration::from_secs(8);
/// Requests at a time; more are told to come back.
const MAX_REQUESTS: usize = 32;
/// Alerts of one request that are written at a time.
const MAX_WRITES: usize = 8;

/// Path of the stacks' Alertmanagers.
pub const STACK_PATH: &str = "/api/v1/alerts";
/// Path of all others.
pub const WEBHOOK_PATH: &str = "/webhook/alert";

/// What became of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is on record.
    Recorded,
    /// No AlertResponse matches it.
    Unmatched,
}

/// Why an alert is not on record; it is delivered again.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotTaken(pub String);

/// What stands behind the listener.
pub trait Desk: Clone + Send + Sync + 'static {
    /// Whether alerts can be judged yet.
    fn is_ready(&self) -> bool;
    /// False: the credentials of a sender may be missing.
    fn sees_senders(&self) -> bool;
    /// The sender that a token belongs to.
    fn bearer(&self, token: &str) -> Option<String>;
    /// Whether user and password are right.
    fn basic(&self, user: &str, password: &str) -> bool;
    /// Puts one alert on record. Returns only when the API server has it.
    fn take(&self, alert: Alert, source: &str) -> impl Future<Output = Result<Taken, NotTaken>> + Send;
}

struct Shared<D> {
    desk: D,
    metrics: Metrics,
    requests: Arc<Semaphore>,
}

impl<D: Clone> Clone for Shared<D> {
    fn clone(&self) -> Self {
        Self { desk: self.desk.clone(), metrics: self.metrics.clone(), requests: self.requests.clone() }
    }
}

/// The two routes. The time for the headers is limited by the server.
pub fn routes<D: Desk>(desk: D, metrics: Metrics) -> Router {
    let shared = Shared { desk, metrics, requests: Arc::new(Semaphore::new(MAX_REQUESTS)) };
    Router::new()
        .route(STACK_PATH, post(|state, request| answer(STACK_PATH, state, request)))
        .route(WEBHOOK_PATH, post(|state, request| answer(WEBHOOK_PATH, state, request)))
        .with_state(shared)
}

async fn answer<D: Desk>(path: &'static str, State(shared): State<Shared<D>>, request: Request) -> Response {
    let started = Instant::now();
    let (status, message) = match handle(path, &shared, request).await {
        Ok(()) => (StatusCode::OK, String::new()),
        Err(refusal) => refusal,
    };
    shared.metrics.webhook_seconds.observe(started.elapsed().as_secs_f64());
    let label = Endpoint { path: path.to_owned(), code: status.as_u16() };
    shared.metrics.webhook_requests.get_or_create(&label).inc();
    if status != StatusCode::OK {
        tracing::info!(path, status = status.as_u16(), message, "alerts refused");
    }
    match status {
        StatusCode::UNAUTHORIZED => {
            let scheme = if path == STACK_PATH { "Bearer" } else { "Basic realm=\"evenkeel\"" };
            (status, [(header::WWW_AUTHENTICATE, scheme)], message + "\n").into_response()
        }
        StatusCode::SERVICE_UNAVAILABLE => (status, [(header::RETRY_AFTER, "5")], message + "\n").into_response(),
        _ => (status, message + "\n").into_response(),
    }
}

type Refusal = (StatusCode, String);

async fn handle<D: Desk>(path: &'static str, shared: &Shared<D>, request: Request) -> Result<(), Refusal> {
    let unavailable = |message: &str| (StatusCode::SERVICE_UNAVAILABLE, message.to_owned());
    let _permit = shared.requests.try_acquire().map_err(|_| unavailable("too many requests at a time"))?;
    if !shared.desk.is_ready() {
        return Err(unavailable("the caches are not filled yet"));
    }
    // Before the body is read: who may not deliver shall not fill the memory.
    let sees = shared.desk.sees_senders();
    let source = authenticate(path, &shared.desk, request.headers());
    // 401 would be the last word, and the token may be newer than what is known.
    let source = source.map_err(|refusal| match sees {
        true => refusal,
        false => unavailable("the watch of credentials is broken, so that nobody can tell whether these are right"),
    })?;
    let mut alerts = read(request).await?;
    // Nobody is to wait for a repair behind those that can wait.
    alerts.sort_by_key(|alert| !is_critical(alert.labels.get("severity").map(String::as_str)));
    let taken = stream::iter(alerts)
        .map(|alert| shared.desk.take(alert, &source))
        .buffer_unordered(MAX_WRITES)
        .collect::<Vec<_>>();
    let taken = tokio::time::timeout(PERSIST_TIMEOUT, taken).await;
    let taken = taken.map_err(|_| unavailable("the API server did not answer in time"))?;
    // One that cannot be recorded has kept none of the others from it.
    let taken = taken.into_iter().collect::<Result<Vec<_>, _>>();
    let taken = taken.map_err(|error| unavailable(&format!("not every alert could be recorded: {error}")))?;
    let unmatched = taken.iter().filter(|t| **t == Taken::Unmatched).count();
    shared.metrics.alerts_unmatched.inc_by(unmatched as u64);
    Ok(())
}

fn authenticate<D: Desk>(path: &'static str, desk: &D, headers: &HeaderMap) -> Result<String, Refusal> {
    let header = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let sender = match (path, claim(header)) {
        (STACK_PATH, Some(Claim::Bearer(token))) => desk.bearer(&token),
        (WEBHOOK_PATH, Some(Claim::Basic(user, password))) if desk.basic(&user, &password) => Some("webhook".into()),
        _ => None,
    };
    sender.ok_or_else(|| (StatusCode::UNAUTHORIZED, "wrong or missing credentials".to_owned()))
}

async fn read(request: Request) -> Result<Vec<Alert>, Refusal> {
    let too_large = || (StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {MAX_BODY} bytes"));
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > MAX_BODY) {
        return Err(too_large());
    }
    let body: Body = request.into_body();
    let bytes = match tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, MAX_BODY)).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(error)) if is_length_limit(&error) => return Err(too_large()),
        Ok(Err(error)) => return Err((StatusCode::BAD_REQUEST, format!("cannot read the body: {error}"))),
        Err(_) => return Err((StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time".to_owned())),
    };
    let payload: Payload = serde_json::from_slice(&bytes)
        .map_err(|error| (StatusCode::BAD_REQUEST, format!("not a webhook payload of Alertmanager: {error}")))?;
    if payload.truncated_alerts > 0 {
        tracing::warn!(
            count = payload.truncated_alerts,
            "Alertmanager cut off alerts, which nobody will deliver: set max_alerts of the receiver to 0"
        );
    }
    Ok(payload.alerts)
}

fn is_length_limit(error: &axum::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        // The only name that axum gives it is that of its own dependency.
        if error.to_string().contains("length limit exceeded") {
            return true;
        }
        source = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use tower::ServiceExt;

    /// Knows one token, unless it is blind, and takes alerts that are not called Bad.
    #[derive(Clone, Default)]
    struct Counter {
        blind: bool,
        taken: Arc<std::sync::atomic::AtomicUsize>,
    }

    impl Desk for Counter {
        fn is_ready(&self) -> bool {
            true
        }
        fn sees_senders(&self) -> bool {
            !self.blind
        }
        fn bearer(&self, token: &str) -> Option<String> {
            (token == "known").then(|| "stack a/b".to_owned())
        }
        fn basic(&self, _: &str, _: &str) -> bool {
            false
        }
        async fn take(&self, alert: Alert, _: &str) -> Result<Taken, NotTaken> {
            if alert.name() == "Bad" {
                return Err(NotTaken("no".into()));
            }
            self.taken.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Ok(Taken::Recorded)
        }
    }

    async fn posted(desk: &Counter, token: &str, body: &str) -> StatusCode {
        let request = Request::post(STACK_PATH).header(header::AUTHORIZATION, format!("Bearer {token}"));
        let request = request.body(Body::from(body.to_owned())).unwrap();
        routes(desk.clone(), Metrics::new()).oneshot(request).await.unwrap().status()
    }

    #[tokio::test]
    async fn a_token_is_refused_for_good_only_by_who_knows_all_of_them() {
        for (blind, code) in [(false, StatusCode::UNAUTHORIZED), (true, StatusCode::SERVICE_UNAVAILABLE)] {
            assert_eq!(posted(&Counter { blind, ..Counter::default() }, "new", "").await, code);
        }
    }

    #[tokio::test]
    async fn an_alert_that_cannot_be_recorded_keeps_no_other_of_its_payload_from_it() {
        let alert = |name: &str| {
            format!(
                r#"{{"status":"firing","labels":{{"alertname":"{name}"}},"startsAt":"2026-01-01T00:00:00Z","fingerprint":"f"}}"#
            )
        };
        let alerts: Vec<String> = ["Bad"].into_iter().chain(["Good"; 20]).map(alert).collect();
        let body = format!(r#"{{"version":"4","alerts":[{}]}}"#, alerts.join(","));
        let desk = Counter::default();
        assert_eq!(posted(&desk, "known", &body).await, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(desk.taken.load(std::sync::atomic::Ordering::Relaxed), 20);
    }
}
