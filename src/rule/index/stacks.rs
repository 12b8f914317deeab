//! The groups that ship with a stack in the index: shards, confirmation and quarantine as for AlertRules, for this one
//! stack alone. Their text follows from the spec of the stack and from nothing else, so that a restart writes nothing.

use std::collections::BTreeSet;

use super::tested::Tests;
use super::{Entry, Index, Labels};
use crate::api::alert_rule::{AlertRuleStatus, RuleProblem};
use crate::api::monitoring_stack::MonitoringStackSpec;
use crate::rule::group::Shipped;
use crate::rule::packing::Key;
use crate::shipped::{Of, Sources, compiled};
use crate::stack::validate::rules;

impl Index {
    /// Ships what the spec of a stack asks for; nothing happens when it is the same.
    pub(super) fn ship_with(&mut self, stack: &Key, spec: &MonitoringStackSpec) {
        let Some(known) = self.stacks.get_mut(stack) else { return };
        let (mut settings, _) = rules::check(spec.rules.as_ref());
        settings.enabled &= spec.prometheus.is_some();
        let asked = Some((settings, Sources::of(spec)));
        if known.ships == asked {
            return;
        }
        known.ships.clone_from(&asked);
        let uid = known.owner.uid.clone();
        let mut gone: BTreeSet<Key> = self.shipped_with(stack);
        let Some((of, (settings, has))) = of(stack).zip(asked) else { return };
        for (name, compiled) in compiled(&settings, &has, of, None) {
            let key: Key = name.into();
            gone.remove(&key);
            let before = self.rules.remove(&key).filter(|entry| entry.uid == uid);
            let problems = before.as_ref().map_or(&[][..], |entry| &entry.shipped.problems);
            let refused: Vec<RuleProblem> = problems.iter().map(|problem| problem.told.clone()).collect();
            let shipped = Shipped::new(&compiled, before.as_ref().map(|entry| &*entry.shipped.text), &refused);
            let entry = Entry {
                uid: uid.clone(),
                generation: 0,
                labels: Labels::new(),
                shipped,
                status: AlertRuleStatus::default(),
                tests: Tests::None,
                missing: None,
                slo: None,
                stack: Some(stack.clone()),
            };
            let same = before.as_ref().is_some_and(|before| before.shipped == entry.shipped);
            self.rules.insert(key.clone(), entry);
            if !same {
                self.place(&key, Some(before.as_ref().map_or("", |entry| &*entry.shipped.text)));
            }
        }
        gone.iter().for_each(|key| self.rule_deleted(key));
    }

    /// Forgets what shipped with a stack.
    pub(super) fn unship(&mut self, stack: &str) {
        self.shipped_with(stack).iter().for_each(|key| self.rule_deleted(key));
    }

    fn shipped_with(&self, stack: &str) -> BTreeSet<Key> {
        self.within(&format!("stack/{stack}/")).cloned().collect()
    }
}

fn of(stack: &str) -> Option<Of<'_>> {
    let (namespace, stack) = stack.split_once('/')?;
    Some(Of { namespace, stack })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{MAIN, World, at, rule, running};
    use super::*;
    use crate::api::MonitoringStack;
    use serde_json::{Value, json};

    const SERVICE: &str = "stack/monitoring/main/service";

    fn stack(name: &str, generation: i64, rules: Value) -> MonitoringStack {
        serde_json::from_value(json!({
            "apiVersion": "evenkeel.dev/v1alpha1", "kind": "MonitoringStack",
            "metadata": {"name": name, "namespace": "monitoring", "uid": format!("uid-{name}"), "generation": generation},
            "spec": {"prometheus": {"scrape": {"cadvisor": false}}, "rules": rules},
        }))
        .unwrap()
    }

    fn shipped(rules: Value) -> (Index, World) {
        let mut index = Index::default();
        index.stack_applied(&stack("main", 1, rules));
        let mut world = World::default();
        world.write(&mut index);
        (index, world)
    }

    #[test]
    fn a_stack_gets_the_groups_for_what_it_runs_and_only_its_own() {
        let (mut index, mut world) = shipped(json!({}));
        let live = world.text(MAIN);
        assert!(live.contains("- name: stack/monitoring/main/service\n") && live.contains("alert: Watchdog"));
        assert!(!live.contains("/containers\n") && !live.contains("/workloads\n") && live.contains("/storage\n"));
        index.stack_applied(&stack("other", 1, json!({"include": ["workloads"]})));
        world.write(&mut index);
        let other = world.text("monitoring/other");
        assert!(other.contains("stack/monitoring/other/workloads") && !other.contains("stack/monitoring/main/"));
        assert!(!world.text(MAIN).contains("stack/monitoring/other/"));
        // They are not AlertRules, whose absence a stack tells.
        assert!(index.counts().all(|(_, counts)| counts.shipped > 30 && counts.shipped_loaded == 0));
        assert!(index.counts().all(|(_, counts)| (counts.selected, counts.accepted, counts.rejected) == (0, 0, 0)));
    }

    #[test]
    fn an_exporter_brings_its_groups_and_takes_them_away() {
        let (mut index, mut world) = shipped(json!({}));
        let mut with = stack("main", 2, json!({}));
        let probe = json!({"name": "api", "module": "tcp", "targets": ["a:1"]});
        let exporters = json!({"node": {}, "kubeState": {}, "probes": [probe]});
        with.spec.exporters = Some(serde_json::from_value(exporters).unwrap());
        index.stack_applied(&with);
        world.write(&mut index);
        let live = world.text(MAIN);
        for group in ["nodes", "workloads", "probes", "certificates"] {
            assert!(live.contains(&format!("- name: stack/monitoring/main/{group}\n")), "{group}");
        }
        assert!(!live.contains("/databases\n") && !live.contains("/kafka\n"));
        index.stack_applied(&stack("main", 3, json!({})));
        world.write(&mut index);
        assert!(!world.text(MAIN).contains("/workloads\n"));
    }

    #[test]
    fn a_stack_that_says_the_same_writes_nothing() {
        let (mut index, mut world) = shipped(json!({}));
        index.stack_applied(&stack("main", 2, json!({})));
        assert_eq!((index.dirty(), world.write(&mut index)), (vec![], vec![]));
        // Nor does another operator with the same spec.
        let (_, again) = shipped(json!({}));
        assert_eq!(again.files, world.files);
    }

    #[test]
    fn a_threshold_rewrites_the_one_shard_of_its_group() {
        let (mut index, mut world) = shipped(json!({}));
        let change = json!({"thresholds": {"HighLatency": {"warning": "500ms"}, "HighErrorRate": {"nonsense": 1}}});
        index.stack_applied(&stack("main", 2, change));
        assert_eq!(world.write(&mut index).len(), 1);
        assert!(world.text(MAIN).contains("p95_rate5m) > 0.5'\n"));
    }

    #[test]
    fn what_is_switched_off_goes_and_comes_back() {
        let (mut index, mut world) = shipped(json!({"disabled": ["monitoring", "HighLatency"]}));
        let live = world.text(MAIN);
        assert!(!live.contains("Watchdog") && !live.contains("HighLatency") && live.contains("HighErrorRate"));
        index.stack_applied(&stack("main", 2, json!({"enabled": false})));
        world.write(&mut index);
        assert!(world.files.is_empty());
        index.stack_applied(&stack("main", 3, json!({})));
        world.write(&mut index);
        assert!(world.text(MAIN).contains("Watchdog"));
        index.stack_deleted(MAIN);
        assert_eq!(index.shipped_with(MAIN), BTreeSet::new());
    }

    #[test]
    fn prometheus_confirms_what_ships_and_one_rule_that_it_refuses_is_taken_out_alone() {
        let mut index = Index::default();
        index.stack_applied(&stack("main", 1, json!({})));
        let mut world = running(&mut index);
        world.settle(&mut index);
        let counts = |index: &Index| index.counts().next().map(|(_, c)| (c.shipped, c.shipped_loaded)).unwrap();
        let (all, loaded) = counts(&index);
        assert!(all > 30 && loaded == all, "{loaded} of {all}");
        world.poison = "p95_rate5m) > 0.5";
        let change = json!({"thresholds": {"HighLatency": {"warning": "500ms"}, "TrafficDrop": {"ratio": 0.4}}});
        index.stack_applied(&stack("main", 2, change.clone()));
        world.settle(&mut index);
        let live = world.text(MAIN);
        assert!(live.contains("p95_rate5m) > 1'") && live.contains("< 0.4 *"), "its last good version stays");
        assert_eq!(counts(&index), (all, all - 1));
    }

    #[test]
    fn no_status_is_written_for_what_ships_and_alert_rules_stay_apart() {
        let (mut index, _) = shipped(json!({}));
        index.namespace_applied("monitoring", Labels::new());
        index.rule_applied(&rule("api", 1, "up"));
        assert_eq!(index.rules().map(|key| &**key).collect::<Vec<_>>(), ["shop/api"]);
        assert!(index.slos().is_empty() && index.status(SERVICE, at(0)).is_none());
        // An alert of that name may be of either: which it is, Prometheus is asked by the group.
        let found = index.alerting(&BTreeSet::from(["HighErrorRate"]));
        assert_eq!(&*found["HighErrorRate"][0], SERVICE);
    }
}
