# versitygw, laid out as ghcr.io/versity/versitygw. Its entry point there is a
# script that passes arguments on.
FROM scratch
COPY root/etc /etc
COPY root/tmp /tmp
COPY root/bin/versitygw /usr/local/bin/versitygw
EXPOSE 7070
ENTRYPOINT ["/usr/local/bin/versitygw"]
