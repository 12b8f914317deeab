//! The CRDs in the repository and in the chart are those of the Rust types, and read well.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use evenkeel::cli::schema;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

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

/// Paths of fields that `kubectl explain` would show without a word.
fn undocumented(schema: &JSONSchemaProps, path: &str, found: &mut Vec<String>) {
    for (name, field) in schema.properties.iter().flatten() {
        let path = format!("{path}.{name}");
        if field.description.as_deref().is_none_or(|text| text.trim().is_empty()) {
            found.push(path.clone());
        }
        undocumented(field, &path, found);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(item)) = &schema.items {
        undocumented(item, path, found);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(value)) = &schema.additional_properties {
        undocumented(value, path, found);
    }
}

#[test]
fn kubectl_explain_has_a_word_on_every_field() {
    let mut found = vec![];
    for crd in evenkeel::api::crds() {
        let schema = schema::of(&crd).expect("a schema");
        undocumented(schema, &crd.spec.names.kind, &mut found);
    }
    assert!(found.is_empty(), "fields without a doc comment:\n{}", found.join("\n"));
}

#[test]
fn every_kind_has_a_short_name_the_category_columns_and_the_subresource_status() {
    for crd in evenkeel::api::crds() {
        let (names, version) = (&crd.spec.names, &crd.spec.versions[0]);
        // The singular `slo` is as short as can be, and another tool's CRD has that short name.
        let short = usize::from(names.kind != "SLO");
        assert_eq!(names.short_names.iter().flatten().count(), short, "{}", names.kind);
        assert_eq!(names.categories, Some(vec!["evenkeel".into()]), "{}", names.kind);
        assert_eq!(crd.spec.scope, "Namespaced", "{}", names.kind);
        assert!(version.subresources.as_ref().is_some_and(|s| s.status.is_some()), "{}", names.kind);
        let columns: Vec<&str> = version.additional_printer_columns.iter().flatten().map(|c| c.name.as_str()).collect();
        assert_eq!(columns.last(), Some(&"Age"), "{}", names.kind);
    }
}
