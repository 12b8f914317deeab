//! The one writer of children: server-side apply of what differs, pruning of what is no longer wanted.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex};

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleBinding};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, Preconditions};
use kube::core::{NamespaceResourceScope, Resource};
use kube::{Client, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::drift;
use super::gateway::HTTPRoute;
use super::manifests::{Applied, Built, Manifests};
use super::meta::{self, APPLIED, FIELD_MANAGER, OWNER_UID, Owner, SET, digest};
use super::report::{self, Reportable};

#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    #[error("cannot {verb} {kind} {name}: {}", report::words(.error))]
    Api { verb: &'static str, kind: String, name: String, error: Box<kube::Error> },
    #[error(
        "{kind} {name} exists and is not Evenkeel's for this object (label evenkeel.dev/owner-uid is {owner:?}): delete or rename it"
    )]
    Foreign { kind: String, name: String, owner: String },
    #[error("the API server took too long over {name}")]
    Timeout { name: String },
    #[error("cannot write {kind} as JSON: {source}")]
    Json { kind: String, source: serde_json::Error },
}

impl ApplyError {
    pub(super) fn api<K: Resource<DynamicType = ()>>(verb: &'static str, name: &str, error: kube::Error) -> Self {
        Self::Api { verb, kind: K::kind(&()).into_owned(), name: name.to_owned(), error: Box::new(error) }
    }

    /// The API server's answer when it refused the object itself (422), for example a change of an immutable field.
    pub fn invalid(&self) -> Option<&str> {
        match self {
            Self::Api { error, .. } => match error.as_ref() {
                kube::Error::Api(status) if status.code == 422 => Some(&status.message),
                _ => None,
            },
            _ => None,
        }
    }
}

impl ApplyError {
    /// The API server's answer when it does not know the kind, or the object is gone.
    fn unknown(&self) -> bool {
        match self {
            Self::Api { error, .. } => matches!(error.as_ref(), kube::Error::Api(status) if status.code == 404),
            _ => false,
        }
    }
}

impl Reportable for ApplyError {
    fn reason(&self) -> &'static str {
        match self {
            Self::Foreign { .. } => "NotOurs",
            Self::Timeout { .. } => "Timeout",
            Self::Json { .. } => "InvalidManifest",
            Self::Api { error, .. } => match error.as_ref() {
                kube::Error::Api(status) if status.code == 422 => "Invalid",
                kube::Error::Api(status) if status.code == 403 => "Forbidden",
                _ => "ApiError",
            },
        }
    }
}

/// Namespace and name.
type Names = BTreeSet<(Option<String>, String)>;

fn names<K: ResourceExt>(objects: &[K]) -> Names {
    objects.iter().map(|object| (object.namespace(), object.name_any())).collect()
}

/// What the writer needs of a kind.
pub trait Child: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned + Send + Sync {}
impl<K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned + Send + Sync> Child for K {}

/// Writes children. Cloning is cheap and shares the memory of what was written.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    settled: Arc<Mutex<HashMap<String, Settled>>>,
}

/// A patch of the manifest with this digest left the object at this resourceVersion. Kept because the API server
/// rewrites some values (sorted, canonical), which would look like drift for ever.
#[derive(Clone, PartialEq)]
struct Settled {
    digest: String,
    resource_version: String,
}

impl Writer {
    pub fn new(client: Client) -> Self {
        Self { client, settled: Arc::default() }
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Applies one set of children of `owner` and deletes those of the same set that are no longer in it.
    /// An owner may have several sets (`stack`, `rules`), each complete in itself. Names are within the owner's
    /// namespace unless the object says otherwise; across namespaces there is no owner reference, only labels.
    pub async fn apply(
        &self,
        owner: &Owner,
        set: &str,
        manifests: Manifests<Built>,
    ) -> Result<Manifests<Applied>, ApplyError> {
        let Manifests {
            service_accounts,
            role_bindings,
            cluster_role_bindings,
            secrets,
            config_maps,
            services,
            stateful_sets,
            daemon_sets,
            deployments,
            pod_disruption_budgets,
            ingresses,
            http_routes,
            state: _,
        } = manifests;
        // What others refer to comes first: identities, then configuration, then workloads.
        Ok(Manifests {
            service_accounts: self.apply_kind(owner, set, service_accounts).await?,
            role_bindings: self.apply_role_bindings(owner, set, role_bindings).await?,
            cluster_role_bindings: self.apply_cluster_role_bindings(owner, set, cluster_role_bindings).await?,
            secrets: self.apply_kind(owner, set, secrets).await?,
            config_maps: self.apply_kind(owner, set, config_maps).await?,
            services: self.apply_kind(owner, set, services).await?,
            stateful_sets: self.apply_stateful_sets(owner, set, stateful_sets).await?,
            daemon_sets: self.apply_kind(owner, set, daemon_sets).await?,
            deployments: self.apply_kind(owner, set, deployments).await?,
            pod_disruption_budgets: self.apply_kind(owner, set, pod_disruption_budgets).await?,
            ingresses: self.apply_kind(owner, set, ingresses).await?,
            http_routes: self.apply_http_routes(owner, set, http_routes).await?,
            state: PhantomData,
        })
    }

    /// One kind, in the owner's namespace.
    async fn apply_kind<K>(&self, owner: &Owner, set: &str, wanted: Vec<K>) -> Result<Vec<K>, ApplyError>
    where
        K: Child + Resource<Scope = NamespaceResourceScope>,
    {
        let within = Api::<K>::namespaced(self.client.clone(), &owner.namespace);
        let (names, mut applied) = (names(&wanted), Vec::with_capacity(wanted.len()));
        for object in wanted {
            applied.push(self.apply_one(owner, set, &within, object).await?);
        }
        self.prune(owner, set, &names, &within, |_| within.clone()).await?;
        Ok(applied)
    }

    /// A kind that not every API server knows.
    async fn apply_http_routes(
        &self,
        owner: &Owner,
        set: &str,
        wanted: Vec<HTTPRoute>,
    ) -> Result<Vec<HTTPRoute>, ApplyError> {
        let none_wanted = wanted.is_empty();
        match self.apply_kind(owner, set, wanted).await {
            Err(error) if none_wanted && error.unknown() => Ok(vec![]),
            other => other,
        }
    }

    async fn apply_stateful_sets(
        &self,
        owner: &Owner,
        set: &str,
        wanted: Vec<StatefulSet>,
    ) -> Result<Vec<StatefulSet>, ApplyError> {
        let within = Api::<StatefulSet>::namespaced(self.client.clone(), &owner.namespace);
        let (names, mut applied) = (names(&wanted), Vec::with_capacity(wanted.len()));
        for object in wanted {
            applied.push(self.apply_stateful_set(owner, set, object).await?);
        }
        self.prune(owner, set, &names, &within, |_| within.clone()).await?;
        Ok(applied)
    }

    /// Bindings, in whatever namespace each names.
    async fn apply_role_bindings(
        &self,
        owner: &Owner,
        set: &str,
        wanted: Vec<RoleBinding>,
    ) -> Result<Vec<RoleBinding>, ApplyError> {
        let home = |namespace: Option<&str>| self.role_bindings(owner, namespace);
        let (names, mut applied) = (names(&wanted), Vec::with_capacity(wanted.len()));
        for object in wanted {
            let api = home(object.metadata.namespace.as_deref());
            applied.push(self.apply_binding(owner, set, &api, object).await?);
        }
        self.prune(owner, set, &names, &Api::all(self.client.clone()), home).await?;
        Ok(applied)
    }

    async fn apply_cluster_role_bindings(
        &self,
        owner: &Owner,
        set: &str,
        wanted: Vec<ClusterRoleBinding>,
    ) -> Result<Vec<ClusterRoleBinding>, ApplyError> {
        let all = Api::<ClusterRoleBinding>::all(self.client.clone());
        let (names, mut applied) = (names(&wanted), Vec::with_capacity(wanted.len()));
        for object in wanted {
            applied.push(self.apply_binding(owner, set, &all, object).await?);
        }
        self.prune(owner, set, &names, &all, |_| all.clone()).await?;
        Ok(applied)
    }

    fn role_bindings(&self, owner: &Owner, namespace: Option<&str>) -> Api<RoleBinding> {
        Api::namespaced(self.client.clone(), namespace.unwrap_or(&owner.namespace))
    }

    /// Deletes what the set has in the cluster and `names` does not name.
    async fn prune<K: Child>(
        &self,
        owner: &Owner,
        set: &str,
        names: &Names,
        listing: &Api<K>,
        home: impl Fn(Option<&str>) -> Api<K>,
    ) -> Result<(), ApplyError> {
        let of_set = ListParams::default().labels(&format!("{OWNER_UID}={},{SET}={set}", owner.uid));
        let present = listing.list_metadata(&of_set).await.map_err(|e| ApplyError::api::<K>("list", set, e))?;
        for stale in present.items {
            let (namespace, name) = (stale.metadata.namespace.clone(), stale.name_any());
            if stale.metadata.deletion_timestamp.is_some() || names.contains(&(namespace.clone(), name.clone())) {
                continue;
            }
            tracing::info!(kind = %K::kind(&()), ?namespace, name, "deleting a child that is no longer wanted");
            self.forget::<K>(namespace.as_deref(), &name);
            match home(namespace.as_deref()).delete(&name, &DeleteParams::background()).await {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Err(ApplyError::api::<K>("delete", &name, error)),
            }
        }
        Ok(())
    }

    /// Deletes the children that no garbage collector takes with their owner: the bindings beyond its namespace.
    pub async fn release(&self, owner: &Owner, set: &str) -> Result<(), ApplyError> {
        let home = |namespace: Option<&str>| self.role_bindings(owner, namespace);
        self.prune(owner, set, &Names::new(), &Api::all(self.client.clone()), home).await?;
        let cluster = Api::<ClusterRoleBinding>::all(self.client.clone());
        self.prune(owner, set, &Names::new(), &cluster, |_| cluster.clone()).await
    }

    /// Some children have a name for once: what is deleted must not stay in memory.
    fn forget<K: Child>(&self, namespace: Option<&str>, name: &str) {
        if let Ok(mut memo) = self.settled.lock() {
            memo.remove(&memory::<K>(namespace, name));
        }
    }

    /// Deletes one object of the owner's namespace if it is there and is this owner's.
    pub async fn delete_one<K: Child>(&self, owner: &Owner, api: &Api<K>, name: &str) -> Result<(), ApplyError> {
        let live = api.get_metadata_opt(name).await.map_err(|e| ApplyError::api::<K>("read", name, e))?;
        self.forget::<K>(Some(&owner.namespace), name);
        let ours = |uid: &str| uid == owner.uid;
        let Some(live) = live.filter(|live| live.labels().get(OWNER_UID).is_some_and(|uid| ours(uid))) else {
            return Ok(());
        };
        // Not a namesake that somebody creates in between.
        let same = Preconditions { uid: live.uid(), resource_version: None };
        match api.delete(name, &DeleteParams::background().preconditions(same)).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            Err(error) => Err(ApplyError::api::<K>("delete", name, error)),
        }
    }

    /// Writes one object if it differs from what is in the cluster, and returns what is there afterwards. An object
    /// of that name that is not this owner's is left alone and is an error.
    pub async fn apply_one<K: Child>(
        &self,
        owner: &Owner,
        set: &str,
        api: &Api<K>,
        mut object: K,
    ) -> Result<K, ApplyError> {
        let kind = K::kind(&()).into_owned();
        let name = object.name_any();
        let live = api.get_opt(&name).await.map_err(|e| ApplyError::api::<K>("read", &name, e))?;
        if let Some(live) = &live {
            let owned_by = live.labels().get(OWNER_UID).map(String::as_str).unwrap_or_default();
            // After a restore from a backup the owner has a new UID, and its children come back with the old one.
            let ours = owned_by == owner.uid || live.owner_references().iter().any(|r| r.uid == owner.uid);
            if !ours {
                return Err(ApplyError::Foreign { kind, name, owner: owned_by.to_owned() });
            }
        }
        let json = |source| ApplyError::Json { kind: kind.clone(), source };
        let within = object.meta().namespace.as_deref() == Some(owner.namespace.as_str());
        let labels = object.labels_mut();
        labels.insert(OWNER_UID.into(), owner.uid.clone());
        labels.insert(SET.into(), set.into());
        if within {
            object.owner_references_mut().push(owner.reference());
        }
        let fingerprint = digest([serde_json::to_string(&object).map_err(json)?.as_str()], 16);
        object.annotations_mut().insert(APPLIED.into(), fingerprint.clone());
        let desired = serde_json::to_value(&object).map_err(json)?;
        let memory = memory::<K>(object.namespace().as_deref(), &name);

        let exists = live.is_some();
        if let Some(live) = live {
            let settled =
                Settled { digest: fingerprint.clone(), resource_version: live.resource_version().unwrap_or_default() };
            if self.settled.lock().is_ok_and(|memo| memo.get(&memory) == Some(&settled))
                || drift::holds(&without_types(desired.clone()), &serde_json::to_value(&live).map_err(json)?)
            {
                return Ok(live);
            }
        }
        tracing::debug!(%kind, name, "applying");
        let manager = PatchParams::apply(&format!("{FIELD_MANAGER}-{set}")).force();
        let mut body = desired;
        body["apiVersion"] = K::api_version(&()).into();
        body["kind"] = kind.clone().into();
        let mut answer = api.patch(&name, &manager, &Patch::Apply(&body)).await;
        // Entries that somebody else put into a list can make the sum of both invalid: a merge patch replaces lists.
        if matches!(&answer, Err(kube::Error::Api(status)) if status.code == 422)
            && exists
            && api.patch(&name, &meta::patch_as(set), &Patch::Merge(&body)).await.is_ok()
        {
            answer = api.patch(&name, &manager, &Patch::Apply(&body)).await;
        }
        let answer = answer.map_err(|e| ApplyError::api::<K>("apply", &name, e))?;
        if let Ok(mut memo) = self.settled.lock() {
            let resource_version = answer.resource_version().unwrap_or_default();
            memo.insert(memory, Settled { digest: fingerprint, resource_version });
        }
        Ok(answer)
    }
}

/// Under which name the writer remembers an object.
fn memory<K: Child>(namespace: Option<&str>, name: &str) -> String {
    format!("{}/{}/{name}", K::kind(&()), namespace.unwrap_or_default())
}

/// A get does not always return apiVersion and kind.
fn without_types(mut desired: Value) -> Value {
    if let Some(fields) = desired.as_object_mut() {
        fields.remove("apiVersion");
        fields.remove("kind");
    }
    desired
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{Method, Request, Response};
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::client::Body;
    use kube::core::ObjectMeta;
    use serde_json::json;
    use std::convert::Infallible;

    const SHELF: &str = "/api/v1/namespaces/shop/configmaps";

    /// An API server with room for one ConfigMap.
    fn client() -> Client {
        let kept = Arc::new(Mutex::new(None::<Value>));
        let service = tower::service_fn(move |request: Request<Body>| {
            let kept = kept.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect_bytes().await.unwrap();
                let mut kept = kept.lock().unwrap();
                let missing = json!({"kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound"});
                let (code, said) = match (&head.method, head.uri.path()) {
                    (&Method::PATCH, _) => {
                        let mut object: Value = serde_json::from_slice(&body).unwrap();
                        object["metadata"]["resourceVersion"] = "7".into();
                        object["metadata"]["uid"] = "uid-map".into();
                        *kept = Some(object.clone());
                        (200, object)
                    }
                    (&Method::DELETE, _) => {
                        *kept = None;
                        (200, json!({"kind": "Status", "status": "Success", "code": 200}))
                    }
                    (_, SHELF) => {
                        let items: Vec<Value> = kept.clone().into_iter().collect();
                        (200, json!({"metadata": {"resourceVersion": "7"}, "items": items}))
                    }
                    _ => kept.clone().map_or((404, missing), |object| (200, object)),
                };
                let body = Body::from(serde_json::to_vec(&said).unwrap());
                Ok::<_, Infallible>(Response::builder().status(code).body(body).unwrap())
            }
        });
        Client::new(service, "shop")
    }

    #[tokio::test]
    async fn what_is_deleted_or_pruned_does_not_stay_in_memory() {
        let writer = Writer::new(client());
        let owner = Owner {
            api_version: "evenkeel.dev/v1alpha1".into(),
            kind: "MonitoringStack".into(),
            namespace: "shop".into(),
            name: "main".into(),
            uid: "uid-main".into(),
        };
        let api = Api::<ConfigMap>::namespaced(writer.client().clone(), "shop");
        let metadata =
            ObjectMeta { name: Some("once".into()), namespace: Some("shop".into()), ..ObjectMeta::default() };
        let object = ConfigMap { metadata, ..ConfigMap::default() };
        let remembered = || writer.settled.lock().unwrap().len();
        writer.apply_one(&owner, "rule-tests", &api, object.clone()).await.unwrap();
        assert_eq!(remembered(), 1);
        writer.delete_one(&owner, &api, "once").await.unwrap();
        assert_eq!(remembered(), 0);
        writer.apply_one(&owner, "rule-tests", &api, object).await.unwrap();
        writer.prune(&owner, "rule-tests", &Names::new(), &api, |_| api.clone()).await.unwrap();
        assert_eq!(remembered(), 0);
    }
}
