//! What the keeper tells: statuses and Events, standings, metrics, and to stacks whether they keep enough.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;

use super::round::stacks;
use super::{Done, Entry, Keeper};
use crate::api::SLO;
use crate::api::slo::SloStatus;
use crate::context::Context;
use crate::k8s::{report, status};
use crate::metrics;
use crate::rule::feed::{Load, Name, StackView};
use crate::rule::packing::Key;
use crate::slo::standing::Standing;
use crate::slo::told::{self, Facts};
use crate::slo::window::duration;
use crate::stack::observed::{Shortfall, SloNeeds};

/// Suffix of the field manager of statuses.
const MANAGER: &str = "slos";
/// Statuses that are written at the same time.
const AT_ONCE: usize = 8;
/// A status that only waits for Prometheus is not written before this: mostly it is loaded sooner.
pub(super) const WAIT: Duration = Duration::from_secs(6);
/// After a write that failed.
const AGAIN: Duration = Duration::from_secs(5);

impl Keeper {
    /// Statuses that have changed.
    pub(super) fn tell(&mut self, now: Instant) {
        let due: Vec<Name> = self.later.iter().filter(|(_, at)| **at <= now).map(|(name, _)| name.clone()).collect();
        for name in due {
            self.later.remove(&name);
            self.dirty.insert(name);
        }
        let views = self.loader.views.borrow().clone().unwrap_or_default();
        let mut busy = vec![];
        while self.writing < AT_ONCE {
            let Some(name) = self.dirty.pop_first() else { break };
            match self.slos.get(&name) {
                Some(entry) if entry.writing => busy.push(name),
                Some(_) => self.tell_one(name, &views, now),
                None => {}
            }
        }
        self.dirty.extend(busy);
    }

    fn tell_one(&mut self, name: Name, views: &BTreeMap<Key, StackView>, now: Instant) {
        let Some(entry) = self.slos.get_mut(&name) else { return };
        // Nothing is told before it is known who selects it.
        let Some((load, since)) = &entry.load else { return };
        let new = status_of(entry, load, views, Timestamp::now());
        if new == entry.status {
            return;
        }
        let due = *since + WAIT;
        if told::is_waiting(load) && entry.checked.is_ok() && due > now {
            self.later.insert(name, due);
            return;
        }
        entry.writing = true;
        self.writing += 1;
        let (context, object, old) = (self.context.clone(), entry.object.clone(), entry.status.clone());
        self.tasks.spawn(async move {
            let result = write(&context, &object, &old, &new).await;
            Done::Status { name, uid: object.uid().unwrap_or_default(), status: Box::new(new), result }
        });
    }

    pub(super) fn status_written(&mut self, name: &Name, uid: &str, new: SloStatus, result: Result<(), kube::Error>) {
        self.writing -= 1;
        let Some(entry) = self.slos.get_mut(name).filter(|entry| entry.object.uid().as_deref() == Some(uid)) else {
            return;
        };
        entry.writing = false;
        match result {
            Ok(()) => {
                entry.status = new;
                self.dirty.insert(name.clone());
            }
            Err(error) => {
                tracing::warn!(%error, namespace = name.0, name = name.1, "cannot write the status of an SLO, will try again");
                self.later.insert(name.clone(), Instant::now() + AGAIN);
            }
        }
    }

    /// An SLO is gone, and what others were told of it.
    pub(super) fn gone(&mut self, name: &Name) {
        self.dirty.remove(name);
        self.later.remove(name);
        if let Some(entry) = self.slos.remove(name) {
            self.context.metrics.slos.forget(&labels(name, &entry));
        }
    }

    /// Where every SLO stands, for policies and for those who scrape the operator.
    pub(super) fn publish(&self) {
        let mut all = BTreeMap::new();
        for (name, entry) in &self.slos {
            let (Some(measured), Some(checked)) = (&entry.measured, &entry.live) else { continue };
            let Some(state) = measured.state else { continue };
            let objective = checked.objective.ratio.to_f64();
            self.context.metrics.slos.set(&labels(name, entry), objective, state, entry.budget.as_ref());
            let standing = Standing {
                uid: entry.object.uid().unwrap_or_default(),
                service: checked.service.clone(),
                policy: entry.object.spec.policy_ref.as_ref().map(|policy| policy.name.clone()),
                state,
                budget: entry.budget,
            };
            all.insert(name.clone(), standing);
        }
        self.shared.standings.set(all);
    }

    /// Tells each stack whether it keeps samples for as long as its SLOs look back.
    pub(super) fn tell_stacks(&self, views: &BTreeMap<Key, StackView>) {
        let mut needs: BTreeMap<Key, SloNeeds> = views.keys().map(|key| (key.clone(), SloNeeds::default())).collect();
        for (name, entry) in &self.slos {
            let Some(checked) = &entry.live else { continue };
            for stack in stacks(entry) {
                let (Some(needs), Some(view)) = (needs.get_mut(&stack), views.get(&stack)) else { continue };
                needs.slos += 1;
                let wanted = checked.window.needs();
                if wanted <= view.retention {
                    continue;
                }
                needs.short += 1;
                if needs.longest.as_ref().is_none_or(|known| known.wanted < wanted) {
                    needs.longest = Some(Shortfall {
                        slo: format!("{}/{}", name.0, name.1),
                        window: checked.window.label(),
                        wanted,
                        kept: duration(view.retention).to_string(),
                    });
                }
            }
        }
        for (stack, needs) in needs {
            let (namespace, name) = stack.split_once('/').unwrap_or_default();
            if self.shared.memory.set_slos(namespace, name, needs) {
                // The receiver is gone only when the process ends.
                let _ = self.shared.changed.unbounded_send(ObjectRef::new(name).within(namespace));
            }
        }
    }
}

fn status_of(entry: &Entry, load: &Load, views: &BTreeMap<Key, StackView>, now: Timestamp) -> SloStatus {
    let mut measured = entry.measured.clone().unwrap_or_else(|| entry.status.clone());
    measured.window = entry.live.as_ref().map(|checked| checked.window.label()).or(measured.window);
    let facts = Facts {
        generation: entry.object.metadata.generation.unwrap_or_default(),
        checked: entry.checked.as_deref().map_err(Vec::as_slice),
        load,
        findings: &entry.findings,
        unreachable: entry.unreachable.as_deref(),
        sharded: sharded(entry, views),
    };
    told::status(&facts, measured, &entry.status, now)
}

/// No one Prometheus has all of it.
fn sharded(entry: &Entry, views: &BTreeMap<Key, StackView>) -> Option<String> {
    let mut divided = None;
    for stack in stacks(entry) {
        match views.get(&stack) {
            Some(view) if view.shards > 1 => divided = Some((stack, view.shards)),
            _ => return None,
        }
    }
    let (stack, shards) = divided?;
    Some(format!(
        "{stack} divides its targets over {shards} Prometheus (prometheus.shards): none of them sees all events; let a MonitoringStack with one shard select this SLO"
    ))
}

fn labels(name: &Name, entry: &Entry) -> metrics::slo::Slo {
    let service = entry.object.spec.service.clone();
    metrics::slo::Slo { namespace: name.0.clone(), slo: name.1.clone(), service }
}

/// Writes a status, and an Event for what is new in it.
async fn write(context: &Context, slo: &SLO, old: &SloStatus, new: &SloStatus) -> Result<(), kube::Error> {
    match status::patch(&context.client, MANAGER, slo, Some(old), new).await {
        // Deleted, or deleted and created again.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => return Ok(()),
        other => other?,
    };
    for (warning, reason, note) in told::news(old, new) {
        match warning {
            true => report::warn(context, slo, "Measure", reason, &note).await,
            false => report::info(context, slo, "Measure", reason, &note).await,
        }
    }
    Ok(())
}
