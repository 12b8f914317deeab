//! What may be written about Grafana. Pure.

use std::collections::BTreeSet;

use super::{Known, Problem, Refused};
use crate::api::common::SecretKeyRef;
use crate::api::monitoring_stack::{GrafanaRoute, GrafanaSpec};
use crate::hidden::Hidden;
use crate::stack::admin::{self, Admin};
use crate::stack::component::grafana::FLAGS;
use crate::stack::component::grafana_dashboards::{self, Folders, Found, Shipped};
use crate::stack::discovery::Namespaces;
use crate::stack::names::GRAFANA;
use crate::stack::routes::Secrets;
use crate::stack::storage::Data;

/// Grafana, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Grafana {
    pub spec: GrafanaSpec,
    /// The first user, where a person named no Secret.
    pub admin: Option<Admin>,
    /// What can be made of spec.route.
    pub route: Option<GrafanaRoute>,
    pub dashboards: Folders,
    pub data: Data,
    /// Claims to be asked for the size in `data`.
    pub grow: Vec<String>,
}

/// The checked part; what is wrong and can be left out goes to `problems`. Dashboards are looked for in `namespaces`.
pub fn check(
    spec: &GrafanaSpec,
    namespaces: &Namespaces,
    shipped: Vec<Shipped>,
    known: &Known,
    problems: &mut Vec<Problem>,
) -> Result<Grafana, Refused> {
    super::reserved_flags(GRAFANA, spec.pod.as_ref(), &FLAGS)?;
    let around = &known.around;
    let fresh = || around.fresh_password.clone().unwrap_or_else(|| Hidden::new("made-by-the-operator"));
    let admin = match &spec.admin_secret_ref {
        Some(_) => None,
        None => Some(around.admin.clone().unwrap_or_else(|| Admin::new(fresh()))),
    };
    problems.extend(wrong_secrets(spec, &known.secrets));
    let route = match (&spec.route, around.no_http_routes) {
        (Some(route), true) => {
            let message = format!(
                "spec.grafana.route (host {}) is left out: the API server does not know HTTPRoute of \
                 gateway.networking.k8s.io/v1; install the Gateway API, or use spec.grafana.ingress",
                route.host
            );
            problems.push(Problem { reason: "GatewayApiMissing", message });
            None
        }
        (route, _) => route.clone(),
    };
    let wanted = spec.dashboards.clone().unwrap_or_default();
    let shipped = if wanted.shipped { shipped } else { vec![] };
    let found: Vec<&Found> = around.dashboards.iter().filter(|map| namespaces.contain(&map.namespace)).collect();
    let found = if wanted.config_maps { found } else { vec![] };
    let dashboards = grafana_dashboards::join(shipped, &found, problems);
    let (data, grow) = super::check_storage(GRAFANA, GRAFANA, Data::of(spec.storage.as_ref()), known, problems);
    Ok(Grafana { spec: spec.clone(), admin, route, dashboards, data, grow })
}

fn wrong_secrets(spec: &GrafanaSpec, secrets: &Secrets) -> Vec<Problem> {
    let mut messages = vec![];
    if let Some(secret) = &spec.admin_secret_ref {
        let key = |key: &str| SecretKeyRef { name: secret.name.clone(), key: key.into() };
        // A Secret that does not exist is told once.
        let missing = [admin::USER, admin::PASSWORD].map(|k| secrets.missing("spec.grafana.adminSecretRef", &key(k)));
        messages.extend(missing.into_iter().flatten().collect::<BTreeSet<_>>());
    }
    if let (Some(secret), Secrets::Known(known)) = (&spec.oauth_secret_ref, secrets) {
        let field = "spec.grafana.oauthSecretRef";
        match known.get(&secret.name) {
            None => messages.push(format!("{field} refers to Secret {}, which does not exist", secret.name)),
            Some(keys) => messages.extend(keys.iter().filter(|key| !key.starts_with("GF_AUTH_")).map(|key| {
                format!(
                    "{field}: key {key} of Secret {} is no setting of a login: write GF_AUTH_GENERIC_OAUTH_CLIENT_ID and its like",
                    secret.name
                )
            })),
        }
    }
    messages.into_iter().map(|message| Problem { reason: "GrafanaSecretMissing", message }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::validate::tests::known;
    use serde_json::{Value, json};

    fn checked(spec: Value, known: &Known) -> (Grafana, Vec<String>) {
        let mut problems = vec![];
        let namespaces = Namespaces::These(["monitoring".to_owned()].into());
        let grafana = check(&serde_json::from_value(spec).unwrap(), &namespaces, vec![], known, &mut problems).unwrap();
        (grafana, problems.into_iter().map(|p| p.message).collect())
    }

    #[test]
    fn the_first_user_is_made_once_and_kept() {
        let mut known = known();
        known.around.fresh_password = Some(Hidden::new("fresh"));
        let (first, _) = checked(json!({}), &known);
        assert_eq!(first.admin.as_ref().unwrap().password.expose(), "fresh");
        known.around.admin = first.admin.clone();
        known.around.fresh_password = Some(Hidden::new("another"));
        assert_eq!(checked(json!({}), &known).0.admin, first.admin);
        assert_eq!(checked(json!({"adminSecretRef": {"name": "own"}}), &known).0.admin, None);
    }

    #[test]
    fn what_a_secret_lacks_is_named() {
        let mut known = known();
        let keys = ["admin-user", "GF_AUTH_GITHUB_CLIENT_ID", "client-secret"].map(str::to_owned);
        known.secrets = Secrets::Known([("some".to_owned(), keys.into())].into());
        let (_, problems) =
            checked(json!({"adminSecretRef": {"name": "some"}, "oauthSecretRef": {"name": "some"}}), &known);
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(problems[0].starts_with("spec.grafana.adminSecretRef refers to key admin-password of Secret some"));
        assert!(problems[2].contains("key client-secret of Secret some is no setting"), "{problems:?}");
        let (_, problems) =
            checked(json!({"adminSecretRef": {"name": "none"}, "oauthSecretRef": {"name": "none"}}), &known);
        assert_eq!(
            problems,
            [
                "spec.grafana.adminSecretRef refers to Secret none, which does not exist",
                "spec.grafana.oauthSecretRef refers to Secret none, which does not exist"
            ]
        );
    }

    #[test]
    fn a_route_without_the_gateway_api_is_left_out_and_named() {
        let mut known = known();
        let spec = json!({"route": {"host": "g.example.com", "parentRefs": [{"name": "gate"}]}});
        assert!(checked(spec.clone(), &known).0.route.is_some());
        known.around.no_http_routes = true;
        let (grafana, problems) = checked(spec, &known);
        assert_eq!(grafana.route, None);
        assert!(problems[0].contains("g.example.com") && problems[0].contains("install the Gateway API"));
    }

    #[test]
    fn dashboards_come_from_the_namespaces_of_the_discovery() {
        let mut known = known();
        let map = |namespace: &str| Found {
            namespace: namespace.into(),
            name: "board".into(),
            files: [("a.json".to_owned(), r#"{"title": "A"}"#.to_owned())].into(),
            ..Found::default()
        };
        known.around.dashboards = vec![map("monitoring"), map("shop")];
        let (grafana, _) = checked(json!({}), &known);
        assert_eq!(grafana.dashboards.0["Dashboards"][0].len(), 1);
        let (grafana, _) = checked(json!({"dashboards": {"configMaps": false}}), &known);
        assert!(grafana.dashboards.0.is_empty());
    }
}
