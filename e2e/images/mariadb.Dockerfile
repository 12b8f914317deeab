# MariaDB of Debian, for the tests: see mariadb/entry. With a read-only root it
# needs volumes at /data and /tmp.
FROM scratch
COPY root/ /
COPY --chmod=755 entry /entry
COPY --chown=65532:65532 empty /data
ENV PATH=/usr/sbin:/usr/bin:/bin
USER 65532:65532
EXPOSE 3306
VOLUME ["/data", "/tmp"]
ENTRYPOINT ["/entry"]
