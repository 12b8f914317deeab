# Prometheus, laid out as quay.io/prometheus/prometheus. Its user is a name there,
# too: a pod with runAsNonRoot has to give the number itself.
FROM scratch
COPY root/ /
COPY --chown=65534:65534 prometheus.yml /etc/prometheus/prometheus.yml
COPY --chown=65534:65534 empty /prometheus
WORKDIR /prometheus
USER nobody
EXPOSE 9090
VOLUME ["/prometheus"]
ENTRYPOINT ["/bin/prometheus"]
CMD ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]
