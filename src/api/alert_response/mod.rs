//! AlertResponse: which alerts lead to which steps on which workload, within which limits, and how it is proved.

mod guardrails;
mod outside;
mod steps;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::guardrails::{Gitops, Guardrails, MaintenanceWindow, OnlyIf, RunHistory, SloBurns, SloCalm};
pub use self::outside::{GithubIssue, GithubWorkflow, Notify, Silence};
pub use self::steps::{
    Cordon, DeletePod, Diagnose, Job, PauseRollout, Restart, RestartPods, Rollback, RollbackTo, Scale, Step, StepAction,
};
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
    validation = Rule::new("self.mode == 'Observe' || (has(self.serviceAccountName) && size(self.serviceAccountName) > 0)")
        .message("modes Act and Approve need serviceAccountName: the steps run with the rights of that ServiceAccount"),
    validation = Rule::new("!has(self.target.kind) || self.target.kind == 'Node' || self.steps.all(step, !has(step.cordon))")
        .message("cordon needs target.kind Node"),
    validation = Rule::new("!has(self.target.kind) || self.target.kind != 'Node' || self.steps.all(step, !has(step.rollback) && !has(step.restart) && !has(step.scale) && !has(step.deletePod) && !has(step.pauseRollout))")
        .message("a Node can be cordoned; rollback, restart, scale, deletePod and pauseRollout need another target.kind"),
    validation = Rule::new("!has(self.guardrails) || !has(self.guardrails.minReady) || (type(self.guardrails.minReady) == int ? self.guardrails.minReady >= 0 : self.guardrails.minReady.matches('^([0-9]|[1-9][0-9]|100)%$'))")
        .message("guardrails.minReady is a number of replicas or a share of them, for example 50%")
)]
pub struct AlertResponseSpec {
    /// Observe (default): record in a ResponseRun what would be done, and touch nothing. Approve: do it once somebody has
    /// approved the run; the channels of its notify steps are asked, or, without such, those of the first escalation. Act:
    /// do it.
    #[serde(default)]
    pub mode: Mode,
    /// Which alerts lead to a run.
    #[serde(rename = "match")]
    pub match_: Match,
    /// The workload that the steps repair; always in the namespace of this AlertResponse.
    pub target: Target,
    /// ServiceAccount of this namespace under which the steps run. It needs `patch` on what the steps change: the target,
    /// and HorizontalPodAutoscalers where one scales it; `delete` on pods for deletePod, restart.pods NotReady and the
    /// rollback of a StatefulSet; `patch` on rollouts/status for the rollback of a Rollout. Required by mode Act.
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
    /// What is tried next when the verification of the steps has failed, one after the other; each is verified as the
    /// steps are. An inconclusive verification tries nothing more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub fallback: Vec<Fallback>,
    /// When scale, pauseRollout and cordon are taken back. Default Never.
    #[serde(default)]
    pub undo: UndoWhen,
    /// Who is told when the run has failed, was inconclusive or was refused, and the alert fires on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub escalate: Vec<EscalationLevel>,
    /// After so many runs that acted and did not help the response suspends itself, until its spec is changed.
    /// Default 3.
    #[serde(default = "three")]
    #[schemars(range(min = 1, max = 20))]
    pub suspend_after: i32,
    /// True: alerts are still recorded as runs, and every one of them is skipped.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
    /// Which closed runs are kept.
    #[serde(default)]
    pub run_history: RunHistory,
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
    /// Do it once somebody has approved the run, by its annotation `evenkeel.dev/approve: "true"`.
    Approve,
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
    /// An alert whose label `namespace` names another namespace is not matched, unless a matcher is about `namespace` or the
    /// target is a Node.
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
    /// apps/v1 StatefulSet.
    StatefulSet,
    /// apps/v1 DaemonSet.
    DaemonSet,
    /// argoproj.io/v1alpha1 Rollout, of Argo Rollouts.
    Rollout,
    /// v1 Node, for the step cordon. It has no namespace: the ServiceAccount needs a ClusterRole for it.
    Node,
}

impl TargetKind {
    /// As it is written in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
            Self::Rollout => "Rollout",
            Self::Node => "Node",
        }
    }
}

/// How the repair is proved: the alert resolved and the workload rolled out completely, at the same time, for `settle`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Verify {
    /// Time that the repair has to show its effect, from the last step on. Default 10m.
    pub within: PromDuration,
    /// How long it must hold before it counts as proved; shorter than `within`. Default 30s. With neither promql nor slo it
    /// is at least as long as the alert looks back, where its rule is found in the alert's stack: an alert over the last
    /// 5m that is quiet for less has not seen 5m of the repaired workload. An alert that looks back longer than `within`
    /// proves nothing in that time: Inconclusive.
    pub settle: PromDuration,
    /// What must hold besides, asked of the Prometheus of the alert's stack, for example
    /// `checkout:http_errors:ratio_rate5m < 0.01`. A comparison with a number holds when every series on its left
    /// passes it; any other expression when it has series and none of them is 0. No data is not a pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub promql: Option<String>,
    /// An SLO whose error budget must not burn any more. Where nobody has measured it, that is not a pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slo: Option<SloCalm>,
}

impl Default for Verify {
    fn default() -> Self {
        Self { within: PromDuration::from_mins(10), settle: PromDuration::from_secs(30), promql: None, slo: None }
    }
}

/// Steps that are tried when those before them did not help.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Fallback {
    /// What is done, in this order.
    #[schemars(length(min = 1, max = 8))]
    pub steps: Vec<Step>,
}

/// When steps that can be taken back are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum UndoWhen {
    /// What a step changed stays (but see scale.restoreAfter).
    #[default]
    Never,
    /// When the verification has not passed, before a fallback is tried.
    NotProved,
}

/// Some channels, after some time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EscalationLevel {
    /// Time from the end of the run on. An alert that resolves meanwhile is not escalated further. Default 0s.
    #[serde(default)]
    pub after: PromDuration,
    /// Names of NotificationChannels in this namespace.
    #[schemars(length(min = 1, max = 8), inner(length(min = 1, max = 253)))]
    pub channels: Vec<String>,
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
    /// The runs that are kept, counted; `runHistory` says which.
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
