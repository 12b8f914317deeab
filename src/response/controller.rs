//! Carries runs through: read the run, gather the facts, ask the state machine, do what it says, write what came of it.
//!
//! Every turn of the loop begins with the run as the API server has it, and every write fails if somebody changed it
//! since: what is on record is what the next step rests on, also after a crash.

mod queue;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::{StreamExt, future};
use jiff::Timestamp;
use kube::runtime::controller::{self, Action, Config};
use kube::{Api, ResourceExt};
use tokio::sync::{Mutex, watch};

use self::queue::{count, queue};
use super::alertmanagers::Alertmanagers;
use super::around::{Nearby, Workloads};
use super::facts::{Facts, Lookup, Storm};
use super::ledger::Ledger;
use super::run::{self, Decision, Place};
use super::stores::Stores;
use super::storm::Count;
use super::{act, action, around, gather, guard, news};
use crate::api::ResponseRun;
use crate::api::response_run::{AlertState, Phase, ResponseRunStatus};
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
/// The longest wait that a receiver can ask for.
const MOST_PATIENT: Duration = Duration::from_mins(5);
/// What one look at an open run may take of everybody's time.
const LOOK: Duration = Duration::from_millis(20);
/// The longest pause between two looks.
const LONGEST_PACE: Duration = Duration::from_secs(30);
/// Suffix of the field manager.
const CONTROLLER: &str = "run";
/// Target of the log lines that say what was done, to whom, as whom.
const AUDIT: &str = "audit";

struct Shared {
    context: Arc<Context>,
    stores: Arc<Stores>,
    alertmanagers: Alertmanagers,
    nearby: Nearby,
    workloads: Workloads,
    /// What was written of runs, ahead of the cache.
    ledger: std::sync::Mutex<Ledger>,
    /// Open runs, as of the last count.
    open: Arc<AtomicU32>,
    /// Held from the last look at the other runs until the run is written as Running: two runs of one target cannot
    /// both see that it is free, nor two runs the last place that the storm brake leaves.
    turn: Mutex<()>,
}

/// Works until told to stop; what is being done then is finished first.
pub async fn runs(context: Arc<Context>, stores: Arc<Stores>, nearby: Nearby, stop: watch::Receiver<bool>) {
    // Before, nobody knows which freezes there are.
    tokio::select! {
        () = nearby.caches.filled() => {}
        () = stopped(stop.clone()) => return,
    }
    let (_, reader) = stores.readers();
    let mut before = Ledger::default();
    while let Err(error) = recover(&context, &mut before).await {
        tracing::warn!(%error, "cannot list the runs, will try again");
        tokio::select! {
            () = tokio::time::sleep(RETRY) => {}
            () = stopped(stop.clone()) => return,
        }
    }
    let open = Arc::new(AtomicU32::new(0));
    let queue = queue(stores.clone()).take_until(stopped(stop.clone()));
    let shared = Arc::new(Shared {
        alertmanagers: Alertmanagers::new(context.clone()),
        context: context.clone(),
        stores: stores.clone(),
        nearby,
        workloads: Workloads::default(),
        ledger: before.into(),
        open: open.clone(),
        turn: Mutex::default(),
    });
    let reconcile = |run: Arc<Guarded<ResponseRun>>, shared: Arc<Shared>| Box::pin(reconcile(run, shared));
    let retry = |_: Arc<Guarded<ResponseRun>>, _: &Reported, _: Arc<Shared>| Action::requeue(RETRY);
    let config = Config::default().concurrency(CONCURRENCY);
    let work = controller::applier(reconcile, retry, shared, reader, queue, config);
    // Errors have been reported; a run that is gone needs nothing more.
    let work = work.for_each(|_| future::ready(()));
    tokio::join!(work, count(&context, &stores, &open, stop));
}

/// What the leader before this one wrote last: this replica's cache may be behind it.
async fn recover(context: &Context, ledger: &mut Ledger) -> Result<(), kube::Error> {
    for run in gather::runs(context).await? {
        if let Some(status) = run.status.as_ref().filter(|s| matches!(s.phase, Phase::Running | Phase::Verifying)) {
            ledger.note(&run, status);
        }
    }
    Ok(())
}

async fn reconcile(cached: Arc<Guarded<ResponseRun>>, shared: Arc<Shared>) -> Result<Action, Reported> {
    let Ok(run) = &cached.0 else { return Ok(Action::await_change()) };
    if !run::is_alive(run) {
        return Ok(Action::await_change());
    }
    if shared.is_queued(run) {
        return Ok(Action::requeue(QUEUED.max(shared.pace())));
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
            && self.is_behind(run)
    }

    /// Whether another run of its target has its turn first.
    fn is_behind(&self, run: &ResponseRun) -> bool {
        let mut is_behind = false;
        self.stores.each_run(|other| is_behind |= guard::is_ahead(run, other));
        is_behind
    }

    async fn drive(&self, cached: &ResponseRun) -> Result<Action, ApiError> {
        let (namespace, name) = (cached.namespace().unwrap_or_default(), cached.name_any());
        let api = Api::<Guarded<ResponseRun>>::namespaced(self.context.client.clone(), &namespace);
        for _ in 0..MAX_DECISIONS {
            let Some(run) = api.get_opt(&name).await?.and_then(|run| run.0.ok()) else {
                self.ledger().forget(cached);
                return Ok(Action::await_change());
            };
            // The owner is going away, and its runs with it.
            if run.metadata.deletion_timestamp.is_some() {
                return Ok(Action::await_change());
            }
            let now = Timestamp::now();
            let mut facts = gather::facts(&self.context, &self.alertmanagers, &self.nearby, &run, now).await?;
            facts.others = self.others(&run);
            if run.phase() == Phase::Pending {
                facts.around.storm = self.storm(&run, now).await?;
            }
            let decision = run::next(&run, &facts, now);
            let next = match decision {
                Decision::Proceed(status) if run.phase() == Phase::Pending && status.phase == Phase::Running => {
                    facts.before = gather::before(&self.context, &run).await?;
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

    /// Between two looks at one run: the more are open, the longer, so that looking stays a small load. News of its
    /// alert wakes a run at once.
    fn pace(&self) -> Duration {
        (LOOK * self.open.load(Ordering::Relaxed)).min(LONGEST_PACE)
    }

    fn ledger(&self) -> std::sync::MutexGuard<'_, Ledger> {
        // Poisoned by a panic in another run, whose entries are as good as any.
        self.ledger.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The other runs that matter to this one in its phase.
    fn others(&self, run: &ResponseRun) -> Vec<ResponseRun> {
        if run.phase() != Phase::Pending && !(run.phase() == Phase::Running && run::goes_by_others(run)) {
            return vec![];
        }
        let (mut ledger, mut others) = (self.ledger(), vec![]);
        self.stores.each_run(|cached| {
            let other = ledger.correct(cached);
            others.extend(guard::concerns(run, &other).then(|| other.into_owned()));
        });
        others
    }

    /// From Pending to Running, if the other runs allow it at this moment.
    async fn begin(&self, run: &ResponseRun, facts: &mut Facts, now: Timestamp) -> Result<Option<Action>, ApiError> {
        let _turn = self.turn.lock().await;
        facts.others = self.others(run);
        facts.around.storm = self.storm(run, now).await?;
        let decision = run::next(run, facts, now);
        self.carry_out(run, facts, decision, now).await
    }

    /// What others did lately; of the cache, and of what was written since.
    async fn storm(&self, run: &ResponseRun, now: Timestamp) -> Result<Storm, kube::Error> {
        let mut storm = self.count(run, now).storm();
        if storm.targets_lately > 0 {
            let namespace = run.namespace().unwrap_or_default();
            storm.workloads = self.workloads.of(&self.context, &namespace, around::COUNT_PASSES).await?;
            // Those who wait for it may have come since it was counted.
            if storm.is_wide() {
                storm.workloads = self.workloads.of(&self.context, &namespace, around::COUNT_HOLDS).await?;
            }
        }
        Ok(storm)
    }

    fn count<'a>(&self, run: &'a ResponseRun, now: Timestamp) -> Count<'a> {
        let mut count = Count::new(run, self.context.settings.storm, now);
        // Held throughout: what leaves the ledger meanwhile would be in neither.
        let ledger = self.ledger();
        self.stores.each_run(|other| count.add(other));
        ledger.each(|other| count.add(other));
        count
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
                true => Ok(Some(Action::requeue(after.max(self.pace())))),
                false => Ok(None),
            },
            Decision::Change { step, change } => {
                self.change(run, facts, &change, |run, result, now| run::after_change(run, step, result, now)).await
            }
            Decision::Undo { step, change } => {
                self.change(run, facts, &change, |run, result, now| run::after_undo(run, step, result, now)).await
            }
            Decision::Errand { step } => self.errand(run, facts, step).await,
            Decision::Deliver { place, channel, tries } => {
                self.deliver(run, facts, (place, &channel, tries), now).await
            }
        }
    }

    async fn change(
        &self,
        run: &ResponseRun,
        facts: &Facts,
        change: &action::Change,
        after: impl Fn(&ResponseRun, Result<String, run::Failure>, Timestamp) -> Option<ResponseRunStatus>,
    ) -> Result<Option<Action>, ApiError> {
        let result = act::change(&self.context, run, change).await?;
        if let Err(run::Failure::Conflict) = result {
            return Ok(Some(Action::requeue(Duration::from_millis(200))));
        }
        if result.is_ok() {
            self.observe_first_effect(run, Timestamp::now());
        }
        self.record(run, facts, |run| after(run, result.clone(), Timestamp::now())).await?;
        Ok(None)
    }

    async fn errand(&self, run: &ResponseRun, facts: &Facts, step: usize) -> Result<Option<Action>, ApiError> {
        let result = act::errand(&self.context, run, step).await?;
        self.record(run, facts, |run| run::after_errand(run, step, result.clone(), Timestamp::now())).await?;
        let tries = run.status.as_ref().and_then(|s| s.steps.get(step)).map_or(0, |s| s.tries);
        Ok(match &result {
            Ok(run::Errand::Underway(_)) => Some(Action::requeue(QUEUED)),
            Ok(run::Errand::Done { .. }) => None,
            Err(failed) => resend(failed, tries),
        })
    }

    async fn deliver(
        &self,
        run: &ResponseRun,
        facts: &Facts,
        (place, channel, tries): (Place, &str, i32),
        now: Timestamp,
    ) -> Result<Option<Action>, ApiError> {
        let result = act::deliver(&self.context, run, place, channel).await;
        self.record(run, facts, |run| run::after_delivery(run, place, channel, result.clone(), now)).await?;
        Ok(result.err().and_then(|failed| resend(&failed, tries)))
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
                self.ledger().note(run, new);
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

    /// The first thing that was done about an alert, and how long that took from its arrival.
    fn observe_first_effect(&self, run: &ResponseRun, now: Timestamp) {
        if let (false, Some(received)) = (run.repaired(), &run.spec.alert.received_at) {
            let took = now.duration_since(received.0).as_secs_f64().max(0.0);
            self.context.metrics.alert_to_action_seconds.observe(took);
        }
    }
}

/// When what failed is tried again; `None`: it is not, and the run goes on.
fn resend(failed: &run::Undelivered, tries: i32) -> Option<Action> {
    let pace = RESEND * (tries.unsigned_abs() + 1);
    (!failed.is_final)
        .then(|| Action::requeue(failed.retry_after.map_or(pace, |asked| asked.min(MOST_PATIENT).max(pace))))
}

#[cfg(test)]
mod tests;
