//! The stack itself: Prometheus, Alertmanager, Loki, the collectors and Jaeger, each watched by the others. Pure.

use super::stack_logs::{self, memory, rate};
use crate::dashboards::Parts;
use crate::dashboards::builder::{Board, Line, graphs, lists, numbers};
use crate::dashboards::model::Model;
use crate::dashboards::panel::{Color, Property, Unit};
use crate::dashboards::panels::{bars, logs, stacked, stat, table, timeseries};
use crate::dashboards::settings::words;
use crate::dashboards::variables::values;

pub(super) const OWN: &str = r#"namespace=~"$namespace""#;
/// Jobs of the stack's own parts.
const JOBS: &str =
    r#"namespace=~"$namespace", job=~"prometheus|alertmanager|loki|jaeger|grafana|log-agent|log-gateway""#;

/// The dashboard.
pub fn board(parts: Parts) -> Model {
    let about = "Whether the monitoring itself works: what is scraped, evaluated, notified, \
                 stored and dropped.";
    let namespace =
        values("namespace", "Namespace", "Namespaces with a stack.", "label_values(prometheus_build_info, namespace)");
    Board::new("stack", "The stack itself", about, &["monitoring"])
        .variables([namespace])
        .links(&[("Operator", "operator", "Who keeps the stack running"), ("Workloads", "workloads", "Its pods")])
        .alerts(OWN)
        .row("Now", [now(), parts_up()])
        .row("Prometheus: scraping", [scraping(), series()])
        .row("Prometheus: rules and queries", [rules(), queries()])
        .row("Alertmanager", [alertmanager(), delivery()])
        .row_if(parts.loki, "Loki", stack_logs::loki())
        .row_if(parts.collectors, "Collectors", stack_logs::collectors())
        .row_if(parts.jaeger, "Jaeger", [stack_logs::jaeger()])
        .row("Resources", [resources()])
        .row_if(parts.loki, "Errors in the logs", [errors()])
        .finish()
}

fn now() -> Line {
    let dropped = format!(
        "sum(increase(prometheus_notifications_dropped_total{{{OWN}}}[$__range])) or \
         vector(0)"
    );
    numbers([
        stat("Parts down", Unit::Count, "Pods of the stack that do not answer Prometheus.")
            .metric(format!("count(up{{{JOBS}}} == 0) or vector(0)"), "")
            .at_most(1.0),
        stat("Targets down", Unit::Count, "Targets of any kind that do not answer.")
            .metric("count(up == 0) or vector(0)", "")
            .limits(1.0, 5.0),
        stat("Rules that fail", Unit::Count, "Evaluations of rules that failed within the time range.")
            .metric(
                format!(
                    "round(sum(increase(prometheus_rule_evaluation_failures_total{{{OWN}}}[$__range]))) \
                     or vector(0)"
                ),
                "",
            )
            .at_most(1.0),
        stat("Alerts dropped", Unit::Count, "Alerts that never reached an Alertmanager within the time range.")
            .metric(dropped, "")
            .at_most(1.0)
            .decimals(0),
        stat(
            "Notifications that failed",
            Unit::Count,
            "Messages to people or to the operator that could not be delivered within the \
             time range.",
        )
        .metric(
            format!(
                "round(sum(increase(alertmanager_notifications_failed_total{{{OWN}}}[$__range]))) \
                 or vector(0)"
            ),
            "",
        )
        .at_most(1.0),
        stat(
            "Configuration",
            Unit::None,
            "Whether Prometheus and Alertmanager run with the configuration they were \
             given last.",
        )
        .metric(
            format!(
                "min(min(prometheus_config_last_reload_successful{{{OWN}}}) or \
                 min(alertmanager_config_last_reload_successful{{{OWN}}}))"
            ),
            "",
        )
        .said(words(("Refused", Color::Red), ("Loaded", Color::Green))),
    ])
}

fn parts_up() -> Line {
    let columns = [
        ("namespace", "Namespace"),
        ("job", "Part"),
        ("pod", "Pod"),
        ("Value #A", "Answers"),
        ("Value #B", "Memory"),
        ("Value #C", "Up since"),
    ];
    let of = "namespace, job, pod";
    lists([table("Parts of the stack", Unit::Count, "Each pod that Prometheus scrapes as a part of the stack.")
        .metric(format!("max by ({of}) (up{{{JOBS}}})"), "")
        .metric(format!("max by ({of}) (process_resident_memory_bytes{{{JOBS}}} or {})", memory(JOBS)), "")
        .metric(format!("time() - max by ({of}) (process_start_time_seconds{{{JOBS}}})"), "")
        .columns(&columns)
        .column("Answers", [Property::Mappings(vec![words(("No", Color::Red), ("Yes", Color::Green))])])
        .column("Memory", [Property::Unit(Unit::Bytes)])
        .column("Up since", [Property::Unit(Unit::Seconds)])])
}

fn scraping() -> Line {
    graphs([
        stacked("Targets by job", Unit::Count, "Targets that answer, by job.").metric("sum by (job) (up)", "{{job}}"),
        timeseries("Targets down by job", Unit::Count, "Targets that do not answer, by job.")
            .metric("count by (job) (up == 0) or sum by (job) (0 * up)", "{{job}}")
            .at_most(1.0)
            .zero_based()
            .no_value("All answer"),
        timeseries(
            "Slowest scrapes",
            Unit::Seconds,
            "Time of the slowest scrapes by job. Beyond the timeout a target counts as down.",
        )
        .metric("topk(10, max by (job) (scrape_duration_seconds))", "{{job}}")
        .limits(5.0, 10.0)
        .zero_based(),
    ])
}

fn series() -> Line {
    graphs([
        timeseries("Series", Unit::Count, "Series in memory. They decide how much memory Prometheus needs.")
            .metric(format!("prometheus_tsdb_head_series{{{OWN}}}"), "{{pod}}")
            .zero_based(),
        timeseries("Samples", Unit::CountsPerSecond, "Samples per second that are written.")
            .metric(rate("prometheus_tsdb_head_samples_appended_total", OWN, "pod"), "{{pod}}")
            .zero_based(),
        timeseries("Storage", Unit::Bytes, "Blocks and write-ahead log on disk.")
            .metric(format!("prometheus_tsdb_storage_blocks_bytes{{{OWN}}}"), "{{pod}} blocks")
            .metric(format!("prometheus_tsdb_wal_storage_size_bytes{{{OWN}}}"), "{{pod}} log"),
        bars("Samples refused", Unit::CountsPerSecond, "Samples that came twice, too late or out of order.")
            .metric(rate("prometheus_target_scrapes_sample_duplicate_timestamp_total", OWN, "pod"), "{{pod}} twice")
            .metric(rate("prometheus_target_scrapes_sample_out_of_bounds_total", OWN, "pod"), "{{pod}} out of bounds")
            .metric(rate("prometheus_target_scrapes_sample_out_of_order_total", OWN, "pod"), "{{pod}} out of order"),
    ])
}

fn rules() -> Line {
    let slow = format!(
        "prometheus_rule_group_last_duration_seconds{{{OWN}}} / prometheus_rule_group_interval_seconds{{{OWN}}}"
    );
    graphs([
        timeseries(
            "Slowest rule groups",
            Unit::Ratio,
            "Time of the last evaluation over the interval. At 100 % evaluations are left \
             out and alerts come late.",
        )
        .metric(format!("topk(10, max by (rule_group) ({slow}))"), "{{rule_group}}")
        .limits(0.5, 0.9)
        .zero_based(),
        bars(
            "Failed and missed evaluations",
            Unit::CountsPerSecond,
            "Evaluations of rules that failed, and of groups that were left out.",
        )
        .metric(
            format!("topk(5, {})", rate("prometheus_rule_evaluation_failures_total", OWN, "rule_group")),
            "{{rule_group}} failed",
        )
        .metric(
            format!("topk(5, {})", rate("prometheus_rule_group_iterations_missed_total", OWN, "rule_group")),
            "{{rule_group}} missed",
        )
        .no_value("None"),
        timeseries(
            "Alerts to Alertmanager",
            Unit::CountsPerSecond,
            "Alerts per second that were sent, that failed, and that were dropped because the queue was full.",
        )
        .metric(rate("prometheus_notifications_sent_total", OWN, "pod"), "{{pod}} sent")
        .metric(rate("prometheus_notifications_errors_total", OWN, "pod"), "{{pod}} failed")
        .metric(rate("prometheus_notifications_dropped_total", OWN, "pod"), "{{pod}} dropped")
        .colored(".*(failed|dropped)$", Color::Red),
    ])
}

fn queries() -> Line {
    graphs([
        timeseries(
            "Time of queries, p90",
            Unit::Seconds,
            "By the part of the work: queue time grows when too many ask at once.",
        )
        .metric(
            format!(r#"max by (slice) (prometheus_engine_query_duration_seconds{{{OWN}, quantile="0.9"}})"#),
            "{{slice}}",
        )
        .limits(1.0, 5.0)
        .zero_based(),
        timeseries("Requests", Unit::RequestsPerSecond, "Requests to Prometheus by status code.")
            .metric(rate("prometheus_http_requests_total", OWN, "code"), "{{code}}")
            .colored_codes(),
        timeseries("Latest configuration", Unit::Seconds, "Time since each pod took its present configuration.")
            .metric(format!("time() - prometheus_config_last_reload_success_timestamp_seconds{{{OWN}}}"), "{{pod}}")
            .metric(format!("time() - alertmanager_config_last_reload_success_timestamp_seconds{{{OWN}}}"), "{{pod}}"),
    ])
}

fn alertmanager() -> Line {
    // A single one has no mesh, and no metrics about it.
    let alone = format!("count(alertmanager_build_info{{{OWN}}})");
    graphs([
        timeseries("Alerts", Unit::Count, "Alerts by state, and silences that are active.")
            .metric(format!("max by (state) (alertmanager_alerts{{{OWN}}})"), "{{state}}")
            .metric(format!(r#"max(alertmanager_silences{{{OWN}, state="active"}})"#), "silences")
            .zero_based(),
        timeseries(
            "Peers",
            Unit::Count,
            "Alertmanagers that see each other, and those that were lost. Peers that do \
             not see each other notify twice.",
        )
        .metric(format!("min(alertmanager_cluster_members{{{OWN}}}) or {alone}"), "seen")
        .metric(format!("max(alertmanager_cluster_failed_peers{{{OWN}}}) or 0 * {alone}"), "lost")
        .colored("lost", Color::Red)
        .zero_based(),
        timeseries(
            "Invalid alerts",
            Unit::CountsPerSecond,
            "Alerts per second that were received, and that were refused.",
        )
        .metric(rate("alertmanager_alerts_received_total", OWN, "status"), "{{status}}")
        .metric(rate("alertmanager_alerts_invalid_total", OWN, ""), "invalid")
        .colored("invalid", Color::Red),
    ])
}

fn delivery() -> Line {
    let failed = rate("alertmanager_notifications_failed_total", OWN, "integration");
    let all = rate("alertmanager_notifications_total", OWN, "integration");
    graphs([
        timeseries("Notifications", Unit::CountsPerSecond, "Messages per second by kind of receiver.")
            .metric(format!("topk(5, {all})"), "{{integration}}")
            .no_value("None"),
        timeseries(
            "Notifications that failed",
            Unit::Ratio,
            "Share of the messages that could not be delivered, by kind of receiver.",
        )
        .metric(format!("{failed} / ({all} > 0)"), "{{integration}}")
        .limits(0.01, 0.1)
        .range(0.0, 1.0)
        .no_value("None"),
        timeseries("Time to deliver, p95", Unit::Seconds, "How long a receiver took to answer.")
            .metric(
                format!(
                    "histogram_quantile(0.95, sum by (integration, le) \
                     (rate(alertmanager_notification_latency_seconds_bucket{{{OWN}}}[$__rate_interval])))"
                ),
                "{{integration}}",
            )
            .limits(5.0, 15.0)
            .zero_based(),
    ])
}

fn resources() -> Line {
    let running = format!(r#"{OWN}, container!="", container!="POD""#);
    graphs([
        stacked("CPU", Unit::Cores, "Cores in use by the pods of the stack's namespace.").metric(
            format!(
                "sum by (pod) \
                 (rate(container_cpu_usage_seconds_total{{{running}}}[$__rate_interval]))"
            ),
            "{{pod}}",
        ),
        stacked("Memory", Unit::Bytes, "Working set of the pods of the stack's namespace.")
            .metric(format!("sum by (pod) (container_memory_working_set_bytes{{{running}}})"), "{{pod}}"),
        timeseries("Volumes", Unit::Ratio, "How full the volumes of the stack are.")
            .metric(
                format!(
                    "max by (persistentvolumeclaim) (kubelet_volume_stats_used_bytes{{{OWN}}} / \
                     kubelet_volume_stats_capacity_bytes{{{OWN}}})"
                ),
                "{{persistentvolumeclaim}}",
            )
            .limits(0.8, 0.9)
            .range(0.0, 1.0),
    ])
}

fn errors() -> Line {
    lists([logs("Newest errors", "Lines of the error streams of the stack's namespace.")
        .log(r#"{namespace=~"$namespace", stream="errors"}"#, "")])
}
