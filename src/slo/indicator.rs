//! Indicators: checked selectors, and the expressions that count bad events and all events. Pure.

use promql_parser::parser::Expr;
use promql_parser::parser::value::ValueType;
use promql_parser::util::{ExprVisitor, walk_expr};

use super::selector::Selector;
use super::series::{aggregate, quoted};
use super::validate::Refusal;
use super::window::duration;
use crate::api::slo as api;
use crate::api::slo::{EventUnit, Instances, TimeUnit};
use crate::rule::promql;

/// The placeholder of the range in expressions of the indicator `events`.
const WINDOW: &str = "{{window}}";

/// Gaps of a counter that are bridged, in seconds: a Prometheus that is down for an hour, and its start.
const BRIDGED: u64 = 5_400;

/// A checked indicator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Indicator {
    Errors { errors: Selector, total: Selector },
    Good { good: Selector, total: Selector },
    Latency { histogram: Selector, bound: String },
    NativeLatency { histogram: Selector, bound: String },
    Availability { metric: Selector, instances: Instances, slice: u64 },
    Events { errors: String, total: String, unit: EventUnit },
}

/// How events are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Per second over so many seconds.
    Rate(u64),
    /// How many since the last point, so many seconds ago: neighbouring points leave nothing out and count nothing twice.
    Step(u64),
}

impl Count {
    fn seconds(self) -> u64 {
        match self {
            Self::Rate(seconds) | Self::Step(seconds) => seconds,
        }
    }
}

impl Indicator {
    /// Everything that is wrong with an indicator, each with its field.
    pub fn of(spec: &api::Indicator, step: u64) -> Result<Self, Vec<Refusal>> {
        match (&spec.ratio, &spec.latency, &spec.availability, &spec.events) {
            (Some(ratio), None, None, None) => of_ratio(ratio),
            (None, Some(latency), None, None) => of_latency(latency).map_err(|refusal| vec![refusal]),
            (None, None, Some(availability), None) => of_availability(availability, step),
            (None, None, None, Some(events)) => of_events(events),
            _ => Err(vec![Refusal::new("indicator", "set exactly one of ratio, latency, availability and events")]),
        }
    }

    /// All events.
    pub fn total(&self, count: Count, group_by: &[String]) -> String {
        match self {
            Self::Errors { total, .. } | Self::Good { total, .. } => counted(&total.text(), count, group_by),
            Self::Latency { histogram, .. } => counted(&histogram.with("_count", None), count, group_by),
            Self::NativeLatency { histogram, .. } => {
                format!("histogram_count({})", observed(&histogram.text(), count, group_by))
            }
            Self::Availability { metric, instances: Instances::Each, .. } => {
                let range = duration(count.seconds());
                per_second(aggregate("sum", group_by, &format!("count_over_time({}[{range}])", metric.text())), count)
            }
            Self::Availability { metric, instances, slice } => {
                let present = aggregate(operator(*instances), group_by, &metric.text());
                per_second(
                    format!("count_over_time(({present})[{}:{}])", duration(count.seconds()), duration(*slice)),
                    count,
                )
            }
            Self::Events { total, unit, .. } => free(total, *unit, count, group_by),
        }
    }

    /// The bad events of all. `total` is an expression for all events with the same labels: where there are no bad
    /// ones, 0 of them is counted.
    pub fn errors(&self, count: Count, group_by: &[String], total: &str) -> String {
        match self {
            Self::Errors { errors, .. } => format!("{}\nor\n0 * {total}", counted(&errors.text(), count, group_by)),
            Self::Good { good, .. } => {
                let good = counted(&good.text(), count, group_by);
                format!("clamp_min(\n{total}\n- ({good} or 0 * {total}),\n0)")
            }
            // No `or`: a bucket that does not exist must be seen as missing data, not as no errors or nothing but errors.
            Self::Latency { histogram, bound } => {
                let good = counted(&histogram.with("_bucket", Some(bound)), count, group_by);
                format!("clamp_min(\n{total}\n- {good},\n0)")
            }
            // A histogram without observations has no fraction (NaN), which must not enter a sum: hence `> 0`.
            Self::NativeLatency { histogram, bound } => {
                let all = observed(&histogram.text(), count, group_by);
                format!("clamp_min(({total} > 0) * (1 - histogram_fraction(-Inf, {bound}, {all})), 0)\nor\n0 * {total}")
            }
            Self::Availability { metric, instances: Instances::Each, .. } => {
                let (metric, range) = (metric.text(), duration(count.seconds()));
                let down = format!("count_over_time({metric}[{range}]) - sum_over_time({metric}[{range}])");
                per_second(aggregate("sum", group_by, &down), count)
            }
            Self::Availability { metric, instances, slice } => {
                let down = format!("{} < 1", aggregate(operator(*instances), group_by, &metric.text()));
                let slices = format!("count_over_time(({down})[{}:{}])", duration(count.seconds()), duration(*slice));
                format!("{}\nor\n0 * {total}", per_second(slices, count))
            }
            Self::Events { errors, unit, .. } => format!("{}\nor\n0 * {total}", free(errors, *unit, count, group_by)),
        }
    }

    /// A query whose result has one series for each bucket of a classic histogram, told apart by `le`.
    pub fn buckets(&self) -> Option<String> {
        match self {
            Self::Latency { histogram, .. } => Some(format!("count by (le) ({})", histogram.with("_bucket", None))),
            _ => None,
        }
    }

    /// Queries that count series without a groupBy label: the field, and the query, which yields nothing when all is well.
    pub fn unlabelled(&self, label: &str) -> Vec<(&'static str, String)> {
        let lacking = |selector: &Selector, suffix: &str| {
            format!("count({})", selector.with(suffix, Some(&format!("{label}=\"\""))))
        };
        match self {
            Self::Errors { errors, total } => {
                vec![
                    ("indicator.ratio.errors.metric", lacking(errors, "")),
                    ("indicator.ratio.total.metric", lacking(total, "")),
                ]
            }
            Self::Good { good, total } => {
                vec![
                    ("indicator.ratio.good.metric", lacking(good, "")),
                    ("indicator.ratio.total.metric", lacking(total, "")),
                ]
            }
            Self::Latency { histogram, .. } => vec![("indicator.latency.histogram", lacking(histogram, "_count"))],
            Self::NativeLatency { histogram, .. } => vec![("indicator.latency.histogram", lacking(histogram, ""))],
            Self::Availability { metric, .. } => vec![("indicator.availability.metric", lacking(metric, ""))],
            Self::Events { .. } => vec![],
        }
    }
}

/// What is wrong when a classic histogram has no bucket with the threshold as its bound; `buckets` are its values of `le`.
pub fn missing_bucket(latency: &api::Latency, buckets: &[String]) -> Option<String> {
    let wanted = bound(latency).ok()?;
    let mut bounds: Vec<f64> =
        buckets.iter().filter_map(|le| le.parse().ok()).filter(|le: &f64| le.is_finite()).collect();
    bounds.sort_by(f64::total_cmp);
    bounds.dedup();
    let target: f64 = wanted.parse().ok()?;
    if bounds.is_empty() || bounds.contains(&target) {
        return None;
    }
    let unit = if latency.unit == TimeUnit::Seconds { "s" } else { "ms" };
    let (below, above) = bounds.split_at(bounds.partition_point(|le| *le < target));
    let nearest: Vec<String> =
        [below.last(), above.first()].into_iter().flatten().map(|le| format!("{le}{unit}")).collect();
    Some(format!(
        "the histogram has no bucket with le={wanted}: the nearest bounds are {}; use one of them as the threshold, or add the bucket to the service",
        nearest.join(" and ")
    ))
}

fn of_ratio(ratio: &api::Ratio) -> Result<Indicator, Vec<Refusal>> {
    let part =
        |name: &str, metric: &api::Metric| Selector::of(&format!("indicator.ratio.{name}.metric"), &metric.metric);
    let total = part("total", &ratio.total);
    let made = match (&ratio.errors, &ratio.good) {
        (Some(errors), None) => (part("errors", errors), true),
        (None, Some(good)) => (part("good", good), false),
        _ => return Err(vec![Refusal::new("indicator.ratio", "needs exactly one of errors and good, beside total")]),
    };
    match (made, total) {
        ((Ok(part), _), Ok(total)) if part == total => Err(vec![Refusal::new(
            "indicator.ratio",
            "counts the same series as a part and as the total: the ratio would always be 1; add a label that tells bad events from good ones, for example code=~\"5..\"",
        )]),
        ((Ok(errors), true), Ok(total)) => Ok(Indicator::Errors { errors, total }),
        ((Ok(good), false), Ok(total)) => Ok(Indicator::Good { good, total }),
        ((part, _), total) => Err([part.err(), total.err()].into_iter().flatten().collect()),
    }
}

fn of_latency(latency: &api::Latency) -> Result<Indicator, Refusal> {
    let field = "indicator.latency.histogram";
    let histogram = Selector::of(field, &latency.histogram)?;
    if let Some(suffix) = ["_bucket", "_count", "_sum"].iter().find(|suffix| histogram.name().ends_with(*suffix)) {
        let message = format!("names the histogram without {suffix}: the parts that are needed are chosen for you");
        return Err(Refusal::new(field, message));
    }
    if histogram.matches_on("le") {
        return Err(Refusal::new(
            field,
            "has a matcher on le: write the threshold instead, the bucket is chosen for you",
        ));
    }
    let bound = bound(latency).map_err(|message| Refusal::new("indicator.latency.threshold", message))?;
    if latency.native {
        return Ok(Indicator::NativeLatency { histogram, bound });
    }
    // Prometheus 3 writes whole bounds as 1.0, Prometheus 2 and others as 1.
    let bound = if bound.contains('.') {
        format!("le={}", quoted(&bound))
    } else {
        format!("le=~{}", quoted(&format!("{bound}(\\.0)?")))
    };
    Ok(Indicator::Latency { histogram, bound })
}

/// The threshold in the unit of the histogram, as a decimal.
fn bound(latency: &api::Latency) -> Result<String, String> {
    let millis = latency.threshold.0.as_millis();
    if millis == 0 {
        return Err("0 makes every event bad: write the longest duration that is good, for example 200ms".into());
    }
    let (whole, fraction) = match latency.unit {
        TimeUnit::Seconds => (millis / 1_000, millis % 1_000),
        TimeUnit::Milliseconds => (millis, 0),
    };
    if whole >= 1_000_000 {
        return Err(format!("{} is more than any histogram of latencies has a bucket for", latency.threshold));
    }
    Ok(if fraction == 0 {
        whole.to_string()
    } else {
        format!("{whole}.{fraction:03}").trim_end_matches('0').to_owned()
    })
}

fn of_availability(availability: &api::Availability, step: u64) -> Result<Indicator, Vec<Refusal>> {
    let metric =
        Selector::of("indicator.availability.metric", &availability.metric).map_err(|refusal| vec![refusal])?;
    let slice = availability.slice.as_secs();
    let whole = availability.slice.0.subsec_nanos() == 0 && slice >= 10 && step.is_multiple_of(slice);
    if availability.instances != Instances::Each && !whole {
        let message = format!(
            "{} is not a slice: it must be at least 10s and divide {}, for example 30s",
            availability.slice,
            duration(step)
        );
        return Err(vec![Refusal::new("indicator.availability.slice", message)]);
    }
    Ok(Indicator::Availability { metric, instances: availability.instances, slice })
}

fn of_events(events: &api::Events) -> Result<Indicator, Vec<Refusal>> {
    let checked = [("indicator.events.errors", &events.errors), ("indicator.events.total", &events.total)]
        .map(|(field, expr)| check_free(field, expr, events.unit));
    let refusals: Vec<Refusal> = checked.into_iter().filter_map(Result::err).collect();
    if !refusals.is_empty() {
        return Err(refusals);
    }
    Ok(Indicator::Events { errors: events.errors.clone(), total: events.total.clone(), unit: events.unit })
}

fn check_free(field: &str, expr: &str, unit: EventUnit) -> Result<(), Refusal> {
    if !expr.contains(WINDOW) {
        return Err(Refusal::new(
            field,
            "has no {{window}}: write it where the range of rate or increase stands, for example sum(rate(x[{{window}}])), since the range differs between rules",
        ));
    }
    let before = expr.split(WINDOW).next().unwrap_or_default().chars().count();
    let tree = promql::tree(&expr.replace(WINDOW, "5m")).map_err(|error| Refusal {
        field: field.to_owned(),
        // Behind the placeholder, columns are not those of what was written.
        column: error.column.filter(|column| *column <= before),
        message: format!("does not parse, with 5m for {WINDOW}: {}", error.message),
    })?;
    if tree.value_type() != ValueType::Vector {
        return Err(Refusal::new(field, "yields a number that has no series: an expression over counters is needed"));
    }
    let mut functions = Functions::default();
    _ = walk_expr(&mut functions, &tree);
    match unit {
        EventUnit::PerSecond if functions.counts => Err(Refusal::new(
            field,
            "uses increase, which counts events, where events per second are expected: write `unit: Count`, or use rate",
        )),
        EventUnit::Count if functions.rates => Err(Refusal::new(
            field,
            "uses rate, which yields events per second, where `unit: Count` is set: use increase, or remove unit",
        )),
        _ => Ok(()),
    }
}

#[derive(Default)]
struct Functions {
    rates: bool,
    counts: bool,
}

impl ExprVisitor for Functions {
    type Error = ();
    fn pre_visit(&mut self, expr: &Expr) -> Result<bool, ()> {
        if let Expr::Call(call) = expr {
            self.rates |= matches!(call.func.name, "rate" | "irate");
            self.counts |= call.func.name == "increase";
        }
        Ok(true)
    }
}

/// Sum of the events that counters counted.
fn counted(counter: &str, count: Count, group_by: &[String]) -> String {
    summed(counter, count, group_by, |before| format!("{counter} - {before} >= 0"))
}

/// Sum of what native histograms observed, a histogram. They cannot be compared: their counts are.
fn observed(histogram: &str, count: Count, group_by: &[String]) -> String {
    summed(histogram, count, group_by, |before| {
        format!("{histogram} - {before} and histogram_count({histogram}) >= histogram_count({before})")
    })
}

/// `difference` is to what was there before, where nothing has restarted.
fn summed(counter: &str, count: Count, group_by: &[String], difference: impl Fn(&str) -> String) -> String {
    match count {
        Count::Rate(_) => aggregate("sum", group_by, &grown(counter, count)),
        // The difference of two samples needs no extrapolation, and neighbouring differences add up to the last one:
        // sums over any window are exact, and the growth of a counter that nobody scraped for a while is counted when
        // it is seen again. Where there is no such difference (a restart, a series born or gone), what increase() sees
        // within the step is taken.
        Count::Step(seconds) => {
            let (step, longer, bridged) = (duration(seconds), duration(seconds + 60), duration(BRIDGED));
            let difference = difference(&format!("last_over_time({counter}[{bridged}] offset {step})"));
            let difference = format!("({difference} unless resets({counter}[{longer}]) > 0)");
            aggregate("sum", group_by, &format!("\n  {difference}\n  or increase({counter}[{step}])\n"))
        }
    }
}

fn grown(counter: &str, count: Count) -> String {
    match count {
        Count::Rate(seconds) => format!("rate({counter}[{}])", duration(seconds)),
        Count::Step(seconds) => format!("increase({counter}[{}])", duration(seconds)),
    }
}

/// What was counted within the range, in the unit that is asked for.
fn per_second(counted: String, count: Count) -> String {
    match count {
        Count::Rate(seconds) => format!("{counted} / {seconds}"),
        Count::Step(_) => counted,
    }
}

/// A free expression; `>= 0` keeps NaN and negative values out of the sums, where they would stay for the whole window.
fn free(expr: &str, unit: EventUnit, count: Count, group_by: &[String]) -> String {
    let expr = expr.trim().replace(WINDOW, &duration(count.seconds()).to_string());
    let end = if expr.contains('#') { "\n" } else { "" };
    let sum = aggregate("sum", group_by, &format!("({expr}{end}) >= 0"));
    match (unit, count) {
        (EventUnit::PerSecond, Count::Step(seconds)) => format!("{sum} * {seconds}"),
        (EventUnit::Count, Count::Rate(seconds)) => format!("{sum} / {seconds}"),
        _ => sum,
    }
}

fn operator(instances: Instances) -> &'static str {
    if instances == Instances::All { "min" } else { "max" }
}
