//! The files of rules of a stack's Loki: their names, their text, and which of them a group lives in. The stack mounts
//! them, the keeper writes them: both ask here. Pure.

use std::collections::BTreeMap;

use crate::k8s::meta::digest;
use crate::rule::packing::Key;
use crate::rule::{shards, yaml};

/// ConfigMaps of a stack. All of them are mounted from the start (as optional sources of one projected volume), so that
/// growth restarts no Loki. Changing the number restarts every Loki once.
pub const COUNT: usize = 8;
/// Bytes of rules in one file; a ConfigMap holds 1 MiB, and JSON escapes make text longer.
pub const LARGEST: usize = 512 << 10;
/// Where Loki looks for the rules of its tenants.
pub const DIRECTORY: &str = "/etc/loki/rules";
/// Loki's name for the only tenant, where there is no authentication.
const TENANT: &str = "fake";
/// The set of children that these ConfigMaps are (`evenkeel.dev/set`).
pub const SET: &str = "log-rules";
/// Name of the group by which a Loki tells the revision that it has loaded.
pub const REVISION_GROUP: &str = "evenkeel.revision";

/// Where the files appear in the pods.
pub fn tenant_directory() -> String {
    format!("{DIRECTORY}/{TENANT}")
}

/// Name of the ConfigMap that holds one file, in the stack's namespace.
pub fn config_map_name(stack: &str, number: usize) -> String {
    format!("{stack}-log-rules-{number:02}")
}

/// The file whose ConfigMap has this name.
pub fn of_config_map(stack: &str, name: &str) -> Option<usize> {
    let number = name.strip_prefix(stack)?.strip_prefix("-log-rules-")?.parse().ok()?;
    (number < COUNT && config_map_name(stack, number) == name).then_some(number)
}

/// Key in the ConfigMap, name of the file, and by it `file` in Loki's answers.
pub fn file_name(number: usize) -> String {
    format!("log-rules-{number:02}.yaml")
}

/// A file and its revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    pub text: String,
    pub revision: String,
}

/// The file of these groups. Its first group never fires; its labels tell the revision to whoever asks a Loki for it.
pub fn file<'a>(number: usize, groups: impl Iterator<Item = &'a str> + Clone) -> File {
    let revision = digest(groups.clone(), 16);
    let mut text = format!(
        "groups:\n- name: {REVISION_GROUP}\n  interval: 1h\n  rules:\n  - alert: EvenkeelRevision\n    \
         expr: vector(0) > 1\n    labels:\n      revision: {}\n      shard: '{number:02}'\n",
        yaml::scalar(&revision)
    );
    text.extend(groups);
    File { text, revision }
}

/// The groups of a file, without the one of the revision.
pub fn groups(file: &str) -> impl Iterator<Item = String> {
    // Nothing stands above the rules of a group here, so that nothing is lowered.
    shards::groups(file).map(|group| group.into_owned())
}

/// Which groups go into which file: each into the one that its name says, or the next that has room. `None`: none has.
pub fn packed(groups: &BTreeMap<&Key, &str>) -> BTreeMap<Key, Option<usize>> {
    let mut used = [0; COUNT];
    let mut packed = BTreeMap::new();
    for (name, text) in groups {
        let home = usize::from_str_radix(&digest([&***name], 8), 16).unwrap_or_default() % COUNT;
        let number = (home..home + COUNT).map(|n| n % COUNT).find(|n| used[*n] + text.len() <= LARGEST);
        if let Some(number) = number {
            used[number] += text.len();
        }
        packed.insert((*name).clone(), number);
    }
    packed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        assert_eq!(config_map_name("main", 3), "main-log-rules-03");
        assert_eq!(of_config_map("main", "main-log-rules-03"), Some(3));
        for other in ["main-rules-03", "main-log-rules-08", "other-log-rules-03", "main-log-rules-3"] {
            assert_eq!(of_config_map("main", other), None, "{other}");
        }
        assert_eq!(tenant_directory(), "/etc/loki/rules/fake");
    }

    #[test]
    fn a_file_gives_its_groups_back() {
        let all = ["# generation 1\n- name: a/b\n  rules:\n  - x\n", "# generation 12\n- name: a/c\n  rules:\n  - y\n"];
        let made = file(3, all.into_iter());
        assert_eq!(groups(&made.text).collect::<Vec<_>>(), all);
        assert!(made.text.contains(&format!("revision: {}", yaml::scalar(&made.revision))), "{}", made.text);
        assert_ne!(file(3, all.into_iter().skip(1)).revision, made.revision);
    }

    #[test]
    fn full_files_spill_over_and_full_stacks_take_nothing() {
        let large = "x".repeat(300 << 10);
        let names: Vec<Key> = (0..9).map(|i| format!("shop/rule-{i}").into()).collect();
        let groups: BTreeMap<&Key, &str> = names.iter().map(|name| (name, large.as_str())).collect();
        let packed = packed(&groups);
        let mut places: Vec<usize> = packed.values().flatten().copied().collect();
        places.sort_unstable();
        assert_eq!(places, (0..8).collect::<Vec<_>>(), "one in each");
        assert_eq!(packed.values().filter(|place| place.is_none()).count(), 1);
    }
}
