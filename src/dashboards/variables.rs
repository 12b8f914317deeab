//! The variables of the dashboards, and the shorthands that their queries are written in. Pure.

use super::model::{Annotation, AnnotationTarget, Choice, Kind, Source, Variable, VariableQuery};

/// Letters of the random parts of pod names: Kubernetes leaves out vowels, and digits that look like them.
const RANDOM: &str = "[b-df-hj-np-tv-xz24-9]";

/// What the names of a workload's pods have behind its own name: the hash of a ReplicaSet or the time of a CronJob, then
/// random letters or an ordinal.
fn suffix() -> String {
    format!("(?:-(?:{RANDOM}{{5,10}}|[0-9]{{8}}))?(?:-(?:{RANDOM}{{5}}|[0-9]+))?")
}

/// Writes out the shorthands of a query:
/// `@of` is the matcher of the pods of `$workload` in `$namespace`, by their names: metrics of containers and of
/// applications have no label for the workload, and kube-state-metrics, which knows it, may not be there.
/// `@logs` is the same for logs, which have that label.
pub fn expand(expr: &str) -> String {
    expr.replace("@of", &format!(r#"namespace=~"$namespace", pod=~"(?:$workload){}""#, suffix()))
        .replace("@logs", r#"namespace=~"$namespace", workload=~"$workload""#)
}

/// Gives series with a label `pod` one for the workload.
pub fn by_workload(series: &str) -> String {
    format!(r#"label_replace({series}, "workload", "$1", "pod", "(.+?){}")"#, suffix())
}

/// A counter of an OpenTelemetry Collector: some versions and settings write `_total` behind its name, others do not.
/// `name` is a regular expression, since a dot in a name stays one in Prometheus 3.
pub fn counted(name: &str, matchers: &str) -> String {
    format!(r#"{{__name__=~"{name}(_total)?", {matchers}}}"#)
}

/// The variable of a data source.
pub fn source(source: Source) -> Variable {
    let (label, description) = match source {
        Source::Metrics => ("Metrics", "The Prometheus that is asked."),
        Source::Logs => ("Logs", "The Loki that is asked."),
    };
    let kind = Kind::Datasource {
        query: source.plugin(),
        regex: "",
        refresh: 1,
        multi: false,
        include_all: false,
        options: vec![],
    };
    variable(source.variable(), label, description, kind)
}

/// Values of a label in Prometheus: `query` is `label_values(selector, label)`. Several can be chosen; at first all are.
pub fn values(name: &str, label: &str, description: &str, query: &str) -> Variable {
    from_metrics(name, label, description, query, "", ".+")
}

/// The same where series without the label count as well.
pub fn values_or_none(name: &str, label: &str, description: &str, query: &str) -> Variable {
    from_metrics(name, label, description, query, "", ".*")
}

/// Namespaces that have pods.
pub fn namespace() -> Variable {
    let query = r#"label_values(container_memory_working_set_bytes{container!=""}, namespace)"#;
    values("namespace", "Namespace", "Namespaces that have pods.", query)
}

/// Workloads of the chosen namespaces.
pub fn workload() -> Variable {
    let query = r#"label_values(container_memory_working_set_bytes{container!="", namespace=~"$namespace"}, pod)"#;
    let regex = format!("/^(.+?){}$/", suffix());
    let description = "Deployments, StatefulSets, DaemonSets and Jobs, by the names of their pods.";
    from_metrics("workload", "Workload", description, query, &regex, ".+")
}

fn from_metrics(
    name: &str,
    label: &str,
    description: &str,
    query: &str,
    regex: &str,
    all_value: &'static str,
) -> Variable {
    let kind = Kind::Query {
        datasource: Source::Metrics,
        query: VariableQuery::Prometheus {
            query: query.to_owned(),
            ref_id: "PrometheusVariableQueryEditor-VariableQuery",
            qry_type: 1,
        },
        definition: Some(query.to_owned()),
        regex: regex.to_owned(),
        refresh: 2,
        sort: 1,
        multi: true,
        include_all: true,
        all_value: Some(all_value),
        current: Some(Choice::all()),
        options: vec![],
    };
    variable(name, label, description, kind)
}

/// Values of a label in Loki, of the streams that `stream` selects.
pub fn log_values(name: &'static str, label: &str, description: &str, stream: &str) -> Variable {
    let kind = Kind::Query {
        datasource: Source::Logs,
        query: VariableQuery::Loki {
            label: name,
            stream: stream.to_owned(),
            ref_id: "LokiVariableQueryEditor-VariableQuery",
            r#type: 1,
        },
        definition: None,
        regex: String::new(),
        refresh: 2,
        sort: 1,
        multi: true,
        include_all: true,
        // Loki refuses a selector that could match the empty string alone.
        all_value: Some(".+"),
        current: Some(Choice::all()),
        options: vec![],
    };
    variable(name, label, description, kind)
}

/// One of a few words, the first one at first.
pub fn choice(name: &str, label: &str, description: &str, words: &[&str]) -> Variable {
    let choice = |(index, word): (usize, &&str)| Choice { selected: index == 0, ..Choice::selected(word) };
    let kind = Kind::Custom {
        query: words.join(","),
        multi: false,
        include_all: false,
        current: Choice::selected(words.first().copied().unwrap_or_default()),
        options: words.iter().enumerate().map(choice).collect(),
    };
    variable(name, label, description, kind)
}

/// What a person types.
pub fn text(name: &str, label: &str, description: &str, default: &str) -> Variable {
    let kind = Kind::Textbox {
        query: default.to_owned(),
        current: Choice::selected(default),
        options: vec![Choice::selected(default)],
    };
    variable(name, label, description, kind)
}

/// Names of the metrics of HTTP servers, for services that have other ones.
pub fn http() -> [Variable; 3] {
    [
        text("requests", "Requests", "Counter of answered requests.", "http_requests_total"),
        text(
            "duration",
            "Duration",
            "Histogram of their duration in seconds, without _bucket.",
            "http_request_duration_seconds",
        ),
        code(),
    ]
}

/// The label of the status code.
pub fn code() -> Variable {
    let words = ["code", "status", "status_code", "http_response_status_code"];
    choice("code", "Code label", "Label of the counter that holds the status code.", &words)
}

fn variable(name: &str, label: &str, description: &str, kind: Kind) -> Variable {
    Variable {
        kind,
        name: name.to_owned(),
        label: label.to_owned(),
        description: description.to_owned(),
        hide: 0,
        skip_url_sync: false,
    }
}

/// Alerts that began to fire.
pub fn firing(selector: &str) -> Annotation {
    Annotation {
        name: "Alerts".into(),
        datasource: Source::Metrics,
        enable: true,
        hide: false,
        icon_color: "red",
        target: AnnotationTarget {
            expr: format!(r#"ALERTS{{alertstate="firing", {selector}}}"#),
            interval: "60s",
            ref_id: "Anno",
        },
        title_format: "{{alertname}}".into(),
        text_format: "{{namespace}} {{service}}".into(),
        tag_keys: "severity".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_pod_tells_its_workload() {
        let pattern = regex::Regex::new(&format!("^(.+?){}$", suffix())).unwrap();
        let of = |pod: &str| pattern.captures(pod).unwrap()[1].to_owned();
        for (pod, workload) in [
            ("checkout-7d9f8b6c5d-x2x9z", "checkout"),
            ("checkout-api-7d9f8b6c5d-x2x9z", "checkout-api"),
            ("main-prometheus-0", "main-prometheus"),
            ("main-prometheus-shard-1-0", "main-prometheus-shard-1"),
            ("node-exporter-x7k2p", "node-exporter"),
            ("report-28391234-x7k2p", "report"),
            ("kube-apiserver-node1", "kube-apiserver-node1"),
            ("alone", "alone"),
        ] {
            assert_eq!(of(pod), workload, "{pod}");
        }
    }

    #[test]
    fn a_workload_has_its_own_pods_and_no_others() {
        let expr = expand("{@of}").replace("$namespace", "shop").replace("$workload", "checkout");
        let pattern = expr.split('"').nth(3).unwrap();
        let pattern = regex::Regex::new(&format!("^(?:{pattern})$")).unwrap();
        for pod in ["checkout-7d9f8b6c5d-x2x9z", "checkout-0", "checkout-x7k2p", "checkout"] {
            assert!(pattern.is_match(pod), "{pod}");
        }
        for pod in ["checkout-api-7d9f8b6c5d-x2x9z", "checkout-redis-0", "checkouts-0", "my-checkout-0"] {
            assert!(!pattern.is_match(pod), "{pod}");
        }
    }
}
