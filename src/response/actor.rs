//! Acting as somebody: requests with the rights of the ServiceAccount that the AlertResponse names, not the operator's.

use axum::http::{HeaderName, HeaderValue, Method, Request, header};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, LogParams, ObjectList, PostParams, Preconditions};
use kube::core::{ClusterResourceScope, NamespaceResourceScope};
use kube::{Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::action::Operation;
use crate::api::response_run::PodRef;

/// Field manager of what the steps change.
const MANAGER: &str = "evenkeel-response";
/// Header of the extra `evenkeel.dev/run` of the impersonated user: which run acts. The audit log shows it, and a
/// ChangeFreeze lets it pass. It takes a right of its own, which only the operator has: who may act as the ServiceAccount
/// cannot pretend to be a run.
const RUN: HeaderName = HeaderName::from_static("impersonate-extra-evenkeel.dev%2frun");

#[derive(Debug, thiserror::Error)]
pub enum ActorError {
    #[error(transparent)]
    Kube(#[from] kube::Error),
    #[error("cannot make the request: {0}")]
    Request(#[from] axum::http::Error),
    #[error("cannot write the patch as JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("{0:?} cannot be the name of a ServiceAccount or a run")]
    Name(String),
}

/// A ServiceAccount of a namespace. It shares the operator's connections; only the header differs.
pub struct Actor {
    client: Client,
    namespace: String,
    service_account: String,
    run: String,
}

impl Actor {
    /// For the run of this name in the same namespace.
    pub fn new(client: Client, namespace: &str, service_account: &str, run: &str) -> Self {
        let [namespace, service_account, run] = [namespace, service_account, run].map(str::to_owned);
        Self { client, namespace, service_account, run }
    }

    /// `NAMESPACE/NAME`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.namespace, self.service_account)
    }

    /// Sends a JSON Patch to an object of the namespace.
    pub async fn patch<K>(&self, name: &str, operations: &[Operation]) -> Result<(), ActorError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        self.send_patch(format!("{}/{name}", K::url_path(&(), Some(&self.namespace))), operations).await
    }

    /// Sends a JSON Patch to the status of an object of the namespace.
    pub async fn patch_status<K>(&self, name: &str, operations: &[Operation]) -> Result<(), ActorError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        self.send_patch(format!("{}/{name}/status", K::url_path(&(), Some(&self.namespace))), operations).await
    }

    /// Sends a JSON Patch to an object without a namespace: the ServiceAccount needs a ClusterRole for it.
    pub async fn patch_cluster<K>(&self, name: &str, operations: &[Operation]) -> Result<(), ActorError>
    where
        K: Resource<DynamicType = (), Scope = ClusterResourceScope>,
    {
        self.send_patch(format!("{}/{name}", K::url_path(&(), None)), operations).await
    }

    /// Deletes this pod and no other of its name. One that is gone already is deleted.
    pub async fn delete_pod(&self, pod: &PodRef) -> Result<(), ActorError> {
        let preconditions = Preconditions { uid: Some(pod.uid.clone()), resource_version: None };
        let options = DeleteParams::default().preconditions(preconditions);
        let path = format!("{}/{}", Pod::url_path(&(), Some(&self.namespace)), pod.name);
        match self.send(Method::DELETE, &path, "application/json", serde_json::to_vec(&options)?).await {
            Err(ActorError::Kube(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => Ok(()),
            answer => answer,
        }
    }

    async fn send_patch(&self, path: String, operations: &[Operation]) -> Result<(), ActorError> {
        let path = format!("{path}?fieldManager={MANAGER}");
        self.send(Method::PATCH, &path, "application/json-patch+json", serde_json::to_vec(operations)?).await
    }

    async fn send(&self, method: Method, path: &str, type_: &str, body: Vec<u8>) -> Result<(), ActorError> {
        let request = Request::builder().method(method).uri(path).header(header::ACCEPT, "application/json");
        let request = request.header(header::CONTENT_TYPE, type_).body(body)?;
        self.client.request::<Value>(self.as_itself(request)?).await?;
        Ok(())
    }

    /// The same request as this ServiceAccount.
    fn as_itself(&self, mut request: Request<Vec<u8>>) -> Result<Request<Vec<u8>>, ActorError> {
        let user = format!("system:serviceaccount:{}:{}", self.namespace, self.service_account);
        let user = HeaderValue::from_str(&user).map_err(|_| ActorError::Name(self.service_account.clone()))?;
        let run = format!("{}/{}", self.namespace, self.run);
        let run = HeaderValue::from_str(&run).map_err(|_| ActorError::Name(self.run.clone()))?;
        request.headers_mut().insert("impersonate-user", user);
        request.headers_mut().insert(RUN, run);
        Ok(request)
    }

    /// An object by its path in the API; `None` when there is none.
    pub async fn get<K: DeserializeOwned>(&self, path: &str) -> Result<Option<K>, ActorError> {
        let request = Request::get(path).header(header::ACCEPT, "application/json").body(vec![])?;
        match self.client.request(self.as_itself(request)?).await {
            Ok(found) => Ok(Some(found)),
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// A page of objects of the namespace.
    pub async fn list<K>(&self, of: &ListParams) -> Result<ObjectList<K>, ActorError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned + Clone,
    {
        let request = self.requests::<K>().list(of).map_err(kube::Error::BuildRequest)?;
        Ok(self.client.request(self.as_itself(request)?).await?)
    }

    /// Makes an object in the namespace.
    pub async fn create<K>(&self, object: &K) -> Result<K, ActorError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Serialize + DeserializeOwned,
    {
        let parameters = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
        let body = serde_json::to_vec(object)?;
        let request = self.requests::<K>().create(&parameters, body).map_err(kube::Error::BuildRequest)?;
        Ok(self.client.request(self.as_itself(request)?).await?)
    }

    /// Logs of a container of a pod of the namespace.
    pub async fn logs(&self, pod: &str, of: &LogParams) -> Result<String, ActorError> {
        let request = self.requests::<Pod>().logs(pod, of).map_err(kube::Error::BuildRequest)?;
        Ok(self.client.request_text(self.as_itself(request)?).await?)
    }

    fn requests<K: Resource<DynamicType = ()>>(&self) -> kube::core::Request {
        kube::core::Request::new(K::url_path(&(), Some(&self.namespace)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::http::Response;
    use k8s_openapi::api::core::v1::Node;
    use kube::client::Body;
    use serde_json::json;

    use super::*;
    use crate::k8s::workload::Rollout;

    type Seen = Arc<Mutex<Vec<(String, Value)>>>;

    /// A ServiceAccount whose every request is answered with this code.
    fn actor(code: u16) -> (Actor, Seen) {
        let seen = Seen::default();
        let shelf = seen.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let shelf = shelf.clone();
            async move {
                let (head, body) = request.into_parts();
                let user = head.headers.get("impersonate-user").unwrap().to_str().unwrap().to_owned();
                let body = serde_json::from_slice(&body.collect_bytes().await.unwrap()).unwrap();
                shelf.lock().unwrap().push((format!("{user} {} {}", head.method, head.uri), body));
                let answer =
                    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": "no"});
                let answer = Body::from(serde_json::to_vec(&answer).unwrap());
                Ok::<_, std::convert::Infallible>(Response::builder().status(code).body(answer).unwrap())
            }
        });
        (Actor::new(Client::new(service, "default"), "shop", "responder", "run"), seen)
    }

    #[tokio::test]
    async fn objects_are_reached_where_they_are_as_the_service_account() {
        let (actor, seen) = actor(200);
        actor.patch_status::<Rollout>("web", &[]).await.unwrap();
        actor.patch_cluster::<Node>("node-1", &[]).await.unwrap();
        let seen: Vec<_> = seen.lock().unwrap().iter().map(|(request, _)| request.clone()).collect();
        let patch = "system:serviceaccount:shop:responder PATCH";
        assert_eq!(
            seen,
            [
                format!(
                    "{patch} /apis/argoproj.io/v1alpha1/namespaces/shop/rollouts/web/status?fieldManager={MANAGER}"
                ),
                format!("{patch} /api/v1/nodes/node-1?fieldManager={MANAGER}"),
            ]
        );
    }

    #[tokio::test]
    async fn only_the_pod_with_this_uid_is_deleted_and_one_that_is_gone_is_done() {
        let pod = PodRef { name: "web-1".into(), uid: "web-1-uid".into() };
        // Gone, or another one of its name by now.
        for code in [200, 404, 409] {
            let (actor, seen) = actor(code);
            actor.delete_pod(&pod).await.unwrap();
            let (request, body) = seen.lock().unwrap()[0].clone();
            assert_eq!(request, "system:serviceaccount:shop:responder DELETE /api/v1/namespaces/shop/pods/web-1");
            assert_eq!(body.pointer("/preconditions/uid"), Some(&json!("web-1-uid")));
        }
        for code in [403, 503] {
            assert!(actor(code).0.delete_pod(&pod).await.is_err(), "{code}");
        }
    }
}
