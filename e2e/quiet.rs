//! No write in a steady state.

use std::time::Duration;

use serde_json::Value;

use crate::harness::*;

/// Writes by the operator's ServiceAccount in the audit log since byte `from`, the lease aside.
fn writes(log: &str) -> Vec<String> {
    log.lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|e| text(&e["user"]["username"]) == format!("system:serviceaccount:{OPERATOR}:evenkeel"))
        .filter(|e| !matches!(e["verb"].as_str(), Some("get" | "list" | "watch")))
        .filter(|e| e["objectRef"]["resource"] != "leases")
        .map(|e| format!("{} {}", e["verb"], e["requestURI"]))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_operator_writes_nothing_but_its_lease() {
    let cluster = Cluster::connect().await;
    let _alone = cluster.alone().await;
    cluster.operator_settled().await;
    let path = std::env::var("EVENKEEL_AUDIT_LOG")
        .expect("EVENKEEL_AUDIT_LOG names the API server's audit log (make e2e sets it)");
    let size = || std::fs::metadata(&path).expect("the audit log").len();
    // What other tests left behind may still settle, the counts of targets within a minute.
    let window =
        Duration::from_secs(std::env::var("EVENKEEL_IDLE_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(75));
    let mut last = vec![];
    for _ in 0..3 {
        let from = size();
        tokio::time::sleep(window).await;
        let log = std::fs::read_to_string(&path).expect("the audit log");
        let seen = &log[from as usize..];
        assert!(seen.contains("leases"), "the audit log is being written");
        last = writes(seen);
        if last.is_empty() {
            return;
        }
    }
    panic!("{} writes in {window:?}: {:#?}", last.len(), &last[..last.len().min(20)]);
}
