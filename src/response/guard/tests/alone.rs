//! Each guard alone, with the words that a person reads.

use super::*;

#[test]
fn each_guard_alone_holds_a_run_back_in_words_that_a_person_can_read() {
    let cases = [
        ("Response", but(|_, f| f.response = None), "AlertResponse fix does not exist any more"),
        (
            "NotPaused",
            but(|_, f| f.paused_by = Some("Namespace shop".into())),
            "responses are paused by the annotation evenkeel.dev/pause-responses of Namespace shop",
        ),
        (
            "NotSuspended",
            but(|_, f| f.response.as_mut().unwrap().spec.suspend = true),
            "AlertResponse fix is suspended",
        ),
        ("Namespace", but(|_, f| f.protected = true), "namespace shop is protected"),
        (
            "Maintenance",
            but(|r, _| {
                let window = json!({"cron": "30 16 * * 1", "duration": "10m"});
                r.spec.guardrails.maintenance_windows = vec![serde_json::from_value(window).unwrap()];
            }),
            "maintenance window 30 16 * * 1 (UTC) lasts until 1970-01-12T16:40:00Z",
        ),
        (
            "ChangeFreeze",
            but(|_, f| f.around.freezes = vec![freeze(true, "web")]),
            "ChangeFreeze quiet holds responses on Deployment/web until 1970-01-12T17:00:00Z: Black Friday",
        ),
        ("Target", but(|_, f| f.workload = Lookup::Missing), "Deployment/web does not exist in this namespace"),
        (
            "MinReady",
            but(|r, f| {
                r.spec.guardrails.min_ready = Some(IntOrString::String("50%".into()));
                let deployment = json!({"metadata": {"name": "web"}, "spec": {"replicas": 3, "selector": {}, "template": {}}, "status": {"availableReplicas": 1}});
                let deployment = serde_json::from_value(deployment).unwrap();
                let object = Object::Deployment(Box::new(deployment));
                f.workload = Lookup::Found(Box::new(Workload { object, ..Workload::default() }));
            }),
            "1 of 3 replicas of Deployment/web are available, minReady 50% asks for 2",
        ),
        (
            "Disruption",
            but(|r, f| {
                r.spec.steps = vec![serde_json::from_value(json!({"deletePod": {}})).unwrap()];
                f.response.as_mut().unwrap().spec.steps = r.spec.steps.clone();
                f.around = disrupted("True");
            }),
            "PodDisruptionBudget web allows no disruption now (2 of 3 pods are healthy, 2 must be), and pod web-1 is ready: deleting it would take one more away",
        ),
        ("AlertFiring", but(|_, f| f.alert.state = AlertState::Resolved), "alert A has resolved"),
        (
            "OnlyIf",
            but(|r, f| {
                r.spec.only_if.slo = Some(SloBurns { name: "checkout".into(), burn_above: 6.0 });
                f.slo = Some(Told::Not("SLO checkout does not burn above 6x (0.50x over 5m)".into()));
            }),
            "onlyIf: SLO checkout does not burn above 6x (0.50x over 5m)",
        ),
        (
            APPROVAL,
            but(|r, f| {
                r.spec.mode = Mode::Approve;
                f.response.as_mut().unwrap().spec.mode = Mode::Approve;
            }),
            "waits for approval: kubectl -n shop annotate run",
        ),
        (
            TURN,
            but(|_, f| f.others = vec![run("b", 0, Phase::Running)]),
            "waits for run b, which works on Deployment/web",
        ),
        (
            "Cooldown",
            but(|_, f| f.others = vec![acted("b", "other-uid", 9_400)]),
            "run b acted on Deployment/web 10m ago, within the cooldown of 15m",
        ),
        ("Attempts", but(|r, _| r.spec.attempt = 3), "attempt 3 of at most 2 while the alert keeps firing"),
        (
            "SuspendAfter",
            but(|_, f| {
                f.others = (1..4).map(|n| acted(&format!("b{n}"), "fix-uid", n)).collect();
                f.others.iter_mut().for_each(|o| o.status.as_mut().unwrap().verdict = Some(Verdict::Fail));
            }),
            "AlertResponse fix has suspended itself: 3 runs in a row acted and did not help, the last one is b3 (suspendAfter: 3)",
        ),
        (
            "MaxRunsPerHour",
            but(|_, f| {
                f.others = (1..5).map(|n| acted(&format!("b{n}"), "fix-uid", 8_000)).collect();
                f.others.iter_mut().for_each(|o| o.spec.target.name = "db".into());
            }),
            "4 runs of this AlertResponse acted within the hour; the limit is 4",
        ),
        (
            "StormBrake",
            but(|_, f| f.around.storm.acted_lately = 20),
            "storm brake: 20 runs of the cluster began to act within 10m, the limit is 20; look for what their alerts have in common",
        ),
    ];
    assert_eq!(cases.each_ref().map(|(name, _, _)| *name), ORDER.map(|(name, _)| name), "every guard, in its order");
    for (name, (run, facts), words) in cases {
        for (asked, guard) in ORDER {
            match guard(&run, &facts, at(10_000)) {
                Answer::Pass(_) => assert_ne!(asked, name),
                Answer::Wait(why) | Answer::Skip(why) => {
                    assert!(why.starts_with(words), "{asked}: {why}");
                    assert_eq!(asked, name, "alone: {why}");
                }
            }
        }
        let (asked, answer) = evaluate(&run, &facts, at(10_000));
        let told = asked.last().unwrap();
        assert_eq!((told.name.as_str(), told.passed, matches!(answer, Answer::Pass(_))), (name, false, false));
    }
}
