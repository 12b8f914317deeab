//! What a stack measures, and what a group of rules needs of it. Pure.

use crate::api::monitoring_stack::{ExportersSpec, MonitoringStackSpec};

/// What a stack has that gives series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// The kubelets' own metrics, with the volumes.
    pub kubelet: bool,
    /// Usage of containers.
    pub cadvisor: bool,
    pub kube_state: bool,
    pub node: bool,
    pub postgres: bool,
    pub mysql: bool,
    pub redis: bool,
    pub kafka: bool,
    /// Probes by the blackbox exporter.
    pub probes: bool,
    pub loki: bool,
    pub jaeger: bool,
    /// OpenTelemetry Collectors.
    pub collector: bool,
}

impl Sources {
    /// What a stack's spec brings.
    pub fn of(spec: &MonitoringStackSpec) -> Self {
        let scrape = spec.prometheus.as_ref().map(|prometheus| &prometheus.scrape);
        // What somebody else runs, `rules.include` is for.
        let has = |of: fn(&ExportersSpec) -> bool| spec.exporters.as_ref().is_some_and(of);
        Self {
            kubelet: scrape.is_some_and(|scrape| scrape.kubelet),
            cadvisor: scrape.is_some_and(|scrape| scrape.cadvisor),
            loki: spec.loki.is_some(),
            jaeger: spec.jaeger.is_some(),
            collector: spec.logs.is_some(),
            kube_state: has(|exporters| exporters.kube_state.is_some()),
            node: has(|exporters| exporters.node.is_some()),
            postgres: has(|exporters| !exporters.postgres.is_empty()),
            mysql: has(|exporters| !exporters.mysql.is_empty()),
            redis: has(|exporters| !exporters.redis.is_empty()),
            kafka: has(|exporters| !exporters.kafka.is_empty()),
            probes: has(|exporters| !exporters.probes.is_empty()),
        }
    }

    /// A stack with everything.
    pub fn all() -> Self {
        Self {
            kubelet: true,
            cadvisor: true,
            kube_state: true,
            node: true,
            postgres: true,
            mysql: true,
            redis: true,
            kafka: true,
            probes: true,
            loki: true,
            jaeger: true,
            collector: true,
        }
    }
}

/// What a group needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Series of the services themselves, of Prometheus, of Evenkeel: silent where there are none.
    Nothing,
    Kubelet,
    Cadvisor,
    KubeState,
    Node,
    /// PostgreSQL or MySQL.
    Database,
    Redis,
    Kafka,
    Probes,
    Loki,
    Jaeger,
    Collector,
}

impl Need {
    pub fn met(self, has: &Sources) -> bool {
        match self {
            Self::Nothing => true,
            Self::Kubelet => has.kubelet,
            Self::Cadvisor => has.cadvisor,
            Self::KubeState => has.kube_state,
            Self::Node => has.node,
            Self::Database => has.postgres || has.mysql,
            Self::Redis => has.redis,
            Self::Kafka => has.kafka,
            Self::Probes => has.probes,
            Self::Loki => has.loki,
            Self::Jaeger => has.jaeger,
            Self::Collector => has.collector,
        }
    }
}
