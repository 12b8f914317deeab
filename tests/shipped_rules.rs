//! The rules that ship: whole groups against golden files, the real promtool as the judge of every alert, and a
//! runbook for each.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use evenkeel::api::duration::PromDuration;
use evenkeel::shipped::{GROUPS, Kind, Need, Of, Settings, Sources, Threshold, alerts, compiled, groups};
use serde::Deserialize;

const OF: Of = Of { namespace: "monitoring", stack: "main" };

/// When an alert fires, and when it does not.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    fires: Vec<Case>,
    healthy: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    at: String,
    #[serde(default)]
    severities: BTreeSet<String>,
    /// Pace of the series and of the evaluation: a minute.
    #[serde(default)]
    step: Option<String>,
    series: BTreeMap<String, String>,
}

fn folder(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn promtool(args: &[&str], file: &Path) -> (bool, String) {
    let output = Command::new("promtool")
        .args(args)
        .arg(file)
        .output()
        .expect("promtool is not on PATH: run `make test`, which builds it and puts it there");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// The rule file of every group, by the name of the group.
fn files(settings: &Settings) -> BTreeMap<String, String> {
    let groups = compiled(settings, &Sources::all(), OF, None).into_iter();
    let file = |(name, compiled): (String, evenkeel::rule::compile::Compiled)| {
        let short = name.rsplit('/').next().unwrap().to_owned();
        (short, format!("groups:\n{}", compiled.text()))
    };
    groups.map(file).collect()
}

fn cases(group: &str) -> BTreeMap<String, Cases> {
    let file = folder("tests/shipped").join(format!("{group}.yaml"));
    let text = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// One test of promtool: the severities with which the alert fires at that time.
fn unit_test(text: &mut String, alert: &str, case: &Case, number: usize) {
    let step = case.step.as_deref().unwrap_or("1m");
    let name = format!("{alert} {number}");
    writeln!(text, "- name: {name}\n  interval: {step}\n  input_series:").unwrap();
    for (series, values) in &case.series {
        writeln!(text, "  - {{series: {}, values: {}}}", quoted(series), quoted(values)).unwrap();
    }
    let expr = format!("group by (severity) (ALERTS{{alertname=\"{alert}\",alertstate=\"firing\"}})");
    writeln!(text, "  promql_expr_test:\n  - expr: {}\n    eval_time: {}\n    exp_samples:", quoted(&expr), case.at)
        .unwrap();
    for severity in &case.severities {
        writeln!(text, "    - {{labels: '{{severity=\"{severity}\"}}', value: 1}}").unwrap();
    }
}

#[test]
fn every_group_is_as_it_was_and_promtool_accepts_it() {
    let snapshots = folder("tests/snapshots/shipped");
    let files = files(&Settings::default());
    for (group, actual) in &files {
        let expected = snapshots.join(format!("{group}.yaml"));
        if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
            fs::create_dir_all(&snapshots).unwrap();
            fs::write(&expected, actual).unwrap();
        }
        let text = fs::read_to_string(&expected).unwrap_or_default();
        assert_eq!(*actual, text, "{group}: UPDATE_SNAPSHOTS=1 accepts the change");
        let (accepted, said) = promtool(&["check", "rules", "--lint-fatal"], &expected);
        assert!(accepted, "{group}: {said}");
    }
    let there: BTreeSet<String> = names(&snapshots, ".yaml");
    assert_eq!(there, files.into_keys().collect(), "a golden file without a group, or a group without one");
}

#[test]
fn every_alert_fires_when_it_should_and_only_then() {
    let scratch = tempfile::tempdir().unwrap();
    let files = files(&Settings::default());
    let mut failed = String::new();
    for group in &GROUPS {
        let cases = cases(group.name);
        let alerts: BTreeSet<&str> = group.alerts().map(|alert| alert.name).collect();
        assert_eq!(alerts, cases.keys().map(String::as_str).collect(), "cases of the group {}", group.name);
        // What other groups record for this one is there as well.
        let read = group.builds_on.iter().copied().chain([group.name]);
        let mut rule_files = vec![];
        for name in read {
            fs::write(scratch.path().join(format!("{name}.rules.yaml")), &files[name]).unwrap();
            rule_files.push(format!("{name}.rules.yaml"));
        }
        // promtool evaluates every group of a file at one pace.
        let mut by_step: BTreeMap<&str, String> = BTreeMap::new();
        for (alert, Cases { fires, healthy }) in &cases {
            assert!(!fires.is_empty() && (!healthy.is_empty() || alert == "Watchdog"), "{alert} lacks a case");
            assert!(fires.iter().all(|case| !case.severities.is_empty()), "{alert}");
            assert!(healthy.iter().all(|case| case.severities.is_empty()), "{alert}");
            for (number, case) in fires.iter().chain(healthy).enumerate() {
                let text = by_step.entry(case.step.as_deref().unwrap_or("1m")).or_default();
                unit_test(text, alert, case, number + 1);
            }
        }
        for (step, tests) in by_step {
            let file = scratch.path().join(format!("{}.{step}.yaml", group.name));
            let order = rule_files.join(", ");
            let head = format!("rule_files: [{order}]\nevaluation_interval: {step}\ngroup_eval_order: [");
            let evaluated = rule_files.iter().map(|file| file.strip_suffix(".rules.yaml").unwrap());
            let groups: Vec<String> = evaluated.map(|name| format!("stack/monitoring/main/{name}")).collect();
            fs::write(&file, format!("{head}{}]\ntests:\n{tests}", groups.join(", "))).unwrap();
            let (passed, said) = promtool(&["test", "rules"], &file);
            if !passed {
                writeln!(failed, "{}, every {step}:\n{said}", group.name).unwrap();
            }
        }
    }
    assert!(failed.is_empty(), "{failed}");
}

/// Names of the files of a folder with an ending, without it.
fn names(folder: &Path, ending: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter_map(|name| Some(name.strip_suffix(ending)?.to_owned())).collect()
}

#[test]
fn every_alert_has_a_runbook_with_its_four_parts_and_a_line_in_the_index() {
    let runbooks = folder("docs/runbooks");
    let index = fs::read_to_string(runbooks.join("README.md")).unwrap();
    for alert in alerts().map(|alert| alert.name) {
        let file = runbooks.join(format!("{alert}.md"));
        let text = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        assert!(text.starts_with(&format!("# {alert}\n")), "{alert}: the first line is its name");
        let headings: Vec<&str> = text.lines().filter(|line| line.starts_with("## ")).collect();
        let wanted = ["## What it means", "## What to look at", "## What to do", "## What Evenkeel may do by itself"];
        assert_eq!(headings, wanted, "{alert}");
        for part in text.split("\n## ").skip(1) {
            assert!(part.lines().skip(1).any(|line| line.len() > 20), "{alert}: an empty part");
        }
        assert!(index.contains(&format!("[{alert}]({alert}.md)")), "{alert} is not in the index");
    }
    let mut pages = names(&runbooks, ".md");
    pages.remove("README");
    let known: BTreeSet<String> = alerts().map(|alert| alert.name.to_owned()).collect();
    assert_eq!(pages, known, "a page without an alert");
}

#[test]
fn check_names_what_a_stack_says_wrongly_about_the_rules() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("stack.yaml");
    let stack = |rules: &str| {
        let head = "apiVersion: evenkeel.dev/v1alpha1\nkind: MonitoringStack\nmetadata: {name: main, namespace: m}\n";
        fs::write(&file, format!("{head}spec: {{prometheus: {{}}, rules: {rules}}}\n")).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_evenkeel")).arg("check").arg("-f").arg(&file).output().unwrap();
        (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    let (good, said) = stack(
        "{disabled: [HPAMaxedOut], thresholds: {HighLatency: {warning: 500ms, critical: 1s}, HighErrorRate: {warning: 0.01}}}",
    );
    assert!(good, "{said}");
    let (good, said) = stack("{disabled: [HPAMaxOut], thresholds: {HighLatency: {warning: 5}}}");
    assert!(!good && said.contains("did you mean HPAMaxedOut?") && said.contains("write a duration"), "{said}");
}

/// When a group is loaded.
fn loaded(needs: Need) -> &'static str {
    match needs {
        Need::Nothing => "Always loaded: silent where nobody counts what it reads.",
        Need::Kubelet => "Loaded with `prometheus.scrape.kubelet`, which is on by default.",
        Need::Cadvisor => "Loaded with `prometheus.scrape.cadvisor`, which is on by default.",
        Need::KubeState => "Needs kube-state-metrics.",
        Need::Node => "Needs the node exporter.",
        Need::Database => "Needs an exporter for PostgreSQL or MySQL.",
        Need::Redis => "Needs an exporter for Redis.",
        Need::Kafka => "Needs an exporter of Kafka's lag.",
        Need::Probes => "Needs probes.",
        Need::Loki => "Loaded with `loki`.",
        Need::Jaeger => "Loaded with `jaeger`.",
        Need::Collector => "Loaded with `logs`.",
    }
}

fn told(threshold: &Threshold) -> String {
    let Threshold { name, kind, default } = *threshold;
    let value = match kind {
        Kind::Duration => PromDuration(Duration::from_millis((default * 1000.0) as u64)).to_string(),
        Kind::Bytes => format!("{}Mi", default / 1_048_576.0),
        Kind::Ratio | Kind::Count => default.to_string(),
    };
    format!("`{name}` {value}")
}

/// The tables of the index.
fn tables() -> String {
    let mut text = String::new();
    let groups = groups(&Settings::default(), &Sources::all(), OF);
    for group in &GROUPS {
        write!(text, "\n## `{}`\n\n{}\n\n", group.name, loaded(group.needs)).unwrap();
        text.push_str("| alert | thresholds with their defaults |\n|---|---|\n");
        for alert in group.alerts() {
            let thresholds: Vec<String> = alert.thresholds().iter().map(told).collect();
            writeln!(text, "| [{0}]({0}.md) | {1} |", alert.name, thresholds.join(", ")).unwrap();
        }
        let spec = groups.iter().find(|(name, _)| *name == group.name).map(|(_, spec)| spec).unwrap();
        let recorded: Vec<_> = spec.rules.iter().filter_map(|rule| rule.record.as_deref()).collect();
        if !recorded.is_empty() {
            write!(text, "\nRecords `{}`.\n", recorded.join("`, `")).unwrap();
        }
    }
    text
}

#[test]
fn the_index_of_the_runbooks_tells_every_group_threshold_and_recorded_series() {
    let file = folder("docs/runbooks/README.md");
    let text = fs::read_to_string(&file).unwrap();
    let (head, _) = text.split_once("\n## `").expect("the index has its tables");
    let actual = format!("{head}{}", tables());
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::write(&file, &actual).unwrap();
    }
    assert_eq!(actual, fs::read_to_string(&file).unwrap(), "UPDATE_SNAPSHOTS=1 writes the tables anew");
}
