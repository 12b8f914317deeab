//! Nodes: whether one is ready.

use k8s_openapi::api::core::v1::Node;

use super::Health;

/// By its Ready condition.
pub fn is_ready(node: &Node) -> bool {
    let conditions = node.status.iter().filter_map(|s| s.conditions.as_ref()).flatten();
    conditions.filter(|c| c.type_ == "Ready").any(|c| c.status == "True")
}

pub fn health(node: &Node) -> Health {
    let conditions = node.status.iter().filter_map(|s| s.conditions.as_ref()).flatten();
    match conditions.into_iter().find(|c| c.type_ == "Ready") {
        Some(condition) if condition.status == "True" => Health::Healthy("is ready".into()),
        Some(condition) => {
            let reason = condition.reason.as_deref().unwrap_or("for no reason that is known");
            Health::Unhealthy(format!("it is not ready ({reason})"))
        }
        None => Health::Unhealthy("its kubelet has not said that it is ready".into()),
    }
}
