//! The series that sloth 0.16 publishes, under its names and labels, with exact values: dashboards made for it work
//! unchanged. Pure.

use super::rules::record;
use super::series::{self, own, sum};
use super::validate::Checked;
use super::window::{DAY, HOUR, MINUTE, duration};

/// The version whose series these are.
const VERSION: &str = "v0.16.0";
/// Windows of `slo:sli_error:ratio_rate*`, beside that of the SLO.
const FAST: [u64; 3] = [5 * MINUTE, 30 * MINUTE, HOUR];
const SLOW: [u64; 4] = [2 * HOUR, 6 * HOUR, DAY, 3 * DAY];

/// Labels by which sloth tells SLOs apart. Its identifier knows no namespace: the label `slo_namespace` is added.
pub fn identity(slo: &Checked) -> Vec<(&'static str, String)> {
    vec![
        ("sloth_id", format!("{}-{}", slo.service, slo.name)),
        ("sloth_service", slo.service.clone()),
        ("sloth_slo", slo.name.clone()),
    ]
}

fn labels(slo: &Checked) -> Vec<(&'static str, String)> {
    let mut labels = identity(slo);
    labels.push(("slo_namespace", slo.namespace.clone()));
    labels
}

/// What alerts of sloth read soon.
pub fn fast_rules(text: &mut String, slo: &Checked) {
    FAST.iter().filter(|window| **window < slo.window.seconds()).for_each(|window| ratio(text, slo, *window));
    let burn = format!("{} / {}", or_zero(slo, MINUTE * 5), slo.objective.budget);
    record(text, "slo:current_burn_rate:ratio", &burn, &labels(slo));
}

/// The rest.
pub fn slow_rules(text: &mut String, slo: &Checked) {
    SLOW.iter().filter(|window| **window < slo.window.seconds()).for_each(|window| ratio(text, slo, *window));
    let labels = labels(slo);
    let whole = duration(slo.window.seconds());
    let (errors, total) = (sum(slo, &own(slo, series::ERRORS_WINDOW)), sum(slo, &own(slo, series::TOTAL_WINDOW)));
    let window = format!("({errors} / ({total} > 0) or 0 * {total})");
    let mut with_window = labels.clone();
    with_window.push(("sloth_window", whole.to_string()));
    record(text, &format!("slo:sli_error:ratio_rate{whole}"), &window, &with_window);
    let (objective, budget) = (slo.objective.ratio, slo.objective.budget);
    record(text, "slo:objective:ratio", &format!("vector({objective})"), &labels);
    record(text, "slo:error_budget:ratio", &format!("vector({budget})"), &labels);
    let days = slo.window.seconds() as f64 / DAY as f64;
    record(text, "slo:time_period:days", &format!("vector({days})"), &labels);
    record(text, "slo:period_burn_rate:ratio", &format!("{window} / {budget}"), &labels);
    record(text, "slo:period_error_budget_remaining:ratio", &format!("1 - {window} / {budget}"), &labels);
    let mut info = labels;
    info.push(("sloth_mode", "cli-gen-prom".into()));
    info.push(("sloth_objective", slo.objective.percent.to_string()));
    info.push(("sloth_spec", "prometheus/v1".into()));
    info.push(("sloth_version", VERSION.into()));
    record(text, "sloth_slo_info", "vector(1)", &info);
}

fn ratio(text: &mut String, slo: &Checked, window: u64) {
    let mut labels = labels(slo);
    let name = duration(window);
    labels.push(("sloth_window", name.to_string()));
    record(text, &format!("slo:sli_error:ratio_rate{name}"), &or_zero(slo, window), &labels);
}

/// Where sloth has NaN or no series for want of traffic, nothing went wrong.
fn or_zero(slo: &Checked, window: u64) -> String {
    format!("({} or 0 * {})", series::error_ratio(slo, window), series::total(slo, window))
}
