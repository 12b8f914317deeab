//! Types that several kinds share.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, LocalObjectReference, ResourceRequirements, Toleration, TopologySpreadConstraint,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// What Go reads as a URL too, without credentials in it: Alertmanager refuses a whole configuration for one that it cannot
/// read.
pub const HTTP_URL: &str =
    r"^https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?([/?#]([^\s%]|%[0-9A-Fa-f]{2})*)?$";

/// A key of a Secret in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key within the Secret's data.
    #[schemars(regex(pattern = r"^[-._a-zA-Z0-9]+$"), length(min = 1, max = 253))]
    pub key: String,
}

/// What may be set on the pods of a component. Deliberately not a PodSpec.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodSettings {
    /// Compute resources of the main container. Default: requests that fit a small cluster, no limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "resources")]
    pub resources: Option<ResourceRequirements>,
    /// Labels that a node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the pods tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "list_of_objects")]
    pub tolerations: Vec<Toleration>,
    /// Scheduling constraints, as in a PodSpec. Default: replicas prefer different nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub affinity: Option<Affinity>,
    /// Topology spread constraints, as in a PodSpec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "list_of_objects")]
    pub topology_spread: Vec<TopologySpreadConstraint>,
    /// Name of the PriorityClass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority_class_name: Option<String>,
    /// Extra annotations of the pods.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Extra labels of the pods. Labels that Evenkeel sets win.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Secrets with credentials of an image registry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "names_of_secrets")]
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// Extra command line arguments of the main container. A flag that Evenkeel sets itself is refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extra_args: Vec<String>,
}

/// Of a container, without claims: every component has these, and a CRD must stay small.
fn resources(_: &mut SchemaGenerator) -> Schema {
    let quantities = |description| {
        serde_json::json!({
            "type": "object", "description": description, "additionalProperties": {"x-kubernetes-int-or-string": true},
        })
    };
    json_schema!({"type": "object", "properties": {
        "limits": quantities("The most that the container may use, for example memory: 1Gi."),
        "requests": quantities("What the scheduler sets aside for the container, for example cpu: 100m."),
    }})
}

fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

fn names_of_secrets(_: &mut SchemaGenerator) -> Schema {
    let name = serde_json::json!({"type": "string", "description": "Name of the Secret."});
    let item = serde_json::json!({"type": "object", "properties": {"name": name}, "required": ["name"]});
    json_schema!({"type": "array", "items": item})
}

fn list_of_objects(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}})
}

/// Schema of `status.conditions`: a map keyed by `type`, so that writers of single conditions do not collide.
pub fn conditions_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "description": "Ready, Reconciling and Stalled as kstatus reads them, and what else this kind reports.",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "reason", "message", "lastTransitionTime"],
            "properties": {
                "type": {"type": "string", "maxLength": 316, "description": "What is judged, CamelCase."},
                "status": {
                    "type": "string", "enum": ["True", "False", "Unknown"], "description": "The judgement.",
                },
                "reason": {
                    "type": "string", "minLength": 1, "maxLength": 1024,
                    "description": "The judgement's cause for programs, CamelCase.",
                },
                "message": {
                    "type": "string", "maxLength": 32768,
                    "description": "The judgement's cause for people, and what to do.",
                },
                "lastTransitionTime": {
                    "type": "string", "format": "date-time", "description": "When the status changed last.",
                },
                "observedGeneration": {
                    "type": "integer", "format": "int64", "minimum": 0,
                    "description": "The generation of the spec that was judged.",
                },
            },
        },
    })
}

/// Used with `#[schemars(schema_with = "conditions_schema")]` on every status.
pub type Conditions = Vec<Condition>;

/// Gives the CRD a default status of observedGeneration -1 with Reconciling=True, so that nothing looks current
/// (kstatus: no conditions at all is Current) before the operator has seen it.
pub fn default_status(crd: &mut CustomResourceDefinition) {
    for version in &mut crd.spec.versions {
        let status = version
            .schema
            .as_mut()
            .and_then(|s| s.open_api_v3_schema.as_mut())
            .and_then(|s| s.properties.as_mut())
            .and_then(|p| p.get_mut("status"));
        let Some(status) = status else { continue };
        status.default = Some(JSON(serde_json::json!({
            "observedGeneration": -1,
            "conditions": [{
                "type": "Reconciling", "status": "True", "reason": "NotSeenYet",
                "message": "the operator has not seen this object yet",
                "lastTransitionTime": "1970-01-01T00:00:00Z",
            }],
        })));
    }
}

/// Takes the line breaks of doc comments out of the descriptions: `kubectl explain` breaks lines itself. Paragraphs stay.
pub fn unwrap_descriptions(crd: &mut CustomResourceDefinition) {
    let schemas = crd.spec.versions.iter_mut().filter_map(|version| version.schema.as_mut());
    schemas.filter_map(|schema| schema.open_api_v3_schema.as_mut()).for_each(unwrap_description);
}

fn unwrap_description(schema: &mut JSONSchemaProps) {
    if let Some(text) = &mut schema.description {
        let paragraphs = text.split("\n\n").map(|paragraph| paragraph.replace('\n', " "));
        *text = paragraphs.collect::<Vec<_>>().join("\n\n");
    }
    schema.properties.iter_mut().flatten().for_each(|(_, field)| unwrap_description(field));
    if let Some(JSONSchemaPropsOrArray::Schema(item)) = &mut schema.items {
        unwrap_description(item);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(value)) = &mut schema.additional_properties {
        unwrap_description(value);
    }
}
