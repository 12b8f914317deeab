//! What may be written about Jaeger. Pure.

use super::{Known, Problem, Refused};
use crate::api::duration::PromDuration;
use crate::api::monitoring_stack::{JaegerSpec, Sampling, TraceStore};
use crate::stack::component::jaeger::FLAGS;
use crate::stack::names::JAEGER;
use crate::stack::storage::Data;

/// Most traces in memory where nothing is said.
const MAX_TRACES: i32 = 10_000;
/// How long Badger keeps traces where nothing is said.
const RETENTION: PromDuration = PromDuration::from_mins(7 * 24 * 60);

/// Jaeger, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Jaeger {
    pub spec: JaegerSpec,
    pub store: Store,
    pub sampling: Sampling,
    pub data: Data,
    /// Claims to be asked for the size in `data`.
    pub grow: Vec<String>,
}

/// Where the traces are.
#[derive(Clone, Debug, PartialEq)]
pub enum Store {
    Memory {
        max_traces: i32,
    },
    /// Badger, on the volume of the one pod.
    Volume {
        retention: PromDuration,
    },
    Outside {
        /// Jaeger's name of this kind of store.
        kind: &'static str,
        store: TraceStore,
    },
}

impl Jaeger {
    /// Where the traces are, for the status.
    pub fn describe(&self) -> String {
        match &self.store {
            Store::Memory { max_traces } => format!("memory, up to {max_traces} traces, lost with the pod"),
            Store::Volume { retention } => format!("{}, kept for {retention}", self.data.describe()),
            Store::Outside { kind, store } => format!("{kind} {}", store.urls.join(", ")),
        }
    }
}

/// The checked part; what is wrong and can be left out goes to `problems`.
pub fn check(spec: &JaegerSpec, known: &Known, problems: &mut Vec<Problem>) -> Result<Jaeger, Refused> {
    super::reserved_flags(JAEGER, spec.pod.as_ref(), &FLAGS)?;
    super::positive("jaeger.retention", spec.retention, "7d")?;
    let sampling = spec.sampling.clone().unwrap_or_default();
    check_probabilities(&sampling)?;
    let (data, grow) = super::check_storage(JAEGER, JAEGER, Data::of(spec.storage.as_ref()), known, problems);
    let store = match (spec.outside(), &data) {
        (Some((kind, store)), _) => Store::Outside { kind, store: store.clone() },
        (None, Data::Claim { .. }) => Store::Volume { retention: spec.retention.unwrap_or(RETENTION) },
        (None, Data::EmptyDir { .. }) => Store::Memory { max_traces: spec.max_traces.unwrap_or(MAX_TRACES) },
    };
    if let Store::Outside { kind, store } = &store {
        let missing =
            |(field, reference): (&str, &_)| known.secrets.missing(&format!("spec.jaeger.{kind}.{field}"), reference);
        let missing = store.secret_refs().into_iter().filter_map(missing);
        problems.extend(missing.map(|message| Problem { reason: "TraceStoreSecretMissing", message }));
    }
    Ok(Jaeger { spec: spec.clone(), store, sampling, data, grow })
}

/// Jaeger would refuse the file as a whole, and say so in its log only.
fn check_probabilities(sampling: &Sampling) -> Result<(), Refused> {
    let named = sampling.services.iter().enumerate().flat_map(|(s, service)| {
        let own = service.probability.map(|p| (format!("services[{s}].probability"), p));
        let operations = service.operations.iter().enumerate();
        let operations = operations
            .map(move |(o, operation)| (format!("services[{s}].operations[{o}].probability"), operation.probability));
        own.into_iter().chain(operations)
    });
    let mut all = std::iter::once(("default".to_owned(), sampling.default)).chain(named);
    match all.find(|(_, probability)| !(0.0..=1.0).contains(probability)) {
        Some((field, probability)) => Err(Refused::Field {
            field: format!("jaeger.sampling.{field}"),
            value: probability.to_string(),
            why: "is no share: write a number from 0 to 1".to_owned(),
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::validate::tests::known;
    use serde_json::{Value, json};

    fn checked(spec: Value) -> Result<(Jaeger, Vec<Problem>), Refused> {
        let mut problems = vec![];
        let jaeger = check(&serde_json::from_value(spec).unwrap(), &known(), &mut problems)?;
        Ok((jaeger, problems))
    }

    #[test]
    fn the_status_says_what_becomes_of_the_traces() {
        let describe = |spec: Value| checked(spec).unwrap().0.describe();
        assert_eq!(describe(json!({})), "memory, up to 10000 traces, lost with the pod");
        assert_eq!(
            describe(json!({"storage": {"size": "5Gi"}, "retention": "3d"})),
            "PersistentVolumeClaim 5Gi, kept for 3d"
        );
        assert_eq!(describe(json!({"opensearch": {"urls": ["https://os:9200"]}})), "opensearch https://os:9200");
    }

    #[test]
    fn a_share_beyond_all_requests_is_refused_with_its_field() {
        let services =
            json!([{"service": "a"}, {"service": "b", "operations": [{"operation": "GET", "probability": 1.5}]}]);
        let refused = checked(json!({"sampling": {"services": services}})).unwrap_err().to_string();
        assert_eq!(
            refused,
            "spec.jaeger.sampling.services[1].operations[0].probability \"1.5\" is no share: write a number from 0 to 1"
        );
    }

    #[test]
    fn a_password_that_is_not_there_is_named_and_the_rest_goes_on() {
        let reference = json!({"name": "search", "key": "password"});
        let store = json!({"urls": ["http://es:9200"], "username": "jaeger", "passwordSecretRef": reference});
        let (_, problems) = checked(json!({"elasticsearch": store})).unwrap();
        assert_eq!(
            problems[0].message,
            "spec.jaeger.elasticsearch.passwordSecretRef refers to Secret search, which does not exist"
        );
    }
}
