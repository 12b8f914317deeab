//! Checks the Go templates in labels and annotations of an alert, as far as Prometheus does when it loads a rule:
//! what cannot be parsed, or calls what does not exist, would make it refuse every rule of every file. Pure. Refuses
//! only what is surely wrong; the rest is left to Prometheus, and to quarantine.

/// Why a template is refused, with the column in characters from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError {
    pub column: usize,
    pub message: String,
}

/// Functions of Prometheus' templates (template.go) and of Go's text/template.
const FUNCTIONS: [&str; 49] = [
    "and",
    "args",
    "call",
    "eq",
    "externalURL",
    "first",
    "ge",
    "graphLink",
    "gt",
    "html",
    "humanize",
    "humanize1024",
    "humanizeDuration",
    "humanizePercentage",
    "humanizeTimestamp",
    "index",
    "js",
    "label",
    "le",
    "len",
    "lt",
    "match",
    "ne",
    "not",
    "now",
    "or",
    "parseDuration",
    "pathPrefix",
    "print",
    "printf",
    "println",
    "query",
    "reReplaceAll",
    "safeHtml",
    "slice",
    "sortByLabel",
    "stripDomain",
    "stripPort",
    "strvalue",
    "tableLink",
    "title",
    "toDuration",
    "toLower",
    "toTime",
    "toUpper",
    "tmpl",
    "urlquery",
    "urlQueryEscape",
    "value",
];
const KEYWORDS: [&str; 13] =
    ["if", "else", "end", "range", "with", "define", "template", "block", "break", "continue", "nil", "true", "false"];
/// Variables that Prometheus defines.
const VARIABLES: [&str; 5] = ["$", "$labels", "$externalLabels", "$externalURL", "$value"];

/// Checks one template.
pub fn check(text: &str) -> Result<(), TemplateError> {
    let mut open: Vec<usize> = Vec::new();
    let mut variables: Vec<&str> = VARIABLES.to_vec();
    let mut from = 0;
    while let Some(at) = text[from..].find("{{") {
        let start = from + at;
        let wrong = |message: String| error(text, start, message);
        let body = start + 2;
        let end = match action_end(&text[body..]) {
            Ok(Some(length)) => body + length,
            Ok(None) => return Err(wrong("unclosed action: {{ without }}".into())),
            Err(what) => return Err(wrong(format!("{what} in the action that begins here"))),
        };
        from = end + 2;
        let action = &text[body..end];
        let action = action.strip_prefix('-').filter(|a| a.starts_with([' ', '\t', '\n'])).unwrap_or(action);
        let action = action.strip_suffix('-').filter(|a| a.ends_with([' ', '\t', '\n'])).unwrap_or(action).trim();
        if action.starts_with("/*") {
            continue;
        }
        let words = words(action);
        declare(action, &words, &mut variables);
        let first = words.first().copied().unwrap_or_default();
        match first {
            "if" | "with" | "range" if action == first => return Err(wrong(format!("missing value for {first}"))),
            "if" | "with" | "range" | "define" | "block" => open.push(start),
            "end" if open.pop().is_none() => return Err(wrong("unexpected {{end}}".into())),
            "else" if open.is_empty() => return Err(wrong("unexpected {{else}}".into())),
            _ if action.is_empty() => return Err(wrong("missing value for command".into())),
            _ => {}
        }
        for word in words {
            if word.starts_with('$') {
                if !variables.contains(&word) {
                    return Err(wrong(format!("undefined variable {word:?}")));
                }
            } else if !KEYWORDS.contains(&word) && !FUNCTIONS.contains(&word) {
                return Err(wrong(format!("function {word:?} is not defined")));
            }
        }
    }
    match open.pop() {
        Some(start) => Err(error(text, start, "this block has no {{end}}".into())),
        None => Ok(()),
    }
}

fn error(text: &str, byte: usize, message: String) -> TemplateError {
    TemplateError { column: text[..byte].chars().count() + 1, message }
}

/// Length of an action up to its `}}`, which counts neither within quotes nor within a comment.
fn action_end(action: &str) -> Result<Option<usize>, &'static str> {
    let bytes = action.as_bytes();
    let trimmed = action.trim_start_matches(['-', ' ']);
    if trimmed.starts_with("/*") {
        let Some(closed) = action.find("*/") else { return Err("unclosed comment") };
        return Ok(action[closed..].find("}}").map(|at| closed + at));
    }
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'}' if bytes.get(at + 1) == Some(&b'}') => return Ok(Some(at)),
            quote @ (b'"' | b'\'' | b'`') => match quoted(&action[at..], quote) {
                Some(length) => at += length,
                None => return Err("unterminated quoted string"),
            },
            _ => at += 1,
        }
    }
    Ok(None)
}

/// Length of a quoted string, its quotes included.
fn quoted(text: &str, quote: u8) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b if b == quote => return Some(at + 1),
            b'\\' if quote != b'`' => at += 2,
            b'\n' if quote != b'`' => return None,
            _ => at += 1,
        }
    }
    None
}

/// Variables, functions and keywords of an action; no fields (`.Value`), strings or numbers.
fn words(action: &str) -> Vec<&str> {
    let bytes = action.as_bytes();
    let part = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b >= 0x80;
    let mut words = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        match bytes[at] {
            quote @ (b'"' | b'\'' | b'`') => at += quoted(&action[at..], quote).unwrap_or(1),
            b'.' => {
                at += 1;
                at += bytes[at..].iter().take_while(|b| part(**b)).count();
            }
            b if b.is_ascii_digit() => at += bytes[at..].iter().take_while(|b| part(**b) || **b == b'.').count(),
            b if b == b'$' || part(b) => {
                at += 1;
                at += bytes[at..].iter().take_while(|b| part(**b)).count();
                words.push(&action[start..at]);
            }
            _ => at += 1,
        }
    }
    words
}

/// Variables that an action declares: those left of its `:=`.
fn declare<'a>(action: &str, words: &[&'a str], variables: &mut Vec<&'a str>) {
    let Some(at) = action.find(":=") else { return };
    let declared = action[..at].matches('$').count();
    variables.extend(words.iter().filter(|w| w.starts_with('$')).take(declared));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_templates_pass() {
        for good in [
            "plain text with } and { and $dollar",
            "{{ $value | humanizePercentage }} of {{ $labels.job }} on {{ .Labels.instance }}",
            "{{- if gt $value 0.5 -}} high {{- else if eq $labels.x \"}}\" }} odd {{ else }} low {{ end }}",
            "{{ with query \"up{job='x'}\" }}{{ . | first | value | printf \"%.2f\" }}{{ end }}",
            "{{ range $i, $v := query `up` }}{{ $i }}{{ $v.Value }}{{ end }}",
            "{{/* a comment with nosuch */}}{{ $x := 1e3 }}{{ $x }}",
            "{{ $labels.instance | reReplaceAll \"(.*):.*\" \"$1\" }}",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn what_prometheus_could_not_parse_is_refused_with_its_column() {
        for (wrong, column, says) in [
            ("{{ $value", 1, "unclosed action"),
            ("ab {{ $labels.x | nosuch }}", 4, "function \"nosuch\" is not defined"),
            ("{{ if }}x{{ end }}", 1, "missing value for if"),
            ("{{ if true }}x", 1, "no {{end}}"),
            ("x{{ end }}", 2, "unexpected {{end}}"),
            ("{{ $lables.job }}", 1, "undefined variable"),
            ("{{ }}", 1, "missing value for command"),
            ("{{ \"a }}", 1, "unterminated"),
        ] {
            let error = check(wrong).unwrap_err();
            assert_eq!(error.column, column, "{wrong}: {error:?}");
            assert!(error.message.contains(says), "{wrong}: {error:?}");
        }
    }
}
