//! Nothing is lost on the way from a container to Loki. Comes last of the tests of the lab: it takes parts away.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::harness::*;
use crate::lab::*;

/// How long lines are written, in seconds; for 70 % of it Loki is away. `make soak` asks for a quarter of an hour.
fn endurance() -> u64 {
    std::env::var("EVENKEEL_SOAK").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(60)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_line_is_lost_while_loki_is_away_and_the_agent_starts_again() {
    const EACH: u64 = 50;
    let lab = Lab::open().await;
    let _alone = lab.cluster.alone().await;
    let (from, mark, seconds) = (Timestamp::now(), mark(), endurance());
    // The pod stays, and what Loki took with it; nobody reaches it, while the operator looks away.
    let reachable = |reachable: bool| {
        let nobody = if reachable { Value::Null } else { "true".into() };
        lab.cluster.merge("Service", LAB, "lab-loki", json!({"spec": {"selector": {"away": nobody}}}))
    };
    lab.cluster.merge("MonitoringStack", LAB, "lab", json!({"spec": {"paused": true}})).await;
    let begun = std::time::Instant::now();
    let (mut number, mut away, mut back, mut restarted) = (0, false, false, false);
    while begun.elapsed() < Duration::from_secs(seconds) {
        let lines: String =
            (number..number + EACH).map(|n| format!("{mark} line {n:06} of an application\n")).collect();
        lab.write("checkout", &lines).await;
        number += EACH;
        let share = begun.elapsed().as_secs_f64() / seconds as f64;
        if !away && share > 0.1 {
            reachable(false).await;
            let ip = lab.ip("loki").await.expect("Loki");
            let stop = format!("http://{ip}:3100/ingester/shutdown?flush=true&terminate=true");
            let _ = lab.cluster.http.post(stop).send().await;
            away = true;
        }
        if !restarted && share > 0.4 {
            let agents = lab.cluster.pods(LAB, "app.kubernetes.io/name=log-agent").await;
            lab.cluster.delete("Pod", LAB, &agents.first().expect("an agent").0).await;
            restarted = true;
        }
        if !back && share > 0.8 {
            reachable(true).await;
            back = true;
        }
        // 50 lines ten times a second.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    lab.cluster.merge("MonitoringStack", LAB, "lab", json!({"spec": {"paused": false}})).await;
    println!("{number} lines in {seconds} s, {:.0} a second", number as f64 / begun.elapsed().as_secs_f64());
    let logql = format!("{{namespace=\"{SHOP_SPACE}\", workload=\"checkout\"}} |= \"{mark}\"");
    let counted = format!("sum(count_over_time({logql} [{}s]))", seconds + 600);
    let seen = eventually("every line in Loki", Duration::from_secs(240 + seconds), || async {
        let answer = lab.get("loki", 3100, "/loki/api/v1/query", &[("query", counted.clone())]).await?;
        let seen: u64 = text(&answer["data"]["result"][0]["value"][1]).parse().ok()?;
        (seen >= number).then_some(seen)
    })
    .await;
    let (mut times, mut since, end) = (BTreeMap::<String, u64>::new(), from, Timestamp::now());
    while since < end {
        // Loki answers with at most 5000 lines.
        let until = since + Duration::from_secs(5);
        for (_, line) in lab.lines_between(&logql, since, until).await {
            *times.entry(line).or_default() += 1;
        }
        since = until;
    }
    let twice = times.values().filter(|times| **times > 1).count();
    println!("{seen} entries, {} different lines, {twice} of them more than once", times.len());
    assert_eq!(times.len() as u64, number, "every line is there");
}
