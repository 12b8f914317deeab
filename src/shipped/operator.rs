//! Evenkeel itself.

use super::Need;
use super::table::{Alert, Fires, Group, Kind, MINUTE, Rule, critical, option, record, warning};

pub(super) const GROUP: Group = Group {
    name: "operator",
    needs: Need::Nothing,
    builds_on: &[],
    rules: &[
        record(
            "kind:evenkeel_reconcile_errors:ratio_rate5m",
            "sum by (namespace, job, kind) (rate(evenkeel_reconcile_errors_total[5m]))
/ (sum by (namespace, job, kind) (rate(evenkeel_reconciles_total[5m])) > 0)",
        ),
        Rule::Alert(Alert {
            name: "EvenkeelNoLeader",
            expr: "max by (namespace, job) (evenkeel_leader) == 0",
            fires: Fires::When("critical", 2 * MINUTE),
            options: &[],
            summary: "No replica of Evenkeel leads",
            description: "Alerts are still taken; rules, stacks, SLOs and repairs stand still.",
        }),
        Rule::Alert(Alert {
            name: "EvenkeelReconcileErrors",
            expr: "sum by (namespace, job, kind, reason) (increase(evenkeel_reconcile_errors_total[10m])) > $errors",
            fires: Fires::When("warning", 15 * MINUTE),
            options: &[option("errors", Kind::Count, 3.0)],
            summary: "Evenkeel cannot keep a {{ $labels.kind }} in order: {{ $labels.reason }}",
            description: "{{ $value | humanize }} attempts within 10 minutes failed with {{ $labels.reason }}.",
        }),
        Rule::Alert(Alert {
            name: "EvenkeelReceiverErrors",
            expr: r#"sum by (namespace, job) (rate(evenkeel_webhook_requests_total{code=~"5.."}[5m]))
/ (sum by (namespace, job) (rate(evenkeel_webhook_requests_total[5m])) > 0)"#,
            fires: Fires::Above(Kind::Ratio, &[warning(0.05, 5 * MINUTE), critical(0.50, 5 * MINUTE)]),
            options: &[],
            summary: "Evenkeel refuses {{ $value | humanizePercentage }} of the alerts that it is sent",
            description: "It cannot put them down in the API server; Alertmanager tries again, so repairs come late.",
        }),
        Rule::Alert(Alert {
            name: "EvenkeelRulesRejected",
            expr: r#"max by (exported_namespace, stack) (evenkeel_rules{state="rejected"}) > 0"#,
            fires: Fires::When("warning", 10 * MINUTE),
            options: &[],
            summary: "{{ $value | humanize }} rules of the stack {{ $labels.exported_namespace }}/{{ $labels.stack }} are refused",
            description: "AlertRules hold rules that are wrong: their last good version stays, or they are not live.",
        }),
        Rule::Alert(Alert {
            name: "RepairsFailing",
            expr: r#"round(sum by (namespace, job) (increase(evenkeel_response_runs_closed_total{verdict="Fail"}[1h])))"#,
            fires: Fires::Above(Kind::Count, &[warning(0.0, 0), critical(4.0, 0)]),
            options: &[],
            summary: "{{ $value | humanize }} repairs failed within an hour",
            description: "Evenkeel acted, and the alert did not resolve or the workload is not healthy: a person must look.",
        }),
    ],
};
