//! Who spent a budget: the periods that repairs account for, the shares that adjustments name, and what is left. Pure.
//!
//! A cause is written as the label or annotation [`CAUSE`] of a ResponseRun or of its AlertResponse, as the label
//! `cause` of its alert, or as `spec.cause` of a BudgetAdjustment that gives something back.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use kube::{Resource, ResourceExt};

use super::adjustment::{Interval, merge};
use super::budget::Budget;
use super::excluded::{Amounts, window};
use super::policy;
use super::validate::Checked;
use crate::api::error_budget_policy::{CauseSpending, ErrorBudgetPolicySpec};
use crate::api::{AlertResponse, BudgetAdjustment, ResponseRun};

/// Label or annotation of a ResponseRun or an AlertResponse.
pub const CAUSE: &str = "evenkeel.dev/cause";
/// Label of an alert.
const ALERT_CAUSE: &str = "cause";
/// Causes that are told apart; the rest is unattributed.
const MAX_CAUSES: usize = 16;
const HOUR: i64 = 3_600;

/// Periods by cause.
pub type Periods = BTreeMap<String, Vec<Interval>>;

/// The periods of the present window for which somebody named a cause: from when the alert began to fire until its run
/// was closed. Of an open run, up to the last whole step.
pub fn periods(slo: &Checked, runs: &[ResponseRun], responses: &[AlertResponse], now: Timestamp) -> Periods {
    let step = i64::try_from(slo.window.step()).unwrap_or(300);
    let whole = |at: Timestamp, unit: i64| Timestamp::from_second(at.as_second() / unit * unit).unwrap_or(at);
    let reach = SignedDuration::from_secs(step - 1);
    // By whole hours, so that what is half out of the window is not asked for anew each time.
    let start = whole(window(&slo.window, now).start, HOUR);
    let mut found = Periods::new();
    for run in runs.iter().filter(|run| concerns(run, slo)) {
        let response = responses.iter().find(|r| r.uid().as_deref() == Some(run.spec.response_ref.uid.as_str()));
        let Some(cause) = cause(run, response) else { continue };
        let began = run.spec.alert.starts_at.as_ref().or(run.metadata.creation_timestamp.as_ref());
        let Some(began) = began.map(|began| began.0.max(start)) else { continue };
        let ended = run.status.as_ref().and_then(|status| status.finished_at.as_ref()).map(|ended| ended.0);
        // A point speaks of the step before it: the last one may not be recorded yet.
        let end = ended.and_then(|ended| ended.checked_add(reach).ok()).filter(|end| *end <= now);
        let end = end.unwrap_or_else(|| whole(now, step));
        if began < end && (found.len() < MAX_CAUSES || found.contains_key(&cause)) {
            found.entry(cause).or_default().push(Interval { start: began, end });
        }
    }
    found.values_mut().for_each(merge);
    found
}

/// An alert speaks of an SLO when its labels name it, or its service.
fn concerns(run: &ResponseRun, slo: &Checked) -> bool {
    let label = |name: &str| run.spec.alert.labels.get(name).map(String::as_str);
    if run.spec.drill || run.namespace().as_deref() != Some(slo.namespace.as_str()) {
        return false;
    }
    match label("slo") {
        Some(name) => name == slo.name && label("slo_namespace").is_none_or(|namespace| namespace == slo.namespace),
        None => label("service") == Some(slo.service.as_str()),
    }
}

fn cause(run: &ResponseRun, response: Option<&AlertResponse>) -> Option<String> {
    fn written<K: Resource>(object: &K) -> Option<String> {
        object.annotations().get(CAUSE).or_else(|| object.labels().get(CAUSE)).cloned()
    }
    let of_alert = || run.spec.alert.labels.get(ALERT_CAUSE).cloned();
    let cause = written(run).or_else(|| response.and_then(written)).or_else(of_alert)?;
    let cause: String = cause.trim().chars().take(63).collect();
    (!cause.is_empty()).then_some(cause)
}

/// Errors by cause. `group` are the groupBy labels of the group whose budget it is; `known` what was recorded.
pub fn errors(
    periods: &Periods,
    known: &BTreeMap<Interval, Amounts>,
    group: &BTreeMap<String, String>,
) -> Option<BTreeMap<String, f64>> {
    let of = |interval: &Interval| Some(known.get(interval)?.get(group).map_or(0.0, |amount| amount.errors));
    let sum = |intervals: &Vec<Interval>| intervals.iter().map(of).sum::<Option<f64>>();
    periods.iter().map(|(cause, intervals)| Some((cause.clone(), sum(intervals)?))).collect()
}

/// What is shown. `errors` by cause, of repairs; adjustments that give a share back and name a cause say that this cause
/// spent it.
pub fn spending(
    spec: &ErrorBudgetPolicySpec,
    slo: &Checked,
    budget: &Budget,
    mut errors: BTreeMap<String, f64>,
    adjustments: &[BudgetAdjustment],
    now: Timestamp,
) -> Vec<CauseSpending> {
    let present = window(&slo.window, now);
    for adjustment in adjustments {
        let share = super::adjustment::given_back([&adjustment.spec], present);
        if let (Some(cause), true) = (&adjustment.spec.cause, share > 0.0) {
            *errors.entry(cause.clone()).or_default() += share * budget.whole;
        }
    }
    let whole = |percent: f64| percent.round().clamp(-1e6, 1e6) as i32;
    let lines = policy::spending(spec, budget.whole, budget.errors, &errors);
    lines
        .into_iter()
        .map(|l| CauseSpending { cause: l.cause, allotted: whole(l.allotted), spent: whole(l.spent) })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slo::excluded::Amount;
    use crate::slo::validate::check;

    fn slo() -> Checked {
        let text = "apiVersion: evenkeel.dev/v1alpha1\nkind: SLO\nmetadata: {name: api, namespace: shop}\nspec:\n  service: checkout\n  \
                    objective: 99.9\n  window: {rolling: 30d}\n  indicator: {availability: {metric: up}}\n";
        check(&serde_saphyr::from_str(text).unwrap()).unwrap()
    }

    fn run(labels: &str, annotations: &str, starts: &str, finished: &str) -> ResponseRun {
        let finished = if finished.is_empty() { String::new() } else { format!("finishedAt: '{finished}'") };
        serde_saphyr::from_str(&format!(
            "apiVersion: evenkeel.dev/v1alpha1\nkind: ResponseRun\nmetadata: {{name: r, namespace: shop, annotations: {{{annotations}}}}}\n\
             spec: {{responseRef: {{name: undo, uid: u1, generation: 1}}, alert: {{name: X, fingerprint: f, startsAt: '{starts}', labels: {{{labels}}}}}, \
             target: {{kind: Deployment, name: checkout}}, mode: Act, steps: [], attempt: 1}}\nstatus: {{phase: Succeeded, {finished}}}\n"
        ))
        .unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn now() -> Timestamp {
        at("2026-11-21T12:02:00Z")
    }

    #[test]
    fn a_repair_accounts_for_the_time_from_its_alert_to_its_end() {
        let (slo_labels, cause) = ("slo: api, slo_namespace: shop", "evenkeel.dev/cause: bugs");
        let runs = [
            run(slo_labels, cause, "2026-11-20T10:00:00Z", "2026-11-20T10:30:00Z"),
            run("service: checkout", cause, "2026-11-20T10:20:00Z", "2026-11-20T10:40:00Z"),
            run("service: checkout, cause: vendor", "", "2026-11-21T11:50:00Z", ""),
            run("service: checkout", "", "2026-11-20T10:00:00Z", "2026-11-20T11:00:00Z"),
            run("slo: other, service: checkout", cause, "2026-11-19T10:00:00Z", "2026-11-19T11:00:00Z"),
            run(slo_labels, cause, "2026-09-01T10:00:00Z", "2026-09-01T11:00:00Z"),
        ];
        let found = periods(&slo(), &runs, &[], now());
        assert_eq!(found["bugs"], [Interval { start: at("2026-11-20T10:00:00Z"), end: at("2026-11-20T10:44:59Z") }]);
        // Still open: up to the last whole step.
        assert_eq!(found["vendor"], [Interval { start: at("2026-11-21T11:50:00Z"), end: at("2026-11-21T12:00:00Z") }]);
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn an_alert_response_names_the_cause_of_all_its_runs() {
        let response: AlertResponse = serde_saphyr::from_str(
            "apiVersion: evenkeel.dev/v1alpha1\nkind: AlertResponse\nmetadata: {name: undo, namespace: shop, uid: u1, labels: {evenkeel.dev/cause: features}}\n\
             spec: {match: {alert: X}, target: {kind: Deployment, name: checkout}, steps: [{restart: {}}]}\n",
        )
        .unwrap();
        let runs = [run("slo: api", "", "2026-11-20T10:00:00Z", "2026-11-20T10:30:00Z")];
        assert!(periods(&slo(), &runs, &[response], now()).contains_key("features"));
    }

    #[test]
    fn shares_are_of_the_whole_budget_and_wait_until_everything_is_known() {
        let spec: ErrorBudgetPolicySpec =
            serde_saphyr::from_str("{thresholds: [{remainingBelow: 0}], allocation: {bugs: 60, reserve: 40}}").unwrap();
        let interval = Interval { start: at("2026-11-20T10:00:00Z"), end: at("2026-11-20T10:30:00Z") };
        let periods = Periods::from([("bugs".into(), vec![interval])]);
        assert_eq!(errors(&periods, &BTreeMap::new(), &BTreeMap::new()), None);
        let amounts = Amounts::from([(BTreeMap::new(), Amount { errors: 300.0, total: 9e9 })]);
        let errors = errors(&periods, &BTreeMap::from([(interval, amounts)]), &BTreeMap::new()).unwrap();
        let budget = Budget {
            indicator: None,
            remaining: 0.5,
            errors: 500.0,
            whole: 1_000.0,
            remaining_events: 500.0,
            remaining_seconds: 0.0,
            burn_rates: [None; 4],
            exhaustion: None,
            covered: 1.0,
            expected: 1.0,
        };
        let back: BudgetAdjustment = serde_saphyr::from_str(
            "apiVersion: evenkeel.dev/v1alpha1\nkind: BudgetAdjustment\nmetadata: {name: b}\nspec: {slos: [api], cause: vendor, giveBack: {percent: 10, at: '2026-11-20T00:00:00Z'}}\n",
        )
        .unwrap();
        let lines = spending(&spec, &slo(), &budget, errors, &[back], now());
        let shown: Vec<_> = lines.iter().map(|l| (l.cause.as_str(), l.allotted, l.spent)).collect();
        assert_eq!(shown, [("bugs", 60, 30), ("reserve", 40, 0), ("vendor", 0, 10), ("unattributed", 0, 10)]);
    }
}
