//! `evenkeel drill`: an alert that never was, through the real path. It is posted to the Alertmanager of a stack by the API
//! server's proxy, so that it takes no more than rights in the cluster, and from there on all is as with any alert:
//! Alertmanager, the receiver, a run, its guards and plans. The operator knows it by its label and touches nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::{Request, header};
use jiff::Timestamp;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};
use serde::Serialize;

use super::cluster::{ClusterError, connect, failed};
use super::story::{self, DRILL_ID, LabelError};
use crate::api::duration::PromDuration;
use crate::api::{AlertResponse, MonitoringStack, ResponseRun};
use crate::k8s::Guarded;
use crate::nearest::nearest;
use crate::stack::names::{ALERTMANAGER_PORT, alertmanager};

/// Between two looks for the run.
const EVERY: Duration = Duration::from_millis(500);
/// The alert ends by itself this long after the wait, if nobody is left to end it.
const SPARE: PromDuration = PromDuration::from_mins(1);

#[derive(Debug, thiserror::Error)]
pub enum DrillError {
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error("there is no AlertResponse {name} in namespace {namespace}{hint}")]
    Missing { namespace: String, name: String, hint: String },
    #[error("{0}")]
    Labels(#[from] LabelError),
    #[error("{0}")]
    Stack(String),
    #[error("cannot write the alert as JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("cannot make the request: {0}")]
    Request(#[from] axum::http::Error),
    #[error(
        "no run came into being within {waited}: is the operator running, and does the Alertmanager of stack {stack} send it alerts? A silence or an inhibition holds the alert back as well; kubectl -n {namespace} get alertresponse {name} says what is wrong with the AlertResponse"
    )]
    NoRun { waited: PromDuration, stack: String, namespace: String, name: String },
}

/// What was asked for on the command line.
#[derive(Clone, Debug)]
pub struct Drill {
    pub namespace: Option<String>,
    pub name: String,
    pub labels: Vec<String>,
    /// `NAMESPACE/NAME`.
    pub stack: Option<String>,
    pub wait: PromDuration,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Posted<'a> {
    labels: &'a BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    starts_at: Timestamp,
    ends_at: Timestamp,
}

/// Fires the alert, waits for its run, ends the alert, and tells the story.
pub async fn drill(drill: &Drill, now: Timestamp) -> Result<String, DrillError> {
    let (client, namespace) = connect(drill.namespace.as_deref()).await?;
    let response = response(&client, &namespace, &drill.name).await?;
    let given = drill.labels.iter().map(|text| story::pair(text)).collect::<Result<_, _>>()?;
    // Whole milliseconds tell two drills apart.
    let id = now.as_millisecond().to_string();
    let labels = story::labels(&response.spec, &given, &id)?;
    let stack = stack(&client, drill.stack.as_deref()).await?;
    let ends_at = SPARE.after(drill.wait.after(now));
    let of = format!("{namespace}/{}", drill.name);
    post(&client, &stack, &labels, &of, (now, ends_at)).await?;
    let found = tokio::time::timeout(drill.wait.0, closed(&client, &namespace, &id)).await;
    // An open run is better than none.
    let found = match found {
        Ok(run) => run.map(Some),
        Err(_) => find(&client, &namespace, &id).await,
    };
    // Whatever came of it, the alert is over.
    post(&client, &stack, &labels, &of, (now, Timestamp::now())).await?;
    match found? {
        Some(run) => Ok(story::story(&run)),
        None => {
            let stack = format!("{}/{}", stack.0, stack.1);
            Err(DrillError::NoRun { waited: drill.wait, stack, namespace, name: drill.name.clone() })
        }
    }
}

async fn response(client: &Client, namespace: &str, name: &str) -> Result<AlertResponse, DrillError> {
    let api = Api::<Guarded<AlertResponse>>::namespaced(client.clone(), namespace);
    let list = api.list(&ListParams::default()).await;
    let list = list.map_err(|error| failed(format!("list AlertResponses in namespace {namespace}"), error))?;
    let all: Vec<_> = list.items.into_iter().filter_map(|response| response.0.ok()).collect();
    let found = all.iter().find(|response| response.name_any() == name).cloned();
    found.ok_or_else(|| {
        let meant = nearest(all.iter().filter_map(|response| response.metadata.name.as_deref()), name);
        let hint = meant.map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
        DrillError::Missing { namespace: namespace.to_owned(), name: name.to_owned(), hint }
    })
}

/// The stack that was named, or the only one with an Alertmanager.
async fn stack(client: &Client, named: Option<&str>) -> Result<(String, String), DrillError> {
    const HOW: &str = "give --stack NAMESPACE/NAME";
    if let Some(named) = named {
        let wrong = || DrillError::Stack(format!("--stack {named:?}: write it as NAMESPACE/NAME"));
        let (namespace, name) = named.split_once('/').ok_or_else(wrong)?;
        let is_name = crate::k8s::meta::is_object_name;
        return if is_name(namespace) && is_name(name) {
            Ok((namespace.to_owned(), name.to_owned()))
        } else {
            Err(wrong())
        };
    }
    let listed = Api::<Guarded<MonitoringStack>>::all(client.clone()).list(&ListParams::default()).await;
    let listed = listed.map_err(|error| failed(format!("look for the stack ({HOW})"), error))?;
    let stacks: Vec<_> = listed.items.into_iter().filter_map(|stack| stack.0.ok()).collect();
    let with = stacks.iter().filter(|stack| stack.spec.alertmanager.is_some());
    let names: Vec<_> = with.map(|stack| (stack.namespace().unwrap_or_default(), stack.name_any())).collect();
    match names.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(DrillError::Stack(
            "there is no MonitoringStack with an Alertmanager, through which the alert would go".into(),
        )),
        several => {
            let list: Vec<_> = several.iter().map(|(namespace, name)| format!("{namespace}/{name}")).collect();
            Err(DrillError::Stack(format!("there are several stacks with an Alertmanager, {}: {HOW}", list.join(", "))))
        }
    }
}

/// Through the API server: `create` on `services/proxy` in the namespace of the stack is enough.
async fn post(
    client: &Client,
    (namespace, stack): &(String, String),
    labels: &BTreeMap<String, String>,
    of: &str,
    (starts_at, ends_at): (Timestamp, Timestamp),
) -> Result<(), DrillError> {
    let annotations = [("summary".to_owned(), format!("Drill of AlertResponse {of}"))].into();
    let body = serde_json::to_vec(&[Posted { labels, annotations, starts_at, ends_at }])?;
    let service = alertmanager(stack);
    let path = format!("/api/v1/namespaces/{namespace}/services/{service}:{ALERTMANAGER_PORT}/proxy/api/v2/alerts");
    let request = Request::post(path).header(header::CONTENT_TYPE, "application/json").body(body)?;
    let sent = client.request_text(request).await;
    Ok(sent.map(drop).map_err(|error| failed(format!("post the alert to Service {namespace}/{service}"), error))?)
}

/// The run, once it is closed.
async fn closed(client: &Client, namespace: &str, id: &str) -> Result<ResponseRun, DrillError> {
    loop {
        if let Some(run) = find(client, namespace, id).await?.filter(|run| run.phase().is_closed()) {
            return Ok(run);
        }
        tokio::time::sleep(EVERY).await;
    }
}

async fn find(client: &Client, namespace: &str, id: &str) -> Result<Option<ResponseRun>, DrillError> {
    let api = Api::<Guarded<ResponseRun>>::namespaced(client.clone(), namespace);
    let list = api.list(&ListParams::default()).await;
    let list = list.map_err(|error| failed(format!("list ResponseRuns in namespace {namespace}"), error))?;
    let is_it = |run: &ResponseRun| run.spec.alert.labels.get(DRILL_ID).map(String::as_str) == Some(id);
    Ok(list.items.into_iter().filter_map(|run| run.0.ok()).find(is_it))
}
