//! What keeps a response from doing harm.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
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
        }
    }
}

/// What must hold besides the alert before a run acts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct OnlyIf {
    /// Asked of the Prometheus of the alert's stack, for example `sum(rate(http_requests_total{job="checkout"}[5m])) > 1`. A
    /// comparison with a number holds when every series on its left passes it; any other expression when it has
    /// series and none of them is 0. Without data nothing is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub promql: Option<String>,
}

impl OnlyIf {
    pub fn is_empty(&self) -> bool {
        self.promql.is_none()
    }
}
