//! Grafana's published dashboard schema (the classic model), as far as our dashboards use it: structs that serialize to
//! exactly the JSON that Grafana reads. Field names are Grafana's. Pure.

use serde::Serialize;

use super::panel::{Item, Property};

/// Version of the schema: the one of Grafana 11.0. Every later Grafana migrates it when it loads a dashboard; an older
/// one could not go back.
const SCHEMA_VERSION: i32 = 39;

/// A whole dashboard.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Model {
    pub uid: String,
    pub title: String,
    pub description: String,
    pub tags: Vec<String>,
    pub timezone: &'static str,
    pub editable: bool,
    /// 1: the crosshair is shared by all panels.
    pub graph_tooltip: i32,
    pub schema_version: i32,
    pub refresh: &'static str,
    pub time: TimeRange,
    pub timepicker: Timepicker,
    pub templating: List<Variable>,
    pub annotations: List<Annotation>,
    pub links: Vec<Link>,
    pub panels: Vec<Item>,
}

impl Model {
    /// An empty dashboard.
    pub fn new(uid: &str, title: &str, description: &str) -> Self {
        Self {
            uid: uid.to_owned(),
            title: title.to_owned(),
            description: description.to_owned(),
            tags: vec![],
            timezone: "browser",
            editable: true,
            graph_tooltip: 1,
            schema_version: SCHEMA_VERSION,
            refresh: "30s",
            time: TimeRange { from: "now-1h", to: "now" },
            timepicker: Timepicker {},
            templating: List { list: vec![] },
            annotations: List { list: vec![] },
            links: vec![],
            panels: vec![],
        }
    }

    /// Removes links whose URL `good` refuses: at the top, and behind values.
    pub fn keep_links(&mut self, good: impl Fn(&str) -> bool) {
        self.links.retain(|link| good(&link.url));
        for item in &mut self.panels {
            let Item::Panel(panel) = item else { continue };
            panel.field_config.defaults.links.retain(|link| good(&link.url));
            let properties = panel.field_config.overrides.iter_mut().flat_map(|of| &mut of.properties);
            for property in properties {
                if let Property::Links(links) = property {
                    links.retain(|link| good(&link.url));
                }
            }
        }
    }
}

/// The range that is shown at first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TimeRange {
    pub from: &'static str,
    pub to: &'static str,
}

/// Grafana's own defaults.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Timepicker {}

/// Grafana keeps some lists one level deeper.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct List<T> {
    pub list: Vec<T>,
}

/// A data source, always by a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `${metrics}`, a Prometheus.
    Metrics,
    /// `${logs}`, a Loki.
    Logs,
}

impl Source {
    /// Grafana's plugin id.
    pub fn plugin(self) -> &'static str {
        match self {
            Self::Metrics => "prometheus",
            Self::Logs => "loki",
        }
    }

    /// Name of the variable.
    pub fn variable(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Logs => "logs",
        }
    }
}

impl Serialize for Source {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct DataSourceRef {
            r#type: &'static str,
            uid: String,
        }
        DataSourceRef { r#type: self.plugin(), uid: format!("${{{}}}", self.variable()) }.serialize(serializer)
    }
}

/// A template variable.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Variable {
    #[serde(flatten)]
    pub kind: Kind,
    pub name: String,
    pub label: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// 0: shown with its label.
    pub hide: i32,
    pub skip_url_sync: bool,
}

/// What a variable takes its values from.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase", rename_all_fields = "camelCase")]
pub enum Kind {
    /// Data sources of a plugin.
    Datasource {
        query: &'static str,
        regex: &'static str,
        refresh: i32,
        multi: bool,
        include_all: bool,
        options: Vec<Choice>,
    },
    /// Values of a label.
    Query {
        datasource: Source,
        query: VariableQuery,
        #[serde(skip_serializing_if = "Option::is_none")]
        definition: Option<String>,
        regex: String,
        /// 2: asked again when the time range changes.
        refresh: i32,
        /// 1: by the alphabet.
        sort: i32,
        multi: bool,
        include_all: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        all_value: Option<&'static str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        current: Option<Choice>,
        options: Vec<Choice>,
    },
    /// A list in the dashboard.
    Custom { query: String, multi: bool, include_all: bool, current: Choice, options: Vec<Choice> },
    /// What a person types.
    Textbox { query: String, current: Choice, options: Vec<Choice> },
}

/// A question for the values of a variable.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum VariableQuery {
    /// `label_values(selector, label)`.
    #[serde(rename_all = "camelCase")]
    Prometheus { query: String, ref_id: &'static str, qry_type: i32 },
    /// Loki's values of a label, by type 1.
    #[serde(rename_all = "camelCase")]
    Loki { label: &'static str, stream: String, ref_id: &'static str, r#type: i32 },
}

/// A value of a variable.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Choice {
    pub selected: bool,
    pub text: String,
    pub value: String,
}

impl Choice {
    /// The one that is taken at first.
    pub fn selected(value: &str) -> Self {
        Self { selected: true, text: value.to_owned(), value: value.to_owned() }
    }

    /// Every value there is.
    pub fn all() -> Self {
        Self { selected: true, text: "All".into(), value: "$__all".into() }
    }
}

/// Events that are drawn over the panels.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Annotation {
    pub name: String,
    pub datasource: Source,
    pub enable: bool,
    pub hide: bool,
    pub icon_color: &'static str,
    pub target: AnnotationTarget,
    pub title_format: String,
    pub text_format: String,
    pub tag_keys: String,
}

/// The query of an annotation.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AnnotationTarget {
    pub expr: String,
    pub interval: &'static str,
    pub ref_id: &'static str,
}

/// A link at the top of a dashboard.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Link {
    pub title: String,
    /// `link`: to `url`. `dashboards`: to all that have `tags`.
    pub r#type: &'static str,
    pub icon: &'static str,
    pub tooltip: String,
    pub url: String,
    pub tags: Vec<String>,
    pub as_dropdown: bool,
    pub target_blank: bool,
    pub include_vars: bool,
    pub keep_time: bool,
}
