//! NotificationChannel: where people are told.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Conditioned;
use super::common::{Conditions, HTTP_URL, SecretKeyRef, conditions_schema};
use super::monitoring_stack::BasicAuth;

/// Where people are told: exactly one of the services below. Credentials are referred to, never written here.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "evenkeel.dev",
    version = "v1alpha1",
    kind = "NotificationChannel",
    doc = "A place where people are told: Slack, PagerDuty, a webhook, Microsoft Teams, email, or issues and workflows of a GitHub repository. Routes of a MonitoringStack and steps of an AlertResponse in the same namespace refer to it by name.",
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
    validation = Rule::new("[has(self.slack), has(self.pagerduty), has(self.webhook), has(self.email), has(self.teams), has(self.github)].filter(x, x).size() == 1")
        .message("set exactly one of slack, pagerduty, webhook, email, teams and github")
)]
pub struct NotificationChannelSpec {
    /// Slack: an incoming webhook, or a bot.
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
    /// A channel or chat of Microsoft Teams, through a workflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teams: Option<Teams>,
    /// A repository on GitHub, for the steps githubIssue and githubWorkflow of AlertResponses. Nothing else can name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub github: Option<Github>,
    /// Whether the end is told as well: that an alert has resolved, that a run was closed. Default: true. False: nothing is
    /// sent then, so an incident at PagerDuty stays open and a card at Slack stays as it was.
    #[serde(default = "yes")]
    pub send_resolved: bool,
}

/// Slack: exactly one of `webhookUrlSecretRef` and `tokenSecretRef`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.webhookUrlSecretRef) != has(self.tokenSecretRef)")
        .message("slack: set exactly one of webhookUrlSecretRef and tokenSecretRef"),
    validation = Rule::new("!has(self.tokenSecretRef) || has(self.channel)")
        .message("slack: tokenSecretRef needs channel"),
    validation = Rule::new("!has(self.url) || has(self.tokenSecretRef)")
        .message("slack: url belongs to tokenSecretRef")
)]
pub struct Slack {
    /// Where the URL of an incoming webhook is; it is a credential. What was sent this way cannot be changed later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_url_secret_ref: Option<SecretKeyRef>,
    /// Where the token of a bot (xoxb-...) with the scope chat:write is; the bot must be a member of the channel. A card that
    /// it posted is updated when the run is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_secret_ref: Option<SecretKeyRef>,
    /// Channel to post to, for example #alerts or C0123456789. With a webhook: instead of the webhook's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub channel: Option<String>,
    /// Base URL of the Web API, for a proxy. Default: https://slack.com/api.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = HTTP_URL), length(max = 2048))]
    pub url: Option<String>,
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
    #[schemars(regex(pattern = HTTP_URL), length(max = 2048))]
    pub url: Option<String>,
    /// True: an incident that a run opens while it repairs is acknowledged at once, so that nobody is called out of bed for
    /// what is being repaired. A run that does not help triggers again, which notifies nobody before PagerDuty's own
    /// acknowledgement timeout. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub acknowledge: bool,
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
    #[schemars(regex(pattern = HTTP_URL), length(max = 2048))]
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
    /// Where the key is with which the operator signs what it sends itself: header `X-Evenkeel-Timestamp` is the time in
    /// seconds since 1970, `X-Evenkeel-Signature` is `sha256=` and the hexadecimal HMAC-SHA256 of `<timestamp>.<body>`. To
    /// check it: compute it over the raw body, compare in constant time, refuse a timestamp older than five minutes.
    /// Alertmanager cannot sign: alerts that a stack routes to this channel carry no signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature_secret_ref: Option<SecretKeyRef>,
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

/// Microsoft Teams.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Teams {
    /// Where the URL of a workflow "When a Teams webhook request is received" is; it is a credential.
    pub webhook_url_secret_ref: SecretKeyRef,
}

/// A repository on GitHub.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Github {
    /// owner/name.
    #[schemars(
        regex(pattern = "^[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]*[A-Za-z0-9_-][A-Za-z0-9._-]*$"),
        length(max = 140)
    )]
    pub repository: String,
    /// Where the token is. Fine-grained permissions on the repository: Issues (read and write) for githubIssue, Actions
    /// (read and write) for githubWorkflow with `workflow`, Contents (read and write) with `eventType`.
    pub token_secret_ref: SecretKeyRef,
    /// Base URL of the REST API, for example https://github.example.com/api/v3. Default: https://api.github.com.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = HTTP_URL), length(max = 2048))]
    pub url: Option<String>,
}

/// What is known of the channel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NotificationChannelStatus {
    /// The generation of the spec that this status speaks of; -1 before the first look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// slack, pagerduty, webhook, email, teams or github.
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
        let Self { slack, pagerduty, webhook, email, teams, github, send_resolved: _ } = self;
        match (slack, pagerduty, webhook, email, teams, github) {
            (Some(_), ..) => "slack",
            (_, Some(_), ..) => "pagerduty",
            (_, _, Some(_), ..) => "webhook",
            (_, _, _, Some(_), ..) => "email",
            (_, _, _, _, Some(_), _) => "teams",
            (.., Some(_)) => "github",
            (.., None) => "none",
        }
    }

    /// Every Secret key that the channel needs, with the field that names it.
    pub fn secret_refs(&self) -> Vec<(&'static str, &SecretKeyRef)> {
        let mut refs = vec![];
        if let Some(slack) = &self.slack {
            refs.extend(slack.webhook_url_secret_ref.iter().map(|r| ("slack.webhookUrlSecretRef", r)));
            refs.extend(slack.token_secret_ref.iter().map(|r| ("slack.tokenSecretRef", r)));
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
            refs.extend(webhook.signature_secret_ref.iter().map(|r| ("webhook.signatureSecretRef", r)));
        }
        if let Some(email) = &self.email {
            refs.extend(email.password_secret_ref.iter().map(|r| ("email.passwordSecretRef", r)));
        }
        refs.extend(self.teams.iter().map(|teams| ("teams.webhookUrlSecretRef", &teams.webhook_url_secret_ref)));
        refs.extend(self.github.iter().map(|github| ("github.tokenSecretRef", &github.token_secret_ref)));
        refs
    }
}

impl NotificationChannelSpec {
    /// Those among them that Alertmanager needs when a route names the channel.
    pub fn routed_secret_refs(&self) -> impl Iterator<Item = (&'static str, &SecretKeyRef)> {
        self.secret_refs().into_iter().filter(|(field, _)| *field != "webhook.signatureSecretRef")
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
