//! The operator and its repairs, from its own metrics. Pure.

use crate::dashboards::Parts;
use crate::dashboards::builder::{Board, Line, graphs, lists, numbers};
use crate::dashboards::model::Model;
use crate::dashboards::panel::{Color, Property, Unit};
use crate::dashboards::panels::{barchart, bars, logs, stacked, stat, table, timeseries};
use crate::dashboards::settings::colored_floors;

/// Pods of the operator: those that say whether they lead.
const OPERATOR: &str = "and on (job, instance) evenkeel_leader";

/// The dashboard.
pub fn board(parts: Parts) -> Model {
    let about = "What Evenkeel repaired and whether it helped, the rules and SLOs it keeps, \
                 and how it fares itself.";
    Board::new("operator", "The operator and its repairs", about, &["monitoring"])
        .since("now-6h")
        .links(&[("Stack", "stack", "What the operator keeps running"), ("SLOs", "slo", "Error budgets")])
        .alerts(r#"alertname=~"Evenkeel.*""#)
        .row("Now", [now()])
        .row("Repairs", [runs(), repairs()])
        .row("Alerts that came in", [receiver()])
        .row("Rules and SLOs", [rules(), slos()])
        .row("The operator itself", [reconciles(), process()])
        .row_if(parts.loki, "Logs", [lines()])
        .finish()
}

fn rate(metric: &str, by: &str) -> String {
    format!("sum by ({by}) (rate({metric}[$__rate_interval]))")
}

fn quantile(q: &str, histogram: &str, by: &str) -> String {
    format!("histogram_quantile({q}, sum by ({by}) (rate({histogram}_bucket[$__rate_interval])))")
}

fn now() -> Line {
    let closed = |verdict: &str| {
        format!(
            r#"round(sum(increase(evenkeel_response_runs_closed_total{{verdict="{verdict}"}}[$__range]))) or vector(0)"#
        )
    };
    numbers([
        stat("Leader", Unit::Count, "Replicas that hold the lease: exactly one.")
            .metric("sum(evenkeel_leader)", "")
            .floors(0.5, 1.0),
        stat("Runs at work", Unit::Count, "Repairs that have not come to an end.")
            .metric(r#"sum(evenkeel_response_runs{phase=~"Pending|Running|Verifying"}) or vector(0)"#, ""),
        stat("Repairs that helped", Unit::Count, "Runs that were proved within the time range.")
            .metric(closed("Pass"), ""),
        stat("Repairs that did not", Unit::Count, "Runs within the time range whose alert went on.")
            .metric(closed("Fail"), "")
            .at_most(1.0),
        stat(
            "From alert to action, p95",
            Unit::Seconds,
            "From an alert's arrival to the first effect, over the time range.",
        )
        .metric(
            "histogram_quantile(0.95, sum by (le) \
             (increase(evenkeel_alert_to_action_seconds_bucket[$__range])))",
            "",
        )
        .limits(10.0, 60.0)
        .no_value("No repairs"),
        stat("Rules refused", Unit::Count, "Rules that were not accepted; the status of their AlertRule says why.")
            .metric(
                r#"sum(max by (stack, namespace, exported_namespace) (evenkeel_rules{state="rejected"})) or vector(0)"#,
                "",
            )
            .at_most(1.0),
    ])
}

fn runs() -> Line {
    graphs([
        stacked("Runs by phase", Unit::Count, "ResponseRuns that the API server has, by phase.")
            .metric("max by (phase) (evenkeel_response_runs)", "{{phase}}")
            .colored("Succeeded", Color::Green)
            .colored("Failed", Color::Red)
            .colored("Running|Verifying|Pending", Color::Blue),
        barchart("Verdicts", Unit::Count, "Runs that were closed within the time range, by verdict.")
            .metric(
                "round(sum by (verdict) \
                 (increase(evenkeel_response_runs_closed_total[$__range])))",
                "{{verdict}}",
            )
            .by("verdict"),
    ])
}

fn repairs() -> Line {
    graphs([
        bars("Closed runs", Unit::Count, "Runs that were closed, by verdict.")
            .metric(
                "sum by (verdict) \
                 (increase(evenkeel_response_runs_closed_total[$__rate_interval]))",
                "{{verdict}}",
            )
            .colored("Pass", Color::Green)
            .colored("Fail", Color::Red)
            .colored("Inconclusive", Color::Orange),
        timeseries("From alert to action", Unit::Seconds, "From an alert's arrival to the first effect.")
            .metric(quantile("0.5", "evenkeel_alert_to_action_seconds", "le"), "p50")
            .metric(quantile("0.95", "evenkeel_alert_to_action_seconds", "le"), "p95")
            .limits(10.0, 60.0)
            .zero_based(),
    ])
}

fn receiver() -> Line {
    graphs([
        timeseries(
            "Requests",
            Unit::RequestsPerSecond,
            "Requests of Alertmanagers by status code. 401 is a wrong token, 503 a request to come again.",
        )
        .metric(rate("evenkeel_webhook_requests_total", "code"), "{{code}}")
        .colored_codes(),
        timeseries("Time to answer", Unit::Seconds, "Until every alert of a request is in the API server.")
            .metric(quantile("0.5", "evenkeel_webhook_duration_seconds", "le"), "p50")
            .metric(quantile("0.99", "evenkeel_webhook_duration_seconds", "le"), "p99")
            .limits(1.0, 5.0)
            .zero_based(),
        bars("Alerts without a response", Unit::CountsPerSecond, "Alerts that no AlertResponse matched.")
            .metric("sum(rate(evenkeel_alerts_unmatched_total[$__rate_interval]))", "unmatched"),
    ])
}

fn rules() -> Line {
    graphs([
        timeseries(
            "Rules by state",
            Unit::Count,
            "Rules that were accepted, that Prometheus has loaded, and that were \
             rejected. Accepted and loaded are equal but for seconds.",
        )
        .metric(
            "max by (exported_namespace, stack, state) (evenkeel_rules)",
            "{{exported_namespace}}/{{stack}} {{state}}",
        )
        .colored(".*rejected", Color::Red)
        .zero_based(),
        timeseries("SLOs by state", Unit::Count, "How many SLOs stand in each state.")
            .metric(
                "sum by (state) (max by (exported_namespace, slo, state) \
                 (evenkeel_slo_state))",
                "{{state}}",
            )
            .colored("Healthy", Color::Green)
            .colored("AtRisk", Color::Orange)
            .colored("Burning|Exhausted", Color::Red)
            .zero_based(),
    ])
}

fn slos() -> Line {
    let of = "exported_namespace, slo, service";
    let columns = [
        ("exported_namespace", "Namespace"),
        ("slo", "SLO"),
        ("service", "Service"),
        ("Value #A", "Objective"),
        ("Value #B", "Current"),
        ("Value #C", "Budget left"),
    ];
    let left = [Property::Unit(Unit::Ratio)].into_iter().chain(colored_floors(0.1, 0.5));
    lists([table("SLOs", Unit::Ratio, "What the statuses of the SLOs say, adjustments included.")
        .metric(format!("max by ({of}) (evenkeel_slo_objective_ratio)"), "")
        .metric(format!("max by ({of}) (evenkeel_slo_indicator_ratio)"), "")
        .metric(format!("max by ({of}) (evenkeel_slo_error_budget_remaining_ratio)"), "")
        .decimals(3)
        .columns(&columns)
        .column("Budget left", left)])
}

fn reconciles() -> Line {
    graphs([
        timeseries("Reconciles", Unit::OperationsPerSecond, "Reconciles per second by kind.")
            .metric(rate("evenkeel_reconciles_total", "kind"), "{{kind}}")
            .zero_based(),
        bars("Failed reconciles", Unit::OperationsPerSecond, "By kind and reason; an Event on the object says more.")
            .metric(format!("{} > 0", rate("evenkeel_reconcile_errors_total", "kind, reason")), "{{kind}} {{reason}}")
            .no_value("None"),
        timeseries("Time of a reconcile, p95", Unit::Seconds, "How long a reconcile takes, by kind.")
            .metric(quantile("0.95", "evenkeel_reconcile_duration_seconds", "kind, le"), "{{kind}}")
            .limits(5.0, 30.0)
            .zero_based(),
    ])
}

fn process() -> Line {
    graphs([
        timeseries("CPU", Unit::Cores, "Cores in use by each replica of the operator.")
            .metric(format!("rate(process_cpu_seconds_total[$__rate_interval]) {OPERATOR}"), "{{pod}}")
            .zero_based(),
        timeseries("Memory", Unit::Bytes, "Resident memory of each replica of the operator.")
            .metric(format!("process_resident_memory_bytes {OPERATOR}"), "{{pod}}")
            .zero_based(),
        timeseries(
            "Lease",
            Unit::None,
            "Which replica leads. A change is a restart, or a replica that lost the API server.",
        )
        .metric("evenkeel_leader", "{{pod}}")
        .range(0.0, 1.0),
    ])
}

fn lines() -> Line {
    lists([logs("Warnings and errors of the operator", "Its own lines, the newest first.")
        .log(r#"{container="evenkeel"} |~ "(?i)\"level\":\"(warn|error)\"""#, "")])
}
