# The process that holds a pod's namespaces, in place of registry.k8s.io/pause.
FROM scratch
COPY root/bin/pause /pause
USER 65535:65535
ENTRYPOINT ["/pause"]
