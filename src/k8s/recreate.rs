//! Fields of a StatefulSet that cannot be changed: it is deleted without its pods and made anew, and takes them back.

use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use kube::api::{Api, DeleteParams, PostParams, Preconditions, PropagationPolicy};
use kube::{Resource, ResourceExt};

use super::apply::{ApplyError, Writer};
use super::meta::Owner;

/// How long the API server may take to let go of the pods.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(100);

impl Writer {
    /// Applies one StatefulSet. Where the API server refuses to change it, it is deleted and made anew while its pods
    /// go on; but only when it would take the new one, since pods without a StatefulSet are not replaced.
    pub(super) async fn apply_stateful_set(
        &self,
        owner: &Owner,
        set: &str,
        wanted: StatefulSet,
    ) -> Result<StatefulSet, ApplyError> {
        let name = wanted.name_any();
        let api = Api::<StatefulSet>::namespaced(self.client().clone(), &owner.namespace);
        let refused = match self.apply_one(owner, set, &api, wanted.clone()).await {
            Err(error) if error.invalid().is_some() => error,
            other => return other,
        };
        let Some(live) = api.get_opt(&name).await.map_err(|e| ApplyError::api::<StatefulSet>("read", &name, e))? else {
            return Err(refused);
        };
        let mut trial = wanted.clone();
        trial.metadata.name = None;
        trial.metadata.generate_name = Some(format!("{name}-"));
        let dry = PostParams { dry_run: true, ..PostParams::default() };
        if api.create(&dry, &trial).await.is_err() {
            // Wrong in itself, not only another: the first answer says what.
            return Err(refused);
        }
        tracing::info!(namespace = owner.namespace, name, why = %refused, "making a StatefulSet anew around its pods");
        let exactly = Preconditions { uid: live.uid(), resource_version: live.resource_version() };
        let orphan = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Orphan),
            preconditions: Some(exactly),
            ..DeleteParams::default()
        };
        api.delete(&name, &orphan).await.map_err(|e| ApplyError::api::<StatefulSet>("delete", &name, e))?;
        let gone = tokio::time::timeout(PATIENCE, gone(&api, &live)).await;
        match gone {
            Ok(answer) => answer.map_err(|e| ApplyError::api::<StatefulSet>("read", &name, e))?,
            // The next pass finds it gone and makes it.
            Err(_) => return Err(refused),
        }
        self.apply_one(owner, set, &api, wanted).await
    }
}

async fn gone(api: &Api<StatefulSet>, old: &StatefulSet) -> Result<(), kube::Error> {
    while let Some(live) = api.get_metadata_opt(&old.name_any()).await? {
        if live.meta().uid != old.metadata.uid {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}
