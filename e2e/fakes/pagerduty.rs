//! PagerDuty's Events API v2.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Reply, Request, Service, is_text, unknown};

/// One service at PagerDuty.
#[derive(Default)]
pub struct Pagerduty {
    pub routing_key: String,
    /// State by dedup_key: triggered, acknowledged or resolved.
    pub incidents: BTreeMap<String, &'static str>,
    /// How many incidents came into being.
    pub opened: u32,
}

impl Pagerduty {
    pub fn new(routing_key: &str) -> Self {
        Self { routing_key: routing_key.to_owned(), ..Self::default() }
    }

    fn fault(&self, body: &Value) -> Option<String> {
        let known = ["routing_key", "event_action", "dedup_key", "payload", "client", "client_url", "links", "images"];
        if let Some(field) = unknown(body, &known) {
            return Some(format!("an event has no {field}"));
        }
        if body["routing_key"] != self.routing_key.as_str() {
            return Some("routing_key is not known".to_owned());
        }
        let payload = &body["payload"];
        match body["event_action"].as_str() {
            Some("trigger") => {
                let known =
                    ["summary", "source", "severity", "timestamp", "component", "group", "class", "custom_details"];
                if let Some(field) = unknown(payload, &known) {
                    return Some(format!("a payload has no {field}"));
                }
                let severity = payload["severity"].as_str().unwrap_or_default();
                let good = is_text(&payload["summary"], 1024)
                    && is_text(&payload["source"], 255)
                    && ["critical", "error", "warning", "info"].contains(&severity);
                (!good).then(|| format!("payload {payload}"))
            }
            Some("acknowledge" | "resolve") if is_text(&body["dedup_key"], 255) => None,
            _ => Some(format!("event_action {}", body["event_action"])),
        }
    }
}

impl Service for Pagerduty {
    fn answer(&mut self, request: &Request) -> Reply {
        if (request.method.as_str(), request.path.as_str()) != ("POST", "/v2/enqueue") {
            return Reply::violation(404, format!("{} {}", request.method, request.path));
        }
        let body = request.json();
        let too_large = request.body.len() > 512 * 1024;
        if let Some(fault) = self.fault(&body).or(too_large.then(|| "more than 512 KB".to_owned())) {
            let answer = json!({"status": "invalid event", "message": "Event object is invalid", "errors": [fault]});
            return Reply { violation: Some(fault), ..Reply::json(400, answer) };
        }
        let key = body["dedup_key"].as_str().unwrap_or("generated").to_owned();
        let open = self.incidents.get(&key).is_some_and(|state| *state != "resolved");
        match body["event_action"].as_str() {
            Some("trigger") if !open => {
                self.opened += 1;
                self.incidents.insert(key.clone(), "triggered");
            }
            Some("acknowledge") if open => {
                self.incidents.insert(key.clone(), "acknowledged");
            }
            Some("resolve") if open => {
                self.incidents.insert(key.clone(), "resolved");
            }
            // A repeat, or nothing to do it to: taken, without effect.
            _ => {}
        }
        Reply::json(202, json!({"status": "success", "message": "Event processed", "dedup_key": key}))
    }
}
