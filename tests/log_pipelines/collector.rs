//! The real Collector with the configuration that a stack makes, in folders and at ports of the test.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use evenkeel::api::MonitoringStack;
use evenkeel::k8s::meta::Owner;
use evenkeel::stack::build::build;
use evenkeel::stack::validate::{Home, Known, Problem, validate};
use serde_json::{Value, json};

/// A stack with these logs: configurations by their files, and what was wrong.
pub fn configs(logs: &Value) -> (Vec<(String, Value)>, Vec<Problem>) {
    let stack: MonitoringStack = serde_json::from_value(json!({
        "apiVersion": "evenkeel.dev/v1alpha1",
        "kind": "MonitoringStack",
        "metadata": {"name": "main", "namespace": "monitoring"},
        "spec": {"discovery": {}, "loki": {}, "jaeger": {}, "logs": logs},
    }))
    .expect("a stack");
    let known = Known::offline();
    let home = Home {
        owner: Owner {
            api_version: "evenkeel.dev/v1alpha1".into(),
            kind: "MonitoringStack".into(),
            namespace: "monitoring".into(),
            name: "main".into(),
            uid: "owner-uid".into(),
        },
        receiver_url: "http://receiver.operator-namespace.svc:8080".into(),
        cluster_role_prefix: "role-prefix".into(),
        rotation: None,
    };
    let (checked, problems) = validate(&stack.spec, home, known).expect("accepted");
    let maps = build(&checked).expect("built").manifests.config_maps;
    let files = maps.into_iter().flat_map(|map| map.data.unwrap_or_default());
    let configs = files.filter(|(file, _)| file.starts_with("log-"));
    (configs.map(|(file, text)| (file, serde_saphyr::from_str(&text).expect("YAML"))).collect(), problems)
}

pub fn config(logs: &Value, file: &str) -> Value {
    let (configs, problems) = configs(logs);
    assert_eq!(problems, []);
    configs.into_iter().find(|(name, _)| name == file).map(|(_, config)| config).expect("a configuration")
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port()
}

/// Every string of a value.
fn strings(value: &mut Value, change: &impl Fn(&str) -> String) {
    match value {
        Value::String(text) => *text = change(text),
        Value::Array(items) => items.iter_mut().for_each(|item| strings(item, change)),
        Value::Object(fields) => fields.values_mut().for_each(|field| strings(field, change)),
        _ => {}
    }
}

pub struct Collector {
    config: PathBuf,
    child: Option<Child>,
    health: u16,
    pub metrics: u16,
    pub folder: PathBuf,
}

impl Collector {
    /// `ports`: what listens at the first listens at the second here.
    pub fn start(folder: &Path, mut config: Value, sink: SocketAddr, ports: &[(u16, u16)]) -> Self {
        let (health, metrics) = (free_port(), free_port());
        let root = folder.to_str().expect("UTF-8");
        strings(&mut config, &|text| {
            let text =
                text.replace("/var/log", &format!("{root}/log")).replace("/var/lib/otelcol", &format!("{root}/data"));
            let moved = ports.iter().find(|(from, _)| text == format!("0.0.0.0:{from}"));
            moved.map_or(text, |(_, to)| format!("127.0.0.1:{to}"))
        });
        config["extensions"]["health_check"]["endpoint"] = json!(format!("127.0.0.1:{health}"));
        let reader = &mut config["service"]["telemetry"]["metrics"]["readers"][0]["pull"]["exporter"]["prometheus"];
        *reader = json!({"host": "127.0.0.1", "port": metrics});
        // There is no API server here; the rest of what is known of a pod is in the path.
        let is_api = |name: &str| name.starts_with("k8s_attributes");
        config["processors"].as_object_mut().expect("a map").retain(|name, _| !is_api(name));
        // Both exporters become HTTP with JSON, which the sink reads.
        let exporters = config["exporters"].take();
        for (name, exporter) in exporters.as_object().expect("a map") {
            let mut exporter = exporter.clone();
            exporter["endpoint"] = json!(format!("http://{sink}/otlp"));
            exporter["encoding"] = json!("json");
            exporter["compression"] = json!("none");
            exporter["retry_on_failure"]["max_interval"] = json!("1s");
            config["exporters"][name.replace("otlp_grpc", "otlp_http")] = exporter;
        }
        for pipeline in config["service"]["pipelines"].as_object_mut().expect("a map").values_mut() {
            pipeline["processors"].as_array_mut().expect("a list").retain(|p| !p.as_str().is_some_and(is_api));
            strings(&mut pipeline["exporters"], &|name| name.replace("otlp_grpc", "otlp_http"));
        }
        let path = folder.join("otelcol.yaml");
        fs::write(&path, config.to_string()).expect("writable");
        let mut collector = Self { config: path, child: None, health, metrics, folder: folder.to_owned() };
        collector.run();
        collector
    }

    pub fn run(&mut self) {
        let log = fs::File::options().create(true).append(true).open(self.folder.join("otelcol.log")).expect("a file");
        let child = Command::new("otelcol")
            .arg(format!("--config={}", self.config.display()))
            .env("NODE_NAME", "node-one")
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|e| panic!("cannot run otelcol ({e}): put it on PATH, `make unit` does so"));
        self.child = Some(child);
        let end = Instant::now() + Duration::from_secs(30);
        while get(self.health, "/").is_none_or(|answer| !answer.contains(" 200 ")) {
            let ended = self.child.as_mut().is_some_and(|child| child.try_wait().expect("a state").is_some());
            let said = || fs::read_to_string(self.folder.join("otelcol.log")).unwrap_or_default();
            assert!(!ended && Instant::now() < end, "otelcol does not start:\n{}", said());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// As the kubelet does it: it may finish.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let done = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kill");
            assert!(done.success());
            child.wait().expect("it ends");
        }
    }

    /// As a node does it that fails.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("killed");
            child.wait().expect("it ends");
        }
    }

    pub fn said(&self) -> String {
        fs::read_to_string(self.folder.join("otelcol.log")).unwrap_or_default()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// A file as the container runtime writes it.
pub struct Pod {
    path: PathBuf,
}

impl Pod {
    pub fn new(folder: &Path, namespace: &str, pod: &str, container: &str) -> Self {
        let folder =
            folder.join(format!("log/pods/{namespace}_{pod}_0a1b2c3d-0000-4000-8000-000000000000/{container}"));
        fs::create_dir_all(&folder).expect("a folder");
        Self { path: folder.join("0.log") }
    }

    pub fn write(&self, text: &str) {
        let mut file = fs::File::options().create(true).append(true).open(&self.path).expect("a file");
        let now = jiff::Timestamp::now();
        let lines: String = text.lines().map(|line| format!("{now:.9} stdout F {line}\n")).collect();
        file.write_all(lines.as_bytes()).expect("written");
    }

    /// As the kubelet does it when a file is large enough.
    pub fn rotate(&self) {
        fs::rename(&self.path, self.path.with_extension("log.20261122-010203")).expect("renamed");
    }
}
