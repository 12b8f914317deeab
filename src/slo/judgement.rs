//! What the status of a policy says of the policy itself: whether its spec makes sense, what keeps it from doing what it
//! says, what is worth an Event. Pure.

use jiff::{SignedDuration, Timestamp};

use super::effects::Problem;
use super::policy;
use crate::api::error_budget_policy::{ErrorBudgetPolicySpec, ErrorBudgetPolicyStatus, LastReport, SloStanding};
use crate::k8s::meta::Owner;
use crate::k8s::status::Outcome;
use crate::notify::message::{Message, Stage};
use crate::schedule::Schedule;

/// Characters of a report in a message; all of it is in the ConfigMap.
const LONGEST_MESSAGE: usize = 12_000;
/// A report that could not be sent for so long is not sent any more.
const STALE: SignedDuration = SignedDuration::from_hours(24);

/// The schedule of the reports, or everything that is wrong with the spec.
pub fn validate(spec: &ErrorBudgetPolicySpec) -> Result<Option<Schedule>, Outcome> {
    let refusals = policy::check(spec);
    if refusals.is_empty() {
        return Ok(spec.report.as_ref().and_then(|report| policy::schedule(report).ok()));
    }
    let message = refusals.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    Err(Outcome::Stalled { reason: "InvalidSpec", message })
}

/// How the policy stands. The words hold no values, so that they change when something happens.
pub fn outcome(slos: &[SloStanding], problems: &[Problem]) -> Outcome {
    if let Some((reason, _)) = problems.first() {
        let message = problems.iter().map(|(_, message)| message.as_str()).collect::<Vec<_>>().join("; ");
        return Outcome::Failing { reason, message };
    }
    let levels = |slo: &SloStanding| {
        let in_force = slo.passed.iter().filter(|entry| entry.in_force_since.is_some());
        let levels: Vec<String> = in_force.map(|entry| format!("{}%", entry.remaining_below)).collect();
        (!levels.is_empty()).then(|| format!("{} at {}", slo.name, levels.join(", ")))
    };
    let in_force: Vec<String> = slos.iter().filter_map(levels).collect();
    let count = format!("{} SLO{}", slos.len(), if slos.len() == 1 { "" } else { "s" });
    match (slos.len(), in_force.is_empty()) {
        (0, _) => Outcome::Ready {
            reason: "Unused",
            message: "no SLO of this namespace names this policy: write its name into spec.policyRef.name of an SLO"
                .into(),
        },
        (_, true) => Outcome::Ready { reason: "Quiet", message: format!("{count}, no threshold is in force") },
        (_, false) => {
            Outcome::Ready { reason: "InForce", message: format!("{count}; in force: {}", in_force.join("; ")) }
        }
    }
}

/// Channels that the spec names and that are not there, with the fields that name them.
pub fn missing_channels(
    namespace: &str,
    spec: &ErrorBudgetPolicySpec,
    there: impl Fn(&str) -> bool,
) -> Option<Problem> {
    let of_thresholds = spec.thresholds.iter().enumerate().flat_map(|(index, threshold)| {
        threshold.notify.iter().map(move |name| (format!("spec.thresholds[{index}].notify"), name))
    });
    let of_report = spec.report.iter().flat_map(|r| &r.notify).map(|name| ("spec.report.notify".to_owned(), name));
    let missing = of_thresholds.chain(of_report).filter(|(_, name)| !there(name));
    let missing: Vec<String> = missing.map(|(field, name)| format!("{field}: {name}")).collect();
    (!missing.is_empty()).then(|| {
        let message = format!(
            "there is no such NotificationChannel in namespace {namespace}: {}; create it, or take it out",
            missing.join(", ")
        );
        ("ChannelMissing", message)
    })
}

/// What must be in the API server before anything is done: without the values that only inform.
pub fn intent(status: &ErrorBudgetPolicyStatus) -> (Vec<SloStanding>, Option<LastReport>) {
    let slos = without_values(status).slos;
    (slos, status.last_report.clone())
}

/// A status without the values that move by themselves.
pub fn without_values(status: &ErrorBudgetPolicyStatus) -> ErrorBudgetPolicyStatus {
    let mut status = status.clone();
    status.worst = None;
    for slo in &mut status.slos {
        slo.remaining = None;
        slo.spending.clear();
    }
    status
}

/// Thresholds that came into force (true) or ended, with the reason and the words of an Event.
pub fn news(owner: &Owner, before: &[SloStanding], after: &[SloStanding]) -> Vec<(bool, &'static str, String)> {
    let levels = |slos: &[SloStanding]| -> Vec<(String, f64)> {
        let level = |slo: &SloStanding| {
            let in_force = slo.passed.iter().filter(|entry| entry.in_force_since.is_some());
            in_force.map(|entry| (slo.name.clone(), entry.remaining_below)).collect::<Vec<_>>()
        };
        slos.iter().flat_map(level).collect()
    };
    let (was, is) = (levels(before), levels(after));
    let left = |name: &str| {
        let slo = after.iter().find(|slo| slo.name == name).and_then(|slo| slo.remaining.as_deref());
        slo.map_or(String::new(), |left| format!(", {left} of the budget is left"))
    };
    let began = is.iter().filter(|level| !was.contains(level)).map(|(slo, below)| {
        let note = format!("SLO {}/{slo}: threshold {below}% is in force{}", owner.namespace, left(slo));
        (true, "ThresholdPassed", note)
    });
    let ended = was.iter().filter(|level| !is.contains(level)).map(|(slo, below)| {
        let note = format!("SLO {}/{slo}: threshold {below}% is no longer in force{}", owner.namespace, left(slo));
        (false, "ThresholdEnded", note)
    });
    began.chain(ended).collect()
}

/// Whether it is too late to send a report.
pub fn is_stale(at: Timestamp, now: Timestamp) -> bool {
    now.duration_since(at) > STALE
}

/// A report as a message.
pub fn report_message(owner: &Owner, at: Timestamp, text: &str) -> Message {
    let Owner { namespace, name, uid, .. } = owner;
    let mut shown: String = text.chars().take(LONGEST_MESSAGE).collect();
    if shown.len() < text.len() {
        shown.push_str(&format!(
            "\n…\n\nAll of it: kubectl -n {namespace} get configmap {} -o jsonpath='{{.data.report\\.md}}'\n",
            super::report::config_map_name(name)
        ));
    }
    Message {
        title: format!("Error budgets of {namespace}/{name}"),
        text: shown,
        dedup_key: format!("{uid}-report-{}", at.as_second()),
        source: format!("{namespace}/ErrorBudgetPolicy/{name}"),
        severity: "info".into(),
        stage: Stage::News,
        reference: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> ErrorBudgetPolicySpec {
        serde_saphyr::from_str(text).unwrap()
    }

    fn standing(remaining: &str, in_force: bool) -> SloStanding {
        let since = if in_force { "inForceSince: '2026-11-21T12:00:00Z'" } else { "" };
        serde_saphyr::from_str(&format!(
            "{{name: api, remaining: '{remaining}', passed: [{{remainingBelow: 10, since: '2026-11-21T12:00:00Z', {since}}}]}}"
        ))
        .unwrap()
    }

    #[test]
    fn everything_that_is_wrong_with_a_spec_is_said_at_once() {
        let spec = spec("{thresholds: [{remainingBelow: 0}, {remainingBelow: 10}], report: {schedule: every month}}");
        let outcome = validate(&spec).unwrap_err();
        assert!(matches!(outcome, Outcome::Stalled { .. }));
        let message = outcome.message();
        assert!(message.contains("spec.thresholds[1].remainingBelow: 10 is not below 0"), "{message}");
        assert!(message.contains("spec.report.schedule: \"every month\" does not have five fields"), "{message}");
    }

    #[test]
    fn the_words_of_the_condition_do_not_move_with_the_values() {
        let outcomes = ["8.0%", "7.9%"].map(|remaining| outcome(&[standing(remaining, true)], &[]));
        assert_eq!(outcomes[0], outcomes[1]);
        assert_eq!(outcomes[0].message(), "1 SLO; in force: api at 10%");
        assert_eq!(outcome(&[standing("9%", false)], &[]).reason(), "Quiet");
        assert_eq!(outcome(&[], &[]).reason(), "Unused");
    }

    #[test]
    fn an_unknown_channel_is_named_with_its_field_and_the_way_out() {
        let spec = spec(
            "{thresholds: [{remainingBelow: 0, notify: [chat, pager]}], report: {schedule: 0 9 1 * *, notify: [mail]}}",
        );
        let (reason, message) = missing_channels("shop", &spec, |name| name == "chat").unwrap();
        assert_eq!(reason, "ChannelMissing");
        assert!(
            message
                .contains("in namespace shop: spec.thresholds[0].notify: pager, spec.report.notify: mail; create it"),
            "{message}"
        );
        assert_eq!(missing_channels("shop", &spec, |_| true), None);
    }

    #[test]
    fn only_what_has_effects_is_intent() {
        let status = |slo: SloStanding| ErrorBudgetPolicyStatus {
            worst: slo.remaining.clone(),
            slos: vec![slo],
            ..ErrorBudgetPolicyStatus::default()
        };
        assert_eq!(intent(&status(standing("8%", true))), intent(&status(standing("7%", true))));
        assert_ne!(intent(&status(standing("8%", true))), intent(&status(standing("8%", false))));
    }

    #[test]
    fn an_event_tells_what_came_into_force_and_what_ended() {
        let owner = Owner {
            api_version: String::new(),
            kind: String::new(),
            namespace: "shop".into(),
            name: "standard".into(),
            uid: "u".into(),
        };
        let (on, off) = ([standing("8.0%", true)], [standing("12.0%", false)]);
        let began = news(&owner, &off, &on);
        assert_eq!(
            began,
            [(
                true,
                "ThresholdPassed",
                "SLO shop/api: threshold 10% is in force, 8.0% of the budget is left".to_owned()
            )]
        );
        assert_eq!(news(&owner, &on, &off)[0].1, "ThresholdEnded");
        assert!(news(&owner, &on, &on).is_empty());
    }

    #[test]
    fn a_long_report_is_cut_in_a_message_and_says_where_all_of_it_is() {
        let owner = Owner {
            api_version: String::new(),
            kind: String::new(),
            namespace: "shop".into(),
            name: "standard".into(),
            uid: "u".into(),
        };
        let message = report_message(&owner, Timestamp::UNIX_EPOCH, &"ä".repeat(20_000));
        assert!(message.text.contains("get configmap standard-report") && message.text.chars().count() < 12_200);
    }
}
