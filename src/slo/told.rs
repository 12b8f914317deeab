//! What the conditions of an SLO say, its problems, and what is worth an Event. Pure.

use jiff::{SignedDuration, Timestamp};

use super::validate::{Checked, Refusal};
use crate::api::slo::{SloProblem, SloStatus, State};
use crate::k8s::status::{Extra, Outcome, conditions};
use crate::rule::feed::Load;

/// Field of a problem that Prometheus itself has with a rule.
const RULES: &str = "rules";
/// So long after its rules were loaded an SLO may be without data.
const BEGINS: SignedDuration = SignedDuration::from_mins(11);

/// What is known of an SLO, beside the measured part of its status.
pub struct Facts<'a> {
    pub generation: i64,
    pub checked: Result<&'a Checked, &'a [Refusal]>,
    pub load: &'a Load,
    /// Found wrong with the data.
    pub findings: &'a [SloProblem],
    /// Why nothing could be read; `None` when it could, or was not tried yet.
    pub unreachable: Option<&'a str>,
    /// Every stack that selects it divides its targets.
    pub sharded: Option<String>,
}

/// `measured` with everything that is not measured.
pub fn status(facts: &Facts, measured: SloStatus, previous: &SloStatus, now: Timestamp) -> SloStatus {
    let load = facts.load;
    let mut problems: Vec<SloProblem> = facts.checked.err().into_iter().flatten().map(refusal).collect();
    problems.extend(load.refused.iter().map(|problem| SloProblem {
        field: format!("{RULES}.{}", problem.name),
        column: None,
        message: problem.message.clone(),
    }));
    problems.extend(facts.findings.iter().cloned());
    let loaded = loaded(load);
    let outcome = outcome(facts, &measured, &problems, previous, now);
    let extras = [loaded, covered(&measured)];
    SloStatus {
        observed_generation: Some(facts.generation),
        conditions: conditions(&previous.conditions, Some(facts.generation), &outcome, &extras, now),
        problems,
        stacks: load.stacks.clone(),
        ..measured
    }
}

/// Whether the status waits for nothing but Prometheus: that is worth a write only when it takes long.
pub fn is_waiting(load: &Load) -> bool {
    load.refused.is_empty() && (load.stacks.is_empty() || waits(load).is_some())
}

/// What the status says was wrong with the data: so that a new leader does not take it back.
pub fn findings(status: &SloStatus) -> Vec<SloProblem> {
    let of_data = |problem: &&SloProblem| !problem.field.starts_with(RULES);
    status.problems.iter().filter(of_data).cloned().collect()
}

/// Whether the status says that Prometheus had confirmed the rules of this generation.
pub fn was_loaded(status: &SloStatus, generation: i64) -> bool {
    status.observed_generation == Some(generation)
        && status.conditions.iter().any(|condition| condition.type_ == "Loaded" && condition.status == "True")
}

fn refusal(refusal: &Refusal) -> SloProblem {
    let column = refusal.column.map(|column| column as i32);
    SloProblem { field: refusal.field.clone(), column, message: refusal.message.clone() }
}

fn waits(load: &Load) -> Option<String> {
    let waiting = load
        .stacks
        .iter()
        .filter_map(|stack| Some(format!("{}/{}: {}", stack.namespace, stack.name, stack.message.as_deref()?)));
    let waiting: Vec<String> = waiting.collect();
    (!waiting.is_empty()).then(|| waiting.join("; "))
}

fn live(load: &Load) -> String {
    let names: Vec<String> = load.stacks.iter().map(|stack| format!("{}/{}", stack.namespace, stack.name)).collect();
    format!("{} rules live in {}", load.rules, names.join(", "))
}

fn loaded(load: &Load) -> Extra {
    let (status, reason, message) = if load.stacks.is_empty() {
        (false, "NotSelected", "no MonitoringStack selects this SLO".to_owned())
    } else if let Some(refused) = load.refused.first() {
        (false, "Quarantined", format!("{}: {}", refused.name, refused.message))
    } else if let Some(waiting) = waits(load) {
        (false, "NotLoaded", waiting)
    } else if load.rules == 0 {
        (false, "NothingToLoad", "the spec was refused, and there is no earlier version".to_owned())
    } else {
        (true, "Confirmed", live(load))
    };
    Extra { type_: "Loaded", status: Some(status), reason, message }
}

fn covered(status: &SloStatus) -> Extra {
    let (status, reason, message) = match &status.coverage {
        None => (None, "NotMeasuredYet", "the data has not been looked at yet".to_owned()),
        Some(coverage) => match &coverage.message {
            Some(why) => (Some(false), "WindowNotCovered", why.clone()),
            None => (Some(true), "WindowCovered", "there is data for the whole window".to_owned()),
        },
    };
    Extra { type_: "Covered", status, reason, message }
}

fn outcome(
    facts: &Facts,
    measured: &SloStatus,
    problems: &[SloProblem],
    previous: &SloStatus,
    now: Timestamp,
) -> Outcome {
    let load = facts.load;
    if let Err(refusals) = facts.checked {
        let fate = match load.rules {
            0 => "no rules are live",
            _ => "the rules of its last good version stay live",
        };
        let told: Vec<String> = refusals.iter().take(3).map(ToString::to_string).collect();
        return Outcome::Stalled { reason: "InvalidSpec", message: format!("{}; {fate}", told.join("; ")) };
    }
    if load.stacks.is_empty() {
        return Outcome::Stalled { reason: "NotSelected", message: not_selected(&load.passed_over) };
    }
    if let Some(refused) = load.refused.first() {
        let message = format!("rule {}: {}", refused.name, refused.message);
        return Outcome::Stalled { reason: "Quarantined", message };
    }
    if let Some(message) = facts.sharded.clone() {
        return Outcome::Stalled { reason: "ShardedPrometheus", message };
    }
    if let Some(message) = waits(load) {
        return Outcome::Progressing { reason: "NotLoaded", message };
    }
    if let Some(problem) = problems.first() {
        let message = format!("spec.{}: {}", problem.field, problem.message);
        return Outcome::Stalled { reason: "UnsuitableData", message };
    }
    if let Some(why) = facts.unreachable {
        return Outcome::Failing { reason: "PrometheusUnreachable", message: why.to_owned() };
    }
    match measured.state {
        None => Outcome::Progressing { reason: "NotMeasuredYet", message: live(load) },
        Some(State::NoData) => {
            let began = previous.conditions.iter().find(|c| c.type_ == "Loaded" && c.status == "True");
            let young = began.is_none_or(|c| now.duration_since(c.last_transition_time.0) < BEGINS);
            if measured.budget.is_none() && young {
                let message = format!("{}; the first values take up to two steps", live(load));
                return Outcome::Progressing { reason: "NoDataYet", message };
            }
            Outcome::Failing {
                reason: "NoData",
                message: "the indicator has no data: look whether its series exist in Prometheus, and are scraped"
                    .to_owned(),
            }
        }
        Some(_) => Outcome::Ready { reason: "Measured", message: live(load) },
    }
}

fn not_selected(passed_over: &[String]) -> String {
    if passed_over.is_empty() {
        return "no MonitoringStack with Prometheus exists: create one, with spec.discovery {} to take the SLOs of all namespaces"
            .to_owned();
    }
    format!(
        "no MonitoringStack selects this SLO ({}): widen spec.discovery of one, or change the labels of this object or of its namespace",
        passed_over.join("; ")
    )
}

/// An Event: whether it is a warning, its reason and its note.
pub type News = (bool, &'static str, String);

/// What is worth an Event: a refusal, and every change of the state but the first.
pub fn news(before: &SloStatus, after: &SloStatus) -> Vec<News> {
    let mut news: Vec<News> = vec![];
    for problem in after.problems.iter().filter(|problem| !before.problems.contains(problem)).take(5) {
        let column = problem.column.map(|column| format!(" column {column}")).unwrap_or_default();
        news.push((true, "SLOProblem", format!("{}{column}: {}", problem.field, problem.message)));
    }
    if let (Some(old), Some(new)) = (before.state, after.state)
        && old != new
    {
        let left = after.budget.as_ref().map_or("unknown", |budget| &budget.remaining);
        let burn = after.burn_rates.as_ref().and_then(|rates| rates.one_hour.clone()).unwrap_or_else(|| "none".into());
        let numbers = format!("budget left: {left}, burn rate of the last hour: {burn}");
        news.push(match new {
            State::Healthy => (false, "Healthy", format!("was {old:?}; {numbers}")),
            State::AtRisk => (true, "AtRisk", format!("was {old:?}; {numbers}")),
            State::Burning => (true, "Burning", format!("was {old:?}; {numbers}")),
            State::Exhausted => (true, "Exhausted", format!("was {old:?}; {numbers}")),
            State::NoData => (true, "NoData", {
                let why = after.conditions.iter().find(|c| c.type_ == "Ready").map_or("", |c| &c.message);
                format!("was {old:?}; {why}")
            }),
        });
    }
    news
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::alert_rule::StackLoad;
    use crate::api::slo::Coverage;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn load(message: Option<&str>) -> Load {
        let stack = StackLoad {
            namespace: "monitoring".into(),
            name: "main".into(),
            loaded: 14,
            total: 14,
            shard: None,
            message: message.map(str::to_owned),
        };
        Load { stacks: vec![stack], rules: 14, ..Load::default() }
    }

    fn tell(
        load: &Load,
        checked: Result<(), &[Refusal]>,
        state: Option<State>,
        unreachable: Option<&str>,
    ) -> SloStatus {
        let good = super::super::validate::check(
            &serde_saphyr::from_str(
                "{apiVersion: evenkeel.dev/v1alpha1, kind: SLO, metadata: {name: x, namespace: shop}, spec: {service: x, objective: 99.9, \
                 window: {rolling: 30d}, indicator: {availability: {metric: up}}}}",
            )
            .unwrap(),
        )
        .unwrap();
        let facts =
            Facts { generation: 2, checked: checked.map(|()| &good), load, findings: &[], unreachable, sharded: None };
        let measured = SloStatus { state, ..SloStatus::default() };
        status(&facts, measured, &SloStatus::default(), at(1_000))
    }

    fn ready(status: &SloStatus) -> (&str, &str) {
        (&status.conditions[0].status, &status.conditions[0].reason)
    }

    #[test]
    fn an_slo_is_ready_when_its_rules_are_live_and_it_was_measured() {
        assert_eq!(ready(&tell(&load(None), Ok(()), Some(State::Burning), None)), ("True", "Measured"));
        assert_eq!(ready(&tell(&load(None), Ok(()), None, None)), ("Unknown", "NotMeasuredYet"));
        assert_eq!(ready(&tell(&load(None), Ok(()), Some(State::NoData), None)), ("Unknown", "NoDataYet"));
        assert_eq!(ready(&tell(&load(Some("waits")), Ok(()), Some(State::Healthy), None)), ("Unknown", "NotLoaded"));
        let lost = tell(&load(None), Ok(()), Some(State::NoData), Some("http://10.0.0.1 does not answer"));
        assert_eq!(ready(&lost), ("False", "PrometheusUnreachable"));
    }

    #[test]
    fn a_refused_spec_names_the_field_and_says_what_stays_live() {
        let wrong = [Refusal { field: "objective".into(), column: Some(3), message: "is too much".into() }];
        let status = tell(&load(None), Err(&wrong), Some(State::Healthy), None);
        assert_eq!(ready(&status), ("False", "InvalidSpec"));
        let message = &status.conditions[0].message;
        assert_eq!(message, "spec.objective column 3: is too much; the rules of its last good version stay live");
        assert_eq!((status.problems[0].field.as_str(), status.problems[0].column), ("objective", Some(3)));
        assert_eq!((status.conditions[3].type_.as_str(), status.conditions[3].status.as_str()), ("Loaded", "True"));
    }

    #[test]
    fn an_slo_that_nobody_selects_says_why_and_the_way_out() {
        let load =
            Load { passed_over: vec!["monitoring/main looks in namespace monitoring".into()], ..Load::default() };
        let status = tell(&load, Ok(()), None, None);
        assert_eq!(ready(&status), ("False", "NotSelected"));
        assert!(status.conditions[0].message.contains("looks in namespace monitoring"));
        assert!(is_waiting(&load));
    }

    #[test]
    fn a_change_of_the_state_is_news_and_the_first_state_is_not() {
        let with = |state| SloStatus { state, ..SloStatus::default() };
        assert!(news(&with(None), &with(Some(State::Healthy))).is_empty());
        let told = news(&with(Some(State::Healthy)), &with(Some(State::Burning)));
        assert_eq!((told[0].0, told[0].1), (true, "Burning"));
        assert!(!news(&with(Some(State::Burning)), &with(Some(State::Healthy)))[0].0);
    }

    #[test]
    fn coverage_has_a_condition_of_its_own() {
        let short = Coverage { percent: 3, message: Some("the stack keeps 1d, the window is 30d".into()) };
        let extra = covered(&SloStatus { coverage: Some(short), ..SloStatus::default() });
        assert_eq!((extra.status, extra.message.contains("keeps 1d")), (Some(false), true));
    }
}
