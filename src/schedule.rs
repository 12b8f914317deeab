//! Times that come again: a cron expression in a time zone. Pure.

use cronexpr::{Crontab, MakeTimestamp};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// A checked schedule.
#[derive(Clone, Debug)]
pub struct Schedule(Crontab);

/// What is wrong with one, and the way out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    #[error("{0:?} is not a time zone: write an IANA name, for example Europe/Paris or UTC")]
    Zone(String),
    #[error("{cron:?} {why}; write five fields, minute hour day month weekday: 0 9 * * 1 is every Monday at 9:00")]
    Cron { cron: String, why: String },
}

impl Schedule {
    /// `zone` is UTC when there is none.
    pub fn new(cron: &str, zone: Option<&str>) -> Result<Self, ScheduleError> {
        let zone = zone.unwrap_or("UTC");
        if TimeZone::get(zone).is_err() {
            return Err(ScheduleError::Zone(zone.to_owned()));
        }
        let fields = cron.split_whitespace().collect::<Vec<_>>().join(" ");
        let wrong = |why: String| ScheduleError::Cron { cron: cron.to_owned(), why };
        if fields.split(' ').count() != 5 {
            return Err(wrong("does not have five fields".into()));
        }
        let crontab = cronexpr::parse_crontab(&format!("{fields} {zone}"))
            .map_err(|error| wrong(format!("is not a cron expression ({})", last_line(&error.to_string()))))?;
        // The 30th of February.
        if crontab.find_next(MakeTimestamp(Timestamp::UNIX_EPOCH)).is_err() {
            return Err(wrong("never comes".into()));
        }
        Ok(Self(crontab))
    }

    /// The first time after `after`.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        self.0.find_next(MakeTimestamp(after)).ok().map(|zoned| zoned.timestamp())
    }

    /// The last time that is later than `after` and not later than `now`; those before it were missed.
    pub fn last(&self, after: Timestamp, now: Timestamp) -> Option<Timestamp> {
        // From near to far, so that a schedule of minutes does not walk through a year.
        REACH.iter().find_map(|hours| {
            let from = now.checked_sub(SignedDuration::from_hours(*hours)).ok()?.max(after);
            let mut last = None;
            let mut next = self.next(from);
            while let Some(time) = next.filter(|time| *time <= now) {
                last = Some(time);
                next = self.next(time);
            }
            last
        })
    }

    /// When what begins at these times and lasts so long ends; `None` while it is not under way.
    pub fn ends(&self, lasts: SignedDuration, now: Timestamp) -> Option<Timestamp> {
        let began = self.last(now.checked_sub(lasts).ok()?, now)?;
        began.checked_add(lasts).ok()
    }
}

/// Hours: an hour, a day, a month, a leap year with a day to spare.
const REACH: [i64; 4] = [1, 24, 24 * 32, 24 * 367];

/// The library draws an arrow below the expression; its words come behind it.
fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or_default().trim().trim_start_matches('^').trim().trim_end_matches('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(text: &str, zone: Option<&str>) -> Result<Schedule, ScheduleError> {
        Schedule::new(text, zone)
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_report_comes_at_the_time_of_its_zone_also_across_a_change_of_the_clock() {
        let monthly = schedule("0 9 1 * *", Some("Europe/Paris")).unwrap();
        assert_eq!(monthly.next(at("2026-10-02T00:00:00Z")), Some(at("2026-11-01T08:00:00Z")));
        assert_eq!(monthly.next(at("2026-09-02T00:00:00Z")), Some(at("2026-10-01T07:00:00Z")));
    }

    #[test]
    fn of_several_that_were_missed_the_last_one_is_made() {
        let weekly = schedule("0 9 * * 1", None).unwrap();
        let last = weekly.last(at("2026-10-01T00:00:00Z"), at("2026-11-21T12:00:00Z"));
        assert_eq!(last, Some(at("2026-11-16T09:00:00Z")));
        assert_eq!(weekly.last(at("2026-11-16T09:00:00Z"), at("2026-11-21T12:00:00Z")), None);
        let minutely = schedule("* * * * *", None).unwrap();
        let last = minutely.last(at("2020-01-01T00:00:00Z"), at("2026-11-21T12:00:30Z"));
        assert_eq!(last, Some(at("2026-11-21T12:00:00Z")));
        let yearly = schedule("0 0 1 1 *", None).unwrap();
        assert_eq!(
            yearly.last(at("2020-01-01T00:00:00Z"), at("2026-11-21T12:00:00Z")),
            Some(at("2026-01-01T00:00:00Z"))
        );
    }

    #[test]
    fn what_lasts_a_while_is_under_way_from_its_beginning_to_its_end() {
        let nightly = schedule("0 2 * * 6", Some("Europe/Paris")).unwrap();
        let ends = |now: &str| nightly.ends(SignedDuration::from_hours(2), at(now)).map(|end| end.to_string());
        assert_eq!(ends("2026-11-21T00:59:59Z"), None);
        assert_eq!(ends("2026-11-21T01:00:00Z").as_deref(), Some("2026-11-21T03:00:00Z"));
        assert_eq!(ends("2026-11-21T02:59:59Z").as_deref(), Some("2026-11-21T03:00:00Z"));
        assert_eq!(ends("2026-11-21T03:00:00Z"), None);
    }

    #[test]
    fn a_schedule_without_a_meaning_is_refused_with_the_way_out() {
        for (text, zone, said) in [
            ("0 9 1 *", None, "five fields"),
            ("61 9 1 * *", None, "0 9 * * 1 is every Monday"),
            ("0 9 30 2 *", None, "never comes"),
            ("0 9 1 * * UTC", None, "five fields"),
            ("0 9 1 * *", Some("Paris"), "\"Paris\" is not a time zone"),
        ] {
            let refused = schedule(text, zone).unwrap_err().to_string();
            assert!(refused.contains(said), "{refused}");
        }
    }
}
