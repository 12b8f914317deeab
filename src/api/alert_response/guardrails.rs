//! What keeps a response from doing harm.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::duration::PromDuration;

/// Limits that keep a response from doing harm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Guardrails {
    /// Time after a run during which the same alert starts no other, and during which no run that acted on the target
    /// may be followed by another. Default 15m.
    pub cooldown: PromDuration,
    /// How many runs may act while one alert keeps firing. Default 2.
    #[schemars(range(min = 1, max = 10))]
    pub attempts: i32,
    /// How many runs of this response may act within an hour, all its alerts together. Default 4.
    #[schemars(range(min = 1, max = 60))]
    pub max_runs_per_hour: i32,
    /// Act only while so many replicas of the target are available: a number, or a share of the wanted ones such as `50%`,
    /// rounded up. Default: no limit, since what needs a repair is often not available at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_ready: Option<IntOrString>,
    /// Times in which people work on the system: alerts are recorded, and nothing is touched.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub maintenance_windows: Vec<MaintenanceWindow>,
    /// What to do about a workload that GitOps keeps. Default Respect.
    #[serde(skip_serializing_if = "is_default")]
    pub gitops: Gitops,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What to do about a workload that Argo CD or Flux keeps as it is in Git.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Gitops {
    /// Steps that change what is in Git (rollback, scale) are refused: the change would be put back. Those that Git does
    /// not speak of (restart, deletePod, pauseRollout, cordon, job) are done.
    #[default]
    Respect,
    /// All steps are done, for a source that does not put back what they change.
    Ignore,
}

/// A time that comes again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MaintenanceWindow {
    /// When it begins, in five fields: minute, hour, day of the month, month, day of the week. `0 2 * * 6` is every
    /// Saturday at 2:00.
    #[schemars(length(min = 9, max = 256))]
    pub cron: String,
    /// How long it lasts, up to 31d.
    pub duration: PromDuration,
    /// IANA name of the time zone of `cron`, for example Europe/Paris. Default UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: Option<String>,
}

impl Guardrails {
    /// The number of available replicas that `minReady` asks for of so many wanted ones; `None` for a value that makes no
    /// sense.
    pub fn min_ready_of(&self, wanted: i32) -> Option<i32> {
        match self.min_ready.as_ref()? {
            IntOrString::Int(number) => Some(*number).filter(|number| *number >= 0),
            IntOrString::String(text) => {
                let percent: i64 =
                    text.strip_suffix('%')?.parse().ok().filter(|percent| (0..=100).contains(percent))?;
                i32::try_from((i64::from(wanted) * percent + 99) / 100).ok()
            }
        }
    }
}

impl Default for Guardrails {
    fn default() -> Self {
        Self {
            cooldown: PromDuration::from_mins(15),
            attempts: 2,
            max_runs_per_hour: 4,
            min_ready: None,
            maintenance_windows: vec![],
            gitops: Gitops::Respect,
        }
    }
}

/// What must hold besides the alert before a run acts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct OnlyIf {
    /// Asked of the Prometheus of the alert's stack, for example `sum(rate(http_requests_total{job="checkout"}[5m])) > 1`. A
    /// comparison with a number holds when every series on its left passes it; any other expression when it has
    /// series and none of them is 0. Without data nothing is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub promql: Option<String>,
    /// Act only while the error budget of an SLO burns. Where nobody has measured it, nothing is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slo: Option<SloBurns>,
}

impl OnlyIf {
    pub fn is_empty(&self) -> bool {
        self.promql.is_none() && self.slo.is_none()
    }
}

/// An SLO whose budget must burn faster than this.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SloBurns {
    /// Name of an SLO in this namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Burn rate over the last 5 minutes, of the group with the least budget left: 1 spends the budget exactly in the SLO's
    /// window. It must be above this.
    #[x_kube(validation = Rule::new("self >= 0.0").message("burnAbove is a burn rate, for example 6: 0 or more"))]
    pub burn_above: f64,
}

/// An SLO whose budget must burn slower than this.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SloCalm {
    /// Name of an SLO in this namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Burn rate over the last 5 minutes, of the group with the least budget left: 1 spends the budget exactly in the SLO's
    /// window. It must be below this.
    #[x_kube(validation = Rule::new("self > 0.0").message("burnBelow is a burn rate, for example 1: more than 0"))]
    pub burn_below: f64,
}

/// Which closed runs are kept. One by which repeats of its alert are recognised, or that still counts for a limit, is kept
/// in any case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RunHistory {
    /// So many at most; the oldest go. Default 50.
    #[schemars(range(min = 1, max = 500))]
    pub keep: i32,
    /// None that was closed longer ago than this. Default 30d.
    pub max_age: PromDuration,
}

impl Default for RunHistory {
    fn default() -> Self {
        Self { keep: 50, max_age: PromDuration::from_mins(30 * 24 * 60) }
    }
}
