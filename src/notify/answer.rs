//! One request over HTTP and its answer.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::RequestBuilder;
use reqwest::header::HeaderMap;
use serde::de::DeserializeOwned;

use super::error::DeliveryError;

/// What a service answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// When it wants to be asked again.
    pub retry_after: Option<Duration>,
    pub body: Vec<u8>,
}

/// Sends a request. An error means that nobody knows whether it arrived.
pub async fn ask(request: RequestBuilder) -> Result<Answer, DeliveryError> {
    // The URL may be a credential.
    let hide = |error: reqwest::Error| DeliveryError::Http(error.without_url());
    let answer = request.send().await.map_err(hide)?;
    let status = answer.status().as_u16();
    let retry_after = retry_after(answer.headers(), Timestamp::now());
    let body = answer.bytes().await.map_err(hide)?.to_vec();
    Ok(Answer { status, retry_after, body })
}

/// Of `Retry-After` in seconds, or of GitHub's `x-ratelimit-reset` (seconds since 1970) when nothing remains.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
    if let Some(seconds) = number("retry-after") {
        return Some(Duration::from_secs(seconds));
    }
    let reset = number("x-ratelimit-reset").filter(|_| number("x-ratelimit-remaining") == Some(0))?;
    let now = u64::try_from(now.as_second()).unwrap_or_default();
    Some(Duration::from_secs(reset.saturating_sub(now).max(1)))
}

impl Answer {
    /// Whether it is a 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body, if it is what is expected.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, DeliveryError> {
        serde_json::from_slice(&self.body).map_err(|error| DeliveryError::Answer(error.to_string()))
    }

    /// As an error, in the words that the service found, if they can be shown.
    pub fn refusal(&self, words: String) -> DeliveryError {
        let Self { status, retry_after, body: _ } = self;
        // A success has no need to be asked again; GitHub counts on every answer.
        let retry_after = retry_after.filter(|_| matches!(status, 403 | 429 | 500..));
        DeliveryError::Status { status: *status, words: super::message::cut(&words, 200), retry_after }
    }

    /// An error unless it is a 2xx. The body is not shown: who knows what it repeats.
    pub fn success(self) -> Result<Self, DeliveryError> {
        if self.is_success() { Ok(self) } else { Err(self.refusal(String::new())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_says_in_three_ways_when_to_come_again() {
        let now = Timestamp::from_second(1_000).unwrap();
        let of = |pairs: &[(&'static str, &str)]| {
            let headers = pairs.iter().map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap())).collect::<HeaderMap>();
            retry_after(&headers, now)
        };
        assert_eq!(of(&[("retry-after", "7")]), Some(Duration::from_secs(7)));
        assert_eq!(of(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1030")]), Some(Duration::from_secs(30)));
        assert_eq!(of(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "900")]), Some(Duration::from_secs(1)));
        assert_eq!(of(&[("x-ratelimit-remaining", "12"), ("x-ratelimit-reset", "1030")]), None);
        assert_eq!(of(&[("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT")]), None);
    }
}
