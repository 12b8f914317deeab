//! Collecting evidence into a ConfigMap. It is written once, as a record, and goes away with its run.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

use super::{MARK, Plan, is_marked, mark};
use crate::api::response_run::{DiagnoseIntent, Intent, ResponseRun};
use crate::k8s::meta::{MANAGED_BY, Owner, bounded};
use crate::response::evidence::Part;
use crate::response::run::Errand;

/// Longest name of a ConfigMap.
const MAX_NAME: usize = 253;
/// Most bytes of all parts together: the API server takes 1 MiB for one object.
pub const MOST: usize = 900 << 10;
/// Annotation: how many parts there are, and how many are cut.
const PARTS: &str = "evenkeel.dev/parts";

pub fn plan(run: &ResponseRun, number: usize) -> Plan {
    let intent = DiagnoseIntent { config_map: name(run, number) };
    Plan::Do {
        summary: format!("collect evidence into ConfigMap/{}", intent.config_map),
        intent: Intent { diagnose: Some(intent), ..Intent::default() },
        evidence: vec![],
    }
}

fn name(run: &ResponseRun, number: usize) -> String {
    let suffix = format!("-diagnosis-{}", number + 1);
    format!("{}{suffix}", bounded(&run.name_any(), MAX_NAME - suffix.len()))
}

/// The record. Parts for which there is no room any more are named in the last one.
pub fn config_map(intent: &DiagnoseIntent, run: &ResponseRun, number: usize, parts: Vec<Part>) -> ConfigMap {
    let (mut data, mut room, mut left_out) = (BTreeMap::new(), MOST, vec![]);
    for Part { key, text } in parts {
        let size = key.len() + text.len();
        if size > room {
            left_out.push(key);
            continue;
        }
        room -= size;
        data.insert(key, text);
    }
    if !left_out.is_empty() {
        data.insert("left-out.txt".to_owned(), format!("There was no room for {}.\n", left_out.join(", ")));
    }
    let labels = [
        ("app.kubernetes.io/managed-by".to_owned(), MANAGED_BY.to_owned()),
        ("app.kubernetes.io/part-of".to_owned(), MANAGED_BY.to_owned()),
        ("app.kubernetes.io/component".to_owned(), "diagnosis".to_owned()),
    ];
    let annotations = [(MARK.to_owned(), mark(run, number)), (PARTS.to_owned(), data.len().to_string())];
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(intent.config_map.clone()),
            namespace: run.namespace(),
            labels: Some(labels.into()),
            annotations: Some(annotations.into()),
            owner_references: Owner::of(run).map(|owner| vec![owner.loose_reference()]),
            ..ObjectMeta::default()
        },
        data: Some(data),
        // A record does not change.
        immutable: Some(true),
        ..ConfigMap::default()
    }
}

/// What was done, if this is the record that the step made; else why it cannot be made.
pub fn found(annotated: &impl kube::Resource, run: &ResponseRun, number: usize) -> Result<Errand, String> {
    let (name, namespace) = (annotated.name_any(), run.namespace().unwrap_or_default());
    if !is_marked(annotated.meta(), &mark(run, number)) {
        return Err(format!(
            "there is a ConfigMap {name} already, which this step did not make (annotation {MARK}): delete or rename it"
        ));
    }
    let parts = annotated.annotations().get(PARTS).map_or("its", String::as_str);
    Ok(Errand::Done {
        effect: format!(
            "collected {parts} parts into ConfigMap {namespace}/{name} (kubectl get configmap -n {namespace} {name} -o yaml)"
        ),
        evidence: vec![],
        reference: Some(name),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run() -> ResponseRun {
        serde_json::from_value(json!({
            "apiVersion": "evenkeel.dev/v1alpha1", "kind": "ResponseRun",
            "metadata": {"name": "fix-1", "namespace": "shop", "uid": "uid-1"},
            "spec": {
                "responseRef": {"name": "fix", "uid": "u", "generation": 1}, "alert": {"name": "A", "fingerprint": "f"},
                "target": {"kind": "Deployment", "name": "web"}, "mode": "Act", "steps": [{"diagnose": {}}], "attempt": 1,
            },
        }))
        .unwrap()
    }

    fn made(parts: Vec<Part>) -> ConfigMap {
        let Plan::Do { intent, .. } = plan(&run(), 0) else { panic!("a plan") };
        config_map(&intent.diagnose.unwrap(), &run(), 0, parts)
    }

    #[test]
    fn the_record_goes_with_the_run_and_is_recognised_by_its_mark() {
        let part = |key: &str| Part { key: key.into(), text: "x".into() };
        let mut map = made(vec![part("pods.txt"), part("events.txt")]);
        assert_eq!((map.name_any().as_str(), map.owner_references()[0].uid.as_str()), ("fix-1-diagnosis-1", "uid-1"));
        let Ok(Errand::Done { effect, reference, .. }) = found(&map, &run(), 0) else { panic!("found") };
        assert_eq!(
            effect,
            "collected 2 parts into ConfigMap shop/fix-1-diagnosis-1 (kubectl get configmap -n shop fix-1-diagnosis-1 -o yaml)"
        );
        assert_eq!(reference.as_deref(), Some("fix-1-diagnosis-1"));
        map.annotations_mut().insert(MARK.into(), "uid-1/2".into());
        assert!(found(&map, &run(), 0).unwrap_err().contains("did not make"));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let part = |key: &str, size: usize| Part { key: key.into(), text: "x".repeat(size) };
        let data = made(vec![part("a", MOST - 100), part("b", 200), part("c", 10)]).data.unwrap();
        assert_eq!(data.keys().collect::<Vec<_>>(), ["a", "c", "left-out.txt"]);
        assert_eq!(data["left-out.txt"], "There was no room for b.\n");
    }
}
