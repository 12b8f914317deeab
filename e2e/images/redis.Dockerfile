# Redis of Debian, for the tests. It keeps nothing; arguments are settings.
FROM scratch
COPY root/ /
COPY --chown=65532:65532 empty /data
USER 65532:65532
WORKDIR /data
EXPOSE 6379
ENTRYPOINT ["/usr/bin/redis-server", "--bind", "0.0.0.0", "--protected-mode", "no", "--save", "", "--dir", "/data"]
