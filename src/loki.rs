//! Client of the HTTP API of Loki, one for each replica: what one has loaded says nothing of the other.

use jiff::Timestamp;
use serde::Deserialize;

use crate::prometheus::{Answer, BuildInfo, Endpoint, Groups, HttpError, Labels, Row, RuleGroup, Series};

/// The port of Loki in its pods.
pub const LOKI_PORT: u16 = 3100;

/// One Loki.
#[derive(Clone, Debug)]
pub struct Loki(Endpoint);

/// A line of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub at: Timestamp,
    /// Of its stream, and its structured metadata.
    pub labels: Labels,
    pub text: String,
}

/// What a query found: lines, or numbers.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// The newest first.
    Lines(Vec<Line>),
    Series(Vec<Series>),
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum QueryResult {
    Streams(Vec<Stream>),
    Matrix(Vec<Row>),
}
#[derive(Deserialize)]
struct Stream {
    stream: Labels,
    /// Unix time in nanoseconds, and the line; what Loki adds behind them in some settings is passed over.
    values: Vec<Vec<serde_json::Value>>,
}
#[derive(Default, Deserialize)]
#[serde(default)]
struct Formatted {
    status: String,
    error: String,
}

impl Loki {
    /// `base` is a URL without a path, for example `http://127.0.0.1:3100`.
    pub fn new(http: reqwest::Client, base: &str) -> Self {
        Self(Endpoint::new(http, base))
    }

    pub fn at(http: &reqwest::Client, pod_ip: &str) -> Self {
        Self(Endpoint::of_pod(http, pod_ip, LOKI_PORT))
    }

    /// Whether an expression parses; `Err` within holds the parser's words.
    pub async fn parses(&self, expr: &str) -> Result<Result<(), String>, HttpError> {
        const PATH: &str = "/loki/api/v1/format_query";
        // In the body: an expression may be longer than a URL.
        let body = form(&[("query", expr)]);
        let request = self.0.http.post(format!("{}{PATH}", self.0.base));
        let request = request.header("Content-Type", "application/x-www-form-urlencoded").body(body);
        let (code, body) = self.0.raw(request, PATH).await?;
        let url = || format!("{}{PATH}", self.0.base);
        if code != 200 && code != 400 {
            let body = String::from_utf8_lossy(&body).chars().take(300).collect();
            return Err(HttpError::Status { url: url(), code, body });
        }
        let answer: Formatted =
            serde_json::from_slice(&body).map_err(|error| HttpError::Decode { url: url(), why: error.to_string() })?;
        Ok(if answer.status == "success" { Ok(()) } else { Err(answer.error) })
    }

    /// Every group of rules that its ruler has loaded. `file` is the name of the file alone.
    pub async fn rule_groups(&self) -> Result<Vec<RuleGroup>, HttpError> {
        let answer: Answer<Groups> = self.0.get_json("/prometheus/api/v1/rules", &[]).await?;
        Ok(answer.data.groups)
    }

    /// The newest `limit` lines that an expression finds from `start` to `end`, or its values every `step_seconds`.
    pub async fn query_range(
        &self,
        expr: &str,
        (start, end): (Timestamp, Timestamp),
        step_seconds: i64,
        limit: usize,
    ) -> Result<Found, HttpError> {
        const PATH: &str = "/loki/api/v1/query_range";
        let (start, end) = (start.as_nanosecond().to_string(), end.as_nanosecond().to_string());
        let (step, limit) = (format!("{step_seconds}s"), limit.to_string());
        let query = [("query", expr), ("start", &start), ("end", &end), ("step", &step), ("limit", &limit)];
        let answer: Answer<QueryResult> = self.0.get_json(PATH, &query).await?;
        Ok(match answer.data {
            QueryResult::Matrix(rows) => Found::Series(rows.into_iter().map(Row::series).collect()),
            QueryResult::Streams(streams) => {
                let mut lines: Vec<Line> = streams.into_iter().flat_map(lines).collect();
                lines.sort_by_key(|line| std::cmp::Reverse(line.at));
                Found::Lines(lines)
            }
        })
    }

    /// Whether it can take and answer.
    pub async fn ready(&self) -> Result<(), HttpError> {
        self.0.get("/ready", &[]).await.map(|_| ())
    }

    /// For example `3.7.8`; empty when it was built without.
    pub async fn version(&self) -> Result<String, HttpError> {
        let built: BuildInfo = self.0.get_json("/loki/api/v1/status/buildinfo", &[]).await?;
        Ok(built.version)
    }
}

fn lines(Stream { stream, values }: Stream) -> Vec<Line> {
    let line = |value: Vec<serde_json::Value>| {
        let nanoseconds = value.first()?.as_str()?.parse().ok()?;
        let at = Timestamp::from_nanosecond(nanoseconds).ok()?;
        Some(Line { at, labels: stream.clone(), text: value.get(1)?.as_str()?.to_owned() })
    };
    values.into_iter().filter_map(line).collect()
}

/// As HTML forms are sent.
fn form(fields: &[(&str, &str)]) -> String {
    let escaped = |text: &str| -> String {
        let one = |byte: u8| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        };
        text.bytes().map(one).collect()
    };
    fields.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::http::StatusCode;
    use axum::routing::{get, post};

    async fn server(router: Router) -> Loki {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Loki::new(reqwest::Client::new(), &format!("http://{address}"))
    }

    #[tokio::test]
    async fn what_does_not_parse_is_told_in_lokis_words() {
        let judged = |body: String| async move {
            match body.as_str() {
                "query=%7Ba%3D%22b%22%7D" => (StatusCode::OK, r#"{"status":"success","data":"{a=\"b\"}"}"#),
                "query=x" => (
                    StatusCode::BAD_REQUEST,
                    r#"{"status":"invalid-query","error":"parse error at line 1, col 1: syntax error"}"#,
                ),
                _ => (StatusCode::BAD_GATEWAY, "away"),
            }
        };
        let loki = server(Router::new().route("/loki/api/v1/format_query", post(judged))).await;
        assert_eq!(loki.parses("{a=\"b\"}").await.unwrap(), Ok(()));
        assert_eq!(loki.parses("x").await.unwrap(), Err("parse error at line 1, col 1: syntax error".into()));
        assert!(loki.parses("other").await.unwrap_err().to_string().contains("502"));
    }

    #[tokio::test]
    async fn a_range_holds_lines_or_numbers() {
        const STREAMS: &str = r#"{"status":"success","data":{"resultType":"streams","result":[
            {"stream":{"pod":"a"},"values":[["1700000000000000001","one"],["1700000000000000003","three"]]},
            {"stream":{"pod":"b"},"values":[["1700000000000000002","two",{"parsed":{}}]]}],"stats":{}}}"#;
        let loki = server(Router::new().route("/loki/api/v1/query_range", get(|| async { STREAMS }))).await;
        let (from, to) = (Timestamp::UNIX_EPOCH, Timestamp::from_second(1).unwrap());
        let Found::Lines(lines) = loki.query_range("{}", (from, to), 15, 10).await.unwrap() else { panic!("lines") };
        let texts: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
        assert_eq!((texts, lines[1].labels["pod"].as_str()), (vec!["three", "two", "one"], "b"));
        const MATRIX: &str = r#"{"status":"success","data":{"resultType":"matrix","result":[
            {"metric":{"pod":"a"},"values":[[1700000000,"2.5"]]}]}}"#;
        let loki = server(Router::new().route("/loki/api/v1/query_range", get(|| async { MATRIX }))).await;
        let Found::Series(series) = loki.query_range("x", (from, to), 15, 10).await.unwrap() else { panic!("series") };
        assert_eq!(series[0].points, [(1_700_000_000.0, 2.5)]);
    }

    #[tokio::test]
    async fn its_rules_are_read_as_loki_3_writes_them() {
        const RULES: &str = r#"{"status":"success","data":{"groups":[{"name":"shop/errors","file":"log-rules-02.yaml",
            "rules":[{"state":"firing","name":"Errors","query":"(sum(count_over_time({a=\"b\"}[5m])) > 1)","duration":0,
            "labels":{"severity":"page"},"annotations":{},"alerts":[{"labels":{"alertname":"Errors"},"annotations":{},
            "state":"firing","activeAt":"2026-03-01T10:00:00.5Z","value":"2e+00"}],"health":"ok","lastError":"",
            "type":"alerting","lastEvaluation":"2026-03-01T10:00:01Z","evaluationTime":0.1}],"interval":15,
            "lastEvaluation":"2026-03-01T10:00:01Z","evaluationTime":0.1}]},"errorType":"","error":""}"#;
        let loki = server(Router::new().route("/prometheus/api/v1/rules", get(|| async { RULES }))).await;
        let groups = loki.rule_groups().await.unwrap();
        assert_eq!((groups[0].file.as_str(), groups[0].rules[0].alerts.len()), ("log-rules-02.yaml", 1));
    }
}
