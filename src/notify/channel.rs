//! Whether a NotificationChannel can be used: its settings make sense and the Secrets that it refers to are there.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::Api;
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::watcher;

use crate::api::common::SecretKeyRef;
use crate::api::notification_channel::{Email, NotificationChannelSpec, NotificationChannelStatus};
use crate::api::{Conditioned, NotificationChannel};
use crate::context::Context;
use crate::k8s::Guarded;
use crate::k8s::report::{self, Failures, Reportable, Reported};
use crate::k8s::retry::Retry;
use crate::k8s::status::{Outcome, conditions, patch};

/// Suffix of the field manager of the status.
const MANAGER: &str = "channel-status";
/// Secrets are not watched: they are looked at again at this pace.
const AGAIN: Duration = Duration::from_secs(60);
/// And at this one while something is missing.
const SOON: Duration = Duration::from_secs(15);
const CONCURRENCY: u16 = 4;

#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    #[error("cannot read Secret {name}: {}", report::words(.error))]
    Secret { name: String, error: Box<kube::Error> },
    #[error("cannot write the status: {}", report::words(.0))]
    Status(Box<kube::Error>),
}

impl Reportable for ChannelError {
    fn reason(&self) -> &'static str {
        match self {
            Self::Secret { .. } => "SecretUnreadable",
            Self::Status(_) => "ApiError",
        }
    }
}

/// What is known of a value in a Secret; never the value itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    Empty,
    Text,
    /// Text that starts with http:// or https://.
    Url,
}

impl Value {
    /// Of the bytes under a key.
    pub fn of(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes).map(str::trim) {
            Ok("") => Self::Empty,
            Ok(text) if text.starts_with("https://") || text.starts_with("http://") => Self::Url,
            _ => Self::Text,
        }
    }
}

/// The Secrets that exist, with what their keys hold.
pub type Values = BTreeMap<String, BTreeMap<String, Value>>;

/// How the channel stands. Pure.
pub fn judge(namespace: &str, spec: &NotificationChannelSpec, secrets: &Values) -> Outcome {
    if let Some(message) = settings_fault(spec) {
        return Outcome::Stalled { reason: "InvalidEmail", message };
    }
    for (field, wanted) in spec.secret_refs() {
        if let Some((reason, message)) = secret_fault(namespace, field, wanted, secrets) {
            // A Secret comes from elsewhere, perhaps in a moment.
            return Outcome::Failing { reason, message };
        }
    }
    let message = match spec.secret_refs().len() {
        0 => "it refers to no Secret".to_owned(),
        _ => "the Secrets that it refers to are there".to_owned(),
    };
    Outcome::Ready { reason: "Usable", message }
}

/// What is wrong with the settings themselves, whatever the Secrets hold. Pure.
pub fn settings_fault(spec: &NotificationChannelSpec) -> Option<String> {
    spec.email.as_ref().and_then(email_fault)
}

fn secret_fault(
    namespace: &str,
    field: &str,
    wanted: &SecretKeyRef,
    secrets: &Values,
) -> Option<(&'static str, String)> {
    let SecretKeyRef { name, key } = wanted;
    let Some(keys) = secrets.get(name) else {
        let message = format!(
            "spec.{field} refers to Secret {name}, which does not exist: \
             kubectl -n {namespace} create secret generic {name} --from-literal={key}=..."
        );
        return Some(("SecretMissing", message));
    };
    let url_wanted =
        matches!(field, "slack.webhookUrlSecretRef" | "webhook.urlSecretRef" | "teams.webhookUrlSecretRef");
    match keys.get(key) {
        None => {
            let there = keys.keys().cloned().collect::<Vec<_>>().join(", ");
            let there = if there.is_empty() { "no keys".to_owned() } else { format!("only {there}") };
            let message = format!(
                "spec.{field} refers to key {key} of Secret {name}, which has {there}: add the key, or name another one"
            );
            Some(("SecretKeyMissing", message))
        }
        Some(Value::Empty) => {
            let message = format!("spec.{field}: key {key} of Secret {name} is empty: put the credential into it");
            Some(("SecretKeyEmpty", message))
        }
        Some(Value::Text) if url_wanted => {
            let message = format!("spec.{field}: key {key} of Secret {name} does not hold a URL (https://...)");
            Some(("SecretNotUrl", message))
        }
        Some(_) => None,
    }
}

/// What an SMTP server or Alertmanager would refuse.
fn email_fault(email: &Email) -> Option<String> {
    let is_address = |text: &str| {
        // `Name <name@example.com>` as well.
        let address = text.trim().trim_end_matches('>').rsplit('<').next().unwrap_or_default();
        let mut parts = address.split('@');
        let (local, domain) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        !local.is_empty() && !domain.is_empty() && parts.next().is_none() && !address.contains(char::is_whitespace)
    };
    if let Some(wrong) = email.to.split(',').find(|to| !is_address(to)) {
        return Some(format!("spec.email.to has {:?}, which is no email address", wrong.trim()));
    }
    if !is_address(&email.from) {
        return Some(format!("spec.email.from is {:?}, which is no email address", email.from));
    }
    let port = email.smarthost.rsplit(':').next().unwrap_or_default();
    match port.parse::<u16>() {
        Ok(1..) => None,
        _ => Some(format!("spec.email.smarthost is {:?}, whose port is not between 1 and 65535", email.smarthost)),
    }
}

/// One look at a channel.
pub async fn reconcile(context: &Context, channel: &NotificationChannel) -> Result<Action, ChannelError> {
    let namespace = channel.namespace().unwrap_or_default();
    let secrets = secrets(context, &namespace, &channel.spec).await?;
    let outcome = judge(&namespace, &channel.spec, &secrets);
    let generation = channel.metadata.generation;
    let status = NotificationChannelStatus {
        observed_generation: generation,
        type_: Some(channel.spec.type_name().to_owned()),
        conditions: conditions(channel.conditions(), generation, &outcome, &[], Timestamp::now()),
    };
    let before = channel.conditions().iter().find(|c| c.type_ == "Ready").map(|c| c.reason.clone());
    let wrote = patch(&context.client, MANAGER, channel, channel.status.as_ref(), &status).await;
    if wrote.map_err(|e| ChannelError::Status(Box::new(e)))? && before.as_deref() != Some(outcome.reason()) {
        match &outcome {
            Outcome::Ready { reason, message } => report::info(context, channel, "Check", reason, message).await,
            other => report::warn(context, channel, "Check", other.reason(), other.message()).await,
        }
    }
    Ok(Action::requeue(if matches!(outcome, Outcome::Failing { .. }) { SOON } else { AGAIN }))
}

async fn secrets(context: &Context, namespace: &str, spec: &NotificationChannelSpec) -> Result<Values, ChannelError> {
    let api = Api::<Secret>::namespaced(context.client.clone(), namespace);
    let mut values = Values::new();
    for (_, reference) in spec.secret_refs() {
        let name = &reference.name;
        let secret = api.get_opt(name).await;
        let secret = secret.map_err(|e| ChannelError::Secret { name: name.clone(), error: Box::new(e) })?;
        if let Some(secret) = secret {
            let data = secret.data.unwrap_or_default();
            values.insert(name.clone(), data.into_iter().map(|(key, bytes)| (key, Value::of(&bytes.0))).collect());
        }
    }
    Ok(values)
}

struct Shared {
    context: Arc<Context>,
    failures: Failures,
}

/// Keeps the status of every channel true until `stop` resolves.
pub async fn controller(context: Arc<Context>, stop: impl Future<Output = ()> + Send + Sync + 'static) {
    let channels = Api::<Guarded<NotificationChannel>>::all(context.client.clone());
    let shared = Arc::new(Shared { context, failures: Failures::default() });
    Controller::new(channels, watcher::Config::default())
        .trigger_backoff(Retry::default())
        .with_config(Config::default().concurrency(CONCURRENCY))
        .graceful_shutdown_on(stop)
        .run(run, |channel, _, shared| shared.failures.again(&*channel), shared)
        // Errors are reported where they arise.
        .for_each(|_| std::future::ready(()))
        .await;
}

async fn run(object: Arc<Guarded<NotificationChannel>>, shared: Arc<Shared>) -> Result<Action, Reported> {
    let Some(channel) = report::alive(&object) else { return Ok(Action::await_change()) };
    let action = report::reconcile(&shared.context, channel, reconcile(&shared.context, channel)).await?;
    shared.failures.forget(&*object);
    Ok(action)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value as Json, json};

    fn spec(value: Json) -> NotificationChannelSpec {
        serde_json::from_value(value).unwrap()
    }

    fn secrets(key: &str, value: Value) -> Values {
        Values::from([("slack".to_owned(), BTreeMap::from([(key.to_owned(), value)]))])
    }

    fn slack() -> NotificationChannelSpec {
        spec(json!({"slack": {"webhookUrlSecretRef": {"name": "slack", "key": "url"}}}))
    }

    #[test]
    fn a_missing_secret_is_named_with_the_command_that_makes_it() {
        let outcome = judge("monitoring", &slack(), &Values::new());
        assert!(matches!(outcome, Outcome::Failing { reason: "SecretMissing", .. }), "{outcome:?}");
        let way_out = "kubectl -n monitoring create secret generic slack --from-literal=url=...";
        assert!(outcome.message().contains(way_out), "{outcome:?}");
    }

    #[test]
    fn a_missing_or_useless_key_is_named_with_what_is_there() {
        let outcome = judge("monitoring", &slack(), &secrets("webhook", Value::Url));
        assert_eq!(outcome.reason(), "SecretKeyMissing");
        assert!(outcome.message().contains("key url of Secret slack, which has only webhook"), "{outcome:?}");
        assert_eq!(judge("monitoring", &slack(), &secrets("url", Value::Empty)).reason(), "SecretKeyEmpty");
        assert_eq!(judge("monitoring", &slack(), &secrets("url", Value::Text)).reason(), "SecretNotUrl");
        assert_eq!(judge("monitoring", &slack(), &secrets("url", Value::Url)).reason(), "Usable");
    }

    #[test]
    fn a_channel_without_secrets_is_usable_at_once() {
        let webhook = spec(json!({"webhook": {"url": "https://example.com"}}));
        assert!(matches!(judge("monitoring", &webhook, &Values::new()), Outcome::Ready { .. }));
    }

    #[test]
    fn an_address_that_is_none_stalls_the_channel() {
        let email = |to: &str, from: &str, smarthost: &str| {
            spec(json!({"email": {"to": to, "from": from, "smarthost": smarthost}}))
        };
        let judge = |spec| judge("monitoring", &spec, &Values::new());
        let good = judge(email("a@example.com, B <b@example.com>", "c@example.com", "smtp.example.com:587"));
        assert_eq!(good.reason(), "Usable");
        for (to, from, smarthost, said) in [
            ("a@example.com, b", "c@example.com", "smtp.example.com:587", "spec.email.to has \"b\""),
            ("a@example.com", "c", "smtp.example.com:587", "spec.email.from is \"c\""),
            ("a@example.com", "c@example.com", "smtp.example.com:99999", "smtp.example.com:99999"),
        ] {
            let outcome = judge(email(to, from, smarthost));
            assert!(matches!(outcome, Outcome::Stalled { .. }), "{outcome:?}");
            assert!(outcome.message().contains(said), "{outcome:?}");
        }
    }

    #[test]
    fn a_value_is_judged_as_alertmanager_reads_it() {
        assert_eq!(Value::of(b"https://hooks.example.com/x\n"), Value::Url);
        assert_eq!(Value::of(b" \n"), Value::Empty);
        assert_eq!(Value::of(b"s3cret"), Value::Text);
    }
}
