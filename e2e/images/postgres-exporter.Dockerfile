# postgres_exporter of Debian, laid out as quay.io/prometheuscommunity/postgres-exporter.
FROM scratch
COPY root/ /
COPY root/usr/bin/prometheus-postgres-exporter /bin/postgres_exporter
USER nobody
EXPOSE 9187
ENTRYPOINT ["/bin/postgres_exporter"]
