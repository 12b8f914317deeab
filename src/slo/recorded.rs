//! What Prometheus recorded of SLOs in periods of the past: each is asked for once, and kept while somebody needs it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::adjustment::Interval;
use super::excluded::{self, Amounts};
use super::validate::Checked;
use crate::prometheus::Prometheus;

/// Periods of one query: each takes about 400 bytes of its URL.
const PER_QUERY: usize = 8;
/// Queries of one SLO at a time; the rest comes with the next round.
const MAX_QUERIES: usize = 8;
/// Queries of all SLOs within [`ROUND`].
const MAX_A_ROUND: usize = 200;
const ROUND: Duration = Duration::from_secs(10);
/// What was not needed for so long is forgotten: its SLO is gone.
const FORGET: Duration = Duration::from_secs(3_600);

/// Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Recorded(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    slos: HashMap<Key, Periods>,
    /// When the present round of queries began, and how many there were in it.
    round: Option<(Instant, usize)>,
}

/// Namespace, name and groupBy labels.
type Key = (String, String, Vec<String>);

#[derive(Debug)]
struct Periods {
    amounts: BTreeMap<Interval, Amounts>,
    used: Instant,
}

impl Recorded {
    /// What was recorded in each period, as far as it is known; those that are not in `wanted` are forgotten.
    pub async fn amounts(
        &self,
        prometheus: &Prometheus,
        slo: &Checked,
        wanted: &[Interval],
    ) -> BTreeMap<Interval, Amounts> {
        let key = (slo.namespace.clone(), slo.name.clone(), slo.group_by.clone());
        let missing = self.missing(&key, wanted);
        let mut answers = BTreeMap::new();
        for intervals in missing.chunks(PER_QUERY).take(MAX_QUERIES) {
            if !self.may_ask() {
                break;
            }
            match prometheus.query(&excluded::query(slo, intervals)).await {
                Ok(samples) => {
                    answers.extend(intervals.iter().copied().zip(excluded::amounts(&samples, intervals.len())));
                }
                Err(error) => {
                    tracing::warn!(%error, namespace = slo.namespace, slo = slo.name, "cannot ask what was recorded");
                    break;
                }
            }
        }
        self.learn(key, wanted, answers)
    }

    fn missing(&self, key: &Key, wanted: &[Interval]) -> Vec<Interval> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.slos.retain(|_, periods| periods.used.elapsed() < FORGET);
        let periods = known.slos.get(key);
        let has = |interval: &Interval| periods.is_some_and(|periods| periods.amounts.contains_key(interval));
        wanted.iter().filter(|interval| !has(interval)).copied().collect()
    }

    /// Whether there is room for one more query.
    fn may_ask(&self) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (began, asked) =
            known.round.filter(|(began, _)| began.elapsed() < ROUND).unwrap_or_else(|| (Instant::now(), 0));
        known.round = Some((began, asked + 1));
        asked < MAX_A_ROUND
    }

    fn learn(
        &self,
        key: Key,
        wanted: &[Interval],
        answers: BTreeMap<Interval, Amounts>,
    ) -> BTreeMap<Interval, Amounts> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Periods { amounts: BTreeMap::new(), used: Instant::now() };
        let periods = known.slos.entry(key).or_insert_with(new);
        periods.used = Instant::now();
        periods.amounts.extend(answers);
        periods.amounts.retain(|interval, _| wanted.contains(interval));
        periods.amounts.clone()
    }
}
