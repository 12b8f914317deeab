//! Durations as Prometheus writes them: `30s`, `5m`, `1h30m`, `31d`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A duration in Prometheus notation: units `y w d h m s ms` in descending order, each at most once, or `0`.
/// Kept as milliseconds; printed in the shortest Prometheus notation, so that two spellings of one value are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PromDuration(pub Duration);

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{value:?} is not a duration: write it as Prometheus does, for example 30s, 5m, 1h30m or 31d")]
pub struct InvalidDuration {
    pub value: String,
}

/// Unit and its length in milliseconds, longest first (Prometheus: a year is 365 days).
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

const PATTERN: &str = "^(0|([0-9]+y)?([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?)$";

impl PromDuration {
    pub const fn from_secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }
    pub const fn from_mins(mins: u64) -> Self {
        Self(Duration::from_secs(mins * 60))
    }
    pub fn is_zero(&self) -> bool {
        self.0.is_zero()
    }
    pub fn as_secs(&self) -> u64 {
        self.0.as_secs()
    }
    /// For comparison with the time between two moments.
    pub fn span(&self) -> SignedDuration {
        SignedDuration::try_from(self.0).unwrap_or(SignedDuration::MAX)
    }
    /// So long after a moment, or at the end of time.
    pub fn after(&self, moment: Timestamp) -> Timestamp {
        moment.checked_add(self.span()).unwrap_or(Timestamp::MAX)
    }
}

impl FromStr for PromDuration {
    type Err = InvalidDuration;

    fn from_str(value: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidDuration { value: value.to_owned() };
        if value == "0" {
            return Ok(Self::default());
        }
        let mut rest = value;
        let mut millis: u64 = 0;
        let mut next_unit = 0;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let number: u64 = rest[..digits].parse().map_err(|_| invalid())?;
            rest = &rest[digits..];
            let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
            let position = UNITS.iter().position(|(unit, _)| *unit == &rest[..letters]).ok_or_else(invalid)?;
            if position < next_unit {
                return Err(invalid());
            }
            next_unit = position + 1;
            millis = number.checked_mul(UNITS[position].1).and_then(|m| millis.checked_add(m)).ok_or_else(invalid)?;
            rest = &rest[letters..];
        }
        if value.is_empty() { Err(invalid()) } else { Ok(Self(Duration::from_millis(millis))) }
    }
}

impl fmt::Display for PromDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_millis() as u64;
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, length) in UNITS {
            // Prometheus itself prints years and weeks only when nothing is left over.
            if matches!(unit, "y" | "w") && !rest.is_multiple_of(length) {
                continue;
            }
            if rest >= length {
                write!(f, "{}{unit}", rest / length)?;
                rest %= length;
            }
        }
        Ok(())
    }
}

impl Serialize for PromDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PromDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for PromDuration {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "PromDuration".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": PATTERN, "minLength": 1, "maxLength": 32})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_printed_in_the_shortest_notation() {
        for (written, printed) in [
            ("90s", "1m30s"),
            ("5m", "5m"),
            ("0", "0s"),
            ("24h", "1d"),
            ("31d", "31d"),
            ("28d", "4w"),
            ("1h0m", "1h"),
            ("200ms", "200ms"),
        ] {
            assert_eq!(written.parse::<PromDuration>().unwrap().to_string(), printed);
        }
    }

    #[test]
    fn a_length_without_end_ends_with_time() {
        let start = Timestamp::UNIX_EPOCH;
        assert_eq!(PromDuration::from_mins(2).after(start).to_string(), "1970-01-01T00:02:00Z");
        assert_eq!(PromDuration(Duration::MAX).after(start), Timestamp::MAX);
        assert_eq!(PromDuration(Duration::MAX).span(), SignedDuration::MAX);
    }

    #[test]
    fn what_prometheus_refuses_is_refused_with_an_example() {
        for wrong in ["", "5", "m", "5m1h", "1m1m", "-5m", "1.5h", "5 m", "99999999999999999999y"] {
            let error = wrong.parse::<PromDuration>().unwrap_err();
            assert!(error.to_string().contains("for example 30s"), "{wrong}: {error}");
        }
    }
}
