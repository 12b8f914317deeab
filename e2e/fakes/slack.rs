//! Slack's Web API, as far as cards are posted and changed, and its incoming webhooks.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Reply, Request, Service, is_text, unknown};

/// One workspace.
#[derive(Default)]
pub struct Slack {
    pub token: String,
    /// Channels that the bot is a member of, by name, with their IDs.
    pub channels: BTreeMap<String, String>,
    /// Path of the incoming webhook.
    pub hook: String,
    /// What was posted, as it is now.
    pub messages: Vec<Card>,
}

/// One message.
#[derive(Clone, Debug, PartialEq)]
pub struct Card {
    /// ID of the channel; empty for one by webhook.
    pub channel: String,
    pub ts: String,
    pub body: Value,
    /// How often it was changed.
    pub updates: u32,
}

impl Slack {
    pub fn new(token: &str, channel: &str) -> Self {
        let channels = BTreeMap::from([(channel.to_owned(), "C0123456789".to_owned())]);
        Self { token: token.to_owned(), channels, hook: "/services/T0/B0/key".to_owned(), messages: vec![] }
    }

    fn post(&mut self, body: &Value, channel: &str) -> Reply {
        let ts = format!("1700000000.{:06}", self.messages.len() + 1);
        let card = Card { channel: channel.to_owned(), ts: ts.clone(), body: body.clone(), updates: 0 };
        self.messages.push(card);
        Reply::json(200, json!({"ok": true, "channel": channel, "ts": ts, "message": {"text": body["text"]}}))
    }

    fn method(&mut self, request: &Request) -> Reply {
        let body = request.json();
        if request.header("authorization") != format!("Bearer {}", self.token) {
            return Reply::json(200, json!({"ok": false, "error": "invalid_auth"}));
        }
        if !request.header("content-type").starts_with("application/json") {
            return Reply::violation(200, "content-type is not JSON");
        }
        if let Some(problem) = fault(&body) {
            return Reply {
                violation: Some(problem),
                ..Reply::json(200, json!({"ok": false, "error": "invalid_blocks"}))
            };
        }
        let named = body["channel"].as_str().unwrap_or_default();
        let id = self.channels.values().find(|id| *id == named).or_else(|| self.channels.get(named)).cloned();
        let Some(id) = id else {
            return Reply::json(200, json!({"ok": false, "error": "channel_not_found"}));
        };
        match request.path.rsplit('/').next() {
            Some("chat.postMessage") if body.get("ts").is_none() => self.post(&body, &id),
            // Unlike posting, changing takes the ID alone.
            Some("chat.update") if named != id => Reply::violation(200, "chat.update needs the ID of the channel"),
            Some("chat.update") => {
                let found = self.messages.iter_mut().find(|card| card.channel == id && body["ts"] == *card.ts);
                let Some(card) = found else {
                    return Reply::json(200, json!({"ok": false, "error": "message_not_found"}));
                };
                (card.body, card.updates) = (body.clone(), card.updates + 1);
                Reply::json(200, json!({"ok": true, "channel": id, "ts": body["ts"], "text": body["text"]}))
            }
            _ => Reply::json(200, json!({"ok": false, "error": "unknown_method"})),
        }
    }
}

impl Service for Slack {
    fn answer(&mut self, request: &Request) -> Reply {
        if request.method != "POST" {
            return Reply::violation(405, "only POST");
        }
        if request.path == self.hook {
            let body = request.json();
            return match fault(&body) {
                Some(problem) => Reply { violation: Some(problem), ..Reply::text(400, "invalid_blocks") },
                None => {
                    self.post(&body, "");
                    Reply::text(200, "ok")
                }
            };
        }
        match request.path.starts_with("/api/") {
            true => self.method(request),
            false => Reply::text(404, "no_service"),
        }
    }
}

/// What is wrong with a message, by the limits of the Block Kit.
fn fault(body: &Value) -> Option<String> {
    if let Some(field) = unknown(body, &["channel", "ts", "text", "blocks"]) {
        return Some(format!("{field} is not expected"));
    }
    if !is_text(&body["text"], 40_000) {
        return Some("text is missing or too long".to_owned());
    }
    // What begins so is a mention, a link or an entity, and was not made by us.
    if body.to_string().contains('<') {
        return Some("an unescaped <".to_owned());
    }
    let blocks = body["blocks"].as_array()?;
    if blocks.is_empty() || blocks.len() > 50 {
        return Some("1 to 50 blocks".to_owned());
    }
    blocks.iter().find_map(|block| {
        let all = |key: &str, most: usize, length: usize, of: &[&str]| {
            let texts = block[key].as_array().cloned().unwrap_or_default();
            (1..=most).contains(&texts.len()) && texts.iter().all(|text| is_block_text(text, length, of))
        };
        let mrkdwn = ["mrkdwn", "plain_text"];
        let good = match block["type"].as_str() {
            Some("header") => is_block_text(&block["text"], 150, &["plain_text"]),
            Some("section") if block.get("fields").is_some() => all("fields", 10, 2000, &mrkdwn),
            Some("section") => is_block_text(&block["text"], 3000, &mrkdwn),
            Some("context") => all("elements", 10, 2000, &mrkdwn),
            _ => false,
        };
        (!good).then(|| format!("block {block}"))
    })
}

fn is_block_text(text: &Value, most: usize, types: &[&str]) -> bool {
    types.iter().any(|type_| text["type"] == *type_) && is_text(&text["text"], most)
}
