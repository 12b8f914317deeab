//! Whether what an author wrote in PromQL holds, does not, or cannot be told: an empty answer means two things, and
//! only one of them is "no". Pure.

use promql_parser::parser::Expr;
use promql_parser::parser::value::ValueType;

use crate::prometheus::Sample;
use crate::rule::promql::{self, ExprError};

/// Values that are shown.
const SHOWN: usize = 3;

/// How it stands with a condition, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Holds(String),
    Not(String),
    /// Prometheus has no series for it.
    NoData(String),
    /// Nobody answered.
    NoAnswer(String),
}

/// What is asked to judge a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// As it was written.
    pub whole: String,
    /// What is compared with a number, where it is: without an answer to it nothing is known.
    pub left: Option<String>,
}

/// The question of an expression, or where it is wrong.
pub fn question(written: &str) -> Result<Question, ExprError> {
    let mut tree = promql::tree(written)?;
    while let Expr::Paren(paren) = tree {
        tree = *paren.expr;
    }
    let left = match tree {
        Expr::Binary(binary)
            if binary.op.is_comparison_operator()
                && !binary.return_bool()
                && binary.lhs.value_type() == ValueType::Vector
                && binary.rhs.value_type() == ValueType::Scalar =>
        {
            Some(binary.lhs.to_string())
        }
        _ => None,
    };
    Ok(Question { whole: written.to_owned(), left })
}

/// Judges the answers. A comparison holds when every series passes it; any other expression when it has series and none
/// of them is 0.
pub fn judge(question: &Question, whole: &[Sample], left: Option<&[Sample]>) -> Told {
    let expr = &question.whole;
    match left {
        Some([]) => Told::NoData(format!("no data for {}", question.left.as_deref().unwrap_or(expr))),
        Some(left) if whole.len() == left.len() => Told::Holds(format!("{expr} (is {})", values(left))),
        Some(left) => Told::Not(format!("not {expr} (is {})", values(left))),
        None if whole.is_empty() => Told::NoData(format!("no data for {expr}")),
        None if whole.iter().all(|sample| sample.value != 0.0 && !sample.value.is_nan()) => {
            Told::Holds(format!("{expr} (is {})", values(whole)))
        }
        None => Told::Not(format!("not {expr} (is {})", values(whole))),
    }
}

/// A limit on the burn rate of an SLO.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Burn {
    Above(f64),
    Below(f64),
}

/// Judges a burn rate over the last 5 minutes; `None`: there is no data for it.
pub fn judge_burn(name: &str, rate: Option<f64>, limit: Burn) -> Told {
    let Some(rate) = rate.filter(|rate| !rate.is_nan()) else {
        return Told::NoData(format!("no data for the burn rate of SLO {name}"));
    };
    let (holds, words) = match limit {
        Burn::Above(limit) => (rate > limit, format!("above {limit}x")),
        Burn::Below(limit) => (rate < limit, format!("below {limit}x")),
    };
    match holds {
        true => Told::Holds(format!("SLO {name} burns {words} ({rate:.2}x over 5m)")),
        false => Told::Not(format!("SLO {name} does not burn {words} ({rate:.2}x over 5m)")),
    }
}

/// The values of an answer, for people: `0.213`.
pub fn values(samples: &[Sample]) -> String {
    let shown: Vec<String> = samples.iter().take(SHOWN).map(|sample| format!("{:.4}", sample.value)).collect();
    let trimmed = shown.iter().map(|text| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => text,
    });
    let more = samples.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", trimmed.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(values: &[f64]) -> Vec<Sample> {
        values.iter().map(|value| Sample { labels: Default::default(), value: *value }).collect()
    }

    #[test]
    fn what_is_compared_is_asked_for_by_itself() {
        let left = |expr: &str| question(expr).unwrap().left;
        assert_eq!(
            left("(job:errors:ratio{code=~\"5..\"} < 0.01)").as_deref(),
            Some("job:errors:ratio{code=~\"5..\"}")
        );
        for whole in ["up == bool 1", "up", "a / b > c", "vector(1)", "1 < bool 2"] {
            assert_eq!(left(whole), None, "{whole}");
        }
        assert!(question("up ==").is_err());
    }

    #[test]
    fn no_data_is_told_apart_from_no() {
        let ask = question("errors < 0.01").unwrap();
        let told = |whole: &[f64], left: &[f64]| judge(&ask, &samples(whole), Some(&samples(left)));
        assert_eq!(told(&[0.0], &[0.0]), Told::Holds("errors < 0.01 (is 0)".into()));
        assert_eq!(told(&[], &[0.25]), Told::Not("not errors < 0.01 (is 0.25)".into()));
        assert_eq!(told(&[0.001], &[0.001, 0.5]), Told::Not("not errors < 0.01 (is 0.001, 0.5)".into()));
        assert_eq!(told(&[], &[]), Told::NoData("no data for errors".into()));
        // A quotient of nothing compares with nothing.
        assert_eq!(told(&[], &[f64::NAN]), Told::Not("not errors < 0.01 (is NaN)".into()));
    }

    #[test]
    fn a_burn_rate_is_compared_with_the_limit_and_no_data_is_told_apart() {
        let held = "SLO checkout burns above 6x (14.40x over 5m)";
        assert_eq!(judge_burn("checkout", Some(14.4), Burn::Above(6.0)), Told::Holds(held.into()));
        let not = "SLO checkout does not burn below 1x (1.00x over 5m)";
        assert_eq!(judge_burn("checkout", Some(1.0), Burn::Below(1.0)), Told::Not(not.into()));
        for unknown in [None, Some(f64::NAN)] {
            assert!(matches!(judge_burn("checkout", unknown, Burn::Below(1.0)), Told::NoData(_)));
        }
    }

    #[test]
    fn an_expression_without_a_comparison_holds_when_nothing_of_it_is_zero() {
        let ask = question("up == bool 1").unwrap();
        let told = |whole: &[f64]| judge(&ask, &samples(whole), None);
        assert_eq!(told(&[1.0, 1.0]), Told::Holds("up == bool 1 (is 1, 1)".into()));
        assert_eq!(told(&[1.0, 0.0]), Told::Not("not up == bool 1 (is 1, 0)".into()));
        assert_eq!(told(&[]), Told::NoData("no data for up == bool 1".into()));
    }
}
