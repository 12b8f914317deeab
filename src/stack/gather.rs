//! What a stack needs to know of its surroundings: the only reads before something is written.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Namespace, PersistentVolumeClaim, Secret};
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};

use super::discovery;
use super::gather_around::around;
use super::names::{ROTATE_TOKEN, receiver_token};
use super::routes::Secrets;
use super::storage::{self, Claim};
use super::token::Tokens;
use super::validate::{Home, Known};
use crate::api::monitoring_stack::{MonitoringStackSpec, RemoteWrite};
use crate::api::{MonitoringStack, NotificationChannel};
use crate::context::Context;
use crate::hidden::Hidden;
use crate::k8s::meta::Owner;
use crate::k8s::report::{self, Reportable};

#[derive(Debug, thiserror::Error)]
#[error("cannot read {what}: {}", report::words(.error))]
pub struct GatherError {
    what: String,
    error: Box<kube::Error>,
}

impl Reportable for GatherError {
    fn reason(&self) -> &'static str {
        "ApiError"
    }
}

pub(super) fn error(what: impl Into<String>) -> impl FnOnce(kube::Error) -> GatherError {
    let what = what.into();
    |error| GatherError { what, error: Box::new(error) }
}

/// Reads the surroundings of `stack`, whose children belong to `owner`.
pub async fn gather(context: &Context, stack: &MonitoringStack, owner: Owner) -> Result<(Home, Known), GatherError> {
    let (client, spec) = (&context.client, &stack.spec);
    let channels = match &spec.alertmanager {
        Some(_) => channels(client, &owner.namespace).await?,
        None => vec![],
    };
    let secrets = secrets(client, &owner.namespace, referenced(spec, &channels)).await?;
    let namespaces = match discovery::follows_namespaces(spec.discovery.as_ref()) {
        true => namespaces(client).await?,
        false => vec![],
    };
    let (mut claims, mut sizes) = (BTreeMap::new(), BTreeMap::new());
    // Without a wish for storage there is nothing to compare.
    for (component, _) in storage::chosen(spec) {
        claims.insert(component.to_owned(), claims_of(client, &owner, component).await?);
        sizes.extend(template_size(client, &owner, component).await?.map(|size| (component.to_owned(), size)));
    }
    let token = receiver_token(&owner.name);
    let tokens = match &spec.alertmanager {
        Some(_) => secret(client, &owner.namespace, &token).await?.as_ref().and_then(Tokens::of),
        None => None,
    };
    let fresh_token = Hidden::hex(&rand::random::<[u8; 32]>());
    let around = around(client, spec, &owner).await?;
    let home = Home {
        owner,
        receiver_url: context.settings.receiver_url.clone(),
        cluster_role_prefix: context.settings.cluster_role_prefix.clone(),
        rotation: stack.annotations().get(ROTATE_TOKEN).cloned(),
    };
    Ok((home, Known { channels, secrets, namespaces, claims, sizes, tokens, fresh_token, around }))
}

async fn channels(client: &Client, namespace: &str) -> Result<Vec<NotificationChannel>, GatherError> {
    let api = Api::<NotificationChannel>::namespaced(client.clone(), namespace);
    let list = api.list(&ListParams::default()).await.map_err(error(format!("NotificationChannels of {namespace}")))?;
    Ok(list.items)
}

/// Names of the Secrets that the channels in use, the remote writes, the stores of Loki and Jaeger, Grafana and exporters refer to.
fn referenced(spec: &MonitoringStackSpec, channels: &[NotificationChannel]) -> BTreeSet<String> {
    let alertmanager = spec.alertmanager.iter();
    let used: BTreeSet<&str> = alertmanager
        .flat_map(|a| a.routes.iter().map(|r| r.channel.as_str()).chain(a.default_channel.as_deref()))
        .collect();
    let of_channels =
        channels.iter().filter(|c| used.contains(c.name_any().as_str())).flat_map(|c| c.spec.routed_secret_refs());
    let remotes = spec.prometheus.iter().flat_map(|p| p.remote_write.iter().flat_map(RemoteWrite::secret_refs));
    let traces = spec.jaeger.iter().flat_map(|j| j.outside()).flat_map(|(_, store)| store.secret_refs());
    let of_grafana = spec.grafana.iter().flat_map(|g| g.admin_secret_ref.iter().chain(&g.oauth_secret_ref));
    let of_loki = spec.loki.iter().flat_map(|loki| loki.secret_refs());
    let of_exporters = spec.exporters.iter().flat_map(|exporters| exporters.secret_refs());
    let keys = of_channels.chain(remotes).chain(traces).chain(of_loki).map(|(_, reference)| reference.name.clone());
    let keys = keys.chain(of_exporters.map(|(_, reference)| reference.name.clone()));
    let switch = spec.alertmanager.iter().filter_map(|a| a.dead_mans_switch.as_ref()?.url_secret_ref.as_ref());
    let keys = keys.chain(switch.map(|reference| reference.name.clone()));
    keys.chain(of_grafana.map(|secret| secret.name.clone())).collect()
}

/// The keys of the Secrets that exist; their values are dropped at once.
pub async fn secrets(client: &Client, namespace: &str, wanted: BTreeSet<String>) -> Result<Secrets, GatherError> {
    let mut known = BTreeMap::new();
    for name in wanted {
        if let Some(secret) = secret(client, namespace, &name).await? {
            known.insert(name, secret.data.unwrap_or_default().into_keys().collect());
        }
    }
    Ok(Secrets::Known(known))
}

pub(super) async fn secret(client: &Client, namespace: &str, name: &str) -> Result<Option<Secret>, GatherError> {
    let api = Api::<Secret>::namespaced(client.clone(), namespace);
    api.get_opt(name).await.map_err(error(format!("Secret {namespace}/{name}")))
}

async fn namespaces(client: &Client) -> Result<Vec<(String, BTreeMap<String, String>)>, GatherError> {
    let api = Api::<Namespace>::all(client.clone());
    let list = api.list_metadata(&ListParams::default()).await.map_err(error("namespaces"))?;
    Ok(list.items.into_iter().map(|n| (n.name_any(), n.metadata.labels.unwrap_or_default())).collect())
}

async fn claims_of(client: &Client, owner: &Owner, component: &str) -> Result<Vec<Claim>, GatherError> {
    let api = Api::<PersistentVolumeClaim>::namespaced(client.clone(), &owner.namespace);
    let what = format!("PersistentVolumeClaims of {component}");
    let list = api.list(&selected(owner, component)).await.map_err(error(what))?;
    let living = list.items.iter().filter(|c| c.metadata.deletion_timestamp.is_none());
    // Labels alone could be somebody else's.
    let prefix = format!("{}-{}-{component}", storage::VOLUME, owner.name);
    Ok(living.filter(|c| c.name_any().starts_with(&prefix)).filter_map(Claim::of).collect())
}

/// The size in the claim template of the component's live StatefulSets.
async fn template_size(
    client: &Client,
    owner: &Owner,
    component: &str,
) -> Result<Option<k8s_openapi::apimachinery::pkg::api::resource::Quantity>, GatherError> {
    let api = Api::<StatefulSet>::namespaced(client.clone(), &owner.namespace);
    let list = api.list(&selected(owner, component)).await.map_err(error(format!("StatefulSets of {component}")))?;
    let templates = list.items.into_iter().filter_map(|set| set.spec?.volume_claim_templates);
    let mut sizes = templates.flatten().filter_map(|t| t.spec?.resources?.requests?.remove("storage"));
    Ok(sizes.next())
}

fn selected(owner: &Owner, component: &str) -> ListParams {
    let labels: Vec<String> = owner.selector(component).iter().map(|(k, v)| format!("{k}={v}")).collect();
    ListParams::default().labels(&labels.join(","))
}
