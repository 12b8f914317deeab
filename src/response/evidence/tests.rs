use super::*;
use serde_json::json;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn now() -> Timestamp {
    at("2026-11-21T10:00:00Z")
}

fn pod(name: &str, ready: bool, restarts: i32) -> Pod {
    let last = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": "2026-11-21T09:59:00Z"}});
    serde_json::from_value(json!({
        "metadata": {"name": name, "uid": format!("uid-{name}"), "creationTimestamp": "2026-11-21T09:00:00Z"},
        "spec": {"nodeName": "node-1", "containers": []},
        "status": {"phase": "Running", "containerStatuses": [{
            "name": "app", "image": "shop:2", "imageID": "", "containerID": "containerd://1", "ready": ready, "restartCount": restarts,
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
            "lastState": if restarts > 0 { last } else { json!({}) },
        }]},
    }))
    .unwrap()
}

#[test]
fn pods_are_told_with_how_their_containers_ended() {
    let text = pods(&[pod("web-1", false, 3)], &["cannot list replicasets: no".into()], now()).text;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "cannot list replicasets: no");
    assert!(lines[1].starts_with("POD    PHASE    CONTAINER  READY  RESTARTS  STATE"), "{text}");
    for part in ["CrashLoopBackOff: back-off 10s", "OOMKilled (exit code 137) at 2026-11-21T09:59:00Z", "node-1", "1h"]
    {
        assert!(lines[2].contains(part), "{part}: {text}");
    }
    assert_eq!(pods(&[], &[], now()).text, "There are no pods.\n");
}

#[test]
fn logs_are_of_what_is_not_ready_first_and_then_of_what_was_restarted() {
    let all: Vec<Pod> = [
        ("a", true, 0),
        ("b", true, 2),
        ("c", false, 0),
        ("d", false, 5),
        ("e", true, 0),
        ("f", true, 0),
        ("g", true, 0),
    ]
    .iter()
    .map(|(name, ready, restarts)| pod(name, *ready, *restarts))
    .collect();
    let chosen = sources(&all);
    assert_eq!(chosen.iter().map(|s| s.pod.as_str()).collect::<Vec<_>>(), ["d", "c", "b", "a", "e", "f"]);
    assert_eq!(chosen.iter().map(|s| s.restarted).collect::<Vec<_>>(), [true, false, true, false, false, false]);
}

#[test]
fn a_long_log_keeps_its_end_and_says_what_is_missing() {
    let source = Source { pod: "x".repeat(253), container: "app".into(), restarted: true };
    let text: String = (0..20_000).map(|n| format!("line {n}\n")).collect();
    let log = log(&source, true, Ok(text));
    assert!(log.key.len() <= MAX_KEY && log.key.ends_with("-previous.txt"), "{}", log.key);
    assert!(log.text.starts_with("[cut: the last 48 of ") && log.text.ends_with("line 19999\n"));
    assert!(log.text.lines().nth(1).unwrap().starts_with("line "), "whole lines only");
    assert!(log.text.len() <= LOG + 64);
}

#[test]
fn all_parts_together_fit_into_one_object() {
    let all = TARGET + 2 * TABLE + EVENTS + PROMQL + 2 * CONTAINERS * LOG + (5 + 2 * CONTAINERS) * (MAX_KEY + 64);
    assert!(all <= crate::response::action::diagnose::MOST, "{all}");
}

#[test]
fn the_target_is_told_without_credentials_and_without_noise() {
    let deployment = json!({
        "kind": "Deployment",
        "metadata": {"name": "web", "managedFields": [{"manager": "kubectl"}],
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{\"password\":\"hunter2\"}", "team": "shop"}},
        "spec": {"template": {"spec": {"containers": [{"name": "app", "env": [{"name": "DB_PASSWORD", "value": "hunter2"}]}]}}},
    });
    let text = target(Ok(deployment)).text;
    assert!(text.contains("team: shop") && text.contains("[redacted]"), "{text}");
    assert!(!text.contains("hunter2") && !text.contains("managedFields") && !text.contains("last-applied"), "{text}");
    assert_eq!(target(Err("cannot get it".into())).text, "# cannot get it\n");
}

#[test]
fn events_of_others_are_left_out_and_the_newest_is_last() {
    let event = |uid: &str, at: &str, message: &str| -> Event {
        serde_json::from_value(json!({
            "metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "name": "web-1", "uid": uid},
            "lastTimestamp": at, "reason": "BackOff", "type": "Warning", "count": 7, "message": message,
        }))
        .unwrap()
    };
    let all = [
        event("u", "2026-11-21T09:59:00Z", "second"),
        event("u", "2026-11-21T09:58:00Z", "first, password=x"),
        event("other", "2026-11-21T09:58:30Z", "of another"),
    ];
    let text = events(&all, &HashSet::from(["u".to_owned()]), &[]).text;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[0].contains("first, password=[redacted]") && lines[1].contains("x7  second"), "{text}");
}

#[test]
fn the_history_of_rollouts_is_the_newest_first() {
    let set = |revision: &str, image: &str| -> k8s_openapi::api::apps::v1::ReplicaSet {
        serde_json::from_value(json!({
            "metadata": {"name": format!("web-{revision}"), "creationTimestamp": "2026-11-21T09:00:00Z",
                "annotations": {"deployment.kubernetes.io/revision": revision}},
            "spec": {"replicas": 2, "selector": {}, "template": {"spec": {"containers": [{"name": "app", "image": image}]}}},
        }))
        .unwrap()
    };
    let rows = revisions_of_replica_sets(&[set("9", "shop:1"), set("10", "shop:2")], now());
    let text = rollout(Ok(rows)).text;
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[1].starts_with("10") && lines[1].contains("shop:2") && lines[2].starts_with("9 "), "{text}");
    let revision = serde_json::from_value(json!({
        "metadata": {"name": "db-1"}, "revision": 3,
        "data": {"spec": {"template": {"spec": {"containers": [{"name": "db", "image": "db:3"}]}}}},
    }))
    .unwrap();
    assert!(rollout(Ok(revisions_of_controller(&[revision], now()))).text.contains("3         db-1"));
}

#[test]
fn a_query_is_told_by_its_extremes_and_its_points() {
    let series = Series {
        labels: [("job".to_owned(), "web".to_owned())].into(),
        points: vec![(1_000_000_000.0, 0.5), (1_000_000_060.0, f64::NAN), (1_000_000_120.0, 0.25)],
    };
    let asked = [
        ("rate(x[5m])".to_owned(), Ok(vec![series])),
        ("up".to_owned(), Ok(vec![])),
        ("down".to_owned(), Err("nobody answered".to_owned())),
    ];
    let text = promql(&asked, now(), now(), SignedDuration::from_mins(2)).text;
    assert!(
        text.contains("# rate(x[5m])\n{job=\"web\"}  min 0.25  max 0.5  last 0.25\n  01:46:40 0.5  01:47:40 NaN"),
        "{text}"
    );
    assert!(text.contains("# up\nno data\n") && text.ends_with("# down\nnobody answered\n"), "{text}");
    assert_eq!(
        (number(0.00001234), number(1500.0), number(f64::INFINITY)),
        ("1.234e-5".into(), "1500".into(), "inf".into())
    );
}

#[test]
fn lines_of_logs_are_told_with_where_they_come_from_and_without_credentials() {
    use crate::loki::{Found, Line};
    let line = |text: &str| Line {
        at: "2026-03-01T10:00:01.5Z".parse().unwrap(),
        labels: [("pod".to_owned(), "web-1".to_owned()), ("container".to_owned(), "app".to_owned())].into(),
        text: text.to_owned(),
    };
    let found = Found::Lines(vec![line("login failed password=hunter2\n")]);
    let series = Found::Series(vec![Series { labels: Default::default(), points: vec![(1.0, 4.0)] }]);
    let asked = [
        ("{pod=\"web-1\"}".to_owned(), Ok(found)),
        ("sum(x)".to_owned(), Ok(series)),
        ("{}".to_owned(), Ok(Found::Lines(vec![]))),
        ("{a=".to_owned(), Err("it has a comment: write it without".to_owned())),
    ];
    let part = logql(&asked, at("2026-03-01T09:50:00Z"), at("2026-03-01T10:10:00Z"));
    assert_eq!(part.key, "logql.txt");
    for expected in ["10:00:01.500 web-1/app login failed", "[redacted]", "last 4", "no lines", "it has a comment"] {
        assert!(part.text.contains(expected), "{expected}: {}", part.text);
    }
    assert!(!part.text.contains("hunter2"));
}
