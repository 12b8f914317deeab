//! Growing and refusing to shrink. Pure: what to do is decided here, `apply` does it.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::ResourceExt;

use super::names::{ALERTMANAGER, GRAFANA, JAEGER, LOG_GATEWAY, LOKI, PROMETHEUS};
use crate::api::monitoring_stack::{MonitoringStackSpec, Storage};
use crate::k8s::drift;

/// Name of the volume, and the prefix of its claims: `data-<pod>`.
pub const VOLUME: &str = "data";

/// Where a component keeps its data.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// A claim for each pod.
    Claim {
        size: Quantity,
        class: Option<String>,
    },
    EmptyDir {
        limit: Option<Quantity>,
    },
}

impl Data {
    /// Absent storage is an emptyDir; CEL holds `size` and `emptyDir` apart.
    pub fn of(storage: Option<&Storage>) -> Self {
        match storage {
            Some(Storage { size: Some(size), storage_class_name, .. }) => {
                Self::Claim { size: size.clone(), class: storage_class_name.clone() }
            }
            other => {
                Self::EmptyDir { limit: other.and_then(|s| s.empty_dir.as_ref()).and_then(|e| e.size_limit.clone()) }
            }
        }
    }

    /// For the status.
    pub fn describe(&self) -> String {
        match self {
            Self::Claim { size, class: Some(class) } => format!("PersistentVolumeClaim {} ({class})", size.0),
            Self::Claim { size, class: None } => format!("PersistentVolumeClaim {}", size.0),
            Self::EmptyDir { limit: Some(limit) } => format!("emptyDir {}, lost with the pod", limit.0),
            Self::EmptyDir { limit: None } => "emptyDir, lost with the pod".to_owned(),
        }
    }

    /// 85 % of the volume in MiB, for Prometheus' retention by size: a full volume stops it for good.
    pub fn safe_mebibytes(&self) -> Option<i128> {
        let size = match self {
            Self::Claim { size, .. } => size,
            Self::EmptyDir { limit } => limit.as_ref()?,
        };
        Some(drift::bytes(size)? * 85 / 100 / (1 << 20)).filter(|mib| *mib > 0)
    }
}

/// The storage that a person chose, by component.
pub fn chosen(spec: &MonitoringStackSpec) -> impl Iterator<Item = (&'static str, &Storage)> {
    let MonitoringStackSpec { prometheus, alertmanager, loki, logs, jaeger, grafana, .. } = spec;
    let gateway = logs.as_ref().and_then(|l| l.gateway.as_ref());
    let all: [(_, Option<&Storage>); 6] = [
        (PROMETHEUS, prometheus.as_ref().and_then(|p| p.storage.as_ref())),
        (ALERTMANAGER, alertmanager.as_ref().and_then(|a| a.storage.as_ref())),
        (LOKI, loki.as_ref().and_then(|l| l.storage.as_ref())),
        (LOG_GATEWAY, gateway.and_then(|g| g.storage.as_ref())),
        (JAEGER, jaeger.as_ref().and_then(|j| j.storage.as_ref())),
        (GRAFANA, grafana.as_ref().and_then(|g| g.storage.as_ref())),
    ];
    all.into_iter().filter_map(|(component, storage)| Some((component, storage?)))
}

/// An existing claim of a component.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    pub name: String,
    /// What it asks for.
    pub size: Quantity,
}

impl Claim {
    pub fn of(claim: &PersistentVolumeClaim) -> Option<Self> {
        let size = claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?.get("storage")?.clone();
        Some(Self { name: claim.name_any(), size })
    }
}

/// What to do so that the claims have the wanted size.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Where the component's data lies, with the size that it will have: the wanted one, or the present one where
    /// the wanted one is refused.
    pub data: Data,
    /// Claims to be asked for the new size.
    pub grow: Vec<String>,
    /// Why the wanted size is refused.
    pub refused: Option<String>,
}

/// `present` is the size in the template of the live StatefulSet.
pub fn plan(field: &str, wanted: Data, claims: &[Claim], present: Option<&Quantity>) -> Plan {
    let Data::Claim { size, class } = &wanted else {
        return Plan { data: wanted, grow: vec![], refused: None };
    };
    let bytes = |quantity: &Quantity| drift::bytes(quantity).unwrap_or_default();
    if let Some(larger) = claims.iter().filter(|c| bytes(&c.size) > bytes(size)).max_by_key(|c| bytes(&c.size)) {
        let kept = present.unwrap_or(&larger.size).clone();
        let refused = format!(
            "spec.{field}.storage.size {} is smaller than PersistentVolumeClaim {} has ({}), and a volume cannot shrink: \
             set it back to {} or more, or delete the claims and lose their data",
            size.0, larger.name, larger.size.0, larger.size.0,
        );
        return Plan { data: Data::Claim { size: kept, class: class.clone() }, grow: vec![], refused: Some(refused) };
    }
    let grow = claims.iter().filter(|c| bytes(&c.size) < bytes(size)).map(|c| c.name.clone()).collect();
    Plan { data: wanted, grow, refused: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantity(size: &str) -> Quantity {
        Quantity(size.into())
    }
    fn wanted(size: &str) -> Data {
        Data::Claim { size: quantity(size), class: Some("fast".into()) }
    }
    fn claim(name: &str, size: &str) -> Claim {
        Claim { name: name.into(), size: quantity(size) }
    }

    #[test]
    fn every_component_whose_storage_a_person_chose_is_looked_after() {
        let storage = serde_json::json!({"storage": {"size": "1Gi"}});
        let spec = serde_json::json!({
            "prometheus": storage, "alertmanager": {}, "loki": storage, "jaeger": storage, "grafana": storage,
            "logs": {"otlp": {}, "gateway": storage},
        });
        let spec = serde_json::from_value(spec).unwrap();
        let components: Vec<&str> = chosen(&spec).map(|(component, _)| component).collect();
        assert_eq!(components, [PROMETHEUS, LOKI, LOG_GATEWAY, JAEGER, GRAFANA]);
    }

    #[test]
    fn only_the_claims_that_are_smaller_grow() {
        let claims = [claim("data-main-prometheus-0", "10Gi"), claim("data-main-prometheus-1", "20Gi")];
        let plan = plan("prometheus", wanted("20Gi"), &claims, Some(&quantity("10Gi")));
        assert_eq!((plan.grow, plan.refused), (vec!["data-main-prometheus-0".to_owned()], None));
        assert_eq!(plan.data, wanted("20Gi"));
    }

    #[test]
    fn the_same_size_in_other_words_is_no_change() {
        let plan = plan("prometheus", wanted("1024Mi"), &[claim("data-main-prometheus-0", "1Gi")], None);
        assert_eq!((plan.grow, plan.refused), (vec![], None));
    }

    #[test]
    fn shrinking_is_refused_with_both_sizes_and_the_present_size_is_kept() {
        let claims = [claim("data-main-prometheus-0", "600Mi")];
        let plan = plan("prometheus", wanted("100Mi"), &claims, Some(&quantity("600Mi")));
        assert_eq!(plan.data, wanted("600Mi"));
        assert!(plan.grow.is_empty());
        let words = plan.refused.unwrap();
        for part in ["spec.prometheus.storage.size 100Mi", "data-main-prometheus-0", "600Mi", "delete the claims"] {
            assert!(words.contains(part), "{words}");
        }
    }

    #[test]
    fn a_first_size_and_an_empty_dir_need_no_plan() {
        assert!(plan("alertmanager", wanted("1Gi"), &[], None).refused.is_none());
        let none =
            plan("alertmanager", Data::EmptyDir { limit: None }, &[claim("data-main-alertmanager-0", "5Gi")], None);
        assert_eq!((none.grow, none.refused), (vec![], None));
    }

    #[test]
    fn retention_by_size_leaves_room_in_the_volume() {
        assert_eq!(wanted("10Gi").safe_mebibytes(), Some(8704));
        assert_eq!(Data::EmptyDir { limit: None }.safe_mebibytes(), None);
    }
}
