//! PersistentVolumes as the kubelets measure them. The stack's own are judged apart: Prometheus fills its volume up to
//! 85 % by design.

use super::Need;
use super::table::{Alert, DAY, Fires, Group, Kind, MINUTE, Rule, critical, option, record, warning};

pub(super) const GROUP: Group = Group {
    name: "storage",
    needs: Need::Kubelet,
    builds_on: &[],
    rules: &[
        record(
            "namespace_persistentvolumeclaim:volume_used:ratio",
            "1 - max by (namespace, persistentvolumeclaim) (kubelet_volume_stats_available_bytes)
/ (max by (namespace, persistentvolumeclaim) (kubelet_volume_stats_capacity_bytes) > 0)",
        ),
        record(
            "namespace_persistentvolumeclaim:volume_inodes_used:ratio",
            "1 - max by (namespace, persistentvolumeclaim) (kubelet_volume_stats_inodes_free)
/ (max by (namespace, persistentvolumeclaim) (kubelet_volume_stats_inodes) > 0)",
        ),
        Rule::Alert(Alert {
            name: "PersistentVolumeSpaceLow",
            expr: r#"namespace_persistentvolumeclaim:volume_used:ratio
unless
namespace_persistentvolumeclaim:volume_used:ratio{namespace="$namespace",persistentvolumeclaim=~"data-$stack-(prometheus|alertmanager|loki|jaeger|grafana)-.*"}"#,
            fires: Fires::Above(Kind::Ratio, &[warning(0.85, 10 * MINUTE), critical(0.95, 5 * MINUTE)]),
            options: &[],
            summary: "Volume {{ $labels.namespace }}/{{ $labels.persistentvolumeclaim }} is {{ $value | humanizePercentage }} full",
            description: "{{ $value | humanizePercentage }} of the volume behind the claim are used.",
        }),
        Rule::Alert(Alert {
            name: "PersistentVolumeFillingUp",
            expr: "max by (namespace, persistentvolumeclaim) (predict_linear(kubelet_volume_stats_available_bytes[6h], $within)) < 0
and namespace_persistentvolumeclaim:volume_used:ratio > $used",
            fires: Fires::When("warning", 30 * MINUTE),
            options: &[option("within", Kind::Duration, 4.0 * DAY), option("used", Kind::Ratio, 0.60)],
            summary: "Volume {{ $labels.namespace }}/{{ $labels.persistentvolumeclaim }} will soon be full",
            description: "If it goes on as in the last 6 hours, the volume will be full within the time that this alert watches (4 days by default).",
        }),
        Rule::Alert(Alert {
            name: "PersistentVolumeInodesLow",
            expr: "namespace_persistentvolumeclaim:volume_inodes_used:ratio",
            fires: Fires::Above(Kind::Ratio, &[warning(0.90, 10 * MINUTE), critical(0.97, 5 * MINUTE)]),
            options: &[],
            summary: "Volume {{ $labels.namespace }}/{{ $labels.persistentvolumeclaim }} runs out of inodes",
            description: "{{ $value | humanizePercentage }} of the inodes are used: at 100 % no new file can be made.",
        }),
        Rule::Alert(Alert {
            name: "MonitoringStorageNearlyFull",
            expr: r#"namespace_persistentvolumeclaim:volume_used:ratio{namespace="$namespace",persistentvolumeclaim=~"data-$stack-(prometheus|alertmanager|loki|jaeger|grafana)-.*"}"#,
            fires: Fires::Above(Kind::Ratio, &[warning(0.92, 10 * MINUTE), critical(0.97, 5 * MINUTE)]),
            options: &[],
            summary: "The volume {{ $labels.persistentvolumeclaim }} of the monitoring is {{ $value | humanizePercentage }} full",
            description: "When it is full, this component of the stack stops writing, and you are blind.",
        }),
    ],
};
