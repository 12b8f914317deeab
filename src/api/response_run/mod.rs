//! ResponseRun: one episode of one alert under one AlertResponse, step by step. The operator writes it, nobody else.

mod intent;
mod status;
mod step;

pub use intent::{
    CordonIntent, DeletePodsIntent, DiagnoseIntent, GithubIssueIntent, GithubWorkflowIntent, Intent, JobIntent,
    NotifyIntent, PauseRolloutIntent, PodRef, RestartIntent, RollbackIntent, ScaleIntent, SilenceIntent,
};
pub use status::{AlertState, Escalation, GuardStatus, Phase, ResponseRunStatus, Settle, Verdict, Verification};
pub use step::{Delivery, StepState, StepStatus, Undo, UndoState};

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Conditioned;
use super::alert_response::{EscalationLevel, Fallback, Guardrails, Mode, OnlyIf, Step, TargetKind, UndoWhen, Verify};

/// Label: UID of the AlertResponse that the run belongs to.
pub const RESPONSE_UID: &str = "evenkeel.dev/response-uid";
/// Label: fingerprint of the alert.
pub const FINGERPRINT: &str = "evenkeel.dev/fingerprint";
/// Annotation, written by whichever replica hears of it: Firing or Resolved.
pub const ALERT_STATE: &str = "evenkeel.dev/alert-state";
/// Annotation: when the alert was last heard of in that state, RFC 3339. While it fires, at most one write a minute.
pub const ALERT_SEEN_AT: &str = "evenkeel.dev/alert-seen-at";
/// Annotation: how often the alert has fired in this run, counted from its second time on, at most once a minute.
pub const FIRINGS: &str = "evenkeel.dev/firings";
/// Annotation: when the alert began to fire for the last time that was counted, RFC 3339.
pub const FIRED_AT: &str = "evenkeel.dev/fired-at";

/// Label of an alert: `true` makes every run of it a drill.
pub const DRILL: &str = "evenkeel_drill";

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
    printcolumn(name = "Drill", type_ = "boolean", json_path = ".spec.drill", priority = 1),
    printcolumn(
        name = "Firings",
        type_ = "string",
        json_path = ".metadata.annotations.evenkeel\\.dev/firings",
        priority = 1
    ),
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
    /// True: the alert came from `evenkeel drill` (it has the label evenkeel_drill="true"). Whatever the mode, the run only
    /// records what would be done.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub drill: bool,
    /// ServiceAccount under which the steps run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// Steps of the AlertResponse when the alert arrived.
    #[schemars(length(max = 16))]
    pub steps: Vec<Step>,
    /// Conditions of the AlertResponse when the alert arrived.
    #[serde(default, skip_serializing_if = "OnlyIf::is_empty")]
    pub only_if: OnlyIf,
    /// Guardrails of the AlertResponse when the alert arrived.
    #[serde(default)]
    pub guardrails: Guardrails,
    /// Verification of the AlertResponse when the alert arrived.
    #[serde(default)]
    pub verify: Verify,
    /// What is tried next, of the AlertResponse when the alert arrived.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub fallback: Vec<Fallback>,
    /// When steps are taken back, of the AlertResponse when the alert arrived.
    #[serde(default)]
    pub undo: UndoWhen,
    /// Who is told when nothing helped, of the AlertResponse when the alert arrived.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub escalate: Vec<EscalationLevel>,
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

impl ResponseRun {
    /// The phase, Pending for a run that was never looked at.
    pub fn phase(&self) -> Phase {
        self.status.as_ref().map(|s| s.phase).unwrap_or_default()
    }

    /// Its steps, those of the fallbacks behind those that come first: the order of `status.steps`.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.spec.steps.iter().chain(self.spec.fallback.iter().flat_map(|fallback| &fallback.steps))
    }

    /// Those of its steps that repair, as far as they were looked at.
    fn repairs(&self) -> impl Iterator<Item = &StepStatus> {
        let steps = self.status.as_ref().map(|s| s.steps.as_slice()).unwrap_or_default();
        self.steps().zip(steps).filter(|(step, _)| step.action().is_some_and(|a| a.repairs())).map(|(_, status)| status)
    }

    /// Whether it touches nothing: by its author's word, or because it is a drill.
    pub fn only_observes(&self) -> bool {
        self.spec.mode == Mode::Observe || self.spec.drill
    }

    /// Whether a step of it has repaired something.
    pub fn repaired(&self) -> bool {
        self.repairs().any(|status| status.state == StepState::Done)
    }

    /// Whether a step of it repaired something, or was about to.
    pub fn acted(&self) -> bool {
        self.repairs().any(|status| {
            status.intent.is_some() && matches!(status.state, StepState::Intended | StepState::Done | StepState::Failed)
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
