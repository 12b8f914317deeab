//! Exporters of databases and the like, one for each entry of the spec: the objects that run them. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource, SecretKeySelector, Volume};

use super::exporters::part;
use super::{image, pod};
use crate::api::common::SecretKeyRef;
use crate::api::monitoring_stack::{Exporter, KafkaTarget, MysqlTarget, PostgresTarget, RedisTarget, SaslMechanism};
use crate::notify::receivers::relative;
use crate::stack::build::Plan;
use crate::stack::names;
use crate::stack::validate::Stack;
use crate::stack::validate::exporters::Exporters;

const SECRETS_DIR: &str = "/etc/exporter/secrets";

/// A program that measures one target.
#[derive(Debug)]
pub struct Kind {
    pub component: &'static str,
    /// The label `job` of the series.
    pub job: &'static str,
    pub port: i32,
    health: &'static str,
    image: (&'static str, &'static str),
    /// Flags that Evenkeel sets: they may not be in extraArgs.
    pub flags: &'static [&'static str],
}

pub const POSTGRES: Kind = Kind {
    component: names::POSTGRES_EXPORTER,
    job: "postgres",
    port: 9187,
    health: "/",
    image: (image::POSTGRES_EXPORTER, image::POSTGRES_EXPORTER_VERSION),
    flags: &["web.listen-address", "web.telemetry-path", "web.config.file"],
};
pub const MYSQL: Kind = Kind {
    component: names::MYSQL_EXPORTER,
    job: "mysql",
    port: 9104,
    health: "/",
    image: (image::MYSQL_EXPORTER, image::MYSQL_EXPORTER_VERSION),
    flags: &[
        "config.my-cnf",
        "mysqld.address",
        "mysqld.username",
        "web.listen-address",
        "web.telemetry-path",
        "web.config.file",
    ],
};
pub const REDIS: Kind = Kind {
    component: names::REDIS_EXPORTER,
    job: "redis",
    port: 9121,
    health: "/health",
    image: (image::REDIS_EXPORTER, image::REDIS_EXPORTER_VERSION),
    flags: &[
        "redis.addr",
        "redis.user",
        "redis.password",
        "redis.password-file",
        "web.listen-address",
        "web.telemetry-path",
        "tls-server-cert-file",
    ],
};
pub const KAFKA: Kind = Kind {
    component: names::KAFKA_EXPORTER,
    job: "kafka",
    port: 9308,
    health: "/healthz",
    image: (image::KAFKA_EXPORTER, image::KAFKA_EXPORTER_VERSION),
    flags: &[
        "kafka.server",
        "sasl.enabled",
        "sasl.username",
        "sasl.password",
        "sasl.mechanism",
        "tls.enabled",
        "tls.ca-file",
        "tls.cert-file",
        "tls.key-file",
        "tls.insecure-skip-tls-verify",
        "web.listen-address",
        "web.telemetry-path",
        "server.tls.enabled",
    ],
};

/// The exporter of one entry.
#[derive(Debug)]
pub struct Target<'a> {
    pub kind: &'static Kind,
    pub name: &'a str,
    /// Extra labels of its series.
    pub labels: &'a BTreeMap<String, String>,
    exporter: Option<&'a Exporter>,
    args: Vec<String>,
    env: Vec<EnvVar>,
    /// What it reads from files.
    files: Vec<&'a SecretKeyRef>,
}

/// All of them, in the order of the spec.
pub fn targets(exporters: &Exporters) -> Vec<Target<'_>> {
    let spec = &exporters.spec;
    let postgres = spec.postgres.iter().map(postgres);
    let mysql = spec.mysql.iter().map(mysql);
    let redis = spec.redis.iter().map(redis);
    postgres.chain(mysql).chain(redis).chain(spec.kafka.iter().map(kafka)).collect()
}

fn postgres(target: &PostgresTarget) -> Target<'_> {
    let PostgresTarget { name, dsn_secret_ref, labels, exporter } = target;
    let env = vec![secret("DATA_SOURCE_NAME", dsn_secret_ref)];
    Target { kind: &POSTGRES, name, labels, exporter: exporter.as_ref(), args: vec![], env, files: vec![] }
}

fn mysql(target: &MysqlTarget) -> Target<'_> {
    let MysqlTarget { name, address, username, password_secret_ref, config_secret_ref, labels, exporter } = target;
    let flag = |name: &str, value: &Option<String>| value.as_ref().map(|value| format!("--{name}={}", literal(value)));
    let mut args: Vec<String> = flag("mysqld.address", address).into_iter().collect();
    args.extend(flag("mysqld.username", username));
    args.extend(config_secret_ref.iter().map(|reference| format!("--config.my-cnf={}", file(reference))));
    let env = password_secret_ref.iter().map(|reference| secret("MYSQLD_EXPORTER_PASSWORD", reference)).collect();
    let files = config_secret_ref.iter().collect();
    Target { kind: &MYSQL, name, labels, exporter: exporter.as_ref(), args, env, files }
}

fn redis(target: &RedisTarget) -> Target<'_> {
    let RedisTarget { name, address, username, password_secret_ref, labels, exporter } = target;
    let mut env = vec![value("REDIS_ADDR", address)];
    env.extend(username.iter().map(|username| value("REDIS_USER", username)));
    env.extend(password_secret_ref.iter().map(|reference| secret("REDIS_PASSWORD", reference)));
    Target { kind: &REDIS, name, labels, exporter: exporter.as_ref(), args: vec![], env, files: vec![] }
}

fn kafka(target: &KafkaTarget) -> Target<'_> {
    let KafkaTarget { name, brokers, sasl, tls, labels, exporter } = target;
    let mut args: Vec<String> = brokers.iter().map(|broker| format!("--kafka.server={}", literal(broker))).collect();
    let (mut env, mut files) = (vec![], vec![]);
    if let Some(sasl) = sasl {
        let mechanism = match sasl.mechanism {
            SaslMechanism::Plain => "plain",
            SaslMechanism::ScramSha256 => "scram-sha256",
            SaslMechanism::ScramSha512 => "scram-sha512",
        };
        // It takes the password by a flag only. Kubernetes puts it there as the container starts.
        env.push(secret("KAFKA_PASSWORD", &sasl.password_secret_ref));
        args.extend([
            "--sasl.enabled".to_owned(),
            format!("--sasl.mechanism={mechanism}"),
            format!("--sasl.username={}", literal(&sasl.username)),
            "--sasl.password=$(KAFKA_PASSWORD)".to_owned(),
        ]);
    }
    if let Some(tls) = tls {
        args.push("--tls.enabled".to_owned());
        let named = [
            ("tls.ca-file", &tls.ca_secret_ref),
            ("tls.cert-file", &tls.cert_secret_ref),
            ("tls.key-file", &tls.key_secret_ref),
        ];
        for (flag, reference) in named.into_iter().filter_map(|(flag, reference)| Some((flag, reference.as_ref()?))) {
            args.push(format!("--{flag}={}", file(reference)));
            files.push(reference);
        }
        args.extend(tls.insecure_skip_verify.then(|| "--tls.insecure-skip-tls-verify".to_owned()));
    }
    Target { kind: &KAFKA, name, labels, exporter: exporter.as_ref(), args, env, files }
}

/// Adds the objects of all of them to `plan`.
pub fn build(stack: &Stack, exporters: &Exporters, plan: &mut Plan) {
    let owner = &stack.owner;
    for target in targets(exporters) {
        let component = target.kind.component;
        if plan.parts.iter().all(|part| part.name != component) {
            let account = pod::service_account(owner, names::part(&owner.name, component), component);
            plan.manifests.service_accounts.push(account);
            plan.parts.push(part(component, String::new()));
        }
        let own = labels(&target);
        let name = names::exporter(&owner.name, component, target.name);
        let mut service = pod::service(owner, name, component, false, &[("web", target.kind.port)]);
        service.metadata.labels.get_or_insert_default().extend(own.clone());
        service.spec.get_or_insert_default().selector.get_or_insert_default().extend(own);
        plan.manifests.services.push(service);
        let program = target.exporter.cloned().unwrap_or_default();
        let settings = exporters.settings(&program);
        let (repository, version) = target.kind.image;
        let secrets = pod::secrets_volume("secrets", target.files.iter().copied());
        plan.manifests.deployments.push(pod::deployment(pod::Workload {
            owner,
            component,
            name: names::exporter(&owner.name, component, target.name),
            labels: labels(&target),
            service_account: names::part(&owner.name, component),
            token: false,
            container: Container {
                name: component.into(),
                image: Some(image::of(repository, version, program.version.as_deref(), program.image.as_deref())),
                args: Some(target.args).filter(|args| !args.is_empty()),
                env: Some(target.env).filter(|env| !env.is_empty()),
                ports: Some(vec![pod::port("web", target.kind.port)]),
                readiness_probe: Some(pod::probe(target.kind.health, 10, 3)),
                liveness_probe: Some(pod::probe(target.kind.health, 10, 6)),
                termination_message_policy: Some(pod::LAST_WORDS.into()),
                volume_mounts: secrets.as_ref().map(|volume| vec![pod::mount(&volume.name, SECRETS_DIR, true)]),
                ..Container::default()
            },
            volumes: secrets.into_iter().collect::<Vec<Volume>>(),
            data: None,
            user: pod::NOBODY,
            revision: None,
            grace: 10,
            settings: Some(&settings),
        }));
    }
}

fn labels(target: &Target) -> BTreeMap<String, String> {
    BTreeMap::from([(names::TARGET.to_owned(), target.name.to_owned())])
}

/// Where Prometheus scrapes the exporter of `target`.
pub fn address(stack: &Stack, target: &Target) -> String {
    let owner = &stack.owner;
    let service = names::exporter(&owner.name, target.kind.component, target.name);
    format!("{service}.{}.svc:{}", owner.namespace, target.kind.port)
}

fn secret(name: &str, reference: &SecretKeyRef) -> EnvVar {
    EnvVar {
        name: name.into(),
        value_from: Some(EnvVarSource {
            secret_key_ref: Some(SecretKeySelector {
                name: reference.name.clone(),
                key: reference.key.clone(),
                // Without it the pod waits, and says so.
                optional: Some(false),
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    }
}

fn value(name: &str, value: &str) -> EnvVar {
    EnvVar { name: name.into(), value: Some(literal(value)), ..EnvVar::default() }
}

fn file(reference: &SecretKeyRef) -> String {
    format!("{SECRETS_DIR}/{}", relative(reference))
}

/// As Kubernetes hands it on: `$(NAME)` would be a variable.
fn literal(text: &str) -> String {
    text.replace("$(", "$$(")
}
