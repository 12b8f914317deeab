//! What an AlertRule's status says, and what is worth an Event. Pure.

use jiff::Timestamp;

use super::group::{NOT_TESTED, QUARANTINED, Shipped, TESTS_FAILED};
use super::index::tested::{TROUBLE, Tests};
use crate::api::alert_rule::{AlertRuleStatus, RuleProblem, RuleSource, StackLoad};
use crate::api::duration::PromDuration;
use crate::k8s::status::{Extra, Outcome, conditions};

/// What is known of an AlertRule.
pub struct Facts<'a> {
    pub source: RuleSource,
    pub generation: i64,
    /// Whether the expressions were judged; those of logs only Loki can judge.
    pub checked: bool,
    pub shipped: &'a Shipped,
    pub stacks: Vec<InStack<'a>>,
    pub tests: &'a Tests,
    /// Series that its expressions want and Prometheus has not; `None` until somebody has looked.
    pub missing: Option<&'a [String]>,
    /// Why each stack that there is does not select it; for the message when none does.
    pub passed_over: Vec<String>,
    /// Alerts that fire; `None` when nobody was asked yet.
    pub firing: Option<i32>,
    pub previous: &'a AlertRuleStatus,
}

/// A stack that selects it.
pub struct InStack<'a> {
    pub namespace: &'a str,
    pub name: &'a str,
    pub shard: Option<usize>,
    /// Why its rules are not loaded; `None` when they are.
    pub waits_for: Option<&'static str>,
    /// How long its Prometheus keeps samples, in seconds; 0: not known.
    pub retention: u64,
}

impl InStack<'_> {
    /// Why the baselines stay silent, or know less than they should.
    fn forgets(&self, reach: u64) -> Option<String> {
        (self.retention > 0 && self.retention < reach).then(|| {
            let (retention, reach) = (PromDuration::from_secs(self.retention), PromDuration::from_secs(reach));
            format!("a baseline looks back {reach}, and this stack keeps {retention}: set its prometheus.retention to {reach} or more")
        })
    }
}

/// A status, and whether it says all that is to be said: one that waits for Prometheus is worth a write only when the
/// wait is long.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    pub status: AlertRuleStatus,
    pub settled: bool,
}

/// The status of an AlertRule.
pub fn of(facts: &Facts, now: Timestamp) -> Told {
    let shipped = facts.shipped;
    let (accepted, refused) = (shipped.accepted(), shipped.refused());
    let testing = facts.tests.waits();
    // Nothing is known yet of rules that wait for tests.
    let held = shipped.waits_for_tests();
    let problems = shipped.problems.iter().filter(|problem| problem.told.reason != NOT_TESTED);
    let problems = problems.map(|problem| problem.status());
    let problems: Vec<RuleProblem> = problems.collect();
    let waiting: Vec<String> = facts
        .stacks
        .iter()
        .filter_map(|stack| Some(format!("{}/{}: {}", stack.namespace, stack.name, stack.waits_for?)))
        .collect();
    let stacks = facts.stacks.iter().map(|stack| StackLoad {
        namespace: stack.namespace.to_owned(),
        name: stack.name.to_owned(),
        loaded: if stack.waits_for.is_some() { 0 } else { accepted as i32 },
        total: accepted as i32,
        shard: stack.shard.map(|shard| shard as i32),
        message: stack.waits_for.map(str::to_owned).or_else(|| stack.forgets(shipped.reach)),
    });
    let names: Vec<String> = facts.stacks.iter().map(|stack| format!("{}/{}", stack.namespace, stack.name)).collect();

    let accepted_condition = match reason(&problems) {
        None if !facts.checked => Extra {
            status: None,
            ..extra("Accepted", false, "NotChecked", "Loki has not checked the expressions yet".into())
        },
        None => extra("Accepted", true, "AllAccepted", format!("{} found good", rules(accepted))),
        Some(reason) => extra("Accepted", false, reason, describe(&problems)),
    };
    let accepted_condition = match testing {
        true => {
            let message = "the tests have not been run yet".to_owned();
            Extra { type_: "Accepted", status: None, reason: "NotTested", message }
        }
        false => accepted_condition,
    };
    let loaded_condition = if facts.stacks.is_empty() {
        let message = format!("no MonitoringStack with {} selects this AlertRule", facts.source.program());
        extra("Loaded", false, "NotSelected", message)
    } else if !waiting.is_empty() {
        extra("Loaded", false, "NotLoaded", waiting.join("; "))
    } else if shipped.text.is_empty() && held {
        extra("Loaded", false, "NotTested", "waits for the tests".into())
    } else if shipped.text.is_empty() {
        extra("Loaded", false, "NothingToLoad", "every rule was refused".into())
    } else if accepted == 0 {
        extra("Loaded", true, "EarlierVersion", format!("an earlier version is live in {}", names.join(", ")))
    } else {
        extra("Loaded", true, "Confirmed", format!("{} live in {}", rules(accepted), names.join(", ")))
    };
    let outcome = if facts.stacks.is_empty() {
        Outcome::Stalled { reason: "NotSelected", message: not_selected(facts.source, &facts.passed_over) }
    } else if testing {
        Outcome::Progressing { reason: "Testing", message: untested(facts.tests) }
    } else if let Tests::Failed(failed) = facts.tests {
        let fate = if shipped.text.is_empty() { "the rules are not live" } else { "the version before stays live" };
        Outcome::Stalled { reason: TESTS_FAILED, message: format!("{failed}; {fate}") }
    } else if let Some(reason) = reason(&problems) {
        let others = if held { "; the others wait for the tests, which are not run before" } else { "" };
        let message = format!("{refused} of {}: {}{others}", rules(shipped.rules), describe(&problems));
        Outcome::Stalled { reason, message }
    } else if !waiting.is_empty() {
        Outcome::Progressing { reason: "NotLoaded", message: waiting.join("; ") }
    } else {
        Outcome::Ready { reason: "Loaded", message: format!("{} live in {}", rules(accepted), names.join(", ")) }
    };
    let previous = facts.previous;
    let mut extras = vec![accepted_condition, loaded_condition];
    extras.extend(tests_passed(facts.tests));
    extras.extend(matches_series(facts));
    let status = AlertRuleStatus {
        observed_generation: Some(facts.generation),
        conditions: conditions(&previous.conditions, Some(facts.generation), &outcome, &extras, now),
        accepted: (facts.checked && !held).then_some(accepted as i32),
        refused: (facts.checked && !testing).then_some(refused as i32),
        firing: facts.firing.or(previous.firing).or(Some(0)),
        rules: problems,
        stacks: stacks.collect(),
    };
    // A rule that was found bad is told at once, and so is a wait that was told before.
    let news = status.rules != previous.rules;
    let tested = !matches!(facts.tests, Tests::Waiting { trouble: None, .. });
    let settled = (waiting.is_empty() && !facts.stacks.is_empty() && tested) || news;
    Told { status, settled }
}

/// Whether the status says that Prometheus had confirmed the rules of this generation.
pub fn was_loaded(status: &AlertRuleStatus, generation: i64) -> bool {
    let loaded = |condition: &_| {
        let k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition { type_, status, .. } = condition;
        type_ == "Loaded" && status == "True"
    };
    status.observed_generation == Some(generation) && status.conditions.iter().any(loaded)
}

/// Reason and note of the Event for every rule that is refused now and was not before.
pub fn news(before: &AlertRuleStatus, after: &AlertRuleStatus) -> Vec<(&'static str, String)> {
    let new = after.rules.iter().filter(|problem| !before.rules.contains(problem));
    // A test holds back all rules: that is told once.
    let first = after.rules.iter().find(|problem| problem.reason == TESTS_FAILED);
    let new = new.filter(|problem| problem.reason != TESTS_FAILED || Some(*problem) == first);
    new.map(|problem| {
        let reason = match problem.reason.as_str() {
            QUARANTINED => QUARANTINED,
            TESTS_FAILED => TESTS_FAILED,
            _ => "RuleRefused",
        };
        (reason, sentence(problem))
    })
    .collect()
}

fn extra(type_: &'static str, status: bool, reason: &'static str, message: String) -> Extra {
    Extra { type_, status: Some(status), reason, message }
}

/// What the tests say; nothing where there are none.
fn tests_passed(tests: &Tests) -> Option<Extra> {
    let type_ = "TestsPassed";
    match tests {
        Tests::None => None,
        Tests::NotRun => {
            let message = "a rule of it is refused, see status.rules: until it is mended no test is run, and all of the version before stays".to_owned();
            Some(Extra { type_, status: None, reason: "NotRun", message })
        }
        Tests::Waiting { trouble, .. } => {
            let reason = if trouble.is_some() { "NotRun" } else { "NotRunYet" };
            Some(Extra { type_, status: None, reason, message: untested(tests) })
        }
        Tests::Passed(count) => {
            let tests = if *count == 1 { "1 test".to_owned() } else { format!("{count} tests") };
            Some(extra(type_, true, "AllPassed", format!("{tests} passed")))
        }
        Tests::Failed(failed) => Some(extra(type_, false, TESTS_FAILED, failed.clone())),
    }
}

/// Whether each expression finds series. A warning: the rule is live all the same.
fn matches_series(facts: &Facts) -> Option<Extra> {
    const TOLD: usize = 3;
    let type_ = "MatchesSeries";
    let Some(missing) = facts.missing else {
        // A new leader has not looked yet: what was said of this generation stays.
        let same = facts.previous.observed_generation == Some(facts.generation);
        let known = facts.previous.conditions.iter().find(|condition| condition.type_ == type_ && same)?;
        let reason = if known.status == "True" { "Found" } else { "NoSeries" };
        return Some(extra(type_, known.status == "True", reason, known.message.clone()));
    };
    if missing.is_empty() {
        return Some(extra(type_, true, "Found", "each expression finds series".into()));
    }
    let more = missing.len().saturating_sub(TOLD);
    let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
    let told = missing.iter().take(TOLD).map(String::as_str).collect::<Vec<_>>().join("; ");
    Some(extra(type_, false, "NoSeries", format!("{told}{more}; looked for in the last day")))
}

fn untested(tests: &Tests) -> String {
    match tests {
        Tests::Waiting { trouble: Some(why), .. } => format!("{TROUBLE}{why}"),
        _ => "the tests are run by promtool in a Job before the rules become live".to_owned(),
    }
}

fn rules(count: usize) -> String {
    if count == 1 { "1 rule".to_owned() } else { format!("{count} rules") }
}

/// The one reason of all refusals, or that there are several; `None` when nothing was refused.
fn reason(problems: &[RuleProblem]) -> Option<&'static str> {
    const REASONS: [&str; 10] = [
        "ParseError",
        "InvalidTemplate",
        "InvalidLabel",
        "InvalidName",
        "InvalidTier",
        "InvalidBaseline",
        "Duplicate",
        "TooLarge",
        QUARANTINED,
        TESTS_FAILED,
    ];
    let first = problems.first()?;
    let same = problems.iter().all(|problem| problem.reason == first.reason);
    let known = REASONS.into_iter().find(|reason| same && *reason == first.reason);
    Some(known.unwrap_or("RulesRefused"))
}

/// The first few of them, in one line.
fn describe(problems: &[RuleProblem]) -> String {
    const TOLD: usize = 3;
    let told: Vec<String> = problems.iter().take(TOLD).map(sentence).collect();
    let more = problems.len().saturating_sub(TOLD);
    let more = if more > 0 { format!(" (and {more} more, see status.rules)") } else { String::new() };
    format!("{}{more}", told.join("; "))
}

fn sentence(problem: &RuleProblem) -> String {
    let column = problem.column.map(|column| format!(" column {column}")).unwrap_or_default();
    format!("rule {} {}: {}{column}: {}", problem.index, problem.name, problem.field, problem.message)
}

fn not_selected(source: RuleSource, passed_over: &[String]) -> String {
    if passed_over.is_empty() {
        return format!(
            "no MonitoringStack with {} exists: create one, with spec.discovery {{}} to take the rules of all namespaces",
            source.program()
        );
    }
    format!(
        "no MonitoringStack selects this AlertRule ({}): widen spec.discovery of one, or change the labels of this object or of its namespace",
        passed_over.join("; ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::group::Problem;

    fn shipped(problems: Vec<Problem>) -> Shipped {
        Shipped { text: "x".into(), rules: 2, problems, reach: 0 }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn tell(shipped: &Shipped, waits_for: Option<&'static str>, previous: &AlertRuleStatus, now: i64) -> Told {
        let stack = InStack { namespace: "monitoring", name: "main", shard: Some(7), waits_for, retention: 0 };
        of(
            &Facts {
                source: RuleSource::Metrics,
                generation: 3,
                checked: true,
                shipped,
                stacks: vec![stack],
                tests: &Tests::None,
                missing: None,
                passed_over: vec![],
                firing: Some(1),
                previous,
            },
            at(now),
        )
    }

    #[test]
    fn a_stack_that_forgets_before_a_baseline_looks_back_says_so() {
        let shipped = Shipped { reach: 7 * 86_400, ..Shipped::default() };
        let said = |days: u64| {
            let retention = days * 86_400;
            let stack = InStack { namespace: "monitoring", name: "main", shard: Some(7), waits_for: None, retention };
            let (stacks, previous) = (vec![stack], &AlertRuleStatus::default());
            let facts = Facts {
                source: RuleSource::Metrics,
                generation: 3,
                checked: true,
                shipped: &shipped,
                stacks,
                tests: &Tests::None,
                missing: None,
                passed_over: vec![],
                firing: None,
                previous,
            };
            of(&facts, at(0)).status.stacks[0].message.clone()
        };
        assert_eq!(
            said(5).unwrap(),
            "a baseline looks back 1w, and this stack keeps 5d: set its prometheus.retention to 1w or more"
        );
        assert_eq!(said(8), None);
    }

    fn read(told: &Told) -> Vec<(&str, &str, &str)> {
        let conditions = told.status.conditions.iter();
        conditions.map(|c| (c.type_.as_str(), c.status.as_str(), c.reason.as_str())).collect()
    }

    fn bad() -> Problem {
        let told = RuleProblem {
            index: 1,
            name: "Bad".into(),
            field: "expr".into(),
            column: Some(7),
            reason: "ParseError".into(),
            message: "unexpected \")\"".into(),
            digest: None,
        };
        Problem { told, kept: Some(2) }
    }

    #[test]
    fn confirmed_rules_are_ready_and_the_same_facts_give_the_same_status() {
        let told = tell(&shipped(vec![]), None, &AlertRuleStatus::default(), 1);
        assert!(told.settled && was_loaded(&told.status, 3) && !was_loaded(&told.status, 4));
        assert_eq!(tell(&shipped(vec![]), None, &told.status, 99), told);
        let stack = &told.status.stacks[0];
        assert_eq!((stack.loaded, stack.total, stack.shard, told.status.firing), (2, 2, Some(7), Some(1)));
    }

    #[test]
    fn a_refused_rule_is_named_while_the_others_are_loaded() {
        let told = tell(&shipped(vec![bad()]), None, &AlertRuleStatus::default(), 1);
        assert_eq!(
            read(&told),
            [
                ("Ready", "False", "ParseError"),
                ("Reconciling", "False", "ParseError"),
                ("Stalled", "True", "ParseError"),
                ("Accepted", "False", "ParseError"),
                ("Loaded", "True", "Confirmed"),
            ]
        );
        let message = &told.status.conditions[0].message;
        assert_eq!(
            message,
            "1 of 2 rules: rule 1 Bad: expr column 7: unexpected \")\"; its version of generation 2 stays live"
        );
        assert_eq!(news(&AlertRuleStatus::default(), &told.status).len(), 1);
        assert!(news(&told.status, &told.status).is_empty());
    }

    #[test]
    fn a_wait_is_not_worth_a_write_until_it_is_long() {
        let told = tell(&shipped(vec![]), Some("no replica of Prometheus is ready"), &AlertRuleStatus::default(), 1);
        assert!(!told.settled);
        assert_eq!(
            (read(&told)[0], read(&told)[4]),
            (("Ready", "Unknown", "NotLoaded"), ("Loaded", "False", "NotLoaded"))
        );
    }

    #[test]
    fn a_rule_that_nobody_selects_says_the_way_out() {
        let (shipped, previous) = (shipped(vec![]), AlertRuleStatus::default());
        let facts = |passed_over| Facts {
            source: RuleSource::Metrics,
            generation: 1,
            checked: true,
            shipped: &shipped,
            stacks: vec![],
            tests: &Tests::None,
            missing: None,
            passed_over,
            firing: None,
            previous: &previous,
        };
        let told = of(&facts(vec!["monitoring/main looks in namespace monitoring".into()]), at(1));
        assert_eq!(read(&told)[2], ("Stalled", "True", "NotSelected"));
        let message = &told.status.conditions[0].message;
        assert!(
            message.contains("monitoring/main looks in namespace monitoring") && message.contains("spec.discovery")
        );
        assert!(of(&facts(vec![]), at(1)).status.conditions[0].message.contains("create one"));
    }
}
