//! The dashboards that ship: typed code that renders to Grafana's JSON. Pure.
//!
//! `boards` holds one file for each dashboard; `panels`, `settings`, `builder` and `variables` are what they are made of,
//! `model`, `panel` and `visual` are Grafana's schema. Adding one: a file in `boards` and a line in `SHIPPED`.

mod boards;
mod builder;
mod model;
mod panel;
mod panels;
mod query;
mod settings;
mod variables;
mod visual;

pub use model::Model;
pub use query::{Language, Query, panels};

/// What a stack has, as far as dashboards care: rows about parts that it lacks are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    /// Without it there is nothing but logs to show.
    pub prometheus: bool,
    pub loki: bool,
    /// Collectors of logs, as agents or as a gateway.
    pub collectors: bool,
    pub jaeger: bool,
}

impl Parts {
    /// A stack with everything.
    pub const ALL: Self = Self { prometheus: true, loki: true, collectors: true, jaeger: true };
}

/// A dashboard that ships.
#[derive(Clone, Debug, PartialEq)]
pub struct Dashboard {
    /// Title of the folder in Grafana.
    pub folder: &'static str,
    /// Name of its file, without `.json`; unique over all folders.
    pub name: &'static str,
    /// What Grafana reads: indented JSON, with a newline at the end.
    pub json: String,
    model: Model,
}

/// One dashboard: folder, name, what it needs, and the function that makes it.
struct Entry {
    folder: &'static str,
    name: &'static str,
    needs: fn(Parts) -> bool,
    make: fn(Parts) -> Model,
}

const SERVICES: &str = "Services";
const KUBERNETES: &str = "Kubernetes";
const DATABASES: &str = "Databases";
const MONITORING: &str = "Monitoring";

fn metrics(parts: Parts) -> bool {
    parts.prometheus
}

fn logs(parts: Parts) -> bool {
    parts.loki
}

const SHIPPED: [Entry; 10] = [
    Entry { folder: SERVICES, name: "overview", needs: metrics, make: boards::overview::board },
    Entry { folder: SERVICES, name: "slo", needs: metrics, make: boards::slo::board },
    Entry { folder: SERVICES, name: "logs", needs: logs, make: boards::logs::board },
    Entry { folder: SERVICES, name: "security", needs: metrics, make: boards::security::board },
    Entry { folder: SERVICES, name: "business", needs: metrics, make: boards::business::board },
    Entry { folder: KUBERNETES, name: "workloads", needs: metrics, make: boards::workloads::board },
    Entry { folder: KUBERNETES, name: "node", needs: metrics, make: boards::node::board },
    Entry { folder: DATABASES, name: "database", needs: metrics, make: boards::database::board },
    Entry { folder: MONITORING, name: "stack", needs: metrics, make: boards::stack::board },
    Entry { folder: MONITORING, name: "operator", needs: metrics, make: boards::operator::board },
];

/// The dashboards for a stack that has `parts`.
pub fn shipped(parts: Parts) -> Vec<Dashboard> {
    let made = SHIPPED.iter().filter(|entry| (entry.needs)(parts));
    made.map(|entry| {
        let mut model = (entry.make)(parts);
        model.keep_links(|url| leads_somewhere(url, parts));
        Dashboard { folder: entry.folder, name: entry.name, json: json(&model), model }
    })
    .collect()
}

/// A link to a dashboard that this stack does not get would be a dead end.
fn leads_somewhere(url: &str, parts: Parts) -> bool {
    let path = url.split('?').next().unwrap_or_default();
    let target = SHIPPED.iter().find(|entry| path == format!("/d/{}", builder::uid(entry.name)));
    target.is_none_or(|entry| (entry.needs)(parts))
}

fn json(model: &Model) -> String {
    // Cannot fail: no map has keys other than strings, and nothing is written but to memory.
    let text = serde_json::to_string_pretty(model).expect("a dashboard is JSON");
    text + "\n"
}
