//! Carries out what the state machine decided: one patch as the run's ServiceAccount, or one message.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{Api, ResourceExt};

use super::action::{Change, Object};
use super::actor::{Actor, ActorError};
use super::run::{Failure, Undelivered};
use crate::api::response_run::{NotifyIntent, ResponseRun};
use crate::context::Context;
use crate::k8s::report::chain;
use crate::notify::deliver::{self, Message};

/// Sends one change. An outer error may pass by itself: the intent stays, and its effect is looked for before the next try.
pub async fn change(
    context: &Context,
    run: &ResponseRun,
    change: &Change,
) -> Result<Result<String, Failure>, kube::Error> {
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
    let actor = Actor::new(context.client.clone(), &namespace, account, &run.name_any());
    let sent = match &change.object {
        Object::Deployment(name) => actor.patch::<Deployment>(name, &change.operations).await.map(drop),
        Object::HorizontalPodAutoscaler(name) => {
            actor.patch::<HorizontalPodAutoscaler>(name, &change.operations).await.map(drop)
        }
    };
    match sent {
        Ok(()) => Ok(Ok(format!("{} as {}", change.effect, actor.name()))),
        Err(error) => judge(error, &namespace, &context.settings.cluster_role_prefix).map(Err),
    }
}

/// What an error means for the step; an outer one is that it may pass. `prefix` is that of the chart's ClusterRoles.
fn judge(error: ActorError, namespace: &str, prefix: &str) -> Result<Failure, kube::Error> {
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

/// Sends the message of a notify step to one channel.
pub async fn deliver(
    context: &Context,
    run: &ResponseRun,
    intent: &NotifyIntent,
    channel: &str,
) -> Result<(), Undelivered> {
    let namespace = run.namespace().unwrap_or_default();
    let alert = &run.spec.alert;
    let message = Message {
        title: intent.text.lines().next().unwrap_or(&alert.name).to_owned(),
        text: intent.text.clone(),
        dedup_key: intent.dedup_key.clone(),
        source: format!("{namespace}/{}", run.spec.target.reference()),
        severity: alert.labels.get("severity").cloned().unwrap_or_default(),
        resolves: false,
    };
    let sent = deliver::to_channel(&context.client, &context.http, &namespace, channel, &message).await;
    sent.map_err(|error| Undelivered { is_final: error.is_final(), why: chain(&error) })
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
