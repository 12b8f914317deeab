//! The alerts of an SLO: burn rates over several windows, and missing data. Pure.

use std::collections::BTreeMap;

use super::rules;
use super::series::{self, own};
use super::validate::{Burn, Checked, Tier};
use super::window::duration;

/// Name of the burn rate alerts of both tiers.
pub const BURN: &str = "ErrorBudgetBurn";
/// Name of the alert about missing data.
pub const NO_DATA: &str = "SLONoData";

/// The page tier, if it is on.
pub fn page(text: &mut String, slo: &Checked) {
    if let Some(tier) = &slo.page {
        burn(text, slo, tier, "page");
    }
}

/// The ticket tier, if it is on.
pub fn ticket(text: &mut String, slo: &Checked) {
    if let Some(tier) = &slo.ticket {
        burn(text, slo, tier, "ticket");
    }
}

fn burn(text: &mut String, slo: &Checked, tier: &Tier, name: &str) {
    let pairs: Vec<String> = tier.windows.iter().map(|burn| condition(slo, burn)).collect();
    let mut labels = common_labels(slo);
    labels.insert("severity".into(), tier.severity.clone());
    if slo.sloth {
        labels.insert("sloth_severity".into(), name.to_owned());
    }
    labels.extend(tier.labels.clone());

    let mut annotations = BTreeMap::new();
    let groups = groups(slo);
    annotations.insert("summary".to_owned(), format!(
        "{{{{ $labels.service }}}}: the error budget of {}{groups} burns {{{{ $value | humanize }}}} times as fast as it may",
        slo.name
    ));
    let windows: Vec<String> = tier
        .windows
        .iter()
        .map(|burn| format!("{} over {} and {}", burn.factor, duration(burn.long), duration(burn.short)))
        .collect();
    let promise = slo.description.as_deref().map(|text| format!("{} ", text.trim_end())).unwrap_or_default();
    annotations.insert("description".to_owned(), format!(
        "{promise}Objective {} % over {}. At burn rate 1 the budget lasts exactly that long. This alert fires at {}.",
        slo.objective.percent,
        slo.window.label(),
        windows.join(", or ")
    ));
    annotations.extend(slo.annotations.clone());
    annotations.extend(tier.annotations.clone());
    rules::alert(text, BURN, &pairs.join("\nor\n"), None, pairs_of(&labels), pairs_of(&annotations));
}

/// The long window says that it matters, the short one that it goes on, the floor that it is not chance.
fn condition(slo: &Checked, burn: &Burn) -> String {
    let Burn { factor, long, short } = burn;
    let mut text = format!(
        "(\n  {} > {factor}\n  and\n  {} > {factor}\n",
        series::burn_rate(slo, *long),
        series::burn_rate(slo, *short)
    );
    if slo.minimum_events > 0 {
        text.push_str(&format!("  and\n  {} >= {}\n", series::count(slo, *long), slo.minimum_events));
    }
    text.push(')');
    text
}

/// No events are data; no series are not.
pub fn no_data(text: &mut String, slo: &Checked) {
    let Some(no_data) = &slo.no_data else { return };
    let expr = format!("absent({})\nor\nabsent({})", own(slo, series::TOTAL_RATE), own(slo, series::ERRORS_RATE));
    let mut labels = common_labels(slo);
    labels.insert("severity".into(), no_data.severity.clone());
    labels.extend(no_data.labels.clone());
    let mut annotations = BTreeMap::from([
        ("summary".to_owned(), format!("{{{{ $labels.service }}}}: the indicator of {} has no data", slo.name)),
        (
            "description".to_owned(),
            "No series match the indicator, so nobody knows whether the objective is met. Is the service scraped, and are \
             its metrics still named so?"
                .to_owned(),
        ),
    ]);
    annotations.extend(slo.annotations.clone());
    rules::alert(text, NO_DATA, &expr, Some(no_data.after), pairs_of(&labels), pairs_of(&annotations));
}

/// The SLO's own namespace, unless it is a label of the groups: by it alerts are routed and repairs are found.
fn common_labels(slo: &Checked) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    if !slo.group_by.iter().any(|label| label == "namespace") {
        labels.insert("namespace".to_owned(), slo.namespace.clone());
    }
    if slo.sloth {
        labels.extend(super::sloth::identity(slo).into_iter().map(|(name, value)| (name.to_owned(), value)));
    }
    labels.extend(slo.labels.clone());
    labels.extend(rules::identity(slo).into_iter().map(|(name, value)| (name.to_owned(), value)));
    labels
}

fn groups(slo: &Checked) -> String {
    if slo.group_by.is_empty() {
        return String::new();
    }
    let each: Vec<String> = slo.group_by.iter().map(|label| format!("{label}={{{{ $labels.{label} }}}}")).collect();
    format!(" ({})", each.join(", "))
}

fn pairs_of(map: &BTreeMap<String, String>) -> impl Iterator<Item = (&str, &str)> {
    map.iter().map(|(name, value)| (name.as_str(), value.as_str()))
}
