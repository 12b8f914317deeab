//! A written SLO -> a checked one, of which rules can be made without failing; or everything that is wrong with it. Pure.

use std::collections::BTreeMap;
use std::fmt;

use kube::ResourceExt;

use super::indicator::Indicator;
use super::objective::{Decimal, Objective};
use super::series::RESERVED;
use super::window::{DAY, HOUR, MINUTE, Window, duration};
use crate::api::SLO;
use crate::api::duration::PromDuration;
use crate::api::slo::{BurnTier, BurnWindow, Compatibility, NoDataAlert};
use crate::rule::template;

/// Why an SLO is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The field below `spec`, for example `indicator.ratio.total.metric`.
    pub field: String,
    /// In characters from 1.
    pub column: Option<usize>,
    /// What is wrong, and what to do.
    pub message: String,
}

impl Refusal {
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), column: None, message: message.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.column {
            Some(column) => write!(f, "spec.{} column {column}: {}", self.field, self.message),
            None => write!(f, "spec.{}: {}", self.field, self.message),
        }
    }
}

/// An SLO of which rules can be made.
#[derive(Clone, Debug)]
pub struct Checked {
    pub namespace: String,
    pub name: String,
    pub service: String,
    pub description: Option<String>,
    pub objective: Objective,
    pub window: Window,
    pub indicator: Indicator,
    pub group_by: Vec<String>,
    pub page: Option<Tier>,
    pub ticket: Option<Tier>,
    pub no_data: Option<NoData>,
    /// Events below which no burn alerts.
    pub minimum_events: i64,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    /// Whether the series of sloth are recorded as well.
    pub sloth: bool,
}

/// A tier of burn rate alerts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tier {
    pub severity: String,
    pub windows: Vec<Burn>,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
}

/// A burn rate over two windows, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Burn {
    pub factor: Decimal,
    pub long: u64,
    pub short: u64,
}

/// The alert about missing data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoData {
    pub severity: String,
    pub after: PromDuration,
    pub labels: BTreeMap<String, String>,
}

/// Burn rates of the tiers for a window of 30 days: factor, long and short window.
const PAGE: [(f64, u64, u64); 2] = [(14.4, HOUR, 5 * MINUTE), (6.0, 6 * HOUR, 30 * MINUTE)];
const TICKET: [(f64, u64, u64); 2] = [(3.0, DAY, 2 * HOUR), (1.0, 3 * DAY, 6 * HOUR)];

/// Checks everything, and reports everything that is wrong at once.
pub fn check(slo: &SLO) -> Result<Checked, Vec<Refusal>> {
    let spec = &slo.spec;
    let mut refusals = vec![];
    let objective = keep(Objective::of(spec.objective).map_err(|m| vec![Refusal::new("objective", m)]), &mut refusals);
    let window = Window::of(&spec.window).map_err(|(field, m)| vec![Refusal::new(format!("window.{field}"), m)]);
    let window = keep(window, &mut refusals);
    let step = window.as_ref().map_or(5 * MINUTE, Window::step);
    let indicator = keep(Indicator::of(&spec.indicator, step), &mut refusals);
    check_service(&spec.service, &mut refusals);
    check_groups(&spec.group_by, &mut refusals);

    let alerting = &spec.alerting;
    let mut annotations = alerting.annotations.clone();
    for (name, url) in [("runbook_url", &alerting.runbook_url), ("dashboard_url", &alerting.dashboard_url)] {
        annotations.extend(url.clone().map(|url| (name.to_owned(), url)));
    }
    let description = spec.description.clone().filter(|text| !text.trim().is_empty());
    let described = description.iter().map(|text| ("description".to_owned(), text.clone())).collect();
    check_texts("", &described, &mut refusals);
    check_texts("alerting.annotations.", &annotations, &mut refusals);
    check_labels("alerting.labels", &alerting.labels, &spec.group_by, &mut refusals);
    let minimum_events = alerting.minimum_events.unwrap_or(0);
    if minimum_events < 0 {
        refusals.push(Refusal::new("alerting.minimumEvents", "is a number of events: 0 or more"));
    }
    let mut tier = |name: &str, written: &Option<BurnTier>, severity: &str, defaults: &[(f64, u64, u64)]| {
        let written = written.clone().unwrap_or_default();
        let (Some(objective), Some(window)) = (&objective, &window) else { return None };
        if written.disabled {
            return None;
        }
        let field = format!("alerting.{name}");
        check_labels(&format!("{field}.labels"), &written.labels, &spec.group_by, &mut refusals);
        check_texts(&format!("{field}.annotations."), &written.annotations, &mut refusals);
        let windows = burns(&field, &written.windows, defaults, objective, window, &mut refusals);
        let severity = written.severity.unwrap_or_else(|| severity.to_owned());
        Some(Tier { severity, windows, labels: written.labels, annotations: written.annotations })
    };
    let page = tier("page", &alerting.page, "critical", &PAGE);
    let ticket = tier("ticket", &alerting.ticket, "warning", &TICKET);
    if let (Some(page), Some(ticket)) = (&page, &ticket) {
        let same = page.severity == ticket.severity && page.labels == ticket.labels;
        if same {
            refusals.push(Refusal::new("alerting.ticket.severity", "is that of the page tier: Alertmanager could not tell the two apart; choose another severity or give a tier a label of its own"));
        }
    }
    let NoDataAlert { disabled, severity, for_, labels } = alerting.no_data.clone().unwrap_or_default();
    check_labels("alerting.noData.labels", &labels, &spec.group_by, &mut refusals);
    let no_data = (!disabled).then(|| NoData {
        severity: severity.unwrap_or_else(|| "warning".into()),
        after: for_.unwrap_or(PromDuration::from_mins(10)),
        labels,
    });

    match (objective, window, indicator) {
        (Some(objective), Some(window), Some(indicator)) if refusals.is_empty() => Ok(Checked {
            namespace: slo.namespace().unwrap_or_else(|| "default".into()),
            name: slo.name_any(),
            service: spec.service.clone(),
            description,
            objective,
            window,
            indicator,
            group_by: spec.group_by.clone(),
            page,
            ticket,
            no_data,
            minimum_events,
            labels: alerting.labels.clone(),
            annotations,
            sloth: spec.compatibility.contains(&Compatibility::Sloth),
        }),
        _ => Err(refusals),
    }
}

fn keep<T>(result: Result<T, Vec<Refusal>>, refusals: &mut Vec<Refusal>) -> Option<T> {
    result.map_err(|wrong| refusals.extend(wrong)).ok()
}

fn check_service(service: &str, refusals: &mut Vec<Refusal>) {
    if service.trim().is_empty() || service.contains(['{', '}']) || service.chars().any(char::is_control) {
        refusals.push(Refusal::new(
            "service",
            format!("{service:?} cannot be the name of a service: write one without braces, for example checkout"),
        ));
    }
}

fn check_groups(group_by: &[String], refusals: &mut Vec<Refusal>) {
    for (index, label) in group_by.iter().enumerate() {
        let field = format!("groupBy[{index}]");
        if !is_label(label) {
            refusals.push(Refusal::new(
                field,
                format!("{label:?} is not the name of a label: letters, digits and _ only, not beginning with a digit"),
            ));
        } else if RESERVED.contains(&label.as_str()) {
            refusals.push(Refusal::new(field, format!("{label} is a label that the recorded series have already, with a meaning of its own: relabel the metric, or group by another label")));
        } else if group_by[..index].contains(label) {
            refusals.push(Refusal::new(field, format!("{label} is there twice: remove one")));
        }
    }
}

fn is_label(name: &str) -> bool {
    name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn check_labels(field: &str, labels: &BTreeMap<String, String>, group_by: &[String], refusals: &mut Vec<Refusal>) {
    for name in labels.keys() {
        let message = if !is_label(name) {
            format!("{name:?} is not the name of a label: letters, digits and _ only, not beginning with a digit")
        } else if RESERVED.contains(&name.as_str()) {
            format!("{name} is set for you: severity by the field of that name, the others from the SLO itself")
        } else if group_by.contains(name) {
            format!("{name} is a label of groupBy: set here, the alerts of all groups would be one")
        } else {
            continue;
        };
        refusals.push(Refusal::new(field, message));
    }
    check_texts(&format!("{field}."), labels, refusals);
}

fn check_texts(field: &str, texts: &BTreeMap<String, String>, refusals: &mut Vec<Refusal>) {
    for (name, text) in texts {
        if let Err(error) = template::check(text) {
            let message = format!("is not a template that Prometheus can read: {}", error.message);
            refusals.push(Refusal { field: format!("{field}{name}"), column: Some(error.column), message });
        }
    }
}

fn burns(
    field: &str,
    written: &[BurnWindow],
    defaults: &[(f64, u64, u64)],
    objective: &Objective,
    window: &Window,
    refusals: &mut Vec<Refusal>,
) -> Vec<Burn> {
    let mut burns = vec![];
    let made = if written.is_empty() {
        let scaled = |&(factor, long, short): &(f64, u64, u64)| {
            let (long, short) = scale(long, short, window.seconds());
            (format!("{field}.windows"), factor, long, short)
        };
        defaults.iter().map(scaled).collect()
    } else {
        let each = |(index, burn): (usize, &BurnWindow)| {
            let long = burn.long.as_secs();
            let short = burn.short.map_or_else(|| shorter(long), |short| short.as_secs());
            (format!("{field}.windows[{index}]"), burn.factor, long, short)
        };
        written.iter().enumerate().map(each).collect::<Vec<_>>()
    };
    for (field, factor, long, short) in made {
        let Some(decimal) = Decimal::of(factor).filter(|factor| factor.is_positive() && factor.digits() <= 4) else {
            refusals.push(Refusal::new(
                field,
                format!(
                    "factor {factor} is not a burn rate: a number greater than 0 with at most 4 digits after the point"
                ),
            ));
            continue;
        };
        if decimal.times(objective.budget).at_least_one() {
            let most = 1.0 / objective.budget.to_f64();
            refusals.push(Refusal::new(
                field.clone(),
                format!(
                    "a burn rate of {decimal} can never be reached with an objective of {} %: when every event is bad, the budget burns at {most:.4}; write windows with factors below that, or disable this tier",
                    objective.percent
                ),
            ));
        }
        let wrong = if short < 5 * MINUTE {
            Some(format!("the short window of {} is below 5m, the range of the rates", duration(short)))
        } else if short >= long {
            Some(format!(
                "the short window of {} is not shorter than the long one of {}",
                duration(short),
                duration(long)
            ))
        } else if long > window.seconds() {
            Some(format!(
                "the long window of {} is longer than the window of the SLO, {}",
                duration(long),
                window.label()
            ))
        } else {
            let odd = [long, short]
                .into_iter()
                .find(|length| !length.is_multiple_of(if *length > HOUR { 5 * MINUTE } else { MINUTE }));
            odd.map(|odd| format!("{} is not a multiple of 1m (above 1h: of 5m)", duration(odd)))
        };
        refusals.extend(wrong.map(|message| Refusal::new(field, message)));
        burns.push(Burn { factor: decimal, long, short });
    }
    burns
}

/// Windows of a tier, scaled with the window of the SLO, so that a burn rate stands for the same share of the budget.
/// A month is a month: from 27 to 32 days nothing is scaled.
fn scale(long: u64, short: u64, window: u64) -> (u64, u64) {
    if (27 * DAY..=32 * DAY).contains(&window) {
        return (long, short);
    }
    let fives = |seconds: u64| (seconds + 150) / 300 * 300;
    let long = fives(long * window / (30 * DAY)).max(15 * MINUTE);
    (long, shorter(long))
}

/// A twelfth, in whole steps of 5 minutes, at least one.
fn shorter(long: u64) -> u64 {
    (long / 12).div_ceil(300).max(1) * 300
}
