//! Loki: the objects that run it. Pure. One program does everything (`-target=all`); several of them share an object store
//! and find each other by name.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{
    ConfigMap, ConfigMapVolumeSource, Container, EnvVar, EnvVarSource, SecretKeySelector, Volume,
};

use super::loki_config::{
    Analytics, Attributes, Cache, ChunkStore, Common, Compactor, Config, EmbeddedCache, Filesystem, Index, Ingester,
    Lifecycler, Limits, Local, Memberlist, Named, Otlp, PatternIngester, Period, QueryRange, ResourceAttributes,
    ResultsCache, RetentionStream, Ring, Ruler, RulerStorage, RulerWal, S3, SchemaConfig, Server, Storage, Wal,
};
use super::{image, pod};
use crate::api::common::SecretKeyRef;
use crate::api::duration::PromDuration;
use crate::api::monitoring_stack::{LokiLimits, LokiSpec, ObjectStore};
use crate::k8s::meta::digest;
use crate::rule::logs::files;
use crate::stack::build::{self, BuildError, Plan};
use crate::stack::names::{self, LOKI};
use crate::stack::validate::Stack;
use crate::stack::validate::loki::Loki;

const CONFIG_DIR: &str = "/etc/loki/config";
const CONFIG_KEY: &str = "loki.yaml";
const DATA_DIR: &str = "/loki";
/// Flags that Evenkeel sets: they may not be in extraArgs. All others win over the configuration.
pub const FLAGS: [&str; 3] = ["config.file", "target", "config.expand-env"];
/// The resource attributes of OTLP that are labels of streams. All else is structured metadata.
const LABELS: [&str; 7] = ["source", "namespace", "workload", "pod", "container", "service.name", "stream"];
/// So often the rules are read anew: the operator waits for it.
const POLL: &str = "2s";
/// Evaluation of rules that do not say it, where no Prometheus says it.
const EVALUATION: PromDuration = PromDuration::from_secs(30);
/// So old a line may be where all are kept for ever.
const OLDEST: PromDuration = PromDuration::from_mins(31 * 24 * 60);

/// Adds the objects of Loki to `plan`.
pub fn build(stack: &Stack, loki: &Loki, plan: &mut Plan) -> Result<(), BuildError> {
    let owner = &stack.owner;
    let text = build::yaml(&config(stack, &loki.spec))?;
    let revision = digest([text.as_str()], 16);
    let manifests = &mut plan.manifests;
    manifests.config_maps.push(ConfigMap {
        metadata: owner.child(names::part_config(&owner.name, LOKI), LOKI),
        data: Some(BTreeMap::from([(CONFIG_KEY.to_owned(), text)])),
        ..ConfigMap::default()
    });
    let name = names::part(&owner.name, LOKI);
    manifests.service_accounts.push(pod::service_account(owner, name.clone(), LOKI));
    let web = ("web", names::LOKI_PORT);
    manifests.services.push(pod::service(owner, name.clone(), LOKI, false, &[web]));
    let headless = names::part_headless(&owner.name, LOKI);
    manifests.services.push(pod::service(owner, headless, LOKI, true, &ports(&loki.spec)));
    manifests.stateful_sets.push(stateful_set(stack, loki, revision));
    if loki.spec.replicas > 1 {
        manifests.pod_disruption_budgets.push(pod::disruption_budget(owner, name, LOKI, &BTreeMap::new()));
    }
    plan.parts.push(stack.part(LOKI, names::LOKI_PORT, &loki.data));
    Ok(())
}

fn ports(spec: &LokiSpec) -> Vec<(&'static str, i32)> {
    let all = [("web", names::LOKI_PORT), ("grpc", names::LOKI_GRPC_PORT), ("memberlist", names::LOKI_MEMBERLIST_PORT)];
    all[..if spec.replicas > 1 { 3 } else { 1 }].to_vec()
}

fn config(stack: &Stack, spec: &LokiSpec) -> Config {
    let data = |name: &str| format!("{DATA_DIR}/{name}");
    let store = spec.object_store.as_ref();
    let object_store = if store.is_some() { "s3" } else { "filesystem" }.to_owned();
    let retains = !spec.retention.is_zero() || !spec.streams.is_empty();
    Config {
        auth_enabled: false,
        server: Server {
            http_listen_port: names::LOKI_PORT,
            grpc_listen_port: names::LOKI_GRPC_PORT,
            log_level: "warn".into(),
            grpc_server_max_recv_msg_size: 64 << 20,
            grpc_server_max_send_msg_size: 64 << 20,
        },
        common: common(spec, data("chunks")),
        memberlist: (spec.replicas > 1).then(|| memberlist(stack)),
        schema_config: SchemaConfig {
            configs: vec![Period {
                // Before the first log that any stack could hold; it may never change.
                from: "2024-01-01".into(),
                store: "tsdb".into(),
                object_store: object_store.clone(),
                schema: "v13".into(),
                index: Index { prefix: "index_".into(), period: "24h".into() },
            }],
        },
        ingester: Ingester {
            lifecycler: lifecycler(),
            chunk_idle_period: "30m".into(),
            max_chunk_age: "2h".into(),
            chunk_encoding: "snappy".into(),
            autoforget_unhealthy: spec.replicas > 1,
            wal: Wal {
                enabled: true,
                dir: data("wal"),
                // What is in the object store is not lost with the pod's own storage.
                flush_on_shutdown: store.is_some(),
                replay_memory_ceiling: "512MB".into(),
            },
        },
        pattern_ingester: PatternIngester { enabled: true, lifecycler: lifecycler() },
        compactor: Compactor {
            working_directory: data("compactor"),
            compaction_interval: "10m".into(),
            retention_enabled: retains,
            retention_delete_delay: "2h".into(),
            delete_request_store: retains.then_some(object_store),
        },
        limits_config: limits(spec),
        query_range: QueryRange { cache_results: true, results_cache: ResultsCache { cache: cache(64, "24h") } },
        chunk_store_config: ChunkStore { chunk_cache_config: cache(128, "1h") },
        ruler: ruler(stack, data("rules-temp"), data("ruler-wal")),
        analytics: Analytics { reporting_enabled: false },
    }
}

/// Ready at once, and gone at once: there is nobody to wait for.
fn lifecycler() -> Lifecycler {
    Lifecycler { min_ready_duration: "0s".into(), final_sleep: "0s".into() }
}

fn cache(max_size_mb: i32, ttl: &str) -> Cache {
    Cache { embedded_cache: EmbeddedCache { enabled: true, max_size_mb, ttl: ttl.into() } }
}

fn common(spec: &LokiSpec, chunks_directory: String) -> Common {
    let several = spec.replicas > 1;
    Common {
        path_prefix: DATA_DIR.into(),
        replication_factor: if several { 3 } else { 1 },
        // Of several each one finds its own at its interface.
        instance_addr: (!several).then(|| "127.0.0.1".to_owned()),
        ring: Ring { kvstore: Named { store: if several { "memberlist" } else { "inmemory" }.into() } },
        storage: match &spec.object_store {
            None => Storage::Filesystem(Filesystem { chunks_directory, rules_directory: files::DIRECTORY.to_owned() }),
            Some(store) => Storage::S3(s3(store)),
        },
    }
}

fn s3(store: &ObjectStore) -> S3 {
    S3 {
        endpoint: store.endpoint.clone(),
        bucketnames: store.bucket.clone(),
        region: store.region.clone(),
        insecure: store.insecure,
        s3forcepathstyle: store.force_path_style,
    }
}

fn memberlist(stack: &Stack) -> Memberlist {
    let owner = &stack.owner;
    let headless = names::part_headless(&owner.name, LOKI);
    Memberlist {
        bind_port: names::LOKI_MEMBERLIST_PORT,
        join_members: vec![format!("{headless}.{}.svc:{}", owner.namespace, names::LOKI_MEMBERLIST_PORT)],
        cluster_label: format!("{}/{}", owner.namespace, owner.name),
    }
}

fn limits(spec: &LokiSpec) -> Limits {
    let LokiLimits { rate_megabytes, burst_megabytes, max_streams, max_line_kilobytes } = spec.limits;
    Limits {
        ingestion_rate_mb: rate_megabytes,
        ingestion_burst_size_mb: burst_megabytes,
        // One pod may use all of it.
        per_stream_rate_limit: format!("{rate_megabytes}MB"),
        per_stream_rate_limit_burst: format!("{burst_megabytes}MB"),
        max_global_streams_per_user: max_streams,
        max_line_size: format!("{max_line_kilobytes}KB"),
        max_line_size_truncate: true,
        reject_old_samples: true,
        reject_old_samples_max_age: if spec.retention.is_zero() { OLDEST } else { spec.retention },
        allow_structured_metadata: true,
        volume_enabled: true,
        discover_service_name: vec![],
        discover_log_levels: true,
        retention_period: spec.retention,
        retention_stream: spec
            .streams
            .iter()
            .map(|stream| RetentionStream {
                selector: stream.selector.trim().to_owned(),
                priority: stream.priority,
                period: stream.retention,
            })
            .collect(),
        otlp_config: Otlp {
            resource_attributes: ResourceAttributes {
                ignore_defaults: true,
                attributes_config: vec![Attributes {
                    action: "index_label".into(),
                    attributes: LABELS.map(str::to_owned).to_vec(),
                }],
            },
        },
    }
}

fn ruler(stack: &Stack, rule_path: String, wal: String) -> Ruler {
    let owner = &stack.owner;
    let alertmanagers = stack.alertmanager.as_ref().map(|alertmanager| {
        // Each replica by its name: every one must hear of every alert.
        let address = |ordinal| {
            let set = names::alertmanager(&owner.name);
            let headless = names::alertmanager_headless(&owner.name);
            let port = names::ALERTMANAGER_PORT;
            format!("http://{}", names::pod_address(&set, ordinal, &headless, &owner.namespace, port))
        };
        (0..alertmanager.spec.replicas).map(address).collect::<Vec<_>>().join(",")
    });
    let prometheus = stack.prometheus.as_ref().map(|prometheus| &prometheus.spec);
    let evaluation = prometheus.map_or(EVALUATION, |p| p.evaluation_interval.unwrap_or(p.scrape_interval));
    Ruler {
        storage: RulerStorage { type_: "local".into(), local: Local { directory: files::DIRECTORY.into() } },
        rule_path,
        wal: RulerWal { dir: wal },
        enable_api: true,
        poll_interval: POLL.into(),
        // Read as Go does, which knows no days.
        evaluation_interval: format!("{}ms", evaluation.0.as_millis()),
        alertmanager_url: alertmanagers,
        enable_alertmanager_v2: true,
        external_labels: prometheus.map(|prometheus| prometheus.external_labels.clone()).unwrap_or_default(),
    }
}

fn stateful_set(stack: &Stack, loki: &Loki, revision: String) -> StatefulSet {
    let (owner, spec) = (&stack.owner, &loki.spec);
    let args = vec![format!("-config.file={CONFIG_DIR}/{CONFIG_KEY}"), "-target=all".to_owned()];
    let mut env = credentials(spec);
    // The compactor makes files there and moves them to its own: on the one volume that can be written.
    env.push(EnvVar { name: "TMPDIR".into(), value: Some(DATA_DIR.into()), ..EnvVar::default() });
    let config = Volume {
        name: "config".into(),
        config_map: Some(ConfigMapVolumeSource {
            name: names::part_config(&owner.name, LOKI),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    };
    let mounts = vec![pod::mount("config", CONFIG_DIR, true), pod::mount("rules", &files::tenant_directory(), true)];
    let name = names::part(&owner.name, LOKI);
    let workload = pod::Workload {
        owner,
        component: LOKI,
        name: name.clone(),
        labels: BTreeMap::new(),
        service_account: name,
        token: false,
        container: Container {
            name: LOKI.into(),
            image: Some(image::of(image::LOKI, image::LOKI_VERSION, spec.version.as_deref(), spec.image.as_deref())),
            args: Some(args),
            env: Some(env),
            ports: Some(ports(spec).into_iter().map(|(name, port)| pod::port(name, port)).collect()),
            // Fifteen minutes to read the write-ahead log.
            startup_probe: Some(pod::probe("/ready", 2, 450)),
            readiness_probe: Some(pod::probe("/ready", 5, 3)),
            // Not /ready: a Loki whose neighbours are away would be ended for it.
            liveness_probe: Some(pod::probe("/loki/api/v1/status/buildinfo", 10, 6)),
            volume_mounts: Some(mounts),
            ..Container::default()
        },
        volumes: vec![config, rules_volume(&owner.name)],
        data: Some((&loki.data, DATA_DIR)),
        user: pod::NOBODY,
        revision: Some(revision),
        grace: 300,
        settings: spec.pod.as_ref(),
    };
    pod::stateful_set(workload, spec.replicas, names::part_headless(&owner.name, LOKI))
}

/// In the environment, where the AWS library looks for them: they would not survive a substitution into YAML whole.
fn credentials(spec: &LokiSpec) -> Vec<EnvVar> {
    let Some(store) = &spec.object_store else { return vec![] };
    let variable = |name: &str, reference: &SecretKeyRef| EnvVar {
        name: name.into(),
        value_from: Some(EnvVarSource {
            secret_key_ref: Some(SecretKeySelector {
                name: reference.name.clone(),
                key: reference.key.clone(),
                optional: None,
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    };
    let id = store.access_key_id_secret_ref.iter().map(|r| variable("AWS_ACCESS_KEY_ID", r));
    let key = store.secret_access_key_secret_ref.iter().map(|r| variable("AWS_SECRET_ACCESS_KEY", r));
    id.chain(key).collect()
}

/// Every file of rules that there can ever be, each optional: a new one needs no restart.
fn rules_volume(stack: &str) -> Volume {
    pod::optional_files(
        "rules",
        (0..files::COUNT).map(|number| (files::config_map_name(stack, number), files::file_name(number))),
    )
}
