# Alertmanager, laid out as quay.io/prometheus/alertmanager.
FROM scratch
COPY root/ /
COPY --chown=65534:65534 alertmanager.yml /etc/alertmanager/alertmanager.yml
COPY --chown=65534:65534 empty /alertmanager
WORKDIR /alertmanager
USER nobody
EXPOSE 9093
VOLUME ["/alertmanager"]
ENTRYPOINT ["/bin/alertmanager"]
CMD ["--config.file=/etc/alertmanager/alertmanager.yml", "--storage.path=/alertmanager"]
