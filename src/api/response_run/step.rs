//! What became of one step of a run: the intent before the act, the effect after it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::intent::Intent;

/// One step of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepStatus {
    /// The action, by its word in the API.
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
    /// Attempts of a step that reaches something else than the API server.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub tries: i32,
    /// By which what the step made is found again: the number of an issue, the ID of a silence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Taking the step back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<Undo>,
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

fn is_zero(number: &i32) -> bool {
    *number == 0
}

/// Taking a step back.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Undo {
    /// When it is to be done; after it, as soon as the operator can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Time>,
    /// How far it is.
    #[serde(default)]
    pub state: UndoState,
    /// What was done, or why it was not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// How far taking a step back is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum UndoState {
    /// Not yet.
    #[default]
    Due,
    /// What the step changed is as it was before.
    Done,
    /// Somebody else has changed it since, or the API server refused: it is left as it is.
    GivenUp,
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
    /// By which the receiver finds the message again, to change it: channel and time stamp of a Slack message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// True: the message opened an incident, which is closed when the alert resolves.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub incident: bool,
}

impl Delivery {
    /// Attempts that a channel gets.
    pub const MAX_TRIES: i32 = 4;

    /// One that is yet to be sent.
    pub fn to(channel: &str) -> Self {
        Self { channel: channel.to_owned(), ..Self::default() }
    }

    /// Taken, or given up.
    pub fn is_settled(&self) -> bool {
        self.delivered || self.tries >= Self::MAX_TRIES
    }
}
