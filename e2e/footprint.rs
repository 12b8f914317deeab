//! Part `stack` of the benchmark: what the whole default stack requests, and what it uses when nothing happens.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::harness::*;
use crate::lab::{LAB, Lab};

/// Between the last component that became ready and the look; the rates look back half of it.
const IDLE: Duration = Duration::from_secs(240);

/// A quantity of Kubernetes as a number.
fn quantity(value: &Value) -> f64 {
    let text = text(value);
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let number: f64 = text[..text.len() - unit.len()].parse().unwrap_or_default();
    let factor = match unit {
        "m" => 1e-3,
        "Ki" => 1024.0,
        "Mi" => 1_048_576.0,
        "Gi" => 1_073_741_824.0,
        _ => 1.0,
    };
    number * factor
}

/// What the containers of each pod use, by a query that yields a sample for each pod.
async fn used(lab: &Lab, promql: String) -> BTreeMap<String, f64> {
    let answer = lab.get("prometheus", 9090, "/api/v1/query", &[("query", promql)]).await.unwrap_or_default();
    let samples = answer["data"]["result"].as_array().cloned().unwrap_or_default();
    let of = |sample: &Value| Some((text(&sample["metric"]["pod"]), sample["value"][1].as_str()?.parse().ok()?));
    samples.iter().filter_map(of).collect()
}

pub async fn run() {
    let lab = Lab::open().await;
    // The shops of the tests are no part of the stack, and an idle stack has nobody to listen to.
    lab.cluster.delete("Namespace", "", crate::lab::SHOP_SPACE).await;
    tokio::time::sleep(IDLE).await;
    let cpu = used(
        &lab,
        format!("sum by (pod) (rate(container_cpu_usage_seconds_total{{namespace=\"{LAB}\",container!=\"\"}}[2m]))"),
    );
    let memory =
        used(&lab, format!("sum by (pod) (container_memory_working_set_bytes{{namespace=\"{LAB}\",container!=\"\"}})"));
    let (cpu, memory) = (cpu.await, memory.await);
    println!("## The default stack, idle\n");
    println!(
        "Every component with its defaults, one replica each, on one node; {} s after the last one became ready, as cAdvisor counts it: CPU over two minutes, memory the working set.\n",
        IDLE.as_secs()
    );
    println!("| component | pods | CPU requested | CPU used | memory requested | memory used |");
    println!("|---|---|---|---|---|---|");
    let mut total = [0.0; 4];
    for component in ["prometheus", "alertmanager", "loki", "jaeger", "grafana", "log-agent", "log-gateway"] {
        let pods = lab.cluster.list("Pod", LAB, &format!("app.kubernetes.io/name={component}")).await;
        let requested = |what: &str| -> f64 {
            let containers = pods.iter().flat_map(|pod| pod["spec"]["containers"].as_array().into_iter().flatten());
            containers.map(|container| quantity(&container["resources"]["requests"][what])).sum()
        };
        let sum = |used: &BTreeMap<String, f64>| -> Option<f64> {
            let found: Vec<f64> =
                pods.iter().filter_map(|pod| used.get(&text(&pod["metadata"]["name"])).copied()).collect();
            (!found.is_empty()).then(|| found.iter().sum())
        };
        let row = [Some(requested("cpu")), sum(&cpu), Some(requested("memory")), sum(&memory)];
        for (total, value) in total.iter_mut().zip(row) {
            *total += value.unwrap_or_default();
        }
        println!("| {component} | {} | {} |", pods.len(), cells(row));
    }
    println!("| all | | {} |", cells(total.map(Some)));
    println!("\nGrafana's image cannot be pulled on the local cluster: what it uses is not known here.");
}

fn cells([cpu, cpu_used, memory, memory_used]: [Option<f64>; 4]) -> String {
    let cores = |cores: Option<f64>| cores.map_or("-".to_owned(), |cores| format!("{:.0}m", cores * 1000.0));
    let bytes = |bytes: Option<f64>| bytes.map_or("-".to_owned(), |bytes| format!("{:.0} MiB", bytes / 1_048_576.0));
    format!("{} | {} | {} | {}", cores(cpu), cores(cpu_used), bytes(memory), bytes(memory_used))
}
