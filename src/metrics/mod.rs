//! Metrics of the operator itself, at `/metrics`.

mod process;
pub mod slo;

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Kind {
    pub kind: String,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct KindReason {
    pub kind: String,
    pub reason: String,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Endpoint {
    pub path: String,
    pub code: u16,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Phase {
    pub phase: String,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Verdict {
    pub verdict: String,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Stack {
    pub namespace: String,
    pub stack: String,
    pub state: String,
}

/// Every metric of the operator; cloning shares them. Labels are kinds, reasons, phases, names of SLOs: never
/// names from an alert.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    reconciles: Family<Kind, Counter>,
    reconcile_errors: Family<KindReason, Counter>,
    reconcile_seconds: Family<Kind, Histogram, fn() -> Histogram>,
    /// Requests of the alert receiver by path and status code.
    pub webhook_requests: Family<Endpoint, Counter>,
    /// Time to answer a request of the alert receiver, persisting included.
    pub webhook_seconds: Histogram,
    /// Alerts that no AlertResponse matched.
    pub alerts_unmatched: Counter,
    /// Runs by phase, as the API server has them.
    pub runs: Family<Phase, Gauge>,
    /// Closed runs by verdict, since the start of this process.
    pub runs_closed: Family<Verdict, Counter>,
    /// From the arrival of the alert to the first effect.
    pub alert_to_action_seconds: Histogram,
    /// Rules by stack and state: accepted, rejected, loaded.
    pub rules: Family<Stack, Gauge>,
    /// What was measured of SLOs.
    pub slos: slo::Slos,
    /// 1 on the replica that holds the lease.
    pub leader: Gauge,
}

fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.005, 2.0, 14))
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    pub fn new() -> Self {
        let mut root = Registry::default();
        root.register_collector(Box::new(process::Process));
        let registry = root.sub_registry_with_prefix("evenkeel");
        let metrics = Self {
            registry: Arc::default(),
            reconciles: Family::default(),
            reconcile_errors: Family::default(),
            reconcile_seconds: Family::new_with_constructor(seconds),
            webhook_requests: Family::default(),
            webhook_seconds: seconds(),
            alerts_unmatched: Counter::default(),
            runs: Family::default(),
            runs_closed: Family::default(),
            alert_to_action_seconds: seconds(),
            rules: Family::default(),
            slos: slo::Slos::default(),
            leader: Gauge::default(),
        };
        registry.register("reconciles", "Reconciles by kind", metrics.reconciles.clone());
        registry.register("reconcile_errors", "Failed reconciles by kind and reason", metrics.reconcile_errors.clone());
        registry.register_with_unit(
            "reconcile_duration",
            "Time of a reconcile",
            Unit::Seconds,
            metrics.reconcile_seconds.clone(),
        );
        registry.register("webhook_requests", "Requests of the alert receiver", metrics.webhook_requests.clone());
        registry.register_with_unit(
            "webhook_duration",
            "Time to answer the alert receiver",
            Unit::Seconds,
            metrics.webhook_seconds.clone(),
        );
        registry.register("alerts_unmatched", "Alerts that no AlertResponse matched", metrics.alerts_unmatched.clone());
        registry.register("response_runs", "ResponseRuns by phase", metrics.runs.clone());
        registry.register("response_runs_closed", "ResponseRuns closed by verdict", metrics.runs_closed.clone());
        // A counter that is born with 1 has not increased.
        for verdict in ["Pass", "Fail", "Inconclusive"] {
            drop(metrics.runs_closed.get_or_create(&Verdict { verdict: verdict.to_owned() }));
        }
        registry.register_with_unit(
            "alert_to_action",
            "From the alert's arrival to the first effect",
            Unit::Seconds,
            metrics.alert_to_action_seconds.clone(),
        );
        registry.register("rules", "Rules by stack and state", metrics.rules.clone());
        metrics.slos.register(registry);
        registry.register("leader", "1 on the replica that holds the lease", metrics.leader.clone());
        Self { registry: Arc::new(root), ..metrics }
    }

    pub fn reconciled(&self, kind: &str, took: Duration) {
        let label = Kind { kind: kind.to_owned() };
        self.reconciles.get_or_create(&label).inc();
        self.reconcile_seconds.get_or_create(&label).observe(took.as_secs_f64());
    }

    pub fn reconcile_failed(&self, kind: &str, reason: &str) {
        self.reconcile_errors.get_or_create(&KindReason { kind: kind.to_owned(), reason: reason.to_owned() }).inc();
    }

    /// OpenMetrics text.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
