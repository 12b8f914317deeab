//! What the operator tells people and services outside, against servers that check it and fail as they are told to.

#[path = "../e2e/fakes/mod.rs"]
mod fakes;

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel::api::notification_channel::Email;
use evenkeel::api::response_run::{GithubIssueIntent, GithubWorkflowIntent};
use evenkeel::hidden::Hidden;
use evenkeel::k8s::report::chain;
use evenkeel::notify::deliver::deliver;
use evenkeel::notify::destination::{Destination, Service};
use evenkeel::notify::error::DeliveryError;
use evenkeel::notify::message::{Message, Stage};
use evenkeel::notify::{email, github, pagerduty, slack, webhook};
use evenkeel::response::action::github::Closing;
use evenkeel::response::errand::github::{Mine, comment_and_close, open_or_comment, start};
use evenkeel::response::run::{Errand, Receipt};
use fakes::{Fake, Fault};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

fn http() -> reqwest::Client {
    reqwest::Client::builder().timeout(Duration::from_secs(5)).build().expect("a client")
}

fn message(stage: Stage) -> Message {
    let title = "HighErrorRate: <!channel> checkout fails";
    Message {
        title: title.into(),
        text: format!("{title}\nrolled back & \"restarted\"\nkubectl describe run -n shop fix-1"),
        dedup_key: "uid-1".into(),
        source: "shop/Deployment/checkout".into(),
        severity: "critical".into(),
        stage,
        reference: None,
    }
}

fn told(service: Service) -> Destination {
    Destination { service, send_resolved: true }
}

async fn send(to: &Destination, message: &Message) -> Result<Receipt, DeliveryError> {
    deliver(&http(), to, message).await
}

fn bot(fake: &Fake<fakes::slack::Slack>, channel: &str, token: &str) -> Destination {
    let url = format!("{}/api", fake.url());
    told(Service::Slack(slack::Slack::Bot { url, token: Hidden::new(token), channel: channel.into() }))
}

#[tokio::test]
async fn a_card_at_slack_is_posted_once_and_changed_when_the_run_is_closed() {
    let fake = Fake::local(fakes::slack::Slack::new("xoxb-1", "#alerts")).await;
    let to = bot(&fake, "#alerts", "xoxb-1");
    let receipt = send(&to, &message(Stage::AtWork)).await.expect("posted");
    assert_eq!(receipt.reference.as_deref(), Some("C0123456789/1700000000.000001"));
    let closed = Message { reference: receipt.reference.clone(), ..message(Stage::Closed) };
    assert_eq!(send(&to, &closed).await.expect("changed"), receipt);
    let cards = fake.with(|slack| slack.messages.clone());
    assert_eq!((cards.len(), cards[0].updates), (1, 1));
    let card = cards[0].body.to_string();
    assert!(
        card.contains("closed") && card.contains("&lt;!channel&gt;") && card.contains("kubectl describe run"),
        "{card}"
    );
    assert_eq!(fake.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_card_that_is_gone_is_posted_anew() {
    let fake = Fake::local(fakes::slack::Slack::new("xoxb-1", "#alerts")).await;
    let closed = Message { reference: Some("C0123456789/1.000001".into()), ..message(Stage::Closed) };
    send(&bot(&fake, "#alerts", "xoxb-1"), &closed).await.expect("posted");
    assert_eq!((fake.count("POST", "chat.update"), fake.count("POST", "chat.postMessage")), (1, 1));
}

#[tokio::test]
async fn slacks_refusals_are_told_apart() {
    let fake = Fake::local(fakes::slack::Slack::new("xoxb-1", "#alerts")).await;
    let unknown = send(&bot(&fake, "#nowhere", "xoxb-1"), &message(Stage::News)).await.unwrap_err();
    assert!(unknown.is_final() && chain(&unknown).contains("channel_not_found"), "{unknown}");
    let token = send(&bot(&fake, "#alerts", "xoxb-SECRET"), &message(Stage::News)).await.unwrap_err();
    assert!(token.is_final() && chain(&token).contains("invalid_auth"), "{token}");
    assert!(!format!("{token:?}{}", chain(&token)).contains("SECRET"));
    fake.fail("POST", "chat.postMessage", Fault::Later(429, 30));
    let busy = send(&bot(&fake, "#alerts", "xoxb-1"), &message(Stage::News)).await.unwrap_err();
    assert!(!busy.is_final() && busy.retry_after() == Some(Duration::from_secs(30)), "{busy}");
    fake.fail("POST", "chat.postMessage", Fault::Refuse(503));
    assert!(!send(&bot(&fake, "#alerts", "xoxb-1"), &message(Stage::News)).await.unwrap_err().is_final());
}

#[tokio::test]
async fn an_incoming_webhook_takes_the_same_card_and_its_url_is_never_shown() {
    let fake = Fake::local(fakes::slack::Slack::new("", "#alerts")).await;
    let to = |path: &str| {
        let url = Hidden::new(format!("{}{path}", fake.url()));
        told(Service::Slack(slack::Slack::Webhook { url, channel: Some("#alerts".into()) }))
    };
    assert_eq!(send(&to("/services/T0/B0/key"), &message(Stage::News)).await.expect("posted"), Receipt::default());
    let refused = send(&to("/services/T0/B0/SECRET"), &message(Stage::News)).await.unwrap_err();
    assert!(refused.is_final() && chain(&refused).contains("404: no_service"), "{refused}");
    let nobody =
        told(Service::Slack(slack::Slack::Webhook { url: Hidden::new("http://127.0.0.1:1/SECRET"), channel: None }));
    let unreachable = send(&nobody, &message(Stage::News)).await.unwrap_err();
    assert!(!unreachable.is_final());
    let shown = format!("{refused:?} {unreachable:?} {} {} {nobody:?}", chain(&refused), chain(&unreachable));
    assert!(!shown.contains("SECRET"), "{shown}");
    assert_eq!(fake.violations(), Vec::<String>::new());
}

fn pager(fake: &Fake<fakes::pagerduty::Pagerduty>, acknowledge: bool) -> pagerduty::Pagerduty {
    pagerduty::Pagerduty { url: format!("{}/v2/enqueue", fake.url()), routing_key: Hidden::new("key"), acknowledge }
}

#[tokio::test]
async fn an_incident_is_opened_once_acknowledged_when_wanted_and_resolved() {
    let fake = Fake::local(fakes::pagerduty::Pagerduty::new("key")).await;
    let state = || fake.with(|pager| (pager.opened, pager.incidents.get("uid-1").copied()));
    let to = told(Service::Pagerduty(pager(&fake, true)));
    assert!(send(&to, &message(Stage::News)).await.expect("taken").incident);
    assert_eq!(state(), (1, Some("triggered")));
    fake.fail("POST", "enqueue", Fault::Lost);
    assert!(!send(&to, &message(Stage::AtWork)).await.unwrap_err().is_final());
    send(&to, &message(Stage::AtWork)).await.expect("taken");
    assert_eq!(state(), (1, Some("acknowledged")));
    let sent = fake.count("POST", "enqueue");
    assert!(!send(&to, &message(Stage::Closed)).await.expect("nothing to send").incident);
    assert_eq!(fake.count("POST", "enqueue"), sent);
    send(&to, &message(Stage::Resolved)).await.expect("taken");
    assert_eq!(state(), (1, Some("resolved")));
    assert_eq!(fake.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn pagerduty_refuses_for_good_or_for_a_while() {
    let fake = Fake::local(fakes::pagerduty::Pagerduty::new("another")).await;
    let to = told(Service::Pagerduty(pager(&fake, false)));
    let invalid = send(&to, &message(Stage::News)).await.unwrap_err();
    assert!(invalid.is_final() && chain(&invalid).contains("400: Event object is invalid"), "{invalid}");
    fake.fail("POST", "enqueue", Fault::Later(429, 12));
    let busy = send(&to, &message(Stage::News)).await.unwrap_err();
    assert_eq!((busy.is_final(), busy.retry_after()), (false, Some(Duration::from_secs(12))));
}

#[tokio::test]
async fn who_wants_no_end_hears_none_and_no_incident_waits_for_it() {
    let fake = Fake::local(fakes::pagerduty::Pagerduty::new("key")).await;
    let to = Destination { service: Service::Pagerduty(pager(&fake, false)), send_resolved: false };
    assert!(!send(&to, &message(Stage::News)).await.expect("taken").incident);
    send(&to, &message(Stage::Closed)).await.expect("nothing to send");
    send(&to, &message(Stage::Resolved)).await.expect("nothing to send");
    assert_eq!(fake.count("POST", "enqueue"), 1);
}

#[tokio::test]
async fn a_webhook_can_check_that_a_message_is_ours() {
    let fake = Fake::local(fakes::hook::Hook { key: Some("s3cret".into()), ..Default::default() }).await;
    let to = |key: Option<&str>| {
        told(Service::Webhook(webhook::Webhook {
            url: Hidden::new(fake.url()),
            authorization: webhook::Authorization::Bearer(Hidden::new("token")),
            signature_key: key.map(Hidden::new),
        }))
    };
    send(&to(Some("s3cret")), &message(Stage::News)).await.expect("signed");
    for key in [None, Some("wrong")] {
        let refused = send(&to(key), &message(Stage::News)).await.unwrap_err();
        assert!(refused.is_final(), "{refused}");
    }
    assert_eq!(fake.with(|hook| hook.bodies[0]["stage"].clone()), "news");
    assert_eq!(fake.requests()[0].header("authorization"), "Bearer token");
}

#[tokio::test]
async fn teams_takes_the_card_and_a_long_one_is_cut() {
    let fake = Fake::local(fakes::teams::Teams::default()).await;
    let to = told(Service::Teams(Hidden::new(format!("{}/workflows/x?sig=SECRET", fake.url()))));
    send(&to, &message(Stage::Closed)).await.expect("taken");
    let long = Message { text: "a line of \"words\" & more\n".repeat(5000), ..message(Stage::News) };
    send(&to, &long).await.expect("taken");
    assert_eq!((fake.violations(), fake.with(|teams| teams.cards.len())), (vec![], 2));
    fake.fail("POST", "workflows", Fault::Later(429, 5));
    assert_eq!(send(&to, &long).await.unwrap_err().retry_after(), Some(Duration::from_secs(5)));
}

#[tokio::test]
async fn a_mail_server_takes_letters_and_says_what_may_pass() {
    let fake = fakes::smtp::Smtp::start(([127, 0, 0, 1], 0).into()).await;
    let email = Email {
        to: "a@example.com, b@example.com".into(),
        from: "Evenkeel <e@example.com>".into(),
        smarthost: fake.address.to_string(),
        username: None,
        password_secret_ref: None,
        require_tls: false,
    };
    let to = told(Service::Email(Box::new(email::Mailer { email, password: None })));
    send(&to, &message(Stage::AtWork)).await.expect("taken");
    let letter = fake.letters().pop().expect("a letter");
    assert_eq!(
        (letter.from.as_str(), letter.to),
        ("e@example.com", vec!["a@example.com".into(), "b@example.com".into()])
    );
    for part in ["Subject: HighErrorRate", "References: <uid-1@evenkeel>", "rolled back"] {
        assert!(letter.text.contains(part), "{part} in {}", letter.text);
    }
    fake.refuse(450);
    assert!(!send(&to, &message(Stage::News)).await.unwrap_err().is_final());
    fake.refuse(550);
    assert!(send(&to, &message(Stage::News)).await.unwrap_err().is_final());
}

const EPISODE: &str = "<!-- evenkeel-episode: uid-1 -->";

fn repository(fake: &Fake<fakes::github::Github>) -> github::Github {
    github::Github { url: fake.url(), repository: "acme/shop".into(), token: Hidden::new("ghp-SECRET") }
}

async fn hub() -> Fake<fakes::github::Github> {
    Fake::local(fakes::github::Github::new("acme/shop", "ghp-SECRET")).await
}

fn own(step: &str) -> String {
    format!("<!-- evenkeel-step: {step} -->")
}

fn issue(step: &str) -> GithubIssueIntent {
    GithubIssueIntent {
        channel: "repo".into(),
        title: "HighErrorRate".into(),
        body: format!("what happened\n\n{EPISODE}\n{}", own(step)),
        labels: vec!["evenkeel".into()],
        marker: EPISODE.into(),
        since: Some(Time(jiff::Timestamp::now())),
    }
}

fn effect(errand: Errand) -> (String, Option<String>) {
    match errand {
        Errand::Done { effect, reference, .. } => (effect, reference),
        Errand::Underway(words) => panic!("{words}"),
    }
}

async fn file(fake: &Fake<fakes::github::Github>, step: &str) -> Result<(String, Option<String>), DeliveryError> {
    open_or_comment(&repository(fake), &http(), &issue(step), &own(step)).await.map(effect)
}

#[tokio::test]
async fn an_episode_has_one_issue_and_every_later_run_one_comment() {
    let fake = hub().await;
    fake.with(|github| (0..230).for_each(|n| _ = github.add_issue(&format!("other {n}"), "a body")));
    let (opened, number) = file(&fake, "a/1").await.expect("opened");
    assert!(opened.starts_with("opened issue acme/shop#231 (https://"), "{opened}");
    assert_eq!(number.as_deref(), Some("231"));
    // As after a crash before the effect was written.
    assert_eq!(file(&fake, "a/1").await.expect("found").0, opened);
    let (commented, number) = file(&fake, "b/1").await.expect("commented");
    assert!(commented.starts_with("commented on issue acme/shop#231"), "{commented}");
    assert_eq!(number.as_deref(), Some("231"));
    assert_eq!(file(&fake, "b/1").await.expect("found").0, commented);
    assert_eq!(fake.with(|github| (github.issues.len(), github.comments[&231].len())), (231, 1));
    assert_eq!(fake.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn an_answer_that_is_lost_makes_no_second_issue_and_no_second_comment() {
    let fake = hub().await;
    fake.fail("POST", "/issues", Fault::Lost);
    assert!(!file(&fake, "a/1").await.unwrap_err().is_final());
    assert!(file(&fake, "a/1").await.expect("found").0.starts_with("opened issue acme/shop#1"));
    fake.fail("POST", "/comments", Fault::Lost);
    assert!(!file(&fake, "b/1").await.unwrap_err().is_final());
    file(&fake, "b/1").await.expect("found");
    assert_eq!(fake.with(|github| (github.issues.len(), github.comments[&1].len())), (1, 1));
}

#[tokio::test]
async fn github_refuses_for_good_or_for_a_while() {
    let fake = hub().await;
    fake.fail("GET", "/issues", Fault::Refuse(500));
    assert!(!file(&fake, "a/1").await.unwrap_err().is_final());
    fake.fail("POST", "/issues", Fault::Later(403, 61));
    let limited = file(&fake, "a/1").await.unwrap_err();
    assert_eq!((limited.is_final(), limited.retry_after()), (false, Some(Duration::from_secs(61))));
    file(&fake, "a/1").await.expect("opened");
    fake.with(|github| github.token = "another".into());
    let denied = file(&fake, "b/1").await.unwrap_err();
    assert!(denied.is_final() && chain(&denied).contains("401: Bad credentials"), "{denied}");
    fake.with(|github| (github.token, github.repository) = ("ghp-SECRET".into(), "acme/other".into()));
    let missing = file(&fake, "b/1").await.unwrap_err();
    assert!(missing.is_final() && chain(&missing).contains("acme/shop"), "{missing}");
    assert!(!format!("{denied:?}{missing:?}").contains("SECRET"));
}

#[tokio::test]
async fn the_end_is_told_once_and_a_proved_repair_closes_the_issue() {
    let fake = hub().await;
    file(&fake, "a/1").await.expect("opened");
    let marker = "<!-- evenkeel-closing: uid-1 -->".to_owned();
    let comment = format!("Pass\n\n{marker}");
    let closing = Closing { number: 1, comment, marker, since: Some(jiff::Timestamp::now()), close: true };
    let github = repository(&fake);
    fake.fail("PATCH", "/issues/1", Fault::Refuse(502));
    assert!(comment_and_close(&github, &http(), &closing, true).await.is_err());
    let receipt = comment_and_close(&github, &http(), &closing, true).await.expect("closed");
    assert_eq!(receipt.reference.as_deref(), Some("1"));
    assert_eq!(fake.with(|github| (github.comments[&1].len(), github.issue(1)["state"].clone())), (1, "closed".into()));
    // Who does not want to hear of ends gets no comment.
    let silent = Closing { marker: "another".into(), ..closing };
    comment_and_close(&github, &http(), &silent, false).await.expect("closed");
    assert_eq!(fake.with(|github| github.comments[&1].len()), 1);
}

fn workflow(input: &str) -> GithubWorkflowIntent {
    GithubWorkflowIntent {
        channel: "repo".into(),
        workflow: Some("rollback.yaml".into()),
        inputs: BTreeMap::from([("run".to_owned(), input.to_owned())]),
        ..GithubWorkflowIntent::default()
    }
}

async fn begin(fake: &Fake<fakes::github::Github>, input: &str, others: &[&str]) -> Result<Errand, DeliveryError> {
    let mine = Mine { run: "fix-0001", since: Some(jiff::Timestamp::now()), others };
    start(&repository(fake), &http(), &workflow(input), &mine).await
}

#[tokio::test]
async fn a_workflow_that_shows_the_runs_name_is_started_once() {
    let fake = hub().await;
    fake.with(|github| github.workflows.insert("rollback.yaml".into(), Some("run".into())));
    fake.fail("POST", "dispatches", Fault::Lost);
    assert!(!begin(&fake, "fix-0001", &[]).await.unwrap_err().is_final());
    let (found, reference) = effect(begin(&fake, "fix-0001", &[]).await.expect("found"));
    assert!(found.starts_with("started workflow rollback.yaml of acme/shop (https://"), "{found}");
    assert_eq!((reference.as_deref(), fake.with(|github| github.runs.len())), (Some("9000"), 1));
    // Another step of the same run starts its own.
    let (_, second) = effect(begin(&fake, "fix-0001", &["9000"]).await.expect("started"));
    assert_eq!((second.as_deref(), fake.with(|github| github.runs.len())), (Some("9001"), 2));
    assert_eq!(fake.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_workflow_that_cannot_be_recognised_is_not_started_again_on_a_lost_answer() {
    let fake = hub().await;
    fake.with(|github| github.workflows.insert("rollback.yaml".into(), None));
    fake.fail("POST", "dispatches", Fault::Lost);
    let lost = begin(&fake, "x", &[]).await.unwrap_err();
    assert!(lost.is_final() && chain(&lost).contains("rollback.yaml"), "{lost}");
    fake.fail("POST", "dispatches", Fault::Refuse(502));
    assert!(!begin(&fake, "x", &[]).await.unwrap_err().is_final());
}

#[tokio::test]
async fn a_server_that_cannot_tell_the_run_starts_it_all_the_same() {
    let fake = hub().await;
    fake.with(|github| {
        github.workflows.insert("rollback.yaml".into(), None);
        github.is_old = true;
    });
    let (effect, reference) = effect(begin(&fake, "x", &[]).await.expect("started"));
    assert_eq!((effect.as_str(), reference), ("started workflow rollback.yaml of acme/shop", None));
    assert_eq!(fake.with(|github| github.runs.len()), 1);
}

#[tokio::test]
async fn an_event_reaches_the_repository() {
    let fake = hub().await;
    let intent = GithubWorkflowIntent { workflow: None, event_type: Some("repair".into()), ..workflow("x") };
    let mine = Mine { run: "fix-0001", since: None, others: &[] };
    let (effect, _) = effect(start(&repository(&fake), &http(), &intent, &mine).await.expect("sent"));
    assert_eq!(effect, "sent the event repair to acme/shop");
    assert_eq!(fake.with(|github| github.events[0]["client_payload"]["run"].clone()), "x");
    assert_eq!(fake.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_repository_is_no_place_to_tell_people() {
    let fake = hub().await;
    let refused = send(&told(Service::Github(repository(&fake))), &message(Stage::News)).await.unwrap_err();
    assert!(refused.is_final() && chain(&refused).contains("spec.github"), "{refused}");
    assert!(fake.requests().is_empty());
}
