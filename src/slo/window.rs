//! Windows: their length, their resolution, and the periods of a calendar. Pure.

use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use crate::api::duration::PromDuration;
use crate::api::slo::{Calendar, Window as WindowSpec};

pub const MINUTE: u64 = 60;
pub const HOUR: u64 = 3_600;
pub const DAY: u64 = 86_400;

/// Longest rolling window: a quarter.
const MAX_DAYS: u64 = 92;

/// A checked window.
#[derive(Clone, Debug)]
pub enum Window {
    Rolling(PromDuration),
    Calendar { period: Calendar, zone: TimeZone, zone_name: String },
}

/// A period of a calendar: `[start, end)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Period {
    /// Date on which it begins, for example 2026-11-01: the label `period` of its series.
    pub label: String,
    pub start: Timestamp,
    pub end: Timestamp,
}

impl Window {
    /// Refused with the field (below `window`) and its words.
    pub fn of(spec: &WindowSpec) -> Result<Self, (&'static str, String)> {
        match (spec.rolling, spec.calendar) {
            (Some(length), None) => {
                if spec.time_zone.is_some() {
                    return Err((
                        "timeZone",
                        "a rolling window has no time zone: remove timeZone, or write calendar instead of rolling"
                            .into(),
                    ));
                }
                if length.is_zero() {
                    return Err(("rolling", "a window of 0 holds no events: write for example 30d".into()));
                }
                if length.as_secs() < HOUR || length.as_secs() > MAX_DAYS * DAY {
                    return Err((
                        "rolling",
                        format!(
                            "{length} is outside of 1h to {MAX_DAYS}d: a shorter window has too few points, and Prometheus keeps no longer one exactly"
                        ),
                    ));
                }
                if !length.0.as_secs().is_multiple_of(5 * MINUTE) || length.0.subsec_nanos() != 0 {
                    return Err((
                        "rolling",
                        format!("{length} is not a multiple of 5m, the resolution at which budgets are kept"),
                    ));
                }
                Ok(Self::Rolling(length))
            }
            (None, Some(period)) => {
                let Some(name) = &spec.time_zone else {
                    return Err(("timeZone", "a calendar window needs to know when a day begins: write timeZone, for example Europe/Paris or UTC".into()));
                };
                let zone = TimeZone::get(name).map_err(|_| {
                    ("timeZone", format!("{name:?} is not a time zone: write an IANA name, for example Europe/Paris, America/New_York or UTC"))
                })?;
                Ok(Self::Calendar { period, zone, zone_name: name.clone() })
            }
            _ => Err((
                "rolling",
                "set exactly one of rolling (for example 30d) and calendar (week, month or quarter)".into(),
            )),
        }
    }

    /// Nominal length in seconds: a month counts 30 days, a quarter 91.
    pub fn seconds(&self) -> u64 {
        match self {
            Self::Rolling(length) => length.as_secs(),
            Self::Calendar { period: Calendar::Week, .. } => 7 * DAY,
            Self::Calendar { period: Calendar::Month, .. } => 30 * DAY,
            Self::Calendar { period: Calendar::Quarter, .. } => 91 * DAY,
        }
    }

    /// How far back the sums reach, in seconds: for a calendar at least the longest period, with the hour that a day
    /// may have more.
    pub fn reach(&self) -> u64 {
        match self {
            Self::Rolling(length) => length.as_secs(),
            Self::Calendar { period: Calendar::Week, .. } => 8 * DAY,
            Self::Calendar { period: Calendar::Month, .. } => 32 * DAY,
            Self::Calendar { period: Calendar::Quarter, .. } => 93 * DAY,
        }
    }

    /// How long samples must be kept, in seconds, for the whole window to be counted.
    pub fn needs(&self) -> u64 {
        match self {
            Self::Rolling(length) => length.as_secs(),
            Self::Calendar { .. } => self.reach() - DAY,
        }
    }

    /// Distance of the points that are summed over the window, in seconds: 5 minutes, so that 30 days are 8,640
    /// points; 1 minute for windows shorter than a day.
    pub fn step(&self) -> u64 {
        if self.seconds() < DAY { MINUTE } else { 5 * MINUTE }
    }

    /// As people say it: `30d`, `month (Europe/Paris)`.
    pub fn label(&self) -> String {
        match self {
            // Days, also where Prometheus would write weeks: 28d is what the person wrote.
            Self::Rolling(length) if length.as_secs().is_multiple_of(DAY) => format!("{}d", length.as_secs() / DAY),
            Self::Rolling(length) => length.to_string(),
            Self::Calendar { period, zone_name, .. } => {
                let name = match period {
                    Calendar::Week => "week",
                    Calendar::Month => "month",
                    Calendar::Quarter => "quarter",
                };
                format!("{name} ({zone_name})")
            }
        }
    }

    /// The period in which `now` lies and the next two, so that rules which nobody rewrites stay right meanwhile.
    /// Empty for a rolling window.
    pub fn periods(&self, now: Timestamp) -> Vec<Period> {
        let Self::Calendar { period, zone, .. } = self else { return vec![] };
        let mut starts = vec![];
        let mut date = beginning(*period, now.to_zoned(zone.clone()).date());
        for _ in 0..4 {
            let Some(start) = instant(date, zone) else { break };
            starts.push((date, start));
            let Some(next) = following(*period, date) else { break };
            date = next;
        }
        starts
            .windows(2)
            .map(|pair| Period { label: pair[0].0.to_string(), start: pair[0].1, end: pair[1].1 })
            .collect()
    }
}

/// The first day of the period in which a day lies.
fn beginning(period: Calendar, day: Date) -> Date {
    match period {
        Calendar::Week => {
            let since_monday = i64::from(day.weekday().since(Weekday::Monday));
            day.checked_sub(since_monday.days()).unwrap_or(day)
        }
        Calendar::Month => day.first_of_month(),
        Calendar::Quarter => {
            let first = (day.month() - 1) / 3 * 3 + 1;
            Date::new(day.year(), first, 1).unwrap_or(day)
        }
    }
}

fn following(period: Calendar, day: Date) -> Option<Date> {
    match period {
        Calendar::Week => day.checked_add(7.days()).ok(),
        Calendar::Month => day.checked_add(1.month()).ok(),
        Calendar::Quarter => day.checked_add(3.months()).ok(),
    }
}

/// Where a day begins; after a change of the clock that leaves midnight out, at the first moment that exists.
fn instant(day: Date, zone: &TimeZone) -> Option<Timestamp> {
    day.to_zoned(zone.clone()).ok().map(|zoned| zoned.timestamp())
}

/// A duration in the notation of Prometheus.
pub fn duration(seconds: u64) -> PromDuration {
    PromDuration::from_secs(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calendar(period: Calendar, zone: &str) -> Window {
        Window::of(&WindowSpec { rolling: None, calendar: Some(period), time_zone: Some(zone.into()) }).unwrap()
    }

    fn rolling(length: &str) -> Result<Window, (&'static str, String)> {
        Window::of(&WindowSpec { rolling: Some(length.parse().unwrap()), ..WindowSpec::default() })
    }

    #[test]
    fn a_month_begins_and_ends_at_midnight_of_its_zone_also_across_a_change_of_the_clock() {
        let now = "2026-10-20T12:00:00Z".parse().unwrap();
        let periods = calendar(Calendar::Month, "Europe/Paris").periods(now);
        assert_eq!(periods[0].label, "2026-10-01");
        assert_eq!(periods[0].start.to_string(), "2026-09-30T22:00:00Z");
        // Summer time ended within October.
        assert_eq!(periods[0].end.to_string(), "2026-10-31T23:00:00Z");
        assert_eq!(periods[1].start, periods[0].end);
        assert_eq!(periods[2].label, "2026-12-01");
    }

    #[test]
    fn the_last_moment_of_a_period_and_the_first_of_the_next_lie_in_different_ones() {
        let month = calendar(Calendar::Month, "Europe/Paris");
        let end: Timestamp = "2026-10-31T23:00:00Z".parse().unwrap();
        assert_eq!(month.periods(end)[0].label, "2026-11-01");
        assert_eq!(month.periods(end.checked_sub(1.second()).unwrap())[0].label, "2026-10-01");
    }

    #[test]
    fn weeks_begin_on_monday_and_quarters_in_january() {
        let now = "2026-11-21T12:00:00Z".parse().unwrap();
        assert_eq!(calendar(Calendar::Week, "UTC").periods(now)[0].label, "2026-11-16");
        assert_eq!(calendar(Calendar::Quarter, "UTC").periods(now)[0].label, "2026-10-01");
        let late = "2026-12-31T23:30:00Z".parse().unwrap();
        assert_eq!(calendar(Calendar::Quarter, "Asia/Tokyo").periods(late)[0].label, "2027-01-01");
    }

    #[test]
    fn a_day_without_midnight_begins_at_its_first_moment() {
        // Beirut leaves out the hour from midnight on 2026-03-29.
        let now = "2026-03-30T12:00:00Z".parse().unwrap();
        let zone = TimeZone::get("Asia/Beirut").unwrap();
        let day = instant(Date::new(2026, 3, 29).unwrap(), &zone).unwrap();
        assert_eq!(day.to_string(), "2026-03-28T22:00:00Z");
        assert_eq!(calendar(Calendar::Week, "Asia/Beirut").periods(now)[0].start.to_string(), "2026-03-29T21:00:00Z");
    }

    #[test]
    fn windows_that_cannot_be_kept_are_refused_with_words_that_help() {
        for (length, says) in
            [("0", "holds no events"), ("30m", "outside of 1h"), ("1y", "outside"), ("3h1m", "multiple of 5m")]
        {
            assert!(rolling(length).unwrap_err().1.contains(says), "{length}");
        }
        let no_zone = WindowSpec { rolling: None, calendar: Some(Calendar::Month), time_zone: None };
        assert_eq!(Window::of(&no_zone).unwrap_err().0, "timeZone");
        let bad_zone = WindowSpec { time_zone: Some("Mars/Olympus".into()), ..no_zone };
        assert!(Window::of(&bad_zone).unwrap_err().1.contains("IANA"));
        assert!(Window::of(&WindowSpec::default()).unwrap_err().1.contains("exactly one"));
    }

    #[test]
    fn thirty_days_are_summed_from_five_minute_points() {
        let window = rolling("30d").unwrap();
        assert_eq!((window.step(), window.reach() / window.step(), window.label().as_str()), (300, 8_640, "30d"));
        assert_eq!(rolling("1h").unwrap().step(), 60);
        assert_eq!(rolling("28d").unwrap().label(), "28d");
    }
}
