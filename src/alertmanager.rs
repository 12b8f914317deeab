//! Client of the HTTP API of Alertmanager (v2), one for each replica.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::prometheus::{BuildInfo, Endpoint, HttpError, Labels};

/// The port of Alertmanager in its pods.
pub const ALERTMANAGER_PORT: u16 = 9093;

/// One Alertmanager.
#[derive(Clone, Debug)]
pub struct Alertmanager(Endpoint);

/// An alert as Alertmanager has it.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(from = "RawAlert")]
pub struct AmAlert {
    /// Hash of the labels; the same in the webhook's payload.
    pub fingerprint: String,
    pub labels: Labels,
    pub annotations: Labels,
    pub starts_at: Timestamp,
    pub ends_at: Timestamp,
    pub updated_at: Timestamp,
    /// `unprocessed`, `active` or `suppressed`.
    pub state: String,
    /// IDs of silences.
    pub silenced_by: Vec<String>,
    /// Fingerprints of inhibiting alerts.
    pub inhibited_by: Vec<String>,
    pub generator_url: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawAlert {
    fingerprint: String,
    labels: Labels,
    annotations: Labels,
    starts_at: Timestamp,
    ends_at: Timestamp,
    updated_at: Timestamp,
    status: RawStatus,
    #[serde(default, rename = "generatorURL")]
    generator_url: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawStatus {
    state: String,
    silenced_by: Vec<String>,
    inhibited_by: Vec<String>,
}

impl From<RawAlert> for AmAlert {
    fn from(raw: RawAlert) -> Self {
        let RawAlert { fingerprint, labels, annotations, starts_at, ends_at, updated_at, status, generator_url } = raw;
        let RawStatus { state, silenced_by, inhibited_by } = status;
        Self {
            fingerprint,
            labels,
            annotations,
            starts_at,
            ends_at,
            updated_at,
            state,
            silenced_by,
            inhibited_by,
            generator_url,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AmStatus {
    config: AmConfig,
    version_info: BuildInfo,
}
#[derive(Deserialize)]
struct AmConfig {
    original: String,
}

impl Alertmanager {
    /// `base` is a URL without a path, for example `http://127.0.0.1:9093`.
    pub fn new(http: reqwest::Client, base: &str) -> Self {
        Self(Endpoint::new(http, base))
    }

    pub fn at(http: &reqwest::Client, pod_ip: &str) -> Self {
        Self(Endpoint::of_pod(http, pod_ip, ALERTMANAGER_PORT))
    }

    /// Every alert that has not ended: active, silenced, inhibited.
    pub async fn alerts(&self) -> Result<Vec<AmAlert>, HttpError> {
        self.0.get_json("/api/v2/alerts", &[]).await
    }

    /// The configuration that is loaded, with secrets as `<secret>`.
    pub async fn config(&self) -> Result<String, HttpError> {
        Ok(self.status().await?.0)
    }

    /// The configuration that is loaded, and the version, for example `0.31.1`.
    pub async fn status(&self) -> Result<(String, String), HttpError> {
        let status: AmStatus = self.0.get_json("/api/v2/status", &[]).await?;
        Ok((status.config.original, status.version_info.version))
    }

    /// Loads the configuration file anew. An error says what Alertmanager found wrong with it.
    pub async fn reload(&self) -> Result<(), HttpError> {
        const PATH: &str = "/-/reload";
        self.0.send(self.0.http.post(format!("{}{PATH}", self.0.base)), PATH).await.map(drop)
    }
}

/// A silence to make.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NewSilence {
    pub matchers: Vec<Matcher>,
    /// One in the past counts as now.
    pub starts_at: Timestamp,
    pub ends_at: Timestamp,
    pub created_by: String,
    pub comment: String,
}

/// What a label must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Matcher {
    pub name: String,
    pub value: String,
    pub is_regex: bool,
    pub is_equal: bool,
}

/// A silence as Alertmanager has it, active or over.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Silence {
    pub id: String,
    pub ends_at: Timestamp,
    #[serde(default)]
    pub comment: String,
}

#[derive(Deserialize)]
struct SilenceMade {
    #[serde(rename = "silenceID")]
    id: String,
}

impl Alertmanager {
    /// Every silence that is not forgotten yet: pending, active, expired.
    pub async fn silences(&self) -> Result<Vec<Silence>, HttpError> {
        self.0.get_json("/api/v2/silences", &[]).await
    }

    /// Makes a silence, which the replica tells the others of. Returns its ID.
    pub async fn silence(&self, silence: &NewSilence) -> Result<String, HttpError> {
        const PATH: &str = "/api/v2/silences";
        let url = format!("{}{PATH}", self.0.base);
        let body = self.0.send(self.0.http.post(&url).json(silence), PATH).await?;
        let made: SilenceMade =
            serde_json::from_slice(&body).map_err(|error| HttpError::Decode { url, why: error.to_string() })?;
        Ok(made.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::server;
    use axum::Router;
    use axum::routing::get;

    #[tokio::test]
    async fn alerts_of_alertmanager_keep_their_silences() {
        const ALERTS: &str = r#"[{"annotations":{},"endsAt":"2026-03-01T10:04:00.000Z","fingerprint":"a1b2","receivers":[{"name":"x"}],
            "startsAt":"2026-03-01T10:00:00.000Z","status":{"inhibitedBy":[],"mutedBy":[],"silencedBy":["s-1"],"state":"suppressed"},
            "updatedAt":"2026-03-01T10:00:00.000Z","generatorURL":"","labels":{"alertname":"Errors"}}]"#;
        let base = server(Router::new().route("/api/v2/alerts", get(|| async { ALERTS }))).await;
        let alerts = Alertmanager::new(reqwest::Client::new(), &base).alerts().await.unwrap();
        assert_eq!((alerts[0].state.as_str(), alerts[0].silenced_by.len()), ("suppressed", 1));
    }

    #[tokio::test]
    async fn a_silence_is_posted_as_alertmanager_takes_it_and_found_again() {
        const SILENCES: &str = r#"[{"id":"5a1c","status":{"state":"active"},"updatedAt":"2026-03-01T10:00:00.000Z","comment":"why",
            "createdBy":"evenkeel","startsAt":"2026-03-01T10:00:00.000Z","endsAt":"2026-03-01T11:00:00.000Z","matchers":[]}]"#;
        let make = |body: axum::Json<serde_json::Value>| async move {
            assert_eq!(body.0["startsAt"], "1970-01-01T00:00:00Z");
            r#"{"silenceID":"5a1c"}"#
        };
        let base = server(Router::new().route("/api/v2/silences", get(|| async { SILENCES }).post(make))).await;
        let alertmanager = Alertmanager::new(reqwest::Client::new(), &base);
        let silence = NewSilence {
            matchers: vec![],
            starts_at: Timestamp::UNIX_EPOCH,
            ends_at: Timestamp::UNIX_EPOCH,
            created_by: "evenkeel".into(),
            comment: "why".into(),
        };
        let made = alertmanager.silence(&silence).await.unwrap();
        let known = alertmanager.silences().await.unwrap();
        assert_eq!((known[0].id.as_str(), known[0].comment.as_str()), (made.as_str(), "why"));
    }
}
