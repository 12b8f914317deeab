//! From what a person wrote to a checked stack, from which building cannot fail. Pure.

pub mod exporters;
pub mod grafana;
pub mod jaeger;
pub mod logs;
pub mod loki;
pub mod rules;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::core::Selector;

use self::exporters::Exporters;
use self::grafana::Grafana;
use self::jaeger::Jaeger;
use self::logs::Logs;
use self::loki::Loki;
use super::around::Around;
use super::build::Part;
use super::component::{self, alertmanager, prometheus};
use super::discovery::{self, InvalidSelector, Namespaces};
use super::names::{self, ALERTMANAGER, PROMETHEUS};
use super::routes::{self, Routing, Secrets};
use super::storage::{self, Claim, Data};
use super::token::Tokens;
use crate::api::NotificationChannel;
use crate::api::common::PodSettings;
use crate::api::duration::PromDuration;
use crate::api::monitoring_stack::{AlertmanagerSpec, MonitoringStackSpec, PrometheusSpec, RemoteWrite};
use crate::hidden::Hidden;
use crate::k8s::meta::Owner;
use crate::k8s::report::Reportable;
use crate::shipped::{GROUPS, Settings};

/// What a stack needs to know of its surroundings; `gather` reads it, tests and `render` make it up.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// The NotificationChannels of the namespace.
    pub channels: Vec<NotificationChannel>,
    pub secrets: Secrets,
    /// Every namespace with its labels; empty when the discovery does not depend on them.
    pub namespaces: Vec<(String, BTreeMap<String, String>)>,
    /// Existing claims by component.
    pub claims: BTreeMap<String, Vec<Claim>>,
    /// Size in the claim template of the live StatefulSet by component.
    pub sizes: BTreeMap<String, Quantity>,
    pub tokens: Option<Tokens>,
    /// A token that nobody has seen yet, in case that one is needed.
    pub fresh_token: Hidden,
    /// What is known of the cluster besides.
    pub around: Around,
}

impl Known {
    /// Where there is no cluster to ask: Secrets are taken to be there, nothing else is. The token is a placeholder.
    pub fn offline() -> Self {
        Self {
            channels: vec![],
            secrets: Secrets::Unknown,
            namespaces: vec![],
            claims: BTreeMap::new(),
            sizes: BTreeMap::new(),
            tokens: None,
            fresh_token: Hidden::new("made-by-the-operator"),
            around: Around::default(),
        }
    }
}

/// Where the stack lives.
#[derive(Clone, Debug, PartialEq)]
pub struct Home {
    pub owner: Owner,
    /// Base URL of the operator's alert receiver.
    pub receiver_url: String,
    pub cluster_role_prefix: String,
    /// The rotation of the token that was asked for.
    pub rotation: Option<String>,
}

/// A checked stack.
#[derive(Clone, Debug, PartialEq)]
pub struct Stack {
    pub owner: Owner,
    pub receiver_url: String,
    pub cluster_role_prefix: String,
    pub namespaces: Namespaces,
    pub selector: Selector,
    pub prometheus: Option<Prometheus>,
    pub alertmanager: Option<Alertmanager>,
    pub loki: Option<Loki>,
    pub logs: Option<Logs>,
    pub jaeger: Option<Jaeger>,
    pub grafana: Option<Grafana>,
    pub exporters: Option<Exporters>,
}

impl Stack {
    /// A component at its Service's `port`, as the status speaks of it.
    pub fn part(&self, name: &'static str, port: i32, data: &Data) -> Part {
        let url = names::url(&names::part(&self.owner.name, name), &self.owner.namespace, port);
        Part { name, url, storage: data.describe() }
    }

    /// Where the components keep their data, and the claims of each that are to be asked for the size.
    pub fn kept(&self) -> impl Iterator<Item = (&Data, &[String])> {
        let Self { prometheus, alertmanager, loki, logs, jaeger, grafana, .. } = self;
        let prometheus = prometheus.iter().map(|p| (&p.data, p.grow.as_slice()));
        let alertmanager = alertmanager.iter().map(|a| (&a.data, a.grow.as_slice()));
        let loki = loki.iter().map(|l| (&l.data, l.grow.as_slice()));
        let gateway = logs.iter().filter_map(|l| l.gateway.as_ref()).map(|g| (&g.data, g.grow.as_slice()));
        let jaeger = jaeger.iter().map(|j| (&j.data, j.grow.as_slice()));
        let grafana = grafana.iter().map(|g| (&g.data, g.grow.as_slice()));
        prometheus.chain(alertmanager).chain(loki).chain(gateway).chain(jaeger).chain(grafana)
    }
}

/// A checked Prometheus.
#[derive(Clone, Debug, PartialEq)]
pub struct Prometheus {
    pub spec: PrometheusSpec,
    pub data: Data,
    /// In the flag's notation.
    pub retention_size: Option<String>,
    /// Claims to be asked for the size in `data`.
    pub grow: Vec<String>,
}

/// A checked Alertmanager.
#[derive(Clone, Debug, PartialEq)]
pub struct Alertmanager {
    pub spec: AlertmanagerSpec,
    pub data: Data,
    pub routing: Routing,
    pub tokens: Tokens,
    /// Claims to be asked for the size in `data`.
    pub grow: Vec<String>,
}

/// Something that is wrong and was left out; the rest of the stack is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub reason: &'static str,
    pub message: String,
}

/// Why nothing of the stack is applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error(transparent)]
    Selector(#[from] InvalidSelector),
    #[error("spec.{component}.pod.extraArgs has {argument}, a flag that Evenkeel sets itself: take it out")]
    ReservedFlag { component: &'static str, argument: String },
    #[error("spec.prometheus.externalLabels has {name:?}, which is not a label name: use letters, digits and _")]
    LabelName { name: String },
    #[error("spec.{field} is 0s: write a duration above zero, for example {example}")]
    ZeroDuration { field: &'static str, example: &'static str },
    /// A value that no component could take.
    #[error("spec.{field} {value:?} {why}")]
    Field { field: String, value: String, why: String },
    #[error("spec.prometheus.remoteWrite[{index}] {why}")]
    RemoteWrite { index: usize, why: String },
}

impl Reportable for Refused {
    fn reason(&self) -> &'static str {
        match self {
            Self::Selector(_) => "InvalidSelector",
            Self::ReservedFlag { .. } => "ReservedFlag",
            Self::LabelName { .. } => "InvalidExternalLabel",
            Self::ZeroDuration { .. } => "InvalidDuration",
            Self::Field { .. } => "InvalidField",
            Self::RemoteWrite { .. } => "InvalidRemoteWrite",
        }
    }
}

/// The checked stack, and what had to be left out of it.
pub fn validate(spec: &MonitoringStackSpec, home: Home, known: Known) -> Result<(Stack, Vec<Problem>), Refused> {
    let labelled = known.namespaces.iter().map(|(name, labels)| (name.as_str(), labels));
    let namespaces = Namespaces::selected(spec.discovery.as_ref(), &home.owner.namespace, labelled)?;
    let selector = discovery::labels(spec.discovery.as_ref())?;
    let mut problems = vec![];
    let prometheus = spec.prometheus.as_ref().map(|spec| check_prometheus(spec, &known, &mut problems)).transpose()?;
    let alertmanager = spec.alertmanager.as_ref();
    let alertmanager = alertmanager.map(|spec| check_alertmanager(spec, &home, &known, &mut problems)).transpose()?;
    let loki = spec.loki.as_ref().map(|spec| loki::check(spec, &known, &mut problems)).transpose()?;
    let logs = spec.logs.as_ref().map(|spec| logs::check(spec, &known, &mut problems)).transpose()?;
    let logs = logs.filter(|_| {
        let nowhere =
            "spec.logs has nowhere to go: set spec.loki ({} takes the defaults), until then no logs are collected";
        problems.extend(loki.is_none().then(|| Problem { reason: "LokiMissing", message: nowhere.to_owned() }));
        loki.is_some()
    });
    let jaeger = spec.jaeger.as_ref().map(|spec| jaeger::check(spec, &known, &mut problems)).transpose()?;
    let shipped = || component::grafana::shipped(spec);
    let grafana = spec.grafana.as_ref();
    let grafana =
        grafana.map(|spec| grafana::check(spec, &namespaces, shipped(), &known, &mut problems)).transpose()?;
    let interval = spec.prometheus.as_ref().map(|prometheus| prometheus.scrape_interval);
    let exporters = spec.exporters.as_ref();
    let exporters =
        exporters.map(|spec| exporters::check(spec, &home.owner.name, interval, &known, &mut problems)).transpose()?;
    let (shipped, wrong) = rules::check(spec.rules.as_ref());
    problems.extend(wrong);
    problems.extend(unwatched(spec, &shipped));
    let Home { owner, receiver_url, cluster_role_prefix, rotation: _ } = home;
    let stack = Stack {
        owner,
        receiver_url,
        cluster_role_prefix,
        namespaces,
        selector,
        prometheus,
        alertmanager,
        loki,
        logs,
        jaeger,
        grafana,
        exporters,
    };
    Ok((stack, problems))
}

/// A dead man's switch to which nothing would be sent raises its alarm at once, and nobody knows why.
fn unwatched(spec: &MonitoringStackSpec, shipped: &Settings) -> Option<Problem> {
    const WATCHDOG: &str = "Watchdog";
    let switch = spec.alertmanager.as_ref()?.dead_mans_switch.as_ref();
    let group = GROUPS.iter().find(|group| group.alerts().any(|alert| alert.name == WATCHDOG));
    let loaded = shipped.enabled && shipped.wants(WATCHDOG) && group.is_some_and(|group| shipped.wants(group.name));
    let why = match (spec.prometheus.is_some(), loaded) {
        (true, true) => return None,
        (false, _) => "spec.prometheus, which this stack has not",
        (true, false) => "spec.rules, which leaves it out",
    };
    let message = format!("spec.alertmanager.deadMansSwitch is sent the alert {WATCHDOG} of {why}: set it");
    switch.map(|_| Problem { reason: "InvalidRoute", message })
}

fn check_prometheus(spec: &PrometheusSpec, known: &Known, problems: &mut Vec<Problem>) -> Result<Prometheus, Refused> {
    reserved_flags("prometheus", spec.pod.as_ref(), &prometheus::FLAGS)?;
    positive("prometheus.retention", Some(spec.retention), "31d")?;
    positive("prometheus.scrapeInterval", Some(spec.scrape_interval), "30s")?;
    positive("prometheus.evaluationInterval", spec.evaluation_interval, "30s")?;
    if let Some(name) = spec.external_labels.keys().find(|name| !is_label_name(name)) {
        return Err(Refused::LabelName { name: name.clone() });
    }
    check_remote_write(&spec.remote_write)?;
    for (index, remote) in spec.remote_write.iter().enumerate() {
        let field = |name| format!("spec.prometheus.remoteWrite[{index}].{name}");
        let missing = remote.secret_refs().into_iter().filter_map(|(f, r)| known.secrets.missing(&field(f), r));
        problems.extend(missing.map(|message| Problem { reason: "RemoteWriteSecretMissing", message }));
    }
    let wanted = Data::of(spec.storage.as_ref());
    let (data, grow) = check_storage(PROMETHEUS, PROMETHEUS, wanted, known, problems);
    let retention_size =
        spec.retention_size.clone().or_else(|| data.safe_mebibytes().map(|mebibytes| format!("{mebibytes}MB")));
    Ok(Prometheus { spec: spec.clone(), data, retention_size, grow })
}

fn check_alertmanager(
    spec: &AlertmanagerSpec,
    home: &Home,
    known: &Known,
    problems: &mut Vec<Problem>,
) -> Result<Alertmanager, Refused> {
    reserved_flags("alertmanager", spec.pod.as_ref(), &alertmanager::FLAGS)?;
    positive("alertmanager.retention", Some(spec.retention), "5d")?;
    let (routing, wrong) = routes::checked(spec, &known.channels, &known.secrets);
    problems.extend(wrong);
    let (data, grow) = check_storage(ALERTMANAGER, ALERTMANAGER, Data::of(spec.storage.as_ref()), known, problems);
    let tokens = Tokens::decide(known.tokens.clone(), home.rotation.as_deref(), known.fresh_token.clone());
    Ok(Alertmanager { spec: spec.clone(), data, routing, tokens, grow })
}

/// `field` is where the spec speaks of the component.
fn check_storage(
    field: &str,
    component: &'static str,
    wanted: Data,
    known: &Known,
    problems: &mut Vec<Problem>,
) -> (Data, Vec<String>) {
    let claims = known.claims.get(component).map_or(&[][..], Vec::as_slice);
    let plan = storage::plan(field, wanted, claims, known.sizes.get(component));
    problems.extend(plan.refused.map(|message| Problem { reason: "StorageShrinkRefused", message }));
    problems.extend(missing_class(field, component, &plan.data, known));
    (plan.data, plan.grow)
}

fn missing_class(field: &str, component: &str, data: &Data, known: &Known) -> Option<Problem> {
    let Data::Claim { class: Some(class), .. } = data else { return None };
    let message = format!(
        "spec.{field}.storage.storageClassName {class:?}: there is no such StorageClass, and the claims of {component} wait \
         for it (`kubectl get storageclass` shows those that there are)"
    );
    known.around.missing_classes.contains(class).then_some(Problem { reason: "StorageClassNotFound", message })
}

fn reserved_flags(component: &'static str, pod: Option<&PodSettings>, reserved: &[&str]) -> Result<(), Refused> {
    match reserved_flag(pod.map_or(&[][..], |pod| &pod.extra_args), reserved) {
        Some(argument) => Err(Refused::ReservedFlag { component, argument: argument.clone() }),
        None => Ok(()),
    }
}

/// The first of the arguments that is one of the reserved flags.
fn reserved_flag<'a>(arguments: &'a [String], reserved: &[&str]) -> Option<&'a String> {
    arguments.iter().find(|argument| {
        let flag = argument.trim_start_matches('-');
        let name = flag.split('=').next().unwrap_or(flag);
        argument.starts_with('-') && reserved.contains(&name.strip_prefix("no-").unwrap_or(name))
    })
}

fn positive(field: &'static str, value: Option<PromDuration>, example: &'static str) -> Result<(), Refused> {
    match value {
        Some(value) if value.is_zero() => Err(Refused::ZeroDuration { field, example }),
        _ => Ok(()),
    }
}

/// `[a-zA-Z_][a-zA-Z0-9_]*`.
fn is_label_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// What Prometheus would refuse, and with it the whole configuration.
fn check_remote_write(remotes: &[RemoteWrite]) -> Result<(), Refused> {
    const RESERVED: [&str; 8] = [
        "authorization",
        "host",
        "content-encoding",
        "content-length",
        "content-type",
        "user-agent",
        "connection",
        "x-prometheus-remote-write-version",
    ];
    let (mut names, mut unnamed) = (BTreeSet::new(), vec![]);
    for (index, remote) in remotes.iter().enumerate() {
        let refuse = |why| Err(Refused::RemoteWrite { index, why });
        if let Some(header) = remote.headers.keys().find(|h| RESERVED.contains(&h.to_ascii_lowercase().as_str())) {
            return refuse(format!("sets the header {header}, which Prometheus sets itself: take it out"));
        }
        match &remote.name {
            Some(name) if !names.insert(name) => return refuse(format!("has the name {name} of another one")),
            None if unnamed.contains(&remote) => return refuse("is there twice: take one out".to_owned()),
            None => unnamed.push(remote),
            Some(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Of a cluster in which nothing is.
    pub(super) fn known() -> Known {
        Known { secrets: Secrets::Known(BTreeMap::new()), ..Known::offline() }
    }

    #[test]
    fn a_storage_class_that_does_not_exist_is_named_for_each_component_that_wants_it() {
        let mut known = known();
        known.around.missing_classes.insert("fast".into());
        let storage = json!({"storage": {"size": "1Gi", "storageClassName": "fast"}});
        let other = json!({"storage": {"size": "1Gi", "storageClassName": "slow"}});
        let mut problems = vec![];
        check_prometheus(&serde_json::from_value(storage.clone()).unwrap(), &known, &mut problems).unwrap();
        jaeger::check(&serde_json::from_value(storage).unwrap(), &known, &mut problems).unwrap();
        loki::check(&serde_json::from_value(other).unwrap(), &known, &mut problems).unwrap();
        let messages: Vec<&str> = problems.iter().map(|p| p.message.as_str()).collect();
        assert_eq!(messages.len(), 2, "{messages:?}");
        assert!(messages[0].starts_with("spec.prometheus.storage.storageClassName \"fast\": there is no such"));
        assert!(messages[1].starts_with("spec.jaeger.storage.storageClassName \"fast\""), "{messages:?}");
    }

    #[test]
    fn a_dead_mans_switch_needs_the_watchdog_that_it_sends() {
        let said = |rules: serde_json::Value, prometheus: bool| {
            let mut spec = json!({"alertmanager": {"deadMansSwitch": {"url": "https://a"}}, "rules": rules});
            if prometheus {
                spec["prometheus"] = json!({});
            }
            let spec: MonitoringStackSpec = serde_json::from_value(spec).unwrap();
            let (settings, _) = rules::check(spec.rules.as_ref());
            unwatched(&spec, &settings).map(|problem| problem.message)
        };
        assert_eq!(said(json!({}), true), None);
        assert!(said(json!({}), false).unwrap().contains("spec.prometheus, which this stack has not"));
        for left_out in
            [json!({"enabled": false}), json!({"disabled": ["Watchdog"]}), json!({"disabled": ["monitoring"]})]
        {
            assert!(said(left_out, true).unwrap().contains("spec.rules, which leaves it out"));
        }
    }
}
