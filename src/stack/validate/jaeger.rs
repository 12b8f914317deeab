//! What may be written about Jaeger. Pure.

use super::{Known, Problem, Refused};
use crate::api::monitoring_stack::JaegerSpec;
use crate::stack::names::JAEGER;
use crate::stack::storage::Data;

/// Jaeger, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Jaeger {
    pub spec: JaegerSpec,
    pub data: Data,
    /// Claims to be asked for the size in `data`.
    pub grow: Vec<String>,
}

/// The checked part; what is wrong and can be left out goes to `problems`.
pub fn check(spec: &JaegerSpec, known: &Known, problems: &mut Vec<Problem>) -> Result<Jaeger, Refused> {
    let (data, grow) = super::check_storage(JAEGER, Data::of(spec.storage.as_ref()), known, problems);
    Ok(Jaeger { spec: spec.clone(), data, grow })
}
