//! Loki with an object store: three replicas of it, which keep nothing of their own.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::harness::*;

const SPACE: &str = "e2e-lab-store";

/// An object store that speaks S3, with a bucket `logs`; and a stack that keeps its logs there.
const STORE: &str = "
apiVersion: v1
kind: Secret
metadata: {name: store, namespace: e2e-lab-store}
stringData: {id: e2e-store-user, key: e2e-store-canary-5ecr37}
---
apiVersion: v1
kind: Service
metadata: {name: store, namespace: e2e-lab-store}
spec: {selector: {app: store}, ports: [{port: 7070}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: store, namespace: e2e-lab-store}
spec:
  replicas: 1
  selector: {matchLabels: {app: store}}
  template:
    metadata: {labels: {app: store}}
    spec:
      terminationGracePeriodSeconds: 1
      securityContext: {runAsNonRoot: true, runAsUser: 65532, fsGroup: 65532, seccompProfile: {type: RuntimeDefault}}
      containers:
      - name: store
        image: ghcr.io/versity/versitygw:v1.8.0
        args: ['--port', ':7070', '--health', /healthz, posix, /data]
        env:
        - {name: ROOT_ACCESS_KEY, valueFrom: {secretKeyRef: {name: store, key: id}}}
        - {name: ROOT_SECRET_KEY, valueFrom: {secretKeyRef: {name: store, key: key}}}
        ports: [{containerPort: 7070}]
        readinessProbe: {httpGet: {path: /healthz, port: 7070}, periodSeconds: 1}
        securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
        volumeMounts:
        - {name: data, mountPath: /data}
        - {name: bucket, mountPath: /data/logs}
        - {name: tmp, mountPath: /tmp}
      volumes:
      - {name: data, emptyDir: {}}
      - {name: bucket, emptyDir: {}}
      - {name: tmp, emptyDir: {}}
---
apiVersion: evenkeel.dev/v1alpha1
kind: MonitoringStack
metadata: {name: big, namespace: e2e-lab-store}
spec:
  loki:
    replicas: 3
    objectStore:
      endpoint: http://store.e2e-lab-store.svc:7070
      bucket: logs
      insecure: true
      forcePathStyle: true
      accessKeyIdSecretRef: {name: store, key: id}
      secretAccessKeySecretRef: {name: store, key: key}
    pod: {extraArgs: ['-ingester.chunks-idle-period=2s', '-ingester.flush-check-period=1s']}
";

/// Whether a replica finds the line.
async fn finds(cluster: &Cluster, ip: &str, line: &str, since: Timestamp) -> Option<bool> {
    let query = [
        ("query", "{source=\"e2e\"}".to_owned()),
        ("start", since.as_nanosecond().to_string()),
        ("end", (Timestamp::now() + Duration::from_secs(5)).as_nanosecond().to_string()),
    ];
    let url = format!("http://{ip}:3100/loki/api/v1/query_range");
    let answer: Value = cluster.http.get(url).query(&query).send().await.ok()?.json().await.ok()?;
    Some(answer["data"]["result"].to_string().contains(line))
}

#[tokio::test(flavor = "multi_thread")]
async fn three_replicas_of_loki_share_an_object_store_and_lose_nothing_when_all_their_pods_go() {
    let cluster = Cluster::bare().await;
    let _together = cluster.together().await;
    cluster.fresh_namespace(SPACE).await;
    cluster.apply(STORE).await;
    cluster.rolled_out(SPACE, "store").await;
    let stack = cluster.ready("MonitoringStack", SPACE, "big", Duration::from_secs(180)).await;
    assert!(!stack.to_string().contains("canary"), "the key is in no status");
    let labels = "app.kubernetes.io/name=loki,app.kubernetes.io/instance=big";
    let replicas = cluster.pods(SPACE, labels).await;
    assert_eq!(replicas.len(), 3);
    // What one takes, all find.
    let since = Timestamp::now() - Duration::from_secs(60);
    let line = format!("{:016x}", rand::random::<u64>());
    let entry = json!([Timestamp::now().as_nanosecond().to_string(), line]);
    let body = json!({"streams": [{"stream": {"source": "e2e"}, "values": [entry]}]});
    let url = format!("http://{}:3100/loki/api/v1/push", replicas[0].1);
    let answer = cluster.http.post(url).json(&body).send().await.expect("an answer");
    assert!(answer.status().is_success(), "{:?}", answer.text().await);
    for (pod, ip) in &replicas {
        eventually(&format!("{pod} finds the line"), Duration::from_secs(30), || async {
            finds(&cluster, ip, &line, since).await?.then_some(())
        })
        .await;
    }
    // Nothing of it is left but what is in the store.
    for (pod, ip) in &replicas {
        let flushed = cluster.http.post(format!("http://{ip}:3100/flush")).send().await.expect("an answer");
        assert!(flushed.status().is_success(), "{pod}: {}", flushed.status());
    }
    cluster.delete("StatefulSet", SPACE, "big-loki").await;
    eventually("the old pods are gone, and new ones find the line", Duration::from_secs(240), || async {
        let pods = cluster.pods(SPACE, labels).await;
        let fresh = pods.len() == 3 && pods.iter().all(|(_, ip)| replicas.iter().all(|(_, old)| old != ip));
        if !fresh {
            return None;
        }
        for (_, ip) in &pods {
            finds(&cluster, ip, &line, since).await?.then_some(())?;
        }
        Some(())
    })
    .await;
    cluster.delete("Namespace", "", SPACE).await;
}
