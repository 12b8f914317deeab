# The image that the chart runs. (The local cluster builds its own from the binary at hand: e2e/images.)
FROM docker.io/library/rust:1.95-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock rustfmt.toml ./
COPY src src
COPY examples/shop examples/shop
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin evenkeel && cp target/release/evenkeel /evenkeel

# The C library, CA certificates, a user that is not root, and no shell.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /evenkeel /usr/local/bin/evenkeel
USER 65532:65532
EXPOSE 8080 8081
ENTRYPOINT ["/usr/local/bin/evenkeel"]
CMD ["run"]
