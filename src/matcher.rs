//! Matchers on labels, in Alertmanager's syntax and with its meaning.

use std::collections::BTreeMap;

use regex::{Regex, RegexBuilder};

/// Bound of a compiled regular expression, in bytes: ample for a list of names, too little to hurt.
const REGEX_LIMIT: usize = 1 << 20;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum MatcherError {
    #[error("matcher {text:?}: {problem} at character {at}; write it as severity=\"critical\" or region=~\"eu-.*\"")]
    Syntax { text: String, problem: &'static str, at: usize },
    #[error("matcher {text:?}: not a regular expression: {problem}")]
    Regex { text: String, problem: String },
}

/// One condition on one label. A label that is absent is the same as an empty one.
#[derive(Clone, Debug)]
pub struct Matcher {
    name: String,
    negated: bool,
    value: Value,
}

#[derive(Clone, Debug)]
enum Value {
    Equal(String),
    Regex(Regex),
}

impl Matcher {
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.accepts(labels.get(&self.name).map(String::as_str).unwrap_or_default())
    }

    /// The label it is about.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Label and value that it asks for; `None` when others would do as well.
    pub fn wanted(&self) -> Option<(&str, &str)> {
        match &self.value {
            Value::Equal(value) if !self.negated => Some((&self.name, value)),
            Value::Equal(_) | Value::Regex(_) => None,
        }
    }

    /// Whether an alert without the label matches.
    pub fn accepts_empty(&self) -> bool {
        self.accepts("")
    }

    fn accepts(&self, value: &str) -> bool {
        let equal = match &self.value {
            Value::Equal(wanted) => wanted == value,
            Value::Regex(regex) => regex.is_match(value),
        };
        equal != self.negated
    }
}

/// Parses one line: a matcher, or several separated by commas, in braces or not. Names and values may be quoted;
/// without quotes they are whatever holds none of the characters `{}!=~,"'` and backtick, nor white space.
pub fn parse(text: &str) -> Result<Vec<Matcher>, MatcherError> {
    let mut parser = Parser { text, chars: text.chars().collect(), at: 0 };
    let braces = parser.take('{');
    let mut matchers = vec![];
    loop {
        if parser.done(braces) {
            break;
        }
        matchers.push(parser.matcher()?);
        if !parser.take(',') {
            break;
        }
    }
    if braces && !parser.take('}') {
        return Err(parser.error("a closing brace is missing"));
    }
    parser.spaces();
    if parser.at < parser.chars.len() {
        return Err(parser.error("unexpected text"));
    }
    if matchers.is_empty() {
        return Err(parser.error("there is no matcher"));
    }
    Ok(matchers)
}

struct Parser<'a> {
    text: &'a str,
    chars: Vec<char>,
    at: usize,
}

impl Parser<'_> {
    fn error(&self, problem: &'static str) -> MatcherError {
        MatcherError::Syntax { text: self.text.to_owned(), problem, at: self.at + 1 }
    }

    fn spaces(&mut self) {
        while self.chars.get(self.at).is_some_and(|c| c.is_whitespace()) {
            self.at += 1;
        }
    }

    fn take(&mut self, wanted: char) -> bool {
        self.spaces();
        let found = self.chars.get(self.at) == Some(&wanted);
        self.at += usize::from(found);
        found
    }

    /// A comma may stand before the end.
    fn done(&mut self, braces: bool) -> bool {
        self.spaces();
        match self.chars.get(self.at) {
            None => true,
            Some('}') => braces,
            Some(_) => false,
        }
    }

    fn matcher(&mut self) -> Result<Matcher, MatcherError> {
        let name = self.word("a label name is missing")?;
        if name.is_empty() {
            return Err(self.error("a label name is missing"));
        }
        let (negated, regex) = self.operator()?;
        let value = self.word("a value is missing (quote an empty one)")?;
        let value = if regex {
            let anchored = RegexBuilder::new(&format!("^(?:{value})$")).size_limit(REGEX_LIMIT).build();
            Value::Regex(
                anchored.map_err(|e| MatcherError::Regex { text: self.text.to_owned(), problem: e.to_string() })?,
            )
        } else {
            Value::Equal(value)
        };
        Ok(Matcher { name, negated, value })
    }

    fn operator(&mut self) -> Result<(bool, bool), MatcherError> {
        self.spaces();
        let pair = (self.chars.get(self.at), self.chars.get(self.at + 1));
        let (length, meaning) = match pair {
            (Some('='), Some('~')) => (2, (false, true)),
            (Some('!'), Some('~')) => (2, (true, true)),
            (Some('!'), Some('=')) => (2, (true, false)),
            (Some('='), _) => (1, (false, false)),
            _ => return Err(self.error("one of = != =~ !~ is missing")),
        };
        self.at += length;
        Ok(meaning)
    }

    fn word(&mut self, missing: &'static str) -> Result<String, MatcherError> {
        if self.take('"') {
            return self.quoted();
        }
        let start = self.at;
        while self.chars.get(self.at).is_some_and(|c| !c.is_whitespace() && !"{}!=~,\"'`\\".contains(*c)) {
            self.at += 1;
        }
        if start == self.at { Err(self.error(missing)) } else { Ok(self.chars[start..self.at].iter().collect()) }
    }

    fn quoted(&mut self) -> Result<String, MatcherError> {
        let mut value = String::new();
        loop {
            let Some(c) = self.chars.get(self.at).copied() else {
                return Err(self.error("a closing quote is missing"));
            };
            self.at += 1;
            match c {
                '"' => return Ok(value),
                '\\' => {
                    let escaped = self.chars.get(self.at).copied();
                    value.push(match escaped {
                        Some('n') => '\n',
                        Some('t') => '\t',
                        Some('r') => '\r',
                        Some(c @ ('\\' | '"')) => c,
                        // Alertmanager refuses `"\d"` too: a regular expression needs `\\d`.
                        _ => return Err(self.error("this escape is not known (write a backslash as two)")),
                    });
                    self.at += 1;
                }
                c => value.push(c),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn matchers_mean_what_they_mean_in_alertmanager() {
        let alert = labels(&[("severity", "critical"), ("région", "eu-west"), ("empty", ""), ("q", "a\"b\\c\nd")]);
        for (text, expected) in [
            (r#"severity="critical""#, true),
            ("severity=critical", true),
            (r#" severity = "critical" "#, true),
            (r#"severity="crit""#, false),
            (r#"severity!="warning""#, true),
            (r#"severity=~"warning|critical""#, true),
            // Anchored on both sides, alternatives included.
            (r#"severity=~"crit""#, false),
            (r#"severity=~"x|critic""#, false),
            (r#"severity!~"warn.*""#, true),
            (r#"severity!~"crit.*""#, false),
            (r#""région"=~"eu-.+""#, true),
            (r#"région="eu-west""#, true),
            // Absent and empty are the same.
            (r#"team="""#, true),
            (r#"team!="""#, false),
            (r#"team!="infra""#, true),
            (r#"team=~".*""#, true),
            (r#"team=~".+""#, false),
            (r#"team!~".+""#, true),
            (r#"empty="""#, true),
            (r#"q="a\"b\\c\nd""#, true),
            (r#"{severity="critical",team=""}"#, true),
            (r#"severity="critical", team="infra""#, false),
            (r#"{severity="critical",}"#, true),
        ] {
            let all = parse(text).unwrap_or_else(|e| panic!("{e}")).iter().all(|m| m.matches(&alert));
            assert_eq!(all, expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_a_matcher_is_refused_with_the_place() {
        for (text, part) in [
            ("", "no matcher"),
            ("{}", "no matcher"),
            ("severity", "one of = != =~ !~ is missing at character 9"),
            (r#"="critical""#, "label name is missing at character 1"),
            (r#"""="critical""#, "label name is missing"),
            ("severity=", "a value is missing"),
            (r#"severity="critical"#, "closing quote"),
            (r#"severity="a" b"#, "unexpected text at character 14"),
            (r#"{severity="a""#, "closing brace"),
            (r#"severity=~"a(""#, "not a regular expression"),
            (r#"severity=~"\d+""#, "backslash as two"),
            (r#"severity==~"a""#, "a value is missing"),
            (r#"severity=~"(a{1000}){1000}{1000}""#, "not a regular expression"),
        ] {
            let error = parse(text).map(|_| ()).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
