//! Does a live object still say what we applied? Pure.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::Value;

/// Whether every field of `desired` stands in `live` with the same value. Fields that only `live` has were put
/// there by defaulting or by others and do not count. Quantities are compared by value (`0.5` is `500m`).
pub fn holds(desired: &Value, live: &Value) -> bool {
    match (desired, live) {
        (Value::Object(desired), Value::Object(live)) => desired.iter().all(|(key, value)| match live.get(key) {
            Some(live) => holds(value, live),
            None => is_empty(value),
        }),
        (Value::Array(desired), Value::Array(live)) => {
            desired.len() == live.len() && desired.iter().zip(live).all(|(d, l)| holds(d, l))
        }
        (Value::String(desired), Value::String(live)) => desired == live || same_quantity(desired, live),
        (desired, live) => desired == live,
    }
}

/// The API server drops empty maps, lists and nulls.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.values().all(is_empty),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

fn same_quantity(a: &str, b: &str) -> bool {
    matches!((quantity(a), quantity(b)), (Some(a), Some(b)) if a == b)
}

/// Value of a Kubernetes quantity in thousandths of its unit; `None` when it is not one.
pub fn quantity(text: &str) -> Option<i128> {
    const SUFFIXES: [(&str, i128); 14] = [
        ("Ki", 1 << 10),
        ("Mi", 1 << 20),
        ("Gi", 1 << 30),
        ("Ti", 1 << 40),
        ("Pi", 1 << 50),
        ("Ei", 1 << 60),
        ("m", 0),
        ("k", 1_000),
        ("M", 1_000_000),
        ("G", 1_000_000_000),
        ("T", 1_000_000_000_000),
        ("P", 1_000_000_000_000_000),
        ("E", 1_000_000_000_000_000_000),
        ("", 1),
    ];
    let (suffix, factor) = SUFFIXES.into_iter().find(|(suffix, _)| text.ends_with(suffix))?;
    let number = &text[..text.len() - suffix.len()];
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.len() > 9 {
        return None;
    }
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let thousandths = if suffix == "m" { digits } else { digits.checked_mul(factor)?.checked_mul(1_000)? };
    Some(thousandths / 10i128.pow(fraction.len() as u32))
}

/// Value of a quantity in bytes; `None` when it is not a quantity.
pub fn bytes(quantity_: &Quantity) -> Option<i128> {
    quantity(&quantity_.0).map(|thousandths| thousandths / 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn defaults_of_the_api_server_are_not_drift() {
        assert!(holds(
            &json!({"spec": {"ports": [{"port": 80}], "empty": {}}}),
            &json!({"spec": {"ports": [{"port": 80, "protocol": "TCP"}], "type": "ClusterIP"}})
        ));
    }

    #[test]
    fn a_changed_value_or_a_list_of_another_length_is_drift() {
        let desired = json!({"a": [{"b": 1}]});
        assert!(!holds(&desired, &json!({"a": [{"b": 2}]})));
        assert!(!holds(&desired, &json!({"a": [{"b": 1}, {"b": 2}]})));
        assert!(!holds(&desired, &json!({})));
    }

    #[test]
    fn quantities_are_compared_by_value() {
        assert!(holds(&json!({"cpu": "0.5", "memory": "1024Mi"}), &json!({"cpu": "500m", "memory": "1Gi"})));
        assert!(!holds(&json!({"cpu": "0.5"}), &json!({"cpu": "501m"})));
        assert_eq!(quantity("10Gi"), Some(10 * (1 << 30) * 1_000));
        assert_eq!(quantity("v3.15.0"), None);
    }
}
