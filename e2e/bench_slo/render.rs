//! `evenkeel render` beside `sloth generate`: time and memory.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{median, pair, sloth};

/// Runs of each, by turns.
const ROUNDS: usize = 10;

/// Seconds and MiB of one run, whose output goes to a file. The kernel keeps the high-water mark of resident memory; it
/// is read every millisecond, so that only what comes in the last one may be missed.
fn measure(program: &str, arguments: &[&str], output: &Path) -> (f64, f64) {
    let mut peak: f64 = 0.0;
    let started = Instant::now();
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(fs::File::create(output).expect("an output file"))
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {program}: {error}"));
    let status = format!("/proc/{}/status", child.id());
    let ended = loop {
        if let Some(ended) = child.try_wait().expect("a child") {
            break ended;
        }
        let text = fs::read_to_string(&status).unwrap_or_default();
        let mark = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        peak = mark.and_then(|kib| kib.trim().parse().ok()).map_or(peak, |kib: f64| peak.max(kib / 1024.0));
        std::thread::sleep(Duration::from_millis(1));
    };
    assert!(ended.success(), "{program} {arguments:?}: {ended}");
    (started.elapsed().as_secs_f64(), peak)
}

pub fn compare(folder: &Path, slos: usize) {
    let pairs: Vec<_> = (0..slos).map(pair).collect();
    let stream = |documents: Vec<&str>| documents.iter().map(|text| format!("---\n{text}")).collect::<String>();
    let (ours, theirs) = (folder.join("evenkeel.yaml"), folder.join("sloth.yaml"));
    fs::write(&ours, stream(pairs.iter().map(|pair| pair.evenkeel.as_str()).collect())).expect("SLOs");
    fs::write(&theirs, stream(pairs.iter().map(|pair| pair.sloth.as_str()).collect())).expect("specs of sloth");
    let (ours, theirs) = (ours.to_str().expect("UTF-8"), theirs.to_str().expect("UTF-8"));
    let mut found = [(vec![], vec![]), (vec![], vec![])];
    let outputs = [folder.join("evenkeel.out"), folder.join("sloth.out")];
    for _ in 0..ROUNDS {
        let runs = [
            measure(env!("CARGO_BIN_EXE_evenkeel"), &["render", "-f", ours], &outputs[0]),
            measure(&sloth(), &["generate", "--no-log", "-i", theirs], &outputs[1]),
        ];
        for ((seconds, mebibytes), (all_seconds, all_mebibytes)) in runs.into_iter().zip(&mut found) {
            all_seconds.push(seconds);
            all_mebibytes.push(mebibytes);
        }
    }
    let written = outputs.map(|path| {
        let text = fs::read_to_string(path).expect("the output");
        let rules = text.lines().filter(|line| line.starts_with("  - record: ") || line.starts_with("  - alert: "));
        (rules.count(), text.len() as f64 / 1048576.0)
    });
    println!("## Rendering {slos} SLOs\n");
    println!(
        "A file of {slos} SLOs (ratio of two counters, 30 days) to rule files: `evenkeel render` beside `sloth generate` v0.16.0 on the same SLOs, {ROUNDS} runs each by turns. Memory is the high-water mark of resident memory.\n"
    );
    println!("| | wall, median | wall, max | memory, max | rules | output |\n|---|---|---|---|---|---|");
    let mut medians = vec![];
    for ((name, (seconds, mebibytes)), (rules, size)) in ["Evenkeel", "sloth"].into_iter().zip(&mut found).zip(written)
    {
        let most = |values: &[f64]| values.iter().copied().fold(0.0, f64::max);
        let (wall, memory) = (median(seconds), most(mebibytes));
        println!(
            "| {name} | {:.0} ms | {:.0} ms | {memory:.1} MiB | {rules} | {size:.1} MiB |",
            wall * 1e3,
            most(seconds) * 1e3
        );
        medians.push((wall, memory));
    }
    println!(
        "\nsloth takes {:.1} times the time and {:.1} times the memory.\n",
        medians[1].0 / medians[0].0,
        medians[1].1 / medians[0].1
    );
}
