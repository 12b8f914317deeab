//! Carries runs through: read the run, gather the facts, ask the state machine, do what it says, write what came of it.
//!
//! Every turn of the loop begins with the run as the API server has it, and every write fails if somebody changed it
//! since: what is on record is what the next step rests on, also after a crash.

mod queue;
mod tell;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures::{StreamExt, future};
use jiff::Timestamp;
use kube::runtime::controller::{self, Action, Config};
use kube::{Api, ResourceExt};
use tokio::sync::watch;

use self::queue::{count, queue};
use super::alertmanagers::Alertmanagers;
use super::around::{Nearby, Workloads};
use super::facts::{Facts, Storm};
use super::index::target;
use super::ledger::Ledger;
use super::run::{self, Decision, Place};
use super::stores::Stores;
use super::turns::{Turns, urgency};
use super::{act, action, around, gather, guard, storm};
use crate::api::ResponseRun;
use crate::api::response_run::{AlertState, Phase, ResponseRunStatus};
use crate::context::{Context, stopped};
use crate::k8s::Guarded;
use crate::k8s::report::{self, ApiError, Reported};
use crate::k8s::status;

/// Runs that are worked on at a time.
const CONCURRENCY: usize = 16;
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
    turns: Turns,
    together: gather::Shared,
    /// When it was last told that the storm brake holds the runs of an AlertResponse, by its UID.
    told: std::sync::Mutex<HashMap<String, Instant>>,
}

/// What follows on a decision.
enum Next {
    /// The next decision, on the run as it is by now; `None`: it has to be read.
    Decide(Option<Box<ResponseRun>>),
    /// Others get their turn.
    Rest(Action),
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
        turns: Turns::new(CONCURRENCY),
        together: gather::Shared::default(),
        told: Default::default(),
    });
    let reconcile = |run: Arc<Guarded<ResponseRun>>, shared: Arc<Shared>| Box::pin(take_turn(run, shared));
    let retry = |_: Arc<Guarded<ResponseRun>>, _: &Reported, _: Arc<Shared>| Action::requeue(RETRY);
    // `turns` are the limit.
    let config = Config::default().concurrency(0);
    let work = controller::applier(reconcile, retry, shared, reader, queue, config);
    // Errors have been reported; a run that is gone needs nothing more.
    let work = work.for_each(|_| future::ready(()));
    tokio::join!(work, count(&context, &stores, &open, stop));
}

/// What the leader before this one wrote last: this replica's cache may be behind it.
async fn recover(context: &Context, ledger: &mut Ledger) -> Result<(), kube::Error> {
    gather::each_run(context, |run| {
        if let Some(status) = run.status.as_ref().filter(|s| matches!(s.phase, Phase::Running | Phase::Verifying)) {
            ledger.note(run, status);
        }
    })
    .await
}

/// In a storm thousands wait here: what they need later is not made yet.
async fn take_turn(run: Arc<Guarded<ResponseRun>>, shared: Arc<Shared>) -> Result<Action, Reported> {
    let Ok(waiting) = &run.0 else { return Ok(Action::await_change()) };
    let _turn = shared.turns.take(urgency(waiting)).await;
    // It may have waited for long.
    let now = shared.stores.index().get(&waiting.uid().unwrap_or_default()).cloned();
    let Some(run) = now else { return Ok(Action::await_change()) };
    Box::pin(reconcile(&run, &shared)).await
}

async fn reconcile(run: &ResponseRun, shared: &Shared) -> Result<Action, Reported> {
    if !run::is_alive(run) {
        return Ok(Action::await_change());
    }
    if shared.is_queued(run) {
        return Ok(Action::requeue(QUEUED.max(shared.pace())));
    }
    report::reconcile(&shared.context, run, shared.drive(run)).await
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
        self.stores.index().of_target(&target(run)).any(|other| guard::is_ahead(run, other))
    }

    async fn drive(&self, cached: &ResponseRun) -> Result<Action, ApiError> {
        let (namespace, name) = (cached.namespace().unwrap_or_default(), cached.name_any());
        let api = Api::<Guarded<ResponseRun>>::namespaced(self.context.client.clone(), &namespace);
        let mut known = match self.brake(cached).await? {
            Some(Next::Rest(action)) => return Ok(action),
            Some(Next::Decide(known)) => known,
            None => None,
        };
        for _ in 0..MAX_DECISIONS {
            let run = match known.take() {
                Some(run) => *run,
                None => match api.get_opt(&name).await?.and_then(|run| run.0.ok()) {
                    Some(run) => run,
                    None => {
                        self.ledger().forget(cached);
                        return Ok(Action::await_change());
                    }
                },
            };
            // Nothing is left to do, or the owner is going away, and its runs with it.
            if !run::is_alive(&run) || run.metadata.deletion_timestamp.is_some() {
                return Ok(Action::await_change());
            }
            let now = Timestamp::now();
            let from = (&self.alertmanagers, &self.nearby, &self.together);
            let mut facts = gather::facts(&self.context, from, &run, now).await?;
            facts.others = self.others(&run);
            if run.phase() == Phase::Pending {
                facts.around.storm = self.storm(&run, now).await?;
            }
            let decision = run::next(&run, &facts, now);
            let next = match decision {
                // `Wait`: it begins with a step that has to wait.
                Decision::Proceed(status) | Decision::Wait(status, _)
                    if run.phase() == Phase::Pending && status.started_at.is_some() =>
                {
                    facts.before = gather::before(&self.context, &run).await?;
                    self.begin(&run, &mut facts, now).await?
                }
                decision => self.carry_out(&run, &facts, decision, now).await?,
            };
            match next {
                Next::Decide(run) => known = run,
                Next::Rest(action) => return Ok(action),
            }
        }
        Ok(Action::requeue(QUEUED))
    }

    /// In a storm most runs end here: by what is in memory, without a question to anybody. What is written rests on the
    /// run as the cache has it, and is refused if that is not how it is.
    async fn brake(&self, run: &ResponseRun) -> Result<Option<Next>, ApiError> {
        if run.phase() != Phase::Pending || run.metadata.deletion_timestamp.is_some() {
            return Ok(None);
        }
        let now = Timestamp::now();
        let mut facts = Facts { alert: gather::delivered(run), ..Facts::default() };
        facts.around.storm = self.storm(run, now).await?;
        match run::brake(run, &facts, now) {
            Some(decision) => self.carry_out(run, &facts, decision, now).await.map(Some),
            None => Ok(None),
        }
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
        if !run::goes_by_others(run) {
            return vec![];
        }
        let index = self.stores.index();
        self.ledger().others(run, &index)
    }

    /// From Pending to Running, if the other runs allow it at this moment.
    async fn begin(&self, run: &ResponseRun, facts: &mut Facts, now: Timestamp) -> Result<Next, ApiError> {
        let decision = loop {
            let storm = self.storm(run, now).await?;
            // Until it is noted that this one begins, nobody else looks: two runs of one target cannot both see that it
            // is free, nor two runs the last place that the storm brake leaves.
            let index = self.stores.index();
            let mut ledger = self.ledger();
            let so_far = storm::storm(run, self.context.settings.storm, now, &index, &ledger);
            facts.others = ledger.others(run, &index);
            facts.around.storm = Storm { workloads: storm.workloads, ..so_far };
            // Others began since; whether that is too many is to be judged by a fresh count.
            if facts.around.storm.is_wide() && !storm.is_wide() {
                continue;
            }
            let decision = run::next(run, facts, now);
            if let Decision::Proceed(status) | Decision::Wait(status, _) = &decision {
                ledger.note(run, status);
            }
            break decision;
        };
        let next = self.carry_out(run, facts, decision, now).await;
        if matches!(next, Err(_) | Ok(Next::Decide(None))) {
            // It was not written: the place is free again.
            self.ledger().forget(run);
        }
        next
    }

    /// What others did lately; of the cache, and of what was written since.
    async fn storm(&self, run: &ResponseRun, now: Timestamp) -> Result<Storm, kube::Error> {
        let limits = self.context.settings.storm;
        let mut storm = storm::storm(run, limits, now, &self.stores.index(), &self.ledger());
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

    async fn carry_out(
        &self,
        run: &ResponseRun,
        facts: &Facts,
        decision: Decision,
        now: Timestamp,
    ) -> Result<Next, ApiError> {
        match decision {
            Decision::Closed => Ok(Next::Rest(Action::await_change())),
            Decision::Proceed(status) => Ok(Next::Decide(self.write(run, facts, &status).await?)),
            Decision::Wait(status, after) => match self.write(run, facts, &status).await? {
                Some(_) => Ok(Next::Rest(Action::requeue(after.max(self.pace())))),
                None => Ok(Next::Decide(None)),
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
    ) -> Result<Next, ApiError> {
        let result = act::change(&self.context, run, change).await?;
        if let Err(run::Failure::Conflict) = result {
            return Ok(Next::Rest(Action::requeue(Duration::from_millis(200))));
        }
        if result.is_ok() {
            self.observe_first_effect(run, Timestamp::now());
        }
        Ok(Next::Decide(self.record(run, facts, |run| after(run, result.clone(), Timestamp::now())).await?))
    }

    async fn errand(&self, run: &ResponseRun, facts: &Facts, step: usize) -> Result<Next, ApiError> {
        let result = act::errand(&self.context, run, step).await?;
        let now = self.record(run, facts, |run| run::after_errand(run, step, result.clone(), Timestamp::now())).await?;
        let tries = run.status.as_ref().and_then(|s| s.steps.get(step)).map_or(0, |s| s.tries);
        let rest = match &result {
            Ok(run::Errand::Underway(_)) => Some(Action::requeue(QUEUED)),
            Ok(run::Errand::Done { .. }) => None,
            Err(failed) => resend(failed, tries),
        };
        Ok(rest.map_or(Next::Decide(now), Next::Rest))
    }

    async fn deliver(
        &self,
        run: &ResponseRun,
        facts: &Facts,
        (place, channel, tries): (Place, &str, i32),
        now: Timestamp,
    ) -> Result<Next, ApiError> {
        let result = act::deliver(&self.context, run, place, channel).await;
        let known =
            self.record(run, facts, |run| run::after_delivery(run, place, channel, result.clone(), now)).await?;
        Ok(result.err().and_then(|failed| resend(&failed, tries)).map_or(Next::Decide(known), Next::Rest))
    }

    /// Writes what was done. It cannot be done again for being told again, so a write that somebody came before is
    /// repeated on what they wrote. The run as it is by then, if that is known.
    async fn record(
        &self,
        run: &ResponseRun,
        facts: &Facts,
        effect: impl Fn(&ResponseRun) -> Option<ResponseRunStatus>,
    ) -> Result<Option<Box<ResponseRun>>, ApiError> {
        let api = Api::<ResponseRun>::namespaced(self.context.client.clone(), &run.namespace().unwrap_or_default());
        let mut run = run.clone();
        for _ in 0..5 {
            let Some(status) = effect(&run) else { return Ok(None) };
            if let Some(written) = self.write(&run, facts, &status).await? {
                return Ok(Some(written));
            }
            match api.get_opt(&run.name_any()).await? {
                Some(now) => run = now,
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    /// The run with the new status, as the API server has it. `None`: somebody changed it since it was read, or it is
    /// gone.
    async fn write(
        &self,
        run: &ResponseRun,
        facts: &Facts,
        new: &ResponseRunStatus,
    ) -> Result<Option<Box<ResponseRun>>, ApiError> {
        let old = run.status.as_ref();
        if old == Some(new) {
            return Ok(Some(Box::new(run.clone())));
        }
        match status::patch_unchanged(&self.context.client, CONTROLLER, run, new).await {
            Ok(mut written) => {
                // Nobody here reads it, and it is half of a run.
                written.metadata.managed_fields = None;
                self.ledger().note(&written, new);
                self.announce(run, facts, old, new).await;
                Ok(Some(Box::new(written)))
            }
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(None),
            Err(error) => Err(error.into()),
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
