//! Why a message was not delivered, or a service did not do what it was asked.

use std::time::Duration;

#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    #[error("Secret {name} cannot be read: {source}")]
    Secret { name: String, source: Box<kube::Error> },
    #[error("Secret {name} does not exist")]
    NoSecret { name: String },
    #[error("Secret {name} has no key {key}, or it is not text")]
    NoKey { name: String, key: String },
    #[error("the channel names none of slack, pagerduty, webhook, email, teams and github")]
    Empty,
    #[error(
        "the channel has spec.github, which serves the steps githubIssue and githubWorkflow only: name a channel of another type"
    )]
    NotForPeople,
    #[error("the channel has spec.{found} and no spec.github: name a channel with a repository and a token")]
    NotGithub { found: &'static str },
    #[error("there is no NotificationChannel of this name")]
    NoChannel,
    #[error("it cannot be read: {0}")]
    Channel(#[source] Box<kube::Error>),
    #[error("it makes no sense: {0}")]
    Invalid(String),
    #[error("{field} is not a URL that can be used: {problem}")]
    Url { field: &'static str, problem: String },
    #[error("no answer: {0}")]
    Http(#[source] reqwest::Error),
    #[error("answered {status}{}", tail(.words))]
    Status {
        status: u16,
        /// Its own words, where the service has some.
        words: String,
        retry_after: Option<Duration>,
    },
    #[error(
        "no answer, so nobody can tell whether {what}: look at it there; an input with the run's name in the workflow's run-name lets it be recognised"
    )]
    Lost { what: String },
    #[error("answered what is not understood: {0}")]
    Answer(String),
    #[error("answered {error}")]
    Slack { error: String, retry_after: Option<Duration> },
    #[error("{field} {value:?} is not usable: {problem}")]
    Email { field: &'static str, value: String, problem: String },
    #[error("the mail server did not take it: {0}")]
    Smtp(#[source] lettre::transport::smtp::Error),
}

fn tail(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!(": {words}") }
}

/// Words of Slack that pass by themselves.
const SLACK_PASSES: [&str; 6] =
    ["ratelimited", "rate_limited", "internal_error", "fatal_error", "service_unavailable", "request_timeout"];

impl DeliveryError {
    /// When the receiver wants to be tried again.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } | Self::Slack { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Trying again would not help: a person must change something.
    pub fn is_final(&self) -> bool {
        match self {
            Self::NoSecret { .. } | Self::NoKey { .. } | Self::Empty | Self::Email { .. } | Self::Url { .. } => true,
            Self::NoChannel | Self::Invalid(_) | Self::NotForPeople | Self::NotGithub { .. } | Self::Lost { .. } => {
                true
            }
            // Who says when to come again does not refuse for good, whatever the code (GitHub: 403).
            Self::Status { retry_after: Some(_), .. } => false,
            Self::Status { status, .. } => (300..500).contains(status) && !matches!(status, 408 | 429),
            Self::Slack { error, .. } => !SLACK_PASSES.contains(&error.as_str()),
            Self::Smtp(error) => error.is_permanent(),
            Self::Secret { .. } | Self::Channel(_) | Self::Http(_) | Self::Answer(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_final_unless_it_names_a_time() {
        let status = |status, retry_after| DeliveryError::Status { status, words: String::new(), retry_after };
        for code in [400, 401, 403, 404, 422] {
            assert!(status(code, None).is_final(), "{code}");
        }
        for code in [408, 429, 500, 502, 503] {
            assert!(!status(code, None).is_final(), "{code}");
        }
        assert!(!status(403, Some(Duration::from_secs(60))).is_final());
        let slack = |error: &str| DeliveryError::Slack { error: error.into(), retry_after: None };
        assert!(slack("channel_not_found").is_final() && !slack("ratelimited").is_final());
    }
}
