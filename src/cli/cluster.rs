//! The way into a cluster, with the rights of the person who asks.

use kube::{Client, Config};

use crate::k8s::report::words;

#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error("no configuration for the Kubernetes API: {0}; set KUBECONFIG, or run it where kubectl works")]
    Config(#[from] kube::config::InferConfigError),
    #[error("cannot make a Kubernetes client: {0}")]
    Client(kube::Error),
    #[error("cannot {verb}: {}", words(.error))]
    Api { verb: String, error: Box<kube::Error> },
}

/// What could not be done, in a verb and its objects, and why.
pub fn failed(verb: String, error: kube::Error) -> ClusterError {
    ClusterError::Api { verb, error: Box::new(error) }
}

/// A client, and the namespace: that of the kubeconfig where none is given.
pub async fn connect(namespace: Option<&str>) -> Result<(Client, String), ClusterError> {
    let config = Config::infer().await?;
    let namespace = namespace.map_or_else(|| config.default_namespace.clone(), str::to_owned);
    Ok((Client::try_from(config).map_err(ClusterError::Client)?, namespace))
}
