//! The part of a MonitoringStack that is about the rules that ship with Evenkeel.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Which of the rules that ship are loaded, and at which thresholds they alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RulesSpec {
    /// Whether rules that ship are loaded at all. Default: true.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Alerts and groups to leave out, by name: `HPAMaxedOut`, `nodes`. What a group records goes with the group, not
    /// with its alerts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 63)))]
    pub disabled: Vec<String>,
    /// Groups to load although this stack runs no exporter for them, since somebody else does: `databases`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), inner(length(min = 1, max = 63)))]
    pub include: Vec<String>,
    /// Thresholds by alert: `HighLatency: {warning: 500ms, critical: 1s}`. Ratios are 0.05 or 5%, durations 500ms or
    /// 2d, sizes 10Gi, counts and rates a second plain numbers. Every alert has `for`: how long it must hold.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 200))]
    pub thresholds: BTreeMap<String, BTreeMap<String, ThresholdValue>>,
    /// Where the runbook pages lie: `runbook_url` is this and `/<alert>.md`. Default: the pages of this project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^https?://"), length(max = 512))]
    pub runbooks: Option<String>,
}

impl Default for RulesSpec {
    fn default() -> Self {
        Self { enabled: true, disabled: vec![], include: vec![], thresholds: BTreeMap::new(), runbooks: None }
    }
}

fn yes() -> bool {
    true
}

/// A number, or a text with a unit. Which of them is right the alert says, hence no type here: an object that cannot
/// be read would be worse than a message that names the value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ThresholdValue(pub serde_json::Value);

impl JsonSchema for ThresholdValue {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ThresholdValue".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"x-kubernetes-preserve-unknown-fields": true})
    }
}
