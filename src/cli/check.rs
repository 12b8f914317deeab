//! `evenkeel check`: what the API server or the operator would refuse.

use std::collections::BTreeMap;
use std::fmt;

use kube::ResourceExt;

use super::documents::{Document, Origin};
use super::resource::{Decoder, Resource};
use super::schema::Fault;
use crate::api::alert_response::StepAction;
use crate::api::{AlertResponse, AlertRule, MonitoringStack, NotificationChannel};
use crate::nearest::nearest;
use crate::stack::routes::CHANNEL_NOT_FOUND;
use crate::{notify, response, rule, stack};

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
    /// Documents of Evenkeel's kinds that decode.
    pub resources: Vec<(Origin, Resource)>,
    /// In the order of the documents.
    pub findings: Vec<Finding>,
    /// What cannot be told from these documents alone: references to what is in none of them.
    pub open: Vec<Finding>,
    /// Number of documents of other kinds.
    pub passed_over: usize,
}

impl Report {
    /// The NotificationChannels among the documents.
    pub fn channels(&self) -> Vec<NotificationChannel> {
        let channel = |(_, resource): &(Origin, Resource)| match resource {
            Resource::Channel(channel) => Some((**channel).clone()),
            Resource::Stack(_) | Resource::Rule(_) | Resource::Response(_) | Resource::Run(_) => None,
        };
        self.resources.iter().filter_map(channel).collect()
    }
}

/// Looks at all documents, each by itself and as a whole.
pub fn check(documents: &[Document]) -> Report {
    let mut report = Report::default();
    let mut decoder = Decoder::default();
    let mut seen: BTreeMap<(String, Option<String>, String), Origin> = BTreeMap::new();
    for document in documents {
        let origin = &document.origin;
        let Some(decoded) = decoder.decode(document) else {
            report.passed_over += 1;
            continue;
        };
        let mut faults = vec![];
        let identity = (origin.kind.clone(), origin.namespace.clone(), origin.name.clone());
        if let Some(first) = seen.insert(identity, origin.clone()) {
            let message = format!("is the name of {}:{} too: one would overwrite the other", first.file, first.number);
            faults.push(Fault::at("metadata.name", message));
        }
        report.resources.extend(decoded.resource.map(|resource| (origin.clone(), resource)));
        faults.extend(decoded.faults);
        report.findings.extend(faults.into_iter().map(|fault| Finding { origin: origin.clone(), fault }));
    }

    let channels = report.channels();
    let mut findings = vec![];
    // A response that a CEL rule refuses is told one reason, not the same one twice.
    let refused = |origin: &Origin| report.findings.iter().any(|finding| finding.origin == *origin);
    let judged =
        |(origin, resource): &&(Origin, Resource)| !(matches!(resource, Resource::Response(_)) && refused(origin));
    for (origin, resource) in report.resources.iter().filter(judged) {
        let judged = judge(resource, &channels);
        findings.extend(judged.wrong.into_iter().map(|fault| Finding { origin: origin.clone(), fault }));
        report.open.extend(judged.open.into_iter().map(|fault| Finding { origin: origin.clone(), fault }));
    }
    report.findings.extend(findings);
    // A stable sort: within a document the shape comes before the content.
    let order = |origin: &Origin| documents.iter().position(|document| document.origin == *origin);
    report.findings.sort_by_key(|finding| order(&finding.origin));
    report
}

/// What the operator would say of one object.
#[derive(Debug, Default)]
struct Judgement {
    wrong: Vec<Fault>,
    open: Vec<Fault>,
}

impl Judgement {
    /// A channel that is missing is wrong where channels of the namespace are given, and open where there are none.
    fn missing_channel(&mut self, namespace: &str, channels: &[NotificationChannel], fault: Fault) {
        if channels.iter().any(|channel| namespace_of(channel) == namespace) {
            self.wrong.push(fault);
        } else {
            self.open.push(fault);
        }
    }
}

fn judge(resource: &Resource, channels: &[NotificationChannel]) -> Judgement {
    match resource {
        Resource::Stack(stack) => judge_stack(stack, channels),
        Resource::Rule(rule) => judge_rule(rule),
        Resource::Response(response) => judge_response(response, channels),
        Resource::Channel(channel) => {
            let wrong = notify::channel::settings_fault(&channel.spec);
            Judgement { wrong: wrong.map(Fault::whole).into_iter().collect(), open: vec![] }
        }
        // The operator's own record.
        Resource::Run(_) => Judgement::default(),
    }
}

/// Reasons of refusals that repeat what a CEL rule has said.
const SAID_BY_CEL: [&str; 2] = ["InvalidRule", "InvalidTier"];

fn judge_rule(object: &AlertRule) -> Judgement {
    let fault = |refusal: rule::Refusal| {
        let column = refusal.column.map(|column| format!("column {column}: ")).unwrap_or_default();
        let path = format!("spec.rules[{}].{}", refusal.index, refusal.field);
        Fault::at(&path, format!("{column}{} ({}, {})", refusal.message, refusal.name, refusal.reason))
    };
    let refusals = rule::render(object).1.into_iter().filter(|refusal| !SAID_BY_CEL.contains(&refusal.reason));
    Judgement { wrong: refusals.map(fault).collect(), open: vec![] }
}

fn judge_stack(object: &MonitoringStack, channels: &[NotificationChannel]) -> Judgement {
    let mut judgement = Judgement::default();
    match stack::render::problems(object, channels) {
        Err(refused) => judgement.wrong.push(Fault::whole(refused.to_string())),
        Ok(problems) => {
            for problem in problems {
                let fault = Fault::whole(problem.message);
                if problem.reason == CHANNEL_NOT_FOUND {
                    judgement.missing_channel(&namespace_of(object), channels, fault);
                } else {
                    judgement.wrong.push(fault);
                }
            }
        }
    }
    judgement
}

fn judge_response(object: &AlertResponse, channels: &[NotificationChannel]) -> Judgement {
    let mut judgement = Judgement::default();
    if let Err(invalid) = response::validate::validate(&object.spec) {
        judgement.wrong.push(Fault::whole(invalid.to_string()));
    }
    let namespace = namespace_of(object);
    let known: Vec<String> =
        channels.iter().filter(|channel| namespace_of(*channel) == namespace).map(ResourceExt::name_any).collect();
    for (number, step) in object.spec.steps.iter().enumerate() {
        let Some(StepAction::Notify(notify)) = step.action() else { continue };
        for (index, name) in notify.channels.iter().enumerate().filter(|(_, name)| !known.contains(name)) {
            let hint = match nearest(known.iter().map(String::as_str), name) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("namespace {namespace} has {}", or_none(&known)),
            };
            let path = format!("spec.steps[{number}].notify.channels[{index}]");
            let message = format!("there is no NotificationChannel {name} in these files: {hint}");
            judgement.missing_channel(&namespace, channels, Fault::at(&path, message));
        }
    }
    judgement
}

fn or_none(names: &[String]) -> String {
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

/// The namespace into which `kubectl apply` puts what names none, unless the context says otherwise.
pub fn namespace_of(object: &impl ResourceExt) -> String {
    object.namespace().unwrap_or_else(|| "default".into())
}
