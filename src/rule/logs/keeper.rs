//! Makes AlertRules over logs live: one task that hears of changes, asks Loki what parses, writes files, asks every Loki
//! what it has loaded and tells the statuses. All decisions are the memory's; this is the edge to the API server and to
//! Loki.

mod hear;

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::channel::mpsc::UnboundedSender;
use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::ListParams;
use kube::core::ObjectMeta;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Client, ResourceExt};

use self::hear::Event;
use super::files::{self, File, SET};
use super::memory::Memory;
use super::pod::Report;
use super::verdict;
use crate::api::MonitoringStack;
use crate::context::Context;
use crate::k8s::apply::ApplyError;
use crate::k8s::meta::Owner;
use crate::k8s::report::{self, Reportable};
use crate::loki::Loki;
use crate::prometheus::HttpError;
use crate::rule::index::key;
use crate::rule::io;
use crate::rule::packing::Key;
use crate::rule::promql::ExprError;
use crate::rule::shards::REVISION;
use crate::rule::watch::Listing;
use crate::stack::names::LOKI;
use crate::stack::observed::StackObservations;

/// Edits that come together are looked at together.
const DEBOUNCE: Duration = Duration::from_millis(50);
/// Pace while a Loki has something to confirm, at first and later.
const SOON: Duration = Duration::from_millis(500);
const LATER: Duration = Duration::from_secs(5);
/// So long the pace is the quick one after a change.
const QUICK: Duration = Duration::from_secs(60);
/// Pace of the questions about firing alerts.
const FIRING: Duration = Duration::from_secs(15);
/// A Loki that does not answer must not hold up the rest.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest time of one write.
const WRITE: Duration = Duration::from_secs(20);
/// Expressions that are asked for in one pass, and at a time.
const ASKED: usize = 400;
const AT_ONCE: usize = 8;
/// A status that only waits for Loki is not written before this: mostly it is loaded sooner.
const WAIT: Duration = Duration::from_secs(8);
/// The kubelet may have read an older ConfigMap than the one that was written: it is told again after this, and then each
/// time after twice as long.
const KICK_AGAIN: Duration = Duration::from_secs(4);

struct Keeper {
    context: Arc<Context>,
    observed: StackObservations,
    changed: UnboundedSender<ObjectRef<MonitoringStack>>,
    memory: Memory,
    listings: [Listing; 5],
    /// Revision of the last kick of each stack, when, and how often.
    kicked: HashMap<Key, (String, Instant, u32)>,
    /// Since when a status waits to be written.
    waiting: HashMap<Key, Instant>,
    /// When something changed last, and when the Lokis were asked last.
    last_change: Instant,
    last_asked: Option<Instant>,
    /// resourceVersion that the last write of a file left; `None`: it was deleted.
    left: HashMap<(Key, usize), Option<String>>,
    /// A write has failed: not again before this.
    not_before: HashMap<(Key, usize), Instant>,
}

/// Runs until told to stop. `changed` tells the stack controller that a stack's counts, which it finds in `observed`, are
/// new.
pub async fn run(
    context: Arc<Context>,
    observed: StackObservations,
    changed: UnboundedSender<ObjectRef<MonitoringStack>>,
    stop: impl Future<Output = ()> + Send + 'static,
) {
    let mut keeper = Keeper {
        context,
        observed,
        changed,
        memory: Memory::default(),
        listings: Default::default(),
        kicked: HashMap::new(),
        waiting: HashMap::new(),
        last_change: Instant::now(),
        last_asked: None,
        left: HashMap::new(),
        not_before: HashMap::new(),
    };
    let work = async {
        while !keeper.recover().await {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let mut events = hear::events(&keeper.context.client);
        let mut next = Instant::now();
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(event) => {
                        if keeper.hear(event) {
                            keeper.last_change = Instant::now();
                            next = next.min(Instant::now() + DEBOUNCE);
                        }
                    }
                    None => break,
                },
                () = tokio::time::sleep_until(next.into()) => {
                    if keeper.listings.iter().all(|listing| listing.done) {
                        keeper.pass().await;
                    }
                    next = Instant::now() + keeper.pace();
                }
            }
        }
    };
    tokio::select! {
        () = stop => {}
        () = work => {}
    }
}

impl Keeper {
    /// Reads what the files held before this process began. Returns whether it could.
    async fn recover(&mut self) -> bool {
        let memory = &mut self.memory;
        let read = read_files(&self.context.client, |stack, number, text| memory.recovered(stack, number, text));
        match tokio::time::timeout(WRITE, read).await {
            Ok(Ok(())) => true,
            other => {
                let error = other.err().map(|e| e.to_string()).unwrap_or_default();
                tracing::warn!(error, "cannot read the files of log rules, will try again");
                false
            }
        }
    }

    /// Takes in what happened; returns whether it is worth a look.
    fn hear(&mut self, event: Event) -> bool {
        hear::hear(&mut self.memory, &mut self.listings, &self.left, event)
    }

    fn pace(&self) -> Duration {
        let lags = |stack: &&Key| self.memory.concerned(stack) && !self.memory.ready(stack).1.is_empty();
        let open = !self.memory.questions().is_empty() || self.memory.stacks().any(|stack| lags(&stack));
        match (open || !self.waiting.is_empty(), self.last_change.elapsed() < QUICK) {
            (true, true) => SOON,
            (true, false) => LATER,
            (false, _) => FIRING,
        }
    }

    /// Everything that is due.
    async fn pass(&mut self) {
        self.judge().await;
        self.memory.settle();
        let stacks: Vec<Key> = self.memory.stacks().cloned().collect();
        for stack in &stacks {
            self.write(stack).await;
        }
        for stack in stacks.iter().filter(|stack| self.memory.concerned(stack)).collect::<Vec<_>>() {
            self.ask(stack).await;
            self.kick(stack).await;
        }
        self.tell().await;
        self.tell_stacks();
    }

    /// Asks Loki which expressions parse.
    async fn judge(&mut self) {
        let questions: Vec<(String, String)> = self.memory.questions().into_iter().take(ASKED).collect();
        let http = &self.context.http;
        let asked = questions.into_iter().map(|(expr, ip)| async move {
            let loki = Loki::at(http, &ip);
            let verdict = tokio::time::timeout(PATIENCE, judged(&loki, &expr)).await;
            (expr, verdict)
        });
        let answers: Vec<_> = futures::stream::iter(asked).buffered(AT_ONCE).collect().await;
        for (expr, answer) in answers {
            match answer {
                Ok(Ok(verdict)) => self.memory.verdicts.learn(expr, verdict),
                Ok(Err(error)) => tracing::debug!(%error, "Loki does not say whether an expression parses"),
                Err(_) => tracing::debug!("Loki does not say in time whether an expression parses"),
            }
        }
    }

    /// Writes the files of a stack that differ.
    async fn write(&mut self, stack: &Key) {
        let Some((owner, wanted)) = self.memory.wanted(stack) else { return };
        let (owner, written) = (owner.clone(), self.memory.written(stack));
        for number in 0..files::COUNT {
            let file = wanted.get(&number);
            let place = (stack.clone(), number);
            let late = self.not_before.get(&place).is_some_and(|at| *at > Instant::now());
            if late || file.map(|file| &file.revision) == written.get(&number) {
                continue;
            }
            let name = || files::config_map_name(&owner.name, number);
            let write = write_file(&self.context, &owner, number, file);
            let result = match tokio::time::timeout(WRITE, write).await {
                Ok(result) => result,
                Err(_) => Err(ApplyError::Timeout { name: name() }),
            };
            match result {
                Ok(version) => {
                    self.not_before.remove(&place);
                    self.left.insert(place, version);
                    self.memory.file_is(stack, number, file.map(|file| file.revision.clone()));
                }
                Err(error) => {
                    let message = report::chain(&error);
                    tracing::warn!(%stack, number, message, "cannot write a file of log rules, will try again");
                    self.context.metrics.reconcile_failed("AlertRule", error.reason());
                    self.not_before.insert(place, Instant::now() + LATER);
                }
            }
        }
    }

    /// Makes the kubelet refresh the files of the pods that lag behind.
    async fn kick(&mut self, stack: &Key) {
        let (revision, lagging) = (self.memory.revision(stack), self.memory.outdated(stack));
        let (times, due) = match self.kicked.get(stack) {
            Some((last, at, times)) if *last == revision => (*times, *at + KICK_AGAIN * (1 << (*times - 1).min(5))),
            _ => (0, Instant::now()),
        };
        if lagging.is_empty() || due > Instant::now() {
            return;
        }
        let namespace = stack.split('/').next().unwrap_or_default();
        let value = if times == 0 { revision.clone() } else { format!("{revision}.{times}") };
        for pod in &lagging {
            if let Err(error) = io::kick(&self.context.client, namespace, pod, &value).await {
                tracing::warn!(%error, pod, "cannot annotate a pod of Loki: its rules will be late");
            }
        }
        self.kicked.insert(stack.clone(), (revision, Instant::now(), times + 1));
    }

    /// Asks every ready pod what it has loaded, and what fires.
    async fn ask(&mut self, stack: &Key) {
        let (ready, lagging) = self.memory.ready(stack);
        let due = self.last_asked.is_none_or(|at| at.elapsed() >= FIRING);
        if lagging.is_empty() && !due {
            return;
        }
        if due {
            self.last_asked = Some(Instant::now());
        }
        let http = &self.context.http;
        let asked = ready.into_iter().map(|(name, ip)| async move {
            let answer = tokio::time::timeout(PATIENCE, async { Loki::at(http, &ip).rule_groups().await }).await;
            Some((name, Report::of(&answer.ok()?.ok()?)))
        });
        for (name, report) in join_all(asked).await.into_iter().flatten() {
            self.memory.reported(stack, &name, report);
        }
    }

    /// Writes the statuses that differ.
    async fn tell(&mut self) {
        let statuses = self.memory.statuses(Timestamp::now());
        let differing: BTreeMap<Key, _> =
            statuses.into_iter().filter(|(_, told, old)| told.status != *old).map(|(k, t, o)| (k, (t, o))).collect();
        self.waiting.retain(|rule, _| differing.contains_key(rule));
        for (rule, (told, old)) in differing {
            let since = *self.waiting.entry(rule.clone()).or_insert_with(Instant::now);
            if !told.settled && since.elapsed() < WAIT {
                continue;
            }
            let object = io::bare(&rule, self.memory.uid(&rule).unwrap_or_default());
            let write = io::write_status(&self.context, &object, &old, &told.status);
            match tokio::time::timeout(WRITE, write).await {
                Ok(Ok(())) => {
                    self.memory.status_written(&rule, told.status);
                    self.waiting.remove(&rule);
                }
                Ok(Err(error)) => tracing::warn!(%error, %rule, "cannot write the status, will try again"),
                Err(_) => tracing::warn!(%rule, "the API server took too long over a status, will try again"),
            }
        }
    }

    fn tell_stacks(&self) {
        for (owner, counts) in self.memory.counts() {
            if self.observed.set_log_rules(&owner.namespace, &owner.name, counts) {
                // The receiver is gone only when the process ends.
                let _ = self.changed.unbounded_send(ObjectRef::new(&owner.name).within(&owner.namespace));
            }
        }
    }
}

/// Whether an expression parses, and yields numbers.
async fn judged(loki: &Loki, expr: &str) -> Result<Result<(), ExprError>, HttpError> {
    if let Err(words) = loki.parses(expr).await? {
        return Ok(Err(verdict::refused(&words)));
    }
    Ok(loki.parses(&verdict::compared(expr)).await?.map_err(|_| verdict::no_numbers()))
}

/// Writes a file, or deletes it. Returns its resourceVersion.
async fn write_file(
    context: &Context,
    owner: &Owner,
    number: usize,
    file: Option<&File>,
) -> Result<Option<String>, ApplyError> {
    let api = Api::<ConfigMap>::namespaced(context.client.clone(), &owner.namespace);
    let name = files::config_map_name(&owner.name, number);
    let Some(File { text, revision }) = file else {
        return context.writer.delete_one(owner, &api, &name).await.map(|()| None);
    };
    let annotations = Some(BTreeMap::from([(REVISION.to_owned(), revision.clone())]));
    let metadata = ObjectMeta { annotations, ..owner.child(name, LOKI) };
    let data = Some(BTreeMap::from([(files::file_name(number), text.clone())]));
    let applied =
        context.writer.apply_one(owner, SET, &api, ConfigMap { metadata, data, ..ConfigMap::default() }).await?;
    Ok(applied.resource_version())
}

/// Every file in the cluster, a few at a time.
async fn read_files(client: &Client, mut found: impl FnMut(Key, usize, &str)) -> Result<(), kube::Error> {
    let api = Api::<ConfigMap>::all(client.clone());
    let mut page = ListParams::default().labels(&format!("{}={SET}", crate::k8s::meta::SET)).limit(4);
    loop {
        let list = api.list(&page).await?;
        for object in &list.items {
            let Some(stack) = object.labels().get("app.kubernetes.io/instance") else { continue };
            let Some(number) = files::of_config_map(stack, &object.name_any()) else { continue };
            let text = object.data.as_ref().and_then(|data| data.get(&files::file_name(number)));
            let stack = key(&object.namespace().unwrap_or_default(), stack);
            found(stack, number, text.map_or("", String::as_str));
        }
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(()),
        }
    }
}
