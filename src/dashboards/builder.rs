//! Puts dashboards together: panels with sensible options, rows, and places that are computed, not written. Pure.

use super::model::{Link, List, Model, Source, Variable};
use super::panel::{GridPos, Item, Panel, Row};
use super::variables;

/// Columns of Grafana's grid.
const COLUMNS: u32 = 24;
/// Tag of every dashboard; the drop-down of all dashboards finds them by it.
pub const TAG: &str = "evenkeel";

/// A dashboard in the making.
pub struct Board {
    model: Model,
    next_id: u32,
    /// First free line of the grid.
    y: u32,
}

/// Panels beside each other.
pub struct Line {
    height: u32,
    panels: Vec<Panel>,
}

/// Numbers: low panels.
pub fn numbers(panels: impl IntoIterator<Item = Panel>) -> Line {
    Line { height: 4, panels: panels.into_iter().collect() }
}

/// Graphs: panels of the usual height.
pub fn graphs(panels: impl IntoIterator<Item = Panel>) -> Line {
    Line { height: 8, panels: panels.into_iter().collect() }
}

/// Tables and logs: high panels.
pub fn lists(panels: impl IntoIterator<Item = Panel>) -> Line {
    Line { height: 11, panels: panels.into_iter().collect() }
}

impl Board {
    /// `name`: the last part of the uid, which stays the same for ever: links and bookmarks hold it.
    pub fn new(name: &str, title: &str, description: &str, tags: &[&str]) -> Self {
        let mut model = Model::new(&uid(name), title, description);
        model.tags = [TAG].iter().chain(tags).map(|tag| (*tag).to_owned()).collect();
        model.links.push(all_dashboards());
        Self { model, next_id: 1, y: 0 }
    }

    /// Its variables, in the order in which they are shown; data sources come first.
    pub fn variables(mut self, variables: impl IntoIterator<Item = Variable>) -> Self {
        self.model.templating.list.extend(variables);
        self
    }

    /// Links to other dashboards, which take the time range and the variables along.
    pub fn links(mut self, to: &[(&str, &str, &str)]) -> Self {
        let links = to.iter().map(|(title, name, tooltip)| Link {
            title: (*title).to_owned(),
            r#type: "link",
            icon: "dashboard",
            tooltip: (*tooltip).to_owned(),
            url: format!("/d/{}", uid(name)),
            tags: vec![],
            as_dropdown: false,
            target_blank: false,
            include_vars: true,
            keep_time: true,
        });
        let at = self.model.links.len() - 1;
        self.model.links.splice(at..at, links);
        self
    }

    /// Marks of firing alerts over all panels.
    pub fn alerts(mut self, selector: &str) -> Self {
        self.model.annotations.list.push(variables::firing(selector));
        self
    }

    /// The range that is shown at first, for what is slower than an hour.
    pub fn since(mut self, from: &'static str) -> Self {
        self.model.time.from = from;
        self
    }

    /// A headline and the lines below it.
    pub fn row(mut self, title: &str, lines: impl IntoIterator<Item = Line>) -> Self {
        let id = self.id();
        let grid_pos = GridPos { h: 1, w: COLUMNS, x: 0, y: self.y };
        let row = Row { id, r#type: "row", title: title.to_owned(), collapsed: false, grid_pos, panels: vec![] };
        self.model.panels.push(Item::Row(row));
        self.y += 1;
        lines.into_iter().for_each(|line| self.line(line));
        self
    }

    /// The same, if `wanted`.
    pub fn row_if(self, wanted: bool, title: &str, lines: impl IntoIterator<Item = Line>) -> Self {
        if wanted { self.row(title, lines) } else { self }
    }

    /// Divides a line among its panels by their weights; the last one takes what is left over.
    fn line(&mut self, Line { height, panels }: Line) {
        let all: u32 = panels.iter().map(|panel| panel.weight).sum();
        let (last, mut x) = (panels.len().saturating_sub(1), 0);
        for (index, mut panel) in panels.into_iter().enumerate() {
            let w = if index == last { COLUMNS - x } else { COLUMNS * panel.weight / all };
            panel.id = self.id();
            panel.grid_pos = GridPos { h: height, w, x, y: self.y };
            x += w;
            self.model.panels.push(Item::Panel(Box::new(panel)));
        }
        self.y += height;
    }

    fn id(&mut self) -> u32 {
        self.next_id += 1;
        self.next_id - 1
    }

    /// The dashboard, with a variable for each data source that it uses.
    pub fn finish(mut self) -> Model {
        let uses = |source: Source| {
            self.model.panels.iter().any(|item| matches!(item, Item::Panel(panel) if panel.datasource == source))
        };
        let sources = [Source::Metrics, Source::Logs].into_iter().filter(|source| uses(*source)).map(variables::source);
        let mut list: Vec<Variable> = sources.collect();
        list.append(&mut self.model.templating.list);
        self.model.templating = List { list };
        self.model
    }
}

/// Grafana's name of a dashboard.
pub fn uid(name: &str) -> String {
    format!("evenkeel-{name}")
}

/// The drop-down at the right.
fn all_dashboards() -> Link {
    Link {
        title: "Evenkeel".into(),
        r#type: "dashboards",
        icon: "external link",
        tooltip: "All dashboards that come with Evenkeel".into(),
        url: String::new(),
        tags: vec![TAG.into()],
        as_dropdown: true,
        target_blank: false,
        include_vars: true,
        keep_time: true,
    }
}
