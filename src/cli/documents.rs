//! Reading YAML files into documents that know where they stand.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Files that cannot be read, or are not YAML.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("{path}: {source}")]
    Io { path: String, source: std::io::Error },
    #[error("{path}: not YAML: {message}")]
    Yaml { path: String, message: String },
    #[error("{path}: no file in this directory ends in .yaml or .yml")]
    Empty { path: String },
}

/// One document of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    pub origin: Origin,
    pub value: Value,
}

/// Where a document stands, and what it says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The file as it was given; `-` is standard input.
    pub file: String,
    /// Number of the document in its file, from 1; empty documents are not counted.
    pub number: usize,
    pub kind: String,
    pub namespace: Option<String>,
    pub name: String,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} {} ", self.file, self.number, self.kind)?;
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// All documents of files and directories (with those below them), in a stable order. `-` is standard input.
pub fn read(paths: &[PathBuf]) -> Result<Vec<Document>, ReadError> {
    let mut documents = vec![];
    for path in paths {
        for file in files(path)? {
            documents.extend(parse(&file.display().to_string(), &text(&file)?)?);
        }
    }
    Ok(documents)
}

/// Splits the text of one file. A `kind: List` counts as its items.
pub fn parse(file: &str, text: &str) -> Result<Vec<Document>, ReadError> {
    // The files are the user's own: thousands of documents are no attack.
    let options = serde_saphyr::options! { budget: None };
    let values: Vec<Value> = serde_saphyr::from_multiple_with_options(text, options)
        .map_err(|error| ReadError::Yaml { path: file.to_owned(), message: error.to_string() })?;
    let unlisted = values.into_iter().flat_map(|value| match value {
        Value::Object(mut list) if list.get("kind").is_some_and(|kind| kind == "List") => match list.remove("items") {
            Some(Value::Array(items)) => items,
            _ => vec![],
        },
        other => vec![other],
    });
    let document = |(index, value): (usize, Value)| {
        let text = |value: &Value| value.as_str().map(ToOwned::to_owned);
        let origin = Origin {
            file: file.to_owned(),
            number: index + 1,
            kind: text(&value["kind"]).unwrap_or_else(|| "(no kind)".into()),
            namespace: text(&value["metadata"]["namespace"]),
            name: text(&value["metadata"]["name"]).unwrap_or_else(|| "(no name)".into()),
        };
        Document { origin, value }
    };
    Ok(unlisted.enumerate().map(document).collect())
}

fn files(path: &Path) -> Result<Vec<PathBuf>, ReadError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = vec![];
    collect(path, &mut found)?;
    if found.is_empty() {
        return Err(ReadError::Empty { path: path.display().to_string() });
    }
    found.sort();
    Ok(found)
}

fn collect(directory: &Path, found: &mut Vec<PathBuf>) -> Result<(), ReadError> {
    let io = |source| ReadError::Io { path: directory.display().to_string(), source };
    for entry in std::fs::read_dir(directory).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if path.is_dir() {
            collect(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
            found.push(path);
        }
    }
    Ok(())
}

fn text(file: &Path) -> Result<String, ReadError> {
    let io = |source| ReadError::Io { path: file.display().to_string(), source };
    if file != Path::new("-") {
        return std::fs::read_to_string(file).map_err(io);
    }
    let mut text = String::new();
    std::io::stdin().lock().read_to_string(&mut text).map_err(io)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_numbered_and_named_and_lists_are_taken_apart() {
        let yaml = "kind: A\nmetadata: {name: a}\n---\n---\nkind: List\nitems:\n- kind: B\n  metadata: {name: b, namespace: shop}\n- {}\n";
        let origins: Vec<_> = parse("f.yaml", yaml).unwrap().iter().map(|d| d.origin.to_string()).collect();
        assert_eq!(origins, ["f.yaml:1 A a", "f.yaml:2 B shop/b", "f.yaml:3 (no kind) (no name)"]);
    }

    #[test]
    fn a_file_may_hold_thousands_of_documents() {
        let yaml = "kind: A\n---\n".repeat(3000);
        assert_eq!(parse("f.yaml", &yaml).unwrap().len(), 3000);
    }

    #[test]
    fn what_is_not_yaml_is_refused_with_file_and_line() {
        let error = parse("f.yaml", "a: 1\nb: [").unwrap_err().to_string();
        assert!(error.starts_with("f.yaml: not YAML: ") && error.contains('2'), "{error}");
        let error = parse("f.yaml", "a: 1\na: 2").unwrap_err().to_string();
        assert!(error.contains("duplicate"), "{error}");
    }
}
