"""Base images under the names in our files: pulled, or built from Debian's packages where no hub answers.

A stand-in has the parts of the real image that we use: Python with pip and venv, Postgres with the entry that creates
its database from POSTGRES_*, or Prometheus. It has this machine's certificates, so it reaches the same hosts.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.containers.engine import Docker, Failed, NoEngine

PULL_S = 300
BASE = "kd-sweeps-stand-in-debian"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")

PYTHON = f"""
FROM {BASE}
RUN apt-get update -qq && apt-get install -qq --yes --no-install-recommends python3 python3-venv \\
    && python3 -m venv /usr/local && rm -rf /var/lib/apt/lists
COPY certificates.crt {CERTIFICATES}
ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin
CMD ["python3"]
"""

# Part of the real image's entry. An existing database is kept.
ENTRY = """#!/bin/sh
set -eu
PATH="$(echo /usr/lib/postgresql/*/bin):$PATH"
data=/var/lib/postgresql/data
if ! test -s "$data/PG_VERSION"; then
    printf %s "$POSTGRES_PASSWORD" > /tmp/password
    initdb --pgdata="$data" --username="$POSTGRES_USER" --pwfile=/tmp/password --auth=scram-sha-256 --encoding=UTF8
    rm /tmp/password
    echo 'host all all all scram-sha-256' >> "$data/pg_hba.conf"
    echo "CREATE DATABASE \\"$POSTGRES_DB\\"" | postgres --single -D "$data" postgres
fi
exec postgres -D "$data" -c listen_addresses='*'
"""

POSTGRES = f"""
FROM {BASE}
RUN groupadd --gid 999 postgres && useradd --uid 999 --gid 999 --home-dir /var/lib/postgresql postgres
RUN apt-get update -qq && apt-get install -qq --yes --no-install-recommends postgresql && rm -rf /var/lib/apt/lists \\
    && rm -rf /var/lib/postgresql && install -d -o postgres -g postgres -m 700 /var/lib/postgresql/data \\
    && ln -s /usr/lib/postgresql/*/bin/* /usr/local/bin/
COPY entry /usr/local/bin/entry
USER postgres
STOPSIGNAL SIGINT
ENTRYPOINT ["entry"]
"""

PROMETHEUS = f"""
FROM {BASE}
RUN apt-get update -qq && apt-get install -qq --yes --no-install-recommends prometheus && rm -rf /var/lib/apt/lists \\
    && install -d -o nobody /prometheus
USER nobody
ENTRYPOINT ["prometheus"]
CMD ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]
"""

STAND_INS = {"python": PYTHON, "postgres": POSTGRES, "prom/prometheus": PROMETHEUS}


@contextmanager
def base_images(docker: Docker, *images: str) -> Iterator[bool]:
    """Provide images of these names until the end; yields whether some are stand-ins, which are then removed."""
    stand_ins: list[str] = []
    try:
        for image in images:
            if not docker.has(image) and not _pull(docker, image):
                if not docker.has(BASE):
                    stand_ins.append(BASE)
                    _bootstrap(docker)
                stand_ins.append(image)
                _build(docker, image)
        yield bool(stand_ins)
    finally:
        for image in reversed(stand_ins):
            docker.call("image", "rm", "--force", image)


def _pull(docker: Docker, image: str) -> bool:
    try:
        return docker.call("pull", "--quiet", image, timeout_s=PULL_S).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def _bootstrap(docker: Docker) -> None:
    """Build a minimal Debian of this machine's release."""
    if shutil.which("mmdebstrap") is None:
        raise NoEngine("no image hub answers, and there is no mmdebstrap for stand-ins: apt-get install mmdebstrap")
    with tempfile.TemporaryDirectory(prefix="kd-sweeps-base-") as folder:
        packed = f"{folder}/base.tar"
        process = subprocess.run(
            ["mmdebstrap", "--variant=minbase", "--include=ca-certificates", _release(), packed],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if process.returncode != 0:
            raise Failed(f"mmdebstrap: {process.stderr[-3000:]}")
        docker.run("import", packed, BASE)


def _release() -> str:
    lines = Path("/etc/os-release").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)["VERSION_CODENAME"].strip('"')


def _build(docker: Docker, image: str) -> None:
    with tempfile.TemporaryDirectory(prefix="kd-sweeps-stand-in-") as name:
        folder = Path(name)
        (folder / "Dockerfile").write_text(STAND_INS[image.partition(":")[0]])
        (folder / "entry").write_text(ENTRY)
        (folder / "entry").chmod(0o755)
        shutil.copy(CERTIFICATES, folder / "certificates.crt")
        classic = Docker({**docker.environment, "DOCKER_BUILDKIT": "0"})
        classic.run("build", "--quiet", "--tag", image, ".", cwd=folder, timeout_s=1200)
