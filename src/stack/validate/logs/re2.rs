//! Whether Go's engine (RE2) reads a regular expression. The crate `regex` has nearly the same syntax; the rest is looked
//! for in its syntax tree. Pure.

use regex_syntax::ast::{
    self, AssertionKind, Ast, ClassSetBinaryOp, ClassSetItem, ClassUnicode, ClassUnicodeKind, Flag, Flags,
    FlagsItemKind, HexLiteralKind, Literal, LiteralKind, RepetitionKind, RepetitionRange,
};

/// Go's limit of a repetition, those within each other multiplied.
const MOST: u64 = 1000;
/// Scripts by which people select characters; Go knows them by these names.
const SCRIPTS: [&str; 12] = [
    "Arabic",
    "Armenian",
    "Bengali",
    "Cyrillic",
    "Devanagari",
    "Greek",
    "Han",
    "Hangul",
    "Hebrew",
    "Hiragana",
    "Katakana",
    "Latin",
];

/// The names of its groups, or why the Collector would not read it.
pub fn groups(pattern: &str) -> Result<Vec<String>, String> {
    let compiled = regex::Regex::new(pattern).map_err(|e| {
        let text = e.to_string();
        let last = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
        last.trim_end_matches('.').to_owned()
    })?;
    let tree = ast::parse::Parser::new().parse(pattern).map_err(|e| e.kind().to_string())?;
    ast::visit(&tree, Reader { repeated: vec![] })?;
    let names: Vec<String> = compiled.capture_names().flatten().map(str::to_owned).collect();
    match names.iter().find(|name| !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')) {
        Some(name) => Err(format!("the group {name:?} may have letters, digits and _ in its name only")),
        None => Ok(names),
    }
}

/// Finds what Go lacks.
struct Reader {
    /// The repetitions around the present place.
    repeated: Vec<u64>,
}

fn lacks(what: &str) -> Result<(), String> {
    Err(format!("RE2 has no {what}"))
}

fn flags(flags: &Flags) -> Result<(), String> {
    let foreign = |flag: &Flag| matches!(flag, Flag::IgnoreWhitespace | Flag::Unicode | Flag::CRLF);
    match flags.items.iter().any(|item| matches!(&item.kind, FlagsItemKind::Flag(flag) if foreign(flag))) {
        true => lacks("flags x, u and R"),
        false => Ok(()),
    }
}

fn literal(literal: &Literal) -> Result<(), String> {
    match literal.kind {
        LiteralKind::HexFixed(HexLiteralKind::UnicodeShort | HexLiteralKind::UnicodeLong)
        | LiteralKind::HexBrace(HexLiteralKind::UnicodeShort | HexLiteralKind::UnicodeLong) => {
            lacks(r"\u and \U: write \x{...}")
        }
        _ => Ok(()),
    }
}

fn unicode(class: &ClassUnicode) -> Result<(), String> {
    match &class.kind {
        ClassUnicodeKind::OneLetter(_) => Ok(()),
        ClassUnicodeKind::Named(name) if name.len() <= 2 || SCRIPTS.contains(&name.as_str()) => Ok(()),
        ClassUnicodeKind::Named(name) => {
            lacks(&format!(r"\p{{{name}}}: write a general category, for example \p{{Lu}}"))
        }
        ClassUnicodeKind::NamedValue { .. } => lacks(r"\p{name=value}"),
    }
}

impl ast::Visitor for Reader {
    type Output = ();
    type Err = String;

    fn finish(self) -> Result<(), String> {
        Ok(())
    }

    fn visit_pre(&mut self, ast: &Ast) -> Result<(), String> {
        match ast {
            Ast::Flags(set) => flags(&set.flags),
            Ast::Group(group) => group.flags().map_or(Ok(()), flags),
            Ast::Literal(found) => literal(found),
            Ast::ClassUnicode(class) => unicode(class),
            Ast::Assertion(assertion) => match assertion.kind {
                AssertionKind::StartLine
                | AssertionKind::EndLine
                | AssertionKind::StartText
                | AssertionKind::EndText
                | AssertionKind::WordBoundary
                | AssertionKind::NotWordBoundary => Ok(()),
                _ => lacks(r"\b{start}, \b{end}, \< and \>"),
            },
            Ast::Repetition(repetition) => {
                let most = match &repetition.op.kind {
                    RepetitionKind::Range(
                        RepetitionRange::Exactly(n) | RepetitionRange::AtLeast(n) | RepetitionRange::Bounded(_, n),
                    ) => u64::from(*n).max(1),
                    _ => 1,
                };
                self.repeated.push(most);
                match self.repeated.iter().product::<u64>() > MOST {
                    true => lacks("more than 1000 repetitions"),
                    false => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    fn visit_post(&mut self, ast: &Ast) -> Result<(), String> {
        if let Ast::Repetition(_) = ast {
            self.repeated.pop();
        }
        Ok(())
    }

    fn visit_class_set_item_pre(&mut self, item: &ClassSetItem) -> Result<(), String> {
        match item {
            ClassSetItem::Bracketed(_) => lacks("classes within classes"),
            ClassSetItem::Literal(found) => literal(found),
            ClassSetItem::Unicode(class) => unicode(class),
            _ => Ok(()),
        }
    }

    fn visit_class_set_binary_op_pre(&mut self, _: &ClassSetBinaryOp) -> Result<(), String> {
        lacks("&&, -- and ~~ in classes")
    }
}

#[cfg(test)]
mod tests {
    use super::groups;

    #[test]
    fn what_go_reads_is_accepted_and_its_groups_named() {
        for pattern in
            [r"session=\w+", r"^\d{4}-\d\d", r"(?i)error|warn", r"[^\]]+\z", r"\x{41}\p{Lu}\p{Greek}[[:alpha:]]"]
        {
            assert_eq!(groups(pattern), Ok(vec![]), "{pattern}");
        }
        assert_eq!(groups(r"(?P<user>\w+) (?<path>\S+)"), Ok(vec!["user".to_owned(), "path".to_owned()]));
    }

    #[test]
    fn what_go_does_not_read_is_refused_with_the_reason() {
        for (pattern, why) in [
            ("(", "unclosed group"),
            (r"a(?=b)", "look-around"),
            (r"(a)\1", "backreferences"),
            ("(?x) a", "flags"),
            ("[a-z&&[^b]]", "RE2 has no"),
            ("[a[b]]", "classes within classes"),
            (r"\u0041", r"\x{...}"),
            (r"\bfoo\b{end}", r"\b{end}"),
            (r"(a{100}){100}", "1000"),
            (r"\p{Alphabetic}", "general category"),
            (r"(?P<a.b>x)", "letters, digits and _"),
        ] {
            let error = groups(pattern).unwrap_err();
            assert!(error.contains(why), "{pattern}: {error}");
        }
    }
}
