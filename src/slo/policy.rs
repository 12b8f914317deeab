//! Where an SLO stands with its policy: thresholds with a delay and hysteresis, and who spent the budget. Pure.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::status::remaining_text;
use super::validate::Refusal;
use crate::api::error_budget_policy::{ErrorBudgetPolicySpec, OnNoData, Passed, Priority, Report, Threshold};
use crate::schedule::{Schedule, ScheduleError};

/// Points of the budget by which it must rise above a threshold without a freeze before that ends.
const HYSTERESIS: f64 = 2.0;
/// Cause of what nobody accounts for.
pub const UNATTRIBUTED: &str = "unattributed";

/// Everything that is wrong with a policy.
pub fn check(policy: &ErrorBudgetPolicySpec) -> Vec<Refusal> {
    let mut refusals = vec![];
    for (index, pair) in policy.thresholds.windows(2).enumerate() {
        if pair[0].remaining_below <= pair[1].remaining_below {
            let message = format!(
                "{} is not below {}: order thresholds from much budget to little, each once",
                pair[1].remaining_below, pair[0].remaining_below
            );
            refusals.push(Refusal::new(format!("thresholds[{}].remainingBelow", index + 1), message));
        }
    }
    if policy.thresholds.is_empty() {
        refusals.push(Refusal::new("thresholds", "is empty: a policy without thresholds does nothing"));
    }
    let thaw = policy.thaw_above.unwrap_or(0.0);
    for threshold in
        policy.thresholds.iter().filter(|threshold| threshold.freeze.is_some() && threshold.remaining_below >= thaw)
    {
        let message = format!(
            "{thaw} is not above {}, where a freeze begins: it would end at once and begin again",
            threshold.remaining_below
        );
        refusals.push(Refusal::new("thawAbove", message));
    }
    let sum: f64 = policy.allocation.values().sum();
    if !policy.allocation.is_empty() && (sum - 100.0).abs() > 1e-6 {
        refusals.push(Refusal::new(
            "allocation",
            format!("adds up to {sum} %, not to 100 %: name what is left, for example reserve"),
        ));
    }
    if let Some((cause, share)) = policy.allocation.iter().find(|(_, share)| **share < 0.0) {
        refusals.push(Refusal::new(format!("allocation.{cause}"), format!("{share} is no share: 0 or more")));
    }
    refusals.extend(policy.report.as_ref().and_then(|report| schedule(report).err()));
    refusals
}

/// When reports are due.
pub fn schedule(report: &Report) -> Result<Schedule, Refusal> {
    Schedule::new(&report.schedule, report.time_zone.as_deref()).map_err(|error| {
        let field = match error {
            ScheduleError::Zone(_) => "report.timeZone",
            ScheduleError::Cron { .. } => "report.schedule",
        };
        Refusal::new(field, error.to_string())
    })
}

/// The thresholds that an SLO has passed, in the order of the policy. `remaining` is in percent of the budget; `None`
/// without data.
pub fn passed(
    policy: &ErrorBudgetPolicySpec,
    remaining: Option<f64>,
    previous: &[Passed],
    now: Timestamp,
) -> Vec<Passed> {
    let remaining = match (remaining, policy.on_no_data) {
        (Some(remaining), _) => remaining,
        (None, OnNoData::Enforce) => f64::NEG_INFINITY,
        (None, OnNoData::Release) => f64::INFINITY,
        (None, OnNoData::Hold) => return held(policy, previous),
    };
    let judge = |threshold: &Threshold| {
        let below = threshold.remaining_below;
        let before = previous.iter().find(|entry| entry.remaining_below == below);
        let in_force = before.and_then(|entry| entry.in_force_since.clone());
        let ends_above = match &threshold.freeze {
            Some(_) => policy.thaw_above.unwrap_or(0.0).max(below),
            None => below + HYSTERESIS,
        };
        // What is in force ends above the hysteresis; what only waits ends at the threshold itself.
        let holds = remaining <= below || in_force.is_some() && remaining <= ends_above;
        if !holds {
            return None;
        }
        let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
        let since = before.map_or(now, |entry| entry.since.0);
        let delay = threshold.for_.map_or(0, |delay| delay.as_secs() as i64);
        let due = now.duration_since(since) >= SignedDuration::from_secs(delay);
        // What was left when it came into force stays: it is part of a ChangeFreeze's reason.
        let left = match in_force {
            Some(_) => before.and_then(|entry| entry.remaining.clone()),
            None => (due && remaining.is_finite()).then(|| remaining_text(remaining / 100.0)),
        };
        Some(Passed {
            remaining_below: below,
            since: Time(since),
            in_force_since: in_force.or_else(|| due.then_some(Time(now))),
            remaining: left,
        })
    };
    policy.thresholds.iter().filter_map(judge).collect()
}

/// What was passed before, as far as the policy still has it: while nothing is known.
pub fn held(policy: &ErrorBudgetPolicySpec, previous: &[Passed]) -> Vec<Passed> {
    let has = |entry: &&Passed| policy.thresholds.iter().any(|t| t.remaining_below == entry.remaining_below);
    previous.iter().filter(has).cloned().collect()
}

/// The thresholds in force, which say what is to be done.
pub fn in_force<'a>(policy: &'a ErrorBudgetPolicySpec, passed: &[Passed]) -> Vec<&'a Threshold> {
    let holds = |threshold: &&Threshold| {
        passed.iter().any(|entry| entry.remaining_below == threshold.remaining_below && entry.in_force_since.is_some())
    };
    policy.thresholds.iter().filter(holds).collect()
}

/// The most urgent priority in force.
pub fn priority(in_force: &[&Threshold]) -> Option<Priority> {
    in_force.iter().filter_map(|threshold| threshold.priority).min()
}

/// What one cause spent.
#[derive(Clone, Debug, PartialEq)]
pub struct Spending {
    pub cause: String,
    /// Percent of the whole budget that it was meant to spend.
    pub allotted: f64,
    /// Percent of the whole budget that it did spend.
    pub spent: f64,
}

/// Who spent the budget. `whole` is the budget in events, `errors` all bad events, `attributed` those with a cause.
/// What has none is `unattributed`; causes that were not allotted anything come last, by name.
pub fn spending(
    policy: &ErrorBudgetPolicySpec,
    whole: f64,
    errors: f64,
    attributed: &BTreeMap<String, f64>,
) -> Vec<Spending> {
    let percent = |events: f64| if whole > 0.0 { events / whole * 100.0 } else { 0.0 };
    let known: f64 = attributed.values().sum();
    // More may be attributed than was counted, when causes overlap: shares are cut down to what there was.
    let scale = if known > errors && known > 0.0 { errors / known } else { 1.0 };
    let of = |cause: &str| percent(attributed.get(cause).copied().unwrap_or(0.0) * scale);
    let line = |cause: &str, allotted: f64| Spending { cause: cause.to_owned(), allotted, spent: of(cause) };
    let mut lines: Vec<Spending> = policy.allocation.iter().map(|(cause, allotted)| line(cause, *allotted)).collect();
    lines.extend(
        attributed.keys().filter(|cause| !policy.allocation.contains_key(*cause)).map(|cause| line(cause, 0.0)),
    );
    let rest = percent((errors - known * scale).max(0.0));
    lines.push(Spending { cause: UNATTRIBUTED.into(), allotted: 0.0, spent: rest });
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(on_no_data: &str) -> ErrorBudgetPolicySpec {
        serde_saphyr::from_str(&format!(
            "thresholds:\n- {{remainingBelow: 50, priority: P4}}\n- {{remainingBelow: 10, priority: P2}}\n- {{remainingBelow: 0, for: 10m, priority: P1, \
             freeze: {{workloads: [{{kind: Deployment, name: checkout}}]}}}}\nthawAbove: 5\nonNoData: {on_no_data}\n\
             allocation: {{bugs: 60, performance: 20, features: 10, reserve: 10}}\n"
        ))
        .unwrap()
    }

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + minutes * 60).unwrap()
    }

    fn levels(passed: &[Passed]) -> Vec<(f64, bool)> {
        passed.iter().map(|entry| (entry.remaining_below, entry.in_force_since.is_some())).collect()
    }

    #[test]
    fn a_freeze_comes_after_its_delay_and_ends_above_the_thaw() {
        let policy = policy("Hold");
        let first = passed(&policy, Some(0.0), &[], at(0));
        assert_eq!(levels(&first), [(50.0, true), (10.0, true), (0.0, false)]);
        let frozen = passed(&policy, Some(-1.0), &first, at(10));
        assert_eq!(levels(&frozen)[2], (0.0, true));
        assert_eq!(priority(&in_force(&policy, &frozen)), Some(Priority::P1));
        let still = passed(&policy, Some(5.0), &frozen, at(20));
        assert_eq!(levels(&still)[2], (0.0, true));
        assert_eq!(still[2].in_force_since, Some(Time(at(10))));
        let thawed = passed(&policy, Some(5.1), &still, at(30));
        assert_eq!(levels(&thawed), [(50.0, true), (10.0, true)]);
    }

    #[test]
    fn what_recovers_before_its_delay_begins_anew() {
        let policy = policy("Hold");
        let first = passed(&policy, Some(-1.0), &[], at(0));
        let recovered = passed(&policy, Some(1.0), &first, at(9));
        let again = passed(&policy, Some(-1.0), &recovered, at(10));
        assert_eq!(levels(&again)[2], (0.0, false));
    }

    #[test]
    fn a_budget_at_a_threshold_does_not_flap() {
        let policy = policy("Hold");
        let below = passed(&policy, Some(49.9), &[], at(0));
        assert_eq!(levels(&passed(&policy, Some(51.0), &below, at(1))), [(50.0, true)]);
        assert!(passed(&policy, Some(52.1), &below, at(1)).is_empty());
        assert!(passed(&policy, Some(51.0), &[], at(1)).is_empty());
    }

    #[test]
    fn without_data_the_policy_does_what_its_author_wrote() {
        let frozen = passed(&policy("Hold"), Some(-1.0), &passed(&policy("Hold"), Some(-1.0), &[], at(0)), at(10));
        assert_eq!(passed(&policy("Hold"), None, &frozen, at(60)), frozen);
        assert!(passed(&policy("Release"), None, &frozen, at(60)).is_empty());
        assert_eq!(levels(&passed(&policy("Enforce"), None, &[], at(60))).len(), 3);
    }

    #[test]
    fn nothing_changes_while_nothing_happens() {
        let policy = policy("Hold");
        let frozen = passed(&policy, Some(-1.0), &passed(&policy, Some(-1.0), &[], at(0)), at(10));
        assert_eq!(passed(&policy, Some(-2.0), &frozen, at(99)), frozen);
    }

    #[test]
    fn spending_is_told_by_cause_and_adds_up() {
        let attributed = BTreeMap::from([("bugs".to_owned(), 300.0), ("vendor".to_owned(), 100.0)]);
        let lines = spending(&policy("Hold"), 1_000.0, 500.0, &attributed);
        let spent = |cause: &str| lines.iter().find(|line| line.cause == cause).unwrap().spent;
        assert_eq!((spent("bugs"), spent("vendor"), spent("features"), spent(UNATTRIBUTED)), (30.0, 10.0, 0.0, 10.0));
        let total: f64 = spending(&policy("Hold"), 1_000.0, 200.0, &attributed).iter().map(|line| line.spent).sum();
        assert!((total - 20.0).abs() < 1e-9);
    }

    #[test]
    fn a_policy_that_contradicts_itself_is_refused() {
        assert!(check(&policy("Hold")).is_empty());
        let mut wrong = policy("Hold");
        wrong.thresholds.swap(0, 1);
        wrong.thaw_above = Some(0.0);
        wrong.allocation.insert("bugs".into(), 50.0);
        let fields: Vec<String> = check(&wrong).into_iter().map(|refusal| refusal.field).collect();
        assert_eq!(fields, ["thresholds[1].remainingBelow", "thawAbove", "allocation"]);
    }
}
