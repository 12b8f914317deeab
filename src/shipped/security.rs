//! Who is refused: requests without rights, and requests beyond a limit.

use super::Need;
use super::table::{Alert, Fires, Group, Kind, MINUTE, Rule, critical, option, record, warning};

pub(super) const GROUP: Group = Group {
    name: "security",
    needs: Need::Nothing,
    builds_on: &["service"],
    rules: &[
        record(
            "job:http_auth_failures:rate5m",
            r#"sum by (namespace, job) (job_code:http_requests:rate5m{code=~"401|403"})"#,
        ),
        record(
            "job:http_rate_limited:ratio_rate5m",
            r#"sum by (namespace, job) (job_code:http_requests:rate5m{code="429"}) / (job:http_requests:rate5m > 0)"#,
        ),
        // Without an hour of history any rate above the threshold is a spike.
        Rule::Alert(Alert {
            name: "AuthenticationFailureSpike",
            expr: "job:http_auth_failures:rate5m
unless
job:http_auth_failures:rate5m <= $factor * avg_over_time(job:http_auth_failures:rate5m[1h] offset 30m)",
            fires: Fires::Above(Kind::Count, &[warning(1.0, 5 * MINUTE), critical(10.0, 5 * MINUTE)]),
            options: &[option("factor", Kind::Count, 3.0)],
            summary: "{{ $labels.namespace }}/{{ $labels.job }} refuses {{ $value | humanize }} requests a second",
            description: "{{ $labels.job }} in {{ $labels.namespace }} answers {{ $value | humanize }} requests a second with 401 or 403, several times as many as an hour ago.",
        }),
        Rule::Alert(Alert {
            name: "RateLimitViolations",
            expr: "job:http_rate_limited:ratio_rate5m",
            fires: Fires::Above(Kind::Ratio, &[warning(0.05, 5 * MINUTE), critical(0.20, 5 * MINUTE)]),
            options: &[],
            summary: "{{ $labels.namespace }}/{{ $labels.job }} limits {{ $value | humanizePercentage }} of its requests",
            description: "{{ $labels.job }} in {{ $labels.namespace }} answers {{ $value | humanizePercentage }} of its requests with 429.",
        }),
    ],
};
