//! The rules of one stack: which shard each AlertRule lives in, which shards must be written, what its Prometheus
//! pods have confirmed. Pure.

mod confirm;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use super::feed::{BURN, is_shipped, part_of};
use super::group::{Group, Shipped};
use super::quarantine::{Suspect, Trial};
use super::shards::{self, MAX_SHARD, SHARD_COUNT};
use crate::api::monitoring_stack::RuleCounts;

/// `<namespace>/<name>` of an AlertRule or of a MonitoringStack, or the name of a group of an SLO (`feed::slo_of`).
pub type Key = Arc<str>;

/// Revisions of a shard that are remembered: edits may come faster than Prometheus reloads.
const REMEMBERED: usize = 8;

/// What Prometheus has of an AlertRule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Good {
    /// Nothing that we know of.
    Nothing,
    /// This earlier text.
    Older(Box<str>),
    /// The present text: every ready replica has confirmed it.
    Current,
}

/// An AlertRule in a stack.
#[derive(Clone, Debug)]
pub struct Placement {
    /// `None` when no shard has room for it, or there is nothing to ship.
    pub shard: Option<usize>,
    pub good: Good,
    bytes: usize,
    /// The text is in what is written with this number or a higher one.
    since: u64,
    accepted: i64,
    refused: i64,
}

#[derive(Debug, Default)]
struct Shard {
    members: BTreeSet<Key>,
    bytes: usize,
    /// See `shards::file`.
    edition: u32,
    /// Number and revision of what was written, the newest last; no revision: it was deleted.
    written: VecDeque<(u64, Option<Box<str>>)>,
    /// Every ready replica has what was written with this number, or something newer.
    confirmed: u64,
}

/// A pod of Prometheus.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pod {
    pub name: String,
    pub ip: Option<String>,
    pub ready: bool,
    /// It ended with an error and is not ready again: perhaps because of a rule file.
    pub crashing: bool,
    /// Value of the label `evenkeel.dev/prometheus-shard`.
    pub shard: String,
    /// Value of the annotation that makes the kubelet refresh the volume.
    pub kicked: Option<String>,
}

/// What a pod of Prometheus said when it was asked.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// It has answered at all.
    pub asked: bool,
    pub revisions: HashMap<usize, Box<str>>,
    /// Whether its last reload succeeded; `None` when it was not asked.
    pub reloaded: Option<bool>,
}

/// What to write for a shard.
#[derive(Clone, Debug)]
pub struct Content {
    pub number: u64,
    /// Text and revision; `None`: the ConfigMap is to be deleted.
    pub file: Option<(String, String)>,
}

/// The rules of one stack.
#[derive(Debug)]
pub struct Packing {
    placed: HashMap<Key, Placement>,
    shards: Vec<Shard>,
    dirty: BTreeSet<usize>,
    writing: BTreeSet<usize>,
    pods: BTreeMap<String, (Pod, Report)>,
    trial: Option<Trial>,
    /// It was told that the search is held up by something else.
    blocked: bool,
    counts: RuleCounts,
    /// AlertRules whose state in this stack has changed.
    pub changed: BTreeSet<Key>,
}

impl Default for Packing {
    fn default() -> Self {
        Self {
            placed: HashMap::new(),
            shards: (0..SHARD_COUNT).map(|_| Shard::default()).collect(),
            dirty: BTreeSet::new(),
            writing: BTreeSet::new(),
            pods: BTreeMap::new(),
            trial: None,
            blocked: false,
            counts: RuleCounts::default(),
            changed: BTreeSet::new(),
        }
    }
}

impl Packing {
    pub fn placement(&self, rule: &str) -> Option<&Placement> {
        self.placed.get(rule)
    }
    pub fn counts(&self) -> RuleCounts {
        self.counts
    }
    pub fn rules(&self) -> impl Iterator<Item = &Key> {
        self.placed.keys()
    }
    pub fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.pods.values().map(|(pod, _)| pod)
    }
    pub fn trial(&self) -> Option<&Trial> {
        self.trial.as_ref()
    }

    /// Puts an AlertRule where it is, or where it belongs. `old` is its text before, when it changed; `known` the
    /// shard in which it was found after a restart, and whether its text was confirmed then.
    pub fn put(&mut self, rule: &Key, new: &Shipped, old: Option<&str>, known: Option<(usize, bool)>, number: u64) {
        let (accepted, refused) = (new.accepted() as i64, new.refused() as i64);
        let bytes = new.text.len();
        let before = self.placed.remove(rule);
        if let Some(same) = before.as_ref().filter(|before| {
            old.is_none() && (before.accepted, before.refused) == (accepted, refused) && before.shard.is_some()
        }) {
            self.placed.insert(rule.clone(), same.clone());
            return;
        }
        let mut placement = before.clone().unwrap_or(Placement {
            shard: None,
            good: Good::Nothing,
            bytes: 0,
            since: number,
            accepted: 0,
            refused: 0,
        });
        if before.is_some() {
            account(&mut self.counts, rule, &placement, -1);
        }
        self.changed.insert(rule.clone());
        if let Some(old) = old.filter(|_| before.is_some()) {
            placement.since = number;
            if placement.good == Good::Current {
                placement.good = if old.is_empty() { Good::Nothing } else { Good::Older(old.into()) };
            }
        }
        if let (None, Some((_, true))) = (&before, known) {
            placement.good = Good::Current;
        }
        let from = placement.shard.or(known.map(|(shard, _)| shard));
        let used = |shard: usize| {
            let mine = if placement.shard == Some(shard) { placement.bytes } else { 0 };
            self.shards[shard].bytes - mine
        };
        let stays = from.filter(|shard| used(*shard) + bytes <= MAX_SHARD);
        let to = if bytes == 0 { None } else { stays.or_else(|| shards::with_room(rule, bytes, used)) };
        self.leave(rule, &placement);
        if let Some(shard) = to {
            self.shards[shard].members.insert(rule.clone());
            self.shards[shard].bytes += bytes;
            self.dirty.insert(shard);
        } else if bytes == 0 {
            // Nothing is shipped, so there is nothing to wait for.
            placement.good = Good::Current;
        }
        let placement = Placement { shard: to, bytes, accepted, refused, ..placement };
        account(&mut self.counts, rule, &placement, 1);
        let present = Group::cut(&new.text).pieces.iter().map(|piece| piece.digest().into()).collect();
        if let Some(trial) = &mut self.trial {
            trial.retain(rule, &present);
            trial.add(suspects(rule, &new.text, &placement.good));
        }
        self.placed.insert(rule.clone(), placement);
    }

    /// Takes an AlertRule out, because it is gone or no longer selected.
    pub fn remove(&mut self, rule: &Key) {
        let Some(placement) = self.placed.remove(rule) else { return };
        account(&mut self.counts, rule, &placement, -1);
        self.leave(rule, &placement);
        self.changed.insert(rule.clone());
        if let Some(trial) = &mut self.trial {
            trial.retain(rule, &BTreeSet::new());
        }
    }

    fn leave(&mut self, rule: &Key, placement: &Placement) {
        if let Some(shard) = placement.shard {
            self.shards[shard].members.remove(rule);
            self.shards[shard].bytes -= placement.bytes;
            self.dirty.insert(shard);
        }
    }

    /// The shard is not in the cluster as it was written.
    pub fn disturbed(&mut self, shard: usize) {
        self.dirty.insert(shard);
    }

    /// The shard was found in the cluster after a restart.
    pub fn found(&mut self, shard: usize, edition: u32) {
        self.shards[shard].edition = edition;
        self.dirty.insert(shard);
    }

    /// Shards to write, except those that are being written.
    pub fn dirty(&self) -> Vec<usize> {
        self.dirty.difference(&self.writing).copied().collect()
    }

    /// Takes the work of a shard; `written` gives it back.
    pub fn content<'a>(&mut self, shard: usize, number: u64, text_of: impl Fn(&str) -> &'a str) -> Content {
        self.dirty.remove(&shard);
        self.writing.insert(shard);
        let texts: Vec<Cow<str>> =
            self.shards[shard].members.iter().map(|rule| self.shipped(rule, text_of(rule))).collect();
        // While rules are withheld even an empty shard is written: its revision tells that Prometheus reloads again.
        let searching = self.trial.is_some() && !texts.is_empty();
        let empty = texts.iter().all(|text| text.is_empty()) && !searching;
        let file = (!empty).then(|| shards::file(shard, self.shards[shard].edition, texts.iter().map(|text| &**text)));
        Content { number, file }
    }

    /// The text of an AlertRule, with withheld rules replaced by what Prometheus had loaded of them.
    fn shipped<'a>(&self, rule: &Key, text: &'a str) -> Cow<'a, str> {
        let Some(trial) = self.trial.as_ref().filter(|trial| trial.holds_any(rule)) else { return text.into() };
        let group = Group::cut(text);
        let good = match self.placed.get(rule).map(|placement| &placement.good) {
            Some(Good::Older(good)) => Some(Group::cut(good)),
            _ => None,
        };
        let pieces = group.pieces.iter().filter_map(|piece| {
            if trial.holds(rule, &piece.digest()) {
                good.as_ref()?.keep(piece.line(), piece.nth)
            } else {
                Some(piece.clone())
            }
        });
        let pieces = pieces.collect();
        Group { head: group.head, pieces }.to_text().into()
    }

    /// A shard was written, or not.
    pub fn written(&mut self, shard: usize, content_number: u64, outcome: Result<Option<String>, ()>) {
        self.writing.remove(&shard);
        let Ok(revision) = outcome else {
            self.dirty.insert(shard);
            return;
        };
        let written = &mut self.shards[shard].written;
        let revision = revision.map(String::into_boxed_str);
        if written.back().is_some_and(|(_, last)| *last == revision) {
            written.pop_back();
        }
        written.push_back((content_number, revision));
        if written.len() > REMEMBERED {
            written.pop_front();
        }
        self.confirm();
    }
}

/// Rules in `text` that no Prometheus has loaded.
fn suspects(rule: &Key, text: &str, good: &Good) -> Vec<Suspect> {
    let loaded: BTreeSet<&str> = match good {
        Good::Current => return vec![],
        Good::Nothing => BTreeSet::new(),
        Good::Older(good) => Group::cut(good).pieces.iter().map(|piece| piece.text).collect(),
    };
    let pieces = Group::cut(text).pieces;
    let new = pieces.iter().filter(|piece| !loaded.contains(piece.text));
    new.map(|piece| Suspect { rule: rule.clone(), digest: piece.digest().into() }).collect()
}

fn account(counts: &mut RuleCounts, rule: &str, placement: &Placement, sign: i64) {
    if let Some(part) = part_of(rule) {
        // Each SLO has one such group in a stack.
        counts.slos += sign * i64::from(part == BURN);
        return;
    }
    if is_shipped(rule) {
        counts.shipped += sign * (placement.accepted + placement.refused);
        if placement.good == Good::Current {
            counts.shipped_loaded += sign * placement.accepted;
        }
        return;
    }
    counts.selected += sign;
    counts.accepted += sign * placement.accepted;
    counts.rejected += sign * placement.refused;
    if placement.good == Good::Current {
        counts.loaded += sign * placement.accepted;
    }
}
