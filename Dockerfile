FROM python:3.11-slim-bookworm

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PYTHONUNBUFFERED=1 \
    DAGSTER_HOME=/var/lib/dagster \
    CRYPTO_HOME=/var/lib/crypto

# Docker gives a new volume the owner that its folder has here.
RUN useradd --uid 10001 --home-dir "$CRYPTO_HOME" --shell /usr/sbin/nologin crypto \
    && install --directory --owner crypto "$CRYPTO_HOME" "$DAGSTER_HOME" "$DAGSTER_HOME/storage"

# Nearly all of the image, in a layer that changes only with the lock.
COPY requirements-docker.lock /tmp/
RUN pip install --no-cache-dir --require-hashes --no-deps -r /tmp/requirements-docker.lock

WORKDIR /opt/crypto_platform
COPY . .
# Compiled here, since the user who runs it cannot write here.
RUN pip install --no-cache-dir --no-deps --no-build-isolation --editable . \
    && python -m compileall -q . \
    && cat dagster.yaml docker/storage.yaml > "$DAGSTER_HOME/dagster.yaml"

USER 10001
CMD ["crypto-platform", "--help"]
