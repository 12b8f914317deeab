//! The service.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::{
    Router,
    routing::{get, post},
};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::exemplar::HistogramWithExemplars;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::exponential_buckets;
use prometheus_client::registry::{Registry, Unit};
use tokio::sync::Semaphore;

use crate::trace::{Trace, Tracer};

/// How long a pod that was told to stop still takes requests: until every proxy has forgotten its address.
const LINGER: Duration = Duration::from_secs(3);
/// Size of the pool of connections to the database that only exists in a comment.
const POOL: i64 = 100;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Code {
    code: u16,
}

/// Of an exemplar: by this name Grafana finds the trace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Example {
    trace_id: String,
}

/// One release of the shop, with its metrics.
pub struct Shop {
    release: String,
    fail_ratio: f64,
    workers: Semaphore,
    /// Nothing is answered any more, until the process is started again.
    down: AtomicBool,
    connections: Gauge,
    registry: Registry,
    requests: Family<Code, Counter>,
    duration: HistogramWithExemplars<Example>,
    tracer: Tracer,
}

impl Shop {
    /// `workers`: checkouts at a time, 0 for any number.
    pub fn new(release: String, fail_ratio: f64, workers: usize, tracer: Tracer) -> Arc<Self> {
        let mut all = Registry::default();
        let (connections, pool) = (Gauge::default(), Gauge::<i64>::default());
        connections.set(3);
        pool.set(POOL);
        // Names of OpenTelemetry's conventions for database clients.
        let registry = all.sub_registry_with_prefix("db_client_connection");
        registry.register("used", "Connections of the pool that are in use", connections.clone());
        registry.register("max", "Connections that the pool may have", pool);
        let registry = all.sub_registry_with_prefix("http");
        let requests = Family::<Code, Counter>::default();
        // Born at zero, so that a first error is an increase.
        [200, 500].into_iter().for_each(|code| drop(requests.get_or_create(&Code { code })));
        let duration = HistogramWithExemplars::new(exponential_buckets(0.001, 2.0, 12));
        registry.register("requests", "Checkouts by status code", requests.clone());
        registry.register_with_unit("request_duration", "Time to answer a checkout", Unit::Seconds, duration.clone());
        let workers = Semaphore::new(if workers == 0 { Semaphore::MAX_PERMITS } else { workers });
        let down = AtomicBool::new(false);
        Arc::new(Self { release, fail_ratio, workers, down, connections, registry: all, requests, duration, tracer })
    }

    /// What a restart mends. `down`: nothing answers; `leak`: connections are not given back.
    fn break_down(&self, how: &str) -> StatusCode {
        tracing::warn!(how, "breaks down");
        match how {
            "down" => self.down.store(true, Ordering::Relaxed),
            "leak" => drop(self.connections.set(POOL * 97 / 100)),
            _ => return StatusCode::NOT_FOUND,
        }
        StatusCode::NO_CONTENT
    }

    fn is_down(&self) -> bool {
        self.down.load(Ordering::Relaxed)
    }

    async fn checkout(&self, trace: Trace) -> (StatusCode, String) {
        let (started, began) = (Instant::now(), SystemTime::now());
        let _worker = self.workers.acquire().await;
        // The price, from a database that only exists in this comment.
        tokio::time::sleep(Duration::from_millis(rand::random_range(2..12))).await;
        let code = if rand::random::<f64>() < self.fail_ratio { 500 } else { 200 };
        let took = started.elapsed();
        self.requests.get_or_create(&Code { code }).inc();
        let trace_id = trace.id.clone();
        self.duration.observe(took.as_secs_f64(), Some(Example { trace_id: trace_id.clone() }), None);
        self.tracer.checkout(&trace, began, code);
        let (release, millis) = (&self.release, took.as_secs_f64() * 1e3);
        if code == 500 {
            tracing::error!(trace_id, release, code, millis, error = "no price for this basket", "checkout failed");
            return (StatusCode::INTERNAL_SERVER_ERROR, format!("release {release}: no price for this basket\n"));
        }
        tracing::info!(trace_id, release, code, millis, "checkout");
        (StatusCode::OK, format!("release {release}: thank you\n"))
    }

    fn metrics(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

fn router(shop: Arc<Shop>) -> Router {
    Router::new()
        .route("/checkout", get(checkout))
        .route("/log", post(log))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/metrics", get(metrics))
        .route(
            "/break/{how}",
            post(|State(shop): State<Arc<Shop>>, Path(how): Path<String>| async move { shop.break_down(&how) }),
        )
        .layer(from_fn_with_state(shop.clone(), answers))
        .with_state(shop)
}

async fn checkout(State(shop): State<Arc<Shop>>, headers: HeaderMap) -> (StatusCode, String) {
    let trace = Trace::of(headers.get("traceparent").and_then(|value| value.to_str().ok()));
    shop.checkout(trace).await
}

/// Writes the body to standard output as it is: what another application would have logged.
async fn log(body: String) -> StatusCode {
    print!("{body}");
    StatusCode::NO_CONTENT
}

async fn answers(State(shop): State<Arc<Shop>>, request: Request, next: Next) -> Response {
    match shop.is_down() {
        true => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        false => next.run(request).await,
    }
}

async fn metrics(State(shop): State<Arc<Shop>>) -> impl IntoResponse {
    match shop.metrics() {
        Ok(text) => ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
            .into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Serves until `stopped` resolves and no new requests come.
pub async fn serve(listen: SocketAddr, shop: Arc<Shop>, stopped: impl Future<Output = ()>) -> std::io::Result<()> {
    tracing::info!(%listen, release = shop.release, fail_ratio = shop.fail_ratio, "open");
    evenkeel::server::serve(listen, router(shop), async {
        stopped.await;
        tokio::time::sleep(LINGER).await;
    })
    .await
}
