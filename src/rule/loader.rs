//! Makes AlertRules live: one task that hears of changes, writes shards, asks every Prometheus what it has loaded and
//! tells the statuses. All decisions are the index's; this is the edge to the API server and to Prometheus.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::channel::mpsc::UnboundedSender;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Pod as KubePod};
use kube::ResourceExt;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::ObjectRef;
use tokio::task::JoinSet;

use super::index::{Index, key};
use super::packing::{Key, Pod, Report};
use super::rounds::Rounds;
use super::watch::{Change, Event, Listing};
use super::{io, shards, watch};
use crate::api::MonitoringStack;
use crate::api::alert_rule::AlertRuleStatus;
use crate::api::monitoring_stack::RuleCounts;
use crate::context::Context;
use crate::k8s::apply::ApplyError;
use crate::k8s::meta::OWNER_UID;
use crate::k8s::report;
use crate::metrics;
use crate::stack::names;
use crate::stack::observed::StackObservations;

/// Edits that come together are written together.
const DEBOUNCE: Duration = Duration::from_millis(25);
/// Shards that are written at the same time: each one stands in memory several times over.
const SHARDS_AT_ONCE: usize = 6;
/// Statuses that are written at the same time.
const STATUSES_AT_ONCE: usize = 8;
/// A status that only waits for Prometheus is not written before this: mostly it is loaded sooner.
const WAIT: Duration = Duration::from_secs(3);
/// After a write that failed.
const AGAIN: Duration = Duration::from_secs(5);
/// Pace of the questions about firing alerts.
const FIRING: Duration = Duration::from_secs(15);
/// Longest time of one write.
const PATIENCE: Duration = Duration::from_secs(20);
/// Pace of what waits for time alone.
const TICK: Duration = Duration::from_millis(100);

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
    write_at: Option<Instant>,
    listings: [Listing; 5],
    complete: bool,
}

/// Runs until told to stop. `changed` tells the stack controller that a stack's counts, which it finds in `memory`,
/// are new.
pub async fn run(
    context: Arc<Context>,
    memory: StackObservations,
    changed: UnboundedSender<ObjectRef<MonitoringStack>>,
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
        write_at: None,
        listings: Default::default(),
        complete: false,
    };
    let mut stop = std::pin::pin!(stop);
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut reading = false;
    loop {
        tokio::select! {
            () = &mut stop => break,
            event = events.next() => match event {
                Some(event) => loader.hear(event),
                None => break,
            },
            Some(done) = loader.tasks.join_next(), if !loader.tasks.is_empty() => match done {
                Ok(done) => loader.done(done),
                Err(error) => tracing::error!(%error, "a task of the rule loader ended unexpectedly"),
            },
            _ = ticks.tick() => {}
            () = at(loader.write_at) => {}
        }
        if !reading && loader.listings[..4].iter().all(|listing| listing.done) {
            reading = loader.recover().await;
            if reading {
                events.push(watch::rules(&loader.context.client));
            }
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

    fn hear(&mut self, event: Event) {
        let [stacks, namespaces, config_maps, pods, rules] = &mut self.listings;
        match event {
            Event::Stack(event) => match stacks
                .heard(event, |s| full_name(s.0.as_ref().map_or_else(|e| &e.metadata, |s| &s.metadata)))
            {
                Some(Change::Applied(stack)) => match stack.0 {
                    Ok(stack) => self.index.stack_applied(&stack),
                    Err(error) => tracing::warn!(%error, "a MonitoringStack cannot be read"),
                },
                Some(Change::Deleted(stack)) => {
                    let name = full_name(stack.0.as_ref().map_or_else(|e| &e.metadata, |s| &s.metadata));
                    self.stack_gone(&name.into());
                }
                Some(Change::Listed(seen)) => {
                    let gone: Vec<Key> = self.index.stacks().filter(|key| !seen.contains(&***key)).cloned().collect();
                    gone.iter().for_each(|key| self.stack_gone(key));
                }
                None => {}
            },
            Event::Namespace(event) => match namespaces.heard(event, |n| n.name_any()) {
                Some(Change::Applied(namespace)) => {
                    self.index.namespace_applied(&namespace.name_any(), namespace.labels().clone());
                }
                Some(Change::Deleted(namespace)) => self.index.namespace_deleted(&namespace.name_any()),
                Some(Change::Listed(seen)) => {
                    let gone: Vec<String> = self.index.namespaces().filter(|n| !seen.contains(*n)).cloned().collect();
                    gone.iter().for_each(|name| self.index.namespace_deleted(name));
                }
                None => {}
            },
            Event::Shard(event) => match config_maps.heard(event, |c| full_name(&c.metadata)) {
                Some(Change::Applied(shard)) => self.shard_seen(&shard, shard.resource_version()),
                Some(Change::Deleted(shard)) => self.shard_seen(&shard, None),
                Some(Change::Listed(seen)) => {
                    let gone = |(stack, shard): &(Key, usize)| {
                        let (namespace, name) = stack.split_once('/').unwrap_or_default();
                        !seen.contains(&format!("{namespace}/{}", shards::config_map_name(name, *shard)))
                    };
                    let gone: Vec<_> = self.shards.keys().filter(|place| gone(place)).cloned().collect();
                    gone.into_iter().for_each(|place| self.shard_changed(place, None));
                }
                None => {}
            },
            Event::Pod(event) => match pods.heard(event, |p| full_name(&p.metadata)) {
                Some(Change::Applied(pod)) => self.pod_seen(&pod),
                Some(Change::Deleted(pod)) => {
                    if let Some(stack) = stack_of(&pod.metadata) {
                        self.index.pod_gone(&stack, &pod.name_any());
                    }
                }
                Some(Change::Listed(seen)) => {
                    for stack in self.index.stacks().cloned().collect::<Vec<_>>() {
                        let namespace = stack.split('/').next().unwrap_or_default();
                        let pods = self.index.packing(&stack).into_iter().flat_map(|packing| packing.pods());
                        let gone = pods.filter(|pod| !seen.contains(&format!("{namespace}/{}", pod.name)));
                        let gone: Vec<String> = gone.map(|pod| pod.name.clone()).collect();
                        gone.iter().for_each(|pod| self.index.pod_gone(&stack, pod));
                    }
                }
                None => {}
            },
            Event::Rule(event) => match rules
                .heard(event, |r| full_name(r.0.as_ref().map_or_else(|e| &e.metadata, |r| &r.metadata)))
            {
                Some(Change::Applied(rule)) => match rule.0 {
                    Ok(rule) => self.index.rule_applied(&rule),
                    Err(error) => tracing::warn!(
                        %error, namespace = error.metadata.namespace, name = error.metadata.name,
                        "an AlertRule cannot be read; its last version stays live"
                    ),
                },
                Some(Change::Deleted(rule)) => {
                    let name = full_name(rule.0.as_ref().map_or_else(|e| &e.metadata, |r| &r.metadata));
                    self.rule_gone(&name.into());
                }
                Some(Change::Listed(seen)) => {
                    let gone: Vec<Key> = self.index.rules().filter(|key| !seen.contains(&***key)).cloned().collect();
                    gone.iter().for_each(|key| self.rule_gone(key));
                    self.index.started();
                    self.complete = true;
                }
                None => {}
            },
        }
    }

    fn rule_gone(&mut self, rule: &Key) {
        self.index.rule_deleted(rule);
        self.told_now.remove(rule);
        self.told_later.remove(rule);
    }

    fn stack_gone(&mut self, stack: &Key) {
        self.index.stack_deleted(stack);
        self.rounds.forget(stack);
        self.shards.retain(|(of, _), _| of != stack);
        self.firing.remove(stack);
        if self.counts.remove(stack).is_some() {
            let (namespace, name) = stack.split_once('/').unwrap_or_default();
            self.memory.forget(namespace, name);
            for state in ["accepted", "rejected", "loaded"] {
                self.context.metrics.rules.remove(&gauge(namespace, name, state));
            }
        }
    }

    fn shard_seen(&mut self, object: &PartialObjectMeta<ConfigMap>, version: Option<String>) {
        let Some(stack) = stack_of(&object.metadata) else { return };
        let name = stack.split_once('/').map_or("", |(_, name)| name);
        let Some(shard) = shards::of_config_map(name, &object.name_any()) else { return };
        // Of a stack of the same name that was deleted: it is on its way out.
        let owner = object.labels().get(OWNER_UID);
        if self.index.owner(&stack).is_some_and(|known| owner == Some(&known.uid)) || version.is_some() {
            self.shard_changed((stack, shard), version);
        }
    }

    fn shard_changed(&mut self, place: (Key, usize), version: Option<String>) {
        let known = self.shards.entry(place.clone()).or_default();
        known.seen = version;
        if !self.writing.contains(&place) && known.seen != known.left && self.complete {
            self.index.disturbed(&place.0, place.1);
        }
    }

    fn pod_seen(&mut self, object: &KubePod) {
        let Some(stack) = stack_of(&object.metadata) else { return };
        if object.metadata.deletion_timestamp.is_some() {
            self.index.pod_gone(&stack, &object.name_any());
        } else {
            self.index.pod_seen(&stack, pod(object));
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

    /// Everything that is due.
    fn work(&mut self, now: Instant) {
        self.write_shards(now);
        self.ask(now);
        self.tell(now);
        self.tell_stacks(now);
        self.ask_firing(now);
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

    /// Statuses that have changed.
    fn tell(&mut self, now: Instant) {
        self.told_now.extend(self.index.changed());
        if !self.told_later.is_empty() {
            let due: Vec<Key> =
                self.told_later.iter().filter(|(_, at)| **at <= now).map(|(rule, _)| rule.clone()).collect();
            self.told_now.extend(due);
        }
        let mut busy = vec![];
        while self.telling.len() < STATUSES_AT_ONCE {
            let Some(rule) = self.told_now.pop_first() else { break };
            if self.telling.contains(&rule) {
                busy.push(rule);
                continue;
            }
            self.tell_one(rule, now);
        }
        self.told_now.extend(busy);
    }

    fn tell_one(&mut self, rule: Key, now: Instant) {
        let Some((told, old)) = self.index.status(&rule, Timestamp::now()) else { return };
        if told.status == *old {
            self.told_later.remove(&rule);
            return;
        }
        if !told.settled {
            let due = *self.told_later.entry(rule.clone()).or_insert(now + WAIT);
            if due > now {
                return;
            }
        }
        self.told_later.remove(&rule);
        let (old, status) = (old.clone(), Box::new(told.status));
        let object = io::bare(&rule, self.index.uid(&rule).unwrap_or_default());
        let context = self.context.clone();
        self.telling.insert(rule.clone());
        self.tasks.spawn(async move {
            let result = io::write_status(&context, &object, &old, &status).await;
            Done::Status { rule, status, result }
        });
    }

    /// Counts of the stacks, once they have settled.
    fn tell_stacks(&mut self, now: Instant) {
        let new: Vec<_> = self.index.counts().map(|(owner, counts)| (owner.clone(), counts)).collect();
        let differs = |owner: &crate::k8s::meta::Owner, counts: &RuleCounts| {
            self.counts.get(&key(&owner.namespace, &owner.name)) != Some(counts)
        };
        if !new.iter().any(|(owner, counts)| differs(owner, counts)) {
            self.counts_since = None;
            return;
        }
        let since = *self.counts_since.get_or_insert(now);
        let unsettled = self.index.dirty().len() + self.writing.len() > 0 || !self.index.unconfirmed().is_empty();
        if unsettled && now.duration_since(since) < WAIT {
            return;
        }
        self.counts_since = None;
        for (owner, counts) in new {
            self.counts.insert(key(&owner.namespace, &owner.name), counts);
            let states = [("accepted", counts.accepted), ("rejected", counts.rejected), ("loaded", counts.loaded)];
            for (state, count) in states {
                self.context.metrics.rules.get_or_create(&gauge(&owner.namespace, &owner.name, state)).set(count);
            }
            if self.memory.set_rules(&owner.namespace, &owner.name, counts) {
                // The receiver is gone only when the process ends.
                let _ = self.changed.unbounded_send(ObjectRef::new(&owner.name).within(&owner.namespace));
            }
        }
    }

    fn ask_firing(&mut self, now: Instant) {
        if now < self.firing_next {
            return;
        }
        self.firing_next = now + FIRING;
        for stack in self.index.stacks().cloned().collect::<Vec<_>>() {
            let pods = self.one_of_each_shard(&stack);
            if pods.is_empty() {
                continue;
            }
            let http = self.context.http.clone();
            self.tasks.spawn(async move {
                let names = io::firing(&http, &pods).await;
                let names = names.inspect_err(|error| tracing::debug!(%error, "cannot ask what fires")).ok();
                Done::Alerts { stack, names }
            });
        }
    }

    fn one_of_each_shard(&self, stack: &str) -> Vec<Pod> {
        let mut pods = BTreeMap::new();
        for pod in self.index.packing(stack).into_iter().flat_map(|packing| packing.pods()).filter(|pod| pod.ready) {
            pods.entry(pod.shard.clone()).or_insert_with(|| pod.clone());
        }
        pods.into_values().collect()
    }

    /// An alert does not tell its group: its name does, unless several AlertRules have an alert of that name.
    fn alerts(&mut self, stack: Key, names: Vec<String>) {
        let defining = self.index.alerting(&names.iter().map(String::as_str).collect());
        if defining.values().all(|rules| rules.len() == 1) {
            let mut counts = BTreeMap::new();
            for rule in names.iter().filter_map(|name| defining.get(name)?.first()) {
                *counts.entry(rule.clone()).or_default() += 1;
            }
            return self.fires(stack, counts);
        }
        let groups: BTreeSet<String> = defining.into_values().flatten().map(|rule| rule.to_string()).collect();
        let (groups, pods) = (Vec::from_iter(groups), self.one_of_each_shard(&stack));
        let http = self.context.http.clone();
        self.tasks.spawn(async move {
            let counts = io::firing_in(&http, &pods, &groups).await;
            Done::Firing { stack, counts: counts.ok() }
        });
    }

    fn fires(&mut self, stack: Key, mut counts: BTreeMap<Key, i32>) {
        counts.retain(|_, count| *count > 0);
        self.firing.insert(stack, counts);
        let mut all = BTreeMap::<Key, i32>::new();
        // Two stacks that select one AlertRule see the same alerts.
        for (rule, count) in self.firing.values().flatten() {
            let most = all.entry(rule.clone()).or_default();
            *most = (*most).max(*count);
        }
        self.index.fires(all);
    }
}

fn gauge(namespace: &str, stack: &str, state: &str) -> metrics::Stack {
    metrics::Stack { namespace: namespace.to_owned(), stack: stack.to_owned(), state: state.to_owned() }
}

fn full_name(metadata: &kube::core::ObjectMeta) -> String {
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    format!("{}/{}", part(&metadata.namespace), part(&metadata.name))
}

/// The stack to which a child belongs by its labels.
fn stack_of(metadata: &kube::core::ObjectMeta) -> Option<Key> {
    let stack = metadata.labels.as_ref()?.get("app.kubernetes.io/instance")?;
    Some(key(metadata.namespace.as_deref()?, stack))
}

/// Whether one resourceVersion is later than another.
fn newer(a: &str, b: &str) -> bool {
    match (a.parse::<u64>(), b.parse::<u64>()) {
        (Ok(a), Ok(b)) => a > b,
        _ => a != b,
    }
}

fn pod(object: &KubePod) -> Pod {
    let status = object.status.clone().unwrap_or_default();
    let ready = status.conditions.iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True");
    let ended = status.container_statuses.iter().flatten().any(|container| {
        let state = container.state.as_ref().and_then(|state| state.terminated.as_ref());
        let last = container.last_state.as_ref().and_then(|state| state.terminated.as_ref());
        state.or(last).is_some_and(|ended| ended.exit_code != 0)
    });
    Pod {
        name: object.name_any(),
        ip: status.pod_ip.filter(|ip| !ip.is_empty()),
        ready,
        crashing: ended && !ready,
        shard: object.labels().get(names::SHARD).cloned().unwrap_or_default(),
        kicked: object.annotations().get(shards::REVISION).cloned(),
    }
}
