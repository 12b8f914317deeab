use super::tests::{at, index, rule, running, told};
use crate::api::alert_rule::RuleSource;

#[test]
fn a_rule_over_logs_is_none_of_prometheus() {
    let mut index = index();
    let mut world = running(&mut index);
    index.rule_applied(&rule("a", 1, "up"));
    world.settle(&mut index);
    let mut over_logs = rule("a", 2, "up");
    over_logs.spec.source = RuleSource::Logs;
    index.rule_applied(&over_logs);
    world.settle(&mut index);
    assert!(index.rules().next().is_none() && index.status("shop/a", at(0)).is_none());
    assert!(world.files.is_empty(), "its group is gone: {:?}", world.files);
    index.rule_applied(&rule("a", 3, "up"));
    world.settle(&mut index);
    assert_eq!(told(&index, "shop/a").accepted, Some(2));
}
