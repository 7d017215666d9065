# One image for every service: create, worker, dashboard. CPU only.
FROM python:3.11-slim

# One user without rights, and the folder of the shared volume, which takes over its owner.
RUN useradd --create-home --uid 1000 kd && install -d -o kd -g kd /cache /cache/keras

ENV TZ=UTC \
    PYTHONUNBUFFERED=1 \
    KD_SWEEPS_CACHE=/cache \
    KERAS_HOME=/cache/keras

WORKDIR /opt/kd-sweeps

# The whole lock, with the 0.13 GB of test tools among its 2.5 GB: pip then checks the hash of every file, which it
# cannot do for a lock used as constraints. Apart from the code, so that a change of code does not install again.
COPY requirements.lock ./
RUN pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore --require-hashes -r requirements.lock

COPY pyproject.toml README.md LICENSE ./
COPY kd kd
COPY storage storage
COPY sweeps sweeps
RUN pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore --no-deps --no-build-isolation .

USER kd
WORKDIR /home/kd
ENTRYPOINT ["kd-sweeps"]
CMD ["--help"]
