//! Sub-commands that work without a cluster: what the operator would do, on files.

use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub mod check;
pub mod crds;
pub mod documents;
pub mod resource;
pub mod schema;

/// `evenkeel crds`: prints the CRDs, or writes one file each into `directory`.
pub fn crds(directory: Option<&Path>) -> ExitCode {
    let text = match directory {
        Some(directory) => crds::write(directory).map(|()| String::new()),
        None => crds::stream(),
    };
    match text {
        Ok(text) => print(&text),
        Err(error) => fail(&error),
    }
}

/// `evenkeel check`: one line for each thing that is wrong, on standard output; the count on standard error.
pub fn check(files: &[PathBuf]) -> ExitCode {
    let documents = match documents::read(files) {
        Ok(documents) => documents,
        Err(error) => return fail(&error),
    };
    let report = check::check(&documents);
    let lines: String = report.findings.iter().map(|finding| format!("{finding}\n")).collect();
    let printed = print(&lines);
    let (checked, others) = (documents.len() - report.passed_over, report.passed_over);
    let found = report.findings.len();
    eprintln!("evenkeel: {checked} documents checked, {found} faults ({others} documents of other kinds passed over)");
    if report.findings.is_empty() { printed } else { ExitCode::FAILURE }
}

/// `evenkeel render`.
pub fn render(_files: &[PathBuf]) -> ExitCode {
    ExitCode::FAILURE
}

/// A reader that went away (`| head`) is no error.
fn print(text: &str) -> ExitCode {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => fail(&error),
        _ => ExitCode::SUCCESS,
    }
}

fn fail(error: &dyn Display) -> ExitCode {
    eprintln!("evenkeel: {error}");
    ExitCode::FAILURE
}
