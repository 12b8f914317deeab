//! The rules of an SLO in `promtool test rules`: what alerts, what does not, and what is recorded in odd cases.
//! promtool evaluates every group at the interval of the test; tests of sums over steps set it to the step.

use std::fs;
use std::process::Command;

use evenkeel::api::SLO;
use evenkeel::slo::read::{RATES, RECORDED, SUMS};
use evenkeel::slo::render;
use jiff::Timestamp;

const RATIO: &str = "ratio: {errors: {metric: errors_total}, total: {metric: requests_total}}";

/// Runs promtool over the rules of an SLO; `interval` is both that of the scrapes and of the rules.
fn promtool(spec: &str, interval: &str, test: &str) {
    let slo: SLO = serde_saphyr::from_str(&format!(
        "apiVersion: evenkeel.dev/v1alpha1\nkind: SLO\nmetadata: {{name: api, namespace: shop}}\nspec:\n  service: checkout\n{spec}"
    ))
    .unwrap();
    // promtool's time begins in 1970.
    let rules = render(&slo, "1970-01-02T12:00:00Z".parse::<Timestamp>().unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("rules.yaml"), &rules).unwrap();
    let file = folder.path().join("test.yaml");
    fs::write(
        &file,
        format!(
            "rule_files: [rules.yaml]\nevaluation_interval: {interval}\nfuzzy_compare: true\ntests:\n- {}\n",
            test.trim().replace('\n', "\n  ")
        ),
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

fn thirty_days(more: &str) -> String {
    format!("  objective: 99.9\n  window: {{rolling: 30d}}\n  indicator: {{{RATIO}}}\n{more}")
}

/// The name and severity of every alert that fires or waits at a time, as promtool compares them.
fn alerts(time: &str, expected: &[&str]) -> String {
    let samples: String = expected
        .iter()
        .map(|alert| {
            let (name, severity) = alert.split_once('/').unwrap();
            format!("\n  - {{labels: '{{alertname=\"{name}\", severity=\"{severity}\"}}', value: 1}}")
        })
        .collect();
    let samples = if samples.is_empty() { " []".to_owned() } else { samples };
    format!(
        "- expr: count by (alertname, severity) (ALERTS{{alertstate=\"firing\"}})\n  eval_time: {time}\n  exp_samples:{samples}\n"
    )
}

fn values(expected: &[(&str, &str, &str)]) -> String {
    expected
        .iter()
        .map(|(time, expr, value)| {
            let samples =
                if value.is_empty() { "[]".to_owned() } else { format!("[{{labels: '{{}}', value: {value}}}]") };
            format!("- expr: '{expr}'\n  eval_time: {time}\n  exp_samples: {samples}\n")
        })
        .collect()
}

fn block(text: &str) -> String {
    text.trim_end().replace('\n', "\n  ")
}

#[test]
fn a_burn_of_twenty_pages_and_a_burn_of_one_only_makes_a_ticket() {
    // 1,000 requests a minute; 2 % and 0.11 % of them fail.
    let fast = format!(
        "interval: 30s\ninput_series:\n- {{series: requests_total, values: '0+500x800'}}\n- {{series: errors_total, values: '0+10x800'}}\npromql_expr_test:\n{}",
        alerts("2h", &["ErrorBudgetBurn/critical", "ErrorBudgetBurn/warning"])
    );
    promtool(&thirty_days(""), "30s", &fast);
    let slow = format!(
        "interval: 30s\ninput_series:\n- {{series: requests_total, values: '0+500x2000'}}\n- {{series: errors_total, values: '0+0.55x2000'}}\npromql_expr_test:\n{}",
        alerts("8h", &["ErrorBudgetBurn/warning"])
    );
    promtool(&thirty_days(""), "30s", &slow);
}

#[test]
fn a_page_ends_minutes_after_the_burn_did() {
    let test = format!(
        "interval: 30s\ninput_series:\n- {{series: requests_total, values: '0+500x800'}}\n- {{series: errors_total, values: '0+50x120 6000x680'}}\npromql_expr_test:\n{}",
        alerts("58m", &["ErrorBudgetBurn/critical"])
            + &alerts("66m", &["ErrorBudgetBurn/critical"])
            + &alerts("100m", &[])
    );
    // With the pair of 5m and 1h alone; the pair of 30m and 6h lasts half an hour longer.
    let spec =
        thirty_days("  alerting: {ticket: {disabled: true}, page: {windows: [{factor: 14.4, long: 1h, short: 5m}]}}\n");
    let test = test.replace(&alerts("66m", &["ErrorBudgetBurn/critical"]), &alerts("66m", &[]));
    promtool(&spec, "30s", &test);
}

#[test]
fn below_the_floor_of_events_nothing_pages() {
    let test = |expected: &[&str]| {
        format!(
            "interval: 30s\ninput_series:\n- {{series: requests_total, values: '0+0.5x800'}}\n- {{series: errors_total, values: '0+0.25x800'}}\npromql_expr_test:\n{}",
            alerts("2h", expected)
        )
    };
    let only_page =
        "alerting: {ticket: {disabled: true}, page: {windows: [{factor: 14.4, long: 1h, short: 5m}]}, minimumEvents: ";
    // 60 requests an hour, half of which fail.
    promtool(&thirty_days(&format!("  {only_page}100}}\n")), "30s", &test(&[]));
    promtool(&thirty_days(&format!("  {only_page}50}}\n")), "30s", &test(&["ErrorBudgetBurn/critical"]));
}

#[test]
fn an_error_series_that_was_never_born_counts_as_no_errors() {
    let test = format!(
        "interval: 1m\ninput_series:\n- {{series: requests_total, values: '0+60x600'}}\npromql_expr_test:\n{}",
        alerts("9h", &[])
            + &values(&[
                ("9h", "sum(evenkeel:slo_errors:rate5m)", "0"),
                ("9h", "sum(evenkeel:slo_errors:window)", "0"),
                ("9h", "sum(evenkeel:slo_total:rate5m)", "1"),
            ])
    );
    promtool(&thirty_days(""), "5m", &test);
}

#[test]
fn without_traffic_there_are_zeros_and_no_alerts() {
    let test = format!(
        "interval: 1m\ninput_series:\n- {{series: requests_total, values: '500x600'}}\n- {{series: errors_total, values: '7x600'}}\npromql_expr_test:\n{}",
        alerts("9h", &[])
            + &values(&[
                ("9h", "sum(evenkeel:slo_errors:window)", "0"),
                ("9h", "sum(evenkeel:slo_total:window)", "0"),
                ("9h", "sum(evenkeel:slo_burn_rate:ratio)", ""),
            ])
    );
    promtool(&thirty_days(""), "5m", &test);
}

#[test]
fn an_indicator_without_series_is_told_after_ten_minutes() {
    let test = format!(
        "interval: 1m\ninput_series:\n- {{series: requests_total, values: '0+60x60 stale'}}\n- {{series: errors_total, values: '0+0x60 stale'}}\npromql_expr_test:\n{}",
        alerts("1h", &[]) + &alerts("70m", &[]) + &alerts("80m", &["SLONoData/warning"])
    );
    promtool(&thirty_days(""), "1m", &test);
}

#[test]
fn a_bucket_that_does_not_exist_is_missing_data_and_not_a_perfect_score() {
    let spec = "  objective: 99\n  window: {rolling: 30d}\n  indicator: {latency: {histogram: latency_seconds, threshold: 300ms}}\n";
    let test = format!(
        "interval: 1m\ninput_series:\n- {{series: 'latency_seconds_bucket{{le=\"0.2\"}}', values: '0+60x120'}}\n- {{series: latency_seconds_count, values: '0+60x120'}}\npromql_expr_test:\n{}",
        alerts("1h", &["SLONoData/warning"]) + &values(&[("1h", "sum(evenkeel:slo_errors:window)", "")])
    );
    promtool(spec, "1m", &test);
}

#[test]
fn a_native_histogram_gives_the_exact_share_at_a_bound_and_survives_a_pause() {
    let spec = "  objective: 90\n  window: {rolling: 1d}\n  indicator: {latency: {histogram: latency_seconds, threshold: 1s, native: true}}\n  \
                alerting: {page: {disabled: true}, ticket: {disabled: true}}\n";
    let end = "{{schema:0 count:60000 sum:60000 buckets:[57000 3000]}}";
    let test = format!(
        "interval: 1m\ninput_series:\n- {{series: latency_seconds, values: '{{{{schema:0 count:0 sum:0 buckets:[0 0]}}}}+{{{{schema:0 count:100 sum:100 buckets:[95 5]}}}}x600 {end}x800'}}\npromql_expr_test:\n{}",
        values(&[
            ("23h", "round(sum(evenkeel:slo_errors:window) / sum(evenkeel:slo_total:window), 0.000001)", "0.05"),
            ("23h", "sum(evenkeel:slo_total:rate5m)", "0"),
            ("23h", "sum(evenkeel:slo_errors:rate5m)", "0"),
        ])
    );
    promtool(spec, "5m", &test);
}

#[test]
fn a_calendar_week_begins_anew_at_its_first_moment() {
    let spec = format!(
        "  objective: 99\n  window: {{calendar: week, timeZone: UTC}}\n  indicator: {{{RATIO}}}\n  alerting: {{noData: {{disabled: true}}}}\n"
    );
    // 10 requests each 4 minutes; a tenth fails until Monday (1970 began on a Thursday), none from then on.
    let test = format!(
        "interval: 4m\ninput_series:\n- {{series: requests_total, values: '0+10x2000'}}\n- {{series: errors_total, values: '0+1x1440 1440x560'}}\npromql_expr_test:\n{}",
        values(&[
            ("96h", "sum(evenkeel:slo_errors:window)", "1440"),
            ("96h", "sum(evenkeel:slo_total:window)", "14400"),
            ("120h", "sum(evenkeel:slo_errors:window)", "0"),
            ("120h", "sum(evenkeel:slo_total:window)", "3600"),
            ("120h", "sum(evenkeel:slo_window_points:count)", "288"),
            ("120h", "count(evenkeel:slo_total:window)", "1"),
        ])
    );
    promtool(&spec, "5m", &test);
}

#[test]
fn groups_have_budgets_and_alerts_of_their_own() {
    let spec = thirty_days("  groupBy: [region]\n  alerting: {ticket: {disabled: true}}\n");
    let test = format!(
        "interval: 1m\ninput_series:\n- {{series: 'requests_total{{region=\"eu\"}}', values: '0+60x300'}}\n- {{series: 'requests_total{{region=\"us\"}}', values: '0+60x300'}}\n- {{series: 'errors_total{{region=\"us\"}}', values: '0+6x300'}}\npromql_expr_test:\n\
         - expr: 'count by (region) (ALERTS{{alertstate=\"firing\"}})'\n  eval_time: 4h\n  exp_samples: [{{labels: '{{region=\"us\"}}', value: 1}}]\n{}",
        values(&[
            ("4h", "count(evenkeel:slo_total:window)", "2"),
            ("4h", "sum(evenkeel:slo_errors:window{region=\"eu\"})", "0")
        ])
    );
    promtool(&spec, "1m", &block(&test).replace("\n  ", "\n"));
}

#[test]
fn any_instance_up_is_up_and_each_is_a_share() {
    let series = "interval: 1m\ninput_series:\n- {series: 'up{pod=\"a\"}', values: '1x300'}\n- {series: 'up{pod=\"b\"}', values: '0x300'}\npromql_expr_test:\n";
    let spec = |instances: &str| {
        format!(
            "  objective: 99\n  window: {{rolling: 30d}}\n  indicator: {{availability: {{metric: up, instances: {instances}}}}}\n  alerting: {{page: {{disabled: true}}, ticket: {{disabled: true}}, noData: {{disabled: true}}}}\n"
        )
    };
    for (instances, share) in [("Each", "0.5"), ("Any", "0"), ("All", "1")] {
        let expected = values(&[("4h", "sum(evenkeel:slo_errors:window) / sum(evenkeel:slo_total:window)", share)]);
        promtool(&spec(instances), "5m", &format!("{series}{expected}"));
    }
}

#[test]
fn three_queries_tell_where_every_slo_stands() {
    // 7 minutes after the last point the sums are still found; the rates are those of the present.
    let test = format!(
        "interval: 1m\ninput_series:\n- {{series: requests_total, values: '0+60x61'}}\n- {{series: errors_total, values: '0+1x61'}}\npromql_expr_test:\n{}",
        [(SUMS, "5"), (RATES, "3"), (RECORDED, "1")]
            .map(|(query, count)| format!(
                "- expr: |-\n    count({query})\n  eval_time: 1h\n  exp_samples: [{{labels: '{{}}', value: {count}}}]\n"
            ))
            .concat()
            + &format!(
                "- expr: |-\n    sum({RECORDED})\n  eval_time: 1h30s\n  exp_samples: [{{labels: '{{}}', value: 3600}}]\n"
            )
    );
    promtool(&thirty_days(""), "5m", &test);
}
