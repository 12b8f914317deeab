//! Whole runs against an API server that keeps one run, its AlertResponse and its Deployment, and that can be told to
//! fail a request before or after it took effect: what a crash at that moment leaves behind.

use axum::http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

use super::*;
use crate::api::response_run::{StepState, Verdict};
use crate::context::Settings;

const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/shop/deployments/web";
const STATUS: &str = "/apis/evenkeel.dev/v1alpha1/namespaces/shop/responseruns/run/status";
const REFUSAL: &str =
    r#"deployments.apps "web" is forbidden: User "system:serviceaccount:shop:responder" cannot patch"#;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// Answers 503 and does nothing.
    Before,
    /// Does it, and answers 503.
    After,
    Forbidden,
}

struct Api {
    run: Value,
    deployment: Value,
    replica_sets: Value,
    /// The next PATCH of this path fails, after so many that do not.
    fault: Option<(&'static str, usize, Fault)>,
    /// Who patched the Deployment.
    patched_by: Vec<String>,
    events: Vec<String>,
    requests: usize,
}

type Shelf = Arc<std::sync::Mutex<Api>>;

fn refusal(code: u16, reason: &str, message: &str) -> (u16, Value) {
    (
        code,
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message}),
    )
}

fn bump(object: &mut Value) {
    let version: u64 = object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    object["metadata"]["resourceVersion"] = (version + 1).to_string().into();
}

impl Api {
    fn patch(&mut self, path: &str, user: &str, body: &Value) -> (u16, Value) {
        let fault = match &mut self.fault {
            Some((of, 0, fault)) if *of == path => Some(*fault),
            Some((of, left, _)) if *of == path => {
                *left -= 1;
                None
            }
            _ => None,
        };
        if fault.is_some() {
            self.fault = None;
        }
        match fault {
            Some(Fault::Before) => return refusal(503, "ServiceUnavailable", "away"),
            Some(Fault::Forbidden) => return refusal(403, "Forbidden", REFUSAL),
            Some(Fault::After) | None => {}
        }
        let answer = if path == STATUS {
            assert_eq!(body["metadata"]["resourceVersion"], self.run["metadata"]["resourceVersion"]);
            self.run["status"] = body["status"].clone();
            bump(&mut self.run);
            self.run.clone()
        } else {
            for operation in body.as_array().unwrap() {
                let (map, key) = operation["path"].as_str().unwrap().rsplit_once('/').unwrap();
                let map = self.deployment.pointer_mut(map).unwrap();
                map[key.replace("~1", "/").replace("~0", "~")] = operation["value"].clone();
            }
            bump(&mut self.deployment);
            self.patched_by.push(user.to_owned());
            self.deployment.clone()
        };
        if fault == Some(Fault::After) { refusal(503, "ServiceUnavailable", "away") } else { (200, answer) }
    }

    fn answer(&mut self, method: &Method, path: &str, user: &str, body: &Value) -> (u16, Value) {
        self.requests += 1;
        let object = |kind: &str| json!({"kind": kind, "metadata": {"name": "x", "uid": "x"}});
        match (method, path) {
            (&Method::PATCH, DEPLOYMENT | STATUS) => self.patch(path, user, body),
            (&Method::POST, "/apis/events.k8s.io/v1/namespaces/shop/events") => {
                self.events.push(format!("{} {}", body["regarding"]["kind"], body["reason"]));
                (201, body.clone())
            }
            (_, "/apis/evenkeel.dev/v1alpha1/namespaces/shop/responseruns/run") => (200, self.run.clone()),
            (_, "/apis/evenkeel.dev/v1alpha1/namespaces/shop/responseruns") => {
                (200, json!({"metadata": {}, "items": [self.run]}))
            }
            (_, "/apis/evenkeel.dev/v1alpha1/namespaces/shop/alertresponses/fix") => (200, response()),
            (_, "/api/v1/namespaces/shop" | "/api/v1/namespaces/evenkeel-system") => {
                (200, object("PartialObjectMetadata"))
            }
            (_, "/api/v1/namespaces/shop/serviceaccounts/responder") => (200, object("PartialObjectMetadata")),
            (_, DEPLOYMENT) => (200, self.deployment.clone()),
            (_, "/apis/apps/v1/namespaces/shop/replicasets") => {
                (200, json!({"metadata": {}, "items": self.replica_sets}))
            }
            _ => panic!("{method} {path}"),
        }
    }
}

fn response() -> Value {
    json!({
        "apiVersion": "evenkeel.dev/v1alpha1", "kind": "AlertResponse",
        "metadata": {"name": "fix", "namespace": "shop", "uid": "fix-uid", "generation": 1},
        "spec": {
            "mode": "Act", "match": {"alert": "BadRelease"}, "target": {"kind": "Deployment", "name": "web"},
            "serviceAccountName": "responder", "steps": [{"rollback": {"to": "lastHealthy"}}],
            "verify": {"within": "10m", "settle": "0s"},
        },
    })
}

fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": image}]}})
}

fn replica_set(number: u32, minute: u32) -> Value {
    json!({
        "metadata": {
            "name": format!("web-{number}"), "namespace": "shop", "creationTimestamp": format!("2026-01-01T00:{minute:02}:00Z"),
            "annotations": {"deployment.kubernetes.io/revision": number.to_string()},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "web-uid", "controller": true}],
        },
        "spec": {"selector": {}, "template": template(&format!("web:{number}"))},
    })
}

/// A run that is recorded and no more; release 2 of its target began before the alert, release 1 long before.
fn shelf() -> Shelf {
    let spec = &response()["spec"];
    let run = json!({
        "apiVersion": "evenkeel.dev/v1alpha1", "kind": "ResponseRun",
        "metadata": {
            "name": "run", "namespace": "shop", "uid": "run-uid", "resourceVersion": "1", "generation": 1,
            "creationTimestamp": "2026-01-01T01:00:01Z",
            "ownerReferences": [{"apiVersion": "evenkeel.dev/v1alpha1", "kind": "AlertResponse", "name": "fix", "uid": "fix-uid"}],
        },
        "spec": {
            "responseRef": {"name": "fix", "uid": "fix-uid", "generation": 1},
            "alert": {
                "name": "BadRelease", "fingerprint": "00000000deadbeef", "startsAt": "2026-01-01T01:00:00Z",
                "receivedAt": "2026-01-01T01:00:01.000000Z", "source": "webhook",
            },
            "target": {"kind": "Deployment", "name": "web"}, "mode": "Act", "serviceAccountName": "responder",
            "steps": spec["steps"], "verify": spec["verify"], "attempt": 1,
        },
    });
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop", "uid": "web-uid", "resourceVersion": "7", "generation": 2, "annotations": {}},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": template("web:2")},
        "status": {"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1},
    });
    let replica_sets = json!([replica_set(1, 0), replica_set(2, 59)]);
    Arc::new(std::sync::Mutex::new(Api {
        run,
        deployment,
        replica_sets,
        fault: None,
        patched_by: vec![],
        events: vec![],
        requests: 0,
    }))
}

fn shared(shelf: &Shelf) -> Shared {
    let shelf = shelf.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let shelf = shelf.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect_bytes().await.unwrap();
            let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
            let user = head.headers.get("impersonate-user").map(|u| u.to_str().unwrap()).unwrap_or("operator");
            let (code, answer) = shelf.lock().unwrap().answer(&head.method, head.uri.path(), user, &body);
            let answer = Body::from(serde_json::to_vec(&answer).unwrap());
            Ok::<_, std::convert::Infallible>(Response::builder().status(code).body(answer).unwrap())
        }
    });
    let context = crate::testing::context(Client::new(service, "default"));
    let (stores, _never_filled) = crate::response::stores::watch(&context);
    let (adjustments, _never_filled) = crate::slo::adjusted::Adjustments::watch(&context);
    let (caches, _never_filled) = crate::slo::caches::Caches::watch(&context, adjustments);
    let standings = crate::slo::standing::Standings::default().reader();
    Shared {
        alertmanagers: Alertmanagers::new(context.clone()),
        context,
        stores,
        nearby: Nearby { caches, standings },
        workloads: Workloads::default(),
        ledger: Default::default(),
        open: Default::default(),
        turns: Turns::new(1),
        together: Default::default(),
        told: Default::default(),
    }
}

fn run_of(shelf: &Shelf) -> ResponseRun {
    serde_json::from_value(shelf.lock().unwrap().run.clone()).unwrap()
}

/// One process: works until it waits or fails.
async fn drive(shelf: &Shelf) -> Result<Action, ApiError> {
    shared(shelf).drive(&run_of(shelf)).await
}

fn resolve(shelf: &Shelf) {
    shelf.lock().unwrap().run["metadata"]["annotations"] = json!({"evenkeel.dev/alert-state": "Resolved"});
}

fn image(shelf: &Shelf) -> Value {
    shelf.lock().unwrap().deployment["spec"]["template"]["spec"]["containers"][0]["image"].clone()
}

#[tokio::test]
async fn an_alert_ends_in_a_proved_rollback_as_the_service_account() {
    let shelf = shelf();
    drive(&shelf).await.unwrap();
    assert_eq!(run_of(&shelf).phase(), Phase::Verifying);
    assert_eq!(image(&shelf), "web:1");
    resolve(&shelf);
    drive(&shelf).await.unwrap();
    let run = run_of(&shelf);
    assert_eq!((run.phase(), run.status.as_ref().unwrap().verdict), (Phase::Succeeded, Some(Verdict::Pass)));
    let effect = run.status.unwrap().steps[0].effect.clone().unwrap();
    assert_eq!(effect, "rolled back Deployment/web from revision 2 to 1 as shop/responder");
    let api = shelf.lock().unwrap();
    assert_eq!(api.patched_by, ["system:serviceaccount:shop:responder"]);
    let events = [r#""ResponseRun" "StepDone""#, r#""Deployment" "StepDone""#, r#""ResponseRun" "Succeeded""#];
    assert_eq!(api.events, events);
}

#[tokio::test]
async fn a_refusal_of_the_api_server_ends_the_run_in_its_words_and_touches_nothing() {
    let shelf = shelf();
    shelf.lock().unwrap().fault = Some((DEPLOYMENT, 0, Fault::Forbidden));
    drive(&shelf).await.unwrap();
    let run = run_of(&shelf);
    assert_eq!((run.phase(), run.status.as_ref().unwrap().verdict), (Phase::Failed, Some(Verdict::Fail)));
    assert_eq!(run.status.as_ref().unwrap().steps[0].message, REFUSAL);
    assert!(!run.acted());
    assert_eq!(image(&shelf), "web:2");
}

#[tokio::test]
async fn wherever_a_process_ends_the_next_one_makes_it_one_rollback() {
    for fault in [Fault::Before, Fault::After] {
        // The writes in their order: Running with the intent, the act, Verifying with the effect.
        for (path, number) in [(STATUS, 0), (DEPLOYMENT, 0), (STATUS, 1)] {
            let shelf = shelf();
            shelf.lock().unwrap().fault = Some((path, number, fault));
            drive(&shelf).await.expect_err("the fault ends the first process");
            drive(&shelf).await.unwrap();
            let run = run_of(&shelf);
            let step = &run.status.as_ref().unwrap().steps[0];
            assert_eq!(run.phase(), Phase::Verifying, "{path} {number} {fault:?}");
            assert_eq!(step.state, StepState::Done);
            assert_eq!(image(&shelf), "web:1");
            assert_eq!(shelf.lock().unwrap().patched_by.len(), 1, "{path} {number} {fault:?}");
        }
    }
}

#[tokio::test]
async fn without_news_of_the_alert_a_repair_stays_unproved() {
    let shelf = shelf();
    drive(&shelf).await.unwrap();
    shelf.lock().unwrap().run["status"]["verification"]["deadline"] = json!("2026-01-01T01:00:00Z");
    drive(&shelf).await.unwrap();
    let run = run_of(&shelf);
    assert_eq!(run.status.unwrap().verdict, Some(Verdict::Inconclusive));
}

#[tokio::test]
async fn a_run_in_a_protected_namespace_is_skipped() {
    let shelf = shelf();
    let mut shared = shared(&shelf);
    let context = Arc::get_mut(&mut shared.context);
    assert!(context.is_none(), "shared with the Alertmanagers");
    let settings = Settings { protected_namespaces: vec!["shop".into()], ..(*shared.context.settings).clone() };
    let context = Context { settings: Arc::new(settings), ..(*shared.context).clone() };
    shared.context = Arc::new(context);
    shared.drive(&run_of(&shelf)).await.unwrap();
    let run = run_of(&shelf);
    assert_eq!(run.phase(), Phase::Skipped);
    assert!(run.status.unwrap().message.contains("protected"));
}

#[tokio::test]
async fn the_last_place_before_the_storm_brake_is_taken_once_though_the_cache_is_behind() {
    let (mine, shelf) = (shelf(), shelf());
    let mut shared = shared(&shelf);
    let storm = crate::context::StormLimits { runs: 1, ..Default::default() };
    let settings = Settings { storm, ..(*shared.context.settings).clone() };
    shared.context = Arc::new(Context { settings: Arc::new(settings), ..(*shared.context).clone() });
    // Another run, which was let begin a moment ago, and of which the cache has nothing.
    let mut other = run_of(&mine);
    (other.metadata.uid, other.spec.target.name) = (Some("other-uid".into()), "db".into());
    other.metadata.namespace = Some("bank".into());
    let started_at = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::now()));
    let begun = ResponseRunStatus { phase: Phase::Running, started_at, ..ResponseRunStatus::default() };
    shared.ledger().note(&other, &begun);
    let pending = run_of(&shelf);
    shared.drive(&pending).await.unwrap();
    let run = run_of(&shelf);
    assert_eq!((run.phase(), image(&shelf)), (Phase::Skipped, "web:2".into()));
    assert_eq!(shelf.lock().unwrap().events, [r#""AlertResponse" "StormBrake""#]);
    assert_eq!(shelf.lock().unwrap().requests, 2, "its end and the Event: nobody else was asked");
    let message = run.status.unwrap().message;
    assert!(
        message.starts_with("storm brake: 1 runs of the cluster began to act within 10m, the limit is 1"),
        "{message}"
    );
    // The next one is its own status and no Event more.
    {
        let mut api = shelf.lock().unwrap();
        (api.run["status"], api.run["metadata"]["resourceVersion"]) = (Value::Null, "8".into());
    }
    shared.ledger().forget(&pending);
    shared.drive(&run_of(&shelf)).await.unwrap();
    assert_eq!((run_of(&shelf).phase(), shelf.lock().unwrap().requests), (Phase::Skipped, 3));
}

#[tokio::test]
async fn an_alert_that_resolves_before_anything_was_done_ends_its_run_as_such() {
    let shelf = shelf();
    resolve(&shelf);
    drive(&shelf).await.unwrap();
    let run = run_of(&shelf);
    assert_eq!((run.phase(), image(&shelf)), (Phase::Skipped, "web:2".into()));
    assert_eq!(run.status.unwrap().message, "alert BadRelease has resolved");
}
