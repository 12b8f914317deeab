//! ResponseRun: one episode of one alert under one AlertResponse, step by step. The operator writes it, nobody else.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Conditioned;
use super::alert_response::{Guardrails, Mode, Step, TargetKind, Verify};
use super::common::{Conditions, conditions_schema};

/// Label: UID of the AlertResponse that the run belongs to.
pub const RESPONSE_UID: &str = "evenkeel.dev/response-uid";
/// Label: fingerprint of the alert.
pub const FINGERPRINT: &str = "evenkeel.dev/fingerprint";
/// Annotation, written by whichever replica hears of it: Firing or Resolved.
pub const ALERT_STATE: &str = "evenkeel.dev/alert-state";
/// Annotation: when the alert was last heard of in that state, RFC 3339. While it fires, at most one write a minute.
pub const ALERT_SEEN_AT: &str = "evenkeel.dev/alert-seen-at";

/// What the operator did about one alert, copied from the AlertResponse when the alert arrived.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "evenkeel.dev",
    version = "v1alpha1",
    kind = "ResponseRun",
    namespaced,
    status = "ResponseRunStatus",
    shortname = "run",
    category = "evenkeel",
    derive = "PartialEq",
    doc = "A ResponseRun records what was done about one alert: the guards, every step with its intent, effect and evidence, and the verdict. The operator creates it; a run that no AlertResponse stands behind does nothing.",
    printcolumn(name = "Alert", type_ = "string", json_path = ".spec.alert.name"),
    printcolumn(name = "Target", type_ = "string", json_path = ".status.target"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Verdict", type_ = "string", json_path = ".status.verdict"),
    printcolumn(name = "Step", type_ = "string", json_path = ".status.step"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message("a run is a record: its spec does not change"))]
pub struct ResponseRunSpec {
    /// The AlertResponse that this run carries out.
    pub response_ref: ResponseRef,
    /// The alert as it arrived.
    pub alert: RunAlert,
    /// The workload, resolved.
    pub target: RunTarget,
    /// Mode of the AlertResponse when the alert arrived.
    pub mode: Mode,
    /// ServiceAccount under which the steps run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// Steps of the AlertResponse when the alert arrived.
    #[schemars(length(max = 16))]
    pub steps: Vec<Step>,
    /// Guardrails of the AlertResponse when the alert arrived.
    #[serde(default)]
    pub guardrails: Guardrails,
    /// Verification of the AlertResponse when the alert arrived.
    #[serde(default)]
    pub verify: Verify,
    /// 1 for the first run of an episode; one more than before if the alert did not resolve after a run that acted.
    #[schemars(range(min = 1, max = 1000))]
    pub attempt: i32,
    /// The run before this one, of the same AlertResponse and alert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follows: Option<String>,
}

/// The AlertResponse of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResponseRef {
    /// Its name, in the run's namespace.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// The generation of its spec that was copied into the run.
    pub generation: i64,
}

/// The alert of a run. Long values are cut.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunAlert {
    /// Label `alertname`.
    pub name: String,
    /// Labels of the alert.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations of the alert.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Alertmanager's fingerprint of the labels.
    pub fingerprint: String,
    /// When the alert began to fire, by Prometheus' clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<Time>,
    /// Link to the expression.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub generator_url: String,
    /// When the alert reached the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received_at: Option<MicroTime>,
    /// Who delivered it: `stack NAMESPACE/NAME`, or `webhook`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
}

/// The workload of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunTarget {
    /// Kind of the workload.
    pub kind: TargetKind,
    /// Name of the workload; empty when it could not be told from the alert.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Why the name could not be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl RunTarget {
    /// `Deployment/checkout`.
    pub fn reference(&self) -> String {
        format!("{}/{}", self.kind.as_str(), if self.name.is_empty() { "?" } else { &self.name })
    }
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// Recorded; the guards have not let it pass yet.
    #[default]
    Pending,
    /// Carrying out its steps.
    Running,
    /// Steps done, waiting for the proof.
    Verifying,
    /// Proved, or nothing to prove.
    Succeeded,
    /// A step failed or was refused, or the repair was not proved.
    Failed,
    /// A guard forbade it, or no step applied.
    Skipped,
    /// Mode Observe: recorded what would have been done.
    Observed,
}

impl Phase {
    /// All of them, in the order of a run's life.
    pub const ALL: [Self; 7] =
        [Self::Pending, Self::Running, Self::Verifying, Self::Succeeded, Self::Failed, Self::Skipped, Self::Observed];

    /// Nothing more will happen.
    pub fn is_closed(self) -> bool {
        match self {
            Self::Pending | Self::Running | Self::Verifying => false,
            Self::Succeeded | Self::Failed | Self::Skipped | Self::Observed => true,
        }
    }

    /// As it is written in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Verifying => "Verifying",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Skipped => "Skipped",
            Self::Observed => "Observed",
        }
    }
}

/// Whether the repair was proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Verdict {
    /// The alert resolved and the workload is healthy.
    Pass,
    /// It did not, it is not, or a step failed.
    Fail,
    /// Nobody can tell: no data is not a pass.
    Inconclusive,
}

impl Verdict {
    /// As it is written in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "Pass",
            Self::Fail => "Fail",
            Self::Inconclusive => "Inconclusive",
        }
    }
}

/// What is known of the alert.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AlertState {
    /// It fires, by the latest word of its Alertmanager.
    Firing,
    /// It does not fire any more.
    Resolved,
    /// Nothing was heard.
    #[default]
    Unknown,
}

/// What became of the run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResponseRunStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Conditions,
    /// Where the run stands.
    #[serde(default)]
    pub phase: Phase,
    /// Whether the repair was proved; absent while that is open, and where nothing was to be proved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// What is known of the alert.
    #[serde(default)]
    pub alert_state: AlertState,
    /// The workload, for example `Deployment/checkout`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub target: String,
    /// The latest step, for example `2/4 notify`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub step: String,
    /// In one sentence: what happened, or what is waited for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The guards in the order in which they were asked, up to the one that decided.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub guards: Vec<GuardStatus>,
    /// The steps, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepStatus>,
    /// The proof.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification: Option<Verification>,
    /// When the guards let it pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it was closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
}

/// The answer of one guard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GuardStatus {
    /// What was asked, CamelCase.
    pub name: String,
    /// Whether it lets the run pass.
    pub passed: bool,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// One step of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepStatus {
    /// The action: rollback, restart, scale, notify.
    pub name: String,
    /// How far it is.
    #[serde(default)]
    pub state: StepState,
    /// What is about to be done, written before it is done, with what is needed to recognise the effect afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<Intent>,
    /// What was done, written afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<String>,
    /// On what the choice rests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<String>,
    /// Deliveries of a notify step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deliveries: Vec<Delivery>,
    /// When the step was first looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<MicroTime>,
    /// When it was through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<MicroTime>,
    /// Why it waits, was skipped, was refused or failed; in mode Observe what would have been done.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// How far a step is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StepState {
    /// Not its turn yet.
    #[default]
    Pending,
    /// The workload is not in a state to decide; looked at again for two minutes.
    Waiting,
    /// The intent is written.
    Intended,
    /// The effect is written.
    Done,
    /// Did not apply.
    Skipped,
    /// The facts speak against it.
    Refused,
    /// Tried without success.
    Failed,
    /// Mode Observe.
    Observed,
}

impl StepState {
    /// Nothing more will happen in this step.
    pub fn is_finished(self) -> bool {
        match self {
            Self::Pending | Self::Waiting | Self::Intended => false,
            Self::Done | Self::Skipped | Self::Refused | Self::Failed | Self::Observed => true,
        }
    }
}

/// What a step is about to do: one of the fields.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Intent {
    /// Of a rollback step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<RollbackIntent>,
    /// Of a restart step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<RestartIntent>,
    /// Of a scale step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<ScaleIntent>,
    /// Of a notify step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<NotifyIntent>,
}

/// From one revision to another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RollbackIntent {
    /// The revision that is left.
    pub from_revision: i64,
    /// Its ReplicaSet, which keeps its name when the revision gets another number.
    pub from_replica_set: String,
    /// Its images.
    pub from_images: Vec<String>,
    /// The revision whose template is restored; the Deployment gives it a new number.
    pub to_revision: i64,
    /// Its ReplicaSet.
    pub to_replica_set: String,
    /// Its images.
    pub to_images: Vec<String>,
}

/// A restart that can be repeated without a second effect.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestartIntent {
    /// Value of the annotation `kubectl.kubernetes.io/restartedAt`.
    pub restarted_at: String,
}

/// From one number of replicas to another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScaleIntent {
    /// Replicas (or the autoscaler's minReplicas) before.
    pub from: i32,
    /// Replicas (or the autoscaler's minReplicas) to have.
    pub to: i32,
    /// The HorizontalPodAutoscaler whose minReplicas is raised, if one scales the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaler: Option<String>,
}

/// A message to channels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NotifyIntent {
    /// Names of NotificationChannels.
    pub channels: Vec<String>,
    /// The text that is sent.
    pub text: String,
    /// By which a receiver that can do so recognises a repeat.
    pub dedup_key: String,
}

/// What became of the message to one channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// Name of the NotificationChannel.
    pub channel: String,
    /// Whether the receiver took it.
    pub delivered: bool,
    /// Attempts so far.
    #[serde(default)]
    pub tries: i32,
    /// Why not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// The proof of a repair.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Verification {
    /// When it began: after the last step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// Until when the effect must have shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Time>,
    /// Since when everything holds; absent while something does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holds_since: Option<Time>,
    /// What is known of the alert.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub alert: String,
    /// What is known of the workload.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub workload: String,
    /// When the verdict was reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
}

impl ResponseRun {
    /// The phase, Pending for a run that was never looked at.
    pub fn phase(&self) -> Phase {
        self.status.as_ref().map(|s| s.phase).unwrap_or_default()
    }

    /// Whether a step of it changed the workload, or was about to.
    pub fn acted(&self) -> bool {
        let steps = self.status.as_ref().map(|s| s.steps.as_slice()).unwrap_or_default();
        self.spec.steps.iter().zip(steps).any(|(step, status)| {
            step.action().is_some_and(|a| a.changes_workload())
                && status.intent.is_some()
                && matches!(status.state, StepState::Intended | StepState::Done | StepState::Failed)
        })
    }
}

impl Conditioned for ResponseRun {
    fn conditions(&self) -> &[Condition] {
        self.status.as_ref().map_or(&[], |s| &s.conditions)
    }
    fn observed_generation(&self) -> Option<i64> {
        self.status.as_ref().and_then(|s| s.observed_generation)
    }
}
