# redis_exporter of Debian, laid out as docker.io/oliver006/redis_exporter.
FROM scratch
COPY root/ /
COPY root/usr/bin/prometheus-redis-exporter /redis_exporter
USER 59000:59000
EXPOSE 9121
ENTRYPOINT ["/redis_exporter"]
