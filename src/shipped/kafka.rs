//! Consumer groups of Kafka, by an exporter of their lag.

use super::Need;
use super::table::{Alert, Fires, Group, Kind, MINUTE, Rule, critical, option, record, warning};

pub(super) const GROUP: Group = Group {
    name: "kafka",
    needs: Need::Kafka,
    builds_on: &[],
    rules: &[
        record(
            "consumergroup_topic:kafka_lag:sum",
            "sum by (namespace, job, consumergroup, topic) (kafka_consumergroup_lag >= 0)",
        ),
        Rule::Alert(Alert {
            name: "KafkaConsumerLag",
            expr: "consumergroup_topic:kafka_lag:sum",
            fires: Fires::Above(Kind::Count, &[warning(1000.0, 10 * MINUTE), critical(10_000.0, 10 * MINUTE)]),
            options: &[],
            summary: "{{ $labels.consumergroup }} is {{ $value | humanize }} messages behind on {{ $labels.topic }}",
            description: "The consumer group does not keep up with what is written to the topic.",
        }),
        Rule::Alert(Alert {
            name: "KafkaConsumerStuck",
            expr:
                "sum by (namespace, job, consumergroup, topic) (increase(kafka_consumergroup_current_offset[10m])) == 0
and
consumergroup_topic:kafka_lag:sum > $lag",
            fires: Fires::When("critical", 5 * MINUTE),
            options: &[option("lag", Kind::Count, 0.0)],
            summary: "{{ $labels.consumergroup }} reads nothing from {{ $labels.topic }}",
            description: "Messages are waiting, and the consumer group has committed none for 10 minutes.",
        }),
    ],
};
