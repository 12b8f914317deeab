//! The finalizer of a stack: its bindings in other namespaces and of the cluster have no owner reference, so that no
//! garbage collector takes them. A stack without such bindings has no finalizer, and is gone without the operator.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use kube::api::{Api, Patch};
use kube::core::PartialObjectMetaExt;

use super::apply::SET;
use crate::api::MonitoringStack;
use crate::context::Context;
use crate::k8s::manifests::Manifests;
use crate::k8s::meta;

/// Name of the finalizer.
pub const FINALIZER: &str = "evenkeel.dev/bindings";

/// Whether `manifests` has children that outlive their owner.
pub fn outlives<State>(manifests: &Manifests<State>, namespace: &str) -> bool {
    let beyond = |binding_namespace: Option<&str>| binding_namespace.is_some_and(|n| n != namespace);
    !manifests.cluster_role_bindings.is_empty()
        || manifests.role_bindings.iter().any(|binding| beyond(binding.metadata.namespace.as_deref()))
}

/// Adds or removes the finalizer; writes nothing where that is done.
pub async fn set(context: &Context, stack: &MonitoringStack, wanted: bool) -> Result<(), kube::Error> {
    let present = stack.finalizers().iter().any(|f| f == FINALIZER);
    if present == wanted {
        return Ok(());
    }
    let mut finalizers = stack.finalizers().to_vec();
    finalizers.retain(|f| f != FINALIZER);
    if wanted {
        finalizers.push(FINALIZER.to_owned());
    }
    let metadata = ObjectMeta {
        finalizers: Some(finalizers),
        // The list is replaced as a whole: not if somebody changed it meanwhile.
        resource_version: stack.resource_version(),
        ..ObjectMeta::default()
    };
    let api = Api::<MonitoringStack>::namespaced(context.client.clone(), &stack.namespace().unwrap_or_default());
    let body = metadata.into_request_partial::<MonitoringStack>();
    match api.patch_metadata(&stack.name_any(), &meta::patch_as(SET), &Patch::Merge(&body)).await {
        Ok(_) => Ok(()),
        // Gone already, which is all that a removal is for.
        Err(kube::Error::Api(status)) if status.code == 404 && !wanted => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::k8s::manifests::Built;
    use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleBinding};

    #[test]
    fn only_bindings_beyond_the_namespace_need_the_finalizer() {
        let within = RoleBinding {
            metadata: ObjectMeta { namespace: Some("monitoring".into()), ..ObjectMeta::default() },
            ..RoleBinding::default()
        };
        let mut manifests = Manifests::<Built> { role_bindings: vec![within], ..Manifests::default() };
        assert!(!outlives(&manifests, "monitoring"));
        assert!(outlives(&manifests, "shop"));
        manifests.role_bindings.clear();
        manifests.cluster_role_bindings.push(ClusterRoleBinding::default());
        assert!(outlives(&manifests, "monitoring"));
    }
}
