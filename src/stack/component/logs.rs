//! collecting logs: the objects that run it. Pure.

use crate::stack::build::{BuildError, Plan};
use crate::stack::validate::Stack;
use crate::stack::validate::logs::Logs;

/// Adds the objects of collecting logs to `plan`.
pub fn build(_stack: &Stack, _logs: &Logs, _plan: &mut Plan) -> Result<(), BuildError> {
    Ok(())
}
