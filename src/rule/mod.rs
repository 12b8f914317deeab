//! AlertRule -> rule groups in shards -> confirmed by Prometheus itself.

pub mod shards;
