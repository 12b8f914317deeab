//! What a step is about to do, written before it is done, with what is needed to recognise the effect afterwards.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    /// Of a deletePod step, or of a restart of some pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete_pods: Option<DeletePodsIntent>,
    /// Of a pauseRollout step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause_rollout: Option<PauseRolloutIntent>,
    /// Of a cordon step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cordon: Option<CordonIntent>,
    /// Of a job step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobIntent>,
    /// Of a diagnose step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diagnose: Option<DiagnoseIntent>,
    /// Of a githubIssue step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub github_issue: Option<GithubIssueIntent>,
    /// Of a githubWorkflow step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub github_workflow: Option<GithubWorkflowIntent>,
    /// Of a silence step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence: Option<SilenceIntent>,
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
    /// Its ReplicaSet or ControllerRevision, which keeps its name when the revision gets another number.
    pub from_object: String,
    /// Its images.
    pub from_images: Vec<String>,
    /// The revision whose template is restored; the workload's controller gives it a new number.
    pub to_revision: i64,
    /// Its ReplicaSet or ControllerRevision.
    pub to_object: String,
    /// Its images.
    pub to_images: Vec<String>,
    /// True: the update of a Rollout is aborted. Its template stays, and its stable ReplicaSet serves again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub abort: bool,
    /// Pods of a StatefulSet that are not ready, and that it would wait for: they are deleted once the template is back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub delete_pods: Vec<PodRef>,
}

/// A restart that can be repeated without a second effect.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestartIntent {
    /// Value of the annotation `kubectl.kubernetes.io/restartedAt`, or of `spec.restartAt` of a Rollout.
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
}

/// Pods to delete, and no others of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeletePodsIntent {
    /// The pods, at the time of the decision.
    pub pods: Vec<PodRef>,
}

/// One pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodRef {
    /// Its name.
    pub name: String,
    /// Its UID: a pod of a StatefulSet comes again under the same name.
    pub uid: String,
}

/// A rollout that stops where it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PauseRolloutIntent {}

/// A node that gets no new pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CordonIntent {
    /// Name of the node.
    pub node: String,
}

/// A Job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobIntent {
    /// Its name.
    pub name: String,
}

/// A collection of evidence.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DiagnoseIntent {
    /// Name of the ConfigMap.
    pub config_map: String,
}

/// An issue, or a comment on one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GithubIssueIntent {
    /// Name of the NotificationChannel.
    pub channel: String,
    /// The title of a new issue.
    pub title: String,
    /// Its body, or the comment.
    pub body: String,
    /// Its labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// Written into the issue, so that it is found again: one for each time that the alert fires.
    pub marker: String,
    /// When the first run of this time was created: the issue is not older.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
}

/// A workflow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GithubWorkflowIntent {
    /// Name of the NotificationChannel.
    pub channel: String,
    /// File name of the workflow; absent for an event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<String>,
    /// Branch or tag of the workflow.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "ref")]
    pub ref_: Option<String>,
    /// Type of the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
    /// Its inputs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, String>,
}

/// A silence.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SilenceIntent {
    /// Labels of the alert, all of which must be equal.
    pub labels: BTreeMap<String, String>,
    /// When it begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<Time>,
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Time>,
    /// Why; it ends in the marker by which it is found again.
    pub comment: String,
}
