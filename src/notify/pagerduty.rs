//! PagerDuty, by the Events API v2: one incident for each dedup_key.

use serde::{Deserialize, Serialize};

use super::answer::ask;
use super::error::DeliveryError;
use super::message::{Message, Stage, cut};
use crate::hidden::Hidden;
use crate::response::run::Receipt;

/// Where events are sent.
pub const URL: &str = "https://events.pagerduty.com/v2/enqueue";
/// Longest summary, in characters.
const SUMMARY: usize = 1024;
/// Longest dedup_key, in characters.
const DEDUP_KEY: usize = 255;
/// Longest text among the details: an event is at most 512 KB.
const TEXT: usize = 32 * 1024;

/// A service at PagerDuty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pagerduty {
    pub url: String,
    pub routing_key: Hidden,
    /// Whether an incident about which something is being done is acknowledged at once.
    pub acknowledge: bool,
}

/// What an event does to the incident of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    Trigger,
    Acknowledge,
    Resolve,
}

/// One event.
#[derive(Debug, Serialize)]
pub struct Event<'a> {
    routing_key: &'a str,
    event_action: Action,
    dedup_key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Payload<'a>>,
}

#[derive(Debug, Serialize)]
struct Payload<'a> {
    summary: String,
    source: &'a str,
    severity: &'static str,
    custom_details: Details,
}

#[derive(Debug, Serialize)]
struct Details {
    text: String,
}

/// The events that a message becomes, in order. That the operator is through says nothing about the incident.
pub fn actions(acknowledge: bool, stage: Stage) -> &'static [Action] {
    match stage {
        Stage::News | Stage::Asking => &[Action::Trigger],
        Stage::AtWork if acknowledge => &[Action::Trigger, Action::Acknowledge],
        Stage::AtWork => &[Action::Trigger],
        Stage::Closed => &[],
        Stage::Resolved => &[Action::Resolve],
    }
}

/// The body of one event. Pure.
pub fn event<'a>(routing_key: &'a str, action: Action, message: &'a Message) -> Event<'a> {
    let payload = || Payload {
        summary: cut(&message.title, SUMMARY),
        source: if message.source.is_empty() { "evenkeel" } else { &message.source },
        severity: severity(&message.severity),
        custom_details: Details { text: cut(&message.text, TEXT) },
    };
    let triggers = action == Action::Trigger;
    Event {
        routing_key,
        event_action: action,
        dedup_key: cut(&message.dedup_key, DEDUP_KEY),
        client: triggers.then_some("Evenkeel"),
        payload: triggers.then(payload),
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

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    message: String,
}

/// Sends all events of a message. A repeat is harmless by the dedup_key.
pub async fn send(http: &reqwest::Client, to: &Pagerduty, message: &Message) -> Result<Receipt, DeliveryError> {
    for action in actions(to.acknowledge, message.stage) {
        let event = event(to.routing_key.expose(), *action, message);
        let answer = ask(http.post(&to.url).json(&event)).await?;
        if !answer.is_success() {
            let words = answer.json::<Refusal>().map(|refusal| refusal.message).unwrap_or_default();
            return Err(answer.refusal(words.replace(to.routing_key.expose(), "<hidden>")));
        }
    }
    let incident = matches!(message.stage, Stage::News | Stage::Asking | Stage::AtWork);
    Ok(Receipt { reference: None, incident })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::message::example;
    use serde_json::json;

    #[test]
    fn only_what_is_being_repaired_is_acknowledged_and_a_closed_run_says_nothing() {
        assert_eq!(actions(true, Stage::AtWork), [Action::Trigger, Action::Acknowledge]);
        assert_eq!(actions(true, Stage::News), [Action::Trigger]);
        // Nobody has acknowledged a question before it was answered.
        assert_eq!(actions(true, Stage::Asking), [Action::Trigger]);
        assert_eq!(actions(false, Stage::AtWork), [Action::Trigger]);
        assert!(actions(true, Stage::Closed).is_empty());
        assert_eq!(actions(false, Stage::Resolved), [Action::Resolve]);
    }

    #[test]
    fn an_event_keeps_to_the_limits() {
        let message = Message {
            title: "x".repeat(2000),
            severity: "disaster".into(),
            dedup_key: "k".repeat(300),
            source: String::new(),
            ..example(Stage::News)
        };
        let event = serde_json::to_value(event("key", Action::Trigger, &message)).unwrap();
        assert_eq!(event["payload"]["summary"].as_str().unwrap().chars().count(), 1024);
        assert_eq!(event["dedup_key"].as_str().unwrap().chars().count(), 255);
        assert_eq!(
            (&event["payload"]["severity"], &event["payload"]["source"]),
            (&json!("warning"), &json!("evenkeel"))
        );
    }

    #[test]
    fn a_resolution_has_no_payload() {
        let message = example(Stage::Resolved);
        let event = serde_json::to_value(event("key", Action::Resolve, &message)).unwrap();
        assert_eq!(event, json!({"routing_key": "key", "event_action": "resolve", "dedup_key": "uid-1"}));
    }
}
