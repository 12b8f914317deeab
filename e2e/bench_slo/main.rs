//! `make bench`: what rendering SLOs and evaluating their rules costs, beside sloth in the same run. Needs no cluster, but
//! `sloth` (EVENKEEL_SLOTH names it), `prometheus` and `promtool`. Prints Markdown for docs/benchmarks.md, judges nothing.

mod history;
mod prometheus;
mod render;
mod rules;

/// SLOs of both parts; EVENKEEL_BENCH_SLOS takes fewer for a quick look.
const SLOS: usize = 1_000;

/// An SLO of Evenkeel and the same one of sloth: a ratio of two counters, 99.9 % over 30 days, the usual alerts.
struct Pair {
    evenkeel: String,
    sloth: String,
}

fn service(number: usize) -> String {
    format!("svc-{number:04}")
}

fn pair(number: usize) -> Pair {
    let service = service(number);
    let (errors, total) = (
        format!("http_requests_total{{job=\"{service}\",code=~\"5..\"}}"),
        format!("http_requests_total{{job=\"{service}\"}}"),
    );
    Pair {
        evenkeel: format!(
            "apiVersion: evenkeel.dev/v1alpha1
kind: SLO
metadata: {{name: requests, namespace: team-{number:04}}}
spec:
  service: {service}
  objective: 99.9
  window: {{rolling: 30d}}
  indicator:
    ratio:
      errors: {{metric: '{errors}'}}
      total: {{metric: '{total}'}}
"
        ),
        sloth: format!(
            "version: prometheus/v1
service: {service}
slos:
- name: requests
  objective: 99.9
  sli:
    events:
      error_query: sum(rate({errors}[{{{{.window}}}}]))
      total_query: sum(rate({total}[{{{{.window}}}}]))
  alerting:
    name: ErrorBudgetBurn
    page_alert: {{labels: {{severity: critical}}}}
    ticket_alert: {{labels: {{severity: warning}}}}
"
        ),
    }
}

fn sloth() -> String {
    std::env::var("EVENKEEL_SLOTH").expect("EVENKEEL_SLOTH names sloth's program (make bench sets it)")
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[tokio::main]
async fn main() {
    let slos = std::env::var("EVENKEEL_BENCH_SLOS").ok().and_then(|count| count.parse().ok()).unwrap_or(SLOS);
    let folder = tempfile::tempdir().expect("a temporary folder");
    render::compare(folder.path(), slos);
    rules::compare(folder.path(), slos).await;
}
