//! Fields that cannot be changed: the object is deleted and made anew. The pods of a StatefulSet go on and are taken
//! back, except where they lack a claim that the new one wants.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use kube::api::{Api, DeleteParams, PostParams, Preconditions, PropagationPolicy};
use kube::{Resource, ResourceExt};

use super::apply::{ApplyError, Child, Writer};
use super::meta::Owner;

/// How long the API server may take to let go of the pods.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(100);

impl Writer {
    /// Applies one binding; its role cannot be changed.
    pub(super) async fn apply_binding<K: Child>(
        &self,
        owner: &Owner,
        set: &str,
        api: &Api<K>,
        wanted: K,
    ) -> Result<K, ApplyError> {
        match self.apply_one(owner, set, api, wanted.clone()).await {
            Err(error) if error.invalid().is_some() => {
                let name = wanted.name_any();
                tracing::info!(kind = %K::kind(&()), name, why = %error, "making a binding anew");
                match api.delete(&name, &DeleteParams::default()).await {
                    Ok(_) => self.apply_one(owner, set, api, wanted).await,
                    Err(_) => Err(error),
                }
            }
            other => other,
        }
    }

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
        let keep_pods = claims(&wanted).is_subset(&claims(&live));
        tracing::info!(namespace = owner.namespace, name, keep_pods, why = %refused, "making a StatefulSet anew");
        // The controller cannot give a claim to a pod that runs, and would try that for ever before it replaces it.
        let pods = if keep_pods { PropagationPolicy::Orphan } else { PropagationPolicy::Background };
        let exactly = Preconditions { uid: live.uid(), resource_version: live.resource_version() };
        let parameters =
            DeleteParams { propagation_policy: Some(pods), preconditions: Some(exactly), ..DeleteParams::default() };
        api.delete(&name, &parameters).await.map_err(|e| ApplyError::api::<StatefulSet>("delete", &name, e))?;
        let gone = tokio::time::timeout(PATIENCE, gone(&api, &live)).await;
        match gone {
            Ok(answer) => answer.map_err(|e| ApplyError::api::<StatefulSet>("read", &name, e))?,
            // The next pass finds it gone and makes it.
            Err(_) => return Err(refused),
        }
        self.apply_one(owner, set, &api, wanted).await
    }
}

/// Names of the claims that each pod has.
fn claims(set: &StatefulSet) -> BTreeSet<String> {
    let templates = set.spec.iter().filter_map(|spec| spec.volume_claim_templates.as_ref()).flatten();
    templates.map(ResourceExt::name_any).collect()
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
