//! What the operator would apply, without a cluster. Pure.

use kube::ResourceExt;

use super::build::{self, BuildError};
use super::validate::{Home, Known, Problem, Refused, Stack, validate};
use crate::api::{GROUP, MonitoringStack, NotificationChannel};
use crate::k8s::manifests::{Built, Manifests};
use crate::k8s::meta::Owner;

#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Build(#[from] BuildError),
}

/// The objects of `stack`, whose channels are taken from `channels` (those of its namespace). The same input gives the
/// same output. What only a cluster knows is left open: Secrets are taken to be there, a selector of namespaces to
/// select none, the token is a placeholder, and the operator to be where the chart puts it by default.
pub fn render(stack: &MonitoringStack, channels: &[NotificationChannel]) -> Result<Manifests<Built>, RenderError> {
    let (stack, _) = offline(stack, channels)?;
    Ok(build::build(&stack)?.manifests)
}

/// What would be left out of `stack`, and why; an error when nothing of it would be applied.
pub fn problems(stack: &MonitoringStack, channels: &[NotificationChannel]) -> Result<Vec<Problem>, Refused> {
    Ok(offline(stack, channels)?.1)
}

fn offline(stack: &MonitoringStack, channels: &[NotificationChannel]) -> Result<(Stack, Vec<Problem>), Refused> {
    let namespace = stack.namespace().unwrap_or_else(|| "default".to_owned());
    let within = |channel: &&NotificationChannel| channel.namespace().is_none_or(|n| n == namespace);
    let known = Known { channels: channels.iter().filter(within).cloned().collect(), ..Known::offline() };
    let home = Home {
        owner: Owner {
            api_version: format!("{GROUP}/v1alpha1"),
            kind: "MonitoringStack".into(),
            namespace,
            name: stack.name_any(),
            uid: String::new(),
        },
        receiver_url: "http://evenkeel.evenkeel-system.svc:8080".into(),
        cluster_role_prefix: "evenkeel".into(),
        rotation: None,
    };
    validate(&stack.spec, home, known)
}
