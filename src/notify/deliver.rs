//! Direct delivery of a message to a NotificationChannel, without Alertmanager: what the operator itself has to say.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use serde::Serialize;

use crate::api::NotificationChannel;
use crate::api::common::SecretKeyRef;
use crate::api::notification_channel::{Email, NotificationChannelSpec, Pagerduty, Slack, Webhook};
use crate::hidden::Hidden;
use crate::k8s::Guarded;

/// Events API v2 of PagerDuty.
const PAGERDUTY: &str = "https://events.pagerduty.com/v2/enqueue";
/// Longest summary that PagerDuty takes.
const PAGERDUTY_SUMMARY: usize = 1024;
/// Time for one delivery by SMTP; HTTP has the client's own.
const SMTP_TIMEOUT: Duration = Duration::from_secs(10);

/// A channel with its credentials.
#[derive(Clone, Debug, PartialEq)]
pub enum Destination {
    Slack { url: Hidden, channel: Option<String> },
    Pagerduty { url: String, routing_key: Hidden },
    Webhook { url: Hidden, authorization: Authorization },
    Email { email: Box<Email>, password: Option<Hidden> },
}

/// How a webhook is authorized.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authorization {
    None,
    Bearer(Hidden),
    Basic { username: String, password: Hidden },
}

/// What people are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// One line.
    pub title: String,
    /// All of it.
    pub text: String,
    /// By which PagerDuty, and a webhook that wants to, recognises a repeat.
    pub dedup_key: String,
    /// What it is about, for example `shop/Deployment/checkout`.
    pub source: String,
    /// critical, error, warning or info.
    pub severity: String,
    /// It is over: PagerDuty closes the incident of this key.
    pub resolves: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    #[error("Secret {name} cannot be read: {source}")]
    Secret { name: String, source: Box<kube::Error> },
    #[error("Secret {name} does not exist")]
    NoSecret { name: String },
    #[error("Secret {name} has no key {key}, or it is not text")]
    NoKey { name: String, key: String },
    #[error("the channel names none of slack, pagerduty, webhook and email")]
    Empty,
    #[error("there is no NotificationChannel of this name")]
    NoChannel,
    #[error("it cannot be read: {0}")]
    Channel(#[source] Box<kube::Error>),
    #[error("it makes no sense: {0}")]
    Invalid(String),
    #[error("no answer: {0}")]
    Http(#[source] reqwest::Error),
    #[error("answered {status}")]
    Status { status: u16 },
    #[error("{field} {value:?} is not usable: {problem}")]
    Email { field: &'static str, value: String, problem: String },
    #[error("the mail server did not take it: {0}")]
    Smtp(#[source] lettre::transport::smtp::Error),
}

impl DeliveryError {
    /// Trying again would not help: a person must change something.
    pub fn is_final(&self) -> bool {
        match self {
            Self::NoSecret { .. } | Self::NoKey { .. } | Self::Empty | Self::Email { .. } => true,
            Self::NoChannel | Self::Invalid(_) => true,
            Self::Status { status } => (400..500).contains(status) && !matches!(status, 408 | 429),
            Self::Smtp(error) => error.is_permanent(),
            Self::Secret { .. } | Self::Channel(_) | Self::Http(_) => false,
        }
    }
}

/// Sends the message once to a channel by its name.
pub async fn to_channel(
    client: &Client,
    http: &reqwest::Client,
    namespace: &str,
    name: &str,
    message: &Message,
) -> Result<(), DeliveryError> {
    let channels = Api::<Guarded<NotificationChannel>>::namespaced(client.clone(), namespace);
    let found = channels.get_opt(name).await.map_err(|error| DeliveryError::Channel(Box::new(error)))?;
    let found = found.ok_or(DeliveryError::NoChannel)?;
    let channel = found.0.map_err(|invalid| DeliveryError::Invalid(invalid.to_string()))?;
    deliver(http, &resolve(client, namespace, &channel.spec).await?, message).await
}

/// Reads the Secrets of a channel, which lie in its own namespace.
pub async fn resolve(
    client: &Client,
    namespace: &str,
    spec: &NotificationChannelSpec,
) -> Result<Destination, DeliveryError> {
    let secrets = Secrets { api: Api::namespaced(client.clone(), namespace) };
    if let Some(Slack { webhook_url_secret_ref, channel }) = &spec.slack {
        let url = secrets.value(webhook_url_secret_ref).await?;
        return Ok(Destination::Slack { url, channel: channel.clone() });
    }
    if let Some(Pagerduty { routing_key_secret_ref, url }) = &spec.pagerduty {
        let routing_key = secrets.value(routing_key_secret_ref).await?;
        return Ok(Destination::Pagerduty { url: url.clone().unwrap_or(PAGERDUTY.into()), routing_key });
    }
    if let Some(webhook) = &spec.webhook {
        return secrets.webhook(webhook).await;
    }
    let email = spec.email.as_ref().ok_or(DeliveryError::Empty)?;
    let password = match &email.password_secret_ref {
        Some(reference) => Some(secrets.value(reference).await?),
        None => None,
    };
    Ok(Destination::Email { email: Box::new(email.clone()), password })
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

    async fn webhook(&self, webhook: &Webhook) -> Result<Destination, DeliveryError> {
        let url = match (&webhook.url, &webhook.url_secret_ref) {
            (Some(url), _) => Hidden::new(url),
            (None, Some(reference)) => self.value(reference).await?,
            (None, None) => return Err(DeliveryError::Empty),
        };
        let authorization = match (&webhook.bearer_token_secret_ref, &webhook.basic_auth) {
            (Some(reference), _) => Authorization::Bearer(self.value(reference).await?),
            (None, Some(basic)) => Authorization::Basic {
                username: basic.username.clone(),
                password: self.value(&basic.password_secret_ref).await?,
            },
            (None, None) => Authorization::None,
        };
        Ok(Destination::Webhook { url, authorization })
    }
}

/// Sends the message once.
pub async fn deliver(http: &reqwest::Client, to: &Destination, message: &Message) -> Result<(), DeliveryError> {
    match to {
        Destination::Slack { url, channel } => {
            let body = SlackBody { text: &message.text, channel: channel.as_deref() };
            post(http.post(url.expose()).json(&body)).await
        }
        Destination::Pagerduty { url, routing_key } => {
            let summary: String = message.title.chars().take(PAGERDUTY_SUMMARY).collect();
            let body = PagerdutyBody {
                routing_key: routing_key.expose(),
                event_action: if message.resolves { "resolve" } else { "trigger" },
                dedup_key: &message.dedup_key,
                payload: PagerdutyPayload {
                    summary: &summary,
                    source: &message.source,
                    severity: severity(&message.severity),
                    custom_details: Details { text: &message.text },
                },
            };
            post(http.post(url).json(&body)).await
        }
        Destination::Webhook { url, authorization } => {
            let request = http.post(url.expose());
            let request = match authorization {
                Authorization::None => request,
                Authorization::Bearer(token) => request.bearer_auth(token.expose()),
                Authorization::Basic { username, password } => request.basic_auth(username, Some(password.expose())),
            };
            let Message { title, text, dedup_key, source, severity, resolves: _ } = message;
            post(request.json(&WebhookBody { title, text, dedup_key, source, severity })).await
        }
        Destination::Email { email, password } => mail(email, password.as_ref(), message).await,
    }
}

/// PagerDuty knows four.
fn severity(word: &str) -> &'static str {
    match word {
        "critical" | "page" => "critical",
        "error" => "error",
        "info" | "none" => "info",
        _ => "warning",
    }
}

async fn post(request: reqwest::RequestBuilder) -> Result<(), DeliveryError> {
    // The URL of a Slack webhook is the credential itself.
    let answer = request.send().await.map_err(|error| DeliveryError::Http(error.without_url()))?;
    match answer.status() {
        status if status.is_success() => Ok(()),
        status => Err(DeliveryError::Status { status: status.as_u16() }),
    }
}

async fn mail(email: &Email, password: Option<&Hidden>, message: &Message) -> Result<(), DeliveryError> {
    let wrong = |field: &'static str, value: &str, problem: String| DeliveryError::Email {
        field,
        value: value.to_owned(),
        problem,
    };
    let mailbox = |field: &'static str, value: &str| {
        value.trim().parse::<Mailbox>().map_err(|error| wrong(field, value, error.to_string()))
    };
    let subject: String = message.title.chars().filter(|c| !c.is_control()).collect();
    let mut letter = lettre::Message::builder().from(mailbox("email.from", &email.from)?).subject(subject);
    for to in email.to.split(',').filter(|to| !to.trim().is_empty()) {
        letter = letter.to(mailbox("email.to", to)?);
    }
    let letter = letter
        .message_id(Some(format!("<{}.{}@evenkeel>", message.dedup_key, jiff::Timestamp::now().as_millisecond())))
        .body(message.text.clone())
        .map_err(|error| wrong("email.to", &email.to, error.to_string()))?;

    let smarthost = |problem: &str| wrong("email.smarthost", &email.smarthost, problem.to_owned());
    let (host, port) = email.smarthost.rsplit_once(':').ok_or_else(|| smarthost("write it as host:port"))?;
    let port: u16 = port.parse().map_err(|_| smarthost("the port is not a number"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let tls = TlsParameters::new(host.to_owned()).map_err(DeliveryError::Smtp)?;
    let tls = match (port, email.require_tls) {
        // The port of SMTP over TLS, by registration.
        (465, _) => Tls::Wrapper(tls),
        (_, true) => Tls::Required(tls),
        (_, false) => Tls::Opportunistic(tls),
    };
    let mut transport =
        AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host).port(port).tls(tls).timeout(Some(SMTP_TIMEOUT));
    if let (Some(username), Some(password)) = (&email.username, password) {
        transport = transport.credentials(Credentials::new(username.clone(), password.expose().to_owned()));
    }
    transport.build().send(letter).await.map(|_| ()).map_err(DeliveryError::Smtp)
}

#[derive(Serialize)]
struct SlackBody<'a> {
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a str>,
}

#[derive(Serialize)]
struct PagerdutyBody<'a> {
    routing_key: &'a str,
    event_action: &'a str,
    dedup_key: &'a str,
    payload: PagerdutyPayload<'a>,
}

#[derive(Serialize)]
struct PagerdutyPayload<'a> {
    summary: &'a str,
    source: &'a str,
    severity: &'a str,
    custom_details: Details<'a>,
}

#[derive(Serialize)]
struct Details<'a> {
    text: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WebhookBody<'a> {
    title: &'a str,
    text: &'a str,
    dedup_key: &'a str,
    source: &'a str,
    severity: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    fn message() -> Message {
        Message {
            title: "HighErrorRate: checkout fails".into(),
            text: "rolled back\nkubectl describe run".into(),
            dedup_key: "uid-1".into(),
            source: "shop/Deployment/checkout".into(),
            severity: "critical".into(),
            resolves: false,
        }
    }

    /// Answers one request with `status` and returns what it got.
    async fn receiver(status: &'static str) -> (String, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook/SECRETPATH", listener.local_addr().unwrap());
        let task = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut got = String::new();
            let mut buffer = [0; 4096];
            while !got.contains("\"}") {
                let n = stream.read(&mut buffer).await.unwrap();
                got.push_str(std::str::from_utf8(&buffer[..n]).unwrap());
            }
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
            got
        });
        (url, task)
    }

    #[tokio::test]
    async fn slack_gets_the_text_and_pagerduty_the_key_that_makes_a_repeat_harmless() {
        let http = reqwest::Client::new();
        let (url, got) = receiver("200 OK").await;
        let slack = Destination::Slack { url: Hidden::new(url), channel: Some("#alerts".into()) };
        deliver(&http, &slack, &message()).await.unwrap();
        assert!(got.await.unwrap().contains(r##""channel":"#alerts""##));

        let (url, got) = receiver("202 Accepted").await;
        let pagerduty = Destination::Pagerduty { url, routing_key: Hidden::new("key") };
        deliver(&http, &pagerduty, &message()).await.unwrap();
        let got = got.await.unwrap();
        assert!(got.contains(r#""dedup_key":"uid-1""#) && got.contains(r#""event_action":"trigger""#), "{got}");
    }

    #[tokio::test]
    async fn no_error_and_no_debug_output_holds_a_credential() {
        let http = reqwest::Client::new();
        let (url, _) = receiver("404 Not Found").await;
        let slack = Destination::Slack { url: Hidden::new(url), channel: None };
        let refused = deliver(&http, &slack, &message()).await.unwrap_err();
        assert!(refused.is_final());
        let nobody = Destination::Slack { url: Hidden::new("http://127.0.0.1:1/SECRETPATH"), channel: None };
        let unreachable = deliver(&http, &nobody, &message()).await.unwrap_err();
        assert!(!unreachable.is_final());
        for text in [
            crate::k8s::report::chain(&refused),
            crate::k8s::report::chain(&unreachable),
            format!("{refused:?} {unreachable:?} {slack:?} {nobody:?}"),
        ] {
            assert!(!text.contains("SECRETPATH"), "{text}");
        }
    }

    #[tokio::test]
    async fn a_mail_server_gets_the_letter() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let smarthost = listener.local_addr().unwrap().to_string();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"220 test\r\n").await.unwrap();
            let (mut all, mut data, mut buffer) = (String::new(), false, [0; 4096]);
            loop {
                let n = stream.read(&mut buffer).await.unwrap();
                if n == 0 {
                    break;
                }
                let text = String::from_utf8_lossy(&buffer[..n]).into_owned();
                all.push_str(&text);
                let answer: &[u8] = match (data, text.get(..4).unwrap_or_default()) {
                    (true, _) if !all.ends_with("\r\n.\r\n") => continue,
                    (true, _) => {
                        data = false;
                        b"250 ok\r\n"
                    }
                    (_, "DATA") => {
                        data = true;
                        b"354 go\r\n"
                    }
                    (_, "QUIT") => b"221 bye\r\n",
                    _ => b"250 ok\r\n",
                };
                stream.write_all(answer).await.unwrap();
                if all.contains("QUIT") || answer == b"250 ok\r\n" && all.ends_with("\r\n.\r\n") {
                    break;
                }
            }
            all
        });
        let email = Email {
            to: "a@example.com, b@example.com".into(),
            from: "Evenkeel <e@example.com>".into(),
            smarthost,
            username: None,
            password_secret_ref: None,
            require_tls: false,
        };
        let to = Destination::Email { email: Box::new(email), password: None };
        deliver(&reqwest::Client::new(), &to, &message()).await.unwrap();
        let letter = server.await.unwrap();
        for part in ["RCPT TO:<a@example.com>", "RCPT TO:<b@example.com>", "Subject: HighErrorRate", "rolled back"] {
            assert!(letter.contains(part), "{part} in {letter}");
        }
    }
}
