//! Jaeger, which is an OpenTelemetry Collector with a storage.

use super::Need;
use super::table::{Alert, Fires, Group, Kind, MINUTE, Rule, critical, record, warning};

pub(super) const GROUP: Group = Group {
    name: "jaeger",
    needs: Need::Jaeger,
    builds_on: &[],
    rules: &[
        record(
            "job:jaeger_spans_dropped:rate5m",
            r#"sum by (namespace, job) (rate(otelcol_receiver_refused_spans_total{job=~".*jaeger.*"}[5m]))
+ (
  sum by (namespace, job) (rate(otelcol_exporter_send_failed_spans_total{job=~".*jaeger.*"}[5m]))
  or
  0 * sum by (namespace, job) (rate(otelcol_receiver_refused_spans_total{job=~".*jaeger.*"}[5m]))
)"#,
        ),
        record(
            "job_operation:jaeger_storage_errors:ratio_rate5m",
            r#"sum by (namespace, job, operation) (rate(jaeger_storage_requests_total{result="err"}[5m]))
/ (sum by (namespace, job, operation) (rate(jaeger_storage_requests_total[5m])) > 0)"#,
        ),
        Rule::Alert(Alert {
            name: "JaegerDroppingSpans",
            expr: "job:jaeger_spans_dropped:rate5m",
            fires: Fires::Above(Kind::Count, &[warning(0.0, 10 * MINUTE), critical(100.0, 10 * MINUTE)]),
            options: &[],
            summary: "Jaeger loses {{ $value | humanize }} spans a second",
            description: "{{ $labels.job }} in {{ $labels.namespace }} refuses spans or cannot store them: traces have holes.",
        }),
        Rule::Alert(Alert {
            name: "JaegerStorageErrors",
            expr: "job_operation:jaeger_storage_errors:ratio_rate5m",
            fires: Fires::Above(Kind::Ratio, &[warning(0.05, 10 * MINUTE), critical(0.25, 10 * MINUTE)]),
            options: &[],
            summary: "Jaeger's storage fails {{ $value | humanizePercentage }} of {{ $labels.operation }}",
            description: "The storage of {{ $labels.job }} in {{ $labels.namespace }} answers {{ $value | humanizePercentage }} of these requests with an error.",
        }),
    ],
};
