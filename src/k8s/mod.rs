//! Reading and writing Kubernetes objects. Every child is written by `apply`, every condition is made by
//! `status`, every error passes through `report`.

pub mod apply;
pub mod cache;
pub mod drift;
pub mod gateway;
pub mod manifests;
pub mod meta;
mod recreate;
pub mod report;
pub mod retry;
pub mod served;
pub mod status;
pub mod together;
pub mod workload;

/// An object that cannot be decoded must not stall the watch of all others.
pub type Guarded<K> = kube::core::DeserializeGuard<K>;
