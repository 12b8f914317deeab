//! Whether the API server knows every kind of ours: with the CustomResourceDefinitions of another version it may not.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResource;
use kube::{Client, Resource};

use super::report::words;
use super::retry::Retry;
use crate::api::{self, MonitoringStack};

/// Resolves once every kind of [`api::crds`] is served; says what is missing and the way out meanwhile. An operator that
/// went on could not tell a kind that is missing from one of which there is no object, and would take rules away.
pub async fn all_kinds(client: &Client) {
    let group_version = MonitoringStack::api_version(&());
    let mut said = String::new();
    for pause in Retry::default() {
        let problem = match client.list_api_group_resources(&group_version).await {
            Ok(list) => missing(&list.resources),
            Err(kube::Error::Api(status)) if status.code == 404 => missing(&[]),
            Err(error) => Some(format!("cannot ask the API server for its kinds: {}", words(&error))),
        };
        let Some(problem) = problem else { return };
        if problem != said {
            tracing::warn!(problem, "not starting yet");
            said = problem;
        }
        tokio::time::sleep(pause).await;
    }
}

/// Whether the API server knows a kind of somebody else's.
pub async fn kind<K: Resource<DynamicType = ()>>(client: &Client) -> Result<bool, kube::Error> {
    match client.list_api_group_resources(&K::api_version(&())).await {
        Ok(list) => Ok(list.resources.iter().any(|resource| resource.name == K::plural(&()))),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
        Err(error) => Err(error),
    }
}

/// What to say of the kinds that are not among these.
fn missing(served: &[APIResource]) -> Option<String> {
    let known = |plural: &str| served.iter().any(|resource| resource.name == plural);
    let names = api::crds().into_iter().map(|crd| crd.spec.names).filter(|names| !known(&names.plural));
    let kinds: Vec<String> = names.map(|names| names.kind).collect();
    (!kinds.is_empty()).then(|| {
        format!(
            "the API server does not know {} of {}: `evenkeel crds | kubectl apply --server-side -f -`, or upgrade the chart with crds.enabled=true",
            kinds.join(", "),
            MonitoringStack::api_version(&())
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kinds_that_are_missing_are_named_with_the_way_out() {
        let served = |but: &[&str]| -> Vec<APIResource> {
            let plurals = api::crds().into_iter().map(|crd| crd.spec.names.plural);
            let plurals = plurals.filter(|plural| !but.contains(&plural.as_str()));
            plurals.map(|name| APIResource { name, ..APIResource::default() }).collect()
        };
        assert_eq!(missing(&served(&[])), None);
        let said = missing(&served(&["slos", "changefreezes"])).unwrap();
        assert!(said.contains("does not know SLO, ChangeFreeze of evenkeel.dev/v1alpha1: `evenkeel crds"), "{said}");
        // A subresource is not the resource.
        let status = [APIResource { name: "slos/status".into(), ..APIResource::default() }];
        assert!(missing(&status).unwrap().contains("SLO"));
    }
}
