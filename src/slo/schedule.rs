//! When reports are due: a cron expression in a time zone. Pure.

use cronexpr::{Crontab, MakeTimestamp};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::validate::Refusal;
use crate::api::error_budget_policy::Report;

/// A checked schedule.
#[derive(Clone, Debug)]
pub struct Schedule(Crontab);

impl Schedule {
    /// Refused with the field, its value and the way out.
    pub fn of(report: &Report) -> Result<Self, Refusal> {
        let zone = report.time_zone.as_deref().unwrap_or("UTC");
        if TimeZone::get(zone).is_err() {
            return Err(Refusal::new(
                "report.timeZone",
                format!("{zone:?} is not a time zone: write an IANA name, for example Europe/Paris or UTC"),
            ));
        }
        let schedule = report.schedule.split_whitespace().collect::<Vec<_>>().join(" ");
        let wrong = |why: &str| {
            let way_out = "write five fields, minute hour day month weekday: 0 9 * * 1 is every Monday at 9:00";
            Refusal::new("report.schedule", format!("{:?} {why}; {way_out}", report.schedule))
        };
        if schedule.split(' ').count() != 5 {
            return Err(wrong("does not have five fields"));
        }
        let crontab = cronexpr::parse_crontab(&format!("{schedule} {zone}"))
            .map_err(|error| wrong(&format!("is not a cron expression ({})", last_line(&error.to_string()))))?;
        // The 30th of February.
        if crontab.find_next(MakeTimestamp(Timestamp::UNIX_EPOCH)).is_err() {
            return Err(wrong("never comes"));
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

    fn schedule(text: &str, zone: Option<&str>) -> Result<Schedule, Refusal> {
        Schedule::of(&Report { schedule: text.into(), time_zone: zone.map(str::to_owned), notify: vec![] })
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
    fn a_schedule_without_a_meaning_is_refused_with_the_way_out() {
        for (text, zone, field, said) in [
            ("0 9 1 *", None, "report.schedule", "five fields"),
            ("61 9 1 * *", None, "report.schedule", "0 9 * * 1 is every Monday"),
            ("0 9 30 2 *", None, "report.schedule", "never comes"),
            ("0 9 1 * * UTC", None, "report.schedule", "five fields"),
            ("0 9 1 * *", Some("Paris"), "report.timeZone", "\"Paris\" is not a time zone"),
        ] {
            let refusal = schedule(text, zone).unwrap_err();
            assert_eq!(refusal.field, field, "{text}");
            assert!(refusal.message.contains(said), "{refusal}");
        }
        println!("{}", schedule("61 9 1 * *", None).unwrap_err());
    }
}
