//! Names of the rule shards. The stack mounts them, the loader writes them: both ask here.

/// Shard ConfigMaps of a stack. All of them are mounted from the start (as optional sources of one projected
/// volume), so that growth restarts no Prometheus. Changing the number restarts every Prometheus once.
pub const SHARD_COUNT: usize = 32;

/// Directory in the Prometheus pods in which the shard files appear.
pub const DIRECTORY: &str = "/etc/prometheus/rules";

/// Name of the ConfigMap that holds one shard, in the stack's namespace.
pub fn config_map_name(stack: &str, shard: usize) -> String {
    format!("{stack}-rules-{shard:02}")
}

/// Key in the ConfigMap, and name of the file below [`DIRECTORY`].
pub fn file_name(shard: usize) -> String {
    format!("shard-{shard:02}.yaml")
}

/// Path of the file in the Prometheus pods, as Prometheus itself names it in `/api/v1/rules`.
pub fn path(shard: usize) -> String {
    format!("{DIRECTORY}/{}", file_name(shard))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_as_the_shards_do() {
        assert_eq!(config_map_name("main", 7), "main-rules-07");
        assert_eq!(path(31), "/etc/prometheus/rules/shard-31.yaml");
    }
}
