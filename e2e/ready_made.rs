//! The responses of examples/responses, played from a real firing rule to the closed run.

use std::time::Duration;

use serde_json::Value;

use crate::harness::*;
use crate::manifests::*;
use crate::outside::Outside;

const MINUTE: Duration = Duration::from_secs(60);

/// A file of the examples for this namespace, as it stands but for its times: the same rules, faster. It acts.
fn example(file: &str, namespace: &str) -> String {
    let text = std::fs::read_to_string(format!("examples/responses/{file}")).expect("the file");
    let shorter = [
        ("interval: 15s", "interval: 2s"),
        ("[1m]", "[20s]"),
        ("for: 1m", "for: 2s"),
        ("for: 2m", "for: 2s"),
        ("settle: 1m", "settle: 2s"),
        ("settle: 30s", "settle: 2s"),
        ("mode: Observe", "mode: Act"),
        ("namespace: store", &format!("namespace: {namespace}")),
        ("namespace=\"store\"", &format!("namespace=\"{namespace}\"")),
    ];
    shorter.iter().fold(text, |text, (from, to)| text.replace(from, to))
}

/// Checkout, scraped, with customers.
fn checkout(namespace: &str, release: &str, environment: &str, replicas: u32) -> String {
    let name = "app.kubernetes.io/name: checkout";
    let service = format!(
        "
apiVersion: v1
kind: Service
metadata: {{name: checkout, namespace: {namespace}}}
spec: {{selector: {{{name}}}, ports: [{{port: 80, targetPort: 8080}}]}}
---"
    );
    let pods = deployment(namespace, "checkout", release, replicas)
        .replace(
            &format!("metadata: {{labels: {{{name}}}}}"),
            &format!("metadata: {{labels: {{{name}}}, annotations: {{prometheus.io/scrape: 'true', prometheus.io/port: '8080'}}}}"),
        )
        .replace(&format!("value: '{release}'}}]"), &format!("value: '{release}'}}, {environment}]"));
    format!("{service}{pods}")
}

fn customers(namespace: &str, rate: u32) -> String {
    deployment(namespace, "customers", "1", 1)
        .replace(
            "        env:",
            &format!("        args: [load, --url, 'http://checkout/checkout', --rps, '{rate}']\n        env:"),
        )
        .replace("        readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}\n", "")
}

struct Play {
    cluster: Cluster,
    outside: Outside,
    namespace: &'static str,
    response: &'static str,
}

impl Play {
    async fn set(namespace: &'static str, file: &str, response: &'static str, stage: &[String]) -> Self {
        let cluster = Cluster::connect().await;
        let outside = Outside::start(&cluster).await;
        cluster.fresh_namespace(namespace).await;
        cluster.apply(&example("rights.yaml", namespace)).await;
        cluster.apply(&outside.channels(namespace)).await;
        for manifest in stage {
            cluster.apply(manifest).await;
        }
        cluster.rolled_out(namespace, "checkout").await;
        cluster.apply(&example(file, namespace)).await;
        cluster.ready("AlertResponse", namespace, response, MINUTE).await;
        Self { cluster, outside, namespace, response }
    }

    /// Requests are counted: whatever comes now has a past to differ from.
    async fn busy(&self) {
        let asked = format!("sum(rate(http_requests_total{{namespace=\"{}\"}}[20s])) > 1", self.namespace);
        eventually("customers are counted", 2 * MINUTE, || async { self.cluster.query(&asked).await }).await;
    }

    async fn break_down(&self, how: &str) {
        for (pod, ip) in self.cluster.pods(self.namespace, "app.kubernetes.io/name=checkout").await {
            let answer = self.cluster.http.post(format!("http://{ip}:8080/break/{how}")).send().await;
            assert!(answer.is_ok_and(|answer| answer.status().is_success()), "{pod}");
        }
    }

    /// The run to its end, and everything that people are told afterwards.
    async fn proved(&self) -> Value {
        let run = self.cluster.closed_run(self.namespace, self.response, 4 * MINUTE).await;
        assert_eq!(run["status"]["verdict"], "Pass", "{:#}", run["status"]);
        let name = text(&run["metadata"]["name"]);
        let told = |run: &Value| {
            let closing = run["status"]["closing"].as_array().cloned().unwrap_or_default();
            closing.iter().all(|delivery| delivery["delivered"] == true)
        };
        let run = self.cluster.until("told", "ResponseRun", self.namespace, &name, MINUTE, told).await;
        self.outside.assert_well_formed();
        run
    }

    fn issues(&self) -> Vec<Value> {
        self.outside.github.with(|github| github.issues.clone())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_release_is_rolled_back_with_an_issue_and_a_card_at_slack() {
    let namespace = "e2e-ready-release";
    let healthy = checkout(namespace, "1", "{name: FAIL_RATIO, value: '0'}", 2);
    let play =
        Play::set(namespace, "bad-release.yaml", "checkout-bad-release", &[healthy, customers(namespace, 20)]).await;
    let _together = play.cluster.together().await;
    play.busy().await;
    play.cluster.apply(&checkout(namespace, "2", "{name: FAIL_RATIO, value: '0.5'}", 2)).await;
    let run = play.proved().await;
    let web = play.cluster.get("Deployment", namespace, "checkout").await;
    assert_eq!(text(&web["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"]), "1");
    let issues = play.issues();
    assert_eq!(issues.len(), 1, "{issues:#?}");
    assert_eq!(issues[0]["title"], "Rolled back checkout: CheckoutErrors");
    let body = text(&issues[0]["body"]);
    assert!(body.contains("- [ ] Write the test") && body.contains("rolled back Deployment/checkout"), "{body}");
    let comments = play.outside.github.with(|github| github.comments.clone());
    assert!(comments[&1].iter().any(|comment| text(&comment["body"]).contains("Pass")), "{comments:?}");
    let cards = play.outside.slack.with(|slack| slack.messages.clone());
    assert_eq!(cards.len(), 1, "{cards:#?}");
    assert!(cards[0].updates >= 1 && cards[0].body.to_string().contains("Pass"), "{cards:#?}");
    assert_eq!(play.outside.pagerduty.with(|pagerduty| pagerduty.opened), 0);
    assert!(text(&run["status"]["steps"][0]["effect"]).contains("ConfigMap"), "{:#}", run["status"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_down_is_restarted_with_an_incident_and_a_checklist() {
    let namespace = "e2e-ready-down";
    let stage = [checkout(namespace, "1", "{name: WORKERS, value: '0'}", 2), customers(namespace, 20)];
    let play = Play::set(namespace, "service-down.yaml", "checkout-down", &stage).await;
    let _together = play.cluster.together().await;
    play.busy().await;
    play.break_down("down").await;
    let run = play.proved().await;
    let name = text(&run["metadata"]["name"]);
    eventually("the incident is resolved", MINUTE, || async {
        let states = play.outside.pagerduty.with(|pagerduty| pagerduty.incidents.clone());
        (states.len() == 1 && states.values().all(|state| *state == "resolved")).then_some(())
    })
    .await;
    assert_eq!(play.outside.pagerduty.with(|pagerduty| pagerduty.opened), 1);
    let issues = play.issues();
    assert_eq!(issues.len(), 1);
    assert!(text(&issues[0]["body"]).contains("- [ ] Say on the status page"), "{:#}", issues[0]);
    let at_rest = |run: &Value| run["status"]["steps"][0]["deliveries"][0]["incident"] != true;
    play.cluster.until("at rest", "ResponseRun", namespace, &name, MINUTE, at_rest).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_slow_under_load_gets_five_replicas_and_an_issue() {
    let namespace = "e2e-ready-slow";
    let stage = [checkout(namespace, "1", "{name: WORKERS, value: '1'}", 1), customers(namespace, 220)];
    let play = Play::set(namespace, "high-latency.yaml", "checkout-slow", &stage).await;
    let _together = play.cluster.together().await;
    let run = play.proved().await;
    let web = play.cluster.get("Deployment", namespace, "checkout").await;
    assert_eq!(web["spec"]["replicas"], 5);
    assert_eq!(run["status"]["steps"][0]["undo"]["state"], "Due", "{:#}", run["status"]);
    assert_eq!(play.issues().len(), 1);
    // Its customers are many.
    play.cluster.delete("Namespace", "", namespace).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_of_connections_that_is_used_up_is_diagnosed_and_restarted() {
    let namespace = "e2e-ready-pool";
    let stage = [checkout(namespace, "1", "{name: WORKERS, value: '0'}", 2), customers(namespace, 5)];
    let play = Play::set(namespace, "database-connections.yaml", "checkout-connections", &stage).await;
    let _together = play.cluster.together().await;
    play.busy().await;
    play.break_down("leak").await;
    let run = play.proved().await;
    let map = text(&run["status"]["steps"][0]["reference"]);
    let kept = play.cluster.get("ConfigMap", namespace, &map).await;
    assert!(text(&kept["data"]["promql.txt"]).contains("97"), "{:#}", kept["data"]["promql.txt"]);
    assert_eq!(play.outside.slack.with(|slack| slack.messages.len()), 1);
}
