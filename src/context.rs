//! What every reconcile shares.

use std::sync::Arc;

use kube::Client;
use kube::runtime::events::{Recorder, Reporter};
use tokio::sync::watch;

use crate::api::duration::PromDuration;
use crate::k8s::apply::Writer;
use crate::metrics::Metrics;

/// Where the operator runs and what it was told at its start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Namespace of the operator's own pods.
    pub namespace: String,
    /// Name of this replica: the holder of the lease, the reporting instance of Events.
    pub pod: String,
    /// Base URL at which Alertmanager reaches the alert receiver, without a trailing slash,
    /// for example `http://evenkeel.evenkeel-system.svc:8080`.
    pub receiver_url: String,
    /// ServiceAccount of the operator (for admission policies and checks).
    pub service_account: String,
    /// Prefix of the ClusterRoles which the chart installs for what stacks need: `<prefix>-discovery`, `<prefix>-nodes`.
    pub cluster_role_prefix: String,
    /// Secret with keys `username` and `password` for `POST /webhook/alert`, in the operator's namespace.
    pub webhook_secret: String,
    /// Namespaces besides its own whose workloads an AlertResponse may never touch.
    pub protected_namespaces: Vec<String>,
    /// Namespaces that the chart's admission policy leaves out, its own aside; `*` where there is no policy.
    pub freeze_exempt_namespaces: Vec<String>,
    /// When so much is being repaired that it is no time to repair more.
    pub storm: StormLimits,
    /// How long a rule is live before its series are looked for.
    pub series_grace: PromDuration,
}

/// Limits on what all AlertResponses together may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StormLimits {
    /// Runs of the whole cluster that may begin to act within `within`.
    pub runs: usize,
    pub within: PromDuration,
    /// Percent of a namespace's workloads on which runs may begin to act within `within`.
    pub namespace_share: u8,
}

impl Default for StormLimits {
    fn default() -> Self {
        Self { runs: 20, within: PromDuration::from_mins(10), namespace_share: 50 }
    }
}

/// Cheap to clone through its `Arc`.
#[derive(Clone)]
pub struct Context {
    pub client: Client,
    pub writer: Writer,
    pub recorder: Recorder,
    pub metrics: Metrics,
    pub http: reqwest::Client,
    pub settings: Arc<Settings>,
}

impl Context {
    pub fn new(client: Client, settings: Settings, metrics: Metrics, http: reqwest::Client) -> Arc<Self> {
        let reporter = Reporter { controller: "evenkeel.dev/operator".into(), instance: Some(settings.pod.clone()) };
        Arc::new(Self {
            writer: Writer::new(client.clone()),
            recorder: Recorder::new(client.clone(), reporter),
            client,
            metrics,
            http,
            settings: Arc::new(settings),
        })
    }
}

/// Resolves once the process was told to stop.
pub async fn stopped(mut stopping: watch::Receiver<bool>) {
    // An error means that the sender is gone, which only happens at the very end.
    let _ = stopping.wait_for(|stop| *stop).await;
}
