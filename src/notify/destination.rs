//! A NotificationChannel with its credentials, read from the Secrets of its namespace at the moment of sending.

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};

use super::error::DeliveryError;
use super::{email, github, pagerduty, slack, webhook};
use crate::api::NotificationChannel;
use crate::api::common::SecretKeyRef;
use crate::api::notification_channel::{NotificationChannelSpec, Slack, Webhook};
use crate::hidden::Hidden;
use crate::k8s::Guarded;

/// A channel with its credentials.
#[derive(Clone, Debug, PartialEq)]
pub struct Destination {
    pub service: Service,
    /// Whether it is told the end as well.
    pub send_resolved: bool,
}

/// The service behind a channel.
#[derive(Clone, Debug, PartialEq)]
pub enum Service {
    Slack(slack::Slack),
    Pagerduty(pagerduty::Pagerduty),
    Webhook(webhook::Webhook),
    Email(Box<email::Mailer>),
    /// The URL of the workflow.
    Teams(Hidden),
    Github(github::Github),
}

impl Service {
    /// The field of the spec.
    pub fn field(&self) -> &'static str {
        match self {
            Self::Slack(_) => "slack",
            Self::Pagerduty(_) => "pagerduty",
            Self::Webhook(_) => "webhook",
            Self::Email(_) => "email",
            Self::Teams(_) => "teams",
            Self::Github(_) => "github",
        }
    }
}

/// The channel of this name.
pub async fn find(client: &Client, namespace: &str, name: &str) -> Result<Destination, DeliveryError> {
    let channels = Api::<Guarded<NotificationChannel>>::namespaced(client.clone(), namespace);
    let found = channels.get_opt(name).await.map_err(|error| DeliveryError::Channel(Box::new(error)))?;
    let found = found.ok_or(DeliveryError::NoChannel)?;
    let channel = found.0.map_err(|invalid| DeliveryError::Invalid(invalid.to_string()))?;
    resolve(client, namespace, &channel.spec).await
}

/// The repository behind the channel of this name, and whether it is told the end as well.
pub async fn repository(client: &Client, namespace: &str, name: &str) -> Result<(github::Github, bool), DeliveryError> {
    let Destination { service, send_resolved } = find(client, namespace, name).await?;
    match service {
        Service::Github(github) => Ok((github, send_resolved)),
        other => Err(DeliveryError::NotGithub { found: other.field() }),
    }
}

/// Reads the Secrets of a channel, which lie in its own namespace.
pub async fn resolve(
    client: &Client,
    namespace: &str,
    spec: &NotificationChannelSpec,
) -> Result<Destination, DeliveryError> {
    let secrets = Secrets { api: Api::namespaced(client.clone(), namespace) };
    let NotificationChannelSpec { slack, pagerduty, webhook, email, teams, github, send_resolved } = spec;
    let service = if let Some(slack) = slack {
        secrets.slack(slack).await?
    } else if let Some(pagerduty) = pagerduty {
        Service::Pagerduty(pagerduty::Pagerduty {
            url: pagerduty.url.clone().unwrap_or_else(|| pagerduty::URL.to_owned()),
            routing_key: secrets.value(&pagerduty.routing_key_secret_ref).await?,
            acknowledge: pagerduty.acknowledge,
        })
    } else if let Some(webhook) = webhook {
        secrets.webhook(webhook).await?
    } else if let Some(email) = email {
        let password = secrets.optional(email.password_secret_ref.as_ref()).await?;
        Service::Email(Box::new(email::Mailer { email: email.clone(), password }))
    } else if let Some(teams) = teams {
        Service::Teams(secrets.value(&teams.webhook_url_secret_ref).await?)
    } else if let Some(github) = github {
        Service::Github(github::Github {
            url: github.url.clone().unwrap_or_else(|| github::URL.to_owned()),
            repository: github.repository.clone(),
            token: secrets.value(&github.token_secret_ref).await?,
        })
    } else {
        return Err(DeliveryError::Empty);
    };
    Ok(Destination { service, send_resolved: *send_resolved })
}

struct Secrets {
    api: Api<Secret>,
}

impl Secrets {
    async fn value(&self, reference: &SecretKeyRef) -> Result<Hidden, DeliveryError> {
        let SecretKeyRef { name, key } = reference;
        let secret = self.api.get_opt(name).await;
        let secret = secret.map_err(|source| DeliveryError::Secret { name: name.clone(), source: Box::new(source) })?;
        let secret = secret.ok_or_else(|| DeliveryError::NoSecret { name: name.clone() })?;
        let value = secret.data.and_then(|mut data| data.remove(key)).and_then(|v| String::from_utf8(v.0).ok());
        let value = value.ok_or_else(|| DeliveryError::NoKey { name: name.clone(), key: key.clone() })?;
        // Files and here-documents end in a newline that is no part of a credential.
        Ok(Hidden::new(value.trim()))
    }

    async fn optional(&self, reference: Option<&SecretKeyRef>) -> Result<Option<Hidden>, DeliveryError> {
        match reference {
            Some(reference) => self.value(reference).await.map(Some),
            None => Ok(None),
        }
    }

    async fn slack(&self, slack: &Slack) -> Result<Service, DeliveryError> {
        let Slack { webhook_url_secret_ref, token_secret_ref, channel, url } = slack;
        Ok(Service::Slack(match (token_secret_ref, webhook_url_secret_ref) {
            (Some(token), _) => slack::Slack::Bot {
                url: url.clone().unwrap_or_else(|| slack::URL.to_owned()),
                token: self.value(token).await?,
                channel: channel.clone().unwrap_or_default(),
            },
            (None, Some(hook)) => slack::Slack::Webhook { url: self.value(hook).await?, channel: channel.clone() },
            (None, None) => return Err(DeliveryError::Empty),
        }))
    }

    async fn webhook(&self, webhook: &Webhook) -> Result<Service, DeliveryError> {
        let Webhook { url, url_secret_ref, bearer_token_secret_ref, basic_auth, signature_secret_ref } = webhook;
        let url = match (url, url_secret_ref) {
            (Some(url), _) => Hidden::new(url),
            (None, Some(reference)) => self.value(reference).await?,
            (None, None) => return Err(DeliveryError::Empty),
        };
        let authorization = match (bearer_token_secret_ref, basic_auth) {
            (Some(reference), _) => webhook::Authorization::Bearer(self.value(reference).await?),
            (None, Some(basic)) => webhook::Authorization::Basic {
                username: basic.username.clone(),
                password: self.value(&basic.password_secret_ref).await?,
            },
            (None, None) => webhook::Authorization::None,
        };
        let signature_key = self.optional(signature_secret_ref.as_ref()).await?;
        Ok(Service::Webhook(webhook::Webhook { url, authorization, signature_key }))
    }
}
