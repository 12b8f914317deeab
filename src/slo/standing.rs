//! Where every SLO stands, as last measured: written by the keeper, read by policies and reports.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use super::budget::Budget;
use crate::api::slo::State;

/// One SLO. With groupBy, the values are those of the group with the least budget left.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    pub uid: String,
    pub service: String,
    /// Name of its ErrorBudgetPolicy.
    pub policy: Option<String>,
    pub state: State,
    /// `None`: there is no data.
    pub budget: Option<Budget>,
}

/// All standings, by namespace and name.
pub type All = Arc<BTreeMap<(String, String), Standing>>;

/// The writer's end; `readers` get a view of their own that tells when something changed.
#[derive(Debug)]
pub struct Standings(watch::Sender<All>);

impl Default for Standings {
    fn default() -> Self {
        Self(watch::Sender::new(All::default()))
    }
}

impl Standings {
    /// Replaces everything; readers are woken when something differs.
    pub fn set(&self, all: BTreeMap<(String, String), Standing>) {
        self.0.send_if_modified(|known| {
            let differs = **known != all;
            if differs {
                *known = Arc::new(all);
            }
            differs
        });
    }

    pub fn reader(&self) -> watch::Receiver<All> {
        self.0.subscribe()
    }
}
