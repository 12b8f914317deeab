//! SLO: an objective, its indicator and window, and what its status says about the budget.

pub mod alerting;
pub mod indicator;
pub mod status;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Conditioned;
use super::duration::PromDuration;
pub use alerting::{Alerting, BurnTier, BurnWindow, NoDataAlert};
pub use indicator::{Availability, EventUnit, Events, Indicator, Instances, Latency, Metric, Ratio, TimeUnit};
pub use status::{BudgetStatus, BurnRates, Coverage, GroupStatus, SloProblem, SloStatus, State};

/// A service level objective: how much of what a service does must be good, over which window. It becomes exact
/// recording rules and burn rate alerts in every Prometheus whose MonitoringStack selects this object; the status says
/// how much of the error budget is left.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "evenkeel.dev",
    version = "v1alpha1",
    kind = "SLO",
    plural = "slos",
    singular = "slo",
    namespaced,
    status = "SloStatus",
    category = "evenkeel",
    derive = "PartialEq",
    doc = "An SLO (service level objective) says how much of what a service does must be good over a window. It becomes exact recording rules and burn rate alerts, and its status says how much error budget is left.",
    printcolumn(name = "Service", type_ = "string", json_path = ".spec.service"),
    printcolumn(name = "Objective", type_ = "number", description = "Percent", json_path = ".spec.objective"),
    printcolumn(name = "Window", type_ = "string", json_path = ".status.window"),
    printcolumn(
        name = "Current",
        type_ = "string",
        description = "Percent that was good in the window",
        json_path = ".status.current"
    ),
    printcolumn(
        name = "Budget",
        type_ = "string",
        description = "Error budget that is left",
        json_path = ".status.budget.remaining"
    ),
    printcolumn(
        name = "Burn",
        type_ = "string",
        description = "Burn rate of the last hour; 1x spends the budget exactly in the window",
        json_path = ".status.burnRates.oneHour"
    ),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Exhaustion", type_ = "string", priority = 1, json_path = ".status.exhaustion"),
    printcolumn(
        name = "Message",
        type_ = "string",
        priority = 1,
        json_path = ".status.conditions[?(@.type==\"Ready\")].message"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct SloSpec {
    /// Name of the service that the objective is about: the label `service` of its series and alerts.
    #[schemars(length(min = 1, max = 128))]
    pub service: String,
    /// What is promised, in a sentence for people: the annotation `description` of the alerts begins with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub description: Option<String>,
    /// Percent of all events (requests, samples, slices of time) that must be good, for example 99.9. Greater than 0,
    /// less than 100, with at most 6 digits after the point.
    #[x_kube(
        validation = Rule::new("self > 0.0 && self < 100.0")
            .message("is a percentage greater than 0 and less than 100, for example 99.9: 100 leaves no error budget, and 0 promises nothing")
    )]
    pub objective: f64,
    /// The time that the objective is about.
    pub window: Window,
    /// How good and bad events are told apart and counted.
    pub indicator: Indicator,
    /// Labels of the indicator by which the objective holds separately: each combination of their values has a budget
    /// and alerts of its own, and the status shows the worst. Every series of the indicator needs these labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 1, max = 128)))]
    pub group_by: Vec<String>,
    /// The alerts. Default: page (severity critical), ticket (severity warning) and no data (severity warning).
    #[serde(default)]
    pub alerting: Alerting,
    /// The ErrorBudgetPolicy of the same namespace that says what happens as the budget is spent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_ref: Option<PolicyRef>,
    /// Names of other tools whose series are recorded as well, so that dashboards made for them work unchanged:
    /// `sloth` adds up to 15 rules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub compatibility: Vec<Compatibility>,
}

/// The time that an objective is about: exactly one of rolling and calendar.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.rolling) != has(self.calendar)")
        .message("set exactly one of rolling (for example 30d) and calendar (week, month or quarter)"),
    validation = Rule::new("has(self.calendar) == has(self.timeZone)")
        .message("a calendar window needs a timeZone, for example Europe/Paris or UTC; a rolling one takes none")
)]
pub struct Window {
    /// The last so much time, up to now: 30d, for example. From 1h to 92d.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("!(self in ['0', '0ms', '0s', '0m', '0h', '0d', '0w', '0y'])").message("a window of 0 holds no events: write for example 30d"))]
    pub rolling: Option<PromDuration>,
    /// The present week (from Monday), month or quarter, in `timeZone`. The budget is whole again when it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calendar: Option<Calendar>,
    /// IANA name of the time zone of a calendar window, for example Europe/Paris or UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: Option<String>,
}

/// A period of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Calendar {
    Week,
    Month,
    Quarter,
}

/// A tool whose series are recorded as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Compatibility {
    Sloth,
}

/// An ErrorBudgetPolicy of the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyRef {
    /// Name of the ErrorBudgetPolicy.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

impl Conditioned for SLO {
    fn conditions(&self) -> &[Condition] {
        self.status.as_ref().map_or(&[], |status| &status.conditions)
    }
    fn observed_generation(&self) -> Option<i64> {
        self.status.as_ref().and_then(|status| status.observed_generation)
    }
}
