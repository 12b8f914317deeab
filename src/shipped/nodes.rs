//! Nodes, by the node exporter.

use super::Need;
use super::table::{Alert, DAY, Fires, Group, Kind, MINUTE, Rule, critical, option, record, warning};

pub(super) const GROUP: Group = Group {
    name: "nodes",
    needs: Need::Node,
    builds_on: &[],
    rules: &[
        record(
            "instance:node_cpu_usage:ratio_rate5m",
            r#"1 - avg by (job, instance, node) (rate(node_cpu_seconds_total{mode="idle"}[5m]))"#,
        ),
        record(
            "instance:node_memory_usage:ratio",
            "1 - max by (job, instance, node) (node_memory_MemAvailable_bytes)
/ max by (job, instance, node) (node_memory_MemTotal_bytes)",
        ),
        record(
            "instance_mountpoint:node_filesystem_free:ratio",
            r#"max by (job, instance, node, device, mountpoint) (node_filesystem_avail_bytes{fstype!~"tmpfs|ramfs|squashfs|overlay|iso9660|erofs"})
/ (max by (job, instance, node, device, mountpoint) (node_filesystem_size_bytes{fstype!~"tmpfs|ramfs|squashfs|overlay|iso9660|erofs"}) > 0)
unless on (job, instance, device, mountpoint) (node_filesystem_readonly == 1)"#,
        ),
        record(
            "instance_mountpoint:node_filesystem_inodes_free:ratio",
            r#"max by (job, instance, node, device, mountpoint) (node_filesystem_files_free{fstype!~"tmpfs|ramfs|squashfs|overlay|iso9660|erofs"})
/ (max by (job, instance, node, device, mountpoint) (node_filesystem_files{fstype!~"tmpfs|ramfs|squashfs|overlay|iso9660|erofs"}) > 0)
unless on (job, instance, device, mountpoint) (node_filesystem_readonly == 1)"#,
        ),
        Rule::Alert(Alert {
            name: "NodeCPUHigh",
            expr: "instance:node_cpu_usage:ratio_rate5m",
            fires: Fires::Above(Kind::Ratio, &[warning(0.85, 15 * MINUTE), critical(0.95, 15 * MINUTE)]),
            options: &[],
            summary: "Node {{ $labels.instance }} uses {{ $value | humanizePercentage }} of its CPU",
            description: "All cores together were busy for {{ $value | humanizePercentage }} of the last 5 minutes.",
        }),
        Rule::Alert(Alert {
            name: "NodeMemoryHigh",
            expr: "instance:node_memory_usage:ratio",
            fires: Fires::Above(Kind::Ratio, &[warning(0.85, 10 * MINUTE), critical(0.95, 5 * MINUTE)]),
            options: &[],
            summary: "Node {{ $labels.instance }} uses {{ $value | humanizePercentage }} of its memory",
            description: "Only what is left can be given to processes without taking it from others; the kubelet will evict pods.",
        }),
        Rule::Alert(Alert {
            name: "DiskSpaceLow",
            expr: "instance_mountpoint:node_filesystem_free:ratio",
            fires: Fires::Below(Kind::Ratio, &[warning(0.15, 10 * MINUTE), critical(0.05, 5 * MINUTE)]),
            options: &[],
            summary: "{{ $labels.mountpoint }} of {{ $labels.instance }} has {{ $value | humanizePercentage }} left",
            description: "The filesystem on {{ $labels.device }} has {{ $value | humanizePercentage }} of its space left.",
        }),
        Rule::Alert(Alert {
            name: "DiskFillingUp",
            expr: r#"predict_linear(node_filesystem_avail_bytes{fstype!~"tmpfs|ramfs|squashfs|overlay|iso9660|erofs"}[6h], $within) < 0
and on (job, instance, device, mountpoint) instance_mountpoint:node_filesystem_free:ratio < $free"#,
            fires: Fires::When("warning", 30 * MINUTE),
            options: &[option("within", Kind::Duration, DAY), option("free", Kind::Ratio, 0.40)],
            summary: "{{ $labels.mountpoint }} of {{ $labels.instance }} will soon be full",
            description: "If it goes on as in the last 6 hours, the filesystem on {{ $labels.device }} will be full within the time that this alert watches (a day by default).",
        }),
        Rule::Alert(Alert {
            name: "DiskInodesLow",
            expr: "instance_mountpoint:node_filesystem_inodes_free:ratio",
            fires: Fires::Below(Kind::Ratio, &[warning(0.10, 10 * MINUTE), critical(0.03, 5 * MINUTE)]),
            options: &[],
            summary: "{{ $labels.mountpoint }} of {{ $labels.instance }} runs out of inodes",
            description: "{{ $value | humanizePercentage }} of the inodes of {{ $labels.device }} are free: no new files can be made at zero, whatever space is left.",
        }),
    ],
};
