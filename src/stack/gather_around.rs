//! Reads what a stack needs to know of the cluster besides its own namespace. Nothing is read that nobody asked for.

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::Client;
use kube::api::{Api, ListParams};

use super::admin::Admin;
use super::around::{Around, classes};
use super::component::grafana_dashboards::Found;
use super::gather::{GatherError, error, secret};
use super::names::{DASHBOARD_LABEL, grafana_admin};
use crate::api::monitoring_stack::{GrafanaSpec, MonitoringStackSpec};
use crate::hidden::Hidden;
use crate::k8s::gateway::HTTPRoute;
use crate::k8s::meta::Owner;
use crate::k8s::served;

/// Reads it for the stack with `spec`.
pub async fn around(client: &Client, spec: &MonitoringStackSpec, owner: &Owner) -> Result<Around, GatherError> {
    let mut around = Around::default();
    let api = Api::<StorageClass>::all(client.clone());
    for class in classes(spec) {
        if api.get_metadata_opt(&class).await.map_err(error(format!("StorageClass {class}")))?.is_none() {
            around.missing_classes.insert(class);
        }
    }
    if let Some(grafana) = &spec.grafana {
        of_grafana(client, grafana, owner, &mut around).await?;
    }
    Ok(around)
}

async fn of_grafana(
    client: &Client,
    spec: &GrafanaSpec,
    owner: &Owner,
    around: &mut Around,
) -> Result<(), GatherError> {
    if spec.admin_secret_ref.is_none() {
        let name = grafana_admin(&owner.name);
        around.admin = secret(client, &owner.namespace, &name).await?.as_ref().and_then(Admin::of);
        around.fresh_password = Some(Hidden::hex(&rand::random::<[u8; 16]>()));
    }
    if spec.route.is_some() {
        around.no_http_routes =
            !served::kind::<HTTPRoute>(client).await.map_err(error("the kinds of the Gateway API"))?;
    }
    if spec.dashboards.clone().unwrap_or_default().config_maps {
        let labelled = ListParams::default().labels(DASHBOARD_LABEL);
        let list = Api::<ConfigMap>::all(client.clone()).list(&labelled).await;
        let list = list.map_err(error(format!("ConfigMaps with the label {DASHBOARD_LABEL}")))?;
        around.dashboards = list.items.iter().filter_map(Found::of).collect();
    }
    Ok(())
}
