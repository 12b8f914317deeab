//! What may be written about exporters. An entry that is wrong is left out, and named; the others run. Pure.

use std::collections::BTreeMap;

use super::logs::re2;
use super::{Known, Problem, Refused, is_label_name, reserved_flag, reserved_flags};
use crate::api::common::PodSettings;
use crate::api::duration::PromDuration;
use crate::api::monitoring_stack::{Exporter, ExportersSpec, Probe};
use crate::stack::component::exporter_targets::{KAFKA, Kind, MYSQL, POSTGRES, REDIS};
use crate::stack::component::{blackbox, kube_state, node_exporter};
use crate::stack::names;

/// An entry that is left out.
pub const INVALID: &str = "InvalidExporter";
/// A credential that is not there: the exporter waits for it.
pub const SECRET_MISSING: &str = "ExporterSecretMissing";
/// Longest name of a Service.
const LONGEST_NAME: usize = 63;
/// Longest that a probe may wait.
const LONGEST_TIMEOUT: PromDuration = PromDuration::from_mins(2);
/// Longest that may lie between two probes: Prometheus forgets a series after five minutes.
const LONGEST_INTERVAL: PromDuration = PromDuration::from_mins(2);
/// Records that a name server may be asked for. The exporter refuses its whole configuration for one that it does not know.
const RECORDS: [&str; 16] = [
    "A", "AAAA", "CAA", "CNAME", "DNSKEY", "DS", "HTTPS", "MX", "NAPTR", "NS", "PTR", "SOA", "SRV", "SVCB", "TLSA",
    "TXT",
];

/// Exporters, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Exporters {
    /// Without the entries that are wrong.
    pub spec: ExportersSpec,
}

impl Exporters {
    /// Settings of the pods of `exporter`, which is neither node's nor kubeState's.
    pub fn settings(&self, exporter: &Exporter) -> PodSettings {
        let pod = self.spec.pod.clone().unwrap_or_default();
        PodSettings { extra_args: exporter.extra_args.clone(), ..pod }
    }
}

/// The checked part; what is wrong and can be left out goes to `problems`. `interval`: how often Prometheus scrapes.
pub fn check(
    spec: &ExportersSpec,
    stack: &str,
    interval: Option<PromDuration>,
    known: &Known,
    problems: &mut Vec<Problem>,
) -> Result<Exporters, Refused> {
    let node = spec.node.as_ref().and_then(|node| node.pod.as_ref());
    reserved_flags("exporters.node", node, &node_exporter::FLAGS)?;
    let kube_state = spec.kube_state.as_ref().and_then(|kube_state| kube_state.pod.as_ref());
    reserved_flags("exporters.kubeState", kube_state, &kube_state::FLAGS)?;
    for (field, reference) in spec.secret_refs() {
        let missing = known.secrets.missing(&format!("spec.exporters.{field}"), reference);
        problems.extend(missing.map(|message| Problem { reason: SECRET_MISSING, message }));
    }
    let mut spec = spec.clone();
    let mut entries = Entries(problems);
    entries.sift("postgres", &mut spec.postgres, |target| {
        (&target.name, of_target(&POSTGRES, stack, &target.name, &target.labels, target.exporter.as_ref()))
    });
    entries.sift("mysql", &mut spec.mysql, |target| {
        (&target.name, of_target(&MYSQL, stack, &target.name, &target.labels, target.exporter.as_ref()))
    });
    entries.sift("redis", &mut spec.redis, |target| {
        (&target.name, of_target(&REDIS, stack, &target.name, &target.labels, target.exporter.as_ref()))
    });
    entries.sift("kafka", &mut spec.kafka, |target| {
        (&target.name, of_target(&KAFKA, stack, &target.name, &target.labels, target.exporter.as_ref()))
    });
    entries.sift("probes", &mut spec.probes, |probe| (&probe.name, of_probe(probe, interval)));
    if let Some(program) = &mut spec.blackbox
        && let Some(why) = flag_fault(program, &blackbox::FLAGS)
    {
        let message = format!("spec.exporters.blackbox is left without extraArgs: {why}");
        problems.push(Problem { reason: INVALID, message });
        program.extra_args.clear();
    }
    Ok(Exporters { spec })
}

/// Lists of entries, and what is wrong in them.
struct Entries<'a>(&'a mut Vec<Problem>);

impl Entries<'_> {
    /// Takes out the entries in which `fault` finds something; it tells the name of an entry as well.
    fn sift<T>(&mut self, list: &str, entries: &mut Vec<T>, fault: impl Fn(&T) -> (&String, Option<String>)) {
        let mut index = 0;
        entries.retain(|entry| {
            let (name, why) = fault(entry);
            let message = why.map(|why| format!("spec.exporters.{list}[{index}] ({name}) is left out: {why}"));
            let good = message.is_none();
            self.0.extend(message.map(|message| Problem { reason: INVALID, message }));
            index += 1;
            good
        });
    }
}

fn of_target(
    kind: &Kind,
    stack: &str,
    name: &str,
    labels: &BTreeMap<String, String>,
    exporter: Option<&Exporter>,
) -> Option<String> {
    let service = names::exporter(stack, kind.component, name);
    let over = service.len().saturating_sub(LONGEST_NAME);
    let long = || {
        let why =
            format!("its Service would be {service}, which is {over} characters too long: give it a shorter name");
        (over > 0).then_some(why)
    };
    label_fault(labels).or_else(|| exporter.and_then(|exporter| flag_fault(exporter, kind.flags))).or_else(long)
}

fn of_probe(probe: &Probe, interval: Option<PromDuration>) -> Option<String> {
    let common = label_fault(&probe.labels).or_else(|| time_fault(probe, interval));
    common.or_else(|| record_fault(probe.dns.as_ref()?.type_.as_ref()?)).or_else(|| {
        let pattern = probe.http.as_ref()?.body_matches.as_ref()?;
        let why = re2::groups(pattern).err()?;
        Some(format!("http.bodyMatches {pattern:?} is no regular expression of Go: {why}"))
    })
}

fn record_fault(type_: &str) -> Option<String> {
    let unknown = !RECORDS.contains(&type_);
    unknown.then(|| format!("dns.type {type_} is not one of {}", RECORDS.join(", ")))
}

/// What Prometheus, or the blackbox exporter, would refuse, and with it everything else; and what alerts could not go by.
fn time_fault(probe: &Probe, interval: Option<PromDuration>) -> Option<String> {
    for (field, value) in [("interval", probe.interval), ("timeout", probe.timeout)] {
        if value.is_some_and(|value| value.is_zero()) {
            return Some(format!("{field} is 0s: write a duration above zero, for example 5s"));
        }
    }
    if let Some(interval) = probe.interval.filter(|interval| *interval > LONGEST_INTERVAL) {
        return Some(format!(
            "interval {interval} is more than {LONGEST_INTERVAL}: Prometheus forgets a series after 5m, and alerts would end between two probes"
        ));
    }
    let timeout = probe.timeout?;
    if timeout > LONGEST_TIMEOUT {
        return Some(format!("timeout {timeout} is more than {LONGEST_TIMEOUT}, the longest that a probe may wait"));
    }
    let (every, from) = match probe.interval {
        Some(interval) => (interval, "interval"),
        None => (interval?, "prometheus.scrapeInterval"),
    };
    let why = || format!("timeout {timeout} is not below {from} {every}: set a shorter timeout or a longer interval");
    (timeout >= every).then(why)
}

fn label_fault(labels: &BTreeMap<String, String>) -> Option<String> {
    labels.keys().find_map(|name| match name.as_str() {
        "instance" | "job" => Some(format!("labels has {name}, which Evenkeel sets itself: take it out")),
        name if !is_label_name(name) || name.starts_with("__") => Some(format!(
            "labels has {name:?}, which is not a label name: use letters, digits and _, and no two _ first"
        )),
        _ => None,
    })
}

fn flag_fault(exporter: &Exporter, reserved: &[&str]) -> Option<String> {
    let argument = reserved_flag(&exporter.extra_args, reserved)?;
    Some(format!("extraArgs has {argument}, a flag that Evenkeel sets itself: take it out"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::validate::tests::known;
    use serde_json::{Value, json};

    fn checked(spec: Value) -> (Exporters, Vec<String>) {
        let (spec, mut problems) = (serde_json::from_value(spec).unwrap(), vec![]);
        let interval = Some(PromDuration::from_secs(15));
        let exporters = check(&spec, "main", interval, &Known::offline(), &mut problems).unwrap();
        (exporters, problems.into_iter().map(|problem| problem.message).collect())
    }

    fn redis(more: Value) -> Value {
        let mut entry = json!({"name": "cache", "address": "cache:6379"});
        entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"redis": [{"name": "sessions", "address": "sessions:6379"}, entry]})
    }

    fn probe(more: Value) -> Value {
        let mut entry = json!({"name": "api", "module": "http", "targets": ["https://api"]});
        entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"probes": [entry]})
    }

    #[test]
    fn an_entry_that_is_wrong_is_left_out_with_the_way_out_and_the_others_run() {
        for (more, words) in [
            (json!({"labels": {"instance": "x"}}), "labels has instance, which Evenkeel sets itself: take it out"),
            (json!({"labels": {"a-b": "x"}}), "labels has \"a-b\", which is not a label name"),
            (json!({"labels": {"__x": "x"}}), "labels has \"__x\""),
            (json!({"exporter": {"extraArgs": ["-redis.addr=x"]}}), "extraArgs has -redis.addr=x"),
            (
                json!({"name": "a-name-of-as-many-as-forty-letters-in-all"}),
                "which is 2 characters too long: give it a shorter name",
            ),
        ] {
            let (typed, mut problems) = (serde_json::from_value(redis(more)).unwrap(), vec![]);
            let found = check(&typed, "the-name", None, &Known::offline(), &mut problems).unwrap();
            assert_eq!(found.spec.redis.len(), 1, "{words}");
            assert_eq!((found.spec.redis[0].name.as_str(), problems.len()), ("sessions", 1));
            let said = &problems[0].message;
            assert!(said.starts_with("spec.exporters.redis[1] (") && said.contains(words), "{said}");
        }
    }

    #[test]
    fn probes_that_prometheus_would_refuse_are_left_out() {
        for (more, words) in [
            (json!({"timeout": "15s"}), "timeout 15s is not below prometheus.scrapeInterval 15s"),
            (json!({"timeout": "5s", "interval": "5s"}), "timeout 5s is not below interval 5s"),
            (json!({"interval": "0s"}), "interval is 0s"),
            (json!({"timeout": "3m"}), "timeout 3m is more than 2m"),
            (json!({"interval": "1h"}), "interval 1h is more than 2m: Prometheus forgets a series after 5m"),
            (
                json!({"module": "dns", "dns": {"name": "a.example.com", "type": "ALIAS"}}),
                "dns.type ALIAS is not one of A, AAAA",
            ),
            (json!({"labels": {"job": "x"}}), "labels has job"),
            (json!({"http": {"bodyMatches": "(?=x)"}}), "http.bodyMatches \"(?=x)\" is no regular expression of Go"),
        ] {
            let (found, problems) = checked(probe(more));
            assert!(found.spec.probes.is_empty() && problems.len() == 1, "{problems:?}");
            assert!(problems[0].contains(words), "{problems:?}");
        }
        assert_eq!(checked(probe(json!({"timeout": "14s", "interval": "1m"}))).1, Vec::<String>::new());
    }

    #[test]
    fn a_secret_that_is_missing_is_named_and_the_exporter_waits_for_it() {
        let reference = json!({"name": "db", "key": "dsn"});
        let tls = json!({"caSecretRef": {"name": "ca", "key": "ca.crt"}});
        let spec = json!({
            "postgres": [{"name": "orders", "dsnSecretRef": reference}],
            "kafka": [{"name": "events", "brokers": ["a:9092"], "tls": tls}],
        });
        let mut problems = vec![];
        let found = check(&serde_json::from_value(spec).unwrap(), "main", None, &known(), &mut problems).unwrap();
        let said: Vec<_> = problems.iter().map(|problem| (problem.reason, problem.message.as_str())).collect();
        assert_eq!(
            said,
            [
                (SECRET_MISSING, "spec.exporters.postgres[0].dsnSecretRef refers to Secret db, which does not exist"),
                (SECRET_MISSING, "spec.exporters.kafka[0].tls.caSecretRef refers to Secret ca, which does not exist"),
            ]
        );
        assert_eq!(found.spec.postgres.len(), 1);
    }

    #[test]
    fn flags_that_evenkeel_sets_stay_its_own() {
        let spec = json!({"node": {"pod": {"extraArgs": ["--path.rootfs=/"]}}});
        let refused = check(&serde_json::from_value(spec).unwrap(), "main", None, &known(), &mut vec![]).unwrap_err();
        assert!(refused.to_string().contains("spec.exporters.node.pod.extraArgs has --path.rootfs=/"), "{refused}");
        let mut spec = probe(json!({}));
        spec["blackbox"] = json!({"extraArgs": ["--config.file=x"]});
        let (found, problems) = checked(spec);
        assert!(found.settings(&found.spec.blackbox.clone().unwrap()).extra_args.is_empty());
        assert!(problems[0].starts_with("spec.exporters.blackbox is left without extraArgs"), "{problems:?}");
    }
}
