//! What a Deployment and its ReplicaSets say: which revisions there are, which of them is present, since when, and
//! whether the rollout is complete. Pure; the rules are those of kubectl and of the Deployment controller.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use kube::ResourceExt;

/// The Deployment controller numbers ReplicaSets, and repeats the present number on the Deployment.
const REVISION: &str = "deployment.kubernetes.io/revision";
/// Numbers that a ReplicaSet had before it was revived, separated by commas.
const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// The label that the controller adds to a ReplicaSet's template.
const POD_TEMPLATE_HASH: &str = "pod-template-hash";
/// Written by `kubectl rollout restart`: a template that differs only here is the same release.
pub const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

/// One ReplicaSet of a Deployment.
#[derive(Clone, Debug, PartialEq)]
pub struct Revision {
    pub number: i64,
    /// Numbers it had before somebody went back to it.
    pub earlier: Vec<i64>,
    pub replica_set: String,
    /// As the Deployment had it: without the label that the controller adds.
    pub template: PodTemplateSpec,
    /// When the ReplicaSet was created; for a revived one that is when its first life began.
    pub created: Option<Timestamp>,
    /// Pods that are available now.
    pub available: i32,
}

impl Revision {
    /// Somebody went back to it.
    pub fn is_revived(&self) -> bool {
        !self.earlier.is_empty()
    }

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

/// Why the present revision cannot be told yet. Both pass by themselves when the Deployment controller works.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsettled {
    #[error(
        "the Deployment controller has seen generation {observed} of Deployment {name}, which is at generation {generation}"
    )]
    Behind { name: String, generation: i64, observed: i64 },
    #[error("Deployment {name} has no ReplicaSet for its present template yet")]
    NoReplicaSet { name: String },
}

/// The revisions of a Deployment, oldest first, and which of them is present.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    pub revisions: Vec<Revision>,
    present: usize,
}

impl History {
    /// From the ReplicaSets that the Deployment controls; others, and those without a number, are left out.
    pub fn of(deployment: &Deployment, replica_sets: &[ReplicaSet]) -> Result<Self, Unsettled> {
        let name = deployment.name_any();
        let generation = deployment.metadata.generation.unwrap_or_default();
        let observed = deployment.status.as_ref().and_then(|s| s.observed_generation).unwrap_or_default();
        if observed < generation {
            return Err(Unsettled::Behind { name, generation, observed });
        }
        let mut revisions: Vec<_> =
            replica_sets.iter().filter(|r| is_controlled_by(r, deployment)).filter_map(revision).collect();
        revisions.sort_by(|a, b| (a.number, &a.replica_set).cmp(&(b.number, &b.replica_set)));
        let template = deployment.spec.as_ref().map(|s| without_hash(&s.template)).unwrap_or_default();
        let present = revisions.iter().rposition(|r| r.template == template);
        // The controller has yet to give a ReplicaSet that is gone back to its new, highest number.
        match present.filter(|p| *p + 1 == revisions.len()) {
            Some(present) => Ok(Self { revisions, present }),
            None => Err(Unsettled::NoReplicaSet { name }),
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

    /// When the release of `revision` became the Deployment's template.
    pub fn began(&self, revision: &Revision) -> Since {
        let first = self.first_of_release(revision);
        let begin = &self.revisions[first];
        match begin.created {
            Some(created) if !begin.is_revived() => Since::At(created),
            // It came back after the ReplicaSet that it replaced was made; nothing in the objects says when.
            _ => Since::After(self.revisions[..first].iter().filter_map(|r| r.created).max()),
        }
    }

    /// When the release of `revision` stopped being the Deployment's template, if that can be told.
    pub fn ended(&self, revision: &Revision) -> Option<Timestamp> {
        let at = self.revisions.iter().position(|r| r == revision)?;
        let next = self.revisions[at + 1..].iter().find(|r| !r.same_release(revision))?;
        next.created.filter(|_| !next.is_revived())
    }

    /// The revisions that were gone back to over `revision`: somebody had a reason to leave it.
    pub fn undone_by<'a>(&'a self, revision: &'a Revision) -> impl Iterator<Item = &'a Revision> {
        let over = |r: &&Revision| r.number > revision.number && r.earlier.iter().any(|e| *e < revision.number);
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

/// When the latest rollout was complete, by the Deployment's Progressing condition: an upper bound for the last change
/// of the template.
pub fn rollout_completed(deployment: &Deployment) -> Option<Timestamp> {
    let conditions = deployment.status.as_ref()?.conditions.as_ref()?;
    let progressing = conditions.iter().find(|c| c.type_ == "Progressing")?;
    let complete = progressing.reason.as_deref() == Some("NewReplicaSetAvailable");
    progressing.last_update_time.as_ref().filter(|_| complete).map(|t| t.0)
}

/// Seconds that a pod of this template needs at the very least to become available.
pub fn least_seconds_to_available(deployment: &Deployment, template: &PodTemplateSpec) -> i64 {
    let min_ready = deployment.spec.as_ref().and_then(|s| s.min_ready_seconds).unwrap_or_default();
    let delays = template.spec.iter().flat_map(|s| &s.containers).map(|c| {
        let ready = c.readiness_probe.as_ref().and_then(|p| p.initial_delay_seconds).unwrap_or_default();
        let startup = c.startup_probe.as_ref().and_then(|p| p.initial_delay_seconds).unwrap_or_default();
        ready.max(startup)
    });
    i64::from(min_ready) + i64::from(delays.max().unwrap_or_default())
}

/// Whether a Deployment is rolled out completely.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// With this many replicas.
    Healthy(i32),
    /// And why not.
    Unhealthy(String),
}

/// Healthy is: the controller has seen the present generation, every replica is of the present template and available,
/// and no other is left. A Deployment of 0 replicas proves nothing and is not healthy.
pub fn health(deployment: &Deployment) -> Health {
    let wanted = deployment.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1);
    let status = deployment.status.clone().unwrap_or_default();
    let (updated, available, total) = (
        status.updated_replicas.unwrap_or_default(),
        status.available_replicas.unwrap_or_default(),
        status.replicas.unwrap_or_default(),
    );
    let unhealthy = |why: String| Health::Unhealthy(why);
    if status.observed_generation.unwrap_or_default() < deployment.metadata.generation.unwrap_or_default() {
        unhealthy("its latest change has not been taken up yet".into())
    } else if wanted == 0 {
        unhealthy("it is scaled to 0 replicas".into())
    } else if updated < wanted {
        unhealthy(format!("{updated} of {wanted} replicas have the present template"))
    } else if available < wanted {
        unhealthy(format!("{available} of {wanted} replicas are available"))
    } else if total > updated {
        unhealthy(format!("{} replicas of an earlier template are left", total - updated))
    } else {
        Health::Healthy(wanted)
    }
}

/// Who would put back what somebody else changes in this object, if it is kept in Git.
pub fn gitops_owner(deployment: &Deployment) -> Option<String> {
    let (labels, annotations) = (deployment.labels(), deployment.annotations());
    let argo = annotations.get("argocd.argoproj.io/tracking-id").or(labels.get("argocd.argoproj.io/instance"));
    let flux = |key: &str| labels.get(&format!("{key}.toolkit.fluxcd.io/name"));
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
    let managers = deployment.managed_fields().iter().filter(|f| f.subresource.as_deref().unwrap_or("").is_empty());
    managers.filter_map(|f| f.manager.as_deref()).find_map(|manager| match manager {
        "argocd-controller" => Some("Argo CD".to_owned()),
        "kustomize-controller" | "helm-controller" => Some(format!("Flux ({manager})")),
        _ => None,
    })
}

fn is_controlled_by(replica_set: &ReplicaSet, deployment: &Deployment) -> bool {
    let uid = deployment.metadata.uid.as_deref();
    uid.is_some()
        && replica_set.owner_references().iter().any(|r| r.controller == Some(true) && Some(r.uid.as_str()) == uid)
}

fn revision(replica_set: &ReplicaSet) -> Option<Revision> {
    let annotations = replica_set.annotations();
    let earlier = annotations.get(REVISION_HISTORY).map(String::as_str).unwrap_or_default();
    Some(Revision {
        number: annotations.get(REVISION)?.parse().ok()?,
        earlier: earlier.split(',').filter_map(|n| n.trim().parse().ok()).collect(),
        replica_set: replica_set.name_any(),
        template: without_hash(replica_set.spec.as_ref()?.template.as_ref()?),
        created: replica_set.metadata.creation_timestamp.as_ref().map(|t| t.0),
        available: replica_set.status.as_ref().and_then(|s| s.available_replicas).unwrap_or_default(),
    })
}

fn without_hash(template: &PodTemplateSpec) -> PodTemplateSpec {
    let mut template = template.clone();
    if let Some(metadata) = &mut template.metadata {
        // Written by old API servers, and never part of what the author wrote.
        metadata.creation_timestamp = None;
        if let Some(labels) = &mut metadata.labels {
            labels.remove(POD_TEMPLATE_HASH);
        }
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
