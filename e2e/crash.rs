//! The operator is killed before and after the requests of a run of five steps, one run for each: every run ends, and
//! nothing is done twice. `EVENKEEL_CRASH=all` takes every request instead of those that have an effect, and prints the
//! table of docs/reliability.md.

use std::time::Duration;

use serde_json::{Value, json};

use crate::gate::{Gate, When};
use crate::harness::*;
use crate::manifests::*;
use crate::outside::Outside;

const NAMESPACE: &str = "e2e-crash";
const PORTS: (u16, u16) = (18080, 18081);

/// What was done so far, as those count it to whom it was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Done {
    patches: i64,
    issues: usize,
    comments: usize,
    incidents: u32,
    cards: usize,
    diagnoses: usize,
}

/// The operator of the cluster, away until this is dropped.
struct Away;

impl Away {
    async fn from(cluster: &Cluster) -> Self {
        cluster.merge("Deployment", OPERATOR, "evenkeel", json!({"spec": {"replicas": 0}})).await;
        eventually("the operator of the cluster is away", Duration::from_secs(60), || async {
            cluster.list("Pod", OPERATOR, "app.kubernetes.io/name=evenkeel").await.is_empty().then_some(())
        })
        .await;
        Self
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        let scale = ["-n", OPERATOR, "scale", "deployment/evenkeel", "--replicas=2"];
        let scaled = std::process::Command::new("kubectl").args(scale).status();
        assert!(scaled.is_ok_and(|status| status.success()), "kubectl {scale:?}");
    }
}

struct Scene {
    cluster: Cluster,
    outside: Outside,
    gate: Gate,
    api_server: std::net::SocketAddr,
    credentials: (String, String),
}

impl Scene {
    async fn start(&self) {
        self.gate.start(self.api_server, OPERATOR, PORTS).await;
    }

    /// As Alertmanager does it: again until it is taken.
    async fn post(&self, status: &str, response: &str) -> bool {
        let payload = payload(status, response, json!({"namespace": NAMESPACE}));
        let (user, password) = &self.credentials;
        let url = format!("http://127.0.0.1:{}/webhook/alert", PORTS.0);
        let sent = self.cluster.http.post(url).basic_auth(user, Some(password)).json(&payload).send().await;
        sent.is_ok_and(|answer| answer.status().is_success())
    }

    async fn done(&self) -> Done {
        let web = self.cluster.get("Deployment", NAMESPACE, "web").await;
        let comments = |github: &mut crate::fakes::github::Github| {
            (github.issues.len(), github.comments.values().map(Vec::len).sum())
        };
        let (issues, comments) = self.outside.github.with(comments);
        Done {
            patches: web["metadata"]["generation"].as_i64().expect("a generation"),
            issues,
            comments,
            incidents: self.outside.pagerduty.with(|pagerduty| pagerduty.opened),
            cards: self.outside.slack.with(|slack| slack.messages.len()),
            diagnoses: self.cluster.list("ConfigMap", NAMESPACE, "app.kubernetes.io/managed-by=evenkeel").await.len(),
        }
    }

    /// One alert from its first delivery to a run with nothing left to do, with one crash on the way.
    async fn play(&self, number: usize, crash: Option<(usize, When)>) -> (Value, Done, Done) {
        let (cluster, name) = (&self.cluster, format!("crash-{number}"));
        cluster.apply(&deployment(NAMESPACE, "web", &format!("bad-{number}"), 1)).await;
        cluster.rolled_out(NAMESPACE, "web").await;
        let spec = "
  target: {kind: Deployment, name: web}
  steps:
  - diagnose: {logs: {lines: 5}}
  - rollback: {to: lastHealthy}
  - githubIssue: {channel: repo}
  - notify: {channels: [team-slack]}
  - notify: {channels: [oncall]}
  guardrails: {cooldown: 0s}
  verify: {within: 60s, settle: 1s}";
        cluster.apply(&response(NAMESPACE, &name, &name, spec)).await;
        cluster.ready("AlertResponse", NAMESPACE, &name, Duration::from_secs(60)).await;
        let before = self.done().await;
        self.gate.reset(NAMESPACE, crash);
        let (mut fired, mut resolved) = (false, false);
        let started = std::time::Instant::now();
        let run = loop {
            assert!(
                started.elapsed() < Duration::from_secs(120),
                "{crash:?}: no end: {:#?}",
                cluster.runs(NAMESPACE, &name).await
            );
            if self.gate.crashed() && !self.gate.is_running() {
                self.start().await;
            }
            fired = fired || self.post("firing", &name).await;
            let runs = cluster.runs(NAMESPACE, &name).await;
            assert!(runs.len() <= 1, "{crash:?}: {runs:#?}");
            if runs.first().is_some_and(|run| run["status"]["phase"] == "Verifying" || is_closed(run)) {
                resolved = resolved || self.post("resolved", &name).await;
            }
            match runs.into_iter().next() {
                Some(run) if resolved && is_over(&run) => break run,
                _ => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        };
        let after = self.done().await;
        cluster.delete("AlertResponse", NAMESPACE, &name).await;
        (run, before, after)
    }
}

/// Closed, with everybody told and every incident closed.
fn is_over(run: &Value) -> bool {
    let steps = run["status"]["steps"].as_array().cloned().unwrap_or_default();
    let incident =
        steps.iter().filter_map(|step| step["deliveries"].as_array()).flatten().any(|d| d["incident"] == true);
    let closing = run["status"]["closing"].as_array().cloned().unwrap_or_default();
    is_closed(run) && !incident && !closing.is_empty() && closing.iter().all(|d| d["delivered"] == true)
}

/// Each thing once; a card at Slack, which cannot be looked for, at most twice.
fn verdict(run: &Value, before: Done, after: Done) -> Result<String, String> {
    let new = Done {
        patches: after.patches - before.patches,
        issues: after.issues - before.issues,
        comments: after.comments - before.comments,
        incidents: after.incidents - before.incidents,
        cards: after.cards - before.cards,
        // Those of earlier runs go away with them.
        diagnoses: usize::from(after.diagnoses > 0),
    };
    let once = Done { patches: 1, issues: 1, comments: 1, incidents: 1, cards: new.cards.clamp(1, 2), diagnoses: 1 };
    match run["status"]["verdict"] == "Pass" && new == once {
        true => Ok(format!("{} | 1 | 1 | 1 | {}", text(&run["status"]["verdict"]), new.cards)),
        false => Err(format!("{new:?}, {:#}", run["status"])),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wherever_the_operator_is_killed_every_run_ends_and_nothing_is_done_twice() {
    let cluster = Cluster::connect().await;
    let _alone = cluster.alone().await;
    cluster.operator_settled().await;
    cluster.fresh_namespace(NAMESPACE).await;
    cluster.apply(&responder(NAMESPACE)).await;
    cluster.apply(&deployment(NAMESPACE, "web", "good", 1)).await;
    cluster.rolled_out(NAMESPACE, "web").await;
    let credentials = cluster.webhook_credentials().await;
    let _away = Away::from(&cluster).await;
    let (gate, outside) = (Gate::default(), Outside::listen([127, 0, 0, 1].into()).await);
    let addresses = [
        gate.to("Slack", outside.slack.address).await,
        gate.to("PagerDuty", outside.pagerduty.address).await,
        gate.to("GitHub", outside.github.address).await,
    ];
    cluster.apply(&outside.channels_at(NAMESPACE, addresses)).await;
    let api_server = gate.to_api_server(cluster.client.clone()).await;
    let scene = Scene { cluster, outside, gate, api_server, credentials };
    scene.start().await;

    let (run, before, after) = scene.play(0, None).await;
    verdict(&run, before, after).expect("without a crash");
    let requests = scene.gate.passed();
    let all = std::env::var("EVENKEEL_CRASH").is_ok_and(|what| what == "all");
    if all {
        println!(
            "| killed | at request | | verdict | rollbacks | issues | incidents | cards at Slack |\n|---|---|---|---|---|---|---|---|"
        );
    }
    let (mut number, mut wrong) = (0, vec![]);
    for (at, request) in requests.iter().enumerate() {
        // What only writes down is many; it is taken in the whole table.
        if !all && request.ends_with("responseruns status") {
            continue;
        }
        for when in [When::Before, When::After] {
            number += 1;
            let (run, before, after) = scene.play(number, Some((at, when))).await;
            if !scene.gate.crashed() {
                continue;
            }
            match verdict(&run, before, after) {
                Ok(row) if all => println!("| {when:?} | {} | {request} | {row} |", at + 1),
                Ok(_) => {}
                Err(why) => wrong.push(format!("{when:?} {request}: {why}")),
            }
        }
    }
    scene.gate.stop().await;
    scene.outside.assert_well_formed();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
