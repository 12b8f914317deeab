//! Tests of AlertRules: when they are run, and what comes of it.

use std::collections::HashMap;
use std::error::Error;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures::FutureExt;

use super::{Done, Loader};
use crate::k8s::report;
use crate::rule::packing::Key;
use crate::rule::tester;
use crate::rule::unit_test::Failure;

/// After a try that came to nothing, for example since no node takes the pod.
const AGAIN: Duration = Duration::from_secs(60);
/// Shortly after an edit there is often another one.
const REST: Duration = Duration::from_secs(1);
/// No try takes longer, whatever the API server does.
const PATIENCE: Duration = Duration::from_secs(300);

/// Which tests run, and which wait.
#[derive(Default)]
pub(super) struct Testing {
    /// One Job at a time: a storm of edits must not become a storm of pods.
    running: bool,
    /// What came to nothing last: which generation, and when.
    in_vain: HashMap<Key, (i64, Instant)>,
    since: Option<Instant>,
}

impl Testing {
    /// When an AlertRule was tried in vain; the earliest comes first, and before it who never was. `None`: not yet again.
    fn turn(&self, rule: &Key, generation: i64, now: Instant) -> Option<Option<Instant>> {
        match self.in_vain.get(rule) {
            Some((same, at)) if *same == generation && *at + AGAIN > now => None,
            tried => Some(tried.map(|(_, at)| *at)),
        }
    }
}

impl Loader {
    /// Begins with the next tests that are due.
    pub(super) fn run_tests(&mut self, now: Instant) {
        if self.testing.running {
            return;
        }
        let (testing, index) = (&mut self.testing, &self.index);
        testing.in_vain.retain(|rule, _| index.untested(rule));
        let Some(trial) = index.trial(|rule, generation| testing.turn(rule, generation, now)) else {
            self.testing.since = None;
            return;
        };
        if now.duration_since(*self.testing.since.get_or_insert(now)) < REST {
            return;
        }
        self.testing.since = None;
        self.testing.running = true;
        let context = self.context.clone();
        self.tasks.spawn(async move {
            let verdict = bounded(PATIENCE, tester::run(&context, &trial)).await;
            Done::Tested { rule: trial.rule, generation: trial.generation, verdict }
        });
    }

    pub(super) fn tested(&mut self, rule: Key, generation: i64, verdict: Result<Vec<Failure>, String>) {
        self.testing.running = false;
        if let Err(why) = &verdict {
            tracing::warn!(%rule, why, "the tests of an AlertRule could not be run, will try again");
            self.testing.in_vain.insert(rule.clone(), (generation, Instant::now()));
        }
        self.index.tested(&rule, generation, verdict);
    }
}

/// What comes of `work`, or why nothing does: also when it hangs or panics.
pub(super) async fn bounded<T, E: Error>(
    patience: Duration,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, String> {
    match tokio::time::timeout(patience, AssertUnwindSafe(work).catch_unwind()).await {
        Ok(Ok(result)) => result.map_err(|error| report::chain(&error)),
        Ok(Err(_)) => Err("the operator failed over it: its log says where".to_owned()),
        Err(_) => Err(format!("there was no answer for {} s", patience.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_to_nothing_waits_and_then_comes_after_what_was_never_tried() {
        let (stuck, new): (Key, Key) = ("a/x".into(), "shop/checkout".into());
        let now = Instant::now();
        let mut testing = Testing::default();
        testing.in_vain.insert(stuck.clone(), (1, now));
        assert_eq!(testing.turn(&stuck, 1, now + AGAIN / 2), None);
        assert_eq!(testing.turn(&stuck, 1, now + AGAIN), Some(Some(now)));
        // An edit is tried at once, but not before others.
        assert_eq!(testing.turn(&stuck, 2, now), Some(Some(now)));
        assert!(testing.turn(&new, 1, now) < testing.turn(&stuck, 2, now));
    }

    #[tokio::test]
    async fn work_that_hangs_or_panics_has_an_answer_too() {
        assert_eq!(bounded(PATIENCE, async { Ok::<_, std::fmt::Error>(1) }).await, Ok(1));
        let hangs = std::future::pending::<Result<(), std::fmt::Error>>();
        let hangs = bounded(Duration::from_millis(10), hangs).await;
        assert!(hangs.unwrap_err().starts_with("there was no answer"));
        let number = async { Ok::<u8, std::fmt::Error>("none".parse().unwrap()) };
        let panics = bounded(PATIENCE, number).await;
        assert!(panics.unwrap_err().contains("its log"));
    }
}
