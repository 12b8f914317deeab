//! The configuration of the Collector that takes what is sent to it. Pure.

use std::collections::BTreeMap;

use super::otelcol_agent::from;
use super::otelcol_common::{Chain, JAEGER, LOKI, any, config, grouping, jaeger, loki, memory_limiter};
use super::otelcol_config::{
    Config, Endpoint, FOR_EVER, Listen, Operator, Pipeline, Processor, Protocols, Receiver, Statements, Syslog, TcpLog,
    Transform,
};
use super::ottl::{field, resource};
use super::{otelcol_read, otelcol_redact};
use crate::api::monitoring_stack::{LogSource, SyslogLogs};
use crate::stack::names;
use crate::stack::validate::Stack;
use crate::stack::validate::logs::Logs;

/// What the gateway works with.
pub fn gateway(stack: &Stack, logs: &Logs) -> Config {
    let spec = &logs.spec;
    let mut sent: BTreeMap<String, Receiver> = BTreeMap::new();
    for receiver in spec.syslog.iter().flat_map(syslog) {
        sent.insert(receiver.0.to_owned(), Receiver::Syslog(receiver.1));
    }
    sent.extend(spec.tcp.as_ref().map(|tcp| {
        let receiver =
            TcpLog { listen_address: any(tcp.port), retry_on_failure: FOR_EVER, resource: from(LogSource::Tcp) };
        ("tcp_log".to_owned(), Receiver::Tcp(receiver))
    }));
    let buffer = buffer(stack, logs);
    let redact = otelcol_redact::processors(spec.redact.as_ref());
    let mut processors = BTreeMap::new();
    let mut exporters = BTreeMap::from([loki(stack, buffer)]);
    let mut pipelines = BTreeMap::new();

    let mut rest = Chain::default();
    rest.push(&mut processors, otelcol_read::processors(&spec.pipelines));
    rest.push(&mut processors, redact.logs);
    rest.push(&mut processors, grouping());
    let mut pipeline = |name: &str, receivers: Vec<String>, place: (&'static str, Processor)| {
        let mut chain = Chain::default();
        chain.push(&mut processors, [memory_limiter(), place]);
        chain.names.extend(rest.names.clone());
        let pipeline = Pipeline { receivers, processors: chain.names, exporters: vec![LOKI.to_owned()] };
        pipelines.insert(name.to_owned(), pipeline);
    };
    if !sent.is_empty() {
        pipeline("logs", sent.keys().cloned().collect(), ("transform/place", of_messages()));
    }
    if spec.otlp.is_some() {
        sent.insert("otlp".to_owned(), otlp());
        pipeline("logs/otlp", vec!["otlp".to_owned()], ("transform/otlp", of_otlp()));
    }
    if spec.otlp.is_some() && stack.jaeger.is_some() {
        let mut chain = Chain::default();
        chain.push(&mut processors, [memory_limiter()]);
        chain.push(&mut processors, redact.traces);
        exporters.extend([jaeger(stack, buffer)]);
        let traces = Pipeline {
            receivers: vec!["otlp".to_owned()],
            processors: chain.names,
            exporters: vec![JAEGER.to_owned()],
        };
        pipelines.insert("traces".to_owned(), traces);
    }
    config(sent, processors, exporters, pipelines)
}

/// What each queue may hold: never more than its share of the volume, of which compaction needs half.
fn buffer(stack: &Stack, logs: &Logs) -> i64 {
    let queues = if stack.jaeger.is_some() && logs.spec.otlp.is_some() { 2 } else { 1 };
    let volume = logs.gateway.as_ref().and_then(|gateway| gateway.data.safe_mebibytes());
    let share = volume.and_then(|mebibytes| i64::try_from(mebibytes << 20).ok()).map(|bytes| bytes / 2 / queues);
    share.map_or(logs.buffer, |share| share.min(logs.buffer))
}

fn otlp() -> Receiver {
    Receiver::Otlp {
        protocols: Protocols {
            grpc: Endpoint { endpoint: any(names::OTLP_GRPC_PORT) },
            http: Endpoint { endpoint: any(names::OTLP_HTTP_PORT) },
        },
    }
}

/// Both formats at one port: what is not RFC 5424 is read as RFC 3164, and what is neither stays as it is.
fn syslog(wanted: &SyslogLogs) -> [(&'static str, Syslog); 2] {
    let receiver = |tcp: bool| {
        let listen = Listen { listen_address: any(wanted.port) };
        let (tcp, udp) = if tcp { (Some(listen), None) } else { (None, Some(listen)) };
        Syslog {
            enable_octet_counting: wanted.octet_counting && tcp.is_some(),
            tcp,
            udp,
            protocol: "rfc5424",
            location: wanted.time_zone.clone(),
            on_error: "send_quiet",
            retry_on_failure: FOR_EVER,
            resource: from(LogSource::Syslog),
            operators: vec![Operator::SyslogParser {
                id: "rfc3164",
                condition: "attributes.priority == nil",
                protocol: "rfc3164",
                location: wanted.time_zone.clone(),
                on_error: "send_quiet",
            }],
        }
    };
    [("syslog/tcp", receiver(true)), ("syslog/udp", receiver(false))]
}

/// Of syslog messages and lines.
fn of_messages() -> Processor {
    let copy = |to: &str, from: &str| format!("set({}, {})", field(to), field(from));
    let mut syslog = vec![copy("evenkeel.service", "appname"), copy("host", "hostname")];
    syslog.push(format!("set(log.body, {}) where {} != nil", field("message"), field("message")));
    syslog.extend(
        ["message", "hostname", "priority", "version"].map(|name| format!("delete_key(log.attributes, \"{name}\")")),
    );
    let mut tcp = otelcol_read::parse_json();
    tcp.extend(
        ["app", "service", "service.name"]
            .map(|name| format!("{} where IsString({})", copy("evenkeel.service", name), field(name))),
    );
    tcp.extend(otelcol_read::usual_time());
    let is = |source| vec![format!("{} == \"{}\"", resource("source"), otelcol_read::source_name(source))];
    let statements = |source, statements| Statements { context: "log", conditions: is(source), statements };
    let log_statements = vec![statements(LogSource::Syslog, syslog), statements(LogSource::Tcp, tcp)];
    Processor::Transform(Transform { error_mode: "silent", log_statements, trace_statements: vec![] })
}

/// Of OTLP: the same labels as the containers' own records have, as far as the sender says where it runs.
fn of_otlp() -> Processor {
    let copy = |to: &str, from: &str| format!("set({}, {})", resource(to), resource(from));
    let mut statements = vec![
        format!("set({}, \"otlp\")", resource("source")),
        copy("namespace", "k8s.namespace.name"),
        copy("pod", "k8s.pod.name"),
        copy("container", "k8s.container.name"),
        copy("node", "k8s.node.name"),
    ];
    let kinds = ["replicaset", "statefulset", "daemonset", "job", "cronjob", "deployment"];
    statements.extend(kinds.map(|kind| copy("workload", &format!("k8s.{kind}.name"))));
    // Which stream a record belongs to is decided here.
    let record = vec!["delete_key(log.attributes, \"evenkeel.service\")".to_owned()];
    let log_statements = vec![
        Statements { context: "resource", conditions: vec![], statements },
        Statements { context: "log", conditions: vec![], statements: record },
    ];
    Processor::Transform(Transform { error_mode: "silent", log_statements, trace_statements: vec![] })
}
