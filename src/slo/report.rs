//! The report about the budgets under one policy: Markdown out of statuses alone, and the ConfigMap that keeps it. Pure.

use std::collections::BTreeMap;
use std::fmt::Write;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;

use crate::api::budget_adjustment::{BudgetAdjustment, Every};
use crate::api::{ChangeFreeze, ErrorBudgetPolicy, ResponseRun, SLO};
use crate::k8s::meta::{Owner, bounded};

/// Annotations of the ConfigMap: when the report was due, and the period that it speaks of.
pub const AT: &str = "evenkeel.dev/report-at";
pub const PERIOD: &str = "evenkeel.dev/report-period";
/// The key of the latest report; those before it have their time as key.
pub const KEY: &str = "report.md";
/// Reports that are kept beside the latest.
const KEPT: usize = 5;
/// Bytes of one report; six of them stay below the limit of a ConfigMap.
const LONGEST: usize = 128 << 10;
/// Rows of a table that grows with time.
const ROWS: usize = 50;

/// What a report is made of: objects of the namespace of the policy.
pub struct Facts<'a> {
    pub policy: &'a ErrorBudgetPolicy,
    pub slos: &'a [SLO],
    pub adjustments: &'a [BudgetAdjustment],
    pub freezes: &'a [ChangeFreeze],
    pub runs: &'a [ResponseRun],
    pub from: Timestamp,
    pub to: Timestamp,
}

/// Name of the ConfigMap of a policy.
pub fn config_map_name(policy: &str) -> String {
    bounded(&format!("{policy}-report"), 253)
}

/// The report.
pub fn markdown(facts: &Facts<'_>) -> String {
    let name = facts.policy.name_any();
    let mut slos: Vec<&SLO> =
        facts.slos.iter().filter(|slo| slo.spec.policy_ref.as_ref().is_some_and(|p| p.name == name)).collect();
    slos.sort_by_key(|slo| slo.name_any());
    let names: Vec<String> = slos.iter().map(|slo| slo.name_any()).collect();
    let mut text = format!(
        "# Error budgets of {}/{name}\n\n{} to {}.\n",
        facts.policy.namespace().unwrap_or_default(),
        facts.from,
        facts.to
    );
    section(&mut text, "SLOs", slo_table(&slos), "No SLO of this namespace names this policy.");
    section(&mut text, "Thresholds in force", thresholds(facts.policy), "None.");
    let spending = spending(facts.policy);
    if !facts.policy.spec.allocation.is_empty() || !spending.rows.is_empty() {
        section(&mut text, "Spending by cause", spending, "Nothing was spent yet.");
    }
    section(&mut text, "Adjustments", adjustments(facts.adjustments, &names), "None.");
    section(&mut text, "Freezes", freezes(facts.freezes, &names), "None.");
    section(&mut text, "Repairs in the period", runs(facts), "None.");
    text
}

struct Table {
    head: &'static [&'static str],
    rows: Vec<Vec<String>>,
}

fn section(text: &mut String, title: &str, table: Table, empty: &str) {
    let _ = write!(text, "\n## {title}\n\n");
    if table.rows.is_empty() {
        let _ = writeln!(text, "{empty}");
        return;
    }
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    text.push_str(&line(&table.head.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>()));
    text.push_str(&line(&vec!["---".to_owned(); table.head.len()]));
    for (index, row) in table.rows.iter().enumerate() {
        if text.len() > LONGEST {
            let _ = writeln!(text, "\n{} more.", table.rows.len() - index);
            return;
        }
        text.push_str(&line(&row.iter().map(|cell| shown(cell)).collect::<Vec<_>>()));
    }
}

/// Nothing in a cell ends it, or the line.
fn shown(cell: &str) -> String {
    match cell.is_empty() {
        true => "-".to_owned(),
        false => cell.replace('|', "\\|").replace(['\n', '\r'], " "),
    }
}

fn slo_table(slos: &[&SLO]) -> Table {
    let head =
        &["SLO", "Service", "Objective", "Window", "Current", "Budget left", "Time left", "Burn", "State", "Since"];
    let row = |slo: &&SLO| {
        let status = slo.status.clone().unwrap_or_default();
        let budget = status.budget.unwrap_or_default();
        let state = status.state.map(|state| format!("{state:?}")).unwrap_or_default();
        vec![
            slo.name_any(),
            slo.spec.service.clone(),
            format!("{}%", slo.spec.objective),
            status.window.unwrap_or_default(),
            status.current.map(|current| format!("{current}%")).unwrap_or_default(),
            budget.remaining,
            budget.remaining_time.unwrap_or_default(),
            status.burn_rates.and_then(|rates| rates.one_hour).unwrap_or_default(),
            match &status.values_from {
                Some(from) => format!("{state} (values of {})", from.0),
                None => state,
            },
            status.since.map(|since| since.0.to_string()).unwrap_or_default(),
        ]
    };
    Table { head, rows: slos.iter().map(row).collect() }
}

fn thresholds(policy: &ErrorBudgetPolicy) -> Table {
    let head = &["SLO", "Threshold", "Since", "Left then", "Left now", "Priority", "Review", "ChangeFreeze"];
    let mut rows = vec![];
    for slo in policy.status.iter().flat_map(|status| &status.slos) {
        for entry in &slo.passed {
            let Some(since) = &entry.in_force_since else { continue };
            let threshold = policy.spec.thresholds.iter().find(|t| t.remaining_below == entry.remaining_below);
            let frozen = threshold.is_some_and(|threshold| threshold.freeze.is_some());
            rows.push(vec![
                slo.name.clone(),
                format!("{}%", entry.remaining_below),
                since.0.to_string(),
                entry.remaining.clone().unwrap_or_default(),
                slo.remaining.clone().unwrap_or_default(),
                threshold.and_then(|threshold| threshold.priority).map(|p| format!("{p:?}")).unwrap_or_default(),
                if threshold.is_some_and(|threshold| threshold.require_review) { "required" } else { "" }.to_owned(),
                slo.freeze.clone().filter(|_| frozen).unwrap_or_default(),
            ]);
        }
    }
    Table { head, rows }
}

fn spending(policy: &ErrorBudgetPolicy) -> Table {
    let slos = policy.status.iter().flat_map(|status| &status.slos);
    let rows = slos.flat_map(|slo| {
        let row = |line: &crate::api::error_budget_policy::CauseSpending| {
            let over = if line.spent > line.allotted { "more than allotted" } else { "" };
            let (allotted, spent) = (format!("{}%", line.allotted), format!("{}%", line.spent));
            vec![slo.name.clone(), line.cause.clone(), allotted, spent, over.to_owned()]
        };
        slo.spending.iter().map(row).collect::<Vec<_>>()
    });
    Table { head: &["SLO", "Cause", "Allotted", "Spent", ""], rows: rows.collect() }
}

fn adjustments(adjustments: &[BudgetAdjustment], slos: &[String]) -> Table {
    let head = &["BudgetAdjustment", "What", "Cause", "SLOs", "Counts now"];
    let touched = |a: &&BudgetAdjustment| a.spec.slos.iter().any(|slo| slos.contains(slo));
    let row = |a: &BudgetAdjustment| {
        let exclude = a.spec.exclude.as_ref().map(|exclude| {
            let again = exclude.repeat.as_ref().map_or("", |repeat| match repeat.every {
                Every::Day => ", every day",
                Every::Week => ", every week",
                Every::Month => ", every month",
            });
            format!("leaves out {} from {}{again}", exclude.duration, exclude.start.0)
        });
        let back = a.spec.give_back.as_ref().map(|back| format!("gives {}% back at {}", back.percent, back.at.0));
        let applied = a.status.as_ref().map(|status| status.applied_to.join(", ")).unwrap_or_default();
        let what = exclude.or(back).unwrap_or_default();
        vec![a.name_any(), what, a.spec.cause.clone().unwrap_or_default(), a.spec.slos.join(", "), applied]
    };
    let mut rows: Vec<_> = adjustments.iter().filter(touched).map(row).collect();
    rows.sort();
    Table { head, rows }
}

fn freezes(freezes: &[ChangeFreeze], slos: &[String]) -> Table {
    let head = &["ChangeFreeze", "SLO", "Workloads", "Active", "Until", "Reason"];
    let row = |freeze: &ChangeFreeze| {
        let workloads: Vec<String> = freeze.spec.workloads.iter().map(|w| format!("{:?}/{}", w.kind, w.name)).collect();
        let active = freeze.status.as_ref().and_then(|status| status.active);
        vec![
            freeze.name_any(),
            freeze.spec.slo.clone().unwrap_or_default(),
            workloads.join(", "),
            active.map(|active| if active { "yes" } else { "no" }.to_owned()).unwrap_or_default(),
            freeze.spec.until.as_ref().map(|until| until.0.to_string()).unwrap_or_default(),
            freeze.spec.reason.clone(),
        ]
    };
    // Those of people as well: they say nothing of an SLO.
    let about = |freeze: &&ChangeFreeze| freeze.spec.slo.as_ref().is_none_or(|slo| slos.contains(slo));
    let mut rows: Vec<_> = freezes.iter().filter(about).map(row).collect();
    rows.sort();
    Table { head, rows }
}

/// All of the namespace: a repair keeps a budget whether or not its alert was that of an SLO.
fn runs(facts: &Facts<'_>) -> Table {
    let head = &["Started", "ResponseRun", "Alert", "Target", "Phase", "Verdict"];
    let within = |at: Timestamp| at > facts.from && at <= facts.to;
    let row = |run: &ResponseRun| {
        let created = run.metadata.creation_timestamp.as_ref()?.0;
        let verdict = run.status.as_ref().and_then(|status| status.verdict);
        within(created).then(|| {
            vec![
                created.to_string(),
                run.name_any(),
                run.spec.alert.name.clone(),
                run.spec.target.reference(),
                format!("{:?}", run.phase()),
                verdict.map(|verdict| format!("{verdict:?}")).unwrap_or_default(),
            ]
        })
    };
    let mut rows: Vec<_> = facts.runs.iter().filter(|run| !run.spec.drill).filter_map(row).collect();
    rows.sort();
    rows.reverse();
    rows.truncate(ROWS);
    Table { head, rows }
}

/// The ConfigMap with the report of `at`, and the reports that `previous` holds.
pub fn config_map(
    owner: &Owner,
    report: &str,
    (from, at): (Timestamp, Timestamp),
    previous: Option<&ConfigMap>,
) -> ConfigMap {
    let mut data: BTreeMap<String, String> = BTreeMap::new();
    let old = previous.and_then(|previous| previous.data.as_ref());
    let since = previous.and_then(|previous| previous.annotations().get(AT)).and_then(|at| at.parse().ok());
    data.extend(old.into_iter().flatten().filter(|(key, _)| *key != KEY).map(|(k, v)| (k.clone(), v.clone())));
    if let (Some(latest), Some(since)) = (old.and_then(|old| old.get(KEY)), since.filter(|since| *since != at)) {
        data.insert(key(since), latest.clone());
    }
    // Keys sort by time.
    while data.len() > KEPT {
        data.pop_first();
    }
    data.insert(KEY.into(), report.to_owned());
    let mut metadata = owner.child(config_map_name(&owner.name), "report");
    metadata.annotations = Some([(AT.to_owned(), at.to_string()), (PERIOD.to_owned(), format!("{from}/{at}"))].into());
    ConfigMap { metadata, data: Some(data), ..ConfigMap::default() }
}

/// `2026-11-01T0900Z.md`: no key has a colon.
fn key(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H%MZ.md").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all<K: serde::de::DeserializeOwned>(text: &str) -> Vec<K> {
        serde_saphyr::from_multiple(text).unwrap()
    }

    const POLICY: &str = "
apiVersion: evenkeel.dev/v1alpha1
kind: ErrorBudgetPolicy
metadata: {name: standard, namespace: shop, uid: u1}
spec:
  thresholds:
  - {remainingBelow: 25, priority: P3}
  - {remainingBelow: 0, priority: P1, requireReview: true, freeze: {workloads: [{kind: Deployment, name: checkout}]}}
  allocation: {bugs: 60, reserve: 40}
status:
  slos:
  - name: checkout-availability
    remaining: '-3.4%'
    freeze: standard-checkout-availability
    passed:
    - {remainingBelow: 25, since: '2026-11-10T08:00:00Z', inForceSince: '2026-11-10T08:00:00Z', remaining: 24.9%}
    - {remainingBelow: 0, since: '2026-11-12T08:00:00Z', inForceSince: '2026-11-12T08:00:00Z', remaining: '-0.2%'}
    spending: [{cause: bugs, allotted: 60, spent: 83}, {cause: reserve, allotted: 40, spent: 0}, {cause: unattributed, allotted: 0, spent: 20}]
";
    const SLOS: &str = "
apiVersion: evenkeel.dev/v1alpha1
kind: SLO
metadata: {name: checkout-availability, namespace: shop}
spec: {service: checkout, objective: 99.9, window: {rolling: 30d}, indicator: {availability: {metric: up}}, policyRef: {name: standard}}
status: {state: Exhausted, since: '2026-11-12T08:00:00Z', window: 30d, current: '99.896', budget: {remaining: '-3.4%', remainingTime: '-1m28s'}, burnRates: {oneHour: 0.2x}}
---
apiVersion: evenkeel.dev/v1alpha1
kind: SLO
metadata: {name: other, namespace: shop}
spec: {service: other, objective: 99, window: {rolling: 7d}, indicator: {availability: {metric: up}}}
";
    const REST: &str = "
apiVersion: evenkeel.dev/v1alpha1
kind: BudgetAdjustment
metadata: {name: maintenance, namespace: shop}
spec: {slos: [checkout-availability], cause: maintenance, exclude: {start: '2026-11-14T01:00:00Z', duration: 2h, repeat: {every: Week}}}
status: {appliedTo: [checkout-availability]}
";
    const FREEZE: &str = "
apiVersion: evenkeel.dev/v1alpha1
kind: ChangeFreeze
metadata: {name: standard-checkout-availability, namespace: shop}
spec: {slo: checkout-availability, reason: a | b, workloads: [{kind: Deployment, name: checkout}]}
status: {active: true}
";

    fn report() -> String {
        let (policy, slos) = (&all::<ErrorBudgetPolicy>(POLICY)[0], all::<SLO>(SLOS));
        let (adjustments, freezes) = (all::<BudgetAdjustment>(REST), all::<ChangeFreeze>(FREEZE));
        let (from, to) = ("2026-10-21T09:00:00Z".parse().unwrap(), "2026-11-21T09:00:00Z".parse().unwrap());
        markdown(&Facts { policy, slos: &slos, adjustments: &adjustments, freezes: &freezes, runs: &[], from, to })
    }

    #[test]
    fn a_report_tells_where_every_budget_stands_and_what_follows() {
        let wanted = "\
# Error budgets of shop/standard

2026-10-21T09:00:00Z to 2026-11-21T09:00:00Z.

## SLOs

| SLO | Service | Objective | Window | Current | Budget left | Time left | Burn | State | Since |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
| checkout-availability | checkout | 99.9% | 30d | 99.896% | -3.4% | -1m28s | 0.2x | Exhausted | 2026-11-12T08:00:00Z |

## Thresholds in force

| SLO | Threshold | Since | Left then | Left now | Priority | Review | ChangeFreeze |
| --- | --- | --- | --- | --- | --- | --- | --- |
| checkout-availability | 25% | 2026-11-10T08:00:00Z | 24.9% | -3.4% | P3 | - | - |
| checkout-availability | 0% | 2026-11-12T08:00:00Z | -0.2% | -3.4% | P1 | required | standard-checkout-availability |

## Spending by cause

| SLO | Cause | Allotted | Spent |  |
| --- | --- | --- | --- | --- |
| checkout-availability | bugs | 60% | 83% | more than allotted |
| checkout-availability | reserve | 40% | 0% | - |
| checkout-availability | unattributed | 0% | 20% | more than allotted |

## Adjustments

| BudgetAdjustment | What | Cause | SLOs | Counts now |
| --- | --- | --- | --- | --- |
| maintenance | leaves out 2h from 2026-11-14T01:00:00Z, every week | maintenance | checkout-availability | checkout-availability |

## Freezes

| ChangeFreeze | SLO | Workloads | Active | Until | Reason |
| --- | --- | --- | --- | --- | --- |
| standard-checkout-availability | checkout-availability | Deployment/checkout | yes | - | a \\| b |

## Repairs in the period

None.
";
        assert_eq!(report(), wanted);
    }

    #[test]
    fn the_last_reports_are_kept_by_their_time() {
        let owner = Owner::of(&all::<ErrorBudgetPolicy>(POLICY)[0]).unwrap();
        let at = |day: i64| Timestamp::from_second(1_700_000_000 + day * 86_400).unwrap();
        let mut latest: Option<ConfigMap> = None;
        for day in 1..10 {
            latest = Some(config_map(&owner, &format!("report {day}"), (at(day - 1), at(day)), latest.as_ref()));
        }
        let again = config_map(&owner, "report 9", (at(8), at(9)), latest.as_ref());
        assert_eq!(Some(&again), latest.as_ref());
        let data = again.data.unwrap();
        assert_eq!((data.len(), data[KEY].as_str()), (KEPT + 1, "report 9"));
        assert_eq!(data["2023-11-22T2213Z.md"], "report 8");
        assert!(data.values().all(|report| report != "report 1"));
    }
}
