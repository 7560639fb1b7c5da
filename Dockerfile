# The negmine server: gRPC on 7654, Prometheus metrics on 9464, state in /var/lib/negmine.
#   docker build .                 on CPU; with the classic builder --target cpu, or it makes the other one too
#   docker build --target gpu .    with PyTorch, Triton and NVRTC; run it with --gpus all on a host with NVIDIA's driver
FROM python:3.11-slim AS needs
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

FROM needs AS wheels
COPY LICENSE NOTICE ./
COPY client client
COPY server server
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir wheels ./client ./server

FROM needs AS build-cpu
COPY --from=wheels /src/wheels wheels
RUN /opt/build/bin/pip --python /opt/negmine install --no-deps wheels/*.whl \
 && /opt/build/bin/pip --python /opt/negmine check

FROM python:3.11-slim AS server
LABEL org.opencontainers.image.title="negmine-server" \
      org.opencontainers.image.description="Hard-negative mining as a service" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --system --uid 10001 --user-group --home-dir /var/lib/negmine --shell /usr/sbin/nologin negmine \
 && install --directory --owner=negmine --group=negmine /var/lib/negmine /var/cache/negmine
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

FROM server AS cpu
COPY --from=build-cpu /opt/negmine /opt/negmine

# PyTorch brings CUDA's libraries, so the base needs none of them; the version is that of the tests.
FROM needs AS build-gpu
ARG TORCH=torch==2.13.0
RUN /opt/build/bin/python -c "import tomllib; \
      print(*tomllib.load(open('server/pyproject.toml', 'rb'))['project']['optional-dependencies']['gpu'], sep='\n')" > needs-gpu.txt \
 && /opt/build/bin/pip --python /opt/negmine install --constraint constraints.txt --requirement needs-gpu.txt "$TORCH"
COPY --from=wheels /src/wheels wheels
RUN /opt/build/bin/pip --python /opt/negmine install --no-deps wheels/*.whl \
 && /opt/build/bin/pip --python /opt/negmine check

FROM server AS gpu
COPY --from=build-gpu /opt/negmine /opt/negmine
ENV NEGMINE_SERVER_DEVICE=cuda \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    TRITON_CACHE_DIR=/var/cache/negmine/triton \
    CUDA_CACHE_PATH=/var/cache/negmine/cuda

# What is built where no target is named.
FROM cpu
