//! SLOs: what `kubectl get slo` says is what the load generator (this test) counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::harness::*;
use crate::manifests::*;

/// A shop of which a share of the checkouts fails, and whose pod is scraped.
async fn shop(cluster: &Cluster, namespace: &str, name: &str, fail_ratio: &str) {
    let yaml = deployment(namespace, name, "1", 1)
        .replace(
            &format!("metadata: {{labels: {{app.kubernetes.io/name: {name}}}}}"),
            &format!(
                "metadata: {{labels: {{app.kubernetes.io/name: {name}}}, annotations: {{prometheus.io/scrape: 'true', prometheus.io/port: '8080'}}}}"
            ),
        )
        .replace("{name: RELEASE, value: '1'}", &format!("{{name: FAIL_RATIO, value: '{fail_ratio}'}}"));
    cluster.apply(&yaml).await;
}

async fn scraped(cluster: &Cluster, namespace: &str, name: &str) {
    let query = format!("http_requests_total{{namespace=\"{namespace}\",pod=~\"{name}-.*\",code=\"500\"}}");
    eventually(&format!("{query} is scraped"), Duration::from_secs(90), || cluster.query(&query)).await;
}

fn slo(namespace: &str, name: &str, objective: f64, spec: Value) -> Value {
    let mut object = json!({
        "apiVersion": "evenkeel.dev/v1alpha1", "kind": "SLO", "metadata": {"name": name, "namespace": namespace},
        "spec": {"service": name, "objective": objective, "window": {"rolling": "1h"}},
    });
    for (field, value) in spec.as_object().expect("an object") {
        object["spec"][field] = value.clone();
    }
    object
}

/// Requests to the pods whose names begin so that fail, of all of them.
fn ratio(namespace: &str, pods: &str) -> Value {
    let metric = |code: &str| format!("http_requests_total{{namespace=\"{namespace}\",pod=~\"({pods})-.*\"{code}}}");
    json!({"ratio": {"errors": {"metric": metric(",code=\"500\"")}, "total": {"metric": metric("")}}})
}

#[derive(Default)]
struct Counted {
    good: AtomicU64,
    bad: AtomicU64,
}

/// Asks the one pod of a shop 30 times a second, until it is aborted.
async fn customers(cluster: &Cluster, namespace: &str, name: &str, counted: Arc<Counted>) -> JoinHandle<()> {
    let pods = cluster.pods(namespace, &format!("app.kubernetes.io/name={name}")).await;
    let (url, http) = (format!("http://{}:8080/checkout", pods[0].1), cluster.http.clone());
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_millis(33));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let answer = http.get(&url).send().await.expect("the shop answers");
            let count = if answer.status().is_success() { &counted.good } else { &counted.bad };
            count.fetch_add(1, Ordering::Relaxed);
        }
    })
}

fn state(slo: &Value) -> String {
    text(&slo["status"]["state"])
}

/// `97.012` of `status.current`, `1.0x` of a burn rate.
fn number(value: &Value) -> f64 {
    text(value).trim_end_matches(['%', 'x']).parse().unwrap_or(f64::NAN)
}

/// Names of the SLOs of a namespace for which a page fires.
async fn pages(cluster: &Cluster, namespace: &str) -> Vec<String> {
    let answer = cluster.prometheus("alerts").await.unwrap_or_default();
    let alerts = answer["data"]["alerts"].as_array().cloned().unwrap_or_default();
    let own = alerts.iter().map(|alert| &alert["labels"]).filter(|labels| {
        labels["slo_namespace"] == namespace
            && labels["severity"] == "critical"
            && labels["alertname"] == "ErrorBudgetBurn"
    });
    own.map(|labels| text(&labels["slo"])).collect()
}

/// A name of this run alone: the series of an SLO outlive it in Prometheus, and another of its name takes them over.
fn named(name: &str) -> String {
    static RUN: std::sync::OnceLock<i64> = std::sync::OnceLock::new();
    format!("{name}-{}", RUN.get_or_init(|| jiff::Timestamp::now().as_second()))
}

/// The coverage of a young SLO moves with every step, which would disturb the test of quiet.
async fn forget(cluster: &Cluster, namespace: &str, slos: &[&str]) {
    for name in slos {
        cluster.delete("SLO", namespace, name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_slo_tells_what_was_counted_pages_when_it_burns_and_survives_a_restart() {
    let cluster = Cluster::connect().await;
    let together = cluster.together().await;
    let names = ["strict", "loose", "states"].map(named);
    let [strict_slo, loose_slo, states_slo] = names.each_ref().map(String::as_str);
    let namespace = "e2e-slo";
    cluster.fresh_namespace(namespace).await;
    for (name, fail_ratio) in [("good", "0"), ("steady", "0.03"), ("worse", "0.1")] {
        shop(&cluster, namespace, name, fail_ratio).await;
    }
    let page = |factor: f64| json!({"page": {"windows": [{"factor": factor, "long": "15m", "short": "5m"}]}, "ticket": {"disabled": true}});
    for (name, objective, pods, factor) in
        [(strict_slo, 99.85, "steady", 14.4), (loose_slo, 97.0, "steady", 14.4), (states_slo, 95.0, "good|worse", 0.1)]
    {
        let spec = json!({"indicator": ratio(namespace, pods), "alerting": page(factor)});
        cluster.try_apply(slo(namespace, name, objective, spec)).await.expect("apply");
    }
    for name in ["good", "steady", "worse"] {
        scraped(&cluster, namespace, name).await;
    }
    for name in [strict_slo, loose_slo, states_slo] {
        cluster
            .until("Loaded", "SLO", namespace, name, Duration::from_secs(30), |o| {
                current(o) && condition(o, "Loaded") == "True"
            })
            .await;
    }

    let (steady, states) = (Arc::new(Counted::default()), Arc::new(Counted::default()));
    let to_steady = customers(&cluster, namespace, "steady", steady.clone()).await;
    let to_good = customers(&cluster, namespace, "good", states.clone()).await;
    tokio::time::sleep(Duration::from_secs(75)).await;
    cluster.until("Healthy", "SLO", namespace, states_slo, Duration::from_secs(60), |o| state(o) == "Healthy").await;
    to_good.abort();
    let to_worse = customers(&cluster, namespace, "worse", states.clone()).await;
    // The same service at the same time: twenty times the one budget, once the other.
    eventually("the page of the strict one", Duration::from_secs(90), || async {
        pages(&cluster, namespace).await.contains(&strict_slo.to_owned()).then_some(())
    })
    .await;
    assert!(!pages(&cluster, namespace).await.contains(&loose_slo.to_owned()));
    for (seen, within) in [("Burning", 90), ("Exhausted", 120)] {
        cluster.until(seen, "SLO", namespace, states_slo, Duration::from_secs(within), |o| state(o) == seen).await;
    }
    to_worse.abort();
    to_steady.abort();
    let to_good = customers(&cluster, namespace, "good", states.clone()).await;

    // Two steps later everything that was counted is in the sums.
    tokio::time::sleep(Duration::from_secs(130)).await;
    let (good, bad) = (steady.good.load(Ordering::Relaxed) as f64, steady.bad.load(Ordering::Relaxed) as f64);
    let share = 100.0 * bad / (good + bad);
    let (strict, loose) =
        (cluster.get("SLO", namespace, strict_slo).await, cluster.get("SLO", namespace, loose_slo).await);
    for slo in [&strict, &loose] {
        let told = 100.0 - number(&slo["status"]["current"]);
        assert!(
            (told - share).abs() <= 0.02 * share,
            "{share} % failed of {}, told {told}: {:#}",
            good + bad,
            slo["status"]
        );
    }
    let budget = number(&loose["status"]["budget"]["remaining"]);
    assert!((budget - (100.0 - share / 0.03)).abs() < 3.0, "{budget} left at {share} %");
    assert_eq!((state(&strict), condition(&strict, "Covered")), ("Exhausted".into(), "False".into()));
    assert!(!pages(&cluster, namespace).await.contains(&loose_slo.to_owned()), "a burn of about 1 pages nobody");

    // Another operator, the same values; and no shard was written.
    let shards = || async {
        let all = cluster.list("ConfigMap", MONITORING, "evenkeel.dev/set=rules").await;
        let mine = all.into_iter().filter(|c| c["data"].to_string().contains(&format!("slo/{namespace}/")));
        mine.map(|c| text(&c["metadata"]["resourceVersion"])).collect::<Vec<_>>()
    };
    drop(together);
    let alone = cluster.alone().await;
    // The test before this one may have taken the API server away.
    let measured = Duration::from_secs(60);
    let before = cluster.until("Exhausted", "SLO", namespace, strict_slo, measured, |o| state(o) == "Exhausted").await;
    let written = shards().await;
    let leader = cluster.leader().await;
    cluster.delete("Pod", OPERATOR, &leader).await;
    eventually("another leader", Duration::from_secs(60), || async {
        (cluster.leader().await != leader).then_some(())
    })
    .await;
    cluster.operator_settled().await;
    // Two rounds of questions by the new leader.
    tokio::time::sleep(Duration::from_secs(35)).await;
    let after = cluster.get("SLO", namespace, strict_slo).await;
    for field in ["state", "since", "window", "stacks", "observedGeneration"] {
        assert_eq!(before["status"][field], after["status"][field], "{field}");
    }
    assert!((number(&before["status"]["current"]) - number(&after["status"]["current"])).abs() < 0.1);
    assert_eq!(condition_of(&before, "Loaded"), condition_of(&after, "Loaded"));
    assert_eq!(shards().await, written, "a restart writes no shard");
    drop(alone);
    let _together = cluster.together().await;

    // What is given back is there within a round; the burn ends when five minutes were clean.
    let adjustment = json!({
        "apiVersion": "evenkeel.dev/v1alpha1", "kind": "BudgetAdjustment",
        "metadata": {"name": "reset", "namespace": namespace},
        "spec": {"slos": [states_slo], "cause": "incident", "giveBack": {"percent": 1000, "at": jiff::Timestamp::now().to_string()}},
    });
    cluster.try_apply(adjustment).await.expect("apply");
    let given = cluster
        .until("given back", "SLO", namespace, states_slo, Duration::from_secs(45), |o| {
            number(&o["status"]["budget"]["remaining"]) > 500.0
        })
        .await;
    assert_eq!(given["status"]["budget"]["adjustments"], json!(["reset"]));
    cluster
        .until("Healthy again", "SLO", namespace, states_slo, Duration::from_secs(330), |o| state(o) == "Healthy")
        .await;
    to_good.abort();
    let events = cluster.list("Event", namespace, "").await;
    let reasons: Vec<String> =
        events.iter().filter(|e| e["regarding"]["name"] == states_slo).map(|e| text(&e["reason"])).collect();
    for reason in ["Burning", "Exhausted", "Healthy"] {
        assert!(reasons.contains(&reason.to_owned()), "an Event {reason}: {reasons:?}");
    }
    forget(&cluster, namespace, &[strict_slo, loose_slo, states_slo]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_slos_of_one_name_in_two_namespaces_do_not_mix() {
    let cluster = Cluster::connect().await;
    let _together = cluster.together().await;
    let api = &*named("api");
    let metrics = [("e2e-slo-one", "up{job=\"prometheus\"}"), ("e2e-slo-two", "up{job=\"there-is-no-such-job\"}")];
    for (namespace, metric) in metrics {
        cluster.fresh_namespace(namespace).await;
        let spec = json!({"indicator": {"availability": {"metric": metric}}});
        cluster.try_apply(slo(namespace, api, 99.0, spec)).await.expect("apply");
    }
    let one =
        cluster.until("measured", "SLO", "e2e-slo-one", api, Duration::from_secs(150), |o| state(o) == "Healthy").await;
    assert_eq!((text(&one["status"]["current"]), condition(&one, "Ready")), ("100".into(), "True".into()));
    let two = cluster.get("SLO", "e2e-slo-two", api).await;
    assert_eq!((state(&two), condition(&two, "Loaded")), ("NoData".into(), "True".into()), "{:#}", two["status"]);
    assert!(two["status"]["current"].is_null());
    cluster.delete("SLO", "e2e-slo-one", api).await;
    eventually("the groups of the deleted one are gone", Duration::from_secs(20), || async {
        let groups = cluster.prometheus("rules").await?.to_string();
        (!groups.contains("slo/e2e-slo-one/") && groups.contains("slo/e2e-slo-two/")).then_some(())
    })
    .await;
    forget(&cluster, "e2e-slo-two", &[api]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_threshold_without_a_bucket_and_a_wrong_selector_are_told_with_words_that_help() {
    let cluster = Cluster::connect().await;
    let _together = cluster.together().await;
    let name = &*named("latency");
    let namespace = "e2e-slo-bucket";
    cluster.fresh_namespace(namespace).await;
    shop(&cluster, namespace, "checkout", "0").await;
    scraped(&cluster, namespace, "checkout").await;
    let latency = |threshold: &str| {
        let histogram = format!("http_request_duration_seconds{{namespace=\"{namespace}\"}}");
        json!({"indicator": {"latency": {"histogram": histogram, "threshold": threshold}}})
    };
    cluster.try_apply(slo(namespace, name, 99.0, latency("100ms"))).await.expect("apply");
    let told = cluster
        .until("told", "SLO", namespace, name, Duration::from_secs(100), |o| !o["status"]["problems"].is_null())
        .await;
    let message = text(&told["status"]["problems"][0]["message"]);
    assert!(message.contains("0.064s and 0.128s"), "{message}");
    assert_eq!(told["status"]["problems"][0]["field"], "indicator.latency.threshold");
    // An edit that is refused says where, and the rules of the version before it stay.
    let mut wrong = ratio(namespace, "checkout");
    wrong["ratio"]["total"]["metric"] = "http_requests_total{code=".into();
    cluster.try_apply(slo(namespace, name, 99.0, json!({"indicator": wrong}))).await.expect("apply");
    let refused = cluster
        .until("refused", "SLO", namespace, name, Duration::from_secs(20), |o| {
            current(o) && condition(o, "Stalled") == "True"
        })
        .await;
    assert_eq!(refused["status"]["problems"][0]["field"], "indicator.ratio.total.metric", "{:#}", refused["status"]);
    assert_eq!(condition(&refused, "Loaded"), "True");
    assert!(text(&condition_of(&refused, "Ready")["message"]).contains("last good version stay live"));
    // And the way out works.
    cluster.try_apply(slo(namespace, name, 99.0, latency("128ms"))).await.expect("apply");
    cluster
        .until("measured", "SLO", namespace, name, Duration::from_secs(150), |o| {
            current(o) && state(o) == "Healthy" && o["status"]["problems"].is_null()
        })
        .await;
    forget(&cluster, namespace, &[name]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_of_group_by_that_the_series_lack_is_told() {
    let cluster = Cluster::connect().await;
    let _together = cluster.together().await;
    let (namespace, name) = ("e2e-slo-label", &*named("label"));
    cluster.fresh_namespace(namespace).await;
    let spec = json!({"indicator": {"availability": {"metric": "up{job=\"prometheus\"}"}}, "groupBy": ["tenant"]});
    cluster.try_apply(slo(namespace, name, 99.0, spec)).await.expect("apply");
    let told = cluster
        .until("told", "SLO", namespace, name, Duration::from_secs(150), |o| !o["status"]["problems"].is_null())
        .await;
    let problem = &told["status"]["problems"][0];
    assert_eq!(problem["field"], "indicator.availability.metric", "{problem}");
    assert!(text(&problem["message"]).contains("lack the label tenant of groupBy"), "{problem}");
    // They have a budget all the same.
    assert_eq!(condition(&told, "Loaded"), "True");
    forget(&cluster, namespace, &[name]).await;
}
