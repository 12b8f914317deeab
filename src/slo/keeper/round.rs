//! One round of questions: a few to each stack, whatever the number of its SLOs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use jiff::Timestamp;
use tokio::time::timeout;

use super::{Done, Entry, Keeper};
use crate::api::slo::{Indicator, SloProblem, State};
use crate::prometheus::{HttpError, Prometheus};
use crate::rule::feed::{Name, StackView};
use crate::rule::packing::{Key, Pod};
use crate::slo::adjusted::Adjustments;
use crate::slo::budget::Budget;
use crate::slo::indicator::missing_bucket;
use crate::slo::read::{self, SloKey};
use crate::slo::status::{Group, measured, worst};
use crate::slo::validate::Checked;

/// Longest time that one pod is waited for.
const PATIENCE: Duration = Duration::from_secs(8);
/// Pace at which it is looked for what is wrong with the data of one SLO; sooner while there was never any.
const LOOK: Duration = Duration::from_secs(300);
const LOOK_SOON: Duration = Duration::from_secs(60);
/// SLOs whose data is looked at in one round of one stack.
const LOOKS: usize = 4;
/// So many rounds in a row without an answer are no data: a Prometheus that restarts is none.
const MISSES: u32 = 2;

/// An SLO to measure.
#[derive(Clone)]
struct Wanted {
    name: Name,
    checked: Arc<Checked>,
    /// As it was written, for what is wrong with the data; `None`: not now.
    look: Option<Box<Indicator>>,
}

/// What was read of one SLO.
pub(super) struct Read {
    groups: Vec<Group>,
    adjustments: Vec<String>,
    /// `None` when it was not looked.
    findings: Option<Vec<SloProblem>>,
}

/// What each stack said, or why it said nothing.
pub(super) type Answers = BTreeMap<Key, Result<BTreeMap<Name, Read>, String>>;

impl Keeper {
    /// Asks every stack that has SLOs.
    pub(super) fn begin_round(&mut self) {
        if self.asking || !self.listing.done {
            return;
        }
        let views = self.loader.views.borrow().clone().unwrap_or_default();
        let now = Instant::now();
        let mut wanted: BTreeMap<Key, Vec<Wanted>> = BTreeMap::new();
        for (name, entry) in &self.slos {
            let Some(checked) = &entry.live else { continue };
            let due = entry.looked.is_none_or(|at| now.duration_since(at) >= pause(entry));
            let look = due.then(|| Box::new(entry.object.spec.indicator.clone()));
            for stack in stacks(entry).filter(|stack| views.get(stack).is_some_and(|view| view.shards == 1)) {
                let one = Wanted { name: name.clone(), checked: checked.clone(), look: look.clone() };
                wanted.entry(stack).or_default().push(one);
            }
        }
        self.asking = true;
        let (http, adjustments) = (self.context.http.clone(), self.shared.adjustments.clone());
        self.tasks.spawn(async move {
            let asked = wanted.into_iter().filter_map(|(stack, slos)| {
                let pods = views.get(&stack)?.pods.clone();
                Some((stack, slos, pods))
            });
            let answers = asked.map(|(stack, slos, pods)| {
                let (http, adjustments) = (&http, &adjustments);
                async move { (stack, ask(http, &pods, slos, adjustments).await) }
            });
            Done::Round(join_all(answers).await.into_iter().collect())
        });
    }

    pub(super) fn end_round(&mut self, mut answers: Answers, now: Timestamp) {
        let views = self.loader.views.borrow().clone().unwrap_or_default();
        for (name, entry) in &mut self.slos {
            take(name, entry, &mut answers, &views, now);
            self.dirty.insert(name.clone());
        }
        self.publish();
        self.tell_stacks(&views);
    }
}

fn pause(entry: &Entry) -> Duration {
    if entry.status.budget.is_none() { LOOK_SOON } else { LOOK }
}

/// The stacks that select an SLO, in an order that stays.
pub(super) fn stacks(entry: &Entry) -> impl Iterator<Item = Key> {
    let stacks = entry.load.iter().flat_map(|(load, _)| &load.stacks);
    stacks.map(|stack| crate::rule::index::key(&stack.namespace, &stack.name))
}

/// What a round says of one SLO. Of several stacks the first with data counts.
fn take(name: &Name, entry: &mut Entry, answers: &mut Answers, views: &BTreeMap<Key, StackView>, now: Timestamp) {
    let (Some(checked), Some((load, since))) = (entry.live.clone(), &entry.load) else { return };
    let mut best: Option<(Read, u64)> = None;
    let mut silent = None;
    let stacks: Vec<Key> = stacks(entry).collect();
    for stack in &stacks {
        let retention = views.get(stack).map_or(0, |view| view.retention);
        match answers.get_mut(stack) {
            Some(Ok(read)) => {
                let Some(read) = read.remove(name) else { continue };
                let has = |read: &Read| worst(&checked, &read.groups, now).is_some();
                if best.as_ref().is_none_or(|(known, _)| !has(known) && has(&read)) {
                    best = Some((read, retention));
                }
            }
            Some(Err(why)) => silent = Some(format!("{stack}: {why}")),
            // It began to select it during the round, or divides its targets.
            None => {}
        }
    }
    let selected_later = best.is_none() && silent.is_none() && stacks.iter().any(|stack| is_whole(views, stack));
    // Who selects it is not settled in the first seconds.
    let unselected = stacks.is_empty() && load.stacks.is_empty() && since.elapsed() < super::tell::WAIT;
    if selected_later || unselected {
        return;
    }
    let previous = entry.measured.as_ref().unwrap_or(&entry.status);
    let Some((read, retention)) = best else {
        entry.misses += 1;
        if silent.is_some() && entry.misses < MISSES {
            return;
        }
        entry.unreachable = silent;
        entry.budget = None;
        entry.measured = Some(measured(&checked, &[], None, previous, now));
        return;
    };
    entry.misses = 0;
    entry.unreachable = None;
    let mut status = measured(&checked, &read.groups, Some(retention), previous, now);
    let budget = worst(&checked, &read.groups, now);
    // Before there was data there was nothing to find.
    if entry.budget.is_none() && budget.is_some() {
        entry.looked = None;
    }
    entry.budget = budget;
    if let Some(budget) = status.budget.as_mut().filter(|_| entry.budget.is_some()) {
        budget.adjustments = read.adjustments;
    }
    if let Some(findings) = read.findings {
        entry.findings = findings;
        entry.looked = Some(Instant::now());
    } else if status.state != Some(State::NoData) && checked.group_by.is_empty() {
        entry.findings = vec![];
    }
    entry.measured = Some(status);
}

fn is_whole(views: &BTreeMap<Key, StackView>, stack: &Key) -> bool {
    views.get(stack).is_none_or(|view| view.shards == 1)
}

/// The answer of the first pod that gives one.
async fn ask(
    http: &reqwest::Client,
    pods: &[Pod],
    slos: Vec<Wanted>,
    adjustments: &Adjustments,
) -> Result<BTreeMap<Name, Read>, String> {
    let mut why = "no replica of Prometheus is ready".to_owned();
    for (pod, ip) in pods.iter().filter_map(|pod| Some((pod, pod.ip.as_ref()?))) {
        let prometheus = Prometheus::at(http, ip);
        match timeout(PATIENCE, readings(&prometheus)).await {
            Ok(Ok(read)) => return Ok(look(&prometheus, slos, read, adjustments).await),
            Ok(Err(error)) => why = format!("pod {}: {error}", pod.name),
            Err(_) => why = format!("pod {} did not answer within {} s", pod.name, PATIENCE.as_secs()),
        }
    }
    Err(why)
}

async fn readings(prometheus: &Prometheus) -> Result<BTreeMap<SloKey, Vec<Group>>, HttpError> {
    let (sums, rates, recorded) = tokio::try_join!(
        prometheus.query(read::SUMS),
        prometheus.query(read::RATES),
        prometheus.query(read::RECORDED)
    )?;
    Ok(read::readings(&sums, &rates, &recorded))
}

/// Gives each SLO what was read of it, as adjustments have it; and looks what may be wrong with the data of a few.
async fn look(
    prometheus: &Prometheus,
    slos: Vec<Wanted>,
    mut read: BTreeMap<SloKey, Vec<Group>>,
    adjustments: &Adjustments,
) -> BTreeMap<Name, Read> {
    let (mut found, mut looks) = (BTreeMap::new(), 0);
    for Wanted { name, checked, look } in slos {
        let (namespace, slo) = name.clone();
        let key = SloKey { namespace, name: slo, service: checked.service.clone() };
        let mut groups = read.remove(&key).unwrap_or_default();
        let now = Timestamp::now();
        let adjusted = adjustments.apply(prometheus, &checked, &mut groups, now).await;
        let state = worst(&checked, &groups, now);
        let findings = match look.filter(|_| looks < LOOKS && is_suspect(&checked, state.as_ref())) {
            Some(indicator) => {
                looks += 1;
                timeout(PATIENCE, findings(prometheus, &checked, &indicator, state.is_none())).await.ok().flatten()
            }
            None => None,
        };
        found.insert(name, Read { groups, adjustments: adjusted, findings });
    }
    found
}

fn is_suspect(checked: &Checked, budget: Option<&Budget>) -> bool {
    !checked.group_by.is_empty() || (budget.is_none() && checked.indicator.buckets().is_some())
}

/// What is wrong with the series of an indicator; `None` when Prometheus did not answer.
async fn findings(
    prometheus: &Prometheus,
    checked: &Checked,
    indicator: &Indicator,
    no_data: bool,
) -> Option<Vec<SloProblem>> {
    let mut problems = vec![];
    if let (true, Some(query), Some(latency)) = (no_data, checked.indicator.buckets(), &indicator.latency) {
        let samples = prometheus.query(&query).await.ok()?;
        let buckets: BTreeSet<String> = samples.into_iter().filter_map(|mut s| s.labels.remove("le")).collect();
        let message = missing_bucket(latency, &Vec::from_iter(buckets));
        problems.extend(message.map(|message| problem("indicator.latency.threshold", message)));
    }
    for label in &checked.group_by {
        for (field, query) in checked.indicator.unlabelled(label) {
            let count = prometheus.query(&query).await.ok()?.first().map_or(0.0, |sample| sample.value);
            if count > 0.0 {
                let message = format!(
                    "{count} series lack the label {label} of groupBy: they are a group of their own; add the label to them, or select them away"
                );
                problems.push(problem(field, message));
            }
        }
    }
    Some(problems)
}

fn problem(field: &str, message: String) -> SloProblem {
    SloProblem { field: field.to_owned(), column: None, message }
}
