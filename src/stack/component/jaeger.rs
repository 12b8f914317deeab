//! Jaeger: the objects that run it. Pure.

use crate::stack::build::{BuildError, Plan};
use crate::stack::validate::Stack;
use crate::stack::validate::jaeger::Jaeger;

/// Adds the objects of Jaeger to `plan`.
pub fn build(_stack: &Stack, _jaeger: &Jaeger, _plan: &mut Plan) -> Result<(), BuildError> {
    Ok(())
}
