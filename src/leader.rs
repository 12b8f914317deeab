//! Leader election by a Lease: who may write. A replica that cannot renew in time ends its process, so that
//! nothing it still had in flight is done beside the next leader's work.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Api, PostParams};
use kube::{Client, ResourceExt};

/// Times of an election; the proportions are those of client-go.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// How long others wait after the last renewal they saw before they take over.
    pub lease: Duration,
    /// A leader that has not renewed for this long stops. Must be shorter than `lease`.
    pub deadline: Duration,
    /// Time between two attempts.
    pub retry: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self { lease: Duration::from_secs(15), deadline: Duration::from_secs(10), retry: Duration::from_secs(2) }
    }
}

/// The lease as last seen. Expiry goes by this replica's own monotonic clock since it first saw this very renewal:
/// clocks of different nodes are never compared.
#[derive(Clone, Debug, PartialEq)]
struct Sighting {
    holder: String,
    resource_version: String,
    first_seen: Instant,
}

/// Whether `me` may write itself into the lease. Pure.
fn may_take(seen: Option<&Sighting>, me: &str, lease: Duration, now: Instant) -> bool {
    seen.is_none_or(|s| s.holder.is_empty() || s.holder == me || now.duration_since(s.first_seen) >= lease)
}

#[derive(Debug, thiserror::Error)]
pub enum LeaderError {
    #[error("the lease {name} was not renewed for {deadline:?}: {last}")]
    Lost { name: String, deadline: Duration, last: String },
    #[error("the lease {name} was taken over by {holder}")]
    Usurped { name: String, holder: String },
}

/// A candidate for one Lease.
pub struct Elector {
    api: Api<Lease>,
    name: String,
    identity: String,
    timing: Timing,
    seen: Option<Sighting>,
}

impl Elector {
    /// `identity` must differ between replicas: the pod's name.
    pub fn new(client: Client, namespace: &str, name: &str, identity: &str, timing: Timing) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
            identity: identity.to_owned(),
            timing,
            seen: None,
        }
    }

    /// Returns once this replica holds the lease. Errors of the API server are waited out.
    pub async fn acquire(&mut self) {
        loop {
            match self.attempt().await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, lease = self.name, "cannot read or write the lease"),
            }
            tokio::time::sleep(self.timing.retry).await;
        }
    }

    /// Renews until that fails for good; never returns while this replica leads.
    pub async fn hold(&mut self) -> LeaderError {
        let mut renewed = Instant::now();
        loop {
            tokio::time::sleep(self.timing.retry).await;
            let left = self.timing.deadline.saturating_sub(renewed.elapsed());
            let last = match tokio::time::timeout(left, self.attempt()).await {
                Ok(Ok(true)) => {
                    renewed = Instant::now();
                    continue;
                }
                Ok(Ok(false)) => match self.seen.as_ref().map(|s| s.holder.clone()) {
                    Some(holder) if holder != self.identity => {
                        return LeaderError::Usurped { name: self.name.clone(), holder };
                    }
                    // A renewal whose answer was lost, most likely: look again.
                    _ => "the lease changed while it was renewed".to_owned(),
                },
                Ok(Err(error)) => error.to_string(),
                Err(_) => "the API server did not answer in time".to_owned(),
            };
            tracing::warn!(lease = self.name, error = last, "cannot renew the lease");
            if renewed.elapsed() >= self.timing.deadline {
                return LeaderError::Lost { name: self.name.clone(), deadline: self.timing.deadline, last };
            }
        }
    }

    /// Gives the lease back, so that the next leader need not wait for it to expire.
    pub async fn release(&mut self) {
        let Ok(Some(mut lease)) = self.api.get_opt(&self.name).await else { return };
        let Some(spec) = lease.spec.as_mut().filter(|s| s.holder_identity.as_deref() == Some(&self.identity)) else {
            return;
        };
        spec.holder_identity = None;
        spec.lease_duration_seconds = Some(1);
        if let Err(error) = self.api.replace(&self.name, &PostParams::default(), &lease).await {
            tracing::warn!(%error, lease = self.name, "cannot release the lease");
        }
    }

    /// One look and, if allowed, one write. `Ok(true)`: this replica holds the lease now.
    async fn attempt(&mut self) -> Result<bool, kube::Error> {
        let current = self.api.get_opt(&self.name).await?;
        self.see(current.as_ref());
        if !may_take(self.seen.as_ref(), &self.identity, self.timing.lease, Instant::now()) {
            return Ok(false);
        }
        let written = match current {
            None => self.api.create(&PostParams::default(), &self.desired(None)).await,
            // The resourceVersion within makes this fail if anybody else wrote meanwhile.
            Some(current) => self.api.replace(&self.name, &PostParams::default(), &self.desired(Some(&current))).await,
        };
        match written {
            Ok(lease) => {
                self.see(Some(&lease));
                Ok(true)
            }
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn see(&mut self, lease: Option<&Lease>) {
        let Some(lease) = lease else {
            self.seen = None;
            return;
        };
        let resource_version = lease.resource_version().unwrap_or_default();
        if self.seen.as_ref().is_some_and(|s| s.resource_version == resource_version) {
            return;
        }
        let holder = lease.spec.as_ref().and_then(|s| s.holder_identity.clone()).unwrap_or_default();
        self.seen = Some(Sighting { holder, resource_version, first_seen: Instant::now() });
    }

    fn desired(&self, current: Option<&Lease>) -> Lease {
        let now = MicroTime(Timestamp::now());
        let before = current.and_then(|l| l.spec.clone()).unwrap_or_default();
        let mine = before.holder_identity.as_deref() == Some(&self.identity);
        Lease {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                resource_version: current.and_then(ResourceExt::resource_version),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: i32::try_from(self.timing.lease.as_secs()).ok(),
                acquire_time: if mine { before.acquire_time } else { Some(now.clone()) },
                lease_transitions: Some(before.lease_transitions.unwrap_or(0) + i32::from(!mine)),
                renew_time: Some(now),
                ..LeaseSpec::default()
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(15);

    fn seen(holder: &str, first_seen: Instant) -> Sighting {
        Sighting { holder: holder.into(), resource_version: "1".into(), first_seen }
    }

    #[test]
    fn a_lease_of_another_is_left_alone_until_it_expires_by_our_own_clock() {
        let start = Instant::now();
        let other = seen("b", start);
        assert!(!may_take(Some(&other), "a", LEASE, start + LEASE - Duration::from_millis(1)));
        assert!(may_take(Some(&other), "a", LEASE, start + LEASE));
    }

    #[test]
    fn an_absent_a_released_and_an_own_lease_may_be_taken_at_once() {
        let now = Instant::now();
        assert!(may_take(None, "a", LEASE, now));
        assert!(may_take(Some(&seen("", now)), "a", LEASE, now));
        assert!(may_take(Some(&seen("a", now)), "a", LEASE, now));
    }
}
