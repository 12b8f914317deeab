//! `evenkeel report`: the report about the budgets under a policy, now, from what the API server has.

use jiff::{SignedDuration, Timestamp};
use kube::Client;
use kube::api::{Api, ListParams};
use kube::core::{NamespaceResourceScope, Resource};
use serde::de::DeserializeOwned;

use super::cluster::{ClusterError, connect, failed};
use crate::api::{BudgetAdjustment, ChangeFreeze, ErrorBudgetPolicy, ResponseRun, SLO};
use crate::k8s::Guarded;
use crate::k8s::meta::next_page;
use crate::nearest::nearest;
use crate::slo::report::{Facts, markdown};

/// Where the period begins when there was no report before: a month ago.
const PERIOD: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Objects of one page.
const PAGE: u32 = 500;

#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error("there is no ErrorBudgetPolicy {name} in namespace {namespace}{hint}")]
    Missing { namespace: String, name: String, hint: String },
}

/// The report as Markdown. `namespace`: that of the kubeconfig where it is `None`.
pub async fn report(namespace: Option<String>, name: &str, now: Timestamp) -> Result<String, ReportError> {
    let (client, namespace) = connect(namespace.as_deref()).await?;
    let policies = list::<ErrorBudgetPolicy>(&client, &namespace).await?;
    let policy = policies.iter().find(|policy| policy.metadata.name.as_deref() == Some(name));
    let policy = policy.ok_or_else(|| missing(&policies, &namespace, name))?;
    let last = policy.status.as_ref().and_then(|status| status.last_report.as_ref()).and_then(|last| last.at.as_ref());
    let month_ago = now.checked_sub(PERIOD).unwrap_or(now);
    let whole = Timestamp::from_second(now.as_second()).unwrap_or(now);
    Ok(markdown(&Facts {
        policy,
        slos: &list::<SLO>(&client, &namespace).await?,
        adjustments: &list::<BudgetAdjustment>(&client, &namespace).await?,
        freezes: &list::<ChangeFreeze>(&client, &namespace).await?,
        runs: &list::<ResponseRun>(&client, &namespace).await?,
        from: last.map_or(Timestamp::from_second(month_ago.as_second()).unwrap_or(month_ago), |last| last.0),
        to: whole,
    }))
}

fn missing(policies: &[ErrorBudgetPolicy], namespace: &str, name: &str) -> ReportError {
    let names = policies.iter().filter_map(|policy| policy.metadata.name.as_deref());
    let hint = match (nearest(names, name), policies.is_empty()) {
        (Some(meant), _) => format!("; did you mean {meant}?"),
        (None, true) => ": there is none at all".to_owned(),
        (None, false) => format!(": kubectl -n {namespace} get errorbudgetpolicies shows them"),
    };
    ReportError::Missing { namespace: namespace.to_owned(), name: name.to_owned(), hint }
}

/// All of a kind in a namespace; what cannot be decoded is left out, and said.
async fn list<K>(client: &Client, namespace: &str) -> Result<Vec<K>, ReportError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
{
    let kind = K::kind(&());
    let api = Api::<Guarded<K>>::namespaced(client.clone(), namespace);
    let (mut found, mut page) = (vec![], ListParams::default().limit(PAGE));
    loop {
        let list = api.list(&page).await;
        let list = list.map_err(|error| failed(format!("list {kind} in namespace {namespace}"), error))?;
        let next = next_page(page, &list);
        for object in list.items {
            match object.0 {
                Ok(object) => found.push(object),
                Err(invalid) => eprintln!("evenkeel: a {kind} in namespace {namespace} cannot be read: {invalid}"),
            }
        }
        match next {
            Some(next) => page = next,
            None => return Ok(found),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_that_is_not_there_is_told_with_the_one_that_was_meant() {
        let policy = |name: &str| -> ErrorBudgetPolicy {
            serde_saphyr::from_str(&format!(
                "apiVersion: evenkeel.dev/v1alpha1\nkind: ErrorBudgetPolicy\nmetadata: {{name: {name}}}\nspec: {{thresholds: [{{remainingBelow: 0}}]}}\n"
            ))
            .unwrap()
        };
        let error = missing(&[policy("standard")], "shop", "standart").to_string();
        assert_eq!(error, "there is no ErrorBudgetPolicy standart in namespace shop; did you mean standard?");
        assert!(missing(&[], "shop", "x").to_string().ends_with("there is none at all"));
    }
}
