//! Health of what is asked from outside, by the blackbox exporter.

use super::Need;
use super::table::{Alert, Fires, Group, Kind, MINUTE, Rule, critical, record, warning};

pub(super) const GROUP: Group = Group {
    name: "probes",
    needs: Need::Probes,
    builds_on: &[],
    rules: &[
        record("job:probe_success:avg5m", "avg by (namespace, job, instance) (avg_over_time(probe_success[5m]))"),
        Rule::Alert(Alert {
            name: "HealthCheckFail",
            expr: "max by (namespace, job, instance) (probe_success) == 0",
            fires: Fires::When("critical", 2 * MINUTE),
            options: &[],
            summary: "The health check {{ $labels.job }} of {{ $labels.instance }} fails",
            description: "The probe reaches nothing, or gets another answer than it should.",
        }),
        Rule::Alert(Alert {
            name: "HealthCheckSlow",
            expr: "max by (namespace, job, instance) (probe_duration_seconds)",
            fires: Fires::Above(Kind::Duration, &[warning(1.0, 5 * MINUTE), critical(5.0, 5 * MINUTE)]),
            options: &[],
            summary: "The health check {{ $labels.job }} of {{ $labels.instance }} takes {{ $value | humanizeDuration }}",
            description: "The answer comes, and late: name resolution, connection, TLS and the answer itself are counted.",
        }),
    ],
};
