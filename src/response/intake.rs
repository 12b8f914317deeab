//! From an alert to its ResponseRuns, in the API server before anybody is told that it was taken.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde::Serialize;

use super::credentials;
use super::episode::{self, Answer};
use super::index::Kept;
use super::payload::Alert;
use super::receive::{Desk, NotTaken, Taken};
use super::run;
use super::stores::Stores;
use super::validate::{Selector, validate};
use crate::api::response_run::{ALERT_SEEN_AT, ALERT_STATE, AlertState, FINGERPRINT, FIRED_AT, FIRINGS, RESPONSE_UID};
use crate::api::{AlertResponse, ResponseRun};
use crate::context::Context;
use crate::k8s::Guarded;
use crate::k8s::meta::Owner;
use crate::k8s::report::chain;
use crate::k8s::status::at_second;

/// A repeat is noted on an open run at most this often.
const NOTE_EVERY: SignedDuration = SignedDuration::from_mins(1);
/// Most runs on record, of the whole cluster: every replica has all of them in memory. Closed ones go when they are old
/// (`runHistory`); until then whoever sends more has to keep them.
const MOST: usize = 20_000;
/// Field manager of the notes, which any replica writes.
const MANAGER: &str = "evenkeel-intake";

/// Takes alerts, on every replica. Cloning shares the caches.
#[derive(Clone)]
pub struct Intake {
    context: Arc<Context>,
    stores: Arc<Stores>,
    selectors: Arc<Mutex<HashMap<String, Compiled>>>,
    /// See `MOST`.
    most: usize,
}

/// Matchers of one generation of a response; `None` when they are invalid.
type Compiled = (i64, Option<Arc<Selector>>);

impl Intake {
    pub fn new(context: Arc<Context>, stores: Arc<Stores>) -> Self {
        Self { context, stores, selectors: Arc::default(), most: MOST }
    }

    /// The responses that match. Compiles the matchers of each generation once.
    fn matching(&self, alert: &Alert) -> Vec<(AlertResponse, Owner)> {
        let responses = self.stores.responses();
        // A poisoned lock would only mean that another request panicked while it compiled.
        let mut memo = self.selectors.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if memo.len() > 2 * responses.len() + 16 {
            memo.clear();
        }
        let live = responses.into_iter().filter(|r| r.metadata.deletion_timestamp.is_none());
        live.filter_map(|response| Owner::of(&response).map(|owner| (response, owner)))
            .filter(|(response, owner)| {
                let generation = response.metadata.generation.unwrap_or_default();
                let compiled = memo.entry(owner.uid.clone()).or_insert((i64::MIN, None));
                if compiled.0 != generation {
                    *compiled = (generation, validate(&response.spec).ok().map(Arc::new));
                }
                compiled.1.as_ref().is_some_and(|selector| selector.matches(alert, &owner.namespace))
            })
            .collect()
    }

    /// Puts one alert on record: with every response that matches it, a run is there afterwards. While one may be missing
    /// from the caches, those that are known get their runs, and the alert counts as not taken all the same.
    pub async fn put(&self, alert: &Alert, source: &str, now: Timestamp) -> Result<Taken, NotTaken> {
        let unseen = self.unseen(alert);
        let matching = self.matching(alert);
        let taken = match alert.is_resolved() {
            true => self.resolve(alert, &matching, now).await?,
            false => {
                for (response, owner) in &matching {
                    self.ensure(response, owner, alert, source, now).await?;
                }
                if matching.is_empty() { Taken::Unmatched } else { Taken::Recorded }
            }
        };
        match unseen {
            None => Ok(taken),
            Some(kind) => Err(NotTaken(format!(
                "the watch of {kind} is broken, so that alert {} may concern one that is not known yet",
                alert.name()
            ))),
        }
    }

    /// The kind of which one may be missing that the alert concerns.
    fn unseen(&self, alert: &Alert) -> Option<&'static str> {
        let needed = [
            ("AlertResponses", self.stores.sees_responses()),
            ("ResponseRuns", !alert.is_resolved() || self.stores.sees_runs()),
        ];
        needed.into_iter().find(|(_, sees)| !sees).map(|(kind, _)| kind)
    }

    /// A run of this response for this alert is there afterwards.
    async fn ensure(
        &self,
        response: &AlertResponse,
        owner: &Owner,
        alert: &Alert,
        source: &str,
        now: Timestamp,
    ) -> Result<(), NotTaken> {
        let fingerprint = alert.identity();
        // Asked before the cache is read.
        let sees = self.stores.sees_runs();
        let cached = self.about(&fingerprint);
        let cached: Vec<&ResponseRun> =
            cached.iter().map(|run| &**run).filter(|run| run.spec.response_ref.uid == owner.uid).collect();
        match episode::decide(response, owner, alert, &cached, source, now) {
            Answer::Existing(name) => {
                return self.note_firing(cached.iter().find(|run| run.name_any() == name).copied(), alert, now).await;
            }
            // A cache that is behind by a moment leads to a name that exists, and the API server says so: in a storm a
            // list for each alert is what would break it.
            Answer::Create(run) if sees => {
                if self.create(&run).await? {
                    return Ok(());
                }
            }
            Answer::Create(_) => {}
        }
        let live = self.list(owner, &fingerprint).await?;
        let live: Vec<&ResponseRun> = live.iter().collect();
        match episode::decide(response, owner, alert, &live, source, now) {
            Answer::Existing(name) => {
                self.note_firing(live.iter().find(|run| run.name_any() == name).copied(), alert, now).await
            }
            Answer::Create(run) => self.create(&run).await.map(drop),
        }
    }

    /// The runs that are known of an alert, of all responses.
    fn about(&self, fingerprint: &str) -> Vec<Kept> {
        self.stores.index().of_alert(fingerprint).cloned().collect()
    }

    async fn list(&self, owner: &Owner, fingerprint: &str) -> Result<Vec<ResponseRun>, NotTaken> {
        let api = Api::<Guarded<ResponseRun>>::namespaced(self.context.client.clone(), &owner.namespace);
        let labels = format!("{RESPONSE_UID}={},{FINGERPRINT}={fingerprint}", owner.uid);
        let listed = api.list(&ListParams::default().labels(&labels)).await;
        let listed = listed.map_err(|error| failed("list ResponseRuns of", &owner.name, &error))?;
        Ok(listed.items.into_iter().filter_map(|run| run.0.ok()).collect())
    }

    /// False: there is one of this name already.
    async fn create(&self, run: &ResponseRun) -> Result<bool, NotTaken> {
        let (known, most) = (self.stores.index().len(), self.most);
        if known >= most {
            return Err(NotTaken(format!(
                "{known} ResponseRuns are on record, and no more than {most} are: wait until old ones go, or delete those that nobody needs (kubectl delete run)"
            )));
        }
        let (namespace, name) = (run.namespace().unwrap_or_default(), run.name_any());
        let api = Api::<ResponseRun>::namespaced(self.context.client.clone(), &namespace);
        match api.create(&PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() }, run).await {
            Ok(_) => {
                tracing::info!(namespace, name, alert = run.spec.alert.name, "alert recorded");
                Ok(true)
            }
            // Another replica, or another delivery of the same alert, was faster.
            Err(kube::Error::Api(status)) if status.code == 409 && status.reason == "AlreadyExists" => Ok(false),
            // The namespace goes away, and its responses with it: no later try could succeed.
            Err(kube::Error::Api(status)) if status.is_not_found() || status.message.contains("being terminated") => {
                tracing::info!(namespace, name, "not recorded: the namespace is going away");
                Ok(true)
            }
            Err(error) => Err(failed("create ResponseRun", &name, &error)),
        }
    }

    async fn resolve(
        &self,
        alert: &Alert,
        matching: &[(AlertResponse, Owner)],
        now: Timestamp,
    ) -> Result<Taken, NotTaken> {
        let fingerprint = alert.identity();
        // By what is on record, not by what matches today: the response may have been edited since.
        let mut runs: Vec<ResponseRun> = self.about(&fingerprint).iter().map(|run| (**run).clone()).collect();
        for (_, owner) in matching {
            if !runs.iter().any(|run| run.spec.response_ref.uid == owner.uid) {
                // Created a moment ago, perhaps, by another replica.
                runs.extend(self.list(owner, &fingerprint).await?);
            }
        }
        let mut responses: Vec<_> = runs.iter().map(|run| run.spec.response_ref.uid.clone()).collect();
        responses.sort();
        responses.dedup();
        for uid in &responses {
            let of_response: Vec<_> = runs.iter().filter(|run| run.spec.response_ref.uid == *uid).collect();
            let latest = episode::latest(&of_response).map(ResourceExt::name_any);
            // Those before it too, if something of them is open: an incident, people who are yet to be called.
            let waits = |run: &&&ResponseRun| Some(run.name_any()) == latest || run::is_alive(run);
            for run in of_response.iter().filter(waits) {
                self.mark_resolved(run, alert.ends_at.filter(|t| *t <= now).unwrap_or(now)).await?;
            }
        }
        Ok(if matching.is_empty() && runs.is_empty() { Taken::Unmatched } else { Taken::Recorded })
    }

    /// Notes on a run, open or closed, that its alert is over; once.
    pub async fn mark_resolved(&self, run: &ResponseRun, at: Timestamp) -> Result<(), NotTaken> {
        if run.annotations().get(ALERT_STATE).map(String::as_str) == Some("Resolved") {
            return Ok(());
        }
        self.note(run, state(AlertState::Resolved, at)).await
    }

    /// That it fires, on an open run; that it came again, on any.
    async fn note_firing(&self, run: Option<&ResponseRun>, alert: &Alert, now: Timestamp) -> Result<(), NotTaken> {
        let Some(run) = run else { return Ok(()) };
        let again = episode::came_again(run, alert, NOTE_EVERY).zip(alert.starts_at);
        let again = again.map(|(count, began)| [(FIRINGS, count.to_string()), (FIRED_AT, began.to_string())]);
        let again = again.into_iter().flatten();
        if run.phase().is_closed() {
            let again: HashMap<_, _> = again.collect();
            return if again.is_empty() { Ok(()) } else { self.note(run, again).await };
        }
        let noted = run.annotations().get(ALERT_STATE).map(String::as_str) == Some("Firing");
        let unnoted = run.annotations().get(ALERT_STATE).is_none();
        let created = run.spec.alert.received_at.as_ref().map(|t| t.0);
        let seen = run.annotations().get(ALERT_SEEN_AT).and_then(|t| t.parse().ok()).or(created);
        if (noted || unnoted) && seen.is_some_and(|seen: Timestamp| now.duration_since(seen) < NOTE_EVERY) {
            return Ok(());
        }
        self.note(run, state(AlertState::Firing, now).into_iter().chain(again).collect()).await
    }

    async fn note(&self, run: &ResponseRun, annotations: HashMap<&'static str, String>) -> Result<(), NotTaken> {
        let (namespace, name) = (run.namespace().unwrap_or_default(), run.name_any());
        let note = Note {
            metadata: NoteMetadata {
                // Makes the patch miss a namesake.
                uid: run.uid(),
                annotations,
            },
        };
        let api = Api::<Guarded<ResponseRun>>::namespaced(self.context.client.clone(), &namespace);
        let manager = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
        match api.patch_metadata(&name, &manager, &Patch::Merge(&note)).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(()),
            Err(error) => Err(failed("annotate ResponseRun", &name, &error)),
        }
    }
}

/// What is noted of an alert's state.
fn state(state: AlertState, at: Timestamp) -> HashMap<&'static str, String> {
    [(ALERT_STATE, format!("{state:?}")), (ALERT_SEEN_AT, at_second(at).to_string())].into()
}

#[derive(Debug, Serialize)]
struct Note {
    metadata: NoteMetadata,
}

#[derive(Debug, Serialize)]
struct NoteMetadata {
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<String>,
    annotations: HashMap<&'static str, String>,
}

fn failed(verb: &str, name: &str, error: &kube::Error) -> NotTaken {
    NotTaken(format!("cannot {verb} {name}: {}", chain(error)))
}

impl Desk for Intake {
    fn is_ready(&self) -> bool {
        self.stores.is_ready()
    }
    fn sees_senders(&self) -> bool {
        self.stores.sees_senders()
    }
    fn bearer(&self, token: &str) -> Option<String> {
        credentials::bearer(&self.stores.tokens(), token)
    }
    fn basic(&self, user: &str, password: &str) -> bool {
        credentials::basic(self.stores.webhook().as_deref(), user, password)
    }
    async fn take(&self, alert: Alert, source: &str) -> Result<Taken, NotTaken> {
        self.put(&alert, source, Timestamp::now()).await
    }
}

#[cfg(test)]
mod tests;
