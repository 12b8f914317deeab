//! Alert -> ResponseRun -> guards -> steps -> proof. Pure: `matcher`, `payload`, `validate`, `episode`, `guard`, `run`,
//! `verify` and what `action` decides. With a client: all else.

pub mod matcher;
pub mod payload;
