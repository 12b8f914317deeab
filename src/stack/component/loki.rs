//! Loki: the objects that run it. Pure.

use crate::stack::build::{BuildError, Plan};
use crate::stack::validate::Stack;
use crate::stack::validate::loki::Loki;

/// Adds the objects of Loki to `plan`.
pub fn build(_stack: &Stack, _loki: &Loki, _plan: &mut Plan) -> Result<(), BuildError> {
    Ok(())
}
