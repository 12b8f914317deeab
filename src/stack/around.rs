//! What a stack needs to know of the cluster besides its own namespace. Pure.

use std::collections::BTreeSet;

use super::admin::Admin;
use super::component::grafana_dashboards::Found;
use super::storage;
use crate::api::monitoring_stack::MonitoringStackSpec;
use crate::hidden::Hidden;

/// The default is what is taken for granted without a cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Around {
    /// StorageClasses that a component names and that do not exist.
    pub missing_classes: BTreeSet<String>,
    /// A route is asked for, and the API server does not know HTTPRoutes.
    pub no_http_routes: bool,
    /// Grafana's first user, as the Secret has it.
    pub admin: Option<Admin>,
    /// A password that nobody has seen yet, in case that one is needed.
    pub fresh_password: Option<Hidden>,
    /// ConfigMaps with dashboards, of all namespaces.
    pub dashboards: Vec<Found>,
}

/// The StorageClasses that the components name.
pub fn classes(spec: &MonitoringStackSpec) -> BTreeSet<String> {
    storage::chosen(spec).filter_map(|(_, storage)| storage.storage_class_name.clone()).collect()
}
