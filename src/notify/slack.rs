//! Slack: a card by an incoming webhook, or by a bot, which can change it later.

use serde::{Deserialize, Serialize};

use super::answer::{Answer, ask};
use super::error::DeliveryError;
use super::message::{Message, cut};
use crate::hidden::Hidden;
use crate::response::run::Receipt;

/// Base URL of the Web API.
pub const URL: &str = "https://slack.com/api";
/// Longest header, section and field of a card, and most sections, in what the Block Kit allows.
const HEADER: usize = 150;
const SECTION: usize = 3000;
const FIELD: usize = 2000;
const SECTIONS: usize = 8;
/// Longest plain text, which notifications show.
const TEXT: usize = 3000;

/// A way into Slack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slack {
    /// The URL is the credential.
    Webhook {
        url: Hidden,
        channel: Option<String>,
    },
    Bot {
        url: String,
        token: Hidden,
        channel: String,
    },
}

/// What is posted.
#[derive(Debug, Serialize)]
pub struct Post<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a str>,
    /// Of the message that is to be changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    ts: Option<&'a str>,
    /// What notifications show, and clients without cards.
    text: String,
    blocks: Vec<Block>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block {
    Header {
        text: Text,
    },
    Section {
        text: Text,
    },
    #[serde(rename = "section")]
    Facts {
        fields: Vec<Text>,
    },
    Context {
        elements: Vec<Text>,
    },
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", content = "text", rename_all = "snake_case")]
enum Text {
    PlainText(String),
    Mrkdwn(String),
}

/// The three characters by which Slack tells mentions, links and entities; without them a label can call nobody.
fn escaped(character: char) -> Option<&'static str> {
    match character {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        _ => None,
    }
}

/// The text, escaped, in pieces of at most `most` characters; at most `pieces` of them.
fn pieces(text: &str, most: usize, pieces: usize) -> Vec<String> {
    let mut all = vec![];
    let (mut piece, mut length) = (String::new(), 0);
    for character in text.chars() {
        let width = escaped(character).map_or(1, str::len);
        // One is left for an ellipsis.
        if length + width > most - 1 {
            if all.len() + 1 == pieces {
                piece.push('…');
                break;
            }
            all.push(std::mem::take(&mut piece));
            length = 0;
        }
        match escaped(character) {
            Some(escaped) => piece.push_str(escaped),
            None => piece.push(character),
        }
        length += width;
    }
    all.push(piece);
    all
}

fn escape(text: &str, most: usize) -> String {
    pieces(text, most, 1).concat()
}

/// The card of a message. Pure.
pub fn post<'a>(message: &Message, channel: Option<&'a str>, ts: Option<&'a str>) -> Post<'a> {
    let parts = message.parts();
    let title = if message.title.trim().is_empty() { "Evenkeel" } else { &message.title };
    let mut blocks = vec![Block::Header { text: Text::PlainText(escape(title, HEADER)) }];
    let field = |(name, value): (&str, &str)| Text::Mrkdwn(format!("*{name}*\n{}", escape(value, FIELD - 100)));
    blocks.push(Block::Facts { fields: parts.facts.into_iter().map(field).collect() });
    let sections = pieces(&parts.body, SECTION, SECTIONS).into_iter().filter(|text| !text.trim().is_empty());
    blocks.extend(sections.map(|text| Block::Section { text: Text::Mrkdwn(text) }));
    let command = parts.command.map(|command| Text::Mrkdwn(format!("`{}`", escape(command, FIELD - 100))));
    blocks.extend(command.map(|command| Block::Context { elements: vec![command] }));
    Post { channel, ts, text: escape(&message.text, TEXT), blocks }
}

/// What the Web API answers, always with status 200 but when it is asked too often.
#[derive(Deserialize)]
struct Said {
    ok: bool,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    channel: Option<String>,
    #[serde(default)]
    ts: Option<String>,
}

/// Posts a card, or changes the one that the message refers to.
pub async fn send(http: &reqwest::Client, to: &Slack, message: &Message) -> Result<Receipt, DeliveryError> {
    let (url, token, channel) = match to {
        Slack::Webhook { url, channel } => {
            let post = post(message, channel.as_deref(), None);
            return hooked(ask(http.post(url.expose()).json(&post)).await?);
        }
        Slack::Bot { url, token, channel } => (url.trim_end_matches('/'), token, channel),
    };
    let call = async |method: &str, post: &Post<'_>| {
        let request = http.post(format!("{url}/{method}")).bearer_auth(token.expose());
        said(ask(request.json(post)).await?)
    };
    if let Some((channel, ts)) = message.reference.as_deref().and_then(|reference| reference.split_once('/')) {
        match call("chat.update", &post(message, Some(channel), Some(ts))).await {
            // It is gone, or too old to be changed: what is to be told is told anew.
            Err(DeliveryError::Slack { error, .. }) if UNCHANGEABLE.contains(&error.as_str()) => {}
            other => return other,
        }
    }
    call("chat.postMessage", &post(message, Some(channel), None)).await
}

/// Why a message cannot be changed, while another can be posted.
const UNCHANGEABLE: [&str; 3] = ["message_not_found", "cant_update_message", "edit_window_closed"];

fn said(answer: Answer) -> Result<Receipt, DeliveryError> {
    if !answer.is_success() {
        return Err(answer.refusal(String::new()));
    }
    let Said { ok, error, channel, ts } = answer.json()?;
    if !ok {
        let error = cut(error.as_deref().unwrap_or("an error without a name"), 100);
        return Err(DeliveryError::Slack { error, retry_after: answer.retry_after });
    }
    let reference = channel.zip(ts).map(|(channel, ts)| format!("{channel}/{ts}"));
    Ok(Receipt { reference, incident: false })
}

/// A webhook answers in plain words: `ok`, `channel_is_archived`, `no_service`.
fn hooked(answer: Answer) -> Result<Receipt, DeliveryError> {
    if answer.is_success() {
        return Ok(Receipt::default());
    }
    let words = String::from_utf8_lossy(&answer.body);
    let is_word = !words.is_empty() && words.len() < 64 && words.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let words = if is_word { words.into_owned() } else { String::new() };
    Err(answer.refusal(words))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::message::{Stage, example};
    use serde_json::{Value, json};

    fn card(message: &Message) -> Value {
        serde_json::to_value(post(message, Some("#alerts"), None)).unwrap()
    }

    #[test]
    fn a_card_has_header_facts_text_and_command() {
        let card = card(&example(Stage::AtWork));
        assert_eq!(
            card["blocks"],
            json!([
                {"type": "header", "text": {"type": "plain_text", "text": "HighErrorRate: checkout fails"}},
                {"type": "section", "fields": [
                    {"type": "mrkdwn", "text": "*Target*\nshop/Deployment/checkout"},
                    {"type": "mrkdwn", "text": "*Severity*\ncritical"},
                    {"type": "mrkdwn", "text": "*State*\nbeing repaired"},
                ]},
                {"type": "section", "text": {"type": "mrkdwn", "text": "Deployment/checkout in namespace shop\nrolled back"}},
                {"type": "context", "elements": [{"type": "mrkdwn", "text": "`kubectl describe run -n shop r`"}]},
            ])
        );
        assert_eq!((&card["channel"], card.get("ts")), (&json!("#alerts"), None));
    }

    #[test]
    fn no_label_can_call_everybody() {
        let title = "Down <!channel> & <@U123|you>";
        let message = Message { title: title.into(), text: format!("{title}\n{title}"), ..example(Stage::News) };
        let card = card(&message).to_string();
        assert!(!card.contains('<') && card.contains("&lt;!channel&gt; &amp; &lt;@U123|you&gt;"), "{card}");
    }

    #[test]
    fn a_card_keeps_to_the_limits_of_the_block_kit() {
        let text = "<äöü> and more\n".repeat(10_000);
        let message = Message { title: "&".repeat(400), source: "s".repeat(5000), text, ..example(Stage::News) };
        let card = card(&message);
        let length = |value: &Value| value.as_str().unwrap().chars().count();
        let blocks = card["blocks"].as_array().unwrap();
        assert!(blocks.len() <= 50 && length(&blocks[0]["text"]["text"]) <= 150);
        assert!(length(&blocks[1]["fields"][0]["text"]) <= 2000);
        assert!(blocks[2..].iter().all(|block| length(&block["text"]["text"]) <= 3000), "{blocks:#?}");
        assert!(blocks.last().unwrap()["text"]["text"].as_str().unwrap().ends_with('…'));
    }
}
