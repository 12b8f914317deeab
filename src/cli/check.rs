//! `evenkeel check`: what the API server or the operator would refuse.

use std::collections::BTreeMap;
use std::fmt;

use super::documents::{Document, Origin};
use super::judge::{Judgement, Known, judge, references};
use super::resource::{Decoder, Resource};
use super::schema::Fault;
use crate::slo::Checked;

/// Something that is wrong in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub origin: Origin,
    pub fault: Fault,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.fault)
    }
}

/// What was looked at, and what is wrong with it.
#[derive(Debug, Default)]
pub struct Report {
    /// Documents of Evenkeel's kinds that decode; SLOs that are in order as they were checked.
    pub resources: Vec<(Origin, Resource, Option<Box<Checked>>)>,
    /// What others may refer to.
    pub known: Known,
    /// In the order of the documents.
    pub findings: Vec<Finding>,
    /// What cannot be told from these documents alone: references to what is in none of them.
    pub open: Vec<Finding>,
    /// Number of documents of other kinds.
    pub passed_over: usize,
}

/// Looks at all documents, each by itself and as a whole.
pub fn check(documents: Vec<Document>) -> Report {
    let mut report = Report::default();
    let mut decoder = Decoder::default();
    let mut seen: BTreeMap<(String, Option<String>, String), Origin> = BTreeMap::new();
    let mut decoded = vec![];
    for document in documents {
        let Some(found) = decoder.decode(&document) else {
            report.passed_over += 1;
            continue;
        };
        let origin = document.origin;
        let identity = (origin.kind.clone(), origin.namespace.clone(), origin.name.clone());
        let twice = seen.insert(identity, origin.clone()).map(|first| {
            let message = format!("is the name of {}:{} too: one would overwrite the other", first.file, first.number);
            Fault::at("metadata.name", message)
        });
        decoded.push((origin, found, twice));
    }
    report.known = Known::of(decoded.iter().filter_map(|(_, found, _)| found.resource.as_ref()));

    for (origin, found, twice) in decoded {
        let mut shape = found.faults;
        let mut judgement = Judgement::default();
        if let Some(resource) = found.resource {
            judgement = judge(&resource, &report.known);
            one_voice(&resource, &mut shape, &mut judgement.wrong);
            references(&resource, &report.known, &mut judgement);
            report.resources.push((origin.clone(), resource, judgement.checked.take()));
        }
        let finding = |fault| Finding { origin: origin.clone(), fault };
        // The shape comes before the content.
        report.findings.extend(twice.into_iter().chain(shape).chain(judgement.wrong).map(finding));
        report.open.extend(judgement.open.into_iter().map(finding));
    }
    report
}

/// What a CEL rule and the operator both refuse is told once: of a response in the words of the rule, of an SLO and
/// what belongs to it in those of the operator, which name the field and its value.
fn one_voice(resource: &Resource, rules: &mut Vec<Fault>, operator: &mut Vec<Fault>) {
    match resource {
        Resource::Response(_) if !rules.is_empty() => operator.clear(),
        Resource::Slo(_) | Resource::Policy(_) | Resource::Freeze(_) | Resource::Adjustment(_)
            if !operator.is_empty() =>
        {
            rules.clear();
        }
        _ => {}
    }
}
