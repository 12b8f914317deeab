//! AlertRule: alerting and recording rules as a person writes them.

mod rule_test;

pub use rule_test::{AlertCheck, ExpectedSample, InputSeries, RuleTest, ValueCheck};

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Conditioned;
use super::common::{Conditions, conditions_schema};
use super::duration::PromDuration;

/// Alerting and recording rules that become live in every Prometheus, or Loki, whose MonitoringStack selects this object.
/// They are evaluated in the order in which they are written, as one rule group named `<namespace>/<name>`. A rule
/// that is wrong is refused alone: the others become live, its last good version stays, and the status names it.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "evenkeel.dev",
    version = "v1alpha1",
    kind = "AlertRule",
    namespaced,
    status = "AlertRuleStatus",
    shortname = "arule",
    category = "evenkeel",
    derive = "PartialEq",
    doc = "AlertRule holds alerting and recording rules, which become live in Prometheus within seconds.",
    printcolumn(
        name = "Accepted",
        type_ = "integer",
        description = "Rules that were found good",
        json_path = ".status.accepted"
    ),
    printcolumn(
        name = "Refused",
        type_ = "integer",
        description = "Rules that were refused; status.rules says why",
        json_path = ".status.refused"
    ),
    printcolumn(
        name = "Loaded",
        type_ = "string",
        description = "Whether Prometheus confirmed the accepted rules",
        json_path = ".status.conditions[?(@.type==\"Loaded\")].status"
    ),
    printcolumn(
        name = "Firing",
        type_ = "integer",
        description = "Alerts of these rules that fire now",
        json_path = ".status.firing"
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        priority = 1,
        json_path = ".status.conditions[?(@.type==\"Ready\")].message"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.source) || self.source != 'logs' || self.rules.all(r, has(r.alert))")
        .message("source: logs takes alerts only: what a rule over logs records would be in no Prometheus"),
    validation = Rule::new("!has(self.source) || self.source != 'logs' || !self.rules.exists(r, has(r.keepFiringFor))")
        .message("source: logs knows no keepFiringFor: Loki would leave it out"),
    validation = Rule::new("!has(self.source) || self.source != 'logs' || !self.rules.exists(r, has(r.baseline))")
        .message("source: logs knows no baseline: Loki keeps no history of an expression; use tiers, or a threshold in the expression"),
    validation = Rule::new("!has(self.source) || self.source != 'logs' || !has(self.tests)")
        .message("source: logs takes no tests: promtool runs them, and knows no LogQL; remove them")
)]
pub struct AlertRuleSpec {
    /// What the expressions are about. `metrics` (the default): PromQL, evaluated by Prometheus. `logs`: LogQL, evaluated
    /// by Loki; alerts only, without keepFiringFor.
    #[serde(default, skip_serializing_if = "RuleSource::is_metrics")]
    pub source: RuleSource,
    /// How often the rules are evaluated, for example 15s. Default: the evaluation interval of the stack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<PromDuration>,
    /// Labels that every rule below gets. A rule's own labels win.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub labels: BTreeMap<String, String>,
    /// The rules, in the order of their evaluation.
    #[schemars(length(min = 1, max = 200))]
    pub rules: Vec<RuleSpec>,
    /// Unit tests of these rules, over series that you write. `evenkeel check` runs them with promtool, on your machine
    /// or in CI, against the rules as they are compiled; in the cluster a Job in the namespace of the first stack that
    /// selects this object runs them, with the promtool of its Prometheus. Until they have passed, and while one fails,
    /// the version before stays live.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub tests: Vec<RuleTest>,
}

/// What rules are about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RuleSource {
    /// PromQL, evaluated by Prometheus.
    #[default]
    Metrics,
    /// LogQL, evaluated by Loki.
    Logs,
}

impl RuleSource {
    fn is_metrics(&self) -> bool {
        *self == Self::Metrics
    }

    /// The program that evaluates them, as people call it.
    pub fn program(self) -> &'static str {
        match self {
            Self::Metrics => "Prometheus",
            Self::Logs => "Loki",
        }
    }
}

/// One alerting or recording rule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.alert) != has(self.record)")
        .message("set exactly one of alert (an alerting rule) and record (a recording rule)"),
    validation = Rule::new("!has(self.record) || !(has(self.__for__) || has(self.keepFiringFor) || has(self.annotations) || has(self.severity) || has(self.tiers) || has(self.baseline))")
        .message("a recording rule (record) takes expr and labels only: for, keepFiringFor, annotations, severity, tiers and baseline belong to an alert"),
    validation = Rule::new("!has(self.tiers) || !has(self.baseline)")
        .message("set one of tiers (thresholds that are known) and baseline (a threshold that follows from history)"),
    validation = Rule::new("!has(self.tiers) || !(has(self.severity) || has(self.__for__))")
        .message("with tiers, severity and for are set on each tier")
)]
pub struct RuleSpec {
    /// Name of the alert: the label `alertname` of what fires. Makes this an alerting rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub alert: Option<String>,
    /// Name of the series to record, for example `job:http_errors:ratio_rate5m`. Makes this a recording rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub record: Option<String>,
    /// PromQL, or LogQL with `source: logs`. An alert fires for every series that the expression returns; with `tiers`, for every series whose
    /// value is beyond the tier's threshold.
    #[schemars(length(min = 1, max = 16384))]
    pub expr: String,
    /// How long the expression must hold before the alert fires. Default: 0s, at once.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub for_: Option<PromDuration>,
    /// How long the alert keeps firing after the expression no longer holds. Default: 0s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_firing_for: Option<PromDuration>,
    /// Value of the label `severity`, for example critical, warning or info.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub severity: Option<String>,
    /// Labels of the alert or of the recorded series. Values of an alert may be templates.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub labels: BTreeMap<String, String>,
    /// Texts for people, for example summary, description and runbook_url. Values may be templates:
    /// `{{ $value }}`, `{{ $labels.job }}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub annotations: BTreeMap<String, String>,
    /// Several thresholds on one expression: one alert of the same name for each tier, told apart by `severity`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub tiers: Vec<Tier>,
    /// The threshold follows from the history of the expression, which is recorded for it. The alert fires for every
    /// series that is far from what was usual for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Baseline>,
}

/// What is usual, and how far from it is too far. The alert is silent until half of the window is known (with
/// seasonality: half of the days or weeks, and two at the least), and a new expression begins a new history. The
/// recorded series are `evenkeel:baseline:value`, `:expected`, `:lower` and `:upper` with the labels of the expression,
/// and `:history`: how many of the days or weeks, without seasonality of 24 parts of the window, are known. The stack's
/// `prometheus.retention` must be longer than the window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.deviations) != has(self.ratio)").message("set exactly one of deviations and ratio"),
    validation = Rule::new("!has(self.deviations) || self.deviations > 0.0").message("deviations is greater than 0"),
    validation = Rule::new("!has(self.ratio) || self.ratio > 0.0 && (self.ratio < 1.0 || has(self.direction) && self.direction == 'above')")
        .message("ratio is greater than 0, and less than 1 unless direction is above: nothing is 100 % below what is expected"),
    validation = Rule::new("!has(self.seasonality) || self.seasonality == 'none' || self.window.matches('^([0-9]+w)?([0-9]+d)?$')")
        .message("with seasonality, window is written in days or weeks, for example 7d or 4w")
)]
pub struct Baseline {
    /// How far back the history goes, for example 7d. From 6h to 31d; with seasonality daily whole days from 2d to 31d,
    /// weekly whole weeks from 2w to 13w. The last hour (of windows below 12h, a twelfth) does not count.
    pub window: PromDuration,
    /// Too far is this many standard deviations of the history from its mean, for example 3. A deviation below 1 % of
    /// the mean counts as 1 %.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deviations: Option<f64>,
    /// Too far is this part of the mean: 0.5 is less than half of it, or more than one and a half times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    /// Which side alerts: above, below or both. Default: both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// What is compared with: none: all of the window; daily: the hour around this time on each day of it; weekly: the
    /// same in each week of it. Days have 24 hours; a change of the clocks shifts them. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seasonality: Option<Seasonality>,
}

/// Which side of the baseline alerts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    Above,
    Below,
    #[default]
    Both,
}

/// The rhythm of what is compared with its history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Seasonality {
    #[default]
    None,
    Daily,
    Weekly,
}

/// One threshold of an alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.above) != has(self.below)").message("a tier needs exactly one of above and below"))]
pub struct Tier {
    /// Value of the label `severity`, for example critical or warning.
    #[schemars(length(min = 1, max = 63))]
    pub severity: String,
    /// The alert holds while the expression is greater than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above: Option<f64>,
    /// The alert holds while the expression is less than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<f64>,
    /// How long the threshold must be passed before the alert fires. Default: 0s, at once.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub for_: Option<PromDuration>,
    /// Labels of this tier alone, added to those of the rule.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub labels: BTreeMap<String, String>,
    /// Annotations of this tier alone, added to those of the rule.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub annotations: BTreeMap<String, String>,
}

/// What became of the rules.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AlertRuleStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Reconciling, Stalled; Accepted: every rule was found good; Loaded: Prometheus, or Loki, itself
    /// confirmed the accepted rules; TestsPassed, where there are tests: with what was expected and what there was; MatchesSeries, ten minutes
    /// after they became live: whether Prometheus has the series that the expressions want (a warning, no fault).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Conditions,
    /// Rules of the spec that were found good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<i32>,
    /// Rules of the spec that were refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<i32>,
    /// Alerts of these rules that fire now. Updated about every 15 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firing: Option<i32>,
    /// The rules that were refused, and why. Good rules are not listed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleProblem>,
    /// The stacks that select this object.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stacks: Vec<StackLoad>,
}

/// A rule that was refused.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RuleProblem {
    /// Position in `spec.rules`, from 0.
    pub index: i32,
    /// Name of the alert or of the recorded series.
    pub name: String,
    /// The field that is wrong, for example expr or annotations.summary.
    pub field: String,
    /// Position in the field, in characters from 1, where it could be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<i32>,
    /// ParseError, InvalidTemplate, InvalidLabel, InvalidName, InvalidTier, InvalidBaseline, Duplicate, TooLarge, TestsFailed, or Quarantined: Prometheus itself refused it.
    pub reason: String,
    /// What is wrong, in the words of the parser or of Prometheus, and whether an earlier version stays live.
    pub message: String,
    /// Digest of the rule that Prometheus refused: it is not tried again until the rule changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// What one stack did with the rules.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StackLoad {
    /// Namespace of the MonitoringStack.
    pub namespace: String,
    /// Name of the MonitoringStack.
    pub name: String,
    /// Rules that every ready replica of its Prometheus, or Loki, has confirmed.
    pub loaded: i32,
    /// Rules that it was given.
    pub total: i32,
    /// The shard, of 32, in which they are: ConfigMap `<stack>-rules-<shard>`; of rules over logs the file, of 8:
    /// ConfigMap `<stack>-log-rules-<shard>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<i32>,
    /// Why fewer than all are loaded, or that the stack does not keep samples for as long as a baseline looks back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl Conditioned for AlertRule {
    fn conditions(&self) -> &[Condition] {
        self.status.as_ref().map_or(&[], |status| &status.conditions)
    }
    fn observed_generation(&self) -> Option<i64> {
        self.status.as_ref().and_then(|status| status.observed_generation)
    }
}
