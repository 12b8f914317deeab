//! Evenkeel: a Kubernetes operator that runs the monitoring stack, turns alert rules into live Prometheus rules,
//! and repairs workloads when an alert fires. `ARCHITECTURE.md` is the map; the modules stand in reading order.

/// The client of Alertmanager.
pub mod alertmanager;
/// The custom resources: types, validation rules in CEL, nothing else.
pub mod api;
/// Sub-commands that need no cluster, and those that talk to one.
pub mod cli;
/// What every reconcile shares: client, metrics, settings.
pub mod context;
/// The dashboards that ship: typed code to Grafana's JSON.
pub mod dashboards;
/// Credentials in memory.
pub mod hidden;
/// Reading and writing Kubernetes objects: the one apply path, conditions, error reporting.
pub mod k8s;
/// Leader election by Lease.
pub mod leader;
/// The client of Loki.
pub mod loki;
/// Alertmanager's label matchers.
mod matcher;
/// Prometheus metrics of the operator itself.
pub mod metrics;
/// The name that was probably meant.
mod nearest;
/// NotificationChannel: Alertmanager receivers and direct delivery.
pub mod notify;
/// All wiring: controllers, watches, servers, lease, shutdown.
pub mod operator;
/// The query client for Prometheus.
pub mod prometheus;
/// Alert -> ResponseRun -> repair -> proof.
pub mod response;
/// AlertRule -> rule groups in shards -> confirmed by Prometheus.
pub mod rule;
/// Times that come again: cron expressions.
mod schedule;
/// The HTTP listeners: alerts, health, metrics.
pub mod server;
/// The rules that ship: groups, thresholds, switches.
pub mod shipped;
/// SLO -> recording rules, burn rate alerts, budgets.
pub mod slo;
/// MonitoringStack -> Prometheus and Alertmanager.
pub mod stack;
/// Logs.
pub mod telemetry;
/// What tests share.
#[cfg(test)]
mod testing;
