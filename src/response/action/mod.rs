//! What the steps do: plan (which effect, on which evidence), probe (is the effect there already), change (the patches).
//! Pure; one file an action. A plan becomes an intent in the run's status before its change is sent.

pub mod cordon;
pub mod delete_pod;
pub mod diagnose;
mod evidence;
pub mod github;
mod gitops;
pub mod job;
pub mod notify;
pub mod pause_rollout;
pub mod restart;
pub mod rollback;
pub mod scale;
pub mod silence;

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use serde::Serialize;
use serde_json::Value;

use super::facts::{Facts, Workload};
use crate::api::alert_response::{StepAction, TargetKind};
use crate::api::response_run::{Intent, PodRef, ResponseRun};
use crate::k8s::workload::{self, pods};

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

/// How a step is taken back.
#[derive(Clone, Debug, PartialEq)]
pub enum UndoPlan {
    Change(Change),
    /// It is as it was before, in these words.
    Done(String),
    /// Leave it: somebody else has changed it, or it is gone.
    GiveUp(String),
}

/// What carries out an intent, or takes it back.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Done in this order.
    pub acts: Vec<Act>,
    /// What was done, completed by "as NAMESPACE/SERVICEACCOUNT".
    pub effect: String,
}

impl Change {
    fn patch(object: Patched, operations: Vec<Operation>, effect: String) -> Self {
        Self { acts: vec![Act::Patch { object, operations }], effect }
    }
}

/// One request.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// A patch, under the condition that nobody changed the object since it was read.
    Patch { object: Patched, operations: Vec<Operation> },
    /// Wait until the controller of this StatefulSet has seen its present spec: a pod that is deleted before would come
    /// again with the template that was just taken away.
    AwaitStatefulSet(String),
    /// Delete this pod and no other of its name. One that is gone already is done.
    DeletePod(PodRef),
}

/// What a patch goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Patched {
    /// The target, by kind and name.
    Workload(TargetKind, String),
    /// The status of a Rollout, by which it is told to abort.
    RolloutStatus(String),
    HorizontalPodAutoscaler(String),
}

impl Patched {
    fn workload(object: &workload::Object) -> Self {
        Self::Workload(object.kind(), object.name().to_owned())
    }
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
    fn unchanged(metadata: &ObjectMeta) -> Self {
        Self::replace("/metadata/resourceVersion", metadata.resource_version.clone().unwrap_or_default().into())
    }
    fn marked(metadata: &ObjectMeta, mark: &str) -> Self {
        Self::annotate("/metadata/annotations", metadata.annotations.as_ref(), MARK, mark)
    }
}

/// The value of the mark of one step.
pub fn mark(run: &ResponseRun, step: usize) -> String {
    format!("{}/{}", run.uid().unwrap_or_default(), step + 1)
}

fn is_marked(metadata: &ObjectMeta, mark: &str) -> bool {
    metadata.annotations.as_ref().and_then(|a| a.get(MARK)).map(String::as_str) == Some(mark)
}

/// Those of these pods that are still there, and not on their way out.
fn left<'a>(wanted: &'a [PodRef], workload: &'a Workload) -> impl Iterator<Item = &'a PodRef> {
    wanted.iter().filter(|wanted| {
        let is = |pod: &&k8s_openapi::api::core::v1::Pod| pod.metadata.uid.as_deref() == Some(wanted.uid.as_str());
        workload.pods.iter().find(is).is_some_and(|pod| !pods::is_terminating(pod))
    })
}

/// Plans the step with this number.
pub fn plan(run: &ResponseRun, step: usize, action: StepAction<'_>, facts: &Facts, now: Timestamp) -> Plan {
    let workload = match facts.workload.found(&run.spec.target.reference()) {
        Ok(workload) => workload,
        Err(why) if action.repairs() => return Plan::Refuse(why),
        Err(_) => &Workload::default(),
    };
    match action {
        StepAction::Rollback(rollback) => rollback::plan(rollback, run, workload, &facts.others, now),
        StepAction::Restart(restart) => restart::plan(restart, workload, now),
        StepAction::Scale(scale) => scale::plan(scale, run.spec.guardrails.gitops, workload),
        StepAction::DeletePod(step) => delete_pod::plan(step, &run.spec.alert.labels, workload),
        StepAction::PauseRollout(_) => pause_rollout::plan(workload),
        StepAction::Cordon(_) => cordon::plan(workload),
        StepAction::Job(job) => job::plan(job, run, step),
        StepAction::Diagnose(_) => diagnose::plan(run, step),
        StepAction::Silence(silence) => silence::plan(silence, run, step, now),
        StepAction::GithubIssue(issue) => github::plan_issue(issue, run, step, &facts.others),
        StepAction::GithubWorkflow(workflow) => github::plan_workflow(workflow, run),
        StepAction::Notify(notify) => notify::plan(notify, run, step),
    }
}

/// Looks for the effect of an intent; `None` for an intent that changes nothing of the target.
pub fn probe(intent: &Intent, workload: &Workload, mark: &str) -> Option<Probe> {
    match intent {
        Intent { rollback: Some(intent), .. } => Some(rollback::probe(intent, workload, mark)),
        Intent { restart: Some(intent), .. } => Some(restart::probe(intent, workload, mark)),
        Intent { scale: Some(intent), .. } => Some(scale::probe(intent, workload, mark)),
        Intent { delete_pods: Some(intent), .. } => Some(delete_pod::probe(intent, workload)),
        Intent { pause_rollout: Some(_), .. } => Some(pause_rollout::probe(workload, mark)),
        Intent { cordon: Some(_), .. } => Some(cordon::probe(workload, mark)),
        _ => None,
    }
}

/// What carries out an intent; an error says why there is none any more.
pub fn change(intent: &Intent, workload: &Workload, mark: &str) -> Option<Result<Change, String>> {
    match intent {
        Intent { rollback: Some(intent), .. } => Some(rollback::change(intent, workload, mark)),
        Intent { restart: Some(intent), .. } => Some(Ok(restart::change(intent, workload, mark))),
        Intent { scale: Some(intent), .. } => Some(scale::change(intent, workload, mark)),
        Intent { delete_pods: Some(intent), .. } => Some(Ok(delete_pod::change(intent, workload))),
        Intent { pause_rollout: Some(_), .. } => Some(Ok(pause_rollout::change(workload, mark, true))),
        Intent { cordon: Some(_), .. } => Some(Ok(cordon::change(workload, mark, true))),
        _ => None,
    }
}

/// Whether an intent is carried out by an errand: it looks for its effect by itself before it acts.
pub fn is_errand(intent: &Intent) -> bool {
    let Intent { job, diagnose, github_issue, github_workflow, silence, .. } = intent;
    job.is_some() || diagnose.is_some() || github_issue.is_some() || github_workflow.is_some() || silence.is_some()
}

/// Whether what an intent does can be taken back.
pub fn can_be_undone(intent: &Intent) -> bool {
    let Intent { scale, pause_rollout, cordon, .. } = intent;
    scale.is_some() || pause_rollout.is_some() || cordon.is_some()
}

/// How an intent that was carried out is taken back.
pub fn undo(intent: &Intent, workload: &Workload, mark: &str) -> UndoPlan {
    match intent {
        Intent { scale: Some(intent), .. } => scale::undo(intent, workload, mark),
        Intent { pause_rollout: Some(_), .. } => pause_rollout::undo(workload, mark),
        Intent { cordon: Some(_), .. } => cordon::undo(workload, mark),
        _ => UndoPlan::GiveUp("it cannot be taken back".into()),
    }
}

#[cfg(test)]
mod tests;
