//! What stops runs whatever they are about: words of people. Pure.

use jiff::Timestamp;
use kube::ResourceExt;

use super::{APPROVE, Answer, PAUSE, repairs};
use crate::api::ChangeFreeze;
use crate::api::alert_response::{Mode, TargetKind};
use crate::api::change_freeze::FrozenKind;
use crate::api::response_run::ResponseRun;
use crate::response::facts::Facts;
use crate::response::validate;
use crate::schedule::Schedule;
use crate::slo::frozen;

pub fn response_exists(run: &ResponseRun, facts: &Facts, _: Timestamp) -> Answer {
    let wanted = &run.spec.response_ref;
    let Some(response) = &facts.response else {
        return Answer::Skip(format!("AlertResponse {} does not exist any more", wanted.name));
    };
    let owned = run.owner_references().iter().any(|r| r.uid == wanted.uid && r.kind == "AlertResponse");
    if response.uid().as_deref() != Some(wanted.uid.as_str()) || !owned {
        return Answer::Skip(format!("this run is not of the AlertResponse {} that exists", wanted.name));
    }
    if run.spec.mode != Mode::Observe && response.spec.mode != run.spec.mode {
        let now = response.spec.mode;
        return Answer::Skip(format!("AlertResponse {} was set to {now:?} after the alert arrived", wanted.name));
    }
    Answer::Pass(format!("AlertResponse {} in mode {:?}", wanted.name, run.spec.mode))
}

pub fn response(run: &ResponseRun, facts: &Facts, now: Timestamp) -> Answer {
    let exists = response_exists(run, facts, now);
    let (Answer::Pass(_), Some(response)) = (&exists, &facts.response) else { return exists };
    let (live, copied) = (&response.spec, &run.spec);
    let same = live.steps == copied.steps
        && live.service_account_name == copied.service_account_name
        && validate::target(live, &copied.alert.labels) == copied.target;
    if same {
        return exists;
    }
    Answer::Skip(format!(
        "AlertResponse {} was changed after the alert arrived; the next delivery of the alert goes by the new words",
        copied.response_ref.name
    ))
}

pub fn not_paused(_: &ResponseRun, facts: &Facts, _: Timestamp) -> Answer {
    match &facts.paused_by {
        Some(who) => Answer::Skip(format!("responses are paused by the annotation {PAUSE} of {who}")),
        None => Answer::Pass(String::new()),
    }
}

pub fn not_suspended(run: &ResponseRun, facts: &Facts, _: Timestamp) -> Answer {
    match facts.response.as_ref().is_some_and(|r| r.spec.suspend) {
        true => Answer::Skip(format!("AlertResponse {} is suspended", run.spec.response_ref.name)),
        false => Answer::Pass(String::new()),
    }
}

pub fn namespace(run: &ResponseRun, facts: &Facts, _: Timestamp) -> Answer {
    match facts.protected {
        true => Answer::Skip(format!("namespace {} is protected", run.namespace().unwrap_or_default())),
        false => Answer::Pass(String::new()),
    }
}

pub fn no_maintenance(run: &ResponseRun, _: &Facts, now: Timestamp) -> Answer {
    for window in &run.spec.guardrails.maintenance_windows {
        let zone = window.time_zone.as_deref();
        // What validation let pass before an upgrade may not be readable any more: then nobody knows who is at work.
        let Ok(schedule) = Schedule::new(&window.cron, zone) else {
            return Answer::Skip(format!("the maintenance window {:?} cannot be read", window.cron));
        };
        if let Some(end) = schedule.ends(window.duration.span(), now) {
            let words = format!("{} ({})", window.cron, zone.unwrap_or("UTC"));
            return Answer::Skip(format!("maintenance window {words} lasts until {end}"));
        }
    }
    Answer::Pass(String::new())
}

/// A ChangeFreeze lets repairs pass unless its author says otherwise.
pub fn change_freeze(run: &ResponseRun, facts: &Facts, now: Timestamp) -> Answer {
    let holds =
        |freeze: &&ChangeFreeze| freeze.spec.hold_responses && frozen::is_due(&freeze.spec, now) && covers(freeze, run);
    match facts.around.freezes.iter().filter(|_| repairs(run)).find(holds) {
        Some(freeze) => Answer::Skip(format!(
            "ChangeFreeze {} holds responses on {}{}: {}",
            freeze.name_any(),
            run.spec.target.reference(),
            freeze.spec.until.as_ref().map(|until| format!(" until {}", until.0)).unwrap_or_default(),
            freeze.spec.reason
        )),
        None => Answer::Pass(String::new()),
    }
}

fn covers(freeze: &ChangeFreeze, run: &ResponseRun) -> bool {
    let target = &run.spec.target;
    let kind = match target.kind {
        TargetKind::Deployment => FrozenKind::Deployment,
        TargetKind::StatefulSet => FrozenKind::StatefulSet,
        TargetKind::DaemonSet => FrozenKind::DaemonSet,
        TargetKind::Rollout | TargetKind::Node => return false,
    };
    freeze.spec.workloads.iter().any(|w| w.kind == kind && (w.name == "*" || w.name == target.name))
}

/// Whether a run still waits for a person's word.
pub fn awaits_approval(run: &ResponseRun) -> bool {
    let word = run.annotations().get(APPROVE).map(String::as_str);
    run.spec.mode == Mode::Approve && !run.spec.drill && word != Some("true")
}

/// How anybody who may patch the run approves it.
pub fn approve_command(run: &ResponseRun) -> String {
    let (namespace, name) = (run.namespace().unwrap_or_default(), run.name_any());
    format!("kubectl -n {namespace} annotate run {name} {APPROVE}=true")
}

pub fn approved(run: &ResponseRun, _: &Facts, _: Timestamp) -> Answer {
    match awaits_approval(run) {
        true => Answer::Wait(format!("waits for approval: {}", approve_command(run))),
        false => Answer::Pass(String::new()),
    }
}
