//! The real Prometheus over a folder of blocks, and the counters that it scrapes.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::history::{SCRAPE, counter};
use super::service;

/// Ends with the value.
pub struct Prometheus {
    process: Child,
    url: String,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Prometheus {
    /// `folder` has `data` and `rules`; `target` is scraped. Blocks stay as they are: merging them is no cost of rules.
    pub async fn start(folder: &Path, target: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("a port").port();
        let config = folder.join("prometheus.yml");
        let text = format!(
            "global: {{scrape_interval: {SCRAPE}s}}\nrule_files: ['{}/rules/*.yaml']\nscrape_configs:\n- job_name: bench\n  honor_labels: true\n  \
             static_configs: [{{targets: ['{target}']}}]\n  metric_relabel_configs: [{{action: labeldrop, regex: instance}}]\n",
            folder.display()
        );
        fs::write(&config, text).expect("a configuration");
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args(["--storage.tsdb.retention.time=1y", "--log.level=error"])
            .args(["--storage.tsdb.min-block-duration=2h", "--storage.tsdb.max-block-duration=2h"])
            .arg("--no-storage.tsdb.allow-overlapping-compaction")
            .stderr(Stdio::inherit())
            .spawn()
            .expect("prometheus is on PATH (make bench puts it there)");
        let mut started = Self { process, url: format!("http://127.0.0.1:{port}") };
        for _ in 0..300 {
            let ready = reqwest::get(format!("{}/-/ready", started.url)).await;
            if ready.is_ok_and(|answer| answer.status().is_success()) {
                return started;
            }
            let ended = started.process.try_wait().expect("a child");
            assert!(ended.is_none(), "prometheus ended: {ended:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        panic!("Prometheus does not become ready")
    }

    /// Sum of all series of a metric of its own.
    pub async fn own(&self, metric: &str) -> f64 {
        let text = reqwest::get(format!("{}/metrics", self.url)).await.expect("metrics").text().await.expect("metrics");
        let values = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(metric)?;
            (rest.starts_with('{') || rest.starts_with(' ')).then(|| rest.rsplit(' ').next()?.parse::<f64>().ok())?
        });
        values.sum()
    }
}

/// Serves the present values of all counters, until the program ends.
pub async fn serve_counters(slos: usize) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    tokio::spawn(async move {
        loop {
            let Ok((mut stream, _)) = listener.accept().await else { continue };
            // One request a connection, whatever it asks for.
            let _ = stream.read(&mut [0; 4096]).await;
            let body = counters(slos, jiff::Timestamp::now().as_second());
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.write_all(body.as_bytes()).await;
        }
    });
    address
}

fn counters(slos: usize, second: i64) -> String {
    let both = (0..slos).flat_map(|number| [(number, "200", false), (number, "500", true)]);
    let line = |(number, code, failed): (usize, &str, bool)| {
        let value = counter(number, failed, second);
        format!("http_requests_total{{code=\"{code}\",job=\"{}\"}} {value}\n", service(number))
    };
    both.map(line).collect()
}
