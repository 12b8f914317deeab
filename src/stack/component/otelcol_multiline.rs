//! Several lines that are one entry: joined in the receiver, where the lines of a file still follow each other. Pure.

use super::otelcol_common::LONGEST;
use super::otelcol_config::{Operator, Route};
use super::ottl::{globs, quote};
use crate::api::monitoring_stack::{LogFormat, LogMatch, LogPipeline, LogSource, Multiline, MultilinePreset};

/// What belongs to the line above it in Java: frames, causes, and the exception's own line where a message went before.
const JAVA: &str =
    r"^(?:\s|$|Caused by:|Suppressed:|(?:[A-Za-z_$][\w$]*\.)+[A-Za-z_$][\w$]*(?:Exception|Error|Throwable)\b)";
/// In Python.
const PYTHON: &str = r"^(?:\s|$|Traceback \(most recent call last\):|During handling of the above|The above exception was|[A-Za-z_][\w.]*(?:Error|Exception|Warning|Exit|Interrupt|Iteration|Group)(?::|$))";
/// In Go: goroutines, functions with their files, the signal.
const GO: &str = r"^(?:\s|$|goroutine \d+ \[|\[signal |created by |exit status \d|\.\.\.additional frames|[\w./~%-]+\.(?:\(\*?[\w.\[\]]+\)\.)?[\w.\[\]-]+\(.*\)(?: in goroutine \d+)?$)";
/// The time at the beginning of PostgreSQL's lines.
const POSTGRESQL: &str = r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d";

/// Whether a line is the first of its entry, as an expression.
fn first(pipeline: &LogPipeline) -> Option<String> {
    let continued = |pattern: &str| format!("not (body matches {})", quote(pattern));
    let begun = |pattern: &str| format!("body matches {}", quote(pattern));
    match (&pipeline.multiline, pipeline.format) {
        (Some(Multiline { start: Some(start), .. }), _) => Some(begun(start)),
        (Some(Multiline { preset: Some(preset), .. }), _) => Some(continued(match preset {
            MultilinePreset::Java => JAVA,
            MultilinePreset::Python => PYTHON,
            MultilinePreset::Go => GO,
        })),
        (_, Some(LogFormat::Postgresql)) => Some(begun(POSTGRESQL)),
        _ => None,
    }
}

fn recombine(id: String, first: String, output: &str) -> Operator {
    Operator::Recombine {
        id,
        combine_field: "body",
        is_first_entry: first,
        source_identifier: "attributes[\"log.file.path\"]",
        // The last entry of a file waits so long for more lines.
        force_flush_period: "1s",
        max_log_size: LONGEST,
        max_sources: 10_000,
        output: output.to_owned(),
    }
}

fn is_of(pipeline: &LogPipeline, source: LogSource) -> bool {
    let sources = pipeline.matches.as_ref().map_or(&[][..], |m| &m.sources);
    sources.is_empty() || sources.contains(&source)
}

/// One way for each entry with several lines, and one for all other records.
pub fn of_containers(pipelines: &[LogPipeline]) -> Vec<Operator> {
    const DONE: &str = "done";
    let (mut routes, mut joins) = (vec![], vec![]);
    for (index, pipeline) in pipelines.iter().enumerate() {
        let condition = containers(pipeline.matches.as_ref());
        if let (true, Some(first), Some(expr)) = (is_of(pipeline, LogSource::Containers), first(pipeline), condition) {
            let id = format!("multiline_{index}");
            routes.push(Route { expr, output: id.clone() });
            joins.push(recombine(id, first, DONE));
        }
    }
    if routes.is_empty() {
        return vec![];
    }
    let mut operators = vec![Operator::Router { id: "router", routes, default: DONE.to_owned() }];
    operators.extend(joins);
    operators.push(Operator::Noop { id: DONE.to_owned() });
    operators
}

/// Whether the line's path fits; `None`: what is asked is not in the path.
fn containers(wanted: Option<&LogMatch>) -> Option<String> {
    let Some(LogMatch { sources: _, namespaces, workloads, containers, services }) = wanted else {
        return Some("true".to_owned());
    };
    if !services.is_empty() {
        return None;
    }
    let mut all = vec![];
    let mut add = |name: &str, pattern: String| {
        all.push(format!("resource[\"{name}\"] matches {}", quote(&pattern)));
    };
    if !namespaces.is_empty() {
        add("k8s.namespace.name", globs(namespaces));
    }
    if !workloads.is_empty() {
        // The name of a pod is that of its workload and what its controller adds.
        let hash = "[bcdfghjklmnpqrstvwxz2456789]";
        let added = format!("(?:-(?:{hash}{{1,10}}-{hash}{{5}}|[0-9]+-{hash}{{5}}|{hash}{{5}}|[0-9]+))?$");
        add("k8s.pod.name", globs(workloads).trim_end_matches('$').to_owned() + &added);
    }
    if !containers.is_empty() {
        add("k8s.container.name", globs(containers));
    }
    Some(if all.is_empty() { "true".to_owned() } else { all.join(" and ") })
}

/// The first entry with several lines that speaks of these files.
pub fn of_files(pipelines: &[LogPipeline], name: &str) -> Vec<Operator> {
    let fits = |pipeline: &&LogPipeline| {
        let Some(wanted) = &pipeline.matches else { return true };
        let named = wanted.services.is_empty()
            || regex::Regex::new(&globs(&wanted.services)).is_ok_and(|services| services.is_match(name));
        let elsewhere = [&wanted.namespaces, &wanted.workloads, &wanted.containers].iter().any(|list| !list.is_empty());
        is_of(pipeline, LogSource::Files) && named && !elsewhere
    };
    let Some(first) = pipelines.iter().filter(fits).find_map(first) else { return vec![] };
    vec![recombine("multiline".to_owned(), first, "done"), Operator::Noop { id: "done".to_owned() }]
}
