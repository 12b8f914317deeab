//! SLO -> rule file: whole files against golden ones, and the real promtool as the judge.

use std::fs;
use std::path::Path;
use std::process::Command;

use evenkeel::api::SLO;
use evenkeel::slo::render;
use jiff::Timestamp;

/// Runs promtool and returns its success and everything it said.
fn promtool(args: &[&str], file: &Path) -> (bool, String) {
    let output = Command::new("promtool")
        .args(args)
        .arg(file)
        .output()
        .expect("promtool is not on PATH: run `make test`, which builds it and puts it there");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

fn now() -> Timestamp {
    "2026-10-20T12:00:00Z".parse().unwrap()
}

fn read(text: &str) -> SLO {
    serde_saphyr::from_str(text).unwrap()
}

fn golden(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots/slo");
    let input = fs::read_to_string(folder.join(format!("{name}.in.yaml"))).unwrap();
    let actual = render(&read(&input), now()).unwrap_or_else(|refused| panic!("{name} is refused: {refused:?}"));
    let expected = folder.join(format!("{name}.out.yaml"));
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::write(&expected, &actual).unwrap();
    }
    assert_eq!(actual, fs::read_to_string(&expected).unwrap(), "UPDATE_SNAPSHOTS=1 accepts the change");
    let (accepted, said) = promtool(&["check", "rules", "--lint-fatal"], &expected);
    assert!(accepted, "{name}: {said}");
    actual
}

fn rules(text: &str) -> usize {
    text.lines().filter(|line| line.starts_with("  - record: ") || line.starts_with("  - alert: ")).count()
}

#[test]
fn an_slo_of_thirty_days_becomes_at_most_fourteen_rules() {
    assert!(rules(&golden("ratio")) <= 14);
}

#[test]
fn a_calendar_window_stops_at_its_beginning_and_adds_no_rule() {
    assert!(rules(&golden("latency")) <= 14);
}

#[test]
fn a_native_histogram_needs_no_bucket() {
    golden("native_latency");
}

#[test]
fn availability_is_counted_in_slices_of_time() {
    golden("availability");
}

#[test]
fn the_series_of_sloth_are_there_on_request() {
    golden("sloth");
}

#[test]
fn free_expressions_are_summed_by_group() {
    golden("events");
}
