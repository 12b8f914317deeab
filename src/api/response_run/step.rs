//! What became of one step of a run: the intent before the act, the effect after it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    /// The facts speak against it, or the API server refused it. Nothing was touched.
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
