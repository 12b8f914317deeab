//! What tests share: a server on a port of its own, and a context around a client.

use std::sync::Arc;

use axum::Router;
use kube::Client;

use crate::api::duration::PromDuration;
use crate::context::{Context, Settings, StormLimits};
use crate::metrics::Metrics;

/// Answers for as long as the test runs; its base URL.
pub async fn server(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

pub fn context(client: Client) -> Arc<Context> {
    let settings = Settings {
        namespace: "evenkeel-system".into(),
        pod: "evenkeel-0".into(),
        receiver_url: String::new(),
        service_account: "evenkeel".into(),
        cluster_role_prefix: "evenkeel".into(),
        webhook_secret: "evenkeel-webhook".into(),
        protected_namespaces: vec![],
        freeze_exempt_namespaces: vec![],
        storm: StormLimits::default(),
        series_grace: PromDuration::from_mins(10),
    };
    Context::new(client, settings, Metrics::new(), reqwest::Client::new())
}
