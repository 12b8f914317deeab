//! What adjustments take out of, and give back to, the readings of one SLO: which periods to ask Prometheus about, the
//! question, and what its answer means. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::adjustment::{self, Interval};
use super::series::{ERRORS_STEP, TOTAL_STEP, own, sum};
use super::status::Group;
use super::validate::Checked;
use super::window::Window;
use crate::api::budget_adjustment::BudgetAdjustmentSpec;
use crate::prometheus::Sample;

/// An adjustment by name.
pub type Named<'a> = (&'a str, &'a BudgetAdjustmentSpec);

/// What adjustments mean for an SLO at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Adjustments that leave a period of the present window out, and those that give something back within it.
    pub excluding: BTreeSet<String>,
    pub giving: BTreeSet<String>,
    /// The periods that are left out, up to the last recorded point.
    pub intervals: Vec<Interval>,
    /// Seconds since the last recorded point that are left out as well.
    pub tail: f64,
    pub given_back: f64,
}

/// The window as it is now; `end` is that of the last recorded point, or the present.
pub fn window(window: &Window, end: Timestamp) -> Interval {
    let length = SignedDuration::from_secs(i64::try_from(window.seconds()).unwrap_or(i64::MAX));
    let start = match window.periods(end).first() {
        Some(period) => period.start,
        None => end.checked_sub(length).unwrap_or(Timestamp::MIN),
    };
    Interval { start, end }
}

/// Whether an adjustment counts in a window as it is now.
pub fn touches(spec: &BudgetAdjustmentSpec, slo: &Window, now: Timestamp) -> bool {
    let present = window(slo, now);
    !adjustment::excluded(&spec.exclude, present, slo.step()).is_empty()
        || adjustment::given_back([spec], present) > 0.0
}

/// `recorded` is when the sums of the window were recorded.
pub fn plan<'a>(
    slo: &Checked,
    adjustments: impl IntoIterator<Item = Named<'a>>,
    recorded: Timestamp,
    now: Timestamp,
) -> Plan {
    let step = slo.window.step();
    let present = window(&slo.window, now);
    let valid: Vec<Named<'_>> =
        adjustments.into_iter().filter(|(_, spec)| adjustment::check(spec).is_empty()).collect();
    let names = |holds: &dyn Fn(&BudgetAdjustmentSpec) -> bool| {
        valid.iter().filter(|(_, spec)| holds(spec)).map(|(name, _)| (*name).to_owned()).collect()
    };
    let excludes = || valid.iter().filter_map(|(_, spec)| spec.exclude.as_ref());
    let since = Interval { start: recorded, end: now };
    let tail = adjustment::excluded(excludes(), since, step);
    Plan {
        excluding: names(&|spec| !adjustment::excluded(&spec.exclude, present, step).is_empty()),
        giving: names(&|spec| adjustment::given_back([spec], present) > 0.0),
        intervals: adjustment::excluded(excludes(), window(&slo.window, recorded), step),
        tail: tail.iter().map(|interval| interval.end.duration_since(interval.start).as_secs_f64()).sum(),
        given_back: adjustment::given_back(valid.iter().map(|(_, spec)| *spec), present),
    }
}

/// Events of one group within a period.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Amount {
    pub errors: f64,
    pub total: f64,
}

/// By the groupBy labels.
pub type Amounts = BTreeMap<BTreeMap<String, String>, Amount>;

/// The label that tells what a sample is: no groupBy label has its name.
const WHAT: &str = "window";

/// What was recorded in each of some periods, in one question.
pub fn query(slo: &Checked, intervals: &[Interval]) -> String {
    let terms = intervals.iter().enumerate().flat_map(|(index, interval)| {
        let length = interval.end.duration_since(interval.start).as_millis().max(1);
        let end = interval.end.as_millisecond();
        [("e", ERRORS_STEP), ("t", TOTAL_STEP)].map(|(kind, metric)| {
            let range = format!("sum_over_time({}[{length}ms] @ {}.{:03})", own(slo, metric), end / 1_000, end % 1_000);
            format!("label_replace({}, \"{WHAT}\", \"{kind}{index}\", \"\", \"\")", sum(slo, &range))
        })
    });
    terms.collect::<Vec<_>>().join(" or ")
}

/// The answer to [`query`], in the order of the periods.
pub fn amounts(samples: &[Sample], intervals: usize) -> Vec<Amounts> {
    let mut found = vec![Amounts::new(); intervals];
    for sample in samples {
        let mut labels = sample.labels.clone();
        let what = labels.remove(WHAT).unwrap_or_default();
        let Some((kind, index)) = what.split_at_checked(1) else { continue };
        let Some(amounts) = index.parse().ok().and_then(|index: usize| found.get_mut(index)) else { continue };
        let amount = amounts.entry(labels).or_default();
        match kind {
            "e" => amount.errors = sample.value,
            _ => amount.total = sample.value,
        }
    }
    found
}

/// The sum over periods that do not overlap.
pub fn together<'a>(amounts: impl IntoIterator<Item = &'a Amounts>) -> Amounts {
    let mut sum = Amounts::new();
    for (labels, amount) in amounts.into_iter().flatten() {
        let entry = sum.entry(labels.clone()).or_default();
        entry.errors += amount.errors;
        entry.total += amount.total;
    }
    sum
}

/// Puts it into the readings. `None`: what was recorded in the periods is not known.
pub fn adjust(groups: &mut [Group], plan: &Plan, excluded: Option<&Amounts>) {
    for Group { labels, reading } in groups {
        reading.given_back = plan.given_back;
        let Some(excluded) = excluded else { continue };
        let amount = excluded.get(labels).copied().unwrap_or_default();
        let since = |rate: Option<f64>| rate.filter(|rate| rate.is_finite()).unwrap_or(0.0).max(0.0) * plan.tail;
        reading.excluded_errors = amount.errors + since(reading.error_rate);
        reading.excluded_total = amount.total + since(reading.total_rate);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slo::budget::Reading;
    use crate::slo::validate::check;

    fn slo(window: &str, group_by: &str) -> Checked {
        let text = format!(
            "apiVersion: evenkeel.dev/v1alpha1\nkind: SLO\nmetadata: {{name: api, namespace: shop}}\nspec:\n  service: x\n  \
             objective: 99.9\n  window: {window}\n  indicator: {{availability: {{metric: up}}}}\n  groupBy: [{group_by}]\n"
        );
        check(&serde_saphyr::from_str(&text).unwrap()).unwrap()
    }

    fn spec(text: &str) -> BudgetAdjustmentSpec {
        serde_saphyr::from_str(&format!("{{slos: [api], {text}}}")).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_plan_names_what_touches_the_window_and_cuts_it_to_the_last_point() {
        let maintenance = spec("exclude: {start: '2026-11-21T11:00:00Z', duration: 2h}");
        let reset = spec("giveBack: {percent: 25, at: '2026-11-20T00:00:00Z'}");
        let long_ago = spec("exclude: {start: '2026-09-01T00:00:00Z', duration: 1h}");
        let wrong = spec("exclude: {start: '2026-11-21T11:00:00Z', duration: 0s}");
        let all = [("maintenance", &maintenance), ("reset", &reset), ("old", &long_ago), ("wrong", &wrong)];
        let plan = plan(&slo("{rolling: 30d}", ""), all, at("2026-11-21T11:58:00.5Z"), at("2026-11-21T12:00:00Z"));
        assert_eq!((plan.excluding.len(), plan.giving.len()), (1, 1));
        assert_eq!(plan.intervals, [Interval { start: at("2026-11-21T11:00:00Z"), end: at("2026-11-21T11:58:00.5Z") }]);
        assert_eq!((plan.tail, plan.given_back), (119.5, 0.25));
    }

    #[test]
    fn a_calendar_begins_with_its_period() {
        let slo = slo("{calendar: month, timeZone: Europe/Paris}", "");
        let present = window(&slo.window, at("2026-11-21T12:00:00Z"));
        assert_eq!(present.start, at("2026-10-31T23:00:00Z"));
        let before = spec("exclude: {start: '2026-10-30T00:00:00Z', duration: 1h}");
        assert!(!touches(&before, &slo.window, at("2026-11-21T12:00:00Z")));
    }

    #[test]
    fn one_question_asks_for_several_periods_and_is_promql() {
        let slo = slo("{rolling: 30d}", "region");
        let hour = |hour: i64| Interval {
            start: at("2026-11-14T00:00:00Z"),
            end: Timestamp::from_millisecond(at("2026-11-14T00:00:00Z").as_millisecond() + hour * 3_600_000 + 137)
                .unwrap(),
        };
        let text = query(&slo, &[hour(1), hour(2)]);
        promql_parser::parser::parse(&text).unwrap();
        assert!(text.contains("[3600137ms] @ 1794618000.137"), "{text}");
        assert!(text.contains("sum by (region) (sum_over_time(evenkeel:slo_errors:increase{"), "{text}");
    }

    #[test]
    fn the_answer_comes_back_by_period_and_group() {
        let sample = |what: &str, region: &str, value| Sample {
            labels: [("window", what), ("region", region)].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            value,
        };
        let samples =
            [sample("e0", "eu", 5.0), sample("t0", "eu", 50.0), sample("t1", "eu", 7.0), sample("t1", "us", 1.0)];
        let found = amounts(&samples, 3);
        assert_eq!((found.len(), found[2].len()), (3, 0));
        let eu = BTreeMap::from([("region".to_owned(), "eu".to_owned())]);
        assert_eq!(together(&found)[&eu], Amount { errors: 5.0, total: 57.0 });
    }

    #[test]
    fn readings_lose_what_is_left_out_and_keep_everything_while_it_is_not_known() {
        let reading = Reading { total_rate: Some(2.0), error_rate: None, ..Reading::default() };
        let mut groups = [Group { labels: BTreeMap::new(), reading }];
        let plan = Plan { tail: 10.0, given_back: 0.5, ..Plan::default() };
        adjust(&mut groups, &plan, None);
        assert_eq!((groups[0].reading.given_back, groups[0].reading.excluded_total), (0.5, 0.0));
        let known = Amounts::from([(BTreeMap::new(), Amount { errors: 3.0, total: 30.0 })]);
        adjust(&mut groups, &plan, Some(&known));
        assert_eq!((groups[0].reading.excluded_errors, groups[0].reading.excluded_total), (3.0, 50.0));
    }
}
