//! `evenkeel check` and `evenkeel render` as a person runs them: the built binary, real files, and promtool and amtool
//! as the judges of what is rendered.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn evenkeel(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What `check` says of a document on standard input, and its exit code.
fn checked(yaml: &str) -> (String, i32) {
    let output = evenkeel(&["check", "-f", "-"], yaml);
    (text(&output.stdout), output.status.code().unwrap())
}

fn object(kind: &str, spec: &str) -> String {
    format!("{{apiVersion: evenkeel.dev/v1alpha1, kind: {kind}, metadata: {{name: x, namespace: shop}}, spec: {spec}}}")
}

/// A spec in order but for one field, which replaces that of the same name.
fn slo_spec(field: &str) -> String {
    let (name, _) = field.split_once(':').unwrap();
    let fields = [
        "service: shop",
        "objective: 99.9",
        "window: {rolling: 30d}",
        "indicator: {ratio: {errors: {metric: errors_total}, total: {metric: requests_total}}}",
    ];
    let kept = fields.into_iter().filter(|kept| kept.split(':').next() != Some(name));
    format!("{{{}, {field}}}", kept.collect::<Vec<_>>().join(", "))
}

/// Runs a tool of the local cluster on a file; its absence is a failure.
fn tool(name: &str, arguments: &[&str], content: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rendered.yaml");
    fs::write(&file, content).unwrap();
    let output = Command::new(name).args(arguments).arg(&file).output().unwrap_or_else(|e| {
        panic!(
            "cannot run {name} ({e}): put it on PATH, `make unit` does so (`e2e/cluster/cluster bin` says where it is)"
        )
    });
    assert!(output.status.success(), "{name}:\n{}{}\n{content}", text(&output.stdout), text(&output.stderr));
}

/// An AlertRule of the demo with a test; in it 20 of 100 requests fail, and the alerts are expected at 20m.
fn tested_rule(alerts: &str) -> String {
    object(
        "AlertRule",
        &format!(
            r#"{{labels: {{team: checkout}}, rules: [
            {{record: "job:errors:ratio", expr: 'sum by (job) (rate(errors_total[5m])) / sum by (job) (rate(requests_total[5m]))'}},
            {{alert: HighErrorRate, expr: "job:errors:ratio", tiers: [{{severity: warning, above: 0.05, for: 5m}}, {{severity: critical, above: 0.3, for: 5m}}]}}],
            tests: [{{name: a fifth fails, series: [{{series: 'errors_total{{job="checkout"}}', values: '0+20x30'}}, {{series: 'requests_total{{job="checkout"}}', values: '0+100x30'}}],
            alerts: [{{at: 4m, alert: HighErrorRate}}, {alerts}],
            values: [{{at: 20m, expr: 'job:errors:ratio', samples: [{{labels: {{job: checkout, team: checkout}}, value: 0.2}}]}}]}}]}}"#
        ),
    )
}

#[test]
fn the_tests_of_an_alert_rule_are_run_and_say_what_was_expected_and_what_came() {
    let good = "{at: 20m, alert: HighErrorRate, firing: [{severity: warning}], notFiring: [{severity: critical}]}";
    let output = evenkeel(&["check", "-f", "-"], &tested_rule(good));
    assert_eq!((text(&output.stdout).as_str(), output.status.code()), ("", Some(0)), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("1 test run, 0 failures"), "{}", text(&output.stderr));
    let (said, code) = checked(&tested_rule("{at: 20m, alert: HighErrorRate, firing: [{severity: critical}]}"));
    assert_eq!(
        said,
        "-:1 AlertRule shop/x: spec.tests[0].alerts[1]: a fifth fails: HighErrorRate at 20m: expected {severity=\"critical\"} to fire, \
         got {job=\"checkout\", severity=\"warning\", team=\"checkout\"} firing\n"
    );
    assert_eq!(code, 1);
    let (said, code) = checked(&tested_rule("{at: 20m, alert: HighErrorRat}"));
    assert!(
        said.contains(
            "spec.tests[0].alerts[1].alert: \"HighErrorRat\" is no alert of these rules: did you mean HighErrorRate?"
        ),
        "{said}"
    );
    assert_eq!(code, 1);
}

#[test]
fn tests_that_cannot_be_run_are_no_success() {
    let rule = tested_rule("{at: 20m, alert: HighErrorRate, firing: [{}]}");
    let output = evenkeel(&["check", "--promtool", "/nowhere/promtool", "-f", "-"], &rule);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("1 test of AlertRules cannot be run: there is no /nowhere/promtool"), "{said}");
    let broken = rule.replace("0+20x30", "0+20y30");
    let (said, code) = checked(&broken);
    assert!(code == 1 && said.contains("promtool cannot run this test: expected an answer, got"), "{said}");
}

#[test]
fn every_example_is_in_order() {
    let output = evenkeel(&["check", "-f", "examples"], "");
    assert_eq!((text(&output.stdout).as_str(), output.status.code()), ("", Some(0)), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains(" 0 faults"), "{}", text(&output.stderr));
}

#[test]
fn each_fault_names_file_document_object_field_value_and_the_way_out() {
    for (kind, spec, said) in [
        // The shape.
        (
            "AlertRule",
            "{rules: [{alert: A, expr: up}], intervall: 15s}",
            "spec.intervall: unknown field: did you mean interval?",
        ),
        ("AlertRule", "{rules: []}", "spec.rules: has 0 items, at least 1 are needed"),
        ("MonitoringStack", "{prometheus: {replicas: 0}}", "spec.prometheus.replicas: 0 is less than 1"),
        ("MonitoringStack", "{prometheus: {retention: 10x}}", "spec.prometheus.retention: \"10x\""),
        // Expressions and templates.
        (
            "AlertRule",
            "{rules: [{record: 'a:b', expr: up}, {alert: Down, expr: 'sum(up'}]}",
            "spec.rules[1].expr: column 7: ",
        ),
        (
            "AlertRule",
            "{rules: [{alert: Down, expr: up == 0, annotations: {summary: '{{ $lables.job }}'}}]}",
            "spec.rules[0].annotations.summary: column 1: ",
        ),
        // Routing.
        (
            "MonitoringStack",
            "{alertmanager: {routes: [{channel: oncall, matchers: ['severity=critical\"']}]}}",
            "spec.alertmanager.routes[0] (channel oncall) is left out: ",
        ),
        (
            "MonitoringStack",
            "{prometheus: {pod: {extraArgs: ['--config.file=x']}}}",
            "spec.prometheus.pod.extraArgs has --config.file=x, a flag that Evenkeel sets itself: take it out",
        ),
        // Channels.
        (
            "NotificationChannel",
            "{email: {to: 'a@example.com, b', from: c@example.com, smarthost: 'smtp.example.com:587'}}",
            "spec.email.to has \"b\", which is no email address",
        ),
        // What CEL says in the API server.
        (
            "NotificationChannel",
            "{slack: {webhookUrlSecretRef: {name: a, key: b}}, webhook: {url: 'http://a'}}",
            "spec: set exactly one of slack, pagerduty, webhook, email, teams and github",
        ),
        ("AlertRule", "{rules: [{alert: A, record: 'a:b', expr: up}]}", "spec.rules[0]: set exactly one of alert"),
        // Responses.
        (
            "AlertResponse",
            "{match: {matchers: ['a=~\".*\"']}, target: {name: a}, steps: [{restart: {}}]}",
            "spec.match matches every alert: give alert, or a matcher that refuses the empty value",
        ),
        (
            "AlertResponse",
            "{match: {alert: A}, target: {name: a}, steps: [{restart: {}}], verify: {within: 1m, settle: 1m}}",
            "spec.verify.settle (1m) is not shorter than spec.verify.within (1m)",
        ),
        // SLOs and what belongs to them.
        ("SLO", &slo_spec("objective: 100"), "spec.objective: 100 leaves no error budget"),
        ("SLO", &slo_spec("objective: 0"), "spec.objective: 0 promises nothing"),
        ("SLO", &slo_spec("window: {rolling: 0s}"), "spec.window.rolling: a window of 0 holds no events: write for"),
        (
            "SLO",
            &slo_spec("window: {calendar: month}"),
            "spec.window.timeZone: a calendar window needs to know when a day begins: write timeZone, for example",
        ),
        (
            "SLO",
            &slo_spec("indicator: {ratio: {good: {metric: 'ok{code=}'}, total: {metric: all}}}"),
            "spec.indicator.ratio.good.metric: column 9: \"ok{code=}\" is not a selector: ",
        ),
        ("SLO", &slo_spec("objectiv: 99"), "spec.objectiv: unknown field: did you mean objective?"),
        (
            "ErrorBudgetPolicy",
            "{thresholds: [{remainingBelow: 10}, {remainingBelow: 50}]}",
            "spec.thresholds[1].remainingBelow: 50 is not below 10: ",
        ),
        (
            "ErrorBudgetPolicy",
            "{thresholds: [{remainingBelow: 10, notify: [oncal]}]}",
            "spec.thresholds[0].notify[0]: there is no NotificationChannel oncal in these files: did you mean oncall?",
        ),
        (
            "ChangeFreeze",
            "{reason: quiet, workloads: [{kind: Deployment, name: 'shop-*'}]}",
            "spec.workloads[0].name: \"shop-*\" is no name of a workload: write one, or * for every Deployment",
        ),
        (
            "ChangeFreeze",
            "{reason: quiet, until: tomorrow, workloads: [{kind: Deployment, name: shop}]}",
            "spec.until: \"tomorrow\" is no time such as 2026-11-30T08:00:00Z",
        ),
        (
            "ChangeFreeze",
            "{reason: quiet, from: '2026-11-28T00:00:00Z', until: '2026-11-28T01:00:00+02:00', workloads: [{kind: Deployment, name: shop}]}",
            "spec: until is not after from: the freeze would end before it begins",
        ),
        (
            "ChangeFreeze",
            "{reason: ' ', workloads: [{kind: Deployment, name: shop}]}",
            "spec: reason is blank: whoever is refused is to read why",
        ),
        ("BudgetAdjustment", "{slos: [x]}", "spec.exclude: set exactly one of exclude and giveBack"),
        (
            "BudgetAdjustment",
            "{slos: [x], exclude: {start: '2026-11-14T01:00:00Z', duration: 32d}}",
            "spec.exclude.duration: 32d is not between 1s and 31d",
        ),
    ] {
        let channel = "{apiVersion: evenkeel.dev/v1alpha1, kind: NotificationChannel, metadata: {name: oncall, namespace: shop}, spec: {slack: {webhookUrlSecretRef: {name: a, key: b}}}}";
        let (found, code) = checked(&format!("{channel}\n---\n{}", object(kind, spec)));
        let expected = format!("-:2 {kind} shop/x: {said}");
        assert!(found.starts_with(&expected) && code == 1, "{spec}\nexpected: {expected}\nfound: {found}");
        assert_eq!(found.lines().count(), 1, "{found}");
    }
}

#[test]
fn every_fault_of_every_file_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let rules = "{rules: [{alert: A, expr: 'up ==', severity: info}, {alert: B, expr: up}, {alert: C, expr: '{}'}]}";
    fs::write(folder.path().join("a.yaml"), object("AlertRule", rules)).unwrap();
    fs::create_dir(folder.path().join("more")).unwrap();
    fs::write(folder.path().join("more/b.yml"), object("MonitoringStack", "{prometheu: {}}")).unwrap();
    fs::write(folder.path().join("notes.txt"), "not YAML: [").unwrap();
    let output = evenkeel(&["check", "-f", folder.path().to_str().unwrap()], "");
    let found = text(&output.stdout);
    let fields: Vec<&str> = found.lines().map(|line| line.split(": ").nth(1).unwrap()).collect();
    assert_eq!(fields[..2], ["spec.rules[0].expr", "spec.rules[2].expr"], "{found}");
    assert!(fields[2..].contains(&"spec.prometheu"), "{found}");
}

#[test]
fn a_name_that_is_given_twice_is_a_fault() {
    let rule = object("AlertRule", "{rules: [{alert: A, expr: up}]}");
    let (found, code) = checked(&format!("{rule}\n---\n{rule}"));
    assert_eq!(code, 1);
    assert_eq!(found, "-:2 AlertRule shop/x: metadata.name: is the name of -:1 too: one would overwrite the other\n");
}

#[test]
fn a_channel_that_no_file_holds_is_a_fault_only_where_channels_are_given() {
    let stack = object("MonitoringStack", "{alertmanager: {routes: [{channel: oncal}]}}");
    let response =
        object("AlertResponse", "{match: {alert: A}, target: {name: a}, steps: [{notify: {channels: [oncal]}}]}")
            .replace("name: x,", "name: other,");
    let output = evenkeel(&["check", "-f", "-"], &format!("{stack}\n---\n{response}"));
    assert_eq!((text(&output.stdout).as_str(), output.status.code()), ("", Some(0)));
    assert_eq!(text(&output.stderr).matches("not checked: ").count(), 2, "{}", text(&output.stderr));

    let channel = object("NotificationChannel", "{slack: {webhookUrlSecretRef: {name: a, key: b}}}");
    let channel = channel.replace("name: x,", "name: oncall,");
    let (found, code) = checked(&format!("{stack}\n---\n{response}\n---\n{channel}"));
    assert_eq!((found.matches("did you mean oncall?").count(), code), (2, 1), "{found}");
}

#[test]
fn names_of_slos_and_policies_are_looked_up_among_the_files() {
    let slo = object("SLO", &slo_spec("policyRef: {name: standrd}")).replace("name: x,", "name: api,");
    let adjustment = object("BudgetAdjustment", "{slos: [apo], giveBack: {percent: 10, at: '2026-11-14T01:00:00Z'}}");
    let policy =
        object("ErrorBudgetPolicy", "{thresholds: [{remainingBelow: 10}]}").replace("name: x", "name: standard");
    // Without a policy in the files nobody knows what the cluster has.
    let output = evenkeel(&["check", "-f", "-"], &slo);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stderr).starts_with("not checked: "), "{}", text(&output.stderr));

    let (found, code) = checked(&format!("{slo}\n---\n{adjustment}\n---\n{policy}"));
    assert_eq!(code, 1);
    assert_eq!(
        found,
        "-:1 SLO shop/api: spec.policyRef.name: there is no ErrorBudgetPolicy standrd in these files: did you mean standard?\n\
         -:2 BudgetAdjustment shop/x: spec.slos[0]: there is no SLO apo in these files: did you mean api?\n"
    );
    // An object of another namespace is another object.
    let elsewhere = policy.replace("namespace: shop", "namespace: lab");
    assert_eq!(checked(&format!("{slo}\n---\n{elsewhere}")), (String::new(), 0));
}

#[test]
fn two_slos_of_one_name_in_two_namespaces_are_two() {
    let slo = object("SLO", &slo_spec("objective: 99"));
    let documents =
        rendered(&["render", "-f", "-"], &format!("{slo}\n---\n{}", slo.replace("namespace: shop", "namespace: lab")));
    // One rule file of both: no group and no series is the same.
    let [rules] = &documents[..] else { panic!("{documents:?}") };
    let titles: Vec<&str> = rules.lines().filter(|line| line.starts_with('#')).collect();
    assert_eq!(titles, ["# rules of -:1 SLO shop/x", "# rules of -:2 SLO lab/x"]);
    tool("promtool", &["check", "rules", "--lint-fatal"], rules);
}

#[test]
fn rules_of_prometheus_are_one_document_and_those_of_loki_another() {
    let rule = |name: &str, source: &str, expr: &str| {
        let spec = format!("{{source: {source}, rules: [{{alert: {name}, expr: '{expr}'}}]}}");
        object("AlertRule", &spec).replace("name: x", &format!("name: {}", name.to_lowercase()))
    };
    let (up, down) = (rule("Up", "metrics", "up == 1"), rule("Down", "metrics", "up == 0"));
    let failed = rule("Failed", "logs", r#"count_over_time({source="pod"}[5m]) > 5"#);
    let documents = rendered(&["render", "-f", "-"], &[up, failed, down].join("\n---\n"));
    let [metrics, logs] = &documents[..] else { panic!("{documents:?}") };
    assert!(metrics.contains("alert: Up") && metrics.contains("alert: Down") && !metrics.contains("Failed"));
    assert!(logs.starts_with("# LogQL: ") && logs.contains("alert: Failed") && !logs.contains("Down"), "{logs}");
    tool("promtool", &["check", "rules", "--lint=none"], metrics);
}

#[test]
fn what_cannot_be_read_is_said_and_fails() {
    for (arguments, input, said) in [
        (["check", "-f", "/nowhere/at-all.yaml"], "", "/nowhere/at-all.yaml: "),
        (["check", "-f", "-"], "a: [", "-: not YAML: "),
        (["render", "-f", "-"], "a: [", "-: not YAML: "),
    ] {
        let output = evenkeel(&arguments, input);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains(said), "{}", text(&output.stderr));
    }
}

/// The documents of `render`.
fn rendered(arguments: &[&str], input: &str) -> Vec<String> {
    let output = evenkeel(arguments, input);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    text(&output.stdout).split("\n---\n").map(str::to_owned).collect()
}

#[test]
fn rendered_rule_files_are_accepted_by_promtool() {
    let documents = rendered(&["render", "-f", "examples"], "");
    let rules: Vec<_> = documents.iter().filter(|document| document.starts_with("groups:\n")).collect();
    assert_eq!(rules.len(), 1, "{documents:?}");
    assert!(rules[0].matches("# rules of ").count() >= 2, "{}", rules[0]);
    tool("promtool", &["check", "rules", "--lint-fatal"], rules[0]);
}

#[test]
fn rendered_configurations_are_accepted_by_promtool_and_amtool() {
    let documents = rendered(&["render", "-f", "examples/production"], "");
    let config = |kind: &str, field: &str, key: &str| -> String {
        let found = documents.iter().find_map(|yaml| {
            let object: Value = serde_saphyr::from_str(yaml).unwrap();
            if object["kind"] == kind { Some(object[field][key].as_str()?.to_owned()) } else { None }
        });
        found.unwrap_or_else(|| panic!("no {kind} with {key}"))
    };
    tool("promtool", &["check", "config", "--syntax-only"], &config("ConfigMap", "data", "prometheus.yml"));
    let alertmanager = config("Secret", "stringData", "alertmanager.yml");
    tool("amtool", &["check-config"], &alertmanager);
    assert!(alertmanager.contains("oncall"), "{alertmanager}");
}

#[test]
fn the_same_files_render_to_the_same_text() {
    let arguments = ["render", "-f", "examples", "-f", "tests/snapshots/stack/full/input.yaml"];
    assert_eq!(evenkeel(&arguments, "").stdout, evenkeel(&arguments, "").stdout);
}

#[test]
fn a_token_is_never_rendered() {
    let stack = object("MonitoringStack", "{alertmanager: {}}");
    let documents = rendered(&["render", "-f", "-"], &stack);
    let token = documents.iter().find(|document| document.starts_with("# Secret shop/x-receiver-token ")).unwrap();
    let token: Value = serde_saphyr::from_str(token).unwrap();
    assert_eq!((&token["data"], &token["stringData"]), (&Value::Null, &Value::Null));
}

#[test]
fn a_password_is_never_rendered() {
    let stack = object("MonitoringStack", "{grafana: {}}");
    let documents = rendered(&["render", "-f", "-"], &stack);
    let admin = documents.iter().find(|document| document.starts_with("# Secret shop/x-grafana-admin ")).unwrap();
    let admin: Value = serde_saphyr::from_str(admin).unwrap();
    assert_eq!((&admin["data"], &admin["stringData"]), (&Value::Null, &Value::Null));
}

#[test]
fn what_is_wrong_is_left_out_and_said_beside_the_rest() {
    let rules = object("AlertRule", "{rules: [{alert: Good, expr: up}, {alert: Bad, expr: 'up ==' }]}");
    let output = evenkeel(&["render", "-f", "-"], &rules);
    let (yaml, said) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(1));
    assert!(yaml.contains("Good") && !yaml.contains("Bad"), "{yaml}");
    assert!(said.contains("spec.rules[1].expr: "), "{said}");
    tool("promtool", &["check", "rules", "--lint=none"], &yaml);
}

#[test]
fn the_definitions_can_be_written_to_a_directory() {
    let folder = tempfile::tempdir().unwrap();
    let output = evenkeel(&["crds", "--directory", folder.path().to_str().unwrap()], "");
    assert!(output.status.success());
    let count = fs::read_dir(folder.path()).unwrap().count();
    let kept = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("crds")).unwrap().count();
    assert_eq!(count, kept);
}

#[test]
fn dashboards_are_written_one_file_each_in_the_folders_of_grafana() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().to_str().unwrap();
    let output = evenkeel(&["dashboards", "--directory", directory, "--without", "loki,jaeger"], "");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let printed = text(&output.stdout);
    assert!(printed.contains("/Services/overview.json\n") && !printed.contains("logs.json"), "{printed}");
    for path in printed.lines() {
        let json: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        assert!(json["uid"].as_str().unwrap().starts_with("evenkeel-"), "{path}");
    }
}
