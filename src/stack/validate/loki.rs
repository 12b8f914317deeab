//! What may be written about Loki. Pure.

use promql_parser::parser::Expr;

use super::{Known, Problem, Refused, is_label_name, reserved_flags};
use crate::api::duration::PromDuration;
use crate::api::monitoring_stack::{LokiSpec, StreamRetention};
use crate::rule::promql;
use crate::stack::component::loki;
use crate::stack::names::LOKI;
use crate::stack::storage::Data;

/// The shortest retention of single streams that Loki takes.
const SHORTEST: PromDuration = PromDuration::from_mins(24 * 60);

/// Loki, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Loki {
    pub spec: LokiSpec,
    pub data: Data,
    /// Claims to be asked for the size in `data`.
    pub grow: Vec<String>,
}

/// The checked part; what is wrong and can be left out goes to `problems`.
pub fn check(spec: &LokiSpec, known: &Known, problems: &mut Vec<Problem>) -> Result<Loki, Refused> {
    reserved_flags(LOKI, spec.pod.as_ref(), &loki::FLAGS)?;
    for (index, stream) in spec.streams.iter().enumerate() {
        // Not left out: logs that should be kept longer than the others would be deleted.
        check_stream(index, stream)?;
    }
    for (name, reference) in spec.secret_refs() {
        let missing = known.secrets.missing(&format!("spec.loki.objectStore.{name}"), reference);
        problems.extend(missing.map(|message| Problem { reason: "LokiSecretMissing", message }));
    }
    let (data, grow) = super::check_storage(LOKI, LOKI, Data::of(spec.storage.as_ref()), known, problems);
    Ok(Loki { spec: spec.clone(), data, grow })
}

/// What Loki would refuse, and not start.
fn check_stream(index: usize, stream: &StreamRetention) -> Result<(), Refused> {
    let refused = |field: &str, value: String, why: String| {
        Err(Refused::Field { field: format!("loki.streams[{index}].{field}"), value, why })
    };
    if stream.retention < SHORTEST {
        return refused(
            "retention",
            stream.retention.to_string(),
            "is less than 24h, the least that Loki takes".into(),
        );
    }
    match selector_fault(&stream.selector) {
        Some(why) => refused("selector", stream.selector.clone(), why),
        None => Ok(()),
    }
}

/// Selectors of LogQL are those of PromQL without a name of a metric.
fn selector_fault(selector: &str) -> Option<String> {
    let selector = selector.trim();
    const EXAMPLE: &str = "write one like {namespace=\"shop\", stream=\"errors\"}";
    if !(selector.starts_with('{') && selector.ends_with('}')) {
        return Some(format!("is no stream selector: {EXAMPLE}"));
    }
    match promql::tree(selector) {
        Err(error) => Some(format!("is no stream selector: {}", error.message)),
        Ok(Expr::VectorSelector(vector)) => {
            let odd = vector.matchers.matchers.iter().find(|matcher| !is_label_name(&matcher.name));
            match odd {
                Some(matcher) => Some(format!("has {:?}, which is not a label of Loki", matcher.name)),
                None if !vector.matchers.or_matchers.is_empty() => {
                    Some("has an or, which Loki does not know: write one entry for each".to_owned())
                }
                None => None,
            }
        }
        Ok(_) => Some(format!("is no stream selector: {EXAMPLE}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn known(secrets: crate::stack::routes::Secrets) -> Known {
        Known { secrets, ..Known::offline() }
    }

    fn checked(spec: serde_json::Value) -> Result<Vec<Problem>, String> {
        let spec = serde_json::from_value(spec).unwrap();
        let mut problems = vec![];
        let known = known(crate::stack::routes::Secrets::Known(Default::default()));
        check(&spec, &known, &mut problems).map(|_| problems).map_err(|refused| refused.to_string())
    }

    #[test]
    fn selectors_of_streams_are_those_that_loki_takes() {
        for good in ["{namespace=\"shop\"}", "{namespace=~\"a|b\", stream!=\"logs\"}", " {pod=~`x.+`} "] {
            assert_eq!(selector_fault(good), None, "{good}");
        }
        for bad in ["shop", "{}", "{a=\"\"}", "{namespace=\"shop\"} |= \"x\"", "{a=~\"(\"}", "{a=\"b\" or c=\"d\"}"] {
            assert!(selector_fault(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn a_stream_that_loki_would_not_take_refuses_the_stack_since_its_logs_would_be_deleted() {
        let why = checked(json!({"streams": [{"selector": "{a=\"b\"}", "retention": "12h"}]})).unwrap_err();
        assert_eq!(why, "spec.loki.streams[0].retention \"12h\" is less than 24h, the least that Loki takes");
        let why = checked(json!({"streams": [{"selector": "nope", "retention": "7d"}]})).unwrap_err();
        assert!(why.starts_with("spec.loki.streams[0].selector \"nope\" is no stream selector"), "{why}");
    }

    #[test]
    fn a_secret_that_is_missing_is_named() {
        let reference = |key: &str| json!({"name": "s3", "key": key});
        let problems = checked(json!({"objectStore": {"bucket": "logs",
            "accessKeyIdSecretRef": reference("id"), "secretAccessKeySecretRef": reference("key")}}))
        .unwrap();
        assert_eq!(problems.len(), 2);
        assert_eq!(
            problems[0].message,
            "spec.loki.objectStore.accessKeyIdSecretRef refers to Secret s3, which does not exist"
        );
    }

    #[test]
    fn flags_that_evenkeel_sets_stay_its_own() {
        let why = checked(json!({"pod": {"extraArgs": ["-target=read"]}})).unwrap_err();
        assert!(why.contains("spec.loki.pod.extraArgs has -target=read"), "{why}");
    }
}
