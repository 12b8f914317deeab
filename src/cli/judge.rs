//! What the operator would say of one object, and of the objects that it names.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt;

use super::resource::Resource;
use super::schema::Fault;
use crate::api::alert_response::StepAction;
use crate::api::alert_rule::RuleSource;
use crate::api::change_freeze::Workload;
use crate::api::{AlertResponse, AlertRule, ErrorBudgetPolicy, MonitoringStack, NotificationChannel, SLO};
use crate::k8s::meta::is_object_name;
use crate::nearest::nearest;
use crate::slo::{self, Checked, Refusal};
use crate::stack::routes::CHANNEL_NOT_FOUND;
use crate::{notify, response, rule, stack};

const CHANNEL: &str = "NotificationChannel";
const POLICY: &str = "ErrorBudgetPolicy";
const OBJECTIVE: &str = "SLO";

/// What others may refer to, among the documents of one run.
#[derive(Debug, Default)]
pub struct Known {
    pub channels: Vec<NotificationChannel>,
    /// By kind and namespace.
    names: BTreeMap<(&'static str, String), BTreeSet<String>>,
}

impl Known {
    pub fn of<'a>(resources: impl IntoIterator<Item = &'a Resource>) -> Self {
        let mut known = Self::default();
        for resource in resources {
            match resource {
                Resource::Channel(channel) => {
                    known.add(CHANNEL, &**channel);
                    known.channels.push((**channel).clone());
                }
                Resource::Slo(slo) => known.add(OBJECTIVE, &**slo),
                Resource::Policy(policy) => known.add(POLICY, &**policy),
                Resource::Stack(_)
                | Resource::Rule(_)
                | Resource::Response(_)
                | Resource::Run(_)
                | Resource::Freeze(_)
                | Resource::Adjustment(_) => {}
            }
        }
        known
    }

    fn add(&mut self, kind: &'static str, object: &impl ResourceExt) {
        self.names.entry((kind, namespace_of(object))).or_default().insert(object.name_any());
    }

    /// What is given of a kind in a namespace; `None` where nothing is.
    fn names(&self, kind: &'static str, namespace: &str) -> Option<&BTreeSet<String>> {
        self.names.get(&(kind, namespace.to_owned()))
    }
}

/// What the operator would say of one object.
#[derive(Debug, Default)]
pub struct Judgement {
    pub wrong: Vec<Fault>,
    /// What cannot be told from these documents.
    pub open: Vec<Fault>,
    /// An SLO with nothing wrong, of which rules can be made.
    pub checked: Option<Box<Checked>>,
}

impl Judgement {
    fn wrong(wrong: impl IntoIterator<Item = Fault>) -> Self {
        Self { wrong: wrong.into_iter().collect(), ..Self::default() }
    }

    /// An object that is missing is wrong where others of its kind and namespace are given, and open where there are none.
    fn missing(&mut self, known: &Known, kind: &'static str, namespace: &str, fault: Fault) {
        match known.names(kind, namespace) {
            Some(_) => self.wrong.push(fault),
            None => self.open.push(fault),
        }
    }

    fn refer(&mut self, known: &Known, kind: &'static str, namespace: &str, name: &str, path: &str) {
        let given = known.names(kind, namespace);
        if given.is_some_and(|names| names.contains(name)) {
            return;
        }
        let all = || given.into_iter().flatten().map(String::as_str);
        let hint = match nearest(all(), name) {
            Some(near) => format!("did you mean {near}?"),
            None if given.is_none() => format!("namespace {namespace} has none"),
            None => format!("namespace {namespace} has {}", all().collect::<Vec<_>>().join(", ")),
        };
        let message = format!("there is no {kind} {name} in these files: {hint}");
        self.missing(known, kind, namespace, Fault::at(path, message));
    }
}

/// What is wrong with the object itself.
pub fn judge(resource: &Resource, known: &Known) -> Judgement {
    match resource {
        Resource::Stack(stack) => judge_stack(stack, known),
        Resource::Rule(rule) => judge_rule(rule),
        Resource::Response(response) => {
            let invalid = response::validate::validate(&response.spec).err();
            Judgement::wrong(invalid.map(|invalid| Fault::whole(invalid.to_string())))
        }
        Resource::Channel(channel) => {
            Judgement::wrong(notify::channel::settings_fault(&channel.spec).map(Fault::whole))
        }
        Resource::Slo(slo) => match slo::validate::check(slo) {
            Ok(checked) => Judgement { checked: Some(Box::new(checked)), ..Judgement::default() },
            Err(refusals) => Judgement::wrong(refusals.into_iter().map(refused)),
        },
        Resource::Policy(policy) => {
            let mut judgement = Judgement::wrong(slo::policy::check(&policy.spec).into_iter().map(refused));
            for (index, threshold) in policy.spec.thresholds.iter().enumerate() {
                let workloads = threshold.freeze.iter().flat_map(|freeze| &freeze.workloads);
                judgement.wrong.extend(names_nothing(workloads, &format!("spec.thresholds[{index}].freeze")));
            }
            judgement
        }
        Resource::Freeze(freeze) => {
            let mut judgement = Judgement::wrong(names_nothing(&freeze.spec.workloads, "spec"));
            // The rule in CEL compares times, which the one here cannot.
            if let (Some(from), Some(until)) = (&freeze.spec.from, &freeze.spec.until)
                && from.0 >= until.0
            {
                let message = "until is not after from: the freeze would end before it begins".to_owned();
                judgement.wrong.push(Fault::at("spec", message));
            }
            judgement
        }
        Resource::Adjustment(adjustment) => {
            Judgement::wrong(slo::adjustment::check(&adjustment.spec).into_iter().map(refused))
        }
        // The operator's own record.
        Resource::Run(_) => Judgement::default(),
    }
}

/// What is wrong with the names that the object refers to, as far as these documents tell.
pub fn references(resource: &Resource, known: &Known, judgement: &mut Judgement) {
    match resource {
        Resource::Response(response) => response_references(response, known, judgement),
        Resource::Slo(slo) => slo_references(slo, known, judgement),
        Resource::Policy(policy) => policy_references(policy, known, judgement),
        Resource::Freeze(freeze) => {
            let namespace = namespace_of(&**freeze);
            if let Some(slo) = &freeze.spec.slo {
                judgement.refer(known, OBJECTIVE, &namespace, slo, "spec.slo");
            }
        }
        Resource::Adjustment(adjustment) => {
            let namespace = namespace_of(&**adjustment);
            for (index, slo) in adjustment.spec.slos.iter().enumerate() {
                judgement.refer(known, OBJECTIVE, &namespace, slo, &format!("spec.slos[{index}]"));
            }
        }
        // A stack's routes are judged with their channels.
        Resource::Stack(_) | Resource::Rule(_) | Resource::Channel(_) | Resource::Run(_) => {}
    }
}

fn refused(refusal: Refusal) -> Fault {
    let column = refusal.column.map(|column| format!("column {column}: ")).unwrap_or_default();
    Fault::at(&format!("spec.{}", refusal.field), format!("{column}{}", refusal.message))
}

/// Reasons of refusals that repeat what a CEL rule has said.
const SAID_BY_CEL: [&str; 2] = ["InvalidRule", "InvalidTier"];

fn judge_rule(object: &AlertRule) -> Judgement {
    let fault = |refusal: rule::Refusal| {
        let column = refusal.column.map(|column| format!("column {column}: ")).unwrap_or_default();
        let path = format!("spec.rules[{}].{}", refusal.index, refusal.field);
        Fault::at(&path, format!("{column}{} ({}, {})", refusal.message, refusal.name, refusal.reason))
    };
    let limit = |field: &str| matches!(field, "baseline" | "baseline.deviations" | "baseline.ratio");
    let said = |refusal: &rule::Refusal| {
        SAID_BY_CEL.contains(&refusal.reason) || refusal.reason == "InvalidBaseline" && limit(&refusal.field)
    };
    let refusals = rule::render(object).1.into_iter().filter(|refusal| !said(refusal));
    let tests = rule::unit_test::faults(&object.spec).into_iter();
    let tests = tests
        .filter(|(field, _)| !field.ends_with(']'))
        .map(|(field, message)| Fault::at(&format!("spec.{field}"), message));
    let mut judgement = Judgement::wrong(refusals.map(fault).chain(tests));
    if object.spec.source == RuleSource::Logs {
        judgement.open.push(Fault::at("spec.rules", "LogQL is checked by the Loki that loads it".to_owned()));
    }
    judgement
}

fn judge_stack(object: &MonitoringStack, known: &Known) -> Judgement {
    let mut judgement = Judgement::default();
    match stack::render::problems(object, &known.channels) {
        Err(refused) => judgement.wrong.push(Fault::whole(refused.to_string())),
        Ok(problems) => {
            for problem in problems {
                let fault = Fault::whole(problem.message);
                if problem.reason == CHANNEL_NOT_FOUND {
                    judgement.missing(known, CHANNEL, &namespace_of(object), fault);
                } else {
                    judgement.wrong.push(fault);
                }
            }
        }
    }
    judgement
}

/// A pattern other than `*` alone would freeze nothing, and nobody would notice.
fn names_nothing<'a>(workloads: impl IntoIterator<Item = &'a Workload>, path: &str) -> Vec<Fault> {
    let odd = |(_, workload): &(usize, &Workload)| workload.name != "*" && !is_object_name(&workload.name);
    let fault = |(index, workload): (usize, &Workload)| {
        let message =
            format!("{:?} is no name of a workload: write one, or * for every {:?}", workload.name, workload.kind);
        Fault::at(&format!("{path}.workloads[{index}].name"), message)
    };
    workloads.into_iter().enumerate().filter(odd).map(fault).collect()
}

fn response_references(object: &AlertResponse, known: &Known, judgement: &mut Judgement) {
    let namespace = namespace_of(object);
    for (number, step) in object.spec.steps.iter().enumerate() {
        let Some(StepAction::Notify(notify)) = step.action() else { continue };
        for (index, name) in notify.channels.iter().enumerate() {
            let path = format!("spec.steps[{number}].notify.channels[{index}]");
            judgement.refer(known, CHANNEL, &namespace, name, &path);
        }
    }
}

fn slo_references(object: &SLO, known: &Known, judgement: &mut Judgement) {
    if let Some(policy) = &object.spec.policy_ref {
        judgement.refer(known, POLICY, &namespace_of(object), &policy.name, "spec.policyRef.name");
    }
}

fn policy_references(object: &ErrorBudgetPolicy, known: &Known, judgement: &mut Judgement) {
    let namespace = namespace_of(object);
    let thresholds = object.spec.thresholds.iter().enumerate();
    let told = thresholds.map(|(index, threshold)| (format!("spec.thresholds[{index}].notify"), &threshold.notify));
    let report = object.spec.report.iter().map(|report| ("spec.report.notify".to_owned(), &report.notify));
    for (path, names) in told.chain(report) {
        for (index, name) in names.iter().enumerate() {
            judgement.refer(known, CHANNEL, &namespace, name, &format!("{path}[{index}]"));
        }
    }
}

/// The namespace into which `kubectl apply` puts what names none, unless the context says otherwise.
pub fn namespace_of(object: &impl ResourceExt) -> String {
    object.namespace().unwrap_or_else(|| "default".into())
}
