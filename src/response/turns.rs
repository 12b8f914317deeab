//! Who may work, when more runs want to than can: what has begun is carried through first, then what is critical begins;
//! all the rest in the order in which it came.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::api::ResponseRun;
use crate::api::response_run::Phase;

/// How urgent it is to go on with a run; the first is the most urgent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Its steps are being done.
    Begun,
    /// It has not begun, and its alert says `severity: critical` or `page`.
    Critical,
    Other,
}

pub fn is_critical(severity: Option<&str>) -> bool {
    matches!(severity, Some("critical" | "page"))
}

pub fn urgency(run: &ResponseRun) -> Urgency {
    let severity = run.spec.alert.labels.get("severity").map(String::as_str);
    match run.phase() {
        Phase::Running => Urgency::Begun,
        Phase::Pending if is_critical(severity) => Urgency::Critical,
        _ => Urgency::Other,
    }
}

/// Cloning shares them.
#[derive(Clone, Debug)]
pub struct Turns(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    free: usize,
    /// By urgency, and within it in order of arrival.
    waiting: BTreeMap<(Urgency, u64), oneshot::Sender<Turn>>,
    arrived: u64,
}

/// May work until it is dropped.
#[derive(Debug)]
pub struct Turn(Option<Turns>);

impl Turns {
    /// So many at a time.
    pub fn new(count: usize) -> Self {
        Self(Arc::new(Mutex::new(State { free: count, waiting: BTreeMap::new(), arrived: 0 })))
    }

    /// Waits for its turn.
    pub async fn take(&self, urgency: Urgency) -> Turn {
        let turn = {
            let mut state = self.state();
            if state.free > 0 {
                state.free -= 1;
                return Turn(Some(self.clone()));
            }
            let (sender, receiver) = oneshot::channel();
            state.arrived += 1;
            let place = (urgency, state.arrived);
            state.waiting.insert(place, sender);
            receiver
        };
        match turn.await {
            Ok(turn) => turn,
            // A sender is taken out only to be sent by.
            Err(_) => unreachable!("who waits is in the list until it is its turn"),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in it can be left half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) {
        loop {
            let mut state = self.state();
            let Some((_, waiting)) = state.waiting.pop_first() else {
                state.free += 1;
                return;
            };
            drop(state);
            match waiting.send(Turn(Some(self.clone()))) {
                Ok(()) => return,
                // It does not wait any more: the next one has the turn.
                Err(mut turn) => turn.0 = None,
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(turns) = &self.0 {
            turns.next();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn what_is_most_urgent_comes_first_and_then_who_came_first() {
        let turns = Turns::new(1);
        let held = turns.take(Urgency::Other).now_or_never().unwrap();
        let order = [Urgency::Other, Urgency::Critical, Urgency::Begun, Urgency::Critical];
        let mut waiting: Vec<_> = order.map(|urgency| Box::pin(turns.take(urgency))).into();
        assert!(waiting.iter_mut().all(|wait| wait.now_or_never().is_none()));
        drop(held);
        let mut came = vec![];
        while came.len() < order.len() {
            let number = (0..order.len()).find(|n| !came.contains(n) && is_ready(&mut waiting[*n])).unwrap();
            came.push(number);
        }
        assert_eq!(came, [2, 1, 3, 0]);
        assert_eq!(turns.state().free, 1);
    }

    /// Its turn has come, and is over at once.
    fn is_ready(wait: &mut std::pin::Pin<Box<impl Future<Output = Turn>>>) -> bool {
        wait.now_or_never().is_some()
    }

    #[test]
    fn who_goes_away_while_waiting_keeps_nobody_from_a_turn() {
        let turns = Turns::new(1);
        let held = turns.take(Urgency::Other).now_or_never().unwrap();
        let mut gone = Box::pin(turns.take(Urgency::Critical));
        let mut waits = Box::pin(turns.take(Urgency::Other));
        assert!((&mut gone).now_or_never().is_none() && (&mut waits).now_or_never().is_none());
        drop(gone);
        drop(held);
        assert!(waits.now_or_never().is_some());
        assert_eq!(turns.state().free, 1);
    }

    #[test]
    fn at_most_so_many_work_at_a_time() {
        let turns = Turns::new(2);
        let first = turns.take(Urgency::Other).now_or_never();
        let second = turns.take(Urgency::Other).now_or_never();
        assert!(first.is_some() && second.is_some());
        assert!(turns.take(Urgency::Begun).now_or_never().is_none());
    }
}
