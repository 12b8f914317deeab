//! Whether a repair is proved. Pure. No data is never a pass.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::condition::Told;
use super::facts::{Asked, Facts, Known, Lookup};
use super::guard::short;
use crate::api::alert_response::Verify;
use crate::api::response_run::{AlertState, ResponseRun, Verdict, Verification};
use crate::k8s::status::at_second;
use crate::k8s::workload::{Health, health};

/// One thing that must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Holds {
    Yes(String),
    No(String),
    Unknown(String),
}

impl Holds {
    fn words(&self) -> &str {
        match self {
            Self::Yes(words) | Self::No(words) | Self::Unknown(words) => words,
        }
    }
}

/// Where the proof stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    pub verification: Verification,
    /// The verdict and its reason, once there is one.
    pub verdict: Option<(Verdict, String)>,
}

/// The beginning of a proof.
pub fn begin(verify: &Verify, now: Timestamp) -> Verification {
    let now = at_second(now);
    let within = SignedDuration::try_from(verify.within.0).unwrap_or(SignedDuration::MAX);
    Verification {
        started_at: Some(Time(now)),
        deadline: Some(Time(now.checked_add(within).unwrap_or(Timestamp::MAX))),
        ..Verification::default()
    }
}

/// Looks at alert and workload. Pass: both have held for `settle`. At the deadline: Fail if one is known not to hold,
/// Inconclusive if nobody can tell. What begins to hold before the deadline may still settle after it.
pub fn judge(run: &ResponseRun, verification: &Verification, facts: &Facts, now: Timestamp) -> Judgement {
    let started = verification.started_at.as_ref().map_or(now, |t| t.0);
    let deadline = verification.deadline.as_ref().map_or(now, |t| t.0);
    let alert = alert(&facts.alert, started);
    let workload = workload(&facts.workload, &run.spec.target.reference());
    let promql = run.spec.verify.promql.as_ref().map(|_| condition(facts.condition.as_ref()));
    let all: Vec<&Holds> = [&alert, &workload].into_iter().chain(&promql).collect();
    let holds = all.iter().all(|holds| matches!(holds, Holds::Yes(_)));
    let holds_since = holds.then(|| verification.holds_since.clone().unwrap_or(Time(at_second(now))));
    let settle = SignedDuration::try_from(run.spec.verify.settle.0).unwrap_or(SignedDuration::MAX);
    let verdict = match &holds_since {
        Some(since) if now.duration_since(since.0) >= settle => {
            Some((Verdict::Pass, all.iter().map(|holds| holds.words()).collect::<Vec<_>>().join(", ")))
        }
        Some(_) => None,
        None if now < deadline => None,
        None => Some(at_deadline(&all, deadline.duration_since(started))),
    };
    let finished_at = verdict.as_ref().map(|_| Time(at_second(now)));
    let verification = Verification {
        alert: alert.words().to_owned(),
        workload: workload.words().to_owned(),
        promql: promql.as_ref().map(|holds| holds.words().to_owned()).unwrap_or_default(),
        holds_since,
        finished_at,
        ..verification.clone()
    };
    Judgement { verification, verdict }
}

fn at_deadline(all: &[&Holds], within: SignedDuration) -> (Verdict, String) {
    let within = short(within);
    let no = all.iter().find_map(|holds| match holds {
        Holds::No(why) => Some((Verdict::Fail, why)),
        _ => None,
    });
    let unknown = all.iter().find_map(|holds| match holds {
        Holds::Unknown(why) => Some((Verdict::Inconclusive, why)),
        _ => None,
    });
    match no.or(unknown) {
        Some((verdict, why)) => (verdict, format!("{why}, {within} after the repair")),
        // Not reached: what holds settles or passes.
        None => (Verdict::Inconclusive, "it did not hold long enough".to_owned()),
    }
}

fn condition(told: Option<&Told>) -> Holds {
    match told {
        Some(Told::Holds(words)) => Holds::Yes(words.clone()),
        Some(Told::Not(words)) => Holds::No(words.clone()),
        Some(Told::NoData(words) | Told::NoAnswer(words)) => Holds::Unknown(words.clone()),
        None => Holds::Unknown("verify.promql was not asked".into()),
    }
}

fn alert(known: &Known, repaired: Timestamp) -> Holds {
    match (known.state, known.asked) {
        (AlertState::Resolved, _) => Holds::Yes("alert resolved".into()),
        (_, Asked::Firing) => Holds::No("alert is firing, says its Alertmanager".into()),
        (_, Asked::Absent) => {
            Holds::Unknown("alert is not at its Alertmanager, which has not said that it resolved".into())
        }
        (_, Asked::NoAnswer) => match known.seen_at {
            // Delivered as firing after the repair. What was delivered before it says nothing about the repair.
            Some(seen) if known.state == AlertState::Firing && seen > repaired => {
                Holds::No("alert was delivered again as firing".into())
            }
            _ => Holds::Unknown("nothing was heard of the alert since the repair".into()),
        },
    }
}

fn workload(lookup: &Lookup, reference: &str) -> Holds {
    match lookup {
        Lookup::Found(workload) => match health(&workload.deployment) {
            Health::Healthy(replicas) => {
                Holds::Yes(format!("{reference} rolled out, {replicas} of {replicas} available"))
            }
            Health::Unhealthy(why) => Holds::No(format!("{reference} is not healthy: {why}")),
        },
        Lookup::Missing => Holds::No(format!("{reference} does not exist any more")),
        Lookup::Failed(words) => Holds::Unknown(format!("cannot read {reference}: {words}")),
        Lookup::NotLooked => Holds::Unknown(format!("{reference} was not looked at")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::response::facts::Workload;
    use serde_json::json;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + seconds).unwrap()
    }

    fn run() -> ResponseRun {
        let spec = json!({
            "responseRef": {"name": "fix", "uid": "u", "generation": 1}, "alert": {"name": "A", "fingerprint": "f"},
            "target": {"kind": "Deployment", "name": "web"}, "mode": "Act", "steps": [], "attempt": 1,
            "verify": {"within": "10m", "settle": "30s"},
        });
        ResponseRun::new("run", serde_json::from_value(spec).unwrap())
    }

    fn facts(state: AlertState, asked: Asked, available: i32) -> Facts {
        let deployment = serde_json::from_value(json!({
            "metadata": {"name": "web"}, "spec": {"replicas": 1, "selector": {}, "template": {}},
            "status": {"replicas": 1, "updatedReplicas": 1, "availableReplicas": available},
        }))
        .unwrap();
        let workload = Lookup::Found(Box::new(Workload { deployment, ..Workload::default() }));
        Facts { alert: Known { state, asked, seen_at: None }, workload, ..Facts::default() }
    }

    /// The verdict at the deadline of a repair that ended at second 0.
    fn at_the_end(facts: &Facts) -> Option<Verdict> {
        let verification = begin(&run().spec.verify, at(0));
        judge(&run(), &verification, facts, at(600)).verdict.map(|(verdict, _)| verdict)
    }

    #[test]
    fn a_repair_is_proved_when_alert_and_workload_were_well_for_the_whole_of_settle() {
        let (run, well) = (run(), facts(AlertState::Resolved, Asked::NoAnswer, 1));
        let first = judge(&run, &begin(&run.spec.verify, at(0)), &well, at(10));
        assert_eq!((first.verdict, first.verification.holds_since.clone()), (None, Some(Time(at(10)))));
        assert_eq!(judge(&run, &first.verification, &well, at(39)).verdict, None);
        let last = judge(&run, &first.verification, &well, at(40));
        assert_eq!(last.verdict.unwrap().0, Verdict::Pass);
        // A relapse begins the wait anew.
        let relapse = judge(&run, &first.verification, &facts(AlertState::Resolved, Asked::NoAnswer, 0), at(20));
        assert_eq!(relapse.verification.holds_since, None);
    }

    #[test]
    fn what_is_known_to_be_wrong_fails_and_what_is_not_known_is_inconclusive() {
        use {AlertState::Firing, AlertState::Resolved, Verdict::Fail, Verdict::Inconclusive};
        for (facts, verdict) in [
            (facts(Firing, Asked::Firing, 1), Fail),
            (facts(Resolved, Asked::NoAnswer, 0), Fail),
            (facts(Firing, Asked::NoAnswer, 1), Inconclusive),
            // An Alertmanager that was restarted has no alerts either.
            (facts(Firing, Asked::Absent, 1), Inconclusive),
            (Facts { workload: Lookup::Failed("away".into()), ..facts(Resolved, Asked::NoAnswer, 1) }, Inconclusive),
        ] {
            assert_eq!(at_the_end(&facts), Some(verdict), "{facts:?}");
        }
    }

    #[test]
    fn an_expression_must_hold_as_well_and_without_data_nobody_can_tell() {
        let mut run = run();
        run.spec.verify.promql = Some("errors < 0.01".into());
        for (told, verdict) in [
            (Some(Told::Holds("errors < 0.01 (is 0)".into())), Verdict::Pass),
            (Some(Told::Not("not errors < 0.01 (is 0.3)".into())), Verdict::Fail),
            (Some(Told::NoData("no data for errors".into())), Verdict::Inconclusive),
            (Some(Told::NoAnswer("away".into())), Verdict::Inconclusive),
            (None, Verdict::Inconclusive),
        ] {
            let facts = Facts { condition: told, ..facts(AlertState::Resolved, Asked::NoAnswer, 1) };
            let first = judge(&run, &begin(&run.spec.verify, at(0)), &facts, at(10));
            let (reached, why) = judge(&run, &first.verification, &facts, at(600)).verdict.unwrap();
            assert_eq!(reached, verdict, "{why}");
            assert_eq!(first.verification.promql.is_empty(), false);
        }
    }

    #[test]
    fn what_begins_to_be_well_before_the_deadline_may_settle_after_it() {
        let (run, well) = (run(), facts(AlertState::Resolved, Asked::NoAnswer, 1));
        let late = judge(&run, &begin(&run.spec.verify, at(0)), &well, at(590));
        assert_eq!(judge(&run, &late.verification, &well, at(610)).verdict, None);
        assert_eq!(judge(&run, &late.verification, &well, at(620)).verdict.unwrap().0, Verdict::Pass);
    }

    #[test]
    fn a_delivery_from_before_the_repair_says_nothing_about_it() {
        let mut facts = facts(AlertState::Firing, Asked::NoAnswer, 1);
        facts.alert.seen_at = Some(at(-60));
        assert_eq!(at_the_end(&facts), Some(Verdict::Inconclusive));
        facts.alert.seen_at = Some(at(60));
        assert_eq!(at_the_end(&facts), Some(Verdict::Fail));
    }
}
