//! The text of one rule group, cut into its rules and put together again: so that nothing but this text must be kept,
//! in memory and in the shards, to know the last good version of every rule. Pure.
//!
//! Where the rules alone do not tell, a comment above a rule does: `generation` (it was kept from that generation of
//! the AlertRule), `tiers` (this many entries are one rule, with tiers or a baseline), `nth` (rules of that name stand before it in the spec).

use std::collections::BTreeMap;
use std::fmt::Write;

use super::compile::{Compiled, CompiledRule, Kind, Refusal, RuleId};
use super::yaml;
use crate::api::alert_rule::RuleProblem;
use crate::k8s::meta::digest;

/// Longest text of one group, in bytes: a group lives in one shard.
pub const MAX_GROUP: usize = 500 << 10;
/// Reason of a rule that Prometheus itself refused.
pub const QUARANTINED: &str = "Quarantined";
/// Reason of a rule that is held back by a test of its AlertRule.
pub const TESTS_FAILED: &str = "TestsFailed";
/// The same of a good rule while the tests have not been run; told to nobody.
pub const NOT_TESTED: &str = "NotTested";

/// One rule of the spec as it stands in a group: one entry, or one for each tier, or the series of a baseline and their alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    pub text: &'a str,
    /// Rules of the same kind and name that stand before it in the spec.
    pub nth: usize,
    /// The generation of the AlertRule that it was kept from; `None`: the group's own.
    pub kept: Option<i64>,
}

impl<'a> Piece<'a> {
    /// The line that names it. With `nth` it tells which rule of the spec this is.
    pub fn line(&self) -> &'a str {
        // The series of a baseline stand above their alert.
        let alert = self.text.lines().find(|line| line.starts_with("  - alert: "));
        alert.or(self.text.lines().next()).unwrap_or_default()
    }

    /// Tells this version of the rule from any other.
    pub fn digest(&self) -> String {
        digest([self.text], 16)
    }

    /// Name of the alert or of the recorded series.
    pub fn name(&self) -> String {
        self.line().split_once(": ").map(|(_, name)| unquoted(name)).unwrap_or_default()
    }
}

/// A group of rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group<'a> {
    /// All lines above the first rule.
    pub head: &'a str,
    pub pieces: Vec<Piece<'a>>,
}

impl<'a> Group<'a> {
    /// The text of a group that `to_text` made; an empty text is a group without rules.
    pub fn cut(text: &'a str) -> Self {
        let mut lines = Lines { text, at: 0 };
        let mut head = 0;
        for (start, line) in &mut lines {
            head = start + line.len();
            if line == "  rules:\n" {
                break;
            }
        }
        let (mut pieces, mut from, mut marks) = (Vec::<Piece>::new(), head, BTreeMap::new());
        let mut entries = 0;
        for (start, line) in &mut lines {
            if let Some(comment) = line.strip_prefix("  # ") {
                marks = marks_of(comment);
                entries = 0;
                from = start + line.len();
            } else if line.starts_with("  - ") {
                entries += 1;
                let more = entries > 1 && entries <= marks.get("tiers").copied().unwrap_or(1);
                if !more {
                    if entries > 1 {
                        marks = BTreeMap::new();
                        entries = 1;
                    }
                    from = start;
                    let nth = marks.get("nth").map_or(0, |nth| *nth as usize);
                    pieces.push(Piece { text: "", nth, kept: marks.get("generation").copied() });
                }
            }
            if let Some(last) = pieces.last_mut()
                && !line.starts_with("  # ")
            {
                last.text = &text[from..start + line.len()];
            }
        }
        Self { head: &text[..head], pieces }
    }

    /// `<namespace>/<name>` of the AlertRule.
    pub fn name(&self) -> Option<String> {
        self.head.lines().find_map(|line| line.strip_prefix("- name: ")).map(unquoted)
    }

    /// The generation of the AlertRule that it was made of.
    pub fn generation(&self) -> Option<i64> {
        self.head.lines().find_map(|line| line.strip_prefix("# generation "))?.parse().ok()
    }

    /// The piece that is the same rule of the spec.
    pub fn find(&self, line: &str, nth: usize) -> Option<&Piece<'a>> {
        self.pieces.iter().find(|piece| piece.line() == line && piece.nth == nth)
    }

    /// The same rule, as a piece that another version of the group keeps.
    pub fn keep(&self, line: &str, nth: usize) -> Option<Piece<'a>> {
        let piece = self.find(line, nth)?;
        Some(Piece { kept: piece.kept.or(self.generation()), ..piece.clone() })
    }

    /// As YAML below `groups:`; empty without rules.
    pub fn to_text(&self) -> String {
        if self.pieces.is_empty() {
            return String::new();
        }
        let mut text = self.head.to_owned();
        for piece in &self.pieces {
            text.push_str(&marked(piece));
        }
        text
    }
}

fn marked(piece: &Piece) -> String {
    let entries = piece.text.lines().filter(|line| line.starts_with("  - ")).count();
    let mut marks = String::new();
    // Writing to a String cannot fail.
    if let Some(generation) = piece.kept {
        _ = write!(marks, " generation {generation}");
    }
    if entries > 1 {
        _ = write!(marks, " tiers {entries}");
    }
    if piece.nth > 0 {
        _ = write!(marks, " nth {}", piece.nth);
    }
    if marks.is_empty() { piece.text.to_owned() } else { format!("  #{marks}\n{}", piece.text) }
}

fn marks_of(comment: &str) -> BTreeMap<&str, i64> {
    let words: Vec<&str> = comment.split_whitespace().collect();
    words.chunks(2).filter_map(|pair| Some((*pair.first()?, pair.get(1)?.parse().ok()?))).collect()
}

/// What `yaml::scalar` made of a name.
fn unquoted(scalar: &str) -> String {
    match scalar.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
        Some(inner) => inner.replace("''", "'"),
        None => scalar.to_owned(),
    }
}

/// Lines with their ends and their positions.
struct Lines<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Iterator for Lines<'a> {
    type Item = (usize, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.text.get(self.at..).filter(|rest| !rest.is_empty())?;
        let line = &rest[..rest.find('\n').map_or(rest.len(), |end| end + 1)];
        let start = self.at;
        self.at += line.len();
        Some((start, line))
    }
}

/// An AlertRule as it is shipped.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shipped {
    /// Its group: the accepted rules, and the last good versions of refused ones.
    pub text: Box<str>,
    /// Rules of the spec.
    pub rules: usize,
    pub problems: Vec<Problem>,
    /// How far back the longest of its baselines looks, in seconds; 0 without one.
    pub reach: u64,
}

/// A refused rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// As the status tells it, without the fate of the earlier version.
    pub told: RuleProblem,
    /// The generation whose version of this rule stays live.
    pub kept: Option<i64>,
}

impl Problem {
    /// As the status tells it.
    pub fn status(&self) -> RuleProblem {
        let fate = match self.kept {
            Some(generation) => format!("its version of generation {generation} stays live"),
            None => "the rule is not live".to_owned(),
        };
        RuleProblem { message: format!("{}; {fate}", self.told.message), ..self.told.clone() }
    }
}

impl Shipped {
    /// Puts together what is good, and for what is refused the last good version out of `old`, the group as it was
    /// shipped before. `quarantined` are rules that Prometheus refused earlier: told by their digests, not tried again.
    pub fn new(compiled: &Compiled, old: Option<&str>, quarantined: &[RuleProblem]) -> Self {
        let old = old.map(Group::cut);
        let mut group = Group { head: &compiled.head, pieces: vec![] };
        let (mut problems, mut length) = (vec![], compiled.head.len());
        for (index, rule) in compiled.rules.iter().enumerate() {
            let problem = match &rule.result {
                Ok(text) if length + text.len() > MAX_GROUP => too_large(index, &rule.id),
                Ok(text) => {
                    let piece = Piece { text, nth: rule.id.nth, kept: None };
                    let known = if quarantined.is_empty() { None } else { Some(piece.digest()) };
                    match quarantined.iter().find(|q| known.is_some() && q.digest == known) {
                        Some(problem) => RuleProblem { index: index as i32, ..problem.clone() },
                        None => {
                            length += text.len() + 40;
                            group.pieces.push(piece);
                            continue;
                        }
                    }
                }
                Err(refusal) => told(refusal),
            };
            let kept = old.as_ref().and_then(|old| old.keep(&line(&rule.id), rule.id.nth)).filter(|piece| {
                let bad = !quarantined.is_empty() && quarantined.iter().any(|q| q.digest == Some(piece.digest()));
                !bad && length + piece.text.len() <= MAX_GROUP
            });
            problems.push(Problem { told: problem, kept: kept.as_ref().and_then(|piece| piece.kept) });
            if let Some(piece) = kept {
                length += piece.text.len() + 40;
                group.pieces.push(piece);
            }
        }
        Self { text: group.to_text().into(), rules: compiled.rules.len(), problems, reach: compiled.reach }
    }

    /// Nothing of `compiled`: all of `old`, the group as it was shipped before, stays as it is. `reason` and `message`
    /// are those of the good rules.
    pub fn held(compiled: &Compiled, old: Option<&str>, reason: &str, message: &str) -> Self {
        let text = old.unwrap_or_default();
        let group = Group::cut(text);
        let held = |(index, rule): (usize, &CompiledRule)| RuleProblem {
            index: index as i32,
            name: rule.id.name.clone(),
            field: "tests".into(),
            reason: reason.to_owned(),
            message: message.to_owned(),
            ..RuleProblem::default()
        };
        let problem = |(index, rule): (usize, &CompiledRule)| Problem {
            told: rule.result.as_ref().err().map_or_else(|| held((index, rule)), told),
            kept: group.keep(&line(&rule.id), rule.id.nth).and_then(|piece| piece.kept),
        };
        let problems = compiled.rules.iter().enumerate().map(problem).collect();
        Self { text: text.into(), rules: compiled.rules.len(), problems, reach: 0 }
    }

    pub fn accepted(&self) -> usize {
        self.rules - self.problems.len()
    }

    /// Rules with which something is wrong; those that wait for tests are neither accepted nor refused.
    pub fn refused(&self) -> usize {
        self.problems.iter().filter(|problem| problem.told.reason != NOT_TESTED).count()
    }

    pub fn waits_for_tests(&self) -> bool {
        self.refused() < self.problems.len()
    }

    /// Takes out the rule with this digest, which Prometheus refused; puts in its version of `good`, a group that
    /// Prometheus had loaded. Returns what to tell; `None` when there is no such rule.
    pub fn quarantine(&mut self, digest: &str, good: Option<&str>) -> Option<RuleProblem> {
        let mut group = Group::cut(&self.text);
        let at = group.pieces.iter().position(|piece| piece.digest() == digest)?;
        let piece = group.pieces[at].clone();
        // Pieces stand in the order of the spec; a refused rule has one only when an earlier version was kept.
        let without: Vec<i32> = self.problems.iter().filter(|p| p.kept.is_none()).map(|p| p.told.index).collect();
        let index = (0..self.rules as i32).filter(|index| !without.contains(index)).nth(at)?;
        let good = good.map(Group::cut);
        let earlier =
            good.as_ref().and_then(|good| good.keep(piece.line(), piece.nth)).filter(|e| e.text != piece.text);
        let kept = earlier.as_ref().and_then(|piece| piece.kept);
        let told = RuleProblem {
            index,
            name: piece.name(),
            field: "rule".into(),
            column: None,
            reason: QUARANTINED.into(),
            message: "Prometheus refuses to load this rule, though it parses: look for it in Prometheus' log, and change the rule to have it tried again".into(),
            digest: Some(digest.to_owned()),
        };
        match earlier {
            Some(earlier) => group.pieces[at] = earlier,
            None => _ = group.pieces.remove(at),
        }
        let text = group.to_text().into();
        self.text = text;
        self.problems.retain(|problem| problem.told.index != index);
        self.problems.push(Problem { told: told.clone(), kept });
        self.problems.sort_by_key(|problem| problem.told.index);
        Some(told)
    }
}

/// The line by which a rule begins.
fn line(id: &RuleId) -> String {
    let key = if id.kind == Kind::Alert { "alert" } else { "record" };
    format!("  - {key}: {}", yaml::scalar(&id.name))
}

fn told(refusal: &Refusal) -> RuleProblem {
    RuleProblem {
        index: refusal.index as i32,
        name: refusal.name.clone(),
        field: refusal.field.clone(),
        column: refusal.column.map(|column| column as i32),
        reason: refusal.reason.to_owned(),
        message: refusal.message.clone(),
        digest: None,
    }
}

fn too_large(index: usize, id: &RuleId) -> RuleProblem {
    RuleProblem {
        index: index as i32,
        name: id.name.clone(),
        field: "spec.rules".into(),
        column: None,
        reason: "TooLarge".into(),
        message: format!(
            "with this rule the group is longer than {} KiB, the most that one AlertRule may ship: divide it over several AlertRules",
            MAX_GROUP >> 10
        ),
        digest: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::alert_rule::AlertRuleSpec;
    use crate::rule::compile::compile;
    use serde_json::json;

    fn compiled(generation: i64, rules: serde_json::Value) -> Compiled {
        let spec: AlertRuleSpec = serde_json::from_value(json!({"interval": "15s", "rules": rules})).unwrap();
        compile("shop/1st", Some(generation), &spec)
    }

    fn ship(generation: i64, rules: serde_json::Value, old: Option<&str>) -> Shipped {
        Shipped::new(&compiled(generation, rules), old, &[])
    }

    fn tiered() -> serde_json::Value {
        json!([
            {"record": "a:b", "expr": "up\n\n  + 1"},
            {"alert": "T", "expr": "up", "tiers": [{"severity": "w", "above": 1}, {"severity": "c", "above": 2}]},
            {"alert": "T", "expr": "down", "labels": {"second": "yes"}},
            {"alert": "with space", "expr": "up == 0", "annotations": {"summary": "- a\n  - b"}},
        ])
    }

    #[test]
    fn a_group_is_cut_into_the_rules_of_its_spec_and_put_together_again() {
        let shipped = ship(4, tiered(), None);
        let group = Group::cut(&shipped.text);
        assert_eq!(group.to_text(), *shipped.text);
        assert_eq!((group.name().as_deref(), group.generation()), (Some("shop/1st"), Some(4)));
        let pieces: Vec<_> = group.pieces.iter().map(|p| (p.name(), p.nth, p.text.lines().count())).collect();
        assert_eq!(
            pieces,
            [("a:b".into(), 0, 5), ("T".into(), 0, 8), ("T".into(), 1, 4), ("with space".into(), 0, 6)],
            "{}",
            shipped.text
        );
        assert_eq!(Group::cut(""), Group { head: "", pieces: vec![] });
    }

    #[test]
    fn a_refused_rule_keeps_its_last_good_version_over_several_generations() {
        let first = ship(1, tiered(), None);
        let mut rules = tiered();
        rules[1]["expr"] = "up (".into();
        let second = ship(2, rules.clone(), Some(&first.text));
        assert_eq!(second.accepted(), 3);
        assert!(second.problems[0].status().message.ends_with("its version of generation 1 stays live"));
        let third = ship(3, rules, Some(&second.text));
        let kept = Group::cut(&third.text).find("  - alert: T", 0).cloned().unwrap();
        assert_eq!((kept.kept, kept.text), (Some(1), Group::cut(&first.text).pieces[1].text));
        let anew = ship(1, json!([{"alert": "X", "expr": "("}]), None);
        assert!(anew.text.is_empty() && anew.problems[0].status().message.ends_with("the rule is not live"));
    }

    #[test]
    fn a_quarantined_rule_gives_way_to_its_last_good_version_and_is_not_tried_again() {
        let good = ship(1, tiered(), None);
        let mut rules = tiered();
        rules[0]["expr"] = "(".into();
        rules[2]["expr"] = "evil".into();
        let mut bad = ship(2, rules.clone(), Some(&good.text));
        let digest = Group::cut(&bad.text).find("  - alert: T", 1).unwrap().digest();
        let told = bad.quarantine(&digest, Some(&good.text)).unwrap();
        assert_eq!((told.index, told.name.as_str(), bad.accepted()), (2, "T", 2));
        assert!(bad.text.contains("expr: down") && !bad.text.contains("evil"));
        let again = Shipped::new(&compiled(3, rules.clone()), Some(&bad.text), std::slice::from_ref(&told));
        assert!(!again.text.contains("evil") && again.problems[1].kept == Some(1), "{:?}", again.problems);
        rules[2]["expr"] = "evil > 2".into();
        assert!(Shipped::new(&compiled(4, rules), Some(&bad.text), &[told]).text.contains("evil > 2"));
    }

    #[test]
    fn the_series_of_a_baseline_and_their_alert_are_one_rule() {
        let rules = json!([{"record": "a:b", "expr": "x"}, {"alert": "Odd", "expr": "a:b", "baseline": {"window": "7d", "ratio": 0.5}},
            {"alert": "B", "expr": "up"}]);
        let first = ship(1, rules.clone(), None);
        let group = Group::cut(&first.text);
        let names: Vec<String> = group.pieces.iter().map(Piece::name).collect();
        assert_eq!((names, group.to_text()), (vec!["a:b".into(), "Odd".into(), "B".into()], first.text.to_string()));
        let mut wrong = rules;
        wrong[1]["expr"] = "(".into();
        let kept = ship(2, wrong, Some(&first.text));
        assert_eq!(Group::cut(&kept.text).pieces[1].text, group.pieces[1].text);
        assert_eq!(kept.problems[0].kept, Some(1));
    }

    #[test]
    fn a_group_that_would_not_fit_into_a_shard_is_cut_short_and_says_so() {
        let long = "x".repeat(15_000);
        let rules: Vec<_> =
            (0..60).map(|i| json!({"alert": format!("A{i}"), "expr": format!("{long} > {i}")})).collect();
        let shipped = ship(1, rules.into(), None);
        assert!(shipped.text.len() <= MAX_GROUP && shipped.accepted() > 30);
        assert_eq!(shipped.problems[0].told.reason, "TooLarge");
    }
}
