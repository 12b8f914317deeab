//! When the Prometheus pods of a stack are asked what they have loaded, and when the kubelet is told to refresh their
//! volumes. Time is a parameter.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::packing::{Key, Packing};

/// Pauses between rounds: quick at first, since a change is mostly live after one or two seconds.
const PACES: [(u32, Duration); 3] =
    [(60, Duration::from_millis(200)), (120, Duration::from_secs(1)), (u32::MAX, Duration::from_secs(5))];
/// Every so many rounds the pods are asked about their last reload: that answer is long.
const ABOUT_RELOAD: u32 = 5;
/// The kubelet may have read an older ConfigMap than the one that was written: it is told again after this, and then
/// each time after twice as long.
const KICK_AGAIN: Duration = Duration::from_secs(3);

#[derive(Debug)]
struct State {
    next: Instant,
    asking: bool,
    rounds: u32,
    /// Revision of the last kick, when, and how often.
    kicked: Option<(String, Instant, u32)>,
}

/// The rounds of all stacks.
#[derive(Debug, Default)]
pub struct Rounds(HashMap<Key, State>);

/// What to do in a round.
#[derive(Debug, PartialEq)]
pub struct Round {
    /// Pods to annotate, and with what.
    pub kick: Vec<String>,
    pub revision: String,
    pub about_reload: bool,
}

impl Rounds {
    /// A shard was written: ask soon.
    pub fn begin(&mut self, stack: &Key, now: Instant) {
        let state = self.state(stack, now);
        state.next = now;
        state.rounds = 0;
    }

    pub fn forget(&mut self, stack: &Key) {
        self.0.remove(stack);
    }

    /// The round has ended.
    pub fn answered(&mut self, stack: &Key, now: Instant) {
        let state = self.state(stack, now);
        state.asking = false;
        let pace = PACES.iter().find(|(rounds, _)| state.rounds < *rounds).map_or(PACES[2].1, |(_, pace)| *pace);
        state.next = now + pace;
        state.rounds = state.rounds.saturating_add(1);
    }

    /// The next round of a stack in which something is not confirmed, when it is time. `answered` must follow.
    pub fn next(&mut self, stack: &Key, packing: &Packing, now: Instant) -> Option<Round> {
        let searching = packing.trial().is_some();
        let state = self.state(stack, now);
        // While shards are being written the pods have nothing to confirm yet.
        if state.asking || state.next > now || packing.is_writing() {
            return None;
        }
        state.asking = true;
        let revision = packing.revision();
        let lagging: Vec<_> = packing.lagging().collect();
        let (again, at) = match &state.kicked {
            Some((last, at, times)) if *last == revision => (*times, *at + KICK_AGAIN * (1 << (*times - 1).min(5))),
            _ => (0, now),
        };
        let mut round = Round {
            kick: vec![],
            revision: if again == 0 { revision.clone() } else { format!("{revision}.{again}") },
            about_reload: searching || state.rounds % ABOUT_RELOAD == ABOUT_RELOAD - 1,
        };
        if !lagging.is_empty() && at <= now {
            round.kick = lagging
                .iter()
                .filter(|pod| pod.kicked.as_ref() != Some(&round.revision))
                .map(|pod| pod.name.clone())
                .collect();
            state.kicked = Some((revision, now, again + 1));
        }
        Some(round)
    }

    fn state(&mut self, stack: &Key, now: Instant) -> &mut State {
        self.0.entry(stack.clone()).or_insert(State { next: now, asking: false, rounds: 0, kicked: None })
    }
}
