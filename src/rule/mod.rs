//! Written by its owner.

pub mod shards;
