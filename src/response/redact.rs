//! Takes credentials and personal data out of text that is kept as evidence. Pure.
//!
//! By known shapes (JWTs, private keys, AWS keys, card numbers, ...) and by names (`password=`, `Authorization:`). It errs
//! on the side of taking out; what has neither a known shape nor a telling name cannot be recognised.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex};
use serde_json::Value;

/// What stands in the place of what was taken out.
pub const REDACTED: &str = "[redacted]";

/// Names after which a credential follows, at the end of a name: `secretName` names an object and stays.
pub const SECRET_NAME: &str = r"(?:pass(?:word|wd|phrase|code)?|pwd|secret|token|credentials?|api[_-]?key|access[_-]?key(?:[_-]?id)?|account[_-]?key|auth[_-]?key|encryption[_-]?key|signing[_-]?key|private[_-]?key|secret[_-]?key|signature|session[_-]?id|dsn|connection[_-]?string)(?:[_-]?(?:hash|value|base64|b64))?[_-]?\d*";

/// What a match becomes.
type With = fn(&Captures<'_>) -> String;

struct Rule {
    pattern: Regex,
    with: With,
}

fn everything(_: &Captures<'_>) -> String {
    REDACTED.to_owned()
}

/// All but the first group.
fn behind(found: &Captures<'_>) -> String {
    format!("{}{REDACTED}", &found[1])
}

/// All but the first group, unless that was done already.
fn header(found: &Captures<'_>) -> String {
    let value = found[0][found[1].len()..].trim();
    if value == REDACTED || value == &REDACTED[1..] { found[0].to_owned() } else { behind(found) }
}

/// The second group, unless it is no credential.
fn value(found: &Captures<'_>) -> String {
    let bare = found[2].trim_matches(['\\', '"', '\'']);
    let harmless = matches!(bare.to_ascii_lowercase().as_str(), "" | "true" | "false" | "null" | "nil" | "none");
    if harmless || bare.starts_with(REDACTED.trim_end_matches(']')) {
        return found[0].to_owned();
    }
    behind(found)
}

/// `Bearer` and `Basic` are words of prose too.
fn scheme(found: &Captures<'_>) -> String {
    let credential = found[2].bytes().any(|b| b.is_ascii_digit() || matches!(b, b'=' | b'+' | b'/' | b'_'));
    if credential { behind(found) } else { found[0].to_owned() }
}

fn card(found: &Captures<'_>) -> String {
    if is_card(&found[0]) { REDACTED.to_owned() } else { found[0].to_owned() }
}

static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let named = format!(r#"(?i)([a-z0-9_.-]*{SECRET_NAME}(?:\\*["'])?[ \t]*(?::|=>?)[ \t]*)"#);
    let rules: [(&str, With); 15] = [
        // Whole keys; one whose end is missing goes to the end of the text, one whose beginning is missing from its first
        // full line on.
        (
            r"(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\z)",
            everything,
        ),
        (r"(?:[^\n]*[A-Za-z0-9+/=]{40,}[ \t\r]*\n)+[^\n]*-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----", everything),
        // Digest holds quotes, so that the next rule would end too early.
        (r"(?i)(\bdigest\s+)username=[^\r\n]+", behind),
        (r#"(?i)\b((?:proxy-)?authorization(?:\\*["'])?[ \t]*[:=][ \t]*\[?[ \t]*(?:\\*["'])?)[^"'\\\r\n]+"#, header),
        (r#"(?i)\b((?:set-)?cookie(?:\\*["'])?[ \t]*[:=][ \t]*\[?[ \t]*(?:\\*["'])?)[^"'\\\r\n]+"#, header),
        (r"(?i)\b((?:bearer|basic|negotiate)\s+)([A-Za-z0-9+/_=.~-]{8,})", scheme),
        // User and password of a URL; up to the last @ before a blank, since passwords hold that sign too.
        (r#"([A-Za-z][A-Za-z0-9+.-]*://)[^\s?#"'<>]+@"#, user_of_url),
        // Of a data source of MySQL, which is no URL.
        (r"[A-Za-z0-9_.-]+:[^\s@]+(@(?:tcp|unix)\()", before),
        // JWTs, with or without a signature, and encrypted ones.
        (r"\beyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){1,4}", everything),
        (r"\b(?:AKIA|ASIA|AROA|AIDA|ABIA|ACCA)[A-Z0-9]{16}\b", everything),
        // Tokens that say themselves whose they are: GitHub, GitLab, Slack, Google, Stripe, npm and others.
        (
            r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[abeoprs]-[A-Za-z0-9-]{10,}|xapp-[A-Za-z0-9-]{10,}|AIza[\w-]{30,}|ya29\.[\w-]{20,}|[rsp]k_(?:live|test)_[A-Za-z0-9]{10,}|sk-[A-Za-z0-9_-]{20,}|npm_[A-Za-z0-9]{30,}|hvs\.[\w-]{20,}|dop_v1_[0-9a-f]{40,})",
            everything,
        ),
        (r"(https://hooks\.slack\.com/(?:services|workflows)/)\S+", behind),
        (r"(?i)(--[a-z-]*(?:password|passwd|token|secret|api-?key)[ \t]+)[^\s-]\S*", behind),
        (r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}", everything),
        (r"\d(?:[ -]?\d){12,}", card),
    ];
    let quoted = Rule { pattern: regex(&format!(r#"{named}(\\*"[^"\n]*"|'[^'\n]*')"#)), with: value };
    let bare = Rule { pattern: regex(&format!(r#"{named}([^\s"',;&}})\]\\]+)"#)), with: value };
    let (named, shapes) =
        ([quoted, bare], rules.into_iter().map(|(pattern, with)| Rule { pattern: regex(pattern), with }));
    shapes.chain(named).collect()
});

fn regex(pattern: &str) -> Regex {
    // The patterns are constants, and a test uses each one.
    Regex::new(pattern).expect("a valid pattern")
}

fn user_of_url(found: &Captures<'_>) -> String {
    // A path may hold an @ without any user before it.
    let rest = &found[0][found[1].len()..];
    match rest.split_once('/') {
        Some((host, _)) if !host.contains('@') && host.split_once(':').is_none_or(|(_, port)| is_port(port)) => {
            found[0].to_owned()
        }
        _ => format!("{}{REDACTED}@", &found[1]),
    }
}

fn is_port(text: &str) -> bool {
    !text.is_empty() && text.len() <= 5 && text.bytes().all(|b| b.is_ascii_digit())
}

fn before(found: &Captures<'_>) -> String {
    format!("{REDACTED}{}", &found[1])
}

/// The text without what should not be read by everybody who may read a ConfigMap.
pub fn redact(text: &str) -> String {
    let mut text = Cow::Borrowed(text);
    for rule in RULES.iter() {
        if let Cow::Owned(changed) = rule.pattern.replace_all(&text, rule.with) {
            text = Cow::Owned(changed);
        }
    }
    text.into_owned()
}

/// Whether what has this name, an environment variable for example, is a credential.
pub fn is_secret_name(name: &str) -> bool {
    static NAME: LazyLock<Regex> = LazyLock::new(|| regex(&format!("(?i){SECRET_NAME}$|^auth$|[_-]auth$|[_-]key$")));
    NAME.is_match(name)
}

/// An object of Kubernetes: values of environment variables and arguments after flags whose names say that they are
/// credentials, and all other text as `redact` does.
pub fn object(value: &mut Value) {
    match value {
        Value::String(text) => *text = redact(text),
        Value::Array(items) => {
            let mut secret = false;
            for item in items {
                let flag =
                    item.as_str().map(|text| text.starts_with('-') && !text.contains('=') && is_secret_name(text));
                match item {
                    Value::String(text) if secret && !text.starts_with('-') => *text = REDACTED.to_owned(),
                    _ => object(item),
                }
                secret = flag == Some(true);
            }
        }
        Value::Object(fields) => {
            let secret = fields.get("name").and_then(Value::as_str).is_some_and(is_secret_name);
            for (key, field) in fields {
                match field {
                    Value::String(text) if !text.is_empty() && (secret && key == "value" || is_secret_name(key)) => {
                        *text = REDACTED.to_owned();
                    }
                    _ => object(field),
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Whether it is the number of a payment card: a length and a beginning that are in use, and the checksum of Luhn
/// (ISO/IEC 7812-1). Time stamps have the one or the other by chance, hardly ever both.
fn is_card(text: &str) -> bool {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(10)).collect();
    let first = |count: usize| digits.iter().take(count).fold(0, |number, digit| number * 10 + digit);
    let in_use = match (digits.first(), digits.len()) {
        (Some(4), 13 | 16 | 19) | (Some(6), 16..=19) => true,
        (Some(5), 16) => (51..=55).contains(&first(2)),
        (Some(2), 16) => (2221..=2720).contains(&first(4)),
        (Some(3), 14..=16) => matches!(first(2), 30 | 34..=39),
        _ => false,
    };
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| match (place % 2, digit * 2) {
            (0, _) => *digit,
            (_, double) if double > 9 => double - 9,
            (_, double) => double,
        })
        .sum();
    in_use && sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_known_to_be_a_credential_is_taken_out() {
        for (text, expected) in [
            ("password=hunter2 user=bob", "password=[redacted] user=bob"),
            ("DB_PASSWORD: hunter2", "DB_PASSWORD: [redacted]"),
            (r#"{"password":"hun ter2","user":"bob"}"#, r#"{"password":[redacted],"user":"bob"}"#),
            (r#"{\"apiKey\":\"abc\",\"n\":1}"#, r#"{\"apiKey\":[redacted],\"n\":1}"#),
            ("client_secret='a b'", "client_secret=[redacted]"),
            ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG", "AWS_SECRET_ACCESS_KEY=[redacted]"),
            ("access token => abc123", "access token => [redacted]"),
            ("GET /login?token=abc&next=/home", "GET /login?token=[redacted]&next=/home"),
            ("mysqldump --password hunter2 shop", "mysqldump --password [redacted] shop"),
            ("> Authorization: Basic dXNlcjpwYXNz", "> Authorization: [redacted]"),
            (r#"{"Authorization":["Bearer abc.def"],"x":1}"#, r#"{"Authorization":["[redacted]"],"x":1}"#),
            (r#"Digest username="bob", response="6629""#, "Digest [redacted]"),
            ("Set-Cookie: session=abc; Path=/", "Set-Cookie: [redacted]"),
            ("sent bearer abcdefgh12345678 upstream", "sent bearer [redacted] upstream"),
            ("postgres://shop:s3c@ret/x@db:5432/shop?sslmode=off", "postgres://[redacted]@db:5432/shop?sslmode=off"),
            ("redis://:secret@cache:6379", "redis://[redacted]@cache:6379"),
            ("shop:s3cret@tcp(db:3306)/shop", "[redacted]@tcp(db:3306)/shop"),
            ("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc-_x end", "jwt [redacted] end"),
            ("key AKIAIOSFODNN7EXAMPLE.", "key [redacted]."),
            ("ghp_abcdefghijklmnopqrstuvwxyz012345 leaked", "[redacted] leaked"),
            ("card 4111 1111 1111 1111 declined", "card [redacted] declined"),
            ("card 5500-0000-0000-0004 declined", "card [redacted] declined"),
            ("card 378282246310005", "card [redacted]"),
            ("mail to jane.doe+x@example.co.uk failed", "mail to [redacted] failed"),
            ("https://hooks.slack.com/services/T0/B0/xyz posted", "https://hooks.slack.com/services/[redacted] posted"),
        ] {
            assert_eq!(redact(text), expected, "{text}");
            assert_eq!(redact(expected), expected, "twice is the same as once");
        }
    }

    #[test]
    fn a_private_key_goes_as_a_whole_and_also_where_the_log_begins_or_ends_within_it() {
        let line = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKB";
        let (begin, end) = ("-----BEGIN RSA PRIVATE KEY-----", "-----END RSA PRIVATE KEY-----");
        assert_eq!(redact(&format!("a\n{begin}\n{line}\nQ==\n{end}\nb")), "a\n[redacted]\nb");
        assert_eq!(redact(&format!("a\n{begin}\n{line}")), "a\n[redacted]");
        assert_eq!(redact(&format!("{line}\n{line}\n{end}\nb")), "[redacted]\nb");
        let public = "-----BEGIN CERTIFICATE-----";
        assert_eq!(redact(public), public);
    }

    #[test]
    fn what_a_person_needs_to_understand_the_failure_stays() {
        for text in [
            "2026-11-21T10:00:00.123456789Z GET /checkout 500 in 12.5ms",
            "1732183200000 1732183200123456 1732183200123456789",
            "image registry.example.com/shop@sha256:3b1f0c8e8f6a7d5c4b3a29181706f5e4d3c2b1a0998877665544332211000000",
            "secretName: shop-tls",
            "automountServiceAccountToken: true",
            "tokenExpirationSeconds: 3607",
            "https://example.com/@scope/package http://db:5432/a@b",
            "basic authentication failed",
            "trace 4bf92f3577b34da6a3ce929d0e0e4736 span 00f067aa0ba902b7",
            "connect: connection refused (10.0.0.7:5432)",
            "password: ",
            "4111 1111 1111 1112",
        ] {
            assert_eq!(redact(text), text);
        }
    }

    #[test]
    fn an_object_keeps_its_shape_and_loses_its_credentials() {
        let mut deployment = json!({"spec": {"containers": [{
            "env": [
                {"name": "DB_PASSWORD", "value": "hunter2"}, {"name": "LEVEL", "value": "debug"},
                {"name": "URL", "value": "amqp://u:p@mq"}, {"name": "STRIPE_KEY", "value": "x"},
                {"name": "API_TOKEN", "valueFrom": {"secretKeyRef": {"name": "shop", "key": "token"}}},
            ],
            "args": ["--token", "abc", "--verbose", "--password=x", "--secret", "--port=80"],
        }]}});
        object(&mut deployment);
        let expected = json!({"spec": {"containers": [{
            "env": [
                {"name": "DB_PASSWORD", "value": "[redacted]"}, {"name": "LEVEL", "value": "debug"},
                {"name": "URL", "value": "amqp://[redacted]@mq"}, {"name": "STRIPE_KEY", "value": "[redacted]"},
                {"name": "API_TOKEN", "valueFrom": {"secretKeyRef": {"name": "shop", "key": "token"}}},
            ],
            "args": ["--token", "[redacted]", "--verbose", "--password=[redacted]", "--secret", "--port=80"],
        }]}});
        assert_eq!(deployment, expected);
    }
}
