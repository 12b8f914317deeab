//! The custom resources of group `evenkeel.dev`, version `v1alpha1`: their types, their CEL rules, nothing else.

pub mod alert_response;
pub mod alert_rule;
pub mod budget_adjustment;
pub mod change_freeze;
pub mod common;
pub mod duration;
pub mod error_budget_policy;
pub mod monitoring_stack;
pub mod notification_channel;
pub mod response_run;
pub mod slo;

pub use alert_response::AlertResponse;
pub use alert_rule::AlertRule;
pub use budget_adjustment::BudgetAdjustment;
pub use change_freeze::ChangeFreeze;
pub use error_budget_policy::ErrorBudgetPolicy;
pub use monitoring_stack::MonitoringStack;
pub use notification_channel::NotificationChannel;
pub use response_run::ResponseRun;
pub use slo::SLO;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResourceExt;

/// API group of every kind.
pub const GROUP: &str = "evenkeel.dev";

/// What the shared status mechanism (`k8s::status`, `k8s::report`) needs to know of a kind with conditions.
pub trait Conditioned: kube::Resource<DynamicType = ()> {
    /// The present conditions; empty when the object was never seen.
    fn conditions(&self) -> &[Condition];
    /// The generation that the status speaks of; `None` or -1 when the object was never seen.
    fn observed_generation(&self) -> Option<i64>;
}

/// Every CustomResourceDefinition of this build, in the order in which they are documented.
pub fn crds() -> Vec<CustomResourceDefinition> {
    let mut crds = vec![
        MonitoringStack::crd(),
        AlertRule::crd(),
        AlertResponse::crd(),
        ResponseRun::crd(),
        NotificationChannel::crd(),
        SLO::crd(),
        ErrorBudgetPolicy::crd(),
        ChangeFreeze::crd(),
        BudgetAdjustment::crd(),
    ];
    for crd in &mut crds {
        common::default_status(crd);
        common::unwrap_descriptions(crd);
    }
    crds
}
