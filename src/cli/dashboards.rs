//! `evenkeel dashboards`: the dashboards that ship, as files for a Grafana that no stack runs.

use std::path::{Path, PathBuf};

use crate::dashboards::{Parts, shipped};

/// A dashboard cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {path}: {source}")]
pub struct DashboardsError {
    path: String,
    source: std::io::Error,
}

/// Writes `<directory>/<folder>/<name>.json` for each dashboard, as Grafana's `foldersFromFilesStructure` reads them.
/// Tells the paths.
pub fn write(directory: &Path, parts: Parts) -> Result<Vec<PathBuf>, DashboardsError> {
    let failed = |path: &Path, source| DashboardsError { path: path.display().to_string(), source };
    let mut written = vec![];
    for dashboard in shipped(parts) {
        let folder = directory.join(dashboard.folder);
        std::fs::create_dir_all(&folder).map_err(|source| failed(&folder, source))?;
        let path = folder.join(format!("{}.json", dashboard.name));
        std::fs::write(&path, dashboard.json).map_err(|source| failed(&path, source))?;
        written.push(path);
    }
    Ok(written)
}
