//! Rule files as text. Written by hand, so that a file has one spelling, one digest, and can be cut into its groups
//! and rules again by their indentation alone (see `recover`).

use std::fmt::Write;

/// A scalar in the plainest style that YAML reads back as this string.
pub fn scalar(value: &str) -> String {
    if plain(value) {
        value.to_owned()
    } else if value.chars().all(printable) {
        format!("'{}'", value.replace('\'', "''"))
    } else {
        double_quoted(value)
    }
}

/// Letters and marks that need no quotes, and nothing that YAML takes for a number, a boolean or null.
fn plain(value: &str) -> bool {
    let first = value.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    let all = value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b':' | b'/' | b'-'));
    let reserved = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"];
    first && all && !value.ends_with(':') && !reserved.iter().any(|word| value.eq_ignore_ascii_case(word))
}

/// What may stand in a single-quoted scalar of one line.
fn printable(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{85}' | '\u{a0}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

fn double_quoted(value: &str) -> String {
    let mut text = String::with_capacity(value.len() + 8);
    text.push('"');
    for c in value.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            c if printable(c) => text.push(c),
            // Writing to a String cannot fail.
            c if (c as u32) <= 0xffff => _ = write!(text, "\\u{:04x}", c as u32),
            c => _ = write!(text, "\\U{:08x}", c as u32),
        }
    }
    text.push('"');
    text
}

/// `key: value` at an indentation; several lines become a literal block, which is how people write expressions.
pub fn field(text: &mut String, indent: usize, key: &str, value: &str) {
    let pad = " ".repeat(indent);
    let lines: Vec<&str> = value.split('\n').collect();
    let block = lines.len() > 1
        && !lines[0].starts_with(' ')
        && !lines[0].is_empty()
        && lines.last().is_some_and(|line| !line.is_empty())
        && lines.iter().all(|line| line.chars().all(printable));
    // Writing to a String cannot fail.
    if !block {
        _ = writeln!(text, "{pad}{key}: {}", scalar(value));
        return;
    }
    _ = writeln!(text, "{pad}{key}: |-");
    for line in lines {
        if line.is_empty() {
            text.push('\n');
        } else {
            _ = writeln!(text, "{pad}  {line}");
        }
    }
}

/// A map of strings at an indentation; nothing when it is empty.
pub fn map<'a>(text: &mut String, indent: usize, key: &str, entries: impl IntoIterator<Item = (&'a str, &'a str)>) {
    let mut entries = entries.into_iter().peekable();
    if entries.peek().is_none() {
        return;
    }
    _ = writeln!(text, "{}{key}:", " ".repeat(indent));
    for (name, value) in entries {
        field(text, indent + 2, &scalar(name), value);
    }
}

/// Groups as a whole rule file.
pub fn file(groups: &str) -> String {
    format!("groups:\n{groups}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> std::collections::BTreeMap<String, String> {
        serde_saphyr::from_str(text).unwrap()
    }

    #[test]
    fn every_string_reads_back_as_it_was() {
        for value in [
            "",
            "up",
            "yes",
            "1e5",
            "0x1f",
            "a: b",
            "# no",
            "it's",
            "say \"x\"",
            "tab\there",
            "del\u{7f}",
            "ü",
            "a\\b",
            "{{ $value }}",
            "- x",
            "x:",
            "\u{feff}bom",
            "nel\u{85}",
            "emoji 🚢",
            "trailing ",
            " leading",
            "null",
            "~",
        ] {
            let mut text = String::new();
            field(&mut text, 0, "key", value);
            assert_eq!(read(&text)["key"], value, "{text}");
        }
    }

    #[test]
    fn several_lines_become_a_block_that_reads_back() {
        for value in ["sum(\n  x\n)", "a\n\nb", "a\n", "\na", "  a\nb", "a\n\tb", "a\r\nb", "# c\nx", "a \nb"] {
            let mut text = String::new();
            field(&mut text, 0, "key", value);
            text.push_str("next: x\n");
            let back = read(&text);
            assert_eq!((back["key"].as_str(), back["next"].as_str()), (value, "x"), "{text}");
        }
    }
}
