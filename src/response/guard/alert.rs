//! Whether there is still a reason to act. Pure.

use jiff::Timestamp;

use super::Answer;
use crate::api::response_run::{AlertState, ResponseRun};
use crate::response::condition::Told;
use crate::response::facts::{Asked, Facts};

pub fn alert_firing(run: &ResponseRun, facts: &Facts, _: Timestamp) -> Answer {
    let name = &run.spec.alert.name;
    match (facts.alert.state, facts.alert.asked) {
        (AlertState::Resolved, _) => Answer::Skip(format!("alert {name} has resolved")),
        (_, Asked::Firing) => Answer::Pass(format!("alert {name} is firing, says its Alertmanager")),
        (_, Asked::Absent) => Answer::Wait(format!(
            "alert {name} is not at its Alertmanager at the moment; waits for it, or for the news"
        )),
        (AlertState::Firing | AlertState::Unknown, Asked::NoAnswer) => {
            Answer::Pass(format!("alert {name} was firing when it was delivered"))
        }
    }
}

pub fn only_if(run: &ResponseRun, facts: &Facts, _: Timestamp) -> Answer {
    let only_if = &run.spec.only_if;
    let asked = only_if.promql.as_ref().map(|_| &facts.condition).into_iter();
    let mut reasons = vec![];
    for told in asked.chain(only_if.slo.as_ref().map(|_| &facts.slo)) {
        match told {
            Some(Told::Holds(words)) => reasons.push(words.as_str()),
            Some(Told::Not(words) | Told::NoData(words)) => return Answer::Skip(format!("onlyIf: {words}")),
            Some(Told::NoAnswer(why)) => return Answer::Wait(format!("onlyIf cannot be told: {why}")),
            None => return Answer::Wait("onlyIf was not asked".into()),
        }
    }
    Answer::Pass(reasons.join(", "))
}
