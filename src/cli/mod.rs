//! Sub-commands beside the operator: what it would do, on files and without a cluster (and what a Prometheus says of the
//! rules); the report about budgets, which reads from the cluster; drills, which go through it; and runs, told and
//! approved.

use std::fmt::Display;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub mod cel;
pub mod check;
pub mod cluster;
pub mod crds;
pub mod dashboards;
pub mod documents;
pub mod drill;
pub mod judge;
pub mod life;
pub mod promtool;
pub mod render;
pub mod report;
pub mod resource;
pub mod runs;
pub mod schema;
pub mod story;
pub mod timeline;

use jiff::Timestamp;

use crate::api::duration::PromDuration;
use crate::dashboards::Parts;
use crate::stack;

/// What `evenkeel check` looks at, and with what.
#[derive(Debug, clap::Args)]
pub struct CheckOptions {
    /// Files or directories with YAML; `-` is standard input.
    #[arg(short = 'f', long = "filename", required = true, num_args = 1..)]
    files: Vec<PathBuf>,
    /// The promtool that runs the tests of AlertRules. Default: that on PATH.
    #[arg(long, value_name = "PATH", default_value = "promtool", hide_default_value = true)]
    promtool: PathBuf,
    /// URL of a Prometheus that is asked whether it has the series of AlertRules, and how often their alerts would have
    /// fired.
    #[arg(long, value_name = "URL")]
    prometheus: Option<String>,
    /// How far back to look in it.
    #[arg(long, default_value = "7d", requires = "prometheus")]
    over: PromDuration,
}

/// `evenkeel crds`: prints the CRDs, or writes one file each into `directory`.
pub fn crds(directory: Option<&Path>) -> ExitCode {
    let text = match directory {
        Some(directory) => crds::write(directory).map(|()| String::new()),
        None => crds::stream(),
    };
    match text {
        Ok(text) => print(&text),
        Err(error) => fail(&error),
    }
}

/// `evenkeel dashboards`: writes one file each below `directory`, and prints their paths.
pub fn dashboards(directory: &Path, parts: Parts) -> ExitCode {
    match dashboards::write(directory, parts) {
        Ok(paths) => print(&paths.iter().map(|path| format!("{}\n", path.display())).collect::<String>()),
        Err(error) => fail(&error),
    }
}

/// `evenkeel check`: one line for each thing that is wrong, on standard output; the count, and what these files alone
/// cannot tell, on standard error. Tests of AlertRules are run with promtool; what a Prometheus says of the rules comes
/// after all that is wrong, and is no fault.
pub fn check(options: &CheckOptions) -> ExitCode {
    let CheckOptions { files, promtool, prometheus, over } = options;
    let documents = match documents::read(files) {
        Ok(documents) => documents,
        Err(error) => return fail(&error),
    };
    let total = documents.len();
    let report = check::check(documents);
    let printed = print(&lines(&report.findings));
    eprint!("{}", open(&report));
    let tested = promtool::run(&report, promtool);
    let failures = tested.as_ref().map_or(&[][..], |tested| &tested.failures);
    _ = print(&lines(failures));
    let checked = count(total - report.passed_over, "document");
    let (faults, others) = (count(report.findings.len(), "fault"), count(report.passed_over, "document"));
    eprintln!("evenkeel: {checked} checked, {faults} ({others} of other kinds passed over)");
    match &tested {
        Ok(tested) if tested.tests > 0 => {
            eprintln!("evenkeel: {} run, {}", count(tested.tests, "test"), count(tested.failures.len(), "failure"));
        }
        Ok(_) => {}
        Err(error) => eprintln!("evenkeel: {error}"),
    }
    let compared = match prometheus {
        Some(url) => from_cluster(async {
            let life = life::compare(&report, url, *over, Timestamp::now()).await?;
            let warnings: String = life.warnings.iter().map(|warning| format!("warning: {warning}\n")).collect();
            eprintln!("evenkeel: compared with {url}: {}", count(life.warnings.len(), "warning"));
            Ok::<_, life::LifeError>(format!("{warnings}{}", lines(&life.firings)))
        }),
        None => ExitCode::SUCCESS,
    };
    if compared != ExitCode::SUCCESS {
        return compared;
    }
    if report.findings.is_empty() && tested.is_ok_and(|tested| tested.failures.is_empty()) {
        printed
    } else {
        ExitCode::FAILURE
    }
}

/// `evenkeel render`: YAML on standard output; on standard error what `evenkeel check` would say.
pub fn render(files: &[PathBuf]) -> ExitCode {
    let documents = match documents::read(files) {
        Ok(documents) => documents,
        Err(error) => return fail(&error),
    };
    let (mut report, now) = (check::check(documents), Timestamp::now());
    let mut failed = !report.findings.is_empty();
    report.resources.sort_by_key(|(_, resource, _)| render::Content::of(resource));
    eprint!("{}{}", lines(&report.findings), open(&report));
    // One after the other: the rules of thousands of SLOs are megabytes.
    let mut stream = render::Stream::new(BufWriter::new(std::io::stdout().lock()));
    for (origin, resource, checked) in report.resources {
        let written = match render::render(&origin, &resource, checked.as_deref(), &report.known.channels, now) {
            Ok(rendered) => rendered.iter().try_for_each(|document| stream.write(document)),
            // `check` has said so already.
            Err(render::RenderError::Stack(stack::render::RenderError::Refused(_))) => Ok(()),
            Err(error) => {
                eprintln!("evenkeel: {origin}: {error}");
                failed = true;
                Ok(())
            }
        };
        if let Err(error) = written {
            return ended(Err(error));
        }
    }
    let printed = ended(stream.end());
    if failed { ExitCode::FAILURE } else { printed }
}

/// `evenkeel report`: Markdown on standard output.
pub fn report(namespace: Option<String>, policy: &str) -> ExitCode {
    from_cluster(report::report(namespace, policy, Timestamp::now()))
}

/// `evenkeel drill`: the story of the run on standard output.
pub fn drill(drill: &drill::Drill) -> ExitCode {
    from_cluster(drill::drill(drill, Timestamp::now()))
}

/// `evenkeel explain`: the time line of a run on standard output.
pub fn explain(namespace: Option<&str>, run: &str) -> ExitCode {
    from_cluster(runs::explain(namespace, run))
}

/// `evenkeel approve`: what was approved on standard output.
pub fn approve(namespace: Option<&str>, run: &str) -> ExitCode {
    from_cluster(runs::approve(namespace, run))
}

fn from_cluster<E: std::error::Error>(work: impl Future<Output = Result<String, E>>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    match runtime.block_on(work) {
        Ok(text) => print(&text),
        Err(error) => fail(&crate::k8s::report::chain(&error)),
    }
}

fn lines(findings: &[check::Finding]) -> String {
    findings.iter().map(|finding| format!("{finding}\n")).collect()
}

fn open(report: &check::Report) -> String {
    report.open.iter().map(|finding| format!("not checked: {finding}\n")).collect()
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn print(text: &str) -> ExitCode {
    ended(std::io::stdout().lock().write_all(text.as_bytes()))
}

/// A reader that went away (`| head`) is no error.
fn ended(written: std::io::Result<()>) -> ExitCode {
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => fail(&error),
        _ => ExitCode::SUCCESS,
    }
}

fn fail(error: &dyn Display) -> ExitCode {
    eprintln!("evenkeel: {error}");
    ExitCode::FAILURE
}
