//! A response whose repairs do not help stops by itself. Pure.

use kube::ResourceExt;

use crate::api::alert_response::AlertResponse;
use crate::api::response_run::{ResponseRun, Verdict};

/// Why the response has suspended itself; `None` while it has not. Runs of an earlier version of its spec do not count.
pub fn suspended<'a>(response: &AlertResponse, runs: impl Iterator<Item = &'a ResponseRun>) -> Option<String> {
    let mut closed: Vec<_> = runs
        .filter(|run| run.spec.response_ref.uid == response.uid().unwrap_or_default())
        .filter(|run| Some(run.spec.response_ref.generation) == response.metadata.generation)
        .filter(|run| !run.only_observes() && run.acted())
        .filter_map(|run| {
            let status = run.status.as_ref()?;
            Some((status.finished_at.as_ref()?.0, run.name_any(), status.verdict?))
        })
        .collect();
    closed.sort_by(|left, right| (&left.0, &left.1).cmp(&(&right.0, &right.1)));
    let in_vain = closed.iter().rev().take_while(|(_, _, verdict)| *verdict != Verdict::Pass).count();
    let limit = usize::try_from(response.spec.suspend_after).unwrap_or(1).max(1);
    let (_, last, _) = closed.last().filter(|_| in_vain >= limit)?;
    Some(format!(
        "AlertResponse {} has suspended itself: {in_vain} runs in a row acted and did not help, the last one is {last} (suspendAfter: {limit}); look into them, then change the spec, or set suspend to true and back to false",
        response.name_any()
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn response(generation: i64) -> AlertResponse {
        serde_json::from_value(json!({
            "apiVersion": "evenkeel.dev/v1alpha1", "kind": "AlertResponse",
            "metadata": {"name": "fix", "namespace": "shop", "uid": "fix-uid", "generation": generation},
            "spec": {"match": {"alert": "A"}, "target": {"name": "web"}, "steps": [{"restart": {}}]},
        }))
        .unwrap()
    }

    /// Closed at this second.
    fn run(second: i64, verdict: &str, acted: bool) -> ResponseRun {
        let intent = acted.then(|| json!({"restart": {"restartedAt": ""}}));
        serde_json::from_value(json!({
            "apiVersion": "evenkeel.dev/v1alpha1", "kind": "ResponseRun",
            "metadata": {"name": format!("fix-{second}"), "namespace": "shop", "uid": second.to_string()},
            "spec": {
                "responseRef": {"name": "fix", "uid": "fix-uid", "generation": 1},
                "alert": {"name": "A", "fingerprint": "f"}, "target": {"kind": "Deployment", "name": "web"},
                "mode": "Act", "steps": [{"restart": {}}], "attempt": 1,
            },
            "status": {
                "phase": if verdict == "Pass" { "Succeeded" } else { "Failed" }, "verdict": verdict,
                "finishedAt": format!("2026-11-21T10:00:{second:02}Z"),
                "steps": [{"name": "restart", "state": if acted { "Done" } else { "Refused" }, "intent": intent}],
            },
        }))
        .unwrap()
    }

    #[test]
    fn three_runs_in_a_row_that_did_not_help_are_enough() {
        let runs = [run(3, "Inconclusive", true), run(1, "Fail", true), run(2, "Fail", true)];
        let told = suspended(&response(1), runs.iter()).unwrap();
        assert!(told.contains("3 runs in a row") && told.contains("the last one is fix-3"), "{told}");
        assert_eq!(suspended(&response(1), runs[..2].iter()), None);
        assert_eq!(suspended(&response(2), runs.iter()), None, "its author has changed it since");
    }

    #[test]
    fn one_that_helped_begins_the_count_anew_and_one_that_touched_nothing_does_not_count() {
        let helped = [run(1, "Fail", true), run(2, "Fail", true), run(3, "Pass", true), run(4, "Fail", true)];
        assert_eq!(suspended(&response(1), helped.iter()), None);
        let refused = [run(1, "Fail", true), run(2, "Fail", true), run(3, "Fail", false)];
        assert_eq!(suspended(&response(1), refused.iter()), None);
    }
}
