//! Judges BudgetAdjustments: whether they make sense, and to which SLOs they apply now.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use jiff::Timestamp;
use kube::ResourceExt;
use kube::api::Api;
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::watcher;
use tokio::sync::watch;

use super::adjustment::check;
use super::caches::{Caches, within};
use super::excluded::touches;
use super::window::Window;
use crate::api::budget_adjustment::{BudgetAdjustmentSpec, BudgetAdjustmentStatus};
use crate::api::{BudgetAdjustment, Conditioned, SLO};
use crate::context::{Context, stopped};
use crate::k8s::Guarded;
use crate::k8s::report::{self, ApiError, Failures, Reported};
use crate::k8s::retry::Retry;
use crate::k8s::status::{Outcome, conditions, patch};
use crate::nearest::nearest;

/// Suffix of the field manager of the status.
const MANAGER: &str = "adjustment-status";
/// A period enters and leaves a window by time alone.
const AGAIN: Duration = Duration::from_secs(60);
const CONCURRENCY: u16 = 4;

/// How an adjustment stands, and the SLOs whose present window it touches. `slos` are those of its namespace, with their
/// windows; `None`: that SLO is refused. Pure.
pub fn judge(
    namespace: &str,
    spec: &BudgetAdjustmentSpec,
    slos: &BTreeMap<String, Option<Window>>,
    now: Timestamp,
) -> (Outcome, Vec<String>) {
    let refusals = check(spec);
    if !refusals.is_empty() {
        let message = refusals.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        return (Outcome::Stalled { reason: "InvalidSpec", message }, vec![]);
    }
    let counts = |name: &&String| slos.get(*name).and_then(Option::as_ref).is_some_and(|w| touches(spec, w, now));
    let mut applied: Vec<String> = spec.slos.iter().filter(counts).cloned().collect();
    applied.sort();
    applied.dedup();
    let unknown: Vec<String> = spec
        .slos
        .iter()
        .filter(|name| !slos.contains_key(*name))
        .map(|name| match nearest(slos.keys().map(String::as_str), name) {
            Some(meant) => format!("{name} (did you mean {meant}?)"),
            None => name.clone(),
        })
        .collect();
    if !unknown.is_empty() {
        let message = format!(
            "spec.slos: in namespace {namespace} there is no SLO {}: correct the name, or create it",
            unknown.join(", ")
        );
        return (Outcome::Failing { reason: "SloMissing", message }, applied);
    }
    let message = match applied.len() {
        0 => "it touches the present window of none of its SLOs".to_owned(),
        _ => format!("it counts in the budget of {}", applied.join(", ")),
    };
    (Outcome::Ready { reason: if applied.is_empty() { "NotInWindow" } else { "Applied" }, message }, applied)
}

async fn reconcile(context: &Context, caches: &Caches, adjustment: &BudgetAdjustment) -> Result<Action, ApiError> {
    let (namespace, now) = (adjustment.namespace().unwrap_or_default(), Timestamp::now());
    let window = |slo: &SLO| Window::of(&slo.spec.window).ok();
    let slos = caches.slos(&namespace).iter().map(|slo| (slo.name_any(), window(slo))).collect();
    let (outcome, applied_to) = judge(&namespace, &adjustment.spec, &slos, now);
    let generation = adjustment.metadata.generation;
    let status = BudgetAdjustmentStatus {
        observed_generation: generation,
        conditions: conditions(adjustment.conditions(), generation, &outcome, &[], now),
        applied_to,
    };
    let before = adjustment.conditions().iter().find(|c| c.type_ == "Ready").map(|c| c.reason.clone());
    let wrote = match patch(&context.client, MANAGER, adjustment, adjustment.status.as_ref(), &status).await {
        Ok(wrote) => wrote,
        // Gone, or another one of this name.
        Err(kube::Error::Api(answer)) if matches!(answer.code, 404 | 409) => return Ok(Action::await_change()),
        Err(error) => return Err(error.into()),
    };
    if wrote && before.as_deref() != Some(outcome.reason()) {
        match &outcome {
            Outcome::Ready { reason, message } => report::info(context, adjustment, "Check", reason, message).await,
            other => report::warn(context, adjustment, "Check", other.reason(), other.message()).await,
        }
    }
    Ok(match outcome {
        Outcome::Stalled { .. } => Action::await_change(),
        _ => Action::requeue(AGAIN),
    })
}

struct Shared {
    context: Arc<Context>,
    caches: Arc<Caches>,
    failures: Failures,
}

/// Keeps the status of every adjustment true until told to stop.
pub async fn controller(context: Arc<Context>, caches: Arc<Caches>, stop: watch::Receiver<bool>) {
    let changes = caches.changes();
    tokio::select! {
        () = caches.filled() => {}
        () = stopped(stop.clone()) => return,
    }
    let all = Api::<Guarded<BudgetAdjustment>>::all(context.client.clone());
    let controller = Controller::new(all, watcher::Config::default());
    let store = controller.store();
    let changed = changes.flat_map(move |namespace| stream::iter(within(&store, namespace.as_deref())));
    let shared = Arc::new(Shared { context, caches, failures: Failures::default() });
    controller
        .reconcile_on(changed)
        .trigger_backoff(Retry::default())
        .with_config(Config::default().concurrency(CONCURRENCY).debounce(Duration::from_millis(300)))
        .graceful_shutdown_on(stopped(stop))
        .run(run, |adjustment, _, shared| shared.failures.again(&*adjustment), shared)
        // Errors are reported where they arise.
        .for_each(|_| std::future::ready(()))
        .await;
}

async fn run(object: Arc<Guarded<BudgetAdjustment>>, shared: Arc<Shared>) -> Result<Action, Reported> {
    let Some(adjustment) = report::alive(&object) else { return Ok(Action::await_change()) };
    let work = reconcile(&shared.context, &shared.caches, adjustment);
    let action = report::reconcile(&shared.context, adjustment, work).await?;
    shared.failures.forget(&*object);
    Ok(action)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window() -> Option<Window> {
        Window::of(&serde_saphyr::from_str("{rolling: 30d}").unwrap()).ok()
    }

    fn spec(text: &str) -> BudgetAdjustmentSpec {
        serde_saphyr::from_str(text).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn an_adjustment_applies_while_it_touches_the_window() {
        let slos = BTreeMap::from([("api".to_owned(), window()), ("bad".to_owned(), None)]);
        let spec = spec("{slos: [bad, api, api], exclude: {start: '2026-11-01T00:00:00Z', duration: 2h}}");
        for (now, applied, reason) in [
            ("2026-10-31T23:59:00Z", 0, "NotInWindow"),
            ("2026-11-01T00:01:00Z", 1, "Applied"),
            ("2026-12-01T02:03:00Z", 1, "Applied"),
            ("2026-12-01T02:05:00Z", 0, "NotInWindow"),
        ] {
            let (outcome, to) = judge("shop", &spec, &slos, at(now));
            assert_eq!((to.len(), outcome.reason()), (applied, reason), "{now}");
        }
    }

    #[test]
    fn an_unknown_slo_is_named_with_the_one_that_was_meant() {
        let slos = BTreeMap::from([("checkout".to_owned(), window())]);
        let spec = spec("{slos: [chekout, checkout], giveBack: {percent: 10, at: '2026-11-20T00:00:00Z'}}");
        let (outcome, applied) = judge("shop", &spec, &slos, at("2026-11-21T00:00:00Z"));
        assert!(matches!(outcome, Outcome::Failing { reason: "SloMissing", .. }));
        assert!(outcome.message().contains("no SLO chekout (did you mean checkout?)"), "{outcome:?}");
        assert_eq!(applied, ["checkout"]);
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let spec = spec(
            "{slos: [x], exclude: {start: '2026-11-01T00:00:00Z', duration: 0s, repeat: {every: Day, timeZone: Mars}}}",
        );
        let (outcome, _) = judge("shop", &spec, &BTreeMap::new(), at("2026-11-21T00:00:00Z"));
        assert!(matches!(outcome, Outcome::Stalled { .. }));
        assert!(outcome.message().contains("spec.exclude.duration: 0s") && outcome.message().contains("Mars"));
    }
}
