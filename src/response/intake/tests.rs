//! Against an API server whose watches break, and are opened again when the test says so.

use std::convert::Infallible;
use std::time::Duration;

use axum::http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::*;
use crate::response::stores;

const RESPONSES: &str = "/apis/evenkeel.dev/v1alpha1/alertresponses";
const RUNS: &str = "/apis/evenkeel.dev/v1alpha1/namespaces/shop/responseruns";

#[derive(Default)]
struct Kept {
    responses: Vec<Value>,
    /// Those that were created; nobody hears of them.
    runs: Vec<Value>,
}

type Shelf = Arc<Mutex<Kept>>;

fn answer(code: u16, body: &Value) -> Response<axum::body::Body> {
    let body = axum::body::Body::from(serde_json::to_vec(body).unwrap());
    Response::builder().status(code).body(body).unwrap()
}

/// A watch that says nothing, and breaks when what is watched goes away; `None`: it never does.
fn silent(away: Option<watch::Receiver<bool>>) -> Response<axum::body::Body> {
    let broken = futures::stream::once(async move {
        match away {
            Some(mut away) => drop(away.wait_for(|away| *away).await),
            None => std::future::pending().await,
        }
        Err::<Vec<u8>, _>(std::io::Error::other("connection reset"))
    });
    Response::new(axum::body::Body::from_stream(broken))
}

fn client(shelf: &Shelf, away: &watch::Receiver<bool>) -> Client {
    let (shelf, away) = (shelf.clone(), away.clone());
    let service = tower::service_fn(move |request: Request<Body>| {
        let (shelf, away) = (shelf.clone(), away.clone());
        async move {
            let (head, body) = request.into_parts();
            let (path, query) = (head.uri.path(), head.uri.query().unwrap_or_default());
            if path == RESPONSES && *away.borrow() {
                let status =
                    json!({"kind": "Status", "status": "Failure", "code": 503, "reason": "ServiceUnavailable"});
                return Ok(answer(503, &status));
            }
            if query.contains("watch=true") {
                return Ok(silent((path == RESPONSES).then_some(away)));
            }
            let body = body.collect_bytes().await.unwrap();
            let mut kept = shelf.lock().unwrap();
            let items = match (&head.method, path) {
                (&Method::POST, RUNS) => {
                    let run: Value = serde_json::from_slice(&body).unwrap();
                    kept.runs.push(run.clone());
                    return Ok(answer(201, &run));
                }
                (_, RESPONSES) => kept.responses.clone(),
                _ => vec![],
            };
            Ok::<_, Infallible>(answer(200, &json!({"metadata": {"resourceVersion": "1"}, "items": items})))
        }
    });
    Client::new(service, "default")
}

fn response(alert: &str) -> Value {
    json!({
        "apiVersion": "evenkeel.dev/v1alpha1", "kind": "AlertResponse",
        "metadata": {"name": alert, "namespace": "shop", "uid": alert, "generation": 1, "resourceVersion": "1"},
        "spec": {"match": {"alert": alert}, "target": {"name": "web"}, "steps": [{"restart": {}}]},
    })
}

fn alert(name: &str) -> Alert {
    Alert { labels: [("alertname".to_owned(), name.to_owned())].into(), ..Alert::default() }
}

async fn until(holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("in time");
}

#[tokio::test]
async fn while_responses_may_be_missing_no_alert_is_said_to_match_nothing() {
    let shelf = Shelf::default();
    shelf.lock().unwrap().responses.push(response("Known"));
    let (away, is_away) = watch::channel(false);
    let context = crate::testing::context(client(&shelf, &is_away));
    let (stores, watching) = stores::watch(&context);
    let intake = Intake::new(context, stores.clone());
    let put = async |name: &str| intake.put(&alert(name), "webhook", Timestamp::UNIX_EPOCH).await;
    let unseen = put("Other").await.expect_err("nothing was listed yet").to_string();
    assert!(unseen.starts_with("the watch of AlertResponses is broken, so that alert Other "), "{unseen}");
    tokio::spawn(watching);
    until(|| stores.sees_responses() && stores.is_ready()).await;
    assert_eq!(put("Other").await.unwrap(), Taken::Unmatched);

    away.send(true).unwrap();
    until(|| !stores.sees_responses()).await;
    assert!(stores.is_ready() && stores.sees_senders());
    shelf.lock().unwrap().responses.push(response("Other"));
    assert!(put("Other").await.is_err());
    // What is known is on record even so; another response may match as well.
    assert!(put("Known").await.is_err());
    let names =
        || -> Vec<Value> { shelf.lock().unwrap().runs.iter().map(|r| r["spec"]["alert"]["name"].clone()).collect() };
    assert_eq!(names(), ["Known"]);

    away.send(false).unwrap();
    until(|| stores.sees_responses()).await;
    assert_eq!(put("Other").await.unwrap(), Taken::Recorded);
    assert_eq!(names(), ["Known", "Other"]);
}

#[tokio::test]
async fn beyond_what_fits_into_memory_a_sender_has_to_keep_its_alerts() {
    let shelf = Shelf::default();
    shelf.lock().unwrap().responses.push(response("Known"));
    let (_away, is_away) = watch::channel(false);
    let context = crate::testing::context(client(&shelf, &is_away));
    let (stores, watching) = stores::watch(&context);
    let intake = Intake { most: 0, ..Intake::new(context, stores.clone()) };
    tokio::spawn(watching);
    until(|| stores.sees_responses() && stores.is_ready()).await;
    let refused =
        intake.put(&alert("Known"), "webhook", Timestamp::UNIX_EPOCH).await.expect_err("no place").to_string();
    assert!(refused.starts_with("0 ResponseRuns are on record, and no more than 0 are: "), "{refused}");
    assert!(shelf.lock().unwrap().runs.is_empty());
}
