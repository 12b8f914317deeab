//! Makes panels: one function for each panel type. Pure.

use super::model::Source;
use super::panel::{Color, ColorMode, FieldConfig, FieldConfigSource, GridPos, Organize, Panel, Transformation, Unit};
use super::settings::steps;
use super::visual::*;

/// Lines over time.
pub fn timeseries(title: &str, unit: Unit, description: &str) -> Panel {
    let visual = Visual::Timeseries(Timeseries { legend: Legend::list(), tooltip: Tooltip::all() });
    panel(title, unit, description, visual, Custom::Graph(Graph::default()))
}

/// Areas that stand on each other, for parts of a whole.
pub fn stacked(title: &str, unit: Unit, description: &str) -> Panel {
    timeseries(title, unit, description).graph(|graph| {
        graph.stacking.mode = "normal";
        graph.fill_opacity = 60;
        graph.line_width = 0;
    })
}

/// Bars over time that stand on each other, for what is counted.
pub fn bars(title: &str, unit: Unit, description: &str) -> Panel {
    stacked(title, unit, description).graph(|graph| graph.draw_style = "bars")
}

/// A big number with its history behind it.
pub fn stat(title: &str, unit: Unit, description: &str) -> Panel {
    let stat = Stat {
        reduce_options: ReduceOptions::last(),
        orientation: "auto",
        text_mode: "auto",
        color_mode: "value",
        graph_mode: "area",
        justify_mode: "auto",
        wide_layout: true,
    };
    let mut panel = panel(title, unit, description, Visual::Stat(stat), Custom::None(Empty {}));
    panel.field_config.defaults.color = ColorMode::Thresholds;
    panel.thresholds(Color::Text, &[])
}

/// A dial from 0 to 1.
pub fn gauge(title: &str, description: &str) -> Panel {
    let gauge = Gauge {
        reduce_options: ReduceOptions::last(),
        orientation: "auto",
        show_threshold_labels: false,
        show_threshold_markers: true,
        sizing: "auto",
        min_viz_height: 75,
        min_viz_width: 75,
    };
    let mut panel = panel(title, Unit::Ratio, description, Visual::Gauge(gauge), Custom::None(Empty {}));
    panel.field_config.defaults.color = ColorMode::Thresholds;
    panel.range(0.0, 1.0)
}

/// Names with a bar each, for the greatest of many.
pub fn ranking(title: &str, unit: Unit, description: &str) -> Panel {
    let bars = BarGauge {
        reduce_options: ReduceOptions::last(),
        orientation: "horizontal",
        display_mode: "gradient",
        value_mode: "color",
        name_placement: "auto",
        show_unfilled: true,
        sizing: "auto",
        min_viz_height: 16,
        min_viz_width: 8,
        max_viz_height: 40,
        legend: Legend { show_legend: false, ..Legend::list() },
    };
    let custom = Custom::Scaled(Scaled { scale_distribution: ScaleDistribution { r#type: "linear" } });
    let mut panel = panel(title, unit, description, Visual::BarGauge(bars), custom);
    panel.field_config.defaults.color = ColorMode::Thresholds;
    panel.field_config.defaults.min = Some(0.0);
    panel.thresholds(Color::Blue, &[])
}

/// A bar for each value of a label.
pub fn barchart(title: &str, unit: Unit, description: &str) -> Panel {
    let chart = BarChart {
        orientation: "auto",
        x_field: None,
        x_tick_label_rotation: 0,
        x_tick_label_spacing: 0,
        x_tick_label_max_length: 24,
        show_value: "auto",
        stacking: "none",
        group_width: 0.7,
        bar_width: 0.97,
        bar_radius: 0.0,
        full_highlight: false,
        legend: Legend { show_legend: false, ..Legend::list() },
        tooltip: Tooltip { mode: "single", sort: "none" },
    };
    let custom = Bars {
        line_width: 1,
        fill_opacity: 80,
        gradient_mode: "none",
        axis_placement: "auto",
        thresholds_style: ThresholdsStyle { mode: "off" },
    };
    let mut panel = panel(title, unit, description, Visual::BarChart(chart), Custom::Bars(custom));
    panel.transformations = vec![Transformation::Organize(Organize {
        exclude_by_name: [("Time".to_owned(), true)].into(),
        ..Organize::default()
    })];
    panel
}

/// Buckets of a histogram over time.
pub fn heatmap(title: &str, unit: Unit, description: &str) -> Panel {
    let color = HeatmapColor {
        mode: "scheme",
        scheme: "Blues",
        scale: "exponential",
        exponent: 0.5,
        fill: "dark-blue",
        steps: 64,
        reverse: false,
    };
    let heatmap = Heatmap {
        calculate: false,
        cell_gap: 1,
        color,
        exemplars: ExemplarColor { color: "rgba(255,120,10,0.8)" },
        filter_values: FilterValues { le: 1e-9 },
        legend: Shown { show: true },
        rows_frame: RowsFrame { layout: "auto" },
        tooltip: HeatmapTooltip { mode: "single", y_histogram: true, show_color_scale: true },
        y_axis: YAxis { axis_placement: "left", reverse: false, unit },
    };
    let custom = Custom::Scaled(Scaled { scale_distribution: ScaleDistribution { r#type: "linear" } });
    panel(title, unit, description, Visual::Heatmap(heatmap), custom)
}

/// Rows and columns; `unit` holds for columns that have none of their own.
pub fn table(title: &str, unit: Unit, description: &str) -> Panel {
    let visual = Visual::Table(Table { show_header: true, cell_height: "sm", sort_by: vec![] });
    let custom = Column { align: "auto", cell_options: Cell::Auto, inspect: false, filterable: true };
    let mut panel = panel(title, unit, description, visual, Custom::Column(custom));
    panel.field_config.defaults.color = ColorMode::Thresholds;
    panel.thresholds(Color::Text, &[])
}

/// Lines of logs, the newest first.
pub fn logs(title: &str, description: &str) -> Panel {
    let logs = Logs {
        show_labels: false,
        show_common_labels: false,
        show_time: true,
        show_log_context_toggle: true,
        wrap_log_message: true,
        prettify_log_message: false,
        enable_log_details: true,
        enable_infinite_scrolling: true,
        sort_order: "Descending",
        dedup_strategy: "none",
    };
    panel(title, Unit::Count, description, Visual::Logs(logs), Custom::None(Empty {}))
}

fn panel(title: &str, unit: Unit, description: &str, visual: Visual, custom: Custom) -> Panel {
    let defaults = FieldConfig {
        unit,
        decimals: None,
        min: None,
        max: None,
        color: ColorMode::Palette,
        thresholds: steps(Color::Green, &[]),
        mappings: vec![],
        links: vec![],
        no_value: None,
        custom,
    };
    Panel {
        id: 0,
        title: title.to_owned(),
        description: description.to_owned(),
        grid_pos: GridPos::default(),
        datasource: Source::Metrics,
        visual,
        field_config: FieldConfigSource { defaults, overrides: vec![] },
        targets: vec![],
        transformations: vec![],
        weight: 1,
    }
}
