//! Nodes: what the kubelet says of them, and what node-exporter adds. Pure.

use crate::dashboards::Parts;
use crate::dashboards::builder::{Board, Line, graphs, lists, numbers};
use crate::dashboards::model::Model;
use crate::dashboards::panel::{Property, Unit};
use crate::dashboards::panels::{bars, gauge, logs, stacked, stat, table, timeseries};
use crate::dashboards::settings::colored_limits;
use crate::dashboards::variables::values_or_none;

/// The root of all cgroups: the node itself.
const ROOT: &str = r#"node=~"$node", id="/""#;
const NODE: &str = r#"node=~"$node""#;
/// File systems with data on them, once each.
const DISKS: &str = concat!(
    r#"node=~"$node", fstype!~"tmpfs|ramfs|overlay|squashfs|fuse.*", "#,
    r#"mountpoint!~".*/(kubelet/pods|containerd|docker)/.+""#
);
/// Network cards, not the pods' halves of pairs.
const CARDS: &str = r#"node=~"$node", device!~"lo|veth.*|cali.*|cni.*|docker.*|flannel.*|lxc.*""#;

/// The dashboard.
pub fn board(parts: Parts) -> Model {
    let about = "CPU, memory, disks, network and pressure of the nodes. The first rows need the kubelet alone, the \
                 others node-exporter.";
    let node = values_or_none("node", "Node", "Nodes that a kubelet runs on.", "label_values(machine_cpu_cores, node)");
    Board::new("node", "Nodes", about, &["kubernetes"])
        .variables([node])
        .links(&[("Workloads", "workloads", "What runs on the nodes")])
        .alerts(r#"node=~"$node""#)
        .row("Now", [now()])
        .row("As the kubelet measures it", [usage(), pods(), volumes()])
        .row("CPU and memory (node-exporter)", [processor(), memory()])
        .row("Disks (node-exporter)", [space(), disks()])
        .row("Network and pressure (node-exporter)", [network(), pressure(), limits()])
        .row_if(parts.loki, "Journal", [journal()])
        .finish()
}

fn cpu() -> String {
    format!(
        "sum by (node) \
         (rate(container_cpu_usage_seconds_total{{{ROOT}}}[$__rate_interval])) / sum \
         by (node) (machine_cpu_cores{{{NODE}}})"
    )
}

fn used_memory() -> String {
    format!(
        "sum by (node) (container_memory_working_set_bytes{{{ROOT}}}) / sum by (node) \
         (machine_memory_bytes{{{NODE}}})"
    )
}

fn now() -> Line {
    numbers([
        stat("Nodes", Unit::Count, "Nodes whose kubelet answers.")
            .metric(format!("count(machine_cpu_cores{{{NODE}}})"), ""),
        gauge("CPU", "Share of all cores that is in use, on the busiest node.")
            .metric(format!("max({})", cpu()), "")
            .limits(0.8, 0.95),
        gauge(
            "Memory",
            "Working set over the memory there is, on the fullest node. Near 100 % pods \
             are evicted.",
        )
        .metric(format!("max({})", used_memory()), "")
        .limits(0.8, 0.9),
        gauge("Disk", "The fullest file system of the chosen nodes (node-exporter).")
            .metric(format!("max({})", full()), "")
            .limits(0.8, 0.9),
        stat("Pods", Unit::Count, "Pods that run on the chosen nodes.")
            .metric(format!("sum(kubelet_running_pods{{{NODE}}})"), ""),
    ])
}

fn usage() -> Line {
    graphs([
        timeseries("CPU", Unit::Ratio, "Share of the node's cores that is in use.")
            .metric(cpu(), "{{node}}")
            .limits(0.8, 0.95)
            .range(0.0, 1.0)
            .figures(),
        timeseries("Memory", Unit::Ratio, "Working set of everything on the node over its memory.")
            .metric(used_memory(), "{{node}}")
            .limits(0.8, 0.9)
            .range(0.0, 1.0)
            .figures(),
        timeseries(
            "Network",
            Unit::BytesPerSecond,
            "Bytes per second that the node receives (up) and sends (down), all interfaces.",
        )
        .metric(
            format!("sum by (node) (rate(container_network_receive_bytes_total{{{ROOT}}}[$__rate_interval]))"),
            "{{node}} in",
        )
        .metric(
            format!(
                "-sum by (node) \
                 (rate(container_network_transmit_bytes_total{{{ROOT}}}[$__rate_interval]))"
            ),
            "{{node}} out",
        ),
    ])
}

fn pods() -> Line {
    graphs([
        timeseries(
            "Pods and containers",
            Unit::Count,
            "What runs on the node. A kubelet takes 110 pods unless it is told otherwise.",
        )
        .metric(format!("sum by (node) (kubelet_running_pods{{{NODE}}})"), "{{node}} pods")
        .metric(
            format!(r#"sum by (node) (kubelet_running_containers{{{NODE}, container_state="running"}})"#),
            "{{node}} containers",
        ),
        timeseries(
            "Time to start a pod, p95",
            Unit::Seconds,
            "From the pod being seen to its containers running, without the time to pull \
             images.",
        )
        .metric(
            format!(
                "histogram_quantile(0.95, sum by (node, le) \
                 (rate(kubelet_pod_start_sli_duration_seconds_bucket{{{NODE}}}[$__rate_interval])))"
            ),
            "{{node}}",
        )
        .limits(5.0, 30.0),
        bars(
            "Errors of the container runtime",
            Unit::CountsPerSecond,
            "Calls of the kubelet to the container runtime that failed, by kind.",
        )
        .metric(
            format!(
                "sum by (node, operation_type) \
                 (rate(kubelet_runtime_operations_errors_total{{{NODE}}}[$__rate_interval]))"
            ),
            "{{node}} {{operation_type}}",
        ),
    ])
}

fn volumes() -> Line {
    let keys = "by (node, namespace, persistentvolumeclaim)";
    let columns = [
        ("node", "Node"),
        ("namespace", "Namespace"),
        ("persistentvolumeclaim", "Claim"),
        ("Value #A", "Size"),
        ("Value #B", "Used"),
        ("Value #C", "Inodes used"),
    ];
    let share = || [Property::Unit(Unit::Ratio)].into_iter().chain(colored_limits(0.8, 0.9));
    lists([table(
        "Volumes",
        Unit::Bytes,
        "Claims mounted on the chosen nodes, the fullest first. A full volume stops whatever writes to it.",
    )
    .metric(format!("max {keys} (kubelet_volume_stats_capacity_bytes{{{NODE}}})"), "")
    .metric(
        format!(
            "max {keys} (kubelet_volume_stats_used_bytes{{{NODE}}} / \
             kubelet_volume_stats_capacity_bytes{{{NODE}}})"
        ),
        "",
    )
    .metric(
        format!(
            "max {keys} (kubelet_volume_stats_inodes_used{{{NODE}}} / \
             (kubelet_volume_stats_inodes{{{NODE}}} > 0))"
        ),
        "",
    )
    .columns(&columns)
    .sorted_by("Used")
    .column("Used", share())
    .column("Inodes used", share())])
}

fn processor() -> Line {
    graphs([
        stacked(
            "CPU by mode",
            Unit::Cores,
            "Cores by what they do. Much iowait means slow disks, much steal a crowded \
             host.",
        )
        .metric(
            format!(r#"sum by (mode) (rate(node_cpu_seconds_total{{{NODE}, mode!="idle"}}[$__rate_interval]))"#),
            "{{mode}}",
        ),
        timeseries(
            "Load for each core",
            Unit::None,
            "Processes that run or wait for a disk, for each core, averaged over 5 \
             minutes. Above 1 something waits.",
        )
        .metric(
            format!(
                "max by (instance, node) (node_load5{{{NODE}}}) / count by (instance, node) \
                 (node_cpu_seconds_total{{{NODE}, mode=\"idle\"}})"
            ),
            "{{node}} {{instance}}",
        )
        .limits(1.0, 2.0)
        .zero_based(),
    ])
}

fn memory() -> Line {
    graphs([
        timeseries("Memory available", Unit::Ratio, "What can be had without swapping, of all memory.")
            .metric(
                format!("node_memory_MemAvailable_bytes{{{NODE}}} / node_memory_MemTotal_bytes{{{NODE}}}"),
                "{{node}} {{instance}}",
            )
            .floors(0.1, 0.2)
            .range(0.0, 1.0),
        bars(
            "Killed for want of memory",
            Unit::CountsPerSecond,
            "Processes that the kernel killed because memory ran out.",
        )
        .metric(format!("rate(node_vmstat_oom_kill{{{NODE}}}[$__rate_interval])"), "{{node}} {{instance}}"),
    ])
}

/// Share of each file system that is in use.
fn full() -> String {
    format!("1 - node_filesystem_avail_bytes{{{DISKS}}} / node_filesystem_size_bytes{{{DISKS}}}")
}

fn space() -> Line {
    graphs([
        timeseries("Disk space used", Unit::Ratio, "Share of each file system that is in use.")
            .metric(full(), "{{node}} {{instance}} {{mountpoint}}")
            .limits(0.8, 0.9)
            .range(0.0, 1.0),
        timeseries(
            "Time until a disk is full",
            Unit::Seconds,
            "At the pace of the last 6 hours. File systems that do not fill up are left \
             out.",
        )
        .metric(
            format!(
                "node_filesystem_avail_bytes{{{DISKS}}} / \
                 (-deriv(node_filesystem_avail_bytes{{{DISKS}}}[6h]) > 0) < 30 * 86400"
            ),
            "{{node}} {{instance}} {{mountpoint}}",
        )
        .floors(86400.0, 259_200.0)
        .no_value("Nothing fills up"),
        timeseries(
            "Inodes used",
            Unit::Ratio,
            "Share of each file system's inodes. Many small files use them up before the \
             space.",
        )
        .metric(
            format!(
                "1 - node_filesystem_files_free{{{DISKS}}} / \
                 (node_filesystem_files{{{DISKS}}} > 0)"
            ),
            "{{node}} {{instance}} {{mountpoint}}",
        )
        .limits(0.8, 0.9)
        .range(0.0, 1.0),
    ])
}

fn disks() -> Line {
    let rate = |metric: &str| format!("rate({metric}{{{NODE}}}[$__rate_interval])");
    graphs([
        timeseries("Disk throughput", Unit::BytesPerSecond, "Bytes per second that are read (up) and written (down).")
            .metric(rate("node_disk_read_bytes_total"), "{{node}} {{device}} read")
            .metric(format!("-{}", rate("node_disk_written_bytes_total")), "{{node}} {{device}} written"),
        timeseries(
            "Disk operations",
            Unit::InputOutputPerSecond,
            "Operations per second: reads (up) and writes (down).",
        )
        .metric(rate("node_disk_reads_completed_total"), "{{node}} {{device}} reads")
        .metric(format!("-{}", rate("node_disk_writes_completed_total")), "{{node}} {{device}} writes"),
        timeseries(
            "Disk busy",
            Unit::Ratio,
            "Share of the time in which the disk had something to do. One that is always \
             busy is the bottleneck.",
        )
        .metric(rate("node_disk_io_time_seconds_total"), "{{node}} {{device}}")
        .limits(0.8, 0.95)
        .range(0.0, 1.0),
    ])
}

fn network() -> Line {
    let rate = |metric: &str| format!("rate({metric}{{{CARDS}}}[$__rate_interval])");
    graphs([
        timeseries("Network by card", Unit::BytesPerSecond, "Bytes per second received (up) and sent (down).")
            .metric(rate("node_network_receive_bytes_total"), "{{node}} {{device}} in")
            .metric(format!("-{}", rate("node_network_transmit_bytes_total")), "{{node}} {{device}} out"),
        bars("Network errors and drops", Unit::CountsPerSecond, "Packets per second that were damaged or dropped.")
            .metric(
                format!("{} + {}", rate("node_network_receive_errs_total"), rate("node_network_transmit_errs_total")),
                "{{node}} {{device}} errors",
            )
            .metric(
                format!("{} + {}", rate("node_network_receive_drop_total"), rate("node_network_transmit_drop_total")),
                "{{node}} {{device}} drops",
            ),
    ])
}

fn pressure() -> Line {
    let share = |kind: &str| format!("rate(node_pressure_{kind}_waiting_seconds_total{{{NODE}}}[$__rate_interval])");
    graphs([
        timeseries(
            "Pressure",
            Unit::Ratio,
            "Share of the time in which some process waited for CPU, memory or disk: the \
             earliest sign of a node that is too small.",
        )
        .metric(share("cpu"), "{{node}} CPU")
        .metric(share("memory"), "{{node}} memory")
        .metric(share("io"), "{{node}} disk")
        .limits(0.2, 0.5)
        .zero_based(),
        timeseries(
            "Sent again",
            Unit::Ratio,
            "TCP segments that had to be sent again, of all that were sent. Above 1 % the \
             network loses packets.",
        )
        .metric(
            format!(
                "rate(node_netstat_Tcp_RetransSegs{{{NODE}}}[$__rate_interval]) / \
                 rate(node_netstat_Tcp_OutSegs{{{NODE}}}[$__rate_interval])"
            ),
            "{{node}} {{instance}}",
        )
        .limits(0.01, 0.05)
        .zero_based(),
    ])
}

fn limits() -> Line {
    graphs([
        timeseries(
            "Limits of the kernel",
            Unit::Ratio,
            "Connections that are tracked and files that are open, of what the kernel \
             allows. At 100 % new ones fail.",
        )
        .metric(
            format!("node_nf_conntrack_entries{{{NODE}}} / node_nf_conntrack_entries_limit{{{NODE}}}"),
            "{{node}} connections",
        )
        .metric(format!("node_filefd_allocated{{{NODE}}} / node_filefd_maximum{{{NODE}}}"), "{{node}} files")
        .limits(0.75, 0.9)
        .range(0.0, 1.0),
        timeseries(
            "Clock",
            Unit::Seconds,
            "How far the clock is from its source. Wrong clocks break certificates, \
             traces and the order of logs.",
        )
        .metric(format!("abs(node_timex_offset_seconds{{{NODE}}})"), "{{node}} {{instance}}")
        .limits(0.05, 0.5)
        .zero_based(),
    ])
}

fn journal() -> Line {
    lists([logs("Journal", "Lines of the journals and of files of the chosen nodes.")
        .log(r#"{source=~"journal|files"} | node=~"$node""#, "")])
}
