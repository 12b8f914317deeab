# The blackbox exporter, laid out as quay.io/prometheus/blackbox-exporter, which
# has no user of its own.
FROM scratch
COPY root/ /
COPY config.yml /etc/blackbox_exporter/config.yml
EXPOSE 9115
ENTRYPOINT ["/bin/blackbox_exporter"]
CMD ["--config.file=/etc/blackbox_exporter/config.yml"]
