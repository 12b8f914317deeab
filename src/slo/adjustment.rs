//! BudgetAdjustments: the periods that a budget leaves out, and the shares that it gets back. Pure.

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan};

use super::validate::Refusal;
use super::window::{DAY, duration};
use crate::api::budget_adjustment::{BudgetAdjustmentSpec, Every, Exclude};

/// Longest period that may be left out.
const MAX: u64 = 31 * DAY;
/// Repetitions that are looked at: more than the longest window (93 days), with what may reach into it, holds of days.
const MAX_REPEATS: usize = 200;

/// A time `(start, end]`, as the points of steps count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interval {
    pub start: Timestamp,
    pub end: Timestamp,
}

/// Everything that is wrong with an adjustment.
pub fn check(adjustment: &BudgetAdjustmentSpec) -> Vec<Refusal> {
    let mut refusals = vec![];
    if adjustment.exclude.is_some() == adjustment.give_back.is_some() {
        refusals.push(Refusal::new("exclude", "set exactly one of exclude and giveBack"));
    }
    if let Some(exclude) = &adjustment.exclude {
        let length = exclude.duration.as_secs();
        if length == 0 || length > MAX {
            refusals.push(Refusal::new(
                "exclude.duration",
                format!("{} is not between 1s and {}", exclude.duration, duration(MAX)),
            ));
        }
        let zone = exclude.repeat.as_ref().and_then(|repeat| repeat.time_zone.as_deref());
        if let Some(zone) = zone.filter(|zone| TimeZone::get(zone).is_err()) {
            refusals.push(Refusal::new(
                "exclude.repeat.timeZone",
                format!("{zone:?} is not a time zone: write an IANA name, for example Europe/Paris or UTC"),
            ));
        }
        let every = exclude.repeat.as_ref().map(|repeat| match repeat.every {
            Every::Day => DAY,
            Every::Week => 7 * DAY,
            Every::Month => 28 * DAY,
        });
        if every.is_some_and(|every| length >= every) {
            refusals.push(Refusal::new(
                "exclude.duration",
                format!("{} is as long as the time until it repeats: nothing would ever count", exclude.duration),
            ));
        }
    }
    if let Some(back) = adjustment.give_back.as_ref().filter(|back| !(back.percent > 0.0 && back.percent <= 1_000.0)) {
        refusals.push(Refusal::new(
            "giveBack.percent",
            format!("{} is not a share of the budget: more than 0, at most 1000", back.percent),
        ));
    }
    refusals
}

/// The parts of a window whose points adjustments leave out: those of every step that a period touches. Without overlaps, in their order.
pub fn excluded<'a>(excludes: impl IntoIterator<Item = &'a Exclude>, window: Interval, step: u64) -> Vec<Interval> {
    let mut found: Vec<Interval> = excludes.into_iter().flat_map(|exclude| occurrences(exclude, window)).collect();
    for interval in &mut found {
        // A point speaks of the step before it: the last one that is touched lies almost a step behind the end.
        let reach = jiff::SignedDuration::from_secs(i64::try_from(step).unwrap_or(1) - 1);
        interval.end = interval.end.checked_add(reach).unwrap_or(interval.end).min(window.end);
        interval.start = interval.start.max(window.start);
    }
    found.retain(|interval| interval.start < interval.end);
    merge(&mut found);
    found
}

/// In their order, those that touch joined: what is in two of them counts once.
pub fn merge(intervals: &mut Vec<Interval>) {
    intervals.sort();
    intervals.dedup_by(|next, kept| {
        let joins = next.start <= kept.end;
        if joins {
            kept.end = kept.end.max(next.end);
        }
        joins
    });
}

/// When a period takes place within a window.
fn occurrences(exclude: &Exclude, window: Interval) -> Vec<Interval> {
    let length = exclude.duration.0;
    let at = |start: Timestamp| Some(Interval { start, end: start.checked_add(length).ok()? });
    let Some(repeat) = &exclude.repeat else { return at(exclude.start.0).into_iter().collect() };
    let zone = repeat.time_zone.as_deref().map_or(Ok(TimeZone::UTC), TimeZone::get).unwrap_or(TimeZone::UTC);
    let first = exclude.start.0.to_zoned(zone);
    let days = window.start.duration_since(exclude.start.0).as_secs() / DAY as i64;
    // The first repetition that may still reach into the window; months are no longer than 31 days.
    let skip = |length: i64| (days / length - 2 - MAX as i64 / DAY as i64 / length).max(0);
    let (from, span): (i64, fn(i64) -> Span) = match repeat.every {
        Every::Day => (skip(1), |n| n.days()),
        Every::Week => (skip(7), |n| n.weeks()),
        Every::Month => (skip(31), |n| n.months()),
    };
    // Always counted from the first: the 31st stays the 31st after a short month.
    (from..)
        .take(MAX_REPEATS)
        .map_while(|n| first.checked_add(span(n)).ok())
        .map(|start| start.timestamp())
        .take_while(|start| *start < window.end && repeat.until.as_ref().is_none_or(|until| *start < until.0))
        .filter_map(at)
        .filter(|interval| interval.end > window.start)
        .collect()
}

/// Share of the whole budget that is given back: that of every moment within the window.
pub fn given_back<'a>(adjustments: impl IntoIterator<Item = &'a BudgetAdjustmentSpec>, window: Interval) -> f64 {
    let within = |at: Timestamp| at > window.start && at <= window.end;
    let shares = adjustments.into_iter().filter_map(|adjustment| adjustment.give_back.as_ref());
    shares.filter(|back| within(back.at.0)).map(|back| back.percent / 100.0).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exclude(text: &str) -> Exclude {
        serde_saphyr::from_str(text).unwrap()
    }

    fn interval(start: &str, end: &str) -> Interval {
        Interval { start: start.parse().unwrap(), end: end.parse().unwrap() }
    }

    fn november() -> Interval {
        interval("2026-11-01T00:00:00Z", "2026-11-21T12:00:00Z")
    }

    #[test]
    fn a_period_takes_every_step_that_it_touches_and_is_cut_to_the_window() {
        let once = exclude("{start: '2026-11-14T01:02:00Z', duration: 45m}");
        let found = excluded([&once], november(), 300);
        assert_eq!(found, [interval("2026-11-14T01:02:00Z", "2026-11-14T01:51:59Z")]);
        let early = exclude("{start: '2026-10-31T23:00:00Z', duration: 2h}");
        assert_eq!(excluded([&early], november(), 300), [interval("2026-11-01T00:00:00Z", "2026-11-01T01:04:59Z")]);
        let gone = exclude("{start: '2026-10-01T00:00:00Z', duration: 2h}");
        assert_eq!(excluded([&gone], november(), 300), []);
    }

    #[test]
    fn periods_that_overlap_are_left_out_once() {
        let (one, two) = (
            exclude("{start: '2026-11-14T01:00:00Z', duration: 1h}"),
            exclude("{start: '2026-11-14T01:30:00Z', duration: 1h}"),
        );
        assert_eq!(excluded([&two, &one], november(), 300), [interval("2026-11-14T01:00:00Z", "2026-11-14T02:34:59Z")]);
    }

    #[test]
    fn a_repeated_period_keeps_its_time_of_the_day() {
        let weekly =
            exclude("{start: '2025-07-05T00:00:00Z', duration: 2h, repeat: {every: Week, timeZone: Europe/Paris}}");
        let found = excluded([&weekly], november(), 300);
        // Saturdays at 02:00 in Paris: 00:00 UTC in summer, 01:00 in winter.
        let starts: Vec<String> = found.iter().map(|interval| interval.start.to_string()).collect();
        assert_eq!(starts, ["2026-11-07T01:00:00Z", "2026-11-14T01:00:00Z", "2026-11-21T01:00:00Z"]);
    }

    #[test]
    fn a_repetition_ends_and_months_are_counted_from_the_first() {
        let monthly = exclude(
            "{start: '2026-01-31T10:00:00Z', duration: 1h, repeat: {every: Month, until: '2026-04-01T00:00:00Z'}}",
        );
        let found = excluded([&monthly], interval("2026-02-01T00:00:00Z", "2026-12-31T00:00:00Z"), 300);
        let starts: Vec<String> = found.iter().map(|interval| interval.start.to_string()).collect();
        assert_eq!(starts, ["2026-02-28T10:00:00Z", "2026-03-31T10:00:00Z"]);
    }

    #[test]
    fn a_share_counts_while_its_moment_lies_in_the_window() {
        let back = |at: &str| -> BudgetAdjustmentSpec {
            serde_saphyr::from_str(&format!("{{slos: [x], giveBack: {{percent: 25, at: '{at}'}}}}")).unwrap()
        };
        assert_eq!(given_back([&back("2026-11-14T00:00:00Z"), &back("2026-10-14T00:00:00Z")], november()), 0.25);
    }

    #[test]
    fn adjustments_without_a_meaning_are_refused() {
        let wrong = |text: &str| check(&serde_saphyr::from_str(&format!("{{slos: [x], {text}}}")).unwrap());
        for (text, field) in [
            ("exclude: {start: '2026-11-14T01:00:00Z', duration: 0s}", "exclude.duration"),
            ("exclude: {start: '2026-11-14T01:00:00Z', duration: 1d, repeat: {every: Day}}", "exclude.duration"),
            (
                "exclude: {start: '2026-11-14T01:00:00Z', duration: 1h, repeat: {every: Day, timeZone: X}}",
                "exclude.repeat.timeZone",
            ),
            ("giveBack: {percent: 0, at: '2026-11-14T01:00:00Z'}", "giveBack.percent"),
            ("cause: x", "exclude"),
        ] {
            assert_eq!(wrong(text).first().map(|refusal| refusal.field.as_str()), Some(field), "{text}");
        }
    }
}
