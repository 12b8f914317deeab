//! Sub-commands that need no cluster.
use std::path::{Path, PathBuf};
use std::process::ExitCode;
pub fn crds(_directory: Option<&Path>) -> ExitCode {
    ExitCode::FAILURE
}
pub fn check(_files: &[PathBuf]) -> ExitCode {
    ExitCode::FAILURE
}
pub fn render(_files: &[PathBuf]) -> ExitCode {
    ExitCode::FAILURE
}
