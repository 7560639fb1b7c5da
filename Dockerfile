# The negmine server on CPU: gRPC on 7654, Prometheus metrics on 9464, state in /var/lib/negmine.
FROM python:3.11-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/build && python -m venv --without-pip /opt/negmine
WORKDIR /src
COPY constraints.txt ./
RUN /opt/build/bin/pip install --constraint constraints.txt pip hatchling

# What the two distributions need, in a layer of its own: a change of our code does not install it again.
COPY client/pyproject.toml client/
COPY server/pyproject.toml server/
RUN /opt/build/bin/python -c "import tomllib; print(*(need for dist in ('client', 'server') \
      for need in tomllib.load(open(dist + '/pyproject.toml', 'rb'))['project']['dependencies'] if not need.startswith('negmine')), sep='\n')" > needs.txt \
 && /opt/build/bin/pip --python /opt/negmine install --constraint constraints.txt --requirement needs.txt

COPY LICENSE NOTICE ./
COPY client client
COPY server server
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir wheels ./client ./server \
 && /opt/build/bin/pip --python /opt/negmine install --no-deps wheels/*.whl \
 && /opt/build/bin/pip --python /opt/negmine check

FROM python:3.11-slim
LABEL org.opencontainers.image.title="negmine-server" \
      org.opencontainers.image.description="Hard-negative mining as a service" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --system --uid 10001 --user-group --home-dir /var/lib/negmine --shell /usr/sbin/nologin negmine \
 && install --directory --owner=negmine --group=negmine /var/lib/negmine /var/cache/negmine
COPY --from=build /opt/negmine /opt/negmine
COPY LICENSE NOTICE /usr/share/doc/negmine/
ENV PATH=/opt/negmine/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    NUMBA_CACHE_DIR=/var/cache/negmine \
    NEGMINE_SERVER_DATA_DIR=/var/lib/negmine \
    NEGMINE_SERVER_LISTEN=0.0.0.0:7654 \
    NEGMINE_SERVER_METRICS_LISTEN=0.0.0.0:9464
USER negmine
WORKDIR /var/lib/negmine
VOLUME /var/lib/negmine
EXPOSE 7654 9464
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=5s --start-period=120s --retries=3 CMD ["python", "-c", "\
import grpc; from grpc_health.v1 import health_pb2 as h, health_pb2_grpc as g; \
reply = g.HealthStub(grpc.insecure_channel('localhost:7654')).Check(h.HealthCheckRequest(), timeout=4); \
raise SystemExit(reply.status != h.HealthCheckResponse.SERVING)"]
ENTRYPOINT ["negmine-server"]
