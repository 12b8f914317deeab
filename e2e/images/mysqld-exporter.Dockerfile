# mysqld_exporter of Debian, laid out as quay.io/prometheus/mysqld-exporter.
FROM scratch
COPY root/ /
COPY root/usr/bin/prometheus-mysqld-exporter /bin/mysqld_exporter
USER nobody
EXPOSE 9104
ENTRYPOINT ["/bin/mysqld_exporter"]
