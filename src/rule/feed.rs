//! What the rule loader and the keeper of SLOs tell each other, and how the groups of SLOs are named. Pure.
//!
//! The loader ships groups, whatever they were made of: its key for one is the group's name, `<namespace>/<name>` of an
//! AlertRule, `slo/<namespace>/<name>/<part>` of an SLO, `stack/<namespace>/<stack>/<group>` of what ships with a stack. Names of
//! objects hold no slash, so they never meet.

use std::collections::{BTreeMap, BTreeSet};

use super::packing::{Key, Pod};
use crate::api::alert_rule::{RuleProblem, StackLoad};

/// Namespace and name.
pub type Name = (String, String);

/// The group with the quick rules of an SLO, and the one with its budget.
pub const BURN: &str = "burn";
pub const BUDGET: &str = "budget";
/// Both, in the order in which they are written.
pub const PARTS: [&str; 2] = [BURN, BUDGET];

/// Ends the name of a group that also records the series of sloth.
pub const SLOTH: &str = "-sloth";

/// Name of a group of an SLO.
pub fn slo_group(namespace: &str, name: &str, part: &str) -> String {
    format!("slo/{namespace}/{name}/{part}")
}

/// Namespace and name of the SLO that a group was made of; `None` when it was an AlertRule.
pub fn slo_of(group: &str) -> Option<(&str, &str)> {
    let (namespace, rest) = group.strip_prefix("slo/")?.split_once('/')?;
    let (name, _) = rest.split_once('/')?;
    Some((namespace, name))
}

/// Which of the groups of its SLO a group is, with or without the series of sloth; `None` when it was an AlertRule.
pub fn part_of(group: &str) -> Option<&str> {
    let (_, part) = group.strip_prefix("slo/")?.split_once('/')?.1.split_once('/')?;
    Some(part.strip_suffix(SLOTH).unwrap_or(part))
}

/// Whether a group ships with a stack: an AlertRule of a namespace `stack` has no second slash.
pub fn is_shipped(group: &str) -> bool {
    group.strip_prefix("stack/").is_some_and(|rest| rest.contains('/'))
}

/// Namespace of the object that a group was made of: by it stacks select.
pub fn namespace_of(group: &str) -> &str {
    slo_of(group).map_or_else(|| group.split('/').next().unwrap_or_default(), |(namespace, _)| namespace)
}

/// Which stacks take a group, of those that select the SLO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum For {
    All,
    /// Those without `compatibility: [sloth]`.
    Plain,
    /// Those with it.
    Sloth,
}

impl For {
    pub fn takes(self, sloth: bool) -> bool {
        match self {
            Self::All => true,
            Self::Plain => !sloth,
            Self::Sloth => sloth,
        }
    }
}

/// One group of an SLO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SloGroup {
    /// `burn` or `budget`, for stacks with the names of sloth with an ending.
    pub part: String,
    pub for_: For,
    /// As YAML below `groups:`.
    pub text: String,
}

impl SloGroup {
    /// The groups of one SLO: `plain` for every stack, or besides `sloth`, which stacks that ask for it take instead.
    pub fn all(plain: [String; 2], sloth: Option<[String; 2]>) -> Vec<Self> {
        let for_ = if sloth.is_some() { For::Plain } else { For::All };
        let part = |part: &str, ending: &str| format!("{part}{ending}");
        let plain = PARTS.into_iter().zip(plain);
        let sloth = sloth.into_iter().flat_map(|texts| PARTS.into_iter().zip(texts));
        let plain = plain.map(|(name, text)| Self { part: part(name, ""), for_, text });
        plain
            .chain(sloth.map(|(name, text)| Self {
                part: part(name, SLOTH),
                for_: For::Sloth,
                text: text.replacen(&format!("/{name}\n"), &format!("/{name}{SLOTH}\n"), 1),
            }))
            .collect()
    }
}

/// An SLO as it is to be shipped.
#[derive(Clone, Debug)]
pub struct Slo {
    pub name: Name,
    pub uid: String,
    pub generation: i64,
    pub labels: BTreeMap<String, String>,
    /// `None`: the spec is refused, and what was shipped last stays.
    pub groups: Option<Vec<SloGroup>>,
    /// The status says that Prometheus had confirmed the rules of this generation.
    pub was_loaded: bool,
}

/// From the keeper to the loader.
#[derive(Clone, Debug)]
pub enum Feed {
    Applied(Slo),
    Deleted(Name),
    /// A listing is complete: whatever is not in it is gone.
    Listed(BTreeSet<Name>),
}

/// From the loader to the keeper: how it stands with the rules of one SLO.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Load {
    /// The stacks that select it.
    pub stacks: Vec<StackLoad>,
    /// Why each stack that there is does not select it; only when none does.
    pub passed_over: Vec<String>,
    /// Rules that Prometheus itself refused.
    pub refused: Vec<RuleProblem>,
    /// Rules that are shipped.
    pub rules: usize,
}

/// What the keeper has to know of a stack.
#[derive(Clone, Debug, PartialEq)]
pub struct StackView {
    pub uid: String,
    /// Seconds for which Prometheus keeps samples.
    pub retention: u64,
    /// Instances over which the targets are divided.
    pub shards: i32,
    /// `compatibility: [sloth]`.
    pub sloth: bool,
    /// Its ready pods of Prometheus, by name.
    pub pods: Vec<Pod>,
}

/// Every stack with a Prometheus; `None` until all of them are known.
pub type Views = Option<BTreeMap<Key, StackView>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_namespace_of_a_group_is_that_of_its_object_whatever_it_is() {
        for (group, namespace) in [("shop/api", "shop"), ("slo/shop/api/burn", "shop"), ("slo/api", "slo")] {
            assert_eq!(namespace_of(group), namespace, "{group}");
        }
        assert_eq!(slo_of(&slo_group("slo", "slo", "budget")), Some(("slo", "slo")));
        // An AlertRule in a namespace of that name.
        assert_eq!((slo_of("slo/shop"), part_of("slo/shop")), (None, None));
        assert!(is_shipped("stack/monitoring/main/service") && !is_shipped("stack/shop"));
    }

    #[test]
    fn the_part_of_a_group_is_not_looked_for_in_the_name_of_its_slo() {
        assert_eq!(part_of(&slo_group("shop", "burn-rate", BUDGET)), Some(BUDGET));
        assert_eq!(part_of("slo/shop/api/burn-sloth"), Some(BURN));
    }

    #[test]
    fn a_group_for_sloth_has_a_name_of_its_own() {
        let texts = || ["burn", "budget"].map(|part| format!("- name: slo/shop/api/{part}\n  rules:\n"));
        let all = SloGroup::all(texts(), Some(texts()));
        assert_eq!(all[0].text, texts()[0]);
        assert!(all[3].text.starts_with("- name: slo/shop/api/budget-sloth\n") && all[3].part == "budget-sloth");
        assert_eq!([all[0].for_, all[3].for_], [For::Plain, For::Sloth]);
        assert_eq!(SloGroup::all(texts(), None)[0].for_, For::All);
    }
}
