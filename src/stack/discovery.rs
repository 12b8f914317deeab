//! Which namespaces and labels a stack looks at. The index of rules and the scrape configuration share it.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Selector, SelectorExt};

use crate::api::monitoring_stack::Discovery;

/// The namespaces in which a stack looks for rules and targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Namespaces {
    All,
    /// May be empty: then nothing is selected.
    These(BTreeSet<String>),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("spec.discovery.{field} is not a label selector: {why}")]
pub struct InvalidSelector {
    pub field: &'static str,
    pub why: String,
}

impl Namespaces {
    /// `known` gives every namespace with its labels; it is asked only when the selector needs it.
    pub fn selected<'a>(
        discovery: Option<&Discovery>,
        own: &str,
        known: impl IntoIterator<Item = (&'a str, &'a BTreeMap<String, String>)>,
    ) -> Result<Self, InvalidSelector> {
        let Some(discovery) = discovery else {
            return Ok(Self::These(BTreeSet::from([own.to_owned()])));
        };
        let selector = selector("namespaceSelector", discovery.namespace_selector.as_ref())?;
        if selector.selects_all() {
            return Ok(Self::All);
        }
        Ok(Self::These(
            known.into_iter().filter(|(_, labels)| selector.matches(labels)).map(|(name, _)| name.to_owned()).collect(),
        ))
    }

    pub fn contain(&self, namespace: &str) -> bool {
        match self {
            Self::All => true,
            Self::These(names) => names.contains(namespace),
        }
    }

    /// For a message: `all namespaces`, `namespaces a, b`.
    pub fn describe(&self) -> String {
        match self {
            Self::All => "any namespace".to_owned(),
            Self::These(names) if names.is_empty() => "any namespace, since namespaceSelector selects none".to_owned(),
            Self::These(names) if names.len() == 1 => format!("namespace {}", Vec::from_iter(names.clone()).concat()),
            Self::These(names) if names.len() <= 5 => {
                format!("namespaces {}", names.iter().cloned().collect::<Vec<_>>().join(", "))
            }
            Self::These(names) => format!("the {} selected namespaces", names.len()),
        }
    }
}

/// Whether the selection depends on the labels of namespaces, so that a reconcile must follow their changes.
pub fn follows_namespaces(discovery: Option<&Discovery>) -> bool {
    discovery.and_then(|d| d.namespace_selector.as_ref()).is_some_and(|s| {
        s.match_labels.as_ref().is_some_and(|l| !l.is_empty())
            || s.match_expressions.as_ref().is_some_and(|e| !e.is_empty())
    })
}

/// The labels that AlertRules, pods and services must have.
pub fn labels(discovery: Option<&Discovery>) -> Result<Selector, InvalidSelector> {
    selector("selector", discovery.and_then(|d| d.selector.as_ref()))
}

fn selector(field: &'static str, selector: Option<&LabelSelector>) -> Result<Selector, InvalidSelector> {
    let Some(selector) = selector else { return Ok(Selector::default()) };
    for requirement in selector.match_expressions.iter().flatten() {
        let values = requirement.values.as_ref().map_or(0, Vec::len);
        let why = match requirement.operator.as_str() {
            "In" | "NotIn" if values == 0 => "needs values",
            "In" | "NotIn" => continue,
            "Exists" | "DoesNotExist" if values > 0 => "takes no values",
            "Exists" | "DoesNotExist" => continue,
            _ => "is no operator: write In, NotIn, Exists or DoesNotExist",
        };
        let why = format!("matchExpressions: {} ({}) {why}", requirement.operator, requirement.key);
        return Err(InvalidSelector { field, why });
    }
    selector.clone().try_into().map_err(|e| InvalidSelector { field, why: format!("{e}") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn discovery(value: serde_json::Value) -> Discovery {
        serde_json::from_value(value).unwrap()
    }

    fn labelled() -> Vec<(String, BTreeMap<String, String>)> {
        [("shop", "retail"), ("ledger", "finance"), ("monitoring", "infra")]
            .map(|(name, team)| (name.to_owned(), BTreeMap::from([("team".to_owned(), team.to_owned())])))
            .to_vec()
    }

    fn selected(discovery: Option<&Discovery>) -> Namespaces {
        let known = labelled();
        Namespaces::selected(discovery, "monitoring", known.iter().map(|(n, l)| (n.as_str(), l))).unwrap()
    }

    #[test]
    fn absent_discovery_is_the_own_namespace_and_an_empty_one_is_all() {
        assert_eq!(selected(None), Namespaces::These(["monitoring".to_owned()].into()));
        assert_eq!(selected(Some(&discovery(json!({})))), Namespaces::All);
        assert_eq!(selected(Some(&discovery(json!({"namespaceSelector": {}})))), Namespaces::All);
    }

    #[test]
    fn a_selector_that_matches_no_namespace_is_none_and_not_all() {
        let nowhere = discovery(json!({"namespaceSelector": {"matchLabels": {"team": "nobody"}}}));
        assert_eq!(selected(Some(&nowhere)), Namespaces::These(BTreeSet::new()));
        assert!(follows_namespaces(Some(&nowhere)));
        assert!(!follows_namespaces(Some(&discovery(json!({"namespaceSelector": {}})))));
    }

    #[test]
    fn expressions_are_understood_and_wrong_ones_named() {
        let some = discovery(json!({"namespaceSelector": {"matchExpressions": [
            {"key": "team", "operator": "NotIn", "values": ["finance"]}]}}));
        assert_eq!(selected(Some(&some)), Namespaces::These(["monitoring".to_owned(), "shop".to_owned()].into()));
        let wrong = discovery(json!({"selector": {"matchExpressions": [{"key": "team", "operator": "Like"}]}}));
        let error = labels(Some(&wrong)).unwrap_err().to_string();
        assert!(error.contains("spec.discovery.selector") && error.contains("Like (team)"), "{error}");
    }
}
