//! `evenkeel check --prometheus`: AlertRules against the series of a Prometheus that runs.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::check::{Finding, Report};
use super::documents::Origin;
use super::resource::Resource;
use super::schema::Fault;
use crate::api::AlertRule;
use crate::api::alert_rule::RuleSource;
use crate::api::duration::PromDuration;
use crate::prometheus::{HttpError, Period, Prometheus};
use crate::rule::life::{self, Firings, LiveAlert};
use crate::rule::series;

/// Points that a range query asks for; Prometheus gives 11,000.
const MOST_POINTS: i64 = 10_000;
/// Between two points at the least, in seconds: a finer look would cost more than it tells.
const LEAST_STEP: i64 = 60;
/// No question takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Rules cannot be compared with a Prometheus.
#[derive(Debug, thiserror::Error)]
pub enum LifeError {
    #[error("--prometheus {0}: a URL with credentials would show them in messages: leave them out")]
    Credentials(String),
    #[error("--over {0}: is a time of at least 1h")]
    TooShort(PromDuration),
    #[error("no HTTP client can be made: {0}")]
    Client(reqwest::Error),
    #[error(transparent)]
    Http(#[from] HttpError),
}

/// What a Prometheus says of the rules.
#[derive(Debug, Default)]
pub struct Life {
    /// Series that are not there, labels that can never match.
    pub warnings: Vec<Finding>,
    /// One line for each alert: how often it would have fired.
    pub firings: Vec<Finding>,
}

/// Asks the Prometheus at `url` about all AlertRules with which nothing is wrong, over the time before `now`.
pub async fn compare(report: &Report, url: &str, over: PromDuration, now: Timestamp) -> Result<Life, LifeError> {
    if let Some((_, host)) = url.split_once('@') {
        return Err(LifeError::Credentials(format!("...@{host}")));
    }
    if over < PromDuration::from_mins(60) {
        return Err(LifeError::TooShort(over));
    }
    let http = reqwest::Client::builder().timeout(PATIENCE).build().map_err(LifeError::Client)?;
    let start = Timestamp::from_second(now.as_second().saturating_sub_unsigned(over.as_secs())).unwrap_or(now);
    let period = Period { start, end: now };
    let prometheus = Prometheus::new(http, url);
    let series = series::Asker::new(vec![prometheus.clone()], period);
    let mut asker = Asker { prometheus, period, over, series };
    let sound = |origin: &Origin| report.findings.iter().all(|finding| finding.origin != *origin);
    let rules = report.resources.iter().filter_map(|(origin, resource, _)| match resource {
        // Of LogQL a Prometheus knows nothing.
        Resource::Rule(rule) if sound(origin) && rule.spec.source == RuleSource::Metrics => Some((origin, &**rule)),
        _ => None,
    });
    let rules: Vec<(&Origin, &AlertRule)> = rules.collect();
    let recorded: BTreeSet<String> = rules.iter().flat_map(|(_, rule)| life::recorded(&rule.spec)).collect();
    let mut found = Life::default();
    for (origin, rule) in rules {
        for wanted in life::wanted(&rule.spec, &recorded) {
            let warnings = asker.series.warnings(&wanted).await?.into_iter();
            let fault = |message| Fault::at(&format!("spec.{}", wanted.field), message);
            found.warnings.extend(warnings.map(|message| Finding { origin: origin.clone(), fault: fault(message) }));
        }
        let (alerts, own) = life::compiled(rule);
        let records: BTreeSet<String> = own.union(&recorded).cloned().collect();
        for alert in &alerts {
            let fault = Fault::at(&alert.title(), asker.fired(alert, &records).await?);
            found.firings.push(Finding { origin: origin.clone(), fault });
        }
    }
    Ok(found)
}

struct Asker {
    prometheus: Prometheus,
    period: Period,
    over: PromDuration,
    series: series::Asker,
}

impl Asker {
    /// How often the alert would have fired; what it reads of `records` must be there.
    async fn fired(&self, alert: &LiveAlert, records: &BTreeSet<String>) -> Result<String, HttpError> {
        for record in alert.reads(records) {
            if !self.series.exists(&format!("{{__name__={record:?}}}")).await? {
                return Ok(format!(
                    "cannot be told yet: it reads {record}, which these rules record and this Prometheus has not"
                ));
            }
        }
        let step = (self.over.as_secs() as i64 / MOST_POINTS + 1).max(LEAST_STEP);
        let Period { start, end } = self.period;
        let series = match self.prometheus.query_range(&alert.expr, start, end, step).await {
            Ok(series) => series,
            // Of this expression alone, for example more samples than it may load.
            Err(HttpError::Status { code, body, .. }) if code == 400 || code == 422 || code == 503 => {
                return Ok(format!("cannot be told: {body}"));
            }
            Err(error) => return Err(error),
        };
        let mut firings = Firings::default();
        for series in &series {
            firings.add(&series.points, step, alert.for_.as_secs() as i64);
        }
        Ok(told(firings, self.over))
    }
}

fn told(firings: Firings, over: PromDuration) -> String {
    let Firings { count, seconds, last } = firings;
    if count == 0 {
        return format!("would not have fired in the last {over}");
    }
    let times = if count == 1 { "once".to_owned() } else { format!("{count} times") };
    let long = PromDuration::from_secs(seconds.unsigned_abs());
    let last = Timestamp::from_second(last).map(|last| format!(", last at {last}")).unwrap_or_default();
    format!("would have fired {times} in the last {over}, for {long} in all{last}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::check::check;
    use crate::cli::documents::{Document, Origin};
    use axum::Router;
    use axum::extract::{Path, RawQuery};
    use axum::routing::get;
    use serde_json::{Value, json};
    use std::collections::HashMap;

    const NOW: i64 = 1_700_000_000;

    fn report(rules: Value) -> Report {
        let value = json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": "AlertRule",
            "metadata": {"name": "checkout", "namespace": "shop"}, "spec": {"rules": rules}});
        let origin = Origin {
            file: "a.yaml".into(),
            number: 1,
            kind: "AlertRule".into(),
            namespace: Some("shop".into()),
            name: "checkout".into(),
        };
        let report = check(vec![Document { origin, value }]);
        assert_eq!(report.findings, []);
        report
    }

    fn pairs(query: Option<String>) -> HashMap<String, String> {
        let url = format!("http://a/?{}", query.unwrap_or_default());
        reqwest::Url::parse(&url).unwrap().query_pairs().into_owned().collect()
    }

    /// A Prometheus that has `requests_total` with the codes 200 and 500 of the job `shop`, and for half an hour an
    /// answer to every range query.
    async fn prometheus() -> String {
        let series = |RawQuery(query): RawQuery| async move {
            let query = pairs(query);
            assert!(query["limit"] == "1" && query["start"].ends_with('Z') && query["end"].ends_with('Z'), "{query:?}");
            let all = [r#"{__name__="requests_total"}"#, r#"{__name__="requests_total",code="200"}"#];
            let found = all.contains(&query["match[]"].as_str());
            let data = if found { json!([{"__name__": "requests_total", "code": "200"}]) } else { json!([]) };
            json!({"status": "success", "data": data}).to_string()
        };
        let values = |Path(label): Path<String>, RawQuery(query): RawQuery| async move {
            let query = pairs(query);
            let data = match (label.as_str(), query.get("match[]").map(String::as_str)) {
                ("__name__", None) => json!(["requests_total", "up"]),
                ("code", Some(r#"{__name__="requests_total"}"#)) => json!(["200", "500"]),
                _ => json!([]),
            };
            json!({"status": "success", "data": data}).to_string()
        };
        let range = |RawQuery(query): RawQuery| async move {
            assert_eq!(pairs(query)["step"], "61");
            let points: Vec<Value> = (0..30).map(|i| json!([NOW - 7200 + i * 61, "1"])).collect();
            json!({"status": "success", "data": {"resultType": "matrix", "result": [{"metric": {}, "values": points}]}})
                .to_string()
        };
        let router = Router::new()
            .route("/api/v1/series", get(series))
            .route("/api/v1/label/{label}/values", get(values))
            .route("/api/v1/query_range", get(range));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}")
    }

    #[tokio::test]
    async fn rules_are_held_against_the_series_that_there_are() {
        let report = report(json!([
            {"record": "job:requests:rate", "expr": "rate(requests_total{code=\"200\"}[5m])"},
            {"alert": "Typo", "expr": "request_total > 1", "for": "10m", "severity": "warning"},
            {"alert": "Never", "expr": "requests_total{code=\"501\", zone=\"eu\"} > 1", "for": "1h"},
            {"alert": "Recorded", "expr": "job:requests:rate > 1"},
            {"alert": "Usual", "expr": "requests_total", "baseline": {"window": "7d", "ratio": 0.5}},
        ]));
        let over = "1w".parse().unwrap();
        let found = compare(&report, &prometheus().await, over, Timestamp::from_second(NOW).unwrap()).await.unwrap();
        let lines = |findings: &[Finding]| -> Vec<String> {
            findings.iter().map(|finding| finding.fault.to_string()).collect()
        };
        assert_eq!(
            lines(&found.warnings),
            [
                "spec.rules[1].expr: there is no series of request_total: did you mean requests_total?",
                r#"spec.rules[2].expr: code="501" can never match: requests_total has "200", "500"; did you mean "500"?"#,
                "spec.rules[2].expr: no series of requests_total has a label zone",
            ]
        );
        let fired = lines(&found.firings);
        assert_eq!(
            fired[0],
            "Typo (warning): would have fired once in the last 1w, for 20m20s in all, last at 2023-11-14T20:42:49Z"
        );
        assert_eq!(fired[1], "Never: would not have fired in the last 1w");
        assert!(fired[2].starts_with("Recorded: cannot be told yet: it reads job:requests:rate"), "{fired:?}");
        assert!(fired[3].starts_with("Usual: cannot be told yet: it reads evenkeel:baseline:lower"), "{fired:?}");
    }

    #[tokio::test]
    async fn a_prometheus_that_does_not_answer_is_an_error_and_credentials_are_not_shown() {
        let report = report(json!([{"alert": "A", "expr": "up == 0"}]));
        let ask = |url: &'static str| compare(&report, url, "1d".parse().unwrap(), Timestamp::UNIX_EPOCH);
        let error = ask("http://127.0.0.1:1").await.unwrap_err().to_string();
        assert!(error.starts_with("http://127.0.0.1:1/api/v1/series cannot be reached"), "{error}");
        let error = ask("http://me:secret@host").await.unwrap_err().to_string();
        assert!(error.contains("leave them out") && !error.contains("secret"), "{error}");
    }
}
