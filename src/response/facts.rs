//! What the state machine is told about the world. Filled by `gather`.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;

use super::condition::Told;
use crate::api::alert_response::AlertResponse;
use crate::api::response_run::{AlertState, ResponseRun};

/// One look at the world. What a phase does not ask for is left at its default, which never lets anything pass.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The AlertResponse as it is now; `None` when it is gone.
    pub response: Option<AlertResponse>,
    /// Who paused all responses that would reach this run, if somebody did.
    pub paused_by: Option<String>,
    /// The namespace is one in which nothing may be touched.
    pub protected: bool,
    /// What is known of the alert.
    pub alert: Known,
    /// The other runs of the namespace.
    pub others: Vec<ResponseRun>,
    /// The target.
    pub workload: Lookup,
    /// What Prometheus says of the run's `onlyIf`, and, once the steps are through, of its `verify`.
    pub condition: Option<Told>,
}

/// What is known of the alert.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The latest word that was delivered.
    pub state: AlertState,
    /// When it was delivered.
    pub seen_at: Option<Timestamp>,
    /// What its Alertmanager answered just now.
    pub asked: Asked,
}

/// Answer of an Alertmanager about one alert.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Asked {
    /// None is at hand, it did not answer, or the alert has only just been delivered.
    #[default]
    NoAnswer,
    /// It fires.
    Firing,
    /// It is not there. Not yet "resolved": an Alertmanager that was restarted knows nothing for a minute.
    Absent,
}

/// The target of a run.
#[derive(Clone, Debug, Default)]
pub enum Lookup {
    #[default]
    NotLooked,
    /// There is none of that name.
    Missing,
    /// The API server did not answer, in its words.
    Failed(String),
    Found(Box<Workload>),
}

/// A Deployment with what belongs to it.
#[derive(Clone, Debug, Default)]
pub struct Workload {
    pub deployment: Deployment,
    /// ReplicaSets of the namespace that may be its.
    pub replica_sets: Vec<ReplicaSet>,
    /// Autoscalers of the namespace.
    pub autoscalers: Vec<HorizontalPodAutoscaler>,
}

impl Lookup {
    /// The workload, or why there is none.
    pub fn found(&self, target: &str) -> Result<&Workload, String> {
        match self {
            Self::Found(workload) => Ok(workload),
            Self::Missing => Err(format!("{target} does not exist in this namespace")),
            Self::Failed(words) => Err(format!("cannot read {target}: {words}")),
            Self::NotLooked => Err(format!("{target} was not looked at")),
        }
    }
}
