//! A checked SLO -> the text of its two rule groups: `burn`, every 30 seconds, and `budget`, once a step. Pure.

use jiff::Timestamp;

use super::indicator::Count;
use super::series::{self, own, quoted, sum};
use super::validate::Checked;
use super::window::{DAY, HOUR, Period, duration};
use super::{alerts, sloth};
use crate::api::duration::PromDuration;
use crate::rule::feed::{PARTS, slo_group};
use crate::rule::yaml;

/// Windows of the recorded burn rates, in seconds, and their label.
pub const BURN_WINDOWS: [(u64, &str); 3] = [(HOUR, "1h"), (6 * HOUR, "6h"), (3 * DAY, "3d")];

/// Names of the two groups: unique in a stack, and the way back to the SLO.
pub fn group_names(namespace: &str, name: &str) -> [String; 2] {
    PARTS.map(|part| slo_group(namespace, name, part))
}

/// Both groups as YAML below `groups:`.
pub fn groups(slo: &Checked, now: Timestamp) -> String {
    texts(slo, now).concat()
}

/// The two groups, each by itself.
pub fn texts(slo: &Checked, now: Timestamp) -> [String; 2] {
    let [burn, budget] = group_names(&slo.namespace, &slo.name);
    let mut fast = String::with_capacity(4 << 10);
    head(&mut fast, &burn, series::FAST_STEP);
    burn_rules(&mut fast, slo);
    let mut slow = String::with_capacity(4 << 10);
    head(&mut slow, &budget, slo.window.step());
    budget_rules(&mut slow, slo, now);
    [fast, slow]
}

fn head(text: &mut String, name: &str, interval: u64) {
    text.push_str(&format!("- name: {}\n  interval: {}\n  rules:\n", yaml::scalar(name), duration(interval)));
}

/// What must be seen soon.
fn burn_rules(text: &mut String, slo: &Checked) {
    let count = Count::Rate(series::FAST_RANGE);
    let labels = identity(slo);
    record(text, series::TOTAL_RATE, &slo.indicator.total(count, &slo.group_by), &labels);
    let total = sum(slo, &own(slo, series::TOTAL_RATE));
    record(text, series::ERRORS_RATE, &slo.indicator.errors(count, &slo.group_by, &total), &labels);
    burn_rate(text, slo, BURN_WINDOWS[0]);
    if slo.sloth {
        sloth::fast_rules(text, slo);
    }
    alerts::page(text, slo);
    alerts::no_data(text, slo);
}

/// What is summed over days.
fn budget_rules(text: &mut String, slo: &Checked, now: Timestamp) {
    let count = Count::Step(slo.window.step());
    let labels = identity(slo);
    let periods = slo.window.periods(now);
    let period = current_period(&periods);
    let own_total = slo.indicator.total(count, &slo.group_by);
    record(text, series::TOTAL_STEP, &labelled(&own_total, period.as_deref()), &labels);
    // Just recorded, of this period alone: an instant selector sees no series that ended.
    let total = sum(slo, &own(slo, series::TOTAL_STEP));
    let own_errors = slo.indicator.errors(count, &slo.group_by, &total);
    record(text, series::ERRORS_STEP, &labelled(&own_errors, period.as_deref()), &labels);

    for (recorded, function, step) in [
        (series::TOTAL_WINDOW, "sum_over_time", series::TOTAL_STEP),
        (series::ERRORS_WINDOW, "sum_over_time", series::ERRORS_STEP),
        (series::WINDOW_POINTS, "count_over_time", series::TOTAL_STEP),
    ] {
        let mut all = format!("{function}({}[{}])", own(slo, step), duration(slo.window.reach()));
        if let Some(period) = &period {
            all = format!("\n  {all}\n  and on (period)\n  {period}\n");
        }
        record(text, recorded, &sum(slo, &all), &labels);
    }
    BURN_WINDOWS[1..].iter().for_each(|window| burn_rate(text, slo, *window));
    record(text, series::OBJECTIVE, &format!("vector({})", slo.objective.ratio), &labels);
    if slo.sloth {
        sloth::slow_rules(text, slo);
    }
    alerts::ticket(text, slo);
}

/// A window longer than that of the SLO itself is cut to it.
fn burn_rate(text: &mut String, slo: &Checked, (seconds, label): (u64, &'static str)) {
    let mut labels = identity(slo);
    labels.push(("window", label.to_owned()));
    record(text, series::BURN_RATE, &series::burn_rate(slo, seconds.min(slo.window.seconds())), &labels);
}

/// One series of value 1 whose label `period` is that of the moment of evaluation: each period of a calendar has
/// series of its own, which is how a sum over 32 days stops at the first of the month.
fn current_period(periods: &[Period]) -> Option<String> {
    let last = periods.len().checked_sub(1)?;
    let named = |(index, period): (usize, &Period)| {
        let label = format!("label_replace(vector(1), \"period\", {}, \"period\", \"\")", quoted(&period.label));
        let from = (index > 0).then(|| format!(" and on () vector(time()) > {}", period.start.as_second()));
        let until = (index < last).then(|| format!(" and on () vector(time()) <= {}", period.end.as_second()));
        // A point is about the step before it, hence the half-open intervals (start, end].
        format!("({label}{}{})", from.unwrap_or_default(), until.unwrap_or_default())
    };
    Some(format!("({})", periods.iter().enumerate().map(named).collect::<Vec<_>>().join("\n  or ")))
}

/// Gives series the label of the present period.
fn labelled(expr: &str, period: Option<&str>) -> String {
    match period {
        Some(period) => format!("(\n{expr}\n)\n* on () group_left (period)\n{period}"),
        None => expr.to_owned(),
    }
}

/// Labels of every recorded series of an SLO.
pub fn identity(slo: &Checked) -> Vec<(&'static str, String)> {
    vec![("slo_namespace", slo.namespace.clone()), ("slo", slo.name.clone()), ("service", slo.service.clone())]
}

/// A recording rule.
pub fn record(text: &mut String, name: &str, expr: &str, labels: &[(&'static str, String)]) {
    text.push_str("  - record: ");
    text.push_str(&yaml::scalar(name));
    text.push('\n');
    yaml::field(text, 4, "expr", expr);
    yaml::map(text, 4, "labels", labels.iter().map(|(name, value)| (*name, value.as_str())));
}

/// An alerting rule; labels and annotations in their order.
pub fn alert<'a>(
    text: &mut String,
    name: &str,
    expr: &str,
    after: Option<PromDuration>,
    labels: impl IntoIterator<Item = (&'a str, &'a str)>,
    annotations: impl IntoIterator<Item = (&'a str, &'a str)>,
) {
    text.push_str(&format!("  - alert: {}\n", yaml::scalar(name)));
    yaml::field(text, 4, "expr", expr);
    if let Some(after) = after.filter(|after| !after.is_zero()) {
        text.push_str(&format!("    for: {after}\n"));
    }
    yaml::map(text, 4, "labels", labels);
    yaml::map(text, 4, "annotations", annotations);
}
