//! The queries that tell where all SLOs of a stack stand, whatever their number, and what their answers mean. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::budget::Reading;
use super::series::{BURN_RATE, ERRORS_RATE, ERRORS_WINDOW, TOTAL_RATE, TOTAL_WINDOW, WINDOW_POINTS};
use super::status::Group;
use crate::prometheus::Sample;

/// The sums. Their points are a step apart, so at the moment of the query the last one may just have gone stale.
pub const SUMS: &str = "last_over_time({__name__=~\"evenkeel:slo_(errors|total):window|evenkeel:slo_window_points:count\"}[11m]) \
                        or last_over_time(evenkeel:slo_burn_rate:ratio{window!=\"1h\"}[11m])";
/// What happens now.
pub const RATES: &str =
    "{__name__=~\"evenkeel:slo_(errors|total):rate5m\"} or evenkeel:slo_burn_rate:ratio{window=\"1h\"}";
/// When the sums were recorded.
pub const RECORDED: &str = "max_over_time(timestamp(evenkeel:slo_total:window)[11m:30s])";

/// Which SLO a series speaks of: namespace, name, and the service, which tells the series from before a change of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SloKey {
    pub namespace: String,
    pub name: String,
    pub service: String,
}

/// Labels that are not those of groupBy.
const OWN: [&str; 5] = ["__name__", "slo_namespace", "slo", "service", "window"];

/// The readings of every SLO, by group. `sums` and `rates` are the answers to [`SUMS`] and [`RATES`], `recorded` to [`RECORDED`].
pub fn readings(sums: &[Sample], rates: &[Sample], recorded: &[Sample]) -> BTreeMap<SloKey, Vec<Group>> {
    let mut found = Found::new();
    for sample in sums.iter().chain(rates) {
        let label = |name: &str| sample.labels.get(name).map_or("", String::as_str);
        let reading = entry(&mut found, sample);
        let place = match (label("__name__"), label("window")) {
            (ERRORS_WINDOW, _) => &mut reading.errors,
            (TOTAL_WINDOW, _) => &mut reading.total,
            (WINDOW_POINTS, _) => &mut reading.points,
            (ERRORS_RATE, _) => &mut reading.error_rate,
            (TOTAL_RATE, _) => &mut reading.total_rate,
            (BURN_RATE, "1h") => &mut reading.burn_rates[0],
            (BURN_RATE, "6h") => &mut reading.burn_rates[1],
            (BURN_RATE, "3d") => &mut reading.burn_rates[2],
            _ => continue,
        };
        *place = Some(sample.value);
    }
    for sample in recorded {
        entry(&mut found, sample).recorded = Timestamp::from_millisecond((sample.value * 1_000.0) as i64).ok();
    }
    let groups = |groups: BTreeMap<BTreeMap<String, String>, Reading>| {
        groups.into_iter().map(|(labels, reading)| Group { labels, reading }).collect()
    };
    found.into_iter().map(|(key, found)| (key, groups(found))).collect()
}

/// Readings by SLO and groupBy labels.
type Found = BTreeMap<SloKey, BTreeMap<BTreeMap<String, String>, Reading>>;

/// The reading that a series belongs to.
fn entry<'a>(found: &'a mut Found, sample: &Sample) -> &'a mut Reading {
    let label = |name: &str| sample.labels.get(name).cloned().unwrap_or_default();
    let key = SloKey { namespace: label("slo_namespace"), name: label("slo"), service: label("service") };
    let group = sample.labels.iter().filter(|(name, _)| !OWN.contains(&name.as_str()));
    let group = group.map(|(name, value)| (name.clone(), value.clone())).collect();
    found.entry(key).or_default().entry(group).or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(labels: &[(&str, &str)], value: f64) -> Sample {
        let own = [("slo_namespace", "shop"), ("slo", "api"), ("service", "checkout")];
        let labels = own.iter().chain(labels).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Sample { labels: labels.collect(), value }
    }

    #[test]
    fn the_series_of_a_group_come_together() {
        let eu = |name| [("__name__", name), ("region", "eu")];
        let sums = [
            sample(&eu(ERRORS_WINDOW), 1.0),
            sample(&eu(TOTAL_WINDOW), 100.0),
            sample(&eu(WINDOW_POINTS), 8_640.0),
            sample(&[("__name__", BURN_RATE), ("window", "3d"), ("region", "eu")], 0.5),
            sample(&[("__name__", TOTAL_WINDOW), ("region", "us")], 7.0),
        ];
        let rates =
            [sample(&eu(TOTAL_RATE), 2.0), sample(&[("__name__", BURN_RATE), ("window", "1h"), ("region", "eu")], 3.0)];
        let recorded = [sample(&[("region", "eu")], 1_700_000_000.137)];
        let found = readings(&sums, &rates, &recorded);
        let key = SloKey { namespace: "shop".into(), name: "api".into(), service: "checkout".into() };
        let groups = &found[&key];
        assert_eq!(groups.len(), 2);
        let reading = &groups[0].reading;
        assert_eq!((reading.errors, reading.total, reading.points), (Some(1.0), Some(100.0), Some(8_640.0)));
        assert_eq!(
            (reading.total_rate, reading.error_rate, reading.burn_rates),
            (Some(2.0), None, [Some(3.0), None, Some(0.5)])
        );
        assert_eq!(reading.recorded.unwrap().as_millisecond(), 1_700_000_000_137);
        assert_eq!((groups[1].labels["region"].as_str(), groups[1].reading.total), ("us", Some(7.0)));
    }
}
