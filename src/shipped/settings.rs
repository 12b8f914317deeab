//! What a stack says about the rules that ship, checked. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::RUNBOOKS;

/// Checked settings: every name in it is one that ships, every value of the right kind and in its range.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub enabled: bool,
    /// Alerts and groups that are switched off.
    pub disabled: BTreeSet<&'static str>,
    /// Groups that are loaded whatever the stack itself runs.
    pub include: BTreeSet<&'static str>,
    /// By alert and threshold, in the unit of its kind.
    pub thresholds: BTreeMap<(&'static str, &'static str), f64>,
    /// Where the runbook pages lie, without a slash at the end.
    pub runbooks: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: true,
            disabled: BTreeSet::new(),
            include: BTreeSet::new(),
            thresholds: BTreeMap::new(),
            runbooks: RUNBOOKS.to_owned(),
        }
    }
}

impl Settings {
    /// Whether a group or an alert is not switched off.
    pub fn wants(&self, name: &str) -> bool {
        !self.disabled.contains(name)
    }

    /// The value of a threshold, when the stack sets it.
    pub fn value(&self, alert: &str, threshold: &str) -> Option<f64> {
        let found = self.thresholds.iter().find(|((a, t), _)| *a == alert && *t == threshold);
        found.map(|(_, value)| *value)
    }
}
