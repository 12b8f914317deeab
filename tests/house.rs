//! The rules of the house that a compiler cannot check.

use std::fs;
use std::path::{Path, PathBuf};

/// Modules that decide: no client, no clock, no environment. Files, folders, and all files whose path begins so.
const PURE: &[&str] = &[
    "src/api",
    "src/cli/cel.rs",
    "src/cli/check.rs",
    "src/cli/judge.rs",
    "src/cli/render.rs",
    "src/cli/resource.rs",
    "src/cli/schema.rs",
    "src/cli/story.rs",
    "src/cli/timeline",
    "src/dashboards",
    "src/hidden.rs",
    "src/k8s/drift.rs",
    "src/k8s/gateway.rs",
    "src/k8s/manifests.rs",
    "src/k8s/meta.rs",
    "src/k8s/workload",
    "src/matcher.rs",
    "src/nearest.rs",
    "src/notify/message.rs",
    "src/notify/receivers.rs",
    "src/response/action",
    "src/response/channels.rs",
    "src/response/condition.rs",
    "src/response/confine.rs",
    "src/response/episode.rs",
    "src/response/evidence",
    "src/response/facts.rs",
    "src/response/guard",
    "src/response/in_vain.rs",
    "src/response/index.rs",
    "src/response/ledger.rs",
    "src/response/look_back.rs",
    "src/response/needs.rs",
    "src/response/news.rs",
    "src/response/payload.rs",
    "src/response/redact.rs",
    "src/response/retention.rs",
    "src/response/run",
    "src/response/storm.rs",
    "src/response/validate",
    "src/response/verify.rs",
    "src/rule/baseline.rs",
    "src/rule/compile.rs",
    "src/rule/feed.rs",
    "src/rule/group.rs",
    "src/rule/hoist.rs",
    "src/rule/index",
    "src/rule/life.rs",
    "src/rule/logs/files.rs",
    "src/rule/logs/memory",
    "src/rule/logs/pod.rs",
    "src/rule/logs/verdict.rs",
    "src/rule/packing",
    "src/rule/packing.rs",
    "src/rule/promql",
    "src/rule/promql.rs",
    "src/rule/quarantine.rs",
    "src/rule/shards.rs",
    "src/rule/status.rs",
    "src/rule/template.rs",
    "src/rule/test_job.rs",
    "src/rule/unit_test.rs",
    "src/rule/yaml.rs",
    "src/schedule.rs",
    "src/shipped",
    "src/slo/adjustment.rs",
    "src/slo/alerts.rs",
    "src/slo/attribution.rs",
    "src/slo/budget.rs",
    "src/slo/enforce.rs",
    "src/slo/excluded.rs",
    "src/slo/frozen.rs",
    "src/slo/indicator.rs",
    "src/slo/judgement.rs",
    "src/slo/objective.rs",
    "src/slo/policy.rs",
    "src/slo/read.rs",
    "src/slo/report.rs",
    "src/slo/rules.rs",
    "src/slo/selector.rs",
    "src/slo/series.rs",
    "src/slo/sloth.rs",
    "src/slo/status.rs",
    "src/slo/told.rs",
    "src/slo/validate.rs",
    "src/slo/window.rs",
    "src/stack/admin.rs",
    "src/stack/around.rs",
    "src/stack/build.rs",
    "src/stack/component",
    "src/stack/discovery.rs",
    "src/stack/names.rs",
    "src/stack/pods.rs",
    "src/stack/render.rs",
    "src/stack/routes",
    "src/stack/status",
    "src/stack/storage.rs",
    "src/stack/token.rs",
    "src/stack/validate",
    "src/stack/validate.rs",
    "src/stack/workloads.rs",
];

/// What reaches outside.
const IMPURE: [&str; 18] = [
    "kube::Client",
    "kube::Api",
    "kube::runtime",
    "kube_runtime",
    "Client,",
    "Client}",
    "Api<",
    "reqwest",
    "tokio",
    "async fn",
    "Timestamp::now",
    "SystemTime",
    "Instant",
    "std::env",
    "std::fs",
    "std::process",
    // Not those of Errand.
    " rand::",
    "(rand::",
];

/// Lines of a file before its unit tests.
const LONGEST: usize = 420;

fn files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut found: Vec<_> = entries.flat_map(|entry| files(&entry.expect("a directory entry").path())).collect();
    found.sort();
    found
}

fn sources() -> Vec<PathBuf> {
    files(Path::new("src"))
}

fn text(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// Lines of code with their numbers: without comments and unit tests.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    (1..).zip(code.lines()).filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// `file:line: what` for every word of `words` in the code of `files`.
fn occurrences(files: &[PathBuf], words: &[&str]) -> Vec<String> {
    let mut found = vec![];
    for file in files {
        for (number, line) in code(&text(file)) {
            if let Some(word) = words.iter().find(|word| line.contains(**word)) {
                found.push(format!("{}:{number}: {word}", file.display()));
            }
        }
    }
    found
}

#[test]
fn modules_that_decide_know_no_client_and_no_clock() {
    let sources = sources();
    let mut pure = vec![];
    for prefix in PURE {
        let begins = |file: &&PathBuf| file.to_str().is_some_and(|path| path.starts_with(prefix));
        let found: Vec<_> = sources.iter().filter(begins).cloned().collect();
        assert!(!found.is_empty(), "{prefix} is in the list of this test, and there is no such file");
        pure.extend(found);
    }
    let found = occurrences(&pure, &IMPURE);
    assert!(found.is_empty(), "pure modules reach outside:\n{}", found.join("\n"));
}

#[test]
fn children_are_written_in_one_place_only() {
    let others: Vec<_> = sources().into_iter().filter(|file| !file.starts_with("src/k8s")).collect();
    let found = occurrences(&others, &["Patch::Apply("]);
    assert!(found.is_empty(), "server-side apply outside src/k8s:\n{}", found.join("\n"));
}

#[test]
fn files_stay_small_enough_to_be_read_at_once() {
    let lines = |file: &PathBuf| text(file).split("#[cfg(test)]").next().unwrap_or_default().lines().count();
    let long: Vec<_> = sources().into_iter().filter(|file| lines(file) > LONGEST).collect();
    assert!(long.is_empty(), "more than {LONGEST} lines, split by concern: {long:?}");
}

#[test]
fn registries_are_named_in_images_only() {
    let hosts = ["docker.io", "quay.io", "ghcr.io", "gcr.io", "registry.k8s.io"];
    let others: Vec<_> = sources().into_iter().filter(|file| file != Path::new("src/stack/component/mod.rs")).collect();
    let found = occurrences(&others, &hosts);
    assert!(found.is_empty(), "images belong into src/stack/component/mod.rs:\n{}", found.join("\n"));
}

#[test]
fn nothing_is_put_off_or_left_out() {
    let marks =
        [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("#[ig", "nore"), concat!("todo", "!("), "unimplemented!("];
    let mut found = vec![];
    for file in ["src", "tests", "e2e", "examples", "charts", "docs"].iter().flat_map(|path| files(Path::new(path))) {
        // Binary files have no lines.
        let Ok(text) = fs::read_to_string(&file) else { continue };
        for (number, line) in (1..).zip(text.lines()) {
            if marks.iter().any(|mark| line.contains(mark)) && file != Path::new("tests/house.rs") {
                found.push(format!("{}:{number}: {}", file.display(), line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
