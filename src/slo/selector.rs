//! Selectors of one metric: parsed, never pasted. Pure.

use promql_parser::label::MatchOp;
use promql_parser::parser::{Expr, VectorSelector};

use super::series::quoted;
use super::validate::Refusal;
use crate::rule::promql;

/// The series of one metric, parsed, and printed anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    name: String,
    matchers: Vec<String>,
}

impl Selector {
    /// `field` is what a refusal names.
    pub fn of(field: &str, written: &str) -> Result<Self, Refusal> {
        let tree = promql::tree(written).map_err(|error| Refusal {
            field: field.to_owned(),
            column: error.column,
            message: format!("{written:?} is not a selector: {}; write a metric and its labels, for example http_requests_total{{job=\"checkout\"}}", error.message),
        });
        // A range selector is refused by the parser as no instant vector; its own words are better.
        let wrong = |message: &str| Refusal {
            field: field.to_owned(),
            column: None,
            message: format!("{written:?} {message}"),
        };
        let selector = match tree {
            Ok(Expr::VectorSelector(selector)) => selector,
            Ok(_) => {
                return Err(wrong(
                    "is an expression, not a selector: write a metric and its labels alone, without functions and operators; rate and sum are added for you, and the indicator `events` takes free expressions",
                ));
            }
            Err(refusal) if refusal.message.contains("range vector") => {
                return Err(wrong("takes no range: remove [...]; rate and sum are added for you"));
            }
            Err(refusal) => return Err(refusal),
        };
        let VectorSelector { name, matchers, offset, at } = selector;
        if offset.is_some() || at.is_some() {
            return Err(wrong("takes no offset and no @: an SLO is about the present"));
        }
        if !matchers.or_matchers.is_empty() {
            return Err(wrong(
                "joins matchers by `or`, which Prometheus does not know: use a regular expression, such as code=~\"4..|5..\"",
            ));
        }
        let mut found = name;
        let mut rendered = vec![];
        for matcher in matchers.matchers {
            if matcher.name != "__name__" {
                rendered.push(matcher.to_string());
            } else if matches!(matcher.op, MatchOp::Equal) && found.is_none() {
                found = Some(matcher.value);
            }
        }
        let Some(name) = found.filter(|name| !name.is_empty()) else {
            return Err(wrong(
                "names no metric: an indicator needs exactly one, since series of several metrics cannot be told apart after rate()",
            ));
        };
        Ok(Self { name, matchers: rendered })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether a label is matched, in whatever way.
    pub fn matches_on(&self, label: &str) -> bool {
        let operator = |rest: &str| rest.starts_with(['=', '!']);
        self.matchers.iter().any(|matcher| matcher.strip_prefix(label).is_some_and(operator))
    }

    /// As PromQL.
    pub fn text(&self) -> String {
        self.with("", None)
    }

    /// With a suffix of the name and a matcher more.
    pub fn with(&self, suffix: &str, more: Option<&str>) -> String {
        let name = format!("{}{suffix}", self.name);
        let plain = name
            .bytes()
            .enumerate()
            .all(|(at, b)| b.is_ascii_alphabetic() || matches!(b, b'_' | b':') || at > 0 && b.is_ascii_digit());
        let mut inside: Vec<&str> = self.matchers.iter().map(String::as_str).chain(more).collect();
        let in_quotes = quoted(&name);
        if !plain {
            inside.insert(0, &in_quotes);
        }
        let name = if plain { name.as_str() } else { "" };
        if inside.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", inside.join(",")) }
    }
}
