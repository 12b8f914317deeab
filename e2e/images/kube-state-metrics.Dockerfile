# kube-state-metrics, laid out as registry.k8s.io/kube-state-metrics/kube-state-metrics.
FROM scratch
COPY root/etc /etc
COPY root/bin/kube-state-metrics /kube-state-metrics
USER nobody
EXPOSE 8080 8081
ENTRYPOINT ["/kube-state-metrics", "--port=8080", "--telemetry-port=8081"]
