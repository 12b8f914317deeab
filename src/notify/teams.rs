//! Microsoft Teams: an Adaptive Card to a workflow that waits for webhook requests.

use serde::Serialize;

use super::answer::ask;
use super::error::DeliveryError;
use super::message::{Message, cut};
use crate::hidden::Hidden;
use crate::response::run::Receipt;

/// Teams takes 28 KB. Every line of a text costs its words and about 80 bytes of card.
const MOST_BYTES: usize = 20 * 1024;
/// Longest title, in characters.
const TITLE: usize = 300;
/// Longest line, in characters.
const LINE: usize = 1000;

/// What is posted.
#[derive(Debug, Serialize)]
pub struct Post {
    #[serde(rename = "type")]
    type_: &'static str,
    attachments: [Attachment; 1],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Attachment {
    content_type: &'static str,
    /// Null: the card is in the request.
    content_url: Option<String>,
    content: Card,
}

#[derive(Debug, Serialize)]
struct Card {
    #[serde(rename = "$schema")]
    schema: &'static str,
    #[serde(rename = "type")]
    type_: &'static str,
    version: &'static str,
    body: Vec<Block>,
}

/// A line. Unlike a TextBlock it knows no Markdown: labels of alerts can hide no link in it.
#[derive(Debug, Serialize)]
struct Block {
    #[serde(rename = "type")]
    type_: &'static str,
    inlines: Vec<Run>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Run {
    #[serde(rename = "type")]
    type_: &'static str,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    font_type: Option<&'static str>,
}

fn line(runs: impl IntoIterator<Item = Run>) -> Block {
    Block { type_: "RichTextBlock", inlines: runs.into_iter().collect() }
}

fn words(text: &str) -> Run {
    Run { type_: "TextRun", text: cut(text, LINE), ..Run::default() }
}

/// The card of a message. Pure.
pub fn post(message: &Message) -> Post {
    let parts = message.parts();
    let title = Run { weight: Some("Bolder"), size: Some("Large"), ..words(&cut(&message.title, TITLE)) };
    let mut body = vec![line([title])];
    for (name, value) in parts.facts {
        body.push(line([Run { weight: Some("Bolder"), ..words(&format!("{name}: ")) }, words(value)]));
    }
    let command = parts.command.map(|command| line([Run { font_type: Some("Monospace"), ..words(command) }]));
    let mut bytes = 0;
    for text in parts.body.lines().filter(|text| !text.trim().is_empty()) {
        let words = words(text);
        // In JSON a control character takes six bytes; the rest of a card is small.
        bytes += serde_json::to_string(&words).map_or(0, |json| json.len()) + 40;
        if bytes > MOST_BYTES {
            body.push(line([self::words("…")]));
            break;
        }
        body.push(line([words]));
    }
    body.extend(command);
    let content = Card {
        schema: "http://adaptivecards.io/schemas/adaptive-card.json",
        type_: "AdaptiveCard",
        version: "1.4",
        body,
    };
    let content_type = "application/vnd.microsoft.card.adaptive";
    Post { type_: "message", attachments: [Attachment { content_type, content_url: None, content }] }
}

/// Posts a card; one that was posted cannot be changed.
pub async fn send(http: &reqwest::Client, url: &Hidden, message: &Message) -> Result<Receipt, DeliveryError> {
    ask(http.post(url.expose()).json(&post(message))).await?.success().map(|_| Receipt::default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::message::{Stage, example};

    #[test]
    fn a_card_has_title_facts_text_and_command() {
        let post = serde_json::to_value(post(&example(Stage::AtWork))).unwrap();
        let card = &post["attachments"][0]["content"];
        assert_eq!((&post["type"], &card["type"]), (&"message".into(), &"AdaptiveCard".into()));
        let texts: Vec<_> = card["body"].as_array().unwrap().iter().map(|b| b["inlines"].to_string()).collect();
        for (index, part) in [(0, "HighErrorRate"), (1, "Target"), (5, "rolled back"), (6, "kubectl describe run")] {
            assert!(texts[index].contains(part), "{texts:#?}");
        }
    }

    #[test]
    fn a_card_stays_below_the_limit_of_teams() {
        let text = "ä\u{1}".repeat(600) + "\n";
        let message = Message { text: text.repeat(60), ..example(Stage::News) };
        assert!(serde_json::to_string(&post(&message)).unwrap().len() < 28 * 1024);
    }
}
