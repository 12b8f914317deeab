//! What the Alertmanagers of the stacks say of their alerts. Asked by the poller, and by runs that are open.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};

use super::facts::Asked;
use super::payload::{Alert, ApiState, Status};
use crate::alertmanager::{Alertmanager, AmAlert};
use crate::context::Context;
use crate::k8s::report::chain;
use crate::stack::names::{self, ALERTMANAGER};

/// Time in which a replica must have answered.
const PATIENCE: Duration = Duration::from_secs(3);
/// Runs that look at the same moment share an answer.
const FRESH: Duration = Duration::from_secs(1);

/// A stack, by namespace and name.
pub type StackName = (String, String);

/// The stack of a run's `spec.alert.source`; `None` for an alert from elsewhere.
pub fn stack_of(source: &str) -> Option<StackName> {
    let (namespace, name) = source.strip_prefix("stack ")?.split_once('/')?;
    Some((namespace.to_owned(), name.to_owned()))
}

/// The `spec.alert.source` of a stack's alerts.
pub fn source_of((namespace, name): &StackName) -> String {
    format!("stack {namespace}/{name}")
}

/// What all replicas of a stack's Alertmanager know, together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// By fingerprint. Suppressed ones are among them: a silence ends no alert.
    pub alerts: HashMap<String, Alert>,
    /// There is a replica, and every one answered: what is not in `alerts` is nowhere.
    pub complete: bool,
}

impl Answer {
    /// About one alert.
    pub fn about(&self, fingerprint: &str) -> Asked {
        match (self.alerts.contains_key(fingerprint), self.complete) {
            (true, _) => Asked::Firing,
            (false, true) => Asked::Absent,
            (false, false) => Asked::NoAnswer,
        }
    }

    /// Adds what one replica said. An alert asks for action if it does so at any of them.
    fn add(&mut self, alerts: impl IntoIterator<Item = Alert>) {
        for alert in alerts {
            let fingerprint = alert.identity();
            if alert.asks_for_action() || !self.alerts.contains_key(&fingerprint) {
                self.alerts.insert(fingerprint, alert);
            }
        }
    }
}

impl From<AmAlert> for Alert {
    fn from(alert: AmAlert) -> Self {
        let state = match alert.state.as_str() {
            "active" => ApiState::Active,
            "unprocessed" => ApiState::Unprocessed,
            _ => ApiState::Suppressed,
        };
        Self {
            status: Status::Api { state },
            labels: alert.labels,
            annotations: alert.annotations,
            fingerprint: alert.fingerprint,
            starts_at: Some(alert.starts_at),
            ends_at: Some(alert.ends_at),
            generator_url: alert.generator_url,
        }
    }
}

/// Address of a replica, if it has one yet.
pub type Replica = Option<String>;

/// The replicas of a stack's Alertmanager.
pub async fn replicas(client: &Client, (namespace, name): &StackName) -> Result<Vec<Replica>, kube::Error> {
    let labels = format!("app.kubernetes.io/name={ALERTMANAGER},app.kubernetes.io/instance={name}");
    let pods = Api::<Pod>::namespaced(client.clone(), namespace);
    let pods = pods.list(&ListParams::default().labels(&labels)).await?.items;
    // Labels can be put on any pod; and one that goes away hands its part over to those that stay.
    let set = names::alertmanager(name);
    let of_stack = |pod: &&Pod| {
        pod.metadata.deletion_timestamp.is_none()
            && pod.owner_references().iter().any(|r| r.kind == "StatefulSet" && r.name == set)
    };
    let address = |pod: &Pod| pod.status.as_ref()?.pod_ip.clone().filter(|ip| !ip.is_empty());
    Ok(pods.iter().filter(of_stack).map(address).collect())
}

/// Asks, and remembers the answers for a moment.
pub struct Alertmanagers {
    context: Arc<Context>,
    answers: Mutex<HashMap<StackName, (Instant, Arc<Answer>)>>,
}

impl Alertmanagers {
    pub fn new(context: Arc<Context>) -> Self {
        Self { context, answers: Mutex::default() }
    }

    /// What one stack says now, or said a moment ago.
    pub async fn ask(&self, stack: &StackName) -> Result<Arc<Answer>, kube::Error> {
        // A poisoned lock would only mean that another run panicked while it looked.
        let lock = || self.answers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((_, answer)) = lock().get(stack).filter(|(at, _)| at.elapsed() < FRESH) {
            return Ok(answer.clone());
        }
        let answer = Arc::new(self.ask_replicas(&replicas(&self.context.client, stack).await?).await);
        let mut answers = lock();
        answers.retain(|_, (at, _)| at.elapsed() < FRESH);
        answers.insert(stack.clone(), (Instant::now(), answer.clone()));
        Ok(answer)
    }

    async fn ask_replicas(&self, replicas: &[Replica]) -> Answer {
        let said = join_all(replicas.iter().map(|ip| async move {
            let alertmanager = Alertmanager::at(&self.context.http, ip.as_deref()?);
            match tokio::time::timeout(PATIENCE, alertmanager.alerts()).await {
                Ok(Ok(alerts)) => Some(alerts),
                Ok(Err(error)) => {
                    tracing::debug!(error = chain(&error), "an Alertmanager did not answer");
                    None
                }
                Err(_) => None,
            }
        }))
        .await;
        let mut answer = Answer { complete: !said.is_empty() && said.iter().all(Option::is_some), ..Answer::default() };
        for alerts in said.into_iter().flatten() {
            answer.add(alerts.into_iter().map(Alert::from));
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(fingerprint: &str, state: ApiState) -> Alert {
        Alert { fingerprint: fingerprint.into(), status: Status::Api { state }, ..Alert::default() }
    }

    #[test]
    fn an_alert_is_absent_only_when_every_replica_said_so() {
        let mut answer = Answer { complete: true, ..Answer::default() };
        answer.add([alert("00000000deadbeef", ApiState::Suppressed)]);
        assert_eq!(answer.about("00000000deadbeef"), Asked::Firing, "silenced is not over");
        assert_eq!(answer.about("0000000000000000"), Asked::Absent);
        answer.complete = false;
        assert_eq!(answer.about("0000000000000000"), Asked::NoAnswer);
    }

    #[test]
    fn an_alert_that_one_replica_has_not_dispatched_yet_counts_as_the_other_has_it() {
        for order in [[ApiState::Unprocessed, ApiState::Active], [ApiState::Active, ApiState::Unprocessed]] {
            let mut answer = Answer::default();
            for state in order {
                answer.add([alert("00000000deadbeef", state)]);
            }
            assert!(answer.alerts["00000000deadbeef"].asks_for_action());
        }
    }

    #[test]
    fn the_source_of_a_run_names_its_stack() {
        let stack = ("monitoring".to_owned(), "main".to_owned());
        assert_eq!(stack_of(&source_of(&stack)), Some(stack));
        assert_eq!(stack_of("webhook"), None);
    }
}
