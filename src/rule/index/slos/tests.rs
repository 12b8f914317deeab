use super::*;
use crate::rule::feed::SloGroup;
use crate::rule::index::tests::{MAIN, World, at, index, rule, running, stack, told};
use crate::rule::packing::Pod;
use serde_json::json;

fn slo(namespace: &str, name: &str, generation: i64, expr: &str) -> Slo {
    let group = |part: &str| {
        format!(
            "- name: slo/{namespace}/{name}/{part}\n  interval: 30s\n  rules:\n  - record: a:{part}\n    expr: {expr}\n  \
             - alert: ErrorBudgetBurn\n    expr: {expr} > 1\n  - alert: ErrorBudgetBurn\n    expr: {expr} > 2\n"
        )
    };
    Slo {
        name: (namespace.into(), name.into()),
        uid: format!("uid-{namespace}-{name}"),
        generation,
        labels: BTreeMap::from([("team".to_owned(), namespace.to_owned())]),
        groups: Some(SloGroup::all([group("burn"), group("budget")], None)),
        was_loaded: false,
    }
}

fn load(index: &Index, slo: &Slo) -> Load {
    index.load(&slo.name, at(0)).unwrap()
}

/// Another process, which finds what the world holds.
fn restarted(world: &World) -> Index {
    let mut again = index();
    again.pod_seen(MAIN, Pod { name: "p-0".into(), ready: true, ..Pod::default() });
    for ((stack, shard), (text, _)) in &world.files {
        again.recovered(stack, *shard, text);
    }
    again
}

#[test]
fn a_stack_selects_slos_by_their_own_namespace_and_labels() {
    let mut index = index();
    let api = slo("shop", "api", 1, "up");
    index.slo_applied(&api);
    index.slo_applied(&slo("ledger", "api", 1, "down"));
    let mut world = running(&mut index);
    world.settle(&mut index);
    assert!(world.text(MAIN).contains("slo/shop/api/burn") && world.text(MAIN).contains("slo/ledger/api/budget"));
    let counts = index.counts().next().unwrap().1;
    assert_eq!((counts.slos, counts.selected, counts.accepted, counts.loaded), (2, 0, 0, 0));

    index.stack_applied(&stack("main", "uid-main", json!({"namespaceSelector": {"matchLabels": {"team": "retail"}}})));
    world.settle(&mut index);
    assert!(world.text(MAIN).contains("slo/shop/api/burn") && !world.text(MAIN).contains("slo/ledger"));
    let passed_over = load(&index, &slo("ledger", "api", 1, "down")).passed_over;
    assert!(passed_over[0].contains("monitoring/main looks in"), "{passed_over:?}");
    // The namespace leaves the selection, and comes back.
    index.namespace_applied("shop", BTreeMap::new());
    world.settle(&mut index);
    assert!(world.files.is_empty());
    index.namespace_applied("shop", BTreeMap::from([("team".into(), "retail".into())]));
    index.stack_applied(&stack("main", "uid-main", json!({"selector": {"matchLabels": {"team": "shop"}}})));
    world.settle(&mut index);
    let status = load(&index, &api);
    assert_eq!((status.stacks[0].loaded, status.stacks[0].total, status.rules), (6, 6, 6));
    index.slo_deleted(&api.name);
    world.settle(&mut index);
    assert!(world.files.is_empty() && index.load(&api.name, at(0)).is_none());
    assert_eq!(index.counts().next().unwrap().1.slos, 0);
}

#[test]
fn after_a_restart_no_shard_is_written_and_the_slo_is_still_loaded() {
    let mut index = index();
    let mut world = running(&mut index);
    let slos: Vec<Slo> = (0..20).map(|i| slo("shop", &format!("s{i}"), 3, "up")).collect();
    slos.iter().for_each(|slo| index.slo_applied(slo));
    index.rule_applied(&rule("a", 1, "up > 1"));
    world.settle(&mut index);
    let (writes, before) = (world.writes, load(&index, &slos[7]));

    let mut again = restarted(&world);
    let status = told(&index, "shop/a");
    again.rule_applied(&crate::api::AlertRule { status: Some(status), ..rule("a", 1, "up > 1") });
    slos.iter().for_each(|slo| again.slo_applied(&Slo { was_loaded: true, ..slo.clone() }));
    again.started();
    assert_eq!(load(&again, &slos[7]), before, "before Prometheus was asked");
    world.settle(&mut again);
    assert_eq!((world.writes, load(&again, &slos[7])), (writes, before));
    // A rendering that comes to the same is no change.
    slos.iter().for_each(|slo| again.slo_applied(slo));
    assert!(again.dirty().is_empty());
}

#[test]
fn a_refused_slo_keeps_its_last_good_rules_also_after_a_restart() {
    let mut index = index();
    let mut world = running(&mut index);
    let good = slo("shop", "api", 1, "up");
    index.slo_applied(&good);
    world.settle(&mut index);
    let writes = world.writes;
    let refused = Slo { generation: 2, groups: None, ..good.clone() };
    index.slo_applied(&refused);
    world.settle(&mut index);
    assert_eq!((world.writes, load(&index, &refused).rules), (writes, 6));

    let mut again = restarted(&world);
    again.slo_applied(&refused);
    again.started();
    world.settle(&mut again);
    assert_eq!((world.writes, load(&again, &refused)), (writes, load(&index, &refused)));
    // The good one that follows replaces it.
    again.slo_applied(&slo("shop", "api", 3, "up * 2"));
    world.settle(&mut again);
    assert!(world.text(MAIN).contains("up * 2") && !world.text(MAIN).contains("expr: up\n"));
    // One that was never good has no rules, and says who selects it.
    again.slo_applied(&Slo { name: ("shop".into(), "new".into()), uid: "new".into(), ..refused });
    let new = again.load(&("shop".into(), "new".into()), at(0)).unwrap();
    assert_eq!((new.rules, new.stacks.len()), (0, 1));
}

#[test]
fn a_rule_of_an_slo_that_prometheus_refuses_is_named_and_harms_nobody_else() {
    let mut index = index();
    let mut world = running(&mut index);
    let good = slo("shop", "good", 1, "up");
    index.slo_applied(&good);
    world.settle(&mut index);
    world.poison = "poison";
    let mut evil = slo("shop", "evil", 1, "down");
    let mut groups = evil.groups.take().unwrap();
    groups[0].text.push_str("  - alert: ErrorBudgetBurn\n    expr: poison\n");
    evil.groups = Some(groups);
    index.slo_applied(&evil);
    index.rule_applied(&rule("a", 1, "up > 9"));
    world.settle(&mut index);
    assert!(world.text(MAIN).contains("up > 9") && !world.text(MAIN).contains("poison"));
    let found = load(&index, &evil);
    assert_eq!((found.refused.len(), found.refused[0].name.as_str(), found.rules), (1, "ErrorBudgetBurn", 6));
    assert!(load(&index, &good).refused.is_empty());
    // The same text is not tried again.
    let writes = world.writes;
    index.slo_applied(&evil);
    world.settle(&mut index);
    assert_eq!(world.writes, writes);
}

#[test]
fn a_stack_that_wants_the_series_of_sloth_takes_the_groups_with_them() {
    let mut index = index();
    let mut other = stack("other", "uid-other", json!({}));
    other.spec.compatibility = vec![crate::api::slo::Compatibility::Sloth];
    index.stack_applied(&other);
    let mut world = running(&mut index);
    let mut api = slo("shop", "api", 1, "up");
    let texts = |groups: &[SloGroup]| [groups[0].text.clone(), groups[1].text.clone()];
    let plain = texts(api.groups.as_ref().unwrap());
    let sloth = plain.clone().map(|text| text + "  - record: slo:sli_error\n    expr: up\n");
    api.groups = Some(SloGroup::all(plain.clone(), Some(sloth)));
    index.slo_applied(&api);
    world.settle(&mut index);
    assert!(!world.text(MAIN).contains("slo:sli_error"));
    assert_eq!(world.text("monitoring/other").matches("slo:sli_error").count(), 2);
    let totals: Vec<i32> = load(&index, &api).stacks.iter().map(|stack| stack.total).collect();
    assert_eq!(totals, [6, 8]);
    assert!(index.counts().all(|(_, counts)| counts.slos == 1));
    // It does not want them any more.
    other.spec.compatibility = vec![];
    index.stack_applied(&other);
    api.groups = Some(SloGroup::all(plain, None));
    index.slo_applied(&api);
    world.settle(&mut index);
    assert!(world.text("monitoring/other").contains("slo/shop/api/burn\n"));
    assert!(!world.text("monitoring/other").contains("sloth") && !world.text(MAIN).contains("sloth"));
}
