//! `evenkeel crds`: the CustomResourceDefinitions of this build, as YAML.

use std::path::Path;

use crate::api;

/// A CRD cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum CrdsError {
    #[error("cannot write the CRD {name} as YAML: {source}")]
    Yaml { name: String, source: serde_saphyr::ser::Error },
    #[error("cannot write {path}: {source}")]
    Io { path: String, source: std::io::Error },
}

/// Every CRD as `<name>.yaml` and its content, which ends in a newline.
pub fn files() -> Result<Vec<(String, String)>, CrdsError> {
    api::crds()
        .iter()
        .map(|crd| {
            let name = crd.metadata.name.clone().unwrap_or_default();
            match serde_saphyr::to_string(crd) {
                Ok(yaml) => Ok((format!("{name}.yaml"), format!("{}\n", yaml.trim_end()))),
                Err(source) => Err(CrdsError::Yaml { name, source }),
            }
        })
        .collect()
}

/// All CRDs as one stream of YAML documents, for `evenkeel crds | kubectl apply -f -`.
pub fn stream() -> Result<String, CrdsError> {
    Ok(files()?.into_iter().map(|(_, yaml)| yaml).collect::<Vec<_>>().join("---\n"))
}

/// Writes one file a CRD into `directory`, which is made if it is not there. Files of CRDs that no longer exist
/// are not deleted.
pub fn write(directory: &Path) -> Result<(), CrdsError> {
    let io = |path: &Path, source| CrdsError::Io { path: path.display().to_string(), source };
    std::fs::create_dir_all(directory).map_err(|source| io(directory, source))?;
    for (name, yaml) in files()? {
        let path = directory.join(name);
        std::fs::write(&path, yaml).map_err(|source| io(&path, source))?;
    }
    Ok(())
}
