//! PostgreSQL and MySQL or MariaDB, by their exporters.

use super::Need;
use super::table::{Alert, Fires, Group, Kind, MINUTE, Rule, critical, option, record, warning};

pub(super) const GROUP: Group = Group {
    name: "databases",
    needs: Need::Database,
    builds_on: &[],
    rules: &[
        record(
            "instance:database_connections:ratio",
            "sum by (namespace, job, instance) (pg_stat_database_numbackends)
/ max by (namespace, job, instance) (pg_settings_max_connections)
or
max by (namespace, job, instance) (mysql_global_status_threads_connected)
/ max by (namespace, job, instance) (mysql_global_variables_max_connections)",
        ),
        record(
            "instance:database_queries:rate5m",
            "sum by (namespace, job, instance) (rate(pg_stat_database_xact_commit[5m]))
+ sum by (namespace, job, instance) (rate(pg_stat_database_xact_rollback[5m]))
or
sum by (namespace, job, instance) (rate(mysql_global_status_queries[5m]))",
        ),
        record(
            "instance:database_slow_queries:rate5m",
            "sum by (namespace, job, instance) (rate(mysql_global_status_slow_queries[5m]))",
        ),
        record(
            "instance:database_longest_transaction_seconds:max",
            r#"max by (namespace, job, instance) (pg_stat_activity_max_tx_duration{state="active"})"#,
        ),
        // Transactions that are rolled back, connections that do not come about.
        record(
            "instance:database_errors:ratio_rate5m",
            "sum by (namespace, job, instance) (rate(pg_stat_database_xact_rollback[5m]))
/ (instance:database_queries:rate5m > 0)
or
sum by (namespace, job, instance) (rate(mysql_global_status_aborted_connects[5m]))
/ (sum by (namespace, job, instance) (rate(mysql_global_status_connections[5m])) > 0)",
        ),
        // Deadlocks, queries ended by a conflict, clients that were gone or too late.
        record(
            "instance:database_timeouts:rate5m",
            "sum by (namespace, job, instance) (rate(pg_stat_database_deadlocks[5m]))
+ sum by (namespace, job, instance) (rate(pg_stat_database_conflicts[5m]))
or
sum by (namespace, job, instance) (rate(mysql_global_status_aborted_clients[5m]))",
        ),
        Rule::Alert(Alert {
            name: "DatabaseDown",
            // An exporter whose database drops packets has no answer within the time of a scrape.
            expr: r#"(
max by (namespace, job, instance) (pg_up)
or
max by (namespace, job, instance) (mysql_up)
or
max by (namespace, job, instance) (up{job=~"mysql|postgres"})
) == 0"#,
            fires: Fires::When("critical", MINUTE),
            options: &[],
            summary: "The database of {{ $labels.job }} ({{ $labels.instance }}) is down",
            description: "The exporter cannot log in to the database, or does not answer: it does not while it waits for a database that cannot be reached.",
        }),
        Rule::Alert(Alert {
            name: "DatabaseConnectionPoolExhausted",
            expr: "instance:database_connections:ratio",
            fires: Fires::Above(Kind::Ratio, &[warning(0.80, 5 * MINUTE), critical(0.95, 2 * MINUTE)]),
            options: &[],
            summary: "{{ $labels.job }} ({{ $labels.instance }}) uses {{ $value | humanizePercentage }} of its connections",
            description: "{{ $value | humanizePercentage }} of the connections that the database allows are taken; at 100 % it refuses new ones.",
        }),
        Rule::Alert(Alert {
            name: "SlowQueries",
            expr: "instance:database_slow_queries:rate5m > $rate or instance:database_longest_transaction_seconds:max > $duration",
            fires: Fires::When("warning", 5 * MINUTE),
            options: &[option("rate", Kind::Count, 0.1), option("duration", Kind::Duration, 60.0)],
            summary: "Queries of {{ $labels.job }} ({{ $labels.instance }}) are slow",
            description: "MySQL: slow queries a second; PostgreSQL: age of the longest active transaction in seconds. Now: {{ $value | humanize }}.",
        }),
        Rule::Alert(Alert {
            name: "DatabaseErrors",
            expr: "instance:database_errors:ratio_rate5m",
            fires: Fires::Above(Kind::Ratio, &[warning(0.10, 10 * MINUTE), critical(0.30, 10 * MINUTE)]),
            options: &[],
            summary: "{{ $labels.job }} ({{ $labels.instance }}): {{ $value | humanizePercentage }} end in an error",
            description: "PostgreSQL: share of the transactions that are rolled back; MySQL: share of the connections that do not come about.",
        }),
        Rule::Alert(Alert {
            name: "DatabaseTimeouts",
            expr: "instance:database_timeouts:rate5m",
            fires: Fires::Above(Kind::Count, &[warning(0.05, 10 * MINUTE), critical(1.0, 10 * MINUTE)]),
            options: &[],
            summary: "{{ $labels.job }} ({{ $labels.instance }}) gives up on {{ $value | humanize }} queries or clients a second",
            description: "PostgreSQL: deadlocks and queries that were ended by a conflict; MySQL: clients that were aborted, mostly by a timeout.",
        }),
        Rule::Alert(Alert {
            name: "ReplicationLag",
            expr: r#"max by (namespace, job, instance) ({__name__=~"pg_replication_lag|pg_replication_lag_seconds|mysql_slave_status_seconds_behind_master"})"#,
            fires: Fires::Above(Kind::Duration, &[warning(30.0, 5 * MINUTE), critical(300.0, 5 * MINUTE)]),
            options: &[],
            summary: "The replica {{ $labels.job }} ({{ $labels.instance }}) is {{ $value | humanizeDuration }} behind",
            description: "What is read from this replica is {{ $value | humanizeDuration }} old; as much is lost when it has to take over.",
        }),
        Rule::Alert(Alert {
            name: "ReplicationBacklog",
            expr: "max by (namespace, job, instance, application_name, client_addr) (pg_stat_replication_pg_wal_lsn_diff)",
            fires: Fires::Above(
                Kind::Bytes,
                &[warning(67_108_864.0, 10 * MINUTE), critical(1_073_741_824.0, 10 * MINUTE)],
            ),
            options: &[],
            summary: "A replica of {{ $labels.job }} ({{ $labels.instance }}) has {{ $value | humanize1024 }}B to catch up",
            description: "{{ $labels.application_name }} at {{ $labels.client_addr }} has not yet replayed {{ $value | humanize1024 }}B of the primary's log.",
        }),
    ],
};
