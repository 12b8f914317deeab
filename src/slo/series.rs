//! Names and labels of the recorded series, and the few shapes of PromQL that all rules share. Pure.

use std::fmt::Write;

use super::validate::Checked;
use super::window::{HOUR, duration};

/// Events per second over the last 5 minutes, every 30 seconds: what alerts must see soon.
pub const ERRORS_RATE: &str = "evenkeel:slo_errors:rate5m";
pub const TOTAL_RATE: &str = "evenkeel:slo_total:rate5m";
/// Events within one step (5 minutes; 1 minute for windows below a day), once a step: what budgets are summed from.
pub const ERRORS_STEP: &str = "evenkeel:slo_errors:increase";
pub const TOTAL_STEP: &str = "evenkeel:slo_total:increase";
/// Events within the window of the SLO.
pub const ERRORS_WINDOW: &str = "evenkeel:slo_errors:window";
pub const TOTAL_WINDOW: &str = "evenkeel:slo_total:window";
/// Steps of the window for which there is a point.
pub const WINDOW_POINTS: &str = "evenkeel:slo_window_points:count";
/// Burn rates, told apart by the label `window`: 1h, 6h, 3d.
pub const BURN_RATE: &str = "evenkeel:slo_burn_rate:ratio";
/// The objective as a ratio, for dashboards.
pub const OBJECTIVE: &str = "evenkeel:slo_objective:ratio";

/// Distance in seconds of the points of the fast series.
pub const FAST_STEP: u64 = 30;
/// Range in seconds of the fast series.
pub const FAST_RANGE: u64 = 300;
/// Longest window in seconds that is read from the fast series; longer ones are sums of steps.
const FAST_REACH: u64 = HOUR;

/// Labels that the operator sets itself: no groupBy label, and no label of an alert, may have these names.
pub const RESERVED: [&str; 12] = [
    "slo",
    "slo_namespace",
    "service",
    "window",
    "period",
    "severity",
    "alertname",
    "le",
    "__name__",
    "sloth_id",
    "sloth_service",
    "sloth_slo",
];

/// A string as PromQL reads it.
pub fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            c if c.is_control() => _ = write!(quoted, "\\u{:04x}", c as u32),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// `sum by (region) (…)`, or `sum(…)`. Also takes recorded series back to the groupBy labels: by them alone do
/// series of different rules, and of earlier versions of the SLO, match.
pub fn sum(slo: &Checked, expr: &str) -> String {
    aggregate("sum", &slo.group_by, expr)
}

/// An aggregation by the groupBy labels.
pub fn aggregate(operator: &str, group_by: &[String], expr: &str) -> String {
    if group_by.is_empty() {
        format!("{operator}({expr})")
    } else {
        format!("{operator} by ({}) ({expr})", group_by.join(", "))
    }
}

/// The recorded series of this SLO.
pub fn own(slo: &Checked, metric: &str) -> String {
    format!("{metric}{{slo_namespace={},slo={}}}", quoted(&slo.namespace), quoted(&slo.name))
}

/// Which sums a window is read from.
fn read(slo: &Checked, fast: &str, step: &str, seconds: u64) -> String {
    if seconds == FAST_RANGE {
        sum(slo, &own(slo, fast))
    } else {
        let metric = if seconds <= FAST_REACH { fast } else { step };
        sum(slo, &format!("sum_over_time({}[{}])", own(slo, metric), duration(seconds)))
    }
}

/// Errors within the last `seconds`, in a unit that [`total`] shares.
pub fn errors(slo: &Checked, seconds: u64) -> String {
    read(slo, ERRORS_RATE, ERRORS_STEP, seconds)
}

/// All events within the last `seconds`, in a unit that [`errors`] shares.
pub fn total(slo: &Checked, seconds: u64) -> String {
    read(slo, TOTAL_RATE, TOTAL_STEP, seconds)
}

/// The number of events within the last `seconds`.
pub fn count(slo: &Checked, seconds: u64) -> String {
    let total = total(slo, seconds);
    match seconds {
        FAST_RANGE => format!("{total} * {FAST_RANGE}"),
        short if short <= FAST_REACH => format!("{total} * {FAST_STEP}"),
        _ => total,
    }
}

/// Share of errors within the last `seconds`; no result without events.
pub fn error_ratio(slo: &Checked, seconds: u64) -> String {
    format!("{} / ({} > 0)", errors(slo, seconds), total(slo, seconds))
}

/// Burn rate over the last `seconds`; no result without events.
pub fn burn_rate(slo: &Checked, seconds: u64) -> String {
    format!("{} / {}", error_ratio(slo, seconds), slo.objective.budget)
}
