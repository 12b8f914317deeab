//! AlertRules with `source: logs`: rule groups in files -> loaded by Loki's ruler -> confirmed by Loki itself. A small
//! pipeline beside that of Prometheus, with its words and its status: there are few of these rules, so everything is
//! worked out anew whenever something changes.
//!
//! Nothing here parses LogQL. Before an expression is shipped a Loki of the stack is asked whether it parses: one that
//! does not would keep Loki from loading any rule.

pub mod files;
pub mod keeper;
pub mod memory;
pub mod pod;
pub mod verdict;
