//! A webhook that checks signatures, as its documentation says to.

use aws_lc_rs::hmac;
use serde_json::Value;

use super::{Reply, Request, Service};

/// One endpoint.
#[derive(Default)]
pub struct Hook {
    /// Key of the signature; `None`: none is wanted.
    pub key: Option<String>,
    pub bodies: Vec<Value>,
}

impl Hook {
    fn is_signed(&self, request: &Request) -> bool {
        let Some(key) = &self.key else { return true };
        let seconds = request.header("x-evenkeel-timestamp");
        let age = jiff::Timestamp::now().as_second() - seconds.parse::<i64>().unwrap_or_default();
        let Some(hex) = request.header("x-evenkeel-signature").strip_prefix("sha256=") else { return false };
        let tag: Option<Vec<u8>> =
            (0..hex.len() / 2).map(|at| u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok()).collect();
        let signed = [seconds.as_bytes(), b".", &request.body].concat();
        let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
        tag.is_some_and(|tag| hmac::verify(&key, &signed, &tag).is_ok()) && age.abs() < 300
    }
}

impl Service for Hook {
    fn answer(&mut self, request: &Request) -> Reply {
        if !self.is_signed(request) {
            return Reply::violation(401, "the signature is wrong");
        }
        self.bodies.push(request.json());
        Reply::text(200, "")
    }
}
