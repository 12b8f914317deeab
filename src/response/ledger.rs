//! What this process wrote of runs and the cache has not heard of yet. Only the leader writes the status of a run, so that
//! the cache and this together are what the API server has, without asking it: in a storm a list of thousands of runs
//! for each one that begins would be what breaks it. Pure.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use kube::ResourceExt;

use super::guard::concerns;
use super::index::{Index, target};
use crate::api::response_run::{ResponseRun, ResponseRunStatus};

/// Beyond so many the cache has certainly heard of those that are closed.
const MOST: usize = 256;

/// Runs by UID, with the statuses that were written.
#[derive(Debug, Default)]
pub struct Ledger(HashMap<String, ResponseRun>);

impl Ledger {
    /// What was just written.
    pub fn note(&mut self, run: &ResponseRun, status: &ResponseRunStatus) {
        if self.0.len() >= MOST {
            self.0.retain(|_, run| !run.phase().is_closed());
        }
        let written = ResponseRun { status: Some(status.clone()), ..run.clone() };
        self.0.insert(run.uid().unwrap_or_default(), written);
    }

    /// There is no such run any more, or what was noted was not written.
    pub fn forget(&mut self, run: &ResponseRun) {
        self.0.remove(&run.uid().unwrap_or_default());
    }

    /// Looks at every run of which the cache may not have heard yet.
    pub fn each(&self, look: impl FnMut(&ResponseRun)) {
        self.0.values().for_each(look);
    }

    /// The other runs that matter to this one, as they are by now.
    pub fn others(&mut self, run: &ResponseRun, index: &Index) -> Vec<ResponseRun> {
        let mut others = BTreeMap::new();
        let alert = index.of_alert(&run.spec.alert.fingerprint);
        let begun = index.begun().filter(|other| other.namespace() == run.namespace());
        for cached in index.of_target(&target(run)).chain(alert).chain(begun) {
            let other = self.correct(cached);
            if concerns(run, &other) {
                others.insert(other.uid(), other.into_owned());
            }
        }
        for other in self.0.values().filter(|other| concerns(run, other)) {
            others.entry(other.uid()).or_insert_with(|| other.clone());
        }
        others.into_values().collect()
    }

    /// The run as it is by now.
    pub fn correct<'a>(&mut self, cached: &'a ResponseRun) -> Cow<'a, ResponseRun> {
        let uid = cached.uid().unwrap_or_default();
        match self.0.get(&uid) {
            Some(written) if cached.status == written.status => {
                self.0.remove(&uid);
                Cow::Borrowed(cached)
            }
            Some(written) => Cow::Owned(ResponseRun { status: written.status.clone(), ..cached.clone() }),
            None => Cow::Borrowed(cached),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::response_run::{Phase, ResponseRunSpec};

    fn run(uid: &str, phase: Phase) -> ResponseRun {
        let spec: ResponseRunSpec = serde_json::from_value(serde_json::json!({
            "responseRef": {"name": "r", "uid": "u", "generation": 1}, "alert": {"name": "A", "fingerprint": "f"},
            "target": {"kind": "Deployment", "name": "web"}, "mode": "Act", "steps": [], "attempt": 1,
        }))
        .unwrap();
        let mut run = ResponseRun::new(uid, spec);
        run.metadata.uid = Some(uid.into());
        run.status = Some(ResponseRunStatus { phase, ..ResponseRunStatus::default() });
        run
    }

    #[test]
    fn what_was_written_counts_until_the_cache_has_heard_of_it() {
        let mut ledger = Ledger::default();
        let (pending, running) = (run("a", Phase::Pending), run("a", Phase::Running));
        ledger.note(&pending, running.status.as_ref().unwrap());
        assert_eq!(ledger.correct(&pending).phase(), Phase::Running);
        assert_eq!(ledger.correct(&run("b", Phase::Pending)).phase(), Phase::Pending);
        assert_eq!(ledger.correct(&running).phase(), Phase::Running);
        assert!(ledger.0.is_empty(), "the cache has it");
    }

    #[test]
    fn it_does_not_grow_with_the_runs_that_were_deleted_unseen() {
        let mut ledger = Ledger::default();
        let closed = run("", Phase::Failed);
        for number in 0..10_000 {
            ledger.note(&run(&number.to_string(), Phase::Failed), closed.status.as_ref().unwrap());
        }
        assert!(ledger.0.len() <= MOST);
        ledger.note(&run("open", Phase::Running), run("open", Phase::Running).status.as_ref().unwrap());
        assert_eq!(ledger.correct(&run("open", Phase::Pending)).phase(), Phase::Running);
        ledger.forget(&run("open", Phase::Running));
        assert_eq!(ledger.correct(&run("open", Phase::Pending)).phase(), Phase::Pending);
    }
}
