//! The CEL rules of the CRDs, applied offline: what the API server would say of an object whose shape is right. Rules
//! about a change (`oldSelf`) are passed over: there is no old object.

use std::collections::HashMap;
use std::sync::Arc;

use cel::objects::{Key, Map};
use cel::{Context, Env, Program};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool, ValidationRule,
};
use serde_json::Value;

use super::schema::Fault;

/// Words of CEL that cannot be the name of a field: the API server writes `__for__` for `for`.
const RESERVED: [&str; 22] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "false",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "namespace",
    "null",
    "package",
    "return",
    "true",
    "var",
    "void",
    "while",
    "with",
];

/// Compiled rules by their text: files repeat kinds.
pub struct Rules {
    env: Arc<Env>,
    programs: HashMap<String, Option<Program>>,
}

impl Default for Rules {
    fn default() -> Self {
        Self { env: Arc::new(Env::stdlib()), programs: HashMap::new() }
    }
}

impl Rules {
    /// Everything that a rule of `schema` refuses in `value`, which stands at `path` and fits the schema.
    pub fn faults(&mut self, schema: &JSONSchemaProps, value: &Value, path: &str) -> Vec<Fault> {
        let mut faults = vec![];
        self.walk(schema, &defaulted(schema, value), path, &mut faults);
        faults
    }

    fn walk(&mut self, schema: &JSONSchemaProps, value: &Value, path: &str, faults: &mut Vec<Fault>) {
        for rule in schema.x_kubernetes_validations.iter().flatten() {
            if self.holds(rule, schema, value) == Some(false) {
                let message = rule.message.clone().unwrap_or_else(|| format!("must satisfy {}", rule.rule));
                faults.push(Fault::at(path, message));
            }
        }
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    if let Some(schema) = field(schema, name) {
                        self.walk(schema, value, &format!("{path}.{name}"), faults);
                    }
                }
            }
            Value::Array(items) => {
                let Some(JSONSchemaPropsOrArray::Schema(schema)) = &schema.items else { return };
                for (index, item) in items.iter().enumerate() {
                    self.walk(schema, item, &format!("{path}[{index}]"), faults);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// `None` when it cannot be told here; the API server will.
    fn holds(&mut self, rule: &ValidationRule, schema: &JSONSchemaProps, value: &Value) -> Option<bool> {
        if rule.rule.contains("oldSelf") {
            return None;
        }
        let compile = || self.env.compile(&rule.rule).ok();
        let program = self.programs.entry(rule.rule.clone()).or_insert_with(compile).as_ref()?;
        let mut context = Context::with_env(self.env.clone());
        context.add_variable_from_value("self", converted(Some(schema), value));
        match program.execute(&context) {
            Ok(cel::Value::Bool(holds)) => Some(holds),
            Ok(_) | Err(_) => None,
        }
    }
}

fn field<'a>(schema: &'a JSONSchemaProps, name: &str) -> Option<&'a JSONSchemaProps> {
    let values = match &schema.additional_properties {
        Some(JSONSchemaPropsOrBool::Schema(schema)) => Some(&**schema),
        Some(JSONSchemaPropsOrBool::Bool(_)) | None => None,
    };
    schema.properties.as_ref().and_then(|properties| properties.get(name)).or(values)
}

/// The value as the API server stores it: defaults filled in, empty fields left out.
fn defaulted(schema: &JSONSchemaProps, value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut full = serde_json::Map::new();
            for (name, property) in schema.properties.iter().flatten() {
                if let Some(default) = &property.default {
                    full.insert(name.clone(), defaulted(property, &default.0));
                }
            }
            for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
                let value = field(schema, name).map_or_else(|| value.clone(), |schema| defaulted(schema, value));
                full.insert(name.clone(), value);
            }
            Value::Object(full)
        }
        Value::Array(items) => match &schema.items {
            Some(JSONSchemaPropsOrArray::Schema(schema)) => items.iter().map(|item| defaulted(schema, item)).collect(),
            _ => value.clone(),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// Whole numbers are `int`, and fields whose names are words of CEL are escaped.
fn converted(schema: Option<&JSONSchemaProps>, value: &Value) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(truth) => cel::Value::Bool(*truth),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => cel::Value::Int(whole),
            None => cel::Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => cel::Value::String(Arc::new(text.clone())),
        Value::Array(items) => {
            let schema = match schema.and_then(|schema| schema.items.as_ref()) {
                Some(JSONSchemaPropsOrArray::Schema(schema)) => Some(&**schema),
                _ => None,
            };
            cel::Value::List(Arc::new(items.iter().map(|item| converted(schema, item)).collect()))
        }
        Value::Object(fields) => {
            let declared = |name: &str| {
                schema.and_then(|schema| schema.properties.as_ref()).is_some_and(|known| known.contains_key(name))
            };
            let entry = |(name, value): (&String, &Value)| {
                let escaped = RESERVED.contains(&name.as_str()) && declared(name);
                let key = if escaped { format!("__{name}__") } else { name.clone() };
                (Key::String(Arc::new(key)), converted(schema.and_then(|schema| field(schema, name)), value))
            };
            cel::Value::Map(Map { map: Arc::new(fields.iter().map(entry).collect()) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::schema;
    use serde_json::json;

    /// What the rules of a kind say of a spec.
    fn said(kind: &str, spec: Value) -> Vec<String> {
        let crds = crate::api::crds();
        let crd = crds.iter().find(|crd| crd.spec.names.kind == kind).unwrap();
        let schema = field(schema::of(crd).unwrap(), "spec").unwrap();
        Rules::default().faults(schema, &spec, "spec").iter().map(ToString::to_string).collect()
    }

    fn texts(schema: &JSONSchemaProps, found: &mut Vec<String>) {
        found.extend(schema.x_kubernetes_validations.iter().flatten().map(|rule| rule.rule.clone()));
        schema.properties.iter().flatten().for_each(|(_, field)| texts(field, found));
        if let Some(JSONSchemaPropsOrArray::Schema(item)) = &schema.items {
            texts(item, found);
        }
    }

    #[test]
    fn every_rule_of_the_api_can_be_read_here() {
        let mut found = vec![];
        for crd in crate::api::crds() {
            texts(schema::of(&crd).unwrap(), &mut found);
        }
        assert!(found.len() > 15, "{found:?}");
        for rule in found {
            assert!(Program::compile(&rule).is_ok(), "{rule}");
        }
    }

    #[test]
    fn what_the_api_server_refuses_is_refused_with_its_words() {
        let response = |spec: Value| {
            let mut full = json!({"match": {"alert": "A"}, "target": {"name": "a"}, "steps": [{"restart": {}}]});
            full.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
            said("AlertResponse", full)
        };
        let none = Vec::<String>::new();
        assert_eq!(response(json!({})), none);
        assert_eq!(response(json!({"mode": "Act", "serviceAccountName": "responder"})), none);
        assert_eq!(
            response(json!({"mode": "Act"})),
            [
                "spec: modes Act and Approve need serviceAccountName: the steps run with the rights of that ServiceAccount"
            ]
        );
        assert_eq!(
            response(json!({"target": {"name": "a", "nameFromLabel": "b"}})),
            ["spec.target: give exactly one of name and nameFromLabel"]
        );
        assert_eq!(
            response(json!({"match": {"matchers": []}})),
            ["spec.match: an empty match would match every alert: give alert, or at least one matcher"]
        );
        let one_action = "a step is exactly one of rollback, restart, scale, deletePod, pauseRollout, cordon, job, diagnose, githubIssue, githubWorkflow, silence, notify";
        assert_eq!(
            response(json!({"steps": [{"restart": {}}, {"restart": {}, "scale": {"by": 1}}, {}]})),
            [format!("spec.steps[1]: {one_action}"), format!("spec.steps[2]: {one_action}")]
        );
        for to in [json!({}), json!({"to": 3}), json!({"to": "previous"}), json!({"to": "lastHealthy"})] {
            assert_eq!(response(json!({"steps": [{"rollback": to}]})), none);
        }
        for to in [json!(0), json!("latest")] {
            let said = response(json!({"steps": [{"rollback": {"to": to}}]}));
            assert_eq!(said, ["spec.steps[0].rollback: to is lastHealthy, previous or the number of a revision"]);
        }
        assert_eq!(response(json!({"steps": [{"scale": {"by": 0}}]})).len(), 1);
    }

    #[test]
    fn fields_whose_names_are_words_of_cel_are_found() {
        let record = said("AlertRule", json!({"rules": [{"record": "a:b", "expr": "up", "for": "5m"}]}));
        assert!(
            record[0].starts_with("spec.rules[0]: a recording rule (record) takes expr and labels only"),
            "{record:?}"
        );
        let tiers = json!({"rules": [{"alert": "A", "expr": "up", "for": "5m", "tiers": [{"severity": "info"}]}]});
        assert_eq!(said("AlertRule", tiers).len(), 2);
        let baseline =
            |baseline: Value| said("AlertRule", json!({"rules": [{"alert": "A", "expr": "up", "baseline": baseline}]}));
        assert_eq!(baseline(json!({"window": "7d", "ratio": 0.5, "seasonality": "daily"})), Vec::<String>::new());
        assert_eq!(baseline(json!({"window": "7d", "ratio": 1.5, "direction": "above"})), Vec::<String>::new());
        for (wrong, words) in [
            (json!({"window": "7d"}), "set exactly one of deviations and ratio"),
            (json!({"window": "7d", "ratio": 0.5, "deviations": 3}), "set exactly one of deviations and ratio"),
            (json!({"window": "7d", "deviations": 0}), "deviations is greater than 0"),
            (
                json!({"window": "7d", "ratio": 1.5}),
                "ratio is greater than 0, and less than 1 unless direction is above",
            ),
            (
                json!({"window": "36h", "ratio": 0.5, "seasonality": "daily"}),
                "with seasonality, window is written in days",
            ),
        ] {
            let found = baseline(wrong);
            assert!(found.len() == 1 && found[0].contains(words), "{words}: {found:?}");
        }
        let both = json!({"rules": [{"alert": "A", "expr": "up", "tiers": [{"severity": "info", "above": 1}], "baseline": {"window": "7d", "ratio": 0.5}}]});
        assert!(said("AlertRule", both)[0].contains("set one of tiers"));
        let logs = json!({"source": "logs", "rules": [{"alert": "A", "expr": "x", "baseline": {"window": "7d", "ratio": 0.5}}],
            "tests": [{"series": [{"series": "x", "values": "0"}], "alerts": [{"at": "1m", "alert": "A"}]}]});
        let found = said("AlertRule", logs);
        assert!(found.len() == 2 && found[0].contains("no baseline") && found[1].contains("no tests"), "{found:?}");
    }

    #[test]
    fn stacks_and_channels_are_judged_too() {
        assert_eq!(said("MonitoringStack", json!({})).len(), 1);
        let labels = json!({"prometheus": {"externalLabels": {"prometheus_shard": "1", "for": "x"}}});
        assert_eq!(said("MonitoringStack", labels).len(), 1);
        let storage = json!({"prometheus": {"storage": {"size": "1Gi", "emptyDir": {}}}});
        assert_eq!(said("MonitoringStack", storage).len(), 1);
        let reference = json!({"name": "a", "key": "b"});
        let both = json!({"slack": {"webhookUrlSecretRef": reference}, "webhook": {"url": "http://a"}});
        assert_eq!(
            said("NotificationChannel", both),
            ["spec: set exactly one of slack, pagerduty, webhook, email, teams and github"]
        );
        let slack = |slack: Value| said("NotificationChannel", json!({"slack": slack}));
        assert_eq!(
            slack(json!({"tokenSecretRef": reference, "channel": "#a", "url": "http://a"})),
            Vec::<String>::new()
        );
        assert_eq!(slack(json!({"tokenSecretRef": reference})), ["spec.slack: slack: tokenSecretRef needs channel"]);
        assert_eq!(slack(json!({"channel": "#a"})).len(), 1);
        assert_eq!(slack(json!({"webhookUrlSecretRef": reference, "url": "http://a"})).len(), 1);
    }

    #[test]
    fn exporters_are_judged_too() {
        let exporters = |exporters: Value| said("MonitoringStack", json!({"prometheus": {}, "exporters": exporters}));
        let reference = json!({"name": "a", "key": "b"});
        let probe = |more: Value| {
            let mut entry = json!({"name": "a", "module": "http", "targets": ["https://a"]});
            entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            exporters(json!({"probes": [entry]}))
        };
        let none = Vec::<String>::new();
        assert_eq!(exporters(json!({"node": {}})), none);
        assert_eq!(probe(json!({})), none);
        assert_eq!(probe(json!({"module": "dns", "targets": ["a"], "dns": {"name": "b"}})), none);
        assert_eq!(exporters(json!({"mysql": [{"name": "a", "configSecretRef": reference}]})), none);
        for (found, words) in [
            (exporters(json!({})), "set at least one of node"),
            (exporters(json!({"node": {}, "pod": {"extraArgs": ["-a"]}})), "extraArgs belong to the exporter"),
            (exporters(json!({"mysql": [{"name": "a", "address": "a:1"}]})), "set address, username and"),
            (exporters(json!({"redis": [{"name": "a", "address": "a:1", "username": "b"}]})), "username needs"),
            (probe(json!({"module": "dns", "targets": ["a"]})), "module dns needs dns.name"),
            (probe(json!({"tcp": {}})), "belong to the module of the same name"),
            (probe(json!({"targets": ["a"]})), "begin with http:// or https://"),
            (probe(json!({"module": "tcp"})), "are host:port"),
        ] {
            assert!(found.len() == 1 && found[0].contains(words), "{words}: {found:?}");
        }
    }

    #[test]
    fn slos_and_what_belongs_to_them_are_judged_too() {
        let slo = |spec: Value| {
            let indicator = json!({"ratio": {"errors": {"metric": "e"}, "total": {"metric": "t"}}});
            let mut full =
                json!({"service": "a", "objective": 99, "window": {"rolling": "30d"}, "indicator": indicator});
            full.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
            said("SLO", full)
        };
        assert_eq!(slo(json!({})), Vec::<String>::new());
        assert_eq!(slo(json!({"window": {"calendar": "month", "timeZone": "UTC"}})), Vec::<String>::new());
        for (spec, words) in [
            (json!({"objective": 100}), "spec.objective: is a percentage greater than 0 and less than 100"),
            (json!({"objective": 0.0}), "spec.objective: is a percentage greater than 0 and less than 100"),
            (json!({"window": {"rolling": "0s"}}), "spec.window.rolling: a window of 0 holds no events"),
            (json!({"window": {"calendar": "month"}}), "spec.window: a calendar window needs a timeZone"),
            (json!({"indicator": {}}), "spec.indicator: set exactly one of ratio, latency, availability and events"),
        ] {
            let found = slo(spec);
            assert!(found.len() == 1 && found[0].starts_with(words), "{words}: {found:?}");
        }
        assert_eq!(said("BudgetAdjustment", json!({"slos": ["x"]})).len(), 1);
    }
}
