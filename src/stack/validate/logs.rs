//! What may be written about collecting logs. Pure.

pub mod re2;
mod rules;

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use regex::Regex;

use super::{Known, Problem, Refused};
use crate::api::monitoring_stack::{ContainerLogs, FileLogs, LogsSpec};
use crate::k8s::drift;
use crate::stack::component::logs::FLAGS;
use crate::stack::names;
use crate::stack::storage::Data;

/// Bytes that wait on the disk while Loki does not answer, where nothing is said.
const BUFFER: i64 = 1 << 30;
/// Less would not hold a few batches.
const LEAST: i64 = 16 << 20;

/// Log collection, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Logs {
    /// Without what is wrong.
    pub spec: LogsSpec,
    /// Bytes that wait on the disk while Loki does not answer.
    pub buffer: i64,
    pub gateway: Option<Gateway>,
}

impl Logs {
    /// Time zones by their names; the Collector's image may know none.
    pub fn zones(&self) -> BTreeSet<&str> {
        let syslog = self.spec.syslog.iter().filter_map(|syslog| syslog.time_zone.as_deref());
        let pipelines = self.spec.pipelines.iter().filter_map(|p| p.timestamp.as_ref()?.time_zone.as_deref());
        syslog.chain(pipelines).collect()
    }

    /// Whether there is an agent on each node.
    pub fn reads_nodes(&self) -> bool {
        self.spec.containers.is_some() || !self.spec.files.is_empty() || self.spec.journal.is_some()
    }
}

/// What takes syslog, lines and OTLP.
#[derive(Clone, Debug, PartialEq)]
pub struct Gateway {
    pub data: Data,
    /// Claims to be asked for the size in `data`.
    pub grow: Vec<String>,
}

/// The checked part; what is wrong and can be left out goes to `problems`.
pub fn check(spec: &LogsSpec, known: &Known, problems: &mut Vec<Problem>) -> Result<Logs, Refused> {
    super::reserved_flags("logs", spec.pod.as_ref(), &FLAGS)?;
    let gateway = spec.gateway.clone().unwrap_or_default();
    super::reserved_flags("logs.gateway", gateway.pod.as_ref(), &FLAGS)?;
    let mut found = Findings(problems);
    let mut spec = spec.clone();
    if spec.containers.as_ref().is_some_and(|containers| !containers_are_clear(containers, &mut found)) {
        spec.containers = None;
    }
    spec.files = files(std::mem::take(&mut spec.files), &mut found);
    ports(&mut spec, &mut found);
    rules::check(&mut spec, &mut found);
    let buffer = buffer(&spec, &mut found);
    let wanted = spec.syslog.is_some() || spec.tcp.is_some() || spec.otlp.is_some();
    let gateway = wanted.then(|| {
        let wanted = Data::of(gateway.storage.as_ref());
        let (data, grow) = super::check_storage("logs.gateway", names::LOG_GATEWAY, wanted, known, problems);
        Gateway { data, grow }
    });
    Ok(Logs { spec, buffer, gateway })
}

/// What is wrong and was left out.
struct Findings<'a>(&'a mut Vec<Problem>);

impl Findings<'_> {
    fn add(&mut self, reason: &'static str, field: &str, value: &str, why: &str) {
        self.0.push(Problem { reason, message: format!("spec.logs.{field} {value:?} {why}") });
    }
}

fn buffer(spec: &LogsSpec, found: &mut Findings) -> i64 {
    let Some(wanted) = &spec.buffer else { return BUFFER };
    match drift::bytes(wanted).and_then(|bytes| i64::try_from(bytes).ok()).filter(|bytes| *bytes >= LEAST) {
        Some(bytes) => bytes,
        None => {
            let why = "is no size of at least 16Mi: correct it, until then it is 1Gi";
            found.add("InvalidBuffer", "buffer", &wanted.0, why);
            BUFFER
        }
    }
}

/// Whether it is clear which containers are meant; if not, none is read rather than too many.
fn containers_are_clear(containers: &ContainerLogs, found: &mut Findings) -> bool {
    let before = found.0.len();
    let lists =
        [("includeNamespaces", &containers.include_namespaces), ("excludeNamespaces", &containers.exclude_namespaces)];
    for (field, names) in lists {
        for (index, name) in names.iter().enumerate() {
            if !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'*')) {
                let why = "is no name of a namespace, nor one with *: correct it, until then no container is read";
                found.add("InvalidNamespace", &format!("containers.{field}[{index}]"), name, why);
            }
        }
    }
    let mut kept = BTreeSet::new();
    for (index, label) in containers.labels.iter().enumerate() {
        let field = format!("containers.labels[{index}]");
        let wrong = "until then no container is read";
        if !is_label(label) {
            found.add("InvalidLabel", &field, label, &format!("is no name of a label: correct it, {wrong}"));
        } else if !kept.insert(field_of(label)) {
            let why = format!("has the name {} of another one: take one out, {wrong}", field_of(label));
            found.add("InvalidLabel", &field, label, &why);
        }
    }
    if let Some(selector) = &containers.selector {
        check_selector(selector, found);
    }
    found.0.len() == before
}

/// What a pod's label is called in the records.
pub fn field_of(label: &str) -> String {
    let name: String = label.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    format!("label_{name}")
}

fn is_label(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'/' | b'-' | b'_'))
}

fn check_selector(selector: &LabelSelector, found: &mut Findings) {
    const OTHERWISE: &str = "correct it, until then no container is read";
    for (key, value) in selector.match_labels.iter().flatten() {
        if !is_label(key) || !value.is_empty() && !is_label(value) {
            let why = format!("is no label with its value: {OTHERWISE}");
            found.add("InvalidSelector", "containers.selector.matchLabels", &format!("{key}: {value}"), &why);
        }
    }
    for (index, requirement) in selector.match_expressions.iter().flatten().enumerate() {
        let field = format!("containers.selector.matchExpressions[{index}]");
        let values = requirement.values.as_deref().unwrap_or_default();
        let why = match requirement.operator.as_str() {
            "In" | "NotIn" if values.is_empty() => "needs values",
            "Exists" | "DoesNotExist" if !values.is_empty() => "takes no values",
            "In" | "NotIn" | "Exists" | "DoesNotExist" => "",
            _ => "is no operator: write In, NotIn, Exists or DoesNotExist",
        };
        if !why.is_empty() {
            found.add("InvalidSelector", &field, &requirement.operator, &format!("{why}; {OTHERWISE}"));
        }
        if !is_label(&requirement.key) || values.iter().any(|value| !value.is_empty() && !is_label(value)) {
            let why = format!("or one of its values is no label: {OTHERWISE}");
            found.add("InvalidSelector", &field, &requirement.key, &why);
        }
    }
}

/// The entries whose paths may be read: the agent is root, so nothing outside of /var/log.
fn files(files: Vec<FileLogs>, found: &mut Findings) -> Vec<FileLogs> {
    let mut names = BTreeSet::new();
    let mut kept = vec![];
    for (index, mut entry) in files.into_iter().enumerate() {
        let field = format!("files[{index}]");
        if !names.insert(entry.name.clone()) {
            let why = "is the name of another entry: rename one, until then the later one is left out";
            found.add("InvalidFiles", &format!("{field}.name"), &entry.name, why);
            continue;
        }
        entry.include.retain(|path| is_below_var_log(path, &format!("{field}.include"), found));
        entry.exclude.retain(|path| is_below_var_log(path, &format!("{field}.exclude"), found));
        if !entry.include.is_empty() {
            kept.push(entry);
        }
    }
    kept
}

fn is_below_var_log(path: &str, field: &str, found: &mut Findings) -> bool {
    let shape = Regex::new(r"^/var/log/[-_.*?@+/A-Za-z0-9]+$").is_ok_and(|shape| shape.is_match(path));
    let folder = path.trim_start_matches("/var/log/").split('/').next().unwrap_or_default();
    let why = if !shape || path.split('/').any(|part| part == "..") {
        "is no path below /var/log (letters, digits, and * ? for what varies): the agent reads nothing else; it is left out"
    } else if matches!(folder, "pods" | "containers") {
        "belongs to the containers: set spec.logs.containers; it is left out"
    } else {
        return true;
    };
    found.add("InvalidFiles", field, path, why);
    false
}

/// Ports of the gateway that would meet.
fn ports(spec: &mut LogsSpec, found: &mut Findings) {
    let mut taken = vec![names::COLLECTOR_METRICS_PORT, names::COLLECTOR_HEALTH_PORT];
    if spec.otlp.is_some() {
        taken.extend([names::OTLP_GRPC_PORT, names::OTLP_HTTP_PORT]);
    }
    let why = "is taken by another port of the gateway: choose another one, until then nothing is taken there";
    if let Some(port) = spec.syslog.as_ref().map(|syslog| syslog.port).filter(|port| taken.contains(port)) {
        found.add("PortTaken", "syslog.port", &port.to_string(), why);
        spec.syslog = None;
    }
    taken.extend(spec.syslog.as_ref().map(|syslog| syslog.port));
    if let Some(port) = spec.tcp.as_ref().map(|tcp| tcp.port).filter(|port| taken.contains(port)) {
        found.add("PortTaken", "tcp.port", &port.to_string(), why);
        spec.tcp = None;
    }
}
