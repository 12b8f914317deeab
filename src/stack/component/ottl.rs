//! Text that goes into the Collector's statements (OTTL), its expressions and its plain strings. Pure.

/// A string within a statement or an expression.
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for letter in text.chars() {
        match letter {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    plain(&quoted)
}

/// A string that stands for itself.
pub fn plain(text: &str) -> String {
    text.replace('$', "$$")
}

/// A field of a record.
pub fn field(name: &str) -> String {
    format!("log.attributes[{}]", quote(name))
}

/// A field of where a record comes from.
pub fn resource(name: &str) -> String {
    format!("resource.attributes[{}]", quote(name))
}

/// A pattern for the whole of a text, of entries in which `*` stands for any characters.
pub fn globs(entries: &[String]) -> String {
    let entry = |entry: &String| entry.split('*').map(regex::escape).collect::<Vec<_>>().join(".*");
    format!("^(?:{})$", entries.iter().map(entry).collect::<Vec<_>>().join("|"))
}

/// `IsMatch(where, "pattern")`.
pub fn matches(place: &str, pattern: &str) -> String {
    format!("IsMatch({place}, {})", quote(pattern))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_wrote_stays_what_it_is() {
        assert_eq!(quote(r#"a"b\d$"#), r#""a\"b\\d$$""#);
        assert_eq!(quote("a\nb"), r#""a\nb""#);
        assert_eq!(plain("${env:HOME}"), "$${env:HOME}");
    }

    #[test]
    fn only_a_star_is_more_than_itself() {
        assert_eq!(globs(&["shop".into(), "pay-*.x".into()]), r"^(?:shop|pay\-.*\.x)$");
    }
}
