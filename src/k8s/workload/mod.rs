//! What a workload and the objects around it say: which revisions there are, which of them is present, since when, and
//! whether the rollout is complete. Pure; the rules are those of kubectl and of the controllers. One file a kind.

mod daemon_set;
mod deployment;
mod node;
mod object;
pub mod pods;
mod revisions;
pub mod rollout;
mod stateful_set;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, ReplicaSet};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

pub use object::Object;
pub use rollout::Rollout;

/// Written by `kubectl rollout restart`: a template that differs only here is the same release.
pub const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

/// One revision of a workload: a ReplicaSet, or a ControllerRevision.
#[derive(Clone, Debug, PartialEq)]
pub struct Revision {
    pub number: i64,
    /// Numbers it had before somebody went back to it, where the controller keeps them.
    pub earlier: Vec<i64>,
    /// Somebody went back to it.
    pub revived: bool,
    /// Name of the ReplicaSet or ControllerRevision.
    pub object: String,
    /// As the workload had it: without the label that the controller adds.
    pub template: PodTemplateSpec,
    /// When the object was created; for a revived one that is when its first life began.
    pub created: Option<Timestamp>,
    /// Pods that are available now.
    pub available: i32,
}

impl Revision {
    /// Same release: equal but for a restart.
    pub fn same_release(&self, other: &Self) -> bool {
        without_restart(&self.template) == without_restart(&other.template)
    }

    pub fn images(&self) -> Vec<String> {
        let spec = self.template.spec.as_ref();
        spec.map(|s| s.containers.iter().filter_map(|c| c.image.clone()).collect()).unwrap_or_default()
    }

    /// `revision 14 (image shop:2)`.
    pub fn title(&self) -> String {
        let images = self.images();
        match images.as_slice() {
            [] => format!("revision {}", self.number),
            [image] => format!("revision {} (image {image})", self.number),
            _ => format!("revision {} (images {})", self.number, images.join(", ")),
        }
    }
}

/// Why the present revision cannot be told yet. All pass by themselves when the workload's controller works.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsettled {
    #[error("the controller of {title} has seen generation {observed}, and it is at generation {generation}")]
    Behind { title: String, generation: i64, observed: i64 },
    #[error("{title} has no {object} for its present template yet")]
    NoRevision { title: String, object: &'static str },
    #[error("{title} has no revisions")]
    NoHistory { title: String },
}

/// The revisions of a workload, oldest first, and which of them is present.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    pub revisions: Vec<Revision>,
    present: usize,
}

impl History {
    /// From the ReplicaSets or ControllerRevisions that the workload controls; others, and those without a number, are
    /// left out. `pods` tell how many of each revision of a StatefulSet or DaemonSet are available.
    pub fn of(
        object: &Object,
        replica_sets: &[ReplicaSet],
        revisions: &[ControllerRevision],
        pods: &[Pod],
    ) -> Result<Self, Unsettled> {
        let (generation, observed) = object.generations();
        if observed < generation {
            return Err(Unsettled::Behind { title: object.title(), generation, observed });
        }
        match object {
            Object::Deployment(deployment) => deployment::history(object, deployment, replica_sets),
            Object::Rollout(rollout) => rollout::history(object, rollout, replica_sets),
            Object::StatefulSet(set) => {
                let name = set.status.as_ref().and_then(|s| s.update_revision.clone());
                let is_present = |r: &Revision| Some(&r.object) == name.as_ref();
                Self::with(object, "ControllerRevision", revisions::revisions(object, revisions, pods), is_present)
            }
            Object::DaemonSet(set) => {
                let template = set.spec.as_ref().map(|s| normal(&s.template)).unwrap_or_default();
                let is_present = |r: &Revision| r.template == template;
                Self::with(object, "ControllerRevision", revisions::revisions(object, revisions, pods), is_present)
            }
            Object::Node(_) => Err(Unsettled::NoHistory { title: object.title() }),
        }
    }

    fn with(
        object: &Object,
        kind: &'static str,
        mut revisions: Vec<Revision>,
        is_present: impl Fn(&Revision) -> bool,
    ) -> Result<Self, Unsettled> {
        revisions.sort_by(|a, b| (a.number, &a.object).cmp(&(b.number, &b.object)));
        let present = revisions.iter().rposition(is_present);
        // The controller has yet to give a revision that is gone back to its new, highest number.
        match present.filter(|p| *p + 1 == revisions.len()) {
            Some(present) => Ok(Self { revisions, present }),
            None => Err(Unsettled::NoRevision { title: object.title(), object: kind }),
        }
    }

    pub fn present(&self) -> &Revision {
        &self.revisions[self.present]
    }

    /// Revisions before the present one, latest first.
    pub fn before(&self) -> impl Iterator<Item = &Revision> {
        self.revisions[..self.present].iter().rev()
    }

    pub fn find(&self, number: i64) -> Option<&Revision> {
        self.revisions.iter().find(|r| r.number == number)
    }

    /// The first of the uninterrupted run of revisions up to `revision` that hold the same release: restarts make new
    /// revisions of one release.
    fn first_of_release(&self, revision: &Revision) -> usize {
        let at = self.revisions.iter().position(|r| r == revision).unwrap_or(self.present);
        let same = self.revisions[..at].iter().rev().take_while(|r| r.same_release(revision)).count();
        at - same
    }

    /// When the release of `revision` became the workload's template.
    pub fn began(&self, revision: &Revision) -> Since {
        let first = self.first_of_release(revision);
        let begin = &self.revisions[first];
        match begin.created {
            Some(created) if !begin.revived => Since::At(created),
            // It came back after the ReplicaSet that it replaced was made; nothing in the objects says when.
            _ => Since::After(self.revisions[..first].iter().filter_map(|r| r.created).max()),
        }
    }

    /// When the release of `revision` stopped being the workload's template, if that can be told.
    pub fn ended(&self, revision: &Revision) -> Option<Timestamp> {
        let at = self.revisions.iter().position(|r| r == revision)?;
        let next = self.revisions[at + 1..].iter().find(|r| !r.same_release(revision))?;
        next.created.filter(|_| !next.revived)
    }

    /// The revisions that were gone back to over `revision`: somebody had a reason to leave it.
    pub fn undone_by<'a>(&'a self, revision: &'a Revision) -> impl Iterator<Item = &'a Revision> {
        let over = |r: &&Revision| {
            // Without its earlier numbers, its age shows that it was there before.
            let was_before = r.earlier.iter().any(|e| *e < revision.number)
                || (r.revived && r.earlier.is_empty() && r.created < revision.created);
            r.number > revision.number && was_before
        };
        self.revisions.iter().filter(over).filter(|r| !r.same_release(revision))
    }
}

/// When a release became the template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    At(Timestamp),
    /// After this, if even that is known.
    After(Option<Timestamp>),
}

/// When the latest rollout was complete, by the Progressing condition where the kind has one: an upper bound for the last
/// change of the template.
pub fn rollout_completed(object: &Object) -> Option<Timestamp> {
    match object {
        Object::Deployment(deployment) => deployment::completed(deployment),
        Object::Rollout(rollout) => rollout::completed(rollout),
        Object::StatefulSet(_) | Object::DaemonSet(_) | Object::Node(_) => None,
    }
}

/// Seconds that a pod of this template needs at the very least to become available.
pub fn least_seconds_to_available(object: &Object, template: &PodTemplateSpec) -> i64 {
    let delays = template.spec.iter().flat_map(|s| &s.containers).map(|c| {
        let ready = c.readiness_probe.as_ref().and_then(|p| p.initial_delay_seconds).unwrap_or_default();
        let startup = c.startup_probe.as_ref().and_then(|p| p.initial_delay_seconds).unwrap_or_default();
        ready.max(startup)
    });
    i64::from(object.min_ready_seconds()) + i64::from(delays.max().unwrap_or_default())
}

/// Whether a workload is as its author wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// In these words, which follow its name.
    Healthy(String),
    /// And why not.
    Unhealthy(String),
}

/// Healthy is: the controller has seen the present generation, every replica is of the present template and available,
/// and no other is left. One of 0 replicas proves nothing and is not healthy. A rollout that is paused, or that was
/// aborted, is healthy when all replicas are available, whichever template they have: it stands where it was stopped.
pub fn health(object: &Object) -> Health {
    let (generation, observed) = object.generations();
    let wanted = object.replicas();
    if observed < generation {
        return Health::Unhealthy("its latest change has not been taken up yet".into());
    }
    if wanted == 0 {
        let why = match object {
            Object::DaemonSet(_) => "no node is to run it",
            Object::Deployment(_) | Object::StatefulSet(_) | Object::Rollout(_) | Object::Node(_) => {
                "it is scaled to 0 replicas"
            }
        };
        return Health::Unhealthy(why.into());
    }
    let shortage = || {
        let available = object.available();
        (available < wanted).then(|| Health::Unhealthy(format!("{available} of {wanted} replicas are available")))
    };
    if object.is_paused() {
        let words = format!("is paused where its rollout stood, {wanted} of {wanted} available");
        return shortage().unwrap_or(Health::Healthy(words));
    }
    let (words, unsettled) = match object {
        Object::Deployment(deployment) => (None, deployment::unsettled(deployment, wanted)),
        Object::StatefulSet(set) => (None, stateful_set::unsettled(set, wanted)),
        Object::DaemonSet(set) => (None, daemon_set::unsettled(set, wanted)),
        Object::Rollout(rollout) => match rollout::is_aborted(rollout) {
            true => (Some("aborted its rollout"), rollout::abort_unsettled(rollout, wanted)),
            false => (None, rollout::unsettled(rollout)),
        },
        Object::Node(node) => return node::health(node),
    };
    match (unsettled, shortage()) {
        // Which template its replicas have comes first, what is left of an earlier one last.
        (Some(Left::Behind(why)), _) => Health::Unhealthy(why),
        (_, Some(unhealthy)) => unhealthy,
        (Some(Left::Over(why)), None) => Health::Unhealthy(why),
        (None, None) => Health::Healthy(format!("{}, {wanted} of {wanted} available", words.unwrap_or("rolled out"))),
    }
}

/// What a rollout has left to do.
enum Left {
    /// Replicas that do not have the present template yet.
    Behind(String),
    /// Replicas, or work, left over when all of the present ones are there.
    Over(String),
}

/// Who would put back what somebody else changes in this object, if it is kept in Git.
pub fn gitops_owner(metadata: &ObjectMeta) -> Option<String> {
    let label = |key: &str| metadata.labels.as_ref().and_then(|labels| labels.get(key));
    let tracking = metadata.annotations.as_ref().and_then(|a| a.get("argocd.argoproj.io/tracking-id"));
    let argo = tracking.or_else(|| label("argocd.argoproj.io/instance"));
    let flux = |key: &str| label(&format!("{key}.toolkit.fluxcd.io/name"));
    if let Some(id) = argo {
        return Some(format!("Argo CD application {}", id.split(':').next().unwrap_or(id)));
    }
    if let Some(name) = flux("kustomize") {
        return Some(format!("Flux Kustomization {name}"));
    }
    if let Some(name) = flux("helm") {
        return Some(format!("Flux HelmRelease {name}"));
    }
    // Tracking by labels can be renamed or turned off; server-side apply still says who applies.
    let managers = metadata.managed_fields.iter().flatten();
    let managers = managers.filter(|f| f.subresource.as_deref().unwrap_or("").is_empty());
    managers.filter_map(|f| f.manager.as_deref()).find_map(|manager| match manager {
        "argocd-controller" => Some("Argo CD".to_owned()),
        "kustomize-controller" | "helm-controller" => Some(format!("Flux ({manager})")),
        _ => None,
    })
}

/// Whether `child` is controlled by the object with this UID.
fn is_controlled_by(child: &ObjectMeta, uid: Option<&str>) -> bool {
    let references = child.owner_references.as_deref().unwrap_or_default();
    uid.is_some() && references.iter().any(|r| r.controller == Some(true) && Some(r.uid.as_str()) == uid)
}

/// Where the controller of ReplicaSets notes what a revision is.
struct Notes {
    /// Annotation: its number.
    number: &'static str,
    /// Annotation: numbers it had before it was revived, separated by commas.
    earlier: &'static str,
    /// Label that the controller adds to the template.
    hash: &'static str,
}

/// The revisions among these ReplicaSets.
fn of_replica_sets(object: &Object, replica_sets: &[ReplicaSet], notes: &Notes) -> Vec<Revision> {
    let own = replica_sets.iter().filter(|r| is_controlled_by(&r.metadata, object.uid()));
    own.filter_map(|replica_set| {
        let annotation = |key: &str| replica_set.metadata.annotations.as_ref().and_then(|a| a.get(key));
        let earlier = annotation(notes.earlier).map(String::as_str).unwrap_or_default();
        let earlier: Vec<_> = earlier.split(',').filter_map(|n| n.trim().parse().ok()).collect();
        let mut template = normal(replica_set.spec.as_ref()?.template.as_ref()?);
        if let Some(labels) = template.metadata.as_mut().and_then(|m| m.labels.as_mut()) {
            labels.remove(notes.hash);
        }
        Some(Revision {
            number: annotation(notes.number)?.parse().ok()?,
            revived: !earlier.is_empty(),
            earlier,
            object: replica_set.metadata.name.clone()?,
            template,
            created: replica_set.metadata.creation_timestamp.as_ref().map(|t| t.0),
            available: replica_set.status.as_ref().and_then(|s| s.available_replicas).unwrap_or_default(),
        })
    })
    .collect()
}

/// Without what is never part of what the author wrote.
fn normal(template: &PodTemplateSpec) -> PodTemplateSpec {
    let mut template = template.clone();
    if let Some(metadata) = &mut template.metadata {
        // Written by old API servers.
        metadata.creation_timestamp = None;
    }
    template
}

/// Without the trace of a restart; an empty map of annotations is the same as none.
fn without_restart(template: &PodTemplateSpec) -> PodTemplateSpec {
    let mut template = template.clone();
    if let Some(metadata) = &mut template.metadata
        && let Some(annotations) = &mut metadata.annotations
    {
        annotations.remove(RESTARTED_AT);
        if annotations.is_empty() {
            metadata.annotations = None;
        }
    }
    template
}

#[cfg(test)]
mod tests;
