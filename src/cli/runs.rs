//! `evenkeel explain` and `evenkeel approve`: one run, read and let go.

use std::collections::BTreeMap;

use kube::api::{ListParams, Patch, PatchParams};
use kube::core::DeserializeGuard;
use kube::{Api, Client, ResourceExt};
use serde::Serialize;

use super::cluster::{ClusterError, connect, failed};
use super::timeline;
use crate::api::ResponseRun;
use crate::api::alert_response::Mode;
use crate::k8s::Guarded;
use crate::nearest::nearest;
use crate::response::guard::{APPROVAL, APPROVE};

#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error("there is no ResponseRun {name} in namespace {namespace}{hint}")]
    Missing { namespace: String, name: String, hint: String },
    #[error("ResponseRun {name} in namespace {namespace} cannot be read by this version: {why}")]
    Unreadable { namespace: String, name: String, why: String },
    #[error("ResponseRun {name} was not approved: {why}")]
    NotAwaiting { name: String, why: String },
}

/// The time line of a run.
pub async fn explain(namespace: Option<&str>, name: &str) -> Result<String, RunError> {
    let (client, namespace) = connect(namespace).await?;
    Ok(timeline::timeline(&run(&client, &namespace, name).await?))
}

#[derive(Debug, Serialize)]
struct Word {
    metadata: WordMetadata,
}

#[derive(Debug, Serialize)]
struct WordMetadata {
    /// Makes the patch miss a namesake.
    uid: Option<String>,
    annotations: BTreeMap<&'static str, &'static str>,
}

/// Gives the word that a run waits for, and tells what it was given for.
pub async fn approve(namespace: Option<&str>, name: &str) -> Result<String, RunError> {
    let (client, namespace) = connect(namespace).await?;
    let run = run(&client, &namespace, name).await?;
    let told = approval(&run).map_err(|why| RunError::NotAwaiting { name: name.to_owned(), why })?;
    let word = Word { metadata: WordMetadata { uid: run.uid(), annotations: [(APPROVE, "true")].into() } };
    let api = Api::<Guarded<ResponseRun>>::namespaced(client, &namespace);
    let manager = PatchParams { field_manager: Some("evenkeel-cli".into()), ..PatchParams::default() };
    let patched = api.patch_metadata(name, &manager, &Patch::Merge(&word)).await;
    patched.map_err(|error| failed(format!("annotate ResponseRun {name} in namespace {namespace}"), error))?;
    Ok(told)
}

/// What is approved, in words, or why there is nothing to approve. Pure.
fn approval(run: &ResponseRun) -> Result<String, String> {
    let status = run.status.clone().unwrap_or_default();
    if run.spec.mode != Mode::Approve || run.spec.drill {
        let mode = if run.spec.drill { "it is a drill".to_owned() } else { format!("its mode is {:?}", run.spec.mode) };
        return Err(format!("{mode}, so that it asks nobody"));
    }
    if status.phase.is_closed() {
        return Err(format!("it is closed ({}: {})", status.phase.as_str(), status.message));
    }
    if run.annotations().get(APPROVE).is_some_and(|word| word == "true") {
        return Err(format!("somebody approved it before; it is {}: {}", status.phase.as_str(), status.message));
    }
    if !status.guards.last().is_some_and(|guard| guard.name == APPROVAL && !guard.passed) {
        let now = if status.message.is_empty() { "nobody has looked at it yet" } else { &status.message };
        return Err(format!("it does not ask for approval yet: {now}"));
    }
    let mut text = format!("approved {}, which then\n", run.name_any());
    for (number, step) in status.steps.iter().enumerate() {
        let what = step.message.strip_prefix("would ").unwrap_or(&step.message);
        text.push_str(&format!("  {}  {}: {what}\n", number + 1, step.name));
    }
    let namespace = run.namespace().unwrap_or_default();
    text.push_str(&format!("evenkeel explain {} -n {namespace} tells what came of it\n", run.name_any()));
    Ok(text)
}

async fn run(client: &Client, namespace: &str, name: &str) -> Result<ResponseRun, RunError> {
    let api = Api::<Guarded<ResponseRun>>::namespaced(client.clone(), namespace);
    let found = api.get_opt(name).await;
    let found = found.map_err(|error| failed(format!("read ResponseRun {name} in namespace {namespace}"), error))?;
    match found {
        Some(DeserializeGuard(Ok(run))) => Ok(run),
        Some(DeserializeGuard(Err(invalid))) => {
            let (namespace, name) = (namespace.to_owned(), name.to_owned());
            Err(RunError::Unreadable { namespace, name, why: invalid.to_string() })
        }
        None => {
            // Who may not list them gets no hint.
            let list = api.list_metadata(&ListParams::default()).await.map(|list| list.items).unwrap_or_default();
            Err(missing(list.iter().filter_map(|run| run.metadata.name.as_deref()), namespace, name))
        }
    }
}

fn missing<'a>(names: impl Iterator<Item = &'a str>, namespace: &str, name: &str) -> RunError {
    let hint = match nearest(names, name) {
        Some(meant) => format!("; did you mean {meant}?"),
        None => format!(": kubectl -n {namespace} get run shows those that there are"),
    };
    RunError::Missing { namespace: namespace.to_owned(), name: name.to_owned(), hint }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::response_run::{GuardStatus, Phase, ResponseRunStatus, StepStatus};

    fn awaiting() -> ResponseRun {
        let yaml = "{responseRef: {name: fix, uid: u, generation: 1}, alert: {name: Down, fingerprint: f}, target: {kind: \
                    Deployment, name: web}, mode: Approve, attempt: 1, steps: [{restart: {}}, {notify: {channels: [team]}}]}";
        let mut run = ResponseRun::new("fix-1", serde_saphyr::from_str(yaml).unwrap());
        run.metadata.namespace = Some("shop".into());
        let step = |name: &str, message: &str| StepStatus {
            name: name.into(),
            message: message.into(),
            ..StepStatus::default()
        };
        run.status = Some(ResponseRunStatus {
            message: "waits for approval".into(),
            guards: vec![GuardStatus { name: APPROVAL.into(), ..GuardStatus::default() }],
            steps: vec![step("restart", "would restart Deployment/web"), step("notify", "would notify team")],
            ..ResponseRunStatus::default()
        });
        run
    }

    #[test]
    fn who_approves_reads_what_was_approved() {
        assert_eq!(
            approval(&awaiting()).unwrap(),
            "approved fix-1, which then
  1  restart: restart Deployment/web
  2  notify: notify team
evenkeel explain fix-1 -n shop tells what came of it
"
        );
    }

    #[test]
    fn a_run_that_does_not_wait_for_a_word_gets_none() {
        let refused = |change: &dyn Fn(&mut ResponseRun, &mut ResponseRunStatus)| {
            let mut run = awaiting();
            let mut status = run.status.take().unwrap();
            change(&mut run, &mut status);
            run.status = Some(status);
            approval(&run).unwrap_err()
        };
        assert_eq!(refused(&|run, _| run.spec.mode = Mode::Act), "its mode is Act, so that it asks nobody");
        assert_eq!(refused(&|run, _| run.spec.drill = true), "it is a drill, so that it asks nobody");
        let closed = refused(&|_, status| {
            (status.phase, status.message) = (Phase::Skipped, "alert Down has resolved".into());
        });
        assert_eq!(closed, "it is closed (Skipped: alert Down has resolved)");
        let twice = refused(&|run, status| {
            run.annotations_mut().insert(APPROVE.into(), "true".into());
            (status.phase, status.message) = (Phase::Running, "18 of 18 guards passed".into());
        });
        assert_eq!(twice, "somebody approved it before; it is Running: 18 of 18 guards passed");
        let early = refused(&|_, status| {
            status.guards[0].name = "AlertFiring".into();
            status.message = "alert Down is not at its Alertmanager at the moment".into();
        });
        assert_eq!(early, "it does not ask for approval yet: alert Down is not at its Alertmanager at the moment");
        let new = refused(&|_, status| *status = ResponseRunStatus::default());
        assert_eq!(new, "it does not ask for approval yet: nobody has looked at it yet");
    }

    #[test]
    fn a_run_that_is_not_there_is_told_with_the_one_that_was_meant() {
        let told = |name: &str| missing(["fix-7f3c1a"].into_iter(), "shop", name).to_string();
        assert_eq!(
            told("fix-7f3c1b"),
            "there is no ResponseRun fix-7f3c1b in namespace shop; did you mean fix-7f3c1a?"
        );
        assert!(told("other").ends_with("kubectl -n shop get run shows those that there are"));
    }
}
