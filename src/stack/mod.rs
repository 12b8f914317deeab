//! MonitoringStack to Prometheus and Alertmanager: gather (the only reads) -> validate (pure) -> build (pure) ->
//! apply -> observe -> status.

pub mod admin;
pub mod apply;
pub mod around;
pub mod build;
pub mod component;
pub mod discovery;
pub mod finalize;
pub mod gather;
pub mod gather_around;
pub mod names;
pub mod observe;
pub mod observed;
pub mod pods;
pub mod reconcile;
pub mod render;
pub mod routes;
pub mod status;
pub mod storage;
pub mod token;
pub mod validate;
pub mod workloads;

pub use render::render;
