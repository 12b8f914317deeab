//! Tests of AlertRules: when they are run, and what comes of it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::{Done, Loader};
use crate::k8s::report;
use crate::rule::packing::Key;
use crate::rule::tester;
use crate::rule::unit_test::Failure;

/// After a try that came to nothing, for example since no node takes the pod.
const AGAIN: Duration = Duration::from_secs(60);
/// Shortly after an edit there is often another one.
const REST: Duration = Duration::from_secs(1);

/// Which tests run, and which wait.
#[derive(Default)]
pub(super) struct Testing {
    /// One Job at a time: a storm of edits must not become a storm of pods.
    running: bool,
    /// Not before: of what came to nothing.
    later: HashMap<(Key, i64), Instant>,
    since: Option<Instant>,
}

impl Loader {
    /// Begins with the next tests that are due.
    pub(super) fn run_tests(&mut self, now: Instant) {
        if self.testing.running {
            return;
        }
        self.testing.later.retain(|_, until| *until > now);
        let later = &self.testing.later;
        let Some(trial) = self.index.trial(|rule, generation| later.contains_key(&(rule.clone(), generation))) else {
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
            let verdict = tester::run(&context, &trial).await.map_err(|error| report::chain(&error));
            Done::Tested { rule: trial.rule, generation: trial.generation, verdict }
        });
    }

    pub(super) fn tested(&mut self, rule: Key, generation: i64, verdict: Result<Vec<Failure>, String>) {
        self.testing.running = false;
        if let Err(why) = &verdict {
            tracing::warn!(%rule, why, "the tests of an AlertRule could not be run, will try again");
            self.testing.later.insert((rule.clone(), generation), Instant::now() + AGAIN);
        }
        self.index.tested(&rule, generation, verdict);
    }
}
