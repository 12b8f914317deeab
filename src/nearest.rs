//! The name that was probably meant. Pure.

/// The candidate with the fewest edits from `name`, if a slip of the fingers explains them.
pub fn nearest<'a>(candidates: impl Iterator<Item = &'a str>, name: &str) -> Option<&'a str> {
    let lower = name.to_lowercase();
    candidates
        .map(|candidate| (edits(&candidate.to_lowercase(), &lower), candidate))
        .filter(|(edits, candidate)| *edits <= (candidate.chars().count() / 3).clamp(1, 3))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b` (optimal string alignment).
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<_>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_fingers_is_recognised_and_another_word_is_not() {
        let names = ["oncall", "team-slack", "managers", "mode"];
        for (name, meant) in [
            ("oncal", Some("oncall")),
            ("onclal", Some("oncall")),
            ("Oncall", Some("oncall")),
            ("team_slack", Some("team-slack")),
            ("mdoe", Some("mode")),
            ("pagers", None),
            ("", None),
        ] {
            assert_eq!(nearest(names.into_iter(), name), meant, "{name}");
        }
    }

    #[test]
    fn edits_are_counted() {
        for (a, b, count) in
            [("", "", 0), ("abc", "abc", 0), ("abc", "abd", 1), ("abc", "ab", 1), ("", "abc", 3), ("ab", "ba", 1)]
        {
            assert_eq!(edits(a, b), count, "{a} {b}");
        }
    }
}
