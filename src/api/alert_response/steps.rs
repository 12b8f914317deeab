//! The steps of an AlertResponse, and those that act in the cluster.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TargetKind;
use super::outside::{GithubIssue, GithubWorkflow, Notify, Silence};
use crate::api::duration::PromDuration;

/// One step: exactly one action.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.rollback), has(self.restart), has(self.scale), has(self.deletePod), has(self.pauseRollout), has(self.cordon), has(self.job), has(self.diagnose), has(self.githubIssue), has(self.githubWorkflow), has(self.silence), has(self.notify)].filter(given, given).size() == 1")
        .message("a step is exactly one of rollback, restart, scale, deletePod, pauseRollout, cordon, job, diagnose, githubIssue, githubWorkflow, silence, notify")
)]
pub struct Step {
    /// Go back to the pod template of an earlier revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<Rollback>,
    /// Replace the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<Restart>,
    /// Change the number of replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<Scale>,
    /// Delete the pod that the alert is about; its controller makes another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete_pod: Option<DeletePod>,
    /// Stop a rollout where it stands, without going back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause_rollout: Option<PauseRollout>,
    /// Keep new pods off the node that is the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cordon: Option<Cordon>,
    /// Run a Job: the way out for everything that no other step does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<Job>,
    /// Collect what a person would look at first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diagnose: Option<Diagnose>,
    /// Open an issue on GitHub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub github_issue: Option<GithubIssue>,
    /// Start a workflow of GitHub Actions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub github_workflow: Option<GithubWorkflow>,
    /// Silence the alert in its Alertmanager, for a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence: Option<Silence>,
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
    DeletePod(&'a DeletePod),
    PauseRollout(&'a PauseRollout),
    Cordon(&'a Cordon),
    Job(&'a Job),
    Diagnose(&'a Diagnose),
    GithubIssue(&'a GithubIssue),
    GithubWorkflow(&'a GithubWorkflow),
    Silence(&'a Silence),
    Notify(&'a Notify),
}

impl Step {
    /// `None` when the step has no action (CEL refuses that). Of several, which CEL refuses too, the first.
    pub fn action(&self) -> Option<StepAction<'_>> {
        let Self {
            rollback,
            restart,
            scale,
            delete_pod,
            pause_rollout,
            cordon,
            job,
            diagnose,
            github_issue,
            github_workflow,
            silence,
            notify,
        } = self;
        rollback
            .as_ref()
            .map(StepAction::Rollback)
            .or(restart.as_ref().map(StepAction::Restart))
            .or(scale.as_ref().map(StepAction::Scale))
            .or(delete_pod.as_ref().map(StepAction::DeletePod))
            .or(pause_rollout.as_ref().map(StepAction::PauseRollout))
            .or(cordon.as_ref().map(StepAction::Cordon))
            .or(job.as_ref().map(StepAction::Job))
            .or(diagnose.as_ref().map(StepAction::Diagnose))
            .or(github_issue.as_ref().map(StepAction::GithubIssue))
            .or(github_workflow.as_ref().map(StepAction::GithubWorkflow))
            .or(silence.as_ref().map(StepAction::Silence))
            .or(notify.as_ref().map(StepAction::Notify))
    }
}

impl StepAction<'_> {
    /// All words of the API.
    pub const NAMES: &'static str = "rollback, restart, scale, deletePod, pauseRollout, cordon, job, diagnose, githubIssue, githubWorkflow, silence, notify";

    /// The word of the API.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Rollback(_) => "rollback",
            Self::Restart(_) => "restart",
            Self::Scale(_) => "scale",
            Self::DeletePod(_) => "deletePod",
            Self::PauseRollout(_) => "pauseRollout",
            Self::Cordon(_) => "cordon",
            Self::Job(_) => "job",
            Self::Diagnose(_) => "diagnose",
            Self::GithubIssue(_) => "githubIssue",
            Self::GithubWorkflow(_) => "githubWorkflow",
            Self::Silence(_) => "silence",
            Self::Notify(_) => "notify",
        }
    }

    /// Whether it can be done to a target of this kind.
    pub fn fits(&self, kind: TargetKind) -> bool {
        use TargetKind::{DaemonSet, Deployment, Node, Rollout, StatefulSet};
        match self {
            Self::Rollback(_) | Self::Restart(_) | Self::DeletePod(_) => {
                matches!(kind, Deployment | StatefulSet | DaemonSet | Rollout)
            }
            Self::Scale(_) => matches!(kind, Deployment | StatefulSet | Rollout),
            Self::PauseRollout(_) => matches!(kind, Deployment | Rollout),
            Self::Cordon(_) => kind == Node,
            Self::Job(_) | Self::Diagnose(_) | Self::GithubIssue(_) | Self::GithubWorkflow(_) => true,
            Self::Silence(_) | Self::Notify(_) => true,
        }
    }

    /// Whether it is a repair: guards are asked once more before it, a failed one ends the repair, and one that was done
    /// is to be proved. The others collect and tell.
    pub fn repairs(&self) -> bool {
        match self {
            Self::Rollback(_) | Self::Restart(_) | Self::Scale(_) | Self::DeletePod(_) | Self::PauseRollout(_) => true,
            Self::Cordon(_) | Self::Job(_) | Self::GithubWorkflow(_) => true,
            Self::Diagnose(_) | Self::GithubIssue(_) | Self::Silence(_) | Self::Notify(_) => false,
        }
    }
}

/// Go back to the pod template of an earlier revision: of a Deployment, StatefulSet, DaemonSet or Rollout. A Rollout in
/// the middle of an update is aborted. ConfigMaps and Secrets that the pods read do not go back.
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

/// Replace the pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Restart {
    /// Which pods.
    pub pods: RestartPods,
}

/// Which pods are replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RestartPods {
    /// All of them, one after the other, as `kubectl rollout restart` does; a Rollout by its `spec.restartAt`.
    #[default]
    All,
    /// Those that are not ready although they had a minute to start, all at once: they serve nobody. They are deleted,
    /// and their controller makes others.
    NotReady,
}

/// Change the number of replicas of a Deployment, StatefulSet or Rollout. Where a HorizontalPodAutoscaler scales the target, its minReplicas is raised instead
/// (at most to its maxReplicas).
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
    /// Put the old number back this long after it was changed, unless somebody changed it again meanwhile. Default: it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore_after: Option<PromDuration>,
}

/// Delete the pod that the alert is about; its controller makes another one. The pod must belong to the target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DeletePod {
    /// Label of the alert that holds the name of the pod. Default `pod`.
    #[schemars(length(min = 1, max = 256))]
    pub name_from_label: String,
}

impl Default for DeletePod {
    fn default() -> Self {
        Self { name_from_label: "pod".into() }
    }
}

/// Stop a rollout of a Deployment or a Rollout where it stands, without going back. Refused when none is under way. It
/// counts as repaired when the alert resolves and all replicas are available, whichever template they have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PauseRollout {}

/// Keep new pods off the node that is the target, as `kubectl cordon` does. The pods on it stay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cordon {}

/// Run a Job with the alert in its environment: ALERT_NAME, ALERT_SEVERITY, ALERT_STARTS_AT, ALERT_LABELS and
/// ALERT_ANNOTATIONS (as JSON), TARGET_KIND, TARGET_NAME and RUN_NAME. Their values are untrusted input.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// CronJob of this namespace whose Job is run, as `kubectl create job --from=cronjob/NAME` does. It may be suspended.
    #[schemars(length(min = 1, max = 253))]
    pub from_cron_job: String,
    /// How long it may take; then it is stopped and the step has failed. Default 10m.
    #[serde(default = "ten_minutes")]
    pub timeout: PromDuration,
}

fn ten_minutes() -> PromDuration {
    PromDuration::from_mins(10)
}

/// Collect what a person would look at first, into a ConfigMap beside the run: the target and its pods, their Events, the
/// last lines of their logs, the history of rollouts, results of queries. Credentials are taken out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Diagnose {
    /// Logs of the target's containers, of the present and of the one before a restart.
    pub logs: DiagnoseLogs,
    /// Events of the target, its ReplicaSets and its pods. Default true.
    pub events: bool,
    /// Expressions whose values from 30 minutes before the alert's onset until now are kept.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 4096)))]
    pub promql: Vec<String>,
    /// LogQL: log queries, whose newest lines from 10 minutes before the alert's onset until 10 minutes after it are kept,
    /// or metric queries, whose values are. Asked of the Loki of the alert's stack; they see logs of this namespace only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 4096)))]
    pub logql: Vec<String>,
}

impl Default for Diagnose {
    fn default() -> Self {
        Self { logs: DiagnoseLogs::default(), events: true, promql: vec![], logql: vec![] }
    }
}

/// Logs of the target's containers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DiagnoseLogs {
    /// How many lines of each container. Default 100; 0: none.
    #[schemars(range(min = 0, max = 1000))]
    pub lines: i32,
}

impl Default for DiagnoseLogs {
    fn default() -> Self {
        Self { lines: 100 }
    }
}
