//! What can be said of a panel: its queries, limits, columns and links. Pure.

use super::builder::uid;
use super::model::Source;
use super::panel::{
    Color, ColorMode, DataLink, Format, LokiTarget, Mapping, MappingResult, Matcher, Organize, Override, Panel,
    PrometheusTarget, Property, Step, Target, Thresholds, Transformation,
};
use super::variables::expand;
use super::visual::{Cell, Custom, Graph, Legend, SortBy, Visual};

impl Panel {
    /// A query in PromQL. Panels that show one moment ask for one moment, and so do figures about the whole time range.
    pub fn metric(mut self, expr: impl AsRef<str>, legend: &str) -> Self {
        let whole = expr.as_ref().contains("[$__range]");
        let (format, instant) = match self.visual {
            Visual::Timeseries(_) => (Format::TimeSeries, false),
            Visual::Stat(_) => (Format::TimeSeries, whole),
            Visual::Gauge(_) | Visual::BarGauge(_) => (Format::TimeSeries, true),
            Visual::Heatmap(_) => (Format::Heatmap, false),
            Visual::Table(_) | Visual::BarChart(_) | Visual::Logs(_) => (Format::Table, true),
        };
        self.targets.push(Target::Prometheus(PrometheusTarget {
            ref_id: self.next_ref(),
            datasource: Source::Metrics,
            editor_mode: "code",
            expr: expand(expr.as_ref()),
            legend_format: legend.to_owned(),
            format,
            range: !instant,
            instant,
            exemplar: false,
        }));
        self
    }

    /// A query in LogQL.
    pub fn log(mut self, expr: impl AsRef<str>, legend: &str) -> Self {
        let (query_type, max_lines) = match self.visual {
            Visual::Logs(_) => ("range", Some(500)),
            Visual::Timeseries(_) | Visual::Stat(_) | Visual::Heatmap(_) => ("range", None),
            Visual::Gauge(_) | Visual::BarGauge(_) | Visual::Table(_) | Visual::BarChart(_) => ("instant", None),
        };
        self.datasource = Source::Logs;
        self.targets.push(Target::Loki(LokiTarget {
            ref_id: self.next_ref(),
            datasource: Source::Logs,
            editor_mode: "code",
            expr: expand(expr.as_ref()),
            legend_format: legend.to_owned(),
            query_type,
            max_lines,
        }));
        self
    }

    /// A, B, C and so on.
    fn next_ref(&self) -> String {
        let index = u32::try_from(self.targets.len()).unwrap_or_default();
        char::from_u32(u32::from('A') + index).unwrap_or('Z').to_string()
    }

    /// Dots that lead from a latency to a trace.
    pub fn exemplars(mut self) -> Self {
        for target in &mut self.targets {
            if let Target::Prometheus(target) = target {
                target.exemplar = true;
            }
        }
        self
    }

    /// Colours from certain values on.
    pub(super) fn thresholds(mut self, base: Color, above: &[(f64, Color)]) -> Self {
        self.field_config.defaults.thresholds = steps(base, above);
        self
    }

    /// Good below `warning`, bad from `critical` on; drawn as dashed lines into a graph.
    pub fn limits(self, warning: f64, critical: f64) -> Self {
        self.thresholds(Color::Green, &[(warning, Color::Orange), (critical, Color::Red)]).dashed()
    }

    /// Good at zero, bad from `critical` on.
    pub fn at_most(self, critical: f64) -> Self {
        self.thresholds(Color::Green, &[(critical, Color::Red)]).dashed()
    }

    /// Bad below `critical`, good from `warning` on.
    pub fn floors(self, critical: f64, warning: f64) -> Self {
        self.thresholds(Color::Red, &[(critical, Color::Orange), (warning, Color::Green)]).dashed()
    }

    fn dashed(self) -> Self {
        self.graph(|graph| graph.thresholds_style.mode = "dashed")
    }

    /// Changes how lines are drawn; nothing for a panel without lines.
    pub fn graph(mut self, change: impl FnOnce(&mut Graph)) -> Self {
        if let Custom::Graph(graph) = &mut self.field_config.defaults.custom {
            change(graph);
        }
        self
    }

    /// Ends of the scale.
    pub fn range(mut self, min: f64, max: f64) -> Self {
        self.field_config.defaults.min = Some(min);
        self.field_config.defaults.max = Some(max);
        self
    }

    /// A scale that begins at zero.
    pub fn zero_based(mut self) -> Self {
        self.field_config.defaults.min = Some(0.0);
        self
    }

    /// Digits behind the point.
    pub fn decimals(mut self, decimals: u32) -> Self {
        self.field_config.defaults.decimals = Some(decimals);
        self
    }

    /// What is shown instead of nothing.
    pub fn no_value(mut self, text: &'static str) -> Self {
        self.field_config.defaults.no_value = Some(text);
        self
    }

    /// Words for 0 and 1, on the whole surface of a number.
    pub fn said(mut self, mapping: Mapping) -> Self {
        self.field_config.defaults.mappings = vec![mapping];
        if let Visual::Stat(stat) = &mut self.visual {
            stat.color_mode = "background";
            stat.graph_mode = "none";
        }
        self
    }

    /// Share of the width of its line; 1 by itself.
    pub fn weight(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }

    /// The legend as a table with mean, maximum and last value.
    pub fn figures(mut self) -> Self {
        if let Visual::Timeseries(timeseries) = &mut self.visual {
            timeseries.legend = Legend::table();
        }
        self
    }

    /// Where a click on a value leads.
    pub fn link(mut self, link: DataLink) -> Self {
        self.field_config.defaults.links.push(link);
        self
    }

    /// Series whose name matches get a colour of their own: errors are red everywhere.
    pub fn colored(mut self, regex: &str, color: Color) -> Self {
        let matcher = Matcher { id: "byRegexp", options: regex.to_owned() };
        let properties = vec![Property::Color(ColorMode::Fixed(color))];
        self.field_config.overrides.push(Override { matcher, properties });
        self
    }

    /// Status codes in the colours that everybody expects.
    pub fn colored_codes(self) -> Self {
        self.colored("^2.*", Color::Green)
            .colored("^3.*", Color::Blue)
            .colored("^4.*", Color::Orange)
            .colored("^5.*", Color::Red)
    }

    /// The label whose values stand below the bars.
    pub fn by(mut self, field: &str) -> Self {
        if let Visual::BarChart(chart) = &mut self.visual {
            chart.x_field = Some(field.to_owned());
        }
        self
    }

    /// Columns of a table in their order: Grafana's name (a label, `Value`, or `Value #A` where there are several
    /// queries) and the headline. The table is sorted by the last one.
    pub fn columns(mut self, columns: &[(&str, &str)]) -> Self {
        let mut organize = Organize { exclude_by_name: [("Time".to_owned(), true)].into(), ..Organize::default() };
        for ((field, title), index) in columns.iter().zip(0..) {
            organize.index_by_name.insert((*field).to_owned(), index);
            organize.rename_by_name.insert((*field).to_owned(), (*title).to_owned());
        }
        self.transformations = vec![Transformation::Merge {}, Transformation::Organize(organize)];
        self
    }

    /// The column by which a table is sorted, the greatest first.
    pub fn sorted_by(mut self, column: &str) -> Self {
        if let Visual::Table(table) = &mut self.visual {
            table.sort_by = vec![SortBy { display_name: column.to_owned(), desc: true }];
        }
        self
    }

    /// What is particular about a column.
    pub fn column(mut self, title: &str, properties: impl IntoIterator<Item = Property>) -> Self {
        let matcher = Matcher { id: "byName", options: title.to_owned() };
        self.field_config.overrides.push(Override { matcher, properties: properties.into_iter().collect() });
        self
    }
}

/// A colour, and others from certain values on.
pub(super) fn steps(base: Color, above: &[(f64, Color)]) -> Thresholds {
    let first = Step { color: base, value: None };
    let others = above.iter().map(|(value, color)| Step { color: *color, value: Some(*value) });
    Thresholds { mode: "absolute", steps: [first].into_iter().chain(others).collect() }
}

/// A link to another dashboard; `variables` is the rest of its URL, for example `var-workload=${__data.fields.workload}`.
pub fn leads_to(title: &str, name: &str, variables: &str) -> DataLink {
    let url = format!("/d/{}?${{__url_time_range}}&{variables}", uid(name));
    DataLink { title: title.to_owned(), url, target_blank: false }
}

/// 0 and 1 as words.
pub fn words(zero: (&'static str, Color), one: (&'static str, Color)) -> Mapping {
    let result = |(text, color), index| MappingResult { text, color, index };
    Mapping { r#type: "value", options: [("0", result(zero, 0)), ("1", result(one, 1))].into() }
}

/// A column whose cells are coloured: good below `warning`, bad from `critical` on.
pub fn colored_limits(warning: f64, critical: f64) -> [Property; 2] {
    let limits = steps(Color::Green, &[(warning, Color::Orange), (critical, Color::Red)]);
    [Property::Thresholds(limits), Property::Cell(Cell::ColorText)]
}

/// A column whose cells are coloured: bad below `critical`, good from `warning` on.
pub fn colored_floors(critical: f64, warning: f64) -> [Property; 2] {
    let floors = steps(Color::Red, &[(critical, Color::Orange), (warning, Color::Green)]);
    [Property::Thresholds(floors), Property::Cell(Cell::ColorText)]
}
