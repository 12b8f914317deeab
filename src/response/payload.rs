//! What Alertmanager posts to a webhook (version 4), and what `/api/v2/alerts` returns.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use serde::{Deserialize, Deserializer};

use crate::api::response_run::{AlertState, RunAlert};
use crate::k8s::meta::digest;
use crate::k8s::status::at_second;

/// Longest value of a label or annotation that a run keeps, in bytes.
const MAX_VALUE: usize = 1024;
/// Most labels, and most annotations, that a run keeps.
const MAX_ENTRIES: usize = 64;

/// The body of a webhook call; fields that are not listed are ignored.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Payload {
    pub alerts: Vec<Alert>,
    /// Alerts that Alertmanager cut off (`max_alerts`).
    #[serde(default, deserialize_with = "or_default")]
    pub truncated_alerts: u64,
}

/// One alert, as the webhook and the API have it in common.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Alert {
    /// `firing` or `resolved` in a webhook; `{"state": ...}` in the API.
    #[serde(default)]
    pub status: Status,
    pub labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "or_default")]
    pub annotations: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "or_default")]
    pub fingerprint: String,
    #[serde(default)]
    pub starts_at: Option<Timestamp>,
    #[serde(default)]
    pub ends_at: Option<Timestamp>,
    #[serde(default, rename = "generatorURL", deserialize_with = "or_default")]
    pub generator_url: String,
}

/// The two ways in which Alertmanager tells the state of an alert.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Status {
    Webhook(WebhookState),
    Api { state: ApiState },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WebhookState {
    Firing,
    Resolved,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ApiState {
    Active,
    /// Silenced or inhibited: it fires, and somebody does not want to hear of it.
    Suppressed,
    /// Not seen by the dispatcher yet.
    Unprocessed,
}

impl Default for Status {
    fn default() -> Self {
        Self::Webhook(WebhookState::Firing)
    }
}

/// JSON `null` counts as absent: clients in Go write it for empty maps.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Alert {
    pub fn name(&self) -> &str {
        self.labels.get("alertname").map(String::as_str).unwrap_or_default()
    }

    pub fn is_resolved(&self) -> bool {
        self.status == Status::Webhook(WebhookState::Resolved)
    }

    /// Fires, and nobody silenced it.
    pub fn asks_for_action(&self) -> bool {
        matches!(self.status, Status::Webhook(WebhookState::Firing) | Status::Api { state: ApiState::Active })
    }

    pub fn state(&self) -> AlertState {
        if self.is_resolved() { AlertState::Resolved } else { AlertState::Firing }
    }

    /// The sender's fingerprint if it can be a label of an object (Alertmanager's are 16 hexadecimal digits), else one
    /// made from the labels.
    pub fn identity(&self) -> String {
        let usable = (8..=63).contains(&self.fingerprint.len())
            && self.fingerprint.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if usable {
            return self.fingerprint.clone();
        }
        digest(self.labels.iter().flat_map(|(k, v)| [k.as_str(), v.as_str()]), 16)
    }

    /// What a run keeps of it. Untrusted input: bounded in number and length.
    pub fn record(&self, source: &str, now: Timestamp) -> RunAlert {
        let bounded = |map: &BTreeMap<String, String>| -> BTreeMap<String, String> {
            map.iter().take(MAX_ENTRIES).map(|(k, v)| (cut(k), cut(v))).collect()
        };
        RunAlert {
            name: cut(self.name()),
            labels: bounded(&self.labels),
            annotations: bounded(&self.annotations),
            fingerprint: self.identity(),
            starts_at: self.starts_at.map(|t| Time(at_second(t))),
            generator_url: cut(&self.generator_url),
            received_at: Some(MicroTime(now)),
            source: source.to_owned(),
        }
    }
}

/// Whether a run keeps these labels as they arrived: none of them left out or cut.
pub fn is_whole(labels: &BTreeMap<String, String>) -> bool {
    let is_cut = |text: &str| text.len() > MAX_VALUE;
    labels.len() < MAX_ENTRIES && !labels.iter().any(|(name, value)| is_cut(name) || is_cut(value))
}

fn cut(text: &str) -> String {
    if text.len() <= MAX_VALUE {
        return text.to_owned();
    }
    let end = (0..=MAX_VALUE).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_with_unknown_fields_and_nulls_is_read() {
        let payload: Payload = serde_json::from_str(
            r#"{"version":"4","groupKey":"{}:{}","truncatedAlerts":null,"status":"firing","receiver":"evenkeel","novelty":{"a":1},
                "groupLabels":{},"commonLabels":{},"commonAnnotations":null,"externalURL":"http://am","alerts":[
                {"status":"resolved","labels":{"alertname":"A","job":"b"},"annotations":null,"startsAt":"2026-01-02T03:04:05.678Z",
                 "endsAt":"0001-01-01T00:00:00Z","generatorURL":"http://p","fingerprint":"00000000deadbeef","later":true}]}"#,
        )
        .unwrap();
        let alert = &payload.alerts[0];
        assert!(alert.is_resolved());
        assert_eq!((alert.name(), alert.identity().as_str()), ("A", "00000000deadbeef"));
        assert_eq!(alert.starts_at.unwrap().to_string(), "2026-01-02T03:04:05.678Z");
    }

    #[test]
    fn the_api_tells_silenced_alerts_from_active_ones() {
        let alerts: Vec<Alert> = serde_json::from_str(
            r#"[{"labels":{"alertname":"A"},"status":{"state":"active","silencedBy":[]},"receivers":[{"name":"x"}],"updatedAt":"2026-01-02T03:04:05Z"},
                {"labels":{"alertname":"B"},"status":{"state":"suppressed","silencedBy":["1"]}}]"#,
        )
        .unwrap();
        assert_eq!(alerts.iter().map(Alert::asks_for_action).collect::<Vec<_>>(), [true, false]);
        assert!(alerts.iter().all(|a| a.state() == AlertState::Firing));
    }

    #[test]
    fn a_fingerprint_that_could_not_be_a_label_is_replaced_by_one_of_the_labels() {
        let alert = |fingerprint: &str, value: &str| Alert {
            labels: BTreeMap::from([("alertname".into(), value.into())]),
            fingerprint: fingerprint.into(),
            ..Alert::default()
        };
        assert_eq!(alert("", "A").identity(), alert("../../x", "A").identity());
        assert_ne!(alert("", "A").identity(), alert("", "B").identity());
    }

    #[test]
    fn what_a_run_keeps_is_bounded() {
        let annotations = (0..100).map(|n| (format!("{n:03}"), "ä".repeat(2000))).collect();
        let alert = Alert { annotations, ..Alert::default() };
        let record = alert.record("webhook", Timestamp::UNIX_EPOCH);
        assert_eq!(record.annotations.len(), MAX_ENTRIES);
        assert!(record.annotations.values().all(|v| v.len() <= MAX_VALUE + 3));
    }
}
