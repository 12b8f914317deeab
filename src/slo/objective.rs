//! Objectives and burn rates as decimals: what a person wrote is what the rules say, without float noise. Pure.

use std::fmt;

/// A decimal number: `mantissa / 10^scale`, without trailing zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal {
    mantissa: i128,
    scale: u32,
}

/// Digits after the point that a decimal may have; far beyond what anybody measures, and products stay within i128.
const MAX_SCALE: u32 = 9;

impl Decimal {
    /// The decimal that a person wrote: the shortest that reads back as this number. `None` when it is not finite, too
    /// large, or has more than 9 digits after the point.
    pub fn of(number: f64) -> Option<Self> {
        if !number.is_finite() || number.abs() >= 1e12 {
            return None;
        }
        let text = number.to_string();
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
        let scale = u32::try_from(fraction.len()).ok().filter(|scale| *scale <= MAX_SCALE)?;
        let mantissa = format!("{whole}{fraction}").parse().ok()?;
        Some(Self { mantissa, scale }.normal())
    }

    pub const fn whole(number: i128) -> Self {
        Self { mantissa: number, scale: 0 }
    }

    /// Digits after the point.
    pub fn digits(self) -> usize {
        self.scale as usize
    }

    pub fn times(self, other: Self) -> Self {
        Self { mantissa: self.mantissa * other.mantissa, scale: self.scale + other.scale }.normal()
    }

    fn minus(self, other: Self) -> Self {
        let scale = self.scale.max(other.scale);
        Self { mantissa: self.at(scale) - other.at(scale), scale }.normal()
    }

    fn hundredth(self) -> Self {
        Self { mantissa: self.mantissa, scale: self.scale + 2 }.normal()
    }

    pub fn at_least_one(self) -> bool {
        self.mantissa >= 10i128.pow(self.scale)
    }

    pub fn is_positive(self) -> bool {
        self.mantissa > 0
    }

    /// The nearest float; for arithmetic on measured values, never for text.
    pub fn to_f64(self) -> f64 {
        self.mantissa as f64 / 10f64.powi(self.scale as i32)
    }

    fn at(self, scale: u32) -> i128 {
        self.mantissa * 10i128.pow(scale - self.scale)
    }

    fn normal(mut self) -> Self {
        while self.scale > 0 && self.mantissa % 10 == 0 {
            self.mantissa /= 10;
            self.scale -= 1;
        }
        self
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.mantissa < 0 { "-" } else { "" };
        let digits = format!("{:0width$}", self.mantissa.unsigned_abs(), width = self.scale as usize + 1);
        let (whole, fraction) = digits.split_at(digits.len() - self.scale as usize);
        if fraction.is_empty() { write!(f, "{sign}{whole}") } else { write!(f, "{sign}{whole}.{fraction}") }
    }
}

/// An objective that can be missed and can be met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Objective {
    /// In percent, for example 99.9.
    pub percent: Decimal,
    /// As a ratio, for example 0.999.
    pub ratio: Decimal,
    /// The ratio of events that may be bad, for example 0.001.
    pub budget: Decimal,
}

impl Objective {
    /// Refused with the words of the field `objective`.
    pub fn of(percent: f64) -> Result<Self, String> {
        if percent == 100.0 {
            return Err(
                "100 leaves no error budget: every single error would miss the objective for the whole window, \
                        and no burn rate is defined; promise a little less, for example 99.99"
                    .into(),
            );
        }
        if percent == 0.0 {
            return Err(
                "0 promises nothing: it can never be missed; write the percentage that must be good, for example 99.9"
                    .into(),
            );
        }
        if !(percent > 0.0 && percent < 100.0) {
            return Err(format!(
                "{percent} is not a percentage between 0 and 100, both excluded: write 99.9 for 99.9 %"
            ));
        }
        let decimal = Decimal::of(percent).filter(|d| d.digits() <= 6).ok_or_else(|| {
            format!("{percent} has more than 6 digits after the point: no service can be measured that finely")
        })?;
        let ratio = decimal.hundredth();
        Ok(Self { percent: decimal, ratio, budget: Decimal::whole(1).minus(ratio) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_printed_without_float_noise() {
        for (objective, ratio, budget) in [
            (99.9, "0.999", "0.001"),
            (99.99, "0.9999", "0.0001"),
            (99.95, "0.9995", "0.0005"),
            (99.0, "0.99", "0.01"),
            (90.0, "0.9", "0.1"),
            (99.999_999, "0.99999999", "0.00000001"),
            (0.5, "0.005", "0.995"),
            (33.3, "0.333", "0.667"),
        ] {
            let objective = Objective::of(objective).unwrap();
            assert_eq!((objective.ratio.to_string(), objective.budget.to_string()), (ratio.into(), budget.into()));
        }
    }

    #[test]
    fn objectives_without_a_meaning_are_refused_with_words_that_help() {
        for (wrong, says) in [
            (100.0, "no error budget"),
            (0.0, "promises nothing"),
            (-1.0, "between 0 and 100"),
            (100.1, "between 0 and 100"),
            (f64::NAN, "between 0 and 100"),
            (99.999_999_9, "6 digits"),
        ] {
            let message = Objective::of(wrong).unwrap_err();
            assert!(message.contains(says), "{wrong}: {message}");
        }
    }

    #[test]
    fn decimals_multiply_exactly() {
        let product = Decimal::of(14.4).unwrap().times(Decimal::of(0.001).unwrap());
        assert_eq!(product.to_string(), "0.0144");
        assert!(Decimal::of(10.0).unwrap().times(Decimal::of(0.1).unwrap()).at_least_one());
        assert!(!Decimal::of(9.999).unwrap().times(Decimal::of(0.1).unwrap()).at_least_one());
        assert_eq!(Decimal::of(-0.25).unwrap().to_string(), "-0.25");
        assert_eq!(Decimal::of(f64::INFINITY), None);
    }
}
