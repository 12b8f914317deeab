//! Runs the `tests` of AlertRules with promtool.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use super::check::{Finding, Report};
use super::documents::Origin;
use super::resource::Resource;
use super::schema::Fault;
use crate::api::AlertRule;
use crate::rule::{self, unit_test};
use crate::stack::build::BuildError;

/// Tests could not be run.
#[derive(Debug, thiserror::Error)]
pub enum PromtoolError {
    #[error(
        "{tests} of AlertRules cannot be run: there is no {promtool}: it comes with Prometheus; put it on PATH or say where it is with --promtool"
    )]
    Missing { tests: String, promtool: String },
    #[error("{promtool} cannot be run: {source}")]
    Run { promtool: String, source: io::Error },
    #[error("a folder for the tests of {origin} cannot be written: {source}")]
    Write { origin: String, source: io::Error },
    #[error("the tests of {origin} cannot be written as YAML: {source}")]
    Yaml { origin: String, source: BuildError },
}

/// How many tests were run, and what failed.
#[derive(Debug, Default)]
pub struct Tested {
    pub tests: usize,
    pub failures: Vec<Finding>,
}

/// Runs all tests of the AlertRules with which nothing is wrong: what is refused has no rules to test.
pub fn run(report: &Report, promtool: &Path) -> Result<Tested, PromtoolError> {
    let sound = |origin: &Origin| report.findings.iter().all(|finding| finding.origin != *origin);
    let rules = report.resources.iter().filter_map(|(origin, resource, _)| match resource {
        Resource::Rule(rule) if sound(origin) && !rule.spec.tests.is_empty() => Some((origin, &**rule)),
        _ => None,
    });
    let rules: Vec<_> = rules.collect();
    let total: usize = rules.iter().map(|(_, rule)| rule.spec.tests.len()).sum();
    let mut tested = Tested::default();
    for (origin, rule) in rules {
        tested.failures.extend(run_one(origin, rule, promtool, total)?);
        tested.tests += rule.spec.tests.len();
    }
    Ok(tested)
}

fn run_one(origin: &Origin, rule: &AlertRule, promtool: &Path, total: usize) -> Result<Vec<Finding>, PromtoolError> {
    let write = |source| PromtoolError::Write { origin: origin.to_string(), source };
    let folder = tempfile::tempdir().map_err(write)?;
    fs::write(folder.path().join("rules.yaml"), rule::render(rule).0).map_err(write)?;
    let mut failures = vec![];
    for (number, test) in rule.spec.tests.iter().enumerate() {
        // One file for each: in an answer to several, promtool does not say which test speaks.
        let file = folder.path().join("test.yaml");
        let text = unit_test::file(test, "rules.yaml")
            .map_err(|source| PromtoolError::Yaml { origin: origin.to_string(), source })?;
        fs::write(&file, text).map_err(write)?;
        let output = Command::new(promtool).args(["test", "rules"]).arg(&file).output().map_err(|source| {
            let promtool = promtool.display().to_string();
            match source.kind() {
                io::ErrorKind::NotFound => PromtoolError::Missing { tests: super::count(total, "test"), promtool },
                _ => PromtoolError::Run { promtool, source },
            }
        })?;
        let said = [output.stdout, output.stderr].concat();
        let name = test.name.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
        let failed: Vec<(String, String)> =
            match unit_test::judge(number, test, output.status.success(), &String::from_utf8_lossy(&said)) {
                Ok(failed) => failed.into_iter().map(|failure| (failure.field.clone(), failure.to_string())).collect(),
                Err(silent) => vec![(format!("tests[{number}]"), format!("{silent}: {}", output.status))],
            };
        failures.extend(failed.into_iter().map(|(field, message)| {
            let fault = Fault::at(&format!("spec.{field}"), format!("{name}{message}"));
            Finding { origin: origin.clone(), fault }
        }));
    }
    Ok(failures)
}
