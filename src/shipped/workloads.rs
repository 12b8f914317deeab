//! Pods, what runs them, and the nodes as Kubernetes sees them: by kube-state-metrics, whose own labels say which
//! object a series is about.

use super::Need;
use super::table::{Alert, Fires, Group, HOUR, Kind, MINUTE, Rule, critical, record, warning};

pub(super) const GROUP: Group = Group {
    name: "workloads",
    needs: Need::KubeState,
    builds_on: &[],
    rules: &[
        record(
            "namespace_deployment:replicas_available:ratio",
            "max by (namespace, deployment) (kube_deployment_status_replicas_available)
/ (max by (namespace, deployment) (kube_deployment_spec_replicas) > 0)",
        ),
        record(
            "namespace_pod_container:restarts:increase1h",
            "sum by (namespace, pod, container) (increase(kube_pod_container_status_restarts_total[1h]))",
        ),
        Rule::Alert(Alert {
            name: "PodDown",
            expr: r#"max by (namespace, pod) (kube_pod_status_ready{condition="true"}) == 0
unless on (namespace, pod) (kube_pod_status_phase{phase=~"Succeeded|Failed"} == 1)"#,
            fires: Fires::When("warning", 10 * MINUTE),
            options: &[],
            summary: "Pod {{ $labels.namespace }}/{{ $labels.pod }} is not ready",
            description: "The pod has not been ready for 10 minutes or longer.",
        }),
        Rule::Alert(Alert {
            name: "PodRestartingTooOften",
            expr: "namespace_pod_container:restarts:increase1h",
            fires: Fires::Above(Kind::Count, &[warning(3.0, 0), critical(8.0, 0)]),
            options: &[],
            summary: "{{ $labels.container }} of {{ $labels.namespace }}/{{ $labels.pod }} restarts again and again",
            description: "The container was restarted {{ $value | humanize }} times within an hour.",
        }),
        Rule::Alert(Alert {
            name: "ContainerOOMKilled",
            expr: r#"max by (namespace, pod, container) (kube_pod_container_status_last_terminated_reason{reason="OOMKilled"}) == 1
and
sum by (namespace, pod, container) (increase(kube_pod_container_status_restarts_total[15m])) > 0"#,
            fires: Fires::When("warning", 0),
            options: &[],
            summary: "{{ $labels.container }} of {{ $labels.namespace }}/{{ $labels.pod }} ran out of memory",
            description: "The kernel ended the container because it reached its memory limit.",
        }),
        Rule::Alert(Alert {
            name: "DeploymentReplicaMismatch",
            expr: "namespace_deployment:replicas_available:ratio < 1",
            fires: Fires::When("warning", 15 * MINUTE),
            options: &[],
            summary: "Deployment {{ $labels.namespace }}/{{ $labels.deployment }} has fewer replicas than it should",
            description: "{{ $value | humanizePercentage }} of the wanted replicas are available.",
        }),
        Rule::Alert(Alert {
            name: "DeploymentRolloutStuck",
            expr: r#"max by (namespace, deployment) (kube_deployment_status_condition{condition="Progressing",status="false"}) == 1"#,
            fires: Fires::When("critical", 5 * MINUTE),
            options: &[],
            summary: "The rollout of {{ $labels.namespace }}/{{ $labels.deployment }} does not go on",
            description: "Kubernetes gave up waiting: the new pods did not become ready within progressDeadlineSeconds.",
        }),
        Rule::Alert(Alert {
            name: "StatefulSetReplicaMismatch",
            expr: "max by (namespace, statefulset) (kube_statefulset_status_replicas_ready)
/ (max by (namespace, statefulset) (kube_statefulset_replicas) > 0) < 1",
            fires: Fires::When("warning", 15 * MINUTE),
            options: &[],
            summary: "StatefulSet {{ $labels.namespace }}/{{ $labels.statefulset }} has fewer replicas than it should",
            description: "{{ $value | humanizePercentage }} of the wanted replicas are ready.",
        }),
        Rule::Alert(Alert {
            name: "DaemonSetMissingPods",
            expr: "max by (namespace, daemonset) (kube_daemonset_status_number_ready)
/ (max by (namespace, daemonset) (kube_daemonset_status_desired_number_scheduled) > 0) < 1",
            fires: Fires::When("warning", 15 * MINUTE),
            options: &[],
            summary: "DaemonSet {{ $labels.namespace }}/{{ $labels.daemonset }} is missing on some nodes",
            description: "{{ $value | humanizePercentage }} of its pods are ready.",
        }),
        Rule::Alert(Alert {
            name: "JobFailed",
            // But for the Jobs that run the tests of an AlertRule, whose failures its status tells.
            expr: r#"max by (namespace, job_name) (kube_job_failed{condition="true",job_name!~".+-rule-test-[0-9a-f]{10}"}) == 1"#,
            fires: Fires::When("warning", 0),
            options: &[],
            summary: "Job {{ $labels.namespace }}/{{ $labels.job_name }} has failed",
            description: "The Job used up its attempts; nothing tries it again.",
        }),
        Rule::Alert(Alert {
            name: "HPAMaxedOut",
            expr: "max by (namespace, horizontalpodautoscaler) (kube_horizontalpodautoscaler_status_current_replicas)
>= max by (namespace, horizontalpodautoscaler) (kube_horizontalpodautoscaler_spec_max_replicas)
and max by (namespace, horizontalpodautoscaler) (kube_horizontalpodautoscaler_spec_max_replicas)
> max by (namespace, horizontalpodautoscaler) (kube_horizontalpodautoscaler_spec_min_replicas)",
            fires: Fires::When("warning", 15 * MINUTE),
            options: &[],
            summary: "Autoscaler {{ $labels.namespace }}/{{ $labels.horizontalpodautoscaler }} is at its maximum",
            description: "It runs {{ $value | humanize }} replicas and may not add more.",
        }),
        Rule::Alert(Alert {
            name: "NodeNotReady",
            expr: r#"max by (node) (kube_node_status_condition{condition="Ready",status="true"}) == 0"#,
            fires: Fires::When("critical", 5 * MINUTE),
            options: &[],
            summary: "Node {{ $labels.node }} is not ready",
            description: "Its kubelet does not report that the node can run pods.",
        }),
        Rule::Alert(Alert {
            name: "PodPending",
            expr: r#"max by (namespace, pod) (kube_pod_status_phase{phase="Pending"}) == 1"#,
            fires: Fires::When("warning", HOUR / 4),
            options: &[],
            summary: "Pod {{ $labels.namespace }}/{{ $labels.pod }} does not start",
            description: "The pod has been waiting for a node, a volume or an image for 15 minutes or longer.",
        }),
    ],
};
