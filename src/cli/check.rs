//! `evenkeel check`: what the API server or the operator would refuse.

use std::collections::BTreeMap;
use std::fmt;

use super::documents::{Document, Origin};
use super::resource::{Resource, decode};
use super::schema::Fault;

/// Something that is wrong in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub origin: Origin,
    pub fault: Fault,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.origin, self.fault.path, self.fault.message)
    }
}

/// What was looked at, and what is wrong with it.
#[derive(Debug, Default)]
pub struct Report {
    /// Documents of Evenkeel's kinds that decode.
    pub resources: Vec<(Origin, Resource)>,
    pub findings: Vec<Finding>,
    /// Number of documents of other kinds.
    pub passed_over: usize,
}

/// Looks at all documents, each by itself and as a whole.
pub fn check(documents: &[Document]) -> Report {
    let mut report = Report::default();
    let mut seen: BTreeMap<(String, Option<String>, String), Origin> = BTreeMap::new();
    for document in documents {
        let origin = &document.origin;
        let Some(decoded) = decode(document) else {
            report.passed_over += 1;
            continue;
        };
        let mut faults = vec![];
        let identity = (origin.kind.clone(), origin.namespace.clone(), origin.name.clone());
        if let Some(first) = seen.insert(identity, origin.clone()) {
            let message = format!("is the name of {}:{} too: one would overwrite the other", first.file, first.number);
            faults.push(Fault { path: "metadata.name".into(), message });
        }
        match decoded {
            Ok(resource) => report.resources.push((origin.clone(), resource)),
            Err(wrong) => faults.extend(wrong),
        }
        report.findings.extend(faults.into_iter().map(|fault| Finding { origin: origin.clone(), fault }));
    }
    report
}
