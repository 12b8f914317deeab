//! Shards: their names, their text, and which of them an AlertRule lives in. The stack mounts them, the loader writes
//! them: both ask here. Pure.

use std::borrow::Cow;

use super::hoist::{hoist, lower};
use super::yaml;
use crate::k8s::meta::digest;

/// Shard ConfigMaps of a stack. All of them are mounted from the start (as optional sources of one projected
/// volume), so that growth restarts no Prometheus. Changing the number restarts every Prometheus once.
pub const SHARD_COUNT: usize = 32;

/// Bytes of rules in one shard; a ConfigMap holds 1 MiB, and JSON escapes make text longer.
pub const MAX_SHARD: usize = 512 << 10;

/// Directory in the Prometheus pods in which the shard files appear.
pub const DIRECTORY: &str = "/etc/prometheus/rules";

/// The set of children that shards are (`evenkeel.dev/set`).
pub const SET: &str = "rules";

/// Annotation of a shard: its revision. Annotation of the Prometheus pods: changed to make the kubelet refresh the
/// volume at once instead of after a minute.
pub const REVISION: &str = "evenkeel.dev/rules-revision";

/// Name of the group by which a Prometheus tells the revision that it has loaded.
pub const REVISION_GROUP: &str = "evenkeel.revision";

/// Name of the ConfigMap that holds one shard, in the stack's namespace.
pub fn config_map_name(stack: &str, shard: usize) -> String {
    format!("{stack}-rules-{shard:02}")
}

/// The shard whose ConfigMap has this name.
pub fn of_config_map(stack: &str, name: &str) -> Option<usize> {
    let shard = name.strip_prefix(stack)?.strip_prefix("-rules-")?.parse().ok()?;
    (shard < SHARD_COUNT && config_map_name(stack, shard) == name).then_some(shard)
}

/// Key in the ConfigMap, and name of the file below [`DIRECTORY`].
pub fn file_name(shard: usize) -> String {
    format!("shard-{shard:02}.yaml")
}

/// Path of the file in the Prometheus pods, as Prometheus itself names it in `/api/v1/rules`.
pub fn path(shard: usize) -> String {
    format!("{DIRECTORY}/{}", file_name(shard))
}

/// The shard in which an AlertRule belongs as long as there is room.
pub fn home(group: &str) -> usize {
    let number = u32::from_str_radix(&digest([group], 8), 16).unwrap_or_default();
    number as usize % SHARD_COUNT
}

/// A shard with room for `length` more bytes: the home, or the next one that has it.
pub fn with_room(group: &str, length: usize, used: impl Fn(usize) -> usize) -> Option<usize> {
    let home = home(group);
    (home..home + SHARD_COUNT).map(|shard| shard % SHARD_COUNT).find(|shard| used(*shard) + length <= MAX_SHARD)
}

/// The file of a shard and its revision. The first group yields no series; its labels tell the revision to whoever
/// asks a Prometheus for it. Files of another `edition` differ though their groups are the same: Prometheus does not
/// reload what it has loaded already, and would not take back that its last reload failed.
pub fn file<'a>(shard: usize, edition: u32, groups: impl Iterator<Item = &'a str> + Clone) -> (String, String) {
    let digest = digest(groups.clone(), 16);
    let revision = if edition == 0 { digest } else { format!("{digest}-{edition}") };
    let mut text = format!(
        "groups:\n- name: {REVISION_GROUP}\n  interval: 1h\n  rules:\n  - record: evenkeel:shard_revision:info\n    \
         expr: vector(1) < 0\n    labels:\n      revision: {}\n      shard: '{shard:02}'\n",
        yaml::scalar(&revision)
    );
    text.extend(groups.map(hoist));
    (text, revision)
}

/// The edition of a file.
pub fn edition(file: &str) -> u32 {
    let revision = file.lines().find_map(|line| line.trim_start().strip_prefix("revision: "));
    let revision = revision.map(|revision| revision.trim_matches('\''));
    revision.and_then(|revision| revision.split_once('-')?.1.parse().ok()).unwrap_or_default()
}

/// The groups of a file, without the one of the revision.
pub fn groups(file: &str) -> impl Iterator<Item = Cow<'_, str>> {
    const START: &str = "\n# generation ";
    let mut rest = file.find(START).map(|at| &file[at + 1..]);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = text.find(START).map(|at| at + 1);
        rest = end.map(|end| &text[end..]);
        Some(lower(&text[..end.unwrap_or(text.len())]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_as_the_shards_do_and_read_back() {
        assert_eq!(config_map_name("main", 7), "main-rules-07");
        assert_eq!(path(31), "/etc/prometheus/rules/shard-31.yaml");
        assert_eq!(of_config_map("main", "main-rules-07"), Some(7));
        for other in ["main-rules-7", "main-rules-32", "other-rules-07", "main-rules-+7"] {
            assert_eq!(of_config_map("main", other), None, "{other}");
        }
    }

    #[test]
    fn two_thousand_groups_spread_over_all_shards() {
        let mut counts = [0; SHARD_COUNT];
        (0..2000).for_each(|i| counts[home(&format!("shop/rule-{i:04}"))] += 1);
        assert!(counts.iter().all(|count| (30..100).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_full_shard_spills_into_the_next_and_full_shards_take_nothing() {
        let home = home("shop/a");
        let full = |shard| if shard == home { MAX_SHARD } else { 0 };
        assert_eq!(with_room("shop/a", 1, full), Some((home + 1) % SHARD_COUNT));
        assert_eq!(with_room("shop/a", 1, |_| MAX_SHARD), None);
    }

    #[test]
    fn a_file_gives_its_groups_back() {
        let groups_in =
            ["# generation 1\n- name: a/b\n  rules:\n  - x\n", "# generation 12\n- name: a/c\n  rules:\n  - y\n"];
        let (text, _) = file(3, 0, groups_in.into_iter());
        assert_eq!((groups(&text).collect::<Vec<_>>(), edition(&text)), (groups_in.map(Cow::from).to_vec(), 0));
        assert_eq!(groups(&file(3, 0, [].into_iter()).0).count(), 0);
        assert_eq!(edition(&file(3, 12, groups_in.into_iter()).0), 12);
    }
}
