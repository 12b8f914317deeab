//! A workflow of Microsoft Teams that waits for webhook requests.

use serde_json::{Value, json};

use super::{Reply, Request, Service, is_text};

/// One workflow.
#[derive(Default)]
pub struct Teams {
    /// Its cards.
    pub cards: Vec<Value>,
}

fn fault(body: &Value) -> Option<&'static str> {
    let attachment = &body["attachments"][0];
    let card = &attachment["content"];
    if body["type"] != "message" || body["attachments"].as_array().map(Vec::len) != Some(1) {
        return Some("one message with one attachment");
    }
    if attachment["contentType"] != "application/vnd.microsoft.card.adaptive" || card["type"] != "AdaptiveCard" {
        return Some("no Adaptive Card");
    }
    if !["1.2", "1.3", "1.4", "1.5"].iter().any(|version| card["version"] == *version) {
        return Some("a version that Teams does not show");
    }
    let blocks = card["body"].as_array().filter(|blocks| !blocks.is_empty());
    let Some(blocks) = blocks else { return Some("an empty card") };
    let is_run = |run: &Value| run["type"] == "TextRun" && is_text(&run["text"], 10_000);
    let is_block = |block: &Value| match block["type"].as_str() {
        Some("RichTextBlock") => block["inlines"].as_array().is_some_and(|runs| runs.iter().all(is_run)),
        Some("TextBlock") => is_text(&block["text"], 10_000),
        _ => false,
    };
    (!blocks.iter().all(is_block)).then_some("a block that is not known")
}

impl Service for Teams {
    fn answer(&mut self, request: &Request) -> Reply {
        let body = request.json();
        if request.method != "POST" || !request.path.starts_with("/workflows/") {
            return Reply::violation(404, format!("{} {}", request.method, request.path));
        }
        if request.body.len() > 28 * 1024 {
            return Reply::violation(413, "more than 28 KB");
        }
        if let Some(fault) = fault(&body) {
            return Reply::violation(400, fault);
        }
        self.cards.push(body["attachments"][0]["content"].clone());
        Reply { body: String::new(), ..Reply::json(202, json!({})) }
    }
}
