//! Every dashboard that ships: whole JSON compared with files that a person can read, and what must hold for each panel,
//! query and variable. `UPDATE_SNAPSHOTS=1 cargo test --test dashboards` writes the files anew.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use evenkeel::dashboards::{Dashboard, Language, Parts, panels, shipped};
use serde_json::Value;

const COLUMNS: u64 = 24;

/// All of them, with their JSON.
fn all() -> Vec<(Dashboard, Value)> {
    parsed(Parts::ALL)
}

fn parsed(parts: Parts) -> Vec<(Dashboard, Value)> {
    let json = |dashboard: &Dashboard| serde_json::from_str(&dashboard.json).expect("JSON");
    shipped(parts).into_iter().map(|dashboard| (dashboard.clone(), json(&dashboard))).collect()
}

fn list<'a>(value: &'a Value, path: &str) -> &'a [Value] {
    value.pointer(path).and_then(Value::as_array).unwrap_or_else(|| panic!("no list {path}"))
}

fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    value.pointer(path).and_then(Value::as_str).unwrap_or_else(|| panic!("no text {path} in {value}"))
}

/// Panels without the headlines.
fn of(json: &Value) -> impl Iterator<Item = &Value> {
    list(json, "/panels").iter().filter(|panel| panel["type"] != "row")
}

/// `dashboard: panel`, for messages.
fn place(dashboard: &Dashboard, panel: &Value) -> String {
    format!("{}: {}", dashboard.name, panel["title"])
}

/// Names of the variables in a text.
fn references(text: &str) -> BTreeSet<String> {
    let word =
        |rest: &str| rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or("").to_owned();
    let names = text.split('$').skip(1).map(|rest| word(rest.strip_prefix('{').unwrap_or(rest)));
    names.filter(|name| name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')).collect()
}

#[test]
fn each_dashboard_is_as_it_was_seen_last() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots/dashboards");
    let mut expected = BTreeSet::new();
    for (dashboard, _) in all() {
        let path = folder.join(format!("{}.json", dashboard.name));
        expected.insert(path.clone());
        if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
            std::fs::write(&path, &dashboard.json).expect("writable");
            continue;
        }
        let old = std::fs::read_to_string(&path).unwrap_or_default();
        let differs = (1..).zip(old.lines().zip(dashboard.json.lines())).find(|(_, (old, new))| old != new);
        let hint = "set UPDATE_SNAPSHOTS=1 if that is meant";
        assert!(old == dashboard.json, "{} differs: {differs:?}; {hint}", path.display());
    }
    let files = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    assert_eq!(files.collect::<BTreeSet<_>>(), expected, "a file for each dashboard and no other");
}

#[test]
fn every_panel_says_what_it_shows_and_where_it_comes_from() {
    for (dashboard, json) in all() {
        for panel in of(&json) {
            let place = place(&dashboard, panel);
            assert!(!text(panel, "/title").is_empty(), "{place}");
            assert!(!text(panel, "/fieldConfig/defaults/unit").is_empty(), "{place}");
            let description = text(panel, "/description");
            assert!(description.len() > 10 && description.ends_with('.'), "{place}: {description}");
            assert!(panel["options"].is_object() && panel["fieldConfig"]["defaults"]["custom"].is_object(), "{place}");
            let source = &panel["datasource"];
            let by_variable = [("prometheus", "${metrics}"), ("loki", "${logs}")];
            assert!(by_variable.contains(&(text(source, "/type"), text(source, "/uid"))), "{place}: {source}");
            assert!(!list(panel, "/targets").is_empty(), "{place}");
            for target in list(panel, "/targets") {
                assert_eq!(&target["datasource"], source, "{place}");
            }
        }
    }
}

#[test]
fn no_data_source_is_named_by_its_uid() {
    fn look(value: &Value, place: &str) {
        if let Some(source) = value.get("datasource") {
            assert!(text(source, "/uid").starts_with("${"), "{place}: {source}");
        }
        match value {
            Value::Array(values) => values.iter().for_each(|value| look(value, place)),
            Value::Object(values) => values.values().for_each(|value| look(value, place)),
            _ => {}
        }
    }
    for (dashboard, json) in all() {
        look(&json, dashboard.name);
    }
}

#[test]
fn panels_fill_their_lines_and_do_not_overlap() {
    for (dashboard, json) in all() {
        let mut taken = BTreeMap::new();
        for panel in list(&json, "/panels") {
            let at = |name: &str| panel["gridPos"][name].as_u64().expect("a number");
            let (h, w, x, y) = (at("h"), at("w"), at("x"), at("y"));
            assert!(h > 0 && w > 2 && x + w <= COLUMNS, "{}", place(&dashboard, panel));
            for cell in (y..y + h).flat_map(|y| (x..x + w).map(move |x| (y, x))) {
                let before = taken.insert(cell, panel["id"].clone());
                assert_eq!(before, None, "{} overlaps another panel", place(&dashboard, panel));
            }
        }
        let (last, _) = taken.last_key_value().expect("panels").0.to_owned();
        assert_eq!(u64::try_from(taken.len()).unwrap(), (last + 1) * COLUMNS, "{} has holes", dashboard.name);
    }
}

#[test]
fn names_and_numbers_are_unique() {
    let (mut names, mut uids, mut titles) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (dashboard, json) in all() {
        assert!(names.insert(dashboard.name), "{}", dashboard.name);
        assert!(uids.insert(text(&json, "/uid").to_owned()) && text(&json, "/uid").len() <= 40, "{}", dashboard.name);
        assert!(titles.insert(text(&json, "/title").to_owned()), "{}", dashboard.name);
        let ids: BTreeSet<_> =
            list(&json, "/panels").iter().map(|panel| panel["id"].as_u64().expect("a number")).collect();
        assert_eq!(ids.len(), list(&json, "/panels").len(), "{}", dashboard.name);
        for panel in of(&json) {
            let refs: BTreeSet<_> = list(panel, "/targets").iter().map(|target| text(target, "/refId")).collect();
            assert_eq!(refs.len(), list(panel, "/targets").len(), "{}", place(&dashboard, panel));
        }
    }
}

#[test]
fn every_query_in_promql_parses() {
    let mut count = 0;
    let chosen = BTreeMap::from([("namespace", "shop"), ("workload", "(checkout|cart)"), ("only", "")]);
    for dashboard in shipped(Parts::ALL) {
        for values in [&BTreeMap::new(), &chosen] {
            for query in panels(&dashboard, values).iter().filter(|query| query.language == Language::PromQl) {
                let parsed = promql_parser::parser::parse(&query.expr);
                assert!(parsed.is_ok(), "{}: {}: {parsed:?}\n{}", dashboard.name, query.panel, query.expr);
                assert!(!query.expr.replace("\"$1\"", "").contains('$'), "{}: {}", query.panel, query.expr);
                count += 1;
            }
        }
    }
    assert!(count > 400, "only {count} queries");
}

#[test]
fn every_query_in_logql_selects_streams_and_is_balanced() {
    let mut count = 0;
    for dashboard in shipped(Parts::ALL) {
        for query in panels(&dashboard, &BTreeMap::new()).iter().filter(|query| query.language == Language::LogQl) {
            let place = format!("{}: {}: {}", dashboard.name, query.panel, query.expr);
            assert!(!query.expr.contains('$'), "{place}");
            let selector = query.expr.split_once('{').and_then(|(_, rest)| rest.split_once('}')).expect("a selector").0;
            let names = selector.split('"').step_by(2).filter_map(|part| part.split(['=', '!']).next());
            let names: BTreeSet<_> =
                names.map(|name| name.trim_matches([',', ' '])).filter(|name| !name.is_empty()).collect();
            let labels = ["source", "namespace", "workload", "pod", "container", "service_name", "stream"];
            assert!(!names.is_empty() && names.iter().all(|name| labels.contains(name)), "{place}: {names:?}");
            balanced(&query.expr).unwrap_or_else(|why| panic!("{place}: {why}"));
            count += 1;
        }
    }
    assert!(count >= 20, "only {count} queries");
}

/// Brackets outside of strings.
fn balanced(text: &str) -> Result<(), String> {
    let (mut open, mut quoted, mut escaped) = (vec![], false, false);
    for c in text.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if quoted => {}
            '(' => open.push(')'),
            '{' => open.push('}'),
            '[' => open.push(']'),
            ')' | '}' | ']' if open.pop() != Some(c) => return Err(format!("a {c} too many")),
            _ => {}
        }
    }
    if open.is_empty() && !quoted { Ok(()) } else { Err("something is not closed".into()) }
}

#[test]
fn every_variable_is_defined_and_used() {
    for (dashboard, json) in all() {
        let variables = list(&json, "/templating/list");
        let defined: BTreeSet<_> = variables.iter().map(|variable| text(variable, "/name").to_owned()).collect();
        assert_eq!(defined.len(), variables.len(), "{}", dashboard.name);
        // Names that begin so are Grafana's own.
        let used: BTreeSet<_> =
            references(&dashboard.json).into_iter().filter(|name| !name.starts_with("__")).collect();
        assert_eq!(used, defined, "{}: used, defined", dashboard.name);
    }
}

#[test]
fn variables_from_prometheus_ask_with_selectors_that_parse() {
    for (dashboard, json) in all() {
        for variable in list(&json, "/templating/list") {
            let Some(query) = variable.pointer("/query/query").and_then(Value::as_str) else { continue };
            let (selector, label) = query
                .strip_prefix("label_values(")
                .and_then(|rest| rest.strip_suffix(')'))
                .and_then(|rest| rest.rsplit_once(", "))
                .unwrap_or_else(|| panic!("{}: {query}", dashboard.name));
            assert!(promql_parser::parser::parse(selector).is_ok(), "{}: {selector}", dashboard.name);
            assert!(label.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{}: {label}", dashboard.name);
        }
    }
}

#[test]
fn what_a_stack_lacks_is_not_on_its_dashboards() {
    let bare = Parts { prometheus: true, loki: false, collectors: false, jaeger: false };
    for (dashboard, _) in parsed(bare) {
        for word in ["${logs}", "loki_", "otelcol_exporter", "jaeger_storage", "evenkeel-logs"] {
            assert!(!dashboard.json.contains(word), "{}: {word}", dashboard.name);
        }
    }
    assert!(parsed(bare).iter().all(|(dashboard, _)| dashboard.name != "logs"));
    let logs_alone = Parts { prometheus: false, loki: true, collectors: true, jaeger: false };
    let logs_alone = parsed(logs_alone);
    assert_eq!(logs_alone.iter().map(|(dashboard, _)| dashboard.name).collect::<Vec<_>>(), ["logs"]);
    assert!(!logs_alone[0].0.json.contains("${metrics}") && !logs_alone[0].0.json.contains("/d/evenkeel-overview"));
}

#[test]
fn links_lead_to_dashboards_that_ship() {
    let all = all();
    let uids: BTreeSet<_> = all.iter().map(|(_, json)| text(json, "/uid").to_owned()).collect();
    for (dashboard, _) in &all {
        for uid in dashboard.json.split("\"/d/").skip(1).filter_map(|rest| rest.split(['"', '?']).next()) {
            assert!(uids.contains(uid), "{}: {uid}", dashboard.name);
        }
    }
}

#[test]
fn the_way_from_the_overview_to_the_logs_keeps_its_variables() {
    let all = all();
    for name in ["overview", "workloads", "logs"] {
        let (_, json) = all.iter().find(|(dashboard, _)| dashboard.name == name).expect(name);
        let names: Vec<_> = list(json, "/templating/list").iter().map(|variable| text(variable, "/name")).collect();
        assert!(names.contains(&"namespace") && names.contains(&"workload"), "{name}: {names:?}");
        for link in list(json, "/links") {
            assert_eq!((&link["includeVars"], &link["keepTime"]), (&Value::Bool(true), &Value::Bool(true)), "{name}");
        }
    }
}

#[test]
fn latencies_of_requests_lead_to_traces() {
    let (_, json) = all().into_iter().find(|(dashboard, _)| dashboard.name == "overview").expect("overview");
    let with: Vec<_> = of(&json)
        .filter(|panel| list(panel, "/targets").iter().all(|target| target["exemplar"] == true))
        .map(|panel| text(panel, "/title").to_owned())
        .collect();
    assert_eq!(with, ["Latency", "Distribution of the latency"]);
}

#[test]
fn thresholds_rise() {
    for (dashboard, json) in all() {
        for panel in of(&json) {
            let steps = list(panel, "/fieldConfig/defaults/thresholds/steps");
            assert!(steps[0]["value"].is_null(), "{}", place(&dashboard, panel));
            let values: Vec<_> = steps[1..].iter().map(|step| step["value"].as_f64().expect("a number")).collect();
            assert!(values.is_sorted(), "{}: {values:?}", place(&dashboard, panel));
        }
    }
}
