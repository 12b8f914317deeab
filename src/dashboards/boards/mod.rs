//! The dashboards, one file each. Each one is a function from the parts of a stack to the dashboard. Pure.

pub mod business;
pub mod database;
pub mod logs;
pub mod node;
pub mod operator;
pub mod overview;
pub mod security;
pub mod slo;
pub mod stack;
mod stack_logs;
pub mod workloads;
