//! Panel types with their options: the parts of the schema that each panel plugin defines for itself. Pure.

use serde::Serialize;

/// A panel type and its options.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", content = "options", rename_all = "lowercase")]
pub enum Visual {
    Timeseries(Timeseries),
    Stat(Stat),
    Gauge(Gauge),
    BarGauge(BarGauge),
    BarChart(BarChart),
    Heatmap(Heatmap),
    Table(Table),
    Logs(Logs),
}

/// Lines over time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Timeseries {
    pub legend: Legend,
    pub tooltip: Tooltip,
}

/// Names of the series.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Legend {
    pub calcs: Vec<&'static str>,
    pub display_mode: &'static str,
    pub placement: &'static str,
    pub show_legend: bool,
}

impl Legend {
    /// Below the panel, without figures.
    pub fn list() -> Self {
        Self { calcs: vec![], display_mode: "list", placement: "bottom", show_legend: true }
    }

    /// Below the panel, with the mean, the maximum and the last value.
    pub fn table() -> Self {
        Self { calcs: vec!["mean", "max", "lastNotNull"], display_mode: "table", ..Self::list() }
    }
}

/// What is shown where the pointer is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tooltip {
    pub mode: &'static str,
    pub sort: &'static str,
}

impl Tooltip {
    /// All series, the greatest first.
    pub fn all() -> Self {
        Self { mode: "multi", sort: "desc" }
    }
}

/// Which of a series' values is shown.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReduceOptions {
    pub calcs: Vec<&'static str>,
    pub fields: &'static str,
    pub values: bool,
}

impl ReduceOptions {
    /// The last one.
    pub fn last() -> Self {
        Self { calcs: vec!["lastNotNull"], fields: "", values: false }
    }
}

/// One big number for each series.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stat {
    pub reduce_options: ReduceOptions,
    pub orientation: &'static str,
    pub text_mode: &'static str,
    pub color_mode: &'static str,
    pub graph_mode: &'static str,
    pub justify_mode: &'static str,
    pub wide_layout: bool,
}

/// A dial.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Gauge {
    pub reduce_options: ReduceOptions,
    pub orientation: &'static str,
    pub show_threshold_labels: bool,
    pub show_threshold_markers: bool,
    pub sizing: &'static str,
    pub min_viz_height: u32,
    pub min_viz_width: u32,
}

/// A bar for each series, the name beside it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BarGauge {
    pub reduce_options: ReduceOptions,
    pub orientation: &'static str,
    pub display_mode: &'static str,
    pub value_mode: &'static str,
    pub name_placement: &'static str,
    pub show_unfilled: bool,
    pub sizing: &'static str,
    pub min_viz_height: u32,
    pub min_viz_width: u32,
    pub max_viz_height: u32,
    pub legend: Legend,
}

/// A bar for each row of a table.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BarChart {
    pub orientation: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub x_field: Option<String>,
    pub x_tick_label_rotation: i32,
    pub x_tick_label_spacing: i32,
    pub x_tick_label_max_length: u32,
    pub show_value: &'static str,
    pub stacking: &'static str,
    pub group_width: f64,
    pub bar_width: f64,
    pub bar_radius: f64,
    pub full_highlight: bool,
    pub legend: Legend,
    pub tooltip: Tooltip,
}

/// How the buckets of a histogram are filled over time.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Heatmap {
    pub calculate: bool,
    pub cell_gap: u32,
    pub color: HeatmapColor,
    pub exemplars: ExemplarColor,
    pub filter_values: FilterValues,
    pub legend: Shown,
    pub rows_frame: RowsFrame,
    pub tooltip: HeatmapTooltip,
    pub y_axis: YAxis,
}

/// Colours of a heatmap.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HeatmapColor {
    pub mode: &'static str,
    pub scheme: &'static str,
    pub scale: &'static str,
    pub exponent: f64,
    pub fill: &'static str,
    pub steps: u32,
    pub reverse: bool,
}

/// Colour of the dots that lead to traces.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExemplarColor {
    pub color: &'static str,
}

/// Cells up to this value are left empty.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FilterValues {
    pub le: f64,
}

/// Whether something is shown.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Shown {
    pub show: bool,
}

/// Where in its row a bucket's label stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RowsFrame {
    pub layout: &'static str,
}

/// What is shown where the pointer is.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HeatmapTooltip {
    pub mode: &'static str,
    pub y_histogram: bool,
    pub show_color_scale: bool,
}

/// The axis of the buckets.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct YAxis {
    pub axis_placement: &'static str,
    pub reverse: bool,
    pub unit: super::panel::Unit,
}

/// Rows and columns.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Table {
    pub show_header: bool,
    pub cell_height: &'static str,
    pub sort_by: Vec<SortBy>,
}

/// The column by which a table is sorted at first.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SortBy {
    pub display_name: String,
    pub desc: bool,
}

/// Lines of logs.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Logs {
    pub show_labels: bool,
    pub show_common_labels: bool,
    pub show_time: bool,
    pub show_log_context_toggle: bool,
    pub wrap_log_message: bool,
    pub prettify_log_message: bool,
    pub enable_log_details: bool,
    pub enable_infinite_scrolling: bool,
    pub sort_order: &'static str,
    pub dedup_strategy: &'static str,
}

/// The part of a field's settings that belongs to the panel type.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Custom {
    Graph(Graph),
    Bars(Bars),
    Scaled(Scaled),
    Column(Column),
    None(Empty),
}

/// Nothing to set.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Empty {}

/// How lines are drawn.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Graph {
    pub draw_style: &'static str,
    pub line_interpolation: &'static str,
    pub line_width: u32,
    pub fill_opacity: u32,
    pub gradient_mode: &'static str,
    pub show_points: &'static str,
    pub point_size: u32,
    pub span_nulls: bool,
    pub insert_nulls: bool,
    pub stacking: Stacking,
    pub thresholds_style: ThresholdsStyle,
    pub axis_placement: &'static str,
    pub axis_label: &'static str,
    pub scale_distribution: ScaleDistribution,
}

impl Default for Graph {
    fn default() -> Self {
        Self {
            draw_style: "line",
            line_interpolation: "linear",
            line_width: 1,
            fill_opacity: 10,
            gradient_mode: "none",
            show_points: "never",
            point_size: 5,
            span_nulls: false,
            insert_nulls: false,
            stacking: Stacking { mode: "none", group: "A" },
            thresholds_style: ThresholdsStyle { mode: "off" },
            axis_placement: "auto",
            axis_label: "",
            scale_distribution: ScaleDistribution { r#type: "linear" },
        }
    }
}

/// Whether series stand on each other.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stacking {
    pub mode: &'static str,
    pub group: &'static str,
}

/// How thresholds are drawn into a graph.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ThresholdsStyle {
    pub mode: &'static str,
}

/// Linear or logarithmic.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ScaleDistribution {
    pub r#type: &'static str,
}

/// How the bars of a bar chart are drawn.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Bars {
    pub line_width: u32,
    pub fill_opacity: u32,
    pub gradient_mode: &'static str,
    pub axis_placement: &'static str,
    pub thresholds_style: ThresholdsStyle,
}

/// The scale alone.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Scaled {
    pub scale_distribution: ScaleDistribution,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Column {
    pub align: &'static str,
    pub cell_options: Cell,
    pub inspect: bool,
    pub filterable: bool,
}

/// How a cell is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Cell {
    Auto,
    ColorText,
    ColorBackground { mode: &'static str },
}
