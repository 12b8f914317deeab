//! Checks an expression before it ships, and says where it is wrong. Pure.

mod patterns;

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use promql_parser::parser::value::ValueType;
use promql_parser::parser::{Expr, lexer, parse};

use self::patterns::Aside;

/// Why an expression is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExprError {
    /// In characters from 1, within its line; `None` where it cannot be told.
    pub column: Option<usize>,
    /// The parser's words; names the line when the expression has several.
    pub message: String,
}

/// What promql-parser says of a grammar error; it does not say where.
const NO_DETAIL: &str = "invalid promql query";
/// Brackets within brackets. Far beyond what anybody writes, and far below what would exhaust the stack.
const MAX_DEPTH: usize = 200;
/// Longer expressions are parsed on a thread with a stack of its own: chains of operators nest as deep as they are long.
const MAX_INLINE: usize = 2_048;
const STACK_BYTES: usize = 128 << 20;
/// The search for the wrong sub-expression tries spans of up to this many tokens,
const MAX_SPAN: usize = 24;
/// in expressions of up to this many. The column is a courtesy: it must not cost more than the rule.
const MAX_SEARCHED: usize = 200;

/// Checks that `expr` parses and yields what a rule can evaluate: an instant vector or a scalar.
pub fn check(written: &str) -> Result<(), ExprError> {
    tree(written).map(|_| ())
}

/// Checks `written` and returns its syntax tree.
pub fn tree(written: &str) -> Result<Expr, ExprError> {
    let (expr, inserted) = without_raw_strings(written);
    check_readable(&expr)
        .map_err(|wrong| located(written, wrong.byte.map(|byte| original(byte, &inserted)), wrong.message))
}

/// What is wrong, and from which byte on.
struct Wrong {
    byte: Option<usize>,
    message: String,
}

fn check_readable(expr: &str) -> Result<Expr, Wrong> {
    let tokens = tokens(expr);
    if let Some(deep) = too_deep(expr, &tokens) {
        let message = format!("brackets are nested deeper than {MAX_DEPTH}");
        return Err(Wrong { byte: Some(deep), message });
    }
    if expr.len() <= MAX_INLINE {
        return check_tokens(expr, &tokens);
    }
    std::thread::scope(|scope| {
        let work = std::thread::Builder::new().stack_size(STACK_BYTES);
        let failed = || Err(Wrong { byte: None, message: "the expression could not be parsed".into() });
        match work.spawn_scoped(scope, || check_tokens(expr, &tokens)) {
            Ok(handle) => handle.join().unwrap_or_else(|_| failed()),
            Err(_) => failed(),
        }
    })
}

fn check_tokens(expr: &str, tokens: &[Token]) -> Result<Expr, Wrong> {
    let aside = Aside::of(expr, tokens);
    let quickly = aside.and_then(|aside| parsed(&aside.expr).ok().map(|tree| aside.put_back(tree)));
    let message = match quickly.map_or_else(|| parsed(expr), Ok) {
        Ok(tree) => match tree.value_type() {
            ValueType::Vector | ValueType::Scalar => return Ok(tree),
            ValueType::Matrix => "a rule needs an instant vector or a scalar, this is a range vector: wrap it in a function such as rate()".to_owned(),
            ValueType::String => "a rule needs an instant vector or a scalar, this is a string".to_owned(),
        },
        Err(message) if message == NO_DETAIL => {
            if tokens.len() > 5 * MAX_SEARCHED {
                return Err(Wrong { byte: None, message });
            }
            let wrong = first_unexpected(expr, tokens);
            let what = match tokens.get(wrong) {
                Some(token) => format!("unexpected {:?}", token.text(expr)),
                None => "unexpected end of the expression".to_owned(),
            };
            let at = tokens.get(wrong).map_or(expr.len(), |token| token.start);
            return Err(Wrong { byte: Some(at), message: what });
        }
        Err(message) => {
            let byte = lexical(expr, &message).or_else(|| smallest_span(expr, tokens, &message));
            return Err(Wrong { byte, message });
        }
    };
    Err(Wrong { byte: Some(0), message })
}

/// The parser takes backslashes in raw strings (between backquotes) for escapes, and refuses a regular expression
/// such as `\d`, which Prometheus takes. They become strings in double quotes; the positions of the bytes that this
/// inserted come along.
fn without_raw_strings(expr: &str) -> (Cow<'_, str>, Vec<usize>) {
    if !expr.contains('`') {
        return (Cow::Borrowed(expr), Vec::new());
    }
    let (mut text, mut inserted, mut from) = (String::with_capacity(expr.len() + 8), Vec::new(), 0);
    for token in tokens(expr) {
        let raw = token.text(expr);
        if !raw.starts_with('`') || raw.len() < 2 || !raw.ends_with('`') {
            continue;
        }
        text.push_str(&expr[from..token.start]);
        text.push('"');
        for c in raw[1..raw.len() - 1].chars() {
            if matches!(c, '"' | '\\' | '\n') {
                inserted.push(text.len());
                text.push('\\');
            }
            text.push(if c == '\n' { 'n' } else { c });
        }
        text.push('"');
        from = token.end;
    }
    text.push_str(&expr[from..]);
    (Cow::Owned(text), inserted)
}

fn original(byte: usize, inserted: &[usize]) -> usize {
    byte - inserted.iter().filter(|at| **at < byte).count()
}

/// The parser panics on some numbers (a range of `1e400`, say): that must not take the operator with it.
fn parsed(expr: &str) -> Result<Expr, String> {
    catch_unwind(AssertUnwindSafe(|| parse(expr)))
        .unwrap_or_else(|_| Err("a number or duration is out of range".to_owned()))
}

fn lexed(expr: &str) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(|| lexer(expr).map(|_| ()))).unwrap_or_else(|_| Err(NO_DETAIL.to_owned()))
}

fn located(expr: &str, byte: Option<usize>, message: String) -> ExprError {
    let Some(byte) = byte else { return ExprError { column: None, message } };
    let before = expr.get(..byte).unwrap_or(expr);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let message = if expr.contains('\n') { format!("line {line}: {message}") } else { message };
    ExprError { column: Some(column), message }
}

/// Where the lexer stopped: it says the same of every longer beginning of the expression, and of no shorter one.
fn lexical(expr: &str, message: &str) -> Option<usize> {
    if lexed(expr).err().as_deref() != Some(message) {
        return None;
    }
    if ["unclosed", "unterminated", "unexpected end", "not terminated"].iter().any(|end| message.contains(end)) {
        return Some(expr.len());
    }
    let ends: Vec<usize> = expr.char_indices().map(|(at, c)| at + c.len_utf8()).collect();
    let shortest = ends.partition_point(|end| lexed(&expr[..*end]).err().as_deref() != Some(message));
    let end = *ends.get(shortest)?;
    expr[..end].char_indices().next_back().map(|(at, _)| at)
}

/// Index of the first token that no expression could have at this place; the number of tokens when the end is wrong.
fn first_unexpected(expr: &str, tokens: &[Token]) -> usize {
    let lengths: Vec<usize> = (1..=tokens.len()).collect();
    lengths.partition_point(|length| viable(expr, &tokens[..*length]))
}

/// Whether some ending makes these tokens an expression. Tried with the few endings that the grammar can ask for.
fn viable(expr: &str, tokens: &[Token]) -> bool {
    const FILLERS: [&str; 9] = ["", "x", "(x)", "1", "5m", "x=\"y\"", "=\"y\"", "\"y\"", "()"];
    const TAILS: [&str; 3] = ["", " x", " (x)"];
    let Some(last) = tokens.last() else { return true };
    let mut open = Vec::new();
    for token in tokens {
        match token.text(expr) {
            "(" => open.push(')'),
            "[" => open.push(']'),
            "{" => open.push('}'),
            ")" | "]" | "}" => drop(open.pop()),
            _ => {}
        }
    }
    let closers: String = open.iter().rev().collect();
    let start = &expr[..last.end];
    FILLERS.iter().any(|filler| {
        TAILS.iter().any(|tail| {
            let whole = format!("{start} {filler}{closers}{tail}");
            lexed(&whole).is_ok() && parsed(&whole).err().as_deref() != Some(NO_DETAIL)
        })
    })
}

/// Start of the smallest part of the expression that is wrong in the same words by itself, or of the word in it that
/// the message quotes.
fn smallest_span(expr: &str, tokens: &[Token], message: &str) -> Option<usize> {
    if tokens.len() > MAX_SEARCHED {
        return None;
    }
    if message.contains("end of input") {
        return Some(expr.len());
    }
    let quoted = message.split('\'').nth(1);
    (1..=tokens.len().min(MAX_SPAN)).find_map(|length| {
        tokens.windows(length).find_map(|span| {
            let (first, last) = (span.first()?, span.last()?);
            let same = parsed(&expr[first.start..last.end]).err().as_deref() == Some(message);
            same.then(|| span.iter().find(|token| Some(token.text(expr)) == quoted).unwrap_or(first).start)
        })
    })
}

#[derive(Clone, Copy, Debug)]
struct Token {
    start: usize,
    end: usize,
}

impl Token {
    fn text<'a>(&self, expr: &'a str) -> &'a str {
        &expr[self.start..self.end]
    }
}

/// Rough tokens, enough to cut an expression at sensible places: words, strings, operators; no comments.
fn tokens(expr: &str) -> Vec<Token> {
    let bytes = expr.as_bytes();
    let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':' | b'.') || b >= 0x80;
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        match bytes[at] {
            b if b.is_ascii_whitespace() => {
                at += 1;
                continue;
            }
            b'#' => {
                at += bytes[at..].iter().take_while(|b| **b != b'\n').count();
                continue;
            }
            quote @ (b'"' | b'\'' | b'`') => {
                at += 1;
                while at < bytes.len() && bytes[at] != quote {
                    at += if bytes[at] == b'\\' && quote != b'`' { 2 } else { 1 };
                }
                at = (at + 1).min(bytes.len());
            }
            b if word(b) => at += bytes[at..].iter().take_while(|b| word(**b)).count(),
            b'=' | b'!' | b'<' | b'>' if matches!(bytes.get(at + 1), Some(b'=' | b'~')) => at += 2,
            _ => at += 1,
        }
        // A backslash at the very end steps over it; a multi-byte character is never cut, its bytes are words.
        while !expr.is_char_boundary(at) {
            at += 1;
        }
        tokens.push(Token { start, end: at });
    }
    tokens.iter().map(|t| Token { start: t.start, end: t.end.min(expr.len()) }).collect()
}

/// Start of the bracket that nests too deep.
fn too_deep(expr: &str, tokens: &[Token]) -> Option<usize> {
    let mut depth = 0usize;
    tokens.iter().find_map(|token| {
        match token.text(expr) {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        (depth > MAX_DEPTH).then_some(token.start)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_wrong_token_is_named_with_its_column() {
        for (expr, column, says) in [
            ("sum(rate(foo[5m]) by (x))", 19, "unexpected \"by\""),
            ("foo bar", 5, "unexpected \"bar\""),
            ("rate(foo)", 1, "rate"),
            ("1 + sum(nosuch(foo))", 9, "unknown function with name 'nosuch'"),
            ("foo{a=\"b\"", 10, "unexpected end of input inside braces"),
            ("foo > > 1", 7, "unexpected \">\""),
            ("sum by (a, ) (foo) / on() group_left", 37, "unexpected end"),
            ("foo $ bar", 5, "unexpected character"),
            ("sum(foo", 8, "unclosed left parenthesis"),
            ("up[5m]", 1, "range vector"),
            ("\"text\"", 1, "a string"),
        ] {
            let error = check(expr).unwrap_err();
            assert_eq!(error.column, Some(column), "{expr}: {error:?}");
            assert!(error.message.contains(says), "{expr}: {error:?}");
        }
    }

    #[test]
    fn in_a_long_expression_the_line_is_named_and_the_column_is_within_it() {
        let error = check("sum(\n  rate(foo[5m])\n) by x y").unwrap_err();
        assert_eq!((error.column, error.message.as_str()), (Some(6), "line 3: unexpected \"x\""));
    }

    #[test]
    fn no_expression_can_take_the_operator_down() {
        for hostile in [
            "foo[1e400]".to_owned(),
            "foo offset 1e400".to_owned(),
            "(".repeat(16_000),
            format!("{}1{}", "(".repeat(8_000), ")".repeat(8_000)),
            format!("{}1", "-".repeat(16_000)),
            "1+".repeat(8_000),
            "\\".to_owned(),
            "\"\\".to_owned(),
            "é{ü=\"".to_owned(),
        ] {
            let _ = check(&hostile);
        }
        assert!(check(&format!("foo{}", " or foo".repeat(2_000))).is_ok());
    }
}
