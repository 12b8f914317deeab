//! Services that count their requests: `http_requests_total{code}` or `{status}`, the HTTP server metrics of
//! OpenTelemetry, and those of ingress-nginx, whose job becomes `ingress/<service>`.

use super::Need;
use super::table::{Alert, Fires, Group, Kind, MINUTE, Rule, critical, each, option, record, warning};

const WINDOWS: &[&str] = &["1m", "5m"];
const QUANTILES: &[&str] = &["50", "95", "99"];

pub(super) const GROUP: Group = Group {
    name: "service",
    needs: Need::Nothing,
    builds_on: &[],
    rules: &[
        // The first that a job has counts, so that one that is measured twice is not added up.
        each(
            WINDOWS,
            "job_code:http_requests:rate$each",
            r#"sum by (namespace, job, code) (rate(http_requests_total{code!=""}[$each]))
or on (namespace, job)
sum by (namespace, job, code) (label_replace(rate(http_requests_total{code="",status!=""}[$each]), "code", "$1", "status", "(.*)"))
or on (namespace, job)
sum by (namespace, job, code) (label_replace(rate(http_server_request_duration_seconds_count{http_response_status_code!=""}[$each]), "code", "$1", "http_response_status_code", "(.*)"))
or on (namespace, job)
sum by (namespace, job, code) (label_replace(label_replace(label_replace(label_replace(rate(nginx_ingress_controller_requests{status!=""}[$each]), "code", "$1", "status", "(.*)"), "namespace", "$1", "exported_namespace", "(.+)"), "job", "ingress/$1", "service", "(.+)"), "job", "ingress/$1", "exported_service", "(.+)"))"#,
        ),
        each(WINDOWS, "job:http_requests:rate$each", "sum by (namespace, job) (job_code:http_requests:rate$each)"),
        each(
            WINDOWS,
            "job:http_errors:ratio_rate$each",
            r#"(
  sum by (namespace, job) (job_code:http_requests:rate$each{code=~"5.."})
  or
  0 * job:http_requests:rate$each
)
/ (job:http_requests:rate$each > 0)"#,
        ),
        record(
            "job:http_client_errors:ratio_rate5m",
            r#"(
  sum by (namespace, job) (job_code:http_requests:rate5m{code=~"4.."})
  or
  0 * job:http_requests:rate5m
)
/ (job:http_requests:rate5m > 0)"#,
        ),
        record(
            "job_code:http_requests:ratio_rate5m",
            "job_code:http_requests:rate5m / on (namespace, job) group_left () (job:http_requests:rate5m > 0)",
        ),
        record(
            "job_le:http_request_duration_seconds_bucket:rate5m",
            "sum by (namespace, job, le) (rate(http_request_duration_seconds_bucket[5m]))
or on (namespace, job)
sum by (namespace, job, le) (rate(http_server_request_duration_seconds_bucket[5m]))",
        ),
        each(
            QUANTILES,
            "job:http_request_duration_seconds:p$each_rate5m",
            "histogram_quantile(0.$each, job_le:http_request_duration_seconds_bucket:rate5m)",
        ),
        Rule::Alert(Alert {
            name: "HighErrorRate",
            expr: "job:http_errors:ratio_rate5m and job:http_requests:rate5m > $minimumRate",
            fires: Fires::Above(Kind::Ratio, &[warning(0.05, 5 * MINUTE), critical(0.10, 5 * MINUTE)]),
            options: &[option("minimumRate", Kind::Count, 0.05)],
            summary: "{{ $labels.namespace }}/{{ $labels.job }} fails {{ $value | humanizePercentage }} of its requests",
            description: "Over the last 5 minutes {{ $value | humanizePercentage }} of the requests to {{ $labels.job }} in {{ $labels.namespace }} were answered with a 5xx status.",
        }),
        Rule::Alert(Alert {
            name: "HighLatency",
            expr: "job:http_request_duration_seconds:p95_rate5m",
            fires: Fires::Above(Kind::Duration, &[warning(1.0, 5 * MINUTE), critical(2.0, 5 * MINUTE)]),
            options: &[],
            summary: "{{ $labels.namespace }}/{{ $labels.job }} is slow: p95 is {{ $value | humanizeDuration }}",
            description: "One request in twenty to {{ $labels.job }} in {{ $labels.namespace }} takes longer than {{ $value | humanizeDuration }}.",
        }),
        Rule::Alert(Alert {
            name: "ApplicationDown",
            expr: "max by (namespace, job) (up) == 0",
            fires: Fires::When("critical", MINUTE),
            options: &[],
            summary: "{{ $labels.namespace }}/{{ $labels.job }} is down",
            description: "Prometheus can scrape none of the targets of {{ $labels.job }} in {{ $labels.namespace }}.",
        }),
        // The same hour a week ago must not have been as quiet, where it is known: weekends are no drop.
        Rule::Alert(Alert {
            name: "TrafficDrop",
            expr: "job:http_requests:rate5m
  < $ratio * (avg_over_time(job:http_requests:rate5m[1h] offset 1d) > $minimumRate)
unless
job:http_requests:rate5m >= $ratio * avg_over_time(job:http_requests:rate5m[1h] offset 1w)",
            fires: Fires::When("warning", 10 * MINUTE),
            options: &[option("ratio", Kind::Ratio, 0.5), option("minimumRate", Kind::Count, 1.0)],
            summary: "Traffic of {{ $labels.namespace }}/{{ $labels.job }} has dropped",
            description: "{{ $labels.job }} in {{ $labels.namespace }} gets {{ $value | humanize }} requests a second, far below the same hour of yesterday and of last week.",
        }),
    ],
};
