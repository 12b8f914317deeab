//! What may be written about collecting logs. Pure.

use super::{Known, Problem, Refused};
use crate::api::monitoring_stack::LogsSpec;

/// Log collection, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Logs {
    pub spec: LogsSpec,
}

/// The checked part; what is wrong and can be left out goes to `problems`.
pub fn check(spec: &LogsSpec, _known: &Known, _problems: &mut Vec<Problem>) -> Result<Logs, Refused> {
    Ok(Logs { spec: spec.clone() })
}
