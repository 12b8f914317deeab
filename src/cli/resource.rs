//! Documents of Evenkeel's kinds, decoded strictly.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::cel::Rules;
use super::documents::Document;
use super::schema::{self, Fault, Shapes};
use crate::api::{
    self, AlertResponse, AlertRule, BudgetAdjustment, ChangeFreeze, ErrorBudgetPolicy, GROUP, MonitoringStack,
    NotificationChannel, ResponseRun, SLO,
};
use crate::k8s::meta::is_object_name;
use crate::nearest::nearest;

/// An object of one of Evenkeel's kinds. A new kind does not compile until it is handled.
#[derive(Clone, Debug)]
pub enum Resource {
    Stack(Box<MonitoringStack>),
    Rule(Box<AlertRule>),
    Response(Box<AlertResponse>),
    Run(Box<ResponseRun>),
    Channel(Box<NotificationChannel>),
    Slo(Box<SLO>),
    Policy(Box<ErrorBudgetPolicy>),
    Freeze(Box<ChangeFreeze>),
    Adjustment(Box<BudgetAdjustment>),
}

/// What became of a document of Evenkeel's group.
#[derive(Debug, Default)]
pub struct Decoded {
    /// Absent where the shape is wrong.
    pub resource: Option<Resource>,
    pub faults: Vec<Fault>,
}

impl Decoded {
    fn wrong(path: &str, message: String) -> Self {
        Self { resource: None, faults: vec![Fault::at(path, message)] }
    }
}

/// Reads documents by the schemas of this build.
pub struct Decoder {
    crds: Vec<CustomResourceDefinition>,
    shapes: Shapes,
    rules: Rules,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { crds: api::crds(), shapes: Shapes::default(), rules: Rules::default() }
    }
}

impl Decoder {
    /// `None` for objects of other groups, which are nobody's business here.
    pub fn decode(&mut self, document: &Document) -> Option<Decoded> {
        let value = &document.value;
        let (api_version, kind) = (value["apiVersion"].as_str().unwrap_or_default(), document.origin.kind.as_str());
        let crd = self.crds.iter().find(|crd| crd.spec.names.kind == kind);
        let ours = api_version.split('/').next() == Some(GROUP);
        let crd = match crd {
            Some(crd) if ours => crd,
            Some(_) if api_version.is_empty() => return Some(Decoded::wrong("apiVersion", "is required".into())),
            None if ours => {
                let known = self.crds.iter().map(|crd| crd.spec.names.kind.as_str());
                let hint = match nearest(known.clone(), kind) {
                    Some(near) => format!("did you mean {near}?"),
                    None => format!("there are {}", known.collect::<Vec<_>>().join(", ")),
                };
                return Some(Decoded::wrong("kind", format!("{GROUP} has no kind {kind}: {hint}")));
            }
            _ => return None,
        };
        let versions: Vec<_> = crd.spec.versions.iter().map(|version| format!("{GROUP}/{}", version.name)).collect();
        if !versions.iter().any(|version| version == api_version) {
            let message = format!("{api_version} is not served: write {}", versions.join(" or "));
            return Some(Decoded::wrong("apiVersion", message));
        }
        let mut faults = metadata(&value["metadata"]);
        let spec = schema::of(crd).and_then(|schema| schema.properties.as_ref()?.get("spec"));
        faults.extend(self.shapes.faults(spec, value));
        if !faults.is_empty() {
            return Some(Decoded { resource: None, faults });
        }
        if let Some(schema) = spec {
            faults = self.rules.faults(schema, &value["spec"], "spec");
        }
        let resource = match kind {
            "MonitoringStack" => typed(value, Resource::Stack),
            "AlertRule" => typed(value, Resource::Rule),
            "AlertResponse" => typed(value, Resource::Response),
            "ResponseRun" => typed(value, Resource::Run),
            "NotificationChannel" => typed(value, Resource::Channel),
            "SLO" => typed(value, Resource::Slo),
            "ErrorBudgetPolicy" => typed(value, Resource::Policy),
            "ChangeFreeze" => typed(value, Resource::Freeze),
            "BudgetAdjustment" => typed(value, Resource::Adjustment),
            other => Err(Fault::at("kind", format!("{other} cannot be checked by this build"))),
        };
        Some(match resource {
            Ok(resource) => Decoded { resource: Some(resource), faults },
            Err(fault) => Decoded { resource: None, faults: vec![fault] },
        })
    }
}

fn typed<K: DeserializeOwned>(value: &Value, wrap: fn(Box<K>) -> Resource) -> Result<Resource, Fault> {
    match serde_json::from_value(value.clone()) {
        Ok(object) => Ok(wrap(Box::new(object))),
        Err(error) => Err(Fault::at("spec", error.to_string())),
    }
}

/// Fields of ObjectMeta that a person writes.
const METADATA: [&str; 7] =
    ["name", "namespace", "labels", "annotations", "finalizers", "ownerReferences", "generateName"];
/// Fields that the API server writes, as in the output of `kubectl get -o yaml`.
const READ_ONLY: [&str; 8] = [
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "managedFields",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
];

fn metadata(value: &Value) -> Vec<Fault> {
    let mut faults = vec![];
    let mut push = |path: &str, message: String| faults.push(Fault::at(path, message));
    for field in value.as_object().into_iter().flat_map(|fields| fields.keys()) {
        if !METADATA.contains(&field.as_str()) && !READ_ONLY.contains(&field.as_str()) {
            push(&format!("metadata.{field}"), schema::unknown(METADATA.into_iter(), field));
        }
    }
    match serde_json::from_value::<ObjectMeta>(value.clone()) {
        Err(error) => push("metadata", error.to_string()),
        Ok(metadata) => match metadata.name.as_deref() {
            None => push("metadata.name", "is required".into()),
            Some(name) if !is_object_name(name) => push(
                "metadata.name",
                format!("{name:?} is not a name: lower-case letters, digits, - and . and at most 253 characters"),
            ),
            Some(_) => {}
        },
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::documents::parse;

    fn said(yaml: &str) -> Option<Vec<String>> {
        let document = parse("f.yaml", yaml).unwrap().remove(0);
        Some(Decoder::default().decode(&document)?.faults.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn objects_of_others_are_passed_over() {
        assert_eq!(said("{apiVersion: v1, kind: Namespace, metadata: {name: shop}}"), None);
        assert_eq!(said("{apiVersion: other.dev/v1, kind: AlertRule, metadata: {name: x}}"), None);
    }

    #[test]
    fn a_wrong_kind_or_version_is_named_with_the_right_one() {
        let kind = said("{apiVersion: evenkeel.dev/v1alpha1, kind: AlertRules, metadata: {name: x}}").unwrap();
        assert_eq!(kind, ["kind: evenkeel.dev has no kind AlertRules: did you mean AlertRule?"]);
        let version = said("{apiVersion: evenkeel.dev/v1, kind: AlertRule, metadata: {name: x}}").unwrap();
        assert_eq!(version, ["apiVersion: evenkeel.dev/v1 is not served: write evenkeel.dev/v1alpha1"]);
        assert_eq!(said("{kind: AlertRule, metadata: {name: x}}").unwrap(), ["apiVersion: is required"]);
    }

    #[test]
    fn metadata_is_read_strictly_too() {
        let metadata = "metadata: {name: Shop_1, namespce: shop, labels: {a: 1}}";
        let faults = said(&format!("{{apiVersion: evenkeel.dev/v1alpha1, kind: ResponseRun, {metadata}}}")).unwrap();
        assert_eq!(faults[0], "metadata.namespce: unknown field: did you mean namespace?");
        assert!(faults[1].starts_with("metadata: ") && faults[1].contains("string"), "{faults:?}");
    }
}
