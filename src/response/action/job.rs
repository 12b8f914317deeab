//! Running a Job from a CronJob's template, with the alert in its environment. Values of an alert are untrusted: they
//! only ever become values of environment variables.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{Container, EnvVar};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

use super::{MARK, Plan, is_marked, mark};
use crate::api::alert_response;
use crate::api::response_run::{Intent, JobIntent, ResponseRun};
use crate::k8s::meta::{MANAGED_BY, Owner, bounded};
use crate::response::run::Errand;

/// `kubectl create job --from` writes it as well: this Job was not made by the schedule.
const INSTANTIATE: &str = "cronjob.kubernetes.io/instantiate";
/// A finished Job is kept at least this long: one that went away too early could not be told from one never made.
const KEPT: i32 = 24 * 60 * 60;
/// Longest name whose pods can carry it as a label.
const MAX_NAME: usize = 63;
/// Most bytes of ALERT_LABELS and of ALERT_ANNOTATIONS: Linux takes 128 KiB for one variable.
const MAX_JSON: usize = 32 << 10;
/// How long beyond its deadline a Job may take to say that it failed.
const GRACE: SignedDuration = SignedDuration::from_mins(2);

pub fn plan(step: &alert_response::Job, run: &ResponseRun, number: usize) -> Plan {
    let intent = JobIntent { name: name(run, number) };
    Plan::Do {
        summary: format!("run a Job from CronJob/{}", step.from_cron_job),
        intent: Intent { job: Some(intent), ..Intent::default() },
        evidence: vec![],
    }
}

/// The same for every try. The end of a run's name is a digest, so that a cut one stays unique.
fn name(run: &ResponseRun, number: usize) -> String {
    let suffix = format!("-job-{}", number + 1);
    format!("{}{suffix}", bounded(&run.name_any().replace('.', "-"), MAX_NAME - suffix.len()))
}

/// The Job, as `kubectl create job --from=cronjob/NAME` makes it, and with the alert.
pub fn job(cron: &CronJob, step: &alert_response::Job, intent: &JobIntent, run: &ResponseRun, number: usize) -> Job {
    let template = cron.spec.as_ref().map(|spec| spec.job_template.clone()).unwrap_or_default();
    let metadata = template.metadata.unwrap_or_default();
    let mut annotations = metadata.annotations.unwrap_or_default();
    annotations.insert(INSTANTIATE.to_owned(), "manual".to_owned());
    annotations.insert(MARK.to_owned(), mark(run, number));
    let mut labels = metadata.labels.unwrap_or_default();
    labels.insert("app.kubernetes.io/managed-by".to_owned(), MANAGED_BY.to_owned());
    let mut spec = template.spec.unwrap_or_default();
    let timeout = i64::try_from(step.timeout.as_secs()).unwrap_or(i64::MAX).max(1);
    spec.active_deadline_seconds = Some(spec.active_deadline_seconds.map_or(timeout, |own| own.min(timeout)));
    spec.ttl_seconds_after_finished = Some(spec.ttl_seconds_after_finished.map_or(KEPT, |own| own.max(KEPT)));
    let variables = environment(run);
    if let Some(pod) = &mut spec.template.spec {
        for container in pod.containers.iter_mut().chain(pod.init_containers.iter_mut().flatten()) {
            add(container, &variables);
        }
    }
    Job {
        metadata: ObjectMeta {
            name: Some(intent.name.clone()),
            namespace: run.namespace(),
            annotations: Some(annotations),
            labels: Some(labels),
            // Not its controller, and without blocking: the ServiceAccount needs no right on runs for it.
            owner_references: Owner::of(run).map(|owner| vec![owner.loose_reference()]),
            ..ObjectMeta::default()
        },
        spec: Some(spec),
        status: None,
    }
}

/// Over what the template has under the same names, and before the rest, so that its other variables can refer to them.
fn add(container: &mut Container, variables: &[EnvVar]) {
    let own = container.env.take().unwrap_or_default();
    let own = own.into_iter().filter(|own| variables.iter().all(|variable| variable.name != own.name));
    container.env = Some(variables.iter().cloned().chain(own).collect());
}

fn environment(run: &ResponseRun) -> Vec<EnvVar> {
    let (alert, target) = (&run.spec.alert, &run.spec.target);
    let values = [
        ("ALERT_NAME", alert.name.clone()),
        ("ALERT_SEVERITY", alert.labels.get("severity").cloned().unwrap_or_default()),
        ("ALERT_STARTS_AT", alert.starts_at.as_ref().map(|at| at.0.to_string()).unwrap_or_default()),
        ("ALERT_LABELS", json(&alert.labels)),
        ("ALERT_ANNOTATIONS", json(&alert.annotations)),
        ("TARGET_KIND", target.kind.as_str().to_owned()),
        ("TARGET_NAME", target.name.clone()),
        ("RUN_NAME", run.name_any()),
    ];
    values
        .into_iter()
        .map(|(name, value)| EnvVar { name: name.to_owned(), value: Some(literal(&value)), value_from: None })
        .collect()
}

/// As an object, with as many entries as there is room for.
fn json(map: &BTreeMap<String, String>) -> String {
    let mut room = MAX_JSON;
    let fits = |(name, value): &(&String, &String)| {
        // Quotes, colon and comma; a character takes at most six bytes when it is escaped.
        let takes =
            6 + name.chars().chain(value.chars()).map(|c| if c < ' ' { 6 } else { c.len_utf8() * 2 }).sum::<usize>();
        room = room.saturating_sub(takes);
        room > 0
    };
    let entries: BTreeMap<_, _> = map.iter().take_while(fits).collect();
    // Strings are written as JSON without fail.
    serde_json::to_string(&entries).unwrap_or_default()
}

/// Kubernetes replaces `$(NAME)` in a value by another variable, and `$$` by `$`: with every `$` doubled nothing of it is
/// replaced. A NUL could not be passed to a process.
fn literal(value: &str) -> String {
    value.replace('\0', "").replace('$', "$$")
}

/// How the Job stands. `began` is when the step did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    Errand(Errand),
    /// Trying again would not help.
    Failed(String),
}

pub fn standing(
    job: &Job,
    step: &alert_response::Job,
    run: &ResponseRun,
    number: usize,
    began: Timestamp,
    now: Timestamp,
) -> Standing {
    let name = job.name_any();
    if !is_marked(&job.metadata, &mark(run, number)) {
        return Standing::Failed(format!(
            "there is a Job {name} already, which this step did not make (annotation {MARK}): delete or rename it"
        ));
    }
    let conditions = job.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let holds = |kind: &str| conditions.iter().find(|c| c.type_ == kind && c.status == "True");
    if holds("Complete").is_some() {
        return Standing::Errand(Errand::Done {
            effect: format!("ran Job {name} from CronJob/{}, which completed", step.from_cron_job),
            evidence: vec![],
            reference: Some(name),
        });
    }
    if let Some(failed) = holds("Failed") {
        let words = [failed.reason.as_deref(), failed.message.as_deref()].into_iter().flatten();
        let words: Vec<&str> = words.filter(|words| !words.is_empty()).collect();
        return Standing::Failed(format!("Job {name} failed: {}", words.join(": ")));
    }
    let deadline = step.timeout.span().saturating_add(GRACE);
    // A suspended Job has no deadline of its own.
    if now.duration_since(began) > deadline {
        return Standing::Failed(format!("Job {name} has neither completed nor failed within {}", step.timeout));
    }
    let status = job.status.clone().unwrap_or_default();
    let (active, failed) = (status.active.unwrap_or(0), status.failed.unwrap_or(0));
    Standing::Errand(Errand::Underway(format!("{} is under way: {active} pods active, {failed} failed", seen(&name))))
}

/// The words by which a step that has seen its Job begins.
fn seen(name: &str) -> String {
    format!("Job {name}")
}

/// Whether the Job had been made when the step was last looked at: one that is gone by now was deleted by somebody.
pub fn was_seen(run: &ResponseRun, number: usize, intent: &JobIntent) -> bool {
    let step = run.status.as_ref().and_then(|status| status.steps.get(number));
    step.is_some_and(|step| step.message.starts_with(&format!("{} ", seen(&intent.name))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run(annotation: &str) -> ResponseRun {
        serde_json::from_value(json!({
            "apiVersion": "evenkeel.dev/v1alpha1", "kind": "ResponseRun",
            "metadata": {"name": format!("{}-0123456789", "db.connections".repeat(6)), "namespace": "shop", "uid": "uid-1"},
            "spec": {
                "responseRef": {"name": "fix", "uid": "u", "generation": 1},
                "alert": {
                    "name": "Down", "fingerprint": "f", "startsAt": "2026-11-21T10:00:00Z",
                    "labels": {"severity": "critical", "x": "$(SECRET) $$ \0'\"; rm -rf /"}, "annotations": {"summary": annotation},
                },
                "target": {"kind": "Deployment", "name": "web"}, "mode": "Act", "attempt": 1,
                "steps": [{"job": {"fromCronJob": "vacuum", "timeout": "5m"}}],
            },
        }))
        .unwrap()
    }

    fn cron() -> CronJob {
        serde_json::from_value(json!({
            "metadata": {"name": "vacuum", "labels": {"argocd.argoproj.io/instance": "shop"}},
            "spec": {"schedule": "0 0 * * *", "suspend": true, "jobTemplate": {
                "metadata": {"labels": {"app": "vacuum"}},
                "spec": {"activeDeadlineSeconds": 60, "backoffLimit": 1, "ttlSecondsAfterFinished": 0, "template": {"spec": {
                    "restartPolicy": "Never",
                    "initContainers": [{"name": "wait", "image": "wait:1"}],
                    "containers": [{"name": "vacuum", "image": "vacuum:1", "env": [
                        {"name": "WHO", "value": "$(ALERT_NAME)"}, {"name": "ALERT_NAME", "value": "none"},
                    ]}],
                }}},
            }},
        }))
        .unwrap()
    }

    fn made(run: &ResponseRun) -> Job {
        let Plan::Do { intent, .. } = plan(&step(), run, 0) else { panic!("a plan") };
        job(&cron(), &step(), &intent.job.unwrap(), run, 0)
    }

    fn step() -> alert_response::Job {
        alert_response::Job {
            from_cron_job: "vacuum".into(),
            timeout: crate::api::duration::PromDuration::from_mins(5),
        }
    }

    #[test]
    fn a_job_is_made_as_kubectl_makes_it_with_the_alert_in_every_container() {
        let job = made(&run("why"));
        let spec = job.spec.as_ref().unwrap();
        assert_eq!((spec.active_deadline_seconds, spec.ttl_seconds_after_finished), (Some(60), Some(KEPT)));
        assert_eq!(job.annotations()[INSTANTIATE], "manual");
        assert_eq!(job.annotations()[MARK], "uid-1/1");
        assert_eq!(job.labels().keys().collect::<Vec<_>>(), ["app", "app.kubernetes.io/managed-by"]);
        let owner = &job.owner_references()[0];
        assert_eq!((owner.uid.as_str(), owner.controller, owner.block_owner_deletion), ("uid-1", None, None));
        assert!(job.name_any().len() <= MAX_NAME && !job.name_any().contains('.'), "{}", job.name_any());
        let pod = spec.template.spec.as_ref().unwrap();
        for container in pod.containers.iter().chain(pod.init_containers.as_ref().unwrap()) {
            let env = container.env.as_ref().unwrap();
            let value = |name: &str| env.iter().find(|e| e.name == name).and_then(|e| e.value.clone()).unwrap();
            assert_eq!((value("ALERT_NAME").as_str(), value("ALERT_SEVERITY").as_str()), ("Down", "critical"));
            assert_eq!(
                (value("ALERT_STARTS_AT").as_str(), value("TARGET_NAME").as_str()),
                ("2026-11-21T10:00:00Z", "web")
            );
            assert_eq!(env.iter().filter(|e| e.name == "ALERT_NAME").count(), 1, "the alert's wins");
        }
        let env = pod.containers[0].env.as_ref().unwrap();
        assert_eq!(env.last().unwrap().name, "WHO", "what refers to the alert stands behind it");
    }

    #[test]
    fn nothing_of_an_alert_is_expanded_by_kubernetes() {
        let variables = environment(&run("why"));
        let labels = variables.iter().find(|v| v.name == "ALERT_LABELS").unwrap().value.as_deref().unwrap();
        assert!(labels.contains("$$(SECRET) $$$$ ") && labels.ends_with(r#"'\"; rm -rf /"}"#), "{labels}");
        assert_eq!(literal("a\0$(X)"), "a$$(X)");
    }

    #[test]
    fn what_is_passed_is_bounded_and_stays_json() {
        let map = (0..64).map(|n| (format!("{n:02}"), "\u{1}".repeat(1024))).collect();
        let text = json(&map);
        assert!(text.len() <= MAX_JSON, "{}", text.len());
        assert!(!serde_json::from_str::<BTreeMap<String, String>>(&text).unwrap().is_empty());
    }

    #[test]
    fn a_job_is_under_way_until_it_says_how_it_ended() {
        let run = run("why");
        let at = |seconds: i64| Timestamp::from_second(1_000_000 + seconds).unwrap();
        let told = |conditions: serde_json::Value, seconds| {
            let mut job = made(&run);
            job.status = serde_json::from_value(json!({"active": 1, "conditions": conditions})).unwrap();
            standing(&job, &step(), &run, 0, at(0), at(seconds))
        };
        assert!(
            matches!(told(json!([]), 10), Standing::Errand(Errand::Underway(words)) if words.contains("1 pods active"))
        );
        let complete =
            json!([{"type": "SuccessCriteriaMet", "status": "True"}, {"type": "Complete", "status": "True"}]);
        assert!(matches!(told(complete, 10), Standing::Errand(Errand::Done { .. })));
        let failed =
            json!([{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "too often"}]);
        let Standing::Failed(words) = told(failed, 10) else { panic!("failed") };
        assert!(words.ends_with("failed: BackoffLimitExceeded: too often"), "{words}");
        assert!(matches!(told(json!([]), 421), Standing::Failed(words) if words.contains("within 5m")));
    }

    #[test]
    fn a_job_of_somebody_else_is_left_alone_and_a_deleted_one_is_not_made_again() {
        let mut run = run("why");
        let (mut job, now) = (made(&run), Timestamp::UNIX_EPOCH);
        let intent = JobIntent { name: job.name_any() };
        assert!(!was_seen(&run, 0, &intent));
        let Standing::Errand(Errand::Underway(words)) = standing(&job, &step(), &run, 0, now, now) else {
            panic!("open")
        };
        run.status =
            serde_json::from_value(json!({"steps": [{"name": "job", "state": "Intended", "message": words}]})).unwrap();
        assert!(was_seen(&run, 0, &intent));
        job.annotations_mut().remove(MARK);
        assert!(
            matches!(standing(&job, &step(), &run, 0, now, now), Standing::Failed(words) if words.contains("already"))
        );
    }
}
