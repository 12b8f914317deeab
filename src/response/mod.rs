//! Alert -> ResponseRun -> guards -> steps -> proof. Pure: `matcher`, `payload`, `validate`, `episode`, `guard`, `run`,
//! `verify` and what `action` decides. With a client: all else.

pub mod action;
pub mod actor;
pub mod credentials;
pub mod episode;
pub mod facts;
pub mod guard;
pub mod intake;
pub mod matcher;
pub mod news;
pub mod payload;
pub mod receive;
pub mod run;
pub mod stores;
pub mod validate;
pub mod verify;
