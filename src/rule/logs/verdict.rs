//! What Loki says of expressions, remembered. Pure.

use std::collections::{BTreeSet, HashMap};

use crate::api::alert_rule::AlertRuleSpec;
use crate::rule::promql::ExprError;

/// So many expressions are remembered.
const MOST: usize = 10_000;

/// Verdicts by expression. Those of one Loki count for all: they differ by their versions at most.
#[derive(Debug, Default)]
pub struct Verdicts(HashMap<String, Result<(), ExprError>>);

impl Verdicts {
    /// The expressions of `spec` that nobody has judged yet.
    pub fn open<'a>(&self, spec: &'a AlertRuleSpec) -> BTreeSet<&'a str> {
        let exprs = spec.rules.iter().map(|rule| rule.expr.as_str());
        exprs.filter(|expr| !self.0.contains_key(*expr)).collect()
    }

    /// An expression that nobody asked for by itself, that of a tier say, is as good as what it was made of.
    pub fn of(&self, expr: &str) -> Result<(), ExprError> {
        self.0.get(expr).cloned().unwrap_or(Ok(()))
    }

    pub fn learn(&mut self, expr: String, verdict: Result<(), ExprError>) {
        if self.0.len() >= MOST {
            // They are asked for again, which costs a moment.
            self.0.clear();
        }
        self.0.insert(expr, verdict);
    }
}

/// What tells whether an expression yields numbers: a comparison of a log query does not parse.
pub fn compared(expr: &str) -> String {
    let end = if expr.contains('#') { "\n" } else { "" };
    format!("({}{end}) > 0", expr.trim())
}

/// What is said of an expression that parses, but yields lines.
pub fn no_numbers() -> ExprError {
    let message = "this is a log query, which yields lines: an alert needs numbers, for example \
                   sum(count_over_time({...} |= \"error\" [5m])) > 10";
    ExprError { column: None, message: message.to_owned() }
}

/// Loki's words, with the column when they name one of the first line.
pub fn refused(words: &str) -> ExprError {
    let words = words.trim();
    let place = |rest: &str| -> Option<(usize, usize, usize)> {
        // `parse error at line 1, col 8: syntax error: ...`
        let (line, rest) = rest.split_once(", col ")?;
        let (column, _) = rest.split_once(':')?;
        Some((line.trim().parse().ok()?, column.trim().parse().ok()?, words.len() - rest.len() + column.len() + 1))
    };
    match words.strip_prefix("parse error at line ").and_then(place) {
        Some((1, column, from)) => {
            ExprError { column: Some(column.max(1)), message: words[from..].trim_start().to_owned() }
        }
        Some((line, column, from)) => {
            ExprError { column: None, message: format!("line {line} column {column}: {}", words[from..].trim_start()) }
        }
        None => ExprError { column: None, message: words.strip_prefix("parse error : ").unwrap_or(words).to_owned() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lokis_words_are_told_with_their_column() {
        let told = refused("parse error at line 1, col 12: syntax error: unexpected $end");
        assert_eq!((told.column, told.message.as_str()), (Some(12), "syntax error: unexpected $end"));
        let told = refused("parse error at line 2, col 3: syntax error: unexpected }");
        assert_eq!((told.column, told.message.as_str()), (None, "line 2 column 3: syntax error: unexpected }"));
        assert_eq!(refused("parse error : unclosed quote").message, "unclosed quote");
    }

    #[test]
    fn an_expression_is_asked_for_once_and_the_last_line_may_be_a_comment() {
        let spec: AlertRuleSpec = serde_json::from_value(
            json!({"source": "logs", "rules": [{"alert": "A", "expr": "x"}, {"alert": "B", "expr": "x"}]}),
        )
        .unwrap();
        let mut verdicts = Verdicts::default();
        assert_eq!(verdicts.open(&spec).len(), 1);
        verdicts.learn("x".into(), Err(no_numbers()));
        assert!(verdicts.open(&spec).is_empty() && verdicts.of("x").is_err() && verdicts.of("(x) > 1").is_ok());
        assert_eq!(compared("x # y"), "(x # y\n) > 0");
    }
}
