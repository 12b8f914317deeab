//! Baselines in `promtool test rules`, over generated days and weeks: what alerts, and what does not.

use std::f64::consts::TAU;
use std::fs;
use std::process::Command;

use evenkeel::api::AlertRule;
use evenkeel::rule::render;

const MINUTE: usize = 60;
const HOUR: usize = 60 * MINUTE;
const DAY: usize = 24 * HOUR;

/// Orders a minute at a second of the history, for each region.
type Orders<'a> = &'a dyn Fn(usize) -> Option<f64>;

/// 100 by day, 20 by night, in a smooth rhythm.
fn rhythm(at: usize) -> f64 {
    60.0 - 40.0 * (TAU * at as f64 / DAY as f64).cos()
}

/// A little noise that is the same in every run, between -1 and 1.
fn noise(at: usize) -> f64 {
    ((at / 300).wrapping_mul(2_654_435_761) % 2001) as f64 / 1000.0 - 1.0
}

/// The regions whose alert fires at each of the times (in seconds), as promtool evaluates the rules every `step`.
fn fires(baseline: &str, step: usize, regions: &[(&str, Orders)], times: &[(usize, &[&str])]) {
    let rule: AlertRule = serde_saphyr::from_str(&format!(
        "apiVersion: evenkeel.dev/v1alpha1\nkind: AlertRule\nmetadata: {{name: orders, namespace: shop}}\n\
         spec: {{rules: [{{alert: OrdersOdd, expr: orders_per_minute, baseline: {baseline}, severity: warning}}]}}"
    ))
    .unwrap();
    let (rules, refused) = render(&rule);
    assert!(refused.is_empty(), "{refused:?}");
    let end = times.iter().map(|(at, _)| *at).max().unwrap();
    let series: String = regions
        .iter()
        .map(|(region, orders)| {
            let values = (0..=end / step).map(|number| match orders(number * step) {
                Some(value) => format!("{value:.3} "),
                None => "_ ".to_owned(),
            });
            let values: String = values.collect();
            format!("  - {{series: 'orders_per_minute{{region=\"{region}\"}}', values: '{values}'}}\n")
        })
        .collect();
    let tests: String = times
        .iter()
        .map(|(at, regions)| {
            let samples: Vec<_> =
                regions.iter().map(|region| format!("{{labels: '{{region=\"{region}\"}}', value: 1}}")).collect();
            let expr = "count by (region) (ALERTS{alertname=\"OrdersOdd\",severity=\"warning\",alertstate=\"firing\"})";
            format!("  - {{expr: '{expr}', eval_time: {}m, exp_samples: [{}]}}\n", at / MINUTE, samples.join(", "))
        })
        .collect();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("rules.yaml"), &rules).unwrap();
    let file = folder.path().join("test.yaml");
    let step = step / MINUTE;
    fs::write(
        &file,
        format!("rule_files: [rules.yaml]\nevaluation_interval: {step}m\ntests:\n- interval: {step}m\n  input_series:\n{series}  promql_expr_test:\n{tests}"),
    )
    .unwrap();
    let output = Command::new("promtool")
        .args(["test", "rules"])
        .arg(&file)
        .output()
        .expect("promtool is not on PATH: run `make test`, which builds it and puts it there");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}\n{rules}", String::from_utf8_lossy(&said));
}

#[test]
fn a_drop_by_day_fires_and_a_normal_night_does_not() {
    let usual = |at: usize| Some(rhythm(at) + noise(at));
    // On the eighth day, from 11:00 on, Europe has 30 of the 100 orders that are usual: more than at night.
    let drop = |at: usize| Some(if at >= 7 * DAY + 11 * HOUR { 30.0 } else { rhythm(at) + noise(at) });
    let times: [(usize, &[&str]); 4] = [
        (7 * DAY + HOUR, &[]),
        (7 * DAY + 10 * HOUR, &[]),
        (7 * DAY + 12 * HOUR, &["eu"]),
        // What is left is usual for the night.
        (7 * DAY + 23 * HOUR, &[]),
    ];
    let daily = "{window: 7d, seasonality: daily, ratio: 0.5, direction: below}";
    fires(daily, 300, &[("eu", &drop), ("us", &usual)], &times);
}

#[test]
fn without_seasonality_the_night_would_alert_as_the_drop_does() {
    let usual = |at: usize| Some(rhythm(at) + noise(at));
    let whole = "{window: 6d, ratio: 0.5, direction: below}";
    fires(whole, 300, &[("eu", &usual)], &[(7 * DAY, &["eu"]), (7 * DAY + 12 * HOUR, &[])]);
}

#[test]
fn deviations_are_those_of_the_hour_and_both_sides_alert() {
    let usual = |at: usize| Some(rhythm(at) + 3.0 * noise(at));
    let from = 7 * DAY + 2 * HOUR;
    // At night 45 are many, and 3 are few; by day 45 were few.
    let many = |at: usize| Some(if at >= from { 45.0 } else { rhythm(at) + 3.0 * noise(at) });
    let few = |at: usize| Some(if at >= from { 3.0 } else { rhythm(at) + 3.0 * noise(at) });
    let regions: [(&str, Orders); 3] = [("few", &few), ("many", &many), ("usual", &usual)];
    let at = 7 * DAY + 3 * HOUR;
    let daily = |direction: &str| format!("{{window: 7d, seasonality: daily, deviations: 4, direction: {direction}}}");
    fires(&daily("both"), 300, &regions, &[(7 * DAY + HOUR, &[]), (at, &["few", "many"])]);
    fires(&daily("above"), 300, &regions, &[(at, &["many"])]);
    fires(&daily("below"), 300, &regions, &[(at, &["few"])]);
}

#[test]
fn too_little_history_is_silent() {
    let drop = |from: usize| move |at: usize| Some(if at >= from { 1.0 } else { rhythm(at) });
    let daily = "{window: 7d, seasonality: daily, ratio: 0.5, direction: below}";
    // Four of seven days are enough, three are not.
    let (third, fourth) = (drop(3 * DAY + 12 * HOUR), drop(4 * DAY + 12 * HOUR));
    fires(daily, 300, &[("eu", &third)], &[(3 * DAY + 14 * HOUR, &[])]);
    fires(daily, 300, &[("eu", &fourth)], &[(4 * DAY + 14 * HOUR, &["eu"])]);
    // Without seasonality half of the window.
    let whole = "{window: 2d, ratio: 0.9, direction: below}";
    let (early, late) = (drop(20 * HOUR), drop(30 * HOUR));
    fires(whole, 300, &[("eu", &early)], &[(21 * HOUR, &[])]);
    fires(whole, 300, &[("eu", &late)], &[(31 * HOUR, &["eu"])]);
}

#[test]
fn days_without_data_are_left_out_of_the_mean_and_not_counted_as_zero() {
    let from = 7 * DAY + 11 * HOUR;
    let orders = |at: usize| match at {
        at if (2 * DAY..4 * DAY).contains(&at) => None,
        // 60 % of what is usual: below half of nothing else but of a mean with zeros in it.
        at if at >= from => Some(0.6 * rhythm(at)),
        at => Some(rhythm(at)),
    };
    let baseline = |ratio: &str| format!("{{window: 7d, seasonality: daily, ratio: {ratio}, direction: below}}");
    fires(&baseline("0.5"), 300, &[("eu", &orders)], &[(from + HOUR, &[])]);
    fires(&baseline("0.35"), 300, &[("eu", &orders)], &[(from + HOUR, &["eu"])]);
}

#[test]
fn what_is_no_number_for_a_while_is_left_out_of_the_mean() {
    let from = 7 * DAY + 11 * HOUR;
    // As a ratio is without requests.
    let orders = |at: usize| match at {
        at if at / HOUR % 24 == 3 || (2 * DAY + 12 * HOUR..2 * DAY + 13 * HOUR).contains(&at) => Some(f64::NAN),
        at if at >= from => Some(30.0),
        at => Some(rhythm(at)),
    };
    let times: [(usize, &[&str]); 2] = [(from - HOUR, &[]), (from + HOUR, &["eu"])];
    fires("{window: 7d, seasonality: daily, ratio: 0.5, direction: below}", 300, &[("eu", &orders)], &times);
    fires("{window: 7d, ratio: 0.6, direction: below}", 300, &[("eu", &orders)], &[(from + HOUR, &[])]);
    fires("{window: 7d, ratio: 0.4, direction: below}", 300, &[("eu", &orders)], &[(from + HOUR, &["eu"])]);
    fires("{window: 7d, ratio: 0.2, direction: above}", 300, &[("eu", &orders)], &[(from - HOUR, &["eu"])]);
}

#[test]
fn a_quiet_sunday_is_usual_with_weekly_seasonality() {
    let weekly_rhythm = |at: usize| if (at / DAY) % 7 == 6 { 10.0 } else { 100.0 };
    let usual = |at: usize| Some(weekly_rhythm(at));
    let drop = |at: usize| Some(if at >= 29 * DAY + 12 * HOUR { 10.0 } else { weekly_rhythm(at) });
    let regions: [(&str, Orders); 2] = [("eu", &drop), ("us", &usual)];
    let times: [(usize, &[&str]); 3] =
        [(27 * DAY + 12 * HOUR, &[]), (29 * DAY + 10 * HOUR, &[]), (29 * DAY + 14 * HOUR, &["eu"])];
    fires("{window: 4w, seasonality: weekly, ratio: 0.5, direction: below}", 1800, &regions, &times);
    let daily: [(usize, &[&str]); 1] = [(27 * DAY + 12 * HOUR, &["eu", "us"])];
    fires("{window: 7d, seasonality: daily, ratio: 0.5, direction: below}", 1800, &regions, &daily);
}

#[test]
fn a_value_that_never_moved_does_not_alert_on_rounding() {
    let constant = |_: usize| Some(0.1);
    let moved = |at: usize| Some(if at >= 2 * DAY { 0.2 } else { 0.1 });
    let whole = "{window: 2d, deviations: 3}";
    let regions: [(&str, Orders); 2] = [("eu", &constant), ("us", &moved)];
    fires(whole, 300, &regions, &[(2 * DAY - HOUR, &[]), (2 * DAY + HOUR / 2, &["us"])]);
}
