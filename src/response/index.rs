//! Runs by what they are asked for. A storm brings thousands of them, and each one asks for those of its own target and
//! alert: who looked at all of them each time would be busy with nothing else. Pure.

use std::borrow::Borrow;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::ops::Deref;
use std::sync::Arc;

use kube::ResourceExt;

use crate::api::ResponseRun;
use crate::k8s::Guarded;

/// A run of the cache, shared with it.
#[derive(Clone, Debug)]
pub struct Kept(Arc<Guarded<ResponseRun>>);

impl Kept {
    /// `None` for one that cannot be read.
    pub fn of(run: Arc<Guarded<ResponseRun>>) -> Option<Self> {
        run.0.is_ok().then_some(Self(run))
    }
}

impl Deref for Kept {
    type Target = ResponseRun;

    fn deref(&self) -> &ResponseRun {
        match &self.0.0 {
            Ok(run) => run,
            Err(_) => unreachable!("it could be read when it was kept, and nobody changes it"),
        }
    }
}

impl Borrow<ResponseRun> for Kept {
    fn borrow(&self) -> &ResponseRun {
        self
    }
}

/// What a run works on: namespace, kind and name.
pub type Target = (String, &'static str, String);

pub fn target(run: &ResponseRun) -> Target {
    let target = &run.spec.target;
    (run.namespace().unwrap_or_default(), target.kind.as_str(), target.name.clone())
}

/// UIDs of runs, by what they have in common.
type Groups<K> = HashMap<K, HashSet<String>>;

/// All runs of the cache.
#[derive(Debug, Default)]
pub struct Index {
    /// By UID.
    runs: HashMap<String, Kept>,
    /// By the fingerprint of their alert.
    alerts: Groups<String>,
    /// By the UID of their AlertResponse.
    responses: Groups<String>,
    targets: Groups<Target>,
    /// Those that were let act.
    begun: HashSet<String>,
}

impl Index {
    pub fn put(&mut self, run: Kept) {
        let Some(uid) = run.uid() else { return };
        self.remove(&uid);
        self.alerts.entry(run.spec.alert.fingerprint.clone()).or_default().insert(uid.clone());
        self.responses.entry(run.spec.response_ref.uid.clone()).or_default().insert(uid.clone());
        self.targets.entry(target(&run)).or_default().insert(uid.clone());
        if run.status.as_ref().is_some_and(|status| status.started_at.is_some()) {
            self.begun.insert(uid.clone());
        }
        self.runs.insert(uid, run);
    }

    pub fn remove(&mut self, uid: &str) {
        let Some(run) = self.runs.remove(uid) else { return };
        leave(&mut self.alerts, &run.spec.alert.fingerprint, uid);
        leave(&mut self.responses, &run.spec.response_ref.uid, uid);
        leave(&mut self.targets, &target(&run), uid);
        self.begun.remove(uid);
    }

    pub fn len(&self) -> usize {
        self.runs.len()
    }

    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    pub fn get(&self, uid: &str) -> Option<&Kept> {
        self.runs.get(uid)
    }

    pub fn all(&self) -> impl Iterator<Item = &Kept> {
        self.runs.values()
    }

    pub fn of_alert(&self, fingerprint: &str) -> impl Iterator<Item = &Kept> {
        self.members(self.alerts.get(fingerprint))
    }

    pub fn of_response(&self, uid: &str) -> impl Iterator<Item = &Kept> {
        self.members(self.responses.get(uid))
    }

    pub fn of_target(&self, target: &Target) -> impl Iterator<Item = &Kept> {
        self.members(self.targets.get(target))
    }

    pub fn begun(&self) -> impl Iterator<Item = &Kept> {
        self.members(Some(&self.begun))
    }

    fn members<'a>(&'a self, uids: Option<&'a HashSet<String>>) -> impl Iterator<Item = &'a Kept> {
        uids.into_iter().flatten().filter_map(|uid| self.runs.get(uid))
    }
}

fn leave<K: Hash + Eq>(groups: &mut Groups<K>, key: &K, uid: &str) {
    if let Some(group) = groups.get_mut(key) {
        group.remove(uid);
        if group.is_empty() {
            groups.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run(uid: &str, fingerprint: &str, target: &str, started: bool) -> Kept {
        let status = if started { json!({"startedAt": "2026-01-01T00:00:00Z"}) } else { json!({}) };
        let run = json!({
            "apiVersion": "evenkeel.dev/v1alpha1", "kind": "ResponseRun",
            "metadata": {"name": uid, "namespace": "shop", "uid": uid},
            "spec": {
                "responseRef": {"name": "fix", "uid": "fix-uid", "generation": 1}, "alert": {"name": "A", "fingerprint": fingerprint},
                "target": {"kind": "Deployment", "name": target}, "mode": "Act", "steps": [], "attempt": 1,
            },
            "status": status,
        });
        Kept::of(Arc::new(serde_json::from_value(run).unwrap())).unwrap()
    }

    fn uids<'a>(runs: impl Iterator<Item = &'a Kept>) -> Vec<String> {
        let mut uids: Vec<String> = runs.filter_map(|run| run.uid()).collect();
        uids.sort();
        uids
    }

    #[test]
    fn runs_are_found_by_alert_response_target_and_whether_they_began() {
        let mut index = Index::default();
        for kept in [run("a", "f1", "web", true), run("b", "f1", "db", false), run("c", "f2", "web", false)] {
            index.put(kept);
        }
        let web = ("shop".to_owned(), "Deployment", "web".to_owned());
        assert_eq!(uids(index.of_alert("f1")), ["a", "b"]);
        assert_eq!(uids(index.of_response("fix-uid")), ["a", "b", "c"]);
        assert_eq!(uids(index.of_target(&web)), ["a", "c"]);
        assert_eq!(uids(index.begun()), ["a"]);
        assert!(index.of_alert("f3").next().is_none());
    }

    #[test]
    fn what_changed_is_found_by_what_it_is_now_and_what_is_gone_leaves_nothing() {
        let mut index = Index::default();
        index.put(run("a", "f1", "web", false));
        index.put(run("a", "f2", "web", true));
        assert!(index.of_alert("f1").next().is_none());
        assert_eq!((uids(index.of_alert("f2")), uids(index.begun())), (vec!["a".to_owned()], vec!["a".to_owned()]));
        assert_eq!(index.get("a").unwrap().spec.alert.fingerprint, "f2");
        index.remove("a");
        let Index { runs, alerts, responses, targets, begun } = &index;
        assert!(
            index.is_empty()
                && runs.is_empty()
                && alerts.is_empty()
                && responses.is_empty()
                && targets.is_empty()
                && begun.is_empty()
        );
    }

    #[test]
    fn a_run_that_cannot_be_read_is_not_kept() {
        let run =
            json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": "ResponseRun", "metadata": {"name": "x"}, "spec": 7});
        assert!(Kept::of(Arc::new(serde_json::from_value(run).unwrap())).is_none());
    }
}
