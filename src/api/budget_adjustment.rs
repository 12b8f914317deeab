//! BudgetAdjustment: a period that budgets leave out, or a share that they get back.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Conditioned;
use super::common::{Conditions, conditions_schema};
use super::duration::PromDuration;

/// Leaves a period out of error budgets, or gives a share of them back. It changes the arithmetic of the budget, and the
/// status of the SLO names it; the recorded series stay as they are.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "evenkeel.dev",
    version = "v1alpha1",
    kind = "BudgetAdjustment",
    namespaced,
    status = "BudgetAdjustmentStatus",
    shortname = "badj",
    category = "evenkeel",
    derive = "PartialEq",
    doc = "A BudgetAdjustment leaves a period out of error budgets (maintenance), or gives a share of them back (a reset after an incident).",
    printcolumn(name = "SLOs", type_ = "string", json_path = ".spec.slos"),
    printcolumn(name = "Cause", type_ = "string", json_path = ".spec.cause"),
    printcolumn(name = "Start", type_ = "string", json_path = ".spec.exclude.start"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.exclude) != has(self.giveBack)")
        .message("set exactly one of exclude (a period that does not count) and giveBack (a share of the budget)")
)]
pub struct BudgetAdjustmentSpec {
    /// Names of SLOs of this namespace.
    #[schemars(length(min = 1, max = 64))]
    pub slos: Vec<String>,
    /// Events of this period count for nothing, neither good nor bad.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclude: Option<Exclude>,
    /// A share of the whole budget that may be spent once more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub give_back: Option<GiveBack>,
    /// Why, in a word: maintenance, incident. Reports add up by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub cause: Option<String>,
}

/// A period that does not count, once or again and again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Exclude {
    /// When it begins (for the first time).
    pub start: Time,
    /// How long it lasts, at most 31d. Every step of 5m that it touches is left out.
    pub duration: PromDuration,
    /// Again and again. Default: once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeat: Option<Repeat>,
}

/// How often a period comes again, at the same time of the day in a time zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Repeat {
    /// Every day, week or month (on its last day, where a month is too short).
    pub every: Every,
    /// IANA name of the time zone in which the time of the day stays the same. Default: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: Option<String>,
    /// No period begins at this time or later. Default: without end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
}

/// How often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Every {
    Day,
    Week,
    Month,
}

/// A share of the whole budget.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GiveBack {
    /// In percent of the whole budget, more than 0, at most 1000.
    #[schemars(range(min = 0, max = 1000))]
    pub percent: f64,
    /// When: it counts for as long as this moment lies in the window.
    pub at: Time,
}

/// To which SLOs it applies.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BudgetAdjustmentStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Reconciling, Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Conditions,
    /// The SLOs whose present window it touches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub applied_to: Vec<String>,
}

impl Conditioned for BudgetAdjustment {
    fn conditions(&self) -> &[Condition] {
        self.status.as_ref().map_or(&[], |status| &status.conditions)
    }
    fn observed_generation(&self) -> Option<i64> {
        self.status.as_ref().and_then(|status| status.observed_generation)
    }
}
