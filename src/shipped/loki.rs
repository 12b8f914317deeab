//! Loki: whether logs are kept and found.

use super::Need;
use super::table::{Alert, Fires, Group, Kind, MINUTE, Rule, critical, record, warning};

pub(super) const GROUP: Group = Group {
    name: "loki",
    needs: Need::Loki,
    builds_on: &[],
    rules: &[
        record(
            "job_route:loki_errors:ratio_rate5m",
            r#"sum by (namespace, job, route) (rate(loki_request_duration_seconds_count{status_code=~"5.."}[5m]))
/ (sum by (namespace, job, route) (rate(loki_request_duration_seconds_count[5m])) > 0)"#,
        ),
        Rule::Alert(Alert {
            name: "LokiRequestErrors",
            expr: "job_route:loki_errors:ratio_rate5m",
            fires: Fires::Above(Kind::Ratio, &[warning(0.05, 10 * MINUTE), critical(0.20, 10 * MINUTE)]),
            options: &[],
            summary: "Loki fails {{ $value | humanizePercentage }} of the requests to {{ $labels.route }}",
            description: "{{ $labels.job }} in {{ $labels.namespace }} answers {{ $value | humanizePercentage }} of the requests to {{ $labels.route }} with a 5xx status.",
        }),
        Rule::Alert(Alert {
            name: "LokiDroppingLogs",
            expr: "sum by (namespace, job, reason) (rate(loki_discarded_samples_total[5m]))",
            fires: Fires::Above(Kind::Count, &[warning(0.0, 10 * MINUTE), critical(100.0, 10 * MINUTE)]),
            options: &[],
            summary: "Loki throws away {{ $value | humanize }} lines a second: {{ $labels.reason }}",
            description: "Lines that Loki refuses are lost; the reason is {{ $labels.reason }}.",
        }),
    ],
};
