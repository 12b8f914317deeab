//! From a person's YAML to whole objects and configurations, compared with files that a person can read, and given to
//! the real promtool and amtool. `UPDATE_SNAPSHOTS=1 cargo test --test stack_snapshots` writes the files anew.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use evenkeel::api::{MonitoringStack, NotificationChannel};
use evenkeel::cli::render::{Rendered, objects};
use evenkeel::k8s::manifests::{Built, Manifests};
use evenkeel::k8s::meta::Owner;
use evenkeel::stack::around::Around;
use evenkeel::stack::build::build;
use evenkeel::stack::component::grafana_dashboards::Found;
use evenkeel::stack::validate::{Home, Known, Problem, validate};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::ResourceExt;
use serde_json::Value;

fn folder(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots/stack").join(case)
}

/// What the input makes: the objects, the problems, and the configurations by file name.
struct Outcome {
    objects: String,
    problems: Vec<Problem>,
    configs: BTreeMap<String, String>,
}

fn outcome(input: &str) -> Outcome {
    let documents: Vec<Value> = serde_saphyr::from_multiple(input).expect("YAML");
    let mut of_kind: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for document in documents {
        of_kind.entry(document["kind"].as_str().expect("a kind").to_owned()).or_default().push(document);
    }
    fn typed<T: serde::de::DeserializeOwned>(of_kind: &BTreeMap<String, Vec<Value>>, kind: &str) -> Vec<T> {
        let all = of_kind.get(kind).cloned().unwrap_or_default();
        all.into_iter().map(|v| serde_json::from_value(v).unwrap_or_else(|e| panic!("{kind}: {e}"))).collect()
    }
    let stack = typed::<MonitoringStack>(&of_kind, "MonitoringStack").remove(0);
    let namespaces = typed::<Namespace>(&of_kind, "Namespace");
    let maps = typed::<ConfigMap>(&of_kind, "ConfigMap");
    let around = Around { dashboards: maps.iter().filter_map(Found::of).collect(), ..Around::default() };
    let known = Known {
        channels: typed::<NotificationChannel>(&of_kind, "NotificationChannel"),
        namespaces: namespaces.iter().map(|n| (n.name_any(), n.labels().clone())).collect(),
        around,
        ..Known::offline()
    };
    let home = Home {
        owner: Owner {
            api_version: "evenkeel.dev/v1alpha1".into(),
            kind: "MonitoringStack".into(),
            namespace: stack.namespace().expect("a namespace"),
            name: stack.name_any(),
            uid: "owner-uid".into(),
        },
        receiver_url: "http://receiver.operator-namespace.svc:8080".into(),
        cluster_role_prefix: "role-prefix".into(),
        rotation: None,
    };
    let (checked, problems) = validate(&stack.spec, home, known).expect("accepted");
    let mut manifests = build(&checked).expect("built").manifests;
    let configs = take_configs(&mut manifests);
    Outcome { objects: text(&manifests), problems, configs }
}

/// Configurations are compared as files of their own.
fn take_configs(manifests: &mut Manifests<Built>) -> BTreeMap<String, String> {
    let mut configs = BTreeMap::new();
    for map in &mut manifests.config_maps {
        for (key, content) in map.data.iter_mut().flatten() {
            let content = std::mem::replace(content, "(a file of its own)".into());
            // Those that ship have snapshots of their own: tests/dashboards.rs.
            if !key.contains("evenkeel_") {
                configs.insert(key.clone(), content);
            }
        }
    }
    for secret in &mut manifests.secrets {
        if let Some(content) = secret.data.as_mut().and_then(|d| d.get_mut("alertmanager.yml")) {
            let content = std::mem::replace(&mut content.0, b"(a file of its own)".to_vec());
            configs.insert("alertmanager.yml".into(), String::from_utf8(content).expect("UTF-8"));
        }
    }
    configs
}

fn text(manifests: &Manifests<Built>) -> String {
    let document = |Rendered { title, yaml, .. }: &Rendered| format!("--- # {title}\n{yaml}");
    objects(manifests).expect("YAML").iter().map(document).collect()
}

fn compare(path: &Path, actual: &str) {
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(path, actual).expect("writable");
        return;
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    if expected == actual {
        return;
    }
    let (old, new): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), actual.lines().collect());
    let same = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let show = |sign: &str, lines: &[&str]| {
        lines.iter().skip(same).take(12).map(|line| format!("{sign} {line}\n")).collect::<String>()
    };
    panic!(
        "{} differs from line {}:\n{}{}set UPDATE_SNAPSHOTS=1 if that is meant",
        path.display(),
        same + 1,
        show("-", &old),
        show("+", &new)
    );
}

/// Runs a tool of the local cluster; its absence is a failure.
fn tool(name: &str, args: &[&str]) {
    let output = Command::new(name).args(args).output().unwrap_or_else(|e| {
        panic!(
            "cannot run {name} ({e}): put it on PATH, `make unit` does so (`e2e/cluster/cluster bin` says where it is)"
        )
    });
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name} {args:?}:\n{said}");
}

/// Validates a configuration of the Collector, which looks at the folders that it names.
fn collector(config: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().to_str().expect("UTF-8");
    let path = folder.path().join("otelcol.yaml");
    let here = config.replace("/var/lib/otelcol", root).replace("root_path: /host", &format!("root_path: {root}"));
    std::fs::write(&path, here).expect("writable");
    let path = format!("--config={}", path.display());
    tool("env", &["NODE_NAME=node-name", "otelcol", "validate", &path]);
}

fn case(name: &str) -> Outcome {
    let folder = folder(name);
    let outcome = outcome(&std::fs::read_to_string(folder.join("input.yaml")).expect("input.yaml"));
    assert_eq!(outcome.problems, [], "{name} has no problems");
    compare(&folder.join("objects.yaml"), &outcome.objects);
    for (file, config) in &outcome.configs {
        let path = folder.join(file);
        compare(&path, config);
        let path = path.to_str().expect("UTF-8");
        match file.as_str() {
            "alertmanager.yml" => tool("amtool", &["check-config", path]),
            "jaeger.yaml" => tool("jaeger", &["validate", "--config", path]),
            // Strategies of Jaeger and what Grafana reads: there is no program that only checks them.
            "sampling.json" | "datasources.yaml" | "dashboards.yaml" => {}
            dashboard if dashboard.ends_with(".json") => {}
            // Its own program is not among the tools here.
            "blackbox.yaml" => {}
            "log-agent.yaml" | "log-gateway.yaml" => collector(config),
            "loki.yaml" => tool("loki", &["-verify-config", &format!("-config.file={path}")]),
            // The files that it names are in the pod.
            _ => tool("promtool", &["check", "config", "--syntax-only", path]),
        }
    }
    outcome
}

#[test]
fn the_smallest_prometheus() {
    case("minimal");
}

#[test]
fn the_smallest_alertmanager() {
    case("alertmanager_only");
}

#[test]
fn the_smallest_loki() {
    case("loki_minimal");
}

#[test]
fn three_lokis_over_an_object_store() {
    let outcome = case("loki_s3");
    assert!(!outcome.configs["loki.yaml"].contains("s3-credentials"), "credentials are in the environment");
}

#[test]
fn the_example_of_the_documentation() {
    case("example");
}

#[test]
fn traces_in_memory_and_grafana_by_themselves() {
    case("panes_minimal");
}

#[test]
fn traces_on_a_volume_and_everything_about_grafana() {
    let outcome = case("panes_full");
    assert!(outcome.configs.contains_key("shop_orders_board.json"), "{:?}", outcome.configs.keys());
}

#[test]
fn traces_in_an_elasticsearch_of_others() {
    case("jaeger_elasticsearch");
}

#[test]
fn traces_in_an_opensearch_of_others() {
    case("jaeger_opensearch");
}

#[test]
fn everything_that_can_be_written() {
    let outcome = case("full");
    for config in outcome.configs.values() {
        assert!(!config.contains("fresh-token"), "a token belongs to a file of its own");
    }
}

#[test]
fn the_smallest_log_agent() {
    let outcome = case("logs_minimal");
    assert!(!outcome.configs.contains_key("log-gateway.yaml"), "nothing is sent to it");
}

#[test]
fn everything_that_can_be_written_about_logs() {
    case("logs_full");
}

#[test]
fn exporters_with_their_defaults() {
    case("exporters_minimal");
}

#[test]
fn everything_that_can_be_written_about_exporters() {
    let outcome = case("exporters_full");
    let probes = &outcome.configs["blackbox.yaml"];
    assert!(probes.contains("credentials_file") && probes.contains("password_file"), "credentials are files");
}

#[test]
fn the_same_input_gives_the_same_output() {
    let input = std::fs::read_to_string(folder("full").join("input.yaml")).expect("input.yaml");
    let (first, second) = (outcome(&input), outcome(&input));
    assert_eq!((first.objects, first.configs), (second.objects, second.configs));
}
