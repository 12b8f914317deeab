//! All wiring: client, servers, lease, controllers, watches, shutdown.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use kube::{Client, Config};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::api::duration::PromDuration;
use crate::context::{Context, Settings, StormLimits, stopped};
use crate::k8s::served::all_kinds;
use crate::leader::{Elector, LeaderError, Timing};
use crate::metrics::Metrics;
use crate::response::intake::Intake;
use crate::response::stores::Stores;
use crate::response::{self, receive, stores};
use crate::server::{self, Readiness};
use crate::slo::adjusted::Adjustments;
use crate::slo::caches::Caches;
use crate::slo::keeper;
use crate::slo::standing::Standings;
use crate::stack::observed::StackObservations;
use crate::{notify, rule, slo, stack};

/// Name of the Lease, in the operator's namespace.
const LEASE: &str = "evenkeel";
/// Time to end what is under way after the signal to stop; the chart's grace period is longer.
const LAST_ORDERS: Duration = Duration::from_secs(15);

/// Arguments of `evenkeel run`; the chart sets them by environment.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Name of this pod.
    #[arg(long, env = "POD_NAME", default_value = "evenkeel")]
    pod: String,
    /// Namespace of this pod.
    #[arg(long, env = "POD_NAMESPACE", default_value = "evenkeel-system")]
    namespace: String,
    /// Base URL at which Alertmanager reaches the alert receiver.
    #[arg(long, env = "EVENKEEL_RECEIVER_URL", default_value = "http://evenkeel.evenkeel-system.svc:8080")]
    receiver_url: String,
    /// Prefix of the ClusterRoles that the chart installs for stacks: <prefix>-discovery and <prefix>-nodes.
    #[arg(long, env = "EVENKEEL_CLUSTER_ROLE_PREFIX", default_value = "evenkeel")]
    cluster_role_prefix: String,
    /// Secret with `username` and `password` for POST /webhook/alert.
    #[arg(long, env = "EVENKEEL_WEBHOOK_SECRET", default_value = "evenkeel-webhook")]
    webhook_secret: String,
    /// Namespaces whose workloads no AlertResponse may touch.
    #[arg(long, env = "EVENKEEL_PROTECTED_NAMESPACES", value_delimiter = ',', default_value = "kube-system")]
    protected_namespaces: Vec<String>,
    /// Namespaces in which ChangeFreezes refuse nothing, besides this pod's: those that the chart's policy leaves out; *
    /// where the chart installed none.
    #[arg(long, env = "EVENKEEL_FREEZE_EXEMPT_NAMESPACES", value_delimiter = ',', default_value = "kube-system")]
    freeze_exempt_namespaces: Vec<String>,
    /// Runs that may begin to act within the time of the storm brake, in the whole cluster.
    #[arg(long, env = "EVENKEEL_STORM_RUNS", default_value = "20")]
    storm_runs: u16,
    /// Time of the storm brake.
    #[arg(long, env = "EVENKEEL_STORM_WITHIN", default_value = "10m")]
    storm_within: PromDuration,
    /// Percent of the workloads of a namespace with four or more on which runs may begin to act within that time.
    #[arg(long, env = "EVENKEEL_STORM_NAMESPACE_SHARE", default_value = "50%", value_parser = percent)]
    storm_namespace_share: u8,
    /// How long a rule is live before its series are looked for: some come late.
    #[arg(long, env = "EVENKEEL_SERIES_GRACE", default_value = "10m")]
    series_grace: PromDuration,
    /// Name of the operator's ServiceAccount.
    #[arg(long, env = "EVENKEEL_SERVICE_ACCOUNT", default_value = "evenkeel")]
    service_account: String,
    /// Address of the alert receiver.
    #[arg(long, env = "EVENKEEL_ALERTS_ADDRESS", default_value = "0.0.0.0:8080")]
    alerts_address: SocketAddr,
    /// Address of /livez, /readyz and /metrics.
    #[arg(long, env = "EVENKEEL_HEALTH_ADDRESS", default_value = "0.0.0.0:8081")]
    health_address: SocketAddr,
}

fn percent(text: &str) -> Result<u8, String> {
    let number = text.strip_suffix('%').and_then(|number| number.parse().ok()).filter(|percent| *percent <= 100);
    number.ok_or_else(|| format!("{text:?} is no share: write 0% to 100%"))
}

#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    #[error("no configuration for the Kubernetes API: {0}")]
    Config(#[from] kube::config::InferConfigError),
    #[error("cannot make a Kubernetes client: {0}")]
    Client(#[from] kube::Error),
    #[error("cannot make an HTTP client: {0}")]
    Http(#[from] reqwest::Error),
    #[error("cannot start the runtime: {0}")]
    Runtime(#[from] std::io::Error),
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("no longer the leader: {0}")]
    Leader(#[from] LeaderError),
    #[error("{0} ended unexpectedly")]
    Ended(&'static str),
}

/// Runs the operator until SIGTERM or SIGINT.
pub fn start(options: Options) -> Result<(), OperatorError> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(run(options))
}

async fn run(options: Options) -> Result<(), OperatorError> {
    let context = connect(&options).await?;
    let (stop, stopping) = watch::channel(false);
    tokio::spawn(async move {
        wait_for_signal().await;
        tracing::info!("stopping");
        let _ = stop.send(true);
    });

    let readiness = Readiness::default();
    let health = server::health(context.metrics.clone(), readiness.clone());
    // Every replica takes alerts; it is ready when it can judge them.
    let (stores, watching) = stores::watch(&context);
    let intake = Intake::new(context.clone(), stores.clone());
    let alerts = receive::routes(intake.clone(), context.metrics.clone());
    let caches = async {
        let watching = tokio::spawn(watching);
        stores.filled().await;
        readiness.set(true);
        tracing::info!("taking alerts");
        let _ = watching.await;
    };
    let caches = async {
        tokio::select! {
            () = caches => Err(OperatorError::Ended("the watch of AlertResponses and runs")),
            () = stopped(stopping.clone()) => Ok(()),
        }
    };
    let elector = Elector::new(context.client.clone(), &options.namespace, LEASE, &options.pod, Timing::default());
    let work = async {
        // Until then neither ready nor leading: an upgrade without its kinds leaves the replicas of before at work.
        tokio::select! {
            () = all_kinds(&context.client) => {}
            () = stopped(stopping.clone()) => return Ok(()),
        }
        let lead = lead(context.clone(), stores.clone(), intake, elector, stopping.clone());
        tokio::try_join!(caches, lead).map(|_| ())
    };
    tokio::try_join!(
        listen(options.health_address, health, stopping.clone()),
        listen(options.alerts_address, alerts, stopping.clone()),
        work,
    )?;
    Ok(())
}

/// Serves until told to stop, and then what is open.
async fn listen(address: SocketAddr, router: Router, stopping: watch::Receiver<bool>) -> Result<(), OperatorError> {
    let serving = server::serve(address, router, stopped(stopping));
    serving.await.map_err(|source| OperatorError::Listen { address, source })
}

/// Waits for the lease, and works for as long as it is held. A replica that loses it ends its process.
async fn lead(
    context: Arc<Context>,
    stores: Arc<Stores>,
    intake: Intake,
    mut elector: Elector,
    stopping: watch::Receiver<bool>,
) -> Result<(), OperatorError> {
    tokio::select! {
        () = elector.acquire() => {}
        () = stopped(stopping.clone()) => return Ok(()),
    }
    tracing::info!("leading");
    context.metrics.leader.set(1);
    tokio::select! {
        lost = elector.hold() => Err(OperatorError::from(lost)),
        ended = controllers(context.clone(), stores, intake, stopping) => {
            elector.release().await;
            ended
        }
    }
}

async fn connect(options: &Options) -> Result<Arc<Context>, OperatorError> {
    let mut config = Config::infer().await?;
    // The default policy waits up to 160 s within one call: every reconcile has its own bound and backoff instead.
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(5));
    let client = Client::try_from(config)?;
    let http = reqwest::Client::builder()
        .user_agent(concat!("evenkeel/", env!("CARGO_PKG_VERSION")))
        .timeout(Duration::from_secs(10))
        .connect_timeout(Duration::from_secs(3))
        .build()?;
    let settings = Settings {
        namespace: options.namespace.clone(),
        pod: options.pod.clone(),
        receiver_url: options.receiver_url.trim_end_matches('/').to_owned(),
        service_account: options.service_account.clone(),
        cluster_role_prefix: options.cluster_role_prefix.clone(),
        webhook_secret: options.webhook_secret.clone(),
        protected_namespaces: options.protected_namespaces.clone(),
        freeze_exempt_namespaces: options.freeze_exempt_namespaces.clone(),
        storm: StormLimits {
            runs: options.storm_runs.into(),
            within: options.storm_within,
            namespace_share: options.storm_namespace_share,
        },
        series_grace: options.series_grace,
    };
    Ok(Context::new(client, settings, Metrics::new(), http))
}

/// Everything that only the leader does; returns when told to stop, and when what is under way is done.
async fn controllers(
    context: Arc<Context>,
    stores: Arc<Stores>,
    intake: Intake,
    stopping: watch::Receiver<bool>,
) -> Result<(), OperatorError> {
    let memory = StackObservations::default();
    let stop = || stopped(stopping.clone());
    let mut tasks = JoinSet::new();
    // The loader counts rules, the stack's status tells them.
    let (counted, counts) = futures::channel::mpsc::unbounded();
    // Who acts on budgets reads where SLOs stand, which their keeper writes.
    let standings = Arc::new(Standings::default());
    let (loader, keeper) = rule::link::ends();
    let (adjustments, watching) = Adjustments::watch(&context);
    let (caches, watching_budgets) = Caches::watch(&context, adjustments.clone());
    tasks.spawn(until(stop(), watching_budgets));
    tasks.spawn(slo::adjustments::controller(context.clone(), caches.clone(), stopping.clone()));
    let nearby = response::around::Nearby { caches: caches.clone(), standings: standings.reader() };
    let (reader, told) = (standings.reader(), stopping.clone());
    tasks.spawn(slo::policies::controller(context.clone(), caches, stores.clone(), reader, told));
    let shared = keeper::Shared { adjustments, standings, memory: memory.clone(), changed: counted.clone() };
    tasks.spawn(until(stop(), watching));
    tasks.spawn(keeper::run(context.clone(), keeper, shared, stop()));
    tasks.spawn(rule::logs::keeper::run(context.clone(), memory.clone(), counted.clone(), stop()));
    tasks.spawn(rule::loader::run(context.clone(), memory.clone(), counted, loader, stop()));
    tasks.spawn(stack::reconcile::controller(context.clone(), memory, counts, stop()));
    tasks.spawn(notify::channel::controller(context.clone(), stop()));
    tasks.spawn(slo::freeze::controller(context.clone(), stop()));
    tasks.spawn(response::lead(context, stores, intake, nearby, stopping.clone()));
    let all = async {
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = &ended {
                tracing::error!(%error, "a controller failed");
            }
            if ended.is_err() || !*stopping.borrow() {
                return Err(OperatorError::Ended("a controller"));
            }
        }
        Ok(())
    };
    let late = async {
        stopped(stopping.clone()).await;
        tokio::time::sleep(LAST_ORDERS).await;
        tracing::warn!("stopping although something is still under way");
    };
    tokio::select! {
        ended = all => ended,
        () = late => Ok(()),
    }
}

/// Works until told to stop.
async fn until(stop: impl Future<Output = ()>, work: impl Future<Output = ()>) {
    tokio::select! {
        () = stop => {}
        () = work => {}
    }
}

async fn wait_for_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = terminated => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
