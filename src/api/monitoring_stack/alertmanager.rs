//! The part of a MonitoringStack that is about Alertmanager.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Storage, one};
use crate::api::common::{HTTP_URL, PodSettings, SecretKeyRef};
use crate::api::duration::PromDuration;

/// How Alertmanager runs, and whom it tells what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.image) && has(self.version))")
        .message("image and version exclude each other: image holds its own tag")
)]
pub struct AlertmanagerSpec {
    /// Replicas. More than one form a mesh, in which each notification is sent once. Default: 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 9))]
    pub replicas: i32,
    /// Who is told of which alerts: the first route that matches, and the following ones where it says `continue`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 200))]
    pub routes: Vec<Route>,
    /// NotificationChannel of this namespace for alerts that no route matches. Default: nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub default_channel: Option<String>,
    /// A URL outside that hears, again and again, that the whole way from Prometheus to Alertmanager is open: it raises the
    /// alarm when it hears nothing. Sent is the alert Watchdog, which ships with Evenkeel. Absent: nobody watches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_mans_switch: Option<DeadMansSwitch>,
    /// Named times at which routes may keep silent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub mute_intervals: Vec<MuteInterval>,
    /// Which alerts silence which others while they fire. Default: critical over warning and info, for alerts of
    /// the same name about the same thing. `[]`: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100))]
    pub inhibition: Option<Vec<Inhibition>>,
    /// Where silences and the log of notifications lie. Absent: in an emptyDir, which is lost with the pod; the
    /// other replicas of the mesh give it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
    /// How long silences and the log of notifications are kept. Default: 5d.
    #[serde(default = "default_retention")]
    pub retention: PromDuration,
    /// Version of the default image, for example v0.31.1. At least v0.28.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^v[0-9]+\.[0-9]+\.[0-9]+[-.0-9A-Za-z]*$"), length(max = 64))]
    pub version: Option<String>,
    /// The whole image, registry and tag included, instead of the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// Settings of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodSettings>,
}

impl Default for AlertmanagerSpec {
    fn default() -> Self {
        Self {
            replicas: 1,
            routes: vec![],
            default_channel: None,
            dead_mans_switch: None,
            mute_intervals: vec![],
            inhibition: None,
            storage: None,
            retention: default_retention(),
            version: None,
            image: None,
            pod: None,
        }
    }
}

/// Who raises the alarm when nothing is heard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.url) != has(self.urlSecretRef)")
        .message("deadMansSwitch: set exactly one of url and urlSecretRef")
)]
pub struct DeadMansSwitch {
    /// Where the alert is sent by POST, for example https://watch.example.com/ping/1234.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = HTTP_URL), length(max = 2048))]
    pub url: Option<String>,
    /// The same in a Secret, where the URL itself is the credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_secret_ref: Option<SecretKeyRef>,
    /// How often it is sent, 10s or more. Whoever listens should be patient for some of these. Default: 1m.
    #[serde(default = "default_interval")]
    pub interval: PromDuration,
}

fn default_interval() -> PromDuration {
    PromDuration::from_mins(1)
}

/// Who is told of which alerts. A route with an error is left out, and the status says so; alerts go on to the routes
/// after it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// Conditions on the labels of an alert, all of which must hold, as Alertmanager writes them: `severity="critical"`,
    /// `team=~"a|b"`, `!=`, `!~`. Absent: every alert.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 1024)))]
    pub matchers: Vec<String>,
    /// NotificationChannel of this namespace.
    #[schemars(length(min = 1, max = 253))]
    pub channel: String,
    /// Labels by which alerts are put together into one notification; `...` alone is every label.
    /// Default: namespace and alertname.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 253)))]
    pub group_by: Vec<String>,
    /// How long the first notification of a group waits for further alerts. Default: 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_wait: Option<PromDuration>,
    /// How long a group waits before it tells of new alerts. Default: 5m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_interval: Option<PromDuration>,
    /// After which time a notification is repeated while its alerts fire. Default: 4h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeat_interval: Option<PromDuration>,
    /// Whether the routes after this one are tried as well. Default: false.
    #[serde(default, rename = "continue")]
    pub continue_: bool,
    /// Names of muteIntervals during which this route keeps silent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 253)))]
    pub mute_time_intervals: Vec<String>,
}

/// A named set of times.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MuteInterval {
    /// Name by which routes refer to it.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The times: any of them.
    #[schemars(length(min = 1, max = 32))]
    pub intervals: Vec<TimeInterval>,
}

/// Times at which all the given fields hold. An absent field holds always.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TimeInterval {
    /// Times of the day. One that crosses midnight is written as two.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub times: Vec<TimeRange>,
    /// Days of the week, for example `saturday` or `monday:friday`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 7),
        inner(regex(
            pattern = "^(sun|mon|tues|wednes|thurs|fri|satur)day(:(sun|mon|tues|wednes|thurs|fri|satur)day)?$"
        ))
    )]
    pub weekdays: Vec<String>,
    /// Days of the month, for example `1`, `1:7`, or `-3:-1` for the last three.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 31), inner(regex(pattern = "^-?[0-9]{1,2}(:-?[0-9]{1,2})?$")))]
    pub days_of_month: Vec<String>,
    /// Months, for example `12`, `december` or `june:august`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 12), inner(regex(pattern = "^([0-9]{1,2}|[a-z]{3,9})(:([0-9]{1,2}|[a-z]{3,9}))?$")))]
    pub months: Vec<String>,
    /// Years, for example `2026` or `2026:2028`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(regex(pattern = "^[0-9]{4}(:[0-9]{4})?$")))]
    pub years: Vec<String>,
    /// Time zone by its IANA name, for example Europe/Paris. Default: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: Option<String>,
}

/// A part of a day.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TimeRange {
    /// Start, HH:MM.
    #[schemars(regex(pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$"))]
    pub start: String,
    /// End, HH:MM, itself not included; 24:00 is the end of the day.
    #[schemars(regex(pattern = "^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$"))]
    pub end: String,
}

/// While an alert that matches `source` fires, alerts that match `target` are not notified.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Inhibition {
    /// Matchers of the alert that silences.
    #[schemars(length(min = 1, max = 32), inner(length(min = 1, max = 1024)))]
    pub source: Vec<String>,
    /// Matchers of the alerts that are silenced.
    #[schemars(length(min = 1, max = 32), inner(length(min = 1, max = 1024)))]
    pub target: Vec<String>,
    /// Labels that must have the same value in both.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 253)))]
    pub equal: Vec<String>,
}

fn default_retention() -> PromDuration {
    PromDuration::from_mins(5 * 24 * 60)
}
