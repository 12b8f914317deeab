//! Reads what a run's next decision rests on, from the API server and the Alertmanagers, at the moment of the decision.
//!
//! What cannot be read for a reason that may pass is an error, and the decision is put off: only what is known to be
//! missing or forbidden becomes a fact.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::ListParams;
use kube::{Api, ResourceExt};

use super::alertmanagers::{Alertmanagers, stack_of};
use super::around::{self, Nearby};
use super::condition::Told;
use super::facts::{Asked, Facts, Known, LookBack};
use super::gather_workload::workload;
use super::guard::PAUSE;
use super::{prometheuses, verify};
use crate::api::alert_response::AlertResponse;
use crate::api::response_run::{ALERT_SEEN_AT, ALERT_STATE, AlertState, Phase, ResponseRun};
use crate::context::Context;
use crate::k8s::Guarded;
use crate::k8s::meta::next_page;
use crate::k8s::together::Together;

/// What hundreds of runs ask at the same time in a storm.
#[derive(Default)]
pub struct Shared {
    responses: Together<Option<AlertResponse>>,
    /// Whether responses are paused by the annotation of a Namespace.
    paused: Together<bool>,
}

/// Runs of one page of a list.
const PAGE: u32 = 200;
/// An alert that was delivered so recently need not be asked for.
const JUST_DELIVERED: SignedDuration = SignedDuration::from_secs(10);

/// All facts but the other runs and the storm, which the caller looks at under the lock that orders them, and what was
/// before, which only a run that is about to begin needs.
pub async fn facts(
    context: &Context,
    (alertmanagers, nearby, shared): (&Alertmanagers, &Nearby, &Shared),
    run: &ResponseRun,
    now: Timestamp,
) -> Result<Facts, kube::Error> {
    let proving = run.phase() == Phase::Verifying;
    let (alert, workload, condition, look_back) = tokio::try_join!(
        alert(alertmanagers, run, now),
        workload(context, run),
        condition(context, run),
        look_back(context, run),
    )?;
    let slo = around::slo(nearby, run);
    let facts = Facts { alert, workload, condition, slo, look_back, ..Facts::default() };
    let to_undo = run.status.iter().flat_map(|status| &status.steps).any(|step| step.undo.is_some());
    if proving && !to_undo {
        return Ok(facts);
    }
    let (response, paused_by, around) = tokio::try_join!(
        response(context, shared, run),
        paused_by(context, shared, run),
        around::around(context, nearby, run)
    )?;
    let protected = is_protected(context, &run.namespace().unwrap_or_default());
    Ok(Facts { response, paused_by, protected, around, ..facts })
}

/// Namespaces whose workloads are never touched: the operator's own, and those of its settings.
pub fn is_protected(context: &Context, namespace: &str) -> bool {
    let settings = &context.settings;
    settings.namespace == namespace || settings.protected_namespaces.iter().any(|n| n == namespace)
}

/// Looks at all runs, from the API server. By pages: after a storm there may be more than fit into memory twice.
pub async fn each_run(context: &Context, mut look: impl FnMut(&ResponseRun)) -> Result<(), kube::Error> {
    let api = Api::<Guarded<ResponseRun>>::all(context.client.clone());
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let listed = api.list(&page).await?;
        listed.items.iter().filter_map(|run| run.0.as_ref().ok()).for_each(&mut look);
        match next_page(page, &listed) {
            Some(next) => page = next,
            None => return Ok(()),
        }
    }
}

async fn response(context: &Context, shared: &Shared, run: &ResponseRun) -> Result<Option<AlertResponse>, kube::Error> {
    let (namespace, name) = (run.namespace().unwrap_or_default(), &run.spec.response_ref.name);
    let api = Api::<Guarded<AlertResponse>>::namespaced(context.client.clone(), &namespace);
    let found = async { api.get_opt(name).await.map(|found| found.and_then(|response| response.0.ok())) };
    let found = shared.responses.ask(&format!("{namespace}/{name}"), found).await?;
    Ok(found.filter(|response| response.metadata.deletion_timestamp.is_none()))
}

async fn paused_by(context: &Context, shared: &Shared, run: &ResponseRun) -> Result<Option<String>, kube::Error> {
    let api = Api::<Namespace>::all(context.client.clone());
    for name in [run.namespace().unwrap_or_default(), context.settings.namespace.clone()] {
        let is_paused = async {
            let namespace = api.get_metadata_opt(&name).await?;
            Ok::<_, kube::Error>(
                namespace.is_some_and(|n| n.annotations().get(PAUSE).map(String::as_str) == Some("true")),
            )
        };
        if shared.paused.ask(&name, is_paused).await? {
            return Ok(Some(format!("Namespace {name}")));
        }
    }
    Ok(None)
}

async fn alert(alertmanagers: &Alertmanagers, run: &ResponseRun, now: Timestamp) -> Result<Known, kube::Error> {
    let known = delivered(run);
    let recent = known.seen_at.is_some_and(|seen| now.duration_since(seen) < JUST_DELIVERED);
    match stack_of(&run.spec.alert.source) {
        Some(stack) if !recent && known.state != AlertState::Resolved => {
            let asked = alertmanagers.ask(&stack).await?.about(&run.spec.alert.fingerprint);
            Ok(Known { asked, ..known })
        }
        _ => Ok(known),
    }
}

/// What Prometheus says of the condition that counts in this phase.
async fn condition(context: &Context, run: &ResponseRun) -> Result<Option<Told>, kube::Error> {
    let expr = match run.phase() {
        Phase::Pending => run.spec.only_if.promql.as_deref(),
        Phase::Verifying => run.spec.verify.promql.as_deref(),
        _ => None,
    };
    match expr {
        Some(expr) => prometheuses::ask(context, &run.spec.alert.source, expr).await.map(Some),
        None => Ok(None),
    }
}

/// How it stands with `verify.promql` before anything is touched.
pub async fn before(context: &Context, run: &ResponseRun) -> Result<Option<String>, kube::Error> {
    match &run.spec.verify.promql {
        Some(expr) => prometheuses::values(context, &run.spec.alert.source, expr).await,
        None => Ok(None),
    }
}

/// How far the alert looks back: once, when the proof begins and rests on the alert alone.
async fn look_back(context: &Context, run: &ResponseRun) -> Result<LookBack, kube::Error> {
    let verification = run.status.as_ref().and_then(|status| status.verification.as_ref());
    let known = verification.is_some_and(|verification| verification.settle.is_some());
    match run.phase() == Phase::Verifying && !known && verify::rests_on_the_alert(&run.spec.verify) {
        true => prometheuses::look_back(context, &run.spec.alert).await,
        false => Ok(LookBack::NotAsked),
    }
}

/// What was delivered of the alert: the run itself was the first delivery, later ones are noted in its annotations.
pub fn delivered(run: &ResponseRun) -> Known {
    let noted = |key: &str| run.annotations().get(key);
    let state = match noted(ALERT_STATE).map(String::as_str) {
        Some("Resolved") => AlertState::Resolved,
        _ => AlertState::Firing,
    };
    let first = run.spec.alert.received_at.as_ref().map(|t| t.0);
    let seen_at = noted(ALERT_SEEN_AT).and_then(|t| t.parse().ok()).or(first);
    Known { state, seen_at, asked: Asked::NoAnswer }
}
