//! A pod of Loki, and what it says of its rules. Pure.

use std::collections::BTreeMap;

use super::files;
use crate::prometheus::RuleGroup;

/// A pod of Loki.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pod {
    pub ip: Option<String>,
    pub ready: bool,
    /// What it said last; `None` when it was not asked since it began.
    pub report: Option<Report>,
}

/// What a Loki says of its rules.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Revisions by file.
    pub loaded: BTreeMap<usize, String>,
    /// Alerts that fire, by group.
    pub firing: BTreeMap<String, i32>,
}

impl Report {
    pub fn of(groups: &[RuleGroup]) -> Self {
        let mut report = Self::default();
        for group in groups {
            if group.name == files::REVISION_GROUP {
                let mark = |name: &str| group.rules.first()?.labels.get(name);
                if let (Some(number), Some(revision)) = (mark("shard").and_then(|n| n.parse().ok()), mark("revision")) {
                    report.loaded.insert(number, revision.clone());
                }
                continue;
            }
            let alerts = group.rules.iter().flat_map(|rule| &rule.alerts);
            let firing = alerts.filter(|alert| alert.state == "firing").count() as i32;
            *report.firing.entry(group.name.clone()).or_default() += firing;
        }
        report
    }
}
