//! The CRDs in the repository and in the chart are those of the Rust types.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// A CRD that is larger does not fit into the annotation of a plain `kubectl apply`.
const LIMIT: usize = 200 * 1024;

fn on_disk(directory: &str) -> BTreeMap<String, String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let entries = fs::read_dir(&directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display()));
    entries
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap()))
        .collect()
}

fn assert_generated(directory: &str) {
    let wanted: BTreeMap<_, _> = evenkeel::cli::crds::files().unwrap().into_iter().collect();
    let found = on_disk(directory);
    let names = |files: &BTreeMap<String, String>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&found), names(&wanted), "{directory}/ does not hold one file a CRD: run `make generate`");
    for (name, yaml) in &wanted {
        assert!(&found[name] == yaml, "{directory}/{name} is not what the types say: run `make generate`");
    }
}

#[test]
fn the_crds_folder_is_what_the_types_say() {
    assert_generated("crds");
}

#[test]
fn the_charts_copy_is_what_the_types_say() {
    assert_generated("charts/evenkeel/files/crds");
}

#[test]
fn every_crd_is_small_enough_for_a_plain_kubectl_apply() {
    for (name, yaml) in evenkeel::cli::crds::files().unwrap() {
        assert!(yaml.len() < LIMIT, "{name} has {} bytes, the limit is {LIMIT}", yaml.len());
    }
}
