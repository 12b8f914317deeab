use super::*;
use crate::api::MonitoringStack;
use serde_json::{Value, json};

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

pub(super) fn stack(name: &str, uid: &str, discovery: Value) -> MonitoringStack {
    serde_json::from_value(json!({
        "apiVersion": "evenkeel.dev/v1alpha1", "kind": "MonitoringStack",
        "metadata": {"name": name, "namespace": "monitoring", "uid": uid},
        "spec": {"discovery": discovery, "prometheus": {}, "rules": {"enabled": false}},
    }))
    .unwrap()
}

fn rule_of(namespace: &str, name: &str, generation: i64, rules: Value) -> AlertRule {
    serde_json::from_value(json!({
        "apiVersion": "evenkeel.dev/v1alpha1", "kind": "AlertRule",
        "metadata": {
            "name": name, "namespace": namespace, "uid": format!("uid-{namespace}-{name}"), "generation": generation,
            "labels": {"team": namespace},
        },
        "spec": {"rules": rules},
    }))
    .unwrap()
}

pub(super) fn rule(name: &str, generation: i64, expr: &str) -> AlertRule {
    rule_of("shop", name, generation, json!([{"alert": "Fixed", "expr": "up == 0"}, {"alert": "Edited", "expr": expr}]))
}

pub(super) fn index() -> Index {
    let mut index = Index::default();
    for (name, team) in [("shop", "retail"), ("ledger", "finance"), ("monitoring", "infra")] {
        index.namespace_applied(name, BTreeMap::from([("team".to_owned(), team.to_owned())]));
    }
    index.stack_applied(&stack("main", "uid-main", json!({})));
    index
}

pub(super) const MAIN: &str = "monitoring/main";

/// A cluster of ConfigMaps, and a Prometheus that refuses rules with a word in them.
#[derive(Default)]
pub(super) struct World {
    pub(super) files: BTreeMap<(Key, usize), (String, String)>,
    /// What the Prometheus of a stack runs with.
    loaded: BTreeMap<Key, BTreeMap<usize, (String, String)>>,
    pub(super) poison: &'static str,
    /// Whether the last reload failed.
    failed: BTreeSet<Key>,
    pub(super) writes: usize,
}

impl World {
    /// Writes what is dirty. Returns which shards that were.
    pub(super) fn write(&mut self, index: &mut Index) -> Vec<usize> {
        let dirty = index.dirty();
        for (stack, shard) in &dirty {
            let (_, content) = index.content(stack, *shard).unwrap();
            let place = (stack.clone(), *shard);
            let before = self.files.get(&place).cloned();
            match content.file.clone() {
                Some(file) => self.files.insert(place.clone(), file),
                None => self.files.remove(&place),
            };
            self.writes += usize::from(before != self.files.get(&place).cloned());
            index.written(stack, *shard, content.number, Ok(content.file.map(|(_, revision)| revision)));
        }
        dirty.into_iter().map(|(_, shard)| shard).collect()
    }

    /// One reload of the Prometheus of every stack, and its report.
    fn reload(&mut self, index: &mut Index, now: i64) {
        for stack in index.stacks().cloned().collect::<Vec<_>>() {
            let wanted: BTreeMap<usize, (String, String)> =
                self.files.iter().filter(|(place, _)| place.0 == stack).map(|(p, file)| (p.1, file.clone())).collect();
            let good = self.poison.is_empty() || !wanted.values().any(|(text, _)| text.contains(self.poison));
            let loaded = self.loaded.entry(stack.clone()).or_default();
            // Like the real one, it does not reload what it has.
            if *loaded != wanted && good {
                *loaded = wanted;
                self.failed.remove(&stack);
            } else if *loaded != wanted {
                self.failed.insert(stack.clone());
            }
            let revisions = loaded.iter().map(|(shard, (_, revision))| (*shard, revision.as_str().into())).collect();
            let report = Report { asked: true, revisions, reloaded: Some(!self.failed.contains(&stack)) };
            index.report(&stack, vec![("p-0".to_owned(), report)], at(now));
        }
    }

    /// Until nothing changes any more.
    pub(super) fn settle(&mut self, index: &mut Index) {
        for now in 0..200 {
            let written = self.write(index);
            self.reload(index, now);
            if written.is_empty() && index.unconfirmed().is_empty() {
                return;
            }
        }
        panic!("does not settle");
    }

    pub(super) fn text(&self, stack: &str) -> String {
        let of = |(place, (text, _)): (&(Key, usize), &(String, String))| (*place.0 == *stack).then(|| text.clone());
        self.files.iter().filter_map(of).collect()
    }
}

pub(super) fn running(index: &mut Index) -> World {
    for stack in index.stacks().cloned().collect::<Vec<_>>() {
        index.pod_seen(&stack, Pod { name: "p-0".into(), ready: true, ..Pod::default() });
    }
    World::default()
}

pub(super) fn told(index: &Index, rule: &str) -> AlertRuleStatus {
    index.status(rule, at(0)).unwrap().0.status
}

fn condition<'a>(status: &'a AlertRuleStatus, type_: &str) -> (&'a str, &'a str) {
    let found = status.conditions.iter().find(|c| c.type_ == type_).unwrap();
    (found.status.as_str(), found.reason.as_str())
}

#[test]
fn one_edit_among_two_thousand_touches_one_shard_and_one_status() {
    let mut index = index();
    let mut world = running(&mut index);
    (0..2000).for_each(|i| index.rule_applied(&rule(&format!("rule-{i:04}"), 1, "up > 1")));
    world.settle(&mut index);
    assert_eq!(world.files.len(), shards::SHARD_COUNT);
    assert_eq!(index.changed().len(), 2000);
    let wanted = RuleCounts { selected: 2000, accepted: 4000, loaded: 4000, ..RuleCounts::default() };
    assert_eq!(index.counts().next().unwrap().1, wanted);

    index.rule_applied(&rule("rule-0007", 2, "up > 2"));
    assert_eq!(condition(&told(&index, "shop/rule-0007"), "Loaded"), ("False", "NotLoaded"));
    assert_eq!(index.counts().next().unwrap().1.loaded, 3998);
    assert_eq!(world.write(&mut index).len(), 1);
    world.reload(&mut index, 1);
    assert_eq!(index.changed(), BTreeSet::from(["shop/rule-0007".into()]));
    assert_eq!(condition(&told(&index, "shop/rule-0007"), "Loaded"), ("True", "Confirmed"));
    assert_eq!(index.counts().next().unwrap().1, wanted);
    assert!(index.dirty().is_empty() && index.unconfirmed().is_empty());
}

#[test]
fn the_echo_of_a_status_changes_nothing() {
    let mut index = index();
    let mut world = running(&mut index);
    let mut object = rule("a", 1, "up > 1");
    index.rule_applied(&object);
    world.settle(&mut index);
    index.changed();
    let status = told(&index, "shop/a");
    index.status_written("shop/a", status.clone());
    object.status = Some(status.clone());
    index.rule_applied(&object);
    assert!(index.changed().is_empty() && index.dirty().is_empty());
    // Somebody who wipes it gets it back.
    object.status = None;
    index.rule_applied(&object);
    assert_eq!(index.changed().len(), 1);
    assert_eq!(index.status("shop/a", at(9)).unwrap().0.status.accepted, status.accepted);
}

#[test]
fn a_deleted_rule_leaves_its_shard_and_the_last_one_deletes_it() {
    let mut index = index();
    let mut world = running(&mut index);
    index.rule_applied(&rule("a", 1, "up > 1"));
    world.settle(&mut index);
    assert_eq!(world.files.len(), 1);
    index.rule_deleted("shop/a");
    world.settle(&mut index);
    assert!(world.files.is_empty());
    assert_eq!(index.counts().next().unwrap().1, RuleCounts::default());
}

#[test]
fn a_rule_moves_between_stacks_with_labels_of_its_own_or_of_its_namespace() {
    let mut index = index();
    index.stack_applied(&stack("main", "uid-main", json!({"namespaceSelector": {"matchLabels": {"team": "retail"}}})));
    index.stack_applied(&stack("other", "uid-other", json!({"selector": {"matchLabels": {"team": "vip"}}})));
    let mut world = running(&mut index);
    let mut object = rule("a", 1, "up > 1");
    index.rule_applied(&object);
    world.settle(&mut index);
    let where_ = |world: &World| [MAIN, "monitoring/other"].map(|stack| world.text(stack).contains("shop/a"));
    assert_eq!(where_(&world), [true, false]);
    object.metadata.labels = Some(BTreeMap::from([("team".into(), "vip".into())]));
    index.rule_applied(&object);
    world.settle(&mut index);
    assert_eq!(where_(&world), [true, true]);
    assert_eq!(told(&index, "shop/a").stacks.len(), 2);
    index.namespace_applied("shop", BTreeMap::new());
    world.settle(&mut index);
    assert_eq!(where_(&world), [false, true]);
    index.stack_deleted("monitoring/other");
    let status = told(&index, "shop/a");
    assert_eq!(condition(&status, "Loaded"), ("False", "NotSelected"));
    let message = &status.conditions[0].message;
    assert!(
        message.contains("monitoring/main looks in any namespace, since namespaceSelector selects none"),
        "{message}"
    );
}

#[test]
fn a_stack_without_prometheus_or_with_a_wrong_selector_says_so_in_the_rules_it_misses() {
    let mut index = Index::default();
    index.rule_applied(&rule("a", 1, "up > 1"));
    assert!(told(&index, "shop/a").conditions[0].message.contains("create one"));
    index.stack_applied(&stack(
        "main",
        "u",
        json!({"selector": {"matchExpressions": [{"key": "x", "operator": "Like"}]}}),
    ));
    let message = told(&index, "shop/a").conditions[0].message.clone();
    assert!(message.contains("monitoring/main: spec.discovery.selector is not a label selector"), "{message}");
    index.stack_applied(&stack("main", "u", json!({"selector": {"matchLabels": {"tier": "gold"}}})));
    let message = told(&index, "shop/a").conditions[0].message.clone();
    assert!(message.contains("monitoring/main selects by the labels tier=gold"), "{message}");
}

#[test]
fn a_refused_edit_keeps_the_last_good_version_also_after_a_restart() {
    let mut index = index();
    let mut world = running(&mut index);
    index.rule_applied(&rule("a", 1, "up > 1"));
    world.settle(&mut index);
    index.rule_applied(&rule("a", 2, "up > ("));
    world.settle(&mut index);
    assert!(world.text(MAIN).contains("up > 1"));
    let before = told(&index, "shop/a");
    assert_eq!((condition(&before, "Accepted"), condition(&before, "Loaded").0), (("False", "ParseError"), "True"));
    assert!(before.rules[0].message.contains("generation 1 stays live"), "{:?}", before.rules);

    let mut again = self::index();
    again.pod_seen(MAIN, Pod { name: "p-0".into(), ready: true, ..Pod::default() });
    for ((stack, shard), (text, _)) in &world.files {
        again.recovered(stack, *shard, text);
    }
    let mut object = rule("a", 2, "up > (");
    object.status = Some(before.clone());
    again.rule_applied(&object);
    again.started();
    let writes = world.writes;
    world.settle(&mut again);
    assert_eq!((world.writes, told(&again, "shop/a")), (writes, before));
}

#[test]
fn after_a_restart_nothing_is_written_and_every_rule_stays_in_its_shard() {
    let mut index = index();
    let mut world = running(&mut index);
    let objects: Vec<AlertRule> = (0..50).map(|i| rule(&format!("r{i}"), 1, "up > 1")).collect();
    objects.iter().for_each(|object| index.rule_applied(object));
    world.settle(&mut index);
    // As if it had spilled: it lives in a shard that is not its home.
    let moved = (MAIN.into(), (shards::home("shop/r7") + 1) % shards::SHARD_COUNT);
    let mut files = world.files.clone();
    let home = &mut files.get_mut(&(MAIN.into(), shards::home("shop/r7"))).unwrap().0;
    let others = shards::groups(home).filter(|text| !text.contains("- name: shop/r7\n"));
    *home = shards::file(0, 0, Vec::from_iter(others).iter().map(|text| &**text)).0;
    files.entry(moved.clone()).or_default().0.push_str(&index.rules["shop/r7"].shipped.text);
    let statuses: Vec<_> = objects.iter().map(|o| told(&index, &format!("shop/{}", o.name_any()))).collect();

    let mut again = self::index();
    again.pod_seen(MAIN, Pod { name: "p-0".into(), ready: true, ..Pod::default() });
    files.iter().for_each(|((stack, shard), (text, _))| again.recovered(stack, *shard, text));
    for (object, status) in objects.iter().zip(&statuses) {
        again.rule_applied(&AlertRule { status: Some(status.clone()), ..object.clone() });
    }
    again.started();
    assert_eq!(again.packing(MAIN).unwrap().placement("shop/r7").unwrap().shard, Some(moved.1));
    let changed = again.changed();
    let same = changed.iter().filter(|key| **key != "shop/r7".into()).all(|key| {
        let (told, old) = again.status(key, at(100)).unwrap();
        assert_eq!(told.status, *old, "{key}");
        true
    });
    assert!(same, "a status is the same before Prometheus was asked");
}

#[test]
fn a_shard_that_is_full_spills_and_what_grows_too_big_moves() {
    let mut index = index();
    let mut world = running(&mut index);
    let big = |name: &str, generation, count: usize| {
        let long = format!("up{{x=\"{}\"}}", "y".repeat(10_000));
        let rules: Vec<_> = (0..count).map(|i| json!({"alert": format!("A{i}"), "expr": long})).collect();
        rule_of("shop", name, generation, rules.into())
    };
    // Names that share a home.
    let home = shards::home("shop/n0");
    let names: Vec<String> =
        (0..200).map(|i| format!("n{i}")).filter(|n| shards::home(&format!("shop/{n}")) == home).take(3).collect();
    names.iter().for_each(|name| index.rule_applied(&big(name, 1, 20)));
    world.settle(&mut index);
    let shard = |index: &Index, name: &str| {
        index.packing(MAIN).unwrap().placement(&format!("shop/{name}")).unwrap().shard.unwrap()
    };
    let next = (home + 1) % shards::SHARD_COUNT;
    assert_eq!([0, 1, 2].map(|i| shard(&index, &names[i])), [home, home, next]);
    index.rule_applied(&big(&names[0], 2, 45));
    world.settle(&mut index);
    assert_eq!([0, 1, 2].map(|i| shard(&index, &names[i])), [(next + 1) % shards::SHARD_COUNT, home, next]);
    index.rule_applied(&big(&names[2], 2, 1));
    assert_eq!(shard(&index, &names[2]), next, "what shrinks stays where it is");
    assert!(world.files.values().all(|(text, _)| text.len() <= shards::MAX_SHARD + 1024));
}

#[test]
fn a_rule_that_prometheus_refuses_is_found_while_all_others_become_live() {
    let mut index = index();
    let mut world = running(&mut index);
    (0..40).for_each(|i| index.rule_applied(&rule(&format!("old-{i}"), 1, "up > 1")));
    world.settle(&mut index);
    world.poison = "poison";
    // Two shards change at once, and one of the rules was good before.
    index.rule_applied(&rule("old-3", 2, "poison > 3"));
    (0..6).for_each(|i| index.rule_applied(&rule(&format!("new-{i}"), 1, "up > 9")));
    index.rule_applied(&rule("evil", 1, "poison > 4"));
    world.settle(&mut index);
    assert!(!world.text(MAIN).contains("poison"));
    assert_eq!(world.text(MAIN).matches("up > 9").count(), 6);
    let evil = told(&index, "shop/evil");
    assert_eq!((condition(&evil, "Accepted"), evil.accepted), (("False", "Quarantined"), Some(1)));
    assert_eq!((evil.rules[0].index, evil.rules[0].name.as_str()), (1, "Edited"));
    assert!(evil.rules[0].message.contains("not live") && evil.rules[0].digest.is_some());
    let kept = told(&index, "shop/old-3");
    assert!(kept.rules[0].message.contains("generation 1 stays live"), "{:?}", kept.rules);
    assert_eq!(world.text(MAIN).matches("up > 1").count(), 40);
    assert_eq!(condition(&told(&index, "shop/new-1"), "Loaded").0, "True");

    // A restart does not try it again, an edit does.
    let mut again = self::index();
    again.pod_seen(MAIN, Pod { name: "p-0".into(), ready: true, ..Pod::default() });
    world.files.iter().for_each(|((stack, shard), (text, _))| again.recovered(stack, *shard, text));
    let mut object = rule("evil", 1, "poison > 4");
    object.status = Some(evil.clone());
    again.rule_applied(&object);
    world.write(&mut again);
    assert!(!world.text(MAIN).contains("poison"));
    assert_eq!(told(&again, "shop/evil").rules, evil.rules);
    again.rule_applied(&rule("evil", 2, "up > 5"));
    world.settle(&mut again);
    assert!(world.text(MAIN).contains("up > 5") && told(&again, "shop/evil").rules.is_empty());
}

#[test]
fn the_very_first_rule_of_a_stack_may_be_the_guilty_one() {
    let mut index = index();
    let mut world = running(&mut index);
    world.poison = "poison";
    index.rule_applied(&rule_of("shop", "only", 1, json!([{"alert": "Evil", "expr": "poison"}])));
    world.settle(&mut index);
    assert!(world.files.is_empty() && world.failed.is_empty());
    assert_eq!(condition(&told(&index, "shop/only"), "Loaded"), ("False", "NothingToLoad"));
    assert_eq!(condition(&told(&index, "shop/only"), "Accepted").1, "Quarantined");
}

#[test]
fn a_reload_that_fails_for_another_reason_accuses_nobody() {
    let mut index = index();
    let mut world = running(&mut index);
    index.rule_applied(&rule("a", 1, "up > 1"));
    world.settle(&mut index);
    // prometheus.yml is broken: nothing loads.
    world.poison = "groups";
    index.rule_applied(&rule("a", 2, "up > 2"));
    for now in 0..100 {
        world.write(&mut index);
        world.reload(&mut index, now);
    }
    let waits = index.packing(MAIN).unwrap().waits_for("shop/a", at(100)).unwrap();
    assert!(waits.contains("cannot reload"), "{waits}");
    world.poison = "";
    world.settle(&mut index);
    assert_eq!(condition(&told(&index, "shop/a"), "Accepted").0, "True");
    assert!(world.text(MAIN).contains("up > 2"));
}

#[test]
fn firing_alerts_are_counted_where_their_names_are_defined() {
    let mut index = index();
    index.rule_applied(&rule("a", 1, "up > 1"));
    index.rule_applied(&rule_of(
        "shop",
        "b",
        1,
        json!([{"alert": "Only", "expr": "up"}, {"record": "Fixed", "expr": "up"}]),
    ));
    let found = index.alerting(&BTreeSet::from(["Only", "Fixed"]));
    assert_eq!(found["Only"], ["shop/b".into()]);
    assert_eq!(found["Fixed"], ["shop/a".into()]);
    index.changed();
    index.fires(BTreeMap::from([("shop/b".into(), 2)]));
    assert_eq!((index.changed(), told(&index, "shop/b").firing), (BTreeSet::from(["shop/b".into()]), Some(2)));
    index.fires(BTreeMap::from([("shop/b".into(), 2)]));
    assert!(index.changed().is_empty());
    index.fires(BTreeMap::new());
    assert_eq!(told(&index, "shop/b").firing, Some(0));
}

#[test]
fn a_pod_that_is_heard_of_before_its_stack_is_not_forgotten() {
    let mut index = Index::default();
    index.pod_seen(MAIN, Pod { name: "p-0".into(), ready: true, ..Pod::default() });
    index.stack_applied(&stack("main", "uid-main", json!({})));
    let known = |index: &Index| index.packing(MAIN).map(|packing| packing.pods().count());
    assert_eq!(known(&index), Some(1));
    index.stack_applied(&stack("main", "uid-again", json!({})));
    assert_eq!(known(&index), Some(1));
}
