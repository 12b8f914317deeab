//! What the rules read: raw counters, and the series that the rules recorded of them during 30 days.

use std::fs;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::Command;

use super::service;

pub const DAY: i64 = 86_400;
/// Raw counters reach back as far as the longest range over them: 3 days, of sloth.
const RAW_DAYS: i64 = 3;
const RECORDED_DAYS: i64 = 30;
pub const SCRAPE: i64 = 15;
/// Prometheus' default interval, at which sloth's groups are evaluated.
const SLOTH_STEP: i64 = 60;
const OWN_STEP: i64 = 300;

fn noise(seed: i64) -> i64 {
    let mixed = (seed as u64).wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (mixed >> 33) as i64
}

/// A counter at a time: about 20 to 120 requests a second, one of 2,000 of which fails.
pub fn counter(number: usize, failed: bool, second: i64) -> i64 {
    let rate = 20 + noise(number as i64) % 100;
    let events = rate * (second - 1_700_000_000) + noise(second ^ number as i64) % rate;
    if failed { events / 2_000 } else { events }
}

/// Requests and errors within a step.
fn step(number: usize, second: i64, length: i64) -> (i64, i64) {
    let grown = |failed| counter(number, failed, second) - counter(number, failed, second - length);
    (grown(true) + grown(false), grown(true))
}

pub fn raw(folder: &Path, slos: usize, end: i64) {
    import(folder, "raw", |file| {
        for number in 0..slos {
            for (code, failed) in [("200", false), ("500", true)] {
                let head = format!("http_requests_total{{code=\"{code}\",job=\"{}\"}}", service(number));
                for second in points(end, RAW_DAYS, SCRAPE) {
                    writeln!(file, "{head} {} {second}", counter(number, failed, second)).expect("space on the disk");
                }
            }
        }
    });
}

pub fn evenkeel(folder: &Path, slos: usize, end: i64) {
    import(folder, "evenkeel", |file| {
        for number in 0..slos {
            let labels =
                format!("{{service=\"{}\",slo=\"requests\",slo_namespace=\"team-{number:04}\"}}", service(number));
            for second in points(end, RECORDED_DAYS, OWN_STEP) {
                let total = step(number, second, OWN_STEP).0;
                writeln!(file, "evenkeel:slo_total:increase{labels} {total} {second}").expect("space on the disk");
            }
            for second in points(end, RECORDED_DAYS, OWN_STEP) {
                let errors = step(number, second, OWN_STEP).1;
                writeln!(file, "evenkeel:slo_errors:increase{labels} {errors} {second}").expect("space on the disk");
            }
        }
    });
}

pub fn sloth(folder: &Path, slos: usize, end: i64) {
    import(folder, "sloth", |file| {
        for number in 0..slos {
            let service = service(number);
            let labels = format!(
                "sloth_id=\"{service}-requests\",sloth_service=\"{service}\",sloth_slo=\"requests\",sloth_window=\"5m\""
            );
            for second in points(end, RECORDED_DAYS, SLOTH_STEP) {
                let (total, errors) = step(number, second, OWN_STEP);
                let ratio = errors as f64 / total as f64;
                writeln!(file, "slo:sli_error:ratio_rate5m{{{labels}}} {ratio} {second}").expect("space on the disk");
            }
        }
    });
}

fn points(end: i64, days: i64, step: i64) -> impl Iterator<Item = i64> {
    (end - days * DAY..=end).step_by(step as usize)
}

/// Writes samples as text and makes blocks of them below `folder/data`.
fn import(folder: &Path, name: &str, write: impl FnOnce(&mut BufWriter<fs::File>)) {
    fs::create_dir_all(folder).expect("a folder");
    let text = folder.join(format!("{name}.om"));
    let mut file = BufWriter::with_capacity(1 << 20, fs::File::create(&text).expect("a file"));
    write(&mut file);
    writeln!(file, "# EOF").expect("space on the disk");
    drop(file);
    let output = Command::new("promtool")
        .args(["tsdb", "create-blocks-from", "--max-block-duration=2000h", "openmetrics"])
        .args([&text, &folder.join("data")])
        .output()
        .expect("promtool is on PATH (make bench puts it there)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::remove_file(&text).expect("the text");
}
