//! Acting as somebody: requests with the rights of the ServiceAccount that the AlertResponse names, not the operator's.

use axum::http::{HeaderValue, Request, header};
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource};
use serde::de::DeserializeOwned;

use super::action::Operation;

/// Field manager of what the steps change.
const MANAGER: &str = "evenkeel-response";

#[derive(Debug, thiserror::Error)]
pub enum ActorError {
    #[error(transparent)]
    Kube(#[from] kube::Error),
    #[error("cannot make the request: {0}")]
    Request(#[from] axum::http::Error),
    #[error("cannot write the patch as JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("{0:?} cannot be the name of a ServiceAccount")]
    Name(String),
}

/// A ServiceAccount of a namespace. It shares the operator's connections; only the header differs.
pub struct Actor {
    client: Client,
    namespace: String,
    service_account: String,
}

impl Actor {
    pub fn new(client: Client, namespace: &str, service_account: &str) -> Self {
        Self { client, namespace: namespace.to_owned(), service_account: service_account.to_owned() }
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
        let path = K::url_path(&(), Some(&self.namespace));
        let request = Request::patch(format!("{path}/{name}?fieldManager={MANAGER}"))
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/json-patch+json")
            .header("impersonate-user", user)
            .body(serde_json::to_vec(operations)?)?;
        Ok(self.client.request(request).await?)
    }
}
