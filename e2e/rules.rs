//! AlertRules become live rules, and bad ones stand alone.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::*;

fn rule(namespace: &str, name: &str, rules: &Value) -> Value {
    json!({
        "apiVersion": "evenkeel.dev/v1alpha1", "kind": "AlertRule",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"interval": "5s", "rules": rules},
    })
}

/// Names of the alerts that Prometheus itself reports for groups of this namespace.
async fn live(cluster: &Cluster, namespace: &str) -> Vec<String> {
    let answer = cluster.prometheus("rules?type=alert").await.unwrap_or_default();
    let groups = answer["data"]["groups"].as_array().cloned().unwrap_or_default();
    groups
        .iter()
        .filter(|g| text(&g["name"]).starts_with(&format!("{namespace}/")))
        .flat_map(|g| g["rules"].as_array().cloned().unwrap_or_default())
        .map(|r| text(&r["name"]))
        .collect()
}

async fn loaded(cluster: &Cluster, namespace: &str, name: &str) -> Value {
    // Seconds, but while a rule of another test that Prometheus refuses is being found by halves.
    cluster
        .until("Loaded", "AlertRule", namespace, name, Duration::from_secs(60), |o| {
            current(o) && condition(o, "Loaded") == "True"
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_rule_beside_fifty_one_good_ones_is_named_and_stands_alone() {
    let cluster = Cluster::connect().await;
    let _together = cluster.together().await;
    let namespace = "e2e-rules-bad";
    cluster.fresh_namespace(namespace).await;
    for number in 0..50 {
        let good = json!([{"alert": format!("Good{number}"), "expr": "vector(1) > 2"}]);
        cluster.try_apply(rule(namespace, &format!("good-{number}"), &good)).await.expect("apply");
    }
    let mixed = json!([
        {"alert": "GoodBesideBad", "expr": "vector(1) > 2"},
        {"alert": "Bad", "expr": "sum(rate(up[5m]) by (job"},
    ]);
    cluster.try_apply(rule(namespace, "mixed", &mixed)).await.expect("apply");
    eventually("51 rules are live", Duration::from_secs(30), || async {
        (live(&cluster, namespace).await.len() == 51).then_some(())
    })
    .await;
    assert!(!live(&cluster, namespace).await.contains(&"Bad".to_owned()));
    let mixed = cluster
        .until("seen", "AlertRule", namespace, "mixed", Duration::from_secs(10), |o| {
            current(o) && condition(o, "Accepted") == "False"
        })
        .await;
    let problem = &mixed["status"]["rules"][0];
    assert_eq!((&problem["index"], &problem["name"]), (&json!(1), &json!("Bad")), "{problem:#}");
    let events = cluster.list("Event", namespace, "").await;
    assert!(events.iter().any(|e| text(&e["note"]).contains("Bad")), "an Event names the rule: {events:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_only_prometheus_refuses_is_quarantined_and_the_rest_stays_live() {
    let cluster = Cluster::connect().await;
    let _together = cluster.together().await;
    let namespace = "e2e-rules-quarantine";
    cluster.fresh_namespace(namespace).await;
    let good = json!([{"alert": "Neighbour", "expr": "vector(1) > 2"}]);
    cluster.try_apply(rule(namespace, "neighbour", &good)).await.expect("apply");
    loaded(&cluster, namespace, "neighbour").await;
    // The check before shipping knows the functions of templates, and not where `break` may stand.
    let refused = json!([
        {"alert": "Companion", "expr": "vector(1) > 2"},
        {"alert": "OnlyPrometheusRefuses", "expr": "vector(1) > 2", "annotations": {"summary": "{{ break }}"}},
    ]);
    cluster.try_apply(rule(namespace, "refused", &refused)).await.expect("apply");
    let refused = cluster
        .until("refused", "AlertRule", namespace, "refused", Duration::from_secs(40), |o| {
            current(o) && o["status"]["rules"].as_array().is_some_and(|r| !r.is_empty())
        })
        .await;
    assert_eq!(refused["status"]["rules"][0]["name"], "OnlyPrometheusRefuses", "{:#}", refused["status"]);
    eventually("the companion and the neighbour are live", Duration::from_secs(20), || async {
        let live = live(&cluster, namespace).await;
        (live.contains(&"Companion".to_owned()) && live.contains(&"Neighbour".to_owned())).then_some(())
    })
    .await;
    // And the next edit of anybody's rule still goes live.
    let edited = json!([{"alert": "NeighbourEdited", "expr": "vector(1) > 2"}]);
    cluster.try_apply(rule(namespace, "neighbour", &edited)).await.expect("apply");
    loaded(&cluster, namespace, "neighbour").await;
    assert!(live(&cluster, namespace).await.contains(&"NeighbourEdited".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn tiers_become_one_alert_a_severity_and_fire() {
    let cluster = Cluster::connect().await;
    let _together = cluster.together().await;
    let namespace = "e2e-rules-tiers";
    cluster.fresh_namespace(namespace).await;
    let tiers = json!([{"alert": "Tiered", "expr": "vector(0.07)", "tiers": [
        {"severity": "warning", "above": 0.05}, {"severity": "critical", "above": 0.1},
    ]}]);
    cluster.try_apply(rule(namespace, "tiered", &tiers)).await.expect("apply");
    loaded(&cluster, namespace, "tiered").await;
    assert_eq!(live(&cluster, namespace).await, ["Tiered", "Tiered"]);
    cluster
        .until("firing once", "AlertRule", namespace, "tiered", Duration::from_secs(60), |o| o["status"]["firing"] == 1)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_good_version_stays_while_an_edit_is_refused() {
    let cluster = Cluster::connect().await;
    let _together = cluster.together().await;
    let namespace = "e2e-rules-last-good";
    cluster.fresh_namespace(namespace).await;
    cluster
        .try_apply(rule(namespace, "edited", &json!([{"alert": "Kept", "expr": "vector(1) > 2"}])))
        .await
        .expect("apply");
    loaded(&cluster, namespace, "edited").await;
    cluster
        .try_apply(rule(namespace, "edited", &json!([{"alert": "Kept", "expr": "vector(1) >"}])))
        .await
        .expect("apply");
    cluster
        .until("refused", "AlertRule", namespace, "edited", Duration::from_secs(20), |o| {
            current(o) && condition(o, "Accepted") == "False"
        })
        .await;
    eventually("the last good version is live", Duration::from_secs(10), || async {
        (live(&cluster, namespace).await == ["Kept"]).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_rule_is_gone_and_a_deleted_shard_comes_back() {
    let cluster = Cluster::connect().await;
    let _together = cluster.together().await;
    let namespace = "e2e-rules-delete";
    cluster.fresh_namespace(namespace).await;
    for name in ["stays", "goes"] {
        let rules = json!([{"alert": name, "expr": "vector(1) > 2"}]);
        cluster.try_apply(rule(namespace, name, &rules)).await.expect("apply");
        loaded(&cluster, namespace, name).await;
    }
    cluster.delete("AlertRule", namespace, "goes").await;
    eventually("the deleted rule is gone", Duration::from_secs(20), || async {
        (live(&cluster, namespace).await == ["stays"]).then_some(())
    })
    .await;
    let shards = || async {
        let all = cluster.list("ConfigMap", MONITORING, "evenkeel.dev/set=rules").await;
        all.into_iter().find(|c| c["data"].to_string().contains(&format!("{namespace}/stays")))
    };
    let shard = shards().await.expect("the shard of the rule");
    cluster.delete("ConfigMap", MONITORING, &text(&shard["metadata"]["name"])).await;
    eventually("the shard is back", Duration::from_secs(20), || async {
        let back = shards().await?;
        (back["metadata"]["uid"] != shard["metadata"]["uid"]).then_some(())
    })
    .await;
}

/// The expressions that Prometheus itself reports for the alerts of this namespace.
async fn expressions(cluster: &Cluster, namespace: &str) -> Vec<String> {
    let answer = cluster.prometheus("rules?type=alert").await.unwrap_or_default();
    let groups = answer["data"]["groups"].as_array().cloned().unwrap_or_default();
    let ours = groups.iter().filter(|group| text(&group["name"]).starts_with(&format!("{namespace}/")));
    ours.flat_map(|group| group["rules"].as_array().into_iter().flatten()).map(|rule| text(&rule["query"])).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_that_fails_keeps_the_last_good_version_live_and_says_what_it_got() {
    let cluster = Cluster::connect().await;
    let _together = cluster.together().await;
    let namespace = "e2e-rules-tests";
    cluster.fresh_namespace(namespace).await;
    let above = |seconds: u32| {
        let rules = json!([{"alert": "Slow", "expr": format!("page_seconds > {seconds}"), "for": "2m"}]);
        let mut tested = rule(namespace, "tested", &rules);
        tested["spec"]["tests"] = json!([{
            "name": "two seconds are slow",
            "series": [{"series": "page_seconds{job=\"shop\"}", "values": "2x10"}],
            "alerts": [
                {"at": "1m", "alert": "Slow"},
                {"at": "5m", "alert": "Slow", "firing": [{"job": "shop"}]},
            ],
        }]);
        tested
    };
    let within = Duration::from_secs(120);
    cluster.try_apply(above(1)).await.expect("apply");
    let passed = cluster
        .until("tested and loaded", "AlertRule", namespace, "tested", within, |o| {
            current(o) && condition(o, "TestsPassed") == "True" && condition(o, "Loaded") == "True"
        })
        .await;
    println!("{}", condition_of(&passed, "TestsPassed")["message"]);
    assert_eq!(expressions(&cluster, namespace).await, ["page_seconds > 1"]);
    cluster.try_apply(above(3)).await.expect("apply");
    let failed = cluster
        .until("the test failed", "AlertRule", namespace, "tested", within, |o| {
            current(o) && condition(o, "TestsPassed") == "False"
        })
        .await;
    let message = text(&condition_of(&failed, "TestsPassed")["message"]);
    println!("{message}");
    assert!(message.contains("expected ") && message.contains("got nothing") && message.contains("5m"), "{message}");
    assert_eq!(condition(&failed, "Ready"), "False", "{:#}", failed["status"]);
    // Reload after reload, for example by others.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(expressions(&cluster, namespace).await, ["page_seconds > 1"]);
    // What does not parse is named, and no test is run over it.
    let mut broken = above(3);
    broken["spec"]["rules"][0]["expr"] = json!("page_seconds >");
    cluster.try_apply(broken).await.expect("apply");
    let refused = cluster
        .until("refused", "AlertRule", namespace, "tested", within, |o| {
            current(o) && condition(o, "Accepted") == "False"
        })
        .await;
    assert_eq!(refused["status"]["rules"][0]["reason"], "ParseError", "{:#}", refused["status"]);
    assert_eq!(condition(&refused, "TestsPassed"), "Unknown", "{:#}", refused["status"]);
    assert_eq!(expressions(&cluster, namespace).await, ["page_seconds > 1"]);
    cluster.try_apply(above(0)).await.expect("apply");
    cluster
        .until("mended and loaded", "AlertRule", namespace, "tested", within, |o| {
            current(o) && condition(o, "TestsPassed") == "True" && condition(o, "Loaded") == "True"
        })
        .await;
    assert_eq!(expressions(&cluster, namespace).await, ["page_seconds > 0"]);
    eventually("nothing is left of the tests", Duration::from_secs(60), || async {
        let set = "evenkeel.dev/set=rule-tests";
        let left = (cluster.list("Job", MONITORING, set).await, cluster.list("ConfigMap", MONITORING, set).await);
        (left.0.is_empty() && left.1.is_empty()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_no_series_matches_is_live_and_carries_a_warning() {
    let cluster = Cluster::connect().await;
    let _together = cluster.together().await;
    let namespace = "e2e-rules-life";
    cluster.fresh_namespace(namespace).await;
    let rules = |metric: &str, job: &str| {
        json!([
            {"alert": "Typo", "expr": format!("{metric} < 1")},
            {"alert": "NoSuchJob", "expr": format!("up{{job=~\"{job}\"}} < 0")},
        ])
    };
    cluster.try_apply(rule(namespace, "typo", &rules("prometheus_build_inf", "nowhere.*"))).await.expect("apply");
    // The grace of this installation, and a look.
    let within = Duration::from_secs(90);
    let warned = cluster
        .until("a warning", "AlertRule", namespace, "typo", within, |o| {
            current(o) && condition(o, "MatchesSeries") == "False"
        })
        .await;
    let message = text(&condition_of(&warned, "MatchesSeries")["message"]);
    println!("{message}");
    let typo = "Typo: there is no series of prometheus_build_inf: did you mean prometheus_build_info?";
    assert!(message.contains(typo) && message.contains("NoSuchJob: job=~\"nowhere.*\" can never match"), "{message}");
    assert_eq!(condition(&warned, "Ready"), "True", "{:#}", warned["status"]);
    cluster.try_apply(rule(namespace, "typo", &rules("prometheus_build_info", ".+"))).await.expect("apply");
    cluster
        .until("no warning", "AlertRule", namespace, "typo", within, |o| {
            current(o) && condition(o, "MatchesSeries") == "True"
        })
        .await;
}
