//! The routing tree of a stack, checked. Pure. A route with an error is left out and named; its alerts go on to the
//! routes after it, so that rather too many people hear of them than none.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt;

use super::validate::Problem;
use crate::api::NotificationChannel;
use crate::api::common::SecretKeyRef;
use crate::api::duration::PromDuration;
use crate::api::monitoring_stack::{AlertmanagerSpec, DeadMansSwitch, Inhibition, MuteInterval, Route};
use crate::matcher;
use crate::nearest::nearest;

/// Reason of a problem: a route names a channel that is not there.
pub const CHANNEL_NOT_FOUND: &str = "ChannelNotFound";

/// Shortest time between two signs of life.
const SHORTEST: PromDuration = PromDuration::from_secs(10);

/// What is known of the Secrets that are referred to: their keys, never their values.
#[derive(Clone, Debug, PartialEq)]
pub enum Secrets {
    /// Offline: every key is taken to be there.
    Unknown,
    /// The keys of each Secret that exists.
    Known(BTreeMap<String, BTreeSet<String>>),
}

impl Secrets {
    /// What is wrong with a reference.
    pub fn missing(&self, field: &str, wanted: &SecretKeyRef) -> Option<String> {
        let Self::Known(secrets) = self else { return None };
        match secrets.get(&wanted.name) {
            None => Some(format!("{field} refers to Secret {}, which does not exist", wanted.name)),
            Some(keys) if !keys.contains(&wanted.key) => {
                let keys = if keys.is_empty() { "none".to_owned() } else { Vec::from_iter(keys.clone()).join(", ") };
                Some(format!("{field} refers to key {} of Secret {}, which has {keys}", wanted.key, wanted.name))
            }
            Some(_) => None,
        }
    }
}

/// The routing tree that can be shipped.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Routing {
    pub routes: Vec<Route>,
    pub default_channel: Option<String>,
    pub dead_mans_switch: Option<DeadMansSwitch>,
    /// The channels that are used, by name.
    pub channels: BTreeMap<String, NotificationChannel>,
    pub mute_intervals: Vec<MuteInterval>,
    pub inhibition: Vec<Inhibition>,
}

/// The routing tree without what is wrong in it, and what that was.
pub fn checked(
    spec: &AlertmanagerSpec,
    channels: &[NotificationChannel],
    secrets: &Secrets,
) -> (Routing, Vec<Problem>) {
    let channels: BTreeMap<String, &NotificationChannel> = channels.iter().map(|c| (c.name_any(), c)).collect();
    let mut problems = vec![];
    let mut routing = Routing::default();
    let mut refuse = |reason, message| problems.push(Problem { reason, message });

    for interval in &spec.mute_intervals {
        match interval_error(interval, &routing.mute_intervals) {
            Some(error) => {
                refuse("InvalidMuteInterval", format!("muteInterval {} is left out: {error}", interval.name))
            }
            None => routing.mute_intervals.push(interval.clone()),
        }
    }
    let known_intervals: BTreeSet<&str> = routing.mute_intervals.iter().map(|i| i.name.as_str()).collect();
    let mut used = BTreeMap::new();
    for (index, route) in spec.routes.iter().enumerate() {
        let name = format!("spec.alertmanager.routes[{index}] (channel {})", route.channel);
        let fault = channel_fault(&route.channel, &channels, secrets)
            .or_else(|| route_fault(route, &known_intervals).map(|why| ("InvalidRoute", why)));
        match fault {
            Some((reason, why)) => refuse(reason, format!("{name} is left out: {why}")),
            None => {
                used.extend(channels.get(&route.channel).map(|c| (route.channel.clone(), (*c).clone())));
                routing.routes.push(route.clone());
            }
        }
    }
    if let Some(channel) = &spec.default_channel {
        match channel_fault(channel, &channels, secrets) {
            Some((reason, why)) => refuse(reason, format!("spec.alertmanager.defaultChannel is left out: {why}")),
            None => {
                used.extend(channels.get(channel).map(|c| (channel.clone(), (*c).clone())));
                routing.default_channel = Some(channel.clone());
            }
        }
    }
    if let Some(switch) = &spec.dead_mans_switch {
        match switch_fault(switch, secrets) {
            Some((reason, why)) => refuse(reason, format!("spec.alertmanager.deadMansSwitch is left out: {why}")),
            None => routing.dead_mans_switch = Some(switch.clone()),
        }
    }
    for (index, inhibition) in spec.inhibition.clone().unwrap_or_else(default_inhibition).into_iter().enumerate() {
        let all = inhibition.source.iter().chain(&inhibition.target);
        match all.map(|m| matcher::parse(m)).find_map(Result::err) {
            Some(why) => {
                refuse("InvalidInhibition", format!("spec.alertmanager.inhibition[{index}] is left out: {why}"))
            }
            None => routing.inhibition.push(inhibition),
        }
    }
    routing.channels = used;
    (routing, problems)
}

/// Critical over warning and info, about the same thing: our tiers share every label but the severity.
fn default_inhibition() -> Vec<Inhibition> {
    let same = ["alertname", "namespace", "job", "service", "instance", "pod"];
    vec![Inhibition {
        source: vec![r#"severity="critical""#.into()],
        target: vec![r#"severity=~"warning|info""#.into()],
        equal: same.map(str::to_owned).to_vec(),
    }]
}

fn channel_fault(
    name: &str,
    channels: &BTreeMap<String, &NotificationChannel>,
    secrets: &Secrets,
) -> Option<(&'static str, String)> {
    let Some(channel) = channels.get(name) else {
        let hint = match nearest(channels.keys().map(String::as_str), name) {
            Some(near) => format!("did you mean {near}?"),
            None if channels.is_empty() => "there is none in this namespace".to_owned(),
            None => format!("this namespace has {}", Vec::from_iter(channels.keys().cloned()).join(", ")),
        };
        return Some((CHANNEL_NOT_FOUND, format!("there is no NotificationChannel {name}: {hint}")));
    };
    if channel.spec.github.is_some() {
        let why = format!(
            "NotificationChannel {name} has spec.github, to which Alertmanager cannot send: it serves the steps githubIssue and githubWorkflow of AlertResponses; name a channel of another type"
        );
        return Some(("ChannelOfGithub", why));
    }
    let missing = channel.spec.routed_secret_refs().find_map(|(field, wanted)| secrets.missing(field, wanted))?;
    Some(("ChannelSecretMissing", format!("NotificationChannel {name}: {missing}")))
}

fn switch_fault(switch: &DeadMansSwitch, secrets: &Secrets) -> Option<(&'static str, String)> {
    let DeadMansSwitch { url: _, url_secret_ref, interval } = switch;
    if *interval < SHORTEST {
        let why = format!("interval {interval} is less than {SHORTEST}, the least that Alertmanager keeps up with");
        return Some(("InvalidRoute", why));
    }
    let missing = secrets.missing("urlSecretRef", url_secret_ref.as_ref()?)?;
    Some(("ChannelSecretMissing", missing))
}

fn route_fault(route: &Route, known_intervals: &BTreeSet<&str>) -> Option<String> {
    // One bad matcher would make Alertmanager refuse the whole configuration.
    if let Some(why) = route.matchers.iter().find_map(|m| matcher::parse(m).err()) {
        return Some(why.to_string());
    }
    for (field, value) in [("groupInterval", route.group_interval), ("repeatInterval", route.repeat_interval)] {
        if value.is_some_and(|v| v.is_zero()) {
            return Some(format!("{field} is 0s, and Alertmanager wants more than that"));
        }
    }
    if route.group_by.iter().any(|l| l == "...") && route.group_by.len() > 1 {
        return Some("groupBy has `...`, which is every label, beside others: write one or the other".to_owned());
    }
    let mut seen = BTreeSet::new();
    if let Some(twice) = route.group_by.iter().find(|label| !seen.insert(label.as_str())) {
        return Some(format!("groupBy names {twice} twice"));
    }
    let unknown = route.mute_time_intervals.iter().find(|name| !known_intervals.contains(name.as_str()))?;
    let known = Vec::from_iter(known_intervals.iter().copied()).join(", ");
    let known = if known.is_empty() { "there are none".to_owned() } else { format!("there are {known}") };
    Some(format!("muteTimeIntervals names {unknown}, which is not in muteIntervals: {known}"))
}

const WEEKDAYS: [&str; 7] = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];
const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// What Alertmanager would refuse in a set of times.
fn interval_error(interval: &MuteInterval, before: &[MuteInterval]) -> Option<String> {
    if before.iter().any(|other| other.name == interval.name) {
        return Some("the name is used twice".to_owned());
    }
    let month = |text: &str| match text.parse::<i32>() {
        Ok(number) => (1..=12).contains(&number).then_some(number),
        Err(_) => MONTHS.iter().position(|m| *m == text).map(|p| p as i32 + 1),
    };
    let day = |text: &str| text.parse::<i32>().ok().filter(|d| *d != 0 && (-31..=31).contains(d));
    for times in &interval.intervals {
        for range in &times.times {
            // Both are HH:MM, so that their order as text is their order in time.
            if range.start >= range.end {
                return Some(format!(
                    "{}-{} ends before it starts: write a time across midnight as two, up to 24:00 and from 00:00",
                    range.start, range.end
                ));
            }
        }
        let weekday = |text: &str| WEEKDAYS.iter().position(|w| *w == text).map(|p| p as i32);
        let year = |text: &str| text.parse::<i32>().ok();
        let wrong = ranges("weekdays", &times.weekdays, weekday)
            .or_else(|| ranges("months", &times.months, month))
            .or_else(|| ranges("years", &times.years, year))
            .or_else(|| days(&times.days_of_month, day));
        if wrong.is_some() {
            return wrong;
        }
        if let Some(zone) = &times.time_zone
            && jiff::tz::TimeZoneDatabase::bundled().get(zone).is_err()
        {
            return Some(format!("timeZone {zone} is not known: write an IANA name, for example Europe/Paris"));
        }
    }
    None
}

fn ranges(field: &str, values: &[String], number: impl Fn(&str) -> Option<i32>) -> Option<String> {
    values.iter().find_map(|text| {
        let (from, to) = text.split_once(':').unwrap_or((text, text));
        match (number(from), number(to)) {
            (Some(from), Some(to)) if from <= to => None,
            (Some(_), Some(_)) => Some(format!("{field} {text} ends before it starts: write it as two")),
            _ => Some(format!("{field} {text} is not one that Alertmanager knows")),
        }
    })
}

/// Negative days count from the end of the month, and Alertmanager does not mix both signs backwards.
fn days(values: &[String], number: impl Fn(&str) -> Option<i32>) -> Option<String> {
    values.iter().find_map(|text| {
        let (from, to) = text.split_once(':').unwrap_or((text, text));
        match (number(from), number(to)) {
            (Some(from), Some(to)) if (from < 0 && to > 0) || ((from < 0) == (to < 0) && from > to) => {
                Some(format!("daysOfMonth {text} ends before it starts"))
            }
            (Some(_), Some(_)) => None,
            _ => Some(format!("daysOfMonth {text} is not between 1 and 31, or -31 and -1")),
        }
    })
}

#[cfg(test)]
mod tests;
