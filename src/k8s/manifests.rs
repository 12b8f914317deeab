//! The children of one owner, typed. Building yields `Manifests<Built>`; only the writer can turn that into
//! `Manifests<Applied>`, and only an Applied one can become a status.

use std::marker::PhantomData;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleBinding};

use super::gateway::HTTPRoute;

/// Marker: made by a builder, not yet in the cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Built;
/// Marker: as the API server answered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Applied;

/// A new kind is a new field here; `apply` and `for_each` do not compile until they handle it.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifests<State> {
    pub service_accounts: Vec<ServiceAccount>,
    pub role_bindings: Vec<RoleBinding>,
    pub cluster_role_bindings: Vec<ClusterRoleBinding>,
    pub secrets: Vec<Secret>,
    pub config_maps: Vec<ConfigMap>,
    pub services: Vec<Service>,
    pub stateful_sets: Vec<StatefulSet>,
    pub daemon_sets: Vec<DaemonSet>,
    pub deployments: Vec<Deployment>,
    pub pod_disruption_budgets: Vec<PodDisruptionBudget>,
    pub ingresses: Vec<Ingress>,
    pub http_routes: Vec<HTTPRoute>,
    pub state: PhantomData<State>,
}

impl<State> Default for Manifests<State> {
    fn default() -> Self {
        Self {
            service_accounts: vec![],
            role_bindings: vec![],
            cluster_role_bindings: vec![],
            secrets: vec![],
            config_maps: vec![],
            services: vec![],
            stateful_sets: vec![],
            daemon_sets: vec![],
            deployments: vec![],
            pod_disruption_budgets: vec![],
            ingresses: vec![],
            http_routes: vec![],
            state: PhantomData,
        }
    }
}

impl Manifests<Built> {
    /// Adds everything of `other`.
    pub fn extend(&mut self, other: Self) {
        let Self {
            service_accounts,
            role_bindings,
            cluster_role_bindings,
            secrets,
            config_maps,
            services,
            stateful_sets,
            daemon_sets,
            deployments,
            pod_disruption_budgets,
            ingresses,
            http_routes,
            state: _,
        } = other;
        self.service_accounts.extend(service_accounts);
        self.role_bindings.extend(role_bindings);
        self.cluster_role_bindings.extend(cluster_role_bindings);
        self.secrets.extend(secrets);
        self.config_maps.extend(config_maps);
        self.services.extend(services);
        self.stateful_sets.extend(stateful_sets);
        self.daemon_sets.extend(daemon_sets);
        self.deployments.extend(deployments);
        self.pod_disruption_budgets.extend(pod_disruption_budgets);
        self.ingresses.extend(ingresses);
        self.http_routes.extend(http_routes);
    }
}
