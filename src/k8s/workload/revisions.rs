//! ControllerRevisions: what StatefulSets and DaemonSets keep of their earlier templates.

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use serde_json::Value;

use super::{Object, Revision, is_controlled_by, normal, pods};

/// Those that the workload controls. A revision that is gone back to gets a new number, and its earlier ones are
/// forgotten; but it is older than one with a lower number.
pub fn revisions(object: &Object, all: &[ControllerRevision], of: &[Pod]) -> Vec<Revision> {
    let own: Vec<_> = all.iter().filter(|r| is_controlled_by(&r.metadata, object.uid())).collect();
    let created = |r: &ControllerRevision| r.metadata.creation_timestamp.as_ref().map(|t| t.0);
    let read = |revision: &&ControllerRevision| {
        let younger =
            |other: &&ControllerRevision| other.revision < revision.revision && created(other) > created(revision);
        let name = revision.metadata.name.clone()?;
        Some(Revision {
            number: revision.revision,
            earlier: vec![],
            revived: own.iter().any(younger),
            template: template(revision)?,
            created: created(revision),
            available: available(of, object, &name),
            object: name,
        })
    };
    own.iter().filter_map(read).collect()
}

/// The data is a strategic merge patch that replaces the template.
fn template(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    let mut template = revision.data.as_ref()?.0.pointer("/spec/template")?.clone();
    if let Value::Object(fields) = &mut template {
        fields.remove("$patch");
    }
    serde_json::from_value(template).ok().map(|template| normal(&template))
}

fn available(all: &[Pod], object: &Object, revision: &str) -> i32 {
    let own = all.iter().filter(|pod| is_controlled_by(&pod.metadata, object.uid()));
    let ready = own.filter(|pod| pods::is_of_revision(pod, object, revision) && pods::is_ready(pod)).count();
    i32::try_from(ready).unwrap_or(i32::MAX)
}
