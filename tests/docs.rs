//! What the documentation shows is true: its YAML passes `evenkeel check`, its links and make targets exist.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<_> =
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "e2e/cluster/README.md"].map(PathBuf::from).into();
    for folder in ["docs", "docs/runbooks"] {
        let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        pages.extend(files.filter(|path| path.is_file()));
    }
    pages.sort();
    pages
}

/// The fenced blocks of a page in one of these languages, with the line where each begins. YAML within a shell block
/// stands between `<<YAML` and `YAML`.
fn blocks(page: &Path, languages: &[&str]) -> Vec<(usize, String)> {
    let text = fs::read_to_string(page).unwrap();
    let mut blocks: Vec<(usize, String)> = vec![];
    let mut inside = false;
    for (number, line) in (1..).zip(text.lines()) {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            inside = !inside && languages.contains(&language);
            if inside {
                blocks.push((number, String::new()));
            }
        } else if inside && let Some((_, block)) = blocks.last_mut() {
            block.push_str(line);
            block.push('\n');
        }
    }
    blocks
}

fn yaml(page: &Path) -> Vec<(usize, String)> {
    let here = blocks(page, &["sh"]).into_iter().filter_map(|(number, block)| {
        let (_, rest) = block.split_once("<<YAML\n")?;
        Some((number, rest.split_once("\nYAML")?.0.to_owned()))
    });
    blocks(page, &["yaml"]).into_iter().chain(here).collect()
}

/// What `evenkeel check` says, and whether it is content.
fn check(yaml: &str) -> (bool, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
        .args(["check", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(yaml.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

#[test]
fn every_object_in_the_documentation_passes_check() {
    let mut objects = 0;
    for page in pages() {
        for (line, yaml) in yaml(&page) {
            let (content, said) = check(&yaml);
            assert!(content, "{}:{line}: {said}\n{yaml}", page.display());
            objects += usize::from(said.contains("evenkeel: 1 document checked"));
        }
    }
    assert!(objects >= 5, "only {objects} objects were found: every kind but the run has its example");
}

#[test]
fn every_link_in_the_documentation_leads_somewhere() {
    let mut broken = vec![];
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link) {
            let target = page.parent().unwrap().join(link.split('#').next().unwrap_or_default());
            if !link.contains("://") && !target.exists() {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_make_target_in_the_documentation_exists() {
    let makefile = fs::read_to_string("Makefile").unwrap();
    // In code or at the start of a line: not "make sure" in a sentence.
    let command = regex::Regex::new("(?m)(?:^|`)make ([a-z0-9-]+)").unwrap();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for target in command.captures_iter(&text).map(|found| found[1].to_owned()) {
            assert!(makefile.contains(&format!("\n{target}:")), "{}: make {target}", page.display());
        }
    }
}

#[test]
fn make_help_lists_every_target_that_is_for_people() {
    let output = Command::new("make").arg("help").output().expect("make");
    let help = String::from_utf8(output.stdout).unwrap();
    for target in ["demo", "test", "unit", "e2e", "bench", "generate", "fmt", "lint", "cluster", "cluster-down"] {
        assert!(help.contains(&format!("make {target} ")), "{target} is not in:\n{help}");
    }
}

#[test]
fn the_documented_metrics_are_those_that_are_registered() {
    let page = fs::read_to_string("docs/operations.md").unwrap();
    let source = fs::read_to_string("src/metrics/mod.rs").unwrap();
    let captured = |pattern: &str, text: &str| -> BTreeSet<String> {
        regex::Regex::new(pattern).unwrap().captures_iter(text).map(|found| found[1].to_owned()).collect()
    };
    let documented = captured("evenkeel_([a-z_]+?)(?:_total|_seconds)?\\b", &page);
    let registered = captured(r#"register(?:_with_unit)?\(\s*"([a-z_]+)""#, &source);
    assert_eq!(documented, registered);
}
