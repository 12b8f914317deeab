//! How records are read: trace, severity, time and fields, by default and by the pipelines that a person wrote. Pure.

use super::otelcol_config::{Conditions, Filter, Processor, Statements, Transform};
use super::ottl::{field, globs, matches, quote, resource};
use crate::api::monitoring_stack::{
    LogFormat, LogMatch, LogPipeline, LogSource, SeverityField, SeverityMapping, TimestampField, TraceIdField,
};

/// OpenTelemetry's number of a level, its name, and the usual words for it.
const LEVELS: [(i32, &str, &str); 6] = [
    (1, "TRACE", "trace|finest|finer|10"),
    (5, "DEBUG", "debug[1-5]?|dbg|fine|verbose|20"),
    (9, "INFO", "info|information|informational|notice|log|config|30|i"),
    (13, "WARN", "warn|warning|40|w"),
    (17, "ERROR", "error|err|severe|50|e"),
    (21, "FATAL", "fatal|panic|critical|crit|alert|emerg|emergency|60|f"),
];
const ERROR: i32 = 17;

/// The record says itself how grave it is: `level=...`, `"level":"..."`; a word in capitals or brackets; klog's letter.
const SAID: [&str; 3] = [
    r#"(?i)(?:^|[\s,{"'])(?:log\.level|level|levelname|loglevel|lvl|severity)\\*["']?\s*[=:]\s*\\*["']?(?P<level>[a-z]+|[1-6]0)\b"#,
    r"^.{0,120}?(?:\b(?P<level>TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|SEVERE|FATAL|PANIC|CRITICAL|EMERG)\b|\[(?P<word>trace|debug|info|notice|warn|warning|error|crit|alert|emerg)\])",
    r"^(?P<level>[IWEF])\d{4} \d\d:\d\d:\d\d",
];
/// Traces of errors that begin a record.
const TRACES: &str = r"^(?:Exception in thread |Traceback \(most recent|panic: |fatal error: |Unhandled exception)";

const TRACE_ID: &str =
    r#"(?i)\btrace[._-]?id\\*["']?\s*[:=]\s*\\*["']?(?P<trace_id>[0-9a-f]{32}|[0-9a-f]{16})(?:[^0-9a-f]|$)"#;
const SPAN_ID: &str = r#"(?i)\bspan[._-]?id\\*["']?\s*[:=]\s*\\*["']?(?P<span_id>[0-9a-f]{16})(?:[^0-9a-f]|$)"#;
const TRACEPARENT: &str =
    r#"(?i)\btraceparent\\*["']?\s*[:=]\s*\\*["']?[0-9a-f]{2}-(?P<trace_id>[0-9a-f]{32})-(?P<span_id>[0-9a-f]{16})-"#;

const NO_TRACE: &str = "log.trace_id.string == \"\" or log.trace_id.string == \"00000000000000000000000000000000\"";
const NO_SPAN: &str = "log.span_id.string == \"\" or log.span_id.string == \"0000000000000000\"";

/// The processor that reads, and the one that drops, if anything is to be dropped.
pub fn processors(pipelines: &[LogPipeline]) -> Vec<(&'static str, Processor)> {
    let mut groups = by_default();
    for pipeline in pipelines {
        let statements = statements(pipeline);
        if !statements.is_empty() {
            let conditions = condition(pipeline.matches.as_ref()).into_iter().collect();
            groups.push(Statements { context: "log", conditions, statements });
        }
    }
    groups.push(last());
    // A statement that finds nothing to do is no news, and its message would hold what is not redacted yet.
    let read = Transform { error_mode: "silent", log_statements: groups, trace_statements: vec![] };
    let mut all = vec![("transform/read", Processor::Transform(read))];
    let dropped: Vec<String> = pipelines.iter().flat_map(dropped).collect();
    if !dropped.is_empty() {
        let conditions = vec![Conditions { context: "log", conditions: dropped }];
        all.push(("filter/rules", Processor::Filter(Filter { error_mode: "silent", log_conditions: conditions })));
    }
    all
}

fn by_default() -> Vec<Statements> {
    let extract = |pattern: &str| format!("ExtractPatterns(log.body, {})", quote(pattern));
    let mut statements = vec!["set(log.body, String(log.body)) where not IsString(log.body)".to_owned()];
    for pattern in [TRACEPARENT, TRACE_ID, SPAN_ID] {
        statements.push(format!("merge_maps(log.cache, {}, \"insert\")", extract(pattern)));
    }
    statements.extend(ids("log.cache[\"trace_id\"]", "log.cache[\"span_id\"]"));
    let severity: Vec<String> = SAID
        .iter()
        .map(|said| {
            format!("merge_maps(log.cache, {}, \"insert\") where log.cache[\"level\"] == nil", extract(said))
        })
        .chain([
            "set(log.cache[\"level\"], log.cache[\"word\"]) where log.cache[\"level\"] == nil or log.cache[\"level\"] == \"\""
                .to_owned(),
            format!("set(log.cache[\"level\"], \"error\") where {}", matches("log.body", TRACES)),
        ])
        .chain(levels("log.cache[\"level\"]", None))
        .collect();
    vec![
        Statements { context: "log", conditions: vec![], statements },
        Statements { context: "log", conditions: vec!["log.severity_number == 0".to_owned()], statements: severity },
    ]
}

/// What the fields say where the text did not, and which of the two streams the record belongs to.
fn last() -> Statements {
    let mut statements = vec![];
    for name in ["traceparent", "trace_id", "traceId", "traceID", "trace.id"] {
        statements.extend(ids(&field(name), &field("span_id")));
    }
    for name in ["spanId", "spanID", "span.id"] {
        statements.push(span(&field(name)));
    }
    let level = levels(&field("level"), None);
    statements.extend(level.into_iter().map(|set| format!("{set} and log.severity_number == 0")));
    // One word for each level, whatever the sender calls it.
    statements.extend(LEVELS.iter().map(|(number, name, _)| {
        let when = format!("log.severity_number >= {number} and log.severity_number < {}", number + 4);
        format!("set(log.severity_text, {}) where {when}", quote(name))
    }));
    statements.push("set(log.attributes[\"stream\"], \"logs\")".to_owned());
    statements.push(format!("set(log.attributes[\"stream\"], \"errors\") where log.severity_number >= {ERROR}"));
    Statements { context: "log", conditions: vec![], statements }
}

/// Sets the IDs of trace and span where there are none, from 32 or 16 digits or a traceparent.
fn ids(trace: &str, span_id: &str) -> Vec<String> {
    let parent = r"^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-";
    let lower = |text: &str| format!("ConvertCase({text}, \"lower\")");
    vec![
        format!(
            "set(log.trace_id.string, {}) where ({NO_TRACE}) and {}",
            lower(trace),
            matches(trace, "^[0-9a-fA-F]{32}$")
        ),
        format!(
            "set(log.trace_id.string, Concat([\"0000000000000000\", {}], \"\")) where ({NO_TRACE}) and {}",
            lower(trace),
            matches(trace, "^[0-9a-fA-F]{16}$")
        ),
        format!("set(log.span_id.string, Substring({trace}, 36, 16)) where ({NO_SPAN}) and {}", matches(trace, parent)),
        format!(
            "set(log.trace_id.string, Substring({trace}, 3, 32)) where ({NO_TRACE}) and {}",
            matches(trace, parent)
        ),
        span(span_id),
    ]
}

fn span(place: &str) -> String {
    let right = matches(place, "^[0-9a-fA-F]{16}$");
    format!("set(log.span_id.string, ConvertCase({place}, \"lower\")) where ({NO_SPAN}) and {right}")
}

/// Sets the number of the severity by the word at `place`: first what a person calls the levels, then the usual words.
fn levels(place: &str, mapping: Option<&SeverityMapping>) -> Vec<String> {
    let SeverityMapping { trace, debug, info, warn, error, fatal } = mapping.cloned().unwrap_or_default();
    let own = [trace, debug, info, warn, error, fatal];
    let usual = LEVELS.iter().map(|(number, _, words)| (*number, format!("(?i)^(?:{words})$")));
    let own = LEVELS.iter().zip(own).filter(|(_, patterns)| !patterns.is_empty()).map(|((number, ..), patterns)| {
        let patterns: Vec<String> = patterns.iter().map(|pattern| format!("(?:{pattern})")).collect();
        (*number, format!("(?i)^(?:{})$", patterns.join("|")))
    });
    // What a person wrote comes later and wins.
    usual.chain(own).map(|(number, pattern)| level(number, &matches(place, &pattern))).collect()
}

/// The name follows at the end, by the number.
fn level(number: i32, when: &str) -> String {
    format!("set(log.severity_number, {number}) where {when}")
}

/// The records that an entry speaks of; `None`: all.
fn condition(wanted: Option<&LogMatch>) -> Option<String> {
    let LogMatch { sources, namespaces, workloads, containers, services } = wanted?;
    let sources: Vec<String> = sources.iter().map(|source| source_name(*source).to_owned()).collect();
    let service = |list: &[String]| {
        // Of syslog messages and the journal it is known of the record only.
        let pattern = globs(list);
        let places = [resource("service.name"), field("evenkeel.service")];
        format!("({})", places.map(|place| matches(&place, &pattern)).join(" or "))
    };
    let lists = [("source", &sources), ("namespace", namespaces), ("workload", workloads), ("container", containers)];
    let mut all: Vec<String> = lists
        .into_iter()
        .filter(|(_, list)| !list.is_empty())
        .map(|(name, list)| matches(&resource(name), &globs(list)))
        .collect();
    if !services.is_empty() {
        all.push(service(services));
    }
    (!all.is_empty()).then(|| all.join(" and "))
}

/// The value of the label `source`.
pub fn source_name(source: LogSource) -> &'static str {
    match source {
        LogSource::Containers => "containers",
        LogSource::Files => "files",
        LogSource::Journal => "journal",
        LogSource::Syslog => "syslog",
        LogSource::Tcp => "tcp",
        LogSource::Otlp => "otlp",
    }
}

fn statements(pipeline: &LogPipeline) -> Vec<String> {
    // Several lines are joined by the receiver; what is dropped is dropped later.
    let LogPipeline {
        matches: _,
        multiline: _,
        format,
        json,
        regex,
        timestamp,
        severity,
        trace_id,
        drop: _,
        sample: _,
    } = pipeline;
    let mut all = vec![];
    if let Some(json) = json {
        all.extend(parse_json());
        if let Some(message) = &json.message {
            let message = field(message);
            all.push(format!("set(log.body, {message}) where IsString({message})"));
            all.push(format!("delete_key(log.attributes, {})", quote(json.message.as_deref().unwrap_or_default())));
        }
    }
    all.extend(regex.as_deref().map(extract));
    all.extend(format.iter().flat_map(|format| known_format(*format)));
    all.extend(severity.iter().flat_map(by_field));
    all.extend(timestamp.iter().flat_map(time));
    all.extend(trace_id.iter().flat_map(trace));
    all
}

/// The fields of a JSON object; nested ones with `.` between the names.
pub fn parse_json() -> Vec<String> {
    vec![
        format!("merge_maps(log.attributes, ParseJSON(log.body), \"upsert\") where {}", matches("log.body", r"^\s*\{")),
        "flatten(log.attributes)".to_owned(),
    ]
}

fn extract(pattern: &str) -> String {
    format!("merge_maps(log.attributes, ExtractPatterns(log.body, {}), \"upsert\")", quote(pattern))
}

fn by_field(severity: &SeverityField) -> Vec<String> {
    levels(&format!("String({})", field(&severity.field)), severity.mapping.as_ref())
}

fn trace(wanted: &TraceIdField) -> Vec<String> {
    // It knows better than what was found by default.
    let own = |trace: &str, span_id: &str| {
        let of = ids(trace, span_id).into_iter();
        of.map(|s| s.replace(&format!("({NO_TRACE}) and "), "").replace(&format!("({NO_SPAN}) and "), "")).collect()
    };
    match (&wanted.field, &wanted.pattern) {
        (Some(name), _) => own(&field(name), "log.cache[\"none\"]"),
        (None, Some(pattern)) => {
            let mut all =
                vec![format!("merge_maps(log.cache, ExtractPatterns(log.body, {}), \"upsert\")", quote(pattern))];
            let ids: Vec<String> = own("log.cache[\"trace_id\"]", "log.cache[\"span_id\"]");
            all.extend(ids);
            all
        }
        (None, None) => vec![],
    }
}

/// RFC 3339 with Z or without a colon in the offset, and with one; a fraction of the second is read in any case.
const RFC3339: [&str; 2] = ["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M:%S%j"];

fn time(wanted: &TimestampField) -> Vec<String> {
    let place = field(&wanted.field);
    let number = |value: &str| vec![format!("set(log.time_unix_nano, {value}) where {place} != nil")];
    match wanted.layout.as_deref().unwrap_or("rfc3339") {
        "unix" => number(&format!("Int(Double({place}) * 1000000.0) * 1000")),
        "unixMillis" => number(&format!("Int(Double({place}) * 1000.0) * 1000")),
        "unixNanos" => number(&format!("Int({place})")),
        "rfc3339" => rfc3339(&place),
        layout => vec![parsed(&place, layout, wanted.time_zone.as_deref())],
    }
}

fn rfc3339(place: &str) -> Vec<String> {
    RFC3339.map(|layout| parsed(place, layout, None)).to_vec()
}

fn parsed(place: &str, layout: &str, zone: Option<&str>) -> String {
    let zone = zone.map(|zone| format!(", {}", quote(zone))).unwrap_or_default();
    format!("set(log.time, Time({place}, {}{zone}))", quote(layout))
}

/// The time of a line that names its own in one of the usual fields.
pub fn usual_time() -> Vec<String> {
    ["timestamp", "time", "ts", "@timestamp"].iter().flat_map(|name| rfc3339(&field(name))).collect()
}

const ACCESS: &str = r#"^(?P<client>\S+) \S+ (?P<user>\S+) \[(?P<logTime>[^\]]+)\] "(?P<method>[A-Z]+) (?P<path>\S+)(?: (?P<protocol>[^"]+))?" (?P<status>\d{3}) (?P<bytes>\d+|-)(?: "(?P<referer>[^"]*)" "(?P<userAgent>[^"]*)")?"#;
const POSTGRESQL: &str = r"^(?P<logTime>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)? [A-Z]+)(?: \[(?P<pid>\d+)\])?.*? (?P<level>DEBUG[1-5]|INFO|NOTICE|WARNING|ERROR|LOG|FATAL|PANIC|DETAIL|HINT|STATEMENT|CONTEXT|QUERY|LOCATION): ";
const DURATION: &str = r"\bduration: (?P<durationMs>[0-9.]+) ms";
const REDIS: &str = r"^(?P<pid>\d+):(?P<role>[XCSM]) (?P<logTime>\d{1,2} [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d\.\d{3}) (?P<logLevel>[-.*#]) ";

fn known_format(format: LogFormat) -> Vec<String> {
    let at = |layout: &str, when: &str| format!("{}{when}", parsed(&field("logTime"), layout, None));
    let without = |names: &[&str]| {
        let delete = |name: &&str| format!("delete_key(log.attributes, {})", quote(name));
        names.iter().map(delete).collect::<Vec<_>>()
    };
    let graded = |name: &str, grades: &[(i32, &str)]| {
        let one = |(number, pattern): &(i32, &str)| level(*number, &matches(&field(name), pattern));
        grades.iter().map(one).collect::<Vec<_>>()
    };
    match format {
        LogFormat::HttpAccess => [
            vec![extract(ACCESS), at("%d/%b/%Y:%H:%M:%S %z", "")],
            graded("status", &[(9, "^[123]"), (13, "^4"), (ERROR, "^5")]),
            ["user", "bytes", "referer"]
                .map(|name| format!("delete_key(log.attributes, {}) where {} == \"-\"", quote(name), field(name)))
                .to_vec(),
            without(&["logTime"]),
        ]
        .concat(),
        LogFormat::Postgresql => {
            // Names of other time zones are ambiguous, and the container's time is right anyway.
            let utc = format!(" where {}", matches(&field("logTime"), " (?:UTC|GMT)$"));
            let time = ["%Y-%m-%d %H:%M:%S %Z", "%Y-%m-%d %H:%M:%S.%L %Z"].map(|layout| at(layout, &utc)).to_vec();
            let more = vec![extract(POSTGRESQL), extract(DURATION)];
            let grades = [
                (5, "^DEBUG"),
                (9, "^(?:INFO|NOTICE|LOG|DETAIL|HINT|STATEMENT|CONTEXT|QUERY|LOCATION)$"),
                (13, "^WARNING$"),
                (ERROR, "^ERROR$"),
                (21, "^(?:FATAL|PANIC)$"),
            ];
            [more, time, graded("level", &grades), without(&["logTime"])].concat()
        }
        LogFormat::Redis => [
            vec![extract(REDIS), at("%g %b %Y %H:%M:%S.%L", "")],
            graded("logLevel", &[(5, "^[-.]$"), (9, r"^\*$"), (13, "^#$")]),
            without(&["logTime", "logLevel"]),
        ]
        .concat(),
    }
}

/// Conditions under which a record goes.
fn dropped(pipeline: &LogPipeline) -> Vec<String> {
    let scope = condition(pipeline.matches.as_ref());
    let all = |parts: Vec<String>| scope.iter().cloned().chain(parts).collect::<Vec<_>>().join(" and ");
    let drop = pipeline.drop.iter().map(|rule| all(vec![matches("log.body", &rule.pattern)]));
    let sample = pipeline.sample.iter().map(|rule| {
        // The first 32 bits of a random UUID, in hexadecimal as text.
        let share = (1_i64 << 32) / i64::from(rule.keep_one_in.max(1));
        let chance = format!("Substring(UUID(), 0, 8) >= \"{:08x}\"", share.min(0xffff_ffff));
        let text = rule.pattern.iter().map(|pattern| matches("log.body", pattern));
        all(text.chain([format!("log.severity_number < {ERROR}"), chance]).collect())
    });
    drop.chain(sample).collect()
}
