//! What an SLO's status says. Values are rounded texts: the status is written when what a person sees changes.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::alert_rule::StackLoad;
use crate::api::common::{Conditions, conditions_schema};

/// Where an SLO stands. With groupBy, the values are those of the group with the least budget left.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SloStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Reconciling, Stalled; Loaded: Prometheus itself confirmed the rules; Covered: the data reaches back over
    /// the whole window.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Conditions,
    /// Healthy; AtRisk: less than 25 % of the budget is left, or it burns so fast that the window ends without it;
    /// Burning: as fast as the page tier alerts; Exhausted: nothing is left; NoData.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// When the state became what it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// The window, for example 30d or month (Europe/Paris).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<String>,
    /// Percent of the events of the window that were good, rounded down. Absent when there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// The error budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<BudgetStatus>,
    /// How fast the budget is spent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burn_rates: Option<BurnRates>,
    /// How long the budget lasts at the burn rate of the last hour, rounded; absent when it does not end within the
    /// window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exhaustion: Option<String>,
    /// How much of the window the data covers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage: Option<Coverage>,
    /// Every combination of the groupBy labels, the one with the least budget first; at most 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupStatus>,
    /// While there is no data: when the values above were true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values_from: Option<Time>,
    /// What is wrong with the spec, or was found wrong with the data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<SloProblem>,
    /// The stacks that select this object.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stacks: Vec<StackLoad>,
}

/// Where a budget stands, from best to worst; NoData is beside that order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum State {
    Healthy,
    AtRisk,
    Burning,
    Exhausted,
    NoData,
}

/// The error budget: what may go wrong in the window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BudgetStatus {
    /// Percent of the budget that is left, rounded down; negative when overspent.
    pub remaining: String,
    /// The same as time: for how long everything may fail at the average traffic of the window. Negative when overspent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining_time: Option<String>,
    /// Bad events that may still happen at the traffic of the window, to two digits. Negative when overspent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining_events: Option<i64>,
    /// BudgetAdjustments that count in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub adjustments: Vec<String>,
}

/// Burn rates: 1x spends the budget exactly in the window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BurnRates {
    /// Over the last hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub one_hour: Option<String>,
    /// Over the last 6 hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub six_hours: Option<String>,
    /// Over the last 3 days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub three_days: Option<String>,
}

/// How much of the window the data covers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Coverage {
    /// Percent of the (elapsed) window for which there are points, rounded down to 0, 1, 2, 5, 10, 20 and so on, 90, 95,
    /// 99 or 100.
    #[schemars(range(min = 0, max = 100))]
    pub percent: i32,
    /// Why it is less, with numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Where one group stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GroupStatus {
    /// The groupBy labels.
    pub labels: BTreeMap<String, String>,
    /// As in the status itself.
    pub state: State,
    /// As in the status itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// Percent of the budget that is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining: Option<String>,
    /// Burn rate of the last hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burn: Option<String>,
}

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SloProblem {
    /// The field, for example indicator.ratio.errors.metric.
    pub field: String,
    /// Position in the field, in characters from 1, where it could be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<i32>,
    /// What is wrong, and what to do.
    pub message: String,
}
