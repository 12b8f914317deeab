//! The alerts of an SLO.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::PromDuration;

/// The alerts of an SLO: `ErrorBudgetBurn` in two tiers, told apart by `severity`, and `SLONoData`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Alerting {
    /// A burn that somebody must stop now. Default: severity critical; burn rate 14.4 over 1h and 5m, or 6 over 6h and
    /// 30m, for a window of 30d.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<BurnTier>,
    /// A burn that can wait for working hours. Default: severity warning; burn rate 3 over 1d and 2h, or 1 over 3d and
    /// 6h, for a window of 30d.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<BurnTier>,
    /// The indicator has no data. Default: severity warning, after 10m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_data: Option<NoDataAlert>,
    /// Events (requests, samples, slices) that must have been counted within the long window of a burn before it
    /// alerts, so that the one failed request of a quiet night wakes nobody. Default: 0, no floor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub minimum_events: Option<i64>,
    /// Labels of every alert of this SLO. Values may be templates.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub labels: BTreeMap<String, String>,
    /// Annotations of every alert of this SLO. Values may be templates. `summary` and `description` are written for
    /// you where they are absent here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub annotations: BTreeMap<String, String>,
    /// Where to read what to do: the annotation `runbook_url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub runbook_url: Option<String>,
    /// Where to look at the SLO: the annotation `dashboard_url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub dashboard_url: Option<String>,
}

/// One tier of burn rate alerts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BurnTier {
    /// No alerts of this tier.
    #[serde(default)]
    pub disabled: bool,
    /// The label `severity`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub severity: Option<String>,
    /// Burn rates and the windows over which they must hold; any of them alerts. Default: those of the tier, their
    /// lengths scaled with the window of the SLO.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub windows: Vec<BurnWindow>,
    /// Labels of this tier alone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub labels: BTreeMap<String, String>,
    /// Annotations of this tier alone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub annotations: BTreeMap<String, String>,
}

/// A burn rate that must hold over a long window, and over a short one, which ends the alert soon after the burn ends.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BurnWindow {
    /// The burn rate: 1 spends the budget exactly in the window of the SLO.
    pub factor: f64,
    /// The long window, at least 5m, no longer than the window of the SLO.
    pub long: PromDuration,
    /// The short window, at least 5m, shorter than the long one. Default: a twelfth of the long one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub short: Option<PromDuration>,
}

/// The alert about an indicator without data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NoDataAlert {
    /// No such alert.
    #[serde(default)]
    pub disabled: bool,
    /// The label `severity`. Default: warning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub severity: Option<String>,
    /// How long there must be no data. Default: 10m.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub for_: Option<PromDuration>,
    /// Labels of this alert alone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub labels: BTreeMap<String, String>,
}
