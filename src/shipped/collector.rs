//! OpenTelemetry Collectors: what they could not take or hand on.

use super::Need;
use super::table::{Alert, Fires, Group, Kind, MINUTE, Rule, critical, each, record, warning};

const SIGNALS: &[&str] = &["log_records", "spans", "metric_points"];

pub(super) const GROUP: Group = Group {
    name: "collector",
    needs: Need::Collector,
    builds_on: &[],
    rules: &[
        // At the receiver the sender is told; at the exporter what is counted is gone. Jaeger is judged apart.
        each(
            SIGNALS,
            "pod_stage:otelcol_dropped_$each:rate5m",
            r#"label_replace(sum by (namespace, job, pod) (rate(otelcol_receiver_refused_$each_total{job!~".*jaeger.*"}[5m])), "stage", "receiver", "", "")
or
label_replace(sum by (namespace, job, pod) (rate(otelcol_exporter_enqueue_failed_$each_total{job!~".*jaeger.*"}[5m])), "stage", "queue", "", "")
or
label_replace(sum by (namespace, job, pod) (rate(otelcol_exporter_send_failed_$each_total{job!~".*jaeger.*"}[5m])), "stage", "exporter", "", "")"#,
        ),
        record(
            "pod_exporter:otelcol_queue:ratio",
            "max by (namespace, job, pod, exporter) (otelcol_exporter_queue_size)
/ (max by (namespace, job, pod, exporter) (otelcol_exporter_queue_capacity) > 0)",
        ),
        Rule::Alert(Alert {
            name: "CollectorDropping",
            expr: r#"label_replace(pod_stage:otelcol_dropped_log_records:rate5m, "signal", "logs", "", "")
or
label_replace(pod_stage:otelcol_dropped_spans:rate5m, "signal", "traces", "", "")
or
label_replace(pod_stage:otelcol_dropped_metric_points:rate5m, "signal", "metrics", "", "")"#,
            fires: Fires::Above(Kind::Count, &[warning(0.0, 10 * MINUTE), critical(100.0, 10 * MINUTE)]),
            options: &[],
            summary: "The collector {{ $labels.pod }} loses {{ $value | humanize }} {{ $labels.signal }} a second",
            description: "They are lost at its {{ $labels.stage }}: refused, not queued, or not taken by where they go.",
        }),
        Rule::Alert(Alert {
            name: "CollectorQueueNearlyFull",
            expr: "pod_exporter:otelcol_queue:ratio",
            fires: Fires::Above(Kind::Ratio, &[warning(0.70, 10 * MINUTE), critical(0.95, 5 * MINUTE)]),
            options: &[],
            summary: "The queue of {{ $labels.exporter }} in {{ $labels.pod }} is {{ $value | humanizePercentage }} full",
            description: "The collector takes more than it can hand on; when the queue is full, data is lost.",
        }),
    ],
};
