//! What the API server would say of an object's shape: the CRD's own schema, applied offline. An unknown field is an
//! error here (`kubectl apply` drops or warns). Rules in CEL are `cel`'s business.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use regex::Regex;
use serde_json::Value;

use crate::nearest::nearest;

/// One thing that is wrong, and where: `spec.rules[1].expr`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Empty where the message itself names the fields.
    pub path: String,
    pub message: String,
}

impl Fault {
    /// A fault of one field.
    pub fn at(path: &str, message: String) -> Self {
        Self { path: path.to_owned(), message }
    }

    /// A fault whose message names the fields.
    pub fn whole(message: String) -> Self {
        Self { path: String::new(), message }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// The schema of the version that is stored.
pub fn of(crd: &CustomResourceDefinition) -> Option<&JSONSchemaProps> {
    let version = crd.spec.versions.iter().find(|version| version.storage)?;
    version.schema.as_ref()?.open_api_v3_schema.as_ref()
}

/// Looks at objects, and remembers the patterns of schemas: files repeat kinds.
#[derive(Default)]
pub struct Shapes {
    patterns: HashMap<String, Option<Regex>>,
    faults: Vec<Fault>,
}

impl Shapes {
    /// Everything in `object` that does not fit, given the schema of `spec`. `apiVersion`, `kind`, `metadata` and
    /// `status` are not looked at.
    pub fn faults(&mut self, spec: Option<&JSONSchemaProps>, object: &Value) -> Vec<Fault> {
        let Some(fields) = object.as_object() else { return vec![] };
        let known = ["apiVersion", "kind", "metadata", "spec", "status"];
        for name in fields.keys().filter(|name| !known.contains(&name.as_str())) {
            self.push(name, unknown(known.into_iter(), name));
        }
        match (spec, fields.get("spec")) {
            (Some(schema), Some(spec)) => self.walk(schema, spec, "spec"),
            (Some(_), None) => self.push("spec", "is required".into()),
            (None, _) => {}
        }
        std::mem::take(&mut self.faults)
    }

    fn push(&mut self, path: &str, message: String) {
        self.faults.push(Fault::at(path, message));
    }

    fn walk(&mut self, schema: &JSONSchemaProps, value: &Value, path: &str) {
        if value.is_null() {
            if schema.nullable != Some(true) {
                self.push(path, "is empty".into());
            }
            return;
        }
        if schema.x_kubernetes_int_or_string == Some(true) {
            if !value.is_i64() && !value.is_string() {
                self.push(path, format!("{value} is neither a whole number nor text"));
            }
            return;
        }
        if let Some(wanted) = schema.type_.as_deref()
            && !is_of(wanted, value)
        {
            return self.push(path, format!("{} is not {}", shortened(value), article(wanted)));
        }
        if let Some(allowed) = &schema.enum_
            && !allowed.iter().any(|allowed| allowed.0 == *value)
        {
            let allowed: Vec<_> = allowed.iter().map(|allowed| words(&allowed.0)).collect();
            let near = value.as_str().and_then(|text| nearest(allowed.iter().map(String::as_str), text));
            let hint =
                near.map_or_else(|| format!("one of {}", allowed.join(", ")), |near| format!("did you mean {near}?"));
            self.push(path, format!("{} is not allowed: {hint}", shortened(value)));
        }
        match value {
            Value::Object(fields) => self.object(schema, fields, path),
            Value::Array(items) => self.list(schema, items, path),
            Value::String(text) => self.string(schema, text, path),
            Value::Number(number) => {
                let number = number.as_f64().unwrap_or_default();
                if schema.minimum.is_some_and(|minimum| number < minimum) {
                    self.push(path, format!("{value} is less than {}", schema.minimum.unwrap_or_default()));
                }
                if schema.maximum.is_some_and(|maximum| number > maximum) {
                    self.push(path, format!("{value} is more than {}", schema.maximum.unwrap_or_default()));
                }
            }
            Value::Bool(_) | Value::Null => {}
        }
    }

    fn object(&mut self, schema: &JSONSchemaProps, fields: &serde_json::Map<String, Value>, path: &str) {
        let none = BTreeMap::new();
        let properties = schema.properties.as_ref().unwrap_or(&none);
        for (name, value) in fields {
            let at = format!("{path}.{name}");
            match (properties.get(name), &schema.additional_properties) {
                (Some(schema), _) => self.walk(schema, value, &at),
                (None, Some(JSONSchemaPropsOrBool::Schema(schema))) => self.walk(schema, value, &at),
                (None, Some(JSONSchemaPropsOrBool::Bool(true))) => {}
                (None, _) if schema.x_kubernetes_preserve_unknown_fields == Some(true) => {}
                (None, _) => self.push(&at, unknown(properties.keys().map(String::as_str), name)),
            }
        }
        for name in schema.required.iter().flatten().filter(|name| !fields.contains_key(*name)) {
            self.push(&format!("{path}.{name}"), "is required".into());
        }
    }

    fn list(&mut self, schema: &JSONSchemaProps, items: &[Value], path: &str) {
        let count = i64::try_from(items.len()).unwrap_or(i64::MAX);
        if schema.min_items.is_some_and(|minimum| count < minimum) {
            self.push(path, format!("has {count} items, at least {} are needed", schema.min_items.unwrap_or_default()));
        }
        if schema.max_items.is_some_and(|maximum| count > maximum) {
            self.push(path, format!("has {count} items, at most {} are allowed", schema.max_items.unwrap_or_default()));
        }
        if let Some(JSONSchemaPropsOrArray::Schema(schema)) = &schema.items {
            for (index, item) in items.iter().enumerate() {
                self.walk(schema, item, &format!("{path}[{index}]"));
            }
        }
    }

    fn string(&mut self, schema: &JSONSchemaProps, text: &str, path: &str) {
        let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
        if schema.min_length.is_some_and(|minimum| length < minimum) {
            self.push(path, "is too short".into());
        }
        if schema.max_length.is_some_and(|maximum| length > maximum) {
            let maximum = schema.max_length.unwrap_or_default();
            self.push(path, format!("has {length} characters, at most {maximum} are allowed"));
        }
        if let Some(pattern) = &schema.pattern
            && self.refuses(pattern, text)
        {
            self.push(path, format!("{text:?} does not match {pattern}"));
        }
        if schema.format.as_deref() == Some("date-time") && text.parse::<jiff::Timestamp>().is_err() {
            self.push(path, format!("{text:?} is no time such as 2026-11-30T08:00:00Z"));
        }
    }

    fn refuses(&mut self, pattern: &str, text: &str) -> bool {
        if !self.patterns.contains_key(pattern) {
            self.patterns.insert(pattern.to_owned(), Regex::new(pattern).ok());
        }
        self.patterns[pattern].as_ref().is_some_and(|regex| !regex.is_match(text))
    }
}

fn is_of(wanted: &str, value: &Value) -> bool {
    match wanted {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        _ => true,
    }
}

fn article(type_: &str) -> &str {
    match type_ {
        "object" => "a map of fields",
        "array" => "a list",
        "string" => "text (quote it?)",
        "boolean" => "true or false",
        "integer" => "a whole number",
        other => other,
    }
}

/// A value as the author wrote it, more or less.
fn words(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

fn shortened(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 60 { text } else { format!("{}…", text.chars().take(59).collect::<String>()) }
}

/// Says that `name` is unknown, with the known name it resembles, or all of them when they are few.
pub fn unknown<'a>(known: impl Iterator<Item = &'a str> + Clone, name: &str) -> String {
    if let Some(near) = nearest(known.clone(), name) {
        return format!("unknown field: did you mean {near}?");
    }
    let known: Vec<_> = known.collect();
    match known.len() {
        0 => "unknown field: there are none here".into(),
        1..=12 => format!("unknown field: there are {}", known.join(", ")),
        _ => "unknown field".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schema() -> JSONSchemaProps {
        serde_json::from_value(json!({"type": "object", "properties": {"spec": {
            "type": "object", "required": ["match"], "properties": {
                "match": {"type": "string", "minLength": 1},
                "mode": {"type": "string", "enum": ["Observe", "Act"]},
                "replicas": {"type": "integer", "minimum": 1.0, "maximum": 5.0},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "affinity": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                "steps": {"type": "array", "maxItems": 2, "items": {"type": "object", "properties": {
                    "restart": {"type": "object"}}}},
            },
        }}}))
        .unwrap()
    }

    fn said(object: Value) -> Vec<String> {
        Shapes::default()
            .faults(schema().properties.as_ref().unwrap().get("spec"), &object)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn an_object_in_order_has_no_faults() {
        let spec = json!({"match": "x", "mode": "Act", "replicas": 5, "labels": {"any": "thing"},
            "affinity": {"whatever": [1]}, "steps": [{"restart": {}}]});
        assert_eq!(said(json!({"apiVersion": "x", "kind": "y", "metadata": {}, "spec": spec})), Vec::<String>::new());
    }

    #[test]
    fn unknown_fields_are_named_with_their_path_and_the_name_they_resemble() {
        let spec = json!({"match": "x", "mdoe": "Act", "steps": [{}, {"Restart": {}}], "zebra": 1});
        assert_eq!(
            said(json!({"spec": spec, "sepc": {}})),
            [
                "sepc: unknown field: did you mean spec?",
                "spec.mdoe: unknown field: did you mean mode?",
                "spec.steps[1].Restart: unknown field: did you mean restart?",
                "spec.zebra: unknown field: there are affinity, labels, match, mode, replicas, steps",
            ]
        );
    }

    #[test]
    fn wrong_values_are_named_with_what_is_allowed() {
        let spec = json!({"match": "", "mode": "act", "replicas": 6, "labels": {"a": 1}, "steps": [{}, {}, 3]});
        assert_eq!(
            said(json!({"spec": spec})),
            [
                "spec.labels.a: 1 is not text (quote it?)",
                "spec.match: is too short",
                "spec.mode: \"act\" is not allowed: did you mean Act?",
                "spec.replicas: 6 is more than 5",
                "spec.steps: has 3 items, at most 2 are allowed",
                "spec.steps[2]: 3 is not a map of fields",
            ]
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(said(json!({"spec": {}})), ["spec.match: is required"]);
        assert_eq!(said(json!({})), ["spec: is required"]);
    }
}
