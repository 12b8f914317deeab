//! BudgetAdjustments applied to what was read of SLOs: a cache of them all.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use kube::runtime::reflector::{Store, store};
use kube::runtime::watcher;
use kube::{Api, ResourceExt};

use super::excluded::{self, Amounts, Plan};
use super::recorded::Recorded;
use super::status::Group;
use super::validate::Checked;
use crate::api::BudgetAdjustment;
use crate::context::Context;
use crate::k8s::Guarded;
use crate::k8s::cache::{Filled, fill, filled};
use crate::prometheus::Prometheus;

/// All BudgetAdjustments. Cloning shares the caches.
#[derive(Clone)]
pub struct Adjustments {
    store: Store<Guarded<BudgetAdjustment>>,
    filled: Filled,
    recorded: Recorded,
    last: Arc<Mutex<HashMap<(String, String), Last>>>,
}

/// The last complete figures of an SLO, and the UIDs and generations of the adjustments that they are of.
struct Last {
    versions: Vec<(String, i64)>,
    amounts: Amounts,
}

impl Adjustments {
    /// The cache, and what keeps it filled for as long as it is polled.
    pub fn watch(context: &Context) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (store, writer) = store();
        let api = Api::all(context.client.clone());
        (
            Self { filled: filled(&store), store, recorded: Recorded::default(), last: Arc::default() },
            fill(writer, api, watcher::Config::default(), |_| {}),
        )
    }

    /// Resolves when the cache is filled.
    pub async fn filled(&self) {
        self.filled.clone().await;
    }

    /// Those that name an SLO, by name.
    pub fn of(&self, namespace: &str, slo: &str) -> Vec<BudgetAdjustment> {
        self.select(namespace, |adjustment| adjustment.spec.slos.iter().any(|name| name == slo))
    }

    /// Those of a namespace, by name.
    pub fn within(&self, namespace: &str) -> Vec<BudgetAdjustment> {
        self.select(namespace, |_| true)
    }

    fn select(&self, namespace: &str, wanted: impl Fn(&BudgetAdjustment) -> bool) -> Vec<BudgetAdjustment> {
        let all = self.store.state();
        let all = all.iter().filter(|object| object.namespace().as_deref() == Some(namespace));
        let all = all.filter_map(|object| object.0.as_ref().ok()).filter(|adjustment| wanted(adjustment));
        let mut found: Vec<_> = all.cloned().collect();
        found.sort_by_key(ResourceExt::name_any);
        found
    }

    /// Puts into the readings of an SLO what adjustments leave out and give back, and returns the names of those that count.
    /// Asks Prometheus only about periods that it was not asked about before. Without an answer the last figures are
    /// kept; where there are none, periods are not left out, and those that leave them out are not named.
    pub async fn apply(
        &self,
        prometheus: &Prometheus,
        slo: &Checked,
        groups: &mut [Group],
        now: Timestamp,
    ) -> Vec<String> {
        let adjustments = self.of(&slo.namespace, &slo.name);
        if adjustments.is_empty() {
            self.forget(slo);
            return vec![];
        }
        let recorded = groups.iter().filter_map(|group| group.reading.recorded).max().unwrap_or(now);
        let names: Vec<String> = adjustments.iter().map(ResourceExt::name_any).collect();
        let named = names.iter().map(String::as_str).zip(adjustments.iter().map(|adjustment| &adjustment.spec));
        let plan = excluded::plan(slo, named, recorded, now);
        let version = |a: &BudgetAdjustment| (a.uid().unwrap_or_default(), a.metadata.generation.unwrap_or_default());
        let mut versions: Vec<(String, i64)> = adjustments.iter().map(version).collect();
        versions.sort();
        let excluded = match plan.intervals.is_empty() {
            true => Some(Amounts::new()),
            false => self.recorded(prometheus, slo, &plan, versions).await,
        };
        excluded::adjust(groups, &plan, excluded.as_ref());
        let counting = if excluded.is_some() { plan.excluding } else { Default::default() };
        counting.union(&plan.giving).cloned().collect()
    }

    /// What was recorded in all periods together.
    async fn recorded(
        &self,
        prometheus: &Prometheus,
        slo: &Checked,
        plan: &Plan,
        versions: Vec<(String, i64)>,
    ) -> Option<Amounts> {
        let known = self.recorded.amounts(prometheus, slo, &plan.intervals).await;
        let all: Option<Vec<&Amounts>> = plan.intervals.iter().map(|interval| known.get(interval)).collect();
        let key = (slo.namespace.clone(), slo.name.clone());
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match all {
            Some(all) => {
                let amounts = excluded::together(all);
                last.insert(key, Last { versions, amounts: amounts.clone() });
                Some(amounts)
            }
            None => last.get(&key).filter(|last| last.versions == versions).map(|last| last.amounts.clone()),
        }
    }

    fn forget(&self, slo: &Checked) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.remove(&(slo.namespace.clone(), slo.name.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slo::validate::check;
    use axum::Router;
    use axum::extract::RawQuery;
    use axum::http::StatusCode;
    use axum::routing::get;
    use kube::core::DeserializeGuard;
    use kube::runtime::watcher::Event;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    fn slo() -> Checked {
        let text = "apiVersion: evenkeel.dev/v1alpha1\nkind: SLO\nmetadata: {name: api, namespace: shop}\nspec:\n  service: x\n  \
                    objective: 99.9\n  window: {rolling: 30d}\n  indicator: {availability: {metric: up}}\n";
        check(&serde_saphyr::from_str(text).unwrap()).unwrap()
    }

    fn adjustments(text: &str) -> Adjustments {
        let (store, mut writer) = store();
        for object in serde_saphyr::from_multiple::<BudgetAdjustment>(text).unwrap() {
            writer.apply_watcher_event(&Event::Apply(DeserializeGuard(Ok(object))));
        }
        Adjustments { filled: filled(&store), store, recorded: Recorded::default(), last: Arc::default() }
    }

    fn groups(recorded: Timestamp) -> [Group; 1] {
        let mut group = Group::default();
        group.reading.recorded = Some(recorded);
        [group]
    }

    const MAINTENANCE: &str = "apiVersion: evenkeel.dev/v1alpha1\nkind: BudgetAdjustment\nmetadata: {name: maintenance, namespace: shop, uid: u, generation: 1}\n\
        spec: {slos: [api], exclude: {start: '2026-11-14T00:00:00Z', duration: 1h}}\n";

    #[tokio::test]
    async fn a_past_period_is_asked_for_once_and_kept_when_prometheus_is_away() {
        const ANSWER: &str = r#"{"status":"success","data":{"resultType":"vector","result":[
            {"metric":{"window":"e0"},"value":[1,"5"]},{"metric":{"window":"t0"},"value":[1,"50"]}]}}"#;
        let (asked, away) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(true)));
        let (count, gone) = (asked.clone(), away.clone());
        let answer = move |_: RawQuery| {
            count.fetch_add(1, Ordering::SeqCst);
            let away = gone.load(Ordering::SeqCst);
            async move { if away { (StatusCode::SERVICE_UNAVAILABLE, "") } else { (StatusCode::OK, ANSWER) } }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().route("/api/v1/query", get(answer));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let prometheus = Prometheus::new(reqwest::Client::new(), &base);
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();

        let adjustments = adjustments(MAINTENANCE);
        let mut unknown = groups(now);
        assert!(adjustments.apply(&prometheus, &slo(), &mut unknown, now).await.is_empty());
        assert_eq!(unknown[0].reading.excluded_total, 0.0);
        away.store(false, Ordering::SeqCst);
        for _ in 0..3 {
            let mut groups = groups(now);
            assert_eq!(adjustments.apply(&prometheus, &slo(), &mut groups, now).await, ["maintenance"]);
            let reading = groups[0].reading;
            assert_eq!((reading.excluded_errors, reading.excluded_total), (5.0, 50.0));
        }
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        // The period reaches out of the window by now, so it must be asked for anew, and there is no answer.
        away.store(true, Ordering::SeqCst);
        let later: Timestamp = "2026-12-14T00:30:00Z".parse().unwrap();
        let mut kept = groups(later);
        assert_eq!(adjustments.apply(&prometheus, &slo(), &mut kept, later).await, ["maintenance"]);
        assert_eq!((kept[0].reading.excluded_total, asked.load(Ordering::SeqCst)), (50.0, 3));
    }

    #[tokio::test]
    async fn without_adjustments_nothing_is_asked() {
        let nobody = Prometheus::new(reqwest::Client::new(), "http://127.0.0.1:1");
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let elsewhere = adjustments(&MAINTENANCE.replace("namespace: shop", "namespace: other"));
        assert!(elsewhere.apply(&nobody, &slo(), &mut groups(now), now).await.is_empty());
        let back = adjustments(&MAINTENANCE.replace(
            "exclude: {start: '2026-11-14T00:00:00Z', duration: 1h}",
            "giveBack: {percent: 25, at: '2026-11-14T00:00:00Z'}",
        ));
        let mut given = groups(now);
        assert_eq!(back.apply(&nobody, &slo(), &mut given, now).await, ["maintenance"]);
        assert_eq!(given[0].reading.given_back, 0.25);
    }
}
