//! AlertRule -> rule groups in shards -> confirmed by Prometheus itself.

pub mod compile;
pub mod group;
pub mod index;
pub mod packing;
pub mod promql;
pub mod quarantine;
pub mod shards;
pub mod status;
pub mod template;
pub mod yaml;
pub use compile::{Refusal, render};
