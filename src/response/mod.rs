//! Alert -> ResponseRun -> guards -> steps -> proof. Pure: `payload`, `validate`, `channels`, `condition`, `episode`, `guard`, `storm`,
//! `in_vain`, `ledger`, `needs`, `run`, `look_back`, `verify`, `evidence`, `redact`, `retention`, `news` and what `action` decides. With a client:
//! all else.
//!
//! Every replica: `stores` (caches), `receive` and `intake` (alerts become runs). The leader: `controller` (runs are
//! carried out), `responses` (AlertResponses are judged), `poller` (what no webhook tells).

pub mod access;
pub mod act;
pub mod action;
pub mod actor;
pub mod alertmanagers;
pub mod around;
pub mod channels;
pub mod condition;
pub mod confine;
pub mod controller;
pub mod credentials;
pub mod episode;
pub mod errand;
pub mod evidence;
pub mod facts;
pub mod gather;
mod gather_workload;
pub mod guard;
pub mod in_vain;
pub mod index;
pub mod intake;
pub mod ledger;
pub mod lokis;
pub mod look_back;
pub mod needs;
pub mod news;
pub mod payload;
pub mod poller;
pub mod prometheuses;
pub mod receive;
pub mod redact;
pub mod responses;
pub mod retention;
pub mod run;
pub mod stores;
pub mod storm;
pub mod turns;
pub mod validate;
pub mod verify;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::context::{Context, stopped};

/// What the leader does for responses, until told to stop.
pub async fn lead(
    context: Arc<Context>,
    stores: Arc<stores::Stores>,
    intake: intake::Intake,
    nearby: around::Nearby,
    stop: watch::Receiver<bool>,
) {
    tokio::join!(
        controller::runs(context.clone(), stores.clone(), nearby, stop.clone()),
        responses::responses(context.clone(), stores.clone(), stop.clone()),
        poller::poll(context.clone(), stores, intake, stop.clone()),
        webhook_secret(&context, stop),
    );
}

/// Tries until the Secret of `/webhook/alert` is there.
async fn webhook_secret(context: &Context, stop: watch::Receiver<bool>) {
    let made = async {
        while let Err(error) = credentials::ensure_webhook_secret(context).await {
            let name = &context.settings.webhook_secret;
            tracing::warn!(%error, name, "cannot make the Secret of /webhook/alert");
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
    };
    tokio::select! {
        () = made => {}
        () = stopped(stop) => {}
    }
}
