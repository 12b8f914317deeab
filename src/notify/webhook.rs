//! Any HTTP endpoint, with a signature where a key is given.

use aws_lc_rs::hmac;
use jiff::Timestamp;
use serde::Serialize;

use super::answer::ask;
use super::error::DeliveryError;
use super::message::Message;
use crate::hidden::Hidden;
use crate::response::run::Receipt;

/// Header of the signature: `sha256=` and the HMAC-SHA256 of `<timestamp>.<body>` in hexadecimal.
pub const SIGNATURE: &str = "X-Evenkeel-Signature";
/// Header of the time that is signed with the body, in seconds since 1970.
pub const TIMESTAMP: &str = "X-Evenkeel-Timestamp";

/// An endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    pub url: Hidden,
    pub authorization: Authorization,
    pub signature_key: Option<Hidden>,
}

/// How a request is authorized.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authorization {
    None,
    Bearer(Hidden),
    Basic { username: String, password: Hidden },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    title: &'a str,
    text: &'a str,
    dedup_key: &'a str,
    source: &'a str,
    severity: &'a str,
    /// news, asking, atWork, closed or resolved.
    stage: &'a str,
}

/// The body of a message, byte by byte as it is sent and signed. Pure.
pub fn body(message: &Message) -> Result<Vec<u8>, DeliveryError> {
    let Message { title, text, dedup_key, source, severity, stage, reference: _ } = message;
    let body = Body { title, text, dedup_key, source, severity, stage: stage.word() };
    serde_json::to_vec(&body).map_err(|error| DeliveryError::Invalid(error.to_string()))
}

/// The value of the signature's header. Pure.
pub fn signature(key: &Hidden, seconds: i64, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.expose().as_bytes());
    let mut context = hmac::Context::with_key(&key);
    context.update(format!("{seconds}.").as_bytes());
    context.update(body);
    let digest = context.sign();
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={hex}")
}

/// Posts a message.
pub async fn send(http: &reqwest::Client, to: &Webhook, message: &Message) -> Result<Receipt, DeliveryError> {
    let body = body(message)?;
    let request = http.post(to.url.expose()).header("content-type", "application/json");
    let request = match &to.authorization {
        Authorization::None => request,
        Authorization::Bearer(token) => request.bearer_auth(token.expose()),
        Authorization::Basic { username, password } => request.basic_auth(username, Some(password.expose())),
    };
    let request = match &to.signature_key {
        Some(key) => {
            let seconds = Timestamp::now().as_second();
            request.header(TIMESTAMP, seconds).header(SIGNATURE, signature(key, seconds, &body))
        }
        None => request,
    };
    ask(request.body(body)).await?.success().map(|_| Receipt::default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::message::{Stage, example};

    #[test]
    fn a_signature_is_what_other_tools_compute() {
        // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac key
        let expected = "sha256=a438e398bfafc57e4396bb7fc2304422f0f768e965d073ca313cb52e22e6ad03";
        assert_eq!(signature(&Hidden::new("key"), 1_700_000_000, br#"{"a":1}"#), expected);
    }

    #[test]
    fn the_body_names_the_stage() {
        let body = String::from_utf8(body(&example(Stage::Closed)).unwrap()).unwrap();
        assert!(body.contains(r#""dedupKey":"uid-1""#) && body.contains(r#""stage":"closed""#), "{body}");
    }
}
