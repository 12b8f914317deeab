//! ErrorBudgetPolicy: what happens as error budgets are spent.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Conditioned;
use super::change_freeze::Workload;
use super::common::{Conditions, conditions_schema};
use super::duration::PromDuration;

/// What happens as the error budgets of the SLOs of this namespace that name this policy are spent.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "evenkeel.dev",
    version = "v1alpha1",
    kind = "ErrorBudgetPolicy",
    plural = "errorbudgetpolicies",
    namespaced,
    status = "ErrorBudgetPolicyStatus",
    shortname = "ebp",
    category = "evenkeel",
    derive = "PartialEq",
    doc = "An ErrorBudgetPolicy says what happens as error budgets are spent: who is told, what must be reviewed, and which workloads are frozen.",
    printcolumn(name = "Worst", type_ = "string", json_path = ".status.worst"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct ErrorBudgetPolicySpec {
    /// What happens at which remaining budget, from much of it to little.
    #[schemars(length(min = 1, max = 16))]
    pub thresholds: Vec<Threshold>,
    /// Percent of the budget that must be left again before a freeze ends. Default: 5.
    #[serde(default = "default_thaw", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub thaw_above: Option<f64>,
    /// What happens to an SLO without data. Hold (default): what is in force stays. Release: nothing is in force.
    /// Enforce: as though nothing were left.
    #[serde(default)]
    pub on_no_data: OnNoData,
    /// How the budget is meant to be spent, in percent by cause, 100 in all: bugs, performance, features, reserve, or
    /// names of your own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub allocation: BTreeMap<String, f64>,
    /// A report about the budgets, at times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Report>,
}

fn default_thaw() -> Option<f64> {
    Some(5.0)
}

/// What happens at one remaining budget.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Threshold {
    /// In force when this percentage of the budget, or less, is left. 0: the budget is spent.
    #[schemars(range(min = -1000, max = 100))]
    pub remaining_below: f64,
    /// How long so little must be left. Default: 0s, at once.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub for_: Option<PromDuration>,
    /// NotificationChannels of this namespace that are told, once when it comes into force and once when it ends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub notify: Vec<String>,
    /// How urgent it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// Changes should be reviewed by a person: said in the status and in the message.
    #[serde(default)]
    pub require_review: bool,
    /// Refuse changes of workloads until the budget recovers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freeze: Option<Freeze>,
}

/// The workloads whose changes are refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Freeze {
    /// Workloads of this namespace.
    #[schemars(length(min = 1, max = 64))]
    pub workloads: Vec<Workload>,
}

/// P1 is the most urgent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Priority {
    P1,
    P2,
    P3,
    P4,
}

/// What happens to an SLO without data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnNoData {
    #[default]
    Hold,
    Release,
    Enforce,
}

/// A report about the budgets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// When, as a cron expression: `0 9 1 * *`.
    #[schemars(length(min = 9, max = 128))]
    pub schedule: String,
    /// IANA name of the time zone of the schedule. Default: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: Option<String>,
    /// NotificationChannels of this namespace to which it is sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub notify: Vec<String>,
}

/// Which SLOs stand at which threshold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErrorBudgetPolicyStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Reconciling, Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Conditions,
    /// The SLO with the least budget, and what is left of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worst: Option<String>,
    /// Every SLO that names this policy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slos: Vec<SloStanding>,
    /// The report that was made last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_report: Option<LastReport>,
    /// When the next one is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_report: Option<Time>,
}

/// A report that was made, in ConfigMap `<policy>-report`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastReport {
    /// When it was due.
    pub at: Option<Time>,
    /// When the one before it was due: where its period begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Time>,
    /// NotificationChannels that have it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sent_to: Vec<String>,
}

/// Where one SLO stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SloStanding {
    /// Name of the SLO.
    pub name: String,
    /// Percent of the budget that is left, as in its own status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining: Option<String>,
    /// The thresholds that were passed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passed: Vec<Passed>,
    /// The most urgent priority of the thresholds in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// A threshold in force wants changes to be reviewed by a person.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub require_review: bool,
    /// The ChangeFreeze of a threshold in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freeze: Option<String>,
    /// Who was told that a threshold is in force, and not yet that it ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub told: Vec<Told>,
    /// Who spent the budget, where the policy allots it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spending: Vec<CauseSpending>,
}

/// Channels that know of a threshold in force.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    /// Which threshold: its remainingBelow.
    pub remaining_below: f64,
    /// Names of NotificationChannels.
    pub channels: Vec<String>,
}

/// What one cause spent, in percent of the whole budget.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CauseSpending {
    /// A name of the allocation, another one, or unattributed.
    pub cause: String,
    /// Whole percent that it was meant to spend.
    pub allotted: i32,
    /// Whole percent that it spent.
    pub spent: i32,
}

/// A threshold that was passed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Passed {
    /// Which: its remainingBelow.
    pub remaining_below: f64,
    /// When it was passed.
    pub since: Time,
    /// When it came into force; absent while its `for` runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_force_since: Option<Time>,
    /// What was left of the budget then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining: Option<String>,
}

impl Conditioned for ErrorBudgetPolicy {
    fn conditions(&self) -> &[Condition] {
        self.status.as_ref().map_or(&[], |status| &status.conditions)
    }
    fn observed_generation(&self) -> Option<i64> {
        self.status.as_ref().and_then(|status| status.observed_generation)
    }
}
