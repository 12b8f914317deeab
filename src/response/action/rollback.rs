//! Back to the template of an earlier revision: an explicit one, on evidence, never one that this episode left.

use jiff::Timestamp;
use kube::ResourceExt;

use super::evidence::{Unsupported, past, support};
use super::{Act, Change, Operation, Patched, Plan, Probe, delete_pod, gitops, is_marked, left, restart};
use crate::api::alert_response::{Gitops, Rollback, RollbackTo};
use crate::api::response_run::{Intent, PodRef, ResponseRun, RollbackIntent, StepState};
use crate::k8s::workload::{History, Object, Revision, Since, gitops_owner, least_seconds_to_available, pods, rollout};
use crate::response::episode::is_over;
use crate::response::facts::Workload;
use crate::response::guard::short;

/// Chooses the revision. `others` are the runs of the namespace, which tell what was left before.
pub fn plan(step: &Rollback, run: &ResponseRun, workload: &Workload, others: &[ResponseRun], now: Timestamp) -> Plan {
    let kept_elsewhere = kept_elsewhere(run.spec.guardrails.gitops, &workload.object);
    // An update can be aborted whoever keeps the template.
    let is_under_way = matches!(&workload.object, Object::Rollout(rollout) if rollout::is_under_way(rollout));
    let template_kept = kept_elsewhere.clone().filter(|_| !is_under_way);
    if let Some(why) = impossible(&workload.object).or(template_kept) {
        return Plan::Refuse(why);
    }
    let Some(destination) = step.destination() else {
        return Plan::Refuse("rollback.to is neither lastHealthy nor previous nor the number of a revision".into());
    };
    let history = match workload.history() {
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
    let left = Left::of(run, others);
    let stable = stable(&history, destination, workload);
    if let (None, Some(why)) = (stable, kept_elsewhere) {
        return Plan::Refuse(why);
    }
    let chosen = match (stable, destination) {
        (Some(stable), RollbackTo::LastHealthy | RollbackTo::Previous) => {
            unobjectionable(&history, stable, destination, &left, &workload.object)
        }
        _ => choose(&history, destination, &left, &workload.object),
    };
    let to = match chosen {
        Ok(to) => to,
        Err(why) => return Plan::Refuse(why),
    };
    let mut evidence = match supported {
        Ok(evidence) => vec![evidence],
        Err(Unsupported::Condition(why) | Unsupported::Evidence(why)) => return Plan::Refuse(why),
    };
    evidence.push(past(&history, to, now));
    evidence.push("ConfigMaps and Secrets that the pods read do not go back with the template".into());
    let delete_pods = stuck(workload, to);
    if !delete_pods.is_empty() {
        evidence.push(format!(
            "{} would wait for {} to be ready, so that they are deleted",
            workload.object.title(),
            delete_pod::names(&delete_pods)
        ));
    }
    let abort = stable.is_some();
    if abort {
        evidence.push("the template stays: change it at the source, or the next change of it begins anew".into());
    }
    let intent = RollbackIntent {
        from_revision: present.number,
        from_object: present.object.clone(),
        from_images: present.images(),
        to_revision: to.number,
        to_object: to.object.clone(),
        to_images: to.images(),
        abort,
        delete_pods,
    };
    let reference = workload.object.reference();
    let summary = match abort {
        true => format!("abort the update of {reference} to {}, back to {}", present.title(), to.title()),
        false => format!("roll back {reference} from {} to {}", present.title(), to.title()),
    };
    Plan::Do { intent: Intent { rollback: Some(intent), ..Intent::default() }, evidence, summary }
}

/// Why another template would not help this workload, whichever it is.
fn impossible(object: &Object) -> Option<String> {
    let title = object.title();
    if let Object::Node(_) = object {
        return Some(format!("{title} has no template to go back to"));
    }
    if object.is_paused() {
        let resume = restart::resume(object);
        return Some(format!("{title} is paused: a template would not roll out; {resume} ends that"));
    }
    if object.updates_on_delete() {
        return Some(format!(
            "{title} has updateStrategy OnDelete: its pods would keep the template that they have until they are deleted"
        ));
    }
    None
}

/// Why another template would not stay: it is kept somewhere else.
fn kept_elsewhere(git: Gitops, object: &Object) -> Option<String> {
    let title = object.title();
    if let Some(why) = gitops::refusal(git, gitops_owner(object.metadata()), &title) {
        return Some(why);
    }
    let Object::Rollout(rollout) = object else { return None };
    let by = rollout.spec.workload_ref.as_ref()?;
    Some(format!("{title} takes its template from {} {}: roll that back", by.kind, by.name))
}

/// Where a Rollout in the middle of an update goes back to by being aborted: the revision that was promoted last, unless
/// the author names another one.
fn stable<'a>(history: &'a History, destination: RollbackTo, workload: &Workload) -> Option<&'a Revision> {
    let Object::Rollout(object) = &workload.object else { return None };
    let name = rollout::stable(object, &workload.replica_sets).filter(|_| rollout::is_under_way(object))?;
    let stable = history.revisions.iter().find(|r| r.object == name)?;
    match destination {
        RollbackTo::Revision(number) if number != stable.number => None,
        RollbackTo::Revision(_) | RollbackTo::LastHealthy | RollbackTo::Previous => Some(stable),
    }
}

fn unobjectionable<'a>(
    history: &History,
    revision: &'a Revision,
    destination: RollbackTo,
    left: &Left,
    object: &Object,
) -> Result<&'a Revision, String> {
    match objection(history, revision, destination, left, object) {
        Some(why) => Err(format!("aborting would go back to {}, which {why}", revision.title())),
        None => Ok(revision),
    }
}

/// Pods that a StatefulSet would wait for in vain: not ready, and of another revision than that which is gone back to.
fn stuck(workload: &Workload, to: &Revision) -> Vec<PodRef> {
    let object = &workload.object;
    if !object.is_ordered() {
        return vec![];
    }
    let own = workload.pods.iter().filter(|pod| pods::is_controlled(pod, object, &workload.replica_sets));
    let stuck = own.filter(|pod| {
        !pods::is_ready(pod) && !pods::is_terminating(pod) && !pods::is_of_revision(pod, object, &to.object)
    });
    stuck.filter_map(delete_pod::reference).collect()
}

/// ReplicaSets and ControllerRevisions that runs rolled back from. They keep their names when their revision gets another
/// number.
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
            rolled_back_from(other).into_iter().map(move |object| (object, name.clone())).collect::<Vec<_>>()
        };
        Self { now, ever: others.iter().filter(same).flat_map(of).collect() }
    }

    fn by(&self, revision: &Revision) -> Option<&str> {
        self.ever.iter().find(|(object, _)| *object == revision.object).map(|(_, run)| run.as_str())
    }
}

fn rolled_back_from(run: &ResponseRun) -> Vec<String> {
    let steps = run.status.iter().flat_map(|s| &s.steps).filter(|s| s.state == StepState::Done);
    steps.filter_map(|s| Some(s.intent.as_ref()?.rollback.as_ref()?.from_object.clone())).collect()
}

fn choose<'a>(
    history: &'a History,
    destination: RollbackTo,
    left: &Left,
    object: &Object,
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
        } else if left.now.contains(&to.object) {
            Err(format!("{} was left by a rollback while this alert was firing", to.title()))
        } else {
            Ok(to)
        };
    }
    let mut passed_over = vec![];
    let mut candidates = vec![];
    for revision in history.before() {
        match objection(history, revision, destination, left, object) {
            Some(why) => passed_over.push(format!("{} {why}", revision.title())),
            None => candidates.push(revision),
        }
    }
    // Pods of it that are available at this moment are the best proof of health there is.
    let serving = candidates.iter().find(|r| destination == RollbackTo::LastHealthy && r.available > 0);
    serving.or(candidates.first()).copied().ok_or_else(|| {
        let limit = object.history_limit();
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
    object: &Object,
) -> Option<String> {
    if revision.same_release(history.present()) {
        return Some("has the same template as the present one".into());
    }
    if left.now.contains(&revision.object) {
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
    let needed = least_seconds_to_available(object, &revision.template);
    match (history.began(revision), history.ended(revision)) {
        (Since::At(began), Some(ended)) if ended.duration_since(began).as_secs() < needed => Some(format!(
            "was replaced after {}, before its pods could be available (at least {needed} s)",
            short(ended.duration_since(began))
        )),
        _ => None,
    }
}

/// The template that is there says whether it was done, the mark says that it was even if the template changed since.
pub fn probe(intent: &RollbackIntent, workload: &Workload, mark: &str) -> Probe {
    let object = &workload.object;
    let done = || Probe::Done(effect(intent, object));
    if let (true, Object::Rollout(rollout)) = (intent.abort, object)
        && rollout::is_aborted(rollout)
    {
        return done();
    }
    let history = workload.history();
    if is_reverted(intent, workload, mark) {
        return match left(&intent.delete_pods, workload).next() {
            Some(_) => Probe::NotDone,
            None => done(),
        };
    }
    // Without the controller's view the present template cannot be told; the resourceVersion still guards the patch.
    let Ok(history) = history else { return Probe::NotDone };
    let present = history.present();
    if present.object != intent.from_object {
        return Probe::Lost(format!("somebody else changed the template meanwhile: now {}", present.title()));
    }
    match object {
        Object::Rollout(rollout) if intent.abort && !rollout::is_under_way(rollout) => {
            Probe::Lost(format!("{} was promoted meanwhile", present.title()))
        }
        _ => Probe::NotDone,
    }
}

fn is_reverted(intent: &RollbackIntent, workload: &Workload, mark: &str) -> bool {
    is_marked(workload.object.metadata(), mark)
        || workload.history().is_ok_and(|history| history.present().object == intent.to_object)
}

fn effect(intent: &RollbackIntent, object: &Object) -> String {
    let (reference, from, to) = (object.reference(), intent.from_revision, intent.to_revision);
    let deleted = match intent.delete_pods.as_slice() {
        [] => String::new(),
        pods => format!(" and deleted {}", delete_pod::names(pods)),
    };
    match intent.abort {
        true => format!("aborted the update of {reference} to revision {from}, back to {to}"),
        false => format!("rolled back {reference} from revision {from} to {to}{deleted}"),
    }
}

/// The template alone: neither annotations nor replicas go back.
pub fn change(intent: &RollbackIntent, workload: &Workload, mark: &str) -> Result<Change, String> {
    let object = &workload.object;
    let (metadata, name) = (object.metadata(), object.name().to_owned());
    let effect = effect(intent, object);
    if intent.abort {
        // Metadata is not written together with a status: the abort itself is what is looked for afterwards.
        let operations = vec![Operation::unchanged(metadata), Operation::add("/status/abort", true.into())];
        return Ok(Change::patch(Patched::RolloutStatus(name), operations, effect));
    }
    let mut acts = vec![];
    if !is_reverted(intent, workload, mark) {
        let history = workload.history().map_err(|e| e.to_string())?;
        let to = history
            .revisions
            .iter()
            .find(|r| r.object == intent.to_object)
            .ok_or_else(|| format!("{} of revision {} is gone", intent.to_object, intent.to_revision))?;
        let template = serde_json::to_value(&to.template).map_err(|e| e.to_string())?;
        let operations = vec![
            Operation::unchanged(metadata),
            Operation::replace("/spec/template", template),
            Operation::marked(metadata, mark),
        ];
        acts.push(Act::Patch { object: Patched::workload(object), operations });
    }
    let pods: Vec<_> = left(&intent.delete_pods, workload).cloned().map(Act::DeletePod).collect();
    if !pods.is_empty() {
        acts.push(Act::AwaitStatefulSet(name));
        acts.extend(pods);
    }
    Ok(Change { acts, effect })
}
