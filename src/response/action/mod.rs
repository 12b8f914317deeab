//! What the steps do: plan (which effect, on which evidence), probe (is the effect there already), change (the patch).
//! Pure; one file an action. A plan becomes an intent in the run's status before its change is sent.

pub mod notify;
pub mod restart;
pub mod rollback;
pub mod scale;

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde_json::Value;

use super::facts::{Facts, Workload};
use crate::api::alert_response::StepAction;
use crate::api::response_run::{Intent, ResponseRun};

/// Annotation on what a step changed: UID of the run and number of the step. Written in the same patch as the change,
/// so that whoever takes over after a crash sees that it was made, whatever became of it since.
pub const MARK: &str = "evenkeel.dev/last-response";

/// What a step wants to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Plan {
    /// This, on this evidence. `summary` completes "would ...".
    Do { intent: Intent, evidence: Vec<String>, summary: String },
    /// The cluster is not in a state to decide; look again.
    NotYet(String),
    /// The step's own condition is not met.
    NotApplicable(String),
    /// The facts speak against it.
    Refuse(String),
}

/// Whether an intended effect is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// It is, in these words.
    Done(String),
    /// It is not, and the way is clear.
    NotDone,
    /// It is not, and somebody else has changed the object since the intent was written.
    Lost(String),
}

/// One patch, under the condition that nobody changed the object since it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub object: Object,
    pub operations: Vec<Operation>,
    /// What was done, completed by "as NAMESPACE/SERVICEACCOUNT".
    pub effect: String,
}

/// What a change goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    Deployment(String),
    HorizontalPodAutoscaler(String),
}

/// One operation of a JSON Patch. Unlike a merge patch it can replace a template as a whole.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Operation {
    op: &'static str,
    path: String,
    value: Value,
}

impl Operation {
    fn replace(path: &str, value: Value) -> Self {
        Self { op: "replace", path: path.to_owned(), value }
    }
    fn add(path: &str, value: Value) -> Self {
        Self { op: "add", path: path.to_owned(), value }
    }
    /// One annotation in a map that may not exist yet. `map` is the path of the map.
    fn annotate(map: &str, present: Option<&BTreeMap<String, String>>, key: &str, value: &str) -> Self {
        match present {
            Some(_) => Self::add(&format!("{map}/{}", key.replace('~', "~0").replace('/', "~1")), value.into()),
            None => Self::add(map, Value::Object([(key.to_owned(), value.into())].into_iter().collect())),
        }
    }
    /// Writing back the resourceVersion that was read makes the API server answer 409 if the object changed meanwhile.
    fn unchanged(object: &impl Resource) -> Self {
        Self::replace("/metadata/resourceVersion", object.resource_version().unwrap_or_default().into())
    }
    fn marked(object: &impl Resource, mark: &str) -> Self {
        Self::annotate("/metadata/annotations", object.meta().annotations.as_ref(), MARK, mark)
    }
}

/// The value of the mark of one step.
pub fn mark(run: &ResponseRun, step: usize) -> String {
    format!("{}/{}", run.uid().unwrap_or_default(), step + 1)
}

fn is_marked(object: &impl Resource, mark: &str) -> bool {
    object.annotations().get(MARK).map(String::as_str) == Some(mark)
}

/// Plans the step with this number.
pub fn plan(run: &ResponseRun, step: usize, action: StepAction<'_>, facts: &Facts, now: Timestamp) -> Plan {
    let workload = match facts.workload.found(&run.spec.target.reference()) {
        Ok(workload) => workload,
        Err(why) if action.changes_workload() => return Plan::Refuse(why),
        Err(_) => &Workload::default(),
    };
    match action {
        StepAction::Rollback(rollback) => rollback::plan(rollback, run, workload, &facts.others, now),
        StepAction::Restart(_) => restart::plan(workload, now),
        StepAction::Scale(scale) => scale::plan(scale, workload),
        StepAction::Notify(notify) => notify::plan(notify, run, step),
    }
}

/// Looks for the effect of an intent; `None` for an intent that changes no workload.
pub fn probe(intent: &Intent, workload: &Workload, mark: &str) -> Option<Probe> {
    let Intent { rollback, restart, scale, notify: _ } = intent;
    rollback
        .as_ref()
        .map(|intent| rollback::probe(intent, workload, mark))
        .or_else(|| restart.as_ref().map(|intent| restart::probe(intent, workload, mark)))
        .or_else(|| scale.as_ref().map(|intent| scale::probe(intent, workload, mark)))
}

/// The patch that carries out an intent; an error says why there is none any more.
pub fn change(intent: &Intent, workload: &Workload, mark: &str) -> Option<Result<Change, String>> {
    let Intent { rollback, restart, scale, notify: _ } = intent;
    rollback
        .as_ref()
        .map(|intent| rollback::change(intent, workload, mark))
        .or_else(|| restart.as_ref().map(|intent| Ok(restart::change(intent, workload, mark))))
        .or_else(|| scale.as_ref().map(|intent| scale::change(intent, workload, mark)))
}
