//! AlertRules with unit tests: what is new in them becomes live once its tests have passed.

use super::{AlertRuleStatus, Index, Key};
use crate::api::alert_rule::{AlertRuleSpec, RuleTest};
use crate::k8s::meta::Owner;
use crate::rule::compile::{Compiled, compile};
use crate::rule::group::{NOT_TESTED, Shipped, TESTS_FAILED};
use crate::rule::unit_test::{Failure, faults};
use crate::rule::yaml;

/// How the status begins to tell why tests could not be run.
pub const TROUBLE: &str = "the tests could not be run, and are tried again: ";
/// Failures that are kept of one verdict.
pub const MOST_FAILURES: usize = 20;

/// How it stands with the tests of an AlertRule.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Tests {
    /// There are none.
    #[default]
    None,
    /// They are not run while a rule is refused.
    NotRun,
    /// They have to be run; `trouble` is why they could not.
    Waiting {
        spec: Box<AlertRuleSpec>,
        trouble: Option<String>,
    },
    Passed(usize),
    /// As the status tells it.
    Failed(String),
}

impl Tests {
    /// Of a generation that is new to this process. What its status says of it is true: it is not run again.
    pub(super) fn of(spec: &AlertRuleSpec, generation: i64, compiled: &Compiled, status: &AlertRuleStatus) -> Self {
        if spec.tests.is_empty() || spec.rules.is_empty() {
            return Self::None;
        }
        if compiled.refused().next().is_some() {
            return Self::NotRun;
        }
        let faults = faults(spec);
        if !faults.is_empty() {
            return Self::Failed(summed_up(faults.iter().map(|(field, message)| format!("{field}: {message}"))));
        }
        let same = status.observed_generation == Some(generation);
        let known = status.conditions.iter().find(|condition| condition.type_ == "TestsPassed" && same);
        match known.map(|condition| (condition.status.as_str(), condition.message.as_str())) {
            Some(("True", _)) => Self::Passed(spec.tests.len()),
            Some(("False", message)) => Self::Failed(message.to_owned()),
            other => {
                let trouble = other.and_then(|(_, message)| message.strip_prefix(TROUBLE)).map(str::to_owned);
                Self::Waiting { spec: Box::new(spec.clone()), trouble }
            }
        }
    }

    /// What is shipped while these tests hold it back, which is `old`; `None` where they do not.
    pub(super) fn held(&self, compiled: &Compiled, old: Option<&str>) -> Option<Shipped> {
        let (reason, why) = match self {
            Self::None | Self::Passed(_) => return None,
            Self::NotRun | Self::Waiting { .. } => (NOT_TESTED, "waits for the tests of this AlertRule"),
            Self::Failed(_) => (TESTS_FAILED, "a test of this AlertRule fails: the condition TestsPassed says which"),
        };
        Some(Shipped::held(compiled, old, reason, why))
    }

    pub fn waits(&self) -> bool {
        matches!(self, Self::Waiting { .. })
    }
}

/// The first of many sentences.
fn summed_up(all: impl ExactSizeIterator<Item = String>) -> String {
    const TOLD: usize = 3;
    // What promtool got can be long.
    const LONGEST: usize = 600;
    let more = match all.len() {
        0..=TOLD => String::new(),
        MOST_FAILURES.. => " (and many more)".to_owned(),
        count => format!(" (and {} more)", count - TOLD),
    };
    let told: Vec<String> = all.take(TOLD).map(|one| one.chars().take(LONGEST).collect()).collect();
    format!("{}{more}", told.join("; "))
}

/// Tests to be run, with what.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    pub rule: Key,
    pub generation: i64,
    /// The stack whose promtool runs them.
    pub owner: Owner,
    /// The rule file.
    pub rules: String,
    pub tests: Vec<RuleTest>,
}

impl Index {
    /// Whether the tests of an AlertRule have to be run.
    pub fn untested(&self, rule: &Key) -> bool {
        self.untested.contains(rule)
    }

    /// The next tests to run, of an AlertRule that a stack selects: those whose `turn` is the least; `None` says that a
    /// generation can wait.
    pub fn trial<T: Ord>(&self, turn: impl Fn(&Key, i64) -> Option<T>) -> Option<Trial> {
        let due = self.untested.iter().filter_map(|rule| {
            let entry = self.rules.get(rule)?;
            let turn = turn(rule, entry.generation)?;
            let stack = self.stacks.values().find(|stack| stack.packing.placement(rule).is_some())?;
            Some((turn, rule, entry, stack))
        });
        let (_, rule, entry, stack) = due.min_by(|(one, ..), (other, ..)| one.cmp(other))?;
        let Tests::Waiting { spec, .. } = &entry.tests else { return None };
        Some(Trial {
            rule: rule.clone(),
            generation: entry.generation,
            owner: stack.owner.clone(),
            rules: yaml::file(&compile(rule, None, spec).text()),
            tests: spec.tests.clone(),
        })
    }

    /// What came of a trial; an error where the tests could not be run.
    pub fn tested(&mut self, rule: &Key, generation: i64, verdict: Result<Vec<Failure>, String>) {
        let Some(entry) = self.rules.get_mut(rule).filter(|entry| entry.generation == generation) else { return };
        let Tests::Waiting { spec, trouble } = &mut entry.tests else { return };
        self.changed.insert(rule.clone());
        let failures = match verdict {
            Err(why) => {
                *trouble = Some(why);
                return;
            }
            Ok(failures) => failures,
        };
        let (compiled, old) = (compile(rule, Some(generation), spec), entry.shipped.text.clone());
        self.untested.remove(rule);
        entry.tests = match failures.is_empty() {
            true => Tests::Passed(spec.tests.len()),
            false => Tests::Failed(summed_up(failures.iter().map(|failure| format!("{}: {failure}", failure.field)))),
        };
        let held = entry.tests.held(&compiled, Some(&old));
        let passed = held.is_none();
        entry.shipped = held.unwrap_or_else(|| Shipped::new(&compiled, Some(&old), &[]));
        self.place(rule, passed.then_some(&*old));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{MAIN, World, at, index, rule};
    use super::*;
    use crate::api::AlertRule;
    use crate::rule::status::Told;
    use serde_json::json;
    use std::collections::BTreeMap;

    const API: &str = "shop/api";

    fn with_tests(generation: i64, expr: &str) -> AlertRule {
        let mut object = rule("api", generation, expr);
        let test = json!([{
            "series": [{"series": "up", "values": "0x10"}],
            "alerts": [{"at": "5m", "alert": "Fixed", "firing": [{}]}],
        }]);
        object.spec.tests = serde_json::from_value(test).unwrap();
        object
    }

    fn failure() -> Failure {
        let (expected, got) = ("{} to fire".to_owned(), "nothing".to_owned());
        Failure { field: "tests[0].alerts[0]".into(), what: "Fixed at 5m".into(), expected, got }
    }

    /// The next tests, in the order of names.
    fn next(index: &Index) -> Option<Trial> {
        index.trial(|_, _| Some(()))
    }

    fn verdict(index: &mut Index, verdict: Result<Vec<Failure>, String>) {
        let trial = next(index).expect("tests to run");
        assert!(trial.rules.starts_with("groups:\n- name: shop/api\n") && trial.tests.len() == 1, "{}", trial.rules);
        assert_eq!((&*trial.owner.namespace, &*trial.owner.name), ("monitoring", "main"));
        index.tested(&trial.rule, trial.generation, verdict);
    }

    fn told(index: &Index) -> Told {
        index.status(API, at(0)).unwrap().0
    }

    fn condition(told: &Told, type_: &str) -> (String, String, String) {
        let found = told.status.conditions.iter().find(|condition| condition.type_ == type_);
        found.map(|c| (c.status.clone(), c.reason.clone(), c.message.clone())).unwrap_or_default()
    }

    #[test]
    fn rules_with_tests_become_live_once_they_have_passed() {
        let (mut index, mut world) = (index(), World::default());
        index.rule_applied(&with_tests(1, "up < 1"));
        world.write(&mut index);
        assert!(!world.text(MAIN).contains("shop/api"));
        let waiting = told(&index);
        assert!(!waiting.settled && waiting.status.rules.is_empty() && waiting.status.accepted.is_none());
        assert_eq!(condition(&waiting, "Reconciling").0, "True");
        verdict(&mut index, Ok(vec![]));
        world.write(&mut index);
        assert!(world.text(MAIN).contains("up < 1"), "{}", world.text(MAIN));
        let passed = told(&index);
        assert_eq!(condition(&passed, "TestsPassed"), ("True".into(), "AllPassed".into(), "1 test passed".into()));
        assert_eq!((passed.status.accepted, next(&index)), (Some(2), None));
    }

    #[test]
    fn a_failing_test_keeps_all_of_the_last_good_version_and_tells_expected_and_got() {
        let (mut index, mut world) = (index(), World::default());
        index.rule_applied(&with_tests(1, "up < 1"));
        verdict(&mut index, Ok(vec![]));
        world.write(&mut index);
        // A rule that is gone from the new version stays with the old one.
        let mut wrong = with_tests(2, "up < 2");
        wrong.spec.rules.remove(0);
        wrong.spec.tests[0].alerts[0].alert = "Edited".into();
        let writes = world.writes;
        index.rule_applied(&wrong);
        world.write(&mut index);
        verdict(&mut index, Ok(vec![failure()]));
        world.write(&mut index);
        assert_eq!(world.writes, writes);
        let live = world.text(MAIN);
        assert!(live.contains("up < 1") && live.contains("alert: Fixed") && !live.contains("up < 2"));
        let failed = told(&index);
        let (status, reason, message) = condition(&failed, "TestsPassed");
        assert_eq!((status.as_str(), reason.as_str()), ("False", "TestsFailed"));
        assert_eq!(message, "tests[0].alerts[0]: Fixed at 5m: expected {} to fire, got nothing");
        assert_eq!(condition(&failed, "Stalled").1, "TestsFailed");
        assert!(failed.status.rules[0].message.ends_with("its version of generation 1 stays live"), "{failed:?}");
        // Mended, it goes live.
        index.rule_applied(&with_tests(3, "up < 3"));
        verdict(&mut index, Ok(vec![]));
        world.write(&mut index);
        assert!(world.text(MAIN).contains("up < 3"));
    }

    #[test]
    fn a_restart_runs_nothing_again_that_has_passed_and_loses_nothing_that_waits() {
        let (mut index, mut world) = (index(), World::default());
        index.rule_applied(&with_tests(1, "up < 1"));
        verdict(&mut index, Ok(vec![]));
        world.write(&mut index);
        let mut again = super::super::tests::index();
        for ((stack, shard), (text, _)) in &world.files {
            again.recovered(stack, *shard, text);
        }
        let mut known = with_tests(1, "up < 1");
        known.status = Some(told(&index).status);
        let writes = world.writes;
        again.rule_applied(&known);
        again.started();
        world.write(&mut again);
        assert_eq!((next(&again), world.writes), (None, writes));
        // A newer version, of which nobody knows whether it passes.
        let mut newer = with_tests(2, "up < 2");
        newer.status = known.status;
        again.rule_applied(&newer);
        world.write(&mut again);
        assert!(next(&again).is_some() && world.writes == writes);
    }

    #[test]
    fn tests_that_cannot_be_run_say_why_and_are_tried_again() {
        let mut index = index();
        index.rule_applied(&with_tests(1, "up < 1"));
        verdict(&mut index, Err("the image cannot be pulled".into()));
        let trouble = told(&index);
        assert!(trouble.settled);
        let (status, reason, message) = condition(&trouble, "TestsPassed");
        assert_eq!((status.as_str(), reason.as_str()), ("Unknown", "NotRun"));
        assert!(message.contains("the image cannot be pulled"), "{message}");
        assert_eq!(index.trial(|rule, generation| ((&**rule, generation) != (API, 1)).then_some(())), None);
        assert!(next(&index).is_some() && index.untested(&API.into()));
        // A new leader tells the same until it has tried.
        let mut again = super::super::tests::index();
        let mut known = with_tests(1, "up < 1");
        known.status = Some(trouble.status.clone());
        again.rule_applied(&known);
        assert_eq!(told(&again).status, trouble.status);
        assert!(next(&again).is_some());
        // A verdict on an older version is none.
        index.tested(&API.into(), 0, Ok(vec![]));
        assert!(next(&index).is_some());
        index.rule_deleted(API);
        assert!(next(&index).is_none() && !index.untested(&API.into()));
    }

    #[test]
    fn who_waits_longest_for_another_try_comes_first_and_before_it_who_never_had_one() {
        let mut index = index();
        for name in ["a", "b", "checkout"] {
            let mut object = with_tests(1, "up < 1");
            object.metadata.name = Some(name.to_owned());
            index.rule_applied(&object);
        }
        let mut tried: BTreeMap<Key, i64> = BTreeMap::new();
        let mut order = vec![];
        for now in 0..5 {
            let trial = index.trial(|rule, _| Some(tried.get(rule).copied())).expect("tests to run");
            tried.insert(trial.rule.clone(), now);
            order.push(trial.rule);
        }
        let order: Vec<&str> = order.iter().map(|rule| &**rule).collect();
        assert_eq!(order, ["shop/a", "shop/b", "shop/checkout", "shop/a", "shop/b"]);
    }

    #[test]
    fn a_restart_runs_nothing_again_that_has_failed_and_tells_the_same() {
        let (mut index, mut world) = (index(), World::default());
        index.rule_applied(&with_tests(1, "up < 1"));
        verdict(&mut index, Ok(vec![]));
        index.rule_applied(&with_tests(2, "up < 2"));
        verdict(&mut index, Ok(vec![failure()]));
        world.write(&mut index);
        let mut again = super::super::tests::index();
        for ((stack, shard), (text, _)) in &world.files {
            again.recovered(stack, *shard, text);
        }
        let mut known = with_tests(2, "up < 2");
        known.status = Some(told(&index).status);
        again.rule_applied(&known);
        again.started();
        assert_eq!(next(&again), None);
        let (before, after) = (told(&index).status, told(&again).status);
        assert_eq!((after.rules, after.accepted), (before.rules, before.accepted));
        let tests = |status: &AlertRuleStatus| {
            status.conditions.iter().find(|condition| condition.type_ == "TestsPassed").cloned()
        };
        assert_eq!(tests(&told(&again).status), tests(&told(&index).status));
        // A newer version is tried.
        again.rule_applied(&with_tests(3, "up < 3"));
        assert!(next(&again).is_some());
    }

    #[test]
    fn a_refused_rule_is_named_and_no_test_is_run_until_it_is_mended() {
        let (mut index, mut world) = (index(), World::default());
        index.rule_applied(&with_tests(1, "up < 1"));
        verdict(&mut index, Ok(vec![]));
        world.write(&mut index);
        let writes = world.writes;
        index.rule_applied(&with_tests(2, "up <"));
        world.write(&mut index);
        assert_eq!((next(&index), world.writes), (None, writes));
        let refused = told(&index).status;
        let named: Vec<_> = refused.rules.iter().map(|rule| (rule.name.as_str(), rule.reason.as_str())).collect();
        assert_eq!(named, [("Edited", "ParseError")]);
        assert_eq!((refused.accepted, refused.refused), (None, Some(1)));
        let stalled = condition(&told(&index), "Stalled");
        assert_eq!((stalled.0.as_str(), stalled.1.as_str()), ("True", "ParseError"));
        assert!(
            stalled.2.ends_with("stays live; the others wait for the tests, which are not run before"),
            "{stalled:?}"
        );
        let (status, reason, message) = condition(&told(&index), "TestsPassed");
        assert_eq!((status.as_str(), reason.as_str()), ("Unknown", "NotRun"));
        assert!(message.contains("see status.rules"), "{message}");
        assert_eq!(index.counts().next().unwrap().1.rejected, 1);
        index.rule_applied(&with_tests(3, "up < 3"));
        assert!(next(&index).is_some());
    }

    #[test]
    fn a_test_of_an_alert_that_is_not_there_fails_without_a_job() {
        let mut index = index();
        let mut wrong = with_tests(1, "up < 1");
        wrong.spec.tests[0].alerts[0].alert = "Fixd".into();
        index.rule_applied(&wrong);
        assert_eq!(next(&index), None);
        let (status, reason, message) = condition(&told(&index), "TestsPassed");
        assert_eq!((status.as_str(), reason.as_str()), ("False", "TestsFailed"));
        assert_eq!(message, "tests[0].alerts[0].alert: \"Fixd\" is no alert of these rules: did you mean Fixed?");
        assert_eq!(condition(&told(&index), "Stalled").1, "TestsFailed");
    }

    #[test]
    fn only_rules_whose_tests_fail_count_as_rejected_not_those_that_wait() {
        let mut index = index();
        let counts = |index: &Index| {
            let counts = index.counts().next().unwrap().1;
            (counts.accepted, counts.rejected)
        };
        index.rule_applied(&with_tests(1, "up < 1"));
        assert_eq!(counts(&index), (0, 0));
        verdict(&mut index, Ok(vec![failure()]));
        assert_eq!(counts(&index), (0, 2));
        index.rule_applied(&with_tests(2, "up < 2"));
        verdict(&mut index, Ok(vec![]));
        assert_eq!(counts(&index), (2, 0));
    }

    #[test]
    fn many_failures_are_told_in_a_few_words() {
        let all = |count: usize| summed_up((0..count).map(|number| format!("{number}{}", "x".repeat(1_000))));
        assert!(all(3).len() < 2_000 && all(3).starts_with("0x") && !all(3).contains("more"));
        assert!(all(5).ends_with("x (and 2 more)") && all(MOST_FAILURES).ends_with("x (and many more)"));
    }
}
