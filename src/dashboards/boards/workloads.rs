//! Kubernetes workloads: the pods of a workload, and whether Kubernetes can give them what they want. Pure.

use crate::dashboards::Parts;
use crate::dashboards::builder::{Board, Line, graphs, lists, numbers};
use crate::dashboards::model::Model;
use crate::dashboards::panel::{Property, Unit};
use crate::dashboards::panels::{bars, logs, stacked, stat, table, timeseries};
use crate::dashboards::settings::colored_limits;
use crate::dashboards::variables::{namespace, workload};

const RUNNING: &str = r#"@of, container!="", container!="POD""#;

/// The dashboard.
pub fn board(parts: Parts) -> Model {
    let about = "CPU, memory, network and volumes of the pods of the chosen workloads. What Kubernetes wants of them \
                 comes from kube-state-metrics.";
    Board::new("workloads", "Kubernetes workloads", about, &["kubernetes"])
        .variables([namespace(), workload()])
        .links(&[
            ("Overview", "overview", "Requests of the same workloads"),
            ("Logs", "logs", "Logs of the same workloads"),
            ("Nodes", "node", "Where they run"),
        ])
        .alerts(r#"namespace=~"$namespace""#)
        .row("Now", [now()])
        .row("CPU", [cpu()])
        .row("Memory", [memory()])
        .row("Network and disks", [traffic()])
        .row("Pods", [pods()])
        .row("Rollouts and restarts (kube-state-metrics)", [rollouts(), restarts()])
        .row_if(parts.loki, "Errors in the logs", [errors()])
        .finish()
}

fn used_cpu(by: &str) -> String {
    format!("sum by ({by}) (rate(container_cpu_usage_seconds_total{{{RUNNING}}}[$__rate_interval]))")
}

fn used_memory(by: &str) -> String {
    format!("sum by ({by}) (container_memory_working_set_bytes{{{RUNNING}}})")
}

/// Of the containers that have a limit.
fn memory_share(by: &str) -> String {
    let limit = format!("(container_spec_memory_limit_bytes{{{RUNNING}}} > 0)");
    format!("max by ({by}) (container_memory_working_set_bytes{{{RUNNING}}} / {limit})")
}

fn throttled(by: &str) -> String {
    let rate = |metric: &str| format!("sum by ({by}) (rate({metric}{{{RUNNING}}}[$__rate_interval]))");
    format!("{} / ({} > 0)", rate("container_cpu_cfs_throttled_periods_total"), rate("container_cpu_cfs_periods_total"))
}

fn now() -> Line {
    numbers([
        stat("Pods", Unit::Count, "Pods of the chosen workloads that run.").metric(
            format!(
                "count(count by (namespace, pod) \
                 (container_memory_working_set_bytes{{{RUNNING}}}))"
            ),
            "",
        ),
        stat("CPU", Unit::Cores, "Cores in use by all of them.").metric(used_cpu(""), "").decimals(2),
        stat("Memory", Unit::Bytes, "Working set of all of them.").metric(used_memory(""), ""),
        stat(
            "Nearest to its memory limit",
            Unit::Ratio,
            "The container that uses most of its limit. At 100 % it is killed.",
        )
        .metric(memory_share(""), "")
        .limits(0.8, 0.95)
        .no_value("No limits"),
        stat(
            "Killed for want of memory",
            Unit::Count,
            "Processes in the chosen pods that the kernel killed within the time range.",
        )
        .metric(format!("sum(increase(container_oom_events_total{{{RUNNING}}}[$__range])) or vector(0)"), "")
        .at_most(1.0)
        .decimals(0),
        stat("Restarts", Unit::Count, "Restarts of containers within the time range (kube-state-metrics).")
            .metric("sum(increase(kube_pod_container_status_restarts_total{@of}[$__range]))", "")
            .limits(1.0, 5.0)
            .decimals(0)
            .no_value("?"),
    ])
}

fn cpu() -> Line {
    graphs([
        stacked("CPU by pod", Unit::Cores, "Cores in use by each pod.").metric(used_cpu("pod"), "{{pod}}"),
        timeseries("CPU of the limit", Unit::Ratio, "Cores in use over the limit, of containers that have one.")
            .metric(
                format!(
                    "{} / sum by (pod, container) (container_spec_cpu_quota{{{RUNNING}}} / \
                     container_spec_cpu_period{{{RUNNING}}})",
                    used_cpu("pod, container")
                ),
                "{{pod}} {{container}}",
            )
            .limits(0.8, 0.95)
            .zero_based(),
        timeseries(
            "Throttled",
            Unit::Ratio,
            "Share of the periods of 100 ms in which a container had to wait because it \
             had used up its limit. Latency suffers first.",
        )
        .metric(throttled("pod, container"), "{{pod}} {{container}}")
        .limits(0.25, 0.5)
        .range(0.0, 1.0),
    ])
}

fn memory() -> Line {
    graphs([
        stacked("Memory by pod", Unit::Bytes, "Working set of each pod: what counts against its limit.")
            .metric(used_memory("pod"), "{{pod}}"),
        timeseries("Memory of the limit", Unit::Ratio, "Working set over the limit, of containers that have one.")
            .metric(memory_share("pod, container"), "{{pod}} {{container}}")
            .limits(0.8, 0.95)
            .range(0.0, 1.0),
        timeseries(
            "Memory of the request",
            Unit::Ratio,
            "Working set over the request. Above 100 % a pod is among the first to be \
             evicted (kube-state-metrics).",
        )
        .metric(
            format!(
                r#"{} / sum by (pod, container) (kube_pod_container_resource_requests{{@of, resource="memory"}})"#,
                used_memory("pod, container")
            ),
            "{{pod}} {{container}}",
        )
        .zero_based(),
    ])
}

fn traffic() -> Line {
    let rate = |metric: &str| format!("sum by (pod) (rate({metric}{{@of}}[$__rate_interval]))");
    graphs([
        timeseries("Network", Unit::BytesPerSecond, "Bytes per second that each pod receives (up) and sends (down).")
            .metric(rate("container_network_receive_bytes_total"), "{{pod}} in")
            .metric(format!("-{}", rate("container_network_transmit_bytes_total")), "{{pod}} out"),
        bars(
            "Packets dropped",
            Unit::CountsPerSecond,
            "Packets per second that did not reach a pod or did not leave it.",
        )
        .metric(
            format!(
                "{} + {}",
                rate("container_network_receive_packets_dropped_total"),
                rate("container_network_transmit_packets_dropped_total")
            ),
            "{{pod}}",
        ),
        timeseries("Disk", Unit::BytesPerSecond, "Bytes per second that each pod reads (up) and writes (down).")
            .metric(rate("container_fs_reads_bytes_total"), "{{pod}} read")
            .metric(format!("-{}", rate("container_fs_writes_bytes_total")), "{{pod}} written"),
    ])
}

fn pods() -> Line {
    let of = "namespace, pod";
    let columns = [
        ("namespace", "Namespace"),
        ("pod", "Pod"),
        ("Value #A", "CPU"),
        ("Value #B", "Memory"),
        ("Value #C", "Memory of the limit"),
        ("Value #D", "Throttled"),
        ("Value #E", "Age"),
    ];
    let share = |warning, critical| [Property::Unit(Unit::Ratio)].into_iter().chain(colored_limits(warning, critical));
    lists([table(
        "Pods",
        Unit::Count,
        "Each pod at this moment. Its age is that of its youngest container, so that a restart shows.",
    )
    .metric(used_cpu(of), "")
    .metric(used_memory(of), "")
    .metric(memory_share(of), "")
    .metric(throttled(of), "")
    .metric(format!("time() - max by ({of}) (container_start_time_seconds{{{RUNNING}}})"), "")
    .columns(&columns)
    .sorted_by("CPU")
    .column("CPU", [Property::Unit(Unit::Cores)])
    .column("Memory", [Property::Unit(Unit::Bytes)])
    .column("Memory of the limit", share(0.8, 0.95))
    .column("Throttled", share(0.25, 0.5))
    .column("Age", [Property::Unit(Unit::Seconds)])])
}

fn rollouts() -> Line {
    let own = |kind: &str| format!(r#"namespace=~"$namespace", {kind}=~"$workload""#);
    let missing = |kind: &str, wanted: &str, there: &str| {
        let own = own(kind);
        format!("kube_{kind}_{wanted}{{{own}}} - kube_{kind}_{there}{{{own}}}")
    };
    let about = "Wanted and not available. For more than some minutes: the rollout is stuck.";
    let daemons = missing("daemonset", "status_desired_number_scheduled", "status_number_available");
    let scaler = |which: &str| format!(r#"kube_horizontalpodautoscaler_{which}_replicas{{namespace=~"$namespace"}}"#);
    graphs([
        timeseries("Replicas that are missing", Unit::Count, about)
            .metric(missing("deployment", "spec_replicas", "status_replicas_available"), "Deployment {{deployment}}")
            .metric(missing("statefulset", "replicas", "status_replicas_ready"), "StatefulSet {{statefulset}}")
            .metric(daemons, "DaemonSet {{daemonset}}")
            .at_most(1.0)
            .zero_based(),
        timeseries(
            "Autoscalers",
            Unit::Ratio,
            "Replicas over the maximum of the HorizontalPodAutoscaler. At 100 % it cannot help any more.",
        )
        .metric(format!("{} / {}", scaler("status_current"), scaler("spec_max")), "{{horizontalpodautoscaler}}")
        .limits(0.9, 1.0)
        .range(0.0, 1.0),
        timeseries("Pods by phase", Unit::Count, "A pod that stays Pending finds no node, or no image.")
            .metric("sum by (phase) (kube_pod_status_phase{@of})", "{{phase}}"),
    ])
}

fn restarts() -> Line {
    graphs([
        bars("Restarts", Unit::Count, "Restarts of containers.").metric(
            "sum by (pod, container) \
             (increase(kube_pod_container_status_restarts_total{@of}[$__rate_interval])) \
             > 0",
            "{{pod}} {{container}}",
        ),
        timeseries("Why containers wait", Unit::Count, "CrashLoopBackOff, ImagePullBackOff and the like.")
            .metric(
                "sum by (pod, container, reason) (kube_pod_container_status_waiting_reason{@of}) > 0",
                "{{reason}} {{pod}} {{container}}",
            )
            .no_value("None waits"),
        timeseries("Why containers ended", Unit::Count, "Reason of the last end: OOMKilled, Error, Completed.")
            .metric(
                "sum by (pod, container, reason) (kube_pod_container_status_last_terminated_reason{@of}) > 0",
                "{{reason}} {{pod}} {{container}}",
            )
            .no_value("None ended"),
    ])
}

fn errors() -> Line {
    lists([logs("Newest errors", "Lines of the error streams of the chosen workloads.")
        .log(r#"{@logs, stream="errors"}"#, "")])
}
