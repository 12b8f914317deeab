//! What no webhook tells: Alertmanager sends nothing for an alert that ended before its first successful delivery, and
//! nothing when a silenced one ends.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use tokio::sync::watch;

use super::alertmanagers::{Alertmanagers, Answer, StackName, source_of};
use super::episode::is_over;
use super::facts::Asked;
use super::intake::Intake;
use super::stores::Stores;
use crate::api::ResponseRun;
use crate::context::Context;

/// Between two rounds.
const EVERY: Duration = Duration::from_secs(30);
/// How long an alert must have been absent before it counts as over: an Alertmanager that was restarted knows nothing
/// until Prometheus has sent everything again, which it does every minute.
const ABSENT_FOR: SignedDuration = SignedDuration::from_secs(90);
/// Alerts that are put on record at a time.
const MAX_WRITES: usize = 8;

/// Works until told to stop. Only the leader needs to.
pub async fn poll(context: Arc<Context>, stores: Arc<Stores>, intake: Intake, mut stop: watch::Receiver<bool>) {
    let alertmanagers = Alertmanagers::new(context);
    let mut absent = Absences::default();
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            // An error means that the sender is gone, which only happens at the very end.
            _ = stop.wait_for(|stop| *stop) => return,
        }
        // The next round is soon enough to say what an alert leads to.
        if !stores.is_ready() || !stores.sees_responses() || !stores.sees_runs() {
            continue;
        }
        for stack in stores.stacks() {
            match alertmanagers.ask(&stack).await {
                Ok(answer) => look(&stack, &answer, &stores, &intake, &mut absent, Timestamp::now()).await,
                Err(error) => tracing::warn!(%error, ?stack, "cannot find the replicas of an Alertmanager"),
            }
        }
    }
}

async fn look(
    stack: &StackName,
    answer: &Answer,
    stores: &Stores,
    intake: &Intake,
    absent: &mut Absences,
    now: Timestamp,
) {
    let source = source_of(stack);
    // A silenced alert leads to no run, as it leads to no delivery.
    stream::iter(answer.alerts.values().filter(|alert| alert.asks_for_action()))
        .for_each_concurrent(MAX_WRITES, |alert| {
            let source = &source;
            async move {
                if let Err(error) = intake.put(alert, source, now).await {
                    tracing::warn!(%error, "an alert that Alertmanager tells of could not be recorded");
                }
            }
        })
        .await;
    let of_stack = stores.runs(|run| run.spec.alert.source == source && !is_over(run));
    for run in absent.over(&source, &of_stack, answer, now) {
        tracing::info!(
            namespace = run.namespace(),
            run = run.name_any(),
            "its Alertmanager has not had the alert for a while"
        );
        if let Err(error) = intake.mark_resolved(run, now).await {
            tracing::warn!(%error, "the end of an alert could not be recorded");
        }
    }
}

/// Since when alerts are absent, by UID of the run.
#[derive(Default)]
struct Absences(HashMap<String, (String, Timestamp)>);

impl Absences {
    /// The runs whose alert has been absent long enough. Any answer but a complete one without it begins
    /// the wait anew.
    fn over<'a>(
        &mut self,
        source: &str,
        runs: &'a [impl Borrow<ResponseRun>],
        answer: &Answer,
        now: Timestamp,
    ) -> Vec<&'a ResponseRun> {
        let mut over = vec![];
        let mut still = HashMap::new();
        for run in runs.iter().map(Borrow::borrow) {
            let Some(uid) = run.uid() else { continue };
            let before = self.0.remove(&uid).map(|(_, since)| since);
            let since = match answer.about(&run.spec.alert.fingerprint) {
                Asked::Absent => before.unwrap_or(now),
                // Who does not answer may be about to restart.
                Asked::Firing | Asked::NoAnswer => continue,
            };
            if now.duration_since(since) >= ABSENT_FOR {
                over.push(run);
            }
            still.insert(uid, (source.to_owned(), since));
        }
        self.0.retain(|_, (of, _)| of != source);
        self.0.extend(still);
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::response_run::{ResponseRunSpec, RunAlert};
    use crate::response::payload::{Alert, ApiState, Status};

    const FINGERPRINT: &str = "00000000deadbeef";

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn run() -> ResponseRun {
        let spec: ResponseRunSpec = serde_json::from_value(serde_json::json!({
            "responseRef": {"name": "r", "uid": "u", "generation": 1},
            "alert": RunAlert { fingerprint: FINGERPRINT.into(), ..RunAlert::default() },
            "target": {"kind": "Deployment", "name": "web"}, "mode": "Act", "steps": [], "attempt": 1,
        }))
        .unwrap();
        let mut run = ResponseRun::new("run", spec);
        run.metadata.uid = Some("uid".into());
        run
    }

    fn absent(complete: bool) -> Answer {
        Answer { complete, ..Answer::default() }
    }

    fn firing() -> Answer {
        let alert = Alert { fingerprint: FINGERPRINT.into(), ..Alert::default() };
        Answer { alerts: [(FINGERPRINT.to_owned(), alert)].into(), complete: true }
    }

    #[test]
    fn an_alert_is_over_when_it_was_absent_for_a_while() {
        let (mut absences, runs) = (Absences::default(), [run()]);
        let mut over = |answer: &Answer, seconds| absences.over("stack a/b", &runs, answer, at(seconds)).len();
        assert_eq!(over(&absent(true), 0), 0);
        assert_eq!(over(&absent(true), 60), 0);
        assert_eq!(over(&absent(true), 90), 1);
    }

    #[test]
    fn a_silenced_alert_is_not_over_until_it_is_gone() {
        let (mut absences, runs) = (Absences::default(), [run()]);
        let mut silenced = firing();
        let alert = silenced.alerts.get_mut(FINGERPRINT).unwrap();
        alert.status = Status::Api { state: ApiState::Suppressed };
        assert!(!alert.asks_for_action(), "it leads to no other run");
        let mut over = |answer: &Answer, seconds| absences.over("stack a/b", &runs, answer, at(seconds)).len();
        assert_eq!((over(&silenced, 0), over(&silenced, 600)), (0, 0));
        // No resolved is sent for it: the poller is the one who notices.
        assert_eq!((over(&absent(true), 630), over(&absent(true), 720)), (0, 1));
    }

    #[test]
    fn an_answer_that_has_it_or_is_incomplete_begins_the_wait_anew() {
        for between in [firing(), absent(false)] {
            let (mut absences, runs) = (Absences::default(), [run()]);
            let mut over = |answer: &Answer, seconds| absences.over("stack a/b", &runs, answer, at(seconds)).len();
            over(&absent(true), 0);
            over(&between, 60);
            assert_eq!(over(&absent(true), 90), 0);
            assert_eq!(over(&absent(true), 180), 1);
        }
    }
}
