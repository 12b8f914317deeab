//! AlertRule -> rule groups in shards -> confirmed by Prometheus itself; of rules over logs by Loki.

pub mod baseline;
pub mod compile;
pub mod feed;
pub mod group;
mod hoist;
pub mod index;
pub mod io;
pub mod life;
pub mod link;
pub mod loader;
pub mod logs;
pub mod packing;
pub mod promql;
pub mod quarantine;
pub mod rounds;
pub mod series;
pub mod shards;
pub mod status;
pub mod template;
pub mod test_job;
pub mod tester;
pub mod unit_test;
pub mod watch;
pub mod yaml;
pub use compile::{Refusal, groups, render};
