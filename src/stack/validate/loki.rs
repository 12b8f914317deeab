//! What may be written about Loki. Pure.

use super::{Known, Problem, Refused};
use crate::api::monitoring_stack::LokiSpec;
use crate::stack::names::LOKI;
use crate::stack::storage::Data;

/// Loki, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Loki {
    pub spec: LokiSpec,
    pub data: Data,
    /// Claims to be asked for the size in `data`.
    pub grow: Vec<String>,
}

/// The checked part; what is wrong and can be left out goes to `problems`.
pub fn check(spec: &LokiSpec, known: &Known, problems: &mut Vec<Problem>) -> Result<Loki, Refused> {
    let (data, grow) = super::check_storage(LOKI, Data::of(spec.storage.as_ref()), known, problems);
    Ok(Loki { spec: spec.clone(), data, grow })
}
