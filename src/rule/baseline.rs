//! A baseline -> the series that keep the history of an expression, and the comparison with it. Pure.
//!
//! An alert with a baseline becomes these rules of one group, and after them the alert: each reads what the one above
//! it has just recorded, so that intervals beyond Prometheus' lookback of 5 minutes work as well.
//!
//! | record `evenkeel:baseline:` | what it is |
//! |---|---|
//! | `value` | the expression |
//! | `history` | of how many parts of the window (days, weeks) there is something |
//! | `expected` | the mean of the history; nothing until enough of it is there |
//! | `deviation` | the standard deviation of the history, with `deviations` only |
//! | `lower`, `upper` | the values beyond which the alert holds |
//!
//! All keep the labels of the expression, and have one more that says whose they are.

use promql_parser::parser::Expr;
use promql_parser::parser::value::ValueType;

use super::promql;
use crate::api::alert_rule::{Baseline, Direction, Seasonality};
use crate::api::duration::PromDuration;
use crate::k8s::meta::digest;

/// Label of the recorded series: `<namespace>/<AlertRule>/<alert>/<digest of the expression>`.
pub const LABEL: &str = "evenkeel_baseline";
/// Label that tells days or weeks apart within an expression.
const PERIOD: &str = "evenkeel_period";

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;
const WEEK: u64 = 7 * DAY;
/// Without seasons the window is looked at in so many parts, to tell how much of it there is.
const PARTS: u64 = 24;
/// A smaller deviation counts as this share of the mean: else a value that never moved would alert on rounding.
const LEAST_DEVIATION: f64 = 0.01;

/// Why a baseline is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaselineError {
    /// `baseline`, a field below it, or `expr`.
    pub field: String,
    pub message: String,
}

fn wrong<T>(field: &str, message: impl Into<String>) -> Result<T, BaselineError> {
    Err(BaselineError { field: field.to_owned(), message: message.into() })
}

/// What an alert with a baseline becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// Expression of the alert.
    pub expr: String,
    /// What the alert says of it, for people.
    pub annotation: String,
    /// Value of the label of every recorded series.
    pub series: String,
    /// Names and expressions of the recorded series, in the order of their evaluation.
    pub records: Vec<(&'static str, String)>,
}

/// How far back a baseline looks, in seconds; 0 when it is refused.
pub fn reach(baseline: &Baseline) -> u64 {
    Span::of(baseline).map_or(0, |span| span.reach())
}

/// Compiles a baseline on `expr`; `owner` is the group and the name of the alert.
pub fn compile(baseline: &Baseline, expr: &str, owner: &str) -> Result<Compared, BaselineError> {
    check_expr(expr)?;
    let span = Span::of(baseline)?;
    let (limit, words) = limit(baseline)?;
    // Another expression has another history: what the old one was says nothing of it.
    let series = format!("{owner}/{}", digest([expr.trim()], 8));
    let own = |name: &str| format!("{name}{{{LABEL}={}}}", quoted(&series));
    let value = own("evenkeel:baseline:value");

    let end = if expr.contains('#') { "\n" } else { "" };
    let written = format!("({}{end})", expr.trim());
    let mut records = vec![
        // One NaN would make every average over it NaN, and the alert silent for a whole window.
        ("evenkeel:baseline:value", format!("{written} > -Inf < Inf")),
        ("evenkeel:baseline:history", span.history(&value)),
        (
            "evenkeel:baseline:expected",
            format!("{} and {} >= {}", span.mean(&value), own("evenkeel:baseline:history"), span.enough()),
        ),
    ];
    let (expected, deviation) = (own("evenkeel:baseline:expected"), own("evenkeel:baseline:deviation"));
    let margin = match limit {
        Limit::Ratio(ratio) => format!("{ratio} * abs({expected})"),
        Limit::Deviations(deviations) => {
            records.push(("evenkeel:baseline:deviation", span.deviation(&value)));
            let least = format!("{LEAST_DEVIATION} * abs({expected})");
            format!("{deviations} * ({deviation} > {least} or {least})")
        }
    };
    let direction = baseline.direction.unwrap_or_default();
    let mut compared = vec![];
    if matches!(direction, Direction::Below | Direction::Both) {
        records.push(("evenkeel:baseline:lower", format!("{expected} - {margin}")));
        compared.push(format!("{written} < ignoring ({LABEL}) {}", own("evenkeel:baseline:lower")));
    }
    if matches!(direction, Direction::Above | Direction::Both) {
        records.push(("evenkeel:baseline:upper", format!("{expected} + {margin}")));
        compared.push(format!("{written} > ignoring ({LABEL}) {}", own("evenkeel:baseline:upper")));
    }
    let annotation = format!("{} {}, {}", side(direction, &words), span.words(), span.silence());
    Ok(Compared { expr: compared.join("\nor\n"), annotation, series, records })
}

/// The value itself is kept, so it must be one at all times.
fn check_expr(expr: &str) -> Result<(), BaselineError> {
    let Ok(tree) = promql::tree(expr) else { return Ok(()) };
    if tree.value_type() != ValueType::Vector {
        return wrong("expr", "a baseline needs an instant vector, this is a scalar: wrap it in vector()");
    }
    let mut inner = &tree;
    while let Expr::Paren(paren) = inner {
        inner = &paren.expr;
    }
    match inner {
        Expr::Binary(binary) if binary.op.is_comparison_operator() && !binary.return_bool() => wrong(
            "expr",
            "with baseline, expr is the value that is compared with its history: leave out the comparison, which would cut holes into the history",
        ),
        _ => Ok(()),
    }
}

enum Limit {
    Deviations(f64),
    Ratio(f64),
}

fn limit(baseline: &Baseline) -> Result<(Limit, String), BaselineError> {
    let positive = |number: f64| number.is_finite() && number > 0.0;
    match (baseline.deviations, baseline.ratio) {
        (Some(deviations), None) if positive(deviations) => {
            Ok((Limit::Deviations(deviations), format!("{deviations} standard deviations")))
        }
        (Some(_), None) => wrong("baseline.deviations", "is a number greater than 0, for example 3"),
        (None, Some(ratio)) if !positive(ratio) => {
            wrong("baseline.ratio", "is a number greater than 0, for example 0.5 for half of what is expected")
        }
        (None, Some(ratio)) if ratio >= 1.0 && baseline.direction != Some(Direction::Above) => wrong(
            "baseline.ratio",
            format!("{ratio} below what is expected is nothing at all: less than 1, or direction above"),
        ),
        (None, Some(ratio)) => Ok((Limit::Ratio(ratio), format!("{} %", percent(ratio)))),
        _ => wrong("baseline", "set exactly one of deviations and ratio"),
    }
}

/// At most two digits after the point.
fn percent(ratio: f64) -> f64 {
    (ratio * 10_000.0).round() / 100.0
}

fn side(direction: Direction, words: &str) -> String {
    match direction {
        Direction::Above => format!("more than {words} above"),
        Direction::Below => format!("more than {words} below"),
        Direction::Both => format!("more than {words} above or below"),
    }
}

/// The history that is looked at.
enum Span {
    /// All of the window, but for what is newer than `recent`. Seconds.
    Whole { window: u64, recent: u64 },
    /// An hour around the same time in each of the last `count` periods. Seconds.
    Seasons { count: u64, period: u64 },
}

impl Span {
    fn of(baseline: &Baseline) -> Result<Self, BaselineError> {
        let window = baseline.window.as_secs();
        let (period, least, most, words) = match baseline.seasonality.unwrap_or_default() {
            Seasonality::None => (HOUR, 6 * HOUR, 31 * DAY, "whole hours from 6h to 31d"),
            Seasonality::Daily => (DAY, 2 * DAY, 31 * DAY, "whole days from 2d to 31d with seasonality daily"),
            Seasonality::Weekly => (WEEK, 2 * WEEK, 13 * WEEK, "whole weeks from 2w to 13w with seasonality weekly"),
        };
        if window < least || window > most || !baseline.window.0.as_millis().is_multiple_of(period as u128 * 1000) {
            return wrong("baseline.window", format!("{} is not a window of {words}", baseline.window));
        }
        Ok(match period {
            HOUR => Self::Whole { window, recent: HOUR.min(window / 12) },
            period => Self::Seasons { count: window / period, period },
        })
    }

    fn reach(&self) -> u64 {
        match self {
            Self::Whole { window, recent } => window + recent,
            Self::Seasons { count, period } => count * period + HOUR / 2,
        }
    }

    /// Parts of the window that must be there: half of them, and of days and weeks two.
    fn enough(&self) -> u64 {
        match self {
            Self::Whole { .. } => PARTS / 2,
            Self::Seasons { count, .. } => count.div_ceil(2).max(2),
        }
    }

    fn history(&self, value: &str) -> String {
        match self {
            Self::Whole { window, recent } => {
                let (part, window, recent) = (seconds(window / PARTS), seconds(*window), seconds(*recent));
                format!("count_over_time(present_over_time({value}[{part}])[{window}:{part}] offset {recent})")
            }
            Self::Seasons { .. } => format!("count without ({PERIOD}) ({})", self.each("present_over_time", value)),
        }
    }

    fn mean(&self, value: &str) -> String {
        match self {
            Self::Whole { window, recent } => {
                format!("avg_over_time({value}[{}] offset {})", seconds(*window), seconds(*recent))
            }
            Self::Seasons { .. } => format!("avg without ({PERIOD}) ({})", self.each("avg_over_time", value)),
        }
    }

    /// Of all samples: the mean of the variances within the hours, and the variance between the hours.
    fn deviation(&self, value: &str) -> String {
        match self {
            Self::Whole { window, recent } => {
                format!("stddev_over_time({value}[{}] offset {})", seconds(*window), seconds(*recent))
            }
            Self::Seasons { .. } => format!(
                "sqrt(avg without ({PERIOD}) ({}) + stdvar without ({PERIOD}) ({}))",
                self.each("stdvar_over_time", value),
                self.each("avg_over_time", value)
            ),
        }
    }

    /// One series for each season and each series of the expression.
    fn each(&self, function: &str, value: &str) -> String {
        let Self::Seasons { count, period } = self else { return String::new() };
        let one = |number: u64| {
            let offset = seconds(number * period - HOUR / 2);
            format!("label_replace({function}({value}[1h] offset {offset}), \"{PERIOD}\", \"{number}\", \"\", \"\")")
        };
        (1..=*count).map(one).collect::<Vec<_>>().join(" or ")
    }

    fn words(&self) -> String {
        match self {
            Self::Whole { window, .. } => format!("the mean of {}", seconds(*window)),
            Self::Seasons { count, period: DAY } => format!("the mean of this time of day on the {count} days before"),
            Self::Seasons { count, .. } => {
                format!("the mean of this time of the week in the {count} weeks before")
            }
        }
    }

    fn silence(&self) -> String {
        match self {
            Self::Whole { .. } => "of which at least half is known".into(),
            Self::Seasons { .. } => format!("of which at least {} are known", self.enough()),
        }
    }
}

fn seconds(seconds: u64) -> PromDuration {
    PromDuration::from_secs(seconds)
}

/// A string of PromQL.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn compiled(baseline: Value, expr: &str) -> Result<Compared, BaselineError> {
        compile(&serde_json::from_value(baseline).unwrap(), expr, "shop/checkout/Drop")
    }

    #[test]
    fn a_daily_ratio_is_the_mean_of_the_same_hour_of_each_day_and_a_part_of_it() {
        let made = compiled(
            json!({"window": "2d", "seasonality": "daily", "ratio": 0.5, "direction": "below"}),
            "sum by (job) (rate(x[5m]))",
        )
        .unwrap();
        let own = |name: &str| format!("evenkeel:baseline:{name}{{evenkeel_baseline=\"{}\"}}", made.series);
        assert!(made.series.starts_with("shop/checkout/Drop/"));
        assert_eq!(made.expr, format!("(sum by (job) (rate(x[5m]))) < ignoring (evenkeel_baseline) {}", own("lower")));
        let day = |function: &str, number: u64, offset: &str| {
            format!(
                "label_replace({function}({}[1h] offset {offset}), \"evenkeel_period\", \"{number}\", \"\", \"\")",
                own("value")
            )
        };
        let days = |function| format!("{} or {}", day(function, 1, "23h30m"), day(function, 2, "1d23h30m"));
        assert_eq!(
            made.records,
            [
                ("evenkeel:baseline:value", "(sum by (job) (rate(x[5m]))) > -Inf < Inf".to_owned()),
                (
                    "evenkeel:baseline:history",
                    format!("count without (evenkeel_period) ({})", days("present_over_time"))
                ),
                (
                    "evenkeel:baseline:expected",
                    format!("avg without (evenkeel_period) ({}) and {} >= 2", days("avg_over_time"), own("history"))
                ),
                ("evenkeel:baseline:lower", format!("{} - 0.5 * abs({})", own("expected"), own("expected"))),
            ]
        );
        assert_eq!(
            made.annotation,
            "more than 50 % below the mean of this time of day on the 2 days before, of which at least 2 are known"
        );
    }

    #[test]
    fn every_expression_that_is_made_parses() {
        for seasonality in ["none", "daily", "weekly"] {
            for limit in [json!({"deviations": 3}), json!({"ratio": 0.3})] {
                for direction in ["above", "below", "both"] {
                    let mut baseline = limit.clone();
                    baseline["window"] = "4w".into();
                    baseline["seasonality"] = seasonality.into();
                    baseline["direction"] = direction.into();
                    let made = compiled(baseline, "x # \"y\"").unwrap();
                    let records = made.records.iter().map(|(_, expr)| expr);
                    for expr in records.chain([&made.expr]) {
                        promql::check(expr).unwrap_or_else(|error| panic!("{expr}: {error:?}"));
                    }
                }
            }
        }
    }

    #[test]
    fn a_baseline_that_could_not_work_says_which_field_and_what_instead() {
        for (baseline, expr, field, words) in [
            (json!({"window": "1h", "ratio": 0.5}), "x", "baseline.window", "from 6h to 31d"),
            (json!({"window": "90m", "ratio": 0.5}), "x", "baseline.window", "whole hours"),
            (json!({"window": "36h", "ratio": 0.5, "seasonality": "daily"}), "x", "baseline.window", "whole days"),
            (json!({"window": "10d", "ratio": 0.5, "seasonality": "weekly"}), "x", "baseline.window", "whole weeks"),
            (json!({"window": "14w", "ratio": 0.5, "seasonality": "weekly"}), "x", "baseline.window", "to 13w"),
            (json!({"window": "7d"}), "x", "baseline", "exactly one of deviations and ratio"),
            (json!({"window": "7d", "ratio": 1, "direction": "below"}), "x", "baseline.ratio", "less than 1"),
            (json!({"window": "7d", "ratio": 1}), "x", "baseline.ratio", "less than 1"),
            (json!({"window": "7d", "deviations": 0}), "x", "baseline.deviations", "greater than 0"),
            (json!({"window": "7d", "ratio": 0.5}), "(x > 5)", "expr", "leave out the comparison"),
            (json!({"window": "7d", "ratio": 0.5}), "scalar(x)", "expr", "wrap it in vector()"),
        ] {
            let error = compiled(baseline, expr).unwrap_err();
            assert!(error.field == field && error.message.contains(words), "{error:?}");
        }
        assert!(compiled(json!({"window": "7d", "ratio": 1, "direction": "above"}), "x > bool 5").is_ok());
    }

    #[test]
    fn another_expression_begins_a_history_of_its_own() {
        let series = |expr| compiled(json!({"window": "7d", "ratio": 0.5}), expr).unwrap().series;
        assert_ne!(series("x"), series("y"));
        assert_eq!(series("x"), series(" x\n"));
    }
}
