use std::collections::BTreeSet;

use super::*;

const OF: Of = Of { namespace: "monitoring", stack: "main" };

/// The text of each rule that comes of settings, by group, kind, name and order.
fn rules(settings: &Settings) -> BTreeMap<(String, String), String> {
    let mut all = BTreeMap::new();
    for (group, compiled) in compiled(settings, &Sources::all(), OF, None) {
        for rule in compiled.rules {
            all.insert((group.clone(), rule.id.name.clone()), rule.result.expect("a rule that ships compiles"));
        }
    }
    all
}

#[test]
fn every_rule_that_ships_compiles_and_has_a_name_of_its_own() {
    let all = rules(&Settings::default());
    let written: usize =
        groups(&Settings::default(), &Sources::all(), OF).iter().map(|(_, spec)| spec.rules.len()).sum();
    assert_eq!(all.len(), written);
    let names: BTreeSet<&str> = all.keys().map(|(_, name)| name.as_str()).collect();
    assert_eq!(names.len(), written, "two groups have a rule of one name");
    let groups: BTreeSet<&str> = GROUPS.iter().map(|group| group.name).collect();
    assert!(groups.len() == GROUPS.len() && groups.is_disjoint(&names));
    let recorded = names.iter().filter(|name| name.contains(':')).count();
    assert!(recorded >= 20 && alerts().count() >= 40, "{recorded} recorded, {} alerts", alerts().count());
}

#[test]
fn every_alert_has_a_severity_texts_and_its_runbook() {
    for (_, spec) in groups(&Settings::default(), &Sources::all(), OF) {
        for rule in spec.rules.iter().filter(|rule| rule.alert.is_some()) {
            let name = rule.alert.as_deref().unwrap();
            let severities: Vec<&str> = match rule.tiers.as_slice() {
                [] => rule.severity.as_deref().into_iter().collect(),
                tiers => tiers.iter().map(|tier| tier.severity.as_str()).collect(),
            };
            assert!(
                matches!(severities.as_slice(), ["warning"] | ["critical"] | ["warning", "critical"] | ["none"]),
                "{name}: {severities:?}"
            );
            assert!(rule.annotations["summary"].len() > 10 && rule.annotations["description"].len() > 10, "{name}");
            assert_eq!(rule.annotations["runbook_url"], format!("{RUNBOOKS}/{name}.md"));
            assert!(!rule.expr.contains("$minimum") && !rule.expr.contains("$stack"), "{}", rule.expr);
        }
    }
}

#[test]
fn every_threshold_changes_the_rule_that_it_names_and_no_other() {
    let before = rules(&Settings::default());
    for alert in alerts() {
        let thresholds = alert.thresholds();
        let names: BTreeSet<&str> = thresholds.iter().map(|threshold| threshold.name).collect();
        assert_eq!(names.len(), thresholds.len(), "{}", alert.name);
        for threshold in thresholds {
            let value = threshold.default * 0.6 + 0.26;
            let settings =
                Settings { thresholds: BTreeMap::from([((alert.name, threshold.name), value)]), ..Settings::default() };
            let after = rules(&settings);
            let changed: Vec<&str> =
                after.iter().filter(|(key, text)| before[*key] != **text).map(|((_, name), _)| name.as_str()).collect();
            assert_eq!(changed, [alert.name], "{}", threshold.name);
            let text = after.iter().find(|((_, name), _)| name == alert.name).map(|(_, text)| text).unwrap();
            assert!(threshold.name == FOR || text.contains(&value.to_string()), "{value} in {text}");
        }
    }
}

#[test]
fn every_name_that_is_switched_off_is_gone() {
    let before = rules(&Settings::default());
    for name in alerts().map(|alert| alert.name) {
        let after = rules(&Settings { disabled: BTreeSet::from([name]), ..Settings::default() });
        let gone: Vec<&str> = before.keys().filter(|key| !after.contains_key(*key)).map(|(_, n)| n.as_str()).collect();
        assert_eq!(gone, [name]);
    }
    for group in &GROUPS {
        let after = rules(&Settings { disabled: BTreeSet::from([group.name]), ..Settings::default() });
        let of_it = format!("stack/monitoring/main/{}", group.name);
        let read = GROUPS.iter().any(|other| other.builds_on.contains(&group.name));
        let left: Vec<&str> = after.keys().filter(|(of, _)| *of == of_it).map(|(_, name)| name.as_str()).collect();
        assert!(left.iter().all(|name| read && name.contains(':')), "{}: {left:?}", group.name);
        assert!(before.keys().filter(|(of, _)| *of != of_it).all(|key| after.contains_key(key)));
    }
    assert!(rules(&Settings { enabled: false, ..Settings::default() }).is_empty());
}

#[test]
fn the_groups_follow_what_the_stack_measures() {
    let named = |settings: &Settings, has: &Sources| {
        groups(settings, has, OF).into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    let none = named(&Settings::default(), &Sources::default());
    assert_eq!(none, ["service", "security", "business", "monitoring", "operator"]);
    let mysql = Sources { mysql: true, cadvisor: true, ..Sources::default() };
    assert!(named(&Settings::default(), &mysql).contains(&"databases"));
    let included = Settings { include: BTreeSet::from(["workloads"]), ..Settings::default() };
    assert!(named(&included, &Sources::default()).contains(&"workloads"));
    assert_eq!(named(&Settings::default(), &Sources::all()).len(), GROUPS.len());
}

#[test]
fn what_a_group_builds_on_is_a_group_and_what_it_reads_is_recorded() {
    let recorded: BTreeSet<String> = rules(&Settings::default()).into_keys().map(|(_, name)| name).collect();
    let series = regex::Regex::new(r"[a-z_]+:[a-zA-Z0-9_]+(:[a-zA-Z0-9_]+)?").unwrap();
    for ((group, name), text) in rules(&Settings::default()) {
        let expr = text.split("    labels:").next().unwrap().split("    annotations:").next().unwrap();
        let body = expr.split_once('\n').unwrap().1;
        for found in series.find_iter(body).map(|found| found.as_str()) {
            assert!(recorded.contains(found), "{name} of {group} reads {found}, which nothing records");
        }
    }
    for group in &GROUPS {
        assert!(group.builds_on.iter().all(|name| GROUPS.iter().any(|other| other.name == *name)));
    }
}

#[test]
fn a_stack_reads_the_sources_out_of_its_spec() {
    let spec = serde_json::from_value(serde_json::json!({
        "prometheus": {"scrape": {"kubelet": false}}, "loki": {}, "logs": {},
    }))
    .unwrap();
    let expected = Sources { cadvisor: true, loki: true, collector: true, ..Sources::default() };
    assert_eq!(Sources::of(&spec), expected);
}
