//! Carries runs through: read the run, gather the facts, ask the state machine, do what it says, write what came of it.
//!
//! Every turn of the loop begins with the run as the API server has it, and every write fails if somebody changed it
//! since: what is on record is what the next step rests on, also after a crash.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt, future, stream};
use jiff::Timestamp;
use kube::runtime::controller::{self, Action, Config};
use kube::runtime::reflector::ObjectRef;
use kube::{Api, ResourceExt};
use tokio::sync::{Mutex, watch};

use super::alertmanagers::Alertmanagers;
use super::facts::{Facts, Lookup};
use super::run::{self, Decision};
use super::stores::{Change, Stores};
use super::{act, action, gather, guard, news};
use crate::api::ResponseRun;
use crate::api::alert_response::Mode;
use crate::api::response_run::{AlertState, Phase, ResponseRunStatus, StepState};
use crate::context::{Context, stopped};
use crate::k8s::Guarded;
use crate::k8s::report::{self, ApiError, Reported};
use crate::k8s::status;
use crate::metrics;

/// Runs that are worked on at a time.
const CONCURRENCY: u16 = 16;
/// Decisions in a row after which others get their turn.
const MAX_DECISIONS: usize = 64;
/// Before a run is tried again that met an error.
const RETRY: Duration = Duration::from_secs(3);
/// Between two looks of a run that waits for another one of its target.
const QUEUED: Duration = Duration::from_secs(2);
/// Before a message that was not delivered is sent again, multiplied with every try.
const RESEND: Duration = Duration::from_secs(5);
/// Between two counts of the runs.
const COUNT_EVERY: Duration = Duration::from_secs(5);
/// Suffix of the field manager.
const CONTROLLER: &str = "run";

struct Shared {
    context: Arc<Context>,
    stores: Arc<Stores>,
    alertmanagers: Alertmanagers,
    /// Held from the last look at the other runs until the run is written as Running: two runs of one target cannot
    /// both see that it is free.
    turn: Mutex<()>,
}

/// Works until told to stop; what is being done then is finished first.
pub async fn runs(context: Arc<Context>, stores: Arc<Stores>, stop: watch::Receiver<bool>) {
    let (_, reader) = stores.readers();
    let queue = queue(stores.clone()).take_until(stopped(stop.clone()));
    let shared = Arc::new(Shared {
        alertmanagers: Alertmanagers::new(context.clone()),
        context: context.clone(),
        stores: stores.clone(),
        turn: Mutex::default(),
    });
    let reconcile = |run: Arc<Guarded<ResponseRun>>, shared: Arc<Shared>| Box::pin(reconcile(run, shared));
    let retry = |_: Arc<Guarded<ResponseRun>>, _: &Reported, _: Arc<Shared>| Action::requeue(RETRY);
    let config = Config::default().concurrency(CONCURRENCY);
    let work = controller::applier(reconcile, retry, shared, reader, queue, config);
    // Errors have been reported; a run that is gone needs nothing more.
    let work = work.for_each(|_| future::ready(()));
    tokio::join!(work, count(&context, &stores, stop));
}

/// Open runs, when they come into being and when something is noted on them. What the controller itself writes does
/// not wake it, and closed runs cost nothing.
fn queue(stores: Arc<Stores>) -> impl Stream<Item = Result<ObjectRef<Guarded<ResponseRun>>, Infallible>> + Send {
    let mut noted: HashMap<String, BTreeMap<String, String>> = HashMap::new();
    let open = |run: &ResponseRun| !run.phase().is_closed() && run.metadata.deletion_timestamp.is_none();
    let changes = stores.changes();
    changes.flat_map(move |change| {
        let runs = match change {
            Change::Everything => {
                noted.clear();
                stores.runs(open)
            }
            Change::Response(_) => vec![],
            Change::Run(run) => {
                let uid = run.uid().unwrap_or_default();
                if !open(&run) {
                    noted.remove(&uid);
                    vec![]
                } else if noted.insert(uid, run.annotations().clone()).as_ref() != Some(run.annotations()) {
                    vec![*run]
                } else {
                    vec![]
                }
            }
        };
        let refs: Vec<_> = runs.iter().map(reference).map(Ok).collect();
        stream::iter(refs)
    })
}

fn reference(run: &ResponseRun) -> ObjectRef<Guarded<ResponseRun>> {
    ObjectRef::new(&run.name_any()).within(&run.namespace().unwrap_or_default())
}

/// Keeps the gauge of runs by phase.
async fn count(context: &Context, stores: &Stores, stop: watch::Receiver<bool>) {
    let mut stopped = std::pin::pin!(stopped(stop));
    loop {
        for (phase, count) in stores.count() {
            let label = metrics::Phase { phase: phase.as_str().to_owned() };
            context.metrics.runs.get_or_create(&label).set(count);
        }
        tokio::select! {
            () = tokio::time::sleep(COUNT_EVERY) => {}
            () = &mut stopped => return,
        }
    }
}

async fn reconcile(cached: Arc<Guarded<ResponseRun>>, shared: Arc<Shared>) -> Result<Action, Reported> {
    let Ok(run) = &cached.0 else { return Ok(Action::await_change()) };
    if run.phase().is_closed() {
        return Ok(Action::await_change());
    }
    if shared.is_queued(run) {
        return Ok(Action::requeue(QUEUED));
    }
    report::reconcile(&shared.context.clone(), run, shared.drive(run)).await
}

impl Shared {
    /// Whether the run said already that it waits for another one of its target, and still does. Saves hundreds of
    /// runs that an outage brings about from reading the same facts again and again.
    fn is_queued(&self, run: &ResponseRun) -> bool {
        let said =
            run.status.as_ref().and_then(|s| s.guards.last()).is_some_and(|g| g.name == guard::TURN && !g.passed);
        said && run.phase() == Phase::Pending
            && gather::delivered(run).state == AlertState::Firing
            && self.stores.any_run(|other| guard::is_ahead(run, other))
    }

    async fn drive(&self, cached: &ResponseRun) -> Result<Action, ApiError> {
        let (namespace, name) = (cached.namespace().unwrap_or_default(), cached.name_any());
        let api = Api::<Guarded<ResponseRun>>::namespaced(self.context.client.clone(), &namespace);
        for _ in 0..MAX_DECISIONS {
            let Some(run) = api.get_opt(&name).await?.and_then(|run| run.0.ok()) else {
                return Ok(Action::await_change());
            };
            // The owner is going away, and its runs with it.
            if run.metadata.deletion_timestamp.is_some() {
                return Ok(Action::await_change());
            }
            let now = Timestamp::now();
            let mut facts = gather::facts(&self.context, &self.alertmanagers, &run, now).await?;
            facts.others = self.others(&run).await?;
            let decision = run::next(&run, &facts, now);
            let next = match decision {
                Decision::Proceed(status) if run.phase() == Phase::Pending && status.phase == Phase::Running => {
                    self.begin(&run, &mut facts, now).await?
                }
                decision => self.carry_out(&run, &facts, decision, now).await?,
            };
            if let Some(action) = next {
                return Ok(action);
            }
        }
        Ok(Action::requeue(QUEUED))
    }

    /// Other runs of the namespace: for a run that is yet to begin the cache will do, since `begin` looks again.
    async fn others(&self, run: &ResponseRun) -> Result<Vec<ResponseRun>, kube::Error> {
        match run.phase() {
            Phase::Pending => {
                Ok(self.stores.runs(|other| other.namespace() == run.namespace() && other.uid() != run.uid()))
            }
            Phase::Running if run.spec.mode == Mode::Act => gather::others(&self.context, run).await,
            _ => Ok(vec![]),
        }
    }

    /// From Pending to Running, if the runs that the API server has at this moment allow it.
    async fn begin(&self, run: &ResponseRun, facts: &mut Facts, now: Timestamp) -> Result<Option<Action>, ApiError> {
        let _turn = self.turn.lock().await;
        facts.others = gather::others(&self.context, run).await?;
        let decision = run::next(run, facts, now);
        self.carry_out(run, facts, decision, now).await
    }

    /// `None`: go on at once.
    async fn carry_out(
        &self,
        run: &ResponseRun,
        facts: &Facts,
        decision: Decision,
        now: Timestamp,
    ) -> Result<Option<Action>, ApiError> {
        match decision {
            Decision::Closed => Ok(Some(Action::await_change())),
            Decision::Proceed(status) => {
                self.write(run, facts, &status).await?;
                Ok(None)
            }
            Decision::Wait(status, after) => match self.write(run, facts, &status).await? {
                true => Ok(Some(Action::requeue(after))),
                false => Ok(None),
            },
            Decision::Change { step, change } => self.change(run, facts, step, &change).await,
            Decision::Deliver { step, channel } => self.deliver(run, facts, step, &channel, now).await,
        }
    }

    async fn change(
        &self,
        run: &ResponseRun,
        facts: &Facts,
        step: usize,
        change: &action::Change,
    ) -> Result<Option<Action>, ApiError> {
        let result = act::change(&self.context, run, change).await?;
        if let Err(run::Failure::Conflict) = result {
            return Ok(Some(Action::requeue(Duration::from_millis(200))));
        }
        if result.is_ok() {
            self.observe_first_effect(run, Timestamp::now());
        }
        self.record(run, facts, |run| run::after_change(run, step, result.clone(), Timestamp::now())).await?;
        Ok(None)
    }

    async fn deliver(
        &self,
        run: &ResponseRun,
        facts: &Facts,
        step: usize,
        channel: &str,
        now: Timestamp,
    ) -> Result<Option<Action>, ApiError> {
        let status = run.status.as_ref().and_then(|s| s.steps.get(step));
        let Some(intent) = status.and_then(|s| s.intent.as_ref()?.notify.as_ref()) else { return Ok(None) };
        let result = act::deliver(&self.context, run, intent, channel).await;
        self.record(run, facts, |run| run::after_delivery(run, step, channel, result.clone(), now)).await?;
        let tries = status.and_then(|s| s.deliveries.iter().find(|d| d.channel == channel)).map_or(0, |d| d.tries);
        match &result {
            Err(failed) if !failed.is_final => Ok(Some(Action::requeue(RESEND * (tries.unsigned_abs() + 1)))),
            _ => Ok(None),
        }
    }

    /// Writes what was done. It cannot be done again for being told again, so a write that somebody came before is
    /// repeated on what they wrote.
    async fn record(
        &self,
        run: &ResponseRun,
        facts: &Facts,
        effect: impl Fn(&ResponseRun) -> Option<ResponseRunStatus>,
    ) -> Result<(), ApiError> {
        let api = Api::<ResponseRun>::namespaced(self.context.client.clone(), &run.namespace().unwrap_or_default());
        let mut run = run.clone();
        for _ in 0..5 {
            let Some(status) = effect(&run) else { return Ok(()) };
            if self.write(&run, facts, &status).await? {
                return Ok(());
            }
            match api.get_opt(&run.name_any()).await? {
                Some(now) => run = now,
                None => return Ok(()),
            }
        }
        Ok(())
    }

    /// False: somebody changed the run since it was read, or it is gone.
    async fn write(&self, run: &ResponseRun, facts: &Facts, new: &ResponseRunStatus) -> Result<bool, ApiError> {
        let old = run.status.as_ref();
        if old == Some(new) {
            return Ok(true);
        }
        match status::patch_unchanged(&self.context.client, CONTROLLER, run, new).await {
            Ok(_) => {
                self.announce(run, facts, old, new).await;
                Ok(true)
            }
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn announce(
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
            match news.warning {
                true => report::warn(context, run, action, reason, note).await,
                false => report::info(context, run, action, reason, note).await,
            }
            if let (true, Lookup::Found(workload)) = (news.of_workload, &facts.workload) {
                report::info(context, &workload.deployment, action, reason, note).await;
            }
        }
        if new.phase.is_closed() && !old.is_some_and(|s| s.phase.is_closed()) {
            let verdict = new.verdict.map_or(new.phase.as_str(), |v| v.as_str()).to_owned();
            context.metrics.runs_closed.get_or_create(&metrics::Verdict { verdict }).inc();
        }
    }

    /// The first thing that was done about an alert, and how long that took from its arrival.
    fn observe_first_effect(&self, run: &ResponseRun, now: Timestamp) {
        let done = run.status.iter().flat_map(|s| &s.steps).any(|s| s.state == StepState::Done && s.name != "notify");
        if let (false, Some(received)) = (done, &run.spec.alert.received_at) {
            let took = now.duration_since(received.0).as_secs_f64().max(0.0);
            self.context.metrics.alert_to_action_seconds.observe(took);
        }
    }
}

#[cfg(test)]
mod tests;
