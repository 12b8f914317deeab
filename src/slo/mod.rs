//! SLO -> exact recording rules, burn rate alerts, and the arithmetic of budgets. Pure.
//!
//! `validate` makes a checked SLO of a written one, `rules` its rule groups (`indicator` the expressions that count,
//! `alerts` and `sloth` the rest), `budget` says what the recorded sums mean. The formulas are in docs/slo.md.

pub mod adjusted;
pub mod adjustment;
pub mod adjustments;
pub mod alerts;
pub mod attribution;
pub mod budget;
pub mod caches;
pub mod effects;
pub mod enforce;
pub mod excluded;
pub mod freeze;
pub mod frozen;
pub mod indicator;
pub mod judgement;
pub mod keeper;
pub mod objective;
pub mod policies;
pub mod policy;
pub mod read;
pub mod recorded;
pub mod report;
pub mod rules;
pub mod selector;
pub mod series;
pub mod sloth;
pub mod standing;
pub mod status;
pub mod told;
pub mod validate;
pub mod window;

use jiff::Timestamp;

use crate::api::SLO;
use crate::rule::yaml;
pub use validate::{Checked, Refusal};

/// A whole rule file for one SLO, or everything that is wrong with it.
/// `now` decides the period of a calendar window, and nothing else.
pub fn render(slo: &SLO, now: Timestamp) -> Result<String, Vec<Refusal>> {
    Ok(yaml::file(&rules::groups(&validate::check(slo)?, now)))
}
