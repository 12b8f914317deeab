//! What the recorded sums mean: the share of the budget that is left, how long it lasts, and the state. Pure.

use jiff::Timestamp;

use super::validate::Checked;
use super::window::{DAY, HOUR, Window};
use crate::api::slo::State;

/// What Prometheus says of one group of an SLO. Every value is that of a recorded series, or of an adjustment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reading {
    /// `evenkeel:slo_errors:window` and `evenkeel:slo_total:window`, and when they were recorded.
    pub errors: Option<f64>,
    pub total: Option<f64>,
    pub recorded: Option<Timestamp>,
    /// `evenkeel:slo_errors:rate5m` and `evenkeel:slo_total:rate5m`, per second.
    pub error_rate: Option<f64>,
    pub total_rate: Option<f64>,
    /// `evenkeel:slo_window_points:count`.
    pub points: Option<f64>,
    /// `evenkeel:slo_burn_rate:ratio` over 1h, 6h and 3d.
    pub burn_rates: [Option<f64>; 3],
    /// Events of the window that adjustments leave out.
    pub excluded_errors: f64,
    pub excluded_total: f64,
    /// Share of the whole budget that adjustments give back: 0.25 adds a quarter.
    pub given_back: f64,
}

/// Where the budget of one group stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    /// Share of good events in the window; `None` without events.
    pub indicator: Option<f64>,
    /// Share of the budget that is left: 1 when it is whole, negative when overspent.
    pub remaining: f64,
    /// Bad events of the window, and how many the whole budget allows without what was given back.
    pub errors: f64,
    pub whole: f64,
    /// Bad events that may still happen.
    pub remaining_events: f64,
    /// Seconds for which everything may fail at the average traffic of the window.
    pub remaining_seconds: f64,
    /// Over 5m, 1h, 6h, 3d; `None` without events.
    pub burn_rates: [Option<f64>; 4],
    /// Seconds until nothing is left at the burn rate of the last hour; `None` when that lies beyond the window.
    pub exhaustion: Option<f64>,
    /// Seconds of the (elapsed) window for which there are points, and how many there should be.
    pub covered: f64,
    pub expected: f64,
}

/// Points of the budget's group may be late by so many steps before they count as missing.
const LATE_STEPS: i64 = 3;

/// `None` when there is no data to say anything: a series is missing, or the last point is too old.
pub fn budget(slo: &Checked, reading: &Reading, now: Timestamp) -> Option<Budget> {
    let step = slo.window.step() as f64;
    let (errors, total, recorded) = (reading.errors?, reading.total?, reading.recorded?);
    let age = now.duration_since(recorded).as_secs();
    if age > LATE_STEPS * slo.window.step() as i64 || !errors.is_finite() || !total.is_finite() {
        return None;
    }
    // What happened since the last point, at the present rates: a spent budget is seen within seconds, not steps.
    let tail = |rate: Option<f64>| {
        rate.filter(|rate| rate.is_finite()).unwrap_or(0.0).max(0.0) * age.clamp(0, 2 * step as i64) as f64
    };
    let errors = (errors + tail(reading.error_rate) - reading.excluded_errors).max(0.0);
    let total = (total + tail(reading.total_rate) - reading.excluded_total).max(errors);

    let allowed_ratio = slo.objective.budget.to_f64();
    let observed = reading.points.unwrap_or(0.0) * step;
    let (length, expected, left) = extent(slo, now);
    // A rolling window allows errors for the events that it saw, a calendar one for those that it will have seen when
    // it ends, if its traffic goes on as it was.
    let projection = match slo.window {
        Window::Rolling(_) => 1.0,
        Window::Calendar { .. } => length / observed.clamp(step, length),
    };
    let whole = allowed_ratio * total * projection;
    let allowed = whole * (1.0 + reading.given_back);
    let remaining = if whole > 0.0 { (allowed - errors) / whole } else { 1.0 + reading.given_back };

    let now_burning = match (reading.error_rate, reading.total_rate) {
        (Some(errors), Some(total)) if total > 0.0 => Some(errors / total / allowed_ratio),
        _ => None,
    };
    let [hour, six_hours, three_days] = reading.burn_rates;
    let exhaustion = match hour {
        _ if remaining <= 0.0 => Some(0.0),
        Some(burn) if burn > 0.0 => Some(remaining * length / burn).filter(|seconds| *seconds <= left),
        _ => None,
    };
    Some(Budget {
        indicator: (total > 0.0).then(|| 1.0 - errors / total),
        remaining,
        errors,
        whole,
        remaining_events: allowed - errors,
        remaining_seconds: remaining * allowed_ratio * length,
        burn_rates: [now_burning, hour, six_hours, three_days],
        exhaustion,
        covered: observed.min(expected),
        expected,
    })
}

/// Length of the window, how much of it there can be data for, and what is left of it, in seconds.
fn extent(slo: &Checked, now: Timestamp) -> (f64, f64, f64) {
    match slo.window.periods(now).first() {
        Some(period) => {
            let length = period.end.duration_since(period.start).as_secs_f64();
            let elapsed = now.duration_since(period.start).as_secs_f64();
            (length, elapsed, length - elapsed)
        }
        None => {
            let length = slo.window.seconds() as f64;
            (length, length, length)
        }
    }
}

/// Shares of the budget below which it is at risk, and from which it no longer is.
const AT_RISK: f64 = 0.25;
const SAFE: f64 = 0.30;
/// An exhausted budget counts as such until so much of it is back.
const REFILLED: f64 = 0.01;
/// A burn ends when its rate is below this share of the one that began it.
const COOLED: f64 = 0.8;

/// The state, which a value close to a threshold does not make flap: what leaves a state is stricter than what enters it.
pub fn state(slo: &Checked, budget: Option<&Budget>, previous: Option<State>) -> State {
    let Some(budget) = budget else { return State::NoData };
    let was = |state| previous == Some(state);
    if budget.remaining <= 0.0 || was(State::Exhausted) && budget.remaining < REFILLED {
        return State::Exhausted;
    }
    let [five_minutes, hour, six_hours, three_days] = budget.burn_rates;
    let ease = if was(State::Burning) { COOLED } else { 1.0 };
    let above = |rate: Option<f64>, factor: f64| rate.is_some_and(|rate| rate >= factor * ease);
    let burns = page_factors(slo).into_iter().any(|(factor, long)| {
        let (long, short) = match long {
            long if long <= HOUR => (hour, five_minutes),
            long if long < DAY => (six_hours, hour),
            _ => (three_days, six_hours),
        };
        above(long, factor) && above(short, factor)
    });
    if burns {
        return State::Burning;
    }
    let (share, rate) = if was(State::AtRisk) { (SAFE, COOLED) } else { (AT_RISK, 1.0) };
    let too_fast = |burn: Option<f64>| burn.is_some_and(|burn| burn >= rate);
    if budget.remaining < share || too_fast(three_days) && too_fast(six_hours) {
        return State::AtRisk;
    }
    State::Healthy
}

/// Burn rates and long windows that somebody must act on at once; those of the default where the tier is off.
fn page_factors(slo: &Checked) -> Vec<(f64, u64)> {
    match &slo.page {
        Some(tier) => tier.windows.iter().map(|burn| (burn.factor.to_f64(), burn.long)).collect(),
        None => vec![(14.4, HOUR), (6.0, 6 * HOUR)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slo::validate::check;

    fn slo(window: &str) -> Checked {
        let text = format!(
            "apiVersion: evenkeel.dev/v1alpha1\nkind: SLO\nmetadata: {{name: x, namespace: shop}}\nspec:\n  service: x\n  \
             objective: 99.9\n  window: {window}\n  indicator: {{availability: {{metric: up}}}}\n"
        );
        check(&serde_saphyr::from_str(&text).unwrap()).unwrap()
    }

    fn rolling() -> Checked {
        slo("{rolling: 30d}")
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn now() -> Timestamp {
        at("2026-11-21T12:00:00Z")
    }

    fn reading(errors: f64, total: f64) -> Reading {
        Reading {
            errors: Some(errors),
            total: Some(total),
            recorded: Some(now()),
            points: Some(8_640.0),
            ..Reading::default()
        }
    }

    fn close(left: f64, right: f64) {
        assert!((left - right).abs() < 1e-9 * right.abs().max(1.0), "{left} is not {right}");
    }

    #[test]
    fn what_is_left_is_what_may_go_wrong_less_what_did() {
        let budget = budget(&rolling(), &reading(579.0, 1e6), now()).unwrap();
        close(budget.indicator.unwrap(), 0.999_421);
        close(budget.remaining, 0.421);
        close(budget.remaining_events, 421.0);
        close(budget.remaining_seconds, 0.421 * 2_592.0);
        close(budget.covered / budget.expected, 1.0);
    }

    #[test]
    fn an_overspent_budget_is_negative_and_lasts_no_longer() {
        let budget = budget(&rolling(), &reading(2_000.0, 1e6), now()).unwrap();
        close(budget.remaining, -1.0);
        assert_eq!(budget.exhaustion, Some(0.0));
    }

    #[test]
    fn without_traffic_nothing_is_spent_and_there_is_no_indicator() {
        let found = budget(&rolling(), &reading(0.0, 0.0), now()).unwrap();
        assert_eq!((found.indicator, found.remaining, found.exhaustion), (None, 1.0, None));
        assert_eq!(state(&rolling(), Some(&found), None), State::Healthy);
    }

    #[test]
    fn a_missing_series_or_an_old_point_is_no_data() {
        let slo = rolling();
        assert_eq!(budget(&slo, &Reading { errors: None, ..reading(1.0, 1.0) }, now()), None);
        assert_eq!(budget(&slo, &Reading { total: None, ..reading(1.0, 1.0) }, now()), None);
        assert_eq!(budget(&slo, &reading(f64::NAN, 1.0), now()), None);
        let late = now().checked_add(jiff::SignedDuration::from_mins(16)).unwrap();
        assert_eq!(budget(&slo, &reading(1.0, 1.0), late), None);
        assert_eq!(state(&slo, None, Some(State::Healthy)), State::NoData);
    }

    #[test]
    fn what_happened_since_the_last_point_counts_already() {
        let since = Reading { error_rate: Some(10.0), total_rate: Some(100.0), ..reading(0.0, 1e6) };
        let later = now().checked_add(jiff::SignedDuration::from_secs(120)).unwrap();
        let budget = budget(&rolling(), &since, later).unwrap();
        close(budget.remaining, 1.0 - 1_200.0 / (0.001 * 1_012_000.0));
        close(budget.burn_rates[0].unwrap(), 100.0);
    }

    #[test]
    fn the_budget_of_a_calendar_month_is_that_of_the_whole_month() {
        let slo = slo("{calendar: month, timeZone: UTC}");
        let tenth = at("2026-11-11T00:00:00Z");
        let reading = Reading { recorded: Some(tenth), points: Some(2_880.0), ..reading(1_000.0, 1e6) };
        let budget = budget(&slo, &reading, tenth).unwrap();
        // 10 of 30 days brought a million events: 3 million are to be expected, of which 3,000 may fail.
        close(budget.remaining, 2.0 / 3.0);
        close(budget.remaining_events, 2_000.0);
        close(budget.covered / budget.expected, 1.0);
    }

    #[test]
    fn the_time_to_exhaustion_ends_with_the_window() {
        let burning = |rate| Reading { burn_rates: [Some(rate), None, None], ..reading(500.0, 1e6) };
        close(budget(&rolling(), &burning(10.0), now()).unwrap().exhaustion.unwrap(), 1.5 * DAY as f64);
        assert_eq!(budget(&rolling(), &burning(0.4), now()).unwrap().exhaustion, None);
    }

    #[test]
    fn coverage_is_told_by_the_points_that_are_there() {
        let young = budget(&rolling(), &Reading { points: Some(576.0), ..reading(0.0, 1.0) }, now()).unwrap();
        close(young.covered, 2.0 * DAY as f64);
        close(young.expected, 30.0 * DAY as f64);
    }

    #[test]
    fn adjustments_leave_events_out_and_give_shares_back() {
        let slo = rolling();
        let without = Reading { excluded_errors: 500.0, excluded_total: 1_000.0, ..reading(1_000.0, 1_001_000.0) };
        close(budget(&slo, &without, now()).unwrap().remaining, 0.5);
        let back = Reading { given_back: 0.25, ..reading(1_000.0, 1e6) };
        close(budget(&slo, &back, now()).unwrap().remaining, 0.25);
    }

    #[test]
    fn a_state_is_left_later_than_it_is_entered() {
        let slo = rolling();
        let with = |errors: f64, burn_rates| {
            budget(
                &slo,
                &Reading { burn_rates, error_rate: Some(0.02), total_rate: Some(1.0), ..reading(errors, 1e6) },
                now(),
            )
        };
        let judge = |errors, burn_rates, previous| state(&slo, with(errors, burn_rates).as_ref(), Some(previous));
        let calm = [Some(0.1); 3];
        assert_eq!(judge(100.0, calm, State::Healthy), State::Healthy);
        assert_eq!(judge(760.0, calm, State::Healthy), State::AtRisk);
        assert_eq!(judge(720.0, calm, State::AtRisk), State::AtRisk);
        assert_eq!(judge(720.0, calm, State::Healthy), State::Healthy);
        assert_eq!(judge(690.0, calm, State::AtRisk), State::Healthy);
        assert_eq!(judge(1_000.0, calm, State::AtRisk), State::Exhausted);
        assert_eq!(judge(995.0, calm, State::Exhausted), State::Exhausted);
        assert_eq!(judge(980.0, calm, State::Exhausted), State::AtRisk);
        assert_eq!(judge(100.0, [Some(14.4), None, None], State::Healthy), State::Burning);
        assert_eq!(judge(100.0, [Some(12.0), None, None], State::Burning), State::Burning);
        assert_eq!(judge(100.0, [Some(12.0), None, None], State::Healthy), State::Healthy);
        assert_eq!(judge(100.0, [Some(6.0), Some(6.0), None], State::Healthy), State::Burning);
        assert_eq!(judge(100.0, [Some(0.0), Some(8.0), None], State::Healthy), State::Healthy);
        assert_eq!(judge(100.0, [Some(1.0), Some(1.0), Some(1.0)], State::Healthy), State::AtRisk);
    }
}
