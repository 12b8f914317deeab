//! alertmanager.yml, as types. Pure.

use serde::Serialize;

use crate::api::duration::PromDuration;
use crate::api::monitoring_stack::{DeadMansSwitch, Inhibition, MuteInterval};
use crate::api::response_run::DRILL;
use crate::matcher;
use crate::notify::receivers::{HttpConfig, Receiver, SECRETS_DIR, WebhookConfig, receiver, relative};
use crate::stack::routes::Routing;

/// Receiver of the operator itself. With a slash, so that no channel can have its name.
pub const OPERATOR: &str = "evenkeel/operator";
/// Receiver that tells nobody.
pub const NOBODY: &str = "evenkeel/nobody";
/// Receiver of the signs of life.
pub const DEAD_MANS_SWITCH: &str = "evenkeel/dead-mans-switch";
/// The token by which Alertmanager proves itself to the operator.
pub const TOKEN_DIR: &str = "/etc/alertmanager/receiver-token";

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Config {
    pub route: Route,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inhibit_rules: Vec<InhibitRule>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub time_intervals: Vec<TimeIntervals>,
    pub receivers: Vec<Receiver>,
    /// Holds nothing but the mark of the revision: Alertmanager shows its configuration as it understood it, without
    /// comments, and this is the one entry without a meaning.
    pub templates: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Route {
    pub receiver: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub matchers: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub group_by: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_wait: Option<PromDuration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_interval: Option<PromDuration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeat_interval: Option<PromDuration>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mute_time_intervals: Vec<String>,
    #[serde(rename = "continue", skip_serializing_if = "std::ops::Not::not")]
    pub continue_: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InhibitRule {
    pub source_matchers: Vec<String>,
    pub target_matchers: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub equal: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TimeIntervals {
    pub name: String,
    pub time_intervals: Vec<TimeInterval>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TimeInterval {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub times: Vec<TimeRange>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub weekdays: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub days_of_month: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub months: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub years: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TimeRange {
    pub start_time: String,
    pub end_time: String,
}

/// Of the rules that ship: see `shipped/monitoring.rs`.
const WATCHDOG: &str = r#"alertname="Watchdog""#;
const NOT_WATCHDOG: &str = r#"alertname!="Watchdog""#;

impl Config {
    /// The whole configuration, without the mark of its revision. `receiver_url` is the base URL of the operator.
    pub fn of(routing: &Routing, receiver_url: &str) -> Self {
        let mut receivers = vec![operator_receiver(receiver_url)];
        receivers.push(Receiver { name: NOBODY.into(), ..Receiver::default() });
        receivers.extend(routing.dead_mans_switch.as_ref().map(switch_receiver));
        receivers.extend(routing.channels.values().map(receiver));
        Self {
            route: Route {
                receiver: routing.default_channel.clone().unwrap_or_else(|| NOBODY.into()),
                group_by: vec!["namespace".into(), "alertname".into()],
                group_wait: Some(PromDuration::from_secs(30)),
                group_interval: Some(PromDuration::from_mins(5)),
                repeat_interval: Some(PromDuration::from_mins(4 * 60)),
                routes: routes(routing),
                ..Route::default()
            },
            inhibit_rules: routing.inhibition.iter().map(inhibit_rule).collect(),
            time_intervals: routing.mute_intervals.iter().map(time_intervals).collect(),
            receivers,
            templates: vec![],
        }
    }
}

/// The Watchdog that always fires is only for who asks for it by name: neither for the default channel nor for routes that
/// take whatever comes.
fn routes(routing: &Routing) -> Vec<Route> {
    let watchdog = Route { receiver: NOBODY.into(), matchers: vec![WATCHDOG.into()], ..Route::default() };
    let own = routing.routes.iter().map(|own| {
        let mut route = route(own);
        if !own.matchers.iter().any(|text| names_an_alert(text)) {
            route.matchers.push(NOT_WATCHDOG.into());
        }
        route
    });
    let last = routing.default_channel.iter().map(|_| watchdog.clone());
    let switch = routing.dead_mans_switch.as_ref().map(switch_route);
    [drill_route(), operator_route()].into_iter().chain(switch).chain(own).chain(last).collect()
}

fn names_an_alert(matcher: &str) -> bool {
    matcher::parse(matcher).is_ok_and(|parsed| parsed.iter().any(|matcher| matcher.name() == "alertname"))
}

/// First: the alert of a drill goes to the operator and to nobody else.
fn drill_route() -> Route {
    Route { matchers: vec![format!("{DRILL}=\"true\"")], continue_: false, ..operator_route() }
}

/// Then this, and every alert goes on from it: each alert by itself, at once, and again every five minutes.
fn operator_route() -> Route {
    Route {
        receiver: OPERATOR.into(),
        group_by: vec!["...".into()],
        group_wait: Some(PromDuration::from_secs(0)),
        group_interval: Some(PromDuration::from_secs(30)),
        repeat_interval: Some(PromDuration::from_mins(5)),
        continue_: true,
        ..Route::default()
    }
}

/// A sign of life in each interval. Alertmanager looks once in a group interval whether the repeat interval has passed: with
/// two of the same length every other one would be left out.
fn switch_route(switch: &DeadMansSwitch) -> Route {
    Route {
        receiver: DEAD_MANS_SWITCH.into(),
        matchers: vec![WATCHDOG.into()],
        group_by: vec!["alertname".into()],
        group_wait: Some(PromDuration::from_secs(0)),
        group_interval: Some(switch.interval),
        repeat_interval: Some(PromDuration(switch.interval.0 / 2)),
        continue_: true,
        ..Route::default()
    }
}

fn switch_receiver(switch: &DeadMansSwitch) -> Receiver {
    let file = |secret: &_| format!("{SECRETS_DIR}/{}", relative(secret));
    Receiver {
        name: DEAD_MANS_SWITCH.into(),
        webhook_configs: vec![WebhookConfig {
            // Its end is told by silence.
            send_resolved: false,
            url: switch.url.clone(),
            url_file: switch.url_secret_ref.as_ref().map(file),
            max_alerts: 0,
            http_config: None,
        }],
        ..Receiver::default()
    }
}

fn operator_receiver(receiver_url: &str) -> Receiver {
    Receiver {
        name: OPERATOR.into(),
        webhook_configs: vec![WebhookConfig {
            send_resolved: true,
            url: Some(format!("{receiver_url}/api/v1/alerts")),
            url_file: None,
            max_alerts: 0,
            http_config: Some(HttpConfig::bearer(format!("{TOKEN_DIR}/token"))),
        }],
        ..Receiver::default()
    }
}

fn route(route: &crate::api::monitoring_stack::Route) -> Route {
    Route {
        receiver: route.channel.clone(),
        matchers: route.matchers.clone(),
        group_by: route.group_by.clone(),
        group_wait: route.group_wait,
        group_interval: route.group_interval,
        repeat_interval: route.repeat_interval,
        mute_time_intervals: route.mute_time_intervals.clone(),
        continue_: route.continue_,
        routes: vec![],
    }
}

fn inhibit_rule(inhibition: &Inhibition) -> InhibitRule {
    InhibitRule {
        // The alert of a drill must not keep real ones quiet.
        source_matchers: inhibition.source.iter().cloned().chain([format!("{DRILL}!=\"true\"")]).collect(),
        target_matchers: inhibition.target.clone(),
        equal: inhibition.equal.clone(),
    }
}

fn time_intervals(mute: &MuteInterval) -> TimeIntervals {
    let interval = |i: &crate::api::monitoring_stack::TimeInterval| TimeInterval {
        times: i.times.iter().map(|t| TimeRange { start_time: t.start.clone(), end_time: t.end.clone() }).collect(),
        weekdays: i.weekdays.clone(),
        days_of_month: i.days_of_month.clone(),
        months: i.months.clone(),
        years: i.years.clone(),
        location: i.time_zone.clone(),
    };
    TimeIntervals { name: mute.name.clone(), time_intervals: mute.intervals.iter().map(interval).collect() }
}
