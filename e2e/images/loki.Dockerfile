# Loki, laid out as docker.io/grafana/loki, but without a shell.
FROM scratch
COPY root/etc /etc
COPY root/tmp /tmp
COPY root/bin/loki /usr/bin/loki
COPY --chown=10001:10001 local-config.yaml /etc/loki/local-config.yaml
COPY --chown=10001:10001 empty /loki
USER 10001
EXPOSE 3100
ENTRYPOINT ["/usr/bin/loki"]
CMD ["-config.file=/etc/loki/local-config.yaml"]
