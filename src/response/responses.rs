//! Judges AlertResponses: can they do what they say, what became of their runs; and deletes runs that nobody needs.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt, future, stream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{DeleteParams, Preconditions};
use kube::runtime::controller::{self, Action, Config};
use kube::runtime::reflector::ObjectRef;
use kube::{Api, ResourceExt};
use tokio::sync::watch;

use super::access::{Access, Rights};
use super::stores::{Change, Stores};
use super::{channels, gather, gather_workload, in_vain, needs, retention, validate};
use crate::api::alert_response::{AlertResponseStatus, LastRun, Mode, RunCounts, RunHistory, TargetKind};
use crate::api::response_run::{Phase, Verdict};
use crate::api::{AlertResponse, NotificationChannel, ResponseRun, SLO};
use crate::context::{Context, stopped};
use crate::k8s::Guarded;
use crate::k8s::report::{self, ApiError, Reportable, Reported};
use crate::k8s::status::{self, Extra, Outcome, conditions};

/// Responses that are judged at a time.
const CONCURRENCY: u16 = 4;
/// A run writes its status several times in a row.
const DEBOUNCE: Duration = Duration::from_millis(500);
/// Runs that are deleted at a time: a storm leaves thousands.
const DELETE: usize = 100;
/// Before one that cannot do what it says is looked at again: what it needs may come.
const RECHECK: Duration = Duration::from_secs(20);
/// Before one that can is looked at again: what it needs may go.
const RESYNC: Duration = Duration::from_mins(5);
/// Before a response is tried again that met an error.
const RETRY: Duration = Duration::from_secs(5);
/// Suffix of the field manager.
const CONTROLLER: &str = "response";

struct Shared {
    context: Arc<Context>,
    stores: Arc<Stores>,
    rights: Rights,
}

/// Works until told to stop.
pub async fn responses(context: Arc<Context>, stores: Arc<Stores>, stop: watch::Receiver<bool>) {
    let (reader, _) = stores.readers();
    let queue = queue(stores.clone()).take_until(stopped(stop));
    let rights = Rights::new(context.client.clone(), &context.settings.cluster_role_prefix);
    let shared = Arc::new(Shared { rights, context, stores });
    let reconcile = |response: Arc<Guarded<AlertResponse>>, shared: Arc<Shared>| Box::pin(reconcile(response, shared));
    let retry = |_: Arc<Guarded<AlertResponse>>, _: &Reported, _: Arc<Shared>| Action::requeue(RETRY);
    let config = Config::default().concurrency(CONCURRENCY).debounce(DEBOUNCE);
    // Errors have been reported; a response that is gone needs nothing more.
    controller::applier(reconcile, retry, shared, reader, queue, config).for_each(|_| future::ready(())).await;
}

/// Responses whose spec changed, and those whose runs did. Their own statuses wake nobody.
fn queue(stores: Arc<Stores>) -> impl Stream<Item = Result<ObjectRef<Guarded<AlertResponse>>, Infallible>> + Send {
    let mut seen: HashMap<String, Option<i64>> = HashMap::new();
    let reference =
        |namespace: Option<String>, name: &str| Ok(ObjectRef::new(name).within(&namespace.unwrap_or_default()));
    stores.changes().flat_map(move |change| {
        let refs: Vec<_> = match change {
            Change::Everything => {
                seen.clear();
                stores.responses().iter().map(|r| reference(r.namespace(), &r.name_any())).collect()
            }
            Change::Response(response) => {
                let generation = response.metadata.generation;
                match seen.insert(response.uid().unwrap_or_default(), generation) == Some(generation) {
                    true => vec![],
                    false => vec![reference(response.namespace(), &response.name_any())],
                }
            }
            Change::Run(run) => vec![reference(run.namespace(), &run.spec.response_ref.name)],
        };
        stream::iter(refs)
    })
}

async fn reconcile(cached: Arc<Guarded<AlertResponse>>, shared: Arc<Shared>) -> Result<Action, Reported> {
    let Some(response) = report::alive(&cached) else { return Ok(Action::await_change()) };
    report::reconcile(&shared.context.clone(), response, shared.judge(response)).await
}

impl Shared {
    async fn judge(&self, response: &AlertResponse) -> Result<Action, ApiError> {
        let now = Timestamp::now();
        let uid = response.uid().unwrap_or_default();
        // Drills are deleted as other runs are, and count for nothing else.
        let all: Vec<_> = self.stores.index().of_response(&uid).cloned().collect();
        let all: Vec<&ResponseRun> = all.iter().map(|run| &**run).collect();
        let runs: Vec<_> = all.iter().copied().filter(|run| !run.spec.drill).collect();
        let (outcome, extras) = self.outcome(response, &runs).await?;
        let old = response.status.as_ref();
        let generation = response.metadata.generation;
        let previous = old.map(|s| s.conditions.as_slice()).unwrap_or_default();
        let new = AlertResponseStatus {
            observed_generation: generation,
            conditions: conditions(previous, generation, &outcome, &extras, now),
            last_run: last_run(&runs),
            runs: counts(&runs),
        };
        let was = previous.iter().find(|c| c.type_ == "Ready").map(|c| c.reason.as_str());
        let wrote = match status::patch(&self.context.client, CONTROLLER, response, old, &new).await {
            Ok(wrote) => wrote,
            // Gone, or another one of this name.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => return Ok(Action::await_change()),
            Err(error) => return Err(error.into()),
        };
        if wrote
            && was != Some(outcome.reason())
            && matches!(outcome, Outcome::Stalled { .. } | Outcome::Failing { .. })
        {
            report::warn(&self.context, response, "Judge", outcome.reason(), outcome.message()).await;
        }
        if self.prune(&all, &response.spec.run_history, now).await? {
            return Ok(Action::requeue(DEBOUNCE));
        }
        Ok(match outcome {
            Outcome::Failing { .. } => Action::requeue(RECHECK),
            Outcome::Ready { .. } | Outcome::Progressing { .. } => Action::requeue(RESYNC),
            // Its runs still grow old.
            Outcome::Stalled { .. } if !runs.is_empty() => Action::requeue(RESYNC),
            Outcome::Stalled { .. } => Action::await_change(),
        })
    }

    /// Ready: when its alert fires, it can do what it says.
    async fn outcome(
        &self,
        response: &AlertResponse,
        runs: &[&ResponseRun],
    ) -> Result<(Outcome, Vec<Extra>), kube::Error> {
        let (spec, namespace) = (&response.spec, response.namespace().unwrap_or_default());
        if let Err(invalid) = validate::validate(spec) {
            return Ok((Outcome::Stalled { reason: invalid.reason(), message: invalid.to_string() }, vec![]));
        }
        if gather::is_protected(&self.context, &namespace) {
            let message = format!(
                "namespace {namespace} is protected: no workload in it is touched; remove it from protectedNamespaces, or move the workload"
            );
            return Ok((Outcome::Stalled { reason: "NamespaceProtected", message }, vec![]));
        }
        let extras: Vec<_> = self.target_found(response).await?.into_iter().collect();
        if let Some(message) = in_vain::suspended(response, runs.iter().copied()) {
            return Ok((Outcome::Stalled { reason: "SuspendedItself", message }, extras));
        }
        if let Some((reason, message)) = self.unfit_channel(response).await? {
            return Ok((Outcome::Failing { reason, message }, extras));
        }
        if let Some((field, name)) = self.missing_slo(response).await? {
            let message = format!(
                "spec.{field}.name: SLO {name} does not exist in namespace {namespace}: create it, or take it out"
            );
            return Ok((Outcome::Failing { reason: "SLOMissing", message }, extras));
        }
        if spec.mode != Mode::Observe
            && let Some(refusal) = self.refusal(response, runs).await?
        {
            return Ok((refusal, extras));
        }
        Ok((ready(response), extras))
    }

    /// Why the ServiceAccount could not carry out the steps.
    async fn refusal(&self, response: &AlertResponse, runs: &[&ResponseRun]) -> Result<Option<Outcome>, kube::Error> {
        let (spec, namespace) = (&response.spec, response.namespace().unwrap_or_default());
        if !needs::steps(spec).any(|s| s.action().is_some_and(|a| a.repairs())) {
            return Ok(None);
        }
        let account = spec.service_account_name.as_deref().unwrap_or_default();
        let accounts = Api::<ServiceAccount>::namespaced(self.context.client.clone(), &namespace);
        if accounts.get_metadata_opt(account).await?.is_none() {
            let message = format!(
                "spec.serviceAccountName: ServiceAccount {account} does not exist in namespace {namespace}: create it, and let it do what the steps need"
            );
            return Ok(Some(Outcome::Failing { reason: "ServiceAccountMissing", message }));
        }
        // A run that failed since may have failed for a lack of rights: asked again then.
        let failed = runs.iter().filter(|r| r.phase() == Phase::Failed).map(|r| r.name_any()).max();
        let epoch = format!("{}/{}", response.metadata.generation.unwrap_or_default(), failed.unwrap_or_default());
        let autoscaler = gather_workload::autoscaler_of(&self.context.client, &namespace, spec).await?;
        let needs = needs::needs(spec, autoscaler.as_deref());
        let access = Access { namespace: &namespace, account, needs: &needs };
        let denied = self.rights.denied(&response.uid().unwrap_or_default(), &epoch, access).await?;
        Ok(denied.map(|message| Outcome::Failing { reason: "Forbidden", message }))
    }

    /// Whether the workload is there now; a target that each alert names cannot be looked up.
    async fn target_found(&self, response: &AlertResponse) -> Result<Option<Extra>, kube::Error> {
        let Some(name) = response.spec.target.name.as_deref().filter(|n| !n.is_empty()) else { return Ok(None) };
        let namespace = response.namespace().unwrap_or_default();
        let kind = response.spec.target.kind;
        let found = gather_workload::exists(&self.context.client, &namespace, kind, name).await?;
        let (kind, place) = match kind {
            TargetKind::Node => (kind.as_str(), "in this cluster".to_owned()),
            kind => (kind.as_str(), format!("in namespace {namespace}")),
        };
        Ok(Some(match found {
            true => Extra {
                type_: "TargetFound",
                status: Some(true),
                reason: "Found",
                message: format!("{kind}/{name} exists"),
            },
            false => Extra {
                type_: "TargetFound",
                status: Some(false),
                reason: "Missing",
                message: format!(
                    "spec.target.name: {kind} {name} does not exist {place}; runs are skipped until it does"
                ),
            },
        }))
    }

    async fn unfit_channel(&self, response: &AlertResponse) -> Result<Option<(&'static str, String)>, kube::Error> {
        let namespace = response.namespace().unwrap_or_default();
        let api = Api::<Guarded<NotificationChannel>>::namespaced(self.context.client.clone(), &namespace);
        for mention in channels::mentions(&response.spec) {
            let found = api.get_opt(mention.channel).await?;
            let fault = match found.as_ref().map(|channel| &channel.0) {
                Some(Ok(channel)) => channels::fault(&mention, Some(&channel.spec), &namespace),
                // Its own status says what is wrong with it.
                Some(Err(_)) => None,
                None => channels::fault(&mention, None, &namespace),
            };
            if fault.is_some() {
                return Ok(fault);
            }
        }
        Ok(None)
    }

    /// Without it no run acts, or none is proved.
    async fn missing_slo(&self, response: &AlertResponse) -> Result<Option<(&'static str, String)>, kube::Error> {
        let (only_if, verify) = (&response.spec.only_if.slo, &response.spec.verify.slo);
        let named = only_if.iter().map(|slo| ("onlyIf.slo", &slo.name));
        let api =
            Api::<Guarded<SLO>>::namespaced(self.context.client.clone(), &response.namespace().unwrap_or_default());
        for (field, name) in named.chain(verify.iter().map(|slo| ("verify.slo", &slo.name))) {
            if api.get_metadata_opt(name).await?.is_none() {
                return Ok(Some((field, name.clone())));
            }
        }
        Ok(None)
    }

    /// True: there are more to delete.
    async fn prune(&self, runs: &[&ResponseRun], history: &RunHistory, now: Timestamp) -> Result<bool, kube::Error> {
        let superfluous = retention::superfluous(runs, history, now);
        for run in superfluous.iter().take(DELETE) {
            let api = Api::<Guarded<ResponseRun>>::namespaced(
                self.context.client.clone(),
                &run.namespace().unwrap_or_default(),
            );
            // Only the very object that was judged.
            let preconditions = Preconditions { uid: run.uid(), resource_version: run.resource_version() };
            let parameters = DeleteParams::default().preconditions(preconditions);
            match api.delete(&run.name_any(), &parameters).await {
                Ok(_) => tracing::info!(namespace = run.namespace(), run = run.name_any(), "deleted an old run"),
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(superfluous.len() > DELETE)
    }
}

fn ready(response: &AlertResponse) -> Outcome {
    let spec = &response.spec;
    let kind = spec.target.kind.as_str();
    let target = match (&spec.target.name, &spec.target.name_from_label) {
        (Some(name), _) if !name.is_empty() => format!("{kind}/{name}"),
        (_, Some(label)) => format!("the {kind} that the alert's label {label} names"),
        (_, None) => kind.to_owned(),
    };
    if spec.suspend {
        return Outcome::Ready { reason: "Suspended", message: "suspended: every run is skipped".into() };
    }
    let namespace = response.namespace().unwrap_or_default();
    let account = format!("{namespace}/{}", spec.service_account_name.as_deref().unwrap_or_default());
    match spec.mode {
        Mode::Observe => Outcome::Ready {
            reason: "Observing",
            message: format!("records what it would do to {target}; mode: Act makes it act"),
        },
        Mode::Act => Outcome::Ready { reason: "Acting", message: format!("acts on {target} as {account}") },
        Mode::Approve => Outcome::Ready {
            reason: "Approving",
            message: format!("acts on {target} as {account}, each time that somebody approves"),
        },
    }
}

fn last_run(runs: &[&ResponseRun]) -> Option<LastRun> {
    let last = runs.iter().max_by_key(|r| (r.creation_timestamp().map(|t| t.0), r.name_any()))?;
    let status = last.status.as_ref();
    Some(LastRun {
        name: last.name_any(),
        alert: last.spec.alert.name.clone(),
        phase: last.phase(),
        verdict: status.and_then(|s| s.verdict),
        finished_at: status.and_then(|s| s.finished_at.clone()),
    })
}

fn counts(runs: &[&ResponseRun]) -> RunCounts {
    let mut counts = RunCounts::default();
    for run in runs {
        let verdict = run.status.as_ref().and_then(|s| s.verdict);
        let count = match (run.phase(), verdict) {
            (Phase::Pending | Phase::Running | Phase::Verifying, _) => &mut counts.open,
            (Phase::Skipped, _) => &mut counts.skipped,
            (Phase::Observed, _) => &mut counts.observed,
            (_, Some(Verdict::Inconclusive)) => &mut counts.inconclusive,
            (Phase::Failed, _) => &mut counts.fail,
            (Phase::Succeeded, _) => &mut counts.pass,
        };
        *count += 1;
    }
    counts
}
