//! What may be written about Grafana. Pure.

use super::{Known, Problem, Refused};
use crate::api::monitoring_stack::GrafanaSpec;
use crate::stack::names::GRAFANA;
use crate::stack::storage::Data;

/// Grafana, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Grafana {
    pub spec: GrafanaSpec,
    pub data: Data,
    /// Claims to be asked for the size in `data`.
    pub grow: Vec<String>,
}

/// The checked part; what is wrong and can be left out goes to `problems`.
pub fn check(spec: &GrafanaSpec, known: &Known, problems: &mut Vec<Problem>) -> Result<Grafana, Refused> {
    let (data, grow) = super::check_storage(GRAFANA, Data::of(spec.storage.as_ref()), known, problems);
    Ok(Grafana { spec: spec.clone(), data, grow })
}
