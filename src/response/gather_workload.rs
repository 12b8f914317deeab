//! Reads the target of a run, with what its steps need to know of it.

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{ListParams, PartialObjectMeta};
use kube::core::Selector;
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use super::action::scale;
use super::facts::{Lookup, Workload};
use super::needs;
use crate::api::alert_response::{AlertResponseSpec, RestartPods, StepAction, TargetKind};
use crate::api::response_run::{Phase, ResponseRun, UndoState};
use crate::context::Context;
use crate::k8s::workload::{Object, Rollout};

/// What of a workload is read besides the object itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Needs {
    replica_sets: bool,
    revisions: bool,
    pods: bool,
    autoscalers: bool,
}

impl Needs {
    fn of(run: &ResponseRun) -> Self {
        let kind = run.spec.target.kind;
        let mut needs = Self::default();
        let undoing = run.status.iter().flat_map(|s| &s.steps).filter_map(|s| s.undo.as_ref());
        let undoing = undoing.into_iter().any(|undo| undo.state == UndoState::Due);
        if run.phase() == Phase::Verifying && !undoing {
            return needs;
        }
        let by_replica_sets = matches!(kind, TargetKind::Deployment | TargetKind::Rollout);
        for action in run.steps().filter_map(|step| step.action()) {
            match action {
                StepAction::Rollback(_) => {
                    needs.replica_sets |= by_replica_sets;
                    needs.revisions |= matches!(kind, TargetKind::StatefulSet | TargetKind::DaemonSet);
                    needs.pods |= needs.revisions;
                }
                StepAction::DeletePod(_) => {
                    (needs.replica_sets, needs.pods) = (needs.replica_sets || by_replica_sets, true);
                }
                StepAction::Restart(restart) if restart.pods == RestartPods::NotReady => {
                    (needs.replica_sets, needs.pods) = (needs.replica_sets || by_replica_sets, true);
                }
                StepAction::Scale(_) => needs.autoscalers = true,
                StepAction::Restart(_) | StepAction::PauseRollout(_) | StepAction::Cordon(_) => {}
                StepAction::Job(_) | StepAction::Diagnose(_) | StepAction::GithubIssue(_) => {}
                StepAction::GithubWorkflow(_) | StepAction::Silence(_) | StepAction::Notify(_) => {}
            }
        }
        needs
    }
}

/// The target of the run.
pub async fn workload(context: &Context, run: &ResponseRun) -> Result<Lookup, kube::Error> {
    let target = &run.spec.target;
    if target.name.is_empty() {
        return Ok(Lookup::NotLooked);
    }
    match read(context, run).await {
        Ok(Some(workload)) => Ok(Lookup::Found(Box::new(workload))),
        Ok(None) => Ok(Lookup::Missing),
        Err(kube::Error::Api(status)) if status.is_forbidden() => Ok(Lookup::Failed(status.message.clone())),
        Err(error) => Err(error),
    }
}

async fn read(context: &Context, run: &ResponseRun) -> Result<Option<Workload>, kube::Error> {
    let (client, namespace) = (&context.client, run.namespace().unwrap_or_default());
    let target = &run.spec.target;
    let Some(object) = object(client, &namespace, target.kind, &target.name).await? else { return Ok(None) };
    let needs = Needs::of(run);
    // A selector that cannot be read selects all of the namespace; the controller reference decides in the end.
    let selector = object.selector().and_then(|selector| Selector::try_from(selector.clone()).ok());
    let own = ListParams::default().labels_from(&selector.unwrap_or_default());
    let all = ListParams::default();
    let (replica_sets, revisions, pods, autoscalers) = tokio::try_join!(
        list::<ReplicaSet>(client, &namespace, &own, needs.replica_sets),
        list::<ControllerRevision>(client, &namespace, &own, needs.revisions),
        list::<Pod>(client, &namespace, &own, needs.pods),
        list::<HorizontalPodAutoscaler>(client, &namespace, &all, needs.autoscalers),
    )?;
    Ok(Some(Workload { object, replica_sets, revisions, pods, autoscalers }))
}

async fn list<K>(client: &Client, namespace: &str, which: &ListParams, needed: bool) -> Result<Vec<K>, kube::Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
{
    match needed {
        true => Ok(Api::<K>::namespaced(client.clone(), namespace).list(which).await?.items),
        false => Ok(vec![]),
    }
}

async fn object(client: &Client, namespace: &str, kind: TargetKind, name: &str) -> Result<Option<Object>, kube::Error> {
    let client = client.clone();
    Ok(match kind {
        TargetKind::Deployment => {
            let found = Api::<Deployment>::namespaced(client, namespace).get_opt(name).await?;
            found.map(|object| Object::Deployment(Box::new(object)))
        }
        TargetKind::StatefulSet => {
            let found = Api::<StatefulSet>::namespaced(client, namespace).get_opt(name).await?;
            found.map(|object| Object::StatefulSet(Box::new(object)))
        }
        TargetKind::DaemonSet => {
            let found = Api::<DaemonSet>::namespaced(client, namespace).get_opt(name).await?;
            found.map(|object| Object::DaemonSet(Box::new(object)))
        }
        TargetKind::Rollout => {
            let found = Api::<Rollout>::namespaced(client, namespace).get_opt(name).await?;
            found.map(|object| Object::Rollout(Box::new(object)))
        }
        TargetKind::Node => {
            let found = Api::<Node>::all(client).get_opt(name).await?;
            found.map(|object| Object::Node(Box::new(object)))
        }
    })
}

/// Name of the autoscaler of the target, if a step scales it and it is known before an alert.
pub async fn autoscaler_of(
    client: &Client,
    namespace: &str,
    spec: &AlertResponseSpec,
) -> Result<Option<String>, kube::Error> {
    let scales = needs::steps(spec).any(|step| matches!(step.action(), Some(StepAction::Scale(_))));
    let Some(name) = spec.target.name.as_deref().filter(|name| scales && !name.is_empty()) else { return Ok(None) };
    let all = list::<HorizontalPodAutoscaler>(client, namespace, &ListParams::default(), true).await?;
    Ok(scale::autoscaler_of(spec.target.kind, name, &all).map(ResourceExt::name_any))
}

/// Whether there is a workload of this kind and name.
pub async fn exists(client: &Client, namespace: &str, kind: TargetKind, name: &str) -> Result<bool, kube::Error> {
    async fn found<K>(api: Api<K>, name: &str) -> Result<bool, kube::Error>
    where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
    {
        let found: Option<PartialObjectMeta<K>> = api.get_metadata_opt(name).await?;
        Ok(found.is_some())
    }
    let client = client.clone();
    match kind {
        TargetKind::Deployment => found(Api::<Deployment>::namespaced(client, namespace), name).await,
        TargetKind::StatefulSet => found(Api::<StatefulSet>::namespaced(client, namespace), name).await,
        TargetKind::DaemonSet => found(Api::<DaemonSet>::namespaced(client, namespace), name).await,
        TargetKind::Rollout => found(Api::<Rollout>::namespaced(client, namespace), name).await,
        TargetKind::Node => found(Api::<Node>::all(client), name).await,
    }
}
