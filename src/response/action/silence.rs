//! Silencing the alert in its Alertmanager. The silence ends in a marker, by which it is found again.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::notify::fill;
use super::{Plan, mark};
use crate::alertmanager::{Matcher, NewSilence, Silence as Known};
use crate::api::alert_response::Silence;
use crate::api::duration::PromDuration;
use crate::api::response_run::{Intent, ResponseRun, SilenceIntent};
use crate::k8s::status::at_second;
use crate::response::alertmanagers::stack_of;
use crate::response::payload::is_whole;
use crate::response::run::Errand;

/// A shorter one is over before anybody has read of it.
pub const SHORTEST: PromDuration = PromDuration::from_mins(1);
/// A longer one is forgotten.
pub const LONGEST: PromDuration = PromDuration::from_mins(7 * 24 * 60);

pub fn plan(step: &Silence, run: &ResponseRun, number: usize, now: Timestamp) -> Plan {
    let alert = &run.spec.alert;
    if stack_of(&alert.source).is_none() {
        return Plan::Refuse(format!(
            "alert {} was not sent by a MonitoringStack but by {:?}: there is no Alertmanager to silence it in",
            alert.name, alert.source
        ));
    }
    // An empty value is the same as no label.
    let labels: std::collections::BTreeMap<_, _> =
        alert.labels.clone().into_iter().filter(|(_, v)| !v.is_empty()).collect();
    if labels.is_empty() {
        return Plan::Refuse("the alert has no labels: a silence without matchers would silence everything".into());
    }
    if !is_whole(&labels) {
        return Plan::Refuse(
            "the alert has more or longer labels than a run keeps: no silence could name them all".into(),
        );
    }
    let (starts_at, ends_at) = (at_second(now), step.for_.after(at_second(now)));
    let words = match &step.comment {
        Some(template) => fill(template, run),
        None => {
            let of = &run.spec.response_ref.name;
            format!("Run {} of AlertResponse {}/{of}", run.name_any(), run.namespace().unwrap_or_default())
        }
    };
    let intent = SilenceIntent {
        labels,
        starts_at: Some(Time(starts_at)),
        ends_at: Some(Time(ends_at)),
        comment: format!("{words} ({})", marker(run, number)),
    };
    Plan::Do {
        summary: format!("silence {} for {}", alert.name, step.for_),
        intent: Intent { silence: Some(intent), ..Intent::default() },
        evidence: vec![],
    }
}

fn marker(run: &ResponseRun, number: usize) -> String {
    format!("evenkeel run {}", mark(run, number))
}

/// Whether it is the one that this step made, whatever became of it since: who ended it by hand had a reason.
pub fn is_of(known: &Known, run: &ResponseRun, number: usize) -> bool {
    known.comment.ends_with(&format!("({})", marker(run, number)))
}

/// What is posted to Alertmanager.
pub fn silence(intent: &SilenceIntent) -> NewSilence {
    let time = |time: &Option<Time>| time.as_ref().map(|time| time.0).unwrap_or_default();
    let matchers = intent.labels.iter().map(|(name, value)| Matcher {
        name: name.clone(),
        value: value.clone(),
        is_regex: false,
        is_equal: true,
    });
    NewSilence {
        matchers: matchers.collect(),
        starts_at: time(&intent.starts_at),
        ends_at: time(&intent.ends_at),
        created_by: crate::k8s::meta::MANAGED_BY.into(),
        comment: intent.comment.clone(),
    }
}

/// The words of what was done.
pub fn done(run: &ResponseRun, id: &str, ends_at: Timestamp) -> Errand {
    let name = &run.spec.alert.name;
    Errand::Done {
        effect: format!("silenced {name} until {} (silence {id})", at_second(ends_at)),
        evidence: vec![],
        reference: Some(id.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run(source: &str, labels: serde_json::Value) -> ResponseRun {
        let mut run: ResponseRun = serde_json::from_value(json!({
            "apiVersion": "evenkeel.dev/v1alpha1", "kind": "ResponseRun",
            "metadata": {"name": "fix-1", "namespace": "shop", "uid": "uid-1"},
            "spec": {
                "responseRef": {"name": "fix", "uid": "u", "generation": 1},
                "alert": {"name": "Slow", "fingerprint": "f", "source": source},
                "target": {"kind": "Deployment", "name": "web"}, "mode": "Act", "steps": [], "attempt": 1,
            },
        }))
        .unwrap();
        run.spec.alert.labels = serde_json::from_value(labels).unwrap();
        run
    }

    fn planned(run: &ResponseRun) -> Result<SilenceIntent, String> {
        let step = Silence { for_: PromDuration::from_mins(60), comment: Some("see {{ run.name }}".into()) };
        let now = "2026-11-21T13:05:00.7Z".parse().unwrap();
        match plan(&step, run, 1, now) {
            Plan::Do { intent, .. } => Ok(intent.silence.unwrap()),
            Plan::Refuse(why) => Err(why),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_silence_names_every_label_and_ends_in_a_marker() {
        let run = run("stack mon/main", json!({"alertname": "Slow", "pod": "web-1", "empty": ""}));
        let posted = silence(&planned(&run).unwrap());
        assert_eq!(
            serde_json::to_value(&posted).unwrap(),
            json!({
                "matchers": [
                    {"name": "alertname", "value": "Slow", "isRegex": false, "isEqual": true},
                    {"name": "pod", "value": "web-1", "isRegex": false, "isEqual": true},
                ],
                "startsAt": "2026-11-21T13:05:00Z", "endsAt": "2026-11-21T14:05:00Z", "createdBy": "evenkeel",
                "comment": "see fix-1 (evenkeel run uid-1/2)",
            })
        );
        let known = |comment: &str| Known { id: "s".into(), ends_at: Timestamp::UNIX_EPOCH, comment: comment.into() };
        assert!(is_of(&known(&posted.comment), &run, 1));
        for other in ["(evenkeel run uid-1/2) by hand", "x (evenkeel run uid-1/22)", "x (evenkeel run uid-11/2)", ""] {
            assert!(!is_of(&known(other), &run, 1), "{other}");
        }
    }

    #[test]
    fn what_would_silence_more_or_nothing_is_refused() {
        let of_stack = |labels| planned(&run("stack mon/main", labels)).unwrap_err();
        assert!(of_stack(json!({})).contains("no labels"));
        assert!(of_stack(json!({"alertname": ""})).contains("no labels"));
        assert!(of_stack(json!({"alertname": "Slow", "long": format!("{}…", "x".repeat(1024))})).contains("longer"));
        let elsewhere = planned(&run("webhook", json!({"alertname": "Slow"}))).unwrap_err();
        assert!(elsewhere.contains("not sent by a MonitoringStack"), "{elsewhere}");
    }
}
