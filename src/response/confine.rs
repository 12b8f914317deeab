//! Confines a query of logs to one namespace: the evidence of a run shows nobody the logs of others. Pure.
//!
//! Nothing here parses LogQL. It has braces in one place only, outside of strings: around a stream selector. Into each of
//! these goes a matcher, which makes it select less and never more. What could make this scan and Loki's disagree about
//! where a string ends is refused.

/// `expr` with every stream selector limited to `namespace`, which is the name of one; or why that cannot be done.
pub fn confined(expr: &str, namespace: &str) -> Result<String, String> {
    let mut out = String::with_capacity(expr.len() + 64);
    let (mut selectors, mut open) = (0, false);
    let mut rest = expr.chars().peekable();
    while let Some(c) = rest.next() {
        out.push(c);
        match c {
            '"' | '`' => loop {
                let Some(inner) = rest.next() else { return Err(format!("a string is not closed by {c}")) };
                out.push(inner);
                match inner {
                    '\\' if c == '"' => out.extend(rest.next()),
                    '\n' if c == '"' => return Err("a string in \" \" goes over the end of its line".to_owned()),
                    inner if inner == c => break,
                    _ => {}
                }
            },
            '#' => return Err("it has a comment: write it without".to_owned()),
            '/' if matches!(rest.peek(), Some('/' | '*')) => {
                return Err("it has a comment: write it without".to_owned());
            }
            '\'' => return Err("it has a ' outside of a string: write \" instead".to_owned()),
            '{' if open => return Err("it has a { within a stream selector".to_owned()),
            '{' => {
                (selectors, open) = (selectors + 1, true);
                let empty = rest.clone().find(|c| !c.is_whitespace()) == Some('}');
                out.push_str(&format!("namespace=\"{namespace}\"{}", if empty { "" } else { ", " }));
            }
            '}' => open = false,
            _ => {}
        }
    }
    match selectors {
        0 => Err("it has no stream selector, for example {container=\"app\"}".to_owned()),
        _ => Ok(out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_selector_is_limited_and_strings_are_left_alone() {
        let told = |expr: &str| confined(expr, "shop").unwrap();
        assert_eq!(told("{pod=~\"a.*\"} |= \"{x}\""), "{namespace=\"shop\", pod=~\"a.*\"} |= \"{x}\"");
        assert_eq!(
            told("sum(rate({a=\"b\"}[5m])) / sum(rate({ }[5m]))"),
            "sum(rate({namespace=\"shop\", a=\"b\"}[5m])) / sum(rate({namespace=\"shop\" }[5m]))"
        );
        assert_eq!(
            told(r#"{a="\"{"} | line_format `{{.b}}"`"#),
            r#"{namespace="shop", a="\"{"} | line_format `{{.b}}"`"#
        );
        // Loki finds nothing for both: another namespace is not to be had.
        assert_eq!(told("{namespace=\"bank\"}"), "{namespace=\"shop\", namespace=\"bank\"}");
    }

    #[test]
    fn what_could_hide_a_selector_is_refused() {
        let hiding = [
            "{a=\"b\"} # \"\n or {c=\"d\"}",
            "{a=\"b\"} // \"\n{c=\"d\"}",
            "{a=\"b\"} /* \" */ {c=\"d\"}",
            "{a=\"b\"} |= 'x\"'",
            "{a=\"b",
            "{a=\"b\n\"}",
            "{a={b}}",
            "vector(1)",
        ];
        for expr in hiding {
            assert!(confined(expr, "shop").is_err(), "{expr}");
        }
    }
}
