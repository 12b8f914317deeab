//! Where messages go: what Alertmanager sends for a channel, and what the operator sends itself.

pub mod channel;
pub mod deliver;
pub mod receivers;
