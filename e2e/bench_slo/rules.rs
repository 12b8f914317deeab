//! What the rules of the same SLOs cost Prometheus, over 30 days of what they recorded.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use evenkeel::api::SLO;

use super::history::{self, SCRAPE};
use super::prometheus::{Prometheus, serve_counters};
use super::{pair, sloth};

/// Prometheus has opened its blocks, and every group of a minute has been evaluated.
const WARM_UP: Duration = Duration::from_secs(75);
/// A multiple of both intervals: each group is evaluated as often as it should be.
const MEASURED: Duration = Duration::from_secs(300);

const FIGURES: [(&str, &str); 3] = [
    ("rules evaluated a minute", "prometheus_rule_evaluations_total"),
    ("samples read a minute", "prometheus_engine_query_samples_total"),
    ("CPU seconds a minute", "process_cpu_seconds_total"),
];
/// What must not happen, or the figures are worth nothing.
const FAULTS: [&str; 2] =
    ["prometheus_rule_evaluation_failures_total", "prometheus_rule_group_iterations_missed_total"];

pub async fn compare(folder: &Path, slos: usize) {
    let (ours, theirs) = (folder.join("evenkeel"), folder.join("sloth"));
    let counts = [own_rules(&ours, slos), sloth_rules(&theirs, slos)];
    let started = Instant::now();
    let end = jiff::Timestamp::now().as_second() / 300 * 300;
    // The raw counters are the same for both.
    let raw = folder.join("raw");
    std::thread::scope(|scope| {
        scope.spawn(|| history::sloth(&theirs, slos, end));
        history::raw(&raw, slos, end);
        history::evenkeel(&ours, slos, end);
    });
    [&ours, &theirs].into_iter().for_each(|side| copy(&raw.join("data"), &side.join("data")));
    eprintln!("  30 days of series in {:.0} s", started.elapsed().as_secs_f64());

    let target = serve_counters(slos).await;
    let both = [Prometheus::start(&ours, &target).await, Prometheus::start(&theirs, &target).await];
    tokio::time::sleep(WARM_UP).await;
    let before = [figures(&both[0]).await, figures(&both[1]).await];
    let started = Instant::now();
    tokio::time::sleep(MEASURED).await;
    let minutes = started.elapsed().as_secs_f64() / 60.0;
    let after = [figures(&both[0]).await, figures(&both[1]).await];

    println!("## Rules of {slos} SLOs in Prometheus\n");
    println!(
        "Two Prometheis side by side, each with 30 days of the series that its rules record, 3 days of raw counters (2 series a service, one scrape each {SCRAPE} s, which goes on) and the rules of the same {slos} SLOs; sloth's groups at Prometheus' default of 1m, Evenkeel's at their own 30s and 5m. Measured for {:.0} s by their own metrics; the CPU includes scraping.\n",
        minutes * 60.0
    );
    println!("| | Evenkeel | sloth | ratio |\n|---|---|---|---|");
    println!("| rules | {} | {} | {:.2} |", counts[0], counts[1], counts[1] as f64 / counts[0] as f64);
    for (index, (name, _)) in FIGURES.into_iter().enumerate() {
        let [own, other] = [0, 1].map(|side: usize| (after[side][index] - before[side][index]) / minutes);
        println!("| {name} | {own:.2} | {other:.2} | {:.2} |", other / own);
    }
    println!();
    for (prometheus, name) in both.iter().zip(["Evenkeel", "sloth"]) {
        for metric in FAULTS {
            let count = prometheus.own(metric).await;
            if count > 0.0 {
                println!("{name}: `{metric}` is {count}.\n");
            }
        }
    }
}

async fn figures(prometheus: &Prometheus) -> [f64; 3] {
    let mut found = [0.0; 3];
    for (figure, (_, metric)) in found.iter_mut().zip(FIGURES) {
        *figure = prometheus.own(metric).await;
    }
    found
}

fn count(text: &str) -> usize {
    text.lines().filter(|line| line.starts_with("  - record: ") || line.starts_with("  - alert: ")).count()
}

/// One file an SLO; returns the number of rules.
fn own_rules(folder: &Path, slos: usize) -> usize {
    let text = |number: usize| {
        let slo: SLO = serde_saphyr::from_str(&pair(number).evenkeel).expect("an SLO");
        evenkeel::slo::render(&slo, jiff::Timestamp::now()).expect("rules")
    };
    write(folder, (0..slos).map(text))
}

fn sloth_rules(folder: &Path, slos: usize) -> usize {
    let specs: String = (0..slos).map(|number| format!("---\n{}", pair(number).sloth)).collect();
    fs::create_dir_all(folder).expect("a folder");
    let file = folder.join("specs.yaml");
    fs::write(&file, specs).expect("specs");
    let output = Command::new(sloth()).args(["generate", "--no-log", "-i"]).arg(&file).output().expect("sloth runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    write(folder, text.split("\n---\n").map(ToOwned::to_owned))
}

fn write(folder: &Path, files: impl Iterator<Item = String>) -> usize {
    let rules = folder.join("rules");
    fs::create_dir_all(&rules).expect("a folder");
    let one = |(number, text): (usize, String)| {
        fs::write(rules.join(format!("{number:04}.yaml")), &text).expect("a rule file");
        count(&text)
    };
    files.enumerate().map(one).sum()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("blocks") {
        let entry = entry.expect("a block").path();
        let target = to.join(entry.file_name().expect("a name"));
        if entry.is_dir() {
            copy(&entry, &target);
        } else {
            fs::copy(&entry, &target).expect("space on the disk");
        }
    }
}
