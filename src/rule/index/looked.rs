//! AlertRules held against the series of the Prometheus in which they are loaded: which are worth a look, and what was seen.

use jiff::Timestamp;

use super::{Entry, Index, Key, Stack};

/// What to look for.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    pub rule: Key,
    pub generation: i64,
    /// The stack whose Prometheus is asked.
    pub stack: Key,
    /// Shards of it that have the series between them, at least one.
    pub shards: usize,
    /// The group as it is shipped.
    pub group: Box<str>,
}

impl Index {
    /// The AlertRules with their generations that a Prometheus has loaded.
    pub fn lookable(&self, now: Timestamp) -> impl Iterator<Item = (&Key, i64)> {
        let live = self.rules.iter().filter(|(_, entry)| entry.is_alert_rule() && !entry.shipped.text.is_empty());
        let live = live.filter(move |(key, entry)| self.loaded(key, entry, now).is_some());
        live.map(|(key, entry)| (key, entry.generation))
    }

    /// What to ask about a rule; `None` while no stack has loaded it.
    pub fn look(&self, rule: &Key, now: Timestamp) -> Option<Look> {
        let entry = self.rules.get(rule)?;
        let (stack, known) = self.loaded(rule, entry, now)?;
        let shards = usize::try_from(known.settings.shards).unwrap_or_default().max(1);
        let group = entry.shipped.text.clone();
        Some(Look { rule: rule.clone(), generation: entry.generation, stack: stack.clone(), shards, group })
    }

    /// A stack that has loaded the rules of this generation: while its tests are run, those before it are live.
    fn loaded(&self, rule: &Key, entry: &Entry, now: Timestamp) -> Option<(&Key, &Stack)> {
        let mut stacks = self.stacks.iter().filter(|_| !entry.tests.waits());
        stacks
            .find(|(_, stack)| stack.packing.placement(rule).is_some() && stack.packing.waits_for(rule, now).is_none())
    }

    /// What was seen: a sentence for each series that is not there.
    pub fn looked(&mut self, rule: &Key, generation: i64, missing: Vec<String>) {
        let Some(entry) = self.rules.get_mut(rule).filter(|entry| entry.generation == generation) else { return };
        if entry.missing.as_ref() != Some(&missing) {
            entry.missing = Some(missing);
            self.changed.insert(rule.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{at, index, rule, running, stack};
    use super::*;
    use serde_json::json;

    const API: &str = "shop/api";

    fn told(index: &Index) -> Option<(String, String, String)> {
        let status = index.status(API, at(0)).unwrap().0.status;
        let found = status.conditions.into_iter().find(|condition| condition.type_ == "MatchesSeries")?;
        Some((found.status, found.reason, found.message))
    }

    #[test]
    fn a_rule_is_looked_at_once_it_is_loaded_and_what_is_missing_is_a_warning_only() {
        let mut index = index();
        let mut world = running(&mut index);
        index.rule_applied(&rule("api", 1, "up < 1"));
        assert_eq!(index.look(&API.into(), at(0)), None);
        assert_eq!(index.lookable(at(0)).count(), 0, "what is not loaded has no time that runs");
        world.settle(&mut index);
        assert_eq!(index.lookable(at(0)).collect::<Vec<_>>(), [(&API.into(), 1)]);
        assert_eq!(told(&index), None, "nobody has looked");
        let look = index.look(&API.into(), at(0)).unwrap();
        assert!(look.group.contains("up < 1") && &*look.stack == "monitoring/main" && look.shards == 1);
        index.looked(&look.rule, 1, vec!["Edited: there is no series of up".into()]);
        let (status, reason, message) = told(&index).unwrap();
        assert_eq!((status.as_str(), reason.as_str()), ("False", "NoSeries"));
        assert!(message.starts_with("Edited: there is no series of up"), "{message}");
        let ready = index.status(API, at(0)).unwrap().0.status.conditions.into_iter().find(|c| c.type_ == "Ready");
        assert_eq!(ready.unwrap().status, "True");
        index.looked(&look.rule, 1, vec![]);
        assert_eq!(told(&index).unwrap().0, "True");
        // A look at an older version tells nothing of this one.
        index.rule_applied(&rule("api", 2, "up < 2"));
        index.looked(&look.rule, 1, vec!["x".into()]);
        assert_eq!(told(&index), None);
    }

    #[test]
    fn the_version_before_is_not_looked_at_under_the_name_of_one_that_waits_for_its_tests() {
        let mut index = index();
        let mut world = running(&mut index);
        index.rule_applied(&rule("api", 1, "up < 1"));
        world.settle(&mut index);
        let mut next = rule("api", 2, "up < 2");
        let test = json!([{"series": [{"series": "up", "values": "1"}], "alerts": [{"at": "5m", "alert": "Fixed"}]}]);
        next.spec.tests = serde_json::from_value(test).unwrap();
        index.rule_applied(&next);
        world.settle(&mut index);
        assert!(world.text("monitoring/main").contains("up < 1"));
        assert_eq!((index.look(&API.into(), at(0)), index.lookable(at(0)).count()), (None, 0));
        index.tested(&API.into(), 2, Ok(vec![]));
        world.settle(&mut index);
        assert_eq!(index.lookable(at(0)).collect::<Vec<_>>(), [(&API.into(), 2)]);
    }

    #[test]
    fn all_shards_of_a_prometheus_have_to_be_asked() {
        let mut index = index();
        let mut sharded = stack("main", "uid-main", json!({}));
        sharded.spec.prometheus.as_mut().unwrap().shards = 2;
        index.stack_applied(&sharded);
        let mut world = running(&mut index);
        index.rule_applied(&rule("api", 1, "up < 1"));
        world.settle(&mut index);
        assert_eq!(index.look(&API.into(), at(0)).unwrap().shards, 2);
    }

    #[test]
    fn what_was_seen_before_a_restart_stays_until_somebody_looks_again() {
        let mut index = index();
        let mut object = rule("api", 1, "up < 1");
        object.status = Some(
            serde_json::from_value(json!({"observedGeneration": 1, "conditions": [{
                "type": "MatchesSeries", "status": "False", "reason": "NoSeries", "message": "Edited: gone",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }]}))
            .unwrap(),
        );
        index.rule_applied(&object);
        assert_eq!(told(&index).unwrap(), ("False".into(), "NoSeries".into(), "Edited: gone".into()));
    }
}
