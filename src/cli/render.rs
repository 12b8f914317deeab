//! `evenkeel render`: what the operator would apply. The same input gives the same text.

use std::io::{self, Write};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use serde::Serialize;

use super::documents::Origin;
use super::resource::Resource;
use crate::api::NotificationChannel;
use crate::api::alert_rule::RuleSource;
use crate::k8s::manifests::{Built, Manifests};
use crate::slo::{self, Checked};
use crate::stack::names::{GENERATED, RECEIVER_TOKEN};
use crate::{rule, stack};

/// An object cannot be rendered.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    #[error(transparent)]
    Stack(#[from] stack::render::RenderError),
    #[error("cannot write {what} as YAML: {source}")]
    Yaml { what: String, source: serde_saphyr::ser::Error },
}

/// What becomes of one resource, or of a part of it, with a comment that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    pub title: String,
    pub content: Content,
    pub yaml: String,
}

/// In which document of the stream something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Content {
    /// Groups of rules for Prometheus: together they are one rule file.
    Rules,
    /// Groups of rules for the ruler of Loki: one rule file as well.
    LogRules,
    /// An object of Kubernetes: each is a document.
    Object,
}

impl Content {
    /// Of what a resource becomes. In this order of contents, all rules stand together.
    pub fn of(resource: &Resource) -> Self {
        match resource {
            Resource::Rule(rule) if rule.spec.source == RuleSource::Logs => Self::LogRules,
            Resource::Rule(_) | Resource::Slo(_) => Self::Rules,
            _ => Self::Object,
        }
    }

    fn head(self) -> &'static str {
        match self {
            Self::Rules => "groups:\n",
            Self::LogRules => "# LogQL: Loki itself checks these expressions before they are loaded.\ngroups:\n",
            Self::Object => "",
        }
    }
}

/// Rule groups for an AlertRule or an SLO, Kubernetes objects for a MonitoringStack. Channels appear in the configuration
/// of the stacks that route to them; the other kinds become no objects. `now` decides the periods of calendar windows.
pub fn render(
    origin: &Origin,
    resource: &Resource,
    checked: Option<&Checked>,
    channels: &[NotificationChannel],
    now: Timestamp,
) -> Result<Vec<Rendered>, RenderError> {
    let content = Content::of(resource);
    let rules = |yaml: String| vec![Rendered { title: format!("rules of {origin}"), content, yaml }];
    match resource {
        Resource::Rule(object) => Ok(rules(rule::groups(object).0)),
        // What is refused has been told by `check`.
        Resource::Slo(_) => Ok(checked.map(|checked| rules(slo::rules::groups(checked, now))).unwrap_or_default()),
        Resource::Stack(object) => {
            let mut manifests = stack::render(object, channels)?;
            manifests.secrets = manifests.secrets.into_iter().map(readable).collect();
            let mut rendered = objects(&manifests)?;
            rendered.iter_mut().for_each(|document| document.title.push_str(&format!(" of {origin}")));
            Ok(rendered)
        }
        Resource::Channel(_)
        | Resource::Response(_)
        | Resource::Run(_)
        | Resource::Policy(_)
        | Resource::Freeze(_)
        | Resource::Adjustment(_) => Ok(vec![]),
    }
}

/// One stream: documents separated by `---`, and in them the titles of what they hold. Rules that follow each other are
/// one document: of several, Prometheus reads the first alone.
pub struct Stream<W> {
    output: W,
    last: Option<Content>,
}

impl<W: Write> Stream<W> {
    pub fn new(output: W) -> Self {
        Self { output, last: None }
    }

    pub fn write(&mut self, Rendered { title, content, yaml }: &Rendered) -> io::Result<()> {
        let joined = *content != Content::Object && self.last == Some(*content);
        let separator = if joined || self.last.is_none() { "" } else { "---\n" };
        let head = if joined { "" } else { content.head() };
        self.last = Some(*content);
        writeln!(self.output, "{separator}{head}# {title}\n{}", yaml.trim_end())
    }

    pub fn end(mut self) -> io::Result<()> {
        self.output.flush()
    }
}

/// Every object, titled by its kind, namespace and name.
pub fn objects(manifests: &Manifests<Built>) -> Result<Vec<Rendered>, RenderError> {
    let Manifests {
        service_accounts,
        role_bindings,
        cluster_role_bindings,
        secrets,
        config_maps,
        services,
        stateful_sets,
        daemon_sets,
        deployments,
        pod_disruption_budgets,
        ingresses,
        http_routes,
        state: _,
    } = manifests;
    let mut rendered = vec![];
    all(&mut rendered, service_accounts)?;
    all(&mut rendered, role_bindings)?;
    all(&mut rendered, cluster_role_bindings)?;
    all(&mut rendered, secrets)?;
    all(&mut rendered, config_maps)?;
    all(&mut rendered, services)?;
    all(&mut rendered, stateful_sets)?;
    all(&mut rendered, daemon_sets)?;
    all(&mut rendered, deployments)?;
    all(&mut rendered, pod_disruption_budgets)?;
    all(&mut rendered, ingresses)?;
    all(&mut rendered, http_routes)?;
    Ok(rendered)
}

fn all<K>(rendered: &mut Vec<Rendered>, objects: &[K]) -> Result<(), RenderError>
where
    K: Serialize + kube::Resource<DynamicType = ()>,
{
    for object in objects {
        let name = object.name_any();
        let title = match object.namespace() {
            Some(namespace) => format!("{} {namespace}/{name}", K::kind(&())),
            None => format!("{} {name}", K::kind(&())),
        };
        let yaml = serde_saphyr::to_string(object);
        let yaml = yaml.map_err(|source| RenderError::Yaml { what: title.clone(), source })?;
        rendered.push(Rendered { title, content: Content::Object, yaml });
    }
    Ok(())
}

/// Text instead of base64, and nothing that the operator makes up: what is printed would be no secret.
fn readable(mut secret: Secret) -> Secret {
    if [RECEIVER_TOKEN, GENERATED].iter().any(|label| secret.labels().contains_key(*label)) {
        secret.data = None;
        return secret;
    }
    let data = secret.data.take().unwrap_or_default();
    for (key, value) in data {
        match String::from_utf8(value.0) {
            Ok(text) => _ = secret.string_data.get_or_insert_default().insert(key, text),
            Err(binary) => {
                let value = k8s_openapi::ByteString(binary.into_bytes());
                secret.data.get_or_insert_default().insert(key, value);
            }
        }
    }
    secret
}
