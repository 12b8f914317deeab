//! What the generated configurations do with logs and traces, by the real Collector: it must be on PATH as `otelcol`.

mod collector;
mod sink;

use std::io::Write;
use std::net::{TcpStream, UdpSocket};
use std::time::Duration;

use collector::{Collector, Pod, config, configs, free_port, get};
use serde_json::{Value, json};
use sink::{Record, Sink};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";
/// What may arrive nowhere.
const CANARIES: [&str; 9] = [
    "hunter2",
    "tr0ub4dor",
    "4111111111111111",
    "4111 1111 1111 1111",
    "5500-0000-0000-0004",
    "378282246310005",
    "jane.doe@example.com",
    "eyJhbGciOiJIUzI1NiJ9",
    "s3ss10n",
];

fn redact() -> Value {
    json!({"presets": ["credentials", "cards", "email"], "patterns": [r"session=\w+"]})
}

fn nothing_leaks(sink: &Sink) {
    let raw = sink.raw();
    for canary in CANARIES {
        let found = raw.find(canary).map(|at| {
            let begin = raw.char_indices().map(|(i, _)| i).take_while(|i| *i + 200 < at).last().unwrap_or_default();
            raw[begin..].chars().take(400).collect::<String>()
        });
        assert_eq!(found, None, "{canary} arrived");
    }
}

fn label<'a>(record: &'a Record, name: &str) -> &'a str {
    record.resource.get(name).map_or("", String::as_str)
}

fn value<'a>(record: &'a Record, name: &str) -> &'a str {
    record.fields.get(name).map_or("", String::as_str)
}

/// Texts with canaries, in every form in which an application may write them.
fn leaks() -> Vec<String> {
    [
        "leak-1 password=hunter2 user=bob",
        "leak-2 DB_PASSWORD: hunter2",
        r#"{"leak":3,"password":"hun\"hunter2","user":"bob"}"#,
        r#"{"leak":4,"msg":"{\"apiKey\":\"hunter2\"}"}"#,
        r#"{"leak":5,"auth":{"token":"tr0ub4dor","deep":{"mail":"jane.doe@example.com"}}}"#,
        r#"{"leak":6,"card":4111111111111111,"list":["jane.doe@example.com",{"secret":"hunter2"}]}"#,
        r#"{"leak":15,"credentials":{"user":"bob","value":"hunter2"},"token":12345,"after":1}"#,
        r#"{"leak":7,"mail":"jane.doe\u0040example.com"}"#,
        r#"{"leak":8,"passwords":["x"],"password":["hunter2","tr0ub4dor"],"pass":{"word":"y"}}"#,
        "leak-9 card 4111 1111 1111 1111 5500-0000-0000-0004 378282246310005 declined",
        "leak-10 mail to jane.doe@example.com failed, card_4111111111111111",
        "leak-11 Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc-_x",
        "leak-12 postgres://shop:hunter2@db:5432/shop redis://:tr0ub4dor@cache mysql shop:hunter2@tcp(db:3306)/shop",
        "leak-13 GET /login?token=hunter2&next=/home session=s3ss10n",
        "leak-14 curl --password hunter2 -H 'Cookie: id=tr0ub4dor'",
    ]
    .map(str::to_owned)
    .to_vec()
}

fn java_trace() -> String {
    let mut lines = vec![
        "2026-11-22 01:00:00 ERROR checkout failed".to_owned(),
        "java.lang.IllegalStateException: no stock for jane.doe@example.com".to_owned(),
    ];
    lines.extend((0..24).map(|n| format!("\tat com.example.shop.Checkout.step{n}(Checkout.java:{n})")));
    lines.extend(
        ["Caused by: java.io.IOException: password=hunter2", "\tat com.example.Db.read(Db.java:7)", "\t... 24 more"]
            .map(str::to_owned),
    );
    lines.push("\tSuppressed: java.lang.Exception: late".to_owned());
    assert_eq!(lines.len(), 30);
    lines.join("\n")
}

#[test]
fn what_containers_write_arrives_read_labelled_and_without_secrets() {
    let folder = tempfile::tempdir().expect("a folder");
    let sink = Sink::start();
    let logs = json!({
        "containers": {"excludeNamespaces": ["hidden"]},
        "redact": redact(),
        "pipelines": [
            {"match": {"workloads": ["checkout"]}, "multiline": {"preset": "java"}},
            {"match": {"containers": ["snake"]}, "multiline": {"preset": "python"}},
            {"match": {"workloads": ["gopher"]}, "multiline": {"preset": "go"}},
            {"match": {"containers": ["json"]}, "json": {}},
            {"match": {"containers": ["web"]}, "format": "httpAccess", "drop": [{"pattern": "GET /healthz"}]},
            {"match": {"workloads": ["orders-db"]}, "format": "postgresql"},
            {"match": {"containers": ["cache"]}, "format": "redis"},
            {"match": {"containers": ["own"]}, "regex": r"^(?P<when>\S+) (?P<lvl>\w+) (?P<user>\w+)$",
             "timestamp": {"field": "when"}, "severity": {"field": "lvl", "mapping": {"error": ["bad.*"]}}},
            {"match": {"containers": ["many"]}, "sample": [{"pattern": "often", "keepOneIn": 10}]},
        ],
    });
    let pod = |namespace: &str, pod: &str, container: &str| Pod::new(folder.path(), namespace, pod, container);
    let shop = pod("shop", "checkout-7d9f8b6c5-abcde".replace("abcde", "bcd4f").as_str(), "app");
    shop.write("2026-11-22 00:59:59 INFO before");
    shop.write(&java_trace());
    shop.write(&format!("2026-11-22 01:00:01 INFO after trace_id={TRACE} span_id={SPAN}"));
    for text in leaks() {
        shop.write(&text);
        pod("shop", "api-7d9f8b6c5-bcd4f", "json").write(&text);
    }
    let json = pod("shop", "api-7d9f8b6c5-bcd4f", "json");
    json.write(&format!(r#"{{"msg":"one","level":"error","traceID":"{TRACE}","nested":{{"a":{{"b":1}}}}}}"#));
    json.write(&format!(r#"{{"msg":"two","traceparent":"00-{TRACE}-{SPAN}-01"}}"#));
    let snake = pod("shop", "worker-0", "snake");
    snake.write("ERROR failed\nTraceback (most recent call last):\n  File \"a.py\", line 1, in <module>\nValueError: bad\nINFO next");
    pod("shop", "gopher-bcd4f", "app").write(
        "panic: oh no\n\ngoroutine 1 [running]:\nmain.(*T).run(0xc000010000)\n\t/src/main.go:7 +0x1d\nmain.main()\n\t/src/main.go:3\nexit status 2",
    );
    let web = pod("shop", "front-bcd4f", "web");
    web.write(r#"10.0.0.1 - bob [22/Nov/2026:01:02:03 +0000] "GET /cart?id=7 HTTP/1.1" 503 12 "-" "curl/8""#);
    web.write(r#"10.0.0.1 - - [22/Nov/2026:01:02:03 +0000] "GET /healthz HTTP/1.1" 200 2"#);
    pod("shop", "orders-db-0", "postgres").write(
        "2026-11-22 01:02:03.456 UTC [77] LOG:  duration: 12.5 ms  statement: SELECT 1\n\tFROM orders\n2026-11-22 01:02:04.000 UTC [77] ERROR:  relation \"x\" does not exist",
    );
    pod("shop", "redis-0", "cache").write("1:M 22 Nov 2026 01:02:03.456 # Background saving error");
    pod("shop", "own-0", "own").write("2026-11-22T01:02:03.5Z badly bob");
    pod("hidden", "x-0", "app").write("must not be read");
    pod("monitoring", "main-log-agent-bcd4f", "collector").write("must not be read");
    let many = pod("shop", "many-0", "many");
    many.write(&(0..1000).map(|n| format!("often {n}\n")).collect::<String>());
    many.write("ERROR often but an error");
    let collector = Collector::start(folder.path(), config(&logs, "log-agent.yaml"), sink.address, &[]);

    let trace = sink.wait("the Java trace", |r| r.body.starts_with("2026-11-22 01:00:00 ERROR"));
    assert_eq!(trace.body.lines().count(), 30, "{}", trace.body);
    assert_eq!((trace.severity, label(&trace, "stream")), (17, "errors"));
    let labels =
        ["source", "namespace", "workload", "pod", "container", "node", "service.name"].map(|l| label(&trace, l));
    assert_eq!(labels, ["containers", "shop", "checkout", "checkout-7d9f8b6c5-bcd4f", "app", "node-one", "checkout"]);
    let after = sink.wait("the line after it", |r| r.body.contains("INFO after"));
    assert_eq!((after.trace.as_str(), after.span.as_str(), label(&after, "stream")), (TRACE, SPAN, "logs"));

    let one = sink.wait("JSON", |r| r.body.contains("\"msg\":\"one\""));
    assert_eq!(
        (one.trace.as_str(), one.severity, value(&one, "msg"), value(&one, "nested.a.b")),
        (TRACE, 17, "one", "1")
    );
    let two = sink.wait("a traceparent", |r| r.body.contains("\"msg\":\"two\""));
    assert_eq!((two.trace.as_str(), two.span.as_str()), (TRACE, SPAN));
    let python = sink.wait("the Python trace", |r| r.body.starts_with("ERROR failed"));
    assert!(python.body.ends_with("ValueError: bad") && label(&python, "workload") == "worker", "{python:?}");
    let go = sink.wait("the panic", |r| r.body.starts_with("panic: "));
    assert!(go.body.ends_with("exit status 2") && go.severity == 21 || go.severity == 17, "{go:?}");
    let access = sink.wait("the access log", |r| label(r, "container") == "web");
    let fields = ["client", "user", "method", "path", "status", "bytes", "userAgent"].map(|f| value(&access, f));
    assert_eq!(fields, ["10.0.0.1", "bob", "GET", "/cart?id=7", "503", "12", "curl/8"], "{access:?}");
    assert_eq!((access.severity, access.time.as_str()), (17, "1795309323000000000"));
    let query = sink.wait("PostgreSQL", |r| r.body.contains("duration"));
    assert_eq!((query.severity, value(&query, "durationMs"), value(&query, "pid")), (9, "12.5", "77"), "{query:?}");
    assert_eq!((query.body.lines().count(), query.time.as_str()), (2, "1795309323456000000"));
    assert_eq!(sink.wait("its error", |r| r.body.contains("does not exist")).severity, 17);
    let redis = sink.wait("Redis", |r| label(r, "container") == "cache");
    assert_eq!((redis.severity, redis.time.as_str(), value(&redis, "role")), (13, "1795309323456000000", "M"));
    let own = sink.wait("a person's own format", |r| label(r, "container") == "own");
    assert_eq!((own.severity, own.time.as_str(), value(&own, "user")), (17, "1795309323500000000", "bob"), "{own:?}");
    sink.wait("an error that is sampled", |r| r.body.contains("but an error"));
    let kept = sink.logs().iter().filter(|r| r.body.starts_with("often")).count();
    assert!((50..200).contains(&kept), "{kept} of 1000");
    for number in [9, 10, 11, 12, 13, 14] {
        sink.wait("what leaks", |r| r.body.contains(&format!("leak-{number} ")) && label(r, "container") == "json");
        sink.wait("what leaks", |r| r.body.contains(&format!("leak-{number} ")) && label(r, "container") == "app");
    }
    let kept = sink.wait("a redacted record", |r| r.body.starts_with("leak-1 "));
    assert_eq!(kept.body, "leak-1 password=**** user=bob");
    let kept = sink.wait("a redacted object", |r| r.body.contains("\"leak\":15"));
    assert_eq!(kept.body, r#"{"leak":15,"credentials":"****","token":"****","after":1}"#);
    nothing_leaks(&sink);
    assert!(!sink.raw().contains("must not be read") && !sink.raw().contains("healthz"));
    assert!(!CANARIES.iter().any(|canary| collector.said().contains(canary)), "the Collector's own log has a secret");
}

#[test]
fn what_is_sent_to_the_gateway_arrives_with_its_traces() {
    let folder = tempfile::tempdir().expect("a folder");
    let sink = Sink::start();
    let logs = json!({"syslog": {}, "tcp": {}, "otlp": {}, "redact": redact()});
    let ports = [5140, 5000, 4317, 4318].map(|port| (port, free_port()));
    let [syslog, tcp, _, http] = ports.map(|(_, port)| port);
    let _collector = Collector::start(folder.path(), config(&logs, "log-gateway.yaml"), sink.address, &ports);

    let send = |port: u16, text: &str| {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        stream.write_all(text.as_bytes()).expect("sent");
    };
    send(
        syslog,
        "<11>1 2026-11-22T01:02:03.5Z host-1 billing 42 ID7 [a@1 b=\"plain\" password=\"tr0ub4dor\"] new style password=hunter2\n<12>Nov 22 01:02:03 host-2 cron[99]: old style\nneither nor\n",
    );
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    udp.send_to(b"<30>Nov 22 01:02:03 host-3 dhcp: by UDP", ("127.0.0.1", syslog)).expect("sent");
    send(
        tcp,
        &format!(
            "{{\"message\":\"a line\",\"level\":\"warn\",\"service\":\"pump\",\"trace_id\":\"{TRACE}\",\"password\":\"hunter2\",\"card\":4111111111111111}}\nplain password=hunter2\n"
        ),
    );
    let attribute = |key: &str, value: Value| json!({"key": key, "value": value});
    let text = |text: &str| json!({"stringValue": text});
    let resource = json!({"attributes": [
        attribute("service.name", text("cart")), attribute("k8s.namespace.name", text("shop")), attribute("source", text("fake")),
        attribute("process.command_line", text("cart --password hunter2")),
    ]});
    let body = json!({"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": [
        {"severityNumber": 17, "traceId": TRACE, "spanId": SPAN, "body": {"kvlistValue": {"values": [
            attribute("text", text("a map")), attribute("password", text("hunter2")), attribute("mail", text("jane.doe@example.com"))]}},
         "attributes": [attribute("token", text("tr0ub4dor")), attribute("card", json!({"intValue": "4111111111111111"})),
            attribute("nested", json!({"kvlistValue": {"values": [attribute("secret", text("hunter2"))]}}))]},
    ]}]}]});
    post(http, "/v1/logs", &body);
    let spans = json!({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [{
        "traceId": TRACE, "spanId": SPAN, "name": "GET /login?token=hunter2", "kind": 2,
        "startTimeUnixNano": "1795309323000000000", "endTimeUnixNano": "1795309324000000000",
        "status": {"code": 2, "message": "card 4111111111111111 of jane.doe@example.com"},
        "attributes": [attribute("http.url", text("https://bob:hunter2@example.com/")), attribute("password", text("tr0ub4dor")),
            attribute("user.mail", text("jane.doe@example.com")), attribute("http.status_code", json!({"intValue": "500"}))],
        "events": [{"name": "exception password=hunter2", "timeUnixNano": "1795309323000000000",
            "attributes": [attribute("exception.message", text("session=s3ss10n password=hunter2"))]}],
    }]}]}]});
    post(http, "/v1/traces", &spans);

    let new = sink.wait("RFC 5424", |r| r.body.contains("new style"));
    assert_eq!(
        (label(&new, "source"), label(&new, "service.name"), new.severity),
        ("syslog", "billing", 17),
        "{new:?}"
    );
    assert_eq!(
        (new.body.as_str(), value(&new, "host"), label(&new, "stream")),
        ("new style password=****", "host-1", "errors")
    );
    let old = sink.wait("RFC 3164", |r| r.body.contains("old style"));
    assert_eq!((label(&old, "service.name"), old.severity, value(&old, "host")), ("cron", 13, "host-2"), "{old:?}");
    sink.wait("what is no syslog", |r| r.body == "neither nor");
    let udp = sink.wait("UDP", |r| r.body.contains("by UDP"));
    assert_eq!((label(&udp, "source"), label(&udp, "service.name")), ("syslog", "dhcp"));
    let line = sink.wait("a JSON line", |r| r.body.contains("a line"));
    assert_eq!((label(&line, "source"), label(&line, "service.name"), line.severity), ("tcp", "pump", 13), "{line:?}");
    assert_eq!((line.trace.as_str(), value(&line, "message")), (TRACE, "a line"));
    sink.wait("a plain line", |r| r.body == "plain password=****");
    let map = sink.wait("OTLP", |r| label(r, "service.name") == "cart");
    assert_eq!(
        (label(&map, "source"), label(&map, "namespace"), map.trace.as_str()),
        ("otlp", "shop", TRACE),
        "{map:?}"
    );
    assert_eq!((label(&map, "stream"), map.severity), ("errors", 17));
    sink.wait_for("the span", |_| sink.spans().first().cloned());
    let span = sink.spans().remove(0);
    assert_eq!((span.trace.as_str(), span.body.as_str()), (TRACE, "\"GET /login?token=****\""));
    assert_eq!((value(&span, "http.status_code"), value(&span, "http.url")), ("500", "https://****@example.com/"));
    nothing_leaks(&sink);
}

fn post(port: u16, path: &str, body: &Value) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    let body = body.to_string();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).expect("sent");
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).expect("an answer");
    assert!(answer.contains(" 200 "), "{answer}");
}

#[test]
fn a_restart_a_crash_and_an_absence_lose_nothing_and_repeat_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let sink = Sink::start();
    let logs = json!({"containers": {}, "pipelines": [{"multiline": {"preset": "java"}}]});
    let pod = Pod::new(folder.path(), "shop", "steady-0", "app");
    pod.write("line 0");
    let mut collector = Collector::start(folder.path(), config(&logs, "log-agent.yaml"), sink.address, &[]);
    let path = folder.path().to_owned();
    let writer = std::thread::spawn(move || {
        let pod = Pod::new(&path, "shop", "steady-0", "app");
        for number in 1..=6000 {
            pod.write(&format!("line {number}"));
            if number == 3000 {
                pod.rotate();
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    });
    let pause = |millis| std::thread::sleep(Duration::from_millis(millis));
    pause(3000);
    collector.stop();
    pause(500);
    collector.run();
    pause(1000);
    sink.away(true);
    pause(5000);
    // What waits is on the disk.
    collector.stop();
    collector.run();
    pause(1500);
    sink.away(false);
    writer.join().expect("all is written");
    let numbers = sink.wait_for("every line", |logs| {
        let mut numbers: Vec<u32> = logs.iter().filter_map(|r| r.body.strip_prefix("line ")?.parse().ok()).collect();
        numbers.sort_unstable();
        let distinct = {
            let mut d = numbers.clone();
            d.dedup();
            d.len()
        };
        (distinct == 6001).then_some(numbers)
    });
    assert_eq!(numbers.len(), 6001, "none arrived twice");
    let metrics = get(collector.metrics, "/metrics").expect("metrics");
    assert!(
        metrics.contains("otelcol_exporter_queue_size") && metrics.contains("otelcol_exporter_sent_log_records"),
        "{metrics}"
    );
    collector.kill();
}

#[test]
fn what_the_collector_would_not_read_is_named_and_left_out() {
    let logs = json!({
        "containers": {},
        "files": [{"name": "passwd", "include": ["/etc/passwd"]}, {"name": "up", "include": ["/var/log/../../etc/*"]},
            {"name": "round", "include": ["/var/log/pods/*/*/*.log"]}, {"name": "right", "include": ["/var/log/syslog"]}],
        "redact": {"patterns": ["(", "right"]},
        "pipelines": [
            {"multiline": {"start": "[z-a]"}, "regex": r"(\w+)", "traceId": {"pattern": "(?P<id>x)"},
             "timestamp": {"field": "t", "layout": "yyyy-MM-dd"}, "severity": {"field": "s", "mapping": {"error": ["a{2,1}"]}},
             "drop": [{"pattern": r"(?=x)"}, {"pattern": "right"}], "sample": [{"pattern": r"(a)\1", "keepOneIn": 2}]},
            {"timestamp": {"field": "t", "layout": "%Y", "timeZone": "Mars/Olympus"}},
        ],
        "syslog": {"timeZone": "Nowhere"},
    });
    let (configs, problems) = configs(&logs);
    let messages: Vec<&str> = problems.iter().map(|problem| problem.message.as_str()).collect();
    for field in [
        r#"spec.logs.files[0].include "/etc/passwd""#,
        "spec.logs.files[1].include",
        "spec.logs.files[2].include",
        r#"spec.logs.redact.patterns[0] "(""#,
        "spec.logs.pipelines[0].multiline.start",
        "spec.logs.pipelines[0].regex",
        "spec.logs.pipelines[0].traceId.pattern",
        "spec.logs.pipelines[0].timestamp.layout",
        "spec.logs.pipelines[1].timestamp.timeZone",
        "spec.logs.syslog.timeZone",
        "spec.logs.pipelines[0].severity.mapping.error",
        "spec.logs.pipelines[0].drop[0].pattern",
        "spec.logs.pipelines[0].sample[0].pattern",
    ] {
        assert!(messages.iter().any(|message| message.starts_with(field)), "{field}: {messages:#?}");
    }
    assert_eq!(messages.len(), 13, "{messages:#?}");
    let folder = tempfile::tempdir().expect("a folder");
    let sink = Sink::start();
    let pod = Pod::new(folder.path(), "shop", "x-0", "app");
    pod.write("still read");
    let config = configs.into_iter().next().expect("the agent's").1;
    let _collector = Collector::start(folder.path(), config, sink.address, &[]);
    sink.wait("a record", |r| r.body == "still read");
}
