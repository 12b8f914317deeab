//! AlertRule -> rule groups in shards -> confirmed by Prometheus itself.

pub mod shards;
pub mod promql;
pub mod template;
pub mod yaml;
