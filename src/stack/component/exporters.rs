//! Exporters: the objects that run them. Pure.

use super::{blackbox, exporter_targets, kube_state, node_exporter};
use crate::stack::build::{BuildError, Part, Plan};
use crate::stack::validate::Stack;
use crate::stack::validate::exporters::Exporters;

/// Adds the objects of all exporters to `plan`.
pub fn build(stack: &Stack, exporters: &Exporters, plan: &mut Plan) -> Result<(), BuildError> {
    if let Some(wanted) = &exporters.spec.node {
        node_exporter::build(stack, wanted, plan);
    }
    if let Some(wanted) = kube_state::wanted(stack, exporters) {
        kube_state::build(stack, wanted, plan);
    }
    exporter_targets::build(stack, exporters, plan);
    if !exporters.spec.probes.is_empty() {
        blackbox::build(stack, exporters, plan)?;
    }
    Ok(())
}

/// An exporter, as the status speaks of it.
pub fn part(name: &'static str, url: String) -> Part {
    Part { name, url, storage: "none, it keeps nothing".to_owned() }
}
