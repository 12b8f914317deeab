# A Rust program of this repository, with the shared libraries that it links and
# nothing else. `e2e/cluster/cluster rust-image NAME:TAG BINARY` lays out root/
# and puts the program's name in.
FROM scratch
COPY root/ /
ENV PATH=/usr/local/bin
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/@BINARY@"]
