//! What a policy does: ChangeFreezes, messages to channels, the ConfigMap of its report. Each is compared with what is there,
//! or with what the status says was done, before it is done.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};

use super::caches::Caches;
use super::enforce::Notice;
use super::report;
use crate::api::{ChangeFreeze, SLO};
use crate::context::Context;
use crate::k8s::apply::ApplyError;
use crate::k8s::meta::{OWNER_UID, Owner, SET};
use crate::k8s::report::chain;
use crate::notify::deliver;
use crate::notify::message::Message;
use crate::prometheus::Prometheus;
use crate::stack::names::PROMETHEUS;

/// The set of children of a policy, and the suffix of their field manager.
pub const CHILDREN: &str = "policy";
/// Messages that are sent at a time.
pub const AT_ONCE: usize = 8;
/// Before a delivery is tried again; doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(15);
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// Something that keeps a policy from doing what it says, in a reason and words.
pub type Problem = (&'static str, String);

/// Makes the ChangeFreezes of a policy what they must be. One that somebody else wrote is left alone, and said.
pub async fn freeze(
    context: &Context,
    caches: &Caches,
    owner: &Owner,
    wanted: &[ChangeFreeze],
) -> Result<Vec<Problem>, ApplyError> {
    let api = Api::<ChangeFreeze>::namespaced(context.client.clone(), &owner.namespace);
    let present = caches.freezes(&owner.namespace);
    let ours = |freeze: &&ChangeFreeze| {
        let label = |name: &str| freeze.labels().get(name).map(String::as_str);
        label(OWNER_UID) == Some(owner.uid.as_str()) && label(SET) == Some(CHILDREN)
    };
    let mut problems = vec![];
    for freeze in wanted {
        let there = present.iter().filter(ours).find(|there| there.name_any() == freeze.name_any());
        if there.is_some_and(|there| there.spec == freeze.spec) {
            continue;
        }
        match context.writer.apply_one(owner, CHILDREN, &api, freeze.clone()).await {
            Ok(_) => {}
            Err(error @ ApplyError::Foreign { .. }) => problems.push(("FreezeNotOurs", chain(&error))),
            Err(error) => return Err(error),
        }
    }
    let names: Vec<String> = wanted.iter().map(ResourceExt::name_any).collect();
    for stale in present.iter().filter(ours).filter(|there| !names.contains(&there.name_any())) {
        context.writer.delete_one(owner, &api, &stale.name_any()).await?;
    }
    Ok(problems)
}

/// Writes the report of a time, unless it is there. `text` makes it.
pub async fn keep_report(
    context: &Context,
    owner: &Owner,
    (from, at): (Timestamp, Timestamp),
    text: impl FnOnce() -> String,
) -> Result<Option<Problem>, ApplyError> {
    let api = Api::<ConfigMap>::namespaced(context.client.clone(), &owner.namespace);
    let name = report::config_map_name(&owner.name);
    let read =
        |error| ApplyError::Api { verb: "read", kind: "ConfigMap".into(), name: name.clone(), error: Box::new(error) };
    let previous = api.get_opt(&name).await.map_err(read)?;
    let holds = |map: &ConfigMap| map.annotations().get(report::AT).is_some_and(|there| *there == at.to_string());
    if previous.as_ref().is_some_and(holds) {
        return Ok(None);
    }
    let map = report::config_map(owner, &text(), (from, at), previous.as_ref());
    match context.writer.apply_one(owner, CHILDREN, &api, map).await {
        Ok(_) => Ok(None),
        Err(error @ ApplyError::Foreign { .. }) => Ok(Some(("ReportNotOurs", chain(&error)))),
        Err(error) => Err(error),
    }
}

/// One message to one channel.
#[derive(Clone, Debug)]
pub struct Errand {
    pub channel: String,
    pub message: Message,
    /// `None`: the report.
    pub notice: Option<Notice>,
}

impl Errand {
    /// By which it is recognised in the next round.
    fn key(&self) -> String {
        let begins = self.notice.as_ref().is_none_or(|notice| notice.begins);
        format!("{} {} {begins}", self.channel, self.message.dedup_key)
    }
}

/// Deliveries that failed.
#[derive(Debug, Default)]
pub struct Retries(HashMap<String, Retry>);

#[derive(Debug)]
struct Retry {
    tries: u32,
    at: Instant,
    why: String,
    channel: String,
}

impl Retries {
    /// Forgets what nobody wants to send any more, and returns what is to be tried now.
    pub fn ready(&mut self, errands: Vec<Errand>) -> Vec<Errand> {
        let keys: Vec<String> = errands.iter().map(Errand::key).collect();
        self.0.retain(|key, _| keys.contains(key));
        let now = Instant::now();
        errands.into_iter().filter(|errand| self.0.get(&errand.key()).is_none_or(|retry| retry.at <= now)).collect()
    }

    /// Time until the next one is tried again.
    pub fn next(&self) -> Option<Duration> {
        self.0.values().map(|retry| retry.at.saturating_duration_since(Instant::now())).min()
    }

    /// The channels that did not take something, each once.
    pub fn problem(&self) -> Option<Problem> {
        let mut lines: Vec<String> =
            self.0.values().map(|retry| format!("NotificationChannel {}: {}", retry.channel, retry.why)).collect();
        lines.sort();
        lines.dedup();
        (!lines.is_empty()).then(|| ("DeliveryFailed", format!("{}; it is tried again", lines.join("; "))))
    }

    /// Sends all at a time, and returns those that arrived.
    pub async fn send(&mut self, context: &Context, namespace: &str, errands: &[Errand]) -> Vec<Errand> {
        let send = |errand: &Errand| {
            let errand = errand.clone();
            async move {
                let Errand { channel, message, .. } = &errand;
                let sent = deliver::to_channel(&context.client, &context.http, namespace, channel, message).await;
                (errand, sent)
            }
        };
        let mut arrived = vec![];
        for (errand, sent) in join_all(errands.iter().map(send)).await {
            match sent {
                Ok(_) => {
                    self.0.remove(&errand.key());
                    arrived.push(errand);
                }
                Err(error) => self.failed(&errand, chain(&error)),
            }
        }
        arrived
    }

    fn failed(&mut self, errand: &Errand, why: String) {
        let tries = self.0.get(&errand.key()).map_or(0, |retry| retry.tries);
        let pause = FIRST_PAUSE.saturating_mul(1 << tries.min(10)).min(LONGEST_PAUSE);
        tracing::warn!(channel = errand.channel, why, "a message about a budget was not delivered, will try again");
        let retry = Retry { tries: tries + 1, at: Instant::now() + pause, why, channel: errand.channel.clone() };
        self.0.insert(errand.key(), retry);
    }
}

/// A Prometheus that has the series of an SLO.
pub async fn prometheus(context: &Context, slo: &SLO) -> Result<Option<Prometheus>, kube::Error> {
    let stack = slo.status.as_ref().and_then(|status| status.stacks.first());
    let Some(stack) = stack else { return Ok(None) };
    pod_of(&context.client, &stack.namespace, &stack.name)
        .await
        .map(|ip| ip.map(|ip| Prometheus::at(&context.http, &ip)))
}

async fn pod_of(client: &Client, namespace: &str, stack: &str) -> Result<Option<String>, kube::Error> {
    let labels = format!("app.kubernetes.io/name={PROMETHEUS},app.kubernetes.io/instance={stack}");
    let pods = Api::<Pod>::namespaced(client.clone(), namespace).list(&ListParams::default().labels(&labels)).await?;
    let ready = |pod: &Pod| {
        let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
        conditions.into_iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True")
    };
    Ok(pods.items.into_iter().filter(ready).find_map(|pod| pod.status?.pod_ip))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errand(channel: &str) -> Errand {
        let message = Message {
            title: String::new(),
            text: String::new(),
            dedup_key: "k".into(),
            source: String::new(),
            severity: String::new(),
            stage: crate::notify::message::Stage::News,
            reference: None,
        };
        Errand { channel: channel.into(), message, notice: None }
    }

    #[test]
    fn a_failed_delivery_waits_longer_each_time_and_is_said_once() {
        let mut retries = Retries::default();
        assert_eq!(retries.ready(vec![errand("chat"), errand("pager")]).len(), 2);
        retries.failed(&errand("chat"), "answered 503".into());
        let first = retries.next().unwrap();
        retries.failed(&errand("chat"), "answered 503".into());
        assert!(first <= FIRST_PAUSE && retries.next().unwrap() > FIRST_PAUSE);
        let ready = retries.ready(vec![errand("chat"), errand("pager")]);
        assert_eq!(ready.iter().map(|errand| errand.channel.as_str()).collect::<Vec<_>>(), ["pager"]);
        assert_eq!(retries.problem().unwrap().1, "NotificationChannel chat: answered 503; it is tried again");
        (0..20).for_each(|_| retries.failed(&errand("chat"), "answered 503".into()));
        assert!(retries.next().unwrap() <= LONGEST_PAUSE);
        // Nobody wants to send it any more.
        assert!(retries.ready(vec![]).is_empty() && retries.problem().is_none());
    }
}
