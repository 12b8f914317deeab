//! The accuracy bench: 30 days of generated counters in the real Prometheus, the rules of the SLO evaluated over them as
//! Prometheus evaluates them, and the budget beside the exact one from the raw counters. The table on the standard
//! output (`cargo test --test slo_accuracy -- --nocapture`) also says what the average of ratios would have been.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufWriter, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use evenkeel::api::SLO;
use evenkeel::slo::budget::{Reading, budget};
use evenkeel::slo::{render, validate};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

/// End of the window. Rules are evaluated at a phase of their own, which no scrape shares.
const END: i64 = 1_780_000_137;
const DAYS: i64 = 30;
const BEGIN: i64 = END - DAYS * 86_400;
/// Data begins an hour before the window.
const FIRST: i64 = BEGIN - 3_600;
const SCRAPE: i64 = 15;
const STEP: i64 = 300;
/// An hour in which Prometheus is down, in some of the histories.
const UNSEEN: std::ops::Range<i64> = 12 * 86_400 + 50..12 * 86_400 + 3_650;

/// One series: events within each second of the history, and what happens to its counter.
struct Series {
    name: &'static str,
    labels: &'static str,
    /// Events per second, at a time in seconds since the beginning of the window.
    rate: fn(i64) -> f64,
    /// Restarts every so many seconds.
    reset_every: Option<i64>,
    /// Scraped from this time on, beginning with this value.
    born: Option<(i64, f64)>,
    gauge: bool,
}

const COUNTER: Series = Series { name: "", labels: "", rate: |_| 0.0, reset_every: None, born: None, gauge: false };

struct Case {
    name: &'static str,
    objective: f64,
    /// YAML of the indicator.
    indicator: &'static str,
    /// Bad events and all events of the raw data for the average of ratios.
    averaged: (&'static str, &'static str),
    /// Series whose growth is (added to, taken from) the bad events.
    errors: &'static [&'static str],
    less: &'static [&'static str],
    total: &'static [&'static str],
    series: Vec<Series>,
    /// Nothing is scraped within these seconds.
    down: Option<(i64, i64)>,
    /// The series are the slow and all observations of one native histogram, named as the latter.
    native: bool,
}

fn noise(second: i64) -> f64 {
    let mixed = (second as u64).wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407) >> 40;
    mixed as f64 / (1u64 << 24) as f64
}

fn hour(second: i64) -> i64 {
    second.rem_euclid(86_400) / 3_600
}

fn busy(second: i64) -> f64 {
    if hour(second) < 10 { 100.0 } else { 1.0 }
}

fn ratio(errors: &'static str, total: &'static str) -> &'static str {
    Box::leak(format!("{{ratio: {{errors: {{metric: {errors}}}, total: {{metric: {total}}}}}}}").into_boxed_str())
}

fn cases() -> Vec<Case> {
    let pair = |case: &'static str, total: fn(i64) -> f64, errors: fn(i64) -> f64| {
        let (errors_name, total_name): (&'static str, &'static str) = (
            Box::leak(format!("{case}_errors_total").into_boxed_str()),
            Box::leak(format!("{case}_total").into_boxed_str()),
        );
        let leaked = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
        Case {
            name: case,
            objective: 99.9,
            indicator: ratio(errors_name, total_name),
            averaged: (leaked(format!("sum(rate({errors_name}[5m]))")), leaked(format!("sum(rate({total_name}[5m]))"))),
            errors: Box::leak(Box::new([errors_name])),
            less: &[],
            total: Box::leak(Box::new([total_name])),
            series: vec![
                Series { name: errors_name, rate: errors, ..COUNTER },
                Series { name: total_name, rate: total, ..COUNTER },
            ],
            down: None,
            native: false,
        }
    };
    let steady =
        pair("steady", |t| 40.0 + (20.0 * noise(t)).floor(), |t| if noise(t ^ 77) < 0.025 { 1.0 } else { 0.0 });
    let mut uneven = pair("uneven", busy, |t| if hour(t) < 10 { 10.0 } else { 0.0 });
    uneven.objective = 85.0;
    let pause = pair(
        "pause",
        |t| if t.rem_euclid(86_400) / 1_800 == 20 { 0.0 } else { 10.0 },
        |t| if t.rem_euclid(200) == 0 && t.rem_euclid(86_400) / 1_800 != 20 { 1.0 } else { 0.0 },
    );
    let mut unborn = pair("unborn", |_| 10.0, |_| 0.0);
    unborn.series.remove(0);
    let mut born = pair("born", |_| 20.0, |t| if t.rem_euclid(40) == 0 { 1.0 } else { 0.0 });
    born.series[0].born = Some((20 * 86_400 + 100, 30.0));
    let mut resets = pair("resets", |t| 20.0 + 10.0 * (hour(t) as f64), |t| if t % 7 == 0 { 1.0 } else { 0.0 });
    resets.objective = 99.8;
    resets.series.iter_mut().for_each(|series| series.reset_every = Some(20_011));
    let mut down = pair("down", |t| 30.0 + hour(t) as f64, |t| if t % 40 == 0 { 1.0 } else { 0.0 });
    down.down = Some((UNSEEN.start, UNSEEN.end));
    // The hour that Prometheus did not see was the bad one.
    let mut unseen = pair("unseen", |_| 30.0, |t| if UNSEEN.contains(&t) { 3.0 } else { 0.01 });
    unseen.down = down.down;
    // Longer than what is bridged.
    let mut long = pair("long_gap", |_| 30.0, |t| if t % 40 == 0 { 1.0 } else { 0.0 });
    long.down = Some((12 * 86_400 + 50, 13 * 86_400 + 3_650));
    // Ten minutes of total failure, within one scrape of the edge of a step.
    let outage =
        pair("outage", |_| 50.0, |t| if (9 * 86_400 + 7..9 * 86_400 + 607).contains(&t) { 50.0 } else { 0.01 });

    let classic = Case {
        name: "latency",
        objective: 99.0,
        indicator: "{latency: {histogram: latency_seconds, threshold: 200ms}}",
        averaged: (
            "sum(rate(latency_seconds_count[5m])) - sum(rate(latency_seconds_bucket{le=\"0.2\"}[5m]))",
            "sum(rate(latency_seconds_count[5m]))",
        ),
        errors: &["latency_seconds_count"],
        less: &["latency_seconds_bucket"],
        total: &["latency_seconds_count"],
        series: vec![
            Series {
                name: "latency_seconds_bucket",
                labels: "{le=\"0.2\"}",
                rate: |t| busy(t) * if hour(t) < 10 { 0.993 } else { 1.0 },
                reset_every: Some(100_003),
                ..COUNTER
            },
            Series { name: "latency_seconds_count", rate: busy, reset_every: Some(100_003), ..COUNTER },
        ],
        down: None,
        native: false,
    };
    let native = |name, series: [Series; 2], down| {
        let [slow, all] = [series[0].name, series[1].name];
        let leaked = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
        Case {
            name,
            objective: 99.0,
            indicator: leaked(format!("{{latency: {{histogram: {all}, threshold: 200ms, native: true}}}}")),
            averaged: (leaked(format!("1 - histogram_fraction(-Inf, 0.2, sum(rate({all}[5m])))")), "vector(1)"),
            errors: Box::leak(Box::new([slow])),
            less: &[],
            total: Box::leak(Box::new([all])),
            series: series.into(),
            down,
            native: true,
        }
    };
    let slow = |t| if hour(t) < 10 && noise(t) < 0.7 { 1.0 } else { 0.0 };
    let native_latency = native(
        "native_latency",
        [
            Series { name: "slow", rate: slow, reset_every: Some(100_003), ..COUNTER },
            Series { name: "native_seconds", rate: busy, reset_every: Some(100_003), ..COUNTER },
        ],
        None,
    );
    // As `unseen`.
    let slow = |t| match t {
        t if UNSEEN.contains(&t) => 15.0,
        t if t % 40 == 0 => 1.0,
        _ => 0.0,
    };
    let native_unseen = native(
        "native_unseen",
        [
            Series { name: "unseen_slow", rate: slow, ..COUNTER },
            Series { name: "unseen_seconds", rate: |_| 30.0, ..COUNTER },
        ],
        unseen.down,
    );
    let availability = Case {
        name: "availability",
        objective: 99.0,
        indicator: "{availability: {metric: probe_up}}",
        averaged: ("1 - avg(avg_over_time(probe_up[5m]))", "vector(1)"),
        errors: &[],
        less: &["probe_up"],
        total: &[],
        series: vec![Series {
            name: "probe_up",
            rate: |t| if t.rem_euclid(86_400) < 500 { 0.0 } else { 1.0 },
            gauge: true,
            ..COUNTER
        }],
        down: None,
        native: false,
    };
    vec![
        steady,
        uneven,
        pause,
        unborn,
        born,
        resets,
        down,
        unseen,
        long,
        outage,
        classic,
        native_latency,
        native_unseen,
        availability,
    ]
}

/// What the raw samples of a series say about the window: how much it grew (of a gauge: the sum), and how many there were.
struct Truth {
    grown: f64,
    samples: f64,
}

/// Hands out the samples of a series, each with its second; returns the exact figures.
fn generate(case: &Case, series: &Series, phase: i64, mut sample: impl FnMut(i64, f64)) -> Truth {
    let (mut truth, mut value, mut last) = (Truth { grown: 0.0, samples: 0.0 }, 0.0, None);
    for second in FIRST..=END {
        let time = second - BEGIN;
        if series.reset_every.is_some_and(|every| time.rem_euclid(every) == 0) {
            value = 0.0;
        }
        match series.born {
            Some((at, _)) if time < at => continue,
            Some((at, first)) if time == at => value = first,
            _ if series.gauge => value = (series.rate)(time),
            _ => value += (series.rate)(time),
        }
        let down = case.down.is_some_and(|(from, until)| (from..until).contains(&time));
        if (second - phase).rem_euclid(SCRAPE) != 0 || down {
            continue;
        }
        sample(second, value);
        if second > BEGIN {
            truth.samples += 1.0;
            truth.grown += match last {
                _ if series.gauge => value,
                Some(last) if value >= last => value - last,
                Some(_) => value,
                None => 0.0,
            };
        }
        last = Some(value);
    }
    truth
}

fn slo(case: &Case) -> SLO {
    let text = format!(
        "apiVersion: evenkeel.dev/v1alpha1\nkind: SLO\nmetadata: {{name: {}, namespace: bench}}\nspec:\n  service: bench\n  objective: {}\n  \
         window: {{rolling: {DAYS}d}}\n  indicator: {}\n  alerting: {{page: {{disabled: true}}, ticket: {{disabled: true}}, noData: {{disabled: true}}}}\n",
        case.name, case.objective, case.indicator
    );
    serde_saphyr::from_str(&text).unwrap()
}

#[derive(Deserialize)]
struct RuleFile {
    groups: Vec<RuleGroup>,
}

#[derive(Deserialize)]
struct RuleGroup {
    name: String,
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    record: String,
    expr: String,
    labels: BTreeMap<String, String>,
}

/// The real Prometheus over a folder of blocks; ends with the value.
struct Prometheus {
    process: Child,
    url: String,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Prometheus {
    fn start(folder: &Path, args: &[&str]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = folder.join("prometheus.yml");
        fs::write(&config, "{}\n").unwrap();
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args(["--storage.tsdb.retention.time=20y", "--log.level=error"])
            .args(args)
            .stderr(Stdio::inherit())
            .spawn()
            .expect("prometheus is not on PATH: run `make test`, which builds it and puts it there");
        let started = Self { process, url: format!("http://127.0.0.1:{port}") };
        let limit = Instant::now() + Duration::from_secs(120);
        while !promtool(&["check", "ready", &format!("--url={}", started.url)]).0 {
            assert!(Instant::now() < limit, "Prometheus does not become ready");
            std::thread::sleep(Duration::from_millis(300));
        }
        started
    }

    fn result(&self, args: &[&str]) -> Vec<Value> {
        let (fine, said) = promtool(&[&["query", "--format=json"], args].concat());
        assert!(fine, "{args:?}: {said}");
        serde_json::from_str(&said).unwrap_or_else(|_| panic!("{args:?}: {said}"))
    }

    /// Value of the only series at the end of the window.
    fn at_end(&self, expr: &str) -> Option<f64> {
        let found = self.result(&["instant", &format!("--time={END}"), &self.url, expr]);
        assert!(found.len() < 2, "{expr}: {found:?}");
        found.first().map(|series| series["value"][1].as_str().unwrap().parse().unwrap())
    }

    /// Writes what a rule would have recorded; a Prometheus that is down evaluates nothing.
    fn record(&self, file: &mut String, rule: &Rule, down: Option<(i64, i64)>) {
        let asleep = |time: i64| down.is_some_and(|(from, until)| (from..until).contains(&(time - BEGIN)));
        // promtool rounds neither the phase nor the step; the first evaluation is the first after the window's beginning.
        let found = self.result(&[
            "range",
            &format!("--start={}", BEGIN + STEP),
            &format!("--end={END}"),
            &format!("--step={STEP}s"),
            &self.url,
            &rule.expr,
        ]);
        for series in found {
            let own: Vec<String> = rule.labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
            for point in series["values"].as_array().unwrap() {
                if asleep(point[0].as_f64().unwrap() as i64) {
                    continue;
                }
                writeln!(file, "{}{{{}}} {} {}", rule.record, own.join(","), point[1].as_str().unwrap(), point[0])
                    .unwrap();
            }
        }
    }
}

fn promtool(args: &[&str]) -> (bool, String) {
    let output = Command::new("promtool")
        .args(args)
        .output()
        .expect("promtool is not on PATH: run `make test`, which builds it and puts it there");
    let said = if output.status.success() { output.stdout } else { [output.stdout, output.stderr].concat() };
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

fn import(folder: &Path, file: &Path) {
    let data = folder.join("data");
    let (fine, said) = promtool(&[
        "tsdb",
        "create-blocks-from",
        "--max-block-duration=2000h",
        "openmetrics",
        file.to_str().unwrap(),
        data.to_str().unwrap(),
    ]);
    assert!(fine, "{said}");
    fs::remove_file(file).unwrap();
}

/// promtool makes no blocks of native histograms: a Prometheus of its own is sent them over OTLP, and the block of its
/// snapshot is moved. `points`: the slow and all observations so far, at each second.
fn import_native(folder: &Path, histogram: &str, points: &BTreeMap<i64, Vec<f64>>) {
    let own = folder.join("native");
    fs::create_dir(&own).unwrap();
    // Nothing is compacted while it arrives.
    let args = ["--web.enable-otlp-receiver", "--web.enable-admin-api", "--storage.tsdb.min-block-duration=2000h"];
    let prometheus = Prometheus::start(&own, &args);
    let point = |(second, counts): &(&i64, &Vec<f64>)| {
        let [slow, all] = counts[..] else { panic!("{histogram} at {second}: {counts:?}") };
        // At scale 0 the bounds are powers of 2. Nothing lies in the bucket of the threshold, so that interpolation
        // adds nothing: the fast ones take up to 2^-6 s, the slow ones more than 1 s.
        let buckets = [(all - slow) as u64, 0, 0, 0, 0, 0, 0, slow as u64];
        json!({"timeUnixNano": format!("{second}000000000"), "count": all as u64, "scale": 0,
               "positive": {"offset": -7, "bucketCounts": buckets}})
    };
    let client = reqwest::Client::new();
    let post = async |path: &str, body: &Value| -> String {
        let answer = client.post(format!("{}{path}", prometheus.url)).json(body).send().await.unwrap();
        let (status, said) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{path}: {status}: {said}");
        said
    };
    let snapshot = tokio::runtime::Runtime::new().unwrap().block_on(async {
        for batch in points.iter().collect::<Vec<_>>().chunks(5_000) {
            let points: Vec<Value> = batch.iter().map(point).collect();
            // 2: cumulative.
            let metric =
                json!({"name": histogram, "exponentialHistogram": {"aggregationTemporality": 2, "dataPoints": points}});
            let metrics = json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [metric]}]}]});
            post("/api/v1/otlp/v1/metrics", &metrics).await;
        }
        post("/api/v1/admin/tsdb/snapshot", &Value::Null).await
    });
    let snapshot: Value = serde_json::from_str(&snapshot).unwrap();
    let snapshot = own.join("data/snapshots").join(snapshot["data"]["name"].as_str().unwrap());
    fs::create_dir_all(folder.join("data")).unwrap();
    for block in fs::read_dir(snapshot).unwrap().map(Result::unwrap) {
        fs::rename(block.path(), folder.join("data").join(block.file_name())).unwrap();
    }
    drop(prometheus);
    fs::remove_dir_all(own).unwrap();
}

#[test]
fn budgets_are_those_of_the_raw_counters() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let raw = folder.join("raw.om");
    let mut file = BufWriter::new(fs::File::create(&raw).unwrap());
    let cases = cases();
    let truths: Vec<(f64, f64)> = cases
        .iter()
        .enumerate()
        .map(|(index, case)| {
            let phase = 3 + 4 * index as i64;
            let mut points: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
            let mut generated = |series: &Series| {
                generate(case, series, phase, |second, value| {
                    if case.native {
                        points.entry(second).or_default().push(value);
                    } else {
                        writeln!(file, "{}{} {value} {second}", series.name, series.labels).unwrap();
                    }
                })
            };
            let found: Vec<Truth> = case.series.iter().map(&mut generated).collect();
            if case.native {
                import_native(folder, case.total[0], &points);
            }
            let grown = |names: &[&str]| -> f64 {
                let of =
                    |name: &&str| case.series.iter().position(|s| s.name == *name).map_or(0.0, |at| found[at].grown);
                names.iter().map(of).sum()
            };
            if case.total.is_empty() {
                (found[0].samples - found[0].grown, found[0].samples)
            } else {
                (grown(case.errors) - grown(case.less), grown(case.total))
            }
        })
        .collect();
    writeln!(file, "# EOF").unwrap();
    drop(file);
    import(folder, &raw);

    let rules: Vec<Vec<Rule>> = cases
        .iter()
        .map(|case| {
            let text = render(&slo(case), Timestamp::from_second(END).unwrap()).unwrap();
            let groups: RuleFile = serde_saphyr::from_str(&text).unwrap();
            groups
                .groups
                .into_iter()
                .filter(|group| group.name.ends_with("/budget"))
                .flat_map(|group| group.rules)
                .collect()
        })
        .collect();
    // The errors are recorded after the total, which their rule reads.
    for metric in ["evenkeel:slo_total:increase", "evenkeel:slo_errors:increase"] {
        let prometheus = Prometheus::start(folder, &[]);
        let mut recorded = String::new();
        for (case, rules) in cases.iter().zip(&rules) {
            let rule = rules.iter().find(|rule| rule.record == metric).unwrap();
            prometheus.record(&mut recorded, rule, case.down);
        }
        recorded.push_str("# EOF\n");
        let file = folder.join("recorded.om");
        fs::write(&file, recorded).unwrap();
        drop(prometheus);
        import(folder, &file);
    }

    let prometheus = Prometheus::start(folder, &[]);
    let mut table = "| history | objective | errors (raw) | indicator (raw) | indicator | budget left (raw) | budget left | off by | average of ratios |\n|---|---|---|---|---|---|---|---|---|\n".to_owned();
    let mut wrong = vec![];
    for ((case, rules), (errors, total)) in cases.iter().zip(&rules).zip(&truths) {
        let value = |metric: &str| prometheus.at_end(&rules.iter().find(|rule| rule.record == metric).unwrap().expr);
        let reading = Reading {
            errors: value("evenkeel:slo_errors:window"),
            total: value("evenkeel:slo_total:window"),
            recorded: Some(Timestamp::from_second(END).unwrap()),
            points: value("evenkeel:slo_window_points:count"),
            ..Reading::default()
        };
        let checked = validate::check(&slo(case)).unwrap();
        let found = budget(&checked, &reading, Timestamp::from_second(END).unwrap())
            .unwrap_or_else(|| panic!("{}: no data: {reading:?}", case.name));
        let exact = 1.0 - errors / total / checked.objective.budget.to_f64();
        let off = (found.remaining - exact).abs() * 100.0;
        let averaged =
            format!("avg_over_time(({} / ({}))[{DAYS}d:5m])", format_args!("({})", case.averaged.0), case.averaged.1);
        let averaged = prometheus
            .at_end(&averaged)
            .map_or("no series".to_owned(), |ratio| format!("{:.4} %", 100.0 - ratio * 100.0));
        writeln!(
            table,
            "| {} | {} | {errors:.0} | {:.4} % | {:.4} % | {:.3} % | {:.3} % | {off:.4} | {averaged} |",
            case.name,
            case.objective,
            100.0 - errors / total * 100.0,
            found.indicator.unwrap_or(f64::NAN) * 100.0,
            exact * 100.0,
            found.remaining * 100.0,
        )
        .unwrap();
        if off >= 0.1 {
            wrong.push(format!("{}: off by {off} percentage points", case.name));
        }
    }
    // `make bench` takes these lines into docs/benchmarks.md.
    println!("## Budgets beside the raw counters\n\n{table}");
    assert!(wrong.is_empty(), "{wrong:?}\n{table}");
}
