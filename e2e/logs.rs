//! Logs and traces: what is collected, what never arrives, what is not lost, and what leads from one to the other.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket};

use crate::harness::*;
use crate::lab::*;
use crate::manifests::*;

#[tokio::test(flavor = "multi_thread")]
async fn every_component_that_can_be_had_is_ready_and_grafana_is_named() {
    let lab = Lab::open().await;
    let _together = lab.cluster.together().await;
    let stack = lab
        .cluster
        .until("Grafana named", "MonitoringStack", LAB, "lab", Duration::from_secs(120), |stack| {
            let message = text(&condition_of(stack, "Ready")["message"]);
            condition(stack, "Ready") == "True" || message.contains("grafana/grafana")
        })
        .await;
    let components = stack["status"]["components"].as_array().expect("components");
    for component in components {
        println!("{:>14}  {}  {}", text(&component["name"]), text(&component["pods"]), text(&component["version"]));
    }
    let others = components.iter().filter(|component| component["name"] != "grafana");
    let waiting: Vec<&Value> = others.filter(|component| !component["message"].is_null()).collect();
    assert!(waiting.is_empty(), "nothing else suffers: {waiting:#?}");
    assert_eq!(components.len(), 7, "{components:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_leads_from_its_log_line_to_its_trace_and_to_its_metric() {
    let lab = Lab::open().await;
    let _together = lab.cluster.together().await;
    let (trace, parent) = (format!("{:032x}", rand::random::<u128>()), mark());
    let pods = lab.cluster.pods(SHOP_SPACE, "app.kubernetes.io/name=checkout").await;
    let (pod, ip) = pods.first().expect("a shop");
    let asked = Timestamp::now();
    let request = || {
        let request = lab.cluster.http.get(format!("http://{ip}:8080/checkout"));
        request.header("traceparent", format!("00-{trace}-{parent}-01")).send()
    };
    assert_eq!(request().await.expect("an answer").status().as_u16(), 200);

    let logql = format!("{{namespace=\"{SHOP_SPACE}\", workload=\"checkout\"}} | trace_id=\"{trace}\"");
    let (labels, line) = lab.line(&logql, asked, Duration::from_secs(10)).await;
    println!("in Loki after {:.1} s: {labels} {line}", asked.duration_until(Timestamp::now()).as_secs_f64());
    assert_eq!((text(&labels["pod"]), text(&labels["container"])), (pod.clone(), "checkout".to_owned()), "{labels}");
    assert_eq!(text(&labels["label_app_kubernetes_io_name"]), "checkout", "a chosen label of the pod: {labels}");
    assert!(line.contains(&trace), "{line}");

    let found = eventually("the trace in Jaeger", Duration::from_secs(10), || lab.trace(&trace)).await;
    let span = &found["spans"][0];
    assert_eq!(text(&span["traceID"]), trace);
    assert_eq!(text(&found["processes"][text(&span["processID"])]["serviceName"]), "checkout");

    let name = "http_request_duration_seconds_bucket".to_owned();
    let exemplar = eventually("an exemplar in Prometheus", Duration::from_secs(60), || async {
        // A histogram has the latest one, and others ask this shop as well.
        request().await.ok()?;
        let window = [
            ("query", name.clone()),
            ("start", asked.as_second().to_string()),
            ("end", (Timestamp::now().as_second() + 5).to_string()),
        ];
        let answer = lab.get("prometheus", 9090, "/api/v1/query_exemplars", &window).await?;
        let series = answer["data"].as_array()?.clone();
        let of_trace = |series: &Value| {
            series["exemplars"].as_array().into_iter().flatten().any(|e| text(&e["labels"]["trace_id"]) == trace)
        };
        series.into_iter().find(of_trace)
    })
    .await;
    assert_eq!(text(&exemplar["seriesLabels"]["pod"]), *pod, "the metric of the same pod: {exemplar}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_application_should_not_have_written_is_in_no_store() {
    let lab = Lab::open().await;
    let _together = lab.cluster.together().await;
    let (from, mark) = (Timestamp::now(), mark());
    let secrets = ["hunter2canary", "4111 1111 1111 1111", "canary.person@example.com", "s3ss10ncanary"];
    let [password, card, mail, session] = secrets;
    let plain = format!("{mark} plain password={password} card {card} mail {mail} session={session}\n");
    let fields = json!({"message": format!("{mark} json"), "password": password, "card": card, "user": {"email": mail}, "cookie": format!("session={session}")});
    let header = format!("{mark} header Authorization: Bearer {password}.{password}.{password}\n");
    lab.write("checkout", &format!("{plain}{fields}\n{header}")).await;
    let gateway = lab.ip("log-gateway").await.expect("a gateway");
    let mut tcp = TcpStream::connect((gateway.as_str(), 5000)).await.expect("TCP");
    tcp.write_all(format!("{fields}\n").as_bytes()).await.expect("sent");
    let attributes = [("db.password", password), ("user.email", mail), ("note", card)];
    let trace = format!("{:032x}", rand::random_range(1..=u128::MAX));
    let span = json!({
        "traceId": trace, "spanId": "00f067aa0ba902b7", "name": format!("{mark} login"), "kind": 2,
        "startTimeUnixNano": from.as_nanosecond().to_string(), "endTimeUnixNano": from.as_nanosecond().to_string(),
        "attributes": attributes.map(|(key, value)| json!({"key": key, "value": {"stringValue": value}})),
    });
    let body = json!({"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [{"spans": [span]}]}]});
    let sent = lab.cluster.http.post(format!("http://{gateway}:4318/v1/traces")).json(&body).send().await;
    assert!(sent.expect("an answer").status().is_success());

    let logql = format!("{{source=~\".+\"}} |= \"{mark}\"");
    let lines = eventually("all four lines", Duration::from_secs(20), || async {
        let lines = lab.lines(&logql, from).await;
        (lines.len() >= 4).then_some(lines)
    })
    .await;
    let spans = eventually("the span", Duration::from_secs(20), || lab.trace(&trace)).await;
    let stored = format!("{lines:?} {spans}");
    for secret in secrets {
        assert!(!stored.contains(secret), "{secret} is in {stored}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_java_trace_of_thirty_lines_is_one_entry() {
    let lab = Lab::open().await;
    let _together = lab.cluster.together().await;
    let (from, mark) = (Timestamp::now(), mark());
    let mut lines = format!("2026-11-22 10:00:00.000 ERROR [main] c.e.Billing - {mark} failed\n");
    lines += "java.lang.IllegalStateException: no price\n";
    for frame in 0..20 {
        lines += &format!("\tat com.example.billing.Layer{frame}.call(Layer{frame}.java:{frame})\n");
    }
    lines += "Caused by: java.io.IOException: broken pipe\n";
    for frame in 0..6 {
        lines += &format!("\tat com.example.net.Socket{frame}.write(Socket{frame}.java:{frame})\n");
    }
    lines += "\t... 19 more\n";
    assert_eq!(lines.lines().count(), 30);
    lab.write("billing", &lines).await;
    lab.write("billing", "2026-11-22 10:00:01.000 INFO [main] c.e.Billing - goes on\n").await;
    let logql = format!("{{namespace=\"{SHOP_SPACE}\", workload=\"billing\"}} |= \"{mark}\"");
    let (_, entry) = lab.line(&logql, from, Duration::from_secs(20)).await;
    assert_eq!(entry.lines().count(), 30, "{entry}");
    assert!(entry.contains("Layer19") && entry.contains("... 19 more") && !entry.contains("goes on"), "{entry}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gateway_took_by_syslog_tcp_and_otlp_can_be_read_back() {
    let lab = Lab::open().await;
    let _together = lab.cluster.together().await;
    // A time in RFC 3164 has no fractions of a second.
    let (from, mark) = (Timestamp::now() - Duration::from_secs(2), mark());
    let ip = lab.ip("log-gateway").await.expect("a gateway");
    let now = Timestamp::now();
    let mut syslog = TcpStream::connect((ip.as_str(), 5140)).await.expect("syslog by TCP");
    let stamp = now.strftime("%Y-%m-%dT%H:%M:%S.%6fZ");
    let message = format!("<34>1 {stamp} router1 firewall 77 ID47 - {mark} blocked\n");
    syslog.write_all(message.as_bytes()).await.expect("sent");
    let udp = UdpSocket::bind("0.0.0.0:0").await.expect("a socket");
    let stamp = now.strftime("%b %e %H:%M:%S").to_string();
    let message = format!("<34>{stamp} switch1 lldpd[12]: {mark} neighbour lost");
    udp.send_to(message.as_bytes(), (ip.as_str(), 5140)).await.expect("syslog by UDP");
    let mut tcp = TcpStream::connect((ip.as_str(), 5000)).await.expect("TCP");
    let line = json!({"message": format!("{mark} by TCP"), "level": "error", "app": "legacy"});
    tcp.write_all(format!("{line}\n").as_bytes()).await.expect("sent");
    let record = json!({
        "timeUnixNano": now.as_nanosecond().to_string(), "severityNumber": 9, "severityText": "INFO",
        "body": {"stringValue": format!("{mark} by OTLP")},
    });
    let body = json!({"resourceLogs": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "mobile"}}]},
        "scopeLogs": [{"logRecords": [record]}],
    }]});
    let sent = lab.cluster.http.post(format!("http://{ip}:4318/v1/logs")).json(&body).send().await;
    assert!(sent.expect("an answer").status().is_success());
    for (selector, words) in [
        ("{source=\"syslog\", service_name=\"firewall\"}", "blocked"),
        ("{source=\"syslog\"}", "neighbour lost"),
        ("{source=\"tcp\", stream=\"errors\"}", "by TCP"),
        ("{source=\"otlp\", service_name=\"mobile\", stream=\"logs\"}", "by OTLP"),
    ] {
        let logql = format!("{selector} |= \"{mark}\" |= \"{words}\"");
        let (labels, line) = lab.line(&logql, from, Duration::from_secs(20)).await;
        println!("{labels} {line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_about_logs_fires_through_to_alertmanager() {
    let lab = Lab::open().await;
    let _together = lab.cluster.together().await;
    let mark = mark();
    let rule = |expr: &str| {
        format!(
            "
apiVersion: evenkeel.dev/v1alpha1
kind: AlertRule
metadata: {{name: panics, namespace: {SHOP_SPACE}}}
spec:
  source: logs
  interval: 5s
  rules:
  - alert: Panics
    expr: '{expr}'
    severity: critical
    annotations: {{summary: panicked}}
"
        )
    };
    let good = format!(
        "sum by (namespace, workload) (count_over_time({{namespace=\"{SHOP_SPACE}\"}} |= \"panic {mark}\" [5m])) > 0"
    );
    lab.cluster.apply(&rule(&good)).await;
    let loaded = |o: &Value| current(o) && condition(o, "Loaded") == "True";
    lab.cluster.until("Loaded", "AlertRule", SHOP_SPACE, "panics", Duration::from_secs(60), loaded).await;
    lab.cluster.apply(&responder(SHOP_SPACE)).await;
    let look = format!(
        "
  target: {{kind: Deployment, nameFromLabel: workload}}
  steps: [{{diagnose: {{logql: ['{{container=\"checkout\"}} |= \"{mark}\"']}}}}]"
    );
    lab.cluster.apply(&response(SHOP_SPACE, "look", "Panics", &look)).await;
    lab.cluster.ready("AlertResponse", SHOP_SPACE, "look", Duration::from_secs(60)).await;
    lab.write("checkout", &format!("panic {mark}: index out of range\n")).await;
    let alert = eventually("the alert in Alertmanager", Duration::from_secs(90), || async {
        let alerts = lab.get("alertmanager", 9093, "/api/v2/alerts", &[]).await?;
        alerts.as_array()?.iter().find(|alert| alert["labels"]["alertname"] == "Panics").cloned()
    })
    .await;
    assert_eq!(text(&alert["labels"]["workload"]), "checkout", "{alert}");
    assert_eq!(text(&alert["labels"]["severity"]), "critical", "{alert}");

    // The run that it causes asks the same Loki about the onset.
    let run = eventually("the diagnosis", Duration::from_secs(90), || async {
        let runs = lab.cluster.runs(SHOP_SPACE, "look").await;
        runs.into_iter().find(|run| run["status"]["steps"][0]["finishedAt"].is_string())
    })
    .await;
    let name = text(&run["status"]["steps"][0]["intent"]["diagnose"]["configMap"]);
    let found = text(&lab.cluster.get("ConfigMap", SHOP_SPACE, &name).await["data"]["logql.txt"]);
    assert!(found.contains(&mark) && found.contains("index out of range"), "{found}");

    // What Loki cannot read is refused with its own words, and what was good stays.
    lab.cluster.apply(&rule(&format!("sum(count_over_time({{namespace=\"{SHOP_SPACE}\" |= \"x\" [5m])) > 0"))).await;
    let refused = |o: &Value| current(o) && o["status"]["refused"] == 1;
    let told = lab.cluster.until("refused", "AlertRule", SHOP_SPACE, "panics", Duration::from_secs(60), refused).await;
    let words = told["status"].to_string();
    assert!(words.contains("syntax error"), "{words}");
    let rules = lab.get("loki", 3100, "/prometheus/api/v1/rules", &[]).await.expect("rules");
    assert!(rules.to_string().contains("Panics"), "the last good version stays: {rules}");
    lab.cluster.delete("AlertRule", SHOP_SPACE, "panics").await;
    eventually("the rule is gone", Duration::from_secs(60), || async {
        let rules = lab.get("loki", 3100, "/prometheus/api/v1/rules", &[]).await?;
        (!rules.to_string().contains("Panics")).then_some(())
    })
    .await;
}
