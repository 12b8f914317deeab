//! Logs: how many, from whom, and the lines themselves. Pure.

use crate::dashboards::Parts;
use crate::dashboards::builder::{Board, Line, graphs, lists, numbers};
use crate::dashboards::model::Model;
use crate::dashboards::panel::{Color, Unit};
use crate::dashboards::panels::{bars, logs, ranking, stat};
use crate::dashboards::settings::leads_to;
use crate::dashboards::variables::{log_values, text};

const ALL: &str = r#"{@logs} |~ "(?i)$search""#;
const ERRORS: &str = r#"{@logs, stream="errors"} |~ "(?i)$search""#;

/// The dashboard.
pub fn board(_: Parts) -> Model {
    let about = "Volume, errors and lines of the logs of the chosen workloads.";
    Board::new("logs", "Logs", about, &["services"])
        .variables([
            log_values("namespace", "Namespace", "Namespaces that log.", ""),
            log_values("workload", "Workload", "Workloads of the chosen namespaces.", r#"{namespace=~"$namespace"}"#),
            text("search", "Search", "A regular expression; upper and lower case are the same.", ""),
        ])
        .links(&[
            ("Overview", "overview", "Requests of the same workloads"),
            ("Workloads", "workloads", "Pods of the same workloads"),
            ("Security", "security", "Refused logins and requests"),
        ])
        .row("Now", [now()])
        .row("Volume", [volume(), most()])
        .row("Errors", [errors()])
        .row("All lines", [lines()])
        .finish()
}

fn now() -> Line {
    let rate = |of: &str| format!("sum(rate({of}[$__auto]))");
    numbers([
        stat("Lines", Unit::CountsPerSecond, "Lines per second.").log(rate(ALL), ""),
        stat("Errors", Unit::CountsPerSecond, "Lines per second of the error streams.")
            .log(rate(ERRORS), "")
            .no_value("0"),
        stat("Share of errors", Unit::Ratio, "Lines of the error streams, of all lines.")
            .log(format!("{} / {}", rate(ERRORS), rate(ALL)), "")
            .limits(0.05, 0.2)
            .no_value("0 %"),
        stat("Volume", Unit::BytesPerSecond, "Bytes per second, before compression.")
            .log(format!("sum(bytes_rate({ALL}[$__auto]))"), ""),
    ])
}

fn volume() -> Line {
    graphs([
        bars("Lines and errors", Unit::Count, "Lines by stream: errors apart from the rest.")
            .log(format!("sum by (stream) (count_over_time({ALL}[$__auto]))"), "{{stream}}")
            .colored("errors", Color::Red)
            .colored("logs", Color::Blue),
        bars("By severity", Unit::Count, "Lines by the severity that they were logged with.")
            .log(format!("sum by (severity_text) (count_over_time({ALL}[$__auto]))"), "{{severity_text}}")
            .colored("(?i)error.*|fatal.*", Color::Red)
            .colored("(?i)warn.*", Color::Orange)
            .colored("(?i)info.*", Color::Blue),
    ])
}

fn most() -> Line {
    let first = |of: &str| format!("topk(10, sum by (namespace, workload) (count_over_time({of}[$__range])))");
    let link = || {
        leads_to(
            "Only this workload",
            "logs",
            "var-namespace=${__field.labels.namespace}&var-workload=${__field.labels.workload}",
        )
    };
    graphs([
        bars("By workload", Unit::Count, "Lines by workload.")
            .log(format!("sum by (workload) (count_over_time({ALL}[$__auto]))"), "{{workload}}"),
        ranking("Most lines", Unit::Count, "Workloads with the most lines within the time range.")
            .log(first(ALL), "{{namespace}}/{{workload}}")
            .link(link()),
        ranking("Most errors", Unit::Count, "Workloads with the most errors within the time range.")
            .log(first(ERRORS), "{{namespace}}/{{workload}}")
            .link(link()),
    ])
}

fn errors() -> Line {
    lists(
        [logs("Newest errors", "Lines of the error streams. The trace ID of a line opens its trace.").log(ERRORS, "")],
    )
}

fn lines() -> Line {
    lists([logs("Newest lines", "Lines of all streams. The trace ID of a line opens its trace.").log(ALL, "")])
}
