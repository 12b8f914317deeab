//! Database and cache: PostgreSQL, MySQL and Redis as their exporters see them. Pure.

use crate::dashboards::Parts;
use crate::dashboards::builder::{Board, Line, graphs, lists, numbers};
use crate::dashboards::model::Model;
use crate::dashboards::panel::{Color, Unit};
use crate::dashboards::panels::{bars, logs, stat, timeseries};
use crate::dashboards::settings::words;
use crate::dashboards::variables::values;

/// Targets of the exporters.
const ON: &str = r#"namespace=~"$namespace", instance=~"$instance""#;

/// The dashboard.
pub fn board(parts: Parts) -> Model {
    let about = "Connections, hit rates, slow queries, replication and size of PostgreSQL, \
                 MySQL (MariaDB) and Redis.";
    let up = r#"{__name__=~"pg_up|mysql_up|redis_up"}"#;
    let up_in = r#"{__name__=~"pg_up|mysql_up|redis_up", namespace=~"$namespace"}"#;
    Board::new("database", "Database and cache", about, &["data"])
        .variables([
            values("namespace", "Namespace", "Namespaces with an exporter.", &format!("label_values({up}, namespace)")),
            values("instance", "Server", "Databases and caches.", &format!("label_values({up_in}, instance)")),
        ])
        .links(&[("Overview", "overview", "Those who ask"), ("Logs", "logs", "What the servers log")])
        .alerts(r#"namespace=~"$namespace""#)
        .row("Now", [now()])
        .row("PostgreSQL", [postgres_load(), postgres_waits(), postgres_size()])
        .row("MySQL", [mysql_load(), mysql_waits()])
        .row("Redis", [redis_load(), redis_memory()])
        .row_if(parts.loki, "Slow queries in the logs", [slow_queries()])
        .finish()
}

fn rate(metric: &str, by: &str) -> String {
    format!("sum by ({by}) (rate({metric}{{{ON}}}[$__rate_interval]))")
}

fn now() -> Line {
    let up = |title: &str, metric: &str, about: &str| {
        stat(title, Unit::None, about)
            .metric(format!("min({metric}{{{ON}}})"), "")
            .said(words(("Down", Color::Red), ("Up", Color::Green)))
            .no_value("None watched")
    };
    numbers([
        up("PostgreSQL", "pg_up", "Whether every chosen PostgreSQL answers its exporter."),
        up("MySQL", "mysql_up", "Whether every chosen MySQL answers its exporter."),
        up("Redis", "redis_up", "Whether every chosen Redis answers its exporter."),
        stat(
            "Connections of the maximum",
            Unit::Ratio,
            "The server nearest to its maximum of connections. At 100 % it refuses new ones.",
        )
        .metric(format!("max({} or {} or {})", postgres_connections(), mysql_connections(), redis_connections()), "")
        .limits(0.8, 0.9)
        .no_value("?"),
        stat(
            "Lowest hit rate of a cache",
            Unit::Ratio,
            "Reads that Redis could answer. Below 80 % look, below 50 % it is hardly a cache.",
        )
        .metric(format!("min({})", redis_hits()), "")
        .floors(0.5, 0.8)
        .no_value("?"),
        stat("Longest transaction", Unit::Seconds, "Age of the oldest transaction in PostgreSQL.")
            .metric(format!("max(pg_stat_activity_max_tx_duration{{{ON}}})"), "")
            .limits(60.0, 300.0)
            .no_value("?"),
    ])
}

fn postgres_connections() -> String {
    format!(
        "sum by (instance) (pg_stat_activity_count{{{ON}}}) / max by (instance) \
         (pg_settings_max_connections{{{ON}}})"
    )
}

fn postgres_load() -> Line {
    let (hits, reads) = (
        rate("pg_stat_database_blks_hit", "instance, datname"),
        rate("pg_stat_database_blks_read", "instance, datname"),
    );
    graphs([
        timeseries(
            "Connections",
            Unit::Count,
            "Connections by what they do. Many that are idle in transaction are a fault of the application.",
        )
        .metric(format!("sum by (instance, state) (pg_stat_activity_count{{{ON}}})"), "{{instance}} {{state}}")
        .zero_based(),
        timeseries(
            "Transactions",
            Unit::OperationsPerSecond,
            "Transactions per second: committed (up) and rolled back (down).",
        )
        .metric(rate("pg_stat_database_xact_commit", "instance, datname"), "{{datname}} committed")
        .metric(format!("-{}", rate("pg_stat_database_xact_rollback", "instance, datname")), "{{datname}} rolled back"),
        timeseries(
            "Cache hits",
            Unit::Ratio,
            "Blocks that were found in memory, of all that were read. A busy database wants 99 %.",
        )
        .metric(format!("{hits} / ({hits} + {reads} > 0)"), "{{instance}} {{datname}}")
        .floors(0.9, 0.95)
        .range(0.0, 1.0),
    ])
}

fn postgres_waits() -> Line {
    graphs([
        timeseries("Longest transaction", Unit::Seconds, "Age of the oldest transaction by database and state.")
            .metric(
                format!("max by (instance, datname, state) (pg_stat_activity_max_tx_duration{{{ON}}}) > 0"),
                "{{datname}} {{state}}",
            )
            .limits(60.0, 300.0)
            .zero_based(),
        timeseries("Locks", Unit::Count, "Locks that are held, by mode. An ExclusiveLock makes others wait.")
            .metric(format!("sum by (instance, mode) (pg_locks_count{{{ON}}}) > 0"), "{{instance}} {{mode}}")
            .zero_based(),
        bars(
            "Deadlocks and conflicts",
            Unit::CountsPerSecond,
            "Transactions that were ended because they stood in each other's way, or in that of replication.",
        )
        .metric(rate("pg_stat_database_deadlocks", "instance, datname"), "{{datname}} deadlocks")
        .metric(rate("pg_stat_database_conflicts", "instance, datname"), "{{datname}} conflicts"),
    ])
}

fn postgres_size() -> Line {
    graphs([
        timeseries("Size of the databases", Unit::Bytes, "Space on disk by database.")
            .metric(format!("max by (instance, datname) (pg_database_size_bytes{{{ON}}})"), "{{instance}} {{datname}}")
            .zero_based(),
        timeseries("Replication lag", Unit::Bytes, "Log that a replica has not replayed yet, as the primary sees it.")
            .metric(
                format!("max by (instance, application_name) (pg_stat_replication_pg_wal_lsn_diff{{{ON}}})"),
                "{{instance}} to {{application_name}}",
            )
            .limits(67_108_864.0, 1_073_741_824.0)
            .zero_based(),
        timeseries("Rows", Unit::OperationsPerSecond, "Rows per second by what was done with them.")
            .metric(rate("pg_stat_database_tup_fetched", "instance"), "{{instance}} read")
            .metric(rate("pg_stat_database_tup_inserted", "instance"), "{{instance}} inserted")
            .metric(rate("pg_stat_database_tup_updated", "instance"), "{{instance}} updated")
            .metric(rate("pg_stat_database_tup_deleted", "instance"), "{{instance}} deleted"),
        bars(
            "Temporary files",
            Unit::BytesPerSecond,
            "What queries wrote to disk because work_mem was too small for them.",
        )
        .metric(rate("pg_stat_database_temp_bytes", "instance, datname"), "{{instance}} {{datname}}"),
    ])
}

fn mysql_connections() -> String {
    format!(
        "max by (instance) (mysql_global_status_threads_connected{{{ON}}}) / max by \
         (instance) (mysql_global_variables_max_connections{{{ON}}})"
    )
}

fn mysql_load() -> Line {
    let asked = rate("mysql_global_status_innodb_buffer_pool_read_requests", "instance");
    let read = rate("mysql_global_status_innodb_buffer_pool_reads", "instance");
    graphs([
        timeseries("Queries", Unit::OperationsPerSecond, "Statements per second.")
            .metric(rate("mysql_global_status_queries", "instance"), "{{instance}}")
            .zero_based(),
        bars("Slow queries", Unit::CountsPerSecond, "Queries per second that took longer than long_query_time.")
            .metric(rate("mysql_global_status_slow_queries", "instance"), "{{instance}}"),
        timeseries(
            "Cache hits",
            Unit::Ratio,
            "Reads that InnoDB's buffer pool could answer. A busy database wants 99 %.",
        )
        .metric(format!("1 - {read} / ({asked} > 0)"), "{{instance}}")
        .floors(0.9, 0.95)
        .range(0.0, 1.0),
    ])
}

fn mysql_waits() -> Line {
    graphs([
        timeseries("Connections of the maximum", Unit::Ratio, "Open connections over max_connections.")
            .metric(mysql_connections(), "{{instance}}")
            .limits(0.8, 0.9)
            .range(0.0, 1.0),
        bars(
            "Aborted",
            Unit::CountsPerSecond,
            "Connections that failed to open, and clients that went away without a word.",
        )
        .metric(rate("mysql_global_status_aborted_connects", "instance"), "{{instance}} failed")
        .metric(rate("mysql_global_status_aborted_clients", "instance"), "{{instance}} went away"),
        timeseries("Replication lag", Unit::Seconds, "How far a replica is behind.")
            .metric(format!("max by (instance) (mysql_slave_status_seconds_behind_master{{{ON}}})"), "{{instance}}")
            .limits(10.0, 60.0)
            .zero_based(),
    ])
}

fn redis_connections() -> String {
    format!(
        "max by (instance) (redis_connected_clients{{{ON}}}) / max by (instance) \
         (redis_config_maxclients{{{ON}}})"
    )
}

fn redis_hits() -> String {
    let (hits, misses) =
        (rate("redis_keyspace_hits_total", "instance"), rate("redis_keyspace_misses_total", "instance"));
    format!("{hits} / ({hits} + {misses} > 0)")
}

fn redis_load() -> Line {
    let (time, count) =
        (rate("redis_commands_duration_seconds_total", "instance, cmd"), rate("redis_commands_total", "instance, cmd"));
    graphs([
        timeseries(
            "Hit rate",
            Unit::Ratio,
            "Reads that found their key. Below 80 % look, below 50 % it is hardly a cache.",
        )
        .metric(redis_hits(), "{{instance}}")
        .floors(0.5, 0.8)
        .range(0.0, 1.0),
        timeseries("Commands", Unit::OperationsPerSecond, "Commands per second.")
            .metric(rate("redis_commands_processed_total", "instance"), "{{instance}}")
            .zero_based(),
        timeseries(
            "Time of a command",
            Unit::Seconds,
            "Mean time in the server of each of the ten slowest commands. While one runs, all others wait.",
        )
        .metric(format!("topk(10, {time} / ({count} > 0))"), "{{instance}} {{cmd}}")
        .zero_based(),
        bars("Slow log", Unit::CountsPerSecond, "Commands per second that took longer than slowlog-log-slower-than.")
            .metric(rate("redis_slowlog_last_id", "instance"), "{{instance}}"),
    ])
}

fn redis_memory() -> Line {
    graphs([
        timeseries(
            "Memory of the maximum",
            Unit::Ratio,
            "Of servers that have a maxmemory. At 100 % keys are evicted or writes refused.",
        )
        .metric(format!("redis_memory_used_bytes{{{ON}}} / (redis_memory_max_bytes{{{ON}}} > 0)"), "{{instance}}")
        .limits(0.8, 0.95)
        .range(0.0, 1.0),
        bars(
            "Keys that went",
            Unit::CountsPerSecond,
            "Keys that were evicted for want of memory, and those whose time was over.",
        )
        .metric(rate("redis_evicted_keys_total", "instance"), "{{instance}} evicted")
        .metric(rate("redis_expired_keys_total", "instance"), "{{instance}} expired")
        .colored(".*evicted$", Color::Orange),
        timeseries(
            "Clients",
            Unit::Count,
            "Open connections, and those per second that were refused because there were too many.",
        )
        .metric(format!("redis_connected_clients{{{ON}}}"), "{{instance}} connected")
        .metric(rate("redis_rejected_connections_total", "instance"), "{{instance}} refused")
        .colored(".*refused$", Color::Red)
        .zero_based(),
        timeseries("Keys", Unit::Count, "Keys by database.")
            .metric(format!("sum by (instance, db) (redis_db_keys{{{ON}}}) > 0"), "{{instance}} {{db}}")
            .zero_based(),
    ])
}

fn slow_queries() -> Line {
    // PostgreSQL's log_min_duration_statement, and MySQL's slow query log.
    let query = r#"{namespace=~"$namespace"} |~ "duration: [0-9]+\\.[0-9]+ ms|Query_time: [0-9.]+""#;
    lists([logs(
        "Slow queries",
        "Lines of PostgreSQL and MySQL that tell how long a query took. What counts \
         as slow is a setting of the server.",
    )
    .log(query, "")])
}
