//! The chart, rendered by the real helm: what it installs is restricted, and asks for no right by wildcard.

use std::process::{Command, Output};

use serde_json::{Value, json};

fn helm(arguments: &[&str]) -> Output {
    Command::new("helm").args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap_or_else(|e| {
        panic!("helm: {e}. It must be on PATH: PATH=$(e2e/cluster/cluster bin):$PATH, or `make unit`")
    })
}

fn template(settings: &[&str]) -> Output {
    let mut arguments = vec!["template", "release", "charts/evenkeel", "--namespace", "home"];
    settings.iter().for_each(|setting| arguments.extend(["--set-json", setting]));
    helm(&arguments)
}

fn rendered(settings: &[&str]) -> Vec<Value> {
    let output = template(settings);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    documents.into_iter().filter(|document| !document.is_null()).collect()
}

fn of_kind<'a>(documents: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    documents.iter().filter(move |document| document["kind"] == kind)
}

fn names(documents: &[Value], kind: &str) -> Vec<String> {
    of_kind(documents, kind).map(|document| document["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

fn everything_on() -> Vec<Value> {
    rendered(&["responder.namespaces=[\"shop\"]", "responder.allNamespaces=true"])
}

fn strings(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().map(|item| item.as_str().unwrap()).collect()
}

#[test]
fn helm_lint_has_nothing_to_say() {
    let output = helm(&["lint", "--strict", "charts/evenkeel"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn an_unknown_value_is_refused_by_name() {
    for (setting, name) in [("replicaz=3", "replicaz"), ("crds={\"instal\": true}", "instal")] {
        let output = template(&[setting]);
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && words.contains(name), "{setting}: {words}");
    }
}

#[test]
fn no_role_holds_a_wildcard() {
    let documents = everything_on();
    let roles: Vec<_> = of_kind(&documents, "ClusterRole").chain(of_kind(&documents, "Role")).collect();
    assert!(roles.len() >= 7, "only {} roles were rendered", roles.len());
    for role in roles {
        for rule in role["rules"].as_array().unwrap() {
            for field in ["apiGroups", "resources", "verbs", "resourceNames", "nonResourceURLs"] {
                let wild = strings(&rule[field]).into_iter().find(|value| value.contains('*'));
                assert_eq!(wild, None, "{} in {rule}", role["metadata"]["name"]);
            }
        }
    }
}

#[test]
fn the_operator_binds_and_escalates_nothing_but_the_roles_of_stacks() {
    let documents = everything_on();
    let operator = of_kind(&documents, "ClusterRole").find(|r| r["metadata"]["name"] == "release-evenkeel").unwrap();
    for rule in operator["rules"].as_array().unwrap() {
        let verbs = strings(&rule["verbs"]);
        assert!(!verbs.contains(&"escalate") && !verbs.contains(&"impersonate"), "{rule}");
        if verbs.contains(&"bind") {
            assert_eq!(
                strings(&rule["resourceNames"]),
                [
                    "release-evenkeel-discovery",
                    "release-evenkeel-nodes",
                    "release-evenkeel-collector",
                    "release-evenkeel-kube-state"
                ]
            );
        }
    }
}

#[test]
fn it_may_act_as_a_service_account_only_where_that_was_asked_for() {
    let bound = |settings: &[&str]| -> Vec<Value> {
        let documents = rendered(settings);
        documents.into_iter().filter(|d| d["roleRef"]["name"] == "release-evenkeel-responder").collect()
    };
    assert_eq!(bound(&[]), Vec::<Value>::new());
    let in_shop = bound(&["responder.namespaces=[\"shop\"]"]);
    assert_eq!(in_shop.len(), 1);
    assert_eq!((&in_shop[0]["kind"], &in_shop[0]["metadata"]["namespace"]), (&json!("RoleBinding"), &json!("shop")));
    let everywhere = bound(&["responder.allNamespaces=true"]);
    assert_eq!(everywhere[0]["kind"], "ClusterRoleBinding");
    assert_eq!(
        everywhere[0]["subjects"][0],
        json!({"kind": "ServiceAccount", "name": "release-evenkeel", "namespace": "home"})
    );
}

/// The one policy and its binding.
fn freeze_policy(settings: &[&str]) -> (Value, Value) {
    let documents = rendered(settings);
    let only = |kind: &str| of_kind(&documents, kind).next().unwrap_or_else(|| panic!("a {kind}")).clone();
    (only("ValidatingAdmissionPolicy"), only("ValidatingAdmissionPolicyBinding"))
}

#[test]
fn a_freeze_covers_creation_and_change_of_every_kind_that_a_changefreeze_can_name() {
    let (policy, binding) = freeze_policy(&[]);
    // Else each start of an API server, which does not know the kind at first, would refuse all workloads everywhere.
    assert_eq!(policy["spec"]["failurePolicy"], "Ignore");
    let rule = &policy["spec"]["matchConstraints"]["resourceRules"][0];
    assert_eq!(strings(&rule["operations"]), ["CREATE", "UPDATE"]);
    assert_eq!(strings(&rule["resources"]), ["deployments", "statefulsets", "daemonsets"]);
    assert_eq!(policy["spec"]["paramKind"], json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": "ChangeFreeze"}));
    assert_eq!(binding["spec"]["policyName"], policy["metadata"]["name"]);
    // Every freeze of the namespace counts, and a namespace without one is free.
    assert_eq!(binding["spec"]["paramRef"], json!({"selector": {}, "parameterNotFoundAction": "Allow"}));
    assert_eq!(strings(&binding["spec"]["validationActions"]), ["Deny", "Audit"]);
}

#[test]
fn what_mends_a_freeze_is_not_frozen() {
    let exempt = |settings: &[&str]| {
        let (policy, _) = freeze_policy(settings);
        let of_namespace = &policy["spec"]["matchConstraints"]["namespaceSelector"]["matchExpressions"][0];
        assert_eq!(of_namespace["operator"], "NotIn");
        strings(&of_namespace["values"]).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(exempt(&[]), ["kube-system", "home"]);
    assert_eq!(
        exempt(&["changeFreezes.exemptNamespaces=[\"flux-system\", \"home\"]"]),
        ["kube-system", "home", "flux-system"]
    );
    let (policy, _) = freeze_policy(&[]);
    let conditions = policy["spec"]["matchConditions"].to_string();
    assert!(conditions.contains("'system:serviceaccount:home:release-evenkeel'"), "{conditions}");
    assert!(conditions.contains("'evenkeel.dev/run' in request.userInfo"), "{conditions}");
}

#[test]
fn a_restart_by_kubectl_or_by_a_response_is_no_change() {
    let restarts = |settings: &[&str]| {
        let (policy, _) = freeze_policy(settings);
        let variables = policy["spec"]["variables"].as_array().unwrap();
        variables.iter().find(|variable| variable["name"] == "restarts").unwrap()["expression"].clone()
    };
    assert_eq!(restarts(&[]), format!("['{}']", evenkeel::k8s::workload::RESTARTED_AT));
    assert_eq!(restarts(&["changeFreezes.restartAnnotations=[]"]), "[]");
    let output = template(&["changeFreezes.restartAnnotations=[\"it's\"]"]);
    assert!(!output.status.success(), "a name that would end the string of the expression");
}

#[test]
fn the_break_glass_does_not_break_itself() {
    let (policy, _) = freeze_policy(&[]);
    let spec = &policy["spec"];
    // The API server has no `authorizer` there: the error would refuse whoever may bypass.
    let without = [spec["variables"].to_string(), spec["auditAnnotations"].to_string()];
    assert!(without.iter().all(|text| !text.contains("authorizer")), "{without:?}");
    let validations = spec["validations"].as_array().unwrap();
    for validation in validations {
        assert!(!validation["messageExpression"].as_str().unwrap().contains("authorizer"), "{validation}");
        assert_eq!(validation["reason"], "Forbidden");
    }
    assert!(validations[1]["expression"].as_str().unwrap().contains("check('bypass')"));
}

#[test]
fn who_may_bypass_a_freeze_and_who_may_be_a_run_is_said_by_nobody_but_an_administrator() {
    let documents = everything_on();
    let bindings = |role: &str| -> Vec<Value> {
        documents.iter().filter(|document| document["roleRef"]["name"] == role).cloned().collect()
    };
    assert_eq!(bindings("release-evenkeel-freeze-bypass"), Vec::<Value>::new());
    let operator = json!([{"kind": "ServiceAccount", "name": "release-evenkeel", "namespace": "home"}]);
    let runs = bindings("release-evenkeel-run");
    assert_eq!((runs.len(), &runs[0]["subjects"]), (1, &operator));
    let holders = |verb: &str, resource: &str| -> Vec<String> {
        let holds =
            |rule: &Value| strings(&rule["verbs"]).contains(&verb) && strings(&rule["resources"]).contains(&resource);
        let roles = of_kind(&documents, "ClusterRole");
        let roles = roles.filter(|role| role["rules"].as_array().unwrap().iter().any(holds));
        roles.map(|role| role["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(holders("bypass", "changefreezes"), ["release-evenkeel-freeze-bypass"]);
    assert_eq!(holders("impersonate", "userextras/evenkeel.dev/run"), ["release-evenkeel-run"]);
}

#[test]
fn freezes_can_be_turned_off() {
    let documents = rendered(&["changeFreezes.enabled=false"]);
    for kind in ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"] {
        assert_eq!(names(&documents, kind), Vec::<String>::new());
    }
    assert!(!names(&documents, "ClusterRole").iter().any(|name| name.ends_with("-freeze-bypass")));
    // The operator knows, so that no freeze pretends to be in force.
    let exempt = |documents: &[Value]| {
        let deployment = of_kind(documents, "Deployment").next().unwrap();
        let env = deployment["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap();
        env.iter().find(|variable| variable["name"] == "EVENKEEL_FREEZE_EXEMPT_NAMESPACES").unwrap()["value"].clone()
    };
    assert_eq!(exempt(&documents), "*");
    assert_eq!(exempt(&rendered(&["changeFreezes.exemptNamespaces=[\"flux\"]"])), "kube-system,flux");
    let (policy, _) = freeze_policy(&["changeFreezes.failurePolicy=\"Fail\""]);
    assert_eq!(policy["spec"]["failurePolicy"], "Fail");
    assert!(!template(&["changeFreezes.failurePolicy=\"Perhaps\""]).status.success());
}

#[test]
fn every_pod_satisfies_the_restricted_pod_security_standard() {
    let documents = everything_on();
    let workloads: Vec<_> = documents.iter().filter(|d| !d["spec"]["template"]["spec"].is_null()).collect();
    assert!(!workloads.is_empty());
    for workload in workloads {
        let pod = &workload["spec"]["template"]["spec"];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        for field in ["hostNetwork", "hostPID", "hostIPC", "volumes"] {
            assert!(pod[field].is_null(), "{field} is set");
        }
        let containers = [&pod["containers"], &pod["initContainers"]];
        for container in containers.into_iter().flat_map(|list| list.as_array().into_iter().flatten()) {
            let security = &container["securityContext"];
            assert_eq!(security["allowPrivilegeEscalation"], false, "{container}");
            assert_eq!(security["readOnlyRootFilesystem"], true, "{container}");
            assert_eq!(security["capabilities"], json!({"drop": ["ALL"]}), "{container}");
            assert!(!container["resources"]["limits"]["memory"].is_null(), "{container}");
        }
    }
}

#[test]
fn the_crds_are_those_of_the_types_and_are_kept_when_the_release_goes() {
    let documents = rendered(&[]);
    let mut wanted: Vec<_> = evenkeel::api::crds().into_iter().map(|crd| serde_json::to_value(crd).unwrap()).collect();
    wanted.sort_by_key(|crd| crd["metadata"]["name"].to_string());
    let mut found: Vec<_> = of_kind(&documents, "CustomResourceDefinition").collect();
    found.sort_by_key(|crd| crd["metadata"]["name"].to_string());
    assert_eq!(found.len(), wanted.len());
    for (found, wanted) in found.into_iter().zip(&wanted) {
        assert_eq!(found["metadata"]["name"], wanted["metadata"]["name"]);
        assert_eq!(found["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
        // helm's YAML knows one kind of number: compare by value.
        assert_eq!(with_floats(&found["spec"]), with_floats(&wanted["spec"]), "{}", found["metadata"]["name"]);
    }
}

fn with_floats(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(items) => items.iter().map(with_floats).collect(),
        Value::Object(fields) => fields.iter().map(|(key, value)| (key.clone(), with_floats(value))).collect(),
        other => other.clone(),
    }
}

#[test]
fn crds_can_be_left_out_or_left_unkept() {
    let kind = "CustomResourceDefinition";
    assert_eq!(names(&rendered(&["crds.enabled=false"]), kind), Vec::<String>::new());
    let documents = rendered(&["crds.keep=false"]);
    assert!(of_kind(&documents, kind).all(|crd| crd["metadata"]["annotations"].is_null()));
}

#[test]
fn alertmanagers_are_told_the_address_of_the_service() {
    let documents = rendered(&[]);
    let service = &names(&documents, "Service")[0];
    let deployment = of_kind(&documents, "Deployment").next().unwrap();
    let env = deployment["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap();
    let receiver = env.iter().find(|variable| variable["name"] == "EVENKEEL_RECEIVER_URL").unwrap();
    assert_eq!(receiver["value"], format!("http://{service}.home.svc:8080"));
}

#[test]
fn the_storm_brake_is_set_by_the_chart_and_a_share_that_is_none_is_refused() {
    let variable = |settings: &[&str], name: &str| {
        let documents = rendered(settings);
        let deployment = of_kind(&documents, "Deployment").next().unwrap();
        let variables = deployment["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap().clone();
        variables.iter().find(|variable| variable["name"] == name).unwrap()["value"].clone()
    };
    let [runs, within, share] = ["RUNS", "WITHIN", "NAMESPACE_SHARE"].map(|name| format!("EVENKEEL_STORM_{name}"));
    assert_eq!([&runs, &within, &share].map(|name| variable(&[], name)), ["20", "10m", "50%"]);
    assert_eq!(variable(&["responses.storm.runs=5000"], &runs), "5000");
    for wrong in ["runs=0", "within=soon", "namespaceShare=150%"] {
        let wrong = format!("responses.storm.{wrong}");
        assert!(!template(&[&wrong]).status.success(), "{wrong}");
    }
}

#[test]
fn one_replica_has_no_disruption_budget_that_would_block_a_drain() {
    assert_eq!(names(&rendered(&["replicas=1"]), "PodDisruptionBudget"), Vec::<String>::new());
    assert_eq!(names(&rendered(&[]), "PodDisruptionBudget"), ["release-evenkeel"]);
}

#[test]
fn every_variable_that_the_chart_sets_is_one_that_the_operator_reads() {
    let help = Command::new(env!("CARGO_BIN_EXE_evenkeel")).args(["run", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let documents = rendered(&[]);
    let deployment = of_kind(&documents, "Deployment").next().unwrap();
    let variables = deployment["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap();
    assert!(variables.len() >= 8, "{variables:?}");
    for variable in variables {
        let name = variable["name"].as_str().unwrap();
        assert!(help.contains(&format!("[env: {name}=")), "{name} is not in:\n{help}");
    }
}
