//! AlertRules with unit tests: what is new in them becomes live once its tests have passed.

use super::{AlertRuleStatus, Index, Key};
use crate::api::alert_rule::{AlertRuleSpec, RuleTest};
use crate::k8s::meta::Owner;
use crate::rule::compile::{Compiled, compile};
use crate::rule::group::{NOT_TESTED, Shipped, TESTS_FAILED};
use crate::rule::unit_test::Failure;

/// How it stands with the tests of an AlertRule.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Tests {
    /// There are none.
    #[default]
    None,
    /// They have to be run; `trouble` is why they could not.
    Waiting {
        spec: Box<AlertRuleSpec>,
        trouble: Option<String>,
    },
    Passed(usize),
    Failed(Vec<Failure>),
}

impl Tests {
    /// Of a generation that is new to this process. What its status says of it is true: it is not run again.
    pub(super) fn of(spec: &AlertRuleSpec, generation: i64, compiled: &Compiled, status: &AlertRuleStatus) -> Self {
        if spec.tests.is_empty() || compiled.text().is_empty() {
            return Self::None;
        }
        let passed = |condition: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition| {
            condition.type_ == "TestsPassed" && condition.status == "True"
        };
        if status.observed_generation == Some(generation) && status.conditions.iter().any(passed) {
            return Self::Passed(spec.tests.len());
        }
        Self::Waiting { spec: Box::new(spec.clone()), trouble: None }
    }

    pub fn waits(&self) -> bool {
        matches!(self, Self::Waiting { .. })
    }
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
    /// What of `compiled` is shipped with these tests; `old` is what was before.
    pub(super) fn tried(tests: &Tests, compiled: &Compiled, old: Option<&str>) -> Option<Shipped> {
        tests.waits().then(|| Shipped::held(compiled, old, NOT_TESTED, "waits for the tests of this AlertRule"))
    }

    /// The next tests to run, of an AlertRule that a stack selects; not those of a generation that `later` says can wait.
    pub fn trial(&self, later: impl Fn(&Key, i64) -> bool) -> Option<Trial> {
        self.untested.iter().find_map(|rule| {
            let entry = self.rules.get(rule).filter(|entry| !later(rule, entry.generation))?;
            let Tests::Waiting { spec, .. } = &entry.tests else { return None };
            let stack = self.stacks.values().find(|stack| stack.packing.placement(rule).is_some())?;
            Some(Trial {
                rule: rule.clone(),
                generation: entry.generation,
                owner: stack.owner.clone(),
                rules: format!("groups:\n{}", compile(rule, None, spec).text()),
                tests: spec.tests.clone(),
            })
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
        if failures.is_empty() {
            entry.tests = Tests::Passed(spec.tests.len());
            entry.shipped = Shipped::new(&compiled, Some(&old), &[]);
            self.place(rule, Some(&old));
        } else {
            let why = "a test of this AlertRule fails: the condition TestsPassed says which";
            entry.shipped = Shipped::held(&compiled, Some(&old), TESTS_FAILED, why);
            entry.tests = Tests::Failed(failures);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{MAIN, World, at, index, rule};
    use super::*;
    use crate::api::AlertRule;
    use crate::rule::status::Told;
    use serde_json::json;

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

    fn verdict(index: &mut Index, verdict: Result<Vec<Failure>, String>) {
        let trial = index.trial(|_, _| false).expect("tests to run");
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
        assert_eq!((passed.status.accepted, index.trial(|_, _| false)), (Some(2), None));
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
        assert_eq!((again.trial(|_, _| false), world.writes), (None, writes));
        // A newer version, of which nobody knows whether it passes.
        let mut newer = with_tests(2, "up < 2");
        newer.status = known.status;
        again.rule_applied(&newer);
        world.write(&mut again);
        assert!(again.trial(|_, _| false).is_some() && world.writes == writes);
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
        assert_eq!(index.trial(|rule, generation| (&**rule, generation) == (API, 1)), None);
        assert!(index.trial(|_, _| false).is_some());
        // A verdict on an older version is none.
        index.tested(&API.into(), 0, Ok(vec![]));
        assert!(index.trial(|_, _| false).is_some());
        index.rule_deleted(API);
        assert_eq!(index.trial(|_, _| false), None);
    }
}
