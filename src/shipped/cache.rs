//! Redis as a cache, by its exporter.

use super::Need;
use super::table::{Alert, Fires, Group, Kind, MINUTE, Rule, critical, option, record, warning};

pub(super) const GROUP: Group = Group {
    name: "cache",
    needs: Need::Redis,
    builds_on: &[],
    rules: &[
        record(
            "instance:cache_lookups:rate5m",
            "sum by (namespace, job, instance) (rate(redis_keyspace_hits_total[5m]))
+ sum by (namespace, job, instance) (rate(redis_keyspace_misses_total[5m]))",
        ),
        record(
            "instance:cache_hits:ratio_rate5m",
            "sum by (namespace, job, instance) (rate(redis_keyspace_hits_total[5m])) / (instance:cache_lookups:rate5m > 0)",
        ),
        record(
            "instance:redis_memory_usage:ratio",
            "max by (namespace, job, instance) (redis_memory_used_bytes)
/ max by (namespace, job, instance) (redis_memory_max_bytes > 0)",
        ),
        record(
            "instance:redis_connections:ratio",
            "max by (namespace, job, instance) (redis_connected_clients)
/ max by (namespace, job, instance) (redis_config_maxclients > 0)",
        ),
        Rule::Alert(Alert {
            name: "RedisDown",
            // As of databases: who waits for Redis does not answer Prometheus.
            expr: r#"(
max by (namespace, job, instance) (redis_up)
or
max by (namespace, job, instance) (up{job="redis"})
) == 0"#,
            fires: Fires::When("critical", MINUTE),
            options: &[],
            summary: "Redis of {{ $labels.job }} ({{ $labels.instance }}) is down",
            description: "The exporter gets no answer from Redis, or does not answer itself: it does not while it waits.",
        }),
        Rule::Alert(Alert {
            name: "CacheHitRateLow",
            expr: "instance:cache_hits:ratio_rate5m and instance:cache_lookups:rate5m > $minimumRate",
            fires: Fires::Below(Kind::Ratio, &[warning(0.80, 10 * MINUTE), critical(0.50, 10 * MINUTE)]),
            options: &[option("minimumRate", Kind::Count, 1.0)],
            summary: "The cache {{ $labels.job }} ({{ $labels.instance }}) answers {{ $value | humanizePercentage }} of the lookups",
            description: "What the cache does not hold is asked of the database: {{ $value | humanizePercentage }} of the lookups were hits.",
        }),
        Rule::Alert(Alert {
            name: "RedisMemoryHigh",
            expr: "instance:redis_memory_usage:ratio",
            fires: Fires::Above(Kind::Ratio, &[warning(0.85, 10 * MINUTE), critical(0.95, 5 * MINUTE)]),
            options: &[],
            summary: "Redis of {{ $labels.job }} ({{ $labels.instance }}) uses {{ $value | humanizePercentage }} of maxmemory",
            description: "At 100 % Redis evicts keys, or refuses writes, as its maxmemory-policy says.",
        }),
        Rule::Alert(Alert {
            name: "RedisConnectionsHigh",
            expr: "instance:redis_connections:ratio",
            fires: Fires::Above(Kind::Ratio, &[warning(0.80, 5 * MINUTE), critical(0.95, 2 * MINUTE)]),
            options: &[],
            summary: "Redis of {{ $labels.job }} ({{ $labels.instance }}) uses {{ $value | humanizePercentage }} of its connections",
            description: "At 100 % of maxclients Redis refuses new connections.",
        }),
    ],
};
