//! Where messages go: what Alertmanager sends for a channel, and what the operator sends itself. Pure: `message`, `receivers`,
//! and the bodies that the services' files make.

pub mod answer;
pub mod channel;
pub mod deliver;
pub mod destination;
pub mod email;
pub mod error;
pub mod github;
pub mod message;
pub mod pagerduty;
pub mod receivers;
pub mod slack;
pub mod teams;
pub mod webhook;
