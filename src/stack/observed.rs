//! What the operator remembers of its stacks between two reconciles; lost with the process, and found again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::api::monitoring_stack::RuleCounts;

/// Namespace and name.
type Key = (String, String);

/// Shared memory: the rule loader tells how many rules each stack has, the stack's reconcile puts that into the
/// status (a status has one writer). Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct StackObservations {
    rules: Arc<Mutex<HashMap<Key, RuleCounts>>>,
    /// The same of rules over logs.
    log_rules: Arc<Mutex<HashMap<Key, RuleCounts>>>,
    slos: Arc<Mutex<HashMap<Key, SloNeeds>>>,
    reloads: Arc<Mutex<HashMap<Key, Reloads>>>,
}

/// What the SLOs of a stack need of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SloNeeds {
    pub slos: usize,
    /// Those whose window is longer than samples are kept.
    pub short: usize,
    /// The one with the longest window of these.
    pub longest: Option<Shortfall>,
}

/// An SLO whose window is longer than samples are kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Shortfall {
    /// Namespace and name.
    pub slo: String,
    pub window: String,
    /// Seconds for which samples would have to be kept.
    pub wanted: u64,
    pub kept: String,
}

/// Attempts to make a pod load one revision of its configuration.
#[derive(Clone, Debug)]
struct Reloads {
    revision: String,
    attempts: u32,
    last: Instant,
    refusal: Option<String>,
}

/// So many attempts follow each other quickly: the file is usually there within a second.
const QUICK_ATTEMPTS: u32 = 8;
const QUICK: Duration = Duration::from_millis(500);
/// Later ones are rare, since every reload starts Alertmanager's groups anew.
const SLOW: Duration = Duration::from_secs(30);

impl StackObservations {
    /// Tells the counts of a stack. Returns whether they changed: then the stack should be reconciled.
    pub fn set_rules(&self, namespace: &str, stack: &str, counts: RuleCounts) -> bool {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        rules.insert((namespace.to_owned(), stack.to_owned()), counts) != Some(counts)
    }

    /// The same of rules over logs.
    pub fn set_log_rules(&self, namespace: &str, stack: &str, counts: RuleCounts) -> bool {
        let mut rules = self.log_rules.lock().unwrap_or_else(PoisonError::into_inner);
        rules.insert((namespace.to_owned(), stack.to_owned()), counts).unwrap_or_default() != counts
    }

    /// The counts, over metrics and over logs together; `None` until the rule loader has looked.
    pub fn rules(&self, namespace: &str, stack: &str) -> Option<RuleCounts> {
        let key = (namespace.to_owned(), stack.to_owned());
        let of = |rules: &Mutex<HashMap<Key, RuleCounts>>| {
            rules.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied()
        };
        let RuleCounts { selected, accepted, rejected, loaded, slos, shipped, shipped_loaded } = of(&self.rules)?;
        let logs = of(&self.log_rules).unwrap_or_default();
        Some(RuleCounts {
            selected: selected + logs.selected,
            accepted: accepted + logs.accepted,
            rejected: rejected + logs.rejected,
            loaded: loaded + logs.loaded,
            slos: slos + logs.slos,
            shipped: shipped + logs.shipped,
            shipped_loaded: shipped_loaded + logs.shipped_loaded,
        })
    }

    /// Tells what the SLOs of a stack need. Returns whether that changed what it says.
    pub fn set_slos(&self, namespace: &str, stack: &str, needs: SloNeeds) -> bool {
        let mut slos = self.slos.lock().unwrap_or_else(PoisonError::into_inner);
        let known = slos.insert((namespace.to_owned(), stack.to_owned()), needs.clone());
        let says = |needs: &SloNeeds| (needs.slos > 0, needs.short, needs.longest.clone());
        known.as_ref().map(says) != Some(says(&needs))
    }

    /// What its SLOs need; `None` until their keeper has looked.
    pub fn slos(&self, namespace: &str, stack: &str) -> Option<SloNeeds> {
        let slos = self.slos.lock().unwrap_or_else(PoisonError::into_inner);
        slos.get(&(namespace.to_owned(), stack.to_owned())).cloned()
    }

    /// Forgets a stack that was deleted.
    pub fn forget(&self, namespace: &str, stack: &str) {
        self.slos.lock().unwrap_or_else(PoisonError::into_inner).remove(&(namespace.to_owned(), stack.to_owned()));
        self.rules.lock().unwrap_or_else(PoisonError::into_inner).remove(&(namespace.to_owned(), stack.to_owned()));
        self.log_rules.lock().unwrap_or_else(PoisonError::into_inner).remove(&(namespace.to_owned(), stack.to_owned()));
    }

    /// Whether the pod may be asked now to reload `revision`; counts the attempt when it may.
    pub fn may_reload(&self, namespace: &str, pod: &str, revision: &str, now: Instant) -> bool {
        let mut reloads = self.reloads.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (namespace.to_owned(), pod.to_owned());
        match reloads.get_mut(&key).filter(|r| r.revision == revision) {
            Some(last) => {
                let pause = if last.attempts < QUICK_ATTEMPTS { QUICK } else { SLOW };
                if now.saturating_duration_since(last.last) < pause {
                    return false;
                }
                last.attempts += 1;
                last.last = now;
            }
            None => {
                reloads.insert(key, Reloads { revision: revision.to_owned(), attempts: 1, last: now, refusal: None });
            }
        }
        true
    }

    /// What the pod said of the attempt that was just made; `None` when it took the configuration that it found.
    pub fn answered(&self, namespace: &str, pod: &str, refusal: Option<String>) {
        let mut reloads = self.reloads.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = reloads.get_mut(&(namespace.to_owned(), pod.to_owned())) {
            last.refusal = refusal;
        }
    }

    /// Why the pod did not load `revision`, when it said so at the last attempt.
    pub fn refusal(&self, namespace: &str, pod: &str, revision: &str) -> Option<String> {
        let reloads = self.reloads.lock().unwrap_or_else(PoisonError::into_inner);
        let last = reloads.get(&(namespace.to_owned(), pod.to_owned()))?;
        last.refusal.clone().filter(|_| last.revision == revision)
    }

    /// The pod has loaded what it should.
    pub fn reloaded(&self, namespace: &str, pod: &str) {
        self.reloads.lock().unwrap_or_else(PoisonError::into_inner).remove(&(namespace.to_owned(), pod.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_change_of_the_counts_calls_for_a_reconcile() {
        let seen = StackObservations::default();
        let counts = RuleCounts { selected: 1, accepted: 3, rejected: 1, loaded: 2, ..RuleCounts::default() };
        assert!(seen.set_rules("monitoring", "main", counts));
        assert!(!seen.clone().set_rules("monitoring", "main", counts));
        assert_eq!(seen.rules("monitoring", "main"), Some(counts));
        seen.forget("monitoring", "main");
        assert_eq!(seen.rules("monitoring", "main"), None);
    }

    #[test]
    fn reloads_are_quick_at_first_and_rare_later() {
        let seen = StackObservations::default();
        let start = Instant::now();
        let reloads = (0..600)
            .filter(|tenths| seen.may_reload("ns", "am-0", "r1", start + Duration::from_millis(100 * tenths)))
            .count();
        assert!((9..=10).contains(&reloads), "{reloads} in a minute");
        seen.answered("ns", "am-0", Some("undefined receiver".into()));
        assert_eq!(seen.refusal("ns", "am-0", "r1").as_deref(), Some("undefined receiver"));
        assert_eq!(seen.refusal("ns", "am-0", "r2"), None);
        assert!(seen.may_reload("ns", "am-0", "r2", start), "another revision starts afresh");
    }
}
