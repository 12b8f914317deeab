# CoreDNS, laid out as registry.k8s.io/coredns/coredns.
FROM scratch
COPY root/etc /etc
COPY root/bin/coredns /coredns
USER nonroot:nonroot
WORKDIR /
EXPOSE 53 53/udp
ENTRYPOINT ["/coredns"]
