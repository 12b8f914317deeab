//! Alertmanager's label matchers, checked before they are shipped: one bad matcher would make Alertmanager refuse the
//! whole configuration. Pure.

use regex::Regex;

/// Why `matcher` is not one that Alertmanager takes. One matcher an entry; a list of entries means all of them.
pub fn check(matcher: &str) -> Result<(), String> {
    let why = |reason: &str| {
        Err(format!("matcher {matcher:?} {reason}: write label=\"value\", !=, =~ or !~, one matcher an entry"))
    };
    let text = matcher.trim();
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | ':'))).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return why("does not start with a label name");
    }
    let rest = rest.trim_start();
    let Some(operator) = ["=~", "!~", "!=", "="].into_iter().find(|operator| rest.starts_with(operator)) else {
        return why("has no operator after the label name");
    };
    let Some(value) = value(rest[operator.len()..].trim_start()) else {
        return why("has no proper value");
    };
    if operator.ends_with('~')
        && let Err(error) = Regex::new(&format!("^(?:{value})$"))
    {
        let error = error.to_string().lines().last().unwrap_or_default().trim().to_owned();
        return Err(format!("matcher {matcher:?} has no valid regular expression: {error}"));
    }
    Ok(())
}

/// The value, unquoted; `None` when Alertmanager would not read it.
fn value(text: &str) -> Option<String> {
    let Some(quoted) = text.strip_prefix('"') else {
        let plain = !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || "{}!=~,\\\"'`".contains(c));
        return plain.then(|| text.to_owned());
    };
    let mut value = String::new();
    let mut characters = quoted.chars();
    loop {
        match characters.next()? {
            '"' => break,
            '\n' => return None,
            '\\' => match characters.next()? {
                'n' => value.push('\n'),
                escaped @ ('"' | '\\') => value.push(escaped),
                // As Alertmanager's classic parser does: other escapes stay as they are.
                other => value.extend(['\\', other]),
            },
            other => value.push(other),
        }
    }
    characters.next().is_none().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_alertmanager_takes_is_taken() {
        for good in [
            r#"severity="critical""#,
            r#"severity=~"warning|info""#,
            "team=checkout",
            r#" team != "a b" "#,
            r#"path!~"/api/.+""#,
            r#"quote="a\"b\\c""#,
            r#"empty="""#,
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn what_it_refuses_is_refused_and_quoted() {
        for bad in [
            "",
            "severity",
            r#"="critical""#,
            r#"severity=="critical""#,
            r#"severity="critical"#,
            r#"severity="a",team="b""#,
            "severity=",
            r#"1st="a""#,
            "team=a b",
        ] {
            let error = check(bad).unwrap_err();
            assert!(error.contains(&format!("{bad:?}")), "{error}");
        }
        assert!(check(r#"severity=~"(""#).unwrap_err().contains("regular expression"));
    }
}
