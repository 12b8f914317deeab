//! What became of a run.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::step::{Delivery, StepStatus, UndoState};
use crate::api::common::{Conditions, conditions_schema};
use crate::api::duration::PromDuration;

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
    /// Who was asked to approve the run: the channels of its notify steps, or those of its first escalation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asked: Vec<Delivery>,
    /// The steps, in order; those of a fallback are added when it is its turn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepStatus>,
    /// How many fallbacks were tried.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub fallbacks: i32,
    /// What Prometheus said of `verify.promql` before the first step: its values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// The proof.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification: Option<Verification>,
    /// When the guards let it pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it was closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// Who is told that nothing helped, one level after the other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub escalations: Vec<Escalation>,
    /// How it ended, told to those who had been told or asked before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub closing: Vec<Delivery>,
}

fn is_zero(number: &i32) -> bool {
    *number == 0
}

impl ResponseRunStatus {
    /// Whether something is left to do after the run was closed: taking steps back, escalating, telling the end.
    pub fn is_outstanding(&self) -> bool {
        self.steps.iter().filter_map(|step| step.undo.as_ref()).any(|undo| undo.state == UndoState::Due)
            || self.escalations.iter().any(|level| !level.finished)
            || self.closing.iter().any(|delivery| !delivery.is_settled())
    }
}

/// One level of escalation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Escalation {
    /// When its channels are told, if the alert fires on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Time>,
    /// Whether its turn is over.
    #[serde(default)]
    pub finished: bool,
    /// One for each of its channels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deliveries: Vec<Delivery>,
    /// What became of it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
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
    /// How long all of it must hold, and why so long; absent until that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settle: Option<Settle>,
    /// What Prometheus says of `verify.promql`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub promql: String,
    /// What is known of `verify.slo`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub slo: String,
    /// When the verdict was reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
}

/// How long a proof must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Settle {
    /// So long.
    #[serde(rename = "for")]
    pub for_: PromDuration,
    /// Why it is longer than the author's, or that the alert's look-back is not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}
