//! Whether a repair is proved. Pure. No data is never a pass.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::condition::Told;
use super::facts::{Asked, Facts, Known, LookBack, Lookup};
use super::guard::short;
use crate::api::alert_response::Verify;
use crate::api::response_run::{AlertState, ResponseRun, Settle, Verdict, Verification};
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
    Verification {
        started_at: Some(Time(now)),
        deadline: Some(Time(verify.within.after(now))),
        ..Verification::default()
    }
}

/// Looks at alert and workload. Pass: both have held for `settle`. At the deadline: Fail if one is known not to hold,
/// Inconclusive if nobody can tell, or if it would have to hold for longer than there is time. What begins to hold before
/// the deadline may still settle after it.
pub fn judge(run: &ResponseRun, verification: &Verification, facts: &Facts, now: Timestamp) -> Judgement {
    let started = verification.started_at.as_ref().map_or(now, |t| t.0);
    let deadline = verification.deadline.as_ref().map_or(now, |t| t.0);
    let alert = alert(&facts.alert, started);
    let workload = workload(&facts.workload, &run.spec.target.reference());
    let verify = &run.spec.verify;
    let promql = verify.promql.as_ref().map(|_| condition(facts.condition.as_ref(), "promql"));
    let promql = promql.map(|holds| compared(holds, run.status.as_ref().and_then(|status| status.before.as_deref())));
    let slo = verify.slo.as_ref().map(|_| condition(facts.slo.as_ref(), "slo"));
    let all: Vec<&Holds> = [&alert, &workload].into_iter().chain(&promql).chain(&slo).collect();
    let holds = all.iter().all(|holds| matches!(holds, Holds::Yes(_)));
    let holds_since = holds.then(|| verification.holds_since.clone().unwrap_or(Time(at_second(now))));
    let settle = verification.settle.clone().or_else(|| settle(verify, &facts.look_back));
    let within = deadline.duration_since(started);
    let verdict = match (&holds_since, &settle) {
        (Some(since), Some(settle)) if settle.for_ <= verify.within => {
            let words = || all.iter().map(|holds| holds.words()).collect::<Vec<_>>().join(", ");
            (now.duration_since(since.0) >= settle.for_.span()).then(|| (Verdict::Pass, words()))
        }
        _ if now < deadline => None,
        (None, _) => Some(at_deadline(&all, within)),
        (Some(_), settle) => Some((Verdict::Inconclusive, unsettled(settle.as_ref(), verify, &facts.look_back))),
    };
    let finished_at = verdict.as_ref().map(|_| Time(at_second(now)));
    let verification = Verification {
        alert: alert.words().to_owned(),
        workload: workload.words().to_owned(),
        promql: promql.as_ref().map(|holds| holds.words().to_owned()).unwrap_or_default(),
        slo: slo.as_ref().map(|holds| holds.words().to_owned()).unwrap_or_default(),
        settle,
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

/// Whether nothing but the alert says that the repair has helped: then its own look-back counts.
pub fn rests_on_the_alert(verify: &Verify) -> bool {
    verify.promql.is_none() && verify.slo.is_none()
}

/// How long it must hold. An alert that looks back 5m and is quiet for 10 s may be quiet because its series ended with the
/// old pods; once it was quiet for 5m, it has judged 5m of the new ones. `None` while that cannot be told.
fn settle(verify: &Verify, look_back: &LookBack) -> Option<Settle> {
    let author = |message: String| Settle { for_: verify.settle, message };
    if !rests_on_the_alert(verify) {
        return Some(author(String::new()));
    }
    match look_back {
        LookBack::Known(longer) if *longer > verify.settle => {
            let mut message = format!("the alert looks back {longer}");
            if *longer > verify.within {
                message.push_str(&format!(", longer than verify.within ({})", verify.within));
            }
            Some(Settle { for_: *longer, message })
        }
        LookBack::Known(_) => Some(author(String::new())),
        LookBack::Unknown(why) => Some(author(why.clone())),
        LookBack::NotAsked | LookBack::NoAnswer(_) => None,
    }
}

/// Why what holds at the deadline proves nothing.
fn unsettled(settle: Option<&Settle>, verify: &Verify, look_back: &LookBack) -> String {
    let way_out = "or give verify.promql or verify.slo";
    match (settle, look_back) {
        (Some(Settle { for_, .. }), _) => format!(
            "the alert is quiet and the workload rolled out, but the alert looks back {for_}, longer than verify.within ({}): it has not seen so much of the repaired workload; set verify.within to {for_} or more, {way_out}",
            verify.within
        ),
        (None, LookBack::NoAnswer(why)) => format!("how far the alert looks back cannot be told: {why}"),
        (None, _) => "how far the alert looks back was not asked".to_owned(),
    }
}

/// With what it was before the repair.
fn compared(holds: Holds, before: Option<&str>) -> Holds {
    let Some(before) = before else { return holds };
    let add = |words: String| format!("{words}, was {before} before the repair");
    match holds {
        Holds::Yes(words) => Holds::Yes(add(words)),
        Holds::No(words) => Holds::No(add(words)),
        Holds::Unknown(words) => Holds::Unknown(add(words)),
    }
}

fn condition(told: Option<&Told>, field: &str) -> Holds {
    match told {
        Some(Told::Holds(words)) => Holds::Yes(words.clone()),
        Some(Told::Not(words)) => Holds::No(words.clone()),
        Some(Told::NoData(words) | Told::NoAnswer(words)) => Holds::Unknown(words.clone()),
        None => Holds::Unknown(format!("verify.{field} was not asked")),
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
        Lookup::Found(workload) => match health(&workload.object) {
            Health::Healthy(words) => Holds::Yes(format!("{reference} {words}")),
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
    use crate::api::alert_response::SloCalm;
    use crate::api::duration::PromDuration;
    use crate::api::response_run::ResponseRunStatus;
    use crate::k8s::workload::Object;
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
        let deployment: k8s_openapi::api::apps::v1::Deployment = serde_json::from_value(json!({
            "metadata": {"name": "web"}, "spec": {"replicas": 1, "selector": {}, "template": {}},
            "status": {"replicas": 1, "updatedReplicas": 1, "availableReplicas": available},
        }))
        .unwrap();
        let object = Object::Deployment(Box::new(deployment));
        let workload = Lookup::Found(Box::new(Workload { object, ..Workload::default() }));
        let look_back = LookBack::Unknown(String::new());
        Facts { alert: Known { state, asked, seen_at: None }, workload, look_back, ..Facts::default() }
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
            assert!(!first.verification.promql.is_empty());
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
    fn it_settles_for_as_long_as_the_alert_looks_back() {
        let run = run();
        let looking_back = |minutes: u64| Facts {
            look_back: LookBack::Known(PromDuration::from_mins(minutes)),
            ..facts(AlertState::Resolved, Asked::NoAnswer, 1)
        };
        let first = judge(&run, &begin(&run.spec.verify, at(0)), &looking_back(5), at(10));
        let settle = Settle { for_: PromDuration::from_mins(5), message: "the alert looks back 5m".into() };
        assert_eq!(first.verification.settle, Some(settle));
        // It is asked once; what is on record counts.
        let later = facts(AlertState::Resolved, Asked::NoAnswer, 1);
        assert_eq!(judge(&run, &first.verification, &later, at(309)).verdict, None);
        assert_eq!(judge(&run, &first.verification, &later, at(310)).verdict.unwrap().0, Verdict::Pass);
        // Who looks back for less than the author waits anyway adds nothing.
        let brief = Facts { look_back: LookBack::Known(PromDuration::from_secs(10)), ..later };
        let settle = judge(&run, &begin(&run.spec.verify, at(0)), &brief, at(10)).verification.settle;
        assert_eq!(settle, Some(Settle { for_: PromDuration::from_secs(30), message: String::new() }));
    }

    #[test]
    fn an_alert_that_looks_back_longer_than_there_is_time_proves_nothing_and_says_the_way_out() {
        let run = run();
        let hour = LookBack::Known(PromDuration::from_mins(60));
        let facts = Facts { look_back: hour, ..facts(AlertState::Resolved, Asked::NoAnswer, 1) };
        let first = judge(&run, &begin(&run.spec.verify, at(0)), &facts, at(10));
        let said = first.verification.settle.as_ref().map(|settle| settle.message.as_str());
        assert_eq!(said, Some("the alert looks back 1h, longer than verify.within (10m)"));
        assert_eq!(judge(&run, &first.verification, &facts, at(599)).verdict, None);
        let (verdict, why) = judge(&run, &first.verification, &facts, at(600)).verdict.unwrap();
        assert_eq!(verdict, Verdict::Inconclusive);
        assert!(why.contains("looks back 1h, longer than verify.within (10m)"), "{why}");
        assert!(why.contains("set verify.within to 1h or more, or give verify.promql"), "{why}");
    }

    #[test]
    fn while_the_look_back_cannot_be_asked_nothing_is_proved() {
        let run = run();
        let away = LookBack::NoAnswer("Prometheus is away".into());
        let facts = Facts { look_back: away, ..facts(AlertState::Resolved, Asked::NoAnswer, 1) };
        let first = judge(&run, &begin(&run.spec.verify, at(0)), &facts, at(10));
        assert_eq!((first.verdict, first.verification.settle.clone()), (None, None));
        let (verdict, why) = judge(&run, &first.verification, &facts, at(600)).verdict.unwrap();
        assert_eq!(
            (verdict, why.as_str()),
            (Verdict::Inconclusive, "how far the alert looks back cannot be told: Prometheus is away")
        );
    }

    #[test]
    fn a_measured_proof_needs_no_look_back_and_tells_what_was_before() {
        let mut run = run();
        run.spec.verify.promql = Some("errors < 0.01".into());
        let before = Some("0.213".to_owned());
        run.status = Some(ResponseRunStatus { before, ..ResponseRunStatus::default() });
        let condition = Some(Told::Holds("errors < 0.01 (is 0)".into()));
        let facts =
            Facts { condition, look_back: LookBack::NotAsked, ..facts(AlertState::Resolved, Asked::NoAnswer, 1) };
        let first = judge(&run, &begin(&run.spec.verify, at(0)), &facts, at(10));
        assert_eq!(first.verification.promql, "errors < 0.01 (is 0), was 0.213 before the repair");
        assert_eq!(judge(&run, &first.verification, &facts, at(40)).verdict.unwrap().0, Verdict::Pass);
    }

    #[test]
    fn an_slo_that_still_burns_is_no_proof() {
        let mut run = run();
        run.spec.verify.slo = Some(SloCalm { name: "checkout".into(), burn_below: 1.0 });
        for (told, verdict) in [
            (Some(Told::Holds("SLO checkout burns below 1x (0.20x over 5m)".into())), Verdict::Pass),
            (Some(Told::Not("SLO checkout does not burn below 1x (9.00x over 5m)".into())), Verdict::Fail),
            (Some(Told::NoData("no data for the burn rate of SLO checkout".into())), Verdict::Inconclusive),
            (None, Verdict::Inconclusive),
        ] {
            let facts = Facts { slo: told, ..facts(AlertState::Resolved, Asked::NoAnswer, 1) };
            let first = judge(&run, &begin(&run.spec.verify, at(0)), &facts, at(10));
            assert_eq!(judge(&run, &first.verification, &facts, at(600)).verdict.unwrap().0, verdict);
            assert!(!first.verification.slo.is_empty());
        }
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
