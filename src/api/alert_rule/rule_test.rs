//! Unit tests within an AlertRule.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::duration::PromDuration;

/// One unit test: series as they come in, and what the rules make of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.alerts) || has(self.values)").message("a test expects something: set alerts or values"))]
pub struct RuleTest {
    /// What the test shows, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub name: Option<String>,
    /// Between two samples of the series, and between two evaluations of the rules. Default: 1m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<PromDuration>,
    /// The series that come in, from time 0 on.
    #[schemars(length(min = 1, max = 50))]
    pub series: Vec<InputSeries>,
    /// Alerts that are expected.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub alerts: Vec<AlertCheck>,
    /// Results of expressions that are expected, for example of recording rules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub values: Vec<ValueCheck>,
}

/// A series of a test.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InputSeries {
    /// Its name and labels, for example `http_requests_total{job="checkout",code="500"}`.
    #[schemars(length(min = 1, max = 2048))]
    pub series: String,
    /// Its samples in promtool's notation: `0+20x30` is 0 and thirty more, each 20 above the one before; `5x3` is 5
    /// four times; `_` is a missing sample and `stale` the end of the series.
    #[schemars(length(min = 1, max = 16384))]
    pub values: String,
}

/// Which alerts of a name fire at a time. With neither firing nor notFiring, none may fire.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AlertCheck {
    /// Time from the beginning of the series.
    pub at: PromDuration,
    /// Name of an alert of these rules.
    #[schemars(length(min = 1, max = 256))]
    pub alert: String,
    /// For each of these label sets an alert must fire that has all its labels; it may have others. `{}` is any alert.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub firing: Vec<BTreeMap<String, String>>,
    /// No alert may fire that has all labels of one of these sets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub not_firing: Vec<BTreeMap<String, String>>,
}

/// What an expression is at a time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ValueCheck {
    /// Time from the beginning of the series.
    pub at: PromDuration,
    /// PromQL.
    #[schemars(length(min = 1, max = 16384))]
    pub expr: String,
    /// All series of the result, in any order. None: the result is empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub samples: Vec<ExpectedSample>,
}

/// One series of a result.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExpectedSample {
    /// All its labels; its name, `__name__`, may be left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub labels: BTreeMap<String, String>,
    /// Its value, but for a millionth of it.
    pub value: f64,
}
