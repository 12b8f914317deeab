# Jaeger, laid out as docker.io/jaegertracing/jaeger. The interface's pages are
# not in it: the module does not carry them.
FROM scratch
COPY root/etc /etc
COPY root/tmp /tmp
COPY root/bin/jaeger /cmd/jaeger/jaeger-linux
COPY sampling-strategies.json /cmd/jaeger/sampling-strategies.json
ENV JAEGER_LISTEN_HOST=0.0.0.0
USER 10001
EXPOSE 4317 4318 5778 5779 9411 13132 13133 14250 14268 16686
VOLUME ["/tmp"]
ENTRYPOINT ["/cmd/jaeger/jaeger-linux"]
