//! System overview: is anything wrong, and where. Pure.

use crate::dashboards::Parts;
use crate::dashboards::builder::{Board, Line, graphs, lists, numbers};
use crate::dashboards::model::Model;
use crate::dashboards::panel::{Panel, Property, Unit};
use crate::dashboards::panels::{barchart, bars, heatmap, logs, stacked, stat, table, timeseries};
use crate::dashboards::settings::{colored_limits, leads_to};
use crate::dashboards::variables::{by_workload, http, namespace, workload};

const RATE: &str = "rate(${requests}{@of}[$__rate_interval])";
const ERRORS: &str = r#"rate(${requests}{@of, ${code}=~"5.."}[$__rate_interval])"#;

/// The dashboard.
pub fn board(parts: Parts) -> Model {
    let about = "Request rate, errors, latency, connections, CPU and memory of the chosen workloads: whether anything \
                 is wrong, and which workload it is.";
    Board::new("overview", "System overview", about, &["services"])
        .variables([namespace(), workload()].into_iter().chain(http()))
        .links(&[
            ("Workloads", "workloads", "Pods of the same workloads"),
            ("SLOs", "slo", "Error budgets"),
            ("Logs", "logs", "Logs of the same workloads"),
        ])
        .alerts(r#"namespace=~"$namespace|""#)
        .row("Now", [now()])
        .row("Traffic and errors", [traffic(), codes()])
        .row("Latency", [latency()])
        .row("Saturation", [saturation(), connections()])
        .row("Slow queries", [slow_queries()])
        .row("Workloads", [workloads()])
        .row_if(parts.loki, "Errors in the logs", errors_in_logs())
        .finish()
}

/// `q` of the durations of all requests.
fn quantile(q: &str) -> String {
    format!("histogram_quantile({q}, sum by (le) (rate(${{duration}}_bucket{{@of}}[$__rate_interval])))")
}

/// No errors are zero errors, no requests are nothing at all.
fn error_ratio() -> String {
    format!("(sum({ERRORS}) or 0 * sum({RATE})) / (sum({RATE}) > 0)")
}

fn now() -> Line {
    let firing = r#"alertstate="firing", namespace=~"$namespace|", severity=~"warning|critical""#;
    let seconds = |title: &str, q: &str, about: &str| stat(title, Unit::Seconds, about).metric(quantile(q), "");
    numbers([
        stat("Request rate", Unit::RequestsPerSecond, "Requests answered per second, by all chosen workloads.")
            .metric(format!("sum({RATE})"), ""),
        stat("Error rate", Unit::Ratio, "Share of the requests that were answered with a 5xx code.")
            .metric(error_ratio(), "")
            .limits(0.05, 0.1)
            .decimals(2),
        seconds("Latency p50", "0.5", "Half of the requests were answered faster than this."),
        seconds("Latency p95", "0.95", "19 of 20 requests were answered faster than this.").limits(1.0, 2.0),
        seconds("Latency p99", "0.99", "99 of 100 requests were answered faster than this.").limits(2.0, 5.0),
        stat("Firing alerts", Unit::Count, "Alerts that fire in the chosen namespaces, or that belong to none.")
            .metric(format!("count(ALERTS{{{firing}}}) or vector(0)"), "")
            .limits(1.0, 3.0),
    ])
}

fn traffic() -> Line {
    let (all, errors) = (by_workload(RATE), by_workload(ERRORS));
    let total = format!("sum by (workload) ({all})");
    let ratio = format!("(sum by (workload) ({errors}) or 0 * {total}) / ({total} > 0)");
    graphs([
        timeseries("Request rate", Unit::RequestsPerSecond, "Requests per second by workload.")
            .metric(format!("sum by (workload) ({all})"), "{{workload}}")
            .link(leads_to(
                "Pods of the workload",
                "workloads",
                "${namespace:queryparam}&var-workload=${__field.labels.workload}",
            ))
            .zero_based()
            .figures(),
        timeseries("Error rate", Unit::Ratio, "Share of 5xx answers by workload. Warning at 5 %, critical at 10 %.")
            .metric(ratio, "{{workload}}")
            .link(leads_to(
                "Logs of the workload",
                "logs",
                "${namespace:queryparam}&var-workload=${__field.labels.workload}",
            ))
            .limits(0.05, 0.1)
            .zero_based()
            .figures(),
    ])
}

fn codes() -> Line {
    let by_code = format!("sum by (${{code}}) ({RATE})");
    graphs([
        stacked("Answers by status code", Unit::RequestsPerSecond, "Requests per second by status code.")
            .metric(by_code, "{{${code}}}")
            .colored_codes()
            .weight(2),
        barchart("Status distribution", Unit::Count, "Requests of the whole time range by status code.")
            .metric("round(sum by (${code}) (increase(${requests}{@of}[$__range])))", "{{${code}}}"),
    ])
}

fn latency() -> Line {
    graphs([
        timeseries(
            "Latency",
            Unit::Seconds,
            "Quantiles of the durations of all requests. The dots are single requests \
             that lead to their traces.",
        )
        .metric(quantile("0.5"), "p50")
        .metric(quantile("0.95"), "p95")
        .metric(quantile("0.99"), "p99")
        .exemplars()
        .limits(1.0, 2.0)
        .zero_based()
        .figures(),
        heatmap(
            "Distribution of the latency",
            Unit::Seconds,
            "How many requests fell into each bucket of the histogram.",
        )
        .metric("sum by (le) (increase(${duration}_bucket{@of}[$__rate_interval]))", "{{le}}")
        .exemplars(),
    ])
}

fn cpu() -> String {
    let used = r#"rate(container_cpu_usage_seconds_total{@of, container!="", container!="POD"}[$__rate_interval])"#;
    format!("sum by (workload) ({})", by_workload(used))
}

fn memory() -> String {
    let used = r#"container_memory_working_set_bytes{@of, container!="", container!="POD"}"#;
    format!("sum by (workload) ({})", by_workload(used))
}

fn saturation() -> Line {
    graphs([
        stacked("CPU", Unit::Cores, "Cores in use by workload, by the kubelet's measurement.")
            .metric(cpu(), "{{workload}}"),
        stacked("Memory", Unit::Bytes, "Working set by workload: what counts against the limit of memory.")
            .metric(memory(), "{{workload}}"),
    ])
}

fn connections() -> Line {
    let used = by_workload("db_client_connection_used{@of}");
    let most = by_workload("db_client_connection_max{@of}");
    graphs([
        timeseries(
            "Connections to databases",
            Unit::Count,
            "Connections of the applications' pools that are in use, by workload (db_client_connection_used).",
        )
        .metric(format!("sum by (workload) ({used})"), "{{workload}}")
        .zero_based(),
        timeseries(
            "Fullest connection pool",
            Unit::Ratio,
            "Share of the pool that is in use in the pod where it is highest. Above 90 % \
             requests begin to wait.",
        )
        .metric(format!("max by (workload) ({used} / {most})"), "{{workload}}")
        .limits(0.8, 0.9)
        .range(0.0, 1.0),
    ])
}

fn slow_queries() -> Line {
    let own = r#"namespace=~"$namespace""#;
    graphs([
        bars(
            "Slow queries",
            Unit::CountsPerSecond,
            "Queries over the limit that the server itself has set: MySQL's slow query \
             counter, and entries of Redis' slow log.",
        )
        .metric(
            format!(
                "sum by (instance) \
                 (rate(mysql_global_status_slow_queries{{{own}}}[$__rate_interval]))"
            ),
            "MySQL {{instance}}",
        )
        .metric(
            format!("sum by (instance) (rate(redis_slowlog_last_id{{{own}}}[$__rate_interval]))"),
            "Redis {{instance}}",
        ),
        timeseries(
            "Longest transaction",
            Unit::Seconds,
            "Age of the oldest transaction in PostgreSQL. Minutes mean locks that others \
             wait for, and tables that cannot be vacuumed.",
        )
        .metric(
            format!("max by (instance, datname) (pg_stat_activity_max_tx_duration{{{own}}})"),
            "{{instance}} {{datname}}",
        )
        .limits(60.0, 300.0)
        .zero_based(),
    ])
}

fn workloads() -> Line {
    let (all, errors) = (by_workload(RATE), by_workload(ERRORS));
    let buckets = by_workload("rate(${duration}_bucket{@of}[$__rate_interval])");
    lists([with_columns(
        table("Workloads", Unit::Count, "Each workload at this moment. A click on its name leads to its pods.")
            .metric(format!("sum by (workload) ({all})"), "")
            .metric(format!("sum by (workload) ({errors}) / (sum by (workload) ({all}) > 0)"), "")
            .metric(format!("histogram_quantile(0.95, sum by (workload, le) ({buckets}))"), "")
            .metric(cpu(), "")
            .metric(memory(), ""),
    )])
}

fn with_columns(panel: Panel) -> Panel {
    let pods = leads_to("Pods", "workloads", "${namespace:queryparam}&var-workload=${__data.fields.Workload}");
    let lines = leads_to("Logs", "logs", "${namespace:queryparam}&var-workload=${__data.fields.Workload}");
    let columns = [
        ("workload", "Workload"),
        ("Value #A", "Requests"),
        ("Value #B", "Errors"),
        ("Value #C", "p95"),
        ("Value #D", "CPU"),
        ("Value #E", "Memory"),
    ];
    let errors = [Property::Unit(Unit::Ratio)].into_iter().chain(colored_limits(0.05, 0.1));
    let slow = [Property::Unit(Unit::Seconds)].into_iter().chain(colored_limits(1.0, 2.0));
    panel
        .columns(&columns)
        .sorted_by("Requests")
        .column("Workload", [Property::Links(vec![pods, lines])])
        .column("Requests", [Property::Unit(Unit::RequestsPerSecond)])
        .column("Errors", errors)
        .column("p95", slow)
        .column("CPU", [Property::Unit(Unit::Cores)])
        .column("Memory", [Property::Unit(Unit::Bytes)])
}

fn errors_in_logs() -> [Line; 2] {
    [
        graphs([bars("Errors", Unit::Count, "Lines of the error streams by workload.")
            .log(r#"sum by (workload) (count_over_time({@logs, stream="errors"}[$__auto]))"#, "{{workload}}")]),
        lists([logs("Newest errors", "Lines of the error streams. The trace ID of a line opens its trace.")
            .log(r#"{@logs, stream="errors"}"#, "")]),
    ]
}
