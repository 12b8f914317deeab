# node-exporter, laid out as quay.io/prometheus/node-exporter.
FROM scratch
COPY root/ /
USER nobody
EXPOSE 9100
ENTRYPOINT ["/bin/node_exporter"]
