//! AlertRules against life: when their series are looked for, one AlertRule after the other.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::test::bounded;
use super::{Done, Loader};
use crate::prometheus::{HttpError, Period, Prometheus};
use crate::rule::index::looked::Look;
use crate::rule::life;
use crate::rule::packing::{Key, Pod};
use crate::rule::series::Asker;

/// After a look: series come and go.
const AGAIN: Duration = Duration::from_secs(30 * 60);
/// Between two looks, so that ten thousand AlertRules are no load.
const PAUSE: Duration = Duration::from_secs(1);
/// No look takes longer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How far back series are looked for: what comes once a day counts.
const BACK: SignedDuration = SignedDuration::from_hours(24);

/// Between two passes over all AlertRules.
const PASS: Duration = Duration::from_secs(10);

/// Which AlertRules are due.
#[derive(Default)]
pub(super) struct Looking {
    running: bool,
    next: Option<Instant>,
    next_pass: Option<Instant>,
    /// When a generation is looked at, once it is loaded.
    due: HashMap<Key, (i64, Instant)>,
    /// Those whose time has come.
    queue: VecDeque<Key>,
}

impl Loader {
    /// Begins with the next AlertRule that is due.
    pub(super) fn look(&mut self, now: Instant) {
        let looking = &mut self.looking;
        if looking.running || looking.next.is_some_and(|next| next > now) {
            return;
        }
        looking.next = Some(now + PAUSE);
        if looking.queue.is_empty() && looking.next_pass.is_none_or(|pass| pass <= now) {
            looking.next_pass = Some(now + PASS);
            self.pass(now);
        }
        let Some(rule) = self.looking.queue.pop_front() else { return };
        let Some(look) = self.index.look(&rule, Timestamp::now()) else { return };
        self.ask_series(look, now);
    }

    /// Finds all that are due, and those that are new.
    fn pass(&mut self, now: Instant) {
        let (looking, index) = (&mut self.looking, &self.index);
        let grace = self.context.settings.series_grace.0;
        let mut count = 0;
        for (rule, generation) in index.lookable(Timestamp::now()) {
            count += 1;
            match looking.due.get(rule) {
                Some((known, at)) if *known == generation => {
                    if *at <= now {
                        looking.queue.push_back(rule.clone());
                    }
                }
                _ => _ = looking.due.insert(rule.clone(), (generation, now + grace)),
            }
        }
        if looking.due.len() > count {
            looking.due.retain(|rule, _| index.uid(rule).is_some());
        }
    }

    fn ask_series(&mut self, look: Look, now: Instant) {
        let pods = self.one_of_each_shard(&look.stack);
        // Those that are not ready may have just the series that the others lack.
        if pods.len() < look.shards {
            return;
        }
        self.looking.running = true;
        self.looking.due.insert(look.rule.clone(), (look.generation, now + AGAIN));
        let http = self.context.http.clone();
        self.tasks.spawn(async move {
            // Silence says nothing of the rule.
            let missing = bounded(PATIENCE, missing(&http, &pods, &look)).await.ok();
            Done::Looked { rule: look.rule, generation: look.generation, missing }
        });
    }

    pub(super) fn looked(&mut self, rule: Key, generation: i64, missing: Option<Vec<String>>) {
        self.looking.running = false;
        if let Some(missing) = missing {
            if !missing.is_empty() {
                // A warning should go soon after its cause.
                let soon = Instant::now() + self.context.settings.series_grace.0.max(PAUSE);
                self.looking.due.insert(rule.clone(), (generation, soon.min(Instant::now() + AGAIN)));
            }
            self.index.looked(&rule, generation, missing);
        }
    }
}

async fn missing(http: &reqwest::Client, pods: &[Pod], look: &Look) -> Result<Vec<String>, HttpError> {
    let end = Timestamp::now();
    let start = end.checked_sub(BACK).unwrap_or(end);
    let shards = pods.iter().filter_map(|pod| Some(Prometheus::at(http, pod.ip.as_ref()?))).collect();
    let mut asker = Asker::new(shards, Period { start, end });
    let mut missing = vec![];
    for wanted in life::wanted_in(&look.group) {
        let warnings = asker.warnings(&wanted).await?;
        missing.extend(warnings.into_iter().map(|warning| format!("{}: {warning}", wanted.field)));
    }
    Ok(missing)
}
