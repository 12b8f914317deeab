//! Which runs are worked on, and how many there are.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use tokio::sync::watch;

use crate::api::ResponseRun;
use crate::api::response_run::Phase;
use crate::context::{Context, stopped};
use crate::k8s::Guarded;
use crate::metrics;
use crate::response::run;
use crate::response::stores::{Change, Stores};

/// Between two counts of the runs.
const COUNT_EVERY: Duration = Duration::from_secs(5);

/// Open runs, when they come into being and when something is noted on them. What the controller itself writes does
/// not wake it, and closed runs cost nothing.
pub fn queue(stores: Arc<Stores>) -> impl Stream<Item = Result<ObjectRef<Guarded<ResponseRun>>, Infallible>> + Send {
    let mut noted: HashMap<String, BTreeMap<String, String>> = HashMap::new();
    let open = |run: &ResponseRun| run::is_alive(run) && run.metadata.deletion_timestamp.is_none();
    let changes = stores.changes();
    changes.flat_map(move |change| {
        let runs = match change {
            Change::Everything => {
                noted.clear();
                stores.runs(open)
            }
            Change::Response(_) => vec![],
            Change::Run(run) => {
                let uid = run.uid().unwrap_or_default();
                if !open(&run) {
                    noted.remove(&uid);
                    vec![]
                } else if noted.insert(uid, run.annotations().clone()).as_ref() != Some(run.annotations()) {
                    vec![run]
                } else {
                    vec![]
                }
            }
        };
        let refs: Vec<_> = runs.iter().map(|run| Ok(reference(run))).collect();
        stream::iter(refs)
    })
}

fn reference(run: &ResponseRun) -> ObjectRef<Guarded<ResponseRun>> {
    ObjectRef::new(&run.name_any()).within(&run.namespace().unwrap_or_default())
}

/// Keeps the gauge of runs by phase, and the number of the open ones.
pub async fn count(context: &Context, stores: &Stores, open: &AtomicU32, stop: watch::Receiver<bool>) {
    let mut stopped = std::pin::pin!(stopped(stop));
    loop {
        let mut counts = HashMap::from(Phase::ALL.map(|phase| (phase, 0)));
        stores.index().all().for_each(|run| *counts.entry(run.phase()).or_default() += 1);
        let alive: i64 = counts.iter().filter(|(phase, _)| !phase.is_closed()).map(|(_, count)| count).sum();
        open.store(u32::try_from(alive).unwrap_or(u32::MAX), Ordering::Relaxed);
        for (phase, count) in counts {
            let label = metrics::Phase { phase: phase.as_str().to_owned() };
            context.metrics.runs.get_or_create(&label).set(count);
        }
        tokio::select! {
            () = tokio::time::sleep(COUNT_EVERY) => {}
            () = &mut stopped => return,
        }
    }
}
