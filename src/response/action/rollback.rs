//! Back to the template of an earlier revision: an explicit one, on evidence, never one that this episode left.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;

use super::{Change, Object, Operation, Plan, Probe, is_marked};
use crate::api::alert_response::{Rollback, RollbackTo};
use crate::api::response_run::{Intent, ResponseRun, RollbackIntent, StepState};
use crate::k8s::workload::{History, Revision, Since, gitops_owner, least_seconds_to_available, rollout_completed};
use crate::response::episode::is_over;
use crate::response::facts::Workload;
use crate::response::guard::short;

/// Prometheus and the API server have clocks of their own, and creation times are whole seconds.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(10);

/// Chooses the revision. `others` are the runs of the namespace, which tell what was left before.
pub fn plan(step: &Rollback, run: &ResponseRun, workload: &Workload, others: &[ResponseRun], now: Timestamp) -> Plan {
    let deployment = &workload.deployment;
    let name = deployment.name_any();
    if deployment.spec.as_ref().and_then(|s| s.paused) == Some(true) {
        return Plan::Refuse(format!(
            "Deployment {name} is paused: a template would not roll out; `kubectl rollout resume deployment/{name}` ends that"
        ));
    }
    if let Some(owner) = gitops_owner(deployment) {
        return Plan::Refuse(format!(
            "Deployment {name} is kept by {owner}, which would put the change back: revert it at the source"
        ));
    }
    let Some(destination) = step.destination() else {
        return Plan::Refuse("rollback.to is neither lastHealthy nor previous nor the number of a revision".into());
    };
    let history = match History::of(deployment, &workload.replica_sets) {
        Ok(history) => history,
        Err(unsettled) => return Plan::NotYet(unsettled.to_string()),
    };
    let present = history.present();
    let onset = run.spec.alert.starts_at.as_ref().map(|t| t.0);
    let supported = support(step, &history, workload, onset);
    // The author's own condition first; then where to, since that refusal says more than a lack of evidence.
    if let Err(Unsupported::Condition(why)) = supported {
        return Plan::NotApplicable(why);
    }
    let to = match choose(&history, destination, &Left::of(run, others), workload) {
        Ok(to) => to,
        Err(why) => return Plan::Refuse(why),
    };
    let mut evidence = match supported {
        Ok(evidence) => vec![evidence],
        Err(Unsupported::Condition(why) | Unsupported::Evidence(why)) => return Plan::Refuse(why),
    };
    evidence.push(past(&history, to, now));
    evidence.push("ConfigMaps and Secrets that the pods read do not go back with the template".into());
    let intent = RollbackIntent {
        from_revision: present.number,
        from_replica_set: present.replica_set.clone(),
        from_images: present.images(),
        to_revision: to.number,
        to_replica_set: to.replica_set.clone(),
        to_images: to.images(),
    };
    let summary = format!("roll back Deployment/{name} from {} to {}", present.title(), to.title());
    Plan::Do { intent: Intent { rollback: Some(intent), ..Intent::default() }, evidence, summary }
}

/// ReplicaSets that runs rolled back from. A ReplicaSet keeps its name when its revision gets another number.
struct Left {
    /// In this episode: never again.
    now: Vec<String>,
    /// At any time that is still recorded: not healthy, as far as we know.
    ever: Vec<(String, String)>,
}

impl Left {
    fn of(run: &ResponseRun, others: &[ResponseRun]) -> Self {
        let mut now = rolled_back_from(run);
        let mut before = run.spec.follows.as_deref();
        // Back along the chain of runs of this alert, as long as it did not resolve in between.
        while let Some(previous) = before.and_then(|name| others.iter().find(|r| r.name_any() == name)) {
            if is_over(previous) {
                break;
            }
            now.extend(rolled_back_from(previous));
            before = previous.spec.follows.as_deref();
        }
        let same = |other: &&ResponseRun| {
            other.spec.target.kind == run.spec.target.kind && other.spec.target.name == run.spec.target.name
        };
        let of = |other: &ResponseRun| {
            let name = other.name_any();
            rolled_back_from(other).into_iter().map(move |replica_set| (replica_set, name.clone())).collect::<Vec<_>>()
        };
        Self { now, ever: others.iter().filter(same).flat_map(of).collect() }
    }

    fn by(&self, revision: &Revision) -> Option<&str> {
        self.ever.iter().find(|(replica_set, _)| *replica_set == revision.replica_set).map(|(_, run)| run.as_str())
    }
}

fn rolled_back_from(run: &ResponseRun) -> Vec<String> {
    let steps = run.status.iter().flat_map(|s| &s.steps).filter(|s| s.state == StepState::Done);
    steps.filter_map(|s| Some(s.intent.as_ref()?.rollback.as_ref()?.from_replica_set.clone())).collect()
}

fn choose<'a>(
    history: &'a History,
    destination: RollbackTo,
    left: &Left,
    workload: &Workload,
) -> Result<&'a Revision, String> {
    let present = history.present();
    let kept = || {
        let all: Vec<_> = history.before().map(Revision::title).collect();
        if all.is_empty() { "no earlier revision is kept".to_owned() } else { format!("kept are {}", all.join(", ")) }
    };
    if let RollbackTo::Revision(number) = destination {
        let to =
            history.find(number).ok_or_else(|| format!("revision {number} does not exist any more: {}", kept()))?;
        return if to.same_release(present) {
            Err(format!("{} has the same template as the present {}", to.title(), present.title()))
        } else if left.now.contains(&to.replica_set) {
            Err(format!("{} was left by a rollback while this alert was firing", to.title()))
        } else {
            Ok(to)
        };
    }
    let mut passed_over = vec![];
    let mut candidates = vec![];
    for revision in history.before() {
        match objection(history, revision, destination, left, &workload.deployment) {
            Some(why) => passed_over.push(format!("{} {why}", revision.title())),
            None => candidates.push(revision),
        }
    }
    // Pods of it that are available at this moment are the best proof of health there is.
    let serving = candidates.iter().find(|r| destination == RollbackTo::LastHealthy && r.available > 0);
    serving.or(candidates.first()).copied().ok_or_else(|| {
        let limit = workload.deployment.spec.as_ref().and_then(|s| s.revision_history_limit).unwrap_or(10);
        let why = if passed_over.is_empty() {
            format!("no revision before {} is kept (revisionHistoryLimit is {limit})", present.title())
        } else {
            format!("{} (revisionHistoryLimit is {limit})", passed_over.join("; "))
        };
        format!("there is no revision to go back to: {why}")
    })
}

/// Why a revision is passed over, if it is.
fn objection(
    history: &History,
    revision: &Revision,
    destination: RollbackTo,
    left: &Left,
    deployment: &Deployment,
) -> Option<String> {
    if revision.same_release(history.present()) {
        return Some("has the same template as the present one".into());
    }
    if left.now.contains(&revision.replica_set) {
        return Some("was left by a rollback while this alert was firing".into());
    }
    // Who goes back to what a run had to leave (a pipeline, say) does not thereby condemn what it left for it.
    if let Some(by) = history.undone_by(revision).find(|by| left.by(by).is_none()) {
        return Some(format!("was undone by going back to what is now revision {}", by.number));
    }
    if destination != RollbackTo::LastHealthy {
        return None;
    }
    if let Some(run) = left.by(revision) {
        return Some(format!("was left by the rollback of run {run}"));
    }
    let needed = least_seconds_to_available(deployment, &revision.template);
    match (history.began(revision), history.ended(revision)) {
        (Since::At(began), Some(ended)) if ended.duration_since(began).as_secs() < needed => Some(format!(
            "was replaced after {}, before its pods could be available (at least {needed} s)",
            short(ended.duration_since(began))
        )),
        _ => None,
    }
}

enum Unsupported {
    /// `onlyIfChangedWithin` is not met.
    Condition(String),
    /// Nothing says that the change caused the alert.
    Evidence(String),
}

/// The evidence that the present release may have caused the alert: it began before the alert did.
fn support(
    step: &Rollback,
    history: &History,
    workload: &Workload,
    onset: Option<Timestamp>,
) -> Result<String, Unsupported> {
    let present = history.present();
    let title = present.title();
    let Some(onset) = onset else {
        let why = "the alert does not say when it began".to_owned();
        return match (step.only_if_changed_within, step.without_evidence) {
            (Some(within), _) => {
                Err(Unsupported::Condition(format!("{why}: onlyIfChangedWithin {within} cannot be judged")))
            }
            (None, true) => Ok(format!("{why}; withoutEvidence waives the evidence")),
            (None, false) => Err(Unsupported::Evidence(format!("{why}: no evidence that {title} caused it"))),
        };
    };
    let (earliest, latest) = match history.began(present) {
        Since::At(began) => (Some(began), Some(began)),
        Since::After(earliest) => (earliest, rollout_completed(&workload.deployment)),
    };
    if let Some(within) = step.only_if_changed_within {
        let limit = onset.checked_sub(SignedDuration::try_from(within.0).unwrap_or(SignedDuration::MAX));
        let limit = limit.unwrap_or(Timestamp::MIN);
        match earliest {
            Some(earliest) if earliest >= limit => {}
            _ => {
                let since = latest.map_or("at a time that is not known".to_owned(), |t| format!("by {t}"));
                return Err(Unsupported::Condition(format!(
                    "{title} began {since}, and nothing shows a change within {within} before the alert's onset at {onset}"
                )));
            }
        }
    }
    let before = |t: Timestamp| {
        let ahead = onset.duration_since(t);
        if ahead.is_negative() { "as the alert began".to_owned() } else { format!("{} before the alert", short(ahead)) }
    };
    let limit = onset.checked_add(CLOCK_TOLERANCE).unwrap_or(onset);
    match (earliest, latest) {
        (Some(began), Some(latest)) if began == latest && began <= limit => {
            Ok(format!("{title} began {began}, {}", before(began)))
        }
        (_, Some(latest)) if latest <= limit => {
            Ok(format!("{title} was gone back to and complete by {latest}, {}", before(latest)))
        }
        (Some(began), _) if step.without_evidence => {
            Ok(format!("{title} began {began} or later, the alert {onset}; withoutEvidence waives the evidence"))
        }
        (None, _) if step.without_evidence => {
            Ok(format!("when {title} began is not known; withoutEvidence waives the evidence"))
        }
        (Some(began), _) if began > limit => Err(Unsupported::Evidence(format!(
            "{title} began {began}, {} after the alert's onset at {onset}: it cannot have caused it (withoutEvidence: true waives this)",
            short(began.duration_since(onset))
        ))),
        _ => Err(Unsupported::Evidence(format!(
            "nothing shows that {title} was there before the alert's onset at {onset} (withoutEvidence: true waives this)"
        ))),
    }
}

/// What is known of the revision that is gone back to.
fn past(history: &History, to: &Revision, now: Timestamp) -> String {
    let title = to.title();
    let serving =
        if to.available > 0 { format!(", and {} of its pods are available", to.available) } else { String::new() };
    match (history.began(to), history.ended(to)) {
        (Since::At(began), Some(ended)) => format!(
            "{title} was the template for {} (from {began} to {ended}){serving}",
            short(ended.duration_since(began))
        ),
        (Since::At(began), None) => {
            format!("{title} began {began}, {} ago{serving}", short(now.duration_since(began)))
        }
        (Since::After(_), _) => {
            let earlier: Vec<_> = to.earlier.iter().map(i64::to_string).collect();
            format!("{title} was gone back to before (earlier revision {}){serving}", earlier.join(", "))
        }
    }
}

/// The template that is there says whether it was done, the mark says that it was even if the template changed since.
pub fn probe(intent: &RollbackIntent, workload: &Workload, mark: &str) -> Probe {
    let deployment = &workload.deployment;
    let done = || Probe::Done(effect(intent, &deployment.name_any()));
    if is_marked(deployment, mark) {
        return done();
    }
    // Without the controller's view the present template cannot be told; the resourceVersion still guards the patch.
    let Ok(history) = History::of(deployment, &workload.replica_sets) else { return Probe::NotDone };
    let present = history.present();
    if present.replica_set == intent.to_replica_set {
        done()
    } else if present.replica_set == intent.from_replica_set {
        Probe::NotDone
    } else {
        Probe::Lost(format!("somebody else changed the template meanwhile: now {}", present.title()))
    }
}

fn effect(intent: &RollbackIntent, name: &str) -> String {
    format!("rolled back Deployment/{name} from revision {} to {}", intent.from_revision, intent.to_revision)
}

/// The template alone: neither annotations nor replicas go back.
pub fn change(intent: &RollbackIntent, workload: &Workload, mark: &str) -> Result<Change, String> {
    let deployment = &workload.deployment;
    let history = History::of(deployment, &workload.replica_sets).map_err(|e| e.to_string())?;
    let to =
        history.revisions.iter().find(|r| r.replica_set == intent.to_replica_set).ok_or_else(|| {
            format!("ReplicaSet {} of revision {} is gone", intent.to_replica_set, intent.to_revision)
        })?;
    let template = serde_json::to_value(&to.template).map_err(|e| e.to_string())?;
    let name = deployment.name_any();
    Ok(Change {
        operations: vec![
            Operation::unchanged(deployment),
            Operation::replace("/spec/template", template),
            Operation::marked(deployment, mark),
        ],
        effect: effect(intent, &name),
        object: Object::Deployment(name),
    })
}
