//! Usage of containers against their own limits, by cAdvisor alone: a join with what another target says would be
//! wrong where the targets are divided over shards.

use super::Need;
use super::table::{Alert, Fires, Group, Kind, MINUTE, Rule, critical, record, warning};

pub(super) const GROUP: Group = Group {
    name: "containers",
    needs: Need::Cadvisor,
    builds_on: &[],
    rules: &[
        record(
            "namespace_pod_container:cpu_usage:rate5m",
            r#"sum by (namespace, pod, container) (rate(container_cpu_usage_seconds_total{container!~"|POD"}[5m]))"#,
        ),
        record(
            "namespace_pod_container:cpu_usage:ratio_rate5m",
            r#"namespace_pod_container:cpu_usage:rate5m
/ (
  max by (namespace, pod, container) (container_spec_cpu_quota{container!~"|POD"} > 0)
  / max by (namespace, pod, container) (container_spec_cpu_period{container!~"|POD"})
)"#,
        ),
        record(
            "namespace_pod_container:memory_usage:ratio",
            r#"max by (namespace, pod, container) (container_memory_working_set_bytes{container!~"|POD"})
/ max by (namespace, pod, container) (container_spec_memory_limit_bytes{container!~"|POD"} > 0)"#,
        ),
        record(
            "namespace_pod_container:cpu_throttled:ratio_rate5m",
            r#"sum by (namespace, pod, container) (rate(container_cpu_cfs_throttled_periods_total{container!~"|POD"}[5m]))
/ (sum by (namespace, pod, container) (rate(container_cpu_cfs_periods_total{container!~"|POD"}[5m])) > 0)"#,
        ),
        Rule::Alert(Alert {
            name: "HighCPUUsage",
            expr: "namespace_pod_container:cpu_usage:ratio_rate5m",
            fires: Fires::Above(Kind::Ratio, &[warning(0.80, 15 * MINUTE), critical(0.95, 15 * MINUTE)]),
            options: &[],
            summary: "{{ $labels.container }} of {{ $labels.namespace }}/{{ $labels.pod }} uses {{ $value | humanizePercentage }} of its CPU limit",
            description: "Over 5 minutes the container used {{ $value | humanizePercentage }} of the CPU that its limit allows.",
        }),
        Rule::Alert(Alert {
            name: "HighMemoryUsage",
            expr: "namespace_pod_container:memory_usage:ratio",
            fires: Fires::Above(Kind::Ratio, &[warning(0.85, 10 * MINUTE), critical(0.95, 5 * MINUTE)]),
            options: &[],
            summary: "{{ $labels.container }} of {{ $labels.namespace }}/{{ $labels.pod }} uses {{ $value | humanizePercentage }} of its memory limit",
            description: "The working set stands at {{ $value | humanizePercentage }} of the limit; at 100 % the kernel ends the container.",
        }),
        Rule::Alert(Alert {
            name: "CPUThrottled",
            expr: "namespace_pod_container:cpu_throttled:ratio_rate5m",
            fires: Fires::Above(Kind::Ratio, &[warning(0.50, 15 * MINUTE)]),
            options: &[],
            summary: "{{ $labels.container }} of {{ $labels.namespace }}/{{ $labels.pod }} is held back by its CPU limit",
            description: "In {{ $value | humanizePercentage }} of the scheduling periods the container had used up its share before the end.",
        }),
    ],
};
