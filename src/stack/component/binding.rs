//! Rights of components: bindings of roles that the chart installs, where the stack looks. Pure.

use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleBinding, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::k8s::manifests::{Built, Manifests};
use crate::stack::discovery::Namespaces;
use crate::stack::names;
use crate::stack::validate::Stack;

/// Binds the chart's ClusterRole `<prefix>-<role>` to the ServiceAccount of a component: in all namespaces, or in those of
/// the stack's discovery.
pub fn bind(stack: &Stack, role: &str, component: &str, manifests: &mut Manifests<Built>) {
    let owner = &stack.owner;
    let metadata = owner.child(names::binding(&owner.namespace, &owner.name, role), component);
    let role_ref = RoleRef {
        api_group: "rbac.authorization.k8s.io".into(),
        kind: "ClusterRole".into(),
        name: format!("{}-{role}", stack.cluster_role_prefix),
    };
    let subjects = Some(vec![Subject {
        kind: "ServiceAccount".into(),
        name: names::part(&owner.name, component),
        namespace: Some(owner.namespace.clone()),
        ..Subject::default()
    }]);
    match &stack.namespaces {
        Namespaces::All => manifests.cluster_role_bindings.push(ClusterRoleBinding {
            metadata: ObjectMeta { namespace: None, ..metadata },
            role_ref,
            subjects,
        }),
        Namespaces::These(namespaces) => {
            manifests.role_bindings.extend(namespaces.iter().map(|namespace| RoleBinding {
                metadata: ObjectMeta { namespace: Some(namespace.clone()), ..metadata.clone() },
                role_ref: role_ref.clone(),
                subjects: subjects.clone(),
            }));
        }
    }
}
