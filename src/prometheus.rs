//! Client of the HTTP API of Prometheus (v1), one for each replica: the operator asks every pod by itself, since what
//! one replica has loaded says nothing of the other.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

/// The port of Prometheus in its pods.
pub const PROMETHEUS_PORT: u16 = 9090;

/// No answer is read beyond this: 10,000 alerting rules of one Prometheus take about 20 MB.
const LARGEST_ANSWER: usize = 64 << 20;
/// So much of an error's body is shown.
const SHOWN: usize = 300;

pub type Labels = BTreeMap<String, String>;

#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("{url} cannot be reached: {why}")]
    Unreachable { url: String, why: String },
    #[error("{url} answered {code}: {body}")]
    Status { url: String, code: u16, body: String },
    #[error("{url} answered something unexpected: {why}")]
    Decode { url: String, why: String },
}

/// One replica's API. URLs hold no credentials, so an error may show them.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) http: reqwest::Client,
    pub(crate) base: String,
}

impl Endpoint {
    pub(crate) fn new(http: reqwest::Client, base: &str) -> Self {
        Self { http, base: base.trim_end_matches('/').to_owned() }
    }

    pub(crate) fn of_pod(http: &reqwest::Client, ip: &str, port: u16) -> Self {
        let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
        Self::new(http.clone(), &format!("http://{host}:{port}"))
    }

    pub(crate) async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Vec<u8>, HttpError> {
        self.send(self.http.get(format!("{}{path}", self.base)).query(query), path).await
    }

    pub(crate) async fn get_json<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<T, HttpError> {
        let body = self.get(path, query).await?;
        serde_json::from_slice(&body)
            .map_err(|error| HttpError::Decode { url: format!("{}{path}", self.base), why: error.to_string() })
    }

    pub(crate) async fn send(&self, request: reqwest::RequestBuilder, path: &str) -> Result<Vec<u8>, HttpError> {
        let (code, body) = self.raw(request, path).await?;
        if (200..300).contains(&code) {
            return Ok(body);
        }
        let text = String::from_utf8_lossy(&body);
        let body = text.trim().chars().take(SHOWN).collect();
        Err(HttpError::Status { url: format!("{}{path}", self.base), code, body })
    }

    /// The answer, whatever its code.
    pub(crate) async fn raw(&self, request: reqwest::RequestBuilder, path: &str) -> Result<(u16, Vec<u8>), HttpError> {
        let url = || format!("{}{path}", self.base);
        let unreachable = |error: reqwest::Error| HttpError::Unreachable {
            url: url(),
            why: crate::k8s::report::chain(&error.without_url()),
        };
        let mut response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > LARGEST_ANSWER {
                return Err(HttpError::Decode { url: url(), why: format!("more than {LARGEST_ANSWER} bytes") });
            }
            body.extend_from_slice(&chunk);
        }
        Ok((status.as_u16(), body))
    }
}

/// One Prometheus.
#[derive(Clone, Debug)]
pub struct Prometheus(Endpoint);

/// A group as `/api/v1/rules` tells it.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct RuleGroup {
    pub name: String,
    pub file: String,
    /// Seconds.
    #[serde(rename = "interval")]
    pub interval_seconds: f64,
    pub rules: Vec<Rule>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum RuleKind {
    Alerting,
    Recording,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    pub name: String,
    /// Its expression.
    #[serde(default)]
    pub query: String,
    #[serde(rename = "type")]
    pub kind: RuleKind,
    /// `ok`, `err`, or `unknown` before the first evaluation.
    pub health: String,
    #[serde(default)]
    pub last_error: Option<String>,
    #[serde(default)]
    pub labels: Labels,
    /// Of an alerting rule: `inactive`, `pending` or `firing`.
    #[serde(default)]
    pub state: Option<String>,
    /// Empty where they were not asked for, which Prometheus writes as null.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub alerts: Vec<ActiveAlert>,
}

fn null_is_empty<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// An alert that is pending or firing.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ActiveAlert {
    pub labels: Labels,
    #[serde(default)]
    pub annotations: Labels,
    /// `pending` or `firing`.
    pub state: String,
    #[serde(default)]
    pub active_at: Option<Timestamp>,
    /// As Prometheus writes it, for example `1e+00`.
    pub value: String,
}

/// One element of an instant vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub labels: Labels,
    pub value: f64,
}

/// One element of a range vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    pub labels: Labels,
    /// Unix time in seconds, and value.
    pub points: Vec<(f64, f64)>,
}

/// The time in which something is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    pub start: Timestamp,
    pub end: Timestamp,
}

/// Targets of one Prometheus, as of their last scrape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TargetCounts {
    pub up: i64,
    pub down: i64,
}

#[derive(Deserialize)]
pub(crate) struct Answer<T> {
    pub(crate) data: T,
}
#[derive(Deserialize)]
pub(crate) struct Groups {
    pub(crate) groups: Vec<RuleGroup>,
}
#[derive(Deserialize)]
struct Alerts {
    alerts: Vec<ActiveAlert>,
}
#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum QueryResult {
    Vector(Vec<Element>),
    Scalar((f64, String)),
}
/// A range query answers nothing else.
#[derive(Deserialize)]
struct Matrix {
    result: Vec<Row>,
}
/// One series of a range.
#[derive(Deserialize)]
pub(crate) struct Row {
    metric: Labels,
    values: Vec<(f64, String)>,
}

impl Row {
    pub(crate) fn series(self) -> Series {
        let points = self.values.into_iter().map(|(at, value)| (at, value.parse().unwrap_or(f64::NAN)));
        Series { labels: self.metric, points: points.collect() }
    }
}
#[derive(Deserialize)]
struct LoadedConfig {
    yaml: String,
}
#[derive(Deserialize)]
pub(crate) struct BuildInfo {
    pub(crate) version: String,
}
#[derive(Deserialize)]
struct Element {
    metric: Labels,
    value: (f64, String),
}

impl Prometheus {
    /// `base` is a URL without a path, for example `http://127.0.0.1:9090`.
    pub fn new(http: reqwest::Client, base: &str) -> Self {
        Self(Endpoint::new(http, base))
    }

    pub fn at(http: &reqwest::Client, pod_ip: &str) -> Self {
        Self(Endpoint::of_pod(http, pod_ip, PROMETHEUS_PORT))
    }

    /// The loaded groups of these files (paths as the pod has them) with these names; an empty list is no filter.
    pub async fn rule_groups(&self, files: &[String], groups: &[String]) -> Result<Vec<RuleGroup>, HttpError> {
        let files = files.iter().map(|file| ("file[]", file.as_str()));
        let query: Vec<_> = files.chain(groups.iter().map(|name| ("rule_group[]", name.as_str()))).collect();
        let answer: Answer<Groups> = self.0.get_json("/api/v1/rules", &query).await?;
        Ok(answer.data.groups)
    }

    /// The loaded rules with these names, without their alerts.
    pub async fn rules_named(&self, names: &[String]) -> Result<Vec<Rule>, HttpError> {
        let names = names.iter().map(|name| ("rule_name[]", name.as_str()));
        let query: Vec<_> = names.chain([("exclude_alerts", "true")]).collect();
        let answer: Answer<Groups> = self.0.get_json("/api/v1/rules", &query).await?;
        Ok(answer.data.groups.into_iter().flat_map(|group| group.rules).collect())
    }

    /// Every alert that is pending or firing.
    pub async fn alerts(&self) -> Result<Vec<ActiveAlert>, HttpError> {
        let answer: Answer<Alerts> = self.0.get_json("/api/v1/alerts", &[]).await?;
        Ok(answer.data.alerts)
    }

    /// An instant query, now. A scalar comes as one sample without labels.
    pub async fn query(&self, expr: &str) -> Result<Vec<Sample>, HttpError> {
        const PATH: &str = "/api/v1/query";
        let answer: Answer<QueryResult> = self.0.get_json(PATH, &[("query", expr)]).await?;
        let number = |text: &str| {
            // Prometheus writes +Inf, -Inf and NaN, which Rust reads as well.
            text.parse::<f64>().map_err(|_| HttpError::Decode {
                url: format!("{}{PATH}", self.0.base),
                why: format!("{text:?} is no number"),
            })
        };
        match answer.data {
            QueryResult::Scalar((_, value)) => Ok(vec![Sample { labels: Labels::new(), value: number(&value)? }]),
            QueryResult::Vector(elements) => elements
                .into_iter()
                .map(|element| Ok(Sample { labels: element.metric, value: number(&element.value.1)? }))
                .collect(),
        }
    }

    /// What an expression was from `start` to `end`, every `step_seconds`.
    pub async fn query_range(
        &self,
        expr: &str,
        start: Timestamp,
        end: Timestamp,
        step_seconds: i64,
    ) -> Result<Vec<Series>, HttpError> {
        const PATH: &str = "/api/v1/query_range";
        let (start, end, step) = (start.to_string(), end.to_string(), step_seconds.to_string());
        let query = [("query", expr), ("start", &start), ("end", &end), ("step", &step)];
        let answer: Answer<Matrix> = self.0.get_json(PATH, &query).await?;
        Ok(answer.data.result.into_iter().map(Row::series).collect())
    }

    /// The labels of up to `limit` series that a selector matches.
    pub async fn series(&self, selector: &str, period: Period, limit: usize) -> Result<Vec<Labels>, HttpError> {
        let (start, end, limit) = (period.start.to_string(), period.end.to_string(), limit.to_string());
        let query = [("match[]", selector), ("start", &start), ("end", &end), ("limit", &limit)];
        let answer: Answer<Vec<Labels>> = self.0.get_json("/api/v1/series", &query).await?;
        Ok(answer.data)
    }

    /// Up to `limit` values that a label has, of the series that a selector matches.
    pub async fn label_values(
        &self,
        label: &str,
        selector: Option<&str>,
        period: Period,
        limit: usize,
    ) -> Result<Vec<String>, HttpError> {
        let (start, end, limit) = (period.start.to_string(), period.end.to_string(), limit.to_string());
        let mut query = vec![("start", start.as_str()), ("end", &end), ("limit", &limit)];
        query.extend(selector.map(|selector| ("match[]", selector)));
        let path = format!("/api/v1/label/{}/values", in_path(label));
        let answer: Answer<Vec<String>> = self.0.get_json(&path, &query).await?;
        Ok(answer.data)
    }

    /// A metric of Prometheus itself; `None` when it does not expose it.
    pub async fn metric(&self, name: &str) -> Result<Option<f64>, HttpError> {
        let body = self.0.get("/metrics", &[]).await?;
        Ok(sample(&String::from_utf8_lossy(&body), name))
    }

    /// The configuration that is loaded, without comments and with secrets as `<secret>`.
    pub async fn config(&self) -> Result<String, HttpError> {
        let answer: Answer<LoadedConfig> = self.0.get_json("/api/v1/status/config", &[]).await?;
        Ok(answer.data.yaml)
    }

    /// For example `3.15.0`.
    pub async fn version(&self) -> Result<String, HttpError> {
        let answer: Answer<BuildInfo> = self.0.get_json("/api/v1/status/buildinfo", &[]).await?;
        Ok(answer.data.version)
    }

    /// How many targets were up and down when they were last scraped.
    pub async fn targets(&self) -> Result<TargetCounts, HttpError> {
        let mut counts = TargetCounts::default();
        for sample in self.query(r#"count_values("up", up)"#).await? {
            let up = sample.labels.get("up").is_some_and(|value| value != "0");
            *(if up { &mut counts.up } else { &mut counts.down }) += sample.value as i64;
        }
        Ok(counts)
    }
}

/// The name of a label as a part of a path: one that is not plain is written as Prometheus' `U__` escaping has it.
fn in_path(label: &str) -> String {
    if label.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return label.to_owned();
    }
    let escaped = label.chars().map(|c| match c {
        '_' => "__".to_owned(),
        c if c.is_ascii_alphanumeric() => c.to_string(),
        c => format!("_{:x}_", u32::from(c)),
    });
    format!("U__{}", escaped.collect::<String>())
}

/// The first sample of `name` in a text exposition.
fn sample(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| {
        let rest = line.strip_prefix(name)?;
        let value = match rest.as_bytes().first()? {
            b' ' => rest,
            b'{' => &rest[rest.rfind('}')? + 1..],
            _ => return None,
        };
        value.split_ascii_whitespace().next()?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::server;
    use axum::Router;
    use axum::routing::get;

    #[test]
    fn an_alerting_rule_whose_alerts_were_left_out_is_read_as_prometheus_3_writes_it() {
        let rule: Rule = serde_json::from_str(
            r#"{"state":"inactive","name":"HighErrorRate","query":"errors > 0.1","duration":5,"labels":{"severity":"critical"},"alerts":null,"health":"ok","type":"alerting"}"#,
        )
        .unwrap();
        assert_eq!((rule.query.as_str(), rule.alerts.len()), ("errors > 0.1", 0));
    }

    #[tokio::test]
    async fn rules_are_read_as_prometheus_3_writes_them() {
        const RULES: &str = r#"{"status":"success","data":{"groups":[{"name":"shop/checkout","file":"/etc/prometheus/rules/shard-07.yaml",
            "rules":[{"state":"firing","name":"Errors","query":"x > 1","duration":0,"keepFiringFor":0,"labels":{"severity":"page"},
            "annotations":{},"alerts":[{"labels":{"alertname":"Errors"},"annotations":{},"state":"firing",
            "activeAt":"2026-03-01T10:00:00.123456789Z","value":"2.5e+00"}],"health":"ok","evaluationTime":0.0001,
            "lastEvaluation":"2026-03-01T10:00:01Z","type":"alerting"},
            {"name":"a:b","query":"1","health":"err","lastError":"boom","evaluationTime":0,"lastEvaluation":"0001-01-01T00:00:00Z","type":"recording"}],
            "interval":15,"limit":0,"evaluationTime":0,"lastEvaluation":"0001-01-01T00:00:00Z"}]}}"#;
        let asked = |request: axum::extract::RawQuery| async move {
            assert_eq!(request.0.unwrap(), "file%5B%5D=%2Fa.yaml&rule_group%5B%5D=shop%2Fcheckout");
            RULES
        };
        let base = server(Router::new().route("/api/v1/rules", get(asked))).await;
        let prometheus = Prometheus::new(reqwest::Client::new(), &base);
        let groups = prometheus.rule_groups(&["/a.yaml".into()], &["shop/checkout".into()]).await.unwrap();
        assert_eq!((groups[0].interval_seconds, groups[0].rules.len()), (15.0, 2));
        assert_eq!(groups[0].rules[0].alerts[0].state, "firing");
        assert_eq!((groups[0].rules[1].kind, groups[0].rules[0].query.as_str()), (RuleKind::Recording, "x > 1"));
        assert_eq!(groups[0].rules[1].last_error.as_deref(), Some("boom"));
    }

    #[tokio::test]
    async fn numbers_of_a_query_may_be_infinite_and_targets_are_counted() {
        const VECTOR: &str = r#"{"status":"success","data":{"resultType":"vector","result":[
            {"metric":{"up":"1"},"value":[1700000000.1,"12"]},{"metric":{"up":"0"},"value":[1700000000.1,"3"]}]}}"#;
        let base = server(Router::new().route("/api/v1/query", get(|| async { VECTOR }))).await;
        let prometheus = Prometheus::new(reqwest::Client::new(), &base);
        assert_eq!(prometheus.targets().await.unwrap(), TargetCounts { up: 12, down: 3 });
        const SCALAR: &str = r#"{"status":"success","data":{"resultType":"scalar","result":[1700000000,"+Inf"]}}"#;
        let base = server(Router::new().route("/api/v1/query", get(|| async { SCALAR }))).await;
        let samples = Prometheus::new(reqwest::Client::new(), &base).query("1 / 0").await.unwrap();
        assert_eq!(samples[0].value, f64::INFINITY);
    }

    #[tokio::test]
    async fn a_range_is_asked_for_by_its_ends_and_step() {
        const MATRIX: &str = r#"{"status":"success","data":{"resultType":"matrix","result":[
            {"metric":{"job":"web"},"values":[[1700000000,"1"],[1700000060,"NaN"]]}]}}"#;
        let asked = |request: axum::extract::RawQuery| async move {
            assert_eq!(
                request.0.unwrap(),
                "query=up&start=1970-01-01T00%3A00%3A00Z&end=1970-01-01T00%3A01%3A00Z&step=60"
            );
            MATRIX
        };
        let base = server(Router::new().route("/api/v1/query_range", get(asked))).await;
        let prometheus = Prometheus::new(reqwest::Client::new(), &base);
        let (start, end) = (Timestamp::UNIX_EPOCH, Timestamp::from_second(60).unwrap());
        let series = prometheus.query_range("up", start, end, 60).await.unwrap();
        assert_eq!((series[0].labels["job"].as_str(), series[0].points[0]), ("web", (1700000000.0, 1.0)));
        assert!(series[0].points[1].1.is_nan());
    }

    #[tokio::test]
    async fn an_error_says_where_and_what() {
        let refuse = || async { (axum::http::StatusCode::BAD_REQUEST, "bad_data: parse error") };
        let base = server(Router::new().route("/api/v1/query", get(refuse))).await;
        let error = Prometheus::new(reqwest::Client::new(), &base).query("(").await.unwrap_err().to_string();
        assert_eq!(error, format!("{base}/api/v1/query answered 400: bad_data: parse error"));
        let error = Prometheus::at(&reqwest::Client::new(), "::1").0.base;
        assert_eq!(error, "http://[::1]:9090");
    }

    #[test]
    fn the_name_of_a_label_fits_into_a_path() {
        assert_eq!(in_path("status_code"), "status_code");
        assert_eq!(in_path("__name__"), "__name__");
        assert_eq!(in_path("http.status_code/é"), "U__http_2e_status__code_2f__e9_");
    }

    #[test]
    fn a_metric_is_found_with_and_without_labels() {
        let text = "# TYPE up gauge\nup_total 3\nup{a=\"}\"} 1\nprometheus_config_last_reload_successful 0\n";
        assert_eq!(sample(text, "up"), Some(1.0));
        assert_eq!(sample(text, "prometheus_config_last_reload_successful"), Some(0.0));
        assert_eq!(sample(text, "nothing"), None);
    }
}
