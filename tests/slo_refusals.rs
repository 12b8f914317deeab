//! What is refused, in which field, and with which words.

use evenkeel::api::SLO;
use evenkeel::slo::indicator::missing_bucket;
use evenkeel::slo::{render, validate};
use jiff::Timestamp;

const RATIO: &str = "{ratio: {errors: {metric: 'errors_total{job=\"x\"}'}, total: {metric: requests_total}}}";

fn slo(namespace: &str, objective: &str, window: &str, indicator: &str, more: &str) -> SLO {
    serde_saphyr::from_str(&format!(
        "apiVersion: evenkeel.dev/v1alpha1\nkind: SLO\nmetadata: {{name: api, namespace: {namespace}}}\nspec:\n  service: checkout\n  \
         objective: {objective}\n  window: {window}\n  indicator: {indicator}\n{more}"
    ))
    .unwrap()
}

/// Every refusal must name this field and say this.
#[track_caller]
fn refused(slo: &SLO, field: &str, says: &str) {
    let refusals = render(slo, Timestamp::UNIX_EPOCH).expect_err("it is accepted");
    let found = refusals.iter().any(|refusal| refusal.field == field && refusal.message.contains(says));
    assert!(found, "{field} {says:?}: {refusals:#?}");
}

fn objective(objective: &str) -> SLO {
    slo("shop", objective, "{rolling: 30d}", RATIO, "")
}

fn window(window: &str) -> SLO {
    slo("shop", "99.9", window, RATIO, "")
}

fn indicator(indicator: &str) -> SLO {
    slo("shop", "99.9", "{rolling: 30d}", indicator, "")
}

fn with(more: &str) -> SLO {
    slo("shop", "99.9", "{rolling: 30d}", RATIO, more)
}

#[test]
fn an_objective_of_100_leaves_no_budget() {
    refused(&objective("100"), "objective", "no error budget");
}

#[test]
fn an_objective_of_0_promises_nothing() {
    refused(&objective("0"), "objective", "promises nothing");
}

#[test]
fn a_window_of_0_holds_no_events() {
    refused(&window("{rolling: 0s}"), "window.rolling", "holds no events");
}

#[test]
fn a_calendar_needs_a_zone_that_exists() {
    refused(&window("{calendar: month}"), "window.timeZone", "Europe/Paris");
    refused(&window("{calendar: month, timeZone: Nowhere/Land}"), "window.timeZone", "IANA");
}

#[test]
fn a_selector_that_does_not_parse_is_refused_with_its_column() {
    let wrong = indicator("{ratio: {errors: {metric: 'errors_total{job=}'}, total: {metric: requests_total}}}");
    refused(&wrong, "indicator.ratio.errors.metric", "is not a selector");
    let refusals = validate::check(&wrong).unwrap_err();
    assert!(refusals[0].column.is_some(), "{refusals:?}");
}

#[test]
fn what_is_more_than_a_selector_is_refused_in_words_of_its_own() {
    for (metric, says) in [
        ("sum(rate(x[5m]))", "rate and sum are added for you"),
        ("x[5m]", "takes no range"),
        ("x offset 5m", "no offset"),
        ("{job=\"x\"}", "names no metric"),
        ("{__name__=~\"a|b\"}", "names no metric"),
        ("x or y", "is an expression"),
    ] {
        let wrong = indicator(&format!("{{ratio: {{errors: {{metric: e}}, total: {{metric: '{metric}'}}}}}}"));
        refused(&wrong, "indicator.ratio.total.metric", says);
    }
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let wrong = slo(
        "shop",
        "100",
        "{rolling: 0s}",
        "{ratio: {errors: {metric: '{'}, total: {metric: '}'}}}",
        "  groupBy: [le]\n",
    );
    assert_eq!(validate::check(&wrong).unwrap_err().len(), 5);
}

#[test]
fn a_burn_rate_that_can_never_be_reached_is_refused() {
    refused(&objective("90"), "alerting.page.windows", "can never be reached with an objective of 90 %");
    let possible =
        slo("shop", "90", "{rolling: 30d}", RATIO, "  alerting: {page: {windows: [{factor: 9.99, long: 1h}]}}\n");
    assert!(validate::check(&possible).is_ok());
    let off = slo("shop", "90", "{rolling: 30d}", RATIO, "  alerting: {page: {disabled: true}}\n");
    assert!(validate::check(&off).is_ok());
}

#[test]
fn windows_of_a_tier_must_fit_into_each_other() {
    for (windows, says) in [
        ("{factor: 2, long: 1h, short: 1m}", "below 5m"),
        ("{factor: 2, long: 1h, short: 1h}", "not shorter"),
        ("{factor: 2, long: 31d}", "longer than the window"),
        ("{factor: 2, long: 1h3m, short: 5m}", "not a multiple"),
        ("{factor: 0, long: 1h}", "not a burn rate"),
    ] {
        refused(&with(&format!("  alerting: {{page: {{windows: [{windows}]}}}}\n")), "alerting.page.windows[0]", says);
    }
}

#[test]
fn labels_that_would_collide_are_refused() {
    refused(&with("  groupBy: [service]\n"), "groupBy[0]", "already");
    refused(&with("  groupBy: [a, a]\n"), "groupBy[1]", "twice");
    refused(&with("  groupBy: [a-b]\n"), "groupBy[0]", "not the name of a label");
    refused(
        &with("  groupBy: [region]\n  alerting: {labels: {region: eu}}\n"),
        "alerting.labels",
        "of all groups would be one",
    );
    refused(&with("  alerting: {labels: {severity: x}}\n"), "alerting.labels", "set for you");
    refused(
        &with("  alerting: {page: {severity: a}, ticket: {severity: a}}\n"),
        "alerting.ticket.severity",
        "tell the two apart",
    );
}

#[test]
fn a_template_that_prometheus_could_not_read_is_refused() {
    refused(
        &with("  alerting: {annotations: {summary: '{{ $valeu }}'}}\n"),
        "alerting.annotations.summary",
        "undefined variable",
    );
}

#[test]
fn free_expressions_need_the_placeholder_and_the_unit() {
    let events = |errors: &str, more: &str| {
        indicator(&format!("{{events: {{errors: '{errors}', total: 'sum(rate(y[{{{{window}}}}]))'{more}}}}}"))
    };
    refused(&events("sum(rate(x[5m]))", ""), "indicator.events.errors", "no {{window}}");
    refused(&events("sum(increase(x[{{window}}]))", ""), "indicator.events.errors", "unit: Count");
    refused(&events("sum(rate(x[{{window}}])", ""), "indicator.events.errors", "does not parse");
    refused(&events("sum(increase(x[{{window}}]))", ", unit: Count"), "indicator.events.total", "remove unit");
}

#[test]
fn a_histogram_is_named_without_its_parts() {
    let latency = |histogram: &str, threshold: &str| {
        indicator(&format!("{{latency: {{histogram: '{histogram}', threshold: {threshold}}}}}"))
    };
    refused(&latency("x_bucket", "1s"), "indicator.latency.histogram", "without _bucket");
    refused(&latency("x{le=\"1\"}", "1s"), "indicator.latency.histogram", "matcher on le");
    refused(&latency("x", "0s"), "indicator.latency.threshold", "every event bad");
}

#[test]
fn a_threshold_without_a_bucket_is_told_with_the_nearest_ones() {
    let written = slo("shop", "99", "{rolling: 30d}", "{latency: {histogram: x, threshold: 300ms}}", "");
    let latency = written.spec.indicator.latency.unwrap();
    let les = |values: &[&str]| values.iter().map(|le| (*le).to_owned()).collect::<Vec<_>>();
    let message = missing_bucket(&latency, &les(&["0.1", "0.25", "0.5", "1.0", "+Inf"])).unwrap();
    assert!(message.contains("le=0.3") && message.contains("0.25s and 0.5s"), "{message}");
    assert_eq!(missing_bucket(&latency, &les(&["0.3", "+Inf"])), None);
    // Nothing is known of the histogram yet.
    assert_eq!(missing_bucket(&latency, &[]), None);
}

#[test]
fn a_group_label_that_the_total_lacks_is_asked_for() {
    let checked = validate::check(&with("  groupBy: [region]\n")).unwrap();
    let queries = checked.indicator.unlabelled("region");
    assert!(
        queries.contains(&("indicator.ratio.total.metric", "count(requests_total{region=\"\"})".to_owned())),
        "{queries:?}"
    );
}

#[test]
fn two_slos_of_one_name_in_two_namespaces_share_no_series() {
    let text = |namespace: &str| {
        render(&slo(namespace, "99.9", "{rolling: 30d}", RATIO, "  compatibility: [sloth]\n"), Timestamp::UNIX_EPOCH)
            .unwrap()
    };
    let labels = |text: &str, namespace: &str| {
        let records = text.lines().filter(|line| line.contains("record:")).count();
        (records, text.matches(&format!("      slo_namespace: {namespace}\n")).count())
    };
    for namespace in ["shop", "lab"] {
        let (records, labelled) = labels(&text(namespace), namespace);
        // The three alerts have the label as well.
        assert_eq!(records + 3, labelled);
    }
    assert!(!text("lab").contains("shop"));
}

#[test]
fn a_thousand_slos_are_rendered_in_a_blink() {
    let written = with("  groupBy: [region]\n  compatibility: [sloth]\n");
    let begin = std::time::Instant::now();
    let bytes: usize = (0..1_000).map(|_| render(&written, Timestamp::UNIX_EPOCH).unwrap().len()).sum();
    println!("1,000 SLOs: {} KiB in {:?}", bytes >> 10, begin.elapsed());
    // A debug build on a busy machine; the release build is measured by the bench.
    assert!(begin.elapsed().as_secs() < 10);
}
