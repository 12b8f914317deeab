//! Whether a ServiceAccount may do what an AlertResponse asks of it, before an alert does.
//!
//! Asked as that ServiceAccount (SelfSubjectAccessReview), so that one answer covers the right to impersonate it as
//! well. A question is a POST: it is asked anew only when something changed on which the answer rests.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Mutex;

use axum::http::{HeaderValue, Request, header};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleBinding};
use kube::api::{ListParams, ObjectMeta};
use kube::core::PartialObjectMeta;
use kube::{Api, Client};

use super::needs::Need;
use crate::k8s::meta::digest;

/// Roles cannot be watched; a change of one is noticed after this at the latest.
const REPEAT: SignedDuration = SignedDuration::from_hours(1);

/// Answers that are kept.
const MAX_KNOWN: usize = 10_000;

/// What is to be allowed, and to whom.
#[derive(Clone, Copy, Debug)]
pub struct Access<'a> {
    pub namespace: &'a str,
    pub account: &'a str,
    pub needs: &'a [Need],
}

struct Known {
    rests_on: String,
    asked_at: Timestamp,
    denied: Option<String>,
}

/// Answers, by UID of the AlertResponse.
pub struct Rights {
    client: Client,
    /// ClusterRole that lets the operator impersonate.
    role: String,
    known: Mutex<HashMap<String, Known>>,
}

impl Rights {
    pub fn new(client: Client, cluster_role_prefix: &str) -> Self {
        Self { client, role: format!("{cluster_role_prefix}-responder"), known: Mutex::default() }
    }

    /// Why it is denied; `None` when it is allowed. `epoch` changes when there is another reason to ask again.
    pub async fn denied(&self, uid: &str, epoch: &str, access: Access<'_>) -> Result<Option<String>, kube::Error> {
        let now = Timestamp::now();
        // A poisoned lock would only mean that another reconcile panicked while it looked.
        let known = || self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let rests_on = format!("{epoch}/{}/{:?}", access.account, access.needs);
        let before = known().get(uid).map(|k| (k.rests_on.clone(), k.asked_at, k.denied.clone()));
        // What was allowed holds until something fails; what was denied may be allowed by a new binding.
        let rests_on_bindings = match &before {
            Some((on, _, None)) if *on == rests_on => return Ok(None),
            Some((_, _, Some(_))) => format!("{rests_on}/{}", self.bindings(access.namespace).await?),
            _ => rests_on.clone(),
        };
        if let Some((on, asked_at, denied)) = before
            && on == rests_on_bindings
            && now.duration_since(asked_at) < REPEAT
        {
            return Ok(denied);
        }
        let denied = self.ask(access).await?;
        let rests_on = match &denied {
            None => rests_on,
            Some(_) => format!("{rests_on}/{}", self.bindings(access.namespace).await?),
        };
        let mut known = known();
        // Responses that are gone are not told of: now and then all is asked anew.
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(uid.to_owned(), Known { rests_on, asked_at: now, denied: denied.clone() });
        Ok(denied)
    }

    /// Changes when a binding does.
    async fn bindings(&self, namespace: &str) -> Result<String, kube::Error> {
        let all = ListParams::default();
        let (here, everywhere) = (
            Api::<RoleBinding>::namespaced(self.client.clone(), namespace),
            Api::<ClusterRoleBinding>::all(self.client.clone()),
        );
        let (here, everywhere) = tokio::try_join!(here.list_metadata(&all), everywhere.list_metadata(&all))?;
        let mut versions = String::new();
        let of = |metadata: &ObjectMeta, versions: &mut String| {
            let version = metadata.resource_version.as_deref().unwrap_or_default();
            // Writing to a String does not fail.
            let _ = write!(versions, "{}:{version} ", metadata.uid.as_deref().unwrap_or_default());
        };
        here.items.iter().for_each(|b: &PartialObjectMeta<RoleBinding>| of(&b.metadata, &mut versions));
        everywhere.items.iter().for_each(|b| of(&b.metadata, &mut versions));
        Ok(digest([versions.as_str()], 16))
    }

    /// The first need that is not met.
    async fn ask(&self, access: Access<'_>) -> Result<Option<String>, kube::Error> {
        for need in access.needs {
            if let Some(denied) = self.ask_one(access.namespace, access.account, need).await? {
                return Ok(Some(denied));
            }
        }
        Ok(None)
    }

    async fn ask_one(&self, namespace: &str, account: &str, need: &Need) -> Result<Option<String>, kube::Error> {
        let user = format!("system:serviceaccount:{namespace}:{account}");
        let review = SelfSubjectAccessReview {
            metadata: ObjectMeta::default(),
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(ResourceAttributes {
                    namespace: need.namespaced.then(|| namespace.to_owned()),
                    verb: Some(need.verb.into()),
                    group: Some(need.group.into()),
                    resource: Some(need.resource.into()),
                    subresource: need.subresource.map(str::to_owned),
                    name: need.name.clone(),
                    ..ResourceAttributes::default()
                }),
                ..SelfSubjectAccessReviewSpec::default()
            },
            status: None,
        };
        let (Ok(user), Ok(body)) = (HeaderValue::from_str(&user), serde_json::to_vec(&review)) else {
            return Ok(Some(denied(namespace, account, need, " (its name cannot be one)")));
        };
        let request = Request::post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews")
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/json")
            .header("impersonate-user", user)
            .body(body)
            .map_err(kube::Error::HttpError)?;
        match self.client.request::<SelfSubjectAccessReview>(request).await {
            Ok(SelfSubjectAccessReview { status: Some(status), .. }) if status.allowed => Ok(None),
            Ok(answer) => {
                let reason = answer.status.and_then(|s| s.reason).filter(|r| !r.is_empty());
                let why = reason.map(|r| format!(" ({r})")).unwrap_or_default();
                Ok(Some(denied(namespace, account, need, &why)))
            }
            Err(kube::Error::Api(status)) if status.is_forbidden() => Ok(Some(format!(
                "{}: bind ClusterRole {} to the operator in namespace {namespace} (responder.namespaces of the chart)",
                status.message, self.role
            ))),
            Err(error) => Err(error),
        }
    }
}

/// What is missing, and what to grant.
fn denied(namespace: &str, account: &str, need: &Need, why: &str) -> String {
    let (verb, resource) = (need.verb, need.resource());
    let role = match need.namespaced {
        true => format!("let a Role of namespace {namespace} with {verb} on {resource} be bound to it"),
        false => format!("let a ClusterRole with {verb} on {resource} be bound to it by a ClusterRoleBinding"),
    };
    format!("ServiceAccount {namespace}/{account} may not {verb} {resource}{why}: {role}")
}
