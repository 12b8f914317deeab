//! Names, labels, owner references.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::ResourceExt;
use kube::api::{ListParams, ObjectList, PatchParams};
use sha2::{Digest, Sha256};

/// The field manager of server-side apply; a controller appends its own suffix.
pub const FIELD_MANAGER: &str = "evenkeel";
/// `app.kubernetes.io/managed-by` of everything that the operator writes.
pub const MANAGED_BY: &str = "evenkeel";
/// UID of the custom resource that a child belongs to: pruning and watches go by it.
pub const OWNER_UID: &str = "evenkeel.dev/owner-uid";
/// The set of children of one owner that are applied and pruned together.
pub const SET: &str = "evenkeel.dev/set";
/// Digest of the manifest as it was applied: a field taken out of the manifest shows as a difference here.
pub const APPLIED: &str = "evenkeel.dev/applied";

/// Parameters of a merge patch by the controller of `set`: managed fields say who wrote.
pub fn patch_as(set: &str) -> PatchParams {
    PatchParams { field_manager: Some(format!("{FIELD_MANAGER}-{set}")), ..PatchParams::default() }
}

/// The page that follows this one of a list; `None` behind the last.
pub fn next_page<K: Clone>(page: ListParams, list: &ObjectList<K>) -> Option<ListParams> {
    let token = list.metadata.continue_.as_deref().filter(|token| !token.is_empty())?;
    Some(page.continue_token(token))
}

/// The custom resource that children belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    pub api_version: String,
    pub kind: String,
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

impl Owner {
    /// `None` for an object that did not come from the API server, or that is not namespaced.
    pub fn of<K: kube::Resource<DynamicType = ()>>(object: &K) -> Option<Self> {
        Some(Self {
            api_version: K::api_version(&()).into_owned(),
            kind: K::kind(&()).into_owned(),
            namespace: object.namespace()?,
            name: object.name_any(),
            uid: object.uid()?,
        })
    }

    pub fn reference(&self) -> OwnerReference {
        OwnerReference {
            api_version: self.api_version.clone(),
            kind: self.kind.clone(),
            name: self.name.clone(),
            uid: self.uid.clone(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }
    }

    /// Of what goes away with the owner, and is not kept in shape by it. Who makes such an object needs no right on the
    /// owner.
    pub fn loose_reference(&self) -> OwnerReference {
        OwnerReference { controller: None, block_owner_deletion: None, ..self.reference() }
    }

    /// Metadata of a child. `component` is the value of `app.kubernetes.io/component`, for example `prometheus`.
    pub fn child(&self, name: impl Into<String>, component: &str) -> ObjectMeta {
        ObjectMeta {
            name: Some(name.into()),
            namespace: Some(self.namespace.clone()),
            labels: Some(self.labels(component)),
            ..ObjectMeta::default()
        }
    }

    /// The recommended labels of a child.
    pub fn labels(&self, component: &str) -> BTreeMap<String, String> {
        let mut labels = self.selector(component);
        labels.insert("app.kubernetes.io/managed-by".into(), MANAGED_BY.into());
        labels.insert("app.kubernetes.io/part-of".into(), "evenkeel".into());
        labels
    }

    /// The labels that select the pods of a component; never changed, since selectors are immutable.
    pub fn selector(&self, component: &str) -> BTreeMap<String, String> {
        BTreeMap::from([
            ("app.kubernetes.io/name".into(), component.into()),
            ("app.kubernetes.io/instance".into(), self.name.clone()),
            ("app.kubernetes.io/component".into(), component.into()),
        ])
    }
}

/// The first `length` hexadecimal digits of the SHA-256 of the parts, which are kept apart.
pub fn digest<'a>(parts: impl IntoIterator<Item = &'a str>, length: usize) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.as_bytes());
        hasher.update([0]);
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>()[..length].to_owned()
}

/// `name`, shortened with a digest when it is longer than `max` characters, so that names stay unique.
pub fn bounded(name: &str, max: usize) -> String {
    if name.len() <= max {
        return name.to_owned();
    }
    format!("{}-{}", name[..max - 9].trim_end_matches(['-', '.']), digest([name], 8))
}

/// Whether Kubernetes takes this as the name of an object: a DNS-1123 subdomain.
pub fn is_object_name(name: &str) -> bool {
    let label = |label: &str| {
        let inner = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
        !label.is_empty() && label.as_bytes().iter().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}
