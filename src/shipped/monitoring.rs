//! Who watches the watchers: Prometheus and Alertmanager themselves.

use super::Need;
use super::table::{Alert, Fires, Group, Kind, MINUTE, Rule, critical, record, warning};

pub(super) const GROUP: Group = Group {
    name: "monitoring",
    needs: Need::Nothing,
    builds_on: &[],
    rules: &[
        record("job:up:ratio", "avg by (namespace, job) (up)"),
        record(
            "integration:notifications_failed:ratio_rate5m",
            "sum by (namespace, job, integration) (rate(alertmanager_notifications_failed_total[5m]))
/ (sum by (namespace, job, integration) (rate(alertmanager_notifications_total[5m])) > 0)",
        ),
        Rule::Alert(Alert {
            name: "Watchdog",
            expr: "vector(1)",
            fires: Fires::When("none", 0),
            options: &[],
            summary: "The way from Prometheus to the receivers is open",
            description: "This alert always fires. Whoever receives it should raise the alarm when it stops.",
        }),
        Rule::Alert(Alert {
            name: "TargetDown",
            expr: "1 - job:up:ratio",
            fires: Fires::Above(Kind::Ratio, &[warning(0.10, 10 * MINUTE)]),
            options: &[],
            summary: "{{ $value | humanizePercentage }} of the targets of {{ $labels.namespace }}/{{ $labels.job }} are down",
            description: "Prometheus cannot scrape {{ $value | humanizePercentage }} of the targets: what they measure is missing from every rule.",
        }),
        Rule::Alert(Alert {
            name: "RuleFailures",
            expr: "sum by (namespace, pod, rule_group) (increase(prometheus_rule_evaluation_failures_total[5m])) > 0",
            fires: Fires::When("warning", 10 * MINUTE),
            options: &[],
            summary: "Rules of {{ $labels.rule_group }} cannot be evaluated",
            description: "{{ $labels.pod }} failed {{ $value | humanize }} evaluations within 5 minutes: these rules alert nobody.",
        }),
        Rule::Alert(Alert {
            name: "RuleGroupSlow",
            expr: "max by (namespace, pod, rule_group) (prometheus_rule_group_last_duration_seconds)
/ max by (namespace, pod, rule_group) (prometheus_rule_group_interval_seconds)",
            fires: Fires::Above(Kind::Ratio, &[warning(0.80, 10 * MINUTE), critical(1.0, 10 * MINUTE)]),
            options: &[],
            summary: "The rules of {{ $labels.rule_group }} take {{ $value | humanizePercentage }} of their interval",
            description: "Above 100 % evaluations are left out, and alerts come late or not at all.",
        }),
        Rule::Alert(Alert {
            name: "AlertsNotDelivered",
            expr: "sum by (namespace, pod) (rate(prometheus_notifications_dropped_total[5m])) > 0",
            fires: Fires::When("critical", 10 * MINUTE),
            options: &[],
            summary: "Prometheus {{ $labels.pod }} cannot hand its alerts to Alertmanager",
            description: "{{ $value | humanize }} alerts a second are lost between Prometheus and Alertmanager.",
        }),
        Rule::Alert(Alert {
            name: "NotificationFailures",
            expr: "integration:notifications_failed:ratio_rate5m",
            fires: Fires::Above(Kind::Ratio, &[warning(0.01, 5 * MINUTE), critical(0.50, 5 * MINUTE)]),
            options: &[],
            summary: "{{ $value | humanizePercentage }} of the notifications by {{ $labels.integration }} fail",
            description: "Alertmanager gets errors from {{ $labels.integration }}: people are not told of alerts.",
        }),
        Rule::Alert(Alert {
            name: "ReloadFailed",
            expr: "max by (namespace, job, pod) (prometheus_config_last_reload_successful) == 0
or
max by (namespace, job, pod) (alertmanager_config_last_reload_successful) == 0",
            fires: Fires::When("critical", 5 * MINUTE),
            options: &[],
            summary: "{{ $labels.pod }} runs with an old configuration",
            description: "The last reload failed: changes of rules, targets or routes since then are not in force.",
        }),
        Rule::Alert(Alert {
            name: "StorageFailures",
            expr: "sum by (namespace, pod) (increase(prometheus_tsdb_compactions_failed_total[1h]))
+ sum by (namespace, pod) (increase(prometheus_tsdb_wal_corruptions_total[1h])) > 0",
            fires: Fires::When("critical", 0),
            options: &[],
            summary: "Prometheus {{ $labels.pod }} cannot keep its data in order",
            description: "A compaction failed or the log of recent samples is corrupt: history may be lost.",
        }),
        Rule::Alert(Alert {
            name: "RemoteWriteFailing",
            expr: "sum by (namespace, pod, remote_name) (rate(prometheus_remote_storage_samples_failed_total[5m]))
/ (sum by (namespace, pod, remote_name) (rate(prometheus_remote_storage_samples_total[5m])) > 0)",
            fires: Fires::Above(Kind::Ratio, &[warning(0.01, 10 * MINUTE), critical(0.20, 10 * MINUTE)]),
            options: &[],
            summary: "{{ $value | humanizePercentage }} of the samples to {{ $labels.remote_name }} are lost",
            description: "{{ $labels.pod }} gets an answer from the remote storage that forbids to try again.",
        }),
        Rule::Alert(Alert {
            name: "AlertmanagerMeshSplit",
            expr: r#"max by (namespace, job, instance) (alertmanager_cluster_members)
< on (namespace, job) group_left ()
count by (namespace, job) (up{job="alertmanager"} == 1)"#,
            fires: Fires::When("warning", 10 * MINUTE),
            options: &[],
            summary: "Alertmanager {{ $labels.instance }} does not see all of its peers",
            description: "It knows {{ $value | humanize }} members of the mesh: notifications are sent twice, silences do not reach every peer.",
        }),
    ],
};
