//! Regular expressions of matchers, compiled once. The parser compiles each one anew, which takes ten times as long as
//! the rest of an expression; most are the same few (`5..`). So they are set aside before the parser sees them. Pure.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::{Expr, VectorSelector};

use super::{Token, parsed};

/// Begins what stands for a pattern; an expression that has this character is left as it is.
const MARK: char = '\u{e000}';
/// Patterns that are remembered: a compiled one takes some ten kilobytes.
const REMEMBERED: usize = 128;

/// A matcher with a regular expression, by its string literal; `None` where the parser has to see it.
type Known = HashMap<Box<str>, Option<Arc<Matcher>>>;

static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);

/// An expression without its regular expressions.
pub(super) struct Aside {
    pub expr: String,
    patterns: Vec<Arc<Matcher>>,
}

impl Aside {
    /// `None` where there is nothing to gain, or where the whole must be parsed as it is.
    pub fn of(expr: &str, tokens: &[Token]) -> Option<Self> {
        if expr.contains(MARK) {
            return None;
        }
        let (mut text, mut patterns, mut from) = (String::with_capacity(expr.len()), vec![], 0);
        for pair in tokens.windows(2) {
            let operator = match pair[0].text(expr) {
                "=~" => "=",
                "!~" => "!=",
                _ => continue,
            };
            let pattern = known(pair[1].text(expr))?;
            text.push_str(&expr[from..pair[0].start]);
            text.push_str(&format!("{operator}\"{MARK}{}\"", patterns.len()));
            patterns.push(pattern);
            from = pair[1].end;
        }
        text.push_str(&expr[from..]);
        (!patterns.is_empty()).then_some(Self { expr: text, patterns })
    }

    /// The tree of the expression as it was.
    pub fn put_back(&self, mut tree: Expr) -> Expr {
        self.visit(&mut tree);
        tree
    }

    fn visit(&self, tree: &mut Expr) {
        match tree {
            Expr::Aggregate(aggregate) => {
                self.visit(&mut aggregate.expr);
                aggregate.param.iter_mut().for_each(|param| self.visit(param));
            }
            Expr::Unary(unary) => self.visit(&mut unary.expr),
            Expr::Binary(binary) => {
                self.visit(&mut binary.lhs);
                self.visit(&mut binary.rhs);
            }
            Expr::Paren(paren) => self.visit(&mut paren.expr),
            Expr::Subquery(subquery) => self.visit(&mut subquery.expr),
            Expr::VectorSelector(selector) => self.restore(selector),
            Expr::MatrixSelector(selector) => self.restore(&mut selector.vs),
            Expr::Call(call) => call.args.args.iter_mut().for_each(|argument| self.visit(argument)),
            Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => {}
        }
    }

    fn restore(&self, selector: &mut VectorSelector) {
        let or = selector.matchers.or_matchers.iter_mut().flatten();
        for matcher in selector.matchers.matchers.iter_mut().chain(or) {
            let number = matcher.value.strip_prefix(MARK).and_then(|number| number.parse::<usize>().ok());
            let Some(pattern) = number.and_then(|number| self.patterns.get(number)) else { continue };
            let MatchOp::Re(regex) = &pattern.op else { continue };
            matcher.op = match matcher.op {
                MatchOp::NotEqual => MatchOp::NotRe(regex.clone()),
                _ => MatchOp::Re(regex.clone()),
            };
            matcher.value.clone_from(&pattern.value);
        }
    }
}

/// A pattern that is valid and does not match the empty string: one that does decides whether a selector is refused.
fn known(literal: &str) -> Option<Arc<Matcher>> {
    if !literal.starts_with(['"', '\'']) {
        return None;
    }
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(pattern) = known.get(literal) {
        return pattern.clone();
    }
    if known.len() >= REMEMBERED {
        known.clear();
    }
    let pattern = match parsed(&format!("x{{a=~{literal}}}")) {
        Ok(Expr::VectorSelector(mut selector)) => selector.matchers.matchers.pop().filter(|found| !found.is_match("")),
        _ => None,
    };
    known.entry(literal.into()).or_insert(pattern.map(Arc::new)).clone()
}

#[cfg(test)]
mod tests {
    use super::super::{tokens, tree};
    use super::*;

    #[test]
    fn the_tree_is_that_of_the_expression_as_it_was_written() {
        for expr in [
            "sum by (a) (rate(x{code=~\"5..\",b!~'a\\\\.b|c',c=\"d\"}[5m])) / quantile(scalar(y{z=~\"a|b\"}), -(w{v!~\"a\"}))",
            "max_over_time(sum(x{a=~\"5..\"})[1h:5m]) # =~\"a\"\n or label_replace({__name__=~\"a.+\"}, \"b\", \"=~\", \"c\", \"d\")",
            "x{a=~\"5..\" or b!~\"5..\"}",
            "{\"x\", a=~\"\\u00e9+\"}",
        ] {
            let aside = Aside::of(expr, &tokens(expr)).expect("has patterns");
            assert!(!aside.expr.contains("5.."), "{}", aside.expr);
            assert_eq!(tree(expr).unwrap(), parsed(expr).unwrap(), "{expr}");
        }
    }

    #[test]
    fn what_decides_about_a_refusal_is_parsed_as_it_is() {
        for expr in ["{a=~\".*\"}", "x{a=~\"(\"}", "x{a=~5}", "x", "x{a=~\"b\",c=\"\u{e000}0\"}"] {
            assert!(Aside::of(expr, &tokens(expr)).is_none(), "{expr}");
        }
        // Prometheus refuses a selector that every series would match.
        assert!(tree("{a=~\".*\"}").is_err() && tree("{a!~\"b\"}").is_err() && tree("{a=~\".+\"}").is_ok());
        assert!(tree("x{a=~\"(\"}").is_err());
        // An operator that stands nowhere near a matcher makes nothing valid.
        assert!(tree("x =~ \"a\"").is_err());
    }
}
