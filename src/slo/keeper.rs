//! Keeps SLOs: one task on the leader that hears of them, hands their rules to the rule loader, asks Prometheus every
//! 15 s where all of them stand, and is the one writer of their status. Decisions are those of `told`, `status`, `budget`.

mod round;
mod tell;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::channel::mpsc::UnboundedSender;
use futures::{Stream, StreamExt};
use jiff::Timestamp;
use kube::core::ObjectMeta;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};
use tokio::task::JoinSet;

use super::adjusted::Adjustments;
use super::standing::Standings;
use super::validate::{Checked, Refusal, check};
use super::window::Window;
use super::{rules, told};
use crate::api::slo::{SloProblem, SloStatus};
use crate::api::{MonitoringStack, SLO};
use crate::context::Context;
use crate::k8s::Guarded;
use crate::k8s::cache;
use crate::rule::feed::{Feed, Load, Name, Slo, SloGroup, Views};
use crate::rule::link::KeeperEnds;
use crate::rule::watch::{Change, Listing};
use crate::stack::observed::StackObservations;

/// Pace of the questions to Prometheus.
const ROUND: Duration = Duration::from_secs(15);
/// Pace at which it is looked whether the periods of calendar windows have moved on.
const CALENDAR: Duration = Duration::from_secs(3_600);
/// Pace of what waits for time alone.
const TICK: Duration = Duration::from_secs(1);
const PAGE: u32 = 100;

/// One SLO.
struct Entry {
    /// Without what nobody needs here.
    object: SLO,
    checked: Result<Arc<Checked>, Vec<Refusal>>,
    /// What the live rules were made of; not known of a refused one after a restart.
    live: Option<Arc<Checked>>,
    /// As the API server has it.
    status: SloStatus,
    /// What the loader said, and when.
    load: Option<(Load, Instant)>,
    /// The measured part of the status, by the last round; `None` before the first.
    measured: Option<SloStatus>,
    budget: Option<super::budget::Budget>,
    /// Rounds in a row in which no Prometheus answered, and why.
    misses: u32,
    unreachable: Option<String>,
    /// What is wrong with the data, and when it was looked for last.
    findings: Vec<SloProblem>,
    looked: Option<Instant>,
    /// Its status is being written.
    writing: bool,
}

/// What came of a task.
enum Done {
    Round(round::Answers),
    Status { name: Name, uid: String, status: Box<SloStatus>, result: Result<(), kube::Error> },
}

/// What the keeper shares with others.
pub struct Shared {
    pub adjustments: Adjustments,
    pub standings: Arc<Standings>,
    /// What stacks tell of their SLOs, and who makes them tell it.
    pub memory: StackObservations,
    pub changed: UnboundedSender<ObjectRef<MonitoringStack>>,
}

struct Keeper {
    context: Arc<Context>,
    loader: KeeperEnds,
    shared: Shared,
    slos: BTreeMap<Name, Entry>,
    listing: Listing,
    /// Statuses to look at now, and those that wait.
    dirty: BTreeSet<Name>,
    later: BTreeMap<Name, Instant>,
    writing: usize,
    tasks: JoinSet<Done>,
    asking: bool,
    /// Some stack wants the series of sloth of every SLO.
    sloth: bool,
}

/// Runs until told to stop.
pub async fn run(
    context: Arc<Context>,
    mut loader: KeeperEnds,
    shared: Shared,
    stop: impl Future<Output = ()> + Send + 'static,
) {
    let mut stop = std::pin::pin!(stop);
    // Which rules an SLO becomes depends on the stacks, and its budget on the adjustments.
    let sloth = tokio::select! {
        views = loader.views.wait_for(Option::is_some) => views.is_ok_and(|views| wants_sloth(&views)),
        () = &mut stop => return,
    };
    tokio::select! {
        () = shared.adjustments.filled() => {}
        () = &mut stop => return,
    }
    let mut events = std::pin::pin!(watch(&context.client));
    let mut keeper = Keeper {
        context,
        loader,
        shared,
        slos: BTreeMap::new(),
        listing: Listing::default(),
        dirty: BTreeSet::new(),
        later: BTreeMap::new(),
        writing: 0,
        tasks: JoinSet::new(),
        asking: false,
        sloth,
    };
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut rounds = tokio::time::interval_at((Instant::now() + Duration::from_secs(3)).into(), ROUND);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut calendar = tokio::time::interval_at((Instant::now() + CALENDAR).into(), CALENDAR);
    loop {
        tokio::select! {
            () = &mut stop => break,
            event = events.next() => match event {
                Some(event) => keeper.hear(event),
                None => break,
            },
            Some((name, load)) = keeper.loader.loads.recv() => keeper.loaded(name, load),
            Ok(()) = keeper.loader.views.changed() => keeper.stacks_changed(),
            Some(done) = keeper.tasks.join_next(), if !keeper.tasks.is_empty() => match done {
                Ok(done) => keeper.done(done),
                Err(error) => {
                    keeper.asking = false;
                    tracing::error!(%error, "a task of the keeper of SLOs ended unexpectedly");
                }
            },
            _ = rounds.tick() => keeper.begin_round(),
            _ = calendar.tick() => keeper.ship_again(|slo| matches!(slo.window, Window::Calendar { .. })),
            _ = ticks.tick() => {}
        }
        keeper.tell(Instant::now());
    }
    // What is under way is not torn apart.
    let rest = async { while keeper.tasks.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(Duration::from_secs(5), rest).await;
}

fn watch(client: &Client) -> impl Stream<Item = watcher::Event<Guarded<SLO>>> + Send + use<> {
    let config = watcher::Config::default().page_size(PAGE);
    cache::heard(watcher(Api::<Guarded<SLO>>::all(client.clone()), config))
}

fn wants_sloth(views: &Views) -> bool {
    views.iter().flatten().any(|(_, view)| view.sloth)
}

fn name_of(metadata: &ObjectMeta) -> Name {
    (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

impl Keeper {
    fn hear(&mut self, event: watcher::Event<Guarded<SLO>>) {
        let metadata = |slo: &Guarded<SLO>| name_of(slo.0.as_ref().map_or_else(|e| &e.metadata, |slo| &slo.metadata));
        let mut names = BTreeSet::new();
        let heard = self.listing.heard(event, |slo| {
            let (namespace, name) = metadata(slo);
            format!("{namespace}/{name}")
        });
        match heard {
            Some(Change::Applied(slo)) => match slo.0 {
                Ok(slo) => self.applied(slo),
                Err(error) => self.unreadable(&error),
            },
            Some(Change::Deleted(slo)) => {
                let name = metadata(&slo);
                self.gone(&name);
                self.feed(Feed::Deleted(name));
            }
            Some(Change::Listed(seen)) => {
                for full in &seen {
                    let (namespace, name) = full.split_once('/').unwrap_or_default();
                    names.insert((namespace.to_owned(), name.to_owned()));
                }
                let gone: Vec<Name> = self.slos.keys().filter(|name| !names.contains(*name)).cloned().collect();
                gone.iter().for_each(|name| self.gone(name));
                self.feed(Feed::Listed(names));
            }
            None => {}
        }
    }

    fn feed(&self, feed: Feed) {
        // The receiver is gone only when the process ends.
        let _ = self.loader.slos.send(feed);
    }

    fn applied(&mut self, mut slo: SLO) {
        let name = name_of(&slo.metadata);
        let status = slo.status.take().unwrap_or_default();
        slo.metadata.managed_fields = None;
        slo.metadata.annotations = None;
        let before = self.slos.get_mut(&name).filter(|entry| entry.object.uid() == slo.uid());
        let same = before.as_ref().is_some_and(|entry| {
            entry.object.metadata.generation >= slo.metadata.generation && entry.object.labels() == slo.labels()
        });
        match before {
            // The echo of a write that is not done yet says nothing new.
            Some(entry) if same => {
                if !entry.writing && entry.status != status {
                    entry.status = status;
                    self.dirty.insert(name);
                }
                return;
            }
            Some(entry) => {
                entry.checked = check(&slo).map(Arc::new);
                if entry.object.metadata.generation != slo.metadata.generation {
                    entry.findings = vec![];
                    entry.looked = None;
                }
                entry.object = slo;
                if let Ok(checked) = &entry.checked {
                    entry.live = Some(checked.clone());
                }
            }
            None => {
                self.gone(&name);
                let checked = check(&slo).map(Arc::new);
                let known = checked.is_ok() && status.observed_generation == slo.metadata.generation;
                let entry = Entry {
                    live: checked.as_ref().ok().cloned(),
                    findings: if known { told::findings(&status) } else { vec![] },
                    object: slo,
                    checked,
                    status,
                    load: None,
                    measured: None,
                    budget: None,
                    misses: 0,
                    unreachable: None,
                    looked: None,
                    writing: false,
                };
                self.slos.insert(name.clone(), entry);
            }
        }
        self.ship(&name, Timestamp::now());
        self.dirty.insert(name);
    }

    /// What cannot be decoded is no reason to take its rules away.
    fn unreadable(&self, error: &kube::core::error_boundary::InvalidObject) {
        let name = name_of(&error.metadata);
        tracing::warn!(%error, namespace = name.0, name = name.1, "an SLO cannot be read; its last version stays live");
        if !self.slos.contains_key(&name) {
            self.feed(Feed::Applied(Slo {
                name,
                uid: error.metadata.uid.clone().unwrap_or_default(),
                generation: error.metadata.generation.unwrap_or_default(),
                labels: error.metadata.labels.clone().unwrap_or_default(),
                groups: None,
                was_loaded: true,
            }));
        }
    }

    /// Hands the rules of an SLO to the loader, which does nothing when they are the same.
    fn ship(&self, name: &Name, now: Timestamp) {
        let Some(entry) = self.slos.get(name) else { return };
        let generation = entry.object.metadata.generation.unwrap_or_default();
        self.feed(Feed::Applied(Slo {
            name: name.clone(),
            uid: entry.object.uid().unwrap_or_default(),
            generation,
            labels: entry.object.labels().clone(),
            groups: entry.checked.as_ref().ok().map(|checked| groups(checked, self.sloth, now)),
            was_loaded: told::was_loaded(&entry.status, generation),
        }));
    }

    fn ship_again(&self, which: impl Fn(&Checked) -> bool) {
        let now = Timestamp::now();
        let wanted = |entry: &&Entry| entry.checked.as_ref().is_ok_and(|checked| which(checked));
        for (name, _) in self.slos.iter().filter(|(_, entry)| wanted(entry)) {
            self.ship(name, now);
        }
    }

    fn stacks_changed(&mut self) {
        let sloth = wants_sloth(&self.loader.views.borrow_and_update());
        if sloth != self.sloth {
            self.sloth = sloth;
            self.ship_again(|_| true);
        }
    }

    fn loaded(&mut self, name: Name, load: Load) {
        let Some(entry) = self.slos.get_mut(&name) else { return };
        if entry.load.as_ref().is_none_or(|(known, _)| *known != load) {
            // A wait that goes on has begun when it began.
            let since = entry.load.as_ref().filter(|(known, _)| told::is_waiting(known)).map(|(_, since)| *since);
            entry.load = Some((load, since.unwrap_or_else(Instant::now)));
        }
        self.dirty.insert(name);
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Round(answers) => {
                self.asking = false;
                self.end_round(answers, Timestamp::now());
            }
            Done::Status { name, uid, status, result } => self.status_written(&name, &uid, *status, result),
        }
    }
}

/// The groups of an SLO. Where it is the stack that wants the series of sloth, each stack takes its own.
fn groups(checked: &Checked, stacks_want_sloth: bool, now: Timestamp) -> Vec<SloGroup> {
    let sloth =
        (stacks_want_sloth && !checked.sloth).then(|| rules::texts(&Checked { sloth: true, ..checked.clone() }, now));
    SloGroup::all(rules::texts(checked, now), sloth)
}
