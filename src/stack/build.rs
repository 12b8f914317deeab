//! A checked stack to its objects. Pure.

use serde::Serialize;

use super::component::{alertmanager, exporters, grafana, jaeger, logs, loki, prometheus};
use super::names;
use super::validate::Stack;
use super::workloads::Component;
use crate::k8s::manifests::{Built, Manifests};

/// What should be in the cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    pub manifests: Manifests<Built>,
    pub revisions: Revisions,
    pub parts: Vec<Part>,
}

/// A component of the plan, as the status speaks of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    pub name: &'static str,
    /// Where it answers within the cluster.
    pub url: String,
    /// Where its data lies.
    pub storage: String,
}

/// Digests of the configurations, by which a running component tells which one it has loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revisions {
    /// One for each shard of Prometheus.
    pub prometheus: Vec<String>,
    pub alertmanager: Option<String>,
    /// Of all dashboards, which Grafana loads by itself once the kubelet has brought them.
    pub dashboards: Option<String>,
}

impl Revisions {
    /// Of the configuration that a component should load by itself; `None` for one that takes it by new pods.
    pub fn of(&self, component: Component) -> Option<&str> {
        match component {
            Component::Prometheus(shard) => self.prometheus.get(usize::try_from(shard).ok()?).map(String::as_str),
            Component::Alertmanager => self.alertmanager.as_deref(),
            Component::Part(_) => None,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("cannot write a configuration as YAML: {0}")]
    Yaml(#[from] serde_saphyr::ser_error::Error),
    #[error("cannot write a configuration as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// Everything that the stack needs.
pub fn build(stack: &Stack) -> Result<Plan, BuildError> {
    let mut built = Plan::default();
    if let Some(wanted) = &stack.prometheus {
        let (manifests, revisions) = prometheus::build(stack, wanted)?;
        built.manifests.extend(manifests);
        built.revisions.prometheus = revisions;
        built.parts.push(stack.part(names::PROMETHEUS, names::PROMETHEUS_PORT, &wanted.data));
    }
    if let Some(wanted) = &stack.alertmanager {
        let (manifests, revision) = alertmanager::build(stack, wanted)?;
        built.manifests.extend(manifests);
        built.revisions.alertmanager = Some(revision);
        built.parts.push(stack.part(names::ALERTMANAGER, names::ALERTMANAGER_PORT, &wanted.data));
    }
    if let Some(wanted) = &stack.loki {
        loki::build(stack, wanted, &mut built)?;
    }
    if let Some(wanted) = &stack.logs {
        logs::build(stack, wanted, &mut built)?;
    }
    if let Some(wanted) = &stack.jaeger {
        jaeger::build(stack, wanted, &mut built)?;
    }
    if let Some(wanted) = &stack.grafana {
        grafana::build(stack, wanted, &mut built)?;
    }
    if let Some(wanted) = &stack.exporters {
        exporters::build(stack, wanted, &mut built)?;
    }
    Ok(built)
}

/// YAML as the YAML 1.1 parsers of Prometheus and Alertmanager read it: what looks like a number or `yes` is quoted.
pub fn yaml<T: Serialize>(value: &T) -> Result<String, BuildError> {
    // One line for each value, so that a difference between two revisions is easy to see.
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    Ok(serde_saphyr::to_string_with_options(value, options)?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::yaml;

    #[test]
    fn text_that_looks_like_something_else_stays_text() {
        let values = [
            "yes",
            "on",
            "null",
            "~",
            "",
            "1",
            "0x1F",
            "1e3",
            "1_000",
            "12:30:45",
            "true",
            "2026-01-01",
            "- a",
            "a: b",
            "a #b",
            "#a",
            "{a}",
            "[a]",
            "*a",
            "&a",
            "!a",
            "%a",
            "@a",
            "`a",
            "'a'",
            "\"a\"",
            " a ",
            "a\nb",
            "a\tb",
            "é",
            "a\\b",
            "=",
            "<<",
            ">",
            "|",
            "?",
            "-",
            ":",
            "...",
            "---",
            ".inf",
            "$1:$2",
            "(.+)",
        ];
        let map: BTreeMap<String, String> =
            values.iter().enumerate().map(|(i, v)| (format!("k{i}"), (*v).to_owned())).collect();
        let text = yaml(&map).unwrap();
        let back: BTreeMap<String, String> = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(back, map, "{text}");
        for line in text.lines() {
            let plain = line.split_once(": ").map_or("", |(_, v)| v);
            assert!(!["yes", "on", "1", "1_000", "12:30:45", "0x1F", "2026-01-01", "="].contains(&plain), "{line}");
        }
    }
}
