//! MonitoringStack to Prometheus and Alertmanager: gather (the only reads) -> validate (pure) -> build (pure) ->
//! apply -> observe -> status.

pub mod build;
pub mod component;
pub mod discovery;
pub mod matchers;
pub mod names;
pub mod observed;
pub mod render;
pub mod routes;
pub mod storage;
pub mod token;
pub mod validate;

pub use render::render;
