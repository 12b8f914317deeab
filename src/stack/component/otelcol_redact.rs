//! What is taken out of logs and traces before they leave a Collector. Pure.
//!
//! Two steps: where a name tells of a credential (`password=`), only what follows goes, and the record stays readable;
//! whatever has a shape of its own (a card number, a token) goes as a whole. The first is done by statements, the second
//! by the processor `redaction`, which also looks into values that are no text and goes by the names of fields.

use super::otelcol_config::{Processor, Redaction, Statements, Transform};
use super::ottl::{plain, quote};
use crate::api::monitoring_stack::{self, RedactionPreset};
use crate::response::redact::SECRET_NAME;

/// Fields that this program sets itself: a pattern of a person may not make them useless.
const OURS: [&str; 9] =
    ["source", "namespace", "workload", "pod", "container", "node", "stream", "service.name", "evenkeel.service"];

/// Pattern and replacement of what follows a telling name.
fn named() -> Vec<(String, String)> {
    let name = format!(r#"[a-z0-9_.-]*{SECRET_NAME}"#);
    let is = r"[ \t]*(?::|=>?)[ \t]*";
    let keep = "${1}****".to_owned();
    let both = "${1}****${2}".to_owned();
    [
        // Quoted text that is itself part of a JSON string, with as many backslashes as it takes.
        (format!(r#"(?i)({name}\\*["']?{is}\\+")[^"\n]*?(\\+")"#), both.clone()),
        (format!(r#"(?i)({name}["']?{is}")(?:[^"\\\n]|\\.)*(")"#), both.clone()),
        (format!(r#"(?i)({name}["']?{is}')[^'\n]*(')"#), both),
        // Lists and objects up to their first end, numbers and words; a key of JSON keeps a value that JSON can hold.
        (format!(r#"(?i)({name}"{is})(?:\[[^\]]*\]?|\{{[^}}]*\}}?|[^\s"',;&}})\]\[{{\\]+)"#), r#"${1}"****""#.to_owned()),
        (format!(r#"(?i)({name}(?:\\*["'])?{is})(?:\[[^\]]*\]?|\{{[^}}]*\}}?|[^\s"',;&}})\]\[{{\\]+)"#), keep.clone()),
        (r"(?i)(\bdigest\s+)username=[^\r\n]+".to_owned(), keep.clone()),
        (
            r#"(?i)\b((?:(?:proxy-)?authorization|(?:set-)?cookie)(?:\\*["'])?[ \t]*[:=][ \t]*\[?[ \t]*(?:\\*["'])?)[^"'\\\r\n]+"#
                .to_owned(),
            keep.clone(),
        ),
        // Words of prose follow `basic` too: a credential is long or has what words have not.
        (
            r"(?i)\b((?:bearer|basic|negotiate)\s+)(?:[A-Za-z.~-]*[0-9=+/_][A-Za-z0-9+/_=.~-]{7,}|[A-Za-z0-9+/_=.~-]{16,})"
                .to_owned(),
            keep.clone(),
        ),
        // A password with a slash: after the colon stands no port.
        (r#"([A-Za-z][A-Za-z0-9+.-]*://)[^\s:/?#"'<>@]*:[0-9]{0,5}[^0-9/\s"'<>][^\s"'<>]*(@)"#.to_owned(), "${1}****${2}".to_owned()),
        (r#"([A-Za-z][A-Za-z0-9+.-]*://)[^\s/?#"'<>]+(@)"#.to_owned(), "${1}****${2}".to_owned()),
        (r"[A-Za-z0-9_.-]+:[^\s@]+(@(?:tcp|unix)\()".to_owned(), "****${1}".to_owned()),
        (r"(?i)(--[a-z-]*(?:password|passwd|token|secret|api-?key)[ \t]+)[^\s-]\S*".to_owned(), keep),
    ]
    .to_vec()
}

const SHAPES: [&str; 6] = [
    // Whole keys; one whose end is missing goes to the end of the text.
    r"(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\z)",
    // A line of one, where each line is a record.
    r"(?m)^[ \t]*[A-Za-z0-9+/]{64}[ \t\r]*$",
    r"\beyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){1,4}",
    r"\b(?:AKIA|ASIA|AROA|AIDA|ABIA|ACCA)[A-Z0-9]{16}\b",
    r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[abeoprs]-[A-Za-z0-9-]{10,}|xapp-[A-Za-z0-9-]{10,}|AIza[\w-]{30,}|ya29\.[\w-]{20,}|[rsp]k_(?:live|test)_[A-Za-z0-9]{10,}|sk-[A-Za-z0-9_-]{20,}|npm_[A-Za-z0-9]{30,}|hvs\.[\w-]{20,}|dop_v1_[0-9a-f]{40,})",
    r"https://hooks\.slack\.com/(?:services|workflows)/\S+",
];

/// Beginnings and lengths that are in use, with blanks or dashes between the digits. The checksum (Luhn) is beyond RE2.
const CARDS: [&str; 4] = [
    r"4\d{3}(?:[ -]?\d{4}){2}[ -]?\d{1,4}(?:[ -]?\d{1,3})?",
    r"(?:5[1-5]\d{2}|2(?:22[1-9]|2[3-9]\d|[3-6]\d{2}|7[01]\d|720)|35\d{2}|6\d{3})(?:[ -]?\d{4}){3}(?:[ -]?\d{1,3})?",
    r"3[47]\d{2}[ -]?\d{6}[ -]?\d{5}",
    r"3(?:0[0-5]|[689]\d)\d[ -]?\d{6}[ -]?\d{4}",
];

/// Within text: not the digits of a fraction, nor those within a longer number.
fn cards() -> Vec<(String, String)> {
    let within = |card: &&str| (format!(r"((?:^|[^0-9.])){card}(?:\b|[A-Za-z_])"), "${1}****".to_owned());
    CARDS.iter().map(within).collect()
}

/// The sign also as JSON and URLs may write it.
const EMAIL: &str = r"[A-Za-z0-9._%+-]+(?:@|%40|\\u0040)[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}";

/// What is done to logs, or to traces.
pub struct Redactors {
    pub logs: Vec<(&'static str, Processor)>,
    pub traces: Vec<(&'static str, Processor)>,
}

/// The processors of a stack, in order.
pub fn processors(wanted: Option<&monitoring_stack::Redaction>) -> Redactors {
    let redaction = wanted.cloned().unwrap_or_default();
    let has = |preset| redaction.presets.contains(&preset);
    let mut named = if has(RedactionPreset::Credentials) { named() } else { vec![] };
    let mut shapes: Vec<String> = vec![];
    if has(RedactionPreset::Credentials) {
        shapes.extend(SHAPES.map(str::to_owned));
    }
    if has(RedactionPreset::Cards) {
        named.extend(cards());
        // The value of a field, which may be a number.
        shapes.extend(CARDS.map(|card| format!("^{card}$")));
    }
    if has(RedactionPreset::Email) {
        shapes.push(EMAIL.to_owned());
    }
    shapes.extend(redaction.patterns);
    let keys = match has(RedactionPreset::Credentials) {
        // Maps and lists are flattened: with the names and numbers of what was within behind it.
        true => vec![plain(&format!(r"(?i)(?:{SECRET_NAME}|authorization|cookie)(?:\.|$)"))],
        false => vec![],
    };
    let processor = || {
        Processor::Redaction(Redaction {
            allow_all_keys: true,
            // A card number in JSON is a number.
            redact_all_types: true,
            ignored_keys: OURS.to_vec(),
            blocked_key_patterns: keys.clone(),
            blocked_values: shapes.iter().map(|shape| plain(shape)).collect(),
            summary: "silent",
        })
    };
    let transform = |log_statements, trace_statements| {
        Processor::Transform(Transform { error_mode: "ignore", log_statements, trace_statements })
    };
    Redactors {
        logs: vec![("transform/redact", transform(log_statements(&named), vec![])), ("redaction", processor())],
        traces: vec![
            ("transform/redact_traces", transform(vec![], trace_statements(&named, &shapes))),
            ("redaction", processor()),
        ],
    }
}

fn log_statements(named: &[(String, String)]) -> Vec<Statements> {
    // Maps as text and nested fields as fields, so that there is nowhere to hide.
    let mut record = vec![
        "set(log.body, String(log.body)) where not IsString(log.body)".to_owned(),
        "flatten(log.attributes)".to_owned(),
    ];
    record.extend(named.iter().map(|rule| text("log.body", rule)));
    record.extend(named.iter().map(|rule| map("log.attributes", rule)));
    // Loki takes no record with more or larger fields.
    record.push("limit(log.attributes, 64, [])".to_owned());
    record.push("truncate_all(log.attributes, 512)".to_owned());
    let log = Statements { context: "log", conditions: vec![], statements: record };
    [vec![log], around(named)].concat()
}

/// Of what logs and spans are written by.
fn around(named: &[(String, String)]) -> Vec<Statements> {
    let of = |context: &'static str| {
        let attributes = format!("{context}.attributes");
        let flat = std::iter::once(format!("flatten({attributes})"));
        let statements = flat.chain(named.iter().map(|rule| map(&attributes, rule))).collect();
        Statements { context, conditions: vec![], statements }
    };
    vec![of("resource"), of("scope")]
}

fn trace_statements(named: &[(String, String)], shapes: &[String]) -> Vec<Statements> {
    let shapes: Vec<(String, String)> = shapes.iter().map(|s| (s.clone(), "****".to_owned())).collect();
    let of = |context: &'static str, texts: &[&str]| {
        let attributes = format!("{context}.attributes");
        let mut statements = vec![format!("flatten({attributes})")];
        statements.extend(named.iter().map(|rule| map(&attributes, rule)));
        for place in texts {
            // The processor `redaction` sees attributes only.
            statements.extend(named.iter().chain(&shapes).map(|rule| text(place, rule)));
        }
        Statements { context, conditions: vec![], statements }
    };
    let mut all = around(named);
    all.push(of("span", &["span.name", "span.status.message"]));
    all.push(of("spanevent", &["spanevent.name"]));
    all
}

fn text(place: &str, (pattern, with): &(String, String)) -> String {
    format!("replace_pattern({place}, {}, {})", quote(pattern), quote(with))
}

fn map(place: &str, (pattern, with): &(String, String)) -> String {
    format!("replace_all_patterns({place}, \"value\", {}, {})", quote(pattern), quote(with))
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::*;
    use crate::stack::validate::logs::re2;

    fn redacted(text: &str) -> String {
        let all = named().into_iter().chain(cards());
        let shapes = SHAPES.into_iter().chain([EMAIL]).map(|shape| (shape.to_owned(), "****".to_owned()));
        all.chain(shapes).fold(text.to_owned(), |text, (pattern, with)| {
            Regex::new(&pattern).unwrap().replace_all(&text, with).into_owned()
        })
    }

    #[test]
    fn every_pattern_is_one_that_the_collector_reads() {
        let named = named().into_iter().chain(cards()).map(|(pattern, _)| pattern);
        let shapes = SHAPES.into_iter().chain(CARDS).chain([EMAIL]).map(str::to_owned);
        for pattern in named.chain(shapes) {
            assert_eq!(re2::groups(&pattern), Ok(vec![]), "{pattern}");
        }
    }

    #[test]
    fn credentials_go_and_the_record_stays_readable() {
        for (text, expected) in [
            ("password=hunter2 user=bob", "password=**** user=bob"),
            (r#"{"password":"hun\"ter2","user":"bob"}"#, r#"{"password":"****","user":"bob"}"#),
            (r#"{"m":"{\"apiKey\":\"abc\",\"n\":1}"}"#, r#"{"m":"{\"apiKey\":\"****\",\"n\":1}"}"#),
            (r#"{"token":12,"tokens":3,"secret":["a","b"]}"#, r#"{"token":"****","tokens":3,"secret":"****"}"#),
            ("client_secret='a b'", "client_secret='****'"),
            ("GET /login?token=abc&next=/home", "GET /login?token=****&next=/home"),
            (r#"> "Authorization": "Basic dXNlcjpwYXNz""#, r#"> "Authorization": "****""#),
            ("sent bearer abcdefgh12345678 upstream", "sent bearer **** upstream"),
            ("postgres://shop:s3c@ret/x@db:5432/shop", "postgres://****@db:5432/shop"),
            ("redis://:secret@cache:6379", "redis://****@cache:6379"),
            ("shop:s3cret@tcp(db:3306)/shop", "****@tcp(db:3306)/shop"),
            ("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc-_x end", "jwt **** end"),
            ("card 4111 1111 1111 1111 4111111111111111 declined", "card **** **** declined"),
            ("card_5500-0000-0000-0004,378282246310005", "card_****,****"),
            ("mail to jane.doe+x@example.co.uk failed", "mail to **** failed"),
        ] {
            assert_eq!(redacted(text), expected, "{text}");
            assert_eq!(redacted(expected), expected, "twice is the same as once");
        }
    }

    #[test]
    fn what_a_person_needs_to_understand_the_failure_stays() {
        for text in [
            "2026-11-21T10:00:00.123456789Z GET /checkout 500 in 12.5ms",
            "1732183200000 1732183200123456 1732183200123456789",
            "took 0.4123456789012345 s",
            "http://db:5432/a@b",
            "basic authentication failed",
            "trace 4bf92f3577b34da6a3ce929d0e0e4736 span 00f067aa0ba902b7",
            "secretName: shop-tls",
        ] {
            assert_eq!(redacted(text), text);
        }
    }
}
