# PostgreSQL of Debian, for the tests: see postgres/entry. With a read-only root
# it needs volumes at /data and /tmp.
FROM scratch
COPY root/ /
COPY --chmod=755 entry /entry
COPY --chown=65532:65532 empty /data
ENV PATH=/usr/lib/postgresql/15/bin:/usr/bin:/bin
USER 65532:65532
EXPOSE 5432
VOLUME ["/data", "/tmp"]
# Fast shutdown: the default waits for the clients to leave.
STOPSIGNAL SIGINT
ENTRYPOINT ["/entry"]
