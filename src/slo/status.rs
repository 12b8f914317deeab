//! Budgets -> what a person sees in the status. Pure. Values are rounded so that they change when something changed.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::budget::{Budget, Reading, budget, state};
use super::validate::Checked;
use super::window::{DAY, HOUR, MINUTE, duration};
use crate::api::slo::{BudgetStatus, BurnRates, Coverage, GroupStatus, SloStatus, State};

/// Groups that are listed.
const MAX_GROUPS: usize = 50;

/// What was read of one group.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Group {
    /// The groupBy labels.
    pub labels: BTreeMap<String, String>,
    pub reading: Reading,
}

/// Fills the part of a status that speaks of the budget; the rest stays as it is. `groups` is empty when nothing could
/// be read: the last values are kept, and dated. `retention` is that of the stack, in seconds.
pub fn measured(
    slo: &Checked,
    groups: &[Group],
    retention: Option<u64>,
    previous: &SloStatus,
    now: Timestamp,
) -> SloStatus {
    let mut status = previous.clone();
    status.window = Some(slo.window.label());
    let before = |labels: &BTreeMap<String, String>| {
        let known = previous.groups.iter().find(|group| group.labels == *labels).map(|group| group.state);
        known.or(previous.state.filter(|_| slo.group_by.is_empty()))
    };
    let mut standing: Vec<(&Group, Option<Budget>, State)> = groups
        .iter()
        .map(|group| {
            let budget = budget(slo, &group.reading, now);
            (group, budget, state(slo, budget.as_ref(), before(&group.labels)))
        })
        .collect();
    standing.sort_by(|left, right| {
        by_remaining(left.1.as_ref(), right.1.as_ref()).then_with(|| left.0.labels.cmp(&right.0.labels))
    });

    // The worst of those with data; one group that is gone does not hide the others.
    let state = standing
        .iter()
        .map(|(.., state)| *state)
        .filter(|state| *state != State::NoData)
        .max()
        .unwrap_or(State::NoData);
    if previous.state != Some(state) {
        status.since = Some(Time(whole_second(now)));
    }
    status.state = Some(state);
    let Some((_, Some(worst), _)) = standing.first() else {
        // The present values were last true when they were last written; that moment is kept, not moved.
        if status.budget.is_some() && status.values_from.is_none() {
            status.values_from = Some(Time(whole_second(now)));
        }
        return status;
    };
    status.values_from = None;
    status.current = worst.indicator.map(|indicator| indicator_text(slo, indicator));
    status.budget = Some(BudgetStatus {
        remaining: remaining_text(worst.remaining),
        remaining_time: Some(time_text(worst.remaining_seconds)),
        remaining_events: Some(two_digits(worst.remaining_events)),
        adjustments: previous.budget.as_ref().map(|budget| budget.adjustments.clone()).unwrap_or_default(),
    });
    let [_, one_hour, six_hours, three_days] = worst.burn_rates.map(|rate| rate.map(burn_text));
    status.burn_rates = Some(BurnRates { one_hour, six_hours, three_days });
    status.exhaustion = worst.exhaustion.map(exhaustion_text);
    status.coverage = Some(coverage(slo, worst, retention));
    status.groups = if slo.group_by.is_empty() {
        vec![]
    } else {
        standing
            .iter()
            .take(MAX_GROUPS)
            .map(|(group, budget, state)| GroupStatus {
                labels: group.labels.clone(),
                state: *state,
                current: budget.and_then(|budget| budget.indicator).map(|indicator| indicator_text(slo, indicator)),
                remaining: budget.map(|budget| remaining_text(budget.remaining)),
                burn: budget.and_then(|budget| budget.burn_rates[1]).map(burn_text),
            })
            .collect()
    };
    status
}

/// The budget of the group with the least of it left; `None` without data.
pub fn worst(slo: &Checked, groups: &[Group], now: Timestamp) -> Option<Budget> {
    let budgets = groups.iter().filter_map(|group| budget(slo, &group.reading, now));
    budgets.min_by(|left, right| left.remaining.total_cmp(&right.remaining))
}

/// Least budget first, no data last.
fn by_remaining(left: Option<&Budget>, right: Option<&Budget>) -> Ordering {
    match (left, right) {
        (Some(left), Some(right)) => left.remaining.total_cmp(&right.remaining),
        (left, right) => right.is_some().cmp(&left.is_some()),
    }
}

fn whole_second(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// What is told of the coverage, in percent. Few steps: while an SLO is young it moves by itself, and each is a write.
const COVERED: [i32; 15] = [100, 99, 95, 90, 80, 70, 60, 50, 40, 30, 20, 10, 5, 2, 1];

/// Said with numbers where the data does not reach back over the whole window. One missing step in a hundred is not.
fn coverage(slo: &Checked, budget: &Budget, retention: Option<u64>) -> Coverage {
    let share = if budget.expected > 0.0 { budget.covered / budget.expected } else { 1.0 };
    let whole = (share * 100.0 + 1e-9).floor() as i32;
    let percent = COVERED.into_iter().find(|step| *step <= whole).unwrap_or(0);
    let reach = slo.window.needs();
    let message = match retention {
        Some(kept) if kept < reach => Some(format!(
            "the stack keeps {}, the window is {}: what is older is not counted; set prometheus.retention to {} or more",
            duration(kept),
            slo.window.label(),
            duration(slo.window.reach() + DAY),
        )),
        _ if percent < 99 => Some(format!(
            "there is data for {} of {}: the budget is that of the time with data",
            if percent == 0 { "less than 1 %".to_owned() } else { format!("at least {percent} %") },
            coarse_text(budget.expected)
        )),
        _ => None,
    };
    Coverage { percent, message }
}

/// In percent, rounded down, so that what missed the objective never looks like what met it.
fn indicator_text(slo: &Checked, indicator: f64) -> String {
    if indicator >= 1.0 {
        return "100".into();
    }
    let digits = (slo.objective.percent.digits() + 2).max(3);
    let scale = 10f64.powi(digits as i32);
    format!("{:.digits$}", (indicator * 100.0 * scale + 1e-6).floor() / scale)
}

/// In percent with one digit, rounded down; `remaining` is 1 for all of the budget.
pub fn remaining_text(remaining: f64) -> String {
    let tenths = (remaining * 1_000.0 + 1e-6).floor() / 10.0;
    // No minus before zero.
    format!("{:.1}%", tenths + 0.0)
}

fn burn_text(rate: f64) -> String {
    if rate < 100.0 { format!("{rate:.1}x") } else { format!("{rate:.0}x") }
}

/// The two largest units, rounded towards zero: 6d4h, 18m; seconds below 10 minutes.
fn time_text(seconds: f64) -> String {
    let sign = if seconds <= -1.0 { "-" } else { "" };
    let seconds = seconds.abs() as u64;
    let unit = match seconds {
        0..600 => 1,
        600..DAY => MINUTE,
        _ => HOUR,
    };
    format!("{sign}{}", in_days(seconds / unit * unit))
}

/// Days at most: 30d, where Prometheus writes 30d too but 28d as 4w.
fn in_days(seconds: u64) -> String {
    let (days, rest) = (seconds / DAY, seconds % DAY);
    match (days, rest) {
        (0, rest) => duration(rest).to_string(),
        (days, 0) => format!("{days}d"),
        (days, rest) => format!("{days}d{}", duration(rest)),
    }
}

/// Coarse: it is an estimate, and moves by itself.
fn exhaustion_text(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    let unit = coarse_unit(seconds);
    in_days(seconds.div_ceil(unit) * unit)
}

/// One unit, rounded down: what is expected of a calendar window grows by itself.
fn coarse_text(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    let unit = coarse_unit(seconds);
    if seconds < unit { "less than 5m".into() } else { in_days(seconds / unit * unit) }
}

fn coarse_unit(seconds: u64) -> u64 {
    match seconds {
        0..HOUR => 5 * MINUTE,
        HOUR..DAY => HOUR,
        _ => DAY,
    }
}

fn two_digits(events: f64) -> i64 {
    let magnitude = events.abs().max(1.0).log10().floor() as i32 - 1;
    let unit = 10f64.powi(magnitude.max(0));
    ((events / unit).trunc() * unit) as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slo::validate::check;

    fn slo(group_by: &str) -> Checked {
        let text = format!(
            "apiVersion: evenkeel.dev/v1alpha1\nkind: SLO\nmetadata: {{name: x, namespace: shop}}\nspec:\n  service: x\n  \
             objective: 99.9\n  window: {{rolling: 30d}}\n  indicator: {{availability: {{metric: up}}}}\n  groupBy: [{group_by}]\n"
        );
        check(&serde_saphyr::from_str(&text).unwrap()).unwrap()
    }

    fn now() -> Timestamp {
        "2026-11-21T12:00:00Z".parse().unwrap()
    }

    fn group(region: &str, errors: f64) -> Group {
        let labels =
            if region.is_empty() { BTreeMap::new() } else { BTreeMap::from([("region".into(), region.into())]) };
        let reading = Reading {
            errors: Some(errors),
            total: Some(1e6),
            recorded: Some(now()),
            points: Some(8_640.0),
            burn_rates: [Some(0.84), Some(0.5), None],
            ..Reading::default()
        };
        Group { labels, reading }
    }

    #[test]
    fn the_status_shows_what_a_person_asks_first() {
        let status = measured(&slo(""), &[group("", 579.0)], Some(31 * DAY), &SloStatus::default(), now());
        assert_eq!(status.window.as_deref(), Some("30d"));
        assert_eq!(status.current.as_deref(), Some("99.942"));
        let budget = status.budget.unwrap();
        assert_eq!((budget.remaining.as_str(), budget.remaining_time.as_deref()), ("42.1%", Some("18m")));
        assert_eq!(budget.remaining_events, Some(420));
        assert_eq!(status.burn_rates.unwrap().one_hour.as_deref(), Some("0.8x"));
        assert_eq!(status.exhaustion.as_deref(), Some("16d"));
        assert_eq!(status.coverage, Some(Coverage { percent: 100, message: None }));
        assert_eq!((status.state, status.since), (Some(State::Healthy), Some(Time(now()))));
    }

    #[test]
    fn time_alone_changes_no_status() {
        let first = measured(&slo(""), &[group("", 579.0)], None, &SloStatus::default(), now());
        let later = now().checked_add(jiff::SignedDuration::from_secs(60)).unwrap();
        assert_eq!(measured(&slo(""), &[group("", 579.0)], None, &first, later), first);
    }

    #[test]
    fn without_data_the_last_values_are_kept_and_dated_once() {
        let first = measured(&slo(""), &[group("", 579.0)], None, &SloStatus::default(), now());
        let later = now().checked_add(jiff::SignedDuration::from_secs(60)).unwrap();
        let lost = measured(&slo(""), &[], None, &first, later);
        assert_eq!(
            (lost.state, lost.budget.clone(), lost.values_from.clone()),
            (Some(State::NoData), first.budget.clone(), Some(Time(later)))
        );
        let still =
            measured(&slo(""), &[], None, &lost, later.checked_add(jiff::SignedDuration::from_secs(60)).unwrap());
        assert_eq!(still, lost);
        assert_eq!(measured(&slo(""), &[group("", 579.0)], None, &lost, now()).values_from, None);
    }

    #[test]
    fn the_group_with_the_least_budget_is_shown_first_and_decides_the_state() {
        let mut gone = group("us", 0.0);
        gone.reading.total = None;
        let groups = [group("eu", 100.0), gone, group("ap", 1_500.0)];
        let status = measured(&slo("region"), &groups, None, &SloStatus::default(), now());
        assert_eq!(status.state, Some(State::Exhausted));
        assert_eq!(status.budget.unwrap().remaining, "-50.0%");
        let order: Vec<_> = status.groups.iter().map(|group| (group.labels["region"].as_str(), group.state)).collect();
        assert_eq!(order, [("ap", State::Exhausted), ("eu", State::Healthy), ("us", State::NoData)]);
    }

    #[test]
    fn a_window_that_is_not_covered_is_said_with_numbers() {
        let mut young = group("", 0.0);
        young.reading.points = Some(576.0);
        let message = |retention| {
            let status = measured(&slo(""), &[young.clone()], retention, &SloStatus::default(), now());
            status.coverage.unwrap().message.unwrap()
        };
        // Two days of thirty.
        assert!(message(Some(31 * DAY)).contains("data for at least 5 % of 30d"));
        assert!(message(Some(15 * DAY)).contains("keeps 15d, the window is 30d"));
    }

    #[test]
    fn what_missed_the_objective_never_looks_like_what_met_it() {
        let text = |errors| measured(&slo(""), &[group("", errors)], None, &SloStatus::default(), now());
        assert_eq!(text(1_000.1).current.as_deref(), Some("99.899"));
        assert_eq!(text(1_000.1).budget.unwrap().remaining, "-0.1%");
        assert_eq!(text(1_000.0).budget.unwrap().remaining, "0.0%");
        assert_eq!(text(0.1).current.as_deref(), Some("99.999"));
        assert_eq!(text(0.0).current.as_deref(), Some("100"));
    }
}
