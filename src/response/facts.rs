//! What the state machine is told about the world. Filled by `gather`.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, ReplicaSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;

use super::condition::Told;
use crate::api::ChangeFreeze;
use crate::api::alert_response::AlertResponse;
use crate::api::duration::PromDuration;
use crate::api::response_run::{AlertState, ResponseRun};
use crate::context::StormLimits;
use crate::k8s::workload::{History, Object, Unsettled};

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
    /// The same of its SLO.
    pub slo: Option<Told>,
    /// Values of `verify.promql` before anything was touched.
    pub before: Option<String>,
    /// How far the alert's expression looks back; asked for when the proof begins.
    pub look_back: LookBack,
    /// What goes on around the target.
    pub around: Around,
}

/// What goes on around the target; empty where nobody is about to act.
#[derive(Clone, Debug, Default)]
pub struct Around {
    /// What other runs did lately.
    pub storm: Storm,
    /// ChangeFreezes of the namespace.
    pub freezes: Vec<ChangeFreeze>,
    /// The pod that the run would delete, if it would and there is one.
    pub pod: Option<Pod>,
    /// PodDisruptionBudgets of the namespace, where a pod would be deleted.
    pub budgets: Vec<PodDisruptionBudget>,
}

/// How much was done lately: in a storm one cause makes hundreds of alerts, and hundreds of repairs make it worse.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Storm {
    /// The operator's settings.
    pub limits: StormLimits,
    /// Runs of the whole cluster that began to act within `limits.within`.
    pub acted_lately: usize,
    /// Other workloads of the namespace on which runs began to act within `limits.within`.
    pub targets_lately: usize,
    /// Workloads of the namespace; counted only where there is one in `targets_lately`.
    pub workloads: usize,
}

/// Namespaces with fewer workloads have no share: half of two is one.
const FEWEST_WORKLOADS: usize = 4;

impl Storm {
    /// Whether one more workload would be more than the share of its namespace that may be repaired at a time.
    pub fn is_wide(&self) -> bool {
        let share = usize::from(self.limits.namespace_share);
        let counts = self.workloads >= FEWEST_WORKLOADS && self.targets_lately > 0;
        counts && (self.targets_lately + 1) * 100 > self.workloads * share
    }
}

/// How far an alert's expression looks back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LookBack {
    #[default]
    NotAsked,
    Known(PromDuration),
    /// And that will not change: why.
    Unknown(String),
    /// Nobody answered: why.
    NoAnswer(String),
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

/// A workload with what belongs to it, as far as its steps need it.
#[derive(Clone, Debug, Default)]
pub struct Workload {
    pub object: Object,
    /// ReplicaSets of the namespace that may be its.
    pub replica_sets: Vec<ReplicaSet>,
    /// ControllerRevisions of the namespace that may be its.
    pub revisions: Vec<ControllerRevision>,
    /// Pods of the namespace that may be its.
    pub pods: Vec<Pod>,
    /// Autoscalers of the namespace.
    pub autoscalers: Vec<HorizontalPodAutoscaler>,
}

impl Workload {
    /// Its revisions, and which of them is present.
    pub fn history(&self) -> Result<History, Unsettled> {
        History::of(&self.object, &self.replica_sets, &self.revisions, &self.pods)
    }
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
