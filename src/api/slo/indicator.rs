//! How an SLO tells good events from bad ones.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::PromDuration;

/// How good and bad events are told apart: exactly one of ratio, latency, availability and events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.ratio), has(self.latency), has(self.availability), has(self.events)].filter(x, x).size() == 1")
        .message("set exactly one of ratio, latency, availability and events")
)]
pub struct Indicator {
    /// Two counters: bad (or good) events, and all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ratio: Option<Ratio>,
    /// A histogram: events that took no longer than a threshold are good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// A gauge that is 1 while something works and 0 while it does not, for example `up` or `probe_success`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub availability: Option<Availability>,
    /// Two expressions of your own, for what the others cannot say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<Events>,
}

/// A selector of counters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Metric {
    /// Name and labels of a counter as in PromQL, without a range: `http_requests_total{job="checkout",code=~"5.."}`.
    #[schemars(length(min = 1, max = 4096))]
    pub metric: String,
}

/// Bad events of all, or good events of all, both counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.errors) != has(self.good)").message("a ratio needs exactly one of errors and good, beside total"))]
pub struct Ratio {
    /// The bad events. Series that do not exist yet count as 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors: Option<Metric>,
    /// The good events, where the bad ones are not counted. Series that do not exist yet count as 0: all was bad.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub good: Option<Metric>,
    /// All events, the bad ones included.
    pub total: Metric,
}

/// Events that took longer than the threshold are bad.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    /// Name and labels of the histogram, without `_bucket`: `http_request_duration_seconds{job="checkout"}`.
    #[schemars(length(min = 1, max = 4096))]
    pub histogram: String,
    /// The longest good duration, for example 200ms. A classic histogram must have a bucket with exactly this bound.
    pub threshold: PromDuration,
    /// The unit of the histogram. Default: Seconds.
    #[serde(default)]
    pub unit: TimeUnit,
    /// True for a native histogram: the share below the threshold is interpolated within one of its buckets, which
    /// are fine. Default: false, a classic histogram with `le`.
    #[serde(default)]
    pub native: bool,
}

/// Unit of a histogram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TimeUnit {
    #[default]
    Seconds,
    Milliseconds,
}

/// Time during which a gauge is 0 is bad.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Availability {
    /// Name and labels of a gauge that is 0 or 1: `up{job="checkout"}`.
    #[schemars(length(min = 1, max = 4096))]
    pub metric: String,
    /// What several series mean together. Each (default): every sample of every series is an event of its own, so that
    /// one of ten replicas down is 10 % bad. Any: a slice of time is good while at least one of them is 1. All: while
    /// every one of them is 1.
    #[serde(default)]
    pub instances: Instances,
    /// Length of a slice of time, for Any and All: at least 10s, a divisor of 5m. Default: 30s.
    #[serde(default = "default_slice")]
    pub slice: PromDuration,
}

fn default_slice() -> PromDuration {
    PromDuration::from_secs(30)
}

/// What several 0/1 series mean together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Instances {
    #[default]
    Each,
    Any,
    All,
}

/// Two expressions in which `{{window}}` stands for the range: `sum(rate(jobs_failed_total[{{window}}]))`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Events {
    /// The bad events. No result counts as 0 where total has one.
    #[schemars(length(min = 1, max = 8192))]
    pub errors: String,
    /// All events, the bad ones included.
    #[schemars(length(min = 1, max = 8192))]
    pub total: String,
    /// Whether the expressions yield events per second, as `rate` does (PerSecond, the default), or the number of
    /// events within the window, as `increase` and `count_over_time` do (Count). The same for both.
    #[serde(default)]
    pub unit: EventUnit,
}

/// What an expression yields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum EventUnit {
    #[default]
    PerSecond,
    Count,
}
