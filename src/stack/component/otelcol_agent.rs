//! The configuration of the Collector on each node. Pure.

use std::collections::BTreeMap;

use regex::Regex;

use super::otelcol_common::{Chain, LOKI, LONGEST, STORAGE, config, grouping, loki, memory_limiter};
use super::otelcol_config::{
    Association, AssociationSource, Config, Extract, Extracted, FOR_EVER, FileLog, Journald, Operator, Pipeline,
    PodFilter, Pods, Processor, Receiver, Statements, Transform,
};
use super::otelcol_pods::{self, select};
use super::ottl::{globs, plain, resource};
use super::{otelcol_multiline, otelcol_read, otelcol_redact};
use crate::api::monitoring_stack::{ContainerLogs, FileLogs, JournalLogs, LogSource};
use crate::stack::discovery::Namespaces;
use crate::stack::names;
use crate::stack::validate::Stack;
use crate::stack::validate::logs::Logs;

/// Where the kubelet keeps what containers write.
const PODS: &str = "/var/log/pods";
/// Where the node's root is in the pod, for the node's journalctl.
pub const HOST: &str = "/host";

/// What the agent reads with; `None` when there is nothing to read.
pub fn agent(stack: &Stack, logs: &Logs) -> Option<Config> {
    let mut receivers = BTreeMap::new();
    let containers = logs.spec.containers.as_ref().and_then(|wanted| containers(stack, logs, wanted));
    let reads_pods = containers.is_some();
    receivers.extend(containers.map(|receiver| ("file_log/containers".to_owned(), Receiver::File(receiver))));
    receivers.extend(logs.spec.files.iter().map(|entry| {
        let receiver = files(logs, entry);
        (format!("file_log/{}", entry.name), Receiver::File(receiver))
    }));
    receivers
        .extend(logs.spec.journal.as_ref().map(|wanted| ("journald".to_owned(), Receiver::Journal(journal(wanted)))));
    if receivers.is_empty() {
        return None;
    }
    let mut processors = BTreeMap::new();
    let mut chain = Chain::default();
    chain.push(&mut processors, [memory_limiter()]);
    if let Some(wanted) = logs.spec.containers.as_ref().filter(|_| reads_pods) {
        chain.push(&mut processors, pods(stack, wanted));
        chain.push(&mut processors, [("filter/pods", otelcol_pods::filter(wanted.selector.as_ref()))]);
    }
    chain.push(&mut processors, [("transform/place", place())]);
    chain.push(&mut processors, otelcol_read::processors(&logs.spec.pipelines));
    chain.push(&mut processors, otelcol_redact::processors(logs.spec.redact.as_ref()).logs);
    chain.push(&mut processors, grouping());
    let pipeline = Pipeline {
        receivers: receivers.keys().cloned().collect(),
        processors: chain.names,
        exporters: vec![LOKI.to_owned()],
    };
    let exporters = [loki(stack, logs.buffer)].into();
    Some(config(receivers, processors, exporters, [("logs".to_owned(), pipeline)].into()))
}

/// `None` when no namespace is selected.
fn containers(stack: &Stack, logs: &Logs, wanted: &ContainerLogs) -> Option<FileLog> {
    let below = |namespace: &str| format!("{PODS}/{namespace}_*/*/*.log");
    let include: Vec<String> = read_namespaces(stack, wanted)?.iter().map(|namespace| below(namespace)).collect();
    let mut exclude: Vec<String> =
        wanted.exclude_namespaces.iter().map(|namespace| format!("{PODS}/{namespace}_*/*/*")).collect();
    // What the Collectors say of a record that they could not send would be a record.
    let (namespace, stack) = (&stack.owner.namespace, &stack.owner.name);
    for component in [names::LOG_AGENT, names::LOG_GATEWAY] {
        exclude.push(format!("{PODS}/{namespace}_{}-*/*/*", names::part(stack, component)));
    }
    exclude.push("/**/*.gz".to_owned());
    exclude.push("/**/*.tmp".to_owned());
    // What was rotated away while nothing was read, until the kubelet compresses it.
    let rotated: Vec<String> = include.iter().map(|path| format!("{path}.*")).collect();
    let mut operators = vec![Operator::Container { id: "container", max_log_size: LONGEST }];
    operators.extend(otelcol_multiline::of_containers(&logs.spec.pipelines));
    Some(file_log(LogSource::Containers, [include, rotated].concat(), exclude, operators))
}

/// Namespaces, or patterns of namespaces, whose containers are read.
fn read_namespaces(stack: &Stack, wanted: &ContainerLogs) -> Option<Vec<String>> {
    let included = &wanted.include_namespaces;
    let read = match &stack.namespaces {
        Namespaces::All if included.is_empty() => vec!["*".to_owned()],
        Namespaces::All => included.clone(),
        Namespaces::These(namespaces) => {
            let chosen = Regex::new(&globs(included)).ok();
            let is_chosen = |name: &&String| included.is_empty() || chosen.as_ref().is_some_and(|c| c.is_match(name));
            namespaces.iter().filter(is_chosen).cloned().collect()
        }
    };
    (!read.is_empty()).then_some(read)
}

fn files(logs: &Logs, entry: &FileLogs) -> FileLog {
    // Also by way of ** these stay with the containers.
    let theirs = [format!("{PODS}/**"), "/var/log/containers/**".to_owned()];
    let exclude = [entry.exclude.clone(), theirs.to_vec(), vec!["/**/*.gz".to_owned()]].concat();
    let operators = otelcol_multiline::of_files(&logs.spec.pipelines, &entry.name);
    let mut receiver = file_log(LogSource::Files, entry.include.clone(), exclude, operators);
    receiver.resource.insert("service.name".to_owned(), entry.name.clone());
    receiver
}

fn file_log(source: LogSource, include: Vec<String>, exclude: Vec<String>, operators: Vec<Operator>) -> FileLog {
    FileLog {
        include,
        exclude,
        // A pod that wrote and ended before the agent came is heard as well; positions hold from then on.
        start_at: "beginning",
        include_file_path: true,
        include_file_name: false,
        max_log_size: LONGEST,
        storage: STORAGE,
        retry_on_failure: FOR_EVER,
        resource: from(source),
        operators,
    }
}

/// The label `source`.
pub fn from(source: LogSource) -> BTreeMap<String, String> {
    BTreeMap::from([("source".to_owned(), otelcol_read::source_name(source).to_owned())])
}

fn journal(wanted: &JournalLogs) -> Journald {
    Journald {
        root_path: HOST.to_owned(),
        journalctl_path: "/usr/bin/journalctl".to_owned(),
        directory: wanted.directory.clone().unwrap_or_else(|| "/var/log/journal".to_owned()),
        start_at: "beginning",
        priority: "info",
        units: wanted.units.iter().map(|unit| plain(unit)).collect(),
        convert_message_bytes: true,
        storage: STORAGE,
        retry_on_failure: FOR_EVER,
        resource: from(LogSource::Journal),
    }
}

/// What Kubernetes says of the pods on this node: one processor, or one for each namespace where the rights end there.
fn pods(stack: &Stack, wanted: &ContainerLogs) -> Vec<(String, Processor)> {
    let extracted = |tag_name: String, key: &str| Extracted { tag_name, key: key.to_owned(), from: "pod" };
    let mut labels: Vec<Extracted> = wanted
        .labels
        .iter()
        .map(|label| extracted(crate::stack::validate::logs::field_of(label), label))
        .chain([extracted("evenkeel.name".to_owned(), "app.kubernetes.io/name")])
        .collect();
    labels.extend(select(wanted.selector.as_ref()).map(|(tag, key)| extracted(tag, key)));
    let annotations = vec![
        extracted(otelcol_pods::OPT_OUT.to_owned(), "evenkeel.dev/logs"),
        extracted("service.name".to_owned(), "resource.opentelemetry.io/service.name"),
    ];
    let processor = |namespace: Option<String>| {
        Processor::Pods(Pods {
            auth_type: "serviceAccount",
            // Records without their labels would be other streams. Nothing is lost by waiting: files stay.
            wait_for_metadata: true,
            wait_for_metadata_timeout: "30s",
            filter: PodFilter { node_from_env_var: "NODE_NAME", namespace },
            pod_association: vec![Association {
                sources: vec![AssociationSource { from: "resource_attribute", name: "k8s.pod.uid" }],
            }],
            extract: Extract {
                metadata: vec![
                    "k8s.node.name",
                    "k8s.deployment.name",
                    "k8s.statefulset.name",
                    "k8s.daemonset.name",
                    "k8s.replicaset.name",
                    "k8s.job.name",
                    "k8s.cronjob.name",
                ],
                labels: labels.clone(),
                annotations: annotations.clone(),
            },
        })
    };
    match &stack.namespaces {
        Namespaces::All => vec![("k8s_attributes".to_owned(), processor(None))],
        Namespaces::These(_) => {
            let read = read_namespaces(stack, wanted).unwrap_or_default();
            read.into_iter().map(|name| (format!("k8s_attributes/{name}"), processor(Some(name)))).collect()
        }
    }
}

/// Where records come from, in the words of the labels. What the path says holds also where Kubernetes does not answer.
fn place() -> Processor {
    let set = |name: &str, value: &str| format!("set({}, {value})", resource(name));
    let copy = |name: &str, from: &str| set(name, &resource(from));
    let workload = resource("workload");
    // What the names of pods end in: letters that Kubernetes chooses from (no vowels), or a number.
    let hash = "[bcdfghjklmnpqrstvwxz2456789]";
    let pod = |pattern: &str| {
        format!("replace_pattern({workload}, {}, {})", super::ottl::quote(pattern), super::ottl::quote("${1}"))
    };
    let mut of_pods = vec![
        copy("namespace", "k8s.namespace.name"),
        copy("pod", "k8s.pod.name"),
        copy("container", "k8s.container.name"),
        copy("workload", "k8s.pod.name"),
        pod(&format!("^(.+?)-(?:{hash}{{1,10}}-)?{hash}{{5}}$")),
        pod("^(.+)-[0-9]+$"),
    ];
    let kinds = ["replicaset", "statefulset", "daemonset", "job", "cronjob", "deployment"];
    of_pods.extend(kinds.map(|kind| copy("workload", &format!("k8s.{kind}.name"))));
    // As the job of a pod in Prometheus.
    of_pods.push(format!("{} where {} == nil", copy("service.name", "evenkeel.name"), resource("service.name")));
    of_pods.push(format!("{} where {} == nil", copy("service.name", "workload"), resource("service.name")));
    of_pods.push("delete_matching_keys(resource.attributes, \"^(?:k8s|evenkeel)\\\\.\")".to_owned());
    let is = |source| vec![format!("{} == \"{}\"", resource("source"), otelcol_read::source_name(source))];
    let statements = |context, conditions, statements| Statements { context, conditions, statements };
    let log_statements = vec![
        statements("resource", vec![], vec!["set(resource.attributes[\"node\"], \"${env:NODE_NAME}\")".to_owned()]),
        statements("resource", is(LogSource::Containers), of_pods),
        statements("log", is(LogSource::Containers), without(&["log.file.path", "logtag", "time"])),
        statements("log", is(LogSource::Files), {
            let moved = "set(log.attributes[\"file\"], log.attributes[\"log.file.path\"])".to_owned();
            [vec![moved], without(&["log.file.path"])].concat()
        }),
        statements("log", is(LogSource::Journal), of_journal()),
    ];
    Processor::Transform(Transform { error_mode: "silent", log_statements, trace_statements: vec![] })
}

fn without(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| format!("delete_key(log.attributes, \"{name}\")")).collect()
}

/// The fields of the journal that tell something, the message as the text.
fn of_journal() -> Vec<String> {
    let set = |name: &str, from: &str| format!("set(log.attributes[\"{name}\"], log.body[\"{from}\"])");
    let mut all = vec![
        set("identifier", "SYSLOG_IDENTIFIER"),
        set("unit", "_SYSTEMD_UNIT"),
        set("pid", "_PID"),
        set("evenkeel.service", "SYSLOG_IDENTIFIER"),
        set("evenkeel.service", "_SYSTEMD_UNIT"),
    ];
    // Of syslog: 0 emergency to 7 debug.
    for (number, priorities) in [(21, "[0-2]"), (17, "3"), (13, "4"), (9, "[56]"), (5, "7")] {
        let when = format!("IsMatch(log.body[\"PRIORITY\"], \"^{priorities}$$\")");
        all.push(format!("set(log.severity_number, {number}) where {when}"));
    }
    all.push("set(log.body, log.body[\"MESSAGE\"]) where log.body[\"MESSAGE\"] != nil".to_owned());
    all
}
