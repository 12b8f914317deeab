//! NotificationChannel: where people are told.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Conditioned;
use super::common::{Conditions, SecretKeyRef, conditions_schema};
use super::monitoring_stack::BasicAuth;

/// Where people are told: exactly one of the services below. Credentials are referred to, never written here.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "evenkeel.dev",
    version = "v1alpha1",
    kind = "NotificationChannel",
    doc = "A place where people are told: Slack, PagerDuty, a webhook or email. Routes of a MonitoringStack and steps of an AlertResponse in the same namespace refer to it by name.",
    namespaced,
    status = "NotificationChannelStatus",
    shortname = "nchan",
    category = "evenkeel",
    derive = "PartialEq",
    printcolumn(name = "Type", type_ = "string", json_path = ".status.type"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.slack), has(self.pagerduty), has(self.webhook), has(self.email)].filter(x, x).size() == 1")
        .message("set exactly one of slack, pagerduty, webhook and email")
)]
pub struct NotificationChannelSpec {
    /// A Slack incoming webhook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slack: Option<Slack>,
    /// A PagerDuty service, through the Events API v2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pagerduty: Option<Pagerduty>,
    /// Any HTTP endpoint; Alertmanager posts its webhook payload (version 4) to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Webhook>,
    /// An email address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<Email>,
    /// Whether the end of an alert is told as well. Default: true.
    #[serde(default = "yes")]
    pub send_resolved: bool,
}

/// A Slack incoming webhook.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Slack {
    /// Where the URL of the incoming webhook is; it is a credential.
    pub webhook_url_secret_ref: SecretKeyRef,
    /// Channel or user to post to instead of the webhook's own, for example #alerts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub channel: Option<String>,
}

/// A PagerDuty service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pagerduty {
    /// Where the integration key of the Events API v2 is.
    pub routing_key_secret_ref: SecretKeyRef,
    /// Endpoint of the Events API, for example https://events.eu.pagerduty.com/v2/enqueue.
    /// Default: https://events.pagerduty.com/v2/enqueue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^https?://"), length(max = 2048))]
    pub url: Option<String>,
}

/// Any HTTP endpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.url) != has(self.urlSecretRef)")
        .message("webhook: set exactly one of url and urlSecretRef"),
    validation = Rule::new("!(has(self.basicAuth) && has(self.bearerTokenSecretRef))")
        .message("webhook: basicAuth and bearerTokenSecretRef exclude each other")
)]
pub struct Webhook {
    /// The URL, where it holds no credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^https?://"), length(max = 2048))]
    pub url: Option<String>,
    /// Where the URL is, when it is a credential itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_secret_ref: Option<SecretKeyRef>,
    /// Where the bearer token is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer_token_secret_ref: Option<SecretKeyRef>,
    /// User and password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth>,
}

/// Email.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.username) == has(self.passwordSecretRef)")
        .message("email: username and passwordSecretRef belong together")
)]
pub struct Email {
    /// Address to tell; several are separated by commas.
    #[schemars(length(min = 3, max = 1024))]
    pub to: String,
    /// Address of the sender.
    #[schemars(length(min = 3, max = 320))]
    pub from: String,
    /// SMTP server, host:port, for example smtp.example.com:587.
    #[schemars(regex(pattern = "^[^:]+:[0-9]{1,5}$|^\\[[0-9a-fA-F:]+\\]:[0-9]{1,5}$"), length(max = 260))]
    pub smarthost: String,
    /// User of the SMTP server. Absent: no authentication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 320))]
    pub username: Option<String>,
    /// Where the password is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_secret_ref: Option<SecretKeyRef>,
    /// Refuse to send without STARTTLS. Default: true.
    #[serde(default = "yes")]
    pub require_tls: bool,
}

/// What is known of the channel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NotificationChannelStatus {
    /// The generation of the spec that this status speaks of; -1 before the first look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// slack, pagerduty, webhook or email.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<String>,
    /// Ready: the Secrets that it refers to are there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Conditions,
}

impl NotificationChannelSpec {
    /// The service, as the status names it.
    pub fn type_name(&self) -> &'static str {
        match (&self.slack, &self.pagerduty, &self.webhook, &self.email) {
            (Some(_), ..) => "slack",
            (_, Some(_), ..) => "pagerduty",
            (_, _, Some(_), _) => "webhook",
            _ => "email",
        }
    }

    /// Every Secret key that the channel needs, with the field that names it.
    pub fn secret_refs(&self) -> Vec<(&'static str, &SecretKeyRef)> {
        let mut refs = vec![];
        if let Some(slack) = &self.slack {
            refs.push(("slack.webhookUrlSecretRef", &slack.webhook_url_secret_ref));
        }
        if let Some(pagerduty) = &self.pagerduty {
            refs.push(("pagerduty.routingKeySecretRef", &pagerduty.routing_key_secret_ref));
        }
        if let Some(webhook) = &self.webhook {
            refs.extend(webhook.url_secret_ref.iter().map(|r| ("webhook.urlSecretRef", r)));
            refs.extend(webhook.bearer_token_secret_ref.iter().map(|r| ("webhook.bearerTokenSecretRef", r)));
            refs.extend(
                webhook.basic_auth.iter().map(|b| ("webhook.basicAuth.passwordSecretRef", &b.password_secret_ref)),
            );
        }
        if let Some(email) = &self.email {
            refs.extend(email.password_secret_ref.iter().map(|r| ("email.passwordSecretRef", r)));
        }
        refs
    }
}

impl Conditioned for NotificationChannel {
    fn conditions(&self) -> &[Condition] {
        self.status.as_ref().map_or(&[], |s| &s.conditions)
    }
    fn observed_generation(&self) -> Option<i64> {
        self.status.as_ref().and_then(|s| s.observed_generation)
    }
}

fn yes() -> bool {
    true
}
