use super::*;
use serde_json::{Value, json};

fn channel(name: &str, secret: &str) -> NotificationChannel {
    serde_json::from_value(json!({
        "apiVersion": "evenkeel.dev/v1alpha1", "kind": "NotificationChannel",
        "metadata": {"name": name, "namespace": "monitoring"},
        "spec": {"slack": {"webhookUrlSecretRef": {"name": secret, "key": "url"}}},
    }))
    .unwrap()
}

fn known(secrets: &[(&str, &[&str])]) -> Secrets {
    let keys = |keys: &[&str]| keys.iter().map(|k| (*k).to_owned()).collect();
    Secrets::Known(secrets.iter().map(|(name, k)| ((*name).to_owned(), keys(k))).collect())
}

fn check(spec: Value) -> (Routing, Vec<Problem>) {
    let channels = [channel("team-slack", "slack"), channel("oncall", "pager"), channel("lost", "gone")];
    let secrets = known(&[("slack", &["url"]), ("pager", &["routing-key"])]);
    checked(&serde_json::from_value(spec).unwrap(), &channels, &secrets)
}

fn only(problems: &[Problem], reason: &str, parts: &[&str]) {
    assert_eq!(problems.iter().map(|p| p.reason).collect::<Vec<_>>(), [reason]);
    for part in parts {
        assert!(problems[0].message.contains(part), "{} lacks {part}", problems[0].message);
    }
}

#[test]
fn a_route_to_an_unknown_channel_is_left_out_with_the_near_names() {
    let (routing, problems) = check(json!({"routes": [{"channel": "team-slak"}, {"channel": "team-slack"}]}));
    only(&problems, "ChannelNotFound", &["routes[0]", "team-slak", "did you mean team-slack?"]);
    assert_eq!(routing.routes.iter().map(|r| r.channel.as_str()).collect::<Vec<_>>(), ["team-slack"]);
}

#[test]
fn a_name_that_resembles_none_gets_the_list() {
    let (_, problems) = check(json!({"defaultChannel": "email-of-the-boss"}));
    only(&problems, "ChannelNotFound", &["defaultChannel", "lost, oncall, team-slack"]);
}

#[test]
fn a_channel_without_its_secret_or_key_is_left_out() {
    let (routing, problems) = check(json!({"routes": [{"channel": "lost"}]}));
    only(&problems, "ChannelSecretMissing", &["NotificationChannel lost", "slack.webhookUrlSecretRef", "Secret gone"]);
    assert!(routing.routes.is_empty() && routing.channels.is_empty());
    let (_, problems) = check(json!({"routes": [{"channel": "oncall"}]}));
    only(&problems, "ChannelSecretMissing", &["key url", "which has routing-key"]);
}

#[test]
fn what_alertmanager_would_refuse_in_a_route_is_left_out() {
    for (route, part) in [
        (json!({"matchers": ["severity"]}), "matcher \"severity\""),
        (json!({"groupInterval": "0s"}), "groupInterval"),
        (json!({"repeatInterval": "0"}), "repeatInterval"),
        (json!({"groupBy": ["...", "team"]}), "every label"),
        (json!({"groupBy": ["team", "team"]}), "team twice"),
        (json!({"muteTimeIntervals": ["nights"]}), "nights"),
    ] {
        let mut route = route;
        route["channel"] = "team-slack".into();
        let (routing, problems) = check(json!({"routes": [route]}));
        only(&problems, "InvalidRoute", &[part]);
        assert!(routing.routes.is_empty());
    }
}

#[test]
fn mute_intervals_are_checked_as_alertmanager_reads_them() {
    for (interval, part) in [
        (json!({"times": [{"start": "22:00", "end": "06:00"}]}), "midnight"),
        (json!({"weekdays": ["saturday:monday"]}), "saturday:monday"),
        (json!({"months": ["13"]}), "months 13"),
        (json!({"months": ["smarch"]}), "smarch"),
        (json!({"daysOfMonth": ["0"]}), "daysOfMonth 0"),
        (json!({"daysOfMonth": ["-1:-3"]}), "-1:-3"),
        (json!({"timeZone": "Mars/Olympus"}), "Mars/Olympus"),
    ] {
        let (routing, problems) = check(json!({"muteIntervals": [{"name": "nights", "intervals": [interval]}]}));
        only(&problems, "InvalidMuteInterval", &["nights", part]);
        assert!(routing.mute_intervals.is_empty());
    }
    let good = json!({"muteIntervals": [{"name": "nights", "intervals": [{
        "times": [{"start": "22:00", "end": "24:00"}], "weekdays": ["monday:friday"], "daysOfMonth": ["1:7", "-3:-1"],
        "months": ["june:august", "12"], "years": ["2026:2028"], "timeZone": "Europe/Paris"}]}]});
    assert_eq!(check(good).1, []);
}

#[test]
fn inhibition_is_critical_over_warning_unless_said_otherwise() {
    let (routing, problems) = check(json!({}));
    assert_eq!(problems, []);
    assert_eq!(routing.inhibition[0].target, [r#"severity=~"warning|info""#]);
    assert_eq!(check(json!({"inhibition": []})).0.inhibition, []);
    let (routing, problems) = check(json!({"inhibition": [{"source": ["a"], "target": ["b=c"]}]}));
    only(&problems, "InvalidInhibition", &["inhibition[0]"]);
    assert!(routing.inhibition.is_empty());
}

#[test]
fn a_route_to_a_repository_is_left_out_with_the_way_out() {
    let repository: NotificationChannel = serde_json::from_value(json!({
        "apiVersion": "evenkeel.dev/v1alpha1", "kind": "NotificationChannel",
        "metadata": {"name": "repo", "namespace": "monitoring"},
        "spec": {"github": {"repository": "acme/shop", "tokenSecretRef": {"name": "token", "key": "token"}}},
    }))
    .unwrap();
    let spec = serde_json::from_value(json!({"routes": [{"channel": "repo"}]})).unwrap();
    let (routing, problems) = checked(&spec, &[repository], &known(&[("token", &["token"])]));
    only(&problems, "ChannelOfGithub", &["routes[0]", "spec.github", "name a channel of another type"]);
    assert!(routing.routes.is_empty() && routing.channels.is_empty());
}

#[test]
fn a_dead_mans_switch_without_its_url_or_too_quick_is_left_out() {
    let (routing, problems) = check(json!({"deadMansSwitch": {"url": "https://watch.example.com/1"}}));
    assert_eq!((routing.dead_mans_switch.unwrap().interval.to_string(), problems), ("1m".to_owned(), vec![]));
    let secret = json!({"name": "watch", "key": "url"});
    let (routing, problems) = check(json!({"deadMansSwitch": {"urlSecretRef": secret}}));
    only(&problems, "ChannelSecretMissing", &["deadMansSwitch is left out", "Secret watch, which does not exist"]);
    assert_eq!(routing.dead_mans_switch, None);
    let (_, problems) = check(json!({"deadMansSwitch": {"url": "https://a", "interval": "9s"}}));
    only(&problems, "InvalidRoute", &["interval 9s is less than 10s"]);
}
