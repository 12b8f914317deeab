//! Carries out what the state machine decided: a change as the run's ServiceAccount, or one message.

use std::time::Duration;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{Node, ServiceAccount};
use kube::{Api, ResourceExt};

use super::action::{self, Act, Change, Operation, Patched};
use super::actor::{Actor, ActorError};
use super::errand;
use super::run::{Errand, Failure, Place, Receipt, Undelivered};
use crate::api::alert_response::TargetKind;
use crate::api::response_run::ResponseRun;
use crate::context::Context;
use crate::k8s::report::chain;
use crate::k8s::workload::Rollout;
use crate::notify::deliver;

/// How long a controller has to see what was written, before the step is looked at anew.
const CONTROLLER_PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks at it.
const LOOK: Duration = Duration::from_millis(200);

/// Sends one change, act by act. An outer error may pass by itself: the intent stays, and its effect is looked for before the next try.
pub async fn change(
    context: &Context,
    run: &ResponseRun,
    change: &Change,
) -> Result<Result<String, Failure>, kube::Error> {
    let namespace = run.namespace().unwrap_or_default();
    let actor = match actor(context, run).await? {
        Ok(actor) => actor,
        Err(failure) => return Ok(Err(failure)),
    };
    let mut acted = false;
    for act in &change.acts {
        let sent = match act {
            Act::Patch { object, operations } => patch(&actor, object, operations).await,
            Act::DeletePod(pod) => actor.delete_pod(pod).await,
            Act::AwaitStatefulSet(name) => match is_observed(context, &namespace, name).await? {
                // It stands after a patch, which may have been sent before a crash.
                true => {
                    acted = true;
                    continue;
                }
                // What was done is found on record or by its traces; what is left is done then.
                false => return Ok(Err(Failure::Conflict)),
            },
        };
        if let Err(error) = sent {
            let failure = judge(error, &namespace, &context.settings.cluster_role_prefix)?;
            return Ok(Err(match failure {
                Failure::Refused(words) if acted => Failure::Halfway(format!("not all of it: {words}")),
                failure => failure,
            }));
        }
        acted = true;
    }
    Ok(Ok(format!("{} as {}", change.effect, actor.name())))
}

async fn patch(actor: &Actor, object: &Patched, operations: &[Operation]) -> Result<(), ActorError> {
    match object {
        Patched::Workload(TargetKind::Deployment, name) => actor.patch::<Deployment>(name, operations).await,
        Patched::Workload(TargetKind::StatefulSet, name) => actor.patch::<StatefulSet>(name, operations).await,
        Patched::Workload(TargetKind::DaemonSet, name) => actor.patch::<DaemonSet>(name, operations).await,
        Patched::Workload(TargetKind::Rollout, name) => actor.patch::<Rollout>(name, operations).await,
        Patched::Workload(TargetKind::Node, name) => actor.patch_cluster::<Node>(name, operations).await,
        Patched::RolloutStatus(name) => actor.patch_status::<Rollout>(name, operations).await,
        Patched::HorizontalPodAutoscaler(name) => actor.patch::<HorizontalPodAutoscaler>(name, operations).await,
    }
}

/// Whether the controller has seen the present spec of a StatefulSet, soon.
async fn is_observed(context: &Context, namespace: &str, name: &str) -> Result<bool, kube::Error> {
    let api = Api::<StatefulSet>::namespaced(context.client.clone(), namespace);
    let until = tokio::time::Instant::now() + CONTROLLER_PATIENCE;
    loop {
        let Some(set) = api.get_opt(name).await? else { return Ok(true) };
        let observed = set.status.as_ref().and_then(|s| s.observed_generation).unwrap_or_default();
        if observed >= set.metadata.generation.unwrap_or_default() {
            return Ok(true);
        }
        if tokio::time::Instant::now() >= until {
            return Ok(false);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The ServiceAccount of a run.
pub(super) async fn actor(context: &Context, run: &ResponseRun) -> Result<Result<Actor, Failure>, kube::Error> {
    let namespace = run.namespace().unwrap_or_default();
    let Some(account) = run.spec.service_account_name.as_deref().filter(|name| !name.is_empty()) else {
        return Ok(Err(Failure::Refused("the run names no ServiceAccount to act as".into())));
    };
    // The API server lets a ServiceAccount be impersonated that does not exist, with the rights that are bound to its name.
    let accounts = Api::<ServiceAccount>::namespaced(context.client.clone(), &namespace);
    if accounts.get_metadata_opt(account).await?.is_none() {
        let why = format!("ServiceAccount {namespace}/{account} does not exist");
        return Ok(Err(Failure::Refused(why)));
    }
    Ok(Ok(Actor::new(context.client.clone(), &namespace, account, &run.name_any())))
}

/// What an error means for the step; an outer one is that it may pass. `prefix` is that of the chart's ClusterRoles.
pub(super) fn judge(error: ActorError, namespace: &str, prefix: &str) -> Result<Failure, kube::Error> {
    match error {
        ActorError::Kube(kube::Error::Api(status)) => match status.code {
            409 => Ok(Failure::Conflict),
            // Whose credentials have just expired, who is too fast, who waits too long.
            401 | 408 | 429 => Err(kube::Error::Api(status)),
            403 if status.message.contains("userextras") => Ok(Failure::Refused(format!(
                "{} (the operator's ClusterRole {prefix}-run is missing or bound to somebody else: upgrade the chart)",
                status.message
            ))),
            403 if status.message.contains("cannot impersonate") => Ok(Failure::Refused(format!(
                "{} (bind ClusterRole {prefix}-responder to the operator in namespace {namespace})",
                status.message
            ))),
            400..500 => Ok(Failure::Refused(status.message.clone())),
            _ => Err(kube::Error::Api(status)),
        },
        ActorError::Kube(error) => Err(error),
        error => Ok(Failure::Refused(chain(&error))),
    }
}

/// Sends what is to be told at this place of the run to one channel.
pub async fn deliver(
    context: &Context,
    run: &ResponseRun,
    place: Place,
    channel: &str,
) -> Result<Receipt, Undelivered> {
    if place == Place::Closing
        && let Some(closing) = action::github::closing(run, channel)
    {
        return errand::github::close(context, run, channel, &closing).await;
    }
    // Without words there is nothing to tell.
    let Some(message) = action::notify::message(run, place, channel) else { return Ok(Receipt::default()) };
    let namespace = run.namespace().unwrap_or_default();
    let sent = deliver::to_channel(&context.client, &context.http, &namespace, channel, &message).await;
    sent.map_err(|error| errand::undelivered(&error))
}

/// Does what is no change of the target, unless it is found done. An outer error may pass by itself.
pub async fn errand(
    context: &Context,
    run: &ResponseRun,
    step: usize,
) -> Result<Result<Errand, Undelivered>, kube::Error> {
    let intent = run.status.as_ref().and_then(|status| status.steps.get(step)).and_then(|step| step.intent.as_ref());
    match intent {
        Some(intent) => errand::carry_out(context, run, step, intent).await,
        None => Ok(Err(Undelivered { why: "its intent is missing".to_owned(), is_final: true, retry_after: None })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    fn answered(code: u16, message: &str) -> ActorError {
        let status = Status { code, message: message.into(), ..Status::default() };
        ActorError::Kube(kube::Error::Api(Box::new(status)))
    }

    #[test]
    fn a_refusal_keeps_the_api_servers_words_and_is_final() {
        let words = r#"deployments.apps "web" is forbidden: User "system:serviceaccount:shop:responder" cannot patch"#;
        assert_eq!(judge(answered(403, words), "shop", "evenkeel").unwrap(), Failure::Refused(words.into()));
        for code in [400, 404, 422] {
            assert!(matches!(judge(answered(code, "no"), "shop", "evenkeel"), Ok(Failure::Refused(_))), "{code}");
        }
    }

    #[test]
    fn who_may_not_impersonate_is_told_the_way_out() {
        let words = r#"serviceaccounts "responder" is forbidden: User "op" cannot impersonate resource"#;
        let Ok(Failure::Refused(told)) = judge(answered(403, words), "shop", "evenkeel") else { panic!("a refusal") };
        assert!(told.starts_with(words) && told.contains("evenkeel-responder") && told.contains("shop"), "{told}");
        let words =
            r#"userextras.authentication.k8s.io "shop/undo" is forbidden: User "op" cannot impersonate resource"#;
        let Ok(Failure::Refused(told)) = judge(answered(403, words), "shop", "evenkeel") else { panic!("a refusal") };
        assert!(told.starts_with(words) && told.contains("evenkeel-run"), "{told}");
    }

    #[test]
    fn what_may_pass_is_tried_again_and_a_conflict_looked_at_again() {
        for code in [401, 429, 500, 503, 504] {
            assert!(judge(answered(code, "later"), "shop", "evenkeel").is_err(), "{code}");
        }
        assert_eq!(judge(answered(409, "changed"), "shop", "evenkeel").unwrap(), Failure::Conflict);
    }
}
