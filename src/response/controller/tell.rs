//! What is told of a run: Events, log lines, the audit log, metrics.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{Resource, ResourceExt};

use super::Shared;
use crate::api::response_run::ResponseRunStatus;
use crate::api::{AlertResponse, ResponseRun};
use crate::k8s::report;
use crate::metrics;
use crate::response::facts::{Facts, Lookup};
use crate::response::news::{self, About};

/// What holds for hundreds of runs is told once in so long.
const TELL_EVERY: Duration = Duration::from_mins(1);
/// Target of the log lines that say what was done, to whom, as whom.
const AUDIT: &str = "audit";

impl Shared {
    pub(super) async fn announce(
        &self,
        run: &ResponseRun,
        facts: &Facts,
        old: Option<&ResponseRunStatus>,
        new: &ResponseRunStatus,
    ) {
        let context = &self.context;
        for news in news::news(run, old, new) {
            tracing::info!(
                namespace = run.namespace(),
                run = run.name_any(),
                reason = news.reason,
                note = news.note,
                "run"
            );
            let (action, reason, note) = (&news.action, news.reason, &news.note);
            if news.about == About::Response {
                if self.is_worth_telling(&run.spec.response_ref.uid) {
                    report::warn_about(context, &response_of(run), action, reason, note).await;
                }
                continue;
            }
            match news.warning {
                true => report::warn(context, run, action, reason, note).await,
                false => report::info(context, run, action, reason, note).await,
            }
            if let (About::Workload, Lookup::Found(workload)) = (news.about, &facts.workload) {
                report::info_about(context, &workload.object.object_ref(), action, reason, note).await;
            }
        }
        for news::Effect { action, effect, actor } in news::effects(run, old, new) {
            let (namespace, target) = (run.namespace(), run.spec.target.reference());
            let (run, alert) = (run.name_any(), &run.spec.alert.name);
            tracing::info!(target: AUDIT, namespace, run, alert, workload = target, actor, action, effect, "effect");
        }
        if new.phase.is_closed() && !old.is_some_and(|s| s.phase.is_closed()) {
            let verdict = new.verdict.map_or(new.phase.as_str(), |v| v.as_str()).to_owned();
            context.metrics.runs_closed.get_or_create(&metrics::Verdict { verdict }).inc();
        }
    }

    /// What holds for all runs of a response is told once in a while.
    fn is_worth_telling(&self, response: &str) -> bool {
        let mut told = self.told.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        told.retain(|_, at| at.elapsed() < TELL_EVERY);
        let is_news = !told.contains_key(response);
        told.entry(response.to_owned()).or_insert_with(Instant::now);
        is_news
    }

    /// The first thing that was done about an alert, and how long that took from its arrival.
    pub(super) fn observe_first_effect(&self, run: &ResponseRun, now: Timestamp) {
        if let (false, Some(received)) = (run.repaired(), &run.spec.alert.received_at) {
            let took = now.duration_since(received.0).as_secs_f64().max(0.0);
            self.context.metrics.alert_to_action_seconds.observe(took);
        }
    }
}

fn response_of(run: &ResponseRun) -> ObjectReference {
    let wanted = &run.spec.response_ref;
    ObjectReference {
        api_version: Some(AlertResponse::api_version(&()).into_owned()),
        kind: Some(AlertResponse::kind(&()).into_owned()),
        namespace: run.namespace(),
        name: Some(wanted.name.clone()),
        uid: Some(wanted.uid.clone()),
        ..ObjectReference::default()
    }
}
