//! Collects evidence, reading as the run's ServiceAccount: an alert shows nobody what its author may not see. What cannot
//! be read becomes a line in the record. The record itself is written by the operator.

use std::collections::HashSet;
use std::time::Duration;

use futures::future::{join, join_all};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{ControllerRevision, ReplicaSet};
use k8s_openapi::api::core::v1::{ConfigMap, Event, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::{ListParams, LogParams, PostParams};
use kube::core::{NamespaceResourceScope, Selector};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Outcome, actor, refused};
use crate::api::alert_response::{Diagnose, Step, StepAction, TargetKind};
use crate::api::response_run::{DiagnoseIntent, ResponseRun};
use crate::context::Context;
use crate::k8s::meta::next_page;
use crate::k8s::report::{chain, words};
use crate::response::action::diagnose as action;
use crate::response::actor::{Actor, ActorError};
use crate::response::evidence::{self, Part, Source};
use crate::response::{lokis, prometheuses};

/// Time that one read may take.
const PATIENCE: Duration = Duration::from_secs(8);
/// Time that all pages may take.
const MORE_PATIENCE: Duration = Duration::from_secs(14);
/// Objects of one page, and pages that are read.
const PAGE: u32 = 500;
const PAGES: usize = 8;
/// What is read of a log at most; more than is kept, since it is the end that counts.
const MOST_OF_LOG: i64 = 2 << 20;
/// Time before the alert's onset that queries cover.
const BEFORE: SignedDuration = SignedDuration::from_mins(30);
/// Time before and after the onset that queries of logs cover.
const AROUND: SignedDuration = SignedDuration::from_mins(10);

pub async fn collect(context: &Context, run: &ResponseRun, number: usize, intent: &DiagnoseIntent) -> Outcome {
    let maps = Api::<ConfigMap>::namespaced(context.client.clone(), &run.namespace().unwrap_or_default());
    if let Some(found) = maps.get_metadata_opt(&intent.config_map).await? {
        return Ok(action::found(&found, run, number).map_err(refused));
    }
    let Some(StepAction::Diagnose(step)) = run.steps().nth(number).and_then(Step::action) else {
        return Ok(Err(refused("the step is not a diagnose step")));
    };
    let actor = match actor(context, run).await? {
        Ok(actor) => actor,
        Err(failed) => return Ok(Err(failed)),
    };
    let now = Timestamp::now();
    let asked = join(promql(context, run, step, now), logql(context, run, step, now));
    let (mut parts, (promql, logql)) = join(of_target(&actor, run, step, now), asked).await;
    parts.extend(promql.into_iter().chain(logql));
    let map = action::config_map(intent, run, number, parts);
    match maps.create(&PostParams::default(), &map).await {
        Ok(made) => Ok(action::found(&made, run, number).map_err(refused)),
        // Made between our look and our try, by whom the next look will tell.
        Err(error @ kube::Error::Api(_)) => match &error {
            kube::Error::Api(status) if matches!(status.code, 400 | 403 | 404 | 413 | 422) => {
                Ok(Err(refused(format!("cannot write ConfigMap {}: {}", intent.config_map, words(&error)))))
            }
            _ => Err(error),
        },
        Err(error) => Err(error),
    }
}

async fn of_target(actor: &Actor, run: &ResponseRun, step: &Diagnose, now: Timestamp) -> Vec<Part> {
    let reference = run.spec.target.reference();
    let found = match path(run) {
        None => Err("the alert names no target".to_owned()),
        Some(path) => match answered("get", &reference, actor.get::<Value>(&path)).await {
            Ok(found) => found.ok_or_else(|| format!("{reference} does not exist")),
            Err(why) => Err(why),
        },
    };
    let target = found.clone().unwrap_or_default();
    let (listed, history) = join(pods(actor, run, &target), history(actor, run, &target)).await;
    let (mut pods, mut notes) = listed;
    let sets = match &history {
        Ok(History::ReplicaSets(sets)) => Some(sets.as_slice()),
        _ => None,
    };
    only_own(&mut pods, run.spec.target.kind, &target, sets);
    if let (None, Some(why)) = (sets, history.as_ref().err()) {
        notes.push(format!("{why}: pods are those that the selector selects"));
    }
    let uids = uids(&target, sets.unwrap_or_default(), &pods);
    let (events, logs) = join(events(actor, step, &uids, run), logs(actor, step, &pods)).await;
    let revisions = history.map(|history| match history {
        History::ReplicaSets(sets) => evidence::revisions_of_replica_sets(&sets, now),
        History::Revisions(revisions) => evidence::revisions_of_controller(&revisions, now),
        History::None => vec![],
    });
    let mut parts = vec![evidence::target(found), evidence::pods(&pods, &notes, now), evidence::rollout(revisions)];
    parts.extend(events);
    parts.extend(logs);
    parts
}

/// Where the target is; `None` when the alert did not tell its name, which is that of an object by validation.
fn path(run: &ResponseRun) -> Option<String> {
    let target = &run.spec.target;
    let (group, resource) = match target.kind {
        TargetKind::Deployment => ("apps/v1", "deployments"),
        TargetKind::StatefulSet => ("apps/v1", "statefulsets"),
        TargetKind::DaemonSet => ("apps/v1", "daemonsets"),
        TargetKind::Rollout => ("argoproj.io/v1alpha1", "rollouts"),
        TargetKind::Node => return (!target.name.is_empty()).then(|| format!("/api/v1/nodes/{}", target.name)),
    };
    let namespace = run.namespace().unwrap_or_default();
    (!target.name.is_empty()).then(|| format!("/apis/{group}/namespaces/{namespace}/{resource}/{}", target.name))
}

/// The pods that the target's selector selects, or those on the node, and what is to be said of that.
async fn pods(actor: &Actor, run: &ResponseRun, target: &Value) -> (Vec<Pod>, Vec<String>) {
    let of = match (run.spec.target.kind, selector(target)) {
        (TargetKind::Node, _) if !target.is_null() => {
            ListParams::default().fields(&format!("spec.nodeName={}", run.spec.target.name))
        }
        (_, Some(selector)) => ListParams::default().labels_from(&selector),
        (_, None) => return (vec![], vec!["The target has no selector that can be read.".to_owned()]),
    };
    match all::<Pod>(actor, of).await {
        Ok((pods, note)) => (pods, note.into_iter().collect()),
        Err(why) => (vec![], vec![why]),
    }
}

/// An empty selector selects everything: that is none.
fn selector(target: &Value) -> Option<Selector> {
    let selector: LabelSelector = serde_json::from_value(target.pointer("/spec/selector")?.clone()).ok()?;
    let is_empty = selector.match_labels.as_ref().is_none_or(|labels| labels.is_empty())
        && selector.match_expressions.as_ref().is_none_or(|expressions| expressions.is_empty());
    if is_empty { None } else { Selector::try_from(selector).ok() }
}

enum History {
    ReplicaSets(Vec<ReplicaSet>),
    Revisions(Vec<ControllerRevision>),
    None,
}

async fn history(actor: &Actor, run: &ResponseRun, target: &Value) -> Result<History, String> {
    let Some(selector) = selector(target) else { return Ok(History::None) };
    let of = ListParams::default().labels_from(&selector);
    let target = uid(target);
    match run.spec.target.kind {
        TargetKind::Deployment | TargetKind::Rollout => {
            let mut sets = all::<ReplicaSet>(actor, of).await?.0;
            sets.retain(|set| is_owned(set, target));
            Ok(History::ReplicaSets(sets))
        }
        TargetKind::StatefulSet | TargetKind::DaemonSet => {
            let mut revisions = all::<ControllerRevision>(actor, of).await?.0;
            revisions.retain(|revision| is_owned(revision, target));
            Ok(History::Revisions(revisions))
        }
        TargetKind::Node => Ok(History::None),
    }
}

fn uid(object: &Value) -> Option<&str> {
    object.pointer("/metadata/uid")?.as_str()
}

fn is_owned(object: &impl Resource, by: Option<&str>) -> bool {
    object.owner_references().iter().any(|owner| Some(owner.uid.as_str()) == by)
}

/// A selector may select pods of others as well; a controller knows its own.
fn only_own(pods: &mut Vec<Pod>, kind: TargetKind, target: &Value, sets: Option<&[ReplicaSet]>) {
    match (kind, sets) {
        (TargetKind::Deployment | TargetKind::Rollout, Some(sets)) => {
            pods.retain(|pod| sets.iter().any(|set| is_owned(pod, set.metadata.uid.as_deref())));
        }
        (TargetKind::StatefulSet | TargetKind::DaemonSet, _) => pods.retain(|pod| is_owned(pod, uid(target))),
        (TargetKind::Deployment | TargetKind::Rollout, None) | (TargetKind::Node, _) => {}
    }
}

fn uids(target: &Value, sets: &[ReplicaSet], pods: &[Pod]) -> HashSet<String> {
    let own = uid(target).map(str::to_owned);
    let others = sets.iter().filter_map(ResourceExt::uid).chain(pods.iter().filter_map(ResourceExt::uid));
    own.into_iter().chain(others).collect()
}

async fn events(actor: &Actor, step: &Diagnose, uids: &HashSet<String>, run: &ResponseRun) -> Option<Part> {
    if !step.events {
        return None;
    }
    let (events, note) = match all::<Event>(actor, ListParams::default()).await {
        Ok(listed) => listed,
        Err(why) => (vec![], Some(why)),
    };
    let of_node = (run.spec.target.kind == TargetKind::Node)
        .then(|| "Events of nodes are kept in namespace default, which is not read.".to_owned());
    Some(evidence::events(&events, uids, &note.into_iter().chain(of_node).collect::<Vec<_>>()))
}

async fn logs(actor: &Actor, step: &Diagnose, pods: &[Pod]) -> Vec<Part> {
    let lines = i64::from(step.logs.lines);
    if lines <= 0 {
        return vec![];
    }
    let sources = evidence::sources(pods);
    let wanted = sources.iter().flat_map(|source| {
        let previous = source.restarted.then_some((source, true));
        std::iter::once((source, false)).chain(previous)
    });
    join_all(wanted.map(|(source, previous)| log(actor, source, previous, lines))).await
}

async fn log(actor: &Actor, source: &Source, previous: bool, lines: i64) -> Part {
    let of = LogParams {
        container: Some(source.container.clone()),
        previous,
        tail_lines: Some(lines),
        limit_bytes: Some(MOST_OF_LOG),
        timestamps: true,
        ..LogParams::default()
    };
    let what = format!("logs of container {} of Pod/{}", source.container, source.pod);
    let text = answered("read", &what, actor.logs(&source.pod, &of)).await;
    evidence::log(source, previous, text)
}

async fn promql(context: &Context, run: &ResponseRun, step: &Diagnose, now: Timestamp) -> Option<Part> {
    if step.promql.is_empty() {
        return None;
    }
    let onset = run.spec.alert.starts_at.as_ref().map_or(now, |at| at.0).min(now);
    let from = onset.checked_sub(BEFORE).unwrap_or(onset);
    let points = i64::from(evidence::POINTS);
    let step_seconds = (now.duration_since(from).as_secs() / points).max(15);
    let asked = prometheuses::ranges(context, &run.spec.alert.source, &step.promql, (from, now), step_seconds).await;
    Some(evidence::promql(&asked, from, now, SignedDuration::from_secs(step_seconds)))
}

/// What the logs of the run's own namespace say around the onset.
async fn logql(context: &Context, run: &ResponseRun, step: &Diagnose, now: Timestamp) -> Option<Part> {
    if step.logql.is_empty() {
        return None;
    }
    let onset = run.spec.alert.starts_at.as_ref().map_or(now, |at| at.0).min(now);
    let from = onset.checked_sub(AROUND).unwrap_or(onset);
    let to = onset.checked_add(AROUND).unwrap_or(now).min(now);
    let namespace = run.namespace().unwrap_or_default();
    let asked = lokis::ranges(context, &run.spec.alert.source, &namespace, &step.logql, (from, to)).await;
    Some(evidence::logql(&asked, from, to))
}

/// All objects of a kind, or those that some pages hold and a line that says so.
async fn all<K>(actor: &Actor, of: ListParams) -> Result<(Vec<K>, Option<String>), String>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned + Clone,
{
    match tokio::time::timeout(MORE_PATIENCE, pages(actor, of)).await {
        Ok(listed) => listed,
        Err(_) => Err(format!("cannot list {}: there are too many for {} s", K::plural(&()), MORE_PATIENCE.as_secs())),
    }
}

async fn pages<K>(actor: &Actor, of: ListParams) -> Result<(Vec<K>, Option<String>), String>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned + Clone,
{
    let what = K::plural(&()).into_owned();
    let (mut found, mut page) = (vec![], of.limit(PAGE));
    for _ in 0..PAGES {
        let list = answered("list", &what, actor.list::<K>(&page)).await?;
        let next = next_page(page, &list);
        found.extend(list.items);
        match next {
            Some(next) => page = next,
            None => return Ok((found, None)),
        }
    }
    let note = format!("Only the first {} {what} of the namespace were looked at.", found.len());
    Ok((found, Some(note)))
}

/// The answer, or why there is none, in words.
async fn answered<T>(verb: &str, what: &str, answer: impl Future<Output = Result<T, ActorError>>) -> Result<T, String> {
    let why = match tokio::time::timeout(PATIENCE, answer).await {
        Ok(Ok(answer)) => return Ok(answer),
        Ok(Err(ActorError::Kube(error))) => words(&error),
        Ok(Err(error)) => chain(&error),
        Err(_) => format!("no answer within {} s", PATIENCE.as_secs()),
    };
    Err(format!("cannot {verb} {what}: {why}"))
}
