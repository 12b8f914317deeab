//! Panels of Grafana's dashboard schema, with the options of each panel type. Pure.

use std::collections::BTreeMap;

use serde::Serialize;

use super::model::Source;
use super::visual::{Custom, Visual};

/// What stands in the grid.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Item {
    Row(Row),
    Panel(Box<Panel>),
}

/// A headline over panels.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    pub id: u32,
    pub r#type: &'static str,
    pub title: String,
    pub collapsed: bool,
    pub grid_pos: GridPos,
    pub panels: Vec<Panel>,
}

/// Place in a grid of 24 columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GridPos {
    pub h: u32,
    pub w: u32,
    pub x: u32,
    pub y: u32,
}

/// A panel.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Panel {
    pub id: u32,
    pub title: String,
    pub description: String,
    pub grid_pos: GridPos,
    pub datasource: Source,
    #[serde(flatten)]
    pub visual: Visual,
    pub field_config: FieldConfigSource,
    pub targets: Vec<Target>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub transformations: Vec<Transformation>,
    /// Share of the width of its line.
    #[serde(skip)]
    pub weight: u32,
}

/// A query of a panel.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Target {
    Prometheus(PrometheusTarget),
    Loki(LokiTarget),
}

/// A query in PromQL.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PrometheusTarget {
    pub ref_id: String,
    pub datasource: Source,
    pub editor_mode: &'static str,
    pub expr: String,
    pub legend_format: String,
    pub format: Format,
    pub range: bool,
    pub instant: bool,
    pub exemplar: bool,
}

/// Shape of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    TimeSeries,
    Table,
    Heatmap,
}

/// A query in LogQL.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LokiTarget {
    pub ref_id: String,
    pub datasource: Source,
    pub editor_mode: &'static str,
    pub expr: String,
    pub legend_format: String,
    /// `range` or `instant`.
    pub query_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_lines: Option<u32>,
}

/// How values are shown.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FieldConfigSource {
    pub defaults: FieldConfig,
    pub overrides: Vec<Override>,
}

/// How values are shown that no override is about.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldConfig {
    pub unit: Unit,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decimals: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    pub color: ColorMode,
    pub thresholds: Thresholds,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mappings: Vec<Mapping>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<DataLink>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_value: Option<&'static str>,
    pub custom: Custom,
}

/// Grafana's units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Unit {
    #[serde(rename = "short")]
    Count,
    /// From 0 to 1.
    #[serde(rename = "percentunit")]
    Ratio,
    #[serde(rename = "s")]
    Seconds,
    #[serde(rename = "bytes")]
    Bytes,
    #[serde(rename = "Bps")]
    BytesPerSecond,
    #[serde(rename = "reqps")]
    RequestsPerSecond,
    #[serde(rename = "ops")]
    OperationsPerSecond,
    #[serde(rename = "iops")]
    InputOutputPerSecond,
    #[serde(rename = "cps")]
    CountsPerSecond,
    #[serde(rename = "suffix: cores")]
    Cores,
    /// Of an error budget: 1 spends it exactly within the window.
    #[serde(rename = "suffix:x")]
    Times,
    #[serde(rename = "none")]
    None,
}

/// By which rule a series gets its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColorMode {
    Palette,
    Thresholds,
    Fixed(Color),
}

impl Serialize for ColorMode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct FieldColor {
            mode: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            fixed_color: Option<Color>,
        }
        let (mode, fixed_color) = match self {
            Self::Palette => ("palette-classic", None),
            Self::Thresholds => ("thresholds", None),
            Self::Fixed(color) => ("fixed", Some(*color)),
        };
        FieldColor { mode, fixed_color }.serialize(serializer)
    }
}

/// Colours by Grafana's names, which follow the theme.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Color {
    Green,
    Yellow,
    Orange,
    Red,
    Blue,
    Text,
}

/// From which values on which colour holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Thresholds {
    pub mode: &'static str,
    pub steps: Vec<Step>,
}

/// A step; the first one has no value and begins at minus infinity.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Step {
    pub color: Color,
    pub value: Option<f64>,
}

/// Words for values.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mapping {
    pub r#type: &'static str,
    pub options: BTreeMap<&'static str, MappingResult>,
}

/// A word and its colour.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MappingResult {
    pub text: &'static str,
    pub color: Color,
    pub index: u32,
}

/// Where a click on a value leads.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DataLink {
    pub title: String,
    pub url: String,
    pub target_blank: bool,
}

/// How the values of one field are shown.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Override {
    pub matcher: Matcher,
    pub properties: Vec<Property>,
}

/// Which field.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Matcher {
    pub id: &'static str,
    pub options: String,
}

/// What differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "id", content = "value")]
pub enum Property {
    #[serde(rename = "unit")]
    Unit(Unit),
    #[serde(rename = "color")]
    Color(ColorMode),
    #[serde(rename = "thresholds")]
    Thresholds(Thresholds),
    #[serde(rename = "mappings")]
    Mappings(Vec<Mapping>),
    #[serde(rename = "links")]
    Links(Vec<DataLink>),
    #[serde(rename = "custom.cellOptions")]
    Cell(super::visual::Cell),
}

/// What is done with answers before they are shown.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "id", content = "options", rename_all = "camelCase")]
pub enum Transformation {
    /// Puts the tables of all queries side by side.
    Merge {},
    /// Hides, sorts and names columns.
    Organize(Organize),
}

/// Columns of a table.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Organize {
    pub exclude_by_name: BTreeMap<String, bool>,
    pub index_by_name: BTreeMap<String, u32>,
    pub rename_by_name: BTreeMap<String, String>,
}
