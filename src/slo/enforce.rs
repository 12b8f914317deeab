//! What a policy makes of where its SLOs stand: its status, the ChangeFreezes, and what is to be told to whom. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::policy::{held, in_force, passed, priority};
use super::standing::Standing;
use super::status::remaining_text;
use crate::api::change_freeze::{ChangeFreeze, ChangeFreezeSpec, Workload};
use crate::api::error_budget_policy::{ErrorBudgetPolicySpec, Passed, Priority, SloStanding, Threshold, Told};
use crate::k8s::meta::{Owner, bounded};
use crate::notify::message::{Message, Stage};

/// The SLOs that name a policy, with where they stand; `None`: nobody has measured them yet.
pub type Members<'a> = BTreeMap<String, Option<&'a Standing>>;

/// Name of the ChangeFreeze of an SLO under a policy.
pub fn freeze_name(policy: &str, slo: &str) -> String {
    bounded(&format!("{policy}-{slo}"), 253)
}

/// Where every SLO stands now. What nobody has measured yet stays as it was: a restart thaws nothing.
pub fn standings(
    name: &str,
    policy: &ErrorBudgetPolicySpec,
    previous: &[SloStanding],
    members: &Members<'_>,
    now: Timestamp,
) -> Vec<SloStanding> {
    let before = |slo: &str| previous.iter().find(|standing| standing.name == slo).cloned().unwrap_or_default();
    let mut standings: Vec<SloStanding> = members
        .iter()
        .map(|(slo, standing)| {
            let before = before(slo);
            let budget = standing.map(|standing| standing.budget);
            let passed = match budget {
                None => held(policy, &before.passed),
                Some(budget) => passed(policy, budget.map(|budget| budget.remaining * 100.0), &before.passed, now),
            };
            let holding = in_force(policy, &passed);
            let mut standing = SloStanding {
                name: slo.clone(),
                remaining: budget.flatten().map(|budget| remaining_text(budget.remaining)).or(before.remaining),
                priority: priority(&holding),
                require_review: holding.iter().any(|threshold| threshold.require_review),
                freeze: holding.iter().any(|threshold| threshold.freeze.is_some()).then(|| freeze_name(name, slo)),
                told: before.told,
                spending: before.spending,
                passed,
            };
            forget_strangers(policy, &mut standing);
            standing
        })
        .collect();
    // Whoever was told of a threshold is told of its end, also when the SLO is gone or has another policy now.
    let gone = previous.iter().filter(|standing| !members.contains_key(&standing.name) && !standing.told.is_empty());
    standings.extend(gone.map(|standing| SloStanding {
        name: standing.name.clone(),
        told: standing.told.clone(),
        ..SloStanding::default()
    }));
    standings
}

/// A channel that a threshold in force no longer names hears no more of it.
fn forget_strangers(policy: &ErrorBudgetPolicySpec, standing: &mut SloStanding) {
    for told in &mut standing.told {
        let threshold = threshold(policy, told.remaining_below);
        if let Some(threshold) = threshold.filter(|_| is_in_force(&standing.passed, told.remaining_below)) {
            told.channels.retain(|channel| threshold.notify.contains(channel));
        }
    }
    standing.told.retain(|told| !told.channels.is_empty());
}

fn threshold(policy: &ErrorBudgetPolicySpec, below: f64) -> Option<&Threshold> {
    policy.thresholds.iter().find(|threshold| threshold.remaining_below == below)
}

fn is_in_force(passed: &[Passed], below: f64) -> bool {
    passed.iter().any(|entry| entry.remaining_below == below && entry.in_force_since.is_some())
}

/// The SLO with the least budget.
pub fn worst(members: &Members<'_>) -> Option<String> {
    let left = members.iter().filter_map(|(slo, standing)| Some((slo, standing.as_ref()?.budget?.remaining)));
    let (slo, remaining) = left.min_by(|a, b| a.1.total_cmp(&b.1))?;
    Some(format!("{slo} {}", remaining_text(remaining)))
}

/// Time until the next threshold comes into force that only waits for its `for`.
pub fn due(policy: &ErrorBudgetPolicySpec, standings: &[SloStanding], now: Timestamp) -> Option<Duration> {
    let waiting = standings.iter().flat_map(|standing| &standing.passed).filter(|entry| entry.in_force_since.is_none());
    let dues = waiting.filter_map(|entry| {
        let delay = threshold(policy, entry.remaining_below)?.for_?;
        let delay = SignedDuration::from_secs(i64::try_from(delay.as_secs()).ok()?);
        let left = entry.since.0.checked_add(delay).ok()?.duration_since(now);
        Some(Duration::try_from(left).unwrap_or(Duration::ZERO))
    });
    dues.min()
}

/// The ChangeFreezes that must be there, in the namespace of the policy.
pub fn freezes(owner: &Owner, policy: &ErrorBudgetPolicySpec, standings: &[SloStanding]) -> Vec<ChangeFreeze> {
    standings.iter().filter_map(|standing| freeze(owner, policy, standing)).collect()
}

fn freeze(owner: &Owner, policy: &ErrorBudgetPolicySpec, standing: &SloStanding) -> Option<ChangeFreeze> {
    let holding = in_force(policy, &standing.passed);
    let freezing: Vec<&&Threshold> = holding.iter().filter(|threshold| threshold.freeze.is_some()).collect();
    let mut workloads: Vec<Workload> = vec![];
    for workload in freezing.iter().filter_map(|threshold| threshold.freeze.as_ref()).flat_map(|f| &f.workloads) {
        if !workloads.contains(workload) && workloads.len() < MAX_WORKLOADS {
            workloads.push(workload.clone());
        }
    }
    // The first that came into force gives the reason, so that it stays the same while others come and go.
    let first = freezing.first()?.remaining_below;
    let entry = standing.passed.iter().find(|entry| entry.remaining_below == first)?;
    let left = match &entry.remaining {
        Some(left) => format!("{left} of the error budget of SLO {} was left", standing.name),
        None => format!("there was no data about the error budget of SLO {}", standing.name),
    };
    let since = entry.in_force_since.as_ref().map(|since| since.0.to_string()).unwrap_or_default();
    let reason = format!("{left} at {since} (ErrorBudgetPolicy {})", owner.name);
    let spec = ChangeFreezeSpec {
        reason: reason.chars().take(MAX_REASON).collect(),
        workloads,
        from: None,
        until: None,
        slo: Some(standing.name.clone()),
        hold_responses: false,
    };
    let mut freeze = ChangeFreeze::new(&freeze_name(&owner.name, &standing.name), spec);
    freeze.metadata = owner.child(freeze_name(&owner.name, &standing.name), "freeze");
    Some(freeze)
}

/// Limits of the schema of ChangeFreeze.
const MAX_WORKLOADS: usize = 64;
const MAX_REASON: usize = 512;

/// Something that one channel is to be told about one SLO.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    pub slo: String,
    pub below: f64,
    pub channel: String,
    /// It came into force; else it ended.
    pub begins: bool,
}

/// What is to be told: what came into force and was not told, and what was told and is no longer in force.
pub fn notices(policy: &ErrorBudgetPolicySpec, standings: &[SloStanding]) -> Vec<Notice> {
    let mut notices = vec![];
    for standing in standings {
        let notice = |below: f64, channel: &String, begins: bool| Notice {
            slo: standing.name.clone(),
            below,
            channel: channel.clone(),
            begins,
        };
        let knows = |below: f64, channel: &String| {
            standing.told.iter().any(|told| told.remaining_below == below && told.channels.contains(channel))
        };
        for threshold in in_force(policy, &standing.passed) {
            let below = threshold.remaining_below;
            let open = threshold.notify.iter().filter(|channel| !knows(below, channel));
            notices.extend(open.map(|channel| notice(below, channel, true)));
        }
        for told in standing.told.iter().filter(|told| !is_in_force(&standing.passed, told.remaining_below)) {
            notices.extend(told.channels.iter().map(|channel| notice(told.remaining_below, channel, false)));
        }
    }
    notices.dedup();
    notices
}

/// Records that a notice was delivered, or needs no delivery any more.
pub fn settle(standings: &mut Vec<SloStanding>, notice: &Notice) {
    let Some(standing) = standings.iter_mut().find(|standing| standing.name == notice.slo) else { return };
    let place = standing.told.iter().position(|told| told.remaining_below == notice.below);
    match (place, notice.begins) {
        (Some(place), true) if !standing.told[place].channels.contains(&notice.channel) => {
            standing.told[place].channels.push(notice.channel.clone());
        }
        (None, true) => {
            standing.told.push(Told { remaining_below: notice.below, channels: vec![notice.channel.clone()] });
        }
        (Some(place), false) => standing.told[place].channels.retain(|channel| *channel != notice.channel),
        (Some(_), true) | (None, false) => {}
    }
    standing.told.retain(|told| !told.channels.is_empty());
    // Kept only until the last one was told.
    standings.retain(|s| s.name != notice.slo || !s.told.is_empty() || !s.passed.is_empty() || s.remaining.is_some());
}

/// The words.
pub fn message(owner: &Owner, policy: &ErrorBudgetPolicySpec, standings: &[SloStanding], notice: &Notice) -> Message {
    let Owner { namespace, name, uid, .. } = owner;
    let Notice { slo, below, begins, .. } = notice;
    let standing = standings.iter().find(|standing| standing.name == *slo);
    let left = match standing.and_then(|standing| standing.remaining.as_deref()) {
        Some(left) => format!("{left} of the error budget is left"),
        None => "its error budget is not known".to_owned(),
    };
    let threshold = threshold(policy, *below).filter(|_| *begins);
    let title = match begins {
        true => format!("SLO {namespace}/{slo}: {left}, threshold {below}% is in force"),
        false => format!("SLO {namespace}/{slo}: {left}, threshold {below}% is no longer in force"),
    };
    let mut lines = vec![title.clone(), format!("ErrorBudgetPolicy {namespace}/{name}")];
    let level = threshold.and_then(|threshold| threshold.priority);
    lines.extend(level.map(|priority| format!("Priority {priority:?}.")));
    if threshold.is_some_and(|threshold| threshold.require_review) {
        lines.push("Changes should be reviewed by a person.".into());
    }
    if let Some(freeze) = threshold.and_then(|threshold| threshold.freeze.as_ref()) {
        let names: Vec<String> = freeze.workloads.iter().map(|w| format!("{:?}/{}", w.kind, w.name)).collect();
        let thaw = policy.thaw_above.unwrap_or(0.0);
        let (names, freeze) = (names.join(", "), freeze_name(name, slo));
        lines.push(format!("No changes of {names} until more than {thaw}% is left: ChangeFreeze {freeze}."));
    }
    lines.push(format!("kubectl -n {namespace} get slo {slo}"));
    Message {
        title,
        text: lines.join("\n"),
        dedup_key: format!("{uid}-{slo}-{below}"),
        source: format!("{namespace}/SLO/{slo}"),
        severity: severity(level, *begins).into(),
        stage: if *begins { Stage::News } else { Stage::Resolved },
        reference: None,
    }
}

fn severity(priority: Option<Priority>, begins: bool) -> &'static str {
    match priority {
        _ if !begins => "info",
        Some(Priority::P1) => "critical",
        Some(Priority::P2) => "error",
        Some(Priority::P3) | None => "warning",
        Some(Priority::P4) => "info",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::slo::State;
    use crate::slo::budget::Budget;

    fn policy() -> ErrorBudgetPolicySpec {
        serde_saphyr::from_str(
            "thresholds:\n- {remainingBelow: 10, notify: [chat, pager], priority: P2, requireReview: true}\n\
             - {remainingBelow: 0, for: 1m, notify: [pager], priority: P1, freeze: {workloads: [{kind: Deployment, name: checkout}]}}\nthawAbove: 5\n",
        )
        .unwrap()
    }

    fn owner() -> Owner {
        Owner {
            api_version: "evenkeel.dev/v1alpha1".into(),
            kind: "ErrorBudgetPolicy".into(),
            namespace: "shop".into(),
            name: "standard".into(),
            uid: "u1".into(),
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).unwrap()
    }

    fn standing(remaining: Option<f64>) -> Standing {
        let budget = remaining.map(|remaining| Budget {
            indicator: Some(0.99),
            remaining,
            errors: 0.0,
            whole: 0.0,
            remaining_events: 0.0,
            remaining_seconds: 0.0,
            burn_rates: [None; 4],
            exhaustion: None,
            covered: 1.0,
            expected: 1.0,
        });
        Standing {
            uid: "s".into(),
            service: "checkout".into(),
            policy: Some("standard".into()),
            state: if budget.is_some() { State::Healthy } else { State::NoData },
            budget,
        }
    }

    fn round(previous: &[SloStanding], remaining: Option<f64>, seconds: i64) -> Vec<SloStanding> {
        let standing = standing(remaining);
        standings("standard", &policy(), previous, &Members::from([("api".into(), Some(&standing))]), at(seconds))
    }

    #[test]
    fn a_spent_budget_freezes_after_its_delay_with_a_reason_that_stays() {
        let first = round(&[], Some(-0.012), 0);
        assert_eq!(due(&policy(), &first, at(20)), Some(Duration::from_secs(40)));
        assert!(freezes(&owner(), &policy(), &first).is_empty());
        let frozen = round(&first, Some(-0.034), 60);
        let [freeze] = &freezes(&owner(), &policy(), &frozen)[..] else { panic!("one freeze") };
        assert_eq!(freeze.metadata.name.as_deref(), Some("standard-api"));
        assert_eq!(
            freeze.spec.reason,
            "-3.4% of the error budget of SLO api was left at 2023-11-14T22:14:20Z (ErrorBudgetPolicy standard)"
        );
        let worse = round(&frozen, Some(-0.2), 600);
        assert_eq!(freezes(&owner(), &policy(), &worse)[0].spec, freeze.spec);
        assert_eq!((worse[0].priority, worse[0].require_review), (Some(Priority::P1), true));
        let thawed = round(&worse, Some(0.06), 700);
        assert!(freezes(&owner(), &policy(), &thawed).is_empty() && thawed[0].freeze.is_none());
    }

    #[test]
    fn a_restart_thaws_nothing_and_an_slo_that_left_is_thawed_at_once() {
        let frozen = round(&round(&[], Some(-0.1), 0), Some(-0.1), 60);
        let unknown = standings("standard", &policy(), &frozen, &Members::from([("api".into(), None)]), at(70));
        assert_eq!(unknown, frozen);
        let left = standings("standard", &policy(), &frozen, &Members::new(), at(70));
        assert!(left.is_empty() && freezes(&owner(), &policy(), &left).is_empty());
    }

    #[test]
    fn each_channel_is_told_once_when_a_threshold_comes_into_force_and_once_when_it_ends() {
        let mut now = round(&[], Some(0.08), 0);
        let begin = notices(&policy(), &now);
        assert_eq!(
            begin.iter().map(|n| (n.channel.as_str(), n.begins)).collect::<Vec<_>>(),
            [("chat", true), ("pager", true)]
        );
        settle(&mut now, &begin[0]);
        assert_eq!(notices(&policy(), &now), [begin[1].clone()]);
        settle(&mut now, &begin[1]);
        assert!(notices(&policy(), &now).is_empty() && notices(&policy(), &round(&now, Some(0.07), 15)).is_empty());
        let mut over = round(&now, Some(0.5), 30);
        let end = notices(&policy(), &over);
        assert_eq!((end.len(), end[0].begins), (2, false));
        end.iter().for_each(|notice| settle(&mut over, notice));
        assert!(over[0].told.is_empty() && notices(&policy(), &over).is_empty());
    }

    #[test]
    fn the_end_is_also_told_of_an_slo_that_is_gone() {
        let mut now = round(&[], Some(0.08), 0);
        notices(&policy(), &now).iter().for_each(|notice| settle(&mut now, notice));
        let mut gone = standings("standard", &policy(), &now, &Members::new(), at(60));
        let end = notices(&policy(), &gone);
        assert_eq!(end.len(), 2);
        end.iter().for_each(|notice| settle(&mut gone, notice));
        assert!(gone.is_empty());
    }

    #[test]
    fn a_channel_that_is_no_longer_named_hears_no_more() {
        let mut now = round(&[], Some(0.08), 0);
        notices(&policy(), &now).iter().for_each(|notice| settle(&mut now, notice));
        let mut policy = policy();
        policy.thresholds[0].notify = vec!["pager".into()];
        let standing = standing(Some(0.08));
        let members = Members::from([("api".into(), Some(&standing))]);
        let next = standings("standard", &policy, &now, &members, at(15));
        assert_eq!(next[0].told[0].channels, ["pager"]);
        assert!(notices(&policy, &next).is_empty());
    }

    #[test]
    fn the_message_says_what_is_left_and_what_follows() {
        let frozen = round(&round(&[], Some(-0.012), 0), Some(-0.012), 60);
        let notice = Notice { slo: "api".into(), below: 0.0, channel: "pager".into(), begins: true };
        let message = message(&owner(), &policy(), &frozen, &notice);
        assert_eq!(message.title, "SLO shop/api: -1.2% of the error budget is left, threshold 0% is in force");
        assert_eq!((message.severity.as_str(), message.dedup_key.as_str()), ("critical", "u1-api-0"));
        assert!(
            message
                .text
                .contains("No changes of Deployment/checkout until more than 5% is left: ChangeFreeze standard-api.")
        );
        assert!(message.text.ends_with("kubectl -n shop get slo api"));
    }

    #[test]
    fn the_worst_slo_is_the_one_with_the_least_budget() {
        let (good, bad, none) = (standing(Some(0.9)), standing(Some(-0.1)), standing(None));
        let members = Members::from([
            ("a".into(), Some(&good)),
            ("b".into(), Some(&bad)),
            ("c".into(), Some(&none)),
            ("d".into(), None),
        ]);
        assert_eq!(worst(&members).as_deref(), Some("b -10.0%"));
    }
}
