//! SLOs and error budgets, from the series that Evenkeel records. Pure.

use crate::dashboards::Parts;
use crate::dashboards::builder::{Board, Line, graphs, lists, numbers};
use crate::dashboards::model::Model;
use crate::dashboards::panel::{Property, Unit};
use crate::dashboards::panels::{bars, gauge, stat, table, timeseries};
use crate::dashboards::settings::{colored_floors, colored_limits};
use crate::dashboards::variables::values;
use crate::slo::series;

const OWN: &str = r#"slo_namespace=~"$namespace", slo=~"$slo""#;
const BY: &str = "slo_namespace, slo, service";
/// The slow series have a point every 5 minutes; this always finds one.
const LAST: &str = "[11m]";

/// The dashboard.
pub fn board(_: Parts) -> Model {
    let about = "How much of each error budget is left, how fast it burns, and which alerts that has set off.";
    let objective = series::OBJECTIVE;
    let names = format!(r#"label_values({objective}{{slo_namespace=~"$namespace"}}, slo)"#);
    Board::new("slo", "SLOs and error budgets", about, &["services"])
        .variables([
            values(
                "namespace",
                "Namespace",
                "Namespaces with SLOs.",
                &format!("label_values({objective}, slo_namespace)"),
            ),
            values("slo", "SLO", "SLOs of the chosen namespaces.", &names),
        ])
        .since("now-24h")
        .links(&[
            ("Overview", "overview", "Requests of the services"),
            ("Repairs", "operator", "What Evenkeel does about it"),
        ])
        .alerts(r#"slo=~"$slo", slo_namespace=~"$namespace""#)
        .row("Now", [now()])
        .row("All SLOs", [all()])
        .row("Error budgets", [budgets()])
        .row("Burn rates", [burn_rates()])
        .row("Events", [events()])
        .row("Alerts", [alerts()])
        .finish()
}

fn last(metric: &str) -> String {
    format!("last_over_time({metric}{{{OWN}}}{LAST})")
}

/// Objectives by SLO: one number, whatever its groups.
fn objective() -> String {
    format!("max by ({BY}) ({})", last(series::OBJECTIVE))
}

/// Share of the events of the window that were bad, each group by itself.
fn errors() -> String {
    format!("{} / ({} > 0)", last(series::ERRORS_WINDOW), last(series::TOTAL_WINDOW))
}

/// Share of the budget that is left, each group by itself. No events have spent nothing.
fn remaining() -> String {
    format!("1 - ({} or 0 * {}) / on ({BY}) group_left () (1 - {})", errors(), last(series::TOTAL_WINDOW), objective())
}

fn burn(window: &str) -> String {
    format!(r#"last_over_time({}{{{OWN}, window="{window}"}}{LAST})"#, series::BURN_RATE)
}

fn now() -> Line {
    numbers([
        stat("SLOs", Unit::Count, "SLOs that are measured.").metric(format!("count({})", objective()), ""),
        gauge(
            "Least budget left",
            "The SLO, and of it the group, with the least error budget left. Below zero \
             the objective is missed.",
        )
        .metric(format!("min({})", remaining()), "")
        .floors(0.1, 0.5),
        stat("Budgets spent", Unit::Count, "SLOs that miss their objective over their window.")
            .metric(format!("count(min by ({BY}) ({}) <= 0) or vector(0)", remaining()), "")
            .at_most(1.0),
        stat(
            "Fastest burn, 1 h",
            Unit::Times,
            "At 1 the budget lasts exactly for the window; at 14.4 a budget for 30 days is gone in 2 days.",
        )
        .metric(format!("max({})", burn("1h")), "")
        .limits(1.0, 14.4)
        .decimals(1),
        stat("Burn rate alerts", Unit::Count, "ErrorBudgetBurn alerts that fire.")
            .metric(
                format!(r#"count(ALERTS{{alertname="ErrorBudgetBurn", alertstate="firing", {OWN}}}) or vector(0)"#),
                "",
            )
            .at_most(1.0),
        stat(
            "Without data",
            Unit::Count,
            "SLOs whose indicator has had no series for ten minutes: nobody knows how they stand.",
        )
        .metric(format!(r#"count(ALERTS{{alertname="SLONoData", alertstate="firing", {OWN}}}) or vector(0)"#), "")
        .at_most(1.0),
    ])
}

fn all() -> Line {
    let columns = [
        ("slo_namespace", "Namespace"),
        ("slo", "SLO"),
        ("service", "Service"),
        ("Value #A", "Objective"),
        ("Value #B", "Current"),
        ("Value #C", "Budget left"),
        ("Value #D", "Burn 1 h"),
        ("Value #E", "Burn 6 h"),
        ("Value #F", "Burn 3 d"),
    ];
    let burns = |window: &str| format!("max by ({BY}) ({})", burn(window));
    let times = || [Property::Unit(Unit::Times)].into_iter().chain(colored_limits(1.0, 6.0));
    let left = [Property::Unit(Unit::Ratio)].into_iter().chain(colored_floors(0.1, 0.5));
    lists([table("SLOs", Unit::Ratio, "Each SLO; where it has groups, the worst of them.")
        .metric(objective(), "")
        .metric(format!("min by ({BY}) (1 - {})", errors()), "")
        .metric(format!("min by ({BY}) ({})", remaining()), "")
        .metric(burns("1h"), "")
        .metric(burns("6h"), "")
        .metric(burns("3d"), "")
        .decimals(3)
        .columns(&columns)
        .column("Budget left", left)
        .column("Burn 1 h", times())
        .column("Burn 6 h", times())
        .column("Burn 3 d", times())])
}

fn budgets() -> Line {
    graphs([
        timeseries(
            "Error budget left",
            Unit::Ratio,
            "Share of the budget that is left, the worst group of each SLO. Policies act at thresholds of it.",
        )
        .metric(format!("min by ({BY}) ({})", remaining()), "{{slo_namespace}}/{{slo}}")
        .floors(0.0, 0.25)
        .figures(),
        timeseries("By group", Unit::Ratio, "The same for each group of SLOs with groupBy.")
            .metric(remaining(), "__auto")
            .floors(0.0, 0.25),
    ])
}

fn burn_rates() -> Line {
    let graph = |window: &str, warning, critical| {
        timeseries(
            &format!("Burn rate, {window}"),
            Unit::Times,
            "How many times as fast as it may the budget is spent, the worst group of \
             each SLO. At 1 it lasts exactly for the window.",
        )
        .metric(format!("max by ({BY}) ({})", burn(window)), "{{slo_namespace}}/{{slo}}")
        .limits(warning, critical)
        .zero_based()
    };
    graphs([graph("1h", 6.0, 14.4), graph("6h", 3.0, 6.0), graph("3d", 1.0, 3.0)])
}

fn events() -> Line {
    let sum = |metric: &str| format!("sum by ({BY}) ({metric}{{{OWN}}})");
    graphs([
        timeseries("Events", Unit::RequestsPerSecond, "Events per second that count towards each SLO, over 5 minutes.")
            .metric(sum(series::TOTAL_RATE), "{{slo_namespace}}/{{slo}}")
            .zero_based(),
        bars("Bad events", Unit::RequestsPerSecond, "Events per second that spend the budget, over 5 minutes.")
            .metric(sum(series::ERRORS_RATE), "{{slo_namespace}}/{{slo}}"),
    ])
}

fn alerts() -> Line {
    let columns = [
        ("slo_namespace", "Namespace"),
        ("slo", "SLO"),
        ("alertname", "Alert"),
        ("severity", "Severity"),
        ("alertstate", "State"),
        ("Value", "Series"),
    ];
    lists([table("Alerts", Unit::Count, "Alerts of the chosen SLOs that fire or are pending.")
        .metric(format!("count by (slo_namespace, slo, alertname, severity, alertstate) (ALERTS{{{OWN}}})"), "")
        .columns(&columns)
        .no_value("None")])
}
