//! The dashboards that Grafana shows: those that come with the operator, and those of ConfigMaps. One that cannot be
//! shown is left out and named, since Grafana itself would say so in its log only. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use serde::Deserialize;

use crate::k8s::meta::{bounded, digest};
use crate::stack::names::{DASHBOARD_LABEL, FOLDER_ANNOTATION};
use crate::stack::validate::Problem;

/// Reason of a problem: a dashboard is left out.
pub const INVALID: &str = "InvalidDashboard";
/// Where dashboards of ConfigMaps are that name no folder.
pub const DEFAULT_FOLDER: &str = "Dashboards";
/// ConfigMaps that each folder can have; they are mounted before they exist, so that growth restarts nothing.
pub const SHARDS: usize = 8;
/// Folders; each is a volume of the pod.
const MOST_FOLDERS: usize = 40;
/// Bytes of one ConfigMap; the API server takes no more than 1 MiB.
const MOST_BYTES: usize = 900_000;

/// A dashboard that comes with the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shipped {
    pub folder: String,
    /// Of its file, without `.json`.
    pub name: String,
    pub json: String,
}

/// A ConfigMap with dashboards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub namespace: String,
    pub name: String,
    pub folder: Option<String>,
    pub files: BTreeMap<String, String>,
    /// Keys of `binaryData`.
    pub binary: Vec<String>,
}

impl Found {
    /// `None` where the label says no.
    pub fn of(map: &ConfigMap) -> Option<Self> {
        let label = map.labels().get(DASHBOARD_LABEL)?;
        if matches!(label.as_str(), "false" | "0") || map.metadata.deletion_timestamp.is_some() {
            return None;
        }
        Some(Self {
            namespace: map.namespace().unwrap_or_default(),
            name: map.name_any(),
            folder: map.annotations().get(FOLDER_ANNOTATION).cloned(),
            files: map.data.clone().unwrap_or_default(),
            binary: map.binary_data.clone().unwrap_or_default().into_keys().collect(),
        })
    }

    fn describe(&self) -> String {
        format!("dashboard ConfigMap {}/{}", self.namespace, self.name)
    }
}

/// Files by name, as one ConfigMap has them.
pub type Files = BTreeMap<String, String>;

/// The ConfigMaps of each folder, in the order of their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folders(pub BTreeMap<String, Vec<Files>>);

impl Folders {
    /// Changes with every change of a dashboard.
    pub fn revision(&self) -> String {
        let files = |(folder, shards): (&'_ String, &'_ Vec<Files>)| {
            let pairs = shards.iter().flatten().flat_map(|(name, json)| [name.clone(), json.clone()]);
            std::iter::once(folder.clone()).chain(pairs).collect::<Vec<_>>()
        };
        let all: Vec<String> = self.0.iter().flat_map(files).collect();
        digest(all.iter().map(String::as_str), 16)
    }
}

/// What Grafana wants of every dashboard.
#[derive(Deserialize)]
struct Head {
    title: Option<String>,
    uid: Option<String>,
}

/// Everything that can be shown, by folder. What comes with the operator goes first, then ConfigMaps by namespace and
/// name: of two dashboards that exclude each other the first one is shown.
pub fn join(shipped: Vec<Shipped>, found: &[&Found], problems: &mut Vec<Problem>) -> Folders {
    let mut taken = Taken::default();
    for Shipped { folder, name, json } in shipped {
        taken.add(&folder, format!("evenkeel_{name}"), &json, &format!("the shipped dashboard {name}"));
    }
    let mut found = found.to_vec();
    found.sort_by_key(|map| (&map.namespace, &map.name));
    for map in found {
        let folder = taken.folder(map);
        if map.files.is_empty() && map.binary.is_empty() {
            taken.refuse(format!("{} has no data: put a dashboard's JSON into it", map.describe()));
        }
        for key in &map.binary {
            taken.refuse(format!("{}, key {key} is in binaryData and is left out: put it into data", map.describe()));
        }
        for (key, json) in &map.files {
            let stem = format!("{}_{}_{}", map.namespace, map.name, key.strip_suffix(".json").unwrap_or(key));
            taken.add(&folder, bounded(&stem, 240), json, &format!("{}, key {key}", map.describe()));
        }
    }
    problems.append(&mut taken.problems);
    Folders(taken.folders)
}

/// What has been accepted so far.
#[derive(Default)]
struct Taken {
    folders: BTreeMap<String, Vec<Files>>,
    /// Who has a UID.
    uids: BTreeMap<String, String>,
    /// Who has a title in a folder.
    titles: BTreeMap<(String, String), String>,
    /// Bytes by folder and number.
    sizes: BTreeMap<(String, usize), usize>,
    problems: Vec<Problem>,
}

impl Taken {
    fn refuse(&mut self, message: String) {
        self.problems.push(Problem { reason: INVALID, message });
    }

    /// The folder of a ConfigMap.
    fn folder(&mut self, map: &Found) -> String {
        let Some(asked) = &map.folder else { return DEFAULT_FOLDER.to_owned() };
        let name = asked.trim();
        // Grafana's own name for what is in no folder.
        if name.eq_ignore_ascii_case("general") || name.is_empty() {
            return DEFAULT_FOLDER.to_owned();
        }
        let strange = |c: char| c.is_control() || matches!(c, '/' | '\\' | ':');
        if name.len() > 64 || name.starts_with('.') || name.contains(strange) {
            self.refuse(format!(
                "{}: the annotation {FOLDER_ANNOTATION} {asked:?} is no name of a folder (at most 64 bytes, no / \\ : and no \
                 dot at its beginning): its dashboards are in {DEFAULT_FOLDER}",
                map.describe()
            ));
            return DEFAULT_FOLDER.to_owned();
        }
        name.to_owned()
    }

    fn add(&mut self, folder: &str, stem: String, json: &str, who: &str) {
        let accepted = self.fault(folder, json, who).and_then(|head| self.put(folder, stem, json).map(|()| head));
        match accepted {
            Err(why) => self.refuse(format!("{who} {why}: it is left out")),
            Ok((title, uid)) => {
                self.titles.insert((folder.to_owned(), title), who.to_owned());
                self.uids.extend(uid.map(|uid| (uid, who.to_owned())));
            }
        }
    }

    /// Title and UID of what can be shown.
    fn fault(&self, folder: &str, json: &str, who: &str) -> Result<(String, Option<String>), String> {
        let no_json = |error: serde_json::Error| format!("is not the JSON of a dashboard ({error})");
        let head = match json.trim_start().starts_with('{') {
            true => serde_json::from_str::<Head>(json).map_err(no_json)?,
            // A list would be read as the fields in their order.
            false => return Err("is not the JSON of a dashboard (it does not begin with a brace)".to_owned()),
        };
        let title = head.title.filter(|title| !title.trim().is_empty()).ok_or("has no title")?;
        let uid = head.uid.filter(|uid| !uid.is_empty());
        if let Some(other) = uid.as_ref().and_then(|uid| self.uids.get(uid)) {
            return Err(format!("has the uid {:?} of {other}", uid.unwrap_or_default()));
        }
        match self.titles.get(&(folder.to_owned(), title.clone())) {
            Some(other) if other != who => Err(format!("has the title {title:?} of {other} in the folder {folder}")),
            _ => Ok((title, uid)),
        }
    }

    /// Into the first ConfigMap of the folder that has room.
    fn put(&mut self, folder: &str, stem: String, json: &str) -> Result<(), String> {
        let file = format!("{stem}.json");
        let bytes = file.len() + json.len();
        if bytes > MOST_BYTES {
            return Err(format!("has {} bytes, more than the {MOST_BYTES} that fit into a ConfigMap", json.len()));
        }
        if !self.folders.contains_key(folder) && self.folders.len() >= MOST_FOLDERS {
            return Err(format!("is in the folder {folder}, and there are {MOST_FOLDERS} folders already"));
        }
        let size = |shard: usize| self.sizes.get(&(folder.to_owned(), shard)).copied().unwrap_or_default();
        let Some(shard) = (0..SHARDS).find(|shard| size(*shard) + bytes <= MOST_BYTES) else {
            return Err(format!("finds no room in the folder {folder}, whose {SHARDS} ConfigMaps are full"));
        };
        *self.sizes.entry((folder.to_owned(), shard)).or_default() += bytes;
        let shards = self.folders.entry(folder.to_owned()).or_default();
        shards.resize_with(shards.len().max(shard + 1), Files::new);
        shards[shard].insert(file, json.to_owned());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, folder: Option<&str>, files: &[(&str, &str)]) -> Found {
        Found {
            namespace: "shop".into(),
            name: name.into(),
            folder: folder.map(str::to_owned),
            files: files.iter().map(|(key, json)| ((*key).to_owned(), (*json).to_owned())).collect(),
            binary: vec![],
        }
    }

    fn joined(maps: &[Found]) -> (Vec<(String, String)>, Vec<String>) {
        let shipped = Shipped {
            folder: "Evenkeel".into(),
            name: "stack".into(),
            json: r#"{"title": "Stack", "uid": "evenkeel-stack"}"#.into(),
        };
        let mut problems = vec![];
        let folders = join(vec![shipped], &maps.iter().collect::<Vec<_>>(), &mut problems);
        let files = folders.0.into_iter().flat_map(|(folder, shards)| {
            shards.into_iter().flatten().map(move |(file, _)| (folder.clone(), file)).collect::<Vec<_>>()
        });
        (files.collect(), problems.into_iter().map(|p| p.message).collect())
    }

    #[test]
    fn a_dashboard_is_in_the_folder_that_its_config_map_names() {
        let good = r#"{"title": "Orders"}"#;
        let maps = [
            found("b", None, &[("orders.json", good)]),
            found("a", Some("Team shop"), &[("orders.json", good)]),
            found("c", Some("../etc"), &[("other", r#"{"title": "Other"}"#)]),
        ];
        let (files, problems) = joined(&maps);
        let named = |folder: &str, file: &str| (folder.to_owned(), file.to_owned());
        assert_eq!(
            files,
            [
                named("Dashboards", "shop_b_orders.json"),
                named("Dashboards", "shop_c_other.json"),
                named("Evenkeel", "evenkeel_stack.json"),
                named("Team shop", "shop_a_orders.json"),
            ]
        );
        assert_eq!(problems.len(), 1);
        assert!(problems[0].starts_with("dashboard ConfigMap shop/c: the annotation grafana_folder \"../etc\""));
    }

    #[test]
    fn what_is_no_dashboard_is_named_by_config_map_and_key_and_the_rest_is_shown() {
        let maps = [found(
            "boards",
            None,
            &[("a.json", "not json"), ("b.json", "{}"), ("c.json", r#"{"title": 7}"#), ("d.json", r#"{"title": "D"}"#)],
        )];
        let (files, problems) = joined(&maps);
        assert_eq!(files.len(), 2, "{files:?}");
        let words = [
            "dashboard ConfigMap shop/boards, key a.json is not the JSON of a dashboard",
            "dashboard ConfigMap shop/boards, key b.json has no title: it is left out",
            "dashboard ConfigMap shop/boards, key c.json is not the JSON of a dashboard (invalid type: integer `7`",
        ];
        assert_eq!(problems.len(), words.len(), "{problems:?}");
        for (problem, words) in problems.iter().zip(words) {
            assert!(problem.starts_with(words), "{problem}");
        }
        let (_, problems) = joined(&[found("empty", None, &[])]);
        assert!(problems[0].contains("shop/empty has no data"), "{problems:?}");
    }

    #[test]
    fn of_two_with_one_uid_or_one_title_in_a_folder_the_first_is_shown() {
        let maps = [
            found("a", None, &[("x.json", r#"{"title": "Orders", "uid": "evenkeel-stack"}"#)]),
            found("b", None, &[("x.json", r#"{"title": "Orders", "uid": "o"}"#)]),
            found("c", None, &[("x.json", r#"{"title": "Orders", "uid": "p"}"#)]),
            found("d", Some("Else"), &[("x.json", r#"{"title": "Orders", "uid": "q"}"#)]),
        ];
        let (files, problems) = joined(&maps);
        assert_eq!(files.len(), 3, "{files:?}");
        assert_eq!(
            problems,
            [
                "dashboard ConfigMap shop/a, key x.json has the uid \"evenkeel-stack\" of the shipped dashboard stack: it is left out",
                "dashboard ConfigMap shop/c, key x.json has the title \"Orders\" of dashboard ConfigMap shop/b, key x.json in the folder Dashboards: it is left out",
            ]
        );
    }

    #[test]
    fn dashboards_are_divided_before_a_config_map_is_too_large_and_a_huge_one_is_named() {
        let sized = |title: &str, bytes: usize| format!(r#"{{"title": "{title}", "x": "{}"}}"#, "x".repeat(bytes));
        let (a, b, huge) = (sized("A", 600_000), sized("B", 600_000), sized("H", 900_000));
        let maps = [found("m", None, &[("a.json", &a), ("b.json", &b), ("h.json", &huge)])];
        let mut problems = vec![];
        let folders = join(vec![], &maps.iter().collect::<Vec<_>>(), &mut problems);
        assert_eq!(folders.0["Dashboards"].len(), 2);
        assert!(problems[0].message.contains("key h.json has 900"), "{}", problems[0].message);
    }
}
