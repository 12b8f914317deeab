//! ChangeFreeze: workloads that are not to be changed for a while.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Conditioned;
use super::common::{Conditions, conditions_schema};

/// Workloads of this namespace whose pod templates are not to be changed. Written by a person for a quiet weekend, or
/// by the operator when a budget is spent.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "evenkeel.dev",
    version = "v1alpha1",
    kind = "ChangeFreeze",
    namespaced,
    status = "ChangeFreezeStatus",
    shortname = "freeze",
    category = "evenkeel",
    derive = "PartialEq",
    doc = "A ChangeFreeze refuses changes of the pod templates of workloads in its namespace, until it ends.",
    printcolumn(name = "Active", type_ = "boolean", json_path = ".status.active"),
    printcolumn(name = "From", type_ = "string", json_path = ".spec.from", priority = 1),
    printcolumn(name = "Until", type_ = "string", json_path = ".spec.until"),
    printcolumn(name = "SLO", type_ = "string", json_path = ".spec.slo"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".spec.reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.from) || !has(self.until) || timestamp(self.from) < timestamp(self.until)")
        .message("until is not after from: the freeze would end before it begins"),
    validation = Rule::new("self.reason.matches('[^[:space:]]')")
        .message("reason is blank: whoever is refused is to read why")
)]
pub struct ChangeFreezeSpec {
    /// Why: part of the message to whoever is refused.
    #[schemars(length(min = 1, max = 512))]
    pub reason: String,
    /// The workloads.
    #[schemars(length(min = 1, max = 64))]
    pub workloads: Vec<Workload>,
    /// When it begins. Default: at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Time>,
    /// When it ends. Default: when it is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// The SLO whose budget is spent, where that is why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub slo: Option<String>,
    /// True: runs of AlertResponses do not touch the workloads either; they are skipped. Default false: a repair passes a
    /// freeze, since what is broken gets no better by being left alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hold_responses: bool,
}

/// A workload by kind and name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.name == '*' || self.name.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')")
        .message("workloads[].name is neither a name nor *: patterns such as web-* are not understood")
)]
pub struct Workload {
    /// Deployment, StatefulSet or DaemonSet.
    pub kind: FrozenKind,
    /// Its name, or * for every one of that kind.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// A kind with a pod template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FrozenKind {
    Deployment,
    StatefulSet,
    DaemonSet,
}

/// Whether it is in force.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangeFreezeStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Reconciling, Stalled; WorkloadsFound.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Conditions,
    /// Whether changes are refused now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<bool>,
    /// Since when they are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
}

impl Conditioned for ChangeFreeze {
    fn conditions(&self) -> &[Condition] {
        self.status.as_ref().map_or(&[], |status| &status.conditions)
    }
    fn observed_generation(&self) -> Option<i64> {
        self.status.as_ref().and_then(|status| status.observed_generation)
    }
}
