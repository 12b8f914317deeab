//! AlertRule -> rule file: whole files against golden ones, and the real promtool as the judge of both the files and
//! of our opinion on expressions.

use std::fs;
use std::path::Path;
use std::process::Command;

use evenkeel::api::AlertRule;
use evenkeel::rule::compile::compile;
use evenkeel::rule::group::Shipped;
use evenkeel::rule::{promql, render, shards, template, yaml};

/// Runs promtool and returns its success and everything it said.
fn promtool(args: &[&str], file: &Path) -> (bool, String) {
    let output = Command::new("promtool")
        .args(args)
        .arg(file)
        .output()
        .expect("promtool is not on PATH: run `make test`, which builds it and puts it there");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// What promtool says of an alert with this expression and annotation; `None` when it accepts it.
fn refused_by_promtool(expr: &str, annotation: &str) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules.yaml");
    let mut text = "groups:\n- name: x\n  rules:\n  - alert: X\n".to_owned();
    yaml::field(&mut text, 4, "expr", expr);
    yaml::map(&mut text, 4, "annotations", [("summary", annotation)]);
    fs::write(&file, text).unwrap();
    let (accepted, said) = promtool(&["check", "rules", "--lint=none"], &file);
    (!accepted).then_some(said)
}

fn golden(name: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots/rule");
    let input = fs::read_to_string(folder.join(format!("{name}.in.yaml"))).unwrap();
    let rule: AlertRule = serde_saphyr::from_str(&input).unwrap();
    let (file, refused) = render(&rule);
    let refused: String = refused
        .iter()
        .map(|r| {
            let column = r.column.map_or_else(|| "-".to_owned(), |column| column.to_string());
            format!("# rule {} {} {} column {column}: {}: {}\n", r.index, r.name, r.field, r.reason, r.message)
        })
        .collect();
    let actual = format!("{file}{refused}");
    let expected = folder.join(format!("{name}.out.yaml"));
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::write(&expected, &actual).unwrap();
    }
    assert_eq!(actual, fs::read_to_string(&expected).unwrap(), "UPDATE_SNAPSHOTS=1 accepts the change");
    let (accepted, said) = promtool(&["check", "rules", "--lint-fatal"], &expected);
    assert!(accepted, "{said}");
}

#[test]
fn an_alert_rule_becomes_exactly_this_file() {
    golden("checkout");
}

#[test]
fn wrong_rules_are_left_out_one_by_one() {
    golden("mixed");
}

#[test]
fn our_parser_and_prometheus_agree_on_good_expressions() {
    for expr in [
        "up == 0",
        "sum by (job, instance) (rate(http_requests_total{code=~\"5..\"}[5m])) > 0.5",
        "histogram_quantile(0.99, sum by (le) (rate(x_bucket[5m])))",
        "a / on (x) group_left (y) b",
        "a and ignoring (x) b unless on () c or d",
        "max_over_time(rate(foo[5m])[1h:30s])",
        "max_over_time(foo[1h:]) offset 5m",
        "foo offset -5m @ 1609746000.5",
        "foo @ end()",
        "rate(foo[1h30m] @ start())",
        "{__name__=~\"job:.*\", x!~\"a|b\"}",
        "{\"utf8.name\", \"label.name\"=\"x\"}",
        "label_replace(up, \"x\", \"$1\", \"instance\", \"(.*):.*\")",
        "topk(5, up) > bool 1",
        "-foo ^ 2 % 0x1F + .5e-3",
        "absent(up{job='x'}) # comment\n or vector(1)",
        "quantile_over_time(0.5, up[5m])",
        "count_values(\"v\", build_version)",
        "sum without (x) (foo) / scalar(bar)",
        "time() - process_start_time_seconds < 3600",
        "hour() > 8 < 18",
        "foo{a=`raw\\s`}",
        "predict_linear(node_filesystem_avail_bytes[1h], 4*3600) < 0",
        "sort_desc(sum(foo) by (bar))",
        "Inf > NaN or up",
        "atan2(1,2) or up",
        "foo atan2 bar",
        "group(up) by (job)",
        "stddev(up) + stdvar(up)",
        "rate(foo[300])",
        "clamp(up, 0, 1)",
        "last_over_time(up[5m]) == 1",
        "histogram_count(rate(x[5m]))",
        "changes(up[1h]) > 1d",
        "foo{x=\"\\u00e9\"}",
        "present_over_time(up[5m])",
        "sum(up) by (job,)",
        "1",
    ] {
        let theirs = refused_by_promtool(expr, "x");
        let ours = promql::check(expr).err();
        assert_eq!(ours.is_some(), theirs.is_some(), "{expr}\nours: {ours:?}\ntheirs: {theirs:?}");
    }
}

#[test]
fn our_parser_and_prometheus_agree_on_bad_expressions_and_where_they_are_wrong() {
    // The expression, and our column where it differs from promtool's.
    for (expr, differs) in [
        ("sum(rate(foo[5m]) by (x))", None),
        ("foo bar", None),
        ("sum(foo", None),
        ("foo)", Some(4)),
        ("foo{a=\"b\"", None),
        ("foo{a=b}", None),
        ("foo{a}", Some(5)),
        ("foo{a=\"b\",,}", None),
        ("foo ==", None),
        ("foo > > 1", None),
        ("foo and and bar", None),
        ("nosuch(foo)", None),
        ("1 + nosuch(foo)", None),
        ("foo[5x]", Some(6)),
        ("foo[]", Some(1)),
        ("foo $ 1", None),
        ("foo{x=`\\d`} $ 1", None),
        ("foo{a=~\"(\"}", Some(4)),
        ("{}", None),
        ("sum by foo (bar)", None),
        ("a / on (x) group_left group_right b", None),
        ("foo offset", None),
        ("foo @", None),
        ("\"open", Some(6)),
        ("1 > 2", Some(1)),
        ("foo group_left bar", None),
        ("=foo", None),
        ("foo =~ 1", Some(6)),
        ("foo!", None),
        ("sum()", None),
        ("rate(foo[5m],)", Some(1)),
        ("foo[5m][5m]", Some(1)),
    ] {
        let theirs = refused_by_promtool(expr, "x").unwrap_or_else(|| panic!("promtool accepts {expr}"));
        let ours = promql::check(expr).err().unwrap_or_else(|| panic!("we accept {expr}: {theirs}"));
        let column = theirs.split("expression: 1:").nth(1).and_then(|rest| rest.split(':').next()?.parse().ok());
        assert_eq!(ours.column, differs.or(column), "{expr}\nours: {ours:?}\ntheirs: {theirs}");
    }
}

#[test]
fn our_template_check_and_prometheus_agree() {
    for text in [
        "{{ $value | humanizePercentage }} {{ $labels.job }}",
        "{{ range $i, $v := query \"up\" }}{{ $v.Value }}{{ end }}",
        "{{ with $x := .Value }}{{ $x }}{{ end }}",
        "{{/* c */}}{{- if and true (gt $value 1.0) -}}a{{ else }}b{{ end }}",
        "{{ printf \"%.1f}}\" .Value }}",
        "{{ humanizeDuration 5 }}{{ (query \"up\" | first).Labels.x }}",
        "{{ define \"a\" }}x{{ end }}{{ template \"a\" }}",
        "{{ $",
        "{{ }}",
        "{{ nosuch }}",
        "{{ $lables.x }}",
        "{{ if true }}",
        "{{ end }}",
        "{{ else }}",
        "{{ if }}a{{ end }}",
        "{{ \"a }}",
        "{{ $value | nosuch 1 }}",
        "{{/* open }}",
        "}} fine",
    ] {
        let theirs = refused_by_promtool("up", text);
        let ours = template::check(text).err();
        assert_eq!(ours.is_some(), theirs.is_some(), "{text}\nours: {ours:?}\ntheirs: {theirs:?}");
    }
}

#[test]
fn promtool_accepts_a_whole_shard_with_kept_rules_and_its_revision() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots/rule");
    let texts = ["checkout", "mixed"].map(|name| {
        let input = fs::read_to_string(folder.join(format!("{name}.in.yaml"))).unwrap();
        let mut rule: AlertRule = serde_saphyr::from_str(&input).unwrap();
        let first = Shipped::new(&compile(&format!("shop/{name}"), Some(1), &rule.spec), None, &[]);
        for rule in &mut rule.spec.rules {
            rule.expr.push('(');
        }
        Shipped::new(&compile(&format!("shop/{name}"), Some(2), &rule.spec), Some(&first.text), &[]).text
    });
    assert!(texts.iter().all(|text| text.contains("generation 1")), "{texts:?}");
    let (text, revision) = shards::file(7, 3, texts.iter().map(|text| &**text));
    let target = tempfile::tempdir().unwrap();
    let file = target.path().join(shards::file_name(7));
    fs::write(&file, &text).unwrap();
    let (accepted, said) = promtool(&["check", "rules", "--lint=none"], &file);
    assert!(accepted, "{said}");
    assert!(revision.ends_with("-3") && text.contains(&revision), "{text}");
}
