//! What the tables of the groups are made of. Pure.

use super::Need;

/// A group of rules that ships.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    pub name: &'static str,
    /// What a stack must have for the group to be of use.
    pub needs: Need,
    /// Groups whose recorded series its rules read.
    pub builds_on: &'static [&'static str],
    pub rules: &'static [Rule],
}

impl Group {
    pub fn alerts(&self) -> impl Iterator<Item = &'static Alert> + use<> {
        self.rules.iter().filter_map(|rule| match rule {
            Rule::Alert(alert) => Some(alert),
            Rule::Record(_) => None,
        })
    }
}

#[derive(Clone, Copy, Debug)]
pub enum Rule {
    Record(Record),
    Alert(Alert),
}

/// A recorded series, or one for each word of `each`, which stands for `$each` in the name and the expression.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    pub name: &'static str,
    pub expr: &'static str,
    pub each: &'static [&'static str],
}

/// An alert. In the expression `$name` stands for the threshold of that name, `$namespace` and `$stack` for the
/// stack's own.
#[derive(Clone, Copy, Debug)]
pub struct Alert {
    pub name: &'static str,
    pub expr: &'static str,
    pub fires: Fires,
    /// Thresholds beyond those of the tiers.
    pub options: &'static [Threshold],
    pub summary: &'static str,
    pub description: &'static str,
}

/// When an alert fires, and how severe it is then.
#[derive(Clone, Copy, Debug)]
pub enum Fires {
    /// For everything that the expression returns: severity, and seconds for which it must.
    When(&'static str, u64),
    /// Above the threshold of each tier, which is named by its severity.
    Above(Kind, &'static [Tier]),
    Below(Kind, &'static [Tier]),
}

/// One severity of an alert.
#[derive(Clone, Copy, Debug)]
pub struct Tier {
    pub severity: &'static str,
    /// The threshold, in the unit of its kind.
    pub at: f64,
    /// Seconds for which it must be passed.
    pub after: u64,
}

/// What a threshold measures. Values are kept as fractions, seconds, plain numbers and bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A share of a whole, from 0 to 1.
    Ratio,
    /// Above zero.
    Duration,
    /// A number of something, a rate a second, or a factor.
    Count,
    Bytes,
}

/// A threshold that a stack may change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    pub name: &'static str,
    pub kind: Kind,
    pub default: f64,
}

impl Alert {
    /// The tiers, and what they measure.
    pub fn tiers(&self) -> Option<(Kind, &'static [Tier])> {
        match self.fires {
            Fires::When(..) => None,
            Fires::Above(kind, tiers) | Fires::Below(kind, tiers) => Some((kind, tiers)),
        }
    }

    /// Every threshold that may be set: those of the tiers, the others, and `for`.
    pub fn thresholds(&self) -> Vec<Threshold> {
        let after = match self.fires {
            Fires::When(_, after) => after,
            Fires::Above(_, tiers) | Fires::Below(_, tiers) => tiers.first().map_or(0, |tier| tier.after),
        };
        let held = Threshold { name: super::FOR, kind: Kind::Duration, default: after as f64 };
        let tiers = self.tiers().into_iter().flat_map(|(kind, tiers)| {
            tiers.iter().map(move |tier| Threshold { name: tier.severity, kind, default: tier.at })
        });
        tiers.chain(self.options.iter().copied()).chain([held]).collect()
    }
}

/// A recorded series.
pub(super) const fn record(name: &'static str, expr: &'static str) -> Rule {
    Rule::Record(Record { name, expr, each: &[] })
}

/// One recorded series for each word.
pub(super) const fn each(each: &'static [&'static str], name: &'static str, expr: &'static str) -> Rule {
    Rule::Record(Record { name, expr, each })
}

/// The tier of that severity: threshold, and seconds for which it must be passed.
pub(super) const fn warning(at: f64, after: u64) -> Tier {
    Tier { severity: "warning", at, after }
}

pub(super) const fn critical(at: f64, after: u64) -> Tier {
    Tier { severity: "critical", at, after }
}

pub(super) const fn option(name: &'static str, kind: Kind, default: f64) -> Threshold {
    Threshold { name, kind, default }
}

pub(super) const MINUTE: u64 = 60;
pub(super) const HOUR: u64 = 3600;
pub(super) const DAY: f64 = 86_400.0;
