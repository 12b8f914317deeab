//! What every replica keeps in memory to take alerts: AlertResponses, runs, and the credentials of the senders.

use std::future::Future;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use futures::{Stream, StreamExt, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{ObjectRef, Store, store};
use kube::runtime::watcher;
use kube::{Api, ResourceExt};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::alertmanagers::StackName;
use super::credentials::RECEIVER_TOKEN;
use super::index::{Index, Kept};
use crate::api::{AlertResponse, MonitoringStack, ResponseRun};
use crate::context::Context;
use crate::k8s::Guarded;
use crate::k8s::cache::{Filled, Sight, all_filled, fill_in_sight, filled};
use crate::stack::names;

/// Changes that the leader may be behind; beyond that it looks at everything again.
const MAX_BEHIND: usize = 1024;

/// Readers of the caches.
pub struct Stores {
    responses: Store<Guarded<AlertResponse>>,
    runs: Store<Guarded<ResponseRun>>,
    stacks: Store<PartialObjectMeta<MonitoringStack>>,
    tokens: Store<Secret>,
    webhook: Store<Secret>,
    index: Arc<RwLock<Index>>,
    filled: Filled,
    sights: Sights,
    changes: broadcast::Sender<Change>,
}

/// Which of the caches may be behind.
#[derive(Clone, Default)]
struct Sights {
    responses: Sight,
    runs: Sight,
    stacks: Sight,
    tokens: Sight,
    webhook: Sight,
}

/// Something in the caches is not as it was.
#[derive(Clone, Debug)]
pub enum Change {
    /// Whoever looks now looks for the first time, or missed something.
    Everything,
    Response(AlertResponse),
    Run(Kept),
}

impl Stores {
    /// All caches are filled; until then no alert can be judged.
    pub fn is_ready(&self) -> bool {
        self.filled.peek() == Some(&true)
    }

    /// False while AlertResponses may be missing: then nobody can say that none matches.
    pub fn sees_responses(&self) -> bool {
        self.sights.responses.is_clear()
    }

    /// False while runs may be missing.
    pub fn sees_runs(&self) -> bool {
        self.sights.runs.is_clear()
    }

    /// False while the credentials of a sender may be missing.
    pub fn sees_senders(&self) -> bool {
        let Sights { responses: _, runs: _, stacks, tokens, webhook } = &self.sights;
        [stacks, tokens, webhook].iter().all(|sight| sight.is_clear())
    }

    /// Resolves when all caches are filled.
    pub async fn filled(&self) {
        self.filled.clone().await;
    }

    pub fn responses(&self) -> Vec<AlertResponse> {
        self.responses.state().iter().filter_map(|r| r.0.as_ref().ok().cloned()).collect()
    }

    /// The runs that are wanted, of all.
    pub fn runs(&self, wanted: impl Fn(&ResponseRun) -> bool) -> Vec<Kept> {
        self.index().all().filter(|run| wanted(run)).cloned().collect()
    }

    /// Runs by what they have in common. Nothing else may be waited for while it is held.
    pub fn index(&self) -> RwLockReadGuard<'_, Index> {
        // Poisoned by a panic in the middle of a change, which is done again with the next list.
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// For controllers, which look objects up in them.
    pub fn readers(&self) -> (Store<Guarded<AlertResponse>>, Store<Guarded<ResponseRun>>) {
        (self.responses.clone(), self.runs.clone())
    }

    /// What changes from now on, after one `Everything` for what is there already.
    pub fn changes(&self) -> impl Stream<Item = Change> + Send + use<> {
        let receiver = self.changes.subscribe();
        let later = stream::unfold(receiver, |mut receiver| async move {
            match receiver.recv().await {
                Ok(change) => Some((change, receiver)),
                Err(RecvError::Lagged(_)) => Some((Change::Everything, receiver)),
                Err(RecvError::Closed) => None,
            }
        });
        stream::once(async { Change::Everything }).chain(later)
    }

    /// Secrets with tokens of stacks, and whose they are. A Secret counts only while its stack is there: who may
    /// write Secrets in a namespace, and no stacks, cannot make the operator trust a sender.
    pub fn tokens(&self) -> Vec<(StackName, Arc<Secret>)> {
        let (stacks, secrets) = (self.stacks.state(), self.tokens.state());
        secrets.into_iter().filter_map(|secret| Some((owner(&stacks, &secret)?, secret))).collect()
    }

    /// Stacks whose Alertmanager may deliver alerts: those that have a token.
    pub fn stacks(&self) -> Vec<StackName> {
        self.tokens().into_iter().map(|(stack, _)| stack).collect()
    }

    /// The Secret of `POST /webhook/alert`.
    pub fn webhook(&self) -> Option<Arc<Secret>> {
        self.webhook.state().into_iter().next()
    }
}

/// The caches, and what keeps them filled for as long as it is polled. Every replica runs it.
pub fn watch(context: &Context) -> (Arc<Stores>, impl Future<Output = ()> + Send + 'static) {
    let (responses, write_responses) = store();
    let (runs, write_runs) = store();
    let (stacks, write_stacks) = store();
    let (tokens, write_tokens) = store();
    let (webhook, write_webhook) = store();
    let (changes, _) = broadcast::channel(MAX_BEHIND);
    let filled =
        all_filled(vec![filled(&responses), filled(&runs), filled(&stacks), filled(&tokens), filled(&webhook)]);
    let sights = Sights::default();
    let of = sights.clone();
    let index = Arc::<RwLock<Index>>::default();
    let kept = (runs.clone(), index.clone());
    let stores =
        Arc::new(Stores { responses, runs, stacks, tokens, webhook, index, filled, sights, changes: changes.clone() });
    let client = &context.client;
    let labelled = watcher::Config::default().labels(&format!("{RECEIVER_TOKEN}=true"));
    let named = watcher::Config::default().fields(&format!("metadata.name={}", context.settings.webhook_secret));
    let all = watcher::Config::default;
    let own = Api::namespaced(client.clone(), &context.settings.namespace);
    let watches = (
        fill_in_sight(write_responses, Api::all(client.clone()), all(), of.responses, tell_responses(changes.clone())),
        fill_in_sight(write_runs, Api::all(client.clone()), all(), of.runs, tell_runs(kept, changes)),
        fill_in_sight(write_stacks, Api::all(client.clone()), all(), of.stacks, |_| {}),
        fill_in_sight(write_tokens, Api::all(client.clone()), labelled, of.tokens, |_| {}),
        fill_in_sight(write_webhook, own, named, of.webhook, |_| {}),
    );
    let filled = stores.clone();
    let work = async move {
        let (responses, runs, stacks, tokens, webhook) = watches;
        tokio::join!(responses, runs, stacks, tokens, webhook, async move { filled.filled().await });
    };
    (stores, work)
}

/// Passes changes on to whoever listens: the leader's controllers, or nobody.
fn tell_responses(changes: broadcast::Sender<Change>) -> impl Fn(&watcher::Event<Guarded<AlertResponse>>) {
    move |event| {
        let news = match event {
            watcher::Event::Apply(response) | watcher::Event::Delete(response) => {
                response.0.as_ref().ok().cloned().map(Change::Response)
            }
            // What came since `Init` is in the cache from here on.
            watcher::Event::InitDone => Some(Change::Everything),
            watcher::Event::Init | watcher::Event::InitApply(_) => None,
        };
        // Fails when nobody listens.
        news.map(|news| changes.send(news).is_ok());
    }
}

/// The same of runs, which the index has by then.
fn tell_runs(
    (cache, index): (Store<Guarded<ResponseRun>>, Arc<RwLock<Index>>),
    changes: broadcast::Sender<Change>,
) -> impl Fn(&watcher::Event<Guarded<ResponseRun>>) {
    move |event| {
        let mut index = index.write().unwrap_or_else(PoisonError::into_inner);
        let news = match event {
            watcher::Event::Apply(run) => {
                let kept = cache.get(&ObjectRef::from_obj(run)).and_then(Kept::of);
                kept.inspect(|run| index.put(run.clone())).map(Change::Run)
            }
            watcher::Event::Delete(run) => {
                index.remove(&run.uid().unwrap_or_default());
                Kept::of(Arc::new(run.clone())).map(Change::Run)
            }
            watcher::Event::Init | watcher::Event::InitApply(_) => None,
            watcher::Event::InitDone => {
                *index = Index::default();
                cache.state().into_iter().filter_map(Kept::of).for_each(|run| index.put(run));
                Some(Change::Everything)
            }
        };
        drop(index);
        news.map(|news| changes.send(news).is_ok());
    }
}

/// The stack that a Secret belongs to, by name and by UID.
fn owner(stacks: &[Arc<PartialObjectMeta<MonitoringStack>>], secret: &Secret) -> Option<StackName> {
    let stack = stacks.iter().find(|stack| {
        stack.namespace() == secret.namespace()
            && secret.name_any() == names::receiver_token(&stack.name_any())
            && secret.owner_references().iter().any(|owner| Some(&owner.uid) == stack.metadata.uid.as_ref())
    })?;
    Some((stack.namespace()?, stack.name_any()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_secret_counts_only_when_its_stack_is_there() {
        let stack = |namespace: &str, uid: &str| {
            let metadata = json!({"metadata": {"namespace": namespace, "name": "main", "uid": uid}});
            Arc::new(serde_json::from_value::<PartialObjectMeta<MonitoringStack>>(metadata).unwrap())
        };
        let secret = |namespace: &str, name: &str, uid: &str| -> Secret {
            let owner =
                json!([{"apiVersion": "evenkeel.dev/v1alpha1", "kind": "MonitoringStack", "name": "main", "uid": uid}]);
            let metadata = json!({"namespace": namespace, "name": name, "ownerReferences": owner});
            serde_json::from_value(json!({"metadata": metadata})).unwrap()
        };
        let stacks = [stack("monitoring", "u1"), stack("other", "u2")];
        let of = |secret: Secret| owner(&stacks, &secret);
        assert_eq!(of(secret("monitoring", "main-receiver-token", "u1")), Some(("monitoring".into(), "main".into())));
        // Of another name, of a stack that is gone, of a namespace without a stack, without an owner.
        assert_eq!(of(secret("monitoring", "mine", "u1")), None);
        assert_eq!(of(secret("monitoring", "main-receiver-token", "u0")), None);
        assert_eq!(of(secret("shop", "main-receiver-token", "u1")), None);
        let mut bare = secret("monitoring", "main-receiver-token", "u1");
        bare.metadata.owner_references = None;
        assert_eq!(of(bare), None);
    }
}
