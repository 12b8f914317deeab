use serde_json::{Value, json};

use super::*;
use crate::k8s::manifests::{Applied, Manifests};
use crate::k8s::meta::Owner;
use crate::stack::build::{Revisions, build};
use crate::stack::observed::{Shortfall, SloNeeds};
use crate::stack::validate::{Home, Known, validate};
use crate::stack::workloads;

const NOW: i64 = 1_000_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

/// A stack as it is after everything was applied: its StatefulSets are rolled out.
struct World {
    stack: Stack,
    applied: Manifests<Applied>,
    parts: Vec<Part>,
    revisions: Revisions,
    problems: Vec<Problem>,
    seen: Seen,
    rules: Option<RuleCounts>,
    slos: Option<SloNeeds>,
}

impl World {
    fn of(spec: Value) -> Self {
        let owner = Owner {
            api_version: "evenkeel.dev/v1alpha1".into(),
            kind: "MonitoringStack".into(),
            namespace: "monitoring".into(),
            name: "main".into(),
            uid: "u-1".into(),
        };
        let home = Home {
            owner,
            receiver_url: "http://receiver:8080".into(),
            cluster_role_prefix: "prefix".into(),
            rotation: None,
        };
        let known = Known::offline();
        let (stack, problems) = validate(&serde_json::from_value(spec).unwrap(), home, known).unwrap();
        let plan = build(&stack).unwrap();
        let mut stateful_sets = plan.manifests.stateful_sets;
        let mut pods = vec![];
        for set in &mut stateful_sets {
            let replicas = set.spec.as_ref().unwrap().replicas.unwrap();
            set.metadata.generation = Some(2);
            set.status = serde_json::from_value(json!({
                "observedGeneration": 2, "replicas": replicas, "updatedReplicas": replicas,
                "currentRevision": "b", "updateRevision": "b",
            }))
            .unwrap();
            set.metadata.uid = set.metadata.name.clone();
        }
        let applied = Manifests::<Applied> { stateful_sets, ..Manifests::default() };
        for workload in workloads::of(&applied) {
            let pods_of = (0..workload.desired).map(|n| pod(&format!("{}-{n}", workload.uid), workload.component));
            pods.extend(pods_of);
        }
        let seen = Seen { pods, targets: Some(TargetCounts { up: 7, down: 1 }), pools: vec![] };
        Self { stack, applied, parts: plan.parts, revisions: plan.revisions, problems, seen, rules: None, slos: None }
    }

    fn status(&self) -> (MonitoringStackStatus, Outcome) {
        self.status_after(None, NOW)
    }

    fn status_after(&self, previous: Option<&MonitoringStackStatus>, now: i64) -> (MonitoringStackStatus, Outcome) {
        let Self { stack, applied, parts, problems, seen, rules, slos, .. } = self;
        let workloads = &workloads::of(applied);
        let facts = Facts { stack, parts, workloads, problems, seen, rules: *rules, slos: slos.clone() };
        status(&facts, previous, Some(4), at(now))
    }

    fn condition(&self, type_: &str) -> (String, String, String) {
        let (status, _) = self.status();
        let condition = status.conditions.into_iter().find(|c| c.type_ == type_).unwrap();
        (condition.status, condition.reason, condition.message)
    }
}

fn pod(name: &str, component: Component) -> PodFacts {
    let version = match component {
        Component::Prometheus(_) => "3.15.0",
        Component::Alertmanager => "0.31.1",
        Component::Part(_) => "",
    };
    PodFacts {
        name: name.into(),
        component,
        ip: Some("10.0.0.1".into()),
        ready: true,
        failing: None,
        unscheduled: None,
        dashboards: None,
        started: Some(at(NOW - 3600)),
        refreshed: None,
        answer: Answer::Says { version: version.into(), loaded: true, refused: None },
    }
}

fn both() -> World {
    World::of(json!({
        "prometheus": {"replicas": 2, "shards": 2, "storage": {"size": "10Gi"}},
        "alertmanager": {"replicas": 3},
    }))
}

#[test]
fn a_stack_of_which_all_runs_is_ready_and_says_what_runs_where() {
    let (status, outcome) = both().status();
    assert_eq!(outcome, Outcome::Ready { reason: "AllReady", message: "prometheus 4/4, alertmanager 3/3".into() });
    assert_eq!(status.observed_generation, Some(4));
    assert_eq!(status.targets, Some(TargetCounts { up: 7, down: 1 }));
    assert_eq!(
        status.components[0],
        ComponentStatus {
            name: "prometheus".into(),
            version: Some("3.15.0".into()),
            ready: 4,
            desired: 4,
            pods: "4/4".into(),
            url: "http://main-prometheus.monitoring.svc:9090".into(),
            storage: "PersistentVolumeClaim 10Gi".into(),
            config_loaded: true,
            message: None,
        }
    );
    assert_eq!(status.components[1].url, "http://main-alertmanager.monitoring.svc:9093");
    assert_eq!(status.components[1].storage, "emptyDir, lost with the pod");
}

#[test]
fn a_second_look_at_the_same_changes_nothing() {
    let world = both();
    let (first, _) = world.status();
    let (second, _) = world.status_after(Some(&first), NOW + 600);
    assert_eq!(first, second);
}

#[test]
fn a_rollout_is_progress_and_not_a_failure() {
    let mut world = both();
    world.seen.pods[1].ready = false;
    world.seen.pods[1].answer = Answer::NotAsked;
    let (status, outcome) = world.status();
    assert_eq!(outcome.message(), "prometheus: 3 of 4 pods are ready");
    assert!(matches!(outcome, Outcome::Progressing { .. }));
    assert_eq!((status.components[0].pods.as_str(), status.components[0].config_loaded), ("3/4", false));

    let mut world = both();
    let set = world.applied.stateful_sets.last_mut().unwrap();
    set.metadata.generation = Some(3);
    assert!(world.status().1.message().contains("StatefulSet main-alertmanager was changed just now"));
    let status = world.applied.stateful_sets.last_mut().unwrap().status.as_mut().unwrap();
    (status.observed_generation, status.updated_replicas) = (Some(3), Some(1));
    status.current_revision = Some("a".into());
    let (_, outcome) = world.status();
    assert_eq!(
        outcome.message(),
        "alertmanager: 1 of 3 pods of StatefulSet main-alertmanager have its present template"
    );
}

#[test]
fn a_configuration_that_is_not_loaded_yet_is_progress_and_a_refused_one_a_failure() {
    let mut world = both();
    let answer = |refused: Option<&str>| Answer::Says {
        version: "0.31.1".into(),
        loaded: false,
        refused: refused.map(str::to_owned),
    };
    let last = world.seen.pods.len() - 1;
    world.seen.pods[last].answer = answer(None);
    let (status, outcome) = world.status();
    assert_eq!(
        outcome,
        Outcome::Progressing {
            reason: "RollingOut",
            message: "alertmanager: 2 of 3 pods have loaded the present configuration".into()
        }
    );
    assert!(!status.components[1].config_loaded);
    world.seen.pods[last].answer = answer(Some("undefined receiver"));
    let (_, outcome) = world.status();
    assert_eq!(
        outcome,
        Outcome::Failing {
            reason: "ComponentFailing",
            message: "alertmanager: main-alertmanager-2: undefined receiver".into()
        }
    );
}

#[test]
fn a_pod_that_cannot_run_or_does_not_answer_is_named() {
    let mut world = both();
    world.seen.pods[0].ready = false;
    world.seen.pods[0].failing = Some("image q/p:v9 cannot be pulled".into());
    assert_eq!(world.status().1.message(), "prometheus: main-prometheus-0: image q/p:v9 cannot be pulled");
    let mut world = both();
    world.seen.pods[0].answer = Answer::Silent("no route".into());
    let (_, outcome) = world.status();
    assert!(matches!(outcome, Outcome::Failing { .. }));
    assert!(outcome.message().contains("main-prometheus-0: is ready but does not answer the operator: no route"));
    world.seen.pods[0].ready = false;
    assert!(matches!(world.status().1, Outcome::Progressing { .. }), "one that starts is given time");
}

#[test]
fn what_was_left_out_makes_the_stack_not_ready_although_all_runs() {
    let mut world = both();
    world.problems = vec![Problem { reason: "ChannelNotFound", message: "no NotificationChannel team-slak".into() }];
    let (_, outcome) = world.status();
    assert_eq!(
        outcome,
        Outcome::Failing { reason: "ChannelNotFound", message: "no NotificationChannel team-slak".into() }
    );
    assert_eq!(world.condition("RoutesValid").0, "False");
    world.problems.push(Problem { reason: "StorageShrinkRefused", message: "cannot shrink".into() });
    let (status, outcome) = world.status();
    assert_eq!(
        outcome,
        Outcome::Stalled {
            reason: "StorageShrinkRefused",
            message: "no NotificationChannel team-slak; cannot shrink".into()
        }
    );
    assert_eq!(status.components[0].pods, "4/4");
    assert_eq!(both().condition("RoutesValid").0, "True");
}

#[test]
fn a_retention_below_the_window_of_an_slo_is_said_with_numbers_also_by_a_new_leader() {
    let mut world = both();
    let told = |world: &World, previous: Option<&MonitoringStackStatus>| {
        let status = world.status_after(previous, NOW).0;
        let found = status.conditions.iter().find(|c| c.type_ == "SLOsCovered").cloned();
        (status, found)
    };
    assert_eq!(told(&world, None).1, None, "nobody has looked yet");
    world.slos = Some(SloNeeds::default());
    assert_eq!(told(&world, None).1, None, "there are none");
    let longest = Shortfall { slo: "shop/api".into(), window: "30d".into(), wanted: 30 * 86_400, kept: "15d".into() };
    world.slos = Some(SloNeeds { slos: 9, short: 3, longest: Some(longest) });
    let (status, found) = told(&world, None);
    let found = found.unwrap();
    assert_eq!((found.status.as_str(), found.reason.as_str()), ("False", "RetentionTooShort"));
    for words in ["is 15d", "SLO shop/api is 30d (and 2 more)", "prometheus.retention to 31d"] {
        assert!(found.message.contains(words), "{}", found.message);
    }
    world.slos = None;
    assert_eq!(told(&world, Some(&status)).1, Some(found));
    world.slos = Some(SloNeeds { slos: 9, ..SloNeeds::default() });
    assert_eq!(told(&world, Some(&status)).1.unwrap().status, "True");
}

#[test]
fn rules_are_told_as_the_loader_counts_them() {
    let mut world = both();
    assert_eq!(world.condition("RulesSelected").0, "Unknown");
    world.rules = Some(RuleCounts::default());
    let (status, reason, message) = world.condition("RulesSelected");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "NothingSelected"));
    assert_eq!(
        message,
        "there is no AlertRule and no SLO in namespace monitoring; `discovery: {}` looks in all namespaces"
    );
    world.rules = Some(RuleCounts { selected: 2, accepted: 5, rejected: 1, loaded: 5, ..RuleCounts::default() });
    assert_eq!(world.condition("RulesSelected").0, "True");
    assert_eq!(world.status().0.rules, world.rules);
}

#[test]
fn a_selection_of_labels_that_matches_nothing_is_told_with_the_labels() {
    let mut world = World::of(json!({
        "prometheus": {}, "discovery": {"selector": {"matchLabels": {"team": "checkout"}}},
    }));
    world.rules = Some(RuleCounts::default());
    let (_, _, message) = world.condition("RulesSelected");
    assert_eq!(message, "there is no AlertRule and no SLO in any namespace with the labels team=checkout");
    let (status, outcome) = world.status();
    assert!(matches!(outcome, Outcome::Ready { .. }), "nothing to do is no failure");
    assert!(!status.conditions.iter().any(|c| c.type_ == "RoutesValid"), "there is no Alertmanager");
}

#[test]
fn targets_are_found_over_all_shards_and_once_for_each() {
    let mut world = both();
    let pool = |pod: &str, name: &str, targets| Pool { pod: pod.into(), name: name.into(), targets };
    world.seen.pools = vec![
        pool("main-prometheus-0", "pods", 0),
        pool("main-prometheus-shard-1-0", "pods", 2),
        pool("main-prometheus-shard-1-1", "pods", 3),
        pool("main-prometheus-shard-1-1", "services", 1),
        pool("main-prometheus-shard-1-1", "kubelet", 9),
        pool("somebody-else-0", "pods", 50),
    ];
    assert_eq!(found(&world.seen), Some(4));
    assert_eq!(world.condition("TargetsFound").0, "True");
    world.seen.pools = vec![pool("main-prometheus-0", "pods", 0)];
    let (status, _, message) = world.condition("TargetsFound");
    assert_eq!(status, "False");
    assert!(message.contains("prometheus.io/scrape") && message.contains("namespace monitoring"), "{message}");
    world.seen.pods[0].started = Some(at(NOW - 5));
    assert_eq!(world.condition("TargetsFound").0, "Unknown", "a new Prometheus has not looked around yet");
    world.seen.pools.clear();
    assert_eq!(world.condition("TargetsFound").0, "Unknown");
}

#[test]
fn a_stack_of_which_nothing_is_applied_keeps_what_was_known() {
    let (before, _) = both().status();
    let outcome = Outcome::Stalled { reason: "Paused", message: "spec.paused is true".into() };
    let after = held(&outcome, Some(&before), Some(5), at(NOW + 1));
    assert_eq!((after.components.len(), after.observed_generation), (2, Some(5)));
    let stalled = after.conditions.iter().find(|c| c.type_ == "Stalled").unwrap();
    assert_eq!((stalled.status.as_str(), stalled.observed_generation), ("True", Some(5)));
    let routes = |status: &MonitoringStackStatus| status.conditions.iter().find(|c| c.type_ == "RoutesValid").cloned();
    assert_eq!(routes(&after), routes(&before), "which still speaks of the generation before");
    assert_eq!(held(&outcome, Some(&after), Some(5), at(NOW + 99)), after);
}

#[test]
fn each_component_knows_its_revision() {
    let world = both();
    assert_eq!(world.revisions.of(Component::Prometheus(1)), Some(world.revisions.prometheus[1].as_str()));
    assert_eq!(world.revisions.of(Component::Prometheus(2)), None);
    assert_eq!(world.revisions.of(Component::Alertmanager), world.revisions.alertmanager.as_deref());
}

#[test]
fn an_image_that_cannot_be_pulled_hides_nothing_else() {
    let mut world = World::of(json!({"jaeger": {}, "grafana": {"storage": {"size": "1Gi"}}, "alertmanager": {}}));
    let pod_of = |world: &World, name: &str| world.seen.pods.iter().position(|p| p.name == name).unwrap();
    let grafana = pod_of(&world, "main-grafana-0");
    world.seen.pods[grafana].ready = false;
    world.seen.pods[grafana].answer = Answer::NotAsked;
    world.seen.pods[grafana].failing = Some("image r/grafana:12.3.0 cannot be pulled".into());
    let (status, outcome) = world.status();
    let words = "grafana: main-grafana-0: image r/grafana:12.3.0 cannot be pulled";
    assert_eq!(outcome, Outcome::Failing { reason: "ComponentFailing", message: words.into() });
    let message = |name: &str| status.components.iter().find(|c| c.name == name).unwrap().message.clone();
    assert_eq!(message("grafana").as_deref(), Some("main-grafana-0: image r/grafana:12.3.0 cannot be pulled"));
    assert_eq!((message("jaeger"), message("alertmanager")), (None, None));
    // Another one that fails, and a problem, are told besides.
    let jaeger = pod_of(&world, "main-jaeger-0");
    world.seen.pods[jaeger].ready = false;
    world.seen.pods[jaeger].failing = Some("its container keeps ending".into());
    world.problems = vec![Problem { reason: "InvalidDashboard", message: "shop/board has no title".into() }];
    let (status, outcome) = world.status();
    assert!(matches!(outcome, Outcome::Failing { reason: "InvalidDashboard", .. }), "{outcome:?}");
    for words in ["shop/board has no title; jaeger: main-jaeger-0: its container keeps ending; ", words] {
        assert!(outcome.message().contains(words), "{}", outcome.message());
    }
    let dashboards = status.conditions.iter().find(|c| c.type_ == "DashboardsValid").unwrap();
    assert_eq!((dashboards.status.as_str(), dashboards.message.as_str()), ("False", "shop/board has no title"));
}

#[test]
fn a_pod_that_waits_for_its_volume_says_so_in_its_component() {
    let mut world = World::of(json!({"jaeger": {"storage": {"size": "1Gi", "storageClassName": "fast"}}}));
    world.seen.pods[0].ready = false;
    world.seen.pods[0].answer = Answer::NotAsked;
    world.seen.pods[0].unscheduled = Some("pod has unbound immediate PersistentVolumeClaims".into());
    let (status, outcome) = world.status();
    assert!(matches!(outcome, Outcome::Progressing { .. }), "{outcome:?}");
    assert_eq!(
        status.components[0].message.as_deref(),
        Some("0 of 1 pods are ready: no node takes main-jaeger-0: pod has unbound immediate PersistentVolumeClaims")
    );
    assert_eq!(status.components[0].storage, "PersistentVolumeClaim 1Gi (fast), kept for 1w");
}
