//! One look at a policy: where it stands, the intent, the effects, the conditions.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::runtime::controller::Action;

use super::{Memory, PolicyError, Shared};
use crate::api::error_budget_policy::{ErrorBudgetPolicyStatus, LastReport};
use crate::api::{Conditioned, ErrorBudgetPolicy, ResponseRun, SLO};
use crate::k8s::apply::ApplyError;
use crate::k8s::meta::Owner;
use crate::k8s::report;
use crate::k8s::status::{Outcome, conditions, patch};
use crate::schedule::Schedule;
use crate::slo::effects::{self, AT_ONCE, Errand, Problem};
use crate::slo::enforce::{self, Members};
use crate::slo::judgement::{self, outcome};
use crate::slo::standing::All;
use crate::slo::validate::check;
use crate::slo::{attribution, report as budgets};

/// Suffix of the field manager of the status.
const MANAGER: &str = "policy-status";
/// Pace at which a policy is looked at although nothing was heard; and at which values alone are written.
const AGAIN: Duration = Duration::from_secs(60);
/// Pace at which it is found out who spent the budgets.
const SPENDING: Duration = Duration::from_secs(300);
/// SLOs of a policy, by name, of which it is found out: a status has a limit.
const MAX_SPENDING: usize = 200;
/// Messages of one pass; the rest follows at once.
const MAX_ERRANDS: usize = 24;

/// One look at a policy.
pub(super) struct Pass<'a> {
    pub shared: &'a Shared,
    pub policy: &'a ErrorBudgetPolicy,
    pub owner: Owner,
    pub slos: Vec<SLO>,
    pub all: All,
    pub now: Timestamp,
}

impl Pass<'_> {
    pub async fn work(&self, memory: &mut Memory) -> Result<Action, PolicyError> {
        let previous = memory.status.clone().or_else(|| self.policy.status.clone()).unwrap_or_default();
        let mut status =
            ErrorBudgetPolicyStatus { observed_generation: self.policy.metadata.generation, ..previous.clone() };
        let schedule = match judgement::validate(&self.policy.spec) {
            Ok(schedule) => schedule,
            Err(outcome) => {
                // What is in force stays in force: nobody can say what would follow from such a spec.
                self.conclude(memory, &mut status, &outcome, true).await?;
                return Ok(Action::await_change());
            }
        };
        let members = self.members();
        status.slos = enforce::standings(&self.owner.name, &self.policy.spec, &previous.slos, &members, self.now);
        status.worst = enforce::worst(&members);
        self.due_report(schedule.as_ref(), &mut status);
        self.spend(memory, &mut status).await;
        if judgement::intent(&status) != judgement::intent(&previous) {
            self.write(memory, &status).await?;
        }
        for (passed, reason, note) in judgement::news(&self.owner, &previous.slos, &status.slos) {
            match passed {
                true => report::warn(&self.shared.context, self.policy, "Enforce", reason, &note).await,
                false => report::info(&self.shared.context, self.policy, "Enforce", reason, &note).await,
            }
        }

        let mut problems: Vec<Problem> = self.missing_channels().into_iter().collect();
        let freezes = enforce::freezes(&self.owner, &self.policy.spec, &status.slos);
        // People are told also while the API server refuses a freeze.
        let frozen = effects::freeze(&self.shared.context, &self.shared.caches, &self.owner, &freezes).await;
        let kept = self.keep_report(memory, &status).await;
        let more = self.tell(memory, &mut status).await?;
        problems.extend(frozen?);
        problems.extend(kept?);
        problems.extend(memory.retries.problem());
        let settled = judgement::intent(&status) == judgement::intent(&previous);
        let outcome = outcome(&status.slos, &problems);
        self.conclude(memory, &mut status, &outcome, !settled).await?;
        let next = status.next_report.as_ref().map(|next| next.0.duration_since(self.now));
        let next = next.map(|next| Duration::try_from(next).unwrap_or_default());
        let waits = [enforce::due(&self.policy.spec, &status.slos, self.now), memory.retries.next(), next];
        let soonest = waits.into_iter().flatten().min().unwrap_or(AGAIN).clamp(Duration::from_secs(1), AGAIN);
        Ok(Action::requeue(if more { Duration::ZERO } else { soonest }))
    }

    fn members(&self) -> Members<'_> {
        let standing = |slo: &SLO| {
            let standing = self.all.get(&(self.owner.namespace.clone(), slo.name_any()));
            standing.filter(|standing| Some(standing.uid.as_str()) == slo.metadata.uid.as_deref())
        };
        self.slos.iter().map(|slo| (slo.name_any(), standing(slo))).collect()
    }

    /// Writes down that a report is due, before it is made.
    fn due_report(&self, schedule: Option<&Schedule>, status: &mut ErrorBudgetPolicyStatus) {
        let Some(schedule) = schedule else {
            (status.last_report, status.next_report) = (None, None);
            return;
        };
        let last = status.last_report.as_ref().and_then(|last| last.at.clone());
        let since = last.or_else(|| self.policy.metadata.creation_timestamp.clone()).map_or(self.now, |since| since.0);
        if let Some(at) = schedule.last(since, self.now) {
            status.last_report = Some(LastReport { at: Some(Time(at)), from: Some(Time(since)), sent_to: vec![] });
        }
        status.next_report = schedule.next(self.now).map(Time);
    }

    fn missing_channels(&self) -> Option<Problem> {
        let Owner { namespace, .. } = &self.owner;
        let there = |name: &str| self.shared.caches.has_channel(namespace, name);
        judgement::missing_channels(namespace, &self.policy.spec, there)
    }

    /// Copies of the runs of the namespace.
    fn runs(&self) -> Vec<ResponseRun> {
        let namespace = Some(self.owner.namespace.as_str());
        let runs = self.shared.stores.runs(|run| run.namespace().as_deref() == namespace);
        runs.iter().map(|run| (**run).clone()).collect()
    }

    fn report(&self, status: &ErrorBudgetPolicyStatus, from: Timestamp, to: Timestamp) -> String {
        let Owner { namespace, .. } = &self.owner;
        let mut policy = self.policy.clone();
        policy.status = Some(status.clone());
        let runs = self.runs();
        budgets::markdown(&budgets::Facts {
            policy: &policy,
            slos: &self.slos,
            adjustments: &self.shared.caches.adjustments.within(namespace),
            freezes: &self.shared.caches.freezes(namespace),
            runs: &runs,
            from,
            to,
        })
    }

    async fn keep_report(
        &self,
        memory: &mut Memory,
        status: &ErrorBudgetPolicyStatus,
    ) -> Result<Option<Problem>, ApplyError> {
        let last = status.last_report.as_ref();
        let Some(at) = last.and_then(|last| last.at.as_ref()).map(|at| at.0) else { return Ok(None) };
        if memory.reported == Some(at) {
            return Ok(None);
        }
        let from = last.and_then(|last| last.from.as_ref()).map_or(at, |from| from.0);
        let text = || self.report(status, from, at);
        let problem = effects::keep_report(&self.shared.context, &self.owner, (from, at), text).await?;
        if problem.is_none() {
            memory.reported = Some(at);
        }
        Ok(problem)
    }

    /// Sends what is to be sent, and writes down what arrived. Returns whether there is more.
    async fn tell(&self, memory: &mut Memory, status: &mut ErrorBudgetPolicyStatus) -> Result<bool, PolicyError> {
        let Owner { namespace, .. } = &self.owner;
        let mut errands = vec![];
        for notice in enforce::notices(&self.policy.spec, &status.slos) {
            if self.shared.caches.has_channel(namespace, &notice.channel) {
                let message = enforce::message(&self.owner, &self.policy.spec, &status.slos, &notice);
                errands.push(Errand { channel: notice.channel.clone(), message, notice: Some(notice) });
            } else if !notice.begins {
                // Nobody is there to be told.
                enforce::settle(&mut status.slos, &notice);
            }
        }
        errands.extend(self.report_errands(status));
        let ready = memory.retries.ready(errands);
        for some in ready[..ready.len().min(MAX_ERRANDS)].chunks(AT_ONCE) {
            let arrived = memory.retries.send(&self.shared.context, namespace, some).await;
            for errand in &arrived {
                match (&errand.notice, &mut status.last_report) {
                    (Some(notice), _) => enforce::settle(&mut status.slos, notice),
                    (None, Some(last)) => last.sent_to.push(errand.channel.clone()),
                    (None, None) => {}
                }
            }
            if !arrived.is_empty() {
                self.write(memory, status).await?;
            }
        }
        Ok(ready.len() > MAX_ERRANDS)
    }

    fn report_errands(&self, status: &ErrorBudgetPolicyStatus) -> Vec<Errand> {
        let (Some(report), Some(last)) = (&self.policy.spec.report, &status.last_report) else { return vec![] };
        let Some(at) = last.at.as_ref().map(|at| at.0) else { return vec![] };
        let there = |name: &&String| self.shared.caches.has_channel(&self.owner.namespace, name);
        let open: BTreeSet<&String> =
            report.notify.iter().filter(|name| !last.sent_to.contains(name)).filter(there).collect();
        if open.is_empty() || judgement::is_stale(at, self.now) {
            return vec![];
        }
        let text = self.report(status, last.from.as_ref().map_or(at, |from| from.0), at);
        let message = judgement::report_message(&self.owner, at, &text);
        open.into_iter().map(|name| Errand { channel: name.clone(), message: message.clone(), notice: None }).collect()
    }

    /// Finds out who spent the budgets, now and then.
    async fn spend(&self, memory: &mut Memory, status: &mut ErrorBudgetPolicyStatus) {
        if self.policy.spec.allocation.is_empty() {
            status.slos.iter_mut().for_each(|slo| slo.spending.clear());
            return;
        }
        if memory.spent.is_some_and(|at| at.elapsed() < SPENDING) {
            return;
        }
        memory.spent = Some(Instant::now());
        let namespace = &self.owner.namespace;
        let runs = self.runs();
        let mut responses = self.shared.stores.responses();
        responses.retain(|response| response.namespace().as_deref() == Some(namespace));
        let members = self.members();
        for standing in status.slos.iter_mut().take(MAX_SPENDING) {
            let budget = members.get(&standing.name).and_then(|standing| standing.as_ref()?.budget);
            let slo = self.slos.iter().find(|slo| slo.name_any() == standing.name);
            let (Some(budget), Some(slo)) = (budget, slo) else { continue };
            let Ok(checked) = check(slo) else { continue };
            let periods = attribution::periods(&checked, &runs, &responses, self.now);
            let intervals: Vec<_> = periods.values().flatten().copied().collect();
            let known = match intervals.is_empty() {
                true => Default::default(),
                false => match effects::prometheus(&self.shared.context, slo).await {
                    Ok(Some(prometheus)) => self.shared.recorded.amounts(&prometheus, &checked, &intervals).await,
                    Ok(None) | Err(_) => continue,
                },
            };
            // The budget is that of the group with the least of it.
            let group = slo.status.as_ref().and_then(|status| status.groups.first());
            let group = group.map(|group| group.labels.clone()).unwrap_or_default();
            // Without an answer the last figures stay.
            let Some(errors) = attribution::errors(&periods, &known, &group) else { continue };
            let adjustments = self.shared.caches.adjustments.of(namespace, &standing.name);
            standing.spending =
                attribution::spending(&self.policy.spec, &checked, &budget, errors, &adjustments, self.now);
        }
    }

    /// Writes the conditions, and values that moved: those alone at most once a minute.
    async fn conclude(
        &self,
        memory: &mut Memory,
        status: &mut ErrorBudgetPolicyStatus,
        outcome: &Outcome,
        at_once: bool,
    ) -> Result<(), PolicyError> {
        let old = memory.status.clone().or_else(|| self.policy.status.clone()).unwrap_or_default();
        status.conditions = conditions(&old.conditions, self.policy.metadata.generation, outcome, &[], self.now);
        let only_values = judgement::without_values(&old) == judgement::without_values(status);
        if only_values && !at_once && memory.wrote.is_some_and(|at| at.elapsed() < AGAIN) {
            return Ok(());
        }
        let before = self.policy.conditions().iter().find(|c| c.type_ == "Ready").map(|c| c.reason.clone());
        let known = old.conditions.iter().find(|c| c.type_ == "Ready").map(|c| c.reason.clone());
        let wrote = self.write(memory, status).await?;
        if wrote && known.or(before).as_deref() != Some(outcome.reason()) {
            let context = &self.shared.context;
            match outcome {
                Outcome::Ready { reason, message } => {
                    report::info(context, self.policy, "Enforce", reason, message).await
                }
                other => report::warn(context, self.policy, "Enforce", other.reason(), other.message()).await,
            }
        }
        Ok(())
    }

    async fn write(&self, memory: &mut Memory, status: &ErrorBudgetPolicyStatus) -> Result<bool, PolicyError> {
        let old = memory.status.as_ref().or(self.policy.status.as_ref());
        let wrote = patch(&self.shared.context.client, MANAGER, self.policy, old, status).await;
        let wrote = wrote.map_err(|error| PolicyError::Status(Box::new(error)))?;
        memory.status = Some(status.clone());
        if wrote {
            memory.wrote = Some(Instant::now());
        }
        Ok(wrote)
    }
}
