//! A template for the business: the names of the metrics are variables. Pure.

use crate::dashboards::Parts;
use crate::dashboards::builder::{Board, Line, graphs, numbers};
use crate::dashboards::model::Model;
use crate::dashboards::panel::{Color, Unit};
use crate::dashboards::panels::{bars, ranking, stat, timeseries};
use crate::dashboards::variables::text;

/// The dashboard.
pub fn board(_: Parts) -> Model {
    let about = "A template: write the names of your counters into the fields above, save a copy, and it is the \
                 dashboard of your business.";
    Board::new("business", "Business (template)", about, &["services", "template"])
        .variables([
            text("orders", "Orders", "Counter of what customers begin.", "orders_total"),
            text("cancelled", "Cancelled", "Counter of those that were cancelled.", "orders_cancelled_total"),
            text(
                "failed",
                "Failed",
                "Counter of deliveries, payments or whatever else can fail.",
                "deliveries_failed_total",
            ),
            text("amount", "Amount", "Counter of the money.", "orders_amount_total"),
            text("split", "Split by", "Label that tells groups apart: region, product, channel.", "region"),
            text("only", "Only", "Matchers, for example region=\"eu\"; may be empty.", ""),
        ])
        .since("now-24h")
        .links(&[("Overview", "overview", "The services behind it"), ("SLOs", "slo", "What was promised")])
        .row("Now", [now()])
        .row("Orders", [orders(), groups()])
        .row("What goes wrong", [wrong()])
        .row("Money", [money()])
        .finish()
}

fn rate(metric: &str) -> String {
    format!("sum(rate(${{{metric}}}{{${{only}}}}[$__rate_interval]))")
}

fn by_group(metric: &str) -> String {
    format!("sum by (${{split}}) (rate(${{{metric}}}{{${{only}}}}[$__rate_interval]))")
}

/// Of the last hour, an hour that begins `ago`.
fn hour(metric: &str, ago: &str) -> String {
    format!("sum(increase(${{{metric}}}{{${{only}}}}[1h]{ago}))")
}

/// None are zero, as long as there are orders.
fn share(metric: &str) -> String {
    format!("({} or 0 * {}) / ({} > 0)", hour(metric, ""), hour("orders", ""), hour("orders", ""))
}

fn now() -> Line {
    numbers([
        stat("Orders, last hour", Unit::Count, "Orders of the last hour.").metric(hour("orders", ""), "").decimals(0),
        stat(
            "Against yesterday",
            Unit::Ratio,
            "Orders of the last hour over those of the same hour yesterday. Below half something is wrong.",
        )
        .metric(format!("{} / ({} > 0)", hour("orders", ""), hour("orders", " offset 1d")), "")
        .floors(0.5, 0.8)
        .no_value("No yesterday"),
        stat("Against last week", Unit::Ratio, "Orders of the last hour over those of the same hour a week ago.")
            .metric(format!("{} / ({} > 0)", hour("orders", ""), hour("orders", " offset 7d")), "")
            .floors(0.5, 0.8)
            .no_value("No last week"),
        stat("Cancelled", Unit::Ratio, "Share of the last hour's orders that were cancelled.")
            .metric(share("cancelled"), "")
            .limits(0.1, 0.2),
        stat("Failed", Unit::Ratio, "Failures of the last hour for each order.")
            .metric(share("failed"), "")
            .limits(0.02, 0.05),
        stat("Amount, last hour", Unit::Count, "Money of the last hour.").metric(hour("amount", ""), ""),
    ])
}

fn orders() -> Line {
    let past = |ago: &str| format!("sum(rate(${{orders}}{{${{only}}}}[$__rate_interval] offset {ago}))");
    graphs([
        timeseries(
            "Orders against their own past",
            Unit::CountsPerSecond,
            "Orders per second now, at the same time yesterday, and a week ago.",
        )
        .metric(rate("orders"), "now")
        .metric(past("1d"), "yesterday")
        .metric(past("7d"), "last week")
        .colored("now", Color::Blue)
        .colored("yesterday", Color::Text)
        .zero_based()
        .weight(2),
        ranking("Orders of the time range", Unit::Count, "Orders of each group within the time range.")
            .metric("sort_desc(sum by (${split}) (increase(${orders}{${only}}[$__range])))", "{{${split}}}")
            .decimals(0),
    ])
}

fn groups() -> Line {
    graphs([bars("Orders by group", Unit::CountsPerSecond, "Orders per second of each group.")
        .metric(by_group("orders"), "{{${split}}}")])
}

fn wrong() -> Line {
    let share = |metric: &str| format!("{} / ({} > 0)", by_group(metric), by_group("orders"));
    graphs([
        timeseries("Cancelled by group", Unit::Ratio, "Cancelled orders for each order.")
            .metric(share("cancelled"), "{{${split}}}")
            .limits(0.1, 0.2)
            .zero_based(),
        timeseries("Failed by group", Unit::Ratio, "Failures for each order.")
            .metric(share("failed"), "{{${split}}}")
            .limits(0.02, 0.05)
            .zero_based(),
    ])
}

fn money() -> Line {
    graphs([
        timeseries("Amount by group", Unit::CountsPerSecond, "Money per second of each group.")
            .metric(by_group("amount"), "{{${split}}}")
            .zero_based(),
        timeseries("Amount of an order", Unit::Count, "Money for each order, by group.")
            .metric(format!("{} / ({} > 0)", by_group("amount"), by_group("orders")), "{{${split}}}")
            .zero_based(),
    ])
}
