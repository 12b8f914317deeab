//! NotificationChannel to a receiver of Alertmanager. Pure. Every credential is a file that the pod mounts: none of
//! them passes through the operator.

use serde::Serialize;

use crate::api::NotificationChannel;
use crate::api::common::SecretKeyRef;
use crate::api::monitoring_stack::BasicAuth;
use crate::api::notification_channel::{Email, Pagerduty, Slack, Teams, Webhook};
use kube::ResourceExt;

/// Where Alertmanager's pods mount the Secrets that channels refer to.
pub const SECRETS_DIR: &str = "/etc/alertmanager/secrets";

/// What PagerDuty shows; it knows no other severities than these four.
const PAGERDUTY_SEVERITY: &str = "{{ if or (eq .CommonLabels.severity \"critical\") (eq .CommonLabels.severity \"warning\") \
     (eq .CommonLabels.severity \"info\") }}{{ .CommonLabels.severity }}{{ else }}error{{ end }}";
/// Alertmanager's own text for Slack is empty.
const SLACK_TEXT: &str = "{{ range .Alerts }}*{{ .Labels.alertname }}*{{ with .Annotations.summary }}: {{ . }}{{ end }}\
     {{ with .Annotations.description }}\n{{ . }}{{ end }}{{ with .Annotations.runbook_url }}\n{{ . }}{{ end }}\n{{ end }}";

/// A receiver, as alertmanager.yml has it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Receiver {
    pub name: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub slack_configs: Vec<SlackConfig>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pagerduty_configs: Vec<PagerdutyConfig>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub webhook_configs: Vec<WebhookConfig>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub email_configs: Vec<EmailConfig>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub msteamsv2_configs: Vec<TeamsConfig>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SlackConfig {
    pub send_resolved: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_url_file: Option<String>,
    /// Of a bot, whose credential is not the URL: understood by every version of Alertmanager, unlike its app_token_file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_config: Option<HttpConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    pub text: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PagerdutyConfig {
    pub send_resolved: bool,
    pub routing_key_file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    pub severity: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WebhookConfig {
    pub send_resolved: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_file: Option<String>,
    /// 0 is all of them: an alert that is cut off counts as notified.
    pub max_alerts: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_config: Option<HttpConfig>,
}

/// How an HTTP request proves itself.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HttpConfig {
    Authorization {
        #[serde(rename = "type")]
        type_: String,
        credentials_file: String,
    },
    BasicAuth {
        username: String,
        password_file: String,
    },
}

impl HttpConfig {
    pub fn bearer(credentials_file: impl Into<String>) -> Self {
        Self::Authorization { type_: "Bearer".into(), credentials_file: credentials_file.into() }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EmailConfig {
    pub send_resolved: bool,
    pub to: String,
    pub from: String,
    pub smarthost: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_password_file: Option<String>,
    pub require_tls: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TeamsConfig {
    pub send_resolved: bool,
    pub webhook_url_file: String,
}

/// The receiver of a channel; it has the channel's name.
pub fn receiver(channel: &NotificationChannel) -> Receiver {
    let spec = &channel.spec;
    let send_resolved = spec.send_resolved;
    Receiver {
        name: channel.name_any(),
        slack_configs: spec.slack.iter().map(|slack| slack_config(slack, send_resolved)).collect(),
        pagerduty_configs: spec.pagerduty.iter().map(|pagerduty| pagerduty_config(pagerduty, send_resolved)).collect(),
        webhook_configs: spec.webhook.iter().map(|webhook| webhook_config(webhook, send_resolved)).collect(),
        email_configs: spec.email.iter().map(|email| email_config(email, send_resolved)).collect(),
        msteamsv2_configs: spec.teams.iter().map(|teams| teams_config(teams, send_resolved)).collect(),
    }
}

/// The path of a Secret's key within the directory of Secrets.
pub fn relative(secret: &SecretKeyRef) -> String {
    format!("{}/{}", secret.name, secret.key)
}

fn file(secret: &SecretKeyRef) -> String {
    format!("{SECRETS_DIR}/{}", relative(secret))
}

fn slack_config(slack: &Slack, send_resolved: bool) -> SlackConfig {
    let api = slack.url.as_deref().unwrap_or(super::slack::URL).trim_end_matches('/');
    SlackConfig {
        send_resolved,
        api_url_file: slack.webhook_url_secret_ref.as_ref().map(file),
        api_url: slack.token_secret_ref.as_ref().map(|_| format!("{api}/chat.postMessage")),
        http_config: slack.token_secret_ref.as_ref().map(|token| HttpConfig::bearer(file(token))),
        channel: slack.channel.clone(),
        text: SLACK_TEXT.into(),
    }
}

fn pagerduty_config(pagerduty: &Pagerduty, send_resolved: bool) -> PagerdutyConfig {
    PagerdutyConfig {
        send_resolved,
        routing_key_file: file(&pagerduty.routing_key_secret_ref),
        url: pagerduty.url.clone(),
        severity: PAGERDUTY_SEVERITY.into(),
    }
}

fn webhook_config(webhook: &Webhook, send_resolved: bool) -> WebhookConfig {
    let basic = |BasicAuth { username, password_secret_ref }: &BasicAuth| HttpConfig::BasicAuth {
        username: username.clone(),
        password_file: file(password_secret_ref),
    };
    WebhookConfig {
        send_resolved,
        url: webhook.url.clone(),
        url_file: webhook.url_secret_ref.as_ref().map(file),
        max_alerts: 0,
        http_config: webhook
            .bearer_token_secret_ref
            .as_ref()
            .map(|token| HttpConfig::bearer(file(token)))
            .or_else(|| webhook.basic_auth.as_ref().map(basic)),
    }
}

fn teams_config(teams: &Teams, send_resolved: bool) -> TeamsConfig {
    TeamsConfig { send_resolved, webhook_url_file: file(&teams.webhook_url_secret_ref) }
}

fn email_config(email: &Email, send_resolved: bool) -> EmailConfig {
    EmailConfig {
        send_resolved,
        to: email.to.clone(),
        from: email.from.clone(),
        smarthost: email.smarthost.clone(),
        auth_username: email.username.clone(),
        auth_password_file: email.password_secret_ref.as_ref().map(file),
        require_tls: email.require_tls,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn config(spec: Value) -> Value {
        let mut channel = NotificationChannel::new("team", serde_json::from_value(spec).unwrap());
        channel.metadata.namespace = Some("monitoring".into());
        serde_json::to_value(receiver(&channel)).unwrap()
    }

    #[test]
    fn a_bot_posts_by_its_token_and_a_webhook_by_its_url() {
        let token = json!({"name": "bot", "key": "token"});
        let bot = config(json!({"slack": {"tokenSecretRef": token, "channel": "#alerts", "url": "http://proxy/api/"}}));
        let bot = &bot["slack_configs"][0];
        let token = "/etc/alertmanager/secrets/bot/token";
        assert_eq!(bot["http_config"], json!({"authorization": {"type": "Bearer", "credentials_file": token}}));
        assert_eq!(bot["api_url"], "http://proxy/api/chat.postMessage");
        assert_eq!(bot.get("api_url_file"), None);
        let hook = config(json!({"slack": {"webhookUrlSecretRef": {"name": "hook", "key": "url"}}}));
        assert_eq!(hook["slack_configs"][0]["api_url_file"], "/etc/alertmanager/secrets/hook/url");
        assert_eq!(
            (hook["slack_configs"][0].get("api_url"), hook["slack_configs"][0].get("http_config")),
            (None, None)
        );
    }

    #[test]
    fn teams_gets_alerts_through_its_workflow() {
        let teams =
            config(json!({"teams": {"webhookUrlSecretRef": {"name": "t", "key": "url"}}, "sendResolved": false}));
        let expected = json!([{"send_resolved": false, "webhook_url_file": "/etc/alertmanager/secrets/t/url"}]);
        assert_eq!(teams["msteamsv2_configs"], expected);
    }
}
