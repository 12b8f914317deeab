//! What a ChangeFreeze refuses, what it lets pass, and how it ends: by the API server itself, with the shipped policy.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::harness::*;
use crate::manifests::*;

/// May edit the namespace, and nothing else.
const DEVELOPER: &str = "e2e-developer";
/// May edit the namespace and bypass its freezes.
const ON_CALL: &str = "e2e-on-call";
const BREAK_GLASS: &str = "evenkeel.dev/break-glass";
const SECONDS: Duration = Duration::from_secs(5);

/// A namespace with a developer, somebody on call, and Deployments `web` and `other`.
async fn arrange(cluster: &Cluster, namespace: &str) {
    cluster.fresh_namespace(namespace).await;
    let bind = |name: &str, role: &str, users: &[&str]| {
        let users: Vec<_> = users.iter().map(|user| format!("{{kind: User, name: {user}}}")).collect();
        format!(
            "
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: {name}, namespace: {namespace}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {role}}}
subjects: [{}]
",
            users.join(", ")
        )
    };
    cluster.apply(&bind("developers", "edit", &[DEVELOPER, ON_CALL])).await;
    cluster.apply(&bind("on-call", "evenkeel-freeze-bypass", &[ON_CALL])).await;
    for name in ["web", "other"] {
        cluster.apply(&deployment(namespace, name, "1", 1)).await;
    }
    cluster.rolled_out(namespace, "web").await;
}

/// Writes a freeze `budget` as a spent budget writes it, and waits until it is in force.
async fn freeze(cluster: &Cluster, namespace: &str, more: &str) {
    cluster
        .apply(&format!(
            "
apiVersion: evenkeel.dev/v1alpha1
kind: ChangeFreeze
metadata: {{name: budget, namespace: {namespace}}}
spec:
  reason: the error budget of SLO checkout-availability is spent (-3.1 % left)
  slo: checkout-availability
  {more}
"
        ))
        .await;
    cluster.until("in force", "ChangeFreeze", namespace, "budget", SECONDS, |o| o["status"]["active"] == true).await;
    // The API server hears of the status a moment after whoever wrote it; after its start it does not know the kind for half
    // a minute.
    let developer = cluster.acting_as(DEVELOPER).await;
    eventually("the freeze bites", Duration::from_secs(60), || async {
        patch(&developer, namespace, "web", release("probe"), true).await.err()
    })
    .await;
}

const ONLY_WEB: &str = "workloads: [{kind: Deployment, name: web}]";

fn release(release: &str) -> Value {
    json!({"spec": {"template": {"spec": {"containers": [{"name": "shop", "env": [{"name": "RELEASE", "value": release}]}]}}}})
}

/// A release with a reason to break the glass.
fn despite(reason: &str, to: &str) -> Value {
    let mut change = release(to);
    change["metadata"] = json!({"annotations": {BREAK_GLASS: reason}});
    change
}

/// Patches a Deployment as this user; an error is the words of the API server's refusal.
async fn patch(user: &Cluster, namespace: &str, name: &str, change: Value, dry_run: bool) -> Result<(), String> {
    let parameters = PatchParams { dry_run, ..PatchParams::default() };
    let done = user.api("Deployment", namespace).await.patch(name, &parameters, &Patch::Strategic(&change)).await;
    refusal(done)
}

async fn create(user: &Cluster, yaml: &str) -> Result<(), String> {
    let object = documents(yaml).remove(0);
    let (kind, namespace) = (text(&object["kind"]), text(&object["metadata"]["namespace"]));
    let api: Api<DynamicObject> = user.api(&kind, &namespace).await;
    let object = serde_json::from_value(object).expect("an object");
    refusal(api.create(&PostParams::default(), &object).await)
}

fn refusal(done: Result<DynamicObject, kube::Error>) -> Result<(), String> {
    match done {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 403 => Err(status.message.clone()),
        Err(other) => panic!("neither done nor refused: {other}"),
    }
}

fn assert_says(refused: Result<(), String>, words: &[&str]) {
    let said = refused.expect_err("a refusal");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_developer_is_refused_with_slo_budget_and_way_out_and_all_else_passes() {
    let cluster = Cluster::bare().await;
    let _together = cluster.together().await;
    let namespace = "e2e-freeze-developer";
    arrange(&cluster, namespace).await;
    freeze(&cluster, namespace, ONLY_WEB).await;
    let developer = cluster.acting_as(DEVELOPER).await;
    let refused = patch(&developer, namespace, "web", release("2"), false).await;
    let named = format!("Deployment {namespace}/web");
    let (slo, way_out) = ("SLO checkout-availability is spent (-3.1 % left)", "evenkeel.dev/break-glass: <reason>");
    assert_says(refused, &[&named, "ChangeFreeze budget", slo, "recovers", way_out, "bypass"]);

    // Delete and create does not walk around it.
    cluster.delete("Deployment", namespace, "web").await;
    eventually("web is gone", Duration::from_secs(30), || async {
        cluster.api("Deployment", namespace).await.get_opt("web").await.ok()?.is_none().then_some(())
    })
    .await;
    let refused = create(&developer, &deployment(namespace, "web", "2", 1)).await;
    assert_says(refused, &[&named, "may not be created"]);
    let on_call = cluster.acting_as(ON_CALL).await;
    let mut again = documents(&deployment(namespace, "web", "1", 1)).remove(0);
    again["metadata"]["annotations"] = json!({BREAK_GLASS: "it was deleted by mistake"});
    create(&on_call, &again.to_string()).await.expect("the break-glass creates too");

    for (what, change) in [
        ("scaling", json!({"spec": {"replicas": 2}})),
        ("another field", json!({"spec": {"minReadySeconds": 1}})),
        ("metadata", json!({"metadata": {"labels": {"team": "shop"}}})),
        (
            "a restart",
            json!({"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z"}}}}}),
        ),
    ] {
        patch(&developer, namespace, "web", change, false).await.unwrap_or_else(|said| panic!("{what}: {said}"));
    }
    let annotation = json!({"spec": {"template": {"metadata": {"annotations": {"prometheus.io/scrape": "false"}}}}});
    assert_says(patch(&developer, namespace, "web", annotation, false).await, &["ChangeFreeze budget"]);
    // Nor does a template pass that CEL could not afford to compare one by one.
    let many: serde_json::Map<_, _> = (0..20_000).map(|n| (format!("a{n}"), json!("x"))).collect();
    let grown = json!({"spec": {"template": {"metadata": {"annotations": many}}}});
    assert_says(patch(&developer, namespace, "web", grown, true).await, &["ChangeFreeze budget"]);
    patch(&developer, namespace, "other", release("2"), false).await.expect("an untargeted workload passes");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_break_glass_takes_a_new_reason_and_the_verb_and_is_audited() {
    let cluster = Cluster::bare().await;
    let _together = cluster.together().await;
    let namespace = "e2e-freeze-glass";
    arrange(&cluster, namespace).await;
    freeze(&cluster, namespace, ONLY_WEB).await;
    let (developer, on_call) = (cluster.acting_as(DEVELOPER).await, cluster.acting_as(ON_CALL).await);

    let without = patch(&developer, namespace, "web", despite("I want to", "2"), false).await;
    assert_says(without, &["User e2e-developer may not break the glass", "evenkeel-freeze-bypass"]);
    let blank = patch(&on_call, namespace, "web", despite("  ", "2"), false).await;
    assert_says(blank, &["is blank"]);
    let reason = "the fix of incident 7";
    patch(&on_call, namespace, "web", despite(reason, "2"), false).await.expect("with the verb it passes");
    let stale = "is left from an earlier change: give a new reason";
    assert_says(patch(&on_call, namespace, "web", release("3"), false).await, &[stale]);
    assert_says(patch(&on_call, namespace, "web", despite(reason, "3"), false).await, &[stale]);
    // Not even an administrator passes by what was said before.
    assert_says(patch(&cluster, namespace, "web", release("3"), false).await, &[stale]);
    patch(&on_call, namespace, "web", despite("the rest of that fix", "3"), false).await.expect("a new reason");

    let path = std::env::var("EVENKEEL_AUDIT_LOG").expect("EVENKEEL_AUDIT_LOG names the audit log (make e2e sets it)");
    let audited = |user: &'static str, code: u16, said: &'static str| {
        let path = path.clone();
        async move {
            let what = format!("an audit event of {user} with {code} and {said:?}");
            eventually(&what, SECONDS, || async {
                let log = std::fs::read_to_string(&path).ok()?;
                let events = log.lines().filter(|line| line.contains("change-freeze/break-glass"));
                let mut events = events.filter_map(|line| serde_json::from_str::<Value>(line).ok());
                events.find(|event| {
                    let annotation = text(&event["annotations"]["evenkeel-change-freeze/break-glass"]);
                    event["impersonatedUser"]["username"] == user
                        && event["responseStatus"]["code"] == code
                        && event["objectRef"]["namespace"] == namespace
                        && annotation == format!("Deployment {namespace}/web despite ChangeFreeze budget: {said}")
                })
            })
            .await;
        }
    };
    audited(ON_CALL, 200, reason).await;
    audited(ON_CALL, 200, "the rest of that fix").await;
    audited(DEVELOPER, 403, "I want to").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_of_the_operator_passes_and_nobody_can_pretend_to_be_one() {
    let cluster = Cluster::bare().await;
    let _together = cluster.together().await;
    let namespace = "e2e-freeze-rollback";
    arrange(&cluster, namespace).await;
    cluster.apply(&responder(namespace)).await;
    cluster.apply(&deployment(namespace, "web", "2", 1)).await;
    cluster.rolled_out(namespace, "web").await;
    cluster
        .apply(&format!(
            "
apiVersion: evenkeel.dev/v1alpha1
kind: AlertResponse
metadata: {{name: undo, namespace: {namespace}}}
spec:
  mode: Act
  match: {{alert: BadRelease, matchers: ['namespace=\"{namespace}\"']}}
  target: {{kind: Deployment, name: web}}
  serviceAccountName: responder
  steps: [{{rollback: {{to: lastHealthy, onlyIfChangedWithin: 1h}}}}, {{restart: {{}}}}]
  verify: {{within: 60s, settle: 1s}}
"
        ))
        .await;
    cluster.ready("AlertResponse", namespace, "undo", Duration::from_secs(30)).await;
    freeze(&cluster, namespace, "workloads: [{kind: Deployment, name: '*'}]").await;

    // `edit` lets a developer act as the ServiceAccount, which is not enough.
    let account = cluster.acting_as(&format!("system:serviceaccount:{namespace}:responder")).await;
    assert_says(patch(&account, namespace, "web", release("3"), false).await, &["ChangeFreeze budget"]);

    let (_, ip) = cluster.replicas().await.remove(0);
    let alert = |status: &str| payload(status, "BadRelease", json!({"namespace": namespace, "severity": "critical"}));
    assert_eq!(cluster.post_alert(&ip, &alert("firing")).await, Some(200));
    eventually("the run acted, or closed", Duration::from_secs(60), || async {
        let runs = cluster.runs(namespace, "undo").await;
        runs.into_iter().find(|run| is_closed(run) || run["status"]["phase"] == "Verifying")
    })
    .await;
    assert_eq!(cluster.post_alert(&ip, &alert("resolved")).await, Some(200));
    let run = cluster.closed_run(namespace, "undo", Duration::from_secs(90)).await;
    assert_eq!(run["status"]["verdict"], "Pass", "{:#}", run["status"]);
    let web = cluster.get("Deployment", namespace, "web").await;
    assert_eq!(web["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"], "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_by_deletion_within_five_seconds() {
    let cluster = Cluster::bare().await;
    let _together = cluster.together().await;
    let namespace = "e2e-freeze-thaw";
    arrange(&cluster, namespace).await;
    freeze(&cluster, namespace, "workloads: [{kind: Deployment, name: '*'}]").await;
    let developer = cluster.acting_as(DEVELOPER).await;
    assert_says(patch(&developer, namespace, "other", release("2"), false).await, &["ChangeFreeze budget"]);
    cluster.delete("ChangeFreeze", namespace, "budget").await;
    thawed(&developer, namespace, Instant::now()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planned_freeze_begins_and_ends_by_itself_and_stays_as_a_record() {
    let cluster = Cluster::bare().await;
    let _together = cluster.together().await;
    let namespace = "e2e-freeze-planned";
    arrange(&cluster, namespace).await;
    let developer = cluster.acting_as(DEVELOPER).await;
    let whole = |seconds: i64| Timestamp::from_second(Timestamp::now().as_second() + seconds).expect("a time");
    let (from, until) = (whole(4), whole(12));
    cluster
        .apply(&format!(
            "
apiVersion: evenkeel.dev/v1alpha1
kind: ChangeFreeze
metadata: {{name: weekend, namespace: {namespace}}}
spec: {{reason: a quiet weekend, from: '{from}', until: '{until}', workloads: [{{kind: Deployment, name: '*'}}]}}
"
        ))
        .await;
    cluster.until("planned", "ChangeFreeze", namespace, "weekend", SECONDS, |o| o["status"]["active"] == false).await;
    patch(&developer, namespace, "web", release("2"), false).await.expect("before it begins");
    cluster
        .until("in force", "ChangeFreeze", namespace, "weekend", 2 * SECONDS, |o| o["status"]["active"] == true)
        .await;
    let refused = eventually("the freeze bites", SECONDS, || async {
        patch(&developer, namespace, "web", release("3"), true).await.err()
    })
    .await;
    assert!(refused.contains(&format!("until {until}: a quiet weekend")), "{refused}");
    let rest = until.duration_since(Timestamp::now());
    tokio::time::sleep(Duration::try_from(rest).unwrap_or_default()).await;
    thawed(&developer, namespace, Instant::now()).await;
    let over = cluster.get("ChangeFreeze", namespace, "weekend").await;
    assert_eq!((&over["status"]["active"], &condition_of(&over, "Ready")["reason"]), (&json!(false), &json!("Over")));
    let events = cluster.list("Event", namespace, "").await;
    for reason in ["Planned", "InForce", "Over"] {
        let told = events.iter().any(|e| e["regarding"]["name"] == "weekend" && e["reason"] == reason);
        assert!(told, "an Event {reason}: {events:#?}");
    }
}

async fn thawed(developer: &Cluster, namespace: &str, since: Instant) {
    eventually("the thaw", SECONDS, || async { patch(developer, namespace, "web", release("9"), false).await.ok() })
        .await;
    eprintln!("thawed after {:?}", since.elapsed());
}
