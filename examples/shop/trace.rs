//! Spans of the shop, sent as OTLP over HTTP in JSON to where OpenTelemetry's own variable says.
//!
//! By hand, since two kinds of span need no SDK; the fields are those of `ExportTraceServiceRequest` in the published
//! protocol, whose JSON form writes identifiers in hexadecimal and times as strings of nanoseconds.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::sync::mpsc;

/// Spans that wait to be sent; more are dropped, since telling must not slow down selling.
const WAITING: usize = 4096;
/// Spans in one request.
const BATCH: usize = 512;
const PAUSE: Duration = Duration::from_millis(500);

/// Which request this is: its trace, the span of whoever asked, and our own span.
#[derive(Clone, Debug)]
pub struct Trace {
    pub id: String,
    pub parent: Option<String>,
    pub span: String,
}

impl Trace {
    /// Goes on with the trace of a `traceparent` header (W3C Trace Context), or begins one.
    pub fn of(traceparent: Option<&str>) -> Self {
        let parts: Vec<&str> = traceparent.unwrap_or_default().split('-').collect();
        let is_hex = |text: &str, length: usize| {
            text.len() == length && text.bytes().all(|b| b.is_ascii_hexdigit()) && text.bytes().any(|b| b != b'0')
        };
        let span = format!("{:016x}", rand::random_range(1..=u64::MAX));
        match parts[..] {
            ["00", id, parent, _] if is_hex(id, 32) && is_hex(parent, 16) => {
                Self { id: id.to_owned(), parent: Some(parent.to_owned()), span }
            }
            _ => Self { id: format!("{:032x}", rand::random_range(1..=u128::MAX)), parent: None, span },
        }
    }
}

/// Sends spans, if somebody wants them.
#[derive(Clone)]
pub struct Tracer(Option<mpsc::Sender<Value>>);

impl Tracer {
    /// Sends to `endpoint`, for example `http://main-log-gateway.monitoring.svc:4318`.
    pub fn start(endpoint: Option<String>, service: String) -> Self {
        Self(endpoint.map(|endpoint| {
            let (sender, receiver) = mpsc::channel(WAITING);
            tokio::spawn(send(format!("{}/v1/traces", endpoint.trim_end_matches('/')), service, receiver));
            sender
        }))
    }

    /// A checkout that began at `began` and ends now.
    pub fn checkout(&self, trace: &Trace, began: SystemTime, code: u16) {
        let Some(sender) = &self.0 else { return };
        let error = code >= 500;
        let mut span = json!({
            "traceId": trace.id, "spanId": trace.span, "name": "GET /checkout", "kind": 2,
            "startTimeUnixNano": nanoseconds(began), "endTimeUnixNano": nanoseconds(SystemTime::now()),
            "attributes": [
                {"key": "http.request.method", "value": {"stringValue": "GET"}},
                {"key": "http.route", "value": {"stringValue": "/checkout"}},
                {"key": "http.response.status_code", "value": {"intValue": code.to_string()}},
            ],
            "status": {"code": if error { 2 } else { 0 }},
        });
        if let Some(parent) = &trace.parent {
            span["parentSpanId"] = parent.clone().into();
        }
        // A full queue drops the span.
        let _ = sender.try_send(span);
    }
}

fn nanoseconds(at: SystemTime) -> String {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos().to_string()
}

async fn send(url: String, service: String, mut spans: mpsc::Receiver<Value>) {
    let http = reqwest::Client::new();
    let resource: Vec<Value> = [("service.name", service)]
        .into_iter()
        .chain(std::env::var("POD_NAMESPACE").ok().map(|namespace| ("k8s.namespace.name", namespace)))
        .chain(std::env::var("POD_NAME").ok().map(|pod| ("k8s.pod.name", pod)))
        .map(|(key, value)| json!({"key": key, "value": {"stringValue": value}}))
        .collect();
    let mut batch = Vec::with_capacity(BATCH);
    let mut told = false;
    while spans.recv_many(&mut batch, BATCH).await > 0 {
        let body = json!({"resourceSpans": [{
            "resource": {"attributes": resource},
            "scopeSpans": [{"scope": {"name": "shop"}, "spans": std::mem::take(&mut batch)}],
        }]});
        let answer = http.post(&url).json(&body).timeout(Duration::from_secs(5)).send().await;
        let answer = answer.and_then(reqwest::Response::error_for_status);
        if let Err(error) = &answer
            && !told
        {
            tracing::warn!(%error, "spans cannot be sent");
        }
        told = answer.is_err();
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_goes_on_where_the_header_is_good_and_begins_where_it_is_not() {
        let header = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let trace = Trace::of(Some(header));
        assert_eq!(trace.id, "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(trace.parent.as_deref(), Some("b7ad6b7169203331"));
        for wrong in [None, Some("00-00000000000000000000000000000000-b7ad6b7169203331-01"), Some("00-xyz-1-01")] {
            let trace = Trace::of(wrong);
            assert_eq!((trace.parent, trace.id.len(), trace.span.len()), (None, 32, 16), "{wrong:?}");
        }
    }
}
