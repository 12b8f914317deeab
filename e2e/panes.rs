//! Every query of every dashboard that ships, asked where Grafana would ask it.

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel::dashboards::{self, Dashboard, Language, Parts, Query};
use jiff::Timestamp;
use serde_json::Value;

use crate::harness::*;
use crate::lab::*;

const SLO: &str = "
apiVersion: evenkeel.dev/v1alpha1
kind: SLO
metadata: {name: checkout, namespace: e2e-lab-shop}
spec:
  service: checkout
  objective: 99
  window: {rolling: 1h}
  indicator:
    ratio:
      errors: {metric: 'http_requests_total{namespace=\"e2e-lab-shop\",code=~\"5..\"}'}
      total: {metric: 'http_requests_total{namespace=\"e2e-lab-shop\"}'}
";

/// Of the panels of these dashboards, so many in a hundred have data on this cluster at least: what they are about is
/// here. Others speak of exporters that this stack does not run: exporters.rs asks a stack that does.
const HAVE_DATA: [(&str, usize); 6] =
    [("overview", 60), ("workloads", 50), ("slo", 60), ("logs", 60), ("stack", 70), ("operator", 50)];

/// What a panel shows.
pub enum Answer {
    Data,
    Nothing,
    Wrong(String),
}

/// What the API at `url` answers to a query about the last quarter of an hour.
pub async fn ask(http: &reqwest::Client, url: String, query: &Query) -> Answer {
    let now = Timestamp::now().as_second();
    let window = [
        ("query", query.expr.clone()),
        ("start", (now - 900).to_string()),
        ("end", now.to_string()),
        ("step", "15".to_owned()),
    ];
    let answer = http.get(url).query(&window).send().await.expect("an answer");
    let (status, body) = (answer.status(), answer.text().await.unwrap_or_default());
    if !status.is_success() {
        return Answer::Wrong(format!("{status}: {body}"));
    }
    let body: Value = serde_json::from_str(&body).expect("JSON");
    match body["data"]["result"].as_array().is_some_and(|result| !result.is_empty()) {
        true => Answer::Data,
        false => Answer::Nothing,
    }
}

/// Asks every query of these dashboards. None may fail, and of the panels of those that `least` names so many in a
/// hundred have data.
pub async fn survey(dashboards: Vec<Dashboard>, least: &[(&str, usize)], ask: impl AsyncFn(&Query) -> Answer) {
    let (mut wrong, mut empty, mut poor) = (vec![], vec![], vec![]);
    for dashboard in dashboards {
        let queries = dashboards::panels(&dashboard, &BTreeMap::new());
        // A panel has data when one of its queries has.
        let mut panels = BTreeMap::<&str, bool>::new();
        for query in &queries {
            let answer = ask(query).await;
            if let Answer::Wrong(why) = &answer {
                wrong.push(format!("{}: {}: {}\n  {why}", dashboard.name, query.panel, query.expr));
            }
            *panels.entry(&query.panel).or_default() |= matches!(answer, Answer::Data);
        }
        let with = panels.values().filter(|data| **data).count();
        println!("{:>10}: {with} of {} panels with data, {} queries", dashboard.name, panels.len(), queries.len());
        let without = panels.iter().filter(|(_, data)| !**data);
        empty.extend(without.map(|(panel, _)| format!("{}: {panel}", dashboard.name)));
        let least = least.iter().find(|(name, _)| *name == dashboard.name).map_or(0, |(_, least)| *least);
        if with * 100 < panels.len() * least {
            poor.push(format!("{}: {with} of {} panels", dashboard.name, panels.len()));
        }
    }
    println!("without data here:\n  {}", empty.join("\n  "));
    assert!(wrong.is_empty(), "{} queries fail:\n{}", wrong.len(), wrong.join("\n"));
    assert!(poor.is_empty(), "too few have data: {poor:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_of_every_dashboard_runs_and_what_is_here_has_data() {
    let lab = Lab::open().await;
    let _together = lab.cluster.together().await;
    lab.cluster.apply(SLO).await;
    for (_, ip) in lab.cluster.pods(SHOP_SPACE, "app.kubernetes.io/name=checkout").await {
        for _ in 0..30 {
            let _ = lab.cluster.http.get(format!("http://{ip}:8080/checkout")).send().await;
        }
    }
    eventually("the budget of an SLO in Prometheus", Duration::from_secs(120), || {
        // The last of what its groups record.
        lab.query("evenkeel:slo_burn_rate:ratio{window=\"3d\"} and on () evenkeel:slo_total:window > 0")
    })
    .await;
    survey(dashboards::shipped(Parts::ALL), &HAVE_DATA, async |query| {
        let (component, at) = match query.language {
            Language::PromQl => ("prometheus", ":9090/api/v1/query_range"),
            Language::LogQl => ("loki", ":3100/loki/api/v1/query_range"),
        };
        let ip = lab.ip(component).await.expect("a pod");
        ask(&lab.cluster.http, format!("http://{ip}{at}"), query).await
    })
    .await;
}
