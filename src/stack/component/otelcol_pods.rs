//! Which pods are read, by their labels and by their own word. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::otelcol_config::{Conditions, Filter, Processor};
use super::ottl::{quote, resource};

/// A pod's own word that it is not to be read.
pub const OPT_OUT: &str = "evenkeel.logs";

/// What is asked of the pods' labels: key, operator, values.
fn requirements(selector: Option<&LabelSelector>) -> Vec<(&str, &str, Vec<&str>)> {
    let Some(selector) = selector else { return vec![] };
    let equal = selector.match_labels.iter().flatten().map(|(key, value)| (key.as_str(), "In", vec![value.as_str()]));
    let others = selector.match_expressions.iter().flatten().map(|requirement| {
        let values = requirement.values.iter().flatten().map(String::as_str).collect();
        (requirement.key.as_str(), requirement.operator.as_str(), values)
    });
    equal.chain(others).collect()
}

/// Labels that the selection needs: the field that they become, and their keys.
pub fn select(selector: Option<&LabelSelector>) -> impl Iterator<Item = (String, &str)> {
    requirements(selector).into_iter().enumerate().map(|(index, (key, _, _))| (tag(index), key))
}

fn tag(index: usize) -> String {
    format!("evenkeel.select.{index}")
}

/// Drops what is not selected. A pod that Kubernetes does not know any more is read: rather too much than a loss.
pub fn filter(selector: Option<&LabelSelector>) -> Processor {
    let known = format!("{} != nil", resource("k8s.node.name"));
    let mut conditions = vec![format!("{} == \"false\"", resource(OPT_OUT))];
    for (index, (_, operator, values)) in requirements(selector).into_iter().enumerate() {
        let label = resource(&tag(index));
        let equal = |sign: &str, word: &str| {
            values.iter().map(|value| format!("{label} {sign} {}", quote(value))).collect::<Vec<_>>().join(word)
        };
        let wrong = match operator {
            "In" => equal("!=", " and "),
            "NotIn" => equal("==", " or "),
            "Exists" => format!("{label} == nil"),
            _ => format!("{label} != nil"),
        };
        conditions.push(format!("{known} and ({wrong})"));
    }
    let log_conditions = vec![Conditions { context: "resource", conditions }];
    Processor::Filter(Filter { error_mode: "silent", log_conditions })
}
