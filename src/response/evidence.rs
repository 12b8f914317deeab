//! How evidence is written down: tables and texts for people, without credentials, each within its limit. Pure.

mod revisions;

use std::collections::HashSet;
use std::fmt::Write;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Event, Pod};
use kube::ResourceExt;
use serde_json::Value;

use super::guard::short;
use super::redact::{self, redact};
use crate::k8s::meta::bounded;
use crate::loki::{Found, Line};
use crate::prometheus::Series;

pub use revisions::{revisions_of_controller, revisions_of_replica_sets};

/// Containers whose logs are kept.
pub const CONTAINERS: usize = 6;
/// Series of one expression that are shown.
const SERIES: usize = 10;
/// Points of a series that are shown.
pub const POINTS: u32 = 30;
/// Bytes of each part. All of them together, logs twice for each container, are less than `diagnose::MOST`.
const TARGET: usize = 64 << 10;
const TABLE: usize = 32 << 10;
const EVENTS: usize = 96 << 10;
const PROMQL: usize = 64 << 10;
const LOGQL: usize = 32 << 10;
const LOG: usize = 48 << 10;
/// Longest key of a ConfigMap.
const MAX_KEY: usize = 253;

/// One entry of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub key: String,
    pub text: String,
}

/// Which end of a text is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keep {
    Beginning,
    End,
}

fn part(key: &str, text: &str, limit: usize, keep: Keep) -> Part {
    // What is far beyond the limit is not worth the work of looking for credentials.
    let near = window(text, 2 * limit, keep);
    // Escape sequences would play tricks on a terminal.
    let clean: String = redact(near).chars().filter(|c| matches!(c, '\n' | '\t') || !c.is_control()).collect();
    let kept = window(&clean, limit, keep);
    let is_cut = near.len() < text.len() || kept.len() < clean.len();
    let of = format!("{} of {} KiB", kept.len().div_ceil(1024), text.len().div_ceil(1024));
    let text = match (is_cut, keep) {
        (false, _) => clean,
        (true, Keep::Beginning) => format!("{kept}\n[cut: the first {of}]\n"),
        (true, Keep::End) => format!("[cut: the last {of}]\n{kept}"),
    };
    Part { key: key.to_owned(), text }
}

/// So much of one end, in whole lines where there are any.
fn window(text: &str, limit: usize, keep: Keep) -> &str {
    if text.len() <= limit {
        return text;
    }
    match keep {
        Keep::Beginning => {
            let end = (0..=limit).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
            text[..end].rfind('\n').map_or(&text[..end], |line| &text[..line])
        }
        Keep::End => {
            let begin = (text.len() - limit..text.len()).find(|i| text.is_char_boundary(*i)).unwrap_or(text.len());
            text[begin..].find('\n').map_or(&text[begin..], |line| &text[begin + line + 1..])
        }
    }
}

/// The target as YAML, without what nobody reads.
pub fn target(found: Result<Value, String>) -> Part {
    let text = found.and_then(|mut object| {
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
            // It repeats the object, in one line.
            if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
                annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
            }
        }
        redact::object(&mut object);
        serde_saphyr::to_string(&object).map_err(|error| format!("it cannot be written as YAML: {error}"))
    });
    part("target.yaml", &text.unwrap_or_else(|why| format!("# {why}\n")), TARGET, Keep::Beginning)
}

/// One line for each container.
pub fn pods(pods: &[Pod], notes: &[String], now: Timestamp) -> Part {
    let mut text = lines(notes);
    let mut table =
        vec![row(["POD", "PHASE", "CONTAINER", "READY", "RESTARTS", "STATE", "LAST TERMINATION", "NODE", "AGE"])];
    for pod in pods {
        let status = pod.status.clone().unwrap_or_default();
        let (name, phase) = (pod.name_any(), status.phase.clone().unwrap_or_default());
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
        let age = age(pod.creation_timestamp().map(|at| at.0), now);
        let containers: Vec<&ContainerStatus> = all_containers(pod).map(|(container, _)| container).collect();
        if containers.is_empty() {
            let why = status.conditions.iter().flatten().find(|c| c.status == "False").and_then(|c| c.message.clone());
            let why = why.or(status.message).unwrap_or_default();
            table.push(row([&name, &phase, "", "", "", &why, "", &node, &age]));
        }
        for container in containers {
            let state = container.state.as_ref().map(state).unwrap_or_default();
            let last = container.last_state.as_ref().map(state_of_last).unwrap_or_default();
            let (ready, restarts) = (container.ready.to_string(), container.restart_count.to_string());
            table.push(row([&name, &phase, &container.name, &ready, &restarts, &state, &last, &node, &age]));
        }
    }
    if pods.is_empty() {
        text.push_str("There are no pods.\n");
    } else {
        text.push_str(&aligned(&table));
    }
    part("pods.txt", &text, TABLE, Keep::Beginning)
}

fn state(state: &ContainerState) -> String {
    match state {
        ContainerState { running: Some(_), .. } => "running".to_owned(),
        ContainerState { waiting: Some(waiting), .. } => {
            let words = [waiting.reason.as_deref(), waiting.message.as_deref()];
            words.into_iter().flatten().filter(|w| !w.is_empty()).collect::<Vec<_>>().join(": ")
        }
        last => state_of_last(last),
    }
}

fn state_of_last(state: &ContainerState) -> String {
    let Some(ended) = &state.terminated else { return String::new() };
    let mut words = format!("{} (exit code {})", ended.reason.as_deref().unwrap_or("ended"), ended.exit_code);
    if let Some(at) = &ended.finished_at {
        let _ = write!(words, " at {}", at.0);
    }
    if let Some(message) = ended.message.as_deref().filter(|m| !m.is_empty()) {
        let _ = write!(words, ": {message}");
    }
    words
}

/// With init containers, and whether it is one.
fn all_containers(pod: &Pod) -> impl Iterator<Item = (&ContainerStatus, bool)> {
    let status = pod.status.as_ref();
    let init = status.and_then(|s| s.init_container_statuses.as_deref()).unwrap_or_default();
    let own = status.and_then(|s| s.container_statuses.as_deref()).unwrap_or_default();
    init.iter().map(|c| (c, true)).chain(own.iter().map(|c| (c, false)))
}

/// A container whose logs are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub pod: String,
    pub container: String,
    /// It ran before, too.
    pub restarted: bool,
}

/// Whose logs are kept: of what is not ready first, then of what was restarted, then the youngest.
pub fn sources(pods: &[Pod]) -> Vec<Source> {
    let mut all: Vec<_> = pods
        .iter()
        .flat_map(|pod| all_containers(pod).map(move |(container, init)| (pod, container, init)))
        // An init container that has done its work has nothing to tell; one that waits to begin has no log.
        .filter(|(_, container, init)| !(*init && container.ready))
        .filter(|(_, container, _)| container.container_id.is_some() || container.restart_count > 0)
        .collect();
    all.sort_by_key(|(pod, container, _)| {
        let born = pod.creation_timestamp().map(|at| at.0.as_second()).unwrap_or_default();
        (container.ready, -container.restart_count, -born, pod.name_any())
    });
    let source = |(pod, container, _): (&Pod, &ContainerStatus, bool)| Source {
        pod: pod.name_any(),
        container: container.name.clone(),
        restarted: container.last_state.as_ref().is_some_and(|last| last.terminated.is_some()),
    };
    all.into_iter().take(CONTAINERS).map(source).collect()
}

/// The last lines of a container.
pub fn log(source: &Source, previous: bool, text: Result<String, String>) -> Part {
    let end = if previous { "-previous.txt" } else { ".txt" };
    let name = bounded(&format!("logs-{}-{}", source.pod, source.container), MAX_KEY - end.len());
    let text = text.unwrap_or_else(|why| format!("{why}\n"));
    part(&format!("{name}{end}"), &text, LOG, Keep::End)
}

/// Events of these objects, the newest last.
pub fn events(all: &[Event], uids: &HashSet<String>, notes: &[String]) -> Part {
    let mut of: Vec<&Event> =
        all.iter().filter(|e| e.involved_object.uid.as_ref().is_some_and(|uid| uids.contains(uid))).collect();
    of.sort_by_key(|event| last_seen(event));
    let mut table = vec![];
    for event in of {
        let at = last_seen(event).map(|at| at.to_string()).unwrap_or_default();
        let count = event.series.as_ref().and_then(|s| s.count).or(event.count).unwrap_or(1);
        let object = &event.involved_object;
        let object =
            format!("{}/{}", object.kind.as_deref().unwrap_or_default(), object.name.as_deref().unwrap_or_default());
        let count = if count > 1 { format!("x{count}") } else { String::new() };
        let kind = event.type_.as_deref().unwrap_or_default();
        let message = event.message.as_deref().unwrap_or_default().trim().replace('\n', " ");
        table.push(row([&at, kind, event.reason.as_deref().unwrap_or_default(), &object, &count, &message]));
    }
    let mut text = lines(notes);
    match table.is_empty() {
        true => text.push_str("There are no Events of the target, its ReplicaSets or its pods.\n"),
        false => text.push_str(&aligned(&table)),
    }
    part("events.txt", &text, EVENTS, Keep::End)
}

fn last_seen(event: &Event) -> Option<Timestamp> {
    let series = event.series.as_ref().and_then(|s| s.last_observed_time.as_ref()).map(|t| t.0);
    let last = event.last_timestamp.as_ref().map(|t| t.0);
    let first = event.event_time.as_ref().map(|t| t.0);
    series.or(last).or(first).or(event.metadata.creation_timestamp.as_ref().map(|t| t.0))
}

/// The history of rollouts, as a table of `revisions_of_...`.
pub fn rollout(revisions: Result<Vec<Vec<String>>, String>) -> Part {
    let text = match revisions {
        Ok(rows) if rows.is_empty() => "There is no history of rollouts.\n".to_owned(),
        Ok(rows) => {
            let head = row(["REVISION", "NAME", "REPLICAS", "READY", "IMAGES", "CREATED", "AGE"]);
            aligned(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
        }
        Err(why) => format!("{why}\n"),
    };
    part("rollout.txt", &text, TABLE, Keep::Beginning)
}

/// The answer to one expression.
pub type Asked = (String, Result<Vec<Series>, String>);

/// What each expression was in that time.
pub fn promql(asked: &[Asked], from: Timestamp, to: Timestamp, step: SignedDuration) -> Part {
    let mut text = format!("From {from} to {to}, every {}.\n", short(step));
    for (expr, answer) in asked {
        // Writing to a String does not fail.
        let _ = writeln!(text, "\n# {}", expr.replace('\n', " "));
        let all = match answer {
            Ok(all) if all.is_empty() => {
                text.push_str("no data\n");
                continue;
            }
            Ok(all) => all,
            Err(why) => {
                let _ = writeln!(text, "{why}");
                continue;
            }
        };
        for series in all.iter().take(SERIES) {
            text.push_str(&one(series));
        }
        if let Some(more) = all.len().checked_sub(SERIES).filter(|more| *more > 0) {
            let _ = writeln!(text, "and {more} more series");
        }
    }
    part("promql.txt", &text, PROMQL, Keep::Beginning)
}

/// The answer to one query of logs.
pub type Searched = (String, Result<Found, String>);

/// What each query of logs found in that time.
pub fn logql(asked: &[Searched], from: Timestamp, to: Timestamp) -> Part {
    let mut text = format!("From {from} to {to}, in logs of this namespace.\n");
    for (expr, answer) in asked {
        // Writing to a String does not fail.
        let _ = writeln!(text, "\n# {}", expr.replace('\n', " "));
        let found: String = match answer {
            Ok(Found::Lines(lines)) if lines.is_empty() => "no lines\n".to_owned(),
            Ok(Found::Lines(lines)) => lines.iter().map(line).collect(),
            Ok(Found::Series(all)) if all.is_empty() => "no data\n".to_owned(),
            Ok(Found::Series(all)) => {
                let more = all.len().saturating_sub(SERIES);
                let more = if more > 0 { format!("and {more} more series\n") } else { String::new() };
                all.iter().take(SERIES).map(one).chain([more]).collect()
            }
            Err(why) => format!("{why}\n"),
        };
        text.push_str(&found);
    }
    part("logql.txt", &text, LOGQL, Keep::Beginning)
}

/// With what tells where it comes from.
fn line(line: &Line) -> String {
    let of = ["pod", "container"].into_iter().filter_map(|name| line.labels.get(name)).cloned();
    let of: Vec<String> = of.collect();
    format!("{} {} {}\n", line.at.strftime("%H:%M:%S%.3f"), of.join("/"), line.text.trim_end())
}

fn one(series: &Series) -> String {
    let labels: Vec<String> = series.labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    let values = || series.points.iter().map(|(_, value)| *value).filter(|value| !value.is_nan());
    let least = values().fold(f64::INFINITY, f64::min);
    let most = values().fold(f64::NEG_INFINITY, f64::max);
    let last = series.points.last().map(|(_, value)| *value).unwrap_or(f64::NAN);
    let points: Vec<String> = series
        .points
        .iter()
        .map(|(at, value)| {
            let at = Timestamp::from_second(at.round() as i64).unwrap_or_default();
            format!("{} {}", at.strftime("%H:%M:%S"), number(*value))
        })
        .collect();
    let rows: Vec<String> = points.chunks(6).map(|chunk| format!("  {}\n", chunk.join("  "))).collect();
    let range = match least <= most {
        true => format!("min {}  max {}  last {}", number(least), number(most), number(last)),
        false => "no numbers".to_owned(),
    };
    format!("{{{}}}  {range}\n{}", labels.join(","), rows.concat())
}

/// With four digits behind the point at most; small numbers keep their size.
fn number(value: f64) -> String {
    if value != 0.0 && value.abs() < 0.001 || value.abs() >= 1e15 {
        return format!("{value:.3e}");
    }
    let text = format!("{value:.4}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

fn lines(notes: &[String]) -> String {
    notes.iter().map(|note| format!("{note}\n")).collect()
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.iter().map(|cell| (*cell).to_owned()).collect()
}

/// Columns one below the other; the last one as long as it is.
fn aligned(rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0).min(80)
    };
    let widths: Vec<usize> = (0..rows.first().map_or(0, Vec::len)).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

fn age(since: Option<Timestamp>, now: Timestamp) -> String {
    since.map(|since| short(now.duration_since(since).max(SignedDuration::ZERO))).unwrap_or_default()
}

#[cfg(test)]
mod tests;
