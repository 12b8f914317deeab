//! Certificates that will expire: those that probes see, and those that cert-manager keeps.

use super::Need;
use super::table::{Alert, DAY, Fires, Group, HOUR, Kind, Rule, critical, record, warning};

pub(super) const GROUP: Group = Group {
    name: "certificates",
    needs: Need::Probes,
    builds_on: &[],
    rules: &[
        record(
            "instance:certificate_remaining_seconds:min",
            "min by (namespace, job, instance) (probe_ssl_earliest_cert_expiry) - time()
or
min by (namespace, exported_namespace, job, name) (certmanager_certificate_expiration_timestamp_seconds) - time()",
        ),
        Rule::Alert(Alert {
            name: "CertificateExpiry",
            expr: "instance:certificate_remaining_seconds:min",
            fires: Fires::Below(Kind::Duration, &[warning(14.0 * DAY, HOUR), critical(3.0 * DAY, HOUR / 6)]),
            options: &[],
            summary: "A certificate of {{ $labels.instance }}{{ $labels.name }} expires in {{ $value | humanizeDuration }}",
            description: "After that clients refuse to connect. Nobody renewed it in time, or the server was not told of the new one.",
        }),
    ],
};
