//! AlertResponse: which alerts lead to which steps on which workload, within which limits, and how it is proved.

mod guardrails;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::guardrails::{Guardrails, MaintenanceWindow, OnlyIf};
use super::Conditioned;
use super::common::{Conditions, conditions_schema};
use super::duration::PromDuration;
use super::response_run::{Phase, Verdict};

/// What happens when an alert fires: which alerts, which workload, which steps, and how the repair is proved.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "evenkeel.dev",
    version = "v1alpha1",
    kind = "AlertResponse",
    namespaced,
    status = "AlertResponseStatus",
    shortname = "aresp",
    category = "evenkeel",
    derive = "PartialEq",
    doc = "An AlertResponse says what is done when an alert fires: which alerts it matches, which workload of its own namespace is repaired, by which steps, within which limits, and how the repair is proved. It observes until its author writes `mode: Act`.",
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode"),
    printcolumn(name = "Alert", type_ = "string", json_path = ".spec.match.alert"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Last-Run", type_ = "string", json_path = ".status.lastRun.phase"),
    printcolumn(name = "Verdict", type_ = "string", json_path = ".status.lastRun.verdict"),
    printcolumn(name = "Suspended", type_ = "boolean", json_path = ".spec.suspend", priority = 1),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].message",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.mode != 'Act' || (has(self.serviceAccountName) && size(self.serviceAccountName) > 0)")
        .message("mode Act needs serviceAccountName: the steps run with the rights of that ServiceAccount"),
    validation = Rule::new("!has(self.guardrails) || !has(self.guardrails.minReady) || (type(self.guardrails.minReady) == int ? self.guardrails.minReady >= 0 : self.guardrails.minReady.matches('^([0-9]|[1-9][0-9]|100)%$'))")
        .message("guardrails.minReady is a number of replicas or a share of them, for example 50%")
)]
pub struct AlertResponseSpec {
    /// Observe (default): record in a ResponseRun what would be done, and touch nothing. Act: do it.
    #[serde(default)]
    pub mode: Mode,
    /// Which alerts lead to a run.
    #[serde(rename = "match")]
    pub match_: Match,
    /// The workload that the steps repair; always in the namespace of this AlertResponse.
    pub target: Target,
    /// ServiceAccount of this namespace under which the steps run. It needs `patch` on what the steps change:
    /// Deployments, and HorizontalPodAutoscalers where one scales the target. Required by mode Act.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub service_account_name: Option<String>,
    /// What is done, in this order. After a step that failed or was refused, later steps that change the workload
    /// are skipped; notify steps still run. Verification begins when all steps are through.
    #[schemars(length(min = 1, max = 16))]
    pub steps: Vec<Step>,
    /// What must hold besides the alert before a run acts.
    #[serde(default, skip_serializing_if = "OnlyIf::is_empty")]
    pub only_if: OnlyIf,
    /// Limits that keep a response from doing harm.
    #[serde(default)]
    pub guardrails: Guardrails,
    /// How the repair is proved.
    #[serde(default)]
    pub verify: Verify,
    /// After so many runs in a row that acted and did not help the response suspends itself, until its spec is changed.
    /// Default 3.
    #[serde(default = "three")]
    #[schemars(range(min = 1, max = 20))]
    pub suspend_after: i32,
    /// True: alerts are still recorded as runs, and every one of them is skipped.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
}

fn three() -> i32 {
    3
}

/// Whether a response acts or only records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Mode {
    /// Record what would be done.
    #[default]
    Observe,
    /// Do it.
    Act,
}

/// Which alerts lead to a run. An alert must match the name, if there is one, and every matcher.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.alert) && size(self.alert) > 0) || (has(self.matchers) && size(self.matchers) > 0)")
        .message("an empty match would match every alert: give alert, or at least one matcher")
)]
pub struct Match {
    /// Name of the alert: its label `alertname`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub alert: Option<String>,
    /// Matchers on the alert's labels in Alertmanager's syntax: `severity="critical"`, `region=~"eu-.*"`,
    /// `team!="infra"`. Regular expressions are anchored. A label that is absent is the same as an empty one.
    /// Without `alert`, at least one matcher must refuse the empty value, as in a Prometheus selector.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 1024)))]
    pub matchers: Vec<String>,
}

/// The workload that is repaired.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.name) && size(self.name) > 0) != (has(self.nameFromLabel) && size(self.nameFromLabel) > 0)")
        .message("give exactly one of name and nameFromLabel")
)]
pub struct Target {
    /// Kind of the workload.
    #[serde(default)]
    pub kind: TargetKind,
    /// Name of the workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub name: Option<String>,
    /// Label of the alert that holds the workload's name. An alert without that label, or whose value is not the name
    /// of a workload in this namespace, leads to a run that is skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub name_from_label: Option<String>,
}

/// Kinds of workload that can be repaired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TargetKind {
    /// apps/v1 Deployment.
    #[default]
    Deployment,
}

impl TargetKind {
    /// As it is written in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
        }
    }
}

/// One step: exactly one action.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.rollback), has(self.restart), has(self.scale), has(self.notify)].filter(given, given).size() == 1")
        .message("a step is exactly one of rollback, restart, scale, notify")
)]
pub struct Step {
    /// Go back to the pod template of an earlier revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<Rollback>,
    /// Replace all pods, as `kubectl rollout restart` does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<Restart>,
    /// Change the number of replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<Scale>,
    /// Tell people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<Notify>,
}

/// The one action of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum StepAction<'a> {
    Rollback(&'a Rollback),
    Restart(&'a Restart),
    Scale(&'a Scale),
    Notify(&'a Notify),
}

impl Step {
    /// `None` when the step has no action (CEL refuses that). Of several, which CEL refuses too, the first.
    pub fn action(&self) -> Option<StepAction<'_>> {
        let Self { rollback, restart, scale, notify } = self;
        rollback
            .as_ref()
            .map(StepAction::Rollback)
            .or(restart.as_ref().map(StepAction::Restart))
            .or(scale.as_ref().map(StepAction::Scale))
            .or(notify.as_ref().map(StepAction::Notify))
    }
}

impl StepAction<'_> {
    /// The word of the API.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Rollback(_) => "rollback",
            Self::Restart(_) => "restart",
            Self::Scale(_) => "scale",
            Self::Notify(_) => "notify",
        }
    }

    /// Whether it touches the workload.
    pub fn changes_workload(&self) -> bool {
        match self {
            Self::Rollback(_) | Self::Restart(_) | Self::Scale(_) => true,
            Self::Notify(_) => false,
        }
    }
}

/// Go back to the pod template of an earlier revision. ConfigMaps and Secrets that the pods read do not go back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("type(self.to) == int ? self.to > 0 : self.to == 'lastHealthy' || self.to == 'previous'")
        .message("to is lastHealthy, previous or the number of a revision")
)]
pub struct Rollback {
    /// `lastHealthy` (default): the latest revision with another template that served long enough to have been ready, that
    /// was not undone, and that no run had to leave. `previous`: the latest revision with another template that was
    /// not undone. Or the number of a revision, as in `kubectl rollout history`. Never one that this episode left.
    #[serde(default = "last_healthy")]
    pub to: IntOrString,
    /// Roll back only if the present template is at most this much older than the alert's onset; otherwise the step is
    /// skipped. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only_if_changed_within: Option<PromDuration>,
    /// True waives the evidence: roll back even if the present template is younger than the alert, or its age is not
    /// known. Default false: a change after the onset cannot have caused the alert, and the step is refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub without_evidence: bool,
}

impl Default for Rollback {
    fn default() -> Self {
        Self { to: last_healthy(), only_if_changed_within: None, without_evidence: false }
    }
}

fn last_healthy() -> IntOrString {
    IntOrString::String("lastHealthy".into())
}

/// Where a rollback goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RollbackTo {
    LastHealthy,
    Previous,
    Revision(i64),
}

impl Rollback {
    /// `None` for a value that CEL refuses.
    pub fn destination(&self) -> Option<RollbackTo> {
        match &self.to {
            IntOrString::Int(number) if *number > 0 => Some(RollbackTo::Revision(i64::from(*number))),
            IntOrString::Int(_) => None,
            IntOrString::String(word) => match word.as_str() {
                "lastHealthy" => Some(RollbackTo::LastHealthy),
                "previous" => Some(RollbackTo::Previous),
                number => number.parse().ok().filter(|n| *n > 0).map(RollbackTo::Revision),
            },
        }
    }
}

/// Replace all pods, as `kubectl rollout restart` does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Restart {}

/// Change the number of replicas. Where a HorizontalPodAutoscaler scales the target, its minReplicas is raised instead
/// (at most to its maxReplicas); the run records the old value, which is not restored by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.to) != has(self.by)").message("give exactly one of to and by"),
    validation = Rule::new("!has(self.by) || self.by != 0").message("by is the number of replicas to add (or, negative, to take away), not 0")
)]
pub struct Scale {
    /// The number of replicas to have. Never 0, which would turn the workload (and its autoscaler) off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000))]
    pub to: Option<i32>,
    /// How many replicas to add; negative takes away, never below 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1000, max = 1000))]
    pub by: Option<i32>,
    /// The most replicas that this step may lead to. Default: no limit of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000))]
    pub max: Option<i32>,
}

/// Tell people what was done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Notify {
    /// Names of NotificationChannels in this namespace. A message to Slack may come twice after a crash of the operator.
    #[schemars(length(min = 1, max = 8), inner(length(min = 1, max = 253)))]
    pub channels: Vec<String>,
    /// The text. `{{ alert.name }}`, `{{ alert.labels.NAME }}`, `{{ alert.annotations.NAME }}`, `{{ target.kind }}`,
    /// `{{ target.name }}`, `{{ target.namespace }}` and `{{ run.name }}` are filled in. Default: what the steps before
    /// this one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub message: Option<String>,
}

/// How the repair is proved: the alert resolved and the workload rolled out completely, at the same time, for `settle`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Verify {
    /// Time that the repair has to show its effect, from the last step on. Default 10m.
    pub within: PromDuration,
    /// How long it must hold before it counts as proved; shorter than `within`. Default 30s.
    pub settle: PromDuration,
    /// What must hold besides, asked of the Prometheus of the alert's stack, for example
    /// `checkout:http_errors:ratio_rate5m < 0.01`. A comparison with a number holds when every series on its left
    /// passes it; any other expression when it has series and none of them is 0. No data is not a pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub promql: Option<String>,
}

impl Default for Verify {
    fn default() -> Self {
        Self { within: PromDuration::from_mins(10), settle: PromDuration::from_secs(30), promql: None }
    }
}

/// What became of the response so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AlertResponseStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Conditions,
    /// The latest run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_run: Option<LastRun>,
    /// The runs that are kept, counted. The oldest closed ones beyond 50 are deleted.
    #[serde(default)]
    pub runs: RunCounts,
}

/// The latest run of a response.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastRun {
    /// Name of the ResponseRun.
    pub name: String,
    /// Name of the alert.
    pub alert: String,
    /// Its phase.
    pub phase: Phase,
    /// Its verdict, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// When it was closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
}

/// Runs by what became of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RunCounts {
    /// Not closed yet.
    pub open: i32,
    /// Repair proved.
    pub pass: i32,
    /// Repair failed, refused, or without effect.
    pub fail: i32,
    /// Repair neither proved nor disproved.
    pub inconclusive: i32,
    /// A guard forbade it.
    pub skipped: i32,
    /// Recorded only.
    pub observed: i32,
}

impl Conditioned for AlertResponse {
    fn conditions(&self) -> &[Condition] {
        self.status.as_ref().map_or(&[], |s| &s.conditions)
    }
    fn observed_generation(&self) -> Option<i64> {
        self.status.as_ref().and_then(|s| s.observed_generation)
    }
}
