//! What may be written about the rules that ship. What is wrong is named and left out: the rest is loaded. Pure.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::Value;

use super::Problem;
use crate::api::duration::PromDuration;
use crate::api::monitoring_stack::{RulesSpec, ThresholdValue};
use crate::k8s::drift;
use crate::nearest::nearest;
use crate::shipped::{Alert, Fires, GROUPS, Kind, Settings, Threshold, alerts};

/// Longest that something may have to hold, in seconds: a rule that waits longer alerts nobody.
const LONGEST_FOR: f64 = 30.0 * 86_400.0;
/// Durations end here: ten years, in seconds.
const LONGEST: f64 = 3650.0 * 86_400.0;

/// The checked settings, and what had to be left out of them.
pub fn check(spec: Option<&RulesSpec>) -> (Settings, Vec<Problem>) {
    let (mut settings, mut problems) = (Settings::default(), vec![]);
    let Some(spec) = spec else { return (settings, problems) };
    let RulesSpec { enabled, disabled, include, thresholds, runbooks } = spec;
    settings.enabled = *enabled;
    if let Some(runbooks) = runbooks {
        settings.runbooks = runbooks.trim_end_matches('/').to_owned();
    }
    for (index, name) in disabled.iter().enumerate() {
        let all = || group_names().chain(alerts().map(|alert| alert.name));
        match all().find(|known| known == name) {
            Some(known) => _ = settings.disabled.insert(known),
            None => problems.push(unknown(&format!("disabled[{index}]"), "alert or group", name, all())),
        }
    }
    for (index, name) in include.iter().enumerate() {
        match group_names().find(|known| known == name) {
            Some(known) => _ = settings.include.insert(known),
            None => problems.push(unknown(&format!("include[{index}]"), "group", name, group_names())),
        }
    }
    for (name, values) in thresholds {
        let Some(alert) = alerts().find(|alert| alert.name == name) else {
            problems.push(unknown("thresholds", "alert", name, alerts().map(|alert| alert.name)));
            continue;
        };
        for (threshold, value) in values {
            match read(alert, threshold, value) {
                Ok((threshold, value)) => _ = settings.thresholds.insert((alert.name, threshold), value),
                Err(problem) => problems.push(problem),
            }
        }
        if let Some(problem) = out_of_order(alert, &settings) {
            // Without any of the two the alert has its defaults, which are in order.
            settings.thresholds.retain(|(of, name), _| *of != alert.name || !matches!(*name, "warning" | "critical"));
            problems.push(problem);
        }
    }
    (settings, problems)
}

fn group_names() -> impl Iterator<Item = &'static str> {
    GROUPS.iter().map(|group| group.name)
}

fn problem(field: &str, why: &str) -> Problem {
    Problem { reason: "InvalidRules", message: format!("spec.rules.{field} {why}") }
}

/// Names what was probably meant, or else everything that there is.
fn unknown<'a>(field: &str, what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> Problem {
    problem(field, &format!("names {name:?}, and no {what} that ships has this name{}", near(known, name)))
}

/// The near names: the nearest, and those that share a word with what was written.
fn near<'a>(known: impl Iterator<Item = &'a str>, name: &str) -> String {
    let known: Vec<&str> = known.collect();
    let closest = nearest(known.iter().copied(), name);
    let lower = name.to_lowercase();
    let shares = |candidate: &str| {
        let candidate = candidate.to_lowercase();
        lower.len() >= 3 && (candidate.contains(&lower) || lower.contains(&candidate))
    };
    let mut near: Vec<&str> = closest.into_iter().collect();
    near.extend(known.iter().copied().filter(|candidate| Some(*candidate) != closest && shares(candidate)).take(4));
    match near.as_slice() {
        [] if known.len() <= 20 => format!("; there are {}", known.join(", ")),
        [] => "; docs/runbooks/README.md lists them".to_owned(),
        near => format!("; did you mean {}?", near.join(", ")),
    }
}

fn read(alert: &Alert, name: &str, value: &ThresholdValue) -> Result<(&'static str, f64), Problem> {
    let field = format!("thresholds.{}", alert.name);
    let known = alert.thresholds();
    let Some(threshold) = known.iter().find(|threshold| threshold.name == name) else {
        let names = known.iter().map(|threshold| threshold.name);
        let near = nearest(names.clone(), name).map(|name| format!("; did you mean {name}?"));
        let there = near.unwrap_or_else(|| format!("; it has {}", names.collect::<Vec<_>>().join(", ")));
        return Err(problem(&field, &format!("names {name:?}, and {} has no such threshold{there}", alert.name)));
    };
    let value = number(threshold, &value.0).map_err(|why| {
        problem(&format!("{field}.{name}"), &format!("is {}: {why}; its default is {}", value.0, told(threshold)))
    })?;
    Ok((threshold.name, value))
}

/// The value in the unit of its kind, or what should be written instead.
fn number(threshold: &Threshold, value: &Value) -> Result<f64, &'static str> {
    let text = value.as_str().map(str::trim);
    let plain = || value.as_f64().or_else(|| text.and_then(|text| text.parse().ok())).filter(|v: &f64| v.is_finite());
    let (found, wanted) = match threshold.kind {
        Kind::Ratio => {
            let percent = text.and_then(|text| text.strip_suffix('%')?.trim_end().parse::<f64>().ok());
            let share = percent.map(|percent| percent / 100.0).or_else(plain);
            (share.filter(|share| (0.0..=1.0).contains(share)), "write a share from 0 to 1, or a percentage as 5%")
        }
        Kind::Duration => {
            let duration = text.and_then(|text| text.parse::<PromDuration>().ok());
            let seconds = duration.map(|duration| duration.0.as_millis() as f64 / 1000.0);
            let held = threshold.name == crate::shipped::FOR;
            let longest = if held { LONGEST_FOR } else { LONGEST };
            let within = |seconds: &f64| (held || *seconds > 0.0) && *seconds <= longest;
            (seconds.filter(within), "write a duration as 500ms, 30s, 5m or 14d")
        }
        Kind::Count => {
            (plain().filter(|count| (0.0..=1e15).contains(count)), "write a number that is not below zero, as 1000")
        }
        Kind::Bytes => {
            let plain = plain().filter(|bytes| bytes.fract() == 0.0);
            let bytes = text.and_then(|text| drift::bytes(&Quantity(text.to_owned()))).map(|bytes| bytes as f64);
            (plain.or(bytes).filter(|bytes| (0.0..=1e18).contains(bytes)), "write a size as 512Mi or 10Gi")
        }
    };
    found.ok_or(wanted)
}

/// As a person would write it.
fn told(threshold: &Threshold) -> String {
    match threshold.kind {
        Kind::Duration => {
            PromDuration(std::time::Duration::from_millis((threshold.default * 1000.0) as u64)).to_string()
        }
        Kind::Ratio | Kind::Count => threshold.default.to_string(),
        Kind::Bytes => format!("{}Mi", threshold.default / 1_048_576.0),
    }
}

/// A warning must come before its critical alert.
fn out_of_order(alert: &Alert, settings: &Settings) -> Option<Problem> {
    let (_, tiers) = alert.tiers()?;
    let of = |severity: &str| {
        let tier = tiers.iter().find(|tier| tier.severity == severity)?;
        Some(settings.value(alert.name, severity).unwrap_or(tier.at))
    };
    let (warning, critical) = (of("warning")?, of("critical")?);
    let (wrong, side) = match alert.fires {
        Fires::Below(..) => (critical > warning, "above"),
        Fires::Above(..) | Fires::When(..) => (critical < warning, "below"),
    };
    let why = format!("has its critical threshold {side} the warning: set both, so that the warning comes first");
    wrong.then(|| problem(&format!("thresholds.{}", alert.name), &why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn checked(spec: Value) -> (Settings, Vec<String>) {
        let spec: RulesSpec = serde_json::from_value(spec).unwrap();
        let (settings, problems) = check(Some(&spec));
        (settings, problems.into_iter().map(|problem| problem.message).collect())
    }

    fn refused(spec: Value) -> String {
        let (settings, problems) = checked(spec);
        assert!(settings.thresholds.is_empty() && settings.disabled.is_empty(), "{settings:?}");
        assert_eq!(problems.len(), 1, "{problems:?}");
        problems.into_iter().next().unwrap()
    }

    #[test]
    fn an_unknown_name_is_named_with_those_near_it() {
        for (spec, words) in [
            (json!({"disabled": ["HPAMaxdOut"]}), vec!["disabled[0]", "\"HPAMaxdOut\"", "did you mean HPAMaxedOut?"]),
            (json!({"disabled": ["Replication"]}), vec!["ReplicationLag, ReplicationBacklog?"]),
            (json!({"disabled": ["node"]}), vec!["did you mean nodes,", "NodeCPUHigh"]),
            (json!({"disabled": ["Whatever"]}), vec!["no alert or group", "docs/runbooks/README.md"]),
            (json!({"include": ["database"]}), vec!["include[0]", "did you mean databases?"]),
            (json!({"include": ["HPAMaxedOut"]}), vec!["no group", "there are service, security"]),
            (json!({"thresholds": {"HighLatancy": {"warning": "1s"}}}), vec!["did you mean HighLatency?"]),
            (
                json!({"thresholds": {"HighLatency": {"warnin": "1s"}}}),
                vec!["HighLatency names \"warnin\"", "did you mean warning?"],
            ),
            (json!({"thresholds": {"HighLatency": {"p99": "1s"}}}), vec!["it has warning, critical, for"]),
        ] {
            let said = refused(spec);
            assert!(words.iter().all(|word| said.contains(word)), "{words:?} in {said}");
        }
    }

    #[test]
    fn a_value_of_the_wrong_kind_or_out_of_range_is_named() {
        for (alert, threshold, value, words) in [
            ("HighLatency", "warning", json!(0.5), "is 0.5: write a duration as 500ms"),
            ("HighLatency", "warning", json!("0s"), "is \"0s\""),
            ("HighLatency", "warning", json!({"a": 1}), "is {\"a\":1}"),
            ("HighLatency", "for", json!("31d"), "its default is 5m"),
            ("HighErrorRate", "critical", json!("150%"), "write a share from 0 to 1"),
            ("HighErrorRate", "critical", json!(true), "is true"),
            ("HighErrorRate", "critical", json!("500ms"), "its default is 0.1"),
            ("KafkaConsumerLag", "critical", json!(-1), "not below zero"),
            ("KafkaConsumerLag", "critical", json!("NaN"), "not below zero"),
            ("ReplicationBacklog", "warning", json!("64 potatoes"), "write a size as 512Mi"),
            ("ReplicationBacklog", "warning", json!(0.5), "its default is 64Mi"),
        ] {
            let said = refused(json!({"thresholds": {alert: {threshold: value}}}));
            assert!(said.contains(&format!("spec.rules.thresholds.{alert}.{threshold} ")), "{said}");
            assert!(said.contains(words), "{words} in {said}");
        }
    }

    #[test]
    fn values_are_read_in_every_notation() {
        for (alert, threshold, value, read) in [
            ("HighLatency", "warning", json!("500ms"), 0.5),
            ("HighErrorRate", "warning", json!("7.5%"), 0.075),
            ("HighErrorRate", "warning", json!("0.07"), 0.07),
            ("HighErrorRate", "warning", json!(0), 0.0),
            ("KafkaConsumerLag", "critical", json!("50000"), 50_000.0),
            ("ReplicationBacklog", "warning", json!("128Mi"), 134_217_728.0),
            ("ReplicationBacklog", "warning", json!(1024), 1024.0),
            ("CertificateExpiry", "warning", json!("30d"), 2_592_000.0),
            ("ApplicationDown", "for", json!("0s"), 0.0),
        ] {
            let (settings, problems) = checked(json!({"thresholds": {alert: {threshold: value}}}));
            assert_eq!((settings.value(alert, threshold), problems), (Some(read), vec![]), "{alert} {threshold}");
        }
    }

    #[test]
    fn a_warning_that_would_come_after_its_critical_alert_is_refused() {
        let said = refused(json!({"thresholds": {"HighLatency": {"warning": "3s"}}}));
        assert!(said.contains("thresholds.HighLatency has its critical threshold below the warning"), "{said}");
        let said = refused(json!({"thresholds": {"CacheHitRateLow": {"critical": "90%"}}}));
        assert!(said.contains("above the warning"), "{said}");
        assert_eq!(checked(json!({"thresholds": {"HighLatency": {"warning": "3s", "critical": "6s"}}})).1, [""; 0]);
    }

    #[test]
    fn what_is_wrong_does_not_take_the_rest_with_it() {
        let (settings, problems) = checked(json!({
            "disabled": ["nodes", "nope"], "runbooks": "https://wiki.example.com/runbooks/",
            "thresholds": {"HighLatency": {"warning": "500ms", "critical": 7}},
        }));
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(!settings.wants("nodes") && settings.value("HighLatency", "warning") == Some(0.5));
        assert_eq!(settings.runbooks, "https://wiki.example.com/runbooks");
    }
}
