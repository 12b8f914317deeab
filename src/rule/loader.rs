//! Makes AlertRules and the rules of SLOs live: one task that hears of changes, writes shards, asks every Prometheus what it has loaded and
//! tells the statuses. All decisions are the index's; this is the edge to the API server and to Prometheus.

mod hear;
mod look;
mod tell;
mod test;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::channel::mpsc::UnboundedSender;
use jiff::Timestamp;
use kube::runtime::reflector::ObjectRef;
use tokio::task::JoinSet;

use self::look::Looking;
use self::test::Testing;
use super::index::{Index, key};
use super::link::Ends;
use super::packing::{Key, Pod, Report};
use super::rounds::Rounds;
use super::unit_test::Failure;
use super::watch::Listing;
use super::{io, shards, watch};
use crate::api::MonitoringStack;
use crate::api::alert_rule::AlertRuleStatus;
use crate::api::monitoring_stack::RuleCounts;
use crate::context::Context;
use crate::k8s::apply::ApplyError;
use crate::k8s::report;
use crate::stack::observed::StackObservations;

/// Edits that come together are written together.
const DEBOUNCE: Duration = Duration::from_millis(25);
/// Shards that are written at the same time: each one stands in memory several times over.
const SHARDS_AT_ONCE: usize = 6;
/// Statuses that are written at the same time.
const STATUSES_AT_ONCE: usize = 8;
/// A status that only waits for Prometheus is not written before this: mostly it is loaded sooner, also by one that
/// reads ten thousand rules anew.
const WAIT: Duration = Duration::from_secs(6);
/// The same for the counts of a stack, which cost it a reconcile.
const WAIT_FOR_COUNTS: Duration = Duration::from_secs(15);
/// After a write that failed.
const AGAIN: Duration = Duration::from_secs(5);
/// Pace of the questions about firing alerts.
const FIRING: Duration = Duration::from_secs(15);
/// Pace at which the keeper of SLOs hears of the stacks.
const VIEWS: Duration = Duration::from_secs(1);
/// Longest time of one write.
const PATIENCE: Duration = Duration::from_secs(20);
/// Pace of what waits for time alone while Prometheus has something to confirm.
const TICK: Duration = Duration::from_millis(100);
/// The same while it has not.
const IDLE_TICK: Duration = Duration::from_secs(1);

/// What came of a task.
enum Done {
    Shard {
        stack: Key,
        shard: usize,
        number: u64,
        revision: Option<String>,
        result: Result<Option<String>, ApplyError>,
    },
    Asked {
        stack: Key,
        reports: Vec<(String, Report)>,
    },
    Status {
        rule: Key,
        status: Box<AlertRuleStatus>,
        result: Result<(), kube::Error>,
    },
    Alerts {
        stack: Key,
        names: Option<Vec<String>>,
    },
    Tested {
        rule: Key,
        generation: i64,
        verdict: Result<Vec<Failure>, String>,
    },
    Looked {
        rule: Key,
        generation: i64,
        missing: Option<Vec<String>>,
    },
    Firing {
        stack: Key,
        counts: Option<BTreeMap<Key, i32>>,
    },
}

/// A shard's ConfigMap.
#[derive(Default)]
struct Written {
    /// resourceVersion that the last write left.
    left: Option<String>,
    /// resourceVersion that the watch showed last.
    seen: Option<String>,
    failures: u32,
    not_before: Option<Instant>,
}

struct Loader {
    context: Arc<Context>,
    memory: StackObservations,
    changed: UnboundedSender<ObjectRef<MonitoringStack>>,
    index: Index,
    tasks: JoinSet<Done>,
    shards: HashMap<(Key, usize), Written>,
    writing: HashSet<(Key, usize)>,
    rounds: Rounds,
    /// Statuses to look at now, and those that can wait.
    told_now: BTreeSet<Key>,
    told_later: BTreeMap<Key, Instant>,
    telling: HashSet<Key>,
    counts: BTreeMap<Key, RuleCounts>,
    counts_since: Option<Instant>,
    firing: BTreeMap<Key, BTreeMap<Key, i32>>,
    firing_next: Instant,
    testing: Testing,
    looking: Looking,
    write_at: Option<Instant>,
    listings: [Listing; 5],
    /// To and from the keeper of SLOs.
    keeper: Ends,
    slos_listed: bool,
    /// When the stacks were told last.
    views_at: Option<Instant>,
    /// Everything was heard of once: from now on shards are written.
    complete: bool,
}

/// Runs until told to stop. `changed` tells the stack controller that a stack's counts, which it finds in `memory`,
/// are new.
pub async fn run(
    context: Arc<Context>,
    memory: StackObservations,
    changed: UnboundedSender<ObjectRef<MonitoringStack>>,
    keeper: Ends,
    stop: impl Future<Output = ()> + Send + 'static,
) {
    let mut events = watch::surroundings(&context.client);
    let mut loader = Loader {
        context,
        memory,
        changed,
        index: Index::default(),
        tasks: JoinSet::new(),
        shards: HashMap::new(),
        writing: HashSet::new(),
        rounds: Rounds::default(),
        told_now: BTreeSet::new(),
        told_later: BTreeMap::new(),
        telling: HashSet::new(),
        counts: BTreeMap::new(),
        counts_since: None,
        firing: BTreeMap::new(),
        firing_next: Instant::now() + Duration::from_secs(2),
        testing: Testing::default(),
        looking: Looking::default(),
        write_at: None,
        listings: Default::default(),
        keeper,
        slos_listed: false,
        views_at: None,
        complete: false,
    };
    let mut stop = std::pin::pin!(stop);
    let mut reading = false;
    loop {
        let pause = loader.pause();
        tokio::select! {
            () = &mut stop => break,
            event = events.next() => match event {
                Some(event) => loader.hear(event),
                None => break,
            },
            // SLOs too are read when it is known who selects them.
            Some(feed) = loader.keeper.slos.recv(), if reading => loader.fed(feed),
            Some(done) = loader.tasks.join_next(), if !loader.tasks.is_empty() => match done {
                Ok(done) => loader.done(done),
                Err(error) => tracing::error!(%error, "a task of the rule loader ended unexpectedly"),
            },
            () = tokio::time::sleep(pause) => {}
            () = at(loader.write_at) => {}
        }
        loader.show_stacks(Instant::now());
        if !reading && loader.listings[..4].iter().all(|listing| listing.done) {
            reading = loader.recover().await;
            if reading {
                events.push(watch::rules(&loader.context.client));
            }
        }
        if !loader.complete && loader.listings[4].done && loader.slos_listed {
            loader.index.started();
            loader.complete = true;
        }
        if loader.complete {
            loader.work(Instant::now());
        }
    }
    // What is under way is not torn apart.
    let rest = async { while loader.tasks.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(Duration::from_secs(5), rest).await;
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}

impl Loader {
    /// Reads what the shards held before this process began. Returns whether it could.
    async fn recover(&mut self) -> bool {
        let index = &mut self.index;
        let read = io::read_shards(&self.context.client, |namespace, stack, shard, text| {
            index.recovered(&key(namespace, stack), shard, text);
        });
        match tokio::time::timeout(PATIENCE, read).await {
            Ok(Ok(())) => true,
            other => {
                let error = other.err().map(|e| e.to_string()).unwrap_or_default();
                tracing::warn!(error, "cannot read the rule shards, will try again");
                tokio::time::sleep(Duration::from_secs(1)).await;
                false
            }
        }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Shard { stack, shard, number, revision, result } => {
                self.shard_done(stack, shard, number, revision, result);
            }
            Done::Asked { stack, reports } => {
                self.rounds.answered(&stack, Instant::now());
                self.index.report(&stack, reports, Timestamp::now());
            }
            Done::Status { rule, status, result } => {
                self.telling.remove(&rule);
                match result {
                    Ok(()) => {
                        self.index.status_written(&rule, *status);
                        self.told_now.insert(rule);
                    }
                    Err(error) => {
                        tracing::warn!(%error, %rule, "cannot write the status, will try again");
                        self.told_later.insert(rule, Instant::now() + AGAIN);
                    }
                }
            }
            Done::Alerts { stack, names: Some(names) } => self.alerts(stack, names),
            Done::Firing { stack, counts: Some(counts) } => self.fires(stack, counts),
            Done::Looked { rule, generation, missing } => self.looked(rule, generation, missing),
            Done::Tested { rule, generation, verdict } => self.tested(rule, generation, verdict),
            Done::Alerts { .. } | Done::Firing { .. } => {}
        }
    }

    fn shard_done(
        &mut self,
        stack: Key,
        shard: usize,
        number: u64,
        revision: Option<String>,
        result: Result<Option<String>, ApplyError>,
    ) {
        let place = (stack.clone(), shard);
        self.writing.remove(&place);
        let known = self.shards.entry(place).or_default();
        match result {
            Ok(version) => {
                known.failures = 0;
                known.not_before = None;
                known.left = version;
                // Somebody else wrote it after us, and the watch was faster than our answer.
                let overtaken = match (&known.seen, &known.left) {
                    (Some(seen), Some(left)) => newer(seen, left),
                    _ => false,
                };
                self.index.written(&stack, shard, number, Ok(revision));
                if overtaken {
                    self.index.disturbed(&stack, shard);
                }
                self.rounds.begin(&stack, Instant::now());
            }
            Err(error) => {
                known.failures += 1;
                let pause = Duration::from_secs(1 << known.failures.min(5));
                known.not_before = Some(Instant::now() + pause);
                let first = known.failures == 1;
                self.index.written(&stack, shard, number, Err(()));
                let message = report::chain(&error);
                tracing::warn!(%stack, shard, message, "cannot write a rule shard, will try again");
                self.context.metrics.reconcile_failed("AlertRule", crate::k8s::report::Reportable::reason(&error));
                if let Some(owner) = self.index.owner(&stack).filter(|_| first) {
                    let mut object = MonitoringStack::new(&owner.name, Default::default());
                    object.metadata.namespace = Some(owner.namespace.clone());
                    object.metadata.uid = Some(owner.uid.clone());
                    let context = self.context.clone();
                    tokio::spawn(async move {
                        report::warn(&context, &object, "WriteRules", "RulesNotWritten", &message).await;
                    });
                }
            }
        }
    }

    /// Until time alone brings work: every event is followed by a look at everything anyway.
    fn pause(&self) -> Duration {
        if self.index.unconfirmed().is_empty() { IDLE_TICK } else { TICK }
    }

    /// Everything that is due.
    fn work(&mut self, now: Instant) {
        self.write_shards(now);
        self.ask(now);
        self.tell(now);
        self.tell_stacks(now);
        self.ask_firing(now);
        self.run_tests(now);
        self.look(now);
    }

    fn write_shards(&mut self, now: Instant) {
        let dirty = self.index.dirty();
        if dirty.is_empty() {
            self.write_at = None;
            return;
        }
        match self.write_at {
            None => self.write_at = Some(now + DEBOUNCE),
            Some(at) if at > now => {}
            Some(_) => {
                self.write_at = None;
                for (stack, shard) in dirty {
                    if self.writing.len() >= SHARDS_AT_ONCE {
                        break;
                    }
                    self.write_shard(stack, shard, now);
                }
                // What is left goes on when a write ends; what failed waits for the next tick.
            }
        }
    }

    fn write_shard(&mut self, stack: Key, shard: usize, now: Instant) {
        let place = (stack.clone(), shard);
        if self.shards.get(&place).and_then(|known| known.not_before).is_some_and(|at| at > now) {
            return;
        }
        let Some((owner, content)) = self.index.content(&stack, shard) else { return };
        self.writing.insert(place);
        let context = self.context.clone();
        self.tasks.spawn(async move {
            let write = io::write_shard(&context, &owner, shard, &content);
            let result = match tokio::time::timeout(PATIENCE, write).await {
                Ok(result) => result,
                Err(_) => Err(ApplyError::Timeout { name: shards::config_map_name(&owner.name, shard) }),
            };
            let revision = content.file.map(|(_, revision)| revision);
            Done::Shard { stack, shard, number: content.number, revision, result }
        });
    }

    /// Asks the Prometheus pods of stacks in which something is not confirmed yet.
    fn ask(&mut self, now: Instant) {
        for stack in self.index.unconfirmed() {
            let Some(packing) = self.index.packing(&stack) else { continue };
            let Some(round) = self.rounds.next(&stack, packing, now) else { continue };
            let namespace = stack.split('/').next().unwrap_or_default().to_owned();
            let context = self.context.clone();
            let ready: Vec<Pod> = packing.pods().filter(|pod| pod.ready).cloned().collect();
            self.tasks.spawn(async move {
                for pod in &round.kick {
                    if let Err(error) = io::kick(&context.client, &namespace, pod, &round.revision).await {
                        tracing::warn!(%error, pod, "cannot annotate a Prometheus pod: its rules will be late");
                    }
                }
                Done::Asked { reports: io::ask(&context.http, &ready, round.about_reload).await, stack }
            });
        }
    }
}

/// Whether one resourceVersion is later than another.
fn newer(a: &str, b: &str) -> bool {
    match (a.parse::<u64>(), b.parse::<u64>()) {
        (Ok(a), Ok(b)) => a > b,
        _ => a != b,
    }
}
