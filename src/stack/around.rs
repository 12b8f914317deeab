//! What a stack needs to know of the cluster besides its own namespace. Pure.

use std::collections::BTreeSet;

use super::admin::Admin;
use super::component::grafana_dashboards::Found;
use crate::api::monitoring_stack::{MonitoringStackSpec, Storage};
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
    let MonitoringStackSpec { prometheus, alertmanager, loki, jaeger, grafana, .. } = spec;
    let storages: [Option<&Storage>; 5] = [
        prometheus.as_ref().and_then(|p| p.storage.as_ref()),
        alertmanager.as_ref().and_then(|a| a.storage.as_ref()),
        loki.as_ref().and_then(|l| l.storage.as_ref()),
        jaeger.as_ref().and_then(|j| j.storage.as_ref()),
        grafana.as_ref().and_then(|g| g.storage.as_ref()),
    ];
    storages.into_iter().flatten().filter_map(|storage| storage.storage_class_name.clone()).collect()
}
