//! What a drill needs and what it tells: the labels of an alert that an AlertResponse matches, and the story of a run.
//! Pure.

use std::collections::BTreeMap;
use std::fmt::Write;

use kube::ResourceExt;

use crate::api::alert_response::{AlertResponseSpec, StepAction};
use crate::api::response_run::{DRILL, ResponseRun};
use crate::matcher;
use crate::response::validate::validate;

/// Label by which one drill is told from another: each is an alert, and a run, of its own.
pub const DRILL_ID: &str = "evenkeel_drill_id";
/// Name of an alert whose AlertResponse asks for none.
const NAME: &str = "EvenkeelDrill";

/// Why no alert can be made that the AlertResponse matches.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LabelError {
    #[error("the AlertResponse matches no alert until it is changed: {0}")]
    Invalid(String),
    #[error(
        "matcher {matcher} does not hold for what is known: give its label a value that it takes, --label {name}=..."
    )]
    Matcher { matcher: String, name: String },
    #[error("{field} says that label {label} names the {what}: give --label {label}=...")]
    Named { field: &'static str, label: String, what: &'static str },
    #[error("--label {0:?}: write it as name=value")]
    Pair(String),
}

/// `name=value`.
pub fn pair(text: &str) -> Result<(String, String), LabelError> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(LabelError::Pair(text.to_owned())),
    }
}

/// Labels of an alert that this AlertResponse matches: what is given, its alert name, and the values of its matchers of
/// equality.
pub fn labels(
    spec: &AlertResponseSpec,
    given: &BTreeMap<String, String>,
    id: &str,
) -> Result<BTreeMap<String, String>, LabelError> {
    validate(spec).map_err(|invalid| LabelError::Invalid(invalid.to_string()))?;
    // Validated above.
    let parse = |text: &String| matcher::parse(text).unwrap_or_default();
    let matchers: Vec<_> = spec.match_.matchers.iter().flat_map(parse).collect();
    let mut labels = given.clone();
    if let Some(alert) = spec.match_.alert.as_ref().filter(|alert| !alert.is_empty()) {
        labels.insert("alertname".to_owned(), alert.clone());
    }
    for (name, value) in matchers.iter().filter_map(matcher::Matcher::wanted) {
        labels.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    }
    labels.entry("alertname".to_owned()).or_insert_with(|| NAME.to_owned());
    labels.extend([(DRILL.to_owned(), "true".to_owned()), (DRILL_ID.to_owned(), id.to_owned())]);
    labels.retain(|_, value| !value.is_empty());
    for text in &spec.match_.matchers {
        if let Some(failing) = parse(text).iter().find(|matcher| !matcher.matches(&labels)) {
            return Err(LabelError::Matcher { matcher: text.clone(), name: failing.name().to_owned() });
        }
    }
    let named = |field, label: &str, what| match labels.contains_key(label) {
        true => Ok(()),
        false => Err(LabelError::Named { field, label: label.to_owned(), what }),
    };
    if let (None, Some(label)) = (&spec.target.name, &spec.target.name_from_label) {
        named("target.nameFromLabel", label, "workload")?;
    }
    let steps = spec.steps.iter().chain(spec.fallback.iter().flat_map(|fallback| &fallback.steps));
    for step in steps {
        if let Some(StepAction::DeletePod(pod)) = step.action() {
            named("deletePod.nameFromLabel", &pod.name_from_label, "pod")?;
        }
    }
    Ok(labels)
}

/// What became of a drill, for the person who waits for it.
pub fn story(run: &ResponseRun) -> String {
    let status = run.status.clone().unwrap_or_default();
    let (spec, alert) = (&run.spec, &run.spec.alert);
    let pairs = alert.labels.iter().map(|(name, value)| format!("{name}={value:?}"));
    let mut text = format!(
        "Drill of AlertResponse {}/{}: nothing was touched, nobody was told.\n\nRun      {}\nAlert    {}{{{}}}\nTarget   {}\nMode     {:?}\n",
        run.namespace().unwrap_or_default(),
        spec.response_ref.name,
        run.name_any(),
        alert.name,
        pairs.collect::<Vec<_>>().join(", "),
        spec.target.reference(),
        spec.mode,
    );
    text.push_str("\nGuards\n");
    for guard in &status.guards {
        let word = if guard.passed { "yes" } else { "no " };
        let line = format!("  {word}  {}: {}", guard.name, guard.message);
        // Writing to a String does not fail.
        let _ = writeln!(text, "{}", line.trim_end_matches([' ', ':']));
    }
    text.push_str("\nSteps\n");
    for (number, step) in status.steps.iter().enumerate() {
        let _ = writeln!(text, "  {}  {}: {}", number + 1, step.name, step.message);
        for evidence in &step.evidence {
            let _ = writeln!(text, "       - {evidence}");
        }
    }
    for (number, fallback) in spec.fallback.iter().enumerate() {
        let names: Vec<_> =
            fallback.steps.iter().filter_map(|step| step.action()).map(|action| action.name()).collect();
        let _ = writeln!(text, "  then, if that does not help, fallback {}: {}", number + 1, names.join(", "));
    }
    if !status.phase.is_closed() {
        let _ = writeln!(text, "\nThe run is still {}: kubectl describe run {}", status.phase.as_str(), run.name_any());
    } else {
        let _ = writeln!(text, "\n{}", status.message);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn spec(match_: &str, rest: &str) -> AlertResponseSpec {
        let yaml = format!("{{match: {match_}, target: {{name: web}}, steps: [{{restart: {{}}}}]{rest}}}");
        serde_saphyr::from_str(&yaml).unwrap()
    }

    fn asked(match_: &str, given: &[&str]) -> Result<BTreeMap<String, String>, LabelError> {
        labels(&spec(match_, ""), &given.iter().map(|text| pair(text).unwrap()).collect(), "7")
    }

    #[test]
    fn the_alert_gets_every_label_that_the_response_asks_for() {
        let labels = asked(
            r#"{alert: Slow, matchers: ['severity="page", team!="infra"', 'region=~"eu-.*"']}"#,
            &["region=eu-1"],
        );
        let expected = [
            ("alertname", "Slow"),
            ("evenkeel_drill", "true"),
            ("evenkeel_drill_id", "7"),
            ("region", "eu-1"),
            ("severity", "page"),
        ];
        let expected = expected.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        assert_eq!(labels, Ok(expected));
        assert_eq!(asked(r#"{matchers: ['severity="page"']}"#, &[]).unwrap()["alertname"], "EvenkeelDrill");
        // An equality with the empty value asks for no label.
        assert!(!asked(r#"{alert: A, matchers: ['team=""']}"#, &[]).unwrap().contains_key("team"));
    }

    #[test]
    fn what_cannot_be_guessed_is_asked_for() {
        for (match_, given) in [
            (r#"{alert: A, matchers: ['region=~"eu-.*"']}"#, &[][..]),
            (r#"{alert: A, matchers: ['region!=""']}"#, &[]),
            (r#"{alert: A, matchers: ['region="eu"']}"#, &["region=us"]),
        ] {
            let error = asked(match_, given).unwrap_err().to_string();
            assert!(error.ends_with("--label region=..."), "{error}");
        }
        let mut by_label = spec("{alert: A}", "");
        (by_label.target.name, by_label.target.name_from_label) = (None, Some("deployment".into()));
        let error = labels(&by_label, &BTreeMap::new(), "7").unwrap_err().to_string();
        assert!(error.contains("--label deployment=...") && error.contains("the workload"), "{error}");
        let by_pod: AlertResponseSpec =
            serde_saphyr::from_str("{match: {alert: A}, target: {name: web}, steps: [{deletePod: {}}]}").unwrap();
        assert!(labels(&by_pod, &BTreeMap::new(), "7").unwrap_err().to_string().contains("--label pod=..."));
        assert!(pair("region").is_err());
    }

    #[test]
    fn the_story_tells_guards_steps_and_evidence() {
        let run: ResponseRun = serde_json::from_value(json!({
            "apiVersion": "evenkeel.dev/v1alpha1", "kind": "ResponseRun",
            "metadata": {"name": "fix-1", "namespace": "shop", "uid": "uid-1"},
            "spec": {
                "responseRef": {"name": "fix", "uid": "u", "generation": 1}, "drill": true,
                "alert": {"name": "Slow", "fingerprint": "f", "labels": {"alertname": "Slow"}},
                "target": {"kind": "Deployment", "name": "web"}, "mode": "Act", "attempt": 1,
                "steps": [{"rollback": {}}], "fallback": [{"steps": [{"restart": {}}, {"diagnose": {}}]}],
            },
            "status": {
                "phase": "Observed", "message": "DRILL: would not act: run fix-0 acted 2m ago",
                "guards": [{"name": "NotPaused", "passed": true}, {"name": "Cooldown", "passed": false, "message": "run fix-0 acted 2m ago"}],
                "steps": [{"name": "rollback", "state": "Observed", "message": "would roll back to revision 3", "evidence": ["changed 4m before"]}],
            },
        }))
        .unwrap();
        assert_eq!(
            story(&run),
            r#"Drill of AlertResponse shop/fix: nothing was touched, nobody was told.

Run      fix-1
Alert    Slow{alertname="Slow"}
Target   Deployment/web
Mode     Act

Guards
  yes  NotPaused
  no   Cooldown: run fix-0 acted 2m ago

Steps
  1  rollback: would roll back to revision 3
       - changed 4m before
  then, if that does not help, fallback 1: restart, diagnose

DRILL: would not act: run fix-0 acted 2m ago
"#
        );
    }
}
