//! Metrics of SLOs: what their statuses say, as numbers.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::api::slo::State;
use crate::slo::budget::Budget;

type Float = Gauge<f64, AtomicU64>;

/// Which SLO.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Slo {
    pub namespace: String,
    pub slo: String,
    pub service: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InState {
    namespace: String,
    slo: String,
    service: String,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OverWindow {
    namespace: String,
    slo: String,
    service: String,
    window: &'static str,
}

const STATES: [(State, &str); 5] = [
    (State::Healthy, "Healthy"),
    (State::AtRisk, "AtRisk"),
    (State::Burning, "Burning"),
    (State::Exhausted, "Exhausted"),
    (State::NoData, "NoData"),
];
const WINDOWS: [&str; 4] = ["5m", "1h", "6h", "3d"];

/// All of them; a value that is not known is not exposed.
#[derive(Clone, Default)]
pub struct Slos {
    objective: Family<Slo, Float>,
    indicator: Family<Slo, Float>,
    remaining: Family<Slo, Float>,
    burn_rate: Family<OverWindow, Float>,
    state: Family<InState, Gauge>,
}

impl Slos {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("slo_objective_ratio", "Share of events that must be good", self.objective.clone());
        registry.register(
            "slo_indicator_ratio",
            "Share of events of the window that were good",
            self.indicator.clone(),
        );
        registry.register(
            "slo_error_budget_remaining_ratio",
            "Share of the error budget that is left",
            self.remaining.clone(),
        );
        registry.register("slo_error_burn_rate", "Burn rate over a window", self.burn_rate.clone());
        registry.register("slo_state", "1 for the state of the SLO, 0 for the others", self.state.clone());
    }

    /// What was measured of an SLO.
    pub fn set(&self, slo: &Slo, objective: f64, state: State, budget: Option<&Budget>) {
        self.objective.get_or_create(slo).set(objective);
        set(&self.indicator, slo, budget.and_then(|budget| budget.indicator));
        set(&self.remaining, slo, budget.map(|budget| budget.remaining));
        let rates = budget.map_or([None; 4], |budget| budget.burn_rates);
        for (window, rate) in WINDOWS.into_iter().zip(rates) {
            set(&self.burn_rate, &over(slo, window), rate);
        }
        for (each, name) in STATES {
            self.state.get_or_create(&in_state(slo, name)).set(i64::from(each == state));
        }
    }

    /// It is gone.
    pub fn forget(&self, slo: &Slo) {
        self.objective.remove(slo);
        self.indicator.remove(slo);
        self.remaining.remove(slo);
        WINDOWS.into_iter().for_each(|window| _ = self.burn_rate.remove(&over(slo, window)));
        STATES.into_iter().for_each(|(_, name)| _ = self.state.remove(&in_state(slo, name)));
    }
}

fn set<L: Clone + std::hash::Hash + Eq>(family: &Family<L, Float>, labels: &L, value: Option<f64>) {
    match value {
        Some(value) => _ = family.get_or_create(labels).set(value),
        None => _ = family.remove(labels),
    }
}

fn over(slo: &Slo, window: &'static str) -> OverWindow {
    let Slo { namespace, slo, service } = slo.clone();
    OverWindow { namespace, slo, service, window }
}

fn in_state(slo: &Slo, state: &'static str) -> InState {
    let Slo { namespace, slo, service } = slo.clone();
    InState { namespace, slo, service, state }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deleted_slo_leaves_no_series_behind() {
        let mut registry = Registry::default();
        let slos = Slos::default();
        slos.register(&mut registry);
        let slo = Slo { namespace: "shop".into(), slo: "api".into(), service: "checkout".into() };
        let text = || {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
            text
        };
        let budget = Budget {
            indicator: Some(0.999),
            remaining: 0.42,
            errors: 1.0,
            whole: 2.0,
            remaining_events: 1.0,
            remaining_seconds: 1.0,
            burn_rates: [Some(2.0), None, None, None],
            exhaustion: None,
            covered: 1.0,
            expected: 1.0,
        };
        slos.set(&slo, 0.999, State::Burning, Some(&budget));
        assert!(
            text()
                .contains("slo_error_budget_remaining_ratio{namespace=\"shop\",slo=\"api\",service=\"checkout\"} 0.42")
        );
        assert!(text().contains("state=\"Burning\"} 1") && text().contains("state=\"Healthy\"} 0"));
        assert_eq!(text().matches("window=").count(), 1);
        slos.forget(&slo);
        assert!(!text().contains("checkout"));
    }
}
