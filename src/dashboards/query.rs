//! The queries of a dashboard as Grafana would send them. Pure.

use std::collections::BTreeMap;

use super::Dashboard;
use super::model::Kind;
use super::panel::{Item, Panel, Target};

/// In which language a query is written, and so whom it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    PromQl,
    LogQl,
}

/// A query of a panel, without variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Title of the panel.
    pub panel: String,
    pub language: Language,
    pub expr: String,
}

/// What Grafana itself puts in, as for a range of an hour in a panel of some hundred pixels.
const BUILT_IN: [(&str, &str); 7] = [
    ("__rate_interval", "1m"),
    ("__interval", "30s"),
    ("__interval_ms", "30000"),
    ("__auto", "1m"),
    ("__range", "1h"),
    ("__range_s", "3600"),
    ("__range_ms", "3600000"),
];

/// Every query of every panel. `values` are those of the variables; one that is not in it has the value that Grafana
/// takes at first: all, or the default.
pub fn panels(dashboard: &Dashboard, values: &BTreeMap<&str, &str>) -> Vec<Query> {
    let mut all = defaults(dashboard);
    all.extend(values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    all.extend(BUILT_IN.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let panels = dashboard.model.panels.iter().filter_map(|item| match item {
        Item::Row(_) => None,
        Item::Panel(panel) => Some(panel.as_ref()),
    });
    panels.flat_map(|panel| queries(panel, &all)).collect()
}

fn queries(panel: &Panel, values: &BTreeMap<String, String>) -> Vec<Query> {
    let query = |target: &Target| {
        let (language, expr) = match target {
            Target::Prometheus(target) => (Language::PromQl, &target.expr),
            Target::Loki(target) => (Language::LogQl, &target.expr),
        };
        Query { panel: panel.title.clone(), language, expr: substitute(expr, values) }
    };
    panel.targets.iter().map(query).collect()
}

fn defaults(dashboard: &Dashboard) -> BTreeMap<String, String> {
    let variables = dashboard.model.templating.list.iter();
    let default = |kind: &Kind| match kind {
        Kind::Datasource { query, .. } => (*query).to_owned(),
        Kind::Query { all_value, .. } => all_value.unwrap_or(".*").to_owned(),
        Kind::Custom { current, .. } | Kind::Textbox { current, .. } => current.value.clone(),
    };
    variables.map(|variable| (variable.name.clone(), default(&variable.kind))).collect()
}

/// Replaces `$name`, `${name}` and `${name:format}`; what is no variable stays as it is.
pub(super) fn substitute(text: &str, values: &BTreeMap<String, String>) -> String {
    let (mut done, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find('$') {
        done.push_str(&rest[..at]);
        rest = &rest[at..];
        let (length, name) = reference(rest);
        match values.get(name) {
            Some(value) => done.push_str(value),
            None => done.push_str(&rest[..length]),
        }
        rest = &rest[length..];
    }
    done + rest
}

/// Length and name of the reference that `text` begins with. Everything here is ASCII up to the length.
fn reference(text: &str) -> (usize, &str) {
    if let Some(inner) = text.strip_prefix("${")
        && let Some(end) = inner.find('}')
    {
        let name = inner[..end].split(':').next().unwrap_or_default();
        return (end + 3, name);
    }
    let name = text[1..].split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default();
    (name.len() + 1, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced_in_each_way_of_writing_them() {
        let values = BTreeMap::from([("a".to_owned(), "1".to_owned()), ("ab".to_owned(), "2".to_owned())]);
        assert_eq!(substitute("$a ${a} ${a:regex} $ab $a-b", &values), "1 1 1 2 1-b");
    }

    #[test]
    fn what_is_no_variable_stays() {
        let values = BTreeMap::from([("a".to_owned(), "é".to_owned())]);
        assert_eq!(substitute("\"$1\" x$ ${b} $ é$a", &values), "\"$1\" x$ ${b} $ éé");
        assert_eq!(substitute("$", &values), "$");
    }
}
