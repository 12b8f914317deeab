//! How the logs of a MonitoringStack are read.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is done with the records that fit. Regular expressions are RE2, as Go reads them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogPipeline {
    /// Which records. Absent or `{}`: all.
    #[serde(rename = "match", default, skip_serializing_if = "Option::is_none")]
    pub matches: Option<LogMatch>,
    /// Several lines that are one entry. Only of containers and files; fields of the records themselves are not known yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multiline: Option<Multiline>,
    /// A format that is known: its fields, time, severity and several lines that are one entry are read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<LogFormat>,
    /// The record is a JSON object: its fields become fields of the record, nested ones with `.` between the names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<JsonLogs>,
    /// A regular expression whose named groups become fields of the record, for example `user=(?P<user>\w+)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub regex: Option<String>,
    /// The field that holds the record's time. Without it: when the container wrote it, or when it arrived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<TimestampField>,
    /// The field that holds the record's severity. Without it: looked for in the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<SeverityField>,
    /// Where the ID of the trace stands. Without it: in trace_id, traceID or traceparent, in JSON and as `trace_id=...`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<TraceIdField>,
    /// Records that are dropped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub drop: Vec<DropRule>,
    /// Records of which only some are kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub sample: Vec<SampleRule>,
}

/// Which records. Every list that is set must fit; in a list one entry is enough, and `*` stands for any characters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogMatch {
    /// Where they come from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub sources: Vec<LogSource>,
    /// Namespaces of pods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 63)))]
    pub namespaces: Vec<String>,
    /// Names of the Deployments, StatefulSets, DaemonSets, CronJobs and Jobs that the pods belong to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253)))]
    pub workloads: Vec<String>,
    /// Names of containers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 63)))]
    pub containers: Vec<String>,
    /// Service names: the `name` of `files`, the program of a syslog message, `service.name` of OTLP.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253)))]
    pub services: Vec<String>,
}

/// Where a record comes from; its label `source`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum LogSource {
    /// Standard output and standard error of containers.
    Containers,
    /// Files of the nodes.
    Files,
    /// The journal of the nodes.
    Journal,
    /// Syslog messages.
    Syslog,
    /// Lines over TCP.
    Tcp,
    /// OTLP.
    Otlp,
}

/// Several lines that are one entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.preset) != has(self.start)")
        .message("multiline: set exactly one of preset and start")
)]
pub struct Multiline {
    /// Traces of a language belong to the line above them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<MultilinePreset>,
    /// What the first line of each entry matches, for example `^\d{4}-`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub start: Option<String>,
}

/// Traces of a language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum MultilinePreset {
    /// Exceptions with their causes.
    Java,
    /// Tracebacks.
    Python,
    /// Panics with their goroutines.
    Go,
}

/// A format that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum LogFormat {
    /// Access logs of web servers, Common Log Format and Combined: client, user, method, path, protocol, status, bytes,
    /// referer, userAgent. A status of 500 or more is an error, one of 400 or more a warning.
    HttpAccess,
    /// PostgreSQL with a prefix that begins with the time (`%m` or `%t`): pid, level, durationMs.
    Postgresql,
    /// Redis: pid, role.
    Redis,
}

/// The record is a JSON object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JsonLogs {
    /// The field that becomes the text of the record. Default: the text stays as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub message: Option<String>,
}

/// The field that holds the time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TimestampField {
    /// Name of the field.
    #[schemars(length(min = 1, max = 253))]
    pub field: String,
    /// How it is written: rfc3339 (the default), unix, unixMillis, unixNanos, or a pattern of strptime, for example
    /// `%Y-%m-%d %H:%M:%S.%L` (%L milliseconds, %f microseconds, %s nanoseconds, %z +0100, %j +01:00).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub layout: Option<String>,
    /// Time zone where the layout has none, for example Europe/Paris. Default: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[-+_/A-Za-z0-9]+$"))]
    pub time_zone: Option<String>,
}

/// The field that holds the severity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SeverityField {
    /// Name of the field.
    #[schemars(length(min = 1, max = 253))]
    pub field: String,
    /// What else the levels are called there. The usual words are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapping: Option<SeverityMapping>,
}

/// Regular expressions that the whole value matches, in upper or lower case.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SeverityMapping {
    /// What is a trace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 256)))]
    pub trace: Vec<String>,
    /// What is a debug message.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 256)))]
    pub debug: Vec<String>,
    /// What is an information.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 256)))]
    pub info: Vec<String>,
    /// What is a warning.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 256)))]
    pub warn: Vec<String>,
    /// What is an error.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 256)))]
    pub error: Vec<String>,
    /// What ends the program.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 256)))]
    pub fatal: Vec<String>,
}

/// Where the ID of the trace stands: 32 hexadecimal digits, or 16.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.field) != has(self.pattern)")
        .message("traceId: set exactly one of field and pattern")
)]
pub struct TraceIdField {
    /// A field of the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub field: Option<String>,
    /// A regular expression whose group `trace_id` is it; a group `span_id` is the span's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub pattern: Option<String>,
}

/// Records that are dropped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DropRule {
    /// What their text matches somewhere.
    #[schemars(length(min = 1, max = 1024))]
    pub pattern: String,
}

/// Records of which only some are kept. Errors are always kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SampleRule {
    /// What their text matches somewhere. Absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub pattern: Option<String>,
    /// One of so many is kept, by chance.
    #[schemars(range(min = 2, max = 1000000))]
    pub keep_one_in: i32,
}
