//! Security: who was refused, by whom, and how often. Pure.

use crate::dashboards::Parts;
use crate::dashboards::builder::{Board, Line, graphs, lists, numbers};
use crate::dashboards::model::Model;
use crate::dashboards::panel::{Color, Unit};
use crate::dashboards::panels::{bars, logs, ranking, stat, timeseries};
use crate::dashboards::variables::{by_workload, code, namespace, text, workload};

const RATE: &str = "rate(${requests}{@of}[$__rate_interval])";
/// Words of refused logins in the logs of most servers and libraries.
const REFUSED: &str = concat!(
    r#"{@logs} |~ "(?i)authentication fail|failed password|login failed|unauthori[sz]ed|"#,
    r#"invalid (user|password|credentials|token)|access denied|permission denied""#
);

/// The dashboard.
pub fn board(parts: Parts) -> Model {
    let about = "Failed authentication, forbidden requests, rate limits and certificates: of the services, of the API \
                 server, and of the monitoring itself.";
    Board::new("security", "Security", about, &["services"])
        .variables([
            namespace(),
            workload(),
            text("requests", "Requests", "Counter of answered requests.", "http_requests_total"),
            code(),
        ])
        .links(&[
            ("Overview", "overview", "All requests of the same workloads"),
            ("Logs", "logs", "Logs of the same workloads"),
        ])
        .alerts(r#"namespace=~"$namespace""#)
        .row("Now", [now()])
        .row("Services", [refused(), by_whom()])
        .row("Kubernetes API", [api_server()])
        .row("Monitoring and certificates", [monitoring()])
        .row_if(parts.loki, "In the logs", in_logs())
        .finish()
}

fn answered(codes: &str) -> String {
    format!(r#"rate(${{requests}}{{@of, ${{code}}=~"{codes}"}}[$__rate_interval])"#)
}

/// None are zero, as long as there are requests at all.
fn total(codes: &str) -> String {
    format!("sum({}) or 0 * sum({RATE})", answered(codes))
}

fn now() -> Line {
    let number =
        |title: &str, codes: &str, about: &str| stat(title, Unit::RequestsPerSecond, about).metric(total(codes), "");
    numbers([
        number("Authentication failures", "401|407", "Requests per second without valid credentials (401, 407).")
            .limits(1.0, 10.0),
        number("Forbidden", "403", "Requests per second of known users who may not do that (403).").limits(1.0, 10.0),
        number("Rate limited", "429", "Requests per second that were sent away because there were too many (429).")
            .limits(1.0, 10.0),
        stat("Share that was refused", Unit::Ratio, "Requests with 401, 403, 407 or 429, of all.")
            .metric(format!("({}) / (sum({RATE}) > 0)", total("401|403|407|429")), "")
            .limits(0.05, 0.2),
        stat(
            "Refused by the API server",
            Unit::RequestsPerSecond,
            "Requests to the API server of Kubernetes with 401 or 403.",
        )
        .metric(r#"sum(rate(apiserver_request_total{code=~"401|403"}[$__rate_interval])) or vector(0)"#, "")
        .limits(1.0, 10.0),
        stat("First certificate to expire", Unit::Seconds, "Of all certificates that probes saw.")
            .metric("min(probe_ssl_earliest_cert_expiry - time())", "")
            .floors(604_800.0, 1_814_400.0)
            .no_value("No probes"),
    ])
}

fn refused() -> Line {
    graphs([
        bars("Refused requests", Unit::RequestsPerSecond, "Requests per second by the code of the refusal.")
            .metric(format!("sum by (${{code}}) ({})", answered("401|403|407|429")), "{{${code}}}")
            .colored("401|407", Color::Red)
            .colored("403", Color::Orange)
            .colored("429", Color::Blue),
        timeseries(
            "Authentication failures against their own past",
            Unit::RequestsPerSecond,
            "Failures per second now and at the same time yesterday. A sudden distance is \
             somebody who tries passwords, or an expired token.",
        )
        .metric(total("401|407"), "now")
        .metric(r#"sum(rate(${requests}{@of, ${code}=~"401|407"}[$__rate_interval] offset 1d))"#, "yesterday")
        .zero_based(),
    ])
}

fn by_whom() -> Line {
    let first = |codes: &str| format!("topk(10, sum by (namespace, workload) ({}))", by_workload(&answered(codes)));
    let list = |title: &str, codes: &str, about: &str| {
        ranking(title, Unit::RequestsPerSecond, about).metric(first(codes), "{{namespace}}/{{workload}}")
    };
    graphs([
        list("Most authentication failures", "401|407", "Workloads that refuse the most credentials."),
        list("Most forbidden", "403", "Workloads that forbid the most requests."),
        list("Most rate limited", "429", "Workloads that send the most requests away."),
    ])
}

fn api_server() -> Line {
    graphs([
        bars(
            "Refused requests",
            Unit::RequestsPerSecond,
            "Requests to the API server that were refused, by code and verb.",
        )
        .metric(
            r#"sum by (code, verb) (rate(apiserver_request_total{code=~"401|403|429"}[$__rate_interval]))"#,
            "{{code}} {{verb}}",
        ),
        bars(
            "Failed authentication",
            Unit::CountsPerSecond,
            "Attempts per second that did not prove who they are: unknown certificates, expired tokens.",
        )
        .metric(
            r#"sum by (result) (rate(authentication_attempts{result!="success"}[$__rate_interval]))"#,
            "{{result}}",
        ),
        bars(
            "Rate limited",
            Unit::RequestsPerSecond,
            "Requests that priority and fairness of the API server sent away, by flow.",
        )
        .metric(
            "sum by (flow_schema, reason) \
             (rate(apiserver_flowcontrol_rejected_requests_total[$__rate_interval]))",
            "{{flow_schema}} {{reason}}",
        ),
    ])
}

fn monitoring() -> Line {
    graphs([
        bars(
            "Alert receiver",
            Unit::RequestsPerSecond,
            "Requests to Evenkeel's alert receiver that were refused: an Alertmanager \
             with an old token, or somebody else.",
        )
        .metric(
            r#"sum by (path, code) (rate(evenkeel_webhook_requests_total{code=~"4.."}[$__rate_interval]))"#,
            "{{code}} {{path}}",
        ),
        bars("Prometheus", Unit::RequestsPerSecond, "Requests to Prometheus that were refused.").metric(
            r#"sum by (code, handler) (rate(prometheus_http_requests_total{code=~"401|403|429"}[$__rate_interval]))"#,
            "{{code}} {{handler}}",
        ),
        timeseries("Certificates", Unit::Seconds, "Time until each probed certificate expires.")
            .metric("probe_ssl_earliest_cert_expiry - time()", "{{instance}}")
            .floors(604_800.0, 1_814_400.0),
    ])
}

fn in_logs() -> [Line; 2] {
    [
        graphs([bars(
            "Refused logins in the logs",
            Unit::Count,
            "Lines that tell of failed authentication or missing permission, by workload.",
        )
        .log(format!("sum by (workload) (count_over_time({REFUSED} [$__auto]))"), "{{workload}}")]),
        lists([
            logs("Newest of them", "Lines that tell of failed authentication or missing permission.").log(REFUSED, "")
        ]),
    ]
}
