//! What Prometheus scrapes of the exporters. Pure.

use std::collections::BTreeMap;

use super::exporter_targets::{self, targets};
use super::kube_state;
use super::prometheus_config::{Relabel, ScrapeConfig, StaticConfig};
use super::scrape::{copy, of_component};
use crate::api::duration::PromDuration;
use crate::api::monitoring_stack::Probe;
use crate::stack::names;
use crate::stack::validate::Stack;
use crate::stack::validate::exporters::Exporters;

/// What the scrape pools of probes begin with: their names are a person's, and pools must differ.
pub const PROBES: &str = "probe/";
/// The label of a target before it is asked by way of the blackbox exporter.
pub const TARGET_PARAMETER: &str = "__param_target";
/// Prometheus waits so much longer than the exporter, which leaves half a second for the way.
const MARGIN: PromDuration = PromDuration::from_secs(1);
/// Prometheus waits no longer where nothing is said.
const LONGEST: PromDuration = PromDuration::from_secs(10);

/// The scrape configurations of all exporters, scraped every `interval` where they do not say otherwise.
pub fn configs(stack: &Stack, exporters: &Exporters, interval: PromDuration) -> Vec<ScrapeConfig> {
    let mut configs = vec![];
    if exporters.spec.node.is_some() {
        let mut config = of_component(stack, names::NODE_EXPORTER, names::NODE_EXPORTER_PORT);
        // What people call it by, and what stays when its pod is another one.
        config.relabel_configs.push(copy("__meta_kubernetes_pod_node_name", "instance"));
        configs.push(config);
    }
    if kube_state::wanted(stack, exporters).is_some() {
        // Its series say themselves which namespace, pod and node they are about.
        let at = service(stack, names::KUBE_STATE_METRICS, names::KUBE_STATE_METRICS_PORT);
        let config = at_address(names::KUBE_STATE_METRICS, at, BTreeMap::new());
        configs.push(ScrapeConfig { honor_labels: true, ..config });
    }
    configs.extend(of_targets(stack, exporters));
    if !exporters.spec.probes.is_empty() {
        let at = service(stack, names::BLACKBOX_EXPORTER, names::BLACKBOX_EXPORTER_PORT);
        configs.push(at_address(names::BLACKBOX_EXPORTER, at, place(stack)));
        configs.extend(exporters.spec.probes.iter().map(|probe| of_probe(stack, probe, interval)));
    }
    configs
}

/// One pool for each kind, so that databases of a kind are instances of one job.
fn of_targets(stack: &Stack, exporters: &Exporters) -> Vec<ScrapeConfig> {
    let mut configs: Vec<ScrapeConfig> = vec![];
    for target in targets(exporters) {
        let mut labels = place(stack);
        labels.insert("instance".to_owned(), target.name.to_owned());
        labels.extend(target.labels.clone());
        let config = at_address(target.kind.job, exporter_targets::address(stack, &target), labels);
        match configs.last_mut().filter(|last| last.job_name == config.job_name) {
            Some(last) => last.static_configs.extend(config.static_configs),
            None => configs.push(config),
        }
    }
    configs
}

fn of_probe(stack: &Stack, probe: &Probe, interval: PromDuration) -> ScrapeConfig {
    let every = probe.interval.unwrap_or(interval);
    let waits = probe.timeout.map_or(LONGEST, |timeout| PromDuration(timeout.0 + MARGIN.0));
    let mut labels = place(stack);
    labels.extend(probe.labels.clone());
    labels.insert("job".to_owned(), probe.name.clone());
    let set = |label: &str, text: String| Relabel {
        target_label: Some(label.to_owned()),
        replacement: Some(text),
        ..Relabel::default()
    };
    ScrapeConfig {
        job_name: format!("{PROBES}{}", probe.name),
        scrape_interval: probe.interval,
        scrape_timeout: (probe.interval.is_some() || probe.timeout.is_some()).then_some(every.min(waits)),
        metrics_path: Some("/probe".to_owned()),
        params: BTreeMap::from([("module".to_owned(), vec![probe.name.clone()])]),
        static_configs: vec![StaticConfig { targets: probe.targets.clone(), labels }],
        relabel_configs: vec![
            copy("__address__", TARGET_PARAMETER),
            copy(TARGET_PARAMETER, "instance"),
            set("__address__", service(stack, names::BLACKBOX_EXPORTER, names::BLACKBOX_EXPORTER_PORT)),
        ],
        ..ScrapeConfig::default()
    }
}

fn at_address(job: &str, address: String, labels: BTreeMap<String, String>) -> ScrapeConfig {
    ScrapeConfig {
        job_name: job.to_owned(),
        static_configs: vec![StaticConfig { targets: vec![address], labels }],
        ..ScrapeConfig::default()
    }
}

fn service(stack: &Stack, component: &str, port: i32) -> String {
    format!("{}.{}.svc:{port}", names::part(&stack.owner.name, component), stack.owner.namespace)
}

/// Where the exporter lies, until an entry says where its target does.
fn place(stack: &Stack) -> BTreeMap<String, String> {
    BTreeMap::from([("namespace".to_owned(), stack.owner.namespace.clone())])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::MonitoringStack;
    use crate::k8s::meta::Owner;
    use crate::stack::component::scrape;
    use crate::stack::validate::{Home, Known, validate};
    use serde_json::{Value, json};

    fn pools(spec: Value) -> Vec<ScrapeConfig> {
        let object = json!({
            "apiVersion": "evenkeel.dev/v1alpha1", "kind": "MonitoringStack",
            "metadata": {"name": "main", "namespace": "monitoring"}, "spec": spec,
        });
        let object: MonitoringStack = serde_json::from_value(object).unwrap();
        let owner = Owner {
            api_version: String::new(),
            kind: String::new(),
            namespace: "monitoring".into(),
            name: "main".into(),
            uid: String::new(),
        };
        let (receiver_url, cluster_role_prefix) = (String::new(), "p".to_owned());
        let home = Home { owner, receiver_url, cluster_role_prefix, rotation: None };
        let (stack, problems) = validate(&object.spec, home, Known::offline()).unwrap();
        assert_eq!(problems, []);
        scrape::configs(&stack, stack.prometheus.as_ref().unwrap(), 1)
    }

    fn probe(more: Value) -> ScrapeConfig {
        let mut entry = json!({"name": "api", "module": "tcp", "targets": ["a:1"]});
        entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let pools = pools(json!({"prometheus": {"scrapeInterval": "20s"}, "exporters": {"probes": [entry]}}));
        pools.into_iter().find(|pool| pool.job_name == "probe/api").unwrap()
    }

    #[test]
    fn prometheus_waits_longer_than_the_probe_and_never_beyond_the_interval() {
        let times = |more: Value| {
            let pool = probe(more);
            let text = |time: Option<PromDuration>| time.map(|time| time.to_string()).unwrap_or_default();
            (text(pool.scrape_interval), text(pool.scrape_timeout))
        };
        let told = |interval: &str, timeout: &str| (interval.to_owned(), timeout.to_owned());
        assert_eq!(times(json!({})), told("", ""));
        assert_eq!(times(json!({"timeout": "15s"})), told("", "16s"));
        assert_eq!(times(json!({"timeout": "5s", "interval": "1m"})), told("1m", "6s"));
        assert_eq!(times(json!({"timeout": "4500ms", "interval": "5s"})), told("5s", "5s"));
        assert_eq!(times(json!({"interval": "2m"})), told("2m", "10s"));
        assert_eq!(times(json!({"interval": "5s"})), told("5s", "5s"));
    }

    #[test]
    fn probes_are_divided_over_shards_by_what_they_ask() {
        let exporters = json!({
            "redis": [{"name": "cache", "address": "cache:6379"}],
            "probes": [{"name": "api", "module": "tcp", "targets": ["a:1", "b:1"]}],
        });
        let pools = pools(json!({"prometheus": {"shards": 2}, "exporters": exporters}));
        let by = |name: &str| {
            let pool = pools.iter().find(|pool| pool.job_name == name).unwrap();
            let hash = pool.relabel_configs.iter().find(|relabel| relabel.action.as_deref() == Some("hashmod"));
            hash.unwrap().source_labels.clone()
        };
        assert_eq!((by("probe/api"), by("redis")), (vec!["__param_target".to_owned()], vec!["__address__".to_owned()]));
    }

    #[test]
    fn an_entry_says_where_its_target_lies() {
        let labels = json!({"namespace": "shop", "service": "orders"});
        let of = |name: &str, labels: Value| json!({"name": name, "address": "a:1", "labels": labels});
        let exporters = json!({"redis": [of("one", labels), of("two", json!({}))]});
        let pools = pools(json!({"prometheus": {}, "exporters": exporters}));
        let pool = pools.iter().find(|pool| pool.job_name == "redis").unwrap();
        let told: Vec<Value> = pool.static_configs.iter().map(|group| json!(group.labels)).collect();
        assert_eq!(told[0], json!({"instance": "one", "namespace": "shop", "service": "orders"}));
        assert_eq!(told[1], json!({"instance": "two", "namespace": "monitoring"}));
    }
}
