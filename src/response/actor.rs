//! Acting as somebody: requests with the rights of the ServiceAccount that the AlertResponse names, not the operator's.

use axum::http::{HeaderName, HeaderValue, Request, header};
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource};
use serde::de::DeserializeOwned;

use super::action::Operation;

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
    pub async fn patch<K>(&self, name: &str, operations: &[Operation]) -> Result<K, ActorError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned,
    {
        let user = format!("system:serviceaccount:{}:{}", self.namespace, self.service_account);
        let user = HeaderValue::from_str(&user).map_err(|_| ActorError::Name(self.service_account.clone()))?;
        let run = format!("{}/{}", self.namespace, self.run);
        let run = HeaderValue::from_str(&run).map_err(|_| ActorError::Name(self.run.clone()))?;
        let path = K::url_path(&(), Some(&self.namespace));
        let request = Request::patch(format!("{path}/{name}?fieldManager={MANAGER}"))
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/json-patch+json")
            .header("impersonate-user", user)
            .header(RUN, run)
            .body(serde_json::to_vec(operations)?)?;
        Ok(self.client.request(request).await?)
    }
}
