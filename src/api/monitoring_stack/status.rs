//! What a MonitoringStack tells of itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::common::{Conditions, conditions_schema};

/// What was observed of the stack.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MonitoringStackStatus {
    /// The generation of the spec that this status speaks of; -1 before the first look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub components: Vec<ComponentStatus>,
    /// The rules of the AlertRules that this stack selects, for Prometheus and for Loki together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<RuleCounts>,
    /// The targets of Prometheus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub targets: Option<TargetCounts>,
    /// Ready, Reconciling and Stalled; RulesSelected, SLOsCovered (samples are kept for as long as every SLO looks back),
    /// TargetsFound, RoutesValid and DashboardsValid.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Conditions,
}

/// One component, as it was observed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ComponentStatus {
    /// prometheus, alertmanager, loki, log-agent, log-gateway, jaeger, grafana, or an exporter: node-exporter,
    /// kube-state-metrics, postgres-exporter, mysql-exporter, redis-exporter, kafka-exporter, blackbox-exporter.
    pub name: String,
    /// Version that the component itself reports, or else the tag of the image that its pods run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Pods that are ready.
    pub ready: i32,
    /// Pods that should be.
    pub desired: i32,
    /// Ready and desired pods, for example 2/2.
    pub pods: String,
    /// Where it answers within the cluster.
    pub url: String,
    /// Where its data lies.
    pub storage: String,
    /// Whether every pod has loaded the present configuration.
    pub config_loaded: bool,
    /// What is not as it should be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Rules of a stack by their state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RuleCounts {
    /// AlertRules that this stack selects.
    pub selected: i64,
    /// Rules in them that were accepted.
    pub accepted: i64,
    /// Rules in them that were refused; the AlertRule's own status says why.
    pub rejected: i64,
    /// Accepted rules that every Prometheus, or Loki, of the stack has loaded.
    pub loaded: i64,
    /// SLOs that this stack selects. Their rules are not counted above: the SLO's own status says whether they are loaded.
    #[serde(default)]
    pub slos: i64,
    /// Rules that ship with Evenkeel, of the groups that this stack has. They are not counted above.
    #[serde(default)]
    pub shipped: i64,
    /// Those of them that every Prometheus of the stack has loaded.
    #[serde(default)]
    pub shipped_loaded: i64,
}

/// Targets by their state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetCounts {
    /// Targets that answered their last scrape.
    pub up: i64,
    /// Targets that did not.
    pub down: i64,
}
