//! The rows of the stack's dashboard about Loki, the collectors and Jaeger. Pure.

use super::stack::OWN;
use crate::dashboards::builder::{Line, graphs};
use crate::dashboards::panel::{Color, Unit};
use crate::dashboards::panels::{bars, timeseries};
use crate::dashboards::variables::counted;

const COLLECTORS: &str = r#"namespace=~"$namespace", job=~"log-agent|log-gateway""#;
const JAEGER: &str = r#"namespace=~"$namespace", job="jaeger""#;

/// Loki: what it takes and what it keeps.
pub fn loki() -> [Line; 2] {
    [loki_intake(), loki_store()]
}

/// The agents and the gateway.
pub fn collectors() -> [Line; 2] {
    [collector_flow(), collector_queues()]
}

/// Sums of a counter's growth per second.
pub fn rate(metric: &str, matchers: &str, by: &str) -> String {
    format!("sum by ({by}) (rate({metric}{{{matchers}}}[$__rate_interval]))")
}

/// Resident memory of a collector.
/// Collectors call it otherwise, with or without the unit.
pub fn memory(matchers: &str) -> String {
    format!(r#"{{__name__=~"otelcol_process_memory_rss(_bytes)?", {matchers}}}"#)
}

fn loki_intake() -> Line {
    graphs([
        timeseries("Lines", Unit::CountsPerSecond, "Lines per second that Loki takes.")
            .metric(rate("loki_distributor_lines_received_total", OWN, "pod"), "{{pod}}")
            .zero_based(),
        timeseries("Volume", Unit::BytesPerSecond, "Bytes per second that Loki takes, before compression.")
            .metric(rate("loki_distributor_bytes_received_total", OWN, "pod"), "{{pod}}")
            .zero_based(),
        bars(
            "Lines refused",
            Unit::CountsPerSecond,
            "Lines that Loki refused for good, by reason: too old, too long, over a \
             limit.",
        )
        .metric(rate("loki_discarded_samples_total", OWN, "reason"), "{{reason}}"),
        timeseries(
            "Time of requests, p99",
            Unit::Seconds,
            "By what is asked. Writes take milliseconds, queries may take seconds.",
        )
        .metric(
            format!(
                "histogram_quantile(0.99, sum by (route, le) \
                 (rate(loki_request_duration_seconds_bucket{{{OWN}}}[$__rate_interval]))) > 0"
            ),
            "{{route}}",
        )
        .limits(5.0, 20.0),
    ])
}

fn loki_store() -> Line {
    graphs([
        timeseries(
            "Streams and chunks",
            Unit::Count,
            "What lies in memory. Streams are combinations of labels: few are good.",
        )
        .metric(format!("sum by (pod) (loki_ingester_memory_streams{{{OWN}}})"), "{{pod}} streams")
        .metric(format!("sum by (pod) (loki_ingester_memory_chunks{{{OWN}}})"), "{{pod}} chunks")
        .zero_based(),
        bars(
            "Failed writes to the store",
            Unit::CountsPerSecond,
            "Chunks that could not be stored, and writes to the log that found the disk full.",
        )
        .metric(rate("loki_ingester_chunks_flush_failures_total", OWN, "pod"), "{{pod}} chunks")
        .metric(rate("loki_ingester_wal_disk_full_failures_total", OWN, "pod"), "{{pod}} disk full"),
        timeseries(
            "Since the last retention",
            Unit::Seconds,
            "Time since old logs were deleted. After hours the disk fills up.",
        )
        .metric(
            format!(
                "time() - \
                 max(loki_compactor_apply_retention_last_successful_run_timestamp_seconds{{{OWN}}} \
                 > 0)"
            ),
            "retention",
        )
        .limits(7200.0, 86_400.0)
        .zero_based(),
        bars("Failed rules", Unit::CountsPerSecond, "Evaluations of rules about logs that failed.")
            .metric(
                format!("topk(5, {})", rate("loki_prometheus_rule_evaluation_failures_total", OWN, "rule_group")),
                "{{rule_group}}",
            )
            .no_value("None"),
    ])
}

/// Items a second of a collector.
fn collector(name: &str, matchers: &str, by: &str) -> String {
    format!("sum by ({by}) (rate({}[$__rate_interval]))", counted(name, matchers))
}

fn collector_flow() -> Line {
    let of = |name: &str, by: &str| collector(name, COLLECTORS, by);
    graphs([
        timeseries("Taken", Unit::CountsPerSecond, "Lines and spans per second by receiver.")
            .metric(of("otelcol_receiver_accepted_log_records", "job, receiver"), "{{job}} {{receiver}} lines")
            .metric(of("otelcol_receiver_accepted_spans", "job, receiver"), "{{job}} {{receiver}} spans")
            .zero_based(),
        timeseries("Sent", Unit::CountsPerSecond, "Lines and spans per second by exporter.")
            .metric(of("otelcol_exporter_sent_log_records", "job, exporter"), "{{job}} {{exporter}} lines")
            .metric(of("otelcol_exporter_sent_spans", "job, exporter"), "{{job}} {{exporter}} spans")
            .zero_based(),
        bars(
            "Refused and lost",
            Unit::CountsPerSecond,
            "Refused ones are tried again by the sender; failed and dropped ones are lost.",
        )
        .metric(of("otelcol_receiver_refused_log_records", "job, receiver"), "{{job}} {{receiver}} refused")
        .metric(of("otelcol_exporter_send_failed_log_records", "job, exporter"), "{{job}} {{exporter}} failed")
        .metric(of("otelcol_exporter_enqueue_failed_log_records", "job, exporter"), "{{job}} {{exporter}} dropped")
        .metric(of("otelcol_exporter_send_failed_spans", "job, exporter"), "{{job}} {{exporter}} spans failed")
        .colored(".*(failed|dropped)$", Color::Red),
    ])
}

fn collector_queues() -> Line {
    graphs([
        timeseries(
            "Queues",
            Unit::Ratio,
            "How full the queues towards Loki and Jaeger are. They fill while the other \
             side is away.",
        )
        .metric(
            format!(
                "max by (job, pod, exporter) (otelcol_exporter_queue_size{{{COLLECTORS}}} / \
                 otelcol_exporter_queue_capacity{{{COLLECTORS}}})"
            ),
            "{{pod}} {{exporter}}",
        )
        .limits(0.5, 0.8)
        .range(0.0, 1.0),
        timeseries(
            "Filtered by rule",
            Unit::CountsPerSecond,
            "Lines per second that were dropped because a rule says so.",
        )
        .metric(collector("otelcol_processor_filter_logs[._]filtered", COLLECTORS, "job, filter"), "{{job}} {{filter}}")
        .zero_based(),
        timeseries("Memory", Unit::Bytes, "Resident memory of each collector. Near its limit it refuses what comes.")
            .metric(memory(COLLECTORS), "{{pod}}")
            .zero_based(),
    ])
}

/// Jaeger, which is a collector with a store.
pub fn jaeger() -> Line {
    let failed = rate("jaeger_storage_requests_total", &format!(r#"{JAEGER}, result="err""#), "operation");
    graphs([
        timeseries("Spans", Unit::CountsPerSecond, "Spans per second that came and that were stored.")
            .metric(collector("otelcol_receiver_accepted_spans", JAEGER, "pod"), "{{pod}} taken")
            .metric(collector("otelcol_exporter_sent_spans", JAEGER, "pod"), "{{pod}} stored")
            .zero_based(),
        bars("Lost", Unit::CountsPerSecond, "Spans per second that were refused or could not be stored.")
            .metric(collector("otelcol_receiver_refused_spans", JAEGER, "pod"), "{{pod}} refused")
            .metric(collector("otelcol_exporter_send_failed_spans", JAEGER, "pod"), "{{pod}} not stored"),
        timeseries(
            "Questions to the store",
            Unit::RequestsPerSecond,
            "Questions per second by kind, and those that failed.",
        )
        .metric(rate("jaeger_storage_requests_total", JAEGER, "operation"), "{{operation}}")
        .metric(failed, "{{operation}} failed")
        .colored(".*failed$", Color::Red),
        timeseries("Time of a question, p95", Unit::Seconds, "How long the store takes to answer.")
            .metric(
                format!(
                    "histogram_quantile(0.95, sum by (operation, le) \
                     (rate(jaeger_storage_latency_seconds_bucket{{{JAEGER}}}[$__rate_interval])))"
                ),
                "{{operation}}",
            )
            .limits(2.0, 10.0)
            .zero_based(),
    ])
}
