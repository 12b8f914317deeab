//! Templates for what a business counts: `orders_created_total`, `orders_cancelled_total`, `deliveries_total` and
//! `delivery_failures_total`. Silent where nobody counts these.

use super::Need;
use super::table::{Alert, Fires, Group, Kind, MINUTE, Rule, critical, option, record, warning};

pub(super) const GROUP: Group = Group {
    name: "business",
    needs: Need::Nothing,
    builds_on: &[],
    rules: &[
        record("job:orders_created:rate5m", "sum by (namespace, job) (rate(orders_created_total[5m]))"),
        record(
            "job:orders_cancelled:ratio_rate30m",
            "sum by (namespace, job) (rate(orders_cancelled_total[30m]))
/ (sum by (namespace, job) (rate(orders_created_total[30m])) > 0)",
        ),
        record(
            "job:delivery_failures:ratio_rate30m",
            "sum by (namespace, job) (rate(delivery_failures_total[30m]))
/ (sum by (namespace, job) (rate(deliveries_total[30m])) > 0)",
        ),
        Rule::Alert(Alert {
            name: "OrderRateLow",
            expr: "job:orders_created:rate5m
  < $ratio * (avg_over_time(job:orders_created:rate5m[1h] offset 1d) > $minimumRate)
unless
job:orders_created:rate5m >= $ratio * avg_over_time(job:orders_created:rate5m[1h] offset 1w)",
            fires: Fires::When("critical", 15 * MINUTE),
            options: &[option("ratio", Kind::Ratio, 0.5), option("minimumRate", Kind::Count, 0.01)],
            summary: "Few orders come in at {{ $labels.namespace }}/{{ $labels.job }}",
            description: "{{ $value | humanize }} orders a second, far below the same hour of yesterday and of last week.",
        }),
        Rule::Alert(Alert {
            name: "CancellationsHigh",
            expr: "job:orders_cancelled:ratio_rate30m",
            fires: Fires::Above(Kind::Ratio, &[warning(0.10, 15 * MINUTE), critical(0.25, 15 * MINUTE)]),
            options: &[],
            summary: "{{ $value | humanizePercentage }} of the orders of {{ $labels.namespace }}/{{ $labels.job }} are cancelled",
            description: "For each hundred orders of the last 30 minutes {{ $value | humanizePercentage }} were cancelled.",
        }),
        Rule::Alert(Alert {
            name: "DeliveryFailures",
            expr: "job:delivery_failures:ratio_rate30m",
            fires: Fires::Above(Kind::Ratio, &[warning(0.05, 15 * MINUTE), critical(0.15, 15 * MINUTE)]),
            options: &[],
            summary: "{{ $value | humanizePercentage }} of the deliveries of {{ $labels.namespace }}/{{ $labels.job }} fail",
            description: "Over the last 30 minutes {{ $value | humanizePercentage }} of the deliveries failed.",
        }),
    ],
};
