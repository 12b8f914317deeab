//! The rules of the house that a compiler cannot check.

use std::fs;
use std::path::{Path, PathBuf};

/// Modules that decide: no client, no clock, no environment.
const PURE: [&str; 28] = [
    "src/k8s/drift.rs",
    "src/k8s/meta.rs",
    "src/stack/validate.rs",
    "src/stack/build.rs",
    "src/stack/component",
    "src/rule/index.rs",
    "src/rule/compile.rs",
    "src/rule/shards.rs",
    "src/response/run.rs",
    "src/response/guard.rs",
    "src/response/verify.rs",
    "src/response/matching.rs",
    "src/notify/receivers.rs",
    "src/slo/adjustment.rs",
    "src/slo/alerts.rs",
    "src/slo/budget.rs",
    "src/slo/indicator.rs",
    "src/slo/objective.rs",
    "src/slo/policy.rs",
    "src/slo/read.rs",
    "src/slo/rules.rs",
    "src/slo/selector.rs",
    "src/slo/series.rs",
    "src/slo/sloth.rs",
    "src/slo/status.rs",
    "src/slo/validate.rs",
    "src/slo/window.rs",
    "src/api",
];

const IMPURE: [&str; 7] =
    ["kube::Client", "kube::Api", "reqwest", "Timestamp::now", "SystemTime::now", "Instant::now", "std::env"];

fn files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).unwrap_or_else(|e| panic!("{}: {e}; mend the list in this test", path.display()));
    entries.flat_map(|entry| files(&entry.expect("a directory entry").path())).collect()
}

#[test]
fn modules_that_decide_know_no_client_and_no_clock() {
    let mut found = vec![];
    for file in PURE.iter().flat_map(|path| files(Path::new(path))) {
        let text = fs::read_to_string(&file).expect("readable");
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (number, line) in code.lines().enumerate().filter(|(_, l)| !l.trim_start().starts_with("//")) {
            if let Some(word) = IMPURE.iter().find(|word| line.contains(*word)) {
                found.push(format!("{}:{}: {word}", file.display(), number + 1));
            }
        }
    }
    assert!(found.is_empty(), "pure modules reach outside:\n{}", found.join("\n"));
}

#[test]
fn children_are_written_in_one_place_only() {
    let mut found = vec![];
    for file in files(Path::new("src")).into_iter().filter(|f| !f.starts_with("src/k8s")) {
        let text = fs::read_to_string(&file).expect("readable");
        for (number, line) in text.lines().enumerate() {
            if line.contains("Patch::Apply(") {
                found.push(format!("{}:{}", file.display(), number + 1));
            }
        }
    }
    assert!(found.is_empty(), "server-side apply outside src/k8s:\n{}", found.join("\n"));
}
