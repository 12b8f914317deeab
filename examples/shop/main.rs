//! The service of the demo: `shop` answers GET /checkout, `shop load` asks it. A bad release is one whose environment
//! says that it fails: RELEASE=2 FAIL_RATIO=0.2.

mod load;
mod serve;
mod trace;

use std::net::SocketAddr;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "A small shop, and its customers")]
struct Arguments {
    #[command(flatten)]
    serve: Serve,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Answers GET /checkout, /healthz and /metrics.
#[derive(clap::Args)]
struct Serve {
    #[arg(long, env = "LISTEN", default_value = "0.0.0.0:8080")]
    listen: SocketAddr,
    /// What this release calls itself in logs and answers.
    #[arg(long, env = "RELEASE", default_value = "1")]
    release: String,
    /// Checkouts that one pod works on at a time; the others wait in a queue. 0: any number.
    #[arg(long, env = "WORKERS", default_value_t = 0)]
    workers: usize,
    /// Where spans are sent by OTLP over HTTP, for example http://main-log-gateway.monitoring.svc:4318. Default: nowhere.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    otlp: Option<String>,
    /// What the spans call this service.
    #[arg(long, env = "OTEL_SERVICE_NAME", default_value = "shop")]
    service: String,
    /// Share of the checkouts that fail, from 0 to 1.
    #[arg(long, env = "FAIL_RATIO", default_value_t = 0.0, value_parser = ratio)]
    fail_ratio: f64,
}

#[derive(Subcommand)]
enum Command {
    /// Send GET requests at a steady rate and say every ten seconds how they went.
    Load {
        #[arg(long)]
        url: String,
        /// Requests per second.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=5000))]
        rps: u32,
    },
}

fn ratio(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        _ => Err("not a number from 0 to 1".to_owned()),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().json().flatten_event(true).with_current_span(false).with_target(false).init();
    let Arguments { serve: Serve { listen, release, workers, otlp, service, fail_ratio }, command } =
        Arguments::parse();
    match command {
        None => {
            let tracer = trace::Tracer::start(otlp, service);
            serve::serve(listen, serve::Shop::new(release, fail_ratio, workers, tracer), stopped()).await?;
        }
        Some(Command::Load { url, rps }) => load::load(&url, rps, stopped()).await,
    }
    Ok(())
}

/// Resolves on SIGTERM or Ctrl-C.
async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        },
        Err(error) => {
            tracing::warn!(%error, "cannot listen for SIGTERM");
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}
