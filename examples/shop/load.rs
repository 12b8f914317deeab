//! The customers.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{MissedTickBehavior, interval};

/// Requests that may be open at once; beyond that they are skipped, so that a slow shop does not pile them up.
const OPEN: usize = 256;

#[derive(Default)]
struct Tally {
    ok: AtomicU64,
    failed: AtomicU64,
    unreachable: AtomicU64,
    skipped: AtomicU64,
}

impl Tally {
    /// Logs what was counted since the last call.
    fn report(&self) {
        let take = |count: &AtomicU64| count.swap(0, Ordering::Relaxed);
        let (ok, failed) = (take(&self.ok), take(&self.failed));
        let (unreachable, skipped) = (take(&self.unreachable), take(&self.skipped));
        tracing::info!(ok, failed, unreachable, skipped, "requests of the last 10 s");
    }
}

/// Asks `url` until `stopped` resolves. Connections are not kept, so that every pod of a Service gets its share.
pub async fn load(url: &str, rps: u32, stopped: impl Future<Output = ()>) {
    let client = reqwest::Client::builder().pool_max_idle_per_host(0).timeout(Duration::from_secs(5)).build();
    let client = match client {
        Ok(client) => client,
        Err(error) => return tracing::error!(%error, "cannot make an HTTP client"),
    };
    let tally = Arc::new(Tally::default());
    let open = Arc::new(Semaphore::new(OPEN));
    let mut next = interval(Duration::from_secs(1) / rps);
    next.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut report = interval(Duration::from_secs(10));
    report.reset();
    let mut stopped = pin!(stopped);
    loop {
        tokio::select! {
            _ = next.tick() => {}
            _ = report.tick() => {
                tally.report();
                continue;
            }
            () = &mut stopped => return tally.report(),
        }
        let Ok(permit) = open.clone().try_acquire_owned() else {
            tally.skipped.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        let (request, tally) = (client.get(url), tally.clone());
        tokio::spawn(async move {
            let _permit = permit;
            let count = match request.send().await {
                Ok(answer) if answer.status().is_success() => &tally.ok,
                Ok(_) => &tally.failed,
                Err(_) => &tally.unreachable,
            };
            count.fetch_add(1, Ordering::Relaxed);
        });
    }
}
