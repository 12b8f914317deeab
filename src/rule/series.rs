//! Asks Prometheus whether the series that rules want are there.

use super::life::Wanted;
use crate::prometheus::{HttpError, Period, Prometheus};

/// Names and values that are asked for: enough for a hint, and no load.
const MOST_NAMES: usize = 10_000;
const MOST_VALUES: usize = 1_000;

/// One Prometheus, or the shards that have the series between them.
pub struct Asker {
    shards: Vec<Prometheus>,
    period: Period,
    /// Names of all metrics, once they were needed.
    names: Option<Vec<String>>,
}

impl Asker {
    pub fn new(shards: Vec<Prometheus>, period: Period) -> Self {
        Self { shards, period, names: None }
    }

    /// Why no series is as wanted; empty when there is one.
    pub async fn warnings(&mut self, wanted: &Wanted) -> Result<Vec<String>, HttpError> {
        if self.exists(&wanted.selector).await? {
            return Ok(vec![]);
        }
        let Some((metric, all)) = wanted.metric.as_deref().zip(wanted.of_metric()) else {
            return Ok(vec![wanted.together()]);
        };
        if !self.exists(&all).await? {
            if self.names.is_none() {
                self.names = Some(self.values("__name__", None, MOST_NAMES).await?);
            }
            return Ok(vec![wanted.unknown(metric, self.names.as_deref().unwrap_or_default())]);
        }
        let mut warnings = vec![];
        for matcher in wanted.demanding() {
            let values = self.values(&matcher.name, Some(&all), MOST_VALUES).await?;
            // Of values that were cut short nothing can be said.
            if values.len() < MOST_VALUES {
                warnings.extend(wanted.impossible(matcher, &values));
            }
        }
        Ok(if warnings.is_empty() { vec![wanted.together()] } else { warnings })
    }

    pub async fn exists(&self, selector: &str) -> Result<bool, HttpError> {
        for shard in &self.shards {
            if !shard.series(selector, self.period, 1).await?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn values(&self, label: &str, selector: Option<&str>, most: usize) -> Result<Vec<String>, HttpError> {
        let mut values = vec![];
        for shard in &self.shards {
            values.extend(shard.label_values(label, selector, self.period, most).await?);
        }
        values.sort_unstable();
        values.dedup();
        Ok(values)
    }
}
