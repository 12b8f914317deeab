//! A built stack into the cluster: claims grow, children are applied and pruned, the finalizer follows.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements};
use kube::api::{Api, Patch};
use serde::Serialize;

use super::build::Plan;
use super::finalize;
use super::storage::Data;
use super::validate::{Problem, Stack};
use crate::api::MonitoringStack;
use crate::context::Context;
use crate::k8s::apply::ApplyError;
use crate::k8s::manifests::{Applied, Manifests};
use crate::k8s::meta;
use crate::k8s::report::{self, Reportable};

/// The set of children that this module applies and prunes.
pub const SET: &str = "stack";

#[derive(Debug, thiserror::Error)]
pub enum StackApplyError {
    #[error(transparent)]
    Children(#[from] ApplyError),
    #[error("cannot set the finalizer {}: {}", finalize::FINALIZER, report::words(.error))]
    Finalizer { error: Box<kube::Error> },
}

impl StackApplyError {
    pub fn finalizer(error: kube::Error) -> Self {
        Self::Finalizer { error: Box::new(error) }
    }
}

impl Reportable for StackApplyError {
    fn reason(&self) -> &'static str {
        match self {
            Self::Children(error) => error.reason(),
            Self::Finalizer { .. } => "ApiError",
        }
    }
}

/// Applies `plan`; tells also what could not be done although the rest was.
pub async fn apply(
    context: &Context,
    object: &MonitoringStack,
    stack: &Stack,
    plan: Plan,
) -> Result<(Manifests<Applied>, Vec<Problem>), StackApplyError> {
    let problems = grow(context, stack).await;
    let outlives = finalize::outlives(&plan.manifests, &stack.owner.namespace);
    if outlives {
        // Before the first child that would need it.
        finalize::set(context, object, true).await.map_err(StackApplyError::finalizer)?;
    }
    let applied = context.writer.apply(&stack.owner, SET, plan.manifests).await?;
    if !outlives {
        // What needed it was pruned just now.
        finalize::set(context, object, false).await.map_err(StackApplyError::finalizer)?;
    }
    Ok((applied, problems))
}

/// The one field of a claim that is changed.
#[derive(Debug, Serialize)]
struct Grown {
    spec: PersistentVolumeClaimSpec,
}

/// Asks for the new size of the claims that are smaller. A refusal does not hold up the rest.
async fn grow(context: &Context, stack: &Stack) -> Vec<Problem> {
    let api = Api::<PersistentVolumeClaim>::namespaced(context.client.clone(), &stack.owner.namespace);
    let mut problems = vec![];
    for (data, names) in stack.kept() {
        let Data::Claim { size, .. } = data else { continue };
        for name in names {
            let resources = VolumeResourceRequirements {
                requests: Some(BTreeMap::from([("storage".to_owned(), size.clone())])),
                ..VolumeResourceRequirements::default()
            };
            let spec = PersistentVolumeClaimSpec { resources: Some(resources), ..PersistentVolumeClaimSpec::default() };
            tracing::info!(namespace = stack.owner.namespace, claim = name, size = size.0, "growing a claim");
            let answer = api.patch(name, &meta::patch_as(SET), &Patch::Merge(&Grown { spec })).await;
            if let Err(error) = answer {
                problems.push(Problem { reason: "StorageNotGrown", message: refusal(name, &size.0, &error) });
            }
        }
    }
    problems
}

fn refusal(claim: &str, size: &str, error: &kube::Error) -> String {
    let why = report::words(error);
    format!(
        "PersistentVolumeClaim {claim} cannot grow to {size}: {why} (a StorageClass allows it by allowVolumeExpansion, \
         and a claim must be bound)"
    )
}
