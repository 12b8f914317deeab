//! Grafana: the objects that run it. Pure.

use crate::stack::build::{BuildError, Plan};
use crate::stack::validate::Stack;
use crate::stack::validate::grafana::Grafana;

/// Adds the objects of Grafana to `plan`.
pub fn build(_stack: &Stack, _grafana: &Grafana, _plan: &mut Plan) -> Result<(), BuildError> {
    Ok(())
}
