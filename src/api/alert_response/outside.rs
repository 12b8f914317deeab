//! The steps of an AlertResponse that reach people and services outside.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::duration::PromDuration;

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

/// Open an issue on GitHub. There is one for each time that the alert fires: later runs of the same time comment on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GithubIssue {
    /// NotificationChannel of this namespace with `github`: the repository and the token. Its `sendResolved: false` keeps the
    /// closing comment back.
    #[schemars(length(min = 1, max = 253))]
    pub channel: String,
    /// The title; filled in as the message of a notify step. Default: the alert and the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub title: Option<String>,
    /// Markdown above what the run did so far and its evidence; filled in as the message of a notify step. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16384))]
    pub body: Option<String>,
    /// What a person should do, as a list of boxes to tick; filled in as the message of a notify step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 512)))]
    pub checklist: Vec<String>,
    /// Labels of the issue besides `evenkeel`. GitHub drops them where the token's owner may not set them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 50)))]
    pub labels: Vec<String>,
    /// True: the issue is closed when the repair was proved. Default false: it stays open. How the run ended is added as a
    /// comment either way.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub close_when_proved: bool,
}

/// Start a workflow of GitHub Actions. After a crash of the operator it may be started twice, and a step whose answer was
/// lost fails rather than to start it again, unless it can be recognised: give it `{{ run.name }}` as an input and put that
/// into its `run-name`. Evenkeel then looks among its latest 100 runs before it starts another one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.workflow) != has(self.eventType)").message("give exactly one of workflow and eventType"),
    validation = Rule::new("has(self.workflow) || !has(self.ref)").message("ref belongs to workflow"),
    validation = Rule::new("has(self.workflow) || !has(self.inputs) || self.inputs.size() <= 10")
        .message("GitHub takes at most 10 inputs with eventType")
)]
pub struct GithubWorkflow {
    /// NotificationChannel of this namespace with `github`: the repository and the token.
    #[schemars(length(min = 1, max = 253))]
    pub channel: String,
    /// File name of a workflow with `on: workflow_dispatch`, for example rollback.yaml.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub workflow: Option<String>,
    /// Branch or tag on which `workflow` is run. Default main.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub ref_: Option<String>,
    /// Type of the event for workflows with `on: repository_dispatch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100))]
    pub event_type: Option<String>,
    /// Inputs of the workflow (or fields of the event's client_payload); filled in as the message of a notify step. GitHub
    /// takes at most 25 inputs, and 10 fields. Labels of an alert are not to be trusted: a workflow reads such an input from
    /// an environment variable, never by putting it into a script.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 25))]
    pub inputs: BTreeMap<String, String>,
}

/// Silence the alert in the Alertmanager that sent it, by all of its labels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Silence {
    /// For how long; at most 7d.
    #[serde(rename = "for")]
    pub for_: PromDuration,
    /// Why, filled in as the message of a notify step. Default: the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub comment: Option<String>,
}
