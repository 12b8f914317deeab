# The Collector, laid out as docker.io/otel/opentelemetry-collector-contrib, with
# the components that tools/telemetry/otelcol names.
FROM scratch
COPY root/etc /etc
COPY root/bin/otelcol /otelcol-contrib
COPY config.yaml /etc/otelcol-contrib/config.yaml
USER 10001:10001
EXPOSE 4317 4318
ENTRYPOINT ["/otelcol-contrib"]
CMD ["--config", "/etc/otelcol-contrib/config.yaml"]
