//! Arguments and start.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use evenkeel::api::duration::PromDuration;
use evenkeel::dashboards::Parts;
use evenkeel::telemetry::LogFormat;
use evenkeel::{cli, operator, telemetry};

/// Keeps services on an even keel: monitoring stacks, exact rules, proved repairs.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the operator (what the Deployment of the chart does).
    Run {
        #[command(flatten)]
        options: Box<operator::Options>,
        /// Format of the logs.
        #[arg(long, env = "EVENKEEL_LOG_FORMAT", default_value = "json")]
        log_format: LogFormat,
        /// Filter of the logs, for example `info,evenkeel=debug`.
        #[arg(long, env = "EVENKEEL_LOG", default_value = "info")]
        log: String,
    },
    /// Print the CustomResourceDefinitions as YAML.
    Crds {
        /// Write one file a kind into this directory instead.
        #[arg(long)]
        directory: Option<PathBuf>,
    },
    /// Write Grafana dashboards as JSON files, one folder each as in Grafana.
    Dashboards {
        /// Where to; made if it is not there.
        #[arg(long)]
        directory: PathBuf,
        /// Leave out what needs Loki, collectors of logs or Jaeger.
        #[arg(long, value_delimiter = ',', value_name = "PART")]
        without: Vec<Part>,
    },
    /// Check resources without a cluster: what the operator would refuse, with the reason, and the tests of AlertRules.
    /// Exit code 1 if anything.
    Check {
        #[command(flatten)]
        options: cli::CheckOptions,
    },
    /// Print what the operator would apply, without a cluster.
    Render {
        /// Files or directories with YAML; `-` is standard input.
        #[arg(short = 'f', long = "filename", required = true, num_args = 1..)]
        files: Vec<PathBuf>,
    },
    /// Print the report about the error budgets under an ErrorBudgetPolicy, as Markdown, from a cluster (KUBECONFIG).
    Report {
        /// Namespace of the policy. Default: that of the kubeconfig.
        #[arg(short = 'n', long)]
        namespace: Option<String>,
        /// Name of the ErrorBudgetPolicy.
        policy: String,
    },
    /// Fire an alert that never was at an AlertResponse of a cluster (KUBECONFIG) and tell what would be done. Nothing is
    /// touched and nobody is told.
    Drill {
        /// Name of the AlertResponse.
        response: String,
        /// Its namespace. Default: that of the kubeconfig.
        #[arg(short = 'n', long)]
        namespace: Option<String>,
        /// A label of the alert, for example region=eu-1; those that the AlertResponse asks for by equality are added.
        #[arg(short = 'l', long = "label", value_name = "NAME=VALUE")]
        labels: Vec<String>,
        /// Stack through whose Alertmanager the alert goes, as NAMESPACE/NAME. Default: the only one there is.
        #[arg(long)]
        stack: Option<String>,
        /// How long to wait for the end of the run.
        #[arg(long, default_value = "60s")]
        wait: PromDuration,
    },
    /// Tell what a ResponseRun of a cluster (KUBECONFIG) did and when, on what evidence, and what it waits for.
    Explain {
        #[command(flatten)]
        run: Run,
    },
    /// Let a ResponseRun act that waits for approval (AlertResponses in mode Approve), with your own rights in the cluster.
    Approve {
        #[command(flatten)]
        run: Run,
    },
}

#[derive(clap::Args)]
struct Run {
    /// Name of the ResponseRun.
    #[arg(id = "run", value_name = "RUN")]
    name: String,
    /// Its namespace. Default: that of the kubeconfig.
    #[arg(short = 'n', long)]
    namespace: Option<String>,
}

/// What dashboards can do without.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Loki,
    Collectors,
    Jaeger,
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run { options, log_format, log } => {
            telemetry::init(log_format, &log);
            match operator::start(*options) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    tracing::error!(error = evenkeel::k8s::report::chain(&error), "the operator stops");
                    ExitCode::FAILURE
                }
            }
        }
        Command::Crds { directory } => cli::crds(directory.as_deref()),
        Command::Dashboards { directory, without } => {
            let has = |part| !without.contains(&part);
            let (loki, collectors, jaeger) = (has(Part::Loki), has(Part::Collectors), has(Part::Jaeger));
            cli::dashboards(&directory, Parts { prometheus: true, loki, collectors, jaeger })
        }
        Command::Check { options } => cli::check(&options),
        Command::Render { files } => cli::render(&files),
        Command::Report { namespace, policy } => cli::report(namespace, &policy),
        Command::Drill { response: name, namespace, labels, stack, wait } => {
            cli::drill(&cli::drill::Drill { namespace, name, labels, stack, wait })
        }
        Command::Explain { run } => cli::explain(run.namespace.as_deref(), &run.name),
        Command::Approve { run } => cli::approve(run.namespace.as_deref(), &run.name),
    }
}
